"""A job's policies: what happens when something does not go as the schedule says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared.domain.errors import InvalidInput, Violation

LONGEST_GRACE: Final = timedelta(days=366)
LARGEST_LIMIT: Final = 1_000
"""Of executions that one policy may fire, hold or run at a time; every plan of such a job reads as many rows."""


class Misfire(StrEnum):
    """What becomes of occurrences that are found late by more than the grace."""

    FIRE_LATEST = "FIRE_LATEST"
    FIRE_ALL = "FIRE_ALL"
    SKIP = "SKIP"


class Overlap(StrEnum):
    """What becomes of an occurrence while an earlier one of the job's schedule has not ended."""

    SKIP = "SKIP"
    BUFFER_ONE = "BUFFER_ONE"
    BUFFER_ALL = "BUFFER_ALL"
    CANCEL_PREVIOUS = "CANCEL_PREVIOUS"
    ALLOW = "ALLOW"


class WorkerLost(StrEnum):
    """What becomes of an attempt whose worker fell silent: the target may have done its work, or not."""

    RETRY = "RETRY"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Policies:
    """What a job does beside firing on time. Raises InvalidInput when a value is out of bounds.

    misfire_limit is FIRE_ALL's, buffer_limit BUFFER_ALL's, max_concurrent ALLOW's; kept, but not looked at, otherwise.
    pause_on_failure is a number of failed executions in a row; 0 means never.
    """

    misfire: Misfire = Misfire.FIRE_LATEST
    misfire_grace: timedelta = timedelta(seconds=60)
    misfire_limit: int = 100
    overlap: Overlap = Overlap.SKIP
    buffer_limit: int = 100
    max_concurrent: int = 10
    on_worker_lost: WorkerLost = WorkerLost.RETRY
    pause_on_failure: int = 0
    delete_after_done: bool = False

    def __post_init__(self) -> None:
        if violations := self._violations():
            raise InvalidInput(violations)

    @property
    def most_waiting(self) -> int:
        """How many occurrences may wait for earlier ones to end."""
        match self.overlap:
            case Overlap.BUFFER_ONE | Overlap.CANCEL_PREVIOUS:
                return 1
            case Overlap.BUFFER_ALL:
                return self.buffer_limit
            case _:
                return 0

    @property
    def most_running(self) -> int:
        """How many executions of the schedule may be in flight at a time without waiting."""
        return self.max_concurrent if self.overlap is Overlap.ALLOW else 1

    def _violations(self) -> list[Violation]:
        found = []
        if not timedelta(0) <= self.misfire_grace <= LONGEST_GRACE:
            seconds = f"{self.misfire_grace.total_seconds():g} s"
            found.append(Violation("policies.misfire_grace", f"{seconds} is not between 0 s and 366 days"))
        limits = {name: getattr(self, name) for name in ("misfire_limit", "buffer_limit", "max_concurrent")}
        found += [
            Violation(f"policies.{name}", f"{limit} is not between 1 and {LARGEST_LIMIT:,}")
            for name, limit in limits.items()
            if not 1 <= limit <= LARGEST_LIMIT
        ]
        if not 0 <= self.pause_on_failure <= LARGEST_LIMIT:
            said = f"{self.pause_on_failure} is not a number of failures (0-{LARGEST_LIMIT:,}; 0 means never)"
            found.append(Violation("policies.pause_on_failure", said))
        return found
