"""What the process that holds a prefork pool knows of a message that one of its children runs."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any, Final

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.worker import request as celery_request

from worker import process
from worker.orphans import Orphan

if TYPE_CHECKING:
    from collections.abc import Callable

    from billiard.einfo import ExceptionInfo
    from celery.concurrency.base import BasePool

    from worker.orphans import Orphans

_GONE: Final = (WorkerLostError, SystemExit, KeyboardInterrupt)
"""What the pool gives for a result when a process died under its task, or is about to since that asked for it."""


MARGIN: Final = 1.0
"""Seconds after its hard limit that a process is killed: time for what ends by itself, and to claim before it began."""


class Request(celery_request.Request):
    """Ends in the ledger what a dead child began. Celery goes by the message alone, which is but a hint here."""

    _already_revoked: bool
    """Celery's."""

    def __init__(self, *args: Any, **named: Any) -> None:
        """Take what Celery gives."""
        super().__init__(*args, **named)
        hard, _ = self.time_limits
        # The soft one counts from when the function begins, which only its process knows: see TaskCaller.
        self.time_limits = None if hard is None else hard + MARGIN, None

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Be told that the task raised, or that its process is gone."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)  # the pool wraps what was raised in a child
        if isinstance(error, _GONE):
            self._orphan(lambda orphans, orphan: orphans.died(orphan, _how(error)))
        elif isinstance(error, Terminated):
            self._orphan(lambda orphans, orphan: orphans.revoked(orphan))
        # The log has a line with the ids about each of these: a trace through the pool's code would add nothing.
        known = isinstance(error, (*_GONE, Terminated, TimeLimitExceeded))
        super().on_failure(exc_info, send_failed_event, return_ok or known)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Be told that the process is killed now; a soft limit is of whoever started the pool with one."""
        if not soft:
            self._orphan(lambda orphans, orphan: orphans.overdue(orphan, timeout - MARGIN))
        super().on_timeout(soft, timeout)

    def terminate(self, pool: BasePool, signal: int | None = None) -> None:
        """Kill the process that runs this, as Flower's button asks for; one that runs an attempt ignores SIGTERM."""
        super().terminate(pool, SIGKILL if signal in {None, SIGTERM} else signal)

    def revoked(self) -> bool:
        """Return whether this is discarded, since it was revoked; then its execution must not wait for another message.

        On any pool. What runs is cancelled by CancelExecution; Celery's revoke leaves it alone.
        """
        known = self._already_revoked
        revoked: bool = super().revoked()
        if revoked and not known:
            process.orphans(str(self.hostname)).discarded(self.id)
        return revoked

    def _orphan(self, end: Callable[[Orphans, Orphan], None]) -> None:
        if self.worker_pid is not None:  # else no process had begun it
            end(process.orphans(str(self.hostname)), Orphan(self.id, int(self.worker_pid)))


def _how(error: BaseException) -> str:
    """Return how a process died, as `by signal 9 (SIGKILL)` or `with exitcode 1`."""
    if not isinstance(error, WorkerLostError):
        return f"by its own {error!r}"
    # The pool's sentence, of which this is the part that says something: "Worker exited prematurely: ... Job: 3."
    status = str(error).removeprefix("Worker exited prematurely: ").partition(" Job:")[0].rstrip(".")
    return f"{'by' if status.startswith('signal') else 'with'} {status}"
