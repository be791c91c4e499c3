"""The gRPC server: its services on one port, from start to graceful stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from scheduler_service.port import PortTakenError, check
from scheduler_service.transport.calls import Calls
from scheduler_service.transport.health import Health
from scheduler_service.transport.requests import Requests
from shared.log import get_logger
from shared.proto import (
    admin_service_pb2,
    maintenance_service_pb2,
    planning_service_pb2,
    scheduler_service_pb2,
    statistics_service_pb2,
    target_service_pb2,
)
from shared.proto.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from shared.proto.maintenance_service_pb2_grpc import add_MaintenanceServiceServicer_to_server
from shared.proto.planning_service_pb2_grpc import add_PlanningServiceServicer_to_server
from shared.proto.scheduler_service_pb2_grpc import add_SchedulerServiceServicer_to_server
from shared.proto.statistics_service_pb2_grpc import add_StatisticsServiceServicer_to_server
from shared.proto.target_service_pb2_grpc import add_TargetServiceServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.services.admin import AdminService
    from scheduler_service.services.maintenance import MaintenanceService
    from scheduler_service.services.planning import PlanningService
    from scheduler_service.services.scheduler import SchedulerService
    from scheduler_service.services.statistics import StatisticsService
    from scheduler_service.services.targets import TargetService
    from scheduler_service.transport.limits import Limits
    from scheduler_service.watching.watching import Watching

log = get_logger()

SERVICES: Final = (
    scheduler_service_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name,
    maintenance_service_pb2.DESCRIPTOR.services_by_name["MaintenanceService"].full_name,
    planning_service_pb2.DESCRIPTOR.services_by_name["PlanningService"].full_name,
    target_service_pb2.DESCRIPTOR.services_by_name["TargetService"].full_name,
    statistics_service_pb2.DESCRIPTOR.services_by_name["StatisticsService"].full_name,
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
)

CANCELLED_WAIT: Final = 2.0
"""Seconds that handlers get to end after they were cancelled, before what they use is closed."""


@dataclass(frozen=True, slots=True)
class Servicers:
    """What answers the calls of each service."""

    scheduler: SchedulerService
    maintenance: MaintenanceService
    planning: PlanningService
    targets: TargetService
    statistics: StatisticsService
    admin: AdminService


class Server:
    """Serves from start() to stop()."""

    def __init__(
        self,
        servicers: Servicers,
        watching: Watching,
        database: AsyncDatabase[dict[str, Any]],
        limits: Limits,
        *,
        shares_port: bool = False,
    ) -> None:
        """shares_port: with other processes of the same server; else the port can be had by it alone."""
        self.health = Health(database, SERVICES)
        self.port = 0
        self._watching = watching
        self._calls = Calls(limits)
        self._requests = Requests(database)
        self._shares_port = shares_port
        options = [
            # With grpc's default a second server would silently share the port, and get half of the calls.
            ("grpc.so_reuseport", int(shares_port)),
            # Beyond, gRPC itself refuses, without a word on which setting it is.
            ("grpc.max_receive_message_length", 2 * limits.message_bytes),
        ]
        self._server = grpc.aio.server(interceptors=[self._calls, self._requests], options=options)
        add_SchedulerServiceServicer_to_server(servicers.scheduler, self._server)
        add_MaintenanceServiceServicer_to_server(servicers.maintenance, self._server)
        add_PlanningServiceServicer_to_server(servicers.planning, self._server)
        add_TargetServiceServicer_to_server(servicers.targets, self._server)
        add_StatisticsServiceServicer_to_server(servicers.statistics, self._server)
        add_AdminServiceServicer_to_server(servicers.admin, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._server)
        reflection.enable_server_reflection([*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self._background: list[asyncio.Task[None]] = []

    async def start(self, host: str, port: int, preparation: Awaitable[None]) -> None:
        """Listen, and answer; with preparation in the background, until which health says NOT_SERVING.

        port: 0 takes a free one, which self.port then tells. Raises PortTakenError.
        """
        await self.health.start()
        self.port = self._bind(host, port)
        await self._server.start()
        self._background = [
            asyncio.create_task(self._prepare(preparation), name="prepare"),
            asyncio.create_task(self.health.watch(), name="health"),
        ]
        log.info("server listens", action="server_started", address=f"{host}:{self.port}")

    def _bind(self, host: str, port: int) -> int:
        if not self._shares_port:
            check(host, port)  # first: gRPC puts lines of its own on stderr before it raises
        try:
            return self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise PortTakenError.of(host, port, error) from None

    async def _prepare(self, preparation: Awaitable[None]) -> None:
        try:
            await preparation
        except Exception:
            log.exception("the store can't be prepared, and never will be", action="preparation_failed")
            raise
        self.health.prepared.set()
        await self.health.look()
        log.info("server is ready", action="server_ready")

    async def stop(self, grace: float) -> None:
        """Say NOT_SERVING, take no more calls, give those in progress grace seconds, then cancel them."""
        for task in self._background:
            task.cancel()
        if self._background:
            # Bounded: a cancellation can get lost in a library's own handling of timeouts.
            await asyncio.wait(self._background, timeout=CANCELLED_WAIT)
        await self.health.stop()
        # Else each that watches or waits would make the stop as long as its grace.
        await self._watching.stop()
        await self._server.stop(grace)  # once: a second call in the meantime makes grpcio crash
        await self._calls.finished(CANCELLED_WAIT)
        await self._requests.finished(CANCELLED_WAIT)
