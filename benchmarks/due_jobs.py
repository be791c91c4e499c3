"""A store full of jobs that rest, among which as many become due as a round of a benchmark wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo import WriteConcern

from dev.run import ROOT
from shared.domain.job import JobDefaults, JobDraft, JobType, ScheduleTerms, define
from shared.domain.schedule import to_document
from shared.messaging.queues import load_queues
from shared.store import jobs
from shared.store.layout import collections, lay_out, take

if TYPE_CHECKING:
    from pymongo.database import Database

BATCH: Final = 10_000
PERIODS: Final = (1, 2, 4, 8, 24)
"""Hours between two occurrences, of intervals."""
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York")
"""Of cron schedules that fire every hour; those of two more kinds fire every day."""
RUNS: Final = 1_000
"""Of so many jobs, each has another number of runs behind it."""


class DueJobs:
    """Jobs of one database: those at rest, and those that are made due. Half of these are cron, half intervals.

    Each of them has one occurrence then, and the next one an hour later at the earliest. They lie spread through the
    whole store.
    """

    def __init__(self, database: Database[dict[str, Any]], at_rest: int, most_due: int) -> None:
        queues = load_queues(ROOT / "config")
        self._defaults = JobDefaults(queues.names, queues.by_type)
        self._jobs = database[jobs.COLLECTION]
        count = at_rest + most_due
        self.ids = [f"job-{number * count // most_due}" for number in range(most_due)]
        """Of those that are made due."""
        take(database, collections())
        self._fill(count)
        lay_out(database)  # after filling: to sort all at once takes less than to keep them in order

    def _fill(self, count: int) -> None:
        now = datetime.now(UTC)
        kinds = [
            jobs.new_document(
                define(self._draft(kind, ScheduleTerms("cron", {"expression": "0 0 1 1 *"})), self._defaults, now),
                "uid",
                now,
                "benchmark",
            )
            for kind in JobType
        ]
        filling = self._jobs.with_options(write_concern=WriteConcern(w=1, j=False))
        for begin in range(0, count, BATCH):
            documents = []
            for number in range(begin, min(begin + BATCH, count)):
                uid = f"01k{number:023}"
                own: dict[str, Any] = {"_id": f"job-{number}", "uid": uid, "name": f"Prices of shop {number}"}
                own |= {"partition": jobs.partition_of(uid), "fired": number % RUNS}
                documents.append(kinds[number % len(kinds)] | own)
            filling.insert_many(documents, ordered=False)

    def make_due(self, count: int, last: datetime, seconds: int = 1) -> None:
        """Let that many jobs have an occurrence, spread over some whole seconds, of which the last is given (UTC)."""
        for back in range(seconds):
            at = last - timedelta(seconds=back)
            every = [
                ScheduleTerms("interval", {"hours": str(hours)}, start_time=at - timedelta(hours=hours))
                for hours in PERIODS
            ]
            hourly = [
                ScheduleTerms("cron", {"expression": f"{at.second} {at.minute} * * * *"}, timezone=zone)
                for zone in ZONES
            ]
            daily = ScheduleTerms("cron", {"expression": f"{at.second} {at.minute} {at.hour} * * *"})
            kinds = [*every, *hourly, daily, daily]
            for number, terms in enumerate(kinds):
                draft = self._draft(JobType.CUSTOM, terms)
                schedule = define(draft, self._defaults, at - timedelta(hours=25)).schedule
                chosen = self.ids[back:count:seconds][number :: len(kinds)]
                self._jobs.update_many(
                    {"_id": {"$in": chosen}},
                    {
                        "$set": {
                            "installed.schedule": to_document(schedule),
                            "covered": at - timedelta(milliseconds=1),
                            "next_nominal": at,
                            "wake_at": at,
                        }
                    },
                )

    def _draft(self, kind: JobType, terms: ScheduleTerms) -> JobDraft:
        return JobDraft(
            job_id="job", name="Prices", job_type=kind.value, target_service="scraper-service",
            target_method="ScrapeCompetitorPrices", schedule=terms, labels={"team": "prices"},
            parameters={"competitor_ids": ["amazon", "walmart", "target"], "max_products": 20},
        )  # fmt: skip
