"""The call of a task: its function in the slot's thread, its coroutine in the process's loop, and what came of it."""

from __future__ import annotations

import inspect
import json
import logging
import threading
import time
import traceback
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from celery._state import _task_stack  # type: ignore[attr-defined]  # celery's stubs lack it
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from pymongo.errors import PyMongoError

from shared.domain.errors import InvalidInput
from shared.domain.execution import Failure
from shared.domain.retry import TARGET_UNKNOWN, TASK_FAILED
from shared.domain.text import writable
from shared.log import get_logger
from shared.store.executions import LONGEST_ERROR
from shared.tasks import retry
from shared.tasks.execution import CurrentExecution, running
from shared.tasks.limits import limits
from shared.tasks.signature import what_is_not_json
from worker.alarms import Alarms, Interruption
from worker.answers import INVALID_RESULT, Ignored, NotYet, Raised, Succeeded, TryAgain
from worker.ids import ids_of
from worker.interrupts import heeding_soft_limit, reach_soft_limit
from worker.loop import Ended, TaskLoop
from worker.rates import SHORT_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.store.executions import Claimed
    from shared.tasks.execution import Progress
    from shared.tasks.registry import Tasks
    from shared.tasks.task import LedgeredTask
    from worker.answers import Answer
    from worker.rates import RateLimits
    from worker.target import Cancellation

log = get_logger()

_STORE_AWAY: Final = timedelta(seconds=1)
_REQUEUED: Final = timedelta(seconds=1)
"""How long an attempt is left alone that its task has put back: at once would be a loop without a pause."""


@dataclass(slots=True)
class _Attempt:
    """A call of a task, while it is made."""

    task: LedgeredTask
    claimed: Claimed
    cancelled: Cancellation
    args: list[Any]
    kwargs: dict[str, Any]
    hard: float
    """Seconds from its start."""
    soft: float | None
    limit: str
    """Which limit `hard` is, for people."""
    overran: bool = False

    def is_cancelled(self) -> bool:
        return self.overran or self.cancelled.failure is not None


