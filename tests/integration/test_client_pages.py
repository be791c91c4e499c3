"""The commands of docs/schedctl.md and the programs of docs/python-client.md run as they stand, in their order."""

from __future__ import annotations

import asyncio
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_cli_harness import quiet_server, schedctl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database

    from tests.integration.test_server_harness import Running

DOCS = Path(__file__).resolve().parents[2] / "docs"
STANDARD_ADDRESS = "localhost:50054"


@pytest.fixture
async def server(database: Database[dict[str, Any]], database_url: str) -> AsyncIterator[Running]:  # noqa: ARG001
    async for running in quiet_server(database_url):
        yield running


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


async def test_the_commands_of_the_page_on_schedctl_run_in_their_order(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("schedctl.md", "sh") for line in block.splitlines()]
    assert len(commands) > 25
    for command in commands:
        words = shlex.split(command.replace(STANDARD_ADDRESS, server.address))
        assert words[0] == "schedctl"
        told = await schedctl(server, *words[1:], environment={"XDG_CONFIG_HOME": str(tmp_path)})
        assert told.code == 0, f"{command}\n{told.out}{told.err}"


def end_what_was_started(database: Database[dict[str, Any]]) -> None:
    """Let what waits for a worker succeed, as if one were there."""
    for row in database.executions.find({"state": {"$in": ["PENDING", "QUEUED"]}}):
        now, last = datetime.now(UTC), len(row["transitions"])
        steps = [
            {"number": number, "state": state, "at": now, "by": "worker", "reason": ""}
            for number, state in enumerate(("RUNNING", "SUCCEEDED"), start=last + 1)
        ]
        database.executions.update_one(
            {"_id": row["_id"], "state": row["state"]},
            {
                "$set": {"state": "SUCCEEDED", "started_at": now, "finished_at": now, "result": {"products": 2}},
                "$unset": {"open": 1, "send_at": 1},
                "$push": {"transitions": {"$each": steps}},
                "$currentDate": {"changed_at": True},
            },
        )


async def test_the_programs_of_the_page_on_the_client_run_in_their_order(
    server: Running, database: Database[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    programs = blocks("python-client.md", "python")
    assert len(programs) == 2
    for program in programs:
        ready = compile(program.replace(STANDARD_ADDRESS, server.address), "python-client.md", "exec")
        running = asyncio.create_task(asyncio.to_thread(exec, ready, {"__name__": "page"}))
        while not running.done():
            end_what_was_started(database)
            await asyncio.wait([running], timeout=0.1)
        running.result()
    told = capsys.readouterr().out
    assert "{'products': 2}" in told
    assert "there is no job 'client-nightly'" in told or "was deleted" in told
