"""StatisticsService: numbers over time, queues and processes, as clients see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from kombu import Connection

from dev.server import free_port
from scheduler_service.statistics.live import MOST_SHOWN, arrange
from shared.domain.rollup import HOUR
from shared.heartbeat import Heartbeat
from shared.messaging.queues import load_queues
from shared.proto import statistics_service_pb2 as pb
from shared.settings import Settings
from shared.store import executions, processes
from shared.store.live import Attempt
from shared.store.pipeline import from_now
from shared.store.processes import About, Kind
from tests.builders import fired, job_document, own_vhost
from tests.integration.test_rollup import ended, now, roll_up
from tests.integration.test_server_harness import refusal, serving, stamp

if TYPE_CHECKING:
    from pymongo.database import Database

    from dev.servers import Servers

Db: TypeAlias = "Database[dict[str, Any]]"

BY_JOB = pb.GetStatisticsRequest.GROUP_BY_JOB
BY_QUEUE = pb.GetStatisticsRequest.GROUP_BY_QUEUE
DAY_WINDOW = Duration(seconds=86_400)
MINUTE_WINDOW = Duration(seconds=60)


async def test_statistics_tell_how_much_ended_how_and_how_long_it_took(database: Db, database_url: str) -> None:
    at = now() - HOUR
    rows = [ended(n, at, took=1_000 * (n + 1), late_by=100, attempt=2) for n in range(9)]
    database[executions.COLLECTION].insert_many([*rows, ended(9, at, state="FAILED", took=10_000)])
    roll_up(database)
    async with serving(database_url) as running:
        answer = await running.statistics.GetStatistics(pb.GetStatisticsRequest())
    (found,) = answer.statistics
    assert found.group == ""
    assert dict(found.counts) == {"SUCCEEDED": 9, "FAILED": 1}
    assert found.success_rate == pytest.approx(0.9)
    assert found.retries == 9
    assert found.duration.p50.ToMilliseconds() == pytest.approx(5_000, rel=0.05)
    assert found.duration.max.ToMilliseconds() == 10_000
    assert found.duration.mean.ToMilliseconds() == 5_500
    assert found.lateness.p99.ToMilliseconds() == pytest.approx(100, rel=0.05)
    assert answer.complete_through.ToDatetime(UTC) <= now()


async def test_statistics_come_by_group_and_window_the_largest_group_first(database: Db, database_url: str) -> None:
    at = now() - HOUR
    rows = [ended(n, at - n % 2 * timedelta(minutes=2), job_id=f"job-{1 + n % 3 // 2}") for n in range(6)]
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    asked = pb.GetStatisticsRequest(
        group_by=BY_JOB, from_time=stamp(at - HOUR), to_time=stamp(at + HOUR), window=MINUTE_WINDOW
    )
    async with serving(database_url) as running:
        found = (await running.statistics.GetStatistics(asked)).statistics
        asked.limit = 1
        first = (await running.statistics.GetStatistics(asked)).statistics
    assert [each.group for each in found] == ["job-1", "job-1", "job-2", "job-2"]
    assert [each.counts["SUCCEEDED"] for each in found] == [2, 2, 1, 1]
    assert found[0].time.ToDatetime() < found[1].time.ToDatetime()
    assert {each.width.seconds for each in found} == {60}
    assert {each.group for each in first} == {"job-1"}


async def test_of_a_job_that_never_was_there_are_no_statistics(database_url: str) -> None:
    async with serving(database_url) as running:
        refused = await refusal(running.statistics.GetStatistics(pb.GetStatisticsRequest(job_id="nobody")))
    assert (refused.code, refused.resource) == ("NOT_FOUND", ("job", "nobody"))


YEAR_1 = Timestamp(seconds=-62_135_596_800)
YEAR_9999 = Timestamp(seconds=253_402_300_799)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"group_by": 9, "limit": -1, "queue": "q" * 64}, ["group_by", "limit", "queue"]),
        ({"from_time": YEAR_9999}, ["from_time"]),
        ({"from_time": YEAR_1}, ["from_time"]),
        ({"to_time": YEAR_1, "window": MINUTE_WINDOW}, ["from_time"]),
        ({"from_time": Timestamp(seconds=2**40)}, ["from_time"]),
        ({"window": Duration(seconds=7)}, ["window"]),
        ({"window": Duration(seconds=-1)}, ["window"]),
        ({"window": MINUTE_WINDOW}, ["from_time"]),
        ({"window": Duration(seconds=3_600), "limit": 1_000}, ["limit"]),
    ],
)
async def test_what_statistics_cannot_answer_is_said(
    database_url: str, asked: dict[str, Any], fields: list[str]
) -> None:
    async with serving(database_url) as running:
        refused = await refusal(running.statistics.GetStatistics(pb.GetStatisticsRequest(**asked)))
    assert refused.code == "INVALID_ARGUMENT"
    assert [field for field, _ in refused.violations] == fields


async def test_no_time_however_odd_is_an_error_of_ours(database_url: str) -> None:
    async with serving(database_url) as running:
        ask = running.statistics.GetStatistics
        late = await ask(pb.GetStatisticsRequest(to_time=YEAR_9999, group_by=BY_QUEUE))
        early = await ask(pb.GetStatisticsRequest(to_time=stamp(now() - timedelta(days=900)), window=DAY_WINDOW))
    assert not late.statistics
    assert not early.statistics


async def test_queues_are_told_with_their_depths_and_who_consumes_them(
    database: Db, database_url: str, servers: Servers
) -> None:
    url = own_vhost(servers.rabbitmq)
    with Connection(url) as connection:
        for queue in load_queues(Settings().config_dir).declarations():
            queue(connection).declare()
        producer = connection.Producer()
        for _ in range(2):
            producer.publish({}, exchange="executions", routing_key="scraping")
        waits = fired(job_document(), now()) | {"state": "QUEUED", "queued_at": now() - HOUR, "queue": "scraping"}
        database[executions.COLLECTION].insert_many([waits | {"_id": f"waits-{n}"} for n in range(3)])
        async with serving(database_url, celery_broker_url=url) as running:
            answer = await running.statistics.ListQueues(pb.ListQueuesRequest())
    assert answer.warning == ""
    by_name = {queue.name: queue for queue in answer.queues}
    assert list(by_name) == sorted(by_name)
    scraping = by_name["scraping"]
    assert (scraping.messages, scraping.consumers, scraping.queued, scraping.running) == (2, 0, 3, 0)
    assert scraping.oldest.ToDatetime(UTC) < now() - HOUR / 2
    assert scraping.warning == "3 executions wait and no worker consumes it; start one with -Q scraping"
    # Nobody has declared it yet.
    assert (by_name["dead_letter"].messages, by_name["dead_letter"].warning) == (0, "")


async def test_while_rabbitmq_is_away_the_ledger_still_tells_of_the_queues(database: Db, database_url: str) -> None:
    waits = fired(job_document(), now()) | {"state": "QUEUED", "queued_at": now(), "queue": "scraping"}
    database[executions.COLLECTION].insert_one(waits)
    async with serving(database_url, celery_broker_url=f"amqp://127.0.0.1:{free_port()}//") as running:
        answer = await running.statistics.ListQueues(pb.ListQueuesRequest())
    assert answer.warning.startswith("RabbitMQ could not be asked")
    by_name = {queue.name: queue for queue in answer.queues}
    assert (by_name["scraping"].messages, by_name["scraping"].consumers, by_name["scraping"].queued) == (-1, -1, 1)
    assert by_name["scraping"].warning == ""


def running_row(number: int, worker: str) -> dict[str, Any]:
    lease = {"holder": worker, "nonce": str(number), "expires_at": now() + HOUR, "length": 15_000}
    started = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=number)
    row = fired(job_document(), started)
    return row | {"_id": f"runs-{number}", "state": "RUNNING", "attempt": 1, "started_at": started, "lease": lease}


async def test_workers_are_told_with_what_each_runs(database: Db, database_url: str) -> None:
    for about in (
        About(
            name="worker-1@here", kind=Kind.WORKER, version="1.0", queues=("scraping",), pool="threads", concurrency=8
        ),
        About(name="beat@here:1", kind=Kind.BEAT, partitions=64, tzdata_version="2026a"),
    ):
        Heartbeat(database, lambda about=about: about).run_once()  # type: ignore[misc]
    database[executions.COLLECTION].insert_many(
        [running_row(2, "worker-1@here"), running_row(1, "worker-1@here"), running_row(3, "worker-of-before@here")]
    )
    async with serving(database_url) as running:
        found = (await running.statistics.ListWorkers(pb.ListWorkersRequest())).processes
        short = (await running.statistics.ListWorkers(pb.ListWorkersRequest(without_executions=True))).processes
    assert [process.name for process in found] == ["beat@here:1", "worker-1@here", "worker-of-before@here"]
    beat, worker, silent = found
    assert (beat.kind, beat.partitions, beat.tzdata_version) == (pb.ListWorkersResponse.Process.KIND_BEAT, 64, "2026a")
    assert (list(worker.queues), worker.pool, worker.concurrency, worker.version) == (["scraping"], "threads", 8, "1.0")
    assert [each.execution_id for each in worker.running] == ["runs-1", "runs-2"]
    assert (silent.running_total, silent.running[0].execution_id) == (1, "runs-3")
    assert [(len(process.running), process.running_total) for process in short] == [(0, 0), (0, 2), (0, 1)]


async def test_a_worker_that_has_missed_two_of_its_words_is_told_as_silent(database: Db, database_url: str) -> None:
    for name in ("frozen@here", "well@here"):
        Heartbeat(database, lambda name=name: About(name=name, kind=Kind.WORKER)).run_once()  # type: ignore[misc]
    silence = processes.MISSED_AFTER + timedelta(seconds=1)
    async with serving(database_url) as running:
        heard = {"$set": {"heard_at": from_now(-silence)}}
        database[processes.COLLECTION].update_one({"_id": "frozen@here"}, [heard])
        frozen, well = (await running.statistics.ListWorkers(pb.ListWorkersRequest())).processes
    assert frozen.silent_for.ToTimedelta() >= silence
    assert not well.HasField("silent_for")


def test_of_what_is_running_no_more_is_shown_than_a_message_holds() -> None:
    attempts = [
        Attempt(f"{n:05}", "job-1", "Job", "Scrape", "scraping", now(), 1, f"worker-{n % 60}", now())
        for n in range(9_000)
    ]
    found = arrange([], attempts, 5_000)
    assert sum(len(each.running) for each in found) == 5_000
    assert max(len(each.running) for each in found) == MOST_SHOWN
    assert {each.total for each in found} == {150}