class TaskCaller:
    """Calls tasks. Safe to use from any number of threads; what it starts, it starts with the first call."""

    def __init__(
        self, tasks: Tasks, rates: RateLimits, retryable_codes: frozenset[str], worker: str, *, limits_by_signal: bool
    ) -> None:
        """Take the codes of failures to try again where a job names none.

        limits_by_signal: functions run in the main thread of a process of their own, as prefork's do: a signal wakes
        them, and the pool kills the process of one that does not end.
        """
        self._tasks = tasks
        self._rates = rates
        self._retryable = retryable_codes
        self._worker = worker
        self._limits_by_signal = limits_by_signal
        self._loop = TaskLoop()
        self._alarms = Alarms()

    def call(self, claimed: Claimed, cancelled: Cancellation, report: Callable[[Progress], None]) -> Answer:
        """Make the call of an attempt and wait for its end; never raises.

        report: takes what the task says of its progress. A Failure with CANCELLED and the reason that `cancelled` was
        given is the end of a call cancelled by us; one that returned in spite of it has Succeeded.
        """
        try:
            return cancelled.failure or self._call(claimed, cancelled, report)
        except Exception:
            error_id = uuid.uuid4().hex
            log.exception("The worker failed to call a task", action="task_call_crashed", error_id=error_id)
            said = f"the worker failed to call the task; its log has it under {error_id}"
            return Failure("INTERNAL", said, retryable=False)

    def _call(self, claimed: Claimed, cancelled: Cancellation, report: Callable[[Progress], None]) -> Answer:
        parameters = json.loads(claimed.parameters)
        try:
            task = self._tasks.get(claimed.target_method)
        except InvalidInput as refused:
            return self._failure(claimed, TARGET_UNKNOWN, f"{refused}; this worker lacks it")
        try:
            args, kwargs = task.accepts.read(parameters)
        except InvalidInput as refused:
            return self._failure(claimed, "INVALID_ARGUMENT", str(refused))
        if (not_yet := self._wait_for_turn(task, claimed, cancelled)) is not None:
            return not_yet
        attempt = _attempt(task, claimed, cancelled, args, kwargs)
        execution = _current(attempt, parameters, report)
        token = running.set(execution)
        try:
            with _request(attempt, parameters, self._worker):
                return self._run(attempt, execution)
        finally:
            running.reset(token)

    def _wait_for_turn(self, task: LedgeredTask, claimed: Claimed, cancelled: Cancellation) -> Answer | None:
        """Return None when the task's rate limit lets the attempt begin, after a short wait at most."""
        try:
            turn = self._rates.turn(claimed, task.rate_limit)
        except PyMongoError as error:
            return NotYet(f"the store can't be asked for the task's rate limit: {error}", _STORE_AWAY)
        if turn is None:
            return None
        if turn.wait > SHORT_WAIT:
            return NotYet(f"the rate limit of {task.name} is {task.rate_limit}", turn.at, turn.slot)
        ended = threading.Event()
        cancelled.watch(ended.set)
        ended.wait(turn.wait.total_seconds())
        return cancelled.failure

    def _run(self, attempt: _Attempt, execution: CurrentExecution) -> Answer:
        task, claimed = attempt.task, attempt.claimed
        _hook(task.before_start, claimed.execution_id, attempt.args, attempt.kwargs)
        ended = self._function(attempt)
        if ended.error is not None and not attempt.is_cancelled() and isinstance(ended.error, Exception):
            try:
                retry.autoretry(task, ended.error)
            except Exception as error:  # noqa: BLE001 - whatever Task.retry raises is what came of it
                ended = Ended(error=error)
        answer = self._answer(attempt, execution, ended)
        _after(attempt, answer, ended)
        return answer

    def _function(self, attempt: _Attempt) -> Ended:
        """Call the function; and if it is a coroutine's, run that."""

        def overrun() -> None:
            attempt.overran = True
            if self._limits_by_signal:
                return  # the pool kills the process soon
            log.warning(
                "A task goes on after its time: a thread can't be ended",
                action="task_overruns",
                execution_id=attempt.claimed.execution_id,
                task=attempt.task.name,
                limit=attempt.limit,
            )

        interruption = Interruption()
        interrupt = reach_soft_limit if self._limits_by_signal else interruption.interrupt
        started = time.monotonic()
        try:
            with (
                self._alarms.during(attempt.hard, overrun),
                interruption,
                heeding_soft_limit(),
                self._alarms.during(attempt.soft, interrupt),
            ):
                returned = attempt.task.run(*attempt.args, **attempt.kwargs)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a task must not end the worker
            return Ended(error=error, overran=attempt.overran)
        if not inspect.iscoroutine(returned):  # asyncio's takes generators for coroutines
            return Ended(returned, overran=attempt.overran)
        spent = time.monotonic() - started
        soft = None if attempt.soft is None else max(0.0, attempt.soft - spent)
        ended = self._loop.run(returned, soft, max(0.0, attempt.hard - spent), attempt.cancelled)
        attempt.overran = attempt.overran or ended.overran
        return ended

    def _answer(self, attempt: _Attempt, execution: CurrentExecution, ended: Ended) -> Answer:
        claimed, error = attempt.claimed, ended.error
        if attempt.overran and attempt.cancelled.failure is None:
            return self._failure(claimed, "DEADLINE_EXCEEDED", f"it did not end within {attempt.limit}")
        if error is not None and attempt.cancelled.failure is not None:
            return attempt.cancelled.failure
        if execution.asked_again and (error is None or isinstance(error, retry.AskedAgain)):
            asked = execution.asked_again[-1]
            failure = Failure(TASK_FAILED, _said(asked.exc) if asked.exc else "it asked for a retry", retryable=True)
            return TryAgain(failure, asked.again)
        if error is not None:
            return self._raised(attempt, error)
        if (wrong := what_is_not_json(ended.value)) is not None:
            return self._failure(claimed, INVALID_RESULT, wrong)
        ignored = attempt.task.ignore_result if claimed.ignore_result is None else claimed.ignore_result
        # What is called with it gets it all the same, as with Celery.
        return Succeeded(ended.value if claimed.hands_on or not ignored else None, kept=not ignored)

    def _raised(self, attempt: _Attempt, error: BaseException) -> Answer:
        claimed = attempt.claimed
        if isinstance(error, Reject) and getattr(error, "requeue", False):
            return NotYet(f"the task has put it back: {_said(error)}", _REQUEUED)
        if isinstance(error, Ignore):
            return Ignored(_said(error, "the task raised Ignore"))
        match error:
            case SoftTimeLimitExceeded():
                code, said = "DEADLINE_EXCEEDED", f"it did not end within its soft_time_limit of {attempt.soft:g} s"
            case _:
                code, said = TASK_FAILED, _said(error)
        expected = isinstance(error, tuple(attempt.task.throws or ()))
        trace = "".join(traceback.format_exception(error))[:_LONGEST_TRACE]
        log.log(
            logging.INFO if expected else logging.ERROR,
            "A task has raised an exception",
            action="task_raised",
            task=attempt.task.name,
            error=said,
            exception=None if expected else trace,
        )
        return Raised(code, said, claimed.retry.retries(code, self._retryable), error, trace)

    def _failure(self, claimed: Claimed, code: str, message: str) -> Failure:
        return Failure(code, message, retryable=claimed.retry.retries(code, self._retryable))


