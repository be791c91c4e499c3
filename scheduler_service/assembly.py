"""The server put together: every servicer with what it needs. Built here by the process, and by tests of a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scheduler_service.jobs.jobs import Jobs
from scheduler_service.operations.diagnosis import all_checks
from scheduler_service.planning.backfills import Backfills
from scheduler_service.planning.explain import Explain
from scheduler_service.planning.forecast import Forecast, in_process
from scheduler_service.planning.occurrences import OccurrenceChanges
from scheduler_service.planning.preview import Schedules
from scheduler_service.runs.cleanup import Cleanup
from scheduler_service.runs.executions import Executions
from scheduler_service.runs.runs import Runs
from scheduler_service.server import Server, Servicers
from scheduler_service.services.admin import AdminService
from scheduler_service.services.maintenance import MaintenanceService
from scheduler_service.services.planning import PlanningService
from scheduler_service.services.scheduler import SchedulerService
from scheduler_service.services.statistics import StatisticsService
from scheduler_service.services.targets import TargetService
from scheduler_service.statistics.depths import Depths
from scheduler_service.statistics.tallies import Tallies
from scheduler_service.targets.drift import Drift
from scheduler_service.targets.registry import TargetRegistry
from scheduler_service.targets.tests import TargetTests
from scheduler_service.transport.limits import Limits
from scheduler_service.watching.watching import Watching
from shared.targets.registrations import Registrations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.runs.runs import Dispatch
    from scheduler_service.targets.probes import Probe
    from shared.calendars import Calendars
    from shared.messaging.queues import Queues
    from shared.settings import Settings
    from shared.targets import Targets
    from shared.tasks.registry import Tasks


@dataclass(frozen=True, slots=True)
class Supplies:
    """What a server is built of. definitions: made of settings, queues, targets, calendars and tasks."""

    settings: Settings
    queues: Queues
    targets: Targets
    calendars: Calendars
    tasks: Tasks
    definitions: Definitions
    database: AsyncDatabase[dict[str, Any]]
    blocking_database: Database[dict[str, Any]]
    dispatcher: Dispatch
    probes: Callable[[], Mapping[str, Probe]]
    """Gives what the health check asks, each time anew: targets come and go."""
    shares_port: bool = False
    """Whether this is one of several processes of a server."""


class Assembly:
    """A server, and what works beside its calls."""

    def __init__(self, supplies: Supplies, cleanup: Cleanup | None = None) -> None:
        """cleanup: in place of one with batches of the usual size."""
        settings, database, blocking_database = supplies.settings, supplies.database, supplies.blocking_database
        targets, tasks, calendars = supplies.targets, supplies.tasks, supplies.calendars
        self.jobs = Jobs(database, timedelta(days=settings.undelete_days), settings.max_jobs)
        self.forecast = Forecast(in_process(settings.mongodb_url), settings.peak_fires_per_minute)
        self.registrations = Registrations(blocking_database, targets)
        executions = Executions(database)
        self.watching = Watching(database, self.jobs, executions)
        runs = Runs(self.jobs, executions, supplies.definitions, supplies.dispatcher)
        backfills = Backfills(database, self.jobs)
        drift = Drift(database, targets, tasks)
        registry = TargetRegistry(database, targets, self.registrations, drift, settings.target_hosts)
        depths = Depths(database, supplies.queues.names, settings.celery_broker_url)
        servicers = Servicers(
            scheduler=SchedulerService(
                self.jobs, executions, supplies.definitions, runs, backfills, self.forecast, self.watching
            ),
            maintenance=MaintenanceService(
                self.jobs, cleanup or Cleanup(database), supplies.probes, drift, settings.retention_days
            ),
            planning=PlanningService(
                self.jobs,
                self.forecast,
                Schedules(self.jobs, calendars.resolve, calendars.names_on),
                Explain(database, calendars.names_on),
                OccurrenceChanges(self.jobs),
                backfills,
                runs,
                supplies.definitions.defaults.queues,
            ),
            targets=TargetService(registry, TargetTests(database, targets, tasks, drift), targets, tasks),
            statistics=StatisticsService(database, self.jobs, Tallies(blocking_database), depths),
            admin=AdminService(
                blocking_database,
                self.jobs,
                executions,
                runs,
                lambda: all_checks(settings, database, supplies.queues.names, targets),
            ),
        )
        self.server = Server(servicers, self.watching, database, Limits(settings), shares_port=supplies.shares_port)

    async def stop(self, grace: float) -> None:
        """Stop the server, giving calls in progress grace seconds, and all that works beside it."""
        await self.server.stop(grace)
        await self.forecast.stop()
        await asyncio.to_thread(self.registrations.stop)
