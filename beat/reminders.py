"""Reminders: a row that cannot be read is named in the log, but not at each look that finds it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = get_logger()

REMINDER: Final = 600.0
"""Seconds after which a row is named again. A look comes every second, and a row may be in flight for hours."""
MOST: Final = 1000
"""Rows that are remembered as named; while there are so many, no other is named."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Reminders:
    """The rows that one duty of beat has named of late."""

    def __init__(self) -> None:
        self._named: dict[str, float] = {}
        """When, by the monotonic clock, by the row's id; the first one first."""

    def name(self, row: Mapping[str, Any], error: str) -> None:
        """Say that a row cannot be read, and why, unless it was said within REMINDER."""
        if self._is_to_be_named(row):
            log.warning("a row cannot be read", action="held_unreadable", execution_id=row["_id"], error=error)

    def name_newer(self, row: Mapping[str, Any], job_id: str, error: str) -> None:
        """Say that a job is left alone for a row of a newer release, unless it was said within REMINDER."""
        if self._is_to_be_named(row):
            log.warning(
                "a job is left to a newer beat",
                action="job_left_to_newer",
                job_id=job_id,
                execution_id=row["_id"],
                error=error,
            )

    def _is_to_be_named(self, row: Mapping[str, Any]) -> bool:
        now = monotonic()
        while self._named and next(iter(self._named.values())) <= now - REMINDER:
            del self._named[next(iter(self._named))]
        if row["_id"] in self._named or len(self._named) >= MOST:
            return False
        self._named[row["_id"]] = now
        return True

    def of_a_job(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those of some rows that say of which job they are; the others are named.

        One that has a list there is found for each job in it, and is of none.
        """
        return [row for row in rows if self._is_of_a_job(row)]

    def _is_of_a_job(self, row: Mapping[str, Any]) -> bool:
        uid = row.get("job_uid")
        if isinstance(uid, str):
            return True
        self.name(row, f"{uid!r} is not the uid of its job")
        return False

    def nominal_time(self, row: Mapping[str, Any]) -> datetime:
        """Return the nominal time of a row in flight, by which those of a job are put in order.

        One that has none comes after all others, and is named: it keeps none of them from being looked at.
        """
        nominal = row.get("nominal_time")
        if isinstance(nominal, datetime):
            return nominal
        self.name(row, f"{nominal!r} is not its nominal time")
        return _NEVER
