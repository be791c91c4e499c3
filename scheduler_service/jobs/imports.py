"""Import and export: jobs as documents, and documents as what jobs are to be.

An import reads all, checks all, compares all, and only then changes anything; what it then does are the calls that a
client could have made, one job at a time, in the order of the document.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from scheduler_service.jobs.batches import PAGE, each
from scheduler_service.jobs.documents import read_entries, write_document
from scheduler_service.jobs.drafts import MUTABLE, changed_draft, new_draft
from scheduler_service.jobs.entries import FIELDS, PAUSED, beside, flattened, read_paused, read_request, write_entry
from scheduler_service.jobs.jobs import is_readable
from scheduler_service.jobs.listing import read_question
from scheduler_service.transport.convert import job_message
from scheduler_service.transport.fields import refuse
from scheduler_service.transport.pages import read_token, write_token
from scheduler_service.transport.refusals import shortened
from scheduler_service.transport.requests import become_part
from shared.domain.errors import FailedPrecondition, InvalidInput, NotFound, SchedulerError, Violation
from shared.domain.filters import JOB_FIELDS, JOB_ORDERS, Order
from shared.domain.job import JobState
from shared.proto import scheduler_service_pb2 as pb
from shared.store.listing import job_listing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.jobs.documents import Entry
    from scheduler_service.jobs.jobs import Jobs
    from shared.domain.filters import Filter
    from shared.domain.job import JobDefinition, JobDraft
    from shared.store.jobs import StoredJob

LONGEST_YAML: Final = 3 * 1024 * 1024
"""Bytes."""
MOST_DELETED: Final = 10_000
MOST_DIFFERENCES: Final = 100
"""Told of one job."""
MOST_DIFFERENCES_IN_ALL: Final = 5_000
LONGEST_VALUE: Final = 200
LARGEST_PAGE: Final = 2 * 1024 * 1024
"""Bytes of the jobs of one page of an export, as messages; their YAML is about as long."""
JOBS_IN_PAGE: Final = 200

_REASON: Final = "imported"
_OLDEST_FIRST: Final = Order("created_at")
Change = pb.ImportScheduledJobsResponse.Change


class Calls(Protocol):
    """The methods of the service that an import makes use of, each with what keeps its promises."""

    async def CreateScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802
    async def UpdateScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802
    async def PauseScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802
    async def ResumeScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802
    async def DeleteScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802
    async def UndeleteScheduledJob(self, request: Any, context: Any) -> Any: ...  # noqa: D102, N802


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as a document wants it, and what becomes of it for that."""

    request: pb.CreateScheduledJobRequest
    paused: bool
    change: Change
    paths: Sequence[str] = ()
    """The fields that have to be changed, of one that is there."""
    pauses: bool = False
    """Whether it has to be paused, or resumed."""


