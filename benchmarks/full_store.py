"""A full store: jobs of several kinds, their history, and the ledger that beat and workers would have written."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from beat.rollup import Rollup
from dev.run import ROOT
from shared.domain.execution import State
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.domain.plan import Mode, Row, Spec
from shared.messaging.queues import load_queues
from shared.store import executions, jobs
from shared.store.layout import collections, lay_out, take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

BATCH = 5_000
HOUR = timedelta(hours=1)
EDITED, EDITS = 1_000, 50
"""So many jobs were edited so often."""
LARGE, SHARE = 10, 100
"""So many jobs have this part of all rows each."""
SHARDS = 1_000
"""Each job has a label that it shares with one in so many."""
FAILING = 50
"""One job in so many fails now and then."""
KINDS = ("SCRAPING", "ANALYSIS", "MONITORING", "MAINTENANCE", "CUSTOM")
HOURLY = (
    ("interval", {"hours": "1"}, "UTC"),
    ("cron", {"expression": "0 * * * *"}, "America/New_York"),
    ("cron", {"minute": "0"}, "Europe/Berlin"),
)
"""How jobs are scheduled, by turns."""


def fill(database: Any, job_count: int, row_count: int, origin: datetime, *, index: bool = True) -> None:
    """Store jobs that fire every hour, the history of their schedules, and their rows from `origin` on; then index."""
    queues = load_queues(ROOT / "config")
    defaults = JobDefaults(queues.names, queues.by_type)
    definitions = [
        define(
            JobDraft(
                job_id="job", name="Benchmark", job_type=kind, target_service="scraper-service",
                target_method="ScrapeCompetitorPrices",
                schedule=ScheduleTerms(schedule, terms, timezone=zone, start_time=origin),
                parameters={"competitor_ids": ["amazon", "walmart", "target"], "max_products": 20},
                labels={"team": f"team-{n}"},
            ),
            defaults,
            origin,
        )
        for schedule, terms, zone in HOURLY
        for n, kind in enumerate(KINDS)
    ]  # fmt: skip
    take(database, collections())
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
        job["labels"] = [*job["labels"], {"key": "shard", "value": str(number % SHARDS)}]
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
        waiting[executions.COLLECTION] += rows_of(job, number, rows, origin)
        ended = origin + rows * HOUR
        # No beat runs: what is due is far away.
        job |= {"covered": ended, "wake_at": ended + timedelta(days=3650), "next_nominal": ended + HOUR}
        waiting[jobs.COLLECTION].append(job)
        flush(BATCH)
    flush(0)
    if index:  # after filling: to sort all at once takes less than to keep them in order
        lay_out(database)


def roll_up(database: Any) -> None:
    """Count what has ended, as beat does."""
    beat = Rollup(database, "benchmark")
    while beat.run_once():
        pass


def became(job: int, hour: int) -> State:
    """Return what became of an occurrence, by the numbers of its job and of the hour: every tenth is not run."""
    if hour % 10 == 0:
        return State.SKIPPED
    return State.FAILED if hour % 10 == 5 and job % FAILING == FAILING - 1 else State.SUCCEEDED


def rows_of(job: dict[str, Any], job_number: int, count: int, origin: datetime) -> Iterator[dict[str, Any]]:
    """Return the rows of a job: what was SKIPPED was so because the one before it still ran."""
    for number in range(1, count + 1):
        at = origin + number * HOUR
        state = became(job_number, number)
        if state is State.SKIPPED:
            before = f"{job['uid']}.{job['epoch']}.{at - HOUR:%Y%m%dT%H%M%SZ}"
            skipped = Row(State.SKIPPED, at, at, 1, f"the execution {before} is still in flight")
            yield executions.scheduled_document(job, skipped, at, "beat@here:1")
            continue
        row = executions.scheduled_document(job, Row(State.PENDING, at, at), at, "beat@here:1")
        for name in ("open", "send_at"):
            del row[name]
        steps = ((State.QUEUED, "beat@here:1"), (State.RUNNING, "worker@here:2"), (state, "worker@here:2"))
        row["transitions"] += [
            {"number": n, "state": step.value, "at": at + timedelta(milliseconds=20 * n), "by": by, "reason": ""}
            for n, (step, by) in enumerate(steps, start=2)
        ]
        took = HOUR + timedelta(minutes=1) if number % 10 == 9 else timedelta(seconds=15)
        row |= {
            "state": state.value, "attempt": 1, "started_at": at, "finished_at": at + took, "worker": "worker@here:2",
        }  # fmt: skip
        if state is State.FAILED:
            error = {"code": "UNAVAILABLE", "message": "the target did not answer", "retryable": True}
            yield row | {"error": error}
        else:
            yield row | {"result": '{"observations": 20, "failed": []}'}
