"""What waits in the queues: as RabbitMQ tells it, and as the ledger knows it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from amqp.exceptions import NotFound
from kombu import Connection

from shared.messaging.queues import DEAD_LETTER
from shared.store import executions, live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from pymongo.asynchronous.database import AsyncDatabase

PATIENCE: Final = 3.0
"""Seconds that RabbitMQ gets to answer."""

UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Depth:
    """What a broker says of a queue: messages that wait, and consumers."""

    messages: int
    consumers: int


Ask: TypeAlias = "Callable[[Iterable[str]], Mapping[str, Depth]]"
"""Asks the broker for the depths of queues. Blocks; raises what kombu raises, or OSError."""


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


def ask_rabbitmq(url: str) -> Ask:
    """Return what asks the broker at an address, over a connection of its own for each question.

    By passive declarations: that takes no plugin and no further port, and no right but to use the queue.
    """

    def ask(names: Iterable[str]) -> dict[str, Depth]:
        depths: dict[str, Depth] = {}
        options = {"read_timeout": PATIENCE, "write_timeout": PATIENCE}
        with Connection(url, connect_timeout=PATIENCE, transport_options=options) as connection:
            for name in names:
                try:
                    channel: Any
                    with connection.channel() as channel:
                        declared = channel.queue_declare(queue=name, passive=True)
                except NotFound:
                    # Nobody has connected yet that declares it.
                    depths[name] = Depth(0, 0)
                else:
                    depths[name] = Depth(declared.message_count, declared.consumer_count)
        return depths

    return ask


class Depths:
    """The queues that are configured, and that of dead letters."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], names: Iterable[str], ask: Ask) -> None:
        self._executions = database[executions.COLLECTION]
        self._names = sorted({*names, DEAD_LETTER})
        self._ask = ask
        self._asking: asyncio.Future[Mapping[str, Depth]] | None = None

    async def read(self) -> tuple[list[Waiting], str]:
        """Return the queues, by name, and why the broker could not be asked, if so. Raises PyMongoError."""
        running = await self._running()
        known = await asyncio.gather(*map(self._queued, self._names))
        try:
            depths, problem = await self._depths(), ""
        except Exception as error:  # noqa: BLE001 - kombu raises anything when the broker is away
            # Without the address, which has the password.
            depths, problem = {}, f"RabbitMQ could not be asked: {type(error).__name__}"
        found = [replace(queue, running=running[queue.name]) for queue in known]
        return [
            replace(queue, messages=depth.messages, consumers=depth.consumers)
            if (depth := depths.get(queue.name))
            else queue
            for queue in found
        ], problem

    async def _depths(self) -> Mapping[str, Depth]:
        """Ask the broker, or wait for the answer that another call waits for: while it is away each takes a thread."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask, self._names))
        return await asyncio.shield(self._asking)

    async def _running(self) -> Counter[str]:
        rows = self._executions.find(live.RUNNING, {"queue": 1, "_id": 0}, limit=live.MOST_READ)
        return Counter([row["queue"] async for row in rows])

    async def _queued(self, name: str) -> Waiting:
        waiting = live.waiting_in(name)
        count = await self._executions.count_documents(waiting, limit=live.MOST_COUNTED)
        first = await self._executions.find_one(waiting, {"queued_at": 1}, sort=live.WAITING_LONGEST)
        return Waiting(name, queued=count, oldest=first["queued_at"] if first is not None else None)
