"""The MaintenanceService: what it says of others' health, and what a cleanup removes and keeps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from dev.server import HOST, free_port
from scheduler_service.targets.probes import mongodb_probe, rabbitmq_probe, redis_probe, target_probe
from shared.domain.execution import State
from shared.domain.plan import Row
from shared.domain.rollup import Progress
from shared.proto import maintenance_service_pb2 as pb
from shared.store import executions as rows
from shared.store import retention, rollups
from shared.store.mongo import connect_async
from tests.integration.test_server_harness import Running, interval, refusal, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database

    from dev.servers import Servers

SERVING = pb.ServiceHealth.STATUS_SERVING
NOT_SERVING = pb.ServiceHealth.STATUS_NOT_SERVING
UNREACHABLE = pb.ServiceHealth.STATUS_UNREACHABLE
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def a_target(status: int | None) -> AsyncIterator[str]:
    """A gRPC server whose health service says this; None: it has none."""
    server = grpc.aio.server()
    if status is not None:
        servicer = health.aio.HealthServicer()
        await servicer.set("", status)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await server.stop(0)


async def test_the_health_of_all_is_told_one_by_one(servers: Servers, database_url: str) -> None:
    status = health_pb2.HealthCheckResponse
    silent = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    silent_address = f"{HOST}:{silent.sockets[0].getsockname()[1]}"
    database = connect_async(database_url)
    async with (
        a_target(status.SERVING) as well,
        a_target(status.NOT_SERVING) as unwell,
        a_target(None) as without,
    ):
        probes = {
            "well": target_probe(well),
            "unwell": target_probe(unwell),
            "without": target_probe(without),
            "away": target_probe(f"{HOST}:{free_port()}"),
            "silent": target_probe(silent_address),
            "mongodb": mongodb_probe(database),
            "rabbitmq": rabbitmq_probe(servers.rabbitmq.url),
            "rabbitmq-silent": rabbitmq_probe(f"amqp://guest:secret@{silent_address}//"),
            "redis": redis_probe(servers.redis.url),
            "redis-away": redis_probe(f"redis://:secret@{HOST}:{free_port()}/0"),
        }
        async with serving(database_url, probes=probes) as server:
            response = await server.maintenance.HealthCheckServices(
                pb.HealthCheckServicesRequest(timeout=Duration(seconds=2))
            )
    silent.close()
    await database.client.close()
    found = {service.name: service for service in response.services}
    assert {name: service.status for name, service in found.items()} == {
        "well": SERVING,
        "unwell": NOT_SERVING,
        "without": SERVING,
        "away": UNREACHABLE,
        "silent": UNREACHABLE,
        "mongodb": SERVING,
        "rabbitmq": SERVING,
        "rabbitmq-silent": UNREACHABLE,
        "redis": SERVING,
        "redis-away": UNREACHABLE,
    }
    assert not response.all_serving
    assert found["without"].message == "it answers, but has no health service"
    assert all(service.message for service in response.services if service.status != SERVING)
    assert "secret" not in str(response)
    assert all(timedelta(0) < service.latency.ToTimedelta() < timedelta(seconds=3) for service in response.services)


@pytest.mark.parametrize("timeout", [Duration(), Duration(seconds=-1), Duration(seconds=61)])
async def test_a_timeout_out_of_bounds_is_refused(database_url: str, timeout: Duration) -> None:  # noqa: ASYNC109
    async with serving(database_url) as server:
        refused = await refusal(server.maintenance.HealthCheckServices(pb.HealthCheckServicesRequest(timeout=timeout)))
    assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", ["timeout"])


# Cleanup


@pytest.fixture
async def server(database: Database[dict[str, Any]], database_url: str) -> AsyncIterator[Running]:  # noqa: ARG001
    async with serving(database_url, batch=3) as running:
        yield running


async def rows_of(server: Running, job_id: str, first: datetime, count: int, finished_at: datetime) -> list[str]:
    """Insert so many ended runs of a job's chain, one a minute."""
    job = await server.database.jobs.find_one({"_id": job_id})
    documents = []
    for n in range(count):
        at = first + timedelta(minutes=n)
        document = rows.scheduled_document(job, Row(State.PENDING, at, at), at, "test")
        documents.append(document | {"state": "SUCCEEDED", "finished_at": finished_at})
    await server.database.executions.insert_many(documents)
    return [document["_id"] for document in documents]


async def clean_up(server: Running, days: int = 0) -> int:
    request = pb.CleanupOldExecutionRecordsRequest(older_than_days=days)
    return int((await server.maintenance.CleanupOldExecutionRecords(request)).deleted_count)


