"""schedctl against a real server: run in this process, which is fast, or as the command that people start."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from typer.testing import CliRunner

from cli.__main__ import app
from tests.integration.test_server_harness import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.integration.test_server_harness import Running


@dataclass
class Told:
    """What somebody sees who runs the command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


async def quiet_server(database_url: str) -> AsyncIterator[Running]:
    """A server whose log lines do not mix with what the command prints in the same process."""
    structlog.configure(processors=[_drop])
    async with serving(database_url) as running:
        yield running


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


async def schedctl(
    server: Running | str, *arguments: str, typed: str = "", environment: Mapping[str, str] | None = None
) -> Told:
    """Run the command in this process, on no terminal; typed: what is typed at its questions."""
    address = server if isinstance(server, str) else server.address
    environment = {"SCHEDCTL_SERVER": address, "XDG_CONFIG_HOME": "/nonexistent", **(environment or {})}
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=typed, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Told(result.exit_code, result.stdout, result.stderr)
