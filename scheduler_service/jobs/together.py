"""Questions that many calls ask at the same time, asked once for all of them."""

from __future__ import annotations

import asyncio
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
        self._next: asyncio.Task[T] | None = None
        self._last: tuple[T, float] | None = None
        """The latest answer, and when its question was put."""

    async def __call__(self) -> T:
        """Return the answer; raises what asking raises, to all who share it."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._asked), name="together")
            self._next.add_done_callback(_seen)
        # Whoever came first may give up without the others.
        return await asyncio.shield(self._next)

    async def lately(self, seconds: float) -> T:
        """Return the answer to a question that was put at most so many seconds ago; raises as a call does."""
        if self._last is not None:
            answer, put_at = self._last
            if monotonic() - put_at <= seconds:
                return answer
        return await self()

    async def _after(self, earlier: asyncio.Task[T] | None) -> T:
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])
        self._asked, self._next = self._next, None
        put_at = monotonic()
        answer = await self._ask()
        self._last = answer, put_at
        return answer


def _seen(task: asyncio.Task[T]) -> None:
    """Take note of an error that nobody is left to be told of."""
    if not task.cancelled():
        task.exception()
