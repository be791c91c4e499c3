"""A real gRPC server in this process, on a free port, over a real MongoDB; what the tests of the server share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from scheduler_service.__main__ import STORE_PATIENCE
from scheduler_service.assembly import Assembly, Supplies
from scheduler_service.jobs.definitions import Definitions
from scheduler_service.prepare import prepare
from scheduler_service.runs.cleanup import Cleanup
from scheduler_service.targets.probes import mongodb_probe
from shared.calendars import load_calendars
from shared.messaging.queues import load_queues
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.admin_service_pb2_grpc import AdminServiceStub
from shared.proto.maintenance_service_pb2_grpc import MaintenanceServiceStub
from shared.proto.planning_service_pb2_grpc import PlanningServiceStub
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceStub
from shared.proto.target_service_pb2_grpc import TargetServiceStub
from shared.settings import Settings
from shared.store.mongo import connect, connect_async
from shared.targets import load_targets
from shared.tasks.registry import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.planning.forecast import Forecast
    from scheduler_service.server import Server
    from scheduler_service.targets.probes import Probe
    from scheduler_service.watching.watching import Watching
    from shared.domain.job import JobDraft


@dataclass
class Sent:
    """Takes what would go to the broker."""

    documents: list[Mapping[str, Any]] = field(default_factory=list)

    def submit(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self.documents += documents


@dataclass
class Running:
    address: str
    stub: Any
    maintenance: Any
    admin: Any
    statistics: Any
    planning: Any
    targets: Any
    channel: grpc.aio.Channel
    server: Server
    database: Any
    jobs: Jobs
    definitions: Definitions
    sent: Sent
    watching: Watching
    forecast: Forecast

    async def create(self, **fields: Any) -> pb.ScheduledJob:
        job: pb.ScheduledJob = (await self.stub.CreateScheduledJob(a_request(**fields))).job
        return job


@asynccontextmanager
async def serving(
    database_url: str,
    drafts: Sequence[JobDraft] = (),
    probes: Mapping[str, Probe] | None = None,
    batch: int = 500,
    *,
    prepared: bool = True,
    **settings: Any,
) -> AsyncIterator[Running]:
    configured = Settings(mongodb_url=database_url, **settings)
    folder = configured.config_dir
    queues = load_queues(folder, configured.extra_queues)
    targets, tasks = load_targets(configured), Tasks({})
    calendars = load_calendars(folder)
    definitions = Definitions(configured, queues, targets, calendars, tasks)
    database = connect_async(database_url, **STORE_PATIENCE)
    sent = Sent()
    blocking_database = connect(database_url)
    supplies = Supplies(
        configured,
        queues,
        targets,
        calendars,
        tasks,
        definitions,
        database,
        blocking_database,
        sent,
        lambda: {"mongodb": mongodb_probe(database)} if probes is None else probes,
    )
    assembly = Assembly(supplies, Cleanup(database, batch))
    assembly.registrations.start()
    server = assembly.server
    await server.start("127.0.0.1", 0, prepare(database, drafts, assembly.jobs, definitions))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            if prepared:
                await _serving(channel)
            yield Running(
                f"127.0.0.1:{server.port}",
                SchedulerServiceStub(channel),
                MaintenanceServiceStub(channel),
                AdminServiceStub(channel),
                StatisticsServiceStub(channel),
                PlanningServiceStub(channel),
                TargetServiceStub(channel),
                channel,
                server,
                database,
                assembly.jobs,
                definitions,
                sent,
                assembly.watching,
                assembly.forecast,
            )
    finally:
        await assembly.stop(0)
        await database.client.close()
        blocking_database.client.close()


async def _serving(channel: grpc.aio.Channel) -> None:
    """Wait until the server says SERVING, which it does a moment after all is prepared."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(60):
        async for said in stub.Watch(health_pb2.HealthCheckRequest()):
            if said.status == health_pb2.HealthCheckResponse.SERVING:
                return


def a_request(**fields: Any) -> pb.CreateScheduledJobRequest:
    """A request that is right, with some fields given otherwise; None leaves one out."""
    values: dict[str, Any] = {
        "name": "Prices",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "schedule_config": cron(hour="10", minute="0"),
        "parameters": {"competitor_ids": ["amazon"]},
    } | fields
    return pb.CreateScheduledJobRequest(**{name: value for name, value in values.items() if value is not None})


def cron(timezone: str = "", **config: str) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(type="cron", config=config, timezone=timezone)


def not_now() -> dict[str, str]:
    """Return a time of each day, as cron has it, that does not come while a test runs."""
    at = datetime.now(UTC) + timedelta(hours=3)
    return {"hour": str(at.hour), "minute": str(at.minute)}


def interval(**config: str) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(type="interval", config=config)


def once(at: str) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(type="once", config={"at": at})


def stamp(instant: datetime) -> Timestamp:
    written = Timestamp()
    written.FromDatetime(instant)
    return written


@dataclass
class Refusal:
    """What a client sees of a call that did not go well."""

    code: str
    message: str
    violations: list[tuple[str, str]]
    retry: bool
    resource: tuple[str, str] | None
    reason: str
    facts: dict[str, str] = field(default_factory=dict)


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Wait for a call that must fail; return how."""
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError(f"it went well: {response}")


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    rich = rpc_status.from_call(cast("grpc.Call", error))
    bad, retry, resource, info = BadRequest(), RetryInfo(), ResourceInfo(), ErrorInfo()
    found: dict[str, bool] = {}
    for detail in rich.details if rich is not None else ():
        for message in (bad, retry, resource, info):
            if detail.Unpack(message):
                found[message.DESCRIPTOR.name] = True
    return Refusal(
        error.code().name,
        error.details() or "",
        [(violation.field, violation.description) for violation in bad.field_violations],
        "RetryInfo" in found,
        (resource.resource_type, resource.resource_name) if "ResourceInfo" in found else None,
        info.reason,
        dict(info.metadata),
    )


ANSWERED = {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"}
"""The codes by which a server tells what it found, and no fault of its own."""


async def code_of(call: Awaitable[Any]) -> str:
    """Wait for a call; return the code that it ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait until a condition holds, or fail."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.05)
