"""Orphans: attempts whose process, one of the prefork pool's, is dead. Its parent ends them at once.

Without that they would stand until their leases have run out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import random
from threading import Thread
from typing import TYPE_CHECKING, Any

from shared.domain.execution import Failure, State, after_failure
from shared.log import bound, get_logger
from shared.store import executions
from worker.ids import ids_of
from worker.ledger import Ledger, StoppingError
from worker.results import copy_of
from worker.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from shared.store.executions import Move
    from shared.tasks.results import ResultCopy
    from worker.ledger import Left
    from worker.stopping import Stopping

    Decide = Callable[[Left], tuple[Failure, Move]]

log = get_logger()


@dataclass(frozen=True, slots=True)
class Orphan:
    """What a process was given to run before it died."""

    execution_id: str
    pid: int


class Orphans:
    """Used by the process that holds the pool, which must neither wait for a store nor be bound to one.

    So each orphan has a thread, and a client of its own that is closed afterwards: processes that are forked later
    inherit no open client, nor a thread's lock. What writes to Redis stays, and must be nothing that they use. The
    threads are awaited when the worker ends; while the store is away they try again, until the grace of a stopping
    worker is over. Then the lease is the net.
    """

    def __init__(
        self,
        connect: Callable[[], Database[dict[str, Any]]],
        worker: str,
        lease: timedelta,
        stopping: Stopping,
        results: ResultCopy,
        retryable_codes: frozenset[str],
    ) -> None:
        """Take the codes of the failures to try again where a job names none."""
        self._connect = connect
        self._worker = worker
        self._lease = lease
        self._stopping = stopping
        self._results = results
        self._retryable = retryable_codes

    def died(self, orphan: Orphan, how: str) -> None:
        """End the attempt of a process that died, as `by signal 9 (SIGKILL)`, as rescue ends one that fell silent."""
        what = f"process {orphan.pid} of worker {self._worker} died {how}"

        def decide(left: Left) -> tuple[Failure, Move]:
            if self._stopping.grace_over():
                return self._hand_back(left, "handed back: the worker stops")
            lost, after = executions.after_loss(left.row, what, left.now)
            return lost, executions.lose(left.claimed.execution_id, left.claimed.nonce, self._worker, lost, after)

        self._end_in_a_thread(orphan, decide)

    def overdue(self, orphan: Orphan, limit: float) -> None:
        """End the attempt of a process that is killed since it ran for longer than `limit` seconds."""
        said = f"it did not end within {limit:g} s, and its process was killed"

        def decide(left: Left) -> tuple[Failure, Move]:
            claimed = left.claimed
            held = (claimed.execution_id, claimed.nonce, self._worker)
            if left.now - left.started_at < timedelta(seconds=limit):
                # The pool counts from when the process took the message, and to claim took long: the store was away.
                return self._hand_back(left, "its process was killed before it had its time")
            retryable = claimed.retry.retries("DEADLINE_EXCEEDED", self._retryable)
            failure = Failure("DEADLINE_EXCEEDED", said, retryable)
            after = after_failure(failure, claimed.tries, claimed.retry, left.now, random(), claimed.retry_until)
            return failure, executions.fail_killed(*held, failure, after)

        self._end_in_a_thread(orphan, decide)

    def revoked(self, orphan: Orphan) -> None:
        """Cancel the execution of a process that was killed for it: by Flower, or `celery control revoke`."""

        def decide(left: Left) -> tuple[Failure, Move]:
            claimed = left.claimed
            failure = Failure("CANCELLED", "it was revoked, and its process killed", retryable=False)
            return failure, executions.drop(claimed.execution_id, claimed.nonce, self._worker, failure.message)

        self._end_in_a_thread(orphan, decide)

    def discarded(self, execution_id: str) -> None:
        """Cancel an execution whose message was discarded since it was revoked, before anybody ran it."""

        def drop(ledger: Ledger) -> None:
            if ledger.drop_waiting(execution_id, "it was revoked"):
                log.warning("execution was revoked", action="execution_revoked")

        self._in_a_thread(execution_id, drop)

    def _hand_back(self, left: Left, reason: str) -> tuple[Failure, Move]:
        claimed = left.claimed
        move = executions.hand_back(claimed.execution_id, claimed.nonce, self._worker, reason)
        return Failure("CANCELLED", reason, retryable=True), move

    def _end_in_a_thread(self, orphan: Orphan, decide: Decide) -> None:
        self._in_a_thread(orphan.execution_id, lambda ledger: self._end(ledger, orphan, decide), orphan.pid)

    def _in_a_thread(self, execution_id: str, write: Callable[[Ledger], None], pid: int | None = None) -> None:
        """Let something be written when a process has ended."""

        def run() -> None:
            with bound(execution_id=execution_id, pid=pid):
                try:
                    if pid is not None:
                        await_death(pid)
                    database = self._connect()
                    with database.client:
                        write(Ledger(database, self._worker, self._lease, self._stopping))
                except StoppingError as stopping:
                    log.warning("an orphan is left to rescue", action="orphan_left", error=str(stopping))
                except Exception:  # the lease is the net; a trace on the console alone would not have the ids
                    log.exception("an orphan is left to rescue", action="orphan_left")

        Thread(name=f"orphan-{execution_id}", target=run).start()

    def _end(self, ledger: Ledger, orphan: Orphan, decide: Decide) -> None:
        left = ledger.left_by(orphan.execution_id, orphan.pid)
        if left is None:
            return  # the process died before it claimed, or after it had written the outcome
        failure, move = decide(left)
        ended = ledger.record(left.claimed, move)
        if ended is None:
            return
        self._results.write(orphan.execution_id, *copy_of(Outcome(ended.state, None, failure, ended.reason)))
        if ended.state is State.PENDING:
            ledger.lacks_copy(orphan.execution_id)  # the next attempt may have ended before, and this is over its copy
        log.warning(
            "attempt taken from a dead process",
            action="attempt_orphaned",
            **ids_of(left.claimed),
            state=ended.state.value,
            code=failure.code,
            error=failure.message,
            reason=ended.reason,
        )


def await_death(pid: int) -> None:
    """Wait until a child has ended, and leave it to the pool to reap. One that is being killed may run a little on."""
    if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
