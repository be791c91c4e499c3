"""How far beat has counted what ended, for those who count the rest themselves."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.jobs.together import Together
from shared.domain.rollup import HOUR, counted, floor
from shared.store import rollups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from pymongo.asynchronous.database import AsyncDatabase

    from shared.domain.rollup import Piece, Progress

KEPT: Final = 1.0
"""Seconds for which an answer is good: by an earlier one the same is counted, only more of it by its rows."""


class Counted:
    """What roll-ups tell of a window that ends now, and what rows have to. Raises PyMongoError."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], now: Callable[[], Awaitable[datetime]]) -> None:
        """now: asks for the database's time."""
        self._progress = database[rollups.PROGRESS]
        self._now = now
        self._ask = Together(self._read)
        self._known: tuple[Progress | None, datetime] | None = None
        self._asked_at = 0.0

    async def since(self, window: timedelta) -> tuple[list[Piece], datetime]:
        """Return which roll-ups count what has ended since the full hour in which a window begins, until an instant.

        And this instant, from which on rows tell.
        """
        if self._known is None or monotonic() - self._asked_at > KEPT:
            self._known, self._asked_at = await self._ask(), monotonic()
        progress, now = self._known
        start = floor(now - window, HOUR)
        return ([], start) if progress is None else counted(progress, start, now)

    async def _read(self) -> tuple[Progress | None, datetime]:
        standing = await self._progress.find_one(rollups.PROGRESS_FILTER)
        return None if standing is None else rollups.to_progress(standing), await self._now()
