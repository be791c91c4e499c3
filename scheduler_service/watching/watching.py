"""The methods that wait for what happens: requests as choices, and what the feeds find as responses."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.runs.entry import shown_execution
from scheduler_service.transport.convert import to_span
from scheduler_service.transport.fields import refuse, required
from scheduler_service.transport.refusals import NoSuch, TookTooLong
from scheduler_service.watching.watch import Chosen, ExecutionFeed
from scheduler_service.watching.watch_jobs import ChosenJobs, JobFeed
from scheduler_service.watching.watch_tokens import read_token
from shared.domain.errors import Violation
from shared.domain.job import JOB_ID, MOST_LABELS
from shared.domain.text import excerpt
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.runs.executions import Executions

LONGEST_WAIT: Final = 3600.0
"""Seconds."""
LONGEST_TOKEN: Final = 1_000
LAST_MOMENT: Final = 0.2
"""Seconds before the caller's deadline at which it is answered with what there is."""


class Watching:
    """Watches and waits, for as long as it is open."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], jobs: Jobs, executions: Executions) -> None:
        self._jobs = jobs
        self._executions = executions
        self._execution_feed = ExecutionFeed(database)
        self._job_feed = JobFeed(database, jobs.zone_rules)

    async def stop(self) -> None:
        """End all streams and waits, so that the server can stop at once; what watches goes on with its token."""
        await self._execution_feed.stop()
        await self._job_feed.stop()

    async def executions(self, request: pb.WatchExecutionsRequest) -> AsyncGenerator[pb.WatchExecutionsResponse]:
        """Tell of executions; see ExecutionFeed.watch. Raises InvalidInput, NoSuch."""
        found = _violations(request)
        uid = ""
        if request.job_id and not found:
            uid = await self._jobs.uid(request.job_id)
        if request.execution_id and not found:
            await self._executions.document(request.execution_id)
        chosen = Chosen(
            uid,
            dict(request.labels),
            request.execution_id,
            decisions=request.include_decisions,
            parts=request.include_parts,
        )
        told = read_token(chosen.text, request.resume_token, found)
        if request.execution_id and (request.job_id or request.labels):
            found.append(Violation("execution_id", "names one execution; leave job_id and labels out"))
        refuse(found)
        async with aclosing(self._execution_feed.watch(chosen, told)) as responses:
            async for response in responses:
                yield response

    async def jobs(self, request: pb.WatchJobsRequest) -> AsyncGenerator[pb.WatchJobsResponse]:
        """Tell of jobs; see JobFeed.watch. Raises InvalidInput."""
        found = _violations(request)
        if request.job_id and not JOB_ID.fullmatch(request.job_id):
            # One that does not exist is no mistake: it may be created later.
            found.append(
                Violation("job_id", f"{excerpt(request.job_id)!r} is not a job id, so that no job will have it")
            )
        chosen = ChosenJobs(request.job_id, dict(request.labels))
        told = read_token(chosen.text, request.resume_token, found)
        refuse(found)
        async with aclosing(self._job_feed.watch(chosen, told, initial=request.initial)) as responses:
            async for response in responses:
                yield response

    async def end_of(self, request: pb.WaitExecutionRequest) -> pb.WaitExecutionResponse:
        """Wait for the end of an execution. Raises InvalidInput, NoSuch, and TookTooLong when it does not come."""
        refuse(required("execution_id", request.execution_id))
        row = await self._execution_feed.wait(request.execution_id, LONGEST_WAIT)
        if row is None:
            raise TookTooLong(f"the execution '{request.execution_id}' has not ended within an hour; it goes on")
        return pb.WaitExecutionResponse(execution=shown_execution(row))

    async def after(self, row: Mapping[str, Any], seconds: float, left: float | None) -> Mapping[str, Any]:
        """Return the document of an execution when it has ended, or after so many seconds as it is by then.

        left: seconds until the caller's deadline, if there is one; it is answered before.
        """
        if left is not None:
            seconds = min(seconds, left - LAST_MOMENT)
        if seconds <= 0:
            return row
        if ended := await self._execution_feed.wait(row["_id"], seconds, row):
            return ended
        with suppress(NoSuch):  # it was stored, but a primary that was just elected may not show it yet
            row = await self._executions.document(row["_id"])
        return row


def seconds_to_wait(request: pb.ExecuteJobRequest, found: list[Violation]) -> float:
    """Return how long a run by hand is to be waited for."""
    span = to_span("wait", request.wait, found)
    seconds = 0.0 if span is None else span.total_seconds()
    if seconds > LONGEST_WAIT:
        found.append(Violation("wait", f"{seconds:g} s is too long (at most {LONGEST_WAIT:g})"))
    return seconds


def _violations(request: pb.WatchExecutionsRequest | pb.WatchJobsRequest) -> list[Violation]:
    found = []
    if (count := len(request.labels)) > MOST_LABELS:
        found.append(Violation("labels", f"{count:,} labels are too many (at most {MOST_LABELS})"))
    if (length := len(request.resume_token)) > LONGEST_TOKEN:
        found.append(Violation("resume_token", f"{length:,} characters are no token (at most {LONGEST_TOKEN:,})"))
    return found
