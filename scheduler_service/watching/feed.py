"""What all who watch one collection share: its reader, who runs while somebody watches, and their bounded queues."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pymongo.errors import PyMongoError

from scheduler_service.transport.refusals import TooFarBack
from scheduler_service.watching.tail import ClockSetBack, Tail
from shared.domain.errors import Reason, ResourceExhausted, SchedulerError, Unavailable
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pymongo.asynchronous.collection import AsyncCollection

    from scheduler_service.watching.tail import Look

log = get_logger()

INTERVAL: Final = 0.25
"""Seconds between two looks."""
LINGER: Final = 10.0
"""Seconds that the reader goes on when nobody watches: the next one need not wait until it has settled again."""
MOST_WAITING: Final = 5_000
"""Messages that may wait for a client when the reader looks again; one with more is dropped. What one look has found is
not counted, however much it is: nobody could have read that yet."""
SIGN_OF_LIFE: Final = 15.0
"""Seconds without a message after which one says that all is well."""

T = TypeVar("T")


class Subscription(Generic[T]):
    """What one watcher is to be told and has not read yet. joined: what was settled when it began."""

    def __init__(self, joined: datetime) -> None:
        self.joined = joined
        self._waiting: deque[T] = deque()
        self._told = asyncio.Event()
        self._end: SchedulerError | None = None

    def put(self, message: T) -> None:
        """Add a message."""
        if self._end is None:
            self._waiting.append(message)
            self._told.set()

    def drop_if_slow(self) -> None:
        """End the stream of a client that has too much left to read."""
        if len(self._waiting) > MOST_WAITING:
            self.end(
                ResourceExhausted(
                    f"the client reads too slowly: more than {MOST_WAITING:,} messages wait for it; go on with the last"
                    " resume_token, or watch less",
                    reason=Reason.READS_TOO_SLOWLY,
                )
            )

    def end(self, why: SchedulerError) -> None:
        """End the stream, with what waits left untold: the last token that was read is where it goes on."""
        self._end = self._end or why
        self._waiting.clear()
        self._told.set()

    async def take(self, patience: float) -> T | None:
        """Return the next message, or None after so many seconds without one. Raises what the stream ends with."""
        if not self._waiting and self._end is None:
            self._told.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._told.wait()
            except TimeoutError:
                return None
        if self._end is not None:
            raise self._end
        return self._waiting.popleft()


class Feed(ABC, Generic[T]):
    """Reads for all who watch, and tells each what it has chosen; reads nothing when nobody does."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]], hidden: Mapping[str, int]) -> None:
        self._collection = collection
        self._hidden = hidden
        self._readers = 0
        self._left = 0.0
        self._task: asyncio.Task[None] | None = None
        self._ended: SchedulerError | None = None
        self._moved = asyncio.Condition()
        self._begin()

    def _begin(self) -> None:
        self._tail = Tail(self._collection, self._hidden)
        self._look: Look | None = None
        self.forget()

    @abstractmethod
    async def tell(self, look: Look) -> None:
        """Tell the watchers what a look has found."""

    @abstractmethod
    def subscriptions(self) -> Iterator[Subscription[T]]:
        """Return those of all watchers."""

    @abstractmethod
    def forget(self) -> None:
        """Begin anew: nothing is known of what was told."""

    @property
    def settled(self) -> datetime:
        """The instant by which everything has been told to those who watch."""
        return self._last.settled

    @property
    def now(self) -> datetime:
        """The database's time at the last look."""
        return self._last.now

    @property
    def _last(self) -> Look:
        if self._look is None:
            raise Unavailable("watching has begun anew; go on with the last resume_token")
        return self._look

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the reader going meanwhile. Raises Unavailable when the server stops."""
        if self._ended is not None:
            raise self._ended
        self._readers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=type(self).__name__)
        try:
            yield
        finally:
            self._readers -= 1
            self._left = time.monotonic()

    async def looked(self, *, ready: bool) -> None:
        """Wait for a look; ready: for one by which it is known what has settled. Raises Unavailable at the stop."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: self._ended is not None or (self._look is not None and (self._look.ready or not ready))
            )
        if self._ended is not None:
            raise self._ended

    async def stop(self) -> None:
        """End all streams: the server stops."""
        self._ended = Unavailable("the server stops; go on with the last resume_token, at any other")
        self._end_all(self._ended)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._moved:
            self._moved.notify_all()

    def _end_all(self, why: SchedulerError) -> None:
        for subscription in self.subscriptions():
            subscription.end(why)

    async def _run(self) -> None:
        self._begin()
        away = False
        # Not until it is cancelled alone: before Python 3.12 that gets lost when it comes just as PyMongo has sent its
        # command (asyncio.wait_for), and the server would not stop.
        while self._ended is None and (self._readers or time.monotonic() - self._left < LINGER):
            try:
                look = await self._tail.look()
                for subscription in self.subscriptions():
                    subscription.drop_if_slow()
                await self.tell(look)
            except PyMongoError as error:
                if not away:
                    log.warning("watchers wait for the store", action="watch_waits", error=str(error)[:300])
                away = True
            except ClockSetBack as back:
                log.warning("the database's clock was set back", action="watch_ended", error=str(back))
                self._restart(TooFarBack("the database's clock was set back; list what there is, and watch anew"))
            except Exception:
                log.exception("watching failed", action="watch_failed")
                self._restart(Unavailable("watching failed; go on with the last resume_token"))
            else:
                away = False
                async with self._moved:
                    self._moved.notify_all()
            await asyncio.sleep(INTERVAL)
        self._look = None

    def _restart(self, why: SchedulerError) -> None:
        self._end_all(why)
        self._begin()
