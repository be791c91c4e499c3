"""Celery's copies of outcomes, in Redis: for AsyncResult and its like. The ledger does without them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from celery import result as celery_result
from celery.exceptions import BackendError
from celery.states import READY_STATES
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = get_logger()

_AsyncResult: Any = celery_result.AsyncResult  # celery's stubs know too little of them
_GroupResult: Any = celery_result.GroupResult


class AsyncResult(_AsyncResult):  # type: ignore[misc]
    """Celery's, of an execution: what is revoked is cancelled in the ledger, which decides; workers are not asked."""

    def revoke(self, *_: Any, **__: Any) -> None:
        """Cancel the execution, as CancelExecution does, whatever Celery's options say.

        What has ended, or is not there, stays as it is. Raises Unavailable when MongoDB can't be reached.
        """
        self.app.cancel(self.id)


class GroupResult(_GroupResult):  # type: ignore[misc]
    """Celery's, of executions."""

    def revoke(self, *_: Any, **__: Any) -> None:
        """Cancel all of them, as AsyncResult.revoke does."""
        for each in self.results or ():
            each.revoke()


class ExecutionFailed(Exception):  # noqa: N818 - what happened, as Celery and Flower show it
    """The execution failed; the text says why."""


def sentence(failure: str, reason: str) -> str:
    """Return one line on why an execution ended: what failed, if anything, and what was made of it, if that is said."""
    return f"{failure} ({reason})" if failure and reason else failure or reason


PAUSE: Final = 5.0
"""Seconds without a try after one that failed: a Redis that hangs must not hold a worker's slots."""


class ResultCopy:
    """Writes to Celery's result backend. That being away is logged once, and changes nothing else."""

    def __init__(self, backend: Any) -> None:
        """backend: Celery's; for `success` and `write_together` ours."""
        self._backend = backend
        self._away = False
        self._next_try = 0.0

    def has_ended(self, execution_id: str) -> bool:
        """Return whether there is a copy of how an execution ended; not when that can't be told."""
        try:
            return str(self._backend.get_state(execution_id)) in READY_STATES
        except (RedisError, OperationalError, BackendError, OSError):
            return False

    def write(
        self, execution_id: str, state: str, value: Any, traceback: str | None = None, request: Any = None
    ) -> bool:
        """Write a copy, of a state and a result or an exception as Celery has them; return whether it is there.

        While Redis is away most are not tried.
        """
        return self._try(
            lambda: self._backend.store_result(execution_id, value, state, traceback=traceback, request=request)
        )

    def success(self, execution_id: str, result: Any, request: Any = None) -> tuple[Any, str]:
        """Return the copy of a success, for write_together: its key and its value."""
        copy: tuple[Any, str] = self._backend.success(execution_id, result, request)
        return copy

    def write_together(self, copies: Sequence[tuple[Any, str]]) -> bool:
        """Write copies of successes; return whether they are there, as write does."""
        return self._try(lambda: self._backend.keep(copies))

    def _try(self, write: Callable[[], object]) -> bool:
        if self._away:
            if monotonic() < self._next_try:
                return False
            self._next_try = monotonic() + PAUSE  # this is the try; the other threads pass by meanwhile
        try:
            write()
        except (RedisError, OperationalError, BackendError, OSError) as error:
            if not self._away:
                log.warning("results are not copied to Redis for now", action="results_away", error=str(error))
            self._away = True
            self._next_try = monotonic() + PAUSE
            return False
        if self._away:
            log.info("results are copied to Redis again", action="results_back")
        self._away = False
        return True
