"""Diagnose: what is well and what is not, by name, from real servers; bounded, and never an error of the call."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from google.protobuf.duration_pb2 import Duration
from kombu import Connection

from beat.partitions import Partitions
from dev.server import HOST, free_port
from scheduler_service.operations.diagnose import Check, Result, diagnose, failed, well
from scheduler_service.operations.diagnose_work import judge_leases, judge_timeouts
from shared.messaging.queues import DEAD_LETTER_QUEUE, load_queues
from shared.metrics import serve
from shared.proto import admin_service_pb2 as pb
from shared.release import release
from shared.settings import Settings
from shared.store import jobs, processes
from shared.store.pipeline import from_now
from tests.builders import fired, job_document, own_vhost
from tests.integration.test_server_harness import refusal, serving
from tests.unit.test_docs import DOCS, code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from dev.servers import Servers
    from tests.integration.test_server_harness import Running

OK = pb.DiagnoseResponse.Check.RESULT_OK
WARNING = pb.DiagnoseResponse.Check.RESULT_WARNING
FAILED = pb.DiagnoseResponse.Check.RESULT_FAILED
SKIPPED = pb.DiagnoseResponse.Check.RESULT_SKIPPED

QUEUES = load_queues(Settings().config_dir)


async def asked(server: Running, seconds: float = 5) -> dict[str, pb.DiagnoseResponse.Check]:
    timeout = Duration()
    timeout.FromTimedelta(timedelta(seconds=seconds))
    response = await server.admin.Diagnose(pb.DiagnoseRequest(timeout=timeout))
    assert response.healthy == all(check.result != FAILED for check in response.checks)
    assert all(check.remedy for check in response.checks if check.result in {WARNING, FAILED})
    return {check.name: check for check in response.checks}


@pytest.fixture
def stores(servers: Servers) -> dict[str, Any]:
    """Settings of real stores, with a virtual host of the test's own."""
    return {
        "celery_broker_url": own_vhost(servers.rabbitmq),
        "celery_result_backend": servers.redis.url,
        "server_metrics_port": free_port(),
    }


@pytest.fixture
def beat(database: Database[dict[str, Any]]) -> Iterator[None]:
    partitions = Partitions(database, "beat@here:1", timedelta(seconds=60))
    partitions.prepare()
    partitions.run_once()
    yield
    partitions.close()


def declare(url: str) -> None:
    with Connection(url) as connection:
        channel = connection.channel()
        for queue in (*QUEUES.declarations(), DEAD_LETTER_QUEUE):
            queue(channel).declare()


async def say_alive(server: Running, **about: Any) -> None:
    said = {"name": "w@here", "kind": processes.Kind.WORKER, "queues": tuple(QUEUES.names), "concurrency": 8, **about}
    update = processes.say_alive(processes.About(**said), "run")
    await server.database[processes.COLLECTION].update_one({"_id": said["name"]}, update, upsert=True)


async def test_the_page_lists_every_check_by_its_name(database_url: str) -> None:
    async with serving(database_url) as server:
        names = list(await asked(server, 0.5))
    documented = [code(row[0])[0] for row in table(DOCS / "doctor.md", "check")]
    before, after = documented.index("target.<name>"), len(documented) - documented.index("target.<name>") - 1
    assert names[:before] + names[-after:] == documented[:before] + documented[-after:]
    assert names[before:-after] == [
        f"target.{name}" for name in ("pricing-service", "scheduler-service", "scraper-service")
    ]


@pytest.mark.usefixtures("beat")
async def test_where_all_is_well_nothing_is_found(database_url: str, stores: dict[str, Any]) -> None:
    declare(stores["celery_broker_url"])
    serve(HOST, stores["server_metrics_port"])
    async with serving(database_url, **stores) as server:
        await say_alive(server)
        checks = await asked(server)
    unwell = {name: check.detail for name, check in checks.items() if check.result != OK}
    # Nobody consumes the queues that the test has declared, and no target runs.
    assert unwell.keys() == {"rabbitmq.consumers", *(name for name in checks if name.startswith("target."))}
    assert checks["workers.alive"].detail == "alive: 1; executions that they run at a time: 8"
    assert "RabbitMQ" in checks["rabbitmq.reachable"].detail


