"""What one caller, and all together, may ask of this server: each limit is a setting, and each refusal names it.

They are kept by each server process for itself: a store that all of them asked before each call would cost more than
most calls. So with three servers behind one address, all of them allow three times as much.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.transport.refusals import LimitReached
from shared.domain.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.settings import Settings

MOST_CALLERS: Final = 10_000
"""Callers whose requests are counted; beyond, those who asked longest ago are forgotten, and have their burst anew."""


class Limits:
    """The limits of one server."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.message_bytes = settings.max_message_bytes
        self._page = settings.max_page_size
        self._streams = settings.max_streams
        self._streams_each = settings.max_streams_per_caller
        self._rate = Rate(settings.max_requests_per_second, clock) if settings.max_requests_per_second else None
        self._open: Counter[str] = Counter()

    def admit(self, account: str, request: Any) -> None:
        """Raise LimitReached when a caller asks too often, InvalidInput when it asks for too large a page."""
        if self._rate is not None and (wait := self._rate.take(account)):
            said = f"more than {self._rate.each:g} requests a second of '{account[:80]}'; try again in {wait:.3f} s"
            raise LimitReached("MAX_REQUESTS_PER_SECOND", said, who=account, wait=wait)
        if (size := getattr(request, "page_size", 0)) > self._page:
            said = f"{size:,} entries are too many (at most {self._page:,}, as MAX_PAGE_SIZE says)"
            raise InvalidInput([Violation("page_size", said)])

    @contextmanager
    def stream(self, account: str) -> Iterator[None]:
        """Count an open stream meanwhile. Raises LimitReached when there are too many."""
        if self._open.total() >= self._streams:
            raise LimitReached("MAX_STREAMS", f"{self._streams:,} streams are open; close some")
        if self._open[account] >= self._streams_each:
            said = f"{self._streams_each:,} streams of '{account[:80]}' are open; close some"
            raise LimitReached("MAX_STREAMS_PER_CALLER", said, who=account)
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1
            if not self._open[account]:
                del self._open[account]


class Rate:
    """A token bucket for each caller, which holds what may be asked in a second.

    Our own: what the libraries at hand count, in windows, allows twice as much around a window's end, and does not say
    after which time the next request will do.
    """

    def __init__(self, each: float, clock: Callable[[], float]) -> None:
        self.each = each
        self._clock = clock
        self._holds = max(1.0, each)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, account: str) -> float:
        """Return 0 and take a token, or the seconds after which there will be one."""
        now = self._clock()
        left, at = self._buckets.pop(account, (self._holds, now))
        left = min(self._holds, left + (now - at) * self.each)
        wait = 0.0 if left >= 1 else (1 - left) / self.each
        self._buckets[account] = (left if wait else left - 1, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait
