"""The commands of docs/schedctl.md and the programs of docs/python-client.md run as they stand, in their order."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.test_cli_harness import schedctl
from tests.integration.test_cli_watch import succeed

if TYPE_CHECKING:
    import pytest
    from pymongo.database import Database

    from tests.integration.test_server_harness import Running

DOCS = Path(__file__).resolve().parents[2] / "docs"
STANDARD_ADDRESS = "localhost:50054"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


async def test_the_commands_of_the_page_on_schedctl_run_in_their_order(server: Running, tmp_path: Path) -> None:
    commands = [line for block in blocks("schedctl.md", "sh") for line in block.splitlines()]
    assert len(commands) > 25
    for command in commands:
        here = command.replace(STANDARD_ADDRESS, server.address).replace("jobs.yaml", str(tmp_path / "jobs.yaml"))
        words = shlex.split(here)
        assert words[0] == "schedctl"
        told = await schedctl(server, *words[1:], environment={"XDG_CONFIG_HOME": str(tmp_path)})
        assert told.code == 0, f"{command}\n{told.out}{told.err}"


async def test_the_programs_of_the_page_on_the_client_run_in_their_order(
    server: Running, database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    programs = blocks("python-client.md", "python")
    assert len(programs) == 2
    for program in programs:
        ready = compile(program.replace(STANDARD_ADDRESS, server.address), "python-client.md", "exec")
        running = asyncio.create_task(asyncio.to_thread(exec, ready, {"__name__": "page"}))
        while not running.done():
            for row in database.executions.find({"state": "PENDING"}):
                succeed(database, row["_id"])
            await asyncio.wait([running], timeout=0.1)
        running.result()
    told = capsys.readouterr().out
    assert "{'products': 2}" in told
    assert "there is no job 'client-nightly'" in told or "was deleted" in told
