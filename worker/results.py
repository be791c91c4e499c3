"""Celery's copy of the outcomes, in Redis: for AsyncResult and its like. The ledger does without it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.exceptions import BackendError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.domain.execution import State
from shared.log import get_logger
from worker.answers import Raised

if TYPE_CHECKING:
    from celery.backends.base import Backend

    from worker.run import Outcome

log = get_logger()


class ExecutionFailed(Exception):  # noqa: N818 - what happened, as Celery and Flower show it
    """The execution failed, or was cancelled; the text says why."""


PAUSE: Final = 5.0
"""Seconds without a try after one that failed: a Redis that hangs must not hold the worker's slots."""


class ResultCopy:
    """Writes outcomes to Celery's result backend. That being away is logged once, and changes nothing else."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._away = False
        self._next_try = 0.0

    def write(self, execution_id: str, outcome: Outcome, request: Any) -> None:
        """Write the copy of one outcome, if it is one that is kept; while Redis is away most are left out."""
        if outcome.state in {None, State.WAITING} or not outcome.kept:
            return
        if self._away:
            if monotonic() < self._next_try:
                return
            self._next_try = monotonic() + PAUSE  # this is the try; the other threads pass by meanwhile
        state, value, trace = _copy(outcome)
        try:
            self._backend.store_result(execution_id, value, state, traceback=trace, request=request)
        except (RedisError, OperationalError, BackendError, OSError) as error:
            if not self._away:
                log.warning("results are not copied to Redis for now", action="results_away", error=str(error))
            self._away = True
            self._next_try = monotonic() + PAUSE
        else:
            if self._away:
                log.info("results are copied to Redis again", action="results_back")
            self._away = False


def _copy(outcome: Outcome) -> tuple[str, Any, str | None]:
    """Return the state, the result or error, and the traceback, as Celery has them."""
    if outcome.state is State.SUCCEEDED:
        return states.SUCCESS, outcome.result, None
    error = ExecutionFailed(describe(outcome))
    if outcome.state is State.PENDING:
        return states.RETRY, error, None
    if outcome.state is State.FAILED and isinstance(outcome.failure, Raised):
        # What the task raised is what AsyncResult.get() raises.
        return states.FAILURE, outcome.failure.exception, outcome.failure.traceback
    return (states.REVOKED if outcome.state is State.CANCELLED else states.FAILURE), error, None


def describe(outcome: Outcome) -> str:
    """Return one line on an outcome that is not a success."""
    failure = f"{outcome.failure.code}: {outcome.failure.message}" if outcome.failure else ""
    return " ".join(part for part in (failure, f"({outcome.reason})" if outcome.reason else "") if part)
