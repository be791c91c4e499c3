"""The methods of StatisticsService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.statistics.live import live_processes
from scheduler_service.statistics.messages import process_message, queue_message, statistics_message
from scheduler_service.statistics.question import question
from scheduler_service.transport.convert import timestamp
from shared.proto import statistics_service_pb2 as pb
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceServicer

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.statistics.depths import Depths
    from scheduler_service.statistics.tallies import Tallies


MOST_ADDING_UP: Final = 2
"""Questions that are worked on at a time: the threads of the process are there for the others too."""


class StatisticsService(StatisticsServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], jobs: Jobs, tallies: Tallies, depths: Depths) -> None:
        self._database = database
        self._jobs = jobs
        self._tallies = tallies
        self._depths = depths
        self._adding_up = asyncio.Semaphore(MOST_ADDING_UP)

    async def GetStatistics(self, request: pb.GetStatisticsRequest, context: Any) -> pb.GetStatisticsResponse:
        """Return counts and percentiles, from roll-ups."""
        asked = question(request, await self._jobs.now())
        if asked.job:
            await self._jobs.uid(asked.job)  # says so when there never was such a job
        async with self._adding_up:
            found, through = await asyncio.to_thread(self._tallies.read, asked)
        return pb.GetStatisticsResponse(
            statistics=[statistics_message(each, asked.width) for each in found], complete_through=timestamp(through)
        )

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Any) -> pb.ListQueuesResponse:
        """Return the queues; what RabbitMQ knows of them is left open while it is away."""
        queues, warning = await self._depths.read()
        return pb.ListQueuesResponse(queues=map(queue_message, queues), warning=warning)

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        """Return who is alive, and what each worker runs."""
        found = await live_processes(self._database, with_running=not request.without_executions)
        return pb.ListWorkersResponse(processes=map(process_message, found))
