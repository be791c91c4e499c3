"""The methods of MaintenanceService: the scheduler's own housekeeping, called by its jobs like any other target."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.convert import duration, timestamp, to_span
from scheduler_service.pages import refuse
from scheduler_service.probes import Status, look
from shared.domain.errors import Violation
from shared.log import get_logger
from shared.proto import maintenance_service_pb2 as pb
from shared.proto.maintenance_service_pb2_grpc import MaintenanceServiceServicer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler_service.cleanup import Cleanup
    from scheduler_service.jobs import Jobs
    from scheduler_service.probes import Probe

log = get_logger()

DEFAULT_TIMEOUT: Final = timedelta(seconds=5)
LONGEST_TIMEOUT: Final = timedelta(minutes=1)
MOST_DAYS: Final = 36_500


class MaintenanceService(MaintenanceServiceServicer):
    """probes: what HealthCheckServices asks, by name. retention_days: for cleanups that do not say."""

    def __init__(self, jobs: Jobs, cleanup: Cleanup, probes: Mapping[str, Probe], retention_days: int) -> None:
        self._jobs = jobs
        self._cleanup = cleanup
        self._probes = probes
        self._retention_days = retention_days

    async def HealthCheckServices(
        self, request: pb.HealthCheckServicesRequest, context: Any
    ) -> pb.HealthCheckServicesResponse:
        """Ask all at the same time, so that the slowest decides how long it takes."""
        found: list[Violation] = []
        timeout: timedelta | None = DEFAULT_TIMEOUT
        if request.HasField("timeout"):
            timeout = to_span("timeout", request.timeout, found)
            if timeout is not None and not timedelta(0) < timeout <= LONGEST_TIMEOUT:
                said = f"{timeout.total_seconds():g} s is not a timeout (more than 0 s, at most 60 s)"
                found.append(Violation("timeout", said))
        refuse(found)
        seconds = (timeout or DEFAULT_TIMEOUT).total_seconds()
        all_found = await asyncio.gather(*(look(name, probe, seconds) for name, probe in self._probes.items()))
        services = [
            pb.ServiceHealth(
                name=health.name,
                status=f"STATUS_{health.status}",
                latency=duration(health.latency),
                message=health.message,
            )
            for health in all_found
        ]
        all_serving = all(health.status is Status.SERVING for health in all_found)
        return pb.HealthCheckServicesResponse(all_serving=all_serving, services=services)

    async def CleanupOldExecutionRecords(
        self, request: pb.CleanupOldExecutionRecordsRequest, context: Any
    ) -> pb.CleanupOldExecutionRecordsResponse:
        """Remove what ended more than so many days ago."""
        days = request.older_than_days
        if not 0 <= days <= MOST_DAYS:
            said = f"{days} is not a number of days (1-{MOST_DAYS:,}, or 0 for {self._retention_days})"
            refuse([Violation("older_than_days", said)])
        cutoff = await self._jobs.now() - timedelta(days=days or self._retention_days)
        deleted = await self._cleanup.remove_ended_before(cutoff)
        log.info("old records removed", action="cleanup_done", deleted=deleted, cutoff=cutoff.isoformat())
        return pb.CleanupOldExecutionRecordsResponse(deleted_count=deleted, cutoff_time=timestamp(cutoff))
