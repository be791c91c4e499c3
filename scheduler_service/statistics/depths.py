"""What waits in the queues: as RabbitMQ tells it, and as the ledger knows it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.statistics.broker import Depth, ask_depths
from shared.messaging.queues import DEAD_LETTER
from shared.store import executions, live

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pymongo.asynchronous.database import AsyncDatabase

PATIENCE: Final = 3.0
"""Seconds that RabbitMQ gets to answer."""

UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue. messages and consumers: -1 when the broker could not be asked.

    queued, by the ledger, is counted up to live.MOST_COUNTED; oldest: since when the first of those waits.
    """

    name: str
    messages: int = UNKNOWN
    consumers: int = UNKNOWN
    queued: int = 0
    running: int = 0
    oldest: datetime | None = None

    @property
    def warning(self) -> str:
        """What is wrong with it, or nothing."""
        waiting = max(self.messages, self.queued)
        if self.consumers != 0 or waiting == 0 or self.name == DEAD_LETTER:
            return ""
        noun = "execution waits" if waiting == 1 else "executions wait"
        return f"{waiting:,} {noun} and no worker consumes it; start one with -Q {self.name}"


class Depths:
    """The queues that are configured, and that of dead letters."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], names: Iterable[str], broker_url: str) -> None:
        self._executions = database[executions.COLLECTION]
        self._names = sorted({*names, DEAD_LETTER})
        self._broker_url = broker_url
        self._asking: asyncio.Future[dict[str, Depth | None]] | None = None

    async def read(self) -> tuple[list[Waiting], str]:
        """Return the queues, by name, and why the broker could not be asked, if so. Raises PyMongoError."""
        running = await self._running()
        known = await asyncio.gather(*map(self._queued, self._names))
        found = [replace(queue, running=running[queue.name]) for queue in known]
        try:
            depths = await self._depths()
        except Exception as error:  # noqa: BLE001 - kombu raises anything when the broker is away
            # Without the address, which has the password.
            return found, f"RabbitMQ could not be asked: {type(error).__name__}"
        return [_with_depth(queue, depths[queue.name]) for queue in found], ""

    async def _depths(self) -> dict[str, Depth | None]:
        """Ask the broker, or wait for the answer that another call waits for: while it is away each takes a thread."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(ask_depths, self._broker_url, self._names, PATIENCE))
        return await asyncio.shield(self._asking)

    async def _running(self) -> Counter[str]:
        rows = self._executions.find(live.RUNNING, {"queue": 1, "_id": 0}, limit=live.MOST_READ)
        return Counter([row["queue"] async for row in rows])

    async def _queued(self, name: str) -> Waiting:
        waiting = live.waiting_in(name)
        count = await self._executions.count_documents(waiting, limit=live.MOST_COUNTED)
        first = await self._executions.find_one(waiting, {"queued_at": 1}, sort=live.WAITING_LONGEST)
        return Waiting(name, queued=count, oldest=first["queued_at"] if first is not None else None)


def _with_depth(queue: Waiting, depth: Depth | None) -> Waiting:
    """Return a queue with what the broker says of it; one that nobody has declared yet has nothing in it."""
    known = depth or Depth(0, 0)
    return replace(queue, messages=known.messages, consumers=known.consumers)
