"""`schedctl executions`, `dead-letters` and `active`: what ran and runs, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from cli.jobs import perhaps_started
from shared.domain.execution import State
from shared.domain.plan import Row
from shared.store.executions import scheduled_document
from tests.builders import fired, job_document
from tests.integration.test_cli_harness import schedctl

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.integration.test_server_harness import Running

NOW = datetime.now(UTC).replace(microsecond=0)
EVIL = "\x1b[31mred\u202e\x9b"


def executions(database: Database[dict[str, Any]], *states: str, **fields: Any) -> list[str]:
    """Store executions of a job, the oldest first, in these states; return their ids."""
    job = job_document("prices")
    rows = [
        fired(job, NOW - timedelta(minutes=len(states) - number), state=state, **fields)
        for number, state in enumerate(states)
    ]
    database.executions.insert_many(rows)
    return [row["_id"] for row in rows]


async def test_executions_are_listed_the_newest_first(server: Running, database: Database[dict[str, Any]]) -> None:
    ids = executions(database, "SUCCEEDED", "FAILED", "QUEUED")
    heading, *lines = (await schedctl(server, "executions", "list")).lines
    assert heading.split()[:3] == ["nominal", "time", "state"]
    assert [line.split()[1:3] for line in lines] == [
        ["QUEUED", ids[2]], ["FAILED", ids[1]], ["SUCCEEDED", ids[0]],
    ]  # fmt: skip
    told = await schedctl(server, "executions", "list", "--state", "failed", "--state", "succeeded", "-o", "name")
    assert told.lines == ids[1::-1]
    told = await schedctl(server, "executions", "list", "--limit", "2")
    assert (len(told.lines), told.err) == (3, "and more: --limit shows more than 2\n")
    told = await schedctl(server, "executions", "list", "--state", "baking")
    assert (told.code, "'baking' is not one of pending, " in told.err) == (2, True)


async def test_a_decision_tells_how_many_occurrences_it_covers(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    job, first = job_document("prices"), NOW - timedelta(minutes=1_300)
    row = Row(State.COALESCED, first, first + timedelta(minutes=1_233), 1_234, "found late")
    database.executions.insert_one(skipped := scheduled_document(job, row, NOW, "beat"))
    executions(database, "SUCCEEDED")
    told = await schedctl(server, "executions", "list", "--decisions")
    assert ["covers" in told.lines[0], *("1,234" in line for line in told.lines[1:])] == [True, False, True]
    assert "covers" not in (await schedctl(server, "executions", "list")).lines[0], "nothing covers several"
    told = await schedctl(server, "executions", "get", skipped["_id"])
    (line,) = (line for line in told.lines if line.startswith("covers"))
    assert line.split()[1:3] == ["1,234", "occurrences,"]
    assert f"{first:%Y-%m-%dT%H:%M:%SZ} to {first + timedelta(minutes=1_233):%Y-%m-%dT%H:%M:%SZ}" in line


async def test_what_is_active_is_what_has_not_ended(server: Running, database: Database[dict[str, Any]]) -> None:
    ids = executions(database, "SUCCEEDED", "RUNNING", "PENDING")
    assert (await schedctl(server, "active", "-o", "name")).lines == ids[:0:-1]


async def test_an_execution_is_shown_with_each_step_of_its_life(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    error = {"code": "NOT_FOUND", "message": "no shop", "retryable": False}
    (name,) = executions(database, "FAILED", attempt=3, error=error)
    told = await schedctl(server, "executions", "get", name)
    assert told.code == 0
    facts = dict(line.split(maxsplit=1) for line in told.lines)
    assert facts["state"] == "FAILED"
    assert facts["error"] == "NOT_FOUND: no shop"
    assert facts["attempt"].startswith("3 of ")
    assert "PENDING" in facts["life"]
    assert (await schedctl(server, "executions", "get", name, "-o", "json")).json[0]["execution_id"] == name
    missing = await schedctl(server, "executions", "get", "nothing")
    assert (missing.code, missing.err) == (3, "NOT_FOUND: there is no execution 'nothing'\n")


async def test_what_others_wrote_steers_no_terminal(server: Running, database: Database[dict[str, Any]]) -> None:
    error = {"code": "UNKNOWN", "message": EVIL, "retryable": False}
    (name,) = executions(database, "FAILED", error=error, letter=True, finished_at=NOW)
    for form in ("table", "json", "yaml"):
        for arguments in (("executions", "list"), ("executions", "get", name), ("dead-letters", "list")):
            told = await schedctl(server, *arguments, "-o", form)
            assert told.code == 0
            assert "red" in told.out
            assert all(char.isprintable() or char == "\n" for char in told.out), (form, arguments)
    (found,) = (await schedctl(server, "executions", "get", name, "-o", "json")).json
    assert found["error"]["message"] == EVIL
    found = yaml.safe_load((await schedctl(server, "executions", "get", name, "-o", "yaml")).out)
    assert found["error"]["message"] == EVIL


async def test_where_there_is_nothing_it_is_said_to_people_alone(server: Running) -> None:
    for command, said in (
        (["active"], "nothing runs or waits"),
        (["executions", "list"], "no executions"),
        (["dead-letters", "list"], "no dead letters"),
        (["backfills", "list"], "no backfills"),
        (["jobs", "list"], "no jobs"),
    ):
        told = await schedctl(server, *command)
        assert (told.code, told.out, told.err) == (0, "", f"{said}\n")
        told = await schedctl(server, *command, "-o", "json")
        assert (told.code, told.out, told.err) == (0, "", "")


def test_whoever_does_not_know_whether_a_run_was_started_is_told_how_to_see() -> None:
    assert perhaps_started("prices", "") == (
        "the server did not answer in time; `schedctl jobs history prices` shows whether it was started"
    )
    assert perhaps_started("prices", "first").endswith(", and the same --request-id again runs nothing twice")


async def test_cancelling_asks_first_and_retrying_does_not(server: Running) -> None:
    await server.create(job_id="prices")
    name = (await schedctl(server, "jobs", "run", "prices", "-o", "name")).out.strip()
    told = await schedctl(server, "executions", "cancel", name, typed="n\n")
    assert (told.code, told.out) == (2, "")
    assert f"Cancel {name}?" in told.err
    told = await schedctl(server, "executions", "cancel", name, typed="y\n")
    assert (told.code, told.out) == (0, f"{name} is cancelled\n")
    told = await schedctl(server, "executions", "retry", name)
    assert told.out.startswith(f"{name} runs again as ")
    again = await schedctl(server, "executions", "retry", name)
    assert (again.code, "FAILED_PRECONDITION" in again.err) == (5, True)


async def test_what_is_only_checked_is_neither_asked_for_nor_done(server: Running) -> None:
    await server.create(job_id="prices")
    told = await schedctl(server, "jobs", "run", "prices", "--validate-only", "--wait")
    assert (told.code, told.out) == (0, "prices would run on the queue manual\n")
    assert (await schedctl(server, "active")).out == ""
    name = (await schedctl(server, "jobs", "run", "prices", "-o", "name")).out.strip()
    told = await schedctl(server, "executions", "cancel", name, "--validate-only")
    assert (told.code, told.out, told.err) == (0, f"{name} would be cancelled\n", "")
    assert (await schedctl(server, "active", "-o", "name")).lines == [name]
    await schedctl(server, "executions", "cancel", name, "--yes")
    told = await schedctl(server, "executions", "retry", name, "--validate-only")
    assert (told.code, told.out) == (0, f"{name} would run again\n")
    assert (await schedctl(server, "active")).out == ""
