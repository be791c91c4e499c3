"""A task's `self.request`, and which call of it is on: also of coroutines, of which a thread runs many at a time."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any


class RequestStack:
    """What Celery keeps for each thread, for each context: the requests of a task's calls, the present one on top."""

    def __init__(self) -> None:
        self._requests: ContextVar[tuple[Any, ...]] = ContextVar("requests", default=())

    @property
    def top(self) -> Any:
        """The request of the present call; None outside of one."""
        return self.stack[-1] if self.stack else None

    @property
    def stack(self) -> tuple[Any, ...]:
        """All requests, the present one last."""
        return self._requests.get()

    def push(self, request: Any) -> None:
        """Begin a call."""
        self._requests.set((*self.stack, request))

    def pop(self) -> Any:
        """End the present call; return its request."""
        *before, ended = self.stack or (None,)
        self._requests.set(tuple(before))
        return ended

    def __len__(self) -> int:
        return len(self.stack)