class Imports:
    """Makes jobs be as documents say."""

    def __init__(self, jobs: Jobs, definitions: Definitions, calls: Calls) -> None:
        self._jobs = jobs
        self._definitions = definitions
        self._calls = calls

    async def run(self, request: pb.ImportScheduledJobsRequest, context: Any) -> pb.ImportScheduledJobsResponse:
        """Do what a request asks for, or say what that would be. Raises InvalidInput with all violations at once."""
        found: list[Violation] = []
        if len(request.yaml.encode()) > LONGEST_YAML:
            said = f"{len(request.yaml.encode()):,} bytes are too many (at most {LONGEST_YAML:,})"
            raise InvalidInput([Violation("yaml", said)])
        pruned = self._pruned(request, found)
        refuse(found)
        # In a thread: a large document takes seconds to be read, and all other calls would wait.
        entries = await asyncio.to_thread(read_entries, request.yaml, "yaml")
        wanted = await self._wanted(entries, found)
        refuse(found)
        deleted = [] if pruned is None else await self._superfluous(pruned, {job.request.job_id for job in wanted})
        if not request.validate_only:
            await each(wanted, lambda job: self._apply(job, context))
            await each(deleted, lambda change: self._delete(change, context))
        return pb.ImportScheduledJobsResponse(changes=[*(job.change for job in wanted), *deleted])

    def _pruned(self, request: pb.ImportScheduledJobsRequest, found: list[Violation]) -> Filter | None:
        """Return which jobs may be deleted; None for none."""
        if request.prune is not bool(request.prune_filter.strip()):
            said = "prune and prune_filter need each other: what is not in the document is deleted where it fits"
            found.append(Violation("prune_filter", said))
        wrong: list[Violation] = []
        chosen, _ = read_question(request.prune_filter, "", JOB_FIELDS, JOB_ORDERS, wrong)
        found += [replace(each_wrong, field="prune_filter") for each_wrong in wrong]
        return chosen if request.prune else None

    async def _wanted(self, entries: list[Entry], found: list[Violation]) -> list[Wanted]:
        """Return what the entries want, and what becomes of the jobs; found: all that is wrong with all of them."""
        now = await self._jobs.now()
        wanted: list[Wanted] = []
        names: set[str] = set()
        for entry in entries:
            inside: list[Violation] = []
            paused = read_paused(entry.values, inside)
            request = await asyncio.to_thread(read_request, entry.values, inside)
            if request.job_id and request.job_id in names:
                inside.append(Violation("job_id", f"'{request.job_id}' is there twice"))
            names.add(request.job_id)
            job = await self._compared(request, now, inside, paused=paused)
            found += [entry.located(wrong, "yaml.") for wrong in inside]
            wanted += [job] if job is not None else []
        left = MOST_DIFFERENCES_IN_ALL
        for job in wanted:
            del job.change.differences[left:]
            left -= len(job.change.differences)
        return wanted

    async def _compared(
        self, request: pb.CreateScheduledJobRequest, now: datetime, found: list[Violation], *, paused: bool
    ) -> Wanted | None:
        """Compare what an entry says with the job that there is, if there is one."""
        read = tuple(found)
        before = await self._there(request.job_id, now, found)
        try:
            definition = await self._defined(request, before, now, found)
        except InvalidInput as refused:
            found[:] = beside(read, refused.violations)
            return None
        except FailedPrecondition as error:
            found.append(Violation("target_method", str(error)))
            return None
        change = Change(job_id=request.job_id, warnings=self._definitions.warnings(definition))
        if before is None:
            change.action = Change.ACTION_CREATE
            return Wanted(request, paused, change, pauses=paused)
        after = replace(before, definition=definition)
        differences = self._differences(before, after, paused=paused)
        change.differences.extend(differences[:MOST_DIFFERENCES])
        fields = {difference.field.partition(".")[0] for difference in differences}
        if before.deleted_at is not None:
            change.action = Change.ACTION_UNDELETE
        else:
            change.action = Change.ACTION_UPDATE if differences else Change.ACTION_NONE
        return Wanted(request, paused, change, sorted(fields - {PAUSED}), pauses=PAUSED in fields)

    async def _there(self, job_id: str, now: datetime, found: list[Violation]) -> StoredJob | None:
        try:
            job = (await self._jobs.read(job_id, show_deleted=True)).job
        except (NotFound, InvalidInput):
            return None
        if job.managed_by:
            found.append(Violation("job_id", f"'{job_id}' is managed by {job.managed_by}, and only changed there"))
        elif job.deleted_at is not None and (job.purge_time is None or job.purge_time <= now):
            found.append(Violation("job_id", f"'{job_id}' was deleted; its id stays taken, choose another"))
        return job

    async def _defined(
        self, request: pb.CreateScheduledJobRequest, before: StoredJob | None, now: datetime, found: list[Violation]
    ) -> JobDefinition:
        """Return the definition that an entry describes; raise InvalidInput with all violations, those of before too.

        What calls the same as before is not held against its target again: an import of what was exported is right
        also while a target is away.
        """
        defaults = self._definitions.defaults
        if before is None:
            draft = await asyncio.to_thread(new_draft, request, request.job_id, defaults, found)
            return await self._definitions.define(draft, now, found)
        draft = await asyncio.to_thread(
            changed_draft, before.definition, request, frozenset(MUTABLE), defaults, now, found
        )
        with_target = _calls(draft) != _calls(before.definition)
        return await self._definitions.define(draft, now, found, with_target=with_target)

    def _differences(self, before: StoredJob, after: StoredJob, *, paused: bool) -> list[Any]:
        """Return what differs in the words of a document."""
        defaults = self._definitions.defaults
        present, wanted = (
            {name: _json(value) for name, value in flattened(write_entry(job_message(job), defaults)).items()}
            for job in (before, after)
        )
        # Only of a job that fires, or would, is it a question whether it is paused.
        if before.state in {JobState.ACTIVE, JobState.PAUSED, JobState.ERROR}:
            wanted.pop(PAUSED, None)
            wanted |= {PAUSED: _json(True)} if paused else {}
        return [
            Change.Difference(field=name, before=_shown(present, name), after=_shown(wanted, name))
            for name in dict.fromkeys((*present, *wanted))
            if present.get(name) != wanted.get(name)
        ]

    async def _superfluous(self, chosen: Filter, kept: set[str]) -> list[Change]:
        """Return the deletions of what fits the filter and is not in the document."""
        listing, after = job_listing(chosen, _OLDEST_FIRST), None
        deleted: list[Change] = []
        while True:
            page, after = await self._jobs.page(listing, after, PAGE)
            deleted += [
                _deletion(job)
                for job in page
                if job.job_id not in kept and not job.managed_by and job.state != pb.ScheduledJob.STATE_DELETED
            ]
            if len(deleted) > MOST_DELETED:
                said = f"more than {MOST_DELETED:,} jobs would be deleted; narrow it"
                raise InvalidInput([Violation("prune_filter", said)])
            if after is None:
                return deleted

    async def _apply(self, job: Wanted, context: Any) -> None:
        """Make a job be as it is wanted; what refuses is told with it."""
        try:
            await self._make(job, context)
        except SchedulerError as refused:
            job.change.error = shortened(str(refused), LONGEST_VALUE)

    async def _make(self, job: Wanted, context: Any) -> None:
        # Each step has a mark of its own: a call that goes on with one that broke off has fewer of them to take.
        job_id, pauses = job.request.job_id, job.pauses
        if job.change.action == Change.ACTION_CREATE:
            become_part(f"{job_id} create")
            await self._calls.CreateScheduledJob(job.request, context)
        if job.change.action == Change.ACTION_UNDELETE:
            become_part(f"{job_id} undelete")
            request = pb.UndeleteScheduledJobRequest(job_id=job_id, reason=_REASON)
            back = (await self._calls.UndeleteScheduledJob(request, context)).job
            pauses = back.state == (pb.ScheduledJob.STATE_ACTIVE if job.paused else pb.ScheduledJob.STATE_PAUSED)
        if pauses and job.paused:  # first, or it would fire in between
            await self._pause(job, context)
        if job.paths:
            become_part(f"{job_id} update")
            after = (await self._calls.UpdateScheduledJob(_update(job), context)).job
            if job.paused and after.state == pb.ScheduledJob.STATE_ACTIVE:  # a completed one, by its new schedule
                await self._pause(job, context)
        if pauses and not job.paused:
            await self._pause(job, context)

    async def _pause(self, job: Wanted, context: Any) -> None:
        """Pause a job, or resume it."""
        job_id = job.request.job_id
        become_part(f"{job_id} pause")
        if job.paused:
            await self._calls.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=job_id, reason=_REASON), context)
        else:
            await self._calls.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=job_id, reason=_REASON), context)

    async def _delete(self, change: Change, context: Any) -> None:
        become_part(f"{change.job_id} delete")
        reason = "not in an imported document"
        request = pb.DeleteScheduledJobRequest(job_id=change.job_id, reason=reason, etag=change.etag)
        try:
            await self._calls.DeleteScheduledJob(request, context)
        except SchedulerError as refused:
            change.error = shortened(str(refused), LONGEST_VALUE)

    async def export(self, request: pb.ExportScheduledJobsRequest) -> pb.ExportScheduledJobsResponse:
        """Return a page of jobs as a document, the oldest first."""
        found: list[Violation] = []
        chosen, _ = read_question(request.filter, "", JOB_FIELDS, JOB_ORDERS, found)
        name = f"export {chosen}"
        after = read_token(name, request.page_token, found)
        refuse(found)
        page, last = await self._jobs.page(job_listing(chosen, _OLDEST_FIRST), after, JOBS_IN_PAGE, LARGEST_PAGE)
        kept = [
            job
            for job in page
            if is_readable(job) and not job.managed_by and job.state != pb.ScheduledJob.STATE_DELETED
        ]
        defaults = self._definitions.defaults
        text = await asyncio.to_thread(lambda: write_document([write_entry(job, defaults) for job in kept]))
        return pb.ExportScheduledJobsResponse(yaml=text, jobs=len(kept), next_page_token=write_token(name, last))


