"""The methods of PlanningService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scheduler_service.planning.backfill_requests import backfill_message, check_backfill_id, list_entry, read_asked
from scheduler_service.planning.explain import read_question
from scheduler_service.planning.forecast_messages import load_message, load_question
from scheduler_service.planning.occurrence_requests import read_move, read_occurrence
from scheduler_service.transport.convert import change_message
from scheduler_service.transport.fields import refuse
from scheduler_service.transport.pages import page_size, read_token, take_page, write_token
from shared.proto import planning_service_pb2 as pb
from shared.proto.planning_service_pb2_grpc import PlanningServiceServicer

if TYPE_CHECKING:
    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.planning.backfills import Backfills
    from scheduler_service.planning.explain import Explain
    from scheduler_service.planning.forecast import Forecast
    from scheduler_service.planning.occurrences import OccurrenceChanges
    from scheduler_service.planning.preview import Schedules
    from scheduler_service.runs.runs import Runs
    from shared.domain.errors import Violation


class PlanningService(PlanningServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(
        self,
        jobs: Jobs,
        forecast: Forecast,
        schedules: Schedules,
        explain: Explain,
        occurrences: OccurrenceChanges,
        backfills: Backfills,
        runs: Runs,
        queues: frozenset[str],
    ) -> None:
        """queues: those that are configured."""
        self._jobs = jobs
        self._forecast = forecast
        self._schedules = schedules
        self._explain = explain
        self._occurrences = occurrences
        self._backfills = backfills
        self._runs = runs
        self._queues = queues

    async def PreviewSchedule(self, request: pb.PreviewScheduleRequest, context: Any) -> pb.PreviewScheduleResponse:
        """Return the next fires of a schedule."""
        return await self._schedules.preview(request)

    async def DescribeSchedule(self, request: pb.DescribeScheduleRequest, context: Any) -> pb.DescribeScheduleResponse:
        """Say a schedule in plain words."""
        return await self._schedules.describe(request)

    async def ExplainOccurrence(
        self, request: pb.ExplainOccurrenceRequest, context: Any
    ) -> pb.ExplainOccurrenceResponse:
        """Say what became of an occurrence, and why."""
        return await self._explain.answer(read_question(request))

    async def ForecastLoad(self, request: pb.ForecastLoadRequest, context: Any) -> pb.ForecastLoadResponse:
        """Return how often jobs will fire in each minute of a time to come."""
        asked = load_question(request, await self._jobs.now(), self._queues)
        load = await self._forecast.read()
        return await asyncio.to_thread(load_message, load, asked, self._forecast.peak_limit)

    async def SkipOccurrence(self, request: pb.SkipOccurrenceRequest, context: Any) -> pb.SkipOccurrenceResponse:
        """Leave an occurrence out."""
        nominal = read_occurrence(request)
        override = await self._occurrences.skip(
            request.job_id, nominal, request.reason, validate_only=request.validate_only
        )
        return pb.SkipOccurrenceResponse(change=change_message(override))

    async def MoveOccurrence(self, request: pb.MoveOccurrenceRequest, context: Any) -> pb.MoveOccurrenceResponse:
        """Have an occurrence run at another time."""
        nominal, new_time = read_move(request)
        override = await self._occurrences.move(
            request.job_id, nominal, new_time, request.reason, validate_only=request.validate_only
        )
        return pb.MoveOccurrenceResponse(change=change_message(override))

    async def RestoreOccurrence(
        self, request: pb.RestoreOccurrenceRequest, context: Any
    ) -> pb.RestoreOccurrenceResponse:
        """Let an occurrence go as its schedule says."""
        nominal = read_occurrence(request)
        override = await self._occurrences.restore(
            request.job_id, nominal, request.reason, validate_only=request.validate_only
        )
        return pb.RestoreOccurrenceResponse(change=change_message(override))

    async def CreateBackfill(self, request: pb.CreateBackfillRequest, context: Any) -> pb.CreateBackfillResponse:
        """Have past nominal times of a job run."""
        asked = read_asked(request, self._runs.queue_violations(request.queue))
        backfill = await self._backfills.create(request.job_id, asked, validate_only=request.validate_only)
        return pb.CreateBackfillResponse(backfill=backfill_message(backfill, {}))

    async def GetBackfill(self, request: pb.GetBackfillRequest, context: Any) -> pb.GetBackfillResponse:
        """Return one backfill."""
        check_backfill_id(request)
        return pb.GetBackfillResponse(backfill=backfill_message(*await self._backfills.read(request.backfill_id)))

    async def ListBackfills(self, request: pb.ListBackfillsRequest, context: Any) -> pb.ListBackfillsResponse:
        """Return a page of backfills, the newest first."""
        found: list[Violation] = []
        listing = f"backfills {request.job_id}"
        size = page_size(request.page_size, found)
        after = read_token(listing, request.page_token, found)
        refuse(found)
        documents = self._backfills.newest_first(request.job_id, after, size + 1)
        backfills, last = await take_page(documents, size, list_entry, lambda d: (d["created_at"], d["_id"]))
        await self._backfills.count_states(backfills)
        return pb.ListBackfillsResponse(backfills=backfills, next_page_token=write_token(listing, last))

    async def PauseBackfill(self, request: pb.PauseBackfillRequest, context: Any) -> pb.PauseBackfillResponse:
        """Decide no further time of a backfill."""
        check_backfill_id(request)
        paused = await self._backfills.pause(request.backfill_id, request.reason, validate_only=request.validate_only)
        return pb.PauseBackfillResponse(backfill=backfill_message(*paused))

    async def ResumeBackfill(self, request: pb.ResumeBackfillRequest, context: Any) -> pb.ResumeBackfillResponse:
        """Go on with a backfill."""
        check_backfill_id(request)
        resumed = await self._backfills.resume(request.backfill_id, validate_only=request.validate_only)
        return pb.ResumeBackfillResponse(backfill=backfill_message(*resumed))

    async def CancelBackfill(self, request: pb.CancelBackfillRequest, context: Any) -> pb.CancelBackfillResponse:
        """End a backfill for good."""
        check_backfill_id(request)
        cancelled = await self._backfills.cancel(
            request.backfill_id, request.reason, running=request.cancel_running, validate_only=request.validate_only
        )
        return pb.CancelBackfillResponse(backfill=backfill_message(*cancelled))
