"""Run one execution: claim, call, record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Any

from shared import metrics
from shared.domain.errors import SchedulerError
from shared.domain.execution import Failure, State, after_failure
from shared.log import bound, get_logger
from shared.store import executions
from shared.store.parts import wait_for_parts
from worker.parts import Begun, Parts, rendered
from worker.target import Cancellation, Succeeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.store.executions import Claimed
    from worker.keeper import Keeper
    from worker.ledger import Lease, Ledger
    from worker.target import TargetCaller

log = get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message. state is what the attempt led to; None: there was nothing to do, or it came too late."""

    state: State | None
    result: Mapping[str, Any] | None = None
    failure: Failure | None = None
    reason: str = ""


class Runner:
    """What running takes, for one process."""

    def __init__(self, ledger: Ledger, keeper: Keeper, caller: TargetCaller, worker: str) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._caller = caller
        self._parts = Parts(ledger, caller.call)
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
        with bound(
            execution_id=execution_id, job_id=claimed.job_id, attempt=claimed.attempt, trace_id=claimed.trace_id
        ):
            log.info(
                "attempt starts",
                action="attempt_started",
                target=f"{claimed.target_service}/{claimed.target_method}",
                queue=claimed.queue,
            )
            return self._attempt(lease)

    def _attempt(self, lease: Lease) -> Outcome:
        claimed = lease.claimed
        cancellation = Cancellation()
        started = monotonic()
        with self._keeper.holding(lease, cancellation) as held:
            if monotonic() >= held.until:
                # The process stood still since the claim: the lease is renewed now, or the call is not made.
                self._keeper.run_once()
            answer = self._answer(claimed, cancellation)
            held.call_ended = True
            seconds = monotonic() - started
            metrics.WORKER_DURATION.labels(claimed.target_service).observe(seconds)
            # Still holding: the lease is kept until the outcome is written, however long the store takes.
            outcome = self._record(lease, answer, cancellation)
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

    def _answer(self, claimed: Claimed, cancellation: Cancellation) -> Succeeded | Failure | Begun:
        if claimed.broken:
            return Failure("INVALID_ARGUMENT", claimed.broken, retryable=False)
        if claimed.flow is not None:
            return self._parts.begin(claimed, cancellation)
        try:
            claimed = rendered(claimed)
        except SchedulerError as wrong:
            return Failure("INVALID_ARGUMENT", str(wrong), retryable=False)
        return self._caller.call(claimed, cancellation)

    def _record(self, lease: Lease, answer: Succeeded | Failure | Begun, cancellation: Cancellation) -> Outcome:
        claimed = lease.claimed
        result: Any = None
        failure: Failure | None = None
        if isinstance(answer, Begun):
            move = wait_for_parts(
                claimed.execution_id,
                claimed.nonce,
                self._worker,
                total=answer.total,
                items=answer.items,
                carried=answer.carried,
            )
        elif isinstance(answer, Succeeded):
            text, truncated = executions.cut_result(answer.result, handed_on=bool(claimed.parent))
            move = executions.succeed(claimed.execution_id, claimed.nonce, self._worker, text, truncated=truncated)
            result = json.loads(text)
        elif cancellation.hands_back(answer):
            move = executions.hand_back(claimed.execution_id, claimed.nonce, self._worker, answer.message)
            failure = answer
        else:
            # The database's time, since it decides whether the wait is over: this host's clock may be off.
            now = lease.granted_at + timedelta(seconds=monotonic() - lease.asked_at)
            after = after_failure(answer, claimed.tries, claimed.retry, now, random(), claimed.retry_until)
            move = executions.fail(claimed.execution_id, claimed.nonce, self._worker, answer, after)
            failure = answer
        ended = self._ledger.record(claimed, move)
        if ended is None:
            return Outcome(None, failure=failure, reason="the outcome came after the lease had been lost")
        return Outcome(ended.state, result, failure, ended.reason)
