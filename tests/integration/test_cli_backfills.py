"""`schedctl backfills` and `occurrences`: what is run again, and what does not go as the schedule says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from shared.proto import scheduler_service_pb2 as pb
from tests.integration.test_cli_harness import schedctl

if TYPE_CHECKING:
    from tests.integration.test_server_harness import Running

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
LAST_WEEK = f"{TODAY - timedelta(days=7):%Y-%m-%d}"
SOON = f"{TODAY + timedelta(days=3, hours=10):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture(autouse=True)
async def _prices(server: Running) -> None:
    await server.create(job_id="prices")


async def test_an_occurrence_is_skipped_moved_and_restored(server: Running) -> None:
    told = await schedctl(server, "occurrences", "skip", "prices", SOON, "--reason", "sale", typed="n\n")
    assert (told.code, f"Skip the occurrence of prices at {SOON}?" in told.err) == (2, True)
    told = await schedctl(server, "occurrences", "skip", "prices", SOON, "--reason", "sale", "--yes")
    assert (told.code, told.out) == (0, f"the occurrence at {SOON} is left out\n")
    told = await schedctl(server, "occurrences", "list", "prices")
    assert re.search(rf"^{SOON} +not at all +\S+ +sale +\S+Z$", told.out, re.MULTILINE)
    assert (await schedctl(server, "occurrences", "list", "prices", "-o", "name")).lines == [SOON]
    told = await schedctl(server, "occurrences", "restore", "prices", SOON)
    assert told.out == f"the occurrence at {SOON} goes as the schedule says again\n"
    told = await schedctl(server, "occurrences", "list", "prices")
    assert (told.out, told.err) == ("", "all go as the schedule says\n")
    later = SOON.replace("T10:", "T12:")
    told = await schedctl(server, "occurrences", "move", "prices", SOON, later, "--yes", "-o", "json")
    assert (told.code, told.json[0]["new_time"]) == (0, later)
    listed = (await schedctl(server, "occurrences", "list", "prices")).lines
    assert [line.split()[:2] for line in listed] == [["occurrence", "runs"], [SOON, later]]
    for answered in (["--yes"], []):
        told = await schedctl(server, "occurrences", "skip", "prices", SOON.replace("T10:", "T11:"), *answered)
        assert (told.code, "[y/N]" in told.err) == (3, False), "the schedule does not name it"


async def test_a_backfill_says_how_many_there_are_and_asks_first(server: Running) -> None:
    range_ = ("--from", LAST_WEEK, "--to", "now")
    told = await schedctl(server, "backfills", "create", "prices", *range_, typed="n\n")
    assert told.code == 2
    assert "nominal times of prices?" in told.err
    assert (await schedctl(server, "backfills", "list")).out == ""
    told = await schedctl(server, "backfills", "create", "prices", *range_, "--parallel", "2", "--yes", "-o", "name")
    assert told.code == 0
    name = told.out.strip()
    assert name in (await schedctl(server, "backfills", "list")).out
    facts = (await schedctl(server, "backfills", "get", name)).out
    assert "at a time        2" in facts
    assert (await schedctl(server, "backfills", "pause", name, "--reason", "slow")).code == 0
    assert "PAUSED" in (await schedctl(server, "backfills", "get", name)).out
    assert (await schedctl(server, "backfills", "resume", name)).code == 0
    told = await schedctl(server, "backfills", "cancel", name, typed="y\n")
    assert told.out == f"the backfill {name} is cancelled\n"
    assert (await schedctl(server, "backfills", "resume", name)).code == 5
    assert (await schedctl(server, "backfills", "get", "nothing")).code == 3


async def test_a_backfill_is_only_counted_where_asked_for(server: Running) -> None:
    told = await schedctl(
        server, "backfills", "create", "prices", "--from", LAST_WEEK, "--to", "now", "--validate-only"
    )
    assert (told.code, "decided" in told.out) == (0, True)
    assert (await schedctl(server, "backfills", "list")).out == ""
    told = await schedctl(server, "backfills", "create", "prices", "--from", "now", "--to", "now", "--existing", "all")
    assert (told.code, "'all' is not one of skip, rerun_failed, rerun" in told.err) == (2, True)


async def test_what_is_only_checked_is_neither_asked_for_nor_done(server: Running) -> None:
    arguments = ("--from", LAST_WEEK, "--to", "now", "--yes", "-o", "name")
    name = (await schedctl(server, "backfills", "create", "prices", *arguments)).out.strip()
    for verb, said in (("pause", "would be paused"), ("resume", "would go on"), ("cancel", "would be cancelled")):
        told = await schedctl(server, "backfills", verb, name, "--validate-only")
        assert (told.code, told.out, told.err) == (0, f"the backfill {name} {said}\n", "")
    assert "RUNNING" in (await schedctl(server, "backfills", "get", name)).out


async def test_a_cancelled_backfill_is_told_by_the_exit_code_of_waiting(server: Running) -> None:
    arguments = ("--from", LAST_WEEK, "--to", "now", "--yes", "-o", "name")
    name = (await schedctl(server, "backfills", "create", "prices", *arguments)).out.strip()
    await schedctl(server, "backfills", "cancel", name, "--yes")
    told = await schedctl(server, "backfills", "wait", name)
    assert (told.code, "CANCELLED" in told.out) == (1, True)


async def test_a_time_without_an_offset_is_by_the_jobs_own_clock_wherever_an_occurrence_is_named(
    server: Running,
) -> None:
    schedule = pb.ScheduleConfig(type="cron", expressions=["0 14 * * *"], timezone="America/New_York")
    await server.create(job_id="in-new-york", schedule_config=schedule)
    day = f"{datetime.now(ZoneInfo('America/New_York')) + timedelta(days=2):%Y-%m-%d}"
    nominal = datetime.fromisoformat(f"{day}T14:00").replace(tzinfo=ZoneInfo("America/New_York"))
    name = f"{nominal.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    told = await schedctl(server, "occurrences", "skip", "in-new-york", f"{day}T14:00", typed="n\n")
    assert (told.code, nominal.isoformat() in told.err) == (2, True)
    told = await schedctl(server, "occurrences", "skip", "in-new-york", f"{day}T14:00", "--yes", "-o", "name")
    assert (told.code, told.lines) == (0, [name])
    told = await schedctl(server, "explain", "in-new-york", f"{day} 14:00", "-o", "json")
    assert told.json[0]["verdict"] == "VERDICT_SKIPPED"
    told = await schedctl(server, "occurrences", "restore", "in-new-york", f"{day} 14:00", "-o", "name")
    assert (told.code, told.lines) == (0, [name])
    told = await schedctl(server, "occurrences", "move", "in-new-york", f"{day}T14:00", f"{day}T17:00", "-o", "json")
    assert told.json[0]["new_time"] == f"{(nominal + timedelta(hours=3)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    told = await schedctl(server, "explain", "in-new-york", day, "-o", "json")
    assert told.json[0]["local_time"][:16] == f"{day}T00:00"
    told = await schedctl(server, "occurrences", "skip", "in-new-york", "soon", "--yes")
    assert (told.code, "the job's wall clock" in told.err) == (2, True)