def _deletion(job: pb.ScheduledJob) -> Change:
    # Its etag, as it may no longer fit when its turn comes.
    change = Change(job_id=job.job_id, etag=job.etag)
    change.action = Change.ACTION_DELETE
    return change


def _update(wanted: Wanted) -> pb.UpdateScheduledJobRequest:
    """Return the update that makes a job be as it is wanted.

    It names no field that is so already: of what is called that would be checked anew, which the import has not done.
    """
    job = pb.ScheduledJob()
    for descriptor, value in wanted.request.ListFields():
        if descriptor.name in FIELDS:
            field = pb.ScheduledJob.DESCRIPTOR.fields_by_name[descriptor.name]
            if descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
                getattr(job, field.name).CopyFrom(value)
            elif descriptor.message_type is not None:
                getattr(job, field.name).update(value)
            else:
                setattr(job, field.name, value)
    mask = {"paths": wanted.paths}
    return pb.UpdateScheduledJobRequest(job_id=wanted.request.job_id, job=job, update_mask=mask)


def _calls(job: JobDraft | JobDefinition) -> str:
    """Return what a job calls, and with what."""
    flow = None if job.flow is None else asdict(job.flow)
    return _json((job.target_service, job.target_method, job.parameters, flow))


def _shown(texts: Mapping[str, str], name: str) -> str:
    """Return a value, cut; empty when it is not set."""
    return shortened(texts.get(name, ""), LONGEST_VALUE)


def _json(value: Any) -> str:
    """Write a value as JSON, which tells true from 1, as Python's equality does not."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_as_json)


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else str(value)
