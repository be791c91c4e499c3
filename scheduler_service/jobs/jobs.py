"""The server's operations on jobs, each a named one; the writes are those of shared.store.jobs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymongo.errors import DuplicateKeyError

from scheduler_service.jobs.counted import Counted
from scheduler_service.jobs.listing import read_page
from scheduler_service.jobs.room import Room
from scheduler_service.jobs.together import Together
from scheduler_service.jobs.zone_rules import ZoneRules
from scheduler_service.moves import run_move
from scheduler_service.transport.convert import job_message
from scheduler_service.transport.fields import refuse, required
from scheduler_service.transport.pages import MOST_BYTES
from scheduler_service.transport.refusals import (
    LONGEST_MESSAGE,
    Conflict,
    NoSuch,
    NotDeleted,
    Taken,
    TookTooLong,
    shortened,
)
from scheduler_service.transport.requests import is_repeated, token
from scheduler_service.transport.unreadable import UNREADABLE, of_newer_release, why_unreadable
from shared.domain.clock import to_the_millisecond, utc_text
from shared.domain.errors import FailedPrecondition, InvalidInput, Reason, ResourceExhausted, Violation
from shared.domain.execution import rfc3339
from shared.domain.job import JobState
from shared.domain.plan import Mode, Spec
from shared.domain.schedule import OnceSchedule
from shared.domain.text import excerpt
from shared.log import get_logger
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions, jobs, rollups
from shared.store.executions import Move
from shared.store.mongo import as_utc
from shared.store.pipeline import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from shared.domain.job import JobDefinition
    from shared.domain.overrides import Override
    from shared.domain.rollup import Piece
    from shared.store.listing import Listing, Position

log = get_logger()

MOST_TRIES: Final = 10
"""How often an edit reads the job again because somebody else changed it; each loser lost to a winner."""

SETTLED: Final = 3.0
"""Seconds within which a beat that runs puts a change in force."""
SETTLING: Final = 0.05
"""Seconds between two looks whether it has."""

HEADSTART: Final = timedelta(milliseconds=100)
"""How far ahead of the edit a `once` of just now is put, so that it lies behind the edit's cutoff."""


@dataclass(frozen=True, slots=True)
class Found:
    """A job as it was read, and the database's time then."""

    job: jobs.StoredJob
    document: Mapping[str, Any]
    now: datetime

    @property
    def through(self) -> datetime:
        """The instant through which all is decided, or will be as it was before a change that is made now."""
        return jobs.decided_through(self.document, self.now)