async def test_what_is_away_is_a_finding_and_what_rests_on_it_is_not_looked_at(database_url: str) -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    address = f"{HOST}:{silent.sockets[0].getsockname()[1]}"
    settings: dict[str, Any] = {
        "celery_broker_url": f"amqp://guest:secret@{address}//",
        "celery_result_backend": f"redis://:secret@{HOST}:{free_port()}/0",
        "server_metrics_port": free_port(),
    }
    async with serving(database_url, **settings) as server:
        checks = await asked(server, 1)
    silent.close()
    assert checks["mongodb.reachable"].result == OK
    assert (checks["rabbitmq.reachable"].result, checks["rabbitmq.queues"].result) == (FAILED, SKIPPED)
    assert (checks["redis.reachable"].result, checks["redis.memory"].result) == (FAILED, SKIPPED)
    assert checks["server.metrics"].result == FAILED
    assert checks["beat.alive"].result == FAILED
    assert checks["workers.alive"].result == FAILED
    assert "secret" not in str(checks)


async def test_a_worker_that_has_fallen_silent_is_named(database_url: str) -> None:
    async with serving(database_url) as server:
        await say_alive(server)
        heard = from_now(-processes.MISSED_AFTER - timedelta(seconds=1))
        await server.database[processes.COLLECTION].update_one({"_id": "w@here"}, [{"$set": {"heard_at": heard}}])
        workers = (await asked(server, 1))["workers.alive"]
    assert workers.result == WARNING
    assert workers.detail == "workers not heard of for more than 20 s: 1, as w@here"


async def test_indexes_that_are_missing_or_other_ones_are_named(database_url: str) -> None:
    async with serving(database_url) as server:
        await server.database.jobs.drop_index("wake_time")
        missing = (await asked(server, 1))["mongodb.indexes"]
        await server.database.jobs.create_index([("wake_at", 1)], name="wake_time")
        other = (await asked(server, 1))["mongodb.indexes"]
    assert (missing.result, "missing: jobs.wake_time" in missing.detail) == (FAILED, True)
    assert (other.result, other.detail.endswith(": jobs.wake_time")) == (FAILED, True)


