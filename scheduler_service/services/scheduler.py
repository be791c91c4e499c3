"""The methods of SchedulerService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError
from ulid import ULID

from scheduler_service.jobs.batches import change_all, create_all
from scheduler_service.jobs.drafts import changed_draft, changed_paths, new_draft
from scheduler_service.jobs.flow_drafts import FLOWS
from scheduler_service.jobs.imports import Imports
from scheduler_service.jobs.listing import list_executions, list_jobs
from scheduler_service.planning.occurrences import to_come, void_warnings
from scheduler_service.runs.entry import execution_entry, shown_execution
from scheduler_service.runs.runs import request_token
from scheduler_service.transport.caller import current
from scheduler_service.transport.convert import change_message, duration, execution_message, job_message, timestamps
from scheduler_service.transport.fields import reason_violations, refuse, required
from scheduler_service.transport.requests import is_repeated, request_id_violations, reused, token
from scheduler_service.watching.watching import seconds_to_wait
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JobState
from shared.domain.occurrences import upcoming
from shared.domain.text import because
from shared.log import get_logger
from shared.messaging.queues import MANUAL
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceServicer
from shared.store import executions as rows
from shared.store.jobs import new_uid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.planning.backfills import Backfills
    from scheduler_service.planning.forecast import Forecast
    from scheduler_service.runs.executions import Executions
    from scheduler_service.runs.runs import Runs
    from scheduler_service.watching.watching import Watching
    from shared.domain.job import JobDefinition
    from shared.domain.overrides import Override
    from shared.domain.schedule import Schedule
    from shared.store.jobs import StoredJob

log = get_logger()

COUNTS_WINDOW: Final = timedelta(days=30)
NEXT_FIRE_TIMES: Final = 5
AT_ONCE: Final = 4_096
"""Bytes of a request that is read in less time than it takes to hand it to a thread, or little more."""

_OF_UPDATE: Final = frozenset(pb.UpdateScheduledJobRequest.DESCRIPTOR.fields_by_name)


class SchedulerService(SchedulerServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(
        self,
        jobs: Jobs,
        executions: Executions,
        definitions: Definitions,
        runs: Runs,
        backfills: Backfills,
        forecast: Forecast,
        watching: Watching,
    ) -> None:
        self._jobs = jobs
        self._executions = executions
        self._definitions = definitions
        self._runs = runs
        self._backfills = backfills
        self._forecast = forecast
        self._watching = watching
        self._imports = Imports(jobs, definitions, self)

    async def CreateScheduledJob(
        self, request: pb.CreateScheduledJobRequest, context: Any
    ) -> pb.CreateScheduledJobResponse:
        """Store a job."""
        # Of a repeated call the first one's, so that a job without an id of its own has the same.
        uid = token() or new_uid()
        job_id = request.job_id or f"job-{uid}"
        if is_repeated() and (first := await self._jobs.created_before(job_id)) is not None:
            warnings = self._definitions.warnings(first.definition)
            return pb.CreateScheduledJobResponse(
                job_id=first.definition.job_id, job=job_message(first), warnings=warnings
            )
        found: list[Violation] = []
        defaults = self._definitions.defaults
        is_small = request.ByteSize() <= AT_ONCE
        if is_small:
            draft = new_draft(request, job_id, defaults, found)
        else:
            # In a thread: millions of values in parameters would hold up all other calls.
            draft = await asyncio.to_thread(new_draft, request, job_id, defaults, found)
        now = await self._jobs.now()
        definition = await self._definitions.define(draft, now, found, is_small=is_small)
        by = current.get().by
        job = await self._jobs.create(definition, uid, now, by, validate_only=request.validate_only)
        warnings = self._definitions.warnings(job.definition)
        warnings += await self._forecast.warnings(job.definition.schedule, uid, stored=not request.validate_only)
        return pb.CreateScheduledJobResponse(job_id=draft.job_id, job=job_message(job), warnings=warnings)

    async def GetScheduledJob(self, request: pb.GetScheduledJobRequest, context: Any) -> pb.GetScheduledJobResponse:
        """Return one job."""
        found = await self._jobs.read(request.job_id, show_deleted=request.show_deleted)
        return pb.GetScheduledJobResponse(job=job_message(found.job))

    async def ListScheduledJobs(
        self, request: pb.ListScheduledJobsRequest, context: Any
    ) -> pb.ListScheduledJobsResponse:
        """Return a page of jobs."""
        return await list_jobs(request, self._jobs)

    async def UpdateScheduledJob(
        self, request: pb.UpdateScheduledJobRequest, context: Any
    ) -> pb.UpdateScheduledJobResponse:
        """Change the fields that the mask names, or those that are set."""
        found: list[Violation] = []
        paths = changed_paths(request, found)
        with_target = bool(paths & {"target_service", "target_method", "parameters", *FLOWS})
        before: Schedule | None = None
        overridden: list[Override] = []

        async def redefine(job: StoredJob, now: datetime) -> JobDefinition:
            nonlocal before, overridden
            before, overridden = job.definition.schedule, to_come(job.overrides, now)
            inside = list(found)
            defaults = self._definitions.defaults
            draft = await asyncio.to_thread(changed_draft, job.definition, request.job, paths, defaults, now, inside)
            return await self._definitions.define(draft, now, inside, with_target=with_target)

        try:
            job = await self._jobs.update(
                request.job_id, request.job.etag, redefine, current.get().by, validate_only=request.validate_only
            )
        except InvalidInput as refused:
            raise InvalidInput(_in_job(refused)) from None
        warnings = [*self._definitions.warnings(job.definition), *void_warnings(overridden, job.overrides)]
        if job.state is JobState.ACTIVE:
            stored = not request.validate_only
            warnings += await self._forecast.warnings(job.definition.schedule, job.uid, before, stored=stored)
        return pb.UpdateScheduledJobResponse(job=job_message(job), warnings=warnings)

    async def PauseScheduledJob(
        self, request: pb.PauseScheduledJobRequest, context: Any
    ) -> pb.PauseScheduledJobResponse:
        """Stop firing a job."""
        _check(request)
        job = await self._jobs.pause(request.job_id, current.get().by, request.reason, **_precautions(request))
        return pb.PauseScheduledJobResponse(job=job_message(job))

    async def ResumeScheduledJob(
        self, request: pb.ResumeScheduledJobRequest, context: Any
    ) -> pb.ResumeScheduledJobResponse:
        """Fire a job again."""
        _check(request)
        job = await self._jobs.resume(request.job_id, current.get().by, request.reason, **_precautions(request))
        return pb.ResumeScheduledJobResponse(job=job_message(job))

    async def DeleteScheduledJob(
        self, request: pb.DeleteScheduledJobRequest, context: Any
    ) -> pb.DeleteScheduledJobResponse:
        """Delete a job, and cancel its backfills and what has not started; what runs too, when asked."""
        _check(request)
        by = current.get().by
        job = await self._jobs.delete(
            request.job_id, by, request.reason, cancel_running=request.cancel_running, **_precautions(request)
        )
        if request.validate_only or job.deleted_at is None:  # undeleted since, when this repeats the deletion
            return pb.DeleteScheduledJobResponse(job=job_message(job))
        reason = because("the job was deleted", request.reason)
        try:
            await self._backfills.end_with_job(job, job.deleted_at, running=request.cancel_running)
            await self._executions.end_open(job, by, reason, running=request.cancel_running)
        except PyMongoError as error:
            # The deletion stands; beat does the same when it installs it.
            log.warning(
                "cancelling a deleted job's backfills and executions is left to beat",
                action="cancel_left_to_beat",
                error=str(error)[:500],
            )
        return pb.DeleteScheduledJobResponse(job=job_message(job))

    async def UndeleteScheduledJob(
        self, request: pb.UndeleteScheduledJobRequest, context: Any
    ) -> pb.UndeleteScheduledJobResponse:
        """Take back a deletion."""
        _check(request)
        by = current.get().by
        job = await self._jobs.undelete(request.job_id, by, request.reason, validate_only=request.validate_only)
        return pb.UndeleteScheduledJobResponse(job=job_message(job))

    async def ExecuteJobNow(self, request: pb.ExecuteJobRequest, context: Any) -> pb.ExecuteJobResponse:
        """Run a job once, now."""
        queue = request.queue or MANUAL
        found = [
            *self._runs.queue_violations(queue),
            *request_id_violations(request.request_id),
            *required("job_id", request.job_id),
        ]
        seconds = seconds_to_wait(request, found)
        refuse(found)
        caller = current.get()
        run = request_token(request.request_id) if request.request_id else str(ULID())
        job = await self._runs.job(request.job_id, run)
        document = rows.manual_document(job.document, run, queue, caller.trace_id, job.now, caller.by)
        is_first = not request.request_id
        stored = await self._runs.start(document, job.job, is_first=is_first, validate_only=request.validate_only)
        if stored["queue"] != queue:
            raise reused(request.request_id, f"which started '{stored['_id']}' on the queue '{stored['queue']}'")
        if seconds and not request.validate_only:
            stored = await self._watching.after(stored, seconds, context.time_remaining())
        execution = shown_execution(stored)
        return pb.ExecuteJobResponse(execution_id=execution.execution_id, execution=execution)

    async def RetryExecution(self, request: pb.RetryExecutionRequest, context: Any) -> pb.RetryExecutionResponse:
        """Run what has failed, or was cancelled, once more."""
        refuse(
            [
                *self._runs.queue_violations(request.queue),
                *request_id_violations(request.request_id),
                *required("execution_id", request.execution_id),
            ]
        )
        stored = await self._runs.retry(
            request.execution_id,
            request.request_id,
            request.queue,
            from_start=request.from_start,
            validate_only=request.validate_only,
        )
        execution = shown_execution(stored)
        return pb.RetryExecutionResponse(execution_id=execution.execution_id, execution=execution)

    async def GetJobStatus(self, request: pb.GetJobStatusRequest, context: Any) -> pb.GetJobStatusResponse:
        """Return a job, when it fires next, how it last went, and how often it went how."""
        found = await self._jobs.read_with_runs(request.job_id, COUNTS_WINDOW)
        job = found.job
        times: list[datetime] = []
        if job.state is JobState.ACTIVE:
            most = job.definition.schedule.max_runs
            left = NEXT_FIRE_TIMES if most is None else min(NEXT_FIRE_TIMES, max(0, most - job.fired))
            times = upcoming(job.spec.runs, found.now, left)
        return pb.GetJobStatusResponse(
            job=job_message(job, times),
            next_fire_times=timestamps(times),
            last_execution=None if found.newest is None else execution_entry(found.newest),
            counts=found.counts,
            window=duration(COUNTS_WINDOW),
            occurrence_changes=[change_message(each) for each in to_come(job.overrides, found.now)],
        )

    async def BatchCreateScheduledJobs(
        self, request: pb.BatchCreateScheduledJobsRequest, context: Any
    ) -> pb.BatchCreateScheduledJobsResponse:
        """Store jobs, each by itself."""
        return await create_all(request, lambda one: self.CreateScheduledJob(one, context))

    async def BatchPauseScheduledJobs(
        self, request: pb.BatchPauseScheduledJobsRequest, context: Any
    ) -> pb.BatchPauseScheduledJobsResponse:
        """Stop firing jobs, each by itself."""

        async def pause(job_id: str) -> pb.ScheduledJob:
            one = pb.PauseScheduledJobRequest(job_id=job_id, reason=request.reason, validate_only=request.validate_only)
            return (await self.PauseScheduledJob(one, context)).job

        results, matched, changed, refused = await change_all(request, self._jobs, pause)
        return pb.BatchPauseScheduledJobsResponse(results=results, matched=matched, changed=changed, refused=refused)

    async def BatchResumeScheduledJobs(
        self, request: pb.BatchResumeScheduledJobsRequest, context: Any
    ) -> pb.BatchResumeScheduledJobsResponse:
        """Fire jobs again, each by itself."""

        async def resume(job_id: str) -> pb.ScheduledJob:
            one = pb.ResumeScheduledJobRequest(
                job_id=job_id, reason=request.reason, validate_only=request.validate_only
            )
            return (await self.ResumeScheduledJob(one, context)).job

        results, matched, changed, refused = await change_all(request, self._jobs, resume)
        return pb.BatchResumeScheduledJobsResponse(results=results, matched=matched, changed=changed, refused=refused)

    async def ImportScheduledJobs(
        self, request: pb.ImportScheduledJobsRequest, context: Any
    ) -> pb.ImportScheduledJobsResponse:
        """Make jobs be as a document says."""
        return await self._imports.run(request, context)

    async def ExportScheduledJobs(
        self, request: pb.ExportScheduledJobsRequest, context: Any
    ) -> pb.ExportScheduledJobsResponse:
        """Return a page of jobs as a document."""
        return await self._imports.export(request)

    def WatchJobs(self, request: pb.WatchJobsRequest, context: Any) -> AsyncIterator[pb.WatchJobsResponse]:
        """Tell of jobs as they change."""
        return self._watching.jobs(request)

    def WatchExecutions(
        self, request: pb.WatchExecutionsRequest, context: Any
    ) -> AsyncIterator[pb.WatchExecutionsResponse]:
        """Tell of the transitions of executions."""
        return self._watching.executions(request)

    async def WaitExecution(self, request: pb.WaitExecutionRequest, context: Any) -> pb.WaitExecutionResponse:
        """Return an execution when it has ended."""
        return await self._watching.end_of(request)

    async def CancelExecution(self, request: pb.CancelExecutionRequest, context: Any) -> pb.CancelExecutionResponse:
        """End an execution for good; of one that runs, the call in flight is cancelled."""
        refuse([*required("execution_id", request.execution_id), *reason_violations(request.reason)])
        by = current.get().by
        execution = await self._executions.cancel(
            request.execution_id, by, request.reason, validate_only=request.validate_only
        )
        return pb.CancelExecutionResponse(execution=execution_message(execution))

    async def GetExecution(self, request: pb.GetExecutionRequest, context: Any) -> pb.GetExecutionResponse:
        """Return one execution."""
        document = await self._executions.document(request.execution_id)
        execution = shown_execution(document, document.get("parameters"))
        return pb.GetExecutionResponse(execution=execution)

    async def ListExecutions(self, request: pb.ListExecutionsRequest, context: Any) -> pb.ListExecutionsResponse:
        """Return a page of executions."""
        return await list_executions(request, self._jobs, self._executions)


def _precautions(
    request: pb.PauseScheduledJobRequest | pb.ResumeScheduledJobRequest | pb.DeleteScheduledJobRequest,
) -> dict[str, Any]:
    """Return what keeps an edit from being done, in the words of Jobs."""
    return {"etag": request.etag, "validate_only": request.validate_only}


def _check(
    request: (
        pb.PauseScheduledJobRequest
        | pb.ResumeScheduledJobRequest
        | pb.DeleteScheduledJobRequest
        | pb.UndeleteScheduledJobRequest
    ),
) -> None:
    refuse([*required("job_id", request.job_id), *reason_violations(request.reason)])


def _in_job(refused: InvalidInput) -> list[Violation]:
    """Return violations of a definition as those of the field `job` of an update."""
    return [
        wrong if wrong.field.partition(".")[0] in _OF_UPDATE else replace(wrong, field=f"job.{wrong.field}")
        for wrong in refused.violations
    ]
