"""Rate limits of tasks, as "10/m": so many attempts begin in that time, on each worker, across its processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from celery.utils.time import rate
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from shared.store import rate_limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pymongo.database import Database

    from shared.store.executions import Claimed


@dataclass(frozen=True, slots=True)
class Turn:
    """When an attempt may begin, by the database's clock, and how long that is from now on."""

    at: datetime
    wait: timedelta
    slot: Mapping[str, Any]


class RateLimits:
    """Hands out turns. Each is an interval after the one before it, however many processes ask."""

    def __init__(self, database: Database[dict[str, Any]], worker: str) -> None:
        self._limits = database[rate_limits.COLLECTION]
        self._worker = worker

    def turn(self, claimed: Claimed, limit: str | float | None) -> Turn | None:
        """Return when an attempt has its turn; None when that is now. Raises PyMongoError."""
        per_second = rate(limit) if limit else 0  # type: ignore[arg-type]  # a number is one a second
        if not per_second or self._has_turn(claimed):
            return None
        taken = self._take(claimed.target_method, timedelta(seconds=1 / per_second))
        wait = taken["turn"] - taken["now"]
        if wait <= timedelta(0):
            return None
        return Turn(taken["turn"], wait, {"worker": self._worker, "attempt": claimed.attempt + 1})

    def _has_turn(self, claimed: Claimed) -> bool:
        """Return whether the attempt was given back until its turn, and has come back to where it has one."""
        slot = claimed.rate_slot or {}
        return bool(slot.get("worker") == self._worker and slot.get("attempt") == claimed.attempt)

    def _take(self, task: str, interval: timedelta) -> Any:
        move = rate_limits.take_turn(task, self._worker, interval)
        for _ in range(_TRIES):
            try:
                taken: Any = self._limits.find_one_and_update(
                    move.filter, move.update, rate_limits.FIELDS, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:  # another one was the first this moment
                continue
            return taken
        raise RuntimeError(f"no turn could be taken for {task}")


_TRIES: Final = 5