_LONGEST_TRACE: Final = 64 * 1024
"""Characters; only what exceptions say about themselves makes a traceback as long."""


def _said(error: BaseException | str, kind: str = "") -> str:
    """Return what an exception says, as a document can hold it and people read it: not for megabytes."""
    if isinstance(error, str):
        said = error
    else:
        text = error.reason if isinstance(error, Reject) else error  # type: ignore[attr-defined]  # celery's stubs
        said = f"{kind or type(error).__name__}: {text}".removesuffix(": ")
    return writable(said[:LONGEST_ERROR])


def _attempt(
    task: LedgeredTask, claimed: Claimed, cancelled: Cancellation, args: list[Any], kwargs: dict[str, Any]
) -> _Attempt:
    """Return the attempt with its limits."""
    found = limits(task, claimed.timeout.total_seconds(), claimed.time_limit, claimed.soft_time_limit)
    return _Attempt(task, claimed, cancelled, args, kwargs, found.hard, found.soft, found.which)


def _current(attempt: _Attempt, parameters: dict[str, Any], report: Callable[[Progress], None]) -> CurrentExecution:
    claimed = attempt.claimed
    return CurrentExecution(
        execution_id=claimed.execution_id,
        job_id=claimed.job_id,
        trigger=claimed.trigger.value,
        nominal_time=claimed.nominal_time,
        attempt=claimed.attempt,
        retries=claimed.retries,
        deadline=datetime.now(UTC) + timedelta(seconds=attempt.hard),
        root_id=claimed.root_id or claimed.execution_id,
        trace_id=claimed.trace_id,
        parameters=parameters,
        log=log.bind(action="task_said", **ids_of(claimed)),
        _ends_at=time.monotonic() + attempt.hard,
        _is_cancelled=attempt.is_cancelled,
        _report=report,
    )


@contextmanager
def _request(attempt: _Attempt, parameters: dict[str, Any], worker: str) -> Iterator[None]:
    """Give the task its `request`, and this thread its `current_task`, while the block runs."""
    task, claimed = attempt.task, attempt.claimed
    args, kwargs = task.accepts.split(parameters)
    request = Context(
        id=claimed.execution_id,
        correlation_id=claimed.execution_id,
        task=task.name,
        args=args,
        kwargs=kwargs,
        retries=claimed.retries,
        hostname=worker,
        root_id=claimed.root_id or claimed.execution_id,
        parent_id=claimed.parent_id or None,
        group=None,
        is_eager=False,
        called_directly=False,
        shadow=claimed.job_name,
        headers=dict(claimed.headers) or None,
        expires=claimed.expires_at.isoformat() if claimed.expires_at else None,
        timelimit=[attempt.hard, attempt.soft],
        ignore_result=task.ignore_result if claimed.ignore_result is None else claimed.ignore_result,
        delivery_info={
            "exchange": "",
            "routing_key": claimed.queue,
            "priority": claimed.priority,
            "redelivered": claimed.attempt > 1,
        },
    )
    task.request_stack.push(request)
    _task_stack.push(task)
    try:
        yield
    finally:
        _task_stack.pop()
        task.request_stack.pop()


def _after(attempt: _Attempt, answer: Answer, ended: Ended) -> None:
    """Call the task's own handlers, as Celery does when an attempt has ended."""
    task, execution_id, args, kwargs = attempt.task, attempt.claimed.execution_id, attempt.args, attempt.kwargs
    match answer:
        case Succeeded():
            state, value = "SUCCESS", ended.value
            _hook(task.on_success, value, execution_id, args, kwargs)
        case TryAgain():
            state, value = "RETRY", ended.error
            _hook(task.on_retry, value, execution_id, args, kwargs, None)
        case Failure():
            state, value = "FAILURE", ended.error or RuntimeError(answer.message)
            _hook(task.on_failure, value, execution_id, args, kwargs, None)
        case _:
            return
    _hook(task.after_return, state, value, execution_id, args, kwargs, None)


def _hook(handler: Callable[..., object], *arguments: Any) -> None:
    try:
        handler(*arguments)
    except Exception:  # it is not what the execution is about
        log.exception("A handler of a task has failed", action="task_handler_failed", handler=handler.__name__)
