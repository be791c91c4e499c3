"""Run one execution: claim, call, record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from shared import metrics
from shared.domain.errors import SchedulerError
from shared.domain.execution import (
    BEGUN_TOO_OFTEN,
    MOST_ATTEMPTS,
    AfterFailure,
    Failure,
    State,
    Trigger,
    after_failure,
    window_over,
)
from shared.domain.job import TASK
from shared.log import bound, get_logger
from shared.store import executions, task_attempts
from shared.store.parts import wait_for_parts
from worker.answers import Ignored, NotYet, Succeeded, TryAgain
from worker.ids import ids_of
from worker.parts import Begun, Parts, called_with, rendered
from worker.target import Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.store.executions import Claimed, Move
    from shared.tasks.execution import Progress
    from shared.tasks.retry import Again
    from worker.answers import Answer
    from worker.keeper import Held, Keeper
    from worker.ledger import Lease, Ledger
    from worker.target import TargetCaller
    from worker.tasks import TaskCaller

log = get_logger()

_LAST: Final = AfterFailure(State.FAILED, None, BEGUN_TOO_OFTEN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message. state is what the attempt led to; None: there was nothing to do, or it came too late."""

    state: State | None
    result: Any = None
    failure: Failure | None = None
    reason: str = ""
    kept: bool = True
    """Whether its result is kept; if not, there is no copy for Celery."""
    awaited: bool = True
    """Whether code may wait for Celery's copy: it has called the task."""


