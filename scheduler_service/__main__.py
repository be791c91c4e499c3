"""`python -m scheduler_service`: the composition root of the gRPC server."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

import uvloop

from scheduler_service.assembly import Assembly, Supplies
from scheduler_service.jobs.definitions import Definitions
from scheduler_service.jobs.seed import read_seed
from scheduler_service.port import PortTakenError
from scheduler_service.prepare import prepare
from scheduler_service.processes import NUMBER, run_all
from scheduler_service.targets.probes import Probe, mongodb_probe, rabbitmq_probe, redis_probe, target_probe
from shared import log as logs
from shared import metrics
from shared.calendars import load_calendars
from shared.domain.errors import InvalidInput
from shared.domain.zones import tzdata_version
from shared.garbage import spare_what_is_there
from shared.heartbeat import Heartbeat
from shared.messaging.dispatcher import Dispatcher, Sender
from shared.messaging.publisher import Publisher
from shared.release import release
from shared.settings import stop
from shared.store.mongo import connect, connect_async
from shared.store.processes import About, Kind
from shared.targets import RegistryError, load_targets
from shared.tasks.app import celery_app, queues, settings
from shared.tasks.registry import load_tasks

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from shared.settings import Settings
    from shared.targets import Targets

log = logs.get_logger()

STORE_NAME: Final = "grpc-scheduler server"
"""How MongoDB's logs and profiler name this process."""

STORE_PATIENCE: Final[dict[str, Any]] = {
    "serverSelectionTimeoutMS": 2_000,
    "connectTimeoutMS": 2_000,
    "socketTimeoutMS": 8_000,
}
"""Shorter than the other processes': a client is better told UNAVAILABLE, and tries again, than left waiting.
Not timeoutMS, which would take the place of the shorter wait for a store that is not there at all."""

METRICS_ALTERNATIVES: Final = 20
"""Further ports for the metrics of further processes: the next ones after the first may be those of beat and worker."""


async def serve(number: int | None = None) -> None:
    """Build everything, serve until SIGTERM or SIGINT, and take it down again. A second signal ends at once.

    number: of this one of several processes that share the port, from 1 on; None when there is but one.
    """
    tasks = load_tasks(celery_app, settings.task_modules, queues)
    try:
        targets = load_targets(settings)
    except RegistryError as error:
        stop(str(error))
    calendars = load_calendars(settings.config_dir)
    definitions = Definitions(settings, queues, targets, calendars, tasks)
    try:
        drafts = await read_seed(settings.config_dir, definitions)
    except InvalidInput as refused:
        stop(str(refused))

    database = connect_async(settings.mongodb_url, appname=STORE_NAME, **STORE_PATIENCE)
    publisher = Publisher(celery_app, queues)
    blocking_database = connect(settings.mongodb_url, appname=STORE_NAME)
    by = f"scheduler-service@{socket.gethostname()}:{os.getpid()}"
    dispatcher = Dispatcher(Sender(blocking_database, publisher, by), publisher)
    assembly = Assembly(
        Supplies(
            settings,
            queues,
            targets,
            calendars,
            tasks,
            definitions,
            database,
            blocking_database,
            dispatcher,
            lambda: _probes(settings, targets, database),
            shares_port=number is not None,
        )
    )
    told_to_stop = _on_first_signal()
    if number is not None:
        _watch_starter(told_to_stop)
    _serve_metrics(number or 1)
    spare_what_is_there()
    try:
        preparation = prepare(database, drafts, assembly.jobs, definitions)
        await assembly.server.start(settings.bind_host, settings.grpc_port, preparation)
    except PortTakenError as taken:
        stop(str(taken))
    dispatcher.start()
    assembly.forecast.start()
    assembly.registrations.start()
    about = About(name=by, kind=Kind.SERVER, version=release(), tzdata_version=tzdata_version())
    heartbeat = Heartbeat(blocking_database, lambda: about)
    heartbeat.start()

    await told_to_stop.wait()
    log.info("server stops", action="server_stopping", grace_seconds=settings.shutdown_grace)
    await assembly.stop(settings.shutdown_grace)
    await asyncio.to_thread(dispatcher.stop)
    await asyncio.to_thread(heartbeat.stop)
    await database.client.close()
    blocking_database.client.close()
    log.info("server has stopped", action="server_stopped")


def _serve_metrics(number: int) -> None:
    """Serve them where the settings say, those of further processes on the ports after it, or the next free ones."""
    port = settings.server_metrics_port + number - 1
    metrics.serve(settings.bind_host, port, alternatives=METRICS_ALTERNATIVES if number > 1 else 0)


def _probes(settings: Settings, targets: Targets, database: AsyncDatabase[dict[str, Any]]) -> dict[str, Probe]:
    probes = {name: target_probe(targets.address(name)) for name in sorted(targets.names)}
    probes["mongodb"] = mongodb_probe(database)
    probes["rabbitmq"] = rabbitmq_probe(settings.celery_broker_url)
    probes["redis"] = redis_probe(settings.celery_result_backend)
    return probes


def _on_first_signal() -> asyncio.Event:
    """Return what the first SIGTERM or SIGINT sets; the next one finds the system's default, and ends the process."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def tell() -> None:
        told.set()
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, tell)
    return told


def _watch_starter(told: asyncio.Event) -> None:
    """Set it, too, when who has started this process is gone: then the other end of standard input is."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.remove_reader(sys.stdin)
        told.set()

    loop.add_reader(sys.stdin, tell)


def main() -> None:
    """Run the server until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m scheduler_service", description="Configured by the environment.")
    parser.add_argument(NUMBER, type=int, help=argparse.SUPPRESS)
    number: int | None = parser.parse_args().process
    logs.configure("scheduler-service", settings.log_level, settings.log_format, number)
    if number is not None or settings.server_processes == 1:
        uvloop.run(serve(number))
        return
    try:
        running = run_all(settings.server_processes, settings.bind_host, settings.grpc_port, settings.shutdown_grace)
        sys.exit(uvloop.run(running))
    except PortTakenError as taken:
        stop(str(taken))


if __name__ == "__main__":
    main()
