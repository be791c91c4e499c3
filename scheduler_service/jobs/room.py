"""Room for further jobs: how many may be stored, held against how many are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from scheduler_service.jobs.together import Together
from scheduler_service.transport.refusals import LimitReached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

COUNT_KEPT: Final = 1.0
"""Seconds for which the number of jobs is taken to be what it was, unless the limit is near."""
FAR_AWAY: Final = 20_000
"""Jobs: more than all servers together store in that time."""


class Room:
    """Places for jobs, each held by a call while it stores one. Used by one event loop.

    How many are stored is what the collection knows of itself: to count them would take longer than to store one. What
    is being stored while that is asked may be in the answer or not; until the next answer it is taken to come on top.
    So the calls of this process never store more than there may be, whatever is on its way. What another one stores is
    seen when it is stored: beside others, each process may go beyond by as many as these are storing at that moment.
    """

    def __init__(self, count: Callable[[], Awaitable[int]], most: int | None) -> None:
        """count: asks how many are stored. most: how many there may be; None: any number."""
        self._count = count
        self._most = most
        self._counted = Together(self._ask_now)
        self._given = 0
        self._returned = 0
        self._stored = 0
        self._seen = 0
        self._one_returned = asyncio.Event()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for a job. Raises LimitReached when as many are stored as there may be.

        Waits while the last places are held by others: what becomes of those tells whether there is room.
        """
        if self._most is not None:
            await self._find(self._most)
        self._given += 1
        try:
            yield
        finally:
            self._returned += 1
            self._one_returned.set()
            self._one_returned = asyncio.Event()

    async def _find(self, most: int) -> None:
        if self._at_most + FAR_AWAY <= most:
            await self._counted.lately(COUNT_KEPT)
        else:
            await self._counted()
        while self._at_most >= most:
            if self._stored >= most:
                raise LimitReached("MAX_JOBS", f"{most:,} jobs are stored, deleted ones that are kept included")
            if self._returned < self._given:
                await self._one_returned.wait()
            await self._counted()

    @property
    def _at_most(self) -> int:
        """How many jobs there are at most: those of the last answer, and those whose places were held then or since."""
        return self._stored + self._given - self._seen

    async def _ask_now(self) -> None:
        returned = self._returned
        self._stored = await self._count()
        self._seen = returned