async def test_records_that_ended_long_ago_are_removed_and_counted(server: Running) -> None:
    now = await server.jobs.now()
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    await rows_of(server, "mine", LONG_AGO, 10, now - timedelta(days=91))
    recent = await rows_of(server, "mine", LONG_AGO + timedelta(days=1), 4, now - timedelta(days=89))
    assert await clean_up(server) == 10
    assert sorted([row["_id"] async for row in server.database.executions.find()]) == sorted(recent)
    assert await clean_up(server) == 0
    assert await clean_up(server, days=88) == 4


async def test_rows_that_beat_still_has_to_follow_stay_whatever_their_age(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    ended = LONG_AGO + timedelta(days=1)
    made = await rows_of(server, "mine", LONG_AGO, 10, ended)
    # the pointer stands at the third: no beat has advanced it since
    covered = LONG_AGO + timedelta(minutes=1)
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"covered": covered}})
    assert await clean_up(server) == 2
    assert sorted([row["_id"] async for row in server.database.executions.find()]) == made[2:]
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"epoch": 1}})
    assert await clean_up(server) == 8


@pytest.mark.parametrize(("is_catching_up", "expected"), [(False, 4), (True, 0)])
async def test_what_the_statistics_have_not_counted_for_good_stays(
    server: Running, is_catching_up: bool, expected: int
) -> None:
    """While beat catches up, those of minutes go soon after they are made, and a status counts their rows."""
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    await rows_of(server, "mine", LONG_AGO, 4, LONG_AGO + timedelta(days=1))
    await rows_of(server, "mine", LONG_AGO + timedelta(hours=1), 3, LONG_AGO + timedelta(days=2))
    progress = replace(Progress.beginning(LONG_AGO), settled=LONG_AGO + timedelta(days=2))
    if not is_catching_up:
        progress = replace(progress, hours=datetime.now(UTC))
    await server.database[rollups.PROGRESS].insert_one(rollups.begin(progress))
    assert await clean_up(server) == expected
    removed = retention.removed_through(await server.database[retention.COLLECTION].find_one())
    assert removed == (progress.hours if is_catching_up else progress.settled)


async def test_what_has_not_ended_stays(server: Running) -> None:
    await server.create(job_id="mine")
    await rows_of(server, "mine", LONG_AGO, 2, LONG_AGO)
    await server.database.executions.update_many({}, {"$unset": {"finished_at": ""}})
    assert await clean_up(server, days=1) == 0


@pytest.mark.parametrize(
    ("collection", "damage"),
    [
        ("executions", {"$unset": {"job_uid": ""}}),
        ("executions", {"$unset": {"trigger": ""}}),
        ("executions", {"$set": {"epoch": "first"}}),
        ("executions", {"$set": {"nominal_time": None}}),
        ("executions", {"$set": {"parent": ["one", "another"]}}),
        ("executions", {"$set": {"parent": {"id": "one"}, "trigger": "PART"}}),
        ("jobs", {"$unset": {"epoch": ""}}),
        ("jobs", {"$set": {"covered": "all"}}),
    ],
)
async def test_one_of_which_it_cannot_be_told_whether_it_is_needed_stays_and_keeps_no_other(
    server: Running, collection: str, damage: dict[str, Any]
) -> None:
    for job_id in ("damaged", "mine", "nameless"):
        await server.create(job_id=job_id, schedule_config=interval(minutes="1"))
    await server.database.jobs.update_one({"_id": "nameless"}, {"$unset": {"uid": ""}})
    (damaged,) = await rows_of(server, "damaged", LONG_AGO, 1, LONG_AGO)
    await server.database[collection].update_one({"_id": damaged if collection == "executions" else "damaged"}, damage)
    await rows_of(server, "mine", LONG_AGO, 4, LONG_AGO)
    assert await clean_up(server) == 4
    assert [row["_id"] async for row in server.database.executions.find()] == [damaged]


async def test_a_job_that_cannot_be_read_is_named_once_for_all_of_its_records_that_are_looked_at(
    server: Running,
) -> None:
    await server.create(job_id="damaged", schedule_config=interval(minutes="1"))
    await rows_of(server, "damaged", LONG_AGO, 3, LONG_AGO)
    await rows_of(server, "damaged", LONG_AGO + timedelta(hours=1), 2, LONG_AGO + timedelta(days=1))
    job = await server.database.jobs.find_one_and_update({"_id": "damaged"}, {"$unset": {"covered": ""}})
    with capture_logs() as logs:
        assert await clean_up(server) == 0
    lines = [(line["job_uid"], line["count"]) for line in logs if line["action"] == "record_unreadable"]
    assert lines == [(job["uid"], 3), (job["uid"], 2)]


