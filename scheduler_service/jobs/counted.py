"""How far beat has counted what ended, for those who count the rest themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from scheduler_service.jobs.together import Together
from shared.domain.rollup import HOUR, counted, floor
from shared.store import rollups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
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
        self._standing = Together(self._read)

    async def since(self, window: timedelta) -> tuple[Sequence[Piece], datetime]:
        """Return which roll-ups count what has ended since the full hour in which a window begins, until an instant.

        And this instant, from which on rows tell.
        """
        progress, now = await self._standing.lately(KEPT)
        start = floor(now - window, HOUR)
        return ((), start) if progress is None else counted(progress, start, now)

    async def _read(self) -> tuple[Progress | None, datetime]:
        standing = await self._progress.find_one(rollups.PROGRESS_FILTER, rollups.PROGRESS_NOW)
        return (None, await self._now()) if standing is None else (rollups.to_progress(standing), standing["now"])
