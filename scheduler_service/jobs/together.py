"""Questions that many calls ask at the same time, asked once for all of them."""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Together(Generic[T]):
    """Gives each who asks an answer to a question that was put after it came, as if it had put it itself.

    While one is on its way, all who come share the next one. So a busy server puts a few hundred questions a second,
    not one for each call, and an idle one waits for nothing.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[T] | None = None
        """The question that was put last."""
        self._asked_at = -math.inf
        """The monotonic time, in seconds, when it was."""
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the answer; raises what asking raises, to all who share it."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._asked), name="together")
            self._next.add_done_callback(_seen)
        # Whoever came first may give up without the others.
        return await asyncio.shield(self._next)

    async def lately(self, seconds: float) -> T:
        """Return the answer to a question that was put at most so many seconds ago; raises as a call does.

        Who comes while such a question is on its way shares it.
        """
        if self._asked is None or monotonic() - self._asked_at > seconds or _failed(self._asked):
            return await self()
        return await asyncio.shield(self._asked)

    async def _after(self, earlier: asyncio.Task[T] | None) -> T:
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])
        self._asked, self._next = self._next, None
        self._asked_at = monotonic()
        return await self._ask()


def _failed(task: asyncio.Task[T]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _seen(task: asyncio.Task[T]) -> None:
    """Take note of an error that nobody is left to be told of."""
    if not task.cancelled():
        task.exception()
