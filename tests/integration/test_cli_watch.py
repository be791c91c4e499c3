"""`schedctl executions watch` and `wait`, `jobs run --wait` and `watch`: executions as they go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduler_client import patience
from tests.integration.test_cli_harness import schedctl
from tests.integration.test_cli_terminal import on_terminal
from tests.integration.test_server_harness import eventually, serving

if TYPE_CHECKING:
    import pytest
    from pymongo.database import Database

    from tests.integration.test_server_harness import Running

ROOT = Path(__file__).resolve().parents[2]


async def a_run(server: Running) -> str:
    await server.create(job_id="prices")
    return (await schedctl(server, "jobs", "run", "prices", "-o", "name")).out.strip()


async def started(server: Running, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *arguments, cwd=ROOT, env={**os.environ, "SCHEDCTL_SERVER": server.address},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def succeed(database: Database[dict[str, Any]], execution_id: str) -> None:
    """End an execution that waits for a worker, as if one had run it."""
    row = database.executions.find_one({"_id": execution_id}) or {}
    now = datetime.now(UTC)
    steps = [
        {"number": number, "state": state, "at": now, "by": "worker", "reason": ""}
        for number, state in enumerate(("QUEUED", "RUNNING", "SUCCEEDED"), start=len(row["transitions"]) + 1)
    ]
    database.executions.update_one(
        {"_id": execution_id, "state": "PENDING"},
        {
            "$set": {"state": "SUCCEEDED", "started_at": now, "finished_at": now, "result": '{"products": 2}'},
            "$unset": {"open": 1, "send_at": 1},
            "$push": {"transitions": {"$each": steps}},
            "$currentDate": {"changed": True},
        },
    )


async def test_one_execution_is_watched_until_it_has_ended(server: Running) -> None:
    name = await a_run(server)
    watching = await started(server, "executions", "watch", name)
    assert watching.stdout is not None
    async with asyncio.timeout(60):
        assert b"PENDING" in await watching.stdout.readline()
        await schedctl(server, "executions", "cancel", name, "--yes", "--reason", "tried out")
        rest, err = await watching.communicate()
    assert (watching.returncode, err) == (0, b"")
    assert b"CANCELLED" in rest
    assert b"tried out" in rest


async def test_programs_watch_json_and_ctrl_c_ends_it(server: Running) -> None:
    await server.create(job_id="prices")
    watching = await started(server, "executions", "watch", "--job", "prices", "-o", "json")
    assert watching.stdout is not None
    reading = asyncio.ensure_future(watching.stdout.readline())
    async with asyncio.timeout(60):
        while not reading.done():  # until the watch has begun: what was before that is not told
            await schedctl(server, "jobs", "run", "prices")
        watching.send_signal(signal.SIGINT)
        _, err = await watching.communicate()
    told = json.loads(reading.result())
    assert (told["execution"]["job_id"], told["transitions"][0]["state"]) == ("prices", "STATE_PENDING")
    assert told["resume_token"]
    assert (watching.returncode, b"Traceback" in err) == (130, False)


async def test_waiting_ends_as_the_execution_did(server: Running, database: Database[dict[str, Any]]) -> None:
    name = await a_run(server)
    told = await schedctl(server, "executions", "wait", name, "--timeout", "200ms")
    assert (told.code, told.out) == (6, "")
    assert told.err == f"{name} goes on; `schedctl executions wait {name}` waits on\n"
    waiting = asyncio.create_task(schedctl(server, "executions", "wait", name, "--timeout", "30s"))
    succeed(database, name)
    assert (await waiting).code == 0
    other = (await schedctl(server, "jobs", "run", "prices", "-o", "name")).out.strip()
    await schedctl(server, "executions", "cancel", other, "--yes")
    told = await schedctl(server, "executions", "wait", other)
    assert (told.code, "CANCELLED" in told.out) == (1, True)
    assert (await schedctl(server, "executions", "wait", "nothing")).code == 3
    told = await schedctl(server, "jobs", "run", "prices", "--wait", "--timeout", "200ms")
    newest = (await schedctl(server, "jobs", "history", "prices", "-o", "name")).lines[0]
    assert (told.code, told.out) == (6, "")
    assert told.err == f"{newest} goes on; `schedctl executions wait {newest}` waits on\n"


async def test_who_waits_no_longer_is_told_what_goes_on_and_how_to_wait_for_it(server: Running) -> None:
    name = await a_run(server)
    said = f"{name} has perhaps not ended; `schedctl executions wait {name}` waits on"
    told = await on_terminal(server, "executions", "wait", name, answers=[("waiting for", "\x03")])
    assert (told.code, said in told.out) == (130, True), told.out


async def test_who_waits_while_the_server_is_away_for_long_is_told_what_goes_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "AWAY_FOR", 0)
    async with serving(database_url) as server:
        name = await a_run(server)
        waiting = asyncio.create_task(schedctl(server, "executions", "wait", name))
        await eventually(lambda: is_asked(server))
    told = await waiting
    said, why = told.err.splitlines()
    assert said == f"{name} has perhaps not ended; `schedctl executions wait {name}` waits on"
    assert (told.code, told.out, why.partition(": ")[0]) == (2, "", "UNAVAILABLE")


async def is_asked(server: Running) -> bool:
    """Return whether a call is in progress."""
    return bool(server.server._calls._in_progress)


async def test_a_live_table_shows_what_changes_until_ctrl_c(server: Running) -> None:
    await server.create(job_id="prices")
    watching = asyncio.create_task(on_terminal(server, "watch", "--job", "prices", answers=[("PENDING", "\x03")]))
    while not watching.done():
        await schedctl(server, "jobs", "run", "prices")
    told = watching.result()
    assert (told.code, "Traceback" in told.out) == (130, False)
    assert "nominal time" in told.out


async def test_jobs_are_watched_from_those_there_are(server: Running) -> None:
    await server.create(job_id="prices")
    watching = await started(server, "jobs", "watch", "--initial")
    assert watching.stdout is not None
    async with asyncio.timeout(60):
        first = (await watching.stdout.readline()).decode()
        await schedctl(server, "jobs", "pause", "prices")
        then = (await watching.stdout.readline()).decode()
        watching.send_signal(signal.SIGINT)
        assert await watching.wait() == 130
    assert " prices ACTIVE by " in first
    assert " prices PAUSED by " in then


async def test_on_a_terminal_it_says_what_it_waits_for(server: Running) -> None:
    name = await a_run(server)
    told = await on_terminal(server, "executions", "wait", name, "--timeout", "3s", answers=[("waiting for", "")])
    assert (told.code, "waits on" in told.out) == (6, True)
