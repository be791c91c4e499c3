"""What a fan-out costs: python -m benchmarks.fan_out [--items 10000] [--parallel 100].

On private servers, with one beat, one worker and a target that answers at once. Three times the same number of calls:
as single executions, all inserted at once, which the relay sends; as a fan-out; and as a fan-out of which only so many
may run at a time. Printed are the seconds until all rows were there, and until all had ended (of a fan-out, the whole),
and how that compares with the single ones of the same run.
"""

from __future__ import annotations

import argparse
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.lateness import Target, processes
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.domain.flow import FanOut
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.messaging.queues import load_queues
from shared.store import executions, jobs
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 0.05
"""Seconds between two looks at how far it is."""
YEARLY = {"expression": "0 0 1 1 *"}


class Measured(NamedTuple):
    """Seconds from the beginning."""

    inserted: float
    ended: float


def a_job(database: Any, job_id: str, flow: FanOut | None) -> dict[str, Any]:
    """Store a job that fires by hand only, as the server does."""
    queues = load_queues(ROOT / "config")
    draft = JobDraft(
        job_id=job_id, name=job_id, job_type="CUSTOM", target_service="benchmark", target_method="Call",
        schedule=ScheduleTerms("cron", YEARLY), flow=flow,
    )  # fmt: skip
    now = datetime.now(UTC)
    definition = define(draft, JobDefaults(queues=queues.names, queue_by_type=queues.by_type), now)
    document = jobs.new_document(definition, f"uid-{job_id}", now, "benchmark")
    database[jobs.COLLECTION].insert_one(document)
    return document


def single(database: Any, items: int) -> Measured:
    """Run so many executions that have nothing to do with each other."""
    job = a_job(database, "single", None)
    rows = database[executions.COLLECTION]
    began, now = time.monotonic(), datetime.now(UTC)
    documents = [
        executions.manual_document(job, f"{number:05}", job["queue"], "", now, "benchmark")
        | {"send_at": now + timedelta(seconds=1)}
        for number in range(items)
    ]
    rows.insert_many(documents, ordered=False)
    inserted = time.monotonic() - began
    wait_for(lambda: not rows.count_documents({"job_uid": job["uid"], "open": True}))
    return Measured(inserted, time.monotonic() - began)


def fan_out(database: Any, items: int, parallel: int) -> Measured:
    """Run one execution with so many parts."""
    flow = FanOut(items=({},) * items, max_parallel=parallel)
    job = a_job(database, f"fan-out-{parallel}", flow)
    rows = database[executions.COLLECTION]
    began, now = time.monotonic(), datetime.now(UTC)
    whole = executions.manual_document(job, "1", job["queue"], "", now, "benchmark") | {"send_at": now}
    rows.insert_one(whole)
    wait_for(lambda: rows.find_one({"_id": whole["_id"], "expanded": items}, {"_id": 1}))
    inserted = time.monotonic() - began
    wait_for(lambda: not rows.find_one({"_id": whole["_id"], "open": True}, {"_id": 1}))
    return Measured(inserted, time.monotonic() - began)


def wait_for(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    while not condition():
        time.sleep(LOOK)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--items", type=int, default=10_000, help="calls of each kind (default 10,000, which is the most)"
    )
    parser.add_argument("--parallel", type=int, default=100, help="how many run at a time in the third (default 100)")
    given = parser.parse_args()
    target = Target()
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        folder = Path(temporary)
        shutil.copytree(ROOT / "config", folder / "config")
        with (folder / "config" / "targets.yaml").open("a") as targets:
            targets.write(f"  benchmark:\n    address: localhost:{target.port}\n")
        environment = {
            **servers.environment, "CONFIG_DIR": str(folder / "config"), "BEAT_METRICS_PORT": str(free_port()),
            "WORKER_METRICS_PORT": str(free_port()), "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        database = connect(servers.mongodb.url)
        lay_out(database)
        with processes(environment, folder):
            alone = single(database, given.items)
            found = {
                "single executions": alone,
                "a fan-out": fan_out(database, given.items, 0),
                f"a fan-out, {given.parallel} at a time": fan_out(database, given.items, given.parallel),
            }
        database.client.close()
    target.stop()
    print(f"{given.items:,} calls, in seconds:")
    print(f"{'':<34}{'rows':>8}{'ended':>8}{'ratio':>8}")
    for what, measured in found.items():
        print(f"{what:<34}{measured.inserted:8.1f}{measured.ended:8.1f}{measured.ended / alone.ended:8.2f}")


if __name__ == "__main__":
    main()
