"""What a forecast of all jobs takes: python -m benchmarks.forecast [--jobs 100000 1000000].

On a private MongoDB, by the process that the server starts for it. Of a hundred jobs, 40 fire daily or weekly by one of
200 cron expressions, 40 every so many seconds, minutes or hours since they were made, 10 at a time of their own (`H`),
5 once, and 5 daily with jitter. Printed are the seconds from the start of the process to the load in hand, those that
it computed (it gives way to all others), the fires that it counted, and its highest memory.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dev.mongodb import start_mongodb
from dev.run import ROOT
from scheduler_service.planning.forecast import in_process
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.messaging.queues import load_queues
from shared.store import jobs
from shared.store.indexes import INDEXES
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 5_000
INTERVALS = ({"seconds": "1"}, {"seconds": "30"}, {"minutes": "1"}, {"minutes": "5"}, {"hours": "1"}, {"days": "1"})
TYPES = ("SCRAPING", "ANALYSIS", "CUSTOM")
TARGETS = ("scraper-service", "pricing-service")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo")


def terms(number: int, chance: random.Random, now: datetime) -> ScheduleTerms:
    """Return the schedule of the job of this number."""
    kind = number % 100
    if kind < 40:
        which = chance.randrange(200)
        expression = f"{which % 60} {which % 24} * * {'*' if which % 5 else 'MON'}"
        return ScheduleTerms("cron", {"expression": expression}, timezone=ZONES[which % 4])
    if kind < 80:
        return ScheduleTerms("interval", chance.choice(INTERVALS))
    if kind < 90:
        return ScheduleTerms("cron", {"expression": "H H * * *"})
    if kind < 95:
        at = now + timedelta(seconds=chance.randrange(86_400))
        return ScheduleTerms("once", {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
    return ScheduleTerms("cron", {"expression": "0 8 * * *"}, jitter=timedelta(hours=1))


def documents(count: int) -> Iterator[dict[str, Any]]:
    """Return jobs, made in the last day."""
    queues = load_queues(ROOT / "config")
    defaults = JobDefaults(queues.names, queues.by_type)
    now = datetime.now(UTC).replace(microsecond=0)
    chance = random.Random(1)
    for number in range(count):
        created = now - timedelta(seconds=chance.randrange(60, 86_400))
        draft = JobDraft(
            job_id=f"job-{number}", name=f"Benchmark {number}", job_type=chance.choice(TYPES),
            target_service=chance.choice(TARGETS), target_method="ScrapeCompetitorPrices",
            schedule=terms(number, chance, now), parameters={"max_products": 20},
        )  # fmt: skip
        yield jobs.new_document(define(draft, defaults, created), f"01k{number:023}", created, "benchmark")


def cpu_seconds() -> float:
    """Return what ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--jobs", type=int, nargs="+", default=[100_000, 1_000_000], help="how many are stored, in turn"
    )
    given = parser.parse_args()
    print(f"{'jobs':>12}{'seconds':>12}{'of them CPU':>14}{'fires':>16}{'MiB':>8}", flush=True)
    with TemporaryDirectory() as temporary:
        server = start_mongodb(Path(temporary))
        try:
            database = connect(server.url)
            stored = database[jobs.COLLECTION]
            stored.create_indexes(INDEXES[jobs.COLLECTION])
            made = documents(max(given.jobs))
            present = 0
            for count in sorted(given.jobs):
                while present < count:
                    batch = [next(made) for _ in range(min(BATCH, count - present))]
                    stored.insert_many(batch, ordered=False)
                    present += len(batch)
                began, used = time.monotonic(), cpu_seconds()
                load = asyncio.run(in_process(server.url)())
                seconds, used = time.monotonic() - began, cpu_seconds() - used
                fires = sum(map(sum, load.fires.values()))
                peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
                print(f"{load.jobs:12,}{seconds:12.1f}{used:14.1f}{fires:16,}{peak:8.0f}", flush=True)
            database.client.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
