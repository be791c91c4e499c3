"""What an audit of a long ledger takes: python -m benchmarks.audit [--executions 1000000] [--jobs 1000].

On private servers, with the real server process and the real command. The ledger is of documents as beat and worker
write them: each job has fired every minute, every hundredth decision is a row that skips ten occurrences, and halfway
each job was given a new schedule. Printed are the seconds that the command took, and the memory of the server's process
(resident, of which the peak is the kernel's own VmHWM) before and at the most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.domain.execution import State
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.domain.plan import Mode, Row, Spec
from shared.messaging.queues import load_queues
from shared.store import executions, jobs
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

READY = 60.0
BATCH = 5_000
GAP = 10
EVERY = 100
MINUTE = timedelta(minutes=1)
STEP = timedelta(milliseconds=20)
STEPS = ((State.QUEUED, "beat@here:1"), (State.RUNNING, "worker@here:2"), (State.SUCCEEDED, "worker@here:2"))


def one_jobs_rows(job: dict[str, Any], rows: int, created: datetime) -> Iterator[dict[str, Any]]:
    """Return the documents of a job's ledger, the last of which lies a minute before now or so."""
    at = created
    for number in range(1, rows + 1):
        first = at + MINUTE
        if number == rows // 2:
            closing = Row(State.CLOSED, first, at + MINUTE / 2, 0)
            yield executions.scheduled_document(job, closing, first, "beat@here:1")
            job["epoch"] = 1
        elif number % EVERY:
            row = executions.scheduled_document(job, Row(State.PENDING, first, first), first, "beat@here:1")
            for name in ("open", "send_at"):
                del row[name]
            row["transitions"] += [
                {
                    "number": n,
                    "state": state.value,
                    "at": first + timedelta(milliseconds=20 * n),
                    "by": by,
                    "reason": "",
                }
                for n, (state, by) in enumerate(STEPS, start=2)
            ]
            ended = {"state": State.SUCCEEDED.value, "attempt": 1, "finished_at": first + MINUTE / 4}
            yield row | ended | {"result": json.dumps({"observations": 20, "failed": []}), "worker": "worker@here:2"}
            at = first
        else:
            last = at + GAP * MINUTE
            gap = Row(State.SKIPPED, first, last, GAP, "the execution of the occurrence before is still in flight")
            yield executions.scheduled_document(job, gap, last, "beat@here:1")
            at = last


def fill(database: Any, job_count: int, execution_count: int) -> int:
    """Store jobs, their history and their rows; return how many rows."""
    queues = load_queues(ROOT / "config")
    defaults = JobDefaults(queues.names, queues.by_type)
    rows = execution_count // job_count
    span = rows * MINUTE + rows // EVERY * (GAP - 1) * MINUTE
    created = (datetime.now(UTC) - span).replace(microsecond=0)
    waiting: list[dict[str, Any]] = []
    stored = 0
    for number in range(job_count):
        draft = JobDraft(
            job_id=f"job-{number}", name=f"Benchmark {number}", job_type="CUSTOM", target_service="scraper-service",
            target_method="ScrapeCompetitorPrices", schedule=ScheduleTerms("interval", {"minutes": "1"}),
            parameters={"competitor_ids": ["amazon", "walmart", "target"], "max_products": 20},
        )  # fmt: skip
        definition = define(draft, defaults, created)
        job = jobs.new_document(definition, f"01k{number:023}", created, "benchmark")
        half = created + sum_of(rows // 2 - 1) + MINUTE / 2
        for epoch, began in ((0, created), (1, half)):
            entry = jobs.revision_document(
                job["uid"], epoch, Spec(definition.schedule, Mode.ACTIVE), began, "benchmark", "benchmark"
            )
            database[jobs.REVISIONS].insert_one(entry)
        waiting += one_jobs_rows(job, rows, created)
        # Set aside, so that nothing is due: the benchmark has no beat.
        database[jobs.COLLECTION].insert_one(job | {"state": "ERROR", "wake_at": None, "updated_at": created})
        while len(waiting) >= BATCH or (waiting and number == job_count - 1):
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            database[executions.COLLECTION].insert_many(batch, ordered=False)
            stored += len(batch)
    return stored


def sum_of(rows: int) -> timedelta:
    """Return the time that so many rows of a job cover."""
    gaps = rows // EVERY
    return (rows - gaps) * MINUTE + gaps * GAP * MINUTE


def memory(pid: int, field: str) -> float:
    """Return a figure of a process's memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000, help="rows of the ledger (default 1,000,000)")
    parser.add_argument("--jobs", type=int, default=1_000, help="jobs that they are shared among (default 1,000)")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        database = connect(servers.mongodb.url)
        lay_out(database)
        began = time.monotonic()
        stored = fill(database, given.jobs, given.executions)
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
            before = memory(server.pid, "VmRSS")
            began = time.monotonic()
            said = subprocess.run(
                [sys.executable, "-m", "cli", "audit", "--server", f"localhost:{port}"],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - began
            peak = memory(server.pid, "VmHWM")
        finally:
            server.terminate()
            server.wait()
        database.client.close()
    print(said.stdout + said.stderr, end="")
    print(f"{'exit code':<34}{said.returncode:10}")
    print(f"{'seconds':<34}{seconds:10.1f}")
    print(f"{'rows a second':<34}{stored / seconds:10,.0f}")
    print(f"{'server memory before, MiB':<34}{before:10.0f}")
    print(f"{'server memory at the most, MiB':<34}{peak:10.0f}")


if __name__ == "__main__":
    main()
