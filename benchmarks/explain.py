"""How long questions take on a full store: python -m benchmarks.explain [--jobs 100000] [--rows 1000000].

On private servers, with the real server process, asked over gRPC one at a time. The store is filled with jobs of
several kinds, their history and the ledger that beat and workers would have written: a thousand jobs were edited fifty
times, and ten of them have a hundredth of all rows each. Printed are, for each question, the median, the 99th
percentile and the longest, in milliseconds.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.domain.execution import State
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.domain.plan import Mode, Row, Spec
from shared.messaging.queues import load_queues
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.planning_service_pb2_grpc import PlanningServiceStub
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.store import executions, jobs
from shared.store.indexes import INDEXES
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY = 60.0
BATCH = 5_000
HOUR = timedelta(hours=1)
EDITED, EDITS = 1_000, 50
LARGE, SHARE = 10, 100
KINDS = ("SCRAPING", "ANALYSIS", "MONITORING", "MAINTENANCE", "CUSTOM")
SCHEDULES = (
    {"expression": "0 8 * * MON-FRI"},
    {"expression": "*/15 * * * *"},
    {"expression": "30 2 * * *"},
    {"expression": "0 9 ? * FRI#2"},
    {"expression": "0 0 29 2 *"},
)
STEPS = ((State.QUEUED, "beat@here:1"), (State.RUNNING, "worker@here:2"), (State.SUCCEEDED, "worker@here:2"))


def fill(database: Any, job_count: int, row_count: int, origin: datetime) -> None:
    """Store jobs that fire every hour, the history of their schedules, and their rows from `origin` on."""
    queues = load_queues(ROOT / "config")
    defaults = JobDefaults(queues.names, queues.by_type)
    definitions = [
        define(
            JobDraft(
                job_id="job", name="Benchmark", job_type=kind, target_service="scraper-service",
                target_method="ScrapeCompetitorPrices",
                schedule=ScheduleTerms("interval", {"hours": "1"}, start_time=origin),
                parameters={"competitor_ids": ["amazon", "walmart", "target"], "max_products": 20},
                labels={"team": f"team-{n}"},
            ),
            defaults,
            origin,
        )
        for n, kind in enumerate(KINDS)
    ]  # fmt: skip
    large = row_count // SHARE
    small = (row_count - LARGE * large) // job_count
    waiting: dict[str, list[dict[str, Any]]] = {jobs.COLLECTION: [], jobs.REVISIONS: [], executions.COLLECTION: []}

    def flush(most: int) -> None:
        for name, documents in waiting.items():
            if len(documents) > most:
                database[name].insert_many(documents, ordered=False)
                documents.clear()

    for number in range(job_count):
        definition = definitions[number % len(definitions)]
        job = jobs.new_document(definition, f"01k{number:023}", origin, "benchmark")
        job |= {"_id": f"job-{number}", "name": f"Benchmark {number}", "created_at": origin + timedelta(seconds=number)}
        rows = small + (large if number < LARGE else 0)
        if number < EDITED:
            job["epoch"] = EDITS
        for epoch in range(job["epoch"] + 1):
            # The edits were made before the first row.
            began = origin - timedelta(minutes=job["epoch"] - epoch)
            spec = Spec(definition.schedule, Mode.ACTIVE)
            waiting[jobs.REVISIONS].append(
                jobs.revision_document(job["uid"], epoch, spec, began, "benchmark", "benchmark")
            )
        waiting[executions.COLLECTION] += rows_of(job, rows, origin)
        ended = origin + rows * HOUR
        # No beat runs: what is due is far away.
        job |= {"covered": ended, "wake_at": ended + timedelta(days=3650), "next_nominal": ended + HOUR}
        waiting[jobs.COLLECTION].append(job)
        flush(BATCH)
    flush(0)


def rows_of(job: dict[str, Any], count: int, origin: datetime) -> Iterator[dict[str, Any]]:
    """Return the rows of a job: every tenth decision is SKIPPED, as the one before it still ran, the others ran."""
    for number in range(1, count + 1):
        at = origin + number * HOUR
        if number % 10 == 0:
            before = f"{job['uid']}.{job['epoch']}.{at - HOUR:%Y%m%dT%H%M%SZ}"
            skipped = Row(State.SKIPPED, at, at, 1, f"the execution {before} is still in flight")
            yield executions.scheduled_document(job, skipped, at, "beat@here:1")
            continue
        row = executions.scheduled_document(job, Row(State.PENDING, at, at), at, "beat@here:1")
        for name in ("open", "send_at"):
            del row[name]
        row["transitions"] += [
            {"number": n, "state": state.value, "at": at + timedelta(milliseconds=20 * n), "by": by, "reason": ""}
            for n, (state, by) in enumerate(STEPS, start=2)
        ]
        took = HOUR + timedelta(minutes=1) if number % 10 == 9 else timedelta(seconds=15)
        yield row | {
            "state": State.SUCCEEDED.value, "attempt": 1, "started_at": at, "finished_at": at + took,
            "result": '{"observations": 20, "failed": []}', "worker": "worker@here:2",
        }  # fmt: skip


def questions(
    address: str, job_count: int, row_count: int, origin: datetime
) -> dict[str, Callable[[random.Random], object]]:
    """Return what is asked, each by its name."""
    channel = grpc.insecure_channel(address)
    schedules, scheduler = PlanningServiceStub(channel), SchedulerServiceStub(channel)
    hours = (row_count - LARGE * (row_count // SHARE)) // job_count

    def explain(job: int, hour: int) -> object:
        instant = Timestamp()
        instant.FromDatetime(origin + hour * HOUR)
        said = schedules.ExplainOccurrence(planning.ExplainOccurrenceRequest(job_id=f"job-{job}", nominal_time=instant))
        expected = "SKIPPED" if hour % 10 == 0 else "SUCCEEDED"
        assert planning.ExplainOccurrenceResponse.Verdict.Name(said.verdict) == f"VERDICT_{expected}"
        return said

    def preview(chance: random.Random, **fields: Any) -> object:
        config = pb.ScheduleConfig(type="cron", config=chance.choice(SCHEDULES), timezone="America/New_York")
        config.exclusions.holidays.append("US")
        return schedules.PreviewSchedule(planning.PreviewScheduleRequest(schedule_config=config, **fields))

    def executions_of(chance: random.Random) -> object:
        request = pb.ListExecutionsRequest(
            filter=f'job_id = "job-{chance.randrange(job_count)}"', include_decisions=True
        )
        return scheduler.ListExecutions(request)

    def listed(text: str) -> Callable[[random.Random], object]:
        return lambda _: scheduler.ListScheduledJobs(pb.ListScheduledJobsRequest(filter=text, page_size=50))

    return {
        "ExplainOccurrence": lambda chance: explain(chance.randrange(job_count), chance.randint(1, hours)),
        "ExplainOccurrence, a job of 50 edits": lambda chance: explain(
            chance.randrange(min(EDITED, job_count)), chance.randint(1, hours)
        ),
        "ExplainOccurrence, a job of many rows": lambda chance: explain(
            chance.randrange(LARGE), chance.randint(1, row_count // SHARE)
        ),
        "PreviewSchedule, 10 fires": preview,
        "PreviewSchedule, 10 fires beside a job": lambda chance: preview(
            chance, job_id=f"job-{chance.randrange(job_count)}"
        ),
        "PreviewSchedule, 100 fires": lambda chance: preview(chance, count=100),
        'ListScheduledJobs, labels.team = "team-3"': listed('labels.team = "team-3"'),
        "ListScheduledJobs, state = ACTIVE": listed("state = ACTIVE"),
        "ListScheduledJobs, job_type and queue": listed("job_type = SCRAPING AND queue = scraping"),
        "ListScheduledJobs, next_fire_time": listed("next_fire_time < 2100-01-01T00:00:00Z"),
        "ListScheduledJobs, no filter": listed(""),
        "ListExecutions, of one job": executions_of,
        "ListExecutions, state = FAILED": lambda _: scheduler.ListExecutions(
            pb.ListExecutionsRequest(filter="state = FAILED")
        ),
        "ListExecutions, no filter": lambda _: scheduler.ListExecutions(pb.ListExecutionsRequest()),
    }


def measure(ask: Callable[[random.Random], object], times: int) -> list[float]:
    """Return how long each of so many calls took, in milliseconds, sorted; a few before them are not counted."""
    chance = random.Random(7)
    for _ in range(20):
        ask(chance)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask(chance)
        took.append(1_000 * (time.perf_counter() - began))
    return sorted(took)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs that are stored (default 100,000)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the ledger (default 1,000,000)")
    parser.add_argument("--calls", type=int, default=1_000, help="calls of each question (default 1,000)")
    given = parser.parse_args()
    origin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - (given.rows // SHARE + 48) * HOUR
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        database = connect(servers.mongodb.url)
        for collection, indexes in INDEXES.items():
            database[collection].create_indexes(indexes)
        began = time.monotonic()
        fill(database, given.jobs, given.rows, origin)
        stored = database[executions.COLLECTION].estimated_document_count()
        print(f"{stored:,} rows of {given.jobs:,} jobs stored in {time.monotonic() - began:.0f} s", flush=True)
        port = free_port()
        environment = {
            **os.environ, **servers.environment, "GRPC_PORT": str(port), "SERVER_METRICS_PORT": str(free_port()),
            "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        server = subprocess.Popen([sys.executable, "-m", "scheduler_service"], cwd=ROOT, env=environment)
        try:
            is_ready, deadline = ready.grpc_serving(port), time.monotonic() + READY
            while not is_ready():
                if time.monotonic() > deadline:
                    sys.exit("the server did not get ready")
                time.sleep(0.1)
            print(f"{'milliseconds':<44}{'median':>8}{'p99':>8}{'longest':>9}")
            for name, ask in questions(f"localhost:{port}", given.jobs, given.rows, origin).items():
                took = measure(ask, given.calls)
                print(
                    f"{name:<44}{took[len(took) // 2]:8.1f}{took[len(took) * 99 // 100]:8.1f}{took[-1]:9.1f}",
                    flush=True,
                )
        finally:
            server.terminate()
            server.wait()
        database.client.close()


if __name__ == "__main__":
    main()