async def test_work_that_was_not_done_is_told(database_url: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    async with serving(database_url) as server:
        late = job_document("late") | {"wake_at": long_ago, "drift": {"since": long_ago, "problems": ["?"]}}
        unsent = fired(late, long_ago, send_at=long_ago)
        failed = {"state": "FAILED", "letter": True, "finished_at": long_ago}
        letter = fired(late, long_ago - timedelta(hours=1)) | failed
        del letter["send_at"]
        await server.database.jobs.insert_one(late)
        await server.database.executions.insert_many([unsent, letter])
        checks = await asked(server)
    assert checks["jobs.overdue"].result == FAILED
    assert "the first of them late, since" in checks["jobs.overdue"].detail
    assert (checks["jobs.drift"].result, checks["executions.unsent"].result) == (WARNING, FAILED)
    assert checks["executions.dead_letters"].detail.endswith("nobody has decided: 1")


async def test_jobs_that_no_beat_can_fire_since_a_newer_release_stored_them_are_told(database_url: str) -> None:
    newer = job_document("newer") | {"schema": jobs.SCHEMA + 1, "installed": {"unheard": "of"}}
    async with serving(database_url) as server:
        await server.database.jobs.insert_many([newer, job_document("ours")])
        await say_alive(server, name="b@here", kind=processes.Kind.BEAT, version=release())
        nobody = (await asked(server))["jobs.newer"]
        await say_alive(server, name="b@there", kind=processes.Kind.BEAT, version="99.0.0")
        maybe = (await asked(server))["jobs.newer"]
        await server.database.jobs.delete_one({"_id": "newer"})
        none = (await asked(server))["jobs.newer"]
    assert nobody.result == FAILED
    assert nobody.detail == (
        f"jobs that beats of {release()} leave to a newer release: 1, among them newer; no beat that is alive has"
        " another release, so they do not fire"
    )
    assert (maybe.result, maybe.detail.rpartition("; ")[2]) == (WARNING, "of another release are 1 of 2 beats")
    assert none.result == OK


async def test_messages_that_nobody_takes_are_worse_than_a_queue_without_workers(
    database_url: str, stores: dict[str, Any]
) -> None:
    async with serving(database_url, **stores) as server:
        undeclared = await asked(server)
        declare(stores["celery_broker_url"])
        idle = await asked(server)
        with Connection(stores["celery_broker_url"]) as connection:
            connection.Producer().publish("x", routing_key="manual", exchange="executions")
        waiting = await asked(server)
    assert "manual" in undeclared["rabbitmq.queues"].detail
    assert (undeclared["rabbitmq.queues"].result, idle["rabbitmq.queues"].result) == (WARNING, OK)
    assert (idle["rabbitmq.consumers"].result, waiting["rabbitmq.consumers"].result) == (WARNING, FAILED)
    assert "(manual: 1)" in waiting["rabbitmq.consumers"].detail


async def test_a_redis_that_may_forget_results_is_told(database_url: str, stores: dict[str, Any]) -> None:
    with redis.Redis.from_url(stores["celery_result_backend"]) as client:
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            async with serving(database_url, **stores) as server:
                found = (await asked(server))["redis.memory"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "0")
    assert (found.result, "allkeys-lru" in found.detail) == (WARNING, True)


async def test_processes_that_differ_are_told(database_url: str) -> None:
    async with serving(database_url) as server:
        await say_alive(server, tzdata_version="2020a", version="0.0.1", queues=("manual",))
        checks = await asked(server, 1)
    assert (checks["processes.zones"].result, "2020a: w@here" in checks["processes.zones"].detail) == (WARNING, True)
    assert checks["processes.release"].result == WARNING
    assert "scraping" in checks["workers.alive"].remedy


@pytest.mark.parametrize("timeout", [Duration(), Duration(seconds=-1), Duration(seconds=61)])
async def test_a_timeout_out_of_bounds_is_refused(database_url: str, timeout: Duration) -> None:  # noqa: ASYNC109
    async with serving(database_url) as server:
        refused = await refusal(server.admin.Diagnose(pb.DiagnoseRequest(timeout=timeout)))
    assert [field for field, _ in refused.violations] == ["timeout"]


async def test_a_check_that_hangs_or_raises_does_not_hold_up_the_others() -> None:
    async def hang(_within: float) -> Any:
        await asyncio.Event().wait()

    async def crash(_within: float) -> Any:
        raise ZeroDivisionError("by zero")

    async def go_well(_within: float) -> Any:
        return well("yes")

    async def go_wrong(_within: float) -> Any:
        return failed("no", "do it")

    checks = [
        Check("hangs", hang, "stop it"),
        Check("crashes", crash, "mend it"),
        Check("well", go_well, ""),
        Check("wrong", go_wrong, ""),
        Check("needs", go_well, "", needs="wrong"),
        Check("needs.that", go_well, "", needs="needs"),
    ]
    found = {each.name: each.finding for each in await diagnose(checks, 0.05)}
    assert [finding.result for finding in found.values()] == [
        Result.FAILED, Result.FAILED, Result.OK, Result.FAILED, Result.SKIPPED, Result.SKIPPED,
    ]  # fmt: skip
    assert found["hangs"].detail == "there was no answer within 0.05 s"
    assert (found["crashes"].detail, found["crashes"].remedy) == ("ZeroDivisionError: by zero", "mend it")


@pytest.mark.parametrize(
    ("lease", "options", "result"),
    [
        (15.0, "", Result.OK),
        (3.0, "", Result.WARNING),
        (3.0, "?connectTimeoutMS=1000", Result.OK),
        (3.0, "?connecttimeoutms=2000", Result.WARNING),
        (60.0, "?connectTimeoutMS=20000", Result.OK),
    ],
)
def test_a_short_lease_wants_connections_that_are_made_sooner(lease: float, options: str, result: Result) -> None:
    assert judge_leases(lease, f"mongodb://localhost/scheduler{options}").result is result


def test_an_attempt_that_may_take_longer_than_the_broker_waits_is_told() -> None:
    assert judge_timeouts(Settings()).result is Result.OK
    assert judge_timeouts(Settings(job_timeout=7200, consumer_timeout=1800)).result is Result.WARNING
