"""The methods of SchedulerService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError
from ulid import ULID

from scheduler_service.caller import current
from scheduler_service.convert import change_message, duration, execution_message, job_message, timestamps
from scheduler_service.drafts import changed_draft, changed_paths, new_draft
from scheduler_service.flow_drafts import FLOWS
from scheduler_service.jobs import read_job
from scheduler_service.occurrences import to_come, void_warnings
from scheduler_service.pages import page_size, read_token, refuse, take_page, write_token
from scheduler_service.runs import Runs, request_token
from shared.domain.errors import InvalidInput, Violation
from shared.domain.execution import DECISIONS_NOT_TO_RUN, State
from shared.domain.job import LONGEST_REASON, JobState
from shared.domain.overrides import upcoming as upcoming_runs
from shared.domain.text import unprintable
from shared.log import get_logger
from shared.messaging.queues import MANUAL
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceServicer
from shared.store import executions as rows
from shared.store import parts
from shared.store.jobs import new_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from scheduler_service.definitions import Definitions
    from scheduler_service.executions import Executions
    from scheduler_service.jobs import Jobs
    from scheduler_service.pages import Position
    from scheduler_service.runs import Dispatch
    from shared.domain.job import JobDefinition
    from shared.domain.overrides import Override
    from shared.store.jobs import StoredJob

log = get_logger()

COUNTS_WINDOW: Final = timedelta(days=30)
NEXT_FIRE_TIMES: Final = 5
LONGEST_REQUEST_ID: Final = 128
MOST_STATES: Final = 100

_OF_UPDATE: Final = frozenset(pb.UpdateScheduledJobRequest.DESCRIPTOR.fields_by_name)


class SchedulerService(SchedulerServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, jobs: Jobs, executions: Executions, definitions: Definitions, dispatcher: Dispatch) -> None:
        self._jobs = jobs
        self._executions = executions
        self._definitions = definitions
        self._runs = Runs(jobs, executions, definitions, dispatcher)

    async def CreateScheduledJob(
        self, request: pb.CreateScheduledJobRequest, context: Any
    ) -> pb.CreateScheduledJobResponse:
        """Store a job."""
        uid = new_uid()
        found: list[Violation] = []
        # In a thread: millions of values in parameters would hold up all other calls.
        draft = await asyncio.to_thread(
            new_draft, request, request.job_id or f"job-{uid}", self._definitions.defaults, found
        )
        now = await self._jobs.now()
        definition = await self._definitions.define(draft, now, found)
        job = await self._jobs.create(definition, uid, now, current.get().by)
        return pb.CreateScheduledJobResponse(
            job_id=draft.job_id, job=job_message(job), warnings=self._definitions.warnings(definition)
        )

    async def GetScheduledJob(self, request: pb.GetScheduledJobRequest, context: Any) -> pb.GetScheduledJobResponse:
        """Return one job."""
        found = await self._jobs.read(request.job_id)
        return pb.GetScheduledJobResponse(job=job_message(found.job))

    async def ListScheduledJobs(
        self, request: pb.ListScheduledJobsRequest, context: Any
    ) -> pb.ListScheduledJobsResponse:
        """Return a page of jobs, the newest first."""
        found: list[Violation] = []
        listing = f"jobs {request.show_deleted}"
        size = page_size(request.page_size, found)
        after = read_token(listing, request.page_token, found)
        refuse(found)
        documents = self._jobs.newest_first(after, size + 1, show_deleted=request.show_deleted)
        jobs, last = await take_page(
            documents, size, lambda document: job_message(read_job(document)), lambda d: (d["created_at"], d["_id"])
        )
        return pb.ListScheduledJobsResponse(jobs=jobs, next_page_token=_next_token(listing, last))

    async def UpdateScheduledJob(
        self, request: pb.UpdateScheduledJobRequest, context: Any
    ) -> pb.UpdateScheduledJobResponse:
        """Change the fields that the mask names, or those that are set."""
        found: list[Violation] = []
        paths = changed_paths(request, found)
        before: list[Override] = []
        with_target = bool(paths & {"target_service", "target_method", "parameters", *FLOWS})

        async def redefine(job: StoredJob, now: datetime) -> JobDefinition:
            inside = list(found)
            before[:] = to_come(job.overrides, now)
            defaults = self._definitions.defaults
            draft = await asyncio.to_thread(changed_draft, job.definition, request.job, paths, defaults, now, inside)
            return await self._definitions.define(draft, now, inside, with_target=with_target)

        try:
            job = await self._jobs.update(request.job_id, request.job.etag, redefine, current.get().by)
        except InvalidInput as refused:
            raise InvalidInput(_in_job(refused)) from None
        warnings = [*self._definitions.warnings(job.definition), *void_warnings(before, job.overrides)]
        return pb.UpdateScheduledJobResponse(job=job_message(job), warnings=warnings)

    async def PauseScheduledJob(
        self, request: pb.PauseScheduledJobRequest, context: Any
    ) -> pb.PauseScheduledJobResponse:
        """Stop firing a job."""
        _check_reason(request)
        job = await self._jobs.pause(request.job_id, current.get().by, request.reason)
        return pb.PauseScheduledJobResponse(job=job_message(job))

    async def ResumeScheduledJob(
        self, request: pb.ResumeScheduledJobRequest, context: Any
    ) -> pb.ResumeScheduledJobResponse:
        """Fire a job again."""
        _check_reason(request)
        job = await self._jobs.resume(request.job_id, current.get().by, request.reason)
        return pb.ResumeScheduledJobResponse(job=job_message(job))

    async def DeleteScheduledJob(
        self, request: pb.DeleteScheduledJobRequest, context: Any
    ) -> pb.DeleteScheduledJobResponse:
        """Delete a job, and cancel its executions that have not started; those that run too, when asked."""
        _check_reason(request)
        by = current.get().by
        job = await self._jobs.delete(request.job_id, by, request.reason, cancel_running=request.cancel_running)
        reason = f"the job was deleted{': ' if request.reason else ''}{request.reason}"
        try:
            await self._executions.end_open(job.uid, by, reason, running=request.cancel_running)
        except PyMongoError as error:
            # The deletion stands; beat does the same when it installs it.
            log.warning(
                "cancelling a deleted job's executions is left to beat",
                action="cancel_left_to_beat",
                error=str(error)[:500],
            )
        return pb.DeleteScheduledJobResponse(job=job_message(job))

    async def ExecuteJobNow(self, request: pb.ExecuteJobRequest, context: Any) -> pb.ExecuteJobResponse:
        """Run a job once, now."""
        queue = request.queue or MANUAL
        found = [*self._runs.queue_violations(queue), *_request_id_violations(request.request_id)]
        if not request.job_id:
            found.append(Violation("job_id", "a job_id is required"))
        refuse(found)
        job = await self._jobs.read(request.job_id)
        caller = current.get()
        token = request_token(request.request_id) if request.request_id else str(ULID())
        document = rows.manual_document(job.document, token, queue, caller.trace_id, job.now, caller.by)
        execution = execution_message(rows.to_execution(await self._runs.start(document)))
        return pb.ExecuteJobResponse(execution_id=execution.execution_id, execution=execution)

    async def RetryExecution(self, request: pb.RetryExecutionRequest, context: Any) -> pb.RetryExecutionResponse:
        """Run what has failed, or was cancelled, once more."""
        found = [*self._runs.queue_violations(request.queue), *_request_id_violations(request.request_id)]
        if not request.execution_id:
            found.append(Violation("execution_id", "an execution_id is required"))
        refuse(found)
        stored = await self._runs.retry(
            request.execution_id, request.request_id, request.queue, from_start=request.from_start
        )
        execution = execution_message(rows.to_execution(stored))
        return pb.RetryExecutionResponse(execution_id=execution.execution_id, execution=execution)

    async def GetJobStatus(self, request: pb.GetJobStatusRequest, context: Any) -> pb.GetJobStatusResponse:
        """Return a job, when it fires next, how it last went, and how often it went how."""
        found = await self._jobs.read(request.job_id)
        job = found.job
        last, counts = await asyncio.gather(
            self._executions.newest(job.uid), self._executions.counts(job.uid, found.now - COUNTS_WINDOW)
        )
        upcoming: Sequence[datetime] = []
        if job.state is JobState.ACTIVE:
            most = job.definition.schedule.max_runs
            left = NEXT_FIRE_TIMES if most is None else min(NEXT_FIRE_TIMES, most - job.fired)
            upcoming = upcoming_runs(job.spec.runs, found.now, left)
        return pb.GetJobStatusResponse(
            job=job_message(job, upcoming),
            next_fire_times=timestamps(upcoming),
            last_execution=None if last is None else execution_message(last),
            counts=counts,
            window=duration(COUNTS_WINDOW),
            occurrence_changes=[change_message(each) for each in to_come(job.overrides, found.now)],
        )

    async def CancelExecution(self, request: pb.CancelExecutionRequest, context: Any) -> pb.CancelExecutionResponse:
        """End an execution for good; of one that runs, the call in flight is cancelled."""
        refuse([] if (said := _reason_violation(request.reason)) is None else [said])
        execution = await self._executions.cancel(request.execution_id, current.get().by, request.reason)
        return pb.CancelExecutionResponse(execution=execution_message(execution))

    async def GetExecution(self, request: pb.GetExecutionRequest, context: Any) -> pb.GetExecutionResponse:
        """Return one execution."""
        document = await self._executions.document(request.execution_id)
        execution = execution_message(rows.to_execution(document), document.get("parameters"))
        return pb.GetExecutionResponse(execution=execution)

    async def ListExecutions(self, request: pb.ListExecutionsRequest, context: Any) -> pb.ListExecutionsResponse:
        """Return a page of executions, the newest nominal time first."""
        found: list[Violation] = []
        states = _states(request.states, found)
        with_decisions = request.include_decisions or bool(states & DECISIONS_NOT_TO_RUN)
        parent, key = request.parent_execution_id, request.part_key
        listing = f"executions {request.job_id} {','.join(sorted(states))} {with_decisions} {parent} {key}"
        size = page_size(request.page_size, found)
        after = read_token(listing, request.page_token, found)
        if key and (parent or not request.job_id):
            found.append(Violation("part_key", "needs a job_id, whose items are looked through, and no parent"))
        refuse(found)
        uid = (await self._jobs.read(request.job_id)).job.uid if request.job_id else None
        if parent:
            # Also says that there is no such execution.
            await self._executions.read(parent)
        if parent or key:
            chosen = parts.parts_filter(parent) if parent else parts.of_key(str(uid), key)
            documents = self._executions.parts(chosen, states, after, size + 1)
        else:
            documents = self._executions.newest_first(uid, states, after, size + 1, include_decisions=with_decisions)
        executions, last = await take_page(
            documents,
            size,
            lambda document: execution_message(rows.to_execution(document)),
            lambda document: (document["nominal_time"], document["_id"]),
        )
        return pb.ListExecutionsResponse(executions=executions, next_page_token=_next_token(listing, last))


def _request_id_violations(request_id: str) -> list[Violation]:
    if len(request_id) > LONGEST_REQUEST_ID:
        said = f"{len(request_id):,} characters are too many (at most {LONGEST_REQUEST_ID})"
        return [Violation("request_id", said)]
    said = unprintable(request_id, lines=True)
    return [Violation("request_id", said)] if said else []


def _next_token(listing: str, last: Position | None) -> str:
    return "" if last is None else write_token(listing, last)


def _states(numbers: Sequence[int], found: list[Violation]) -> frozenset[State]:
    if len(numbers) > MOST_STATES:
        found.append(Violation("states", f"{len(numbers):,} states are too many (at most {MOST_STATES})"))
        return frozenset()
    states = set()
    known = pb.Execution.State.DESCRIPTOR.values_by_number
    names = [name.removeprefix("STATE_") for number, value in known.items() if number for name in [value.name]]
    for index, number in enumerate(numbers):
        if number in known and number != pb.Execution.STATE_UNSPECIFIED:
            states.add(State(known[number].name.removeprefix("STATE_")))
        else:
            found.append(Violation(f"states[{index}]", f"{number} is not the number of a state ({', '.join(names)})"))
    return frozenset(states)


def _check_reason(
    request: pb.PauseScheduledJobRequest | pb.ResumeScheduledJobRequest | pb.DeleteScheduledJobRequest,
) -> None:
    found = []
    if not request.job_id:
        found.append(Violation("job_id", "a job_id is required"))
    if (said := _reason_violation(request.reason)) is not None:
        found.append(said)
    refuse(found)


def _reason_violation(reason: str) -> Violation | None:
    if len(reason) > LONGEST_REASON:
        return Violation("reason", f"{len(reason):,} characters are too many (at most {LONGEST_REASON})")
    said = unprintable(reason, lines=True)
    return Violation("reason", said) if said else None


def _in_job(refused: InvalidInput) -> list[Violation]:
    """Return violations of a definition as those of the field `job` of an update."""
    return [
        wrong if wrong.field.partition(".")[0] in _OF_UPDATE else replace(wrong, field=f"job.{wrong.field}")
        for wrong in refused.violations
    ]
