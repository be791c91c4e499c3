"""The methods of PlanningService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from scheduler_service.explain import read_question
from scheduler_service.forecast_messages import load_message, load_question
from shared.proto.planning_service_pb2_grpc import PlanningServiceServicer

if TYPE_CHECKING:
    from scheduler_service.explain import Explain
    from scheduler_service.forecast import Forecast
    from scheduler_service.jobs import Jobs
    from scheduler_service.preview import Schedules
    from shared.proto import planning_service_pb2 as pb


class PlanningService(PlanningServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, jobs: Jobs, forecast: Forecast, schedules: Schedules, explain: Explain) -> None:
        self._jobs = jobs
        self._forecast = forecast
        self._schedules = schedules
        self._explain = explain

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
        asked = load_question(request, await self._jobs.now())
        load = await self._forecast.read()
        return await asyncio.to_thread(load_message, load, asked, self._forecast.peak_limit)
