"""Runs a gRPC service until it is told to stop: health, reflection, one port, signals."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pymongo.errors import PyMongoError

from examples.calls import Calls
from examples.settings import SettingsError
from shared.log import get_logger

log = get_logger()

CHECK_SECONDS = 2.0
"""How often health asks MongoDB; a caller learns of its absence this late, by health alone."""

CHECK_TIMEOUT_SECONDS = 5.0
"""How long MongoDB may take to answer: it may also be there and hang."""

GRACE_SECONDS = 3.0
"""How long calls in flight may go on after a stop. Whoever starts the process should wait longer before killing it."""


class PortTakenError(Exception):
    """The port cannot be had; the message is a sentence."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service's main; a wrong setting or a taken port is one sentence on stderr and exit code 1."""
    try:
        uvloop.run(main)
    except (SettingsError, PortTakenError) as error:
        sys.exit(str(error))


async def serve(
    full_name: str,
    *,
    host: str,
    port: int,
    port_setting: str,
    add: Callable[[grpc.aio.Server], None],
    check: Callable[[], Awaitable[object]],
) -> None:
    """Serve `full_name`, which `add` registers, until SIGTERM or SIGINT; then end calls in flight within seconds.

    The service is healthy while `check`, which asks MongoDB something, does not raise.
    Raises PortTakenError.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    # Without this option a second server would silently share the port, and get half of the calls.
    server = grpc.aio.server(interceptors=[Calls()], options=[("grpc.so_reuseport", 0)])
    add(server)
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    names = [full_name, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    try:
        # Tried first, since gRPC itself puts lines of its own on stderr before it raises.
        (await asyncio.start_server(lambda _reader, _writer: None, host.strip("[]"), port)).close()
        bound = server.add_insecure_port(f"{host}:{port}")
    except (OSError, RuntimeError):
        raise PortTakenError(
            f"{full_name}: cannot listen on {host}:{port}; stop what listens there, or set {port_setting} or BIND_HOST"
        ) from None
    # Until it is known. Else the server as a whole would be SERVING from the start, and the service not be found.
    await _set_health(state, full_name, healthy=False)
    await server.start()
    log.info("Ready for calls", action="server_started", address=f"{host}:{bound}")

    watch = asyncio.create_task(_watch_health(state, full_name, check))
    try:
        await stop.wait()
        log.info("Stopping", action="server_stopping", grace_seconds=GRACE_SECONDS)
    finally:
        watch.cancel()
        await state.enter_graceful_shutdown()
        await server.stop(GRACE_SECONDS)
        log.info("Stopped", action="server_stopped")


async def _watch_health(
    state: health.aio.HealthServicer, full_name: str, check: Callable[[], Awaitable[object]]
) -> None:
    """Keep the health of the service, and of the server as a whole, at what `check` says."""
    healthy: bool | None = None
    while True:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await check()
            now_healthy = True
        except (PyMongoError, TimeoutError):
            now_healthy = False
        if now_healthy != healthy:
            healthy = now_healthy
            await _set_health(state, full_name, healthy=healthy)
            log.info("Health changed", action="health_changed", healthy=healthy)
        await asyncio.sleep(CHECK_SECONDS)


async def _set_health(state: health.aio.HealthServicer, full_name: str, *, healthy: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if healthy else health_pb2.HealthCheckResponse.NOT_SERVING
    # The server as a whole, which most ask for, comes last: when it says that it is healthy, the service does too.
    for name in (full_name, ""):
        await state.set(name, status)
