"""schedctl against a real server: run in this process, which is fast, or as the command that people start."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from typer.testing import CliRunner

from cli.__main__ import app

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


async def schedctl(
    server: Running | str, *arguments: str, typed: str = "", environment: Mapping[str, str] | None = None
) -> Told:
    """Run the command in this process, on no terminal; typed: what is typed at its questions."""
    structlog.configure(processors=[_drop])  # the server logs in this process too, onto the command's own output
    address = server if isinstance(server, str) else server.address
    environment = {"SCHEDCTL_SERVER": address, "XDG_CONFIG_HOME": "/nonexistent", **(environment or {})}
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=typed, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Told(result.exit_code, result.stdout, result.stderr)
