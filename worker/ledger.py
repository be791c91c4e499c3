"""What a worker writes to the ledger, and how it learns the outcome of a write whose answer was lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import pymongo
from pymongo import ReturnDocument, UpdateMany
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from shared import metrics
from shared.domain.execution import WAITING_FOR_WORKER, Failure, State, may_be_ahead, window_over
from shared.grouped import Grouped
from shared.log import get_logger
from shared.messaging.messages import AHEAD
from shared.store import executions, jobs, parts, submitted, task_attempts
from shared.store.mongo import is_away

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from pymongo.database import Database

    from shared.store.executions import Claimed, Move
    from shared.tasks.execution import Progress
    from worker.stopping import Stopping

log = get_logger()

_T = TypeVar("_T")

RETRY_WAIT: Final = 0.5
"""Seconds between two tries of a write while the store is away."""
LOOK_AGAIN: Final = 0.01
"""Seconds between two looks for a row whose message came first."""


class StoppingError(Exception):
    """The worker is asked to stop while the store is away."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An attempt that this process holds, and when its lease began, by two clocks."""

    claimed: Claimed
    asked_at: float
    """This process's monotonic time, in seconds, before it was asked for: the lease ends no earlier than counted
    from here."""
    granted_at: datetime
    """The database's time."""


@dataclass(frozen=True, slots=True)
class Left:
    """An attempt that a dead process left behind, as it was found."""

    claimed: Claimed
    row: Mapping[str, Any]
    started_at: datetime
    now: datetime
    """The database's time, as `started_at`."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded of an attempt: how it left its execution, and why."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An attempt that is to be started, and the nonces of the claims that may have done it."""

    execution_id: str
    nonces: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Started:
    """An attempt that was started: its row, when it was asked for, and its job as it was read after that, if it was."""

    row: Mapping[str, Any]
    asked_at: float
    job: Mapping[str, Any] | None