class Runner:
    """What running takes, for one process."""

    def __init__(
        self, ledger: Ledger, keeper: Keeper, caller: TargetCaller, worker: str, tasks: TaskCaller | None = None
    ) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._caller = caller
        self._tasks = tasks
        self._parts = Parts(ledger, self._call)
        self._worker = worker

    def run(self, execution_id: str) -> Outcome:
        """Run an execution if it is there, due, and nobody else runs it. Raises StoppingError as Ledger does."""
        lease = self._ledger.claim(execution_id)
        if lease is None:
            metrics.WORKER_STRAYS.inc()
            reason = self._ledger.why_unclaimable(execution_id)
            log.info("nothing to do", action="message_stray", execution_id=execution_id, reason=reason)
            return Outcome(None, reason=reason)
        claimed = lease.claimed
        with bound(**ids_of(claimed)):
            log.info(
                "attempt starts",
                action="attempt_started",
                target=f"{claimed.target_service}/{claimed.target_method}",
                queue=claimed.queue,
            )
            return self._attempt(lease)

    def lacks_copy(self, execution_id: str) -> None:
        """Leave it to beat to copy an outcome to Redis, which was away. Raises StoppingError as Ledger does."""
        self._ledger.lacks_copy(execution_id)

    def _attempt(self, lease: Lease) -> Outcome:
        claimed = lease.claimed
        cancellation = Cancellation()
        started = monotonic()
        with self._keeper.holding(lease, cancellation) as held:
            if monotonic() >= held.until:
                # The process stood still since the claim: the lease is renewed now, or the call is not made.
                self._keeper.run_once()
            answer = self._answer(claimed, cancellation, held)
            held.call_ended = True
            seconds = monotonic() - started
            metrics.WORKER_DURATION.labels(claimed.target_service).observe(seconds)
            # Still holding: the lease is kept until the outcome is written, however long the store takes.
            outcome = self._record(held, lease, answer, cancellation)
        state = outcome.state.value if outcome.state else "REFUSED"
        metrics.WORKER_EXECUTIONS.labels(claimed.queue, claimed.target_service, state).inc()
        if outcome.state is State.PENDING:
            metrics.WORKER_RETRIES.labels(claimed.target_service).inc()
        failed = log.error if outcome.state is State.FAILED else log.warning
        level = log.info if outcome.state in {State.SUCCEEDED, State.WAITING} else failed
        level(
            "attempt ended",
            action="attempt_ended",
            state=state,
            seconds=round(seconds, 3),
            code=outcome.failure.code if outcome.failure else None,
            error=outcome.failure.message if outcome.failure else None,
            reason=outcome.reason or None,
        )
        return outcome

    def _answer(self, claimed: Claimed, cancellation: Cancellation, held: Held) -> Answer | Begun:
        if claimed.broken:
            return Failure("INVALID_ARGUMENT", claimed.broken, retryable=False)
        if claimed.flow is not None:
            return self._parts.begin(claimed, cancellation)
        try:
            claimed = rendered(claimed)
        except SchedulerError as wrong:
            return Failure("INVALID_ARGUMENT", str(wrong), retryable=False)
        return self._call(claimed, cancellation, held.said.put)

    def _call(
        self, claimed: Claimed, cancellation: Cancellation, report: Callable[[Progress], None] = lambda _: None
    ) -> Answer:
        if claimed.target_service == TASK and self._tasks is not None:
            return self._tasks.call(claimed, cancellation, report)
        return self._caller.call(claimed, cancellation)

    def _record(self, held: Held, lease: Lease, answer: Answer | Begun, cancellation: Cancellation) -> Outcome:
        claimed = lease.claimed
        move = self._move(lease, answer, cancellation)
        if (last := held.said.take()) is not None:
            move = task_attempts.with_progress(move, last.done, last.total, last.message)
        failure = answer.failure if isinstance(answer, TryAgain) else answer if isinstance(answer, Failure) else None
        ended = self._ledger.record(claimed, move)
        if ended is None:
            return Outcome(None, failure=failure, reason="the outcome came after the lease had been lost")
        if not isinstance(answer, Succeeded):
            return Outcome(ended.state, None, failure, ended.reason)
        # The whole of it: what the ledger cuts, code that waits for it in Redis still gets.
        awaited = claimed.trigger is Trigger.API
        return Outcome(ended.state, answer.result, None, ended.reason, answer.kept, awaited)

    def _move(self, lease: Lease, answer: Answer | Begun, cancellation: Cancellation) -> Move:
        """Return what is written of an attempt that has ended in this way."""
        claimed = lease.claimed
        attempt = (claimed.execution_id, claimed.nonce, self._worker)
        match answer:
            case Begun(total, items, carried):
                return wait_for_parts(*attempt, total=total, items=items, carried=carried)
            case Succeeded(result, kept):
                text, truncated = executions.cut_result(result, handed_on=claimed.hands_on)
                return executions.succeed(*attempt, text if kept or claimed.hands_on else None, truncated=truncated)
            case Ignored(reason):
                return executions.drop(*attempt, reason)
            case NotYet(reason) if claimed.attempt >= MOST_ATTEMPTS:
                return executions.fail(*attempt, Failure("RESOURCE_EXHAUSTED", reason, retryable=False), _LAST)
            case TryAgain(failure) if claimed.attempt >= MOST_ATTEMPTS:
                return executions.fail(*attempt, failure, _LAST)
            case NotYet(reason, due, slot):
                return task_attempts.wait_for_turn(*attempt, reason, due, slot)
            case TryAgain(failure, again):
                return self._try_again(lease, failure, again)
            case Failure() if cancellation.hands_back(answer):
                return executions.hand_back(*attempt, answer.message)
            case Failure():
                now = _database_time(lease)
                after = after_failure(answer, claimed.tries, claimed.retry, now, random(), claimed.retry_until)
                return executions.fail(*attempt, answer, after)

    def _try_again(self, lease: Lease, failure: Failure, again: Again) -> Move:
        """Return what follows when a task asked for a retry: that, unless its job's retry window ends before."""
        claimed = lease.claimed
        attempt = (claimed.execution_id, claimed.nonce, self._worker)
        due = _database_time(lease) + again.due if isinstance(again.due, timedelta) else again.due
        if claimed.retry_until is not None and due >= claimed.retry_until:
            over = AfterFailure(State.FAILED, None, f"{failure.code}; {window_over(claimed.retry_until)}")
            return executions.fail(*attempt, failure, over)
        changed = {"queue": again.queue, "priority": again.priority}
        given: dict[str, Any] = {name: value for name, value in changed.items() if value is not None}
        if again.parameters is not None:
            given |= called_with(claimed, again.parameters)
        wait = max(0.0, (due - _database_time(lease)).total_seconds())
        reason = f"the task asked for a retry; trying again in {wait:.1f} s"
        return task_attempts.try_again(*attempt, failure, reason, again.due, given)


def _database_time(lease: Lease) -> datetime:
    """Return the database's time, since it decides whether a wait is over: this host's clock may be off."""
    return lease.granted_at + timedelta(seconds=monotonic() - lease.asked_at)
