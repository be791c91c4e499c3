"""Patience: how often and how soon what failed is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from scheduler_client.errors import DeadlineExceeded, LimitReached, SchedulerError, Unavailable

if TYPE_CHECKING:
    from scheduler_client.call import Call, Stream

AWAY_FOR: Final = 300.0
"""Seconds that what has no end bears with a server that is away."""
WITHOUT_SERVER: Final = 60.0
"""Seconds that no try takes while no server is there: gRPC gives up connecting after 20. What takes longer has one."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


class Patience:
    """Of one call or stream, with what gRPC's own retries leave; the clock is the caller's, in seconds.

    Those do not read how long a server that limits its callers asks them to wait (RetryInfo), and they end after some
    seconds, while a wait or a watch without an end outlives a server's restart.
    """

    def __init__(self, asked: Call[Any] | Stream[Any], timeout: float | None, now: float) -> None:
        self._endless = asked.endless
        self._timeout = timeout if asked.timeout is None else asked.timeout
        self._deadline = None if self._endless or self._timeout is None else now + self._timeout
        self._tried = now
        self._away_since: float | None = None
        self._pause = FIRST_PAUSE

    def left(self, now: float) -> float | None:
        """Return the seconds that the next try may take."""
        return self._timeout if self._deadline is None else max(self._deadline - now, 0)

    def went_well(self) -> None:
        """Note that the server has answered."""
        self._away_since = None
        self._pause = FIRST_PAUSE

    def after(self, failed: SchedulerError | None, now: float) -> float:
        """Return the seconds to wait before the next try; raise the failure when there is none.

        failed: None for a stream without an end that the server ended without a failure.
        """
        if now - self._tried > WITHOUT_SERVER:
            self.went_well()
        pause = self._until_next(failed, now)
        if failed is not None and (pause is None or (self._deadline is not None and now + pause >= self._deadline)):
            raise failed
        self._tried = now + (pause or 0)
        return pause or 0

    def _until_next(self, failed: SchedulerError | None, now: float) -> float | None:
        if isinstance(failed, LimitReached) and failed.retry_after is not None:
            return max(failed.retry_after, FIRST_PAUSE)
        if not self._endless:
            return None
        if isinstance(failed, DeadlineExceeded):
            return 0
        if (failed is None or isinstance(failed, Unavailable | LimitReached)) and self._bears(now):
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
            return pause
        return None

    def _bears(self, now: float) -> bool:
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since < AWAY_FOR
