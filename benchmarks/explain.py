"""How long questions take on a full store: python -m benchmarks.explain [--jobs 100000] [--rows 1000000] [--quick].

On private servers, with the real server process, asked over gRPC one at a time: explanations, previews, and lists of
jobs and of executions. The store is filled as benchmarks.full_store says: a thousand jobs were edited fifty times, and
ten of them have a hundredth of all rows each. Printed is a table: for each question the median and the 99th percentile
in milliseconds, and, which depends less on what else the machine does, the milliseconds of processor time that the
server and mongod spend on one, and how many times those of a bare GetScheduledJob that is.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.full_store import EDITED, HOUR, LARGE, SHARE, became, fill
from benchmarks.processor import seconds_of
from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.planning_service_pb2_grpc import PlanningServiceStub
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.store import executions
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

READY = 60.0
FULL = (100_000, 1_000_000, 500)
QUICK = (10_000, 100_000, 200)
"""Jobs, rows, and calls of each question."""
WARM = 20
"""Calls of each question that are not counted."""
SCHEDULES = (
    {"expression": "0 8 * * MON-FRI"},
    {"expression": "*/15 * * * *"},
    {"expression": "30 2 * * *"},
    {"expression": "0 9 ? * FRI#2"},
    {"expression": "0 0 29 2 *"},
)
MEASURE = "GetScheduledJob"
"""The question that the others are compared with."""


Ask: TypeAlias = "Callable[[random.Random], object]"
"""Asks once, about what chance says."""


def questions(address: str, job_count: int, row_count: int, origin: datetime) -> dict[str, Ask]:
    """Return what is asked, each by its name."""
    channel = grpc.insecure_channel(address)
    schedules, scheduler = PlanningServiceStub(channel), SchedulerServiceStub(channel)
    hours = (row_count - LARGE * (row_count // SHARE)) // job_count

    def any_job(chance: random.Random) -> str:
        return f"job-{chance.randrange(job_count)}"

    def explain(jobs: int, hours: int) -> Ask:
        def ask(chance: random.Random) -> None:
            job, hour = chance.randrange(jobs), chance.randint(1, hours)
            instant = Timestamp()
            instant.FromDatetime(origin + hour * HOUR)
            request = planning.ExplainOccurrenceRequest(job_id=f"job-{job}", nominal_time=instant)
            verdict = schedules.ExplainOccurrence(request).verdict
            said = planning.ExplainOccurrenceResponse.Verdict.Name(verdict)
            assert said == f"VERDICT_{became(job, hour)}", f"{said} of hour {hour} of job-{job}"

        return ask

    def preview(count: int, job: Callable[[random.Random], str] = lambda _: "") -> Ask:
        def ask(chance: random.Random) -> None:
            config = pb.ScheduleConfig(type="cron", config=chance.choice(SCHEDULES), timezone="America/New_York")
            config.exclusions.holidays.append("US")
            schedules.PreviewSchedule(
                planning.PreviewScheduleRequest(schedule_config=config, count=count, job_id=job(chance))
            )

        return ask

    def jobs_by(text: str, order: str = "") -> Ask:
        request = pb.ListScheduledJobsRequest(filter=text, order_by=order)
        return lambda _: scheduler.ListScheduledJobs(request)

    def rows_by(text: str, **fields: Any) -> Ask:
        request = pb.ListExecutionsRequest(filter=text, **fields)
        return lambda _: scheduler.ListExecutions(request)

    return {
        MEASURE: lambda chance: scheduler.GetScheduledJob(pb.GetScheduledJobRequest(job_id=any_job(chance))),
        "ExplainOccurrence": explain(job_count, hours),
        "ExplainOccurrence, a job of 50 edits": explain(min(EDITED, job_count), hours),
        "ExplainOccurrence, a job of many rows": explain(LARGE, row_count // SHARE),
        "PreviewSchedule, 10 fires": preview(10),
        "PreviewSchedule, 10 fires beside a job": preview(10, any_job),
        "PreviewSchedule, 100 fires": preview(100),
        "ListScheduledJobs": jobs_by(""),
        "ListScheduledJobs, labels.team": jobs_by('labels.team = "team-3"'),
        "ListScheduledJobs, labels of one in 1,000": jobs_by('labels.shard = "7"'),
        "ListScheduledJobs, state": jobs_by("state = ACTIVE"),
        "ListScheduledJobs, job_type and queue": jobs_by("job_type = SCRAPING AND queue = scraping"),
        "ListScheduledJobs, two that exclude each other": jobs_by('job_type = SCRAPING AND labels.team = "team-3"'),
        "ListScheduledJobs, name": jobs_by('name = "Benchmark 12*"', "name"),
        "ListScheduledJobs, next_fire_time": jobs_by("next_fire_time < 2100-01-01T00:00:00Z", "next_fire_time"),
        "ListExecutions": rows_by(""),
        "ListExecutions, of one job": lambda chance: scheduler.ListExecutions(
            pb.ListExecutionsRequest(job_id=any_job(chance), include_decisions=True)
        ),
        "ListExecutions, state = FAILED": rows_by("state = FAILED"),
        "ListExecutions, state = SUCCEEDED AND queue": rows_by("state = SUCCEEDED AND queue = analysis"),
        "ListExecutions, a rare queue": rows_by("queue = manual"),
        "ListExecutions, finished_at": rows_by("finished_at > 2020-01-01T00:00:00Z", order_by="finished_at desc"),
    }


@dataclass(frozen=True)
class Took:
    """What calls of one question took: milliseconds each, sorted; and of processor time, on average, by process."""

    each: Sequence[float]
    processor: Mapping[str, float]


def measure(ask: Ask, times: int, processes: Mapping[str, int]) -> Took:
    """Ask so many times. processes: pids by name."""
    chance = random.Random(7)
    for _ in range(WARM):
        ask(chance)
    each = []
    before = {name: seconds_of(pid) for name, pid in processes.items()}
    for _ in range(times):
        began = time.perf_counter()
        ask(chance)
        each.append(1_000 * (time.perf_counter() - began))
    processor = {name: 1_000 * (seconds_of(pid) - before[name]) / times for name, pid in processes.items()}
    return Took(sorted(each), processor)


@contextmanager
def serving(environment: Mapping[str, str], log: int | None = None) -> Iterator[tuple[str, int]]:
    """Run the server meanwhile; return its address and pid. log: where its log goes, in place of standard error."""
    port = free_port()
    own = {
        "GRPC_PORT": str(port),
        "SERVER_METRICS_PORT": str(free_port()),
        "LOG_LEVEL": os.environ.get("XLOG", "WARNING"),
    }
    command = [sys.executable, "-m", "scheduler_service"]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **own, **environment}, stderr=log)
    try:
        is_ready, deadline = ready.grpc_serving(port), time.monotonic() + READY
        while not is_ready():
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit("the server did not get ready")
            time.sleep(0.1)
        yield f"localhost:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def ask_all(asked: Mapping[str, Ask], calls: int, processes: Mapping[str, int]) -> None:
    """Ask each question so many times, and print the table, in Markdown."""
    print(f"\n| question | median | p99 | {' | '.join(f'{name} ms' for name in processes)} | times a {MEASURE} |")
    print("| --- |" + " --- |" * (len(processes) + 3))
    bare = 0.0
    for name, ask in asked.items():
        took = measure(ask, calls, processes)
        spent = sum(took.processor.values())
        bare = bare or spent
        cells = [took.each[len(took.each) // 2], took.each[len(took.each) * 99 // 100], *took.processor.values()]
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} | {spent / bare:.1f} |", flush=True)


def main() -> None:
    """Fill the store, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs and rows, and fewer calls")
    parser.add_argument("--jobs", type=int, help="jobs that are stored (default 100,000)")
    parser.add_argument("--rows", type=int, help="rows of the ledger (default 1,000,000)")
    parser.add_argument("--calls", type=int, help="calls of each question (default 500)")
    given = parser.parse_args()
    jobs, rows, calls = QUICK if given.quick else FULL
    jobs, rows, calls = given.jobs or jobs, given.rows or rows, given.calls or calls
    origin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - (rows // SHARE + 48) * HOUR
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        database = connect(servers.mongodb.url)
        began = time.monotonic()
        fill(database, jobs, rows, origin)
        stored = database[executions.COLLECTION].estimated_document_count()
        print(f"{stored:,} rows of {jobs:,} jobs stored in {time.monotonic() - began:.0f} s", flush=True)
        with serving(servers.environment) as (address, pid):
            ask_all(questions(address, jobs, rows, origin), calls, {"server": pid, "mongod": servers.mongodb.pid})
        database.client.close()


if __name__ == "__main__":
    main()
