"""The server's operations on backfills, each a named one; what they start is beat's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from scheduler_service.moves import run_move
from scheduler_service.transport.caller import current
from scheduler_service.transport.refusals import NoSuch
from scheduler_service.transport.requests import is_repeated, token
from scheduler_service.transport.unreadable import UNREADABLE
from shared.domain.backfill import MOST_ACTIVE, MOST_TIMES, BackfillState, times_in
from shared.domain.errors import FailedPrecondition, InvalidInput, Reason, ResourceExhausted, Violation
from shared.domain.execution import rfc3339
from shared.domain.text import because
from shared.store import backfills as store
from shared.store import executions, jobs
from shared.store.jobs import new_uid
from shared.store.mongo import already_there

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.jobs import Found, Jobs
    from scheduler_service.planning.backfill_requests import Asked
    from shared.domain.backfill import Window
    from shared.proto import planning_service_pb2 as pb
    from shared.store.backfills import StoredBackfill
    from shared.store.executions import Move
    from shared.store.jobs import StoredJob
    from shared.store.listing import Position


class Backfills:
    """All raise PyMongoError when the store can't be reached, and NoSuch for what there is not."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], jobs_: Jobs) -> None:
        self._backfills = database[store.COLLECTION]
        self._executions = database[executions.COLLECTION]
        self._jobs = jobs_
        self._jobs_collection = database[jobs.COLLECTION]

    async def create(self, job_id: str, asked: Asked, *, validate_only: bool) -> StoredBackfill:
        """Store a backfill of a job's present schedule; with validate_only, return what it would be.

        Raises InvalidInput, ResourceExhausted.
        """
        if is_repeated() and (there := await self._made_before()) is not None:
            await self._jobs.keep_done(job_id)  # who stored it may have died before doing so
            return there
        found = await self._jobs.read(job_id)
        backfill = _new(found, asked)
        if await self._backfills.count_documents(store.unended_filter(backfill.job_uid)) >= MOST_ACTIVE:
            raise ResourceExhausted(
                f"the job '{job_id}' has {MOST_ACTIVE} backfills that have not ended; a job can have no more at a time"
            )
        if not validate_only:
            try:
                await self._backfills.insert_one(store.new_document(backfill, jobs.partition_of(backfill.job_uid)))
            except DuplicateKeyError:
                # Another server took this for dead, and has gone on with the call.
                if (there := await self._made_before()) is None:
                    raise
                backfill = there
            if await self._jobs.keep_done(job_id):
                return backfill
            # A job that was deleted since it was read would go on with this, when it is undeleted.
            since = await self._jobs.read(job_id, show_deleted=True)
            if jobs.is_deleted(since.document, {"decided_at": backfill.created_at}):
                await self.end_with_job(since.job, backfill.created_at, running=False)
            elif since.job.epoch == found.job.epoch:
                return backfill
            # Else beat may have put a deletion in force that was taken back.
            backfill, _ = await self.read(backfill.backfill_id)
            if backfill.state is BackfillState.CANCELLED:
                await self._jobs.read(job_id)  # which refuses, unless it was undeleted since
                raise NoSuch("job", job_id, deleted=since.job.deleted_at or since.now)
        return backfill

    async def _made_before(self) -> StoredBackfill | None:
        """Return what the call in progress, or another that it goes on with, has stored."""
        there = await self._backfills.find_one({"_id": token()})
        if there is None:
            return None
        await self._jobs.zone_rules.load([there])
        return store.to_backfill(there)

    async def read(self, backfill_id: str) -> tuple[StoredBackfill, Mapping[str, int]]:
        """Return a backfill, and how many of its executions are in which state."""
        document = await self._backfills.find_one({"_id": backfill_id})
        if document is None:
            raise NoSuch("backfill", backfill_id)
        await self._jobs.zone_rules.load([document])
        return await self._with_states(store.to_backfill(document))

    async def count_states(self, backfills: Sequence[pb.Backfill]) -> None:
        """Fill in how many executions are in which state, where a backfill does not keep that yet."""
        counted = await self._states([each.backfill_id for each in backfills if not each.states])
        for each in backfills:
            each.states.update(counted.get(each.backfill_id, {}))

    async def _states(self, backfill_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        if backfill_ids:
            async with await self._executions.aggregate(store.counts_pipeline(backfill_ids)) as found:
                async for group in found:
                    backfill_id, state = group["_id"].get("backfill"), group["_id"].get("state")
                    if isinstance(backfill_id, str) and isinstance(state, str):  # else changed by hand
                        counts.setdefault(backfill_id, {})[state] = group["count"]
        return counts

    async def newest_first(self, job_id: str, after: Position | None, limit: int) -> AsyncIterator[dict[str, Any]]:
        """Return the documents of a list from a position on, those of one job or all."""
        uid = await self._jobs.uid(job_id) if job_id else None
        async for document in self._backfills.find(store.list_filter(uid, after), sort=store.NEWEST_FIRST, limit=limit):
            await self._jobs.zone_rules.load([document])
            yield document

    async def pause(
        self, backfill_id: str, reason: str, *, validate_only: bool
    ) -> tuple[StoredBackfill, Mapping[str, int]]:
        """Decide no further time. Raises FailedPrecondition for one that has ended."""
        message = because(f"paused by {current.get().by}", reason)
        move = store.pause(backfill_id, message, token())
        return await self._change(move, backfill_id, BackfillState.PAUSED, validate_only=validate_only)

    async def resume(self, backfill_id: str, *, validate_only: bool) -> tuple[StoredBackfill, Mapping[str, int]]:
        """Go on. Raises FailedPrecondition for one that has ended."""
        move = store.resume(backfill_id, token())
        return await self._change(move, backfill_id, BackfillState.RUNNING, validate_only=validate_only)

    async def cancel(
        self, backfill_id: str, reason: str, *, running: bool, validate_only: bool
    ) -> tuple[StoredBackfill, Mapping[str, int]]:
        """End one for good, with what has not started, and with what runs if `running`.

        What a window has decided and nobody has inserted yet is inserted here: a beat that stood still in between finds
        it there, and starts none of it. Raises FailedPrecondition for one that is completed.
        """
        message = because(f"cancelled by {current.get().by}", reason)
        move = store.cancel(backfill_id, message, running=running)
        cancelled, states = await self._change(move, backfill_id, BackfillState.CANCELLED, validate_only=validate_only)
        if validate_only:
            return cancelled, states
        await self._stop(cancelled, because("the backfill was cancelled", reason), running=running)
        return await self._with_states(cancelled)

    async def end_with_job(self, job: StoredJob, until: datetime, *, running: bool) -> None:
        """Cancel the backfills of a deleted job that were made until then, with what runs if `running`.

        Beat does it too, but later.
        """
        move = store.end_with_job(job.uid, until, running=running)
        if not (await self._backfills.update_many(move.filter, move.update)).modified_count:
            return
        # Also what a beat has started since, that had read the job before the deletion.
        async for document in self._backfills.find(store.cancelled_filter(job.uid, until)):
            await self._jobs.zone_rules.load([document])
            with suppress(*UNREADABLE):  # beat names it
                await self._stop(store.to_backfill(document), "the job was deleted", running=running)

    async def _stop(self, cancelled: StoredBackfill, reason: str, *, running: bool) -> None:
        """End what a cancelled backfill has in flight, and what a window of it has decided, so that none starts it."""
        if cancelled.window is not None:
            await self._insert(cancelled, cancelled.window)
        stop = store.stop_open(cancelled.backfill_id, current.get().by, reason, running=running)
        await self._executions.update_many(stop.filter, stop.update)

    async def _insert(self, backfill: StoredBackfill, window: Window) -> None:
        """Insert those executions of a window that are not there."""
        job = await self._jobs_collection.find_one({"uid": backfill.job_uid}, {**jobs.PLANNING_FIELDS, "now": "$$NOW"})
        if job is None or not window.times:
            return
        by = current.get().by
        documents = [store.execution_document(backfill, job, time, job["now"], by) for time in window.times]
        try:
            await self._executions.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            already_there(error)

    async def _change(
        self, move: Move, backfill_id: str, state: BackfillState, *, validate_only: bool
    ) -> tuple[StoredBackfill, Mapping[str, int]]:
        """Put a backfill into a state; one that is in it, or was put into it by this very request, stays as it is.

        validate_only: return what it would be.
        """
        after = await run_move(self._backfills, move, validate_only=validate_only)
        if after is None:
            found = await self.read(backfill_id)
            if found[0].state is not state and token() not in found[0].requests:
                raise FailedPrecondition(
                    f"the backfill '{found[0].backfill_id}' is {found[0].state}; it can't become {state}",
                    reason=Reason.BACKFILL_ENDED,
                )
            return found
        await self._jobs.zone_rules.load([after])
        return await self._with_states(store.to_backfill(after))

    async def _with_states(self, backfill: StoredBackfill) -> tuple[StoredBackfill, Mapping[str, int]]:
        if backfill.states:
            return backfill, backfill.states
        counted = await self._states([backfill.backfill_id])
        return backfill, counted.get(backfill.backfill_id, {})


def _new(found: Found, asked: Asked) -> StoredBackfill:
    """Return the backfill that was asked for, of a job as it was read. Raises InvalidInput."""
    job = found.job
    if asked.ends > found.now:
        said = f"{rfc3339(asked.ends)} is in the future (it is {rfc3339(found.now)}): a backfill is of what has passed"
        raise InvalidInput([Violation("to_time", said)])
    schedule = job.definition.schedule
    total = times_in(schedule, asked.begins, asked.ends)
    span = f"from {rfc3339(asked.begins)} to {rfc3339(asked.ends)}"
    if not total:
        before = schedule.next_after(asked.begins)
        named = f"; the next it names is {rfc3339(before)}" if before is not None else ""
        said = f"the job's schedule names no time {span}{named}"
        raise InvalidInput([Violation("from_time", said)])
    if total > MOST_TIMES:
        said = (
            f"the schedule names {total:,} times {span}, which are too many for one backfill (at most {MOST_TIMES:,})"
        )
        raise InvalidInput([Violation("to_time", said)])
    return store.StoredBackfill(
        # So that a call that is repeated finds what it made before.
        backfill_id=token() or new_uid(),
        job_id=job.definition.job_id,
        job_uid=job.uid,
        schedule=schedule,
        begins=asked.begins,
        ends=asked.ends,
        existing=asked.existing,
        overlap=asked.overlap,
        max_parallel=asked.max_parallel,
        queue=asked.queue or job.definition.queue,
        state=BackfillState.RUNNING,
        status_message="",
        total=total,
        decided=0,
        left=0,
        reached=None,
        window=None,
        created_at=found.now,
        created_by=current.get().by,
        finished_at=None,
        cancel_running=False,
        revision=1,
        states={},
    )