async def test_a_part_stays_with_its_whole_of_which_it_cannot_be_read_what_that_is_a_part_of(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    whole, part, _ = await rows_of(server, "mine", LONG_AGO, 3, LONG_AGO)
    await server.database.executions.update_one({"_id": whole}, {"$set": {"parent": ["one"]}})
    await server.database.executions.update_one({"_id": part}, {"$set": {"parent": whole}})
    assert await clean_up(server) == 1
    assert sorted([row["_id"] async for row in server.database.executions.find()]) == [whole, part]


async def test_a_part_of_itself_stays_and_keeps_no_other(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    own, *_ = await rows_of(server, "mine", LONG_AGO, 3, LONG_AGO)
    await server.database.executions.update_one({"_id": own}, {"$set": {"parent": own}})
    with capture_logs() as logs:
        assert await clean_up(server) == 2
    assert [row["_id"] async for row in server.database.executions.find()] == [own]
    assert own in [line["execution_id"] for line in logs if line["action"] == "record_unreadable"]


@pytest.mark.parametrize("length", [2, 3])
async def test_parts_that_name_each_other_as_their_whole_go_and_keep_no_other(server: Running, length: int) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    ids = await rows_of(server, "mine", LONG_AGO, 5, LONG_AGO)
    ring = ids[:length]
    for part, whole in zip(ring, [*ring[1:], ring[0]], strict=True):
        await server.database.executions.update_one({"_id": part}, {"$set": {"parent": whole}})
    assert await clean_up(server) == 5


async def test_what_is_part_of_a_part_stays_as_long_as_the_outermost_has_not_ended(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    inner, part, outer, _ = await rows_of(server, "mine", LONG_AGO, 4, LONG_AGO)
    for each, whole in ((inner, part), (part, outer)):
        await server.database.executions.update_one({"_id": each}, {"$set": {"parent": whole}})
    await server.database.executions.update_one({"_id": outer}, {"$unset": {"finished_at": ""}})
    assert await clean_up(server) == 1
    assert sorted([row["_id"] async for row in server.database.executions.find()]) == sorted([inner, part, outer])


async def test_a_whole_that_cannot_be_read_is_named_once_with_its_parts(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    whole, part = await rows_of(server, "mine", LONG_AGO, 2, LONG_AGO)
    await server.database.executions.update_one({"_id": whole}, {"$set": {"parent": ["one"]}})
    await server.database.executions.update_one({"_id": part}, {"$set": {"parent": whole}})
    with capture_logs() as logs:
        assert await clean_up(server) == 0
    named = [(line["execution_id"], line["count"]) for line in logs if line["action"] == "record_unreadable"]
    assert named == [(whole, 1)]


async def test_a_closing_row_stays_until_its_epoch_is_over(server: Running) -> None:
    await server.create(job_id="mine")
    job = await server.database.jobs.find_one({"_id": "mine"})
    closing = Row(State.CLOSED, None, LONG_AGO, count=0)
    await server.database.executions.insert_one(rows.scheduled_document(job, closing, LONG_AGO, "test"))
    assert await clean_up(server, days=1) == 0
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"epoch": 1}})
    assert await clean_up(server, days=1) == 1


async def test_a_cleanup_that_is_cancelled_stops_and_the_next_goes_on(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    await rows_of(server, "mine", LONG_AGO, 300, LONG_AGO)
    count = server.database.executions.count_documents
    call = server.maintenance.CleanupOldExecutionRecords(pb.CleanupOldExecutionRecordsRequest())
    async with asyncio.timeout(60):
        while await count({}) == 300:  # noqa: ASYNC110 - the condition is in the store
            await asyncio.sleep(0.001)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    left = await count({})
    assert left > 0
    async with asyncio.timeout(60):
        removed = await clean_up(server)
    assert 0 < removed <= left
    assert await count({}) == 0


async def test_the_index_is_what_finds_old_records(server: Running) -> None:
    await server.create(job_id="mine")
    await rows_of(server, "mine", LONG_AGO, 20, LONG_AGO)
    chosen = rows.ended_filter(LONG_AGO + timedelta(days=1))
    chosen["finished_at"]["$type"] = "date"
    explained = await server.database.executions.find(chosen).sort("finished_at", 1).explain()
    assert '"finished_at"' in str(explained["queryPlanner"]["winningPlan"]).replace("'", '"')


@pytest.mark.parametrize("days", [-1, 40_000, -(2**31), 2**31 - 1])
async def test_a_number_of_days_out_of_bounds_is_refused(server: Running, days: int) -> None:
    refused = await refusal(clean_up(server, days))
    assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", ["older_than_days"])
