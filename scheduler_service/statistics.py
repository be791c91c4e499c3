"""The methods of StatisticsService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.live import live_processes
from scheduler_service.statistics_messages import process_message, queue_message
from shared.proto import statistics_service_pb2 as pb
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceServicer

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.depths import Depths


class StatisticsService(StatisticsServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], depths: Depths) -> None:
        self._database = database
        self._depths = depths

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Any) -> pb.ListQueuesResponse:
        """Return the queues; what RabbitMQ knows of them is left open while it is away."""
        queues, warning = await self._depths.read()
        return pb.ListQueuesResponse(queues=map(queue_message, queues), warning=warning)

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> pb.ListWorkersResponse:
        """Return who is alive, and what each worker runs."""
        found = await live_processes(self._database, with_running=not request.without_executions)
        return pb.ListWorkersResponse(processes=map(process_message, found))
