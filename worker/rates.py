"""Rate limits of tasks, as "10/m": each worker lets so many attempts begin in that time, across its processes."""

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

    from shared.store.executions import Claimed, Move


SHORT_WAIT: Final = timedelta(seconds=1)
"""A turn that comes so soon is waited for: to give the attempt back, and to get it again, takes about as long."""


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
        if not per_second:
            return None
        # Of an attempt that comes back when its turn is, also if another worker has given that: which one gets the
        # message is up to the broker.
        given_by = _turn_given_by(claimed)
        worker, interval = given_by or self._worker, timedelta(seconds=1 / per_second)
        taken = self._take(
            rate_limits.take_turn(claimed.target_method, worker, interval, SHORT_WAIT, has_turn=given_by is not None)
        )
        wait = taken["turn"] - taken["now"]
        if wait <= timedelta(0):
            return None
        return Turn(taken["turn"], wait, {"worker": worker, "attempt": claimed.attempt + 1})

    def _take(self, move: Move) -> Any:
        for _ in range(_TRIES):
            try:
                taken: Any = self._limits.find_one_and_update(
                    move.filter, move.update, rate_limits.FIELDS, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:  # another one was the first this moment
                continue
            return taken
        raise RuntimeError(f"no turn could be taken of {move.filter}")


def _turn_given_by(claimed: Claimed) -> str | None:
    """Return the worker that has given an attempt the turn for which it was given back, if it was."""
    slot = claimed.rate_slot or {}
    return slot.get("worker") if slot.get("attempt") == claimed.attempt else None


_TRIES: Final = 5
