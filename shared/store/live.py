"""What is in progress now, for those who look: what workers run, and what waits in which queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MOST_READ: Final = 50_000
"""Running attempts that are read at the most: thousands of workers' worth."""
MOST_COUNTED: Final = 100_000
"""Waiting executions that are counted at the most, of one queue: beyond that it matters little how many more wait."""

RUNNING: Final = {"lease.expires_at": {"$type": "date"}, "state": State.RUNNING.value}
"""Finds the attempts that are in progress; by the index of leases."""

RUNNING_FIELDS: Final = dict.fromkeys(
    ("lease", "queue", "job_id", "job_name", "target_method", "started_at", "attempt"), 1
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt in progress."""

    execution_id: str
    job_id: str
    job_name: str
    target_method: str
    queue: str
    started_at: datetime
    attempt: int
    worker: str
    heard_at: datetime
    """When its worker last renewed its lease, or took it."""


def to_attempt(row: Mapping[str, Any]) -> Attempt:
    """Read a running row."""
    lease = row["lease"]
    return Attempt(
        execution_id=row["_id"],
        job_id=row["job_id"],
        job_name=row["job_name"],
        target_method=row["target_method"],
        queue=row["queue"],
        started_at=row["started_at"],
        attempt=row["attempt"],
        worker=lease["holder"],
        heard_at=lease["expires_at"] - timedelta(milliseconds=lease.get("length", 0)),
    )


def waiting_in(queue: str) -> dict[str, Any]:
    """Find the executions whose message was confirmed, and that no worker has begun; by the index of those."""
    return {"open": True, "state": State.QUEUED.value, "queue": queue}


WAITING_LONGEST: Final = [("queue", 1), ("queued_at", 1)]
