"""A server of several processes that share its port: one that starts the others, and ends them (docs/decisions/0020).

The kernel gives each connection to one of those that listen. What one process can't do, since Python runs on one core
at a time, several do beside each other; each is a whole server, with its own connections, limits and metrics.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from scheduler_service.port import held
from shared.log import get_logger

if TYPE_CHECKING:
    from asyncio.subprocess import Process

log = get_logger()

NUMBER: Final = "--process"
"""The argument that makes a process one of several, with its number from 1 on."""


AFTER_GRACE: Final = 15.0
"""Seconds that a server takes at most to end, once its calls have had their grace."""


async def run_all(count: int, host: str, port: int, grace: float) -> int:
    """Run so many servers on one port until a signal or the first of them ends; return the exit code.

    When one ends by itself, the others are told to stop: whoever started the server starts all of it again, and nobody
    has to find out that half of it is missing. What has been told, and does not end though its calls have had `grace`
    seconds, is killed: it hangs, or was stopped. Raises PortTakenError.
    """
    with held(host, port):
        servers = [await _start(number) for number in range(1, count + 1)]
        told = _pass_on_signals(servers)
        ends = [asyncio.create_task(server.wait()) for server in servers]
        signalled = asyncio.create_task(told.wait())
        await asyncio.wait([*ends, signalled], return_when=asyncio.FIRST_COMPLETED)
        signalled.cancel()
        if not told.is_set():
            for number, end in enumerate(ends, start=1):
                if end.done():
                    log.error(
                        "a process of the server has ended, so all stop",
                        action="server_process_died",
                        number=number,
                        exit_code=end.result(),
                    )
            _tell(servers)
        await asyncio.wait(ends, timeout=grace + AFTER_GRACE)
        for number, (server, end) in enumerate(zip(servers, ends, strict=True), start=1):
            if not end.done():
                log.error("a process of the server hangs, and is killed", action="server_process_killed", number=number)
                server.kill()
        codes = await asyncio.gather(*ends)
        return 0 if told.is_set() and not any(codes) else 1


async def _start(number: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler_service", NUMBER, str(number)),
        # It reads nothing from there, but is told by its end when this process is gone, however that went.
        stdin=asyncio.subprocess.PIPE,
        # Ctrl-C signals a whole group, and we pass it on: twice would mean at once.
        start_new_session=True,
    )


def _pass_on_signals(servers: list[Process]) -> asyncio.Event:
    """Pass each SIGTERM and SIGINT on; return what the first one sets."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        told.set()
        _tell(servers)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    return told


def _tell(servers: list[Process]) -> None:
    for server in servers:
        with suppress(ProcessLookupError):
            server.send_signal(signal.SIGTERM)
