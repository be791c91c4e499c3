"""The methods of MaintenanceService: the scheduler's own housekeeping, called by its jobs like any other target."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from scheduler_service.targets.probes import Status, look
from scheduler_service.transport.convert import duration, timestamp
from scheduler_service.transport.fields import read_timeout, refuse
from scheduler_service.transport.refusals import shortened
from shared.domain.errors import Violation
from shared.log import get_logger
from shared.proto import maintenance_service_pb2 as pb
from shared.proto.maintenance_service_pb2_grpc import MaintenanceServiceServicer
from shared.store.jobs import DRIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.runs.cleanup import Cleanup
    from scheduler_service.targets.drift import Drift
    from scheduler_service.targets.probes import Probe

log = get_logger()

MOST_PROBLEMS: Final = 3
LONGEST_PROBLEM: Final = 300
"""Of each job that does not fit: with all of them, the result of the health check's job would be cut."""
MOST_DAYS: Final = 36_500


class MaintenanceService(MaintenanceServiceServicer):
    """probes: tells what HealthCheckServices asks, by name. retention_days: for cleanups that do not say."""

    def __init__(
        self,
        jobs: Jobs,
        cleanup: Cleanup,
        probes: Callable[[], Mapping[str, Probe]],
        drift: Drift,
        retention_days: int,
    ) -> None:
        self._jobs = jobs
        self._cleanup = cleanup
        self._probes = probes
        self._drift = drift
        self._retention_days = retention_days

    async def HealthCheckServices(
        self, request: pb.HealthCheckServicesRequest, context: Any
    ) -> pb.HealthCheckServicesResponse:
        """Ask all at the same time, so that the slowest decides how long it takes."""
        seconds = read_timeout(request)
        all_found = await asyncio.gather(*(look(name, probe, seconds) for name, probe in self._probes().items()))
        unreachable = {health.name for health in all_found if health.status is Status.UNREACHABLE}
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
        response = pb.HealthCheckServicesResponse(all_serving=all_serving, services=services)
        await self._look_for_drift(response, unreachable, seconds)
        return response

    async def _look_for_drift(
        self, response: pb.HealthCheckServicesResponse, unreachable: Collection[str], within: float
    ) -> None:
        """Add what drift was found; that the store is away is not an error of this call, which tells it already."""
        try:
            found = await self._drift.look(unreachable, within)
        except PyMongoError as error:
            log.warning("jobs can't be held against contracts", action="drift_unknown", error=str(error)[:300])
            response.jobs_left = True
            return
        response.jobs_checked, response.jobs_left = found.checked, found.left
        response.drifts_total = found.drifted_total
        for job in found.drifted:
            drift = job[DRIFT]
            problems = [shortened(problem, LONGEST_PROBLEM) for problem in drift["problems"][:MOST_PROBLEMS]]
            response.drifts.add(job_id=job["_id"], problems=problems, since=timestamp(drift["since"]))

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
