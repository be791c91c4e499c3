"""What Celery's copy of an attempt's outcome says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import states
from celery.exceptions import TaskRevokedError

from shared.domain.execution import State
from shared.tasks.results import ExecutionFailed, sentence
from worker.answers import Raised

if TYPE_CHECKING:
    from worker.run import Outcome


def has_copy(outcome: Outcome) -> bool:
    """Return whether there is a copy: not of a stray message, nor of what waits for its parts, or is not kept."""
    return outcome.state not in {None, State.WAITING} and outcome.kept


def copy_of(outcome: Outcome) -> tuple[str, Any, str | None]:
    """Return the state, the result or error, and the traceback, as Celery has them."""
    if outcome.state is State.SUCCEEDED:
        return states.SUCCESS, outcome.result, None
    if outcome.state is State.CANCELLED:
        said = outcome.reason or (outcome.failure.message if outcome.failure else "")
        return states.REVOKED, TaskRevokedError(said), None
    error = ExecutionFailed(describe(outcome))
    if outcome.state is State.PENDING:
        return states.RETRY, error, None
    if outcome.state is State.FAILED and isinstance(outcome.failure, Raised):
        # What the task raised is what AsyncResult.get() raises.
        return states.FAILURE, outcome.failure.exception, outcome.failure.traceback
    return states.FAILURE, error, None


def describe(outcome: Outcome) -> str:
    """Return one line on an outcome that is not a success."""
    failure = f"{outcome.failure.code}: {outcome.failure.message}" if outcome.failure else ""
    return sentence(failure, outcome.reason)