class Ledger:
    """The executions, as a worker uses them. Safe for use by many threads.

    Every operation waits while MongoDB is away. When the worker is stopping, what begins an attempt does so no longer,
    and what records one no longer than the grace: then they raise StoppingError.

    What several threads claim, or end well, at about the same time is written at once (docs/decisions/0021): the same
    compare-and-set on each row, in fewer commands. What is then not known to have been written is done one by one.
    """

    def __init__(self, database: Database[dict[str, Any]], worker: str, lease: timedelta, stopping: Stopping) -> None:
        self._executions = database[executions.COLLECTION]
        self._jobs = database[jobs.COLLECTION]
        self._worker = worker
        self._lease = lease
        self._stopping = stopping
        self._claims = Grouped(self._start_together)
        self._successes = Grouped(self._record_together)

    def claim(self, execution_id: str) -> Lease | None:
        """Start an attempt, and hold its lease; None when there is nothing to start: done, running, or not due yet.

        Or not there; for as long as its message may be ahead of its row, where it may be that.
        """
        lease = self._claim(execution_id)
        if lease is None and may_be_ahead(execution_id) and self._has_come(execution_id):
            return self._claim(execution_id)
        return lease

    def _has_come(self, execution_id: str) -> bool:
        """Wait for the row of an execution; return whether it waits for a worker, so that it may have come just now."""
        until = monotonic() + AHEAD
        while True:
            is_last = monotonic() >= until  # before the look: whoever stores a row counts on one that is so late
            row = self._persist(lambda _: self._executions.find_one({"_id": execution_id}, {"state": 1}))
            if row is not None or is_last:
                return row is not None and row["state"] in WAITING_FOR_WORKER
            sleep(LOOK_AGAIN)

    def _claim(self, execution_id: str) -> Lease | None:
        wanted = _Wanted(execution_id)
        if (started := self._persist(lambda _: self._start(wanted))) is not None:
            return self._lease_of(started)
        if self._change(executions.return_early(execution_id, self._worker)):
            return None
        if self._change(submitted.expire_one(execution_id, self._worker)):
            log.info("it was not started in time", action="execution_expired", execution_id=execution_id)
            return None
        # It may have become due between the two; its message is the one that is being handled here.
        started = self._persist(lambda _: self._start(wanted))
        return self._lease_of(started) if started is not None else None

    def _start(self, wanted: _Wanted) -> _Started | None:
        if not wanted.nonces:
            try:
                return self._claims.ask(wanted)
            except OperationFailure as error:
                if is_away(error):
                    raise
                # One row that the write fails at fails all of a group; and those before it are claimed.
        return self._start_alone(wanted)

    def _start_alone(self, wanted: _Wanted) -> _Started | None:
        # Of a claim whose answer was lost its nonce tells, which nobody else can have written; and its lease, which
        # has been running since, begins anew. But first comes another, with a nonce of its own: the lost one may
        # still be on its way, even till this attempt has ended, and must not pass for it then.
        execution_id, lost, nonce = wanted.execution_id, tuple(wanted.nonces), uuid4().hex
        wanted.nonces.append(nonce)
        claim = executions.claim(execution_id, self._worker, nonce, self._lease, os.getpid())
        started = self._started(claim, (nonce,))
        if started is None and lost:
            started = self._started(executions.confirm(execution_id, lost, self._lease), lost)
        return started

    def _started(self, move: Move, nonces: Sequence[str]) -> _Started | None:
        asked_at = monotonic()
        row = self._apply(move)
        if row is None or not executions.is_held(row, nonces):
            return None
        return _Started(row, asked_at, self._job_of(row))

    def _start_together(self, group: Sequence[_Wanted]) -> list[_Started | None]:
        if len(group) == 1:
            return [self._start_alone(group[0])]
        # Of two messages for one execution, one starts it; with the nonce of both the same, both would call.
        first = {each.execution_id: each for each in reversed(group)}
        token = uuid4().hex
        nonces = {execution_id: executions.nonce_of(token, execution_id) for execution_id in first}
        for execution_id, each in first.items():
            each.nonces.append(nonces[execution_id])
        move = executions.claim_together(list(first), self._worker, token, self._lease, os.getpid())
        asked_at = monotonic()
        if not self._executions.update_many(move.filter, move.update).modified_count:
            return [None] * len(group)
        rows = self._executions.aggregate([{"$match": executions.kept_filter(nonces)}, jobs.LOOK_UP_JOB])
        started = {row["_id"]: _Started(row, asked_at, jobs.looked_up(row)) for row in rows}
        return [started.get(each.execution_id) if first[each.execution_id] is each else None for each in group]

    def _job_of(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return DELETION_FIELDS of the job of a row; None if the row names none that there is."""
        job_id = row.get("job_id")
        if not isinstance(job_id, str):
            return None
        # By nothing but its id, as in a claim: MongoDB makes no plan then.
        return self._jobs.find_one({"_id": job_id}, jobs.DELETION_FIELDS)

    def _lease_of(self, started: _Started) -> Lease | None:
        """Return the lease of what was started, unless it can't be read, or must not run."""
        claimed = self._read(started.row)
        if claimed is None:
            return None
        granted_at = started.row["lease"]["expires_at"] - self._lease
        lease = Lease(claimed, started.asked_at, granted_at)
        return lease if self._may_run(lease, started) else None

    def _read(self, document: Mapping[str, Any]) -> Claimed | None:
        """Return what was claimed; end it when its document can't be read, or every worker would fail at it in turn."""
        try:
            return executions.to_claimed(document)
        except Exception as error:  # whatever is wrong with it
            execution_id = document["_id"]
            metrics.WORKER_PARKED.inc()
            log.exception("an execution cannot be read", action="execution_parked", execution_id=execution_id)
            failure = Failure("INTERNAL", f"the execution's document can't be read: {error!r}", retryable=False)
            self._apply(executions.park(execution_id, document["lease"]["nonce"], self._worker, failure))
            return None

    def _may_run(self, lease: Lease, started: _Started) -> bool:
        """Return False, and end the execution, when it must not be called any more.

        Its job was deleted: whoever has not heard of that may insert a row after the deletion has cancelled what it
        found. Likewise, if it is a part, when what it belongs to was stopped. Or it is tried again, and its retry
        window has ended while the message waited.
        """
        claimed = lease.claimed
        execution = (claimed.execution_id, claimed.nonce, self._worker)
        if jobs.is_deleted(started.job, started.row):
            self.record(claimed, executions.drop(*execution, "the job was deleted"))
            return False
        # A deletion that was taken back, and put in force between the claim and the look at the job, does not show in
        # that; before it was in force it has marked the row.
        if jobs.is_in_another_epoch(started.job, started.row) and self.record(
            claimed, executions.drop_stopped(*execution)
        ):
            return False
        if claimed.parent and not self._persist(lambda _: self._is_wanted(claimed.parent)):
            self.record(claimed, executions.drop(*execution, "the execution that it is a part of was stopped"))
            return False
        until = claimed.retry_until
        if until is not None and claimed.tries + claimed.retries > 1 and lease.granted_at >= until:
            self.record(claimed, executions.give_up(*execution, window_over(until)))
            return False
        return True

    def _is_wanted(self, parent_id: str) -> bool:
        """Return whether nothing that a part belongs to was stopped: beat hands a stop down at its next look only.

        A whole whose own parent can't be read, or that is part of itself, counts as the outermost.
        """
        passed: set[str] = set()
        whole_id: object = parent_id
        while isinstance(whole_id, str) and whole_id not in passed:
            passed.add(whole_id)
            if (whole := self._executions.find_one(parts.wanted_filter(whole_id), {"parent": 1})) is None:
                return False
            whole_id = whole.get("parent")
        return True

    def whole(self, execution_id: str) -> dict[str, Any] | None:
        """Return an earlier execution that has parts, as far as a retry of it needs it; None if it is gone."""
        return self._persist(lambda _: self._executions.find_one({"_id": execution_id}, parts.REUSED_FIELDS))

    def parts(self, execution_id: str) -> list[dict[str, Any]]:
        """Return the parts of an earlier execution, in their order, as far as a retry of it needs them."""
        chosen = parts.parts_filter(execution_id)
        return self._persist(
            lambda _: self._executions.find(chosen, parts.REUSED_PART_FIELDS).sort(parts.BY_NUMBER).to_list()
        )

    def why_unclaimable(self, execution_id: str) -> str:
        """Return, for the log, why an execution could not be claimed."""
        document = self._persist(lambda _: self._executions.find_one({"_id": execution_id}, {"state": 1, "schema": 1}))
        if not document:
            return "there is no such execution"
        if (schema := document.get("schema", 1)) > executions.SCHEMA:
            return f"it is for newer workers: its schema is {schema}, and this one knows {executions.SCHEMA}"
        return f"it is {document['state']}"

    def record(self, claimed: Claimed, move: Move) -> Recorded | None:
        """Write the outcome of an attempt; return what was written, or None if the lease was lost: it is refused."""
        return self._persist(lambda tried: self._record(claimed, move, tried=tried), until=self._stopping.grace_over)

    def _record(self, claimed: Claimed, move: Move, *, tried: bool) -> Recorded | None:
        if move.leads_to is not None and not tried:
            try:
                return self._successes.ask((claimed, move))
            except BulkWriteError:
                tried = True  # one row that the write fails at fails all of a group, of which others may be written
        return self._record_alone(claimed, move, tried=tried)

    def _record_alone(self, claimed: Claimed, move: Move, *, tried: bool) -> Recorded | None:
        if written := self._apply(move):
            return _recorded(written["transitions"][-1])
        return self._own_outcome(claimed) if tried else None

    def _record_together(self, group: Sequence[tuple[Claimed, Move]]) -> list[Recorded | None]:
        if len(group) == 1:
            ((claimed, move),) = group
            return [self._record_alone(claimed, move, tried=False)]
        writes = [UpdateMany(move.filter, move.update) for move in executions.alike_together(group)]
        if self._executions.bulk_write(writes, ordered=False).matched_count == len(group):
            return [Recorded(move.leads_to, "") for _, move in group if move.leads_to is not None]
        # Some were refused; which, the rows tell.
        return [self._own_outcome(claimed) for claimed, _ in group]

    def lacks_copy(self, execution_id: str) -> None:
        """Leave it to beat to copy an outcome to Redis, which was away."""
        self._change(executions.lacks_copy(execution_id))

    def hand_back(self, claimed: Claimed, reason: str) -> Recorded | None:
        """Give an attempt to another worker; see record."""
        return self.record(claimed, executions.hand_back(claimed.execution_id, claimed.nonce, self._worker, reason))

    def left_by(self, execution_id: str, pid: int) -> Left | None:
        """Return the attempt that a dead process of this worker left behind; None when it left none, or none readable.

        Never one that another process has begun since: the lease says whose it is.
        """
        pipeline = executions.left_pipeline(execution_id, self._worker, pid)
        found = self._persist(lambda _: self._executions.aggregate(pipeline).to_list(), until=self._stopping.grace_over)
        if not found or (claimed := self._read(found[0])) is None:
            return None
        return Left(claimed, found[0], found[0]["started_at"], found[0]["now"])

    def drop_waiting(self, execution_id: str, reason: str) -> bool:
        """Cancel an execution that waits for a worker; return whether it did."""
        move = executions.drop_waiting(execution_id, self._worker, reason)
        return self._change(move, until=self._stopping.grace_over)

    def renew(self, held: Mapping[str, str], within: float) -> dict[str, str | None]:
        """Prolong the leases of attempts, given as execution id to nonce, and look at them as look does.

        Raises PyMongoError, after at most `within` seconds: the caller's clock decides how long that may go on.
        """
        move = executions.renew(held, self._lease)
        with pymongo.timeout(within):
            self._executions.update_many(move.filter, move.update)
            return self._look(held)

    def look(self, held: Mapping[str, str], within: float) -> dict[str, str | None]:
        """Return those of the attempts that are still ours, and why, of those to be cancelled. Raises as renew does."""
        with pymongo.timeout(within):
            return self._look(held)

    def note_progress(self, said: Sequence[tuple[Claimed, Progress]], within: float) -> None:
        """Write how far attempts say that they have got. Raises as renew does."""
        with pymongo.timeout(within):
            self._executions.bulk_write(
                task_attempts.note_progress(
                    (claimed.execution_id, claimed.nonce, (progress.done, progress.total, progress.message))
                    for claimed, progress in said
                ),
                ordered=False,
            )

    def _look(self, held: Mapping[str, str]) -> dict[str, str | None]:
        rows = self._executions.find(executions.kept_filter(held), executions.KEEPER_FIELDS)
        return {row["_id"]: executions.asked_to_cancel(row) for row in rows}

    def _apply(self, move: Move) -> dict[str, Any] | None:
        return self._executions.find_one_and_update(move.filter, move.update, return_document=ReturnDocument.AFTER)

    def _change(self, move: Move, until: Callable[[], bool] | None = None) -> bool:
        """Do what no answer is awaited of but whether it applied; see _persist for `until`."""
        write = self._persist(lambda _: self._executions.update_one(move.filter, move.update), until)
        return write.matched_count > 0

    def _own_outcome(self, claimed: Claimed) -> Recorded | None:
        """Return how this attempt ended, if it was this worker who ended it: the answer to a write was lost.

        The execution itself may be further already.
        """
        row = self._executions.find_one({"_id": claimed.execution_id}, {"transitions": 1})
        steps = row["transitions"] if row else []
        begins = [index for index, step in enumerate(steps) if step["state"] == State.RUNNING]
        ends = steps[begins[claimed.attempt - 1] + 1 :] if len(begins) >= claimed.attempt else []
        return _recorded(ends[0]) if ends and ends[0]["by"] == self._worker else None

    def _persist(self, operation: Callable[[bool], _T], until: Callable[[], bool] | None = None) -> _T:
        """Do an operation until the store answers, or until it is time to give up: by default, when the worker stops.

        It is told whether an earlier try may have taken effect.
        """
        give_up = until or self._stopping.asked
        tried = False
        while True:
            try:
                return operation(tried)
            except PyMongoError as error:
                if not is_away(error):
                    raise
                if not tried:
                    log.warning("the store cannot be reached", action="store_away", error=str(error))
                tried = True
                if give_up():
                    raise StoppingError(str(error)) from error
                sleep(RETRY_WAIT)


def _recorded(transition: Mapping[str, Any]) -> Recorded:
    return Recorded(State(transition["state"]), transition["reason"])
