"""A client for the scheduler, typed, blocking or asynchronous.

    from scheduler_client import SchedulerClient, cron

    with SchedulerClient("localhost:50054", actor="pricing") as scheduler:
        scheduler.create_job(
            job_id="nightly", name="Nightly", target="scraper-service", method="ScrapeCompetitorPrices",
            parameters={"competitor_ids": ["amazon"]}, schedule=cron("0 2 * * *", tz="America/New_York"),
        )
        execution = scheduler.wait(scheduler.run("nightly"))

Results are the messages of the API, as shared/proto has them with their types; `to_dict`, `to_datetime` and
`to_timedelta` make Python's values of what they hold.
"""

from scheduler_client.aio import AsyncSchedulerClient
from scheduler_client.client import SchedulerClient
from scheduler_client.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    LimitReached,
    NotFound,
    OutOfRange,
    SchedulerError,
    Unavailable,
    Violation,
)
from scheduler_client.schedules import cron, every, once
from scheduler_client.values import to_datetime, to_dict, to_timedelta

__all__ = [
    "AlreadyExists",
    "AsyncSchedulerClient",
    "Conflict",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidInput",
    "LimitReached",
    "NotFound",
    "OutOfRange",
    "SchedulerClient",
    "SchedulerError",
    "Unavailable",
    "Violation",
    "cron",
    "every",
    "once",
    "to_datetime",
    "to_dict",
    "to_timedelta",
]