@dataclass(frozen=True, slots=True)
class FoundWithRuns:
    """A job as it was read, the database's time then, its newest run's row, and how many rows are in which state."""

    job: jobs.StoredJob
    now: datetime
    newest: Mapping[str, Any] | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Edit:
    """What an edit makes of a job; change is what it queues for a beat."""

    state: JobState
    status_message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    change: jobs.Queued | None = None
    what: Sequence[str] = ("state",)
    """The names of the fields that change."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """What has to hold, besides that the job is as it was read."""
    edited: bool = True
    """Whether it changes what the etag stands for."""


_Decide: TypeAlias = Callable[[Found, int], Awaitable[_Edit | None]]
"""Decides an edit from what was read and the number of the try; None: nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a change of an occurrence queues, None if nothing; and the override that then stands, or was taken back.

    first: the instant that must not be due when it is stored.
    """

    change: jobs.Queued | None
    override: Override
    first: datetime


DecideOccurrence: TypeAlias = Callable[[Found], Decided]

Redefine: TypeAlias = Callable[[jobs.StoredJob, datetime], Awaitable["JobDefinition"]]
"""Returns the new definition of a job as it was read at an instant, or raises."""


class Jobs:
    """The jobs in the store. All raise PyMongoError when it can't be reached."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        undelete_for: timedelta = jobs.UNDELETE_FOR,
        most: int | None = None,
    ) -> None:
        """Take the database, for how long a deletion can be taken back, and how many jobs may be stored."""
        self._database = database
        self._undelete_for = undelete_for
        self._jobs = database[jobs.COLLECTION]
        self._revisions = database[jobs.REVISIONS]
        self.zone_rules = ZoneRules(database)
        self._now = Together(self._ask_now)
        self._room = Room(self._jobs.estimated_document_count, most)
        self._counted = Counted(database, self.now)

    async def now(self) -> datetime:
        """Return the database's time, UTC."""
        return await self._now()

    async def _ask_now(self) -> datetime:
        return as_utc((await self._database.command("hello"))["localTime"])

    async def create(
        self,
        definition: JobDefinition,
        uid: str,
        now: datetime,
        by: str,
        *,
        validate_only: bool = False,
        limited: bool = True,
    ) -> jobs.StoredJob:
        """Store a new job. Raises Taken when its id is in use, or was; LimitReached, if limited, with too many jobs.

        A job that the request in progress has created before stands for it.
        """
        async with self._room.place() if limited else nullcontext():
            return await self._create(definition, uid, now, by, validate_only=validate_only)

    async def _create(
        self, definition: JobDefinition, uid: str, now: datetime, by: str, *, validate_only: bool
    ) -> jobs.StoredJob:
        document = jobs.new_document(definition, uid, now, by, token())
        if validate_only:
            if await self.taken([definition.job_id]):
                raise Taken("job", definition.job_id)
            return jobs.to_job(document, definition)
        await self.zone_rules.keep()
        spec = Spec(definition.schedule, Mode.ACTIVE)
        # Before the job, so that no epoch is ever without its entry in the history.
        revision = jobs.revision_document(uid, document["epoch"], spec, document["covered"], by, "created")
        try:
            await self._revisions.insert_one(revision)
            is_first = True
        except DuplicateKeyError:
            is_first = False  # who began with this request has died in between, or is still at it
            definition, document = await self._as_begun(definition, revision)
        try:
            await self._jobs.insert_one(document)
        except DuplicateKeyError:
            if (first := await self.created_before(definition.job_id)) is not None:
                return first
            if is_first:
                await self._revisions.delete_one({"_id": revision["_id"]})
            raise Taken("job", definition.job_id) from None
        return jobs.to_job(document, definition)

    async def _as_begun(
        self, definition: JobDefinition, revision: Mapping[str, Any]
    ) -> tuple[JobDefinition, dict[str, Any]]:
        """Return a new job, and its document, as its history says that it began, which was written before.

        The same request at another time gives another anchor to an interval, and another instant after which all is
        due. What the job was created with, and what its history says, would be two schedules.
        """
        entry = await self._revisions.find_one({"_id": revision["_id"]})
        if entry is None:
            raise Taken("job", definition.job_id)  # as whoever wrote it has found
        await self.zone_rules.load([entry])
        begun = replace(definition, schedule=jobs.to_spec(entry).schedule)
        return begun, jobs.new_document(begun, entry["job_uid"], entry["began"], entry["by"], token())

    async def created_before(self, job_id: str) -> jobs.StoredJob | None:
        """Return the job of this id if the request in progress has created it, in a call that got no answer."""
        if not token():
            return None
        document = await self._jobs.find_one(jobs.of_request(job_id, token()))
        if document is None:
            return None
        await self.zone_rules.load([document])
        return read_job(document)

    async def taken(self, job_ids: list[str]) -> frozenset[str]:
        """Return those of the ids that jobs have, deleted ones included."""
        found = self._jobs.find({"_id": {"$in": job_ids}}, {"_id": 1})
        return frozenset([document["_id"] async for document in found])

    async def read(self, job_id: str, *, show_deleted: bool = False) -> Found:
        """Return a job. Raises NoSuch when there is none, or it is deleted, which it then says, unless show_deleted."""
        refuse(required("job_id", job_id))
        async with await self._jobs.aggregate(_reading(job_id)) as documents:
            async for document in documents:
                return await self._found(job_id, document, show_deleted=show_deleted)
        raise NoSuch("job", job_id)

    async def read_with_runs(self, job_id: str, window: timedelta) -> FoundWithRuns:
        """Return a job, its newest run, and what is in flight, or ended since the full hour in which the window begins.

        Raises as read does. One question to the store: each takes the driver half as long as all else that a status
        takes together.
        """
        refuse(required("job_id", job_id))
        collection, pipeline, options = runs_question(job_id, *await self._counted.since(window))
        counts: Counter[str] = Counter()
        found: Found | None = None
        async with await self._database[collection].aggregate(pipeline, **options) as documents:
            async for document in documents:
                if _READ_AT in document:
                    found = await self._found(job_id, document)
                else:
                    counts[document["_id"]] += document["count"]
        if found is None:
            raise NoSuch("job", job_id)
        counts.update({group["_id"]: group["count"] for group in found.document["counts"]})
        newest: list[Mapping[str, Any]] = found.document["newest"]
        return FoundWithRuns(found.job, found.now, newest[0] if newest else None, counts)

    async def _found(self, job_id: str, document: dict[str, Any], *, show_deleted: bool = False) -> Found:
        """Return a job of what _reading has given."""
        now: datetime = document.pop(_READ_AT)
        if (deleted := jobs.deleted_at(document)) is not None and not show_deleted:
            until = self._undeletable_until(document)
            raise NoSuch("job", job_id, deleted=deleted, until=until if until and now < until else None)
        await self._load_rules(document)
        return Found(read_job(document), document, now)

    async def keep_done(self, job_id: str) -> bool:
        """Keep a job from being deleted as done by a beat that looked before something was stored for it.

        To be called once that is stored: a beat that reads the job afterwards finds it. Returns False when the job is
        not done, or is deleted already.
        """
        return bool((await self._jobs.update_one(jobs.done_job(job_id), jobs.KEEP)).matched_count)

    async def uid(self, job_id: str) -> str:
        """Return the uid of a job, also of a deleted one. Raises NoSuch when there never was one."""
        document = await self._jobs.find_one({"_id": job_id}, {"uid": 1})
        if document is None:
            raise NoSuch("job", job_id)
        return str(document["uid"])

    async def uids(self, job_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the uids of those of the jobs that there are, or were."""
        found = self._jobs.find({"_id": {"$in": sorted(job_ids)}}, {"uid": 1})
        return tuple([document["uid"] async for document in found])

    async def page(
        self, listing: Listing, after: Position | None, size: int, most_bytes: int = MOST_BYTES
    ) -> tuple[list[pb.ScheduledJob], Position | None]:
        """Return a page of a list, and the position to go on from, if there is more.

        A job that can't be read is one of its entries; see is_readable.
        """
        return await read_page(self._jobs, listing, after, size, _entry, load=self._load_rules, most_bytes=most_bytes)

    async def _load_rules(self, document: Mapping[str, Any]) -> None:
        """Make known which zone rules a document's schedules follow; one that can't be read says so when it is."""
        with suppress(*UNREADABLE):
            await self.zone_rules.load([document])

    def _undeletable_until(self, document: Mapping[str, Any]) -> datetime | None:
        """Return until when a deleted job can be undeleted; None when that was never so."""
        if "managed" in document:
            return None
        # Of before this was kept, by what holds now.
        until: datetime | None = document.get("purge_time")
        return until or (document["updated_at"] + self._undelete_for)

    async def update(
        self, job_id: str, etag: str, redefine: Redefine, by: str, *, validate_only: bool = False
    ) -> jobs.StoredJob:
        """Give a job a new definition; a changed schedule is queued for a beat. etag: as it has to be, or empty.

        Raises what redefine raises; Conflict when the etag is another; FailedPrecondition for a managed job;
        ResourceExhausted.
        """

        async def decide(found: Found, tries: int) -> _Edit:
            job = found.job
            _refuse_managed(job, "changed")
            definition = await redefine(job, found.now)
            changed = definition.schedule != job.definition.schedule
            condition: Mapping[str, Any] = {}
            if changed and isinstance(definition.schedule, OnceSchedule):
                once = _ahead(definition.schedule, found, tries)
                definition = replace(definition, schedule=once)
                condition = jobs.comes_after_cutoff(once.at)
            parked = job.state is JobState.ERROR
            state = JobState.ACTIVE if parked or (changed and job.state is JobState.COMPLETED) else job.state
            return _Edit(
                state,
                job.status_message if state is job.state else "",
                jobs.definition_fields(definition),
                # A job that was parked begins a new epoch in any case: its wake time alone would not install
                # the changes that wait.
                jobs.Queued(definition.schedule, by, "updated", counts_anew=changed) if changed or parked else None,
                _changed_fields(job.definition, definition),
                condition,
            )

        if not validate_only:
            await self.zone_rules.keep()
        return await self._edit(job_id, by, decide, etag=etag, validate_only=validate_only)

    async def pause(
        self, job_id: str, by: str, reason: str, *, etag: str = "", validate_only: bool = False
    ) -> jobs.StoredJob:
        """Stop firing a job; one that is paused stays as it is. Raises FailedPrecondition for one that is completed."""

        async def decide(found: Found, _tries: int) -> _Edit | None:
            if found.job.state is JobState.PAUSED:
                return None
            _refuse_completed(found.job, "paused")
            return _Edit(JobState.PAUSED, reason, change=_same_schedule(found, by, reason or "paused"))

        return await self._edit(job_id, by, decide, etag=etag, validate_only=validate_only)

    async def resume(
        self, job_id: str, by: str, reason: str, *, etag: str = "", validate_only: bool = False
    ) -> jobs.StoredJob:
        """Fire a paused or parked job again; an active one stays as it is. Raises FailedPrecondition as pause does."""

        async def decide(found: Found, _tries: int) -> _Edit | None:
            if found.job.state is JobState.ACTIVE:
                return None
            _refuse_completed(found.job, "resumed")
            return _Edit(JobState.ACTIVE, change=_same_schedule(found, by, reason or "resumed"))

        return await self._edit(job_id, by, decide, etag=etag, validate_only=validate_only)

    async def delete(
        self,
        job_id: str,
        by: str,
        reason: str,
        *,
        cancel_running: bool = False,
        etag: str = "",
        validate_only: bool = False,
    ) -> jobs.StoredJob:
        """Delete a job; its id stays taken. What to do with its executions is the caller's, and beat's after it.

        Raises FailedPrecondition for a managed job.
        """

        async def decide(found: Found, _tries: int) -> _Edit:
            _refuse_managed(found.job, "deleted")
            change = replace(_same_schedule(found, by, reason or "deleted"), cancel_running=cancel_running)
            return _Edit(JobState.DELETED, reason, change=change)

        return await self._edit(job_id, by, decide, etag=etag, validate_only=validate_only)

    async def change_occurrence(
        self, job_id: str, by: str, decide: DecideOccurrence, done: Callable[[jobs.StoredJob], Override]
    ) -> Override:
        """Queue a change of a single occurrence, unless that is due by the time that it is stored; see Decided.

        The etag stays: the job is defined as before. done: what is answered of a job that the request in progress has
        changed before. Raises what decide raises, which is asked again when the job has changed, or time has passed.
        When what it concerns has come due until it is known to be stored, also FailedPrecondition where it was too
        late, and TookTooLong where nobody knows.
        """
        decided: Decided | None = None

        async def decide_edit(found: Found, _tries: int) -> _Edit | None:
            nonlocal decided
            decided = decide(found)
            if decided.change is None:
                return None
            condition = jobs.comes_after_cutoff(decided.first)
            job = found.job
            return _Edit(job.state, job.status_message, change=decided.change, condition=condition, edited=False)

        job = await self._edit(job_id, by, decide_edit)
        if decided is not None and decided.change is None:
            return decided.override
        # Of a call that goes on with one that had its effect, nothing was to be decided.
        override = done(job) if decided is None else decided.override
        first = override.first if decided is None else decided.first
        # The time that the write went by is of its beginning, and a majority may have it much later. A beat that read
        # the job in between, when the occurrence was due, has decided it without.
        if await self.now() < first:
            return override
        change = None if decided is None else decided.change
        in_force = None if change is None else await self._was_in_time(job, change, first)
        if in_force:
            return override
        said = f"the occurrence {rfc3339(override.nominal)} of the job '{job_id}' came due while this was being stored"
        if in_force is None:
            raise TookTooLong(f"{said}; once a beat has put it in force, ExplainOccurrence says whether it was in time")
        raise FailedPrecondition(f"{said}, and was decided without it", reason=Reason.OCCURRENCE_DECIDED)

    async def _was_in_time(self, job: jobs.StoredJob, change: jobs.Queued, first: datetime) -> bool | None:
        """Return whether the last change of a job is in force since before the first instant that it concerns.

        None when no beat has put it in force within SETTLED; or when it is another change that is the job's last, as
        when another call for the same request was faster.
        """
        entry = {"_id": jobs.revision_id(job.uid, job.epoch + job.waiting_changes)}
        until = monotonic() + SETTLED
        while monotonic() < until:
            if (found := await self._revisions.find_one(entry, {"began": 1, "reason": 1})) is not None:
                return bool(found["began"] < first) if found["reason"] == change.reason else None
            await asyncio.sleep(SETTLING)
        return None

    async def undelete(self, job_id: str, by: str, reason: str, *, validate_only: bool = False) -> jobs.StoredJob:
        """Take back a deletion: the job is in the state that it had, and goes on from now, in the next epoch.

        Raises NoSuch when there is no such job, or no longer; NotDeleted; FailedPrecondition for a managed job.
        """

        async def decide(found: Found, _tries: int) -> _Edit:
            job = found.job
            if job.deleted_at is None:
                raise NotDeleted("job", job_id)
            _refuse_managed(job, "undeleted")
            until = self._undeletable_until(found.document)
            if until is None or found.now >= until:
                raise NoSuch("job", job_id, deleted=job.deleted_at)
            state, status_message = jobs.state_before_deletion(found.document)
            values: dict[str, Any] = {}
            if state is JobState.COMPLETED:
                # Or the next look at what is done would delete it again.
                kept = replace(job.definition.policies, delete_after_done=False)
                values["policies"] = jobs.policies_document(kept)
            return _Edit(state, status_message, values, _same_schedule(found, by, reason or "undeleted"))

        return await self._edit(job_id, by, decide, validate_only=validate_only, of_deleted=True)

    async def _edit(
        self,
        job_id: str,
        by: str,
        decide: _Decide,
        *,
        etag: str = "",
        validate_only: bool = False,
        of_deleted: bool = False,
    ) -> jobs.StoredJob:
        """Edit a job by compare-and-set, reading it again as often as somebody else was faster.

        etag: as it has to be, or empty. validate_only: return what it would be. of_deleted: also one that is deleted.
        What the request in progress has done before is not done again.
        """
        for tries in range(1, MOST_TRIES + 1):
            found = await self.read(job_id, show_deleted=of_deleted or is_repeated())
            if jobs.was_edited_by(found.document, token()):
                return found.job
            if found.job.deleted_at is not None and not of_deleted:
                found = await self.read(job_id)  # which refuses
            _refuse_newer(found.document)
            if etag and etag != found.job.etag:
                raise _outdated(found, etag)
            edit = await decide(found, tries)
            # The state too: a job completes without a new revision, and must not be made active again by this.
            as_read = jobs.edit_filter(job_id, found.job.revision) | {"state": found.job.state.value}
            if edit is None:
                if validate_only or (await self._jobs.update_one(as_read, jobs.stay(found.job.state))).matched_count:
                    return found.job
                continue
            if edit.change is not None and found.job.waiting_changes >= jobs.MOST_CHANGES:
                raise ResourceExhausted(
                    f"{found.job.waiting_changes} changes of the job '{job_id}' wait for a beat to install them, and no"
                    " beat seems to run; start one, and try again",
                    reason=Reason.TOO_MANY_CHANGES,
                )
            update = jobs.edit(
                edit.fields,
                edit.state,
                edit.change,
                by=by,
                status_message=edit.status_message,
                edited=edit.edited,
                what=edit.what,
                request=token(),
                undelete_for=self._undelete_for,
            )
            after = await run_move(self._jobs, Move({**as_read, **edit.condition}, update), validate_only=validate_only)
            if after is not None:
                return read_job(after)
        raise Conflict(f"the job '{job_id}' is being changed by others again and again; try again")


_READ_AT: Final = "read_at"


def _reading(job_id: str, *stages: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pipeline that reads a job, with the database's time, and what the stages add to it."""
    return [{"$match": {"_id": job_id}}, {"$set": {_READ_AT: NOW}}, *stages]


def runs_question(
    job_id: str, pieces: Sequence[Piece], since: datetime
) -> tuple[str, list[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the collection, the pipeline and the options that ask for a job with its runs, and what has ended of it.

    pieces: the roll-ups that tell what has ended before an instant, after which rows do. First come the numbers that
    the roll-ups have, then the job: a hint holds for the collection that is asked, and it is the roll-ups that need it.
    """
    job = _reading(job_id, *executions.with_runs(since))
    if not pieces:
        return jobs.COLLECTION, job, {}
    with_job = {"$unionWith": {"coll": jobs.COLLECTION, "pipeline": job}}
    return rollups.COLLECTION, [*rollups.ended_pipeline(job_id, pieces), with_job], {"hint": rollups.JOB_INDEX}


def read_job(document: Mapping[str, Any]) -> jobs.StoredJob:
    """Read a document. Raises FailedPrecondition when it can't be read: of a newer release, or changed by hand."""
    try:
        return jobs.to_job(document)
    except UNREADABLE as refused:
        raise unreadable_job(document, refused) from refused


def _entry(document: Mapping[str, Any]) -> pb.ScheduledJob:
    """Return a job as lists show it. One that can't be read must neither hide the others nor be hidden itself."""
    try:
        return job_message(read_job(document))
    except FailedPrecondition as refused:
        said = str(refused)
    except UNREADABLE as refused:  # of what only a message has no room for
        said = str(unreadable_job(document, refused))
    return pb.ScheduledJob(
        job_id=document["_id"],
        name=str(document.get("name", "")),
        state=pb.ScheduledJob.STATE_ERROR,
        status_message=shortened(said, LONGEST_MESSAGE),
    )


def is_readable(job: pb.ScheduledJob) -> bool:
    """Return whether an entry of a list is the whole job: else it only says why not."""
    return job.HasField("schedule_config")


def unreadable_job(document: Mapping[str, Any], error: Exception) -> FailedPrecondition:
    """Return the refusal of what a job that can't be read would be needed for."""
    _refuse_newer(document)
    said = why_unreadable("job", document, jobs.SCHEMA, error, action="job_unreadable")
    return FailedPrecondition(said, reason=Reason.JOB_UNREADABLE)


def _refuse_newer(document: Mapping[str, Any]) -> None:
    if said := of_newer_release("job", document, jobs.SCHEMA):
        raise FailedPrecondition(said, reason=Reason.STORED_BY_NEWER_RELEASE)


def _same_schedule(found: Found, by: str, reason: str) -> jobs.Queued:
    return jobs.Queued(found.job.definition.schedule, by, reason)


def _refuse_managed(job: jobs.StoredJob, what: str) -> None:
    """Refuse what beat would undo at its next start."""
    if job.managed_by:
        raise FailedPrecondition(
            f"the job '{job.definition.job_id}' is managed by {job.managed_by} and can't be {what} here; change its"
            f" entry '{job.definition.name}' in the module of TASK_MODULES that has it, and restart beat",
            reason=Reason.JOB_MANAGED,
            facts={"managed_by": job.managed_by},
        )


def _refuse_completed(job: jobs.StoredJob, what: str) -> None:
    if job.state is JobState.COMPLETED:
        raise FailedPrecondition(
            f"the job '{job.definition.job_id}' is completed and can't be {what}; a new schedule makes it active again",
            reason=Reason.JOB_COMPLETED,
        )


def _changed_fields(before: JobDefinition, after: JobDefinition) -> tuple[str, ...]:
    """Return the names, as requests have them, of the fields that differ."""
    names = (each.name for each in fields(after) if getattr(before, each.name) != getattr(after, each.name))
    return tuple(_NAMES_IN_REQUESTS.get(name, name) for name in names)


_NAMES_IN_REQUESTS: Final = {"schedule": "schedule_config", "retry": "retry_policy", "flow": "workflow or fan_out"}


def _outdated(found: Found, etag: str) -> Conflict:
    """Say who changed what since a job had an etag, as far as its document remembers."""
    job = found.job
    edits = jobs.edits_since(found.document, etag)
    facts = {"etag": job.etag, "updated_by": job.updated_by, "updated_at": utc_text(job.updated_at)}
    names = dict.fromkeys(name for edit in edits for name in edit.what)
    if names:
        facts["changed_fields"] = ",".join(names)
    told = [
        f"{edit.by or 'somebody'} changed {', '.join(edit.what) or 'it'} at {utc_text(edit.at)}" for edit in edits[-3:]
    ]
    if len(edits) > len(told):
        told.insert(0, f"{len(edits) - len(told)} earlier changes")
    by = f"{job.updated_by or 'somebody'} changed it last, at {facts['updated_at']}"
    return Conflict(
        f"the job '{job.definition.job_id}' has changed since it had the etag '{excerpt(etag)}':"
        f" {'; '.join(told) or by}; its etag is '{job.etag}' now; read it again",
        reason=Reason.ETAG_MISMATCH,
        facts=facts,
    )


def _ahead(once: OnceSchedule, found: Found, tries: int) -> OnceSchedule:
    """Return a `once` whose instant the edit's cutoff will not cover: one of just now is put a moment ahead.

    What the client wrote stays in its terms. The moment grows with the tries, for a store that is slow.
    """
    through = found.through
    if once.at > through:
        return once
    at = through + HEADSTART * tries
    ahead = replace(once, at=to_the_millisecond(at))
    if ahead.next_after(through) is None:
        raise InvalidInput([Violation("schedule_config.end_time", "has passed, so it can't fire any more")])
    return ahead
