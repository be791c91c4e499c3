"""`schedctl preview`, `describe`, `jobs next` and `explain`: along a schedule, ahead and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from shared.proto import scheduler_service_pb2 as pb
from tests.integration.test_cli_harness import schedctl
from tests.integration.test_cli_jobs import PRICES
from tests.integration.test_cli_terminal import FORM, on_terminal

if TYPE_CHECKING:
    from tests.integration.test_server_harness import Running

IN_NEW_YORK = ("--cron", "30 1 * * *", "--tz", "America/New_York", "--from", "2026-10-31")


async def test_a_schedule_is_previewed_by_its_own_clock_and_in_utc_with_what_is_unusual(server: Running) -> None:
    told = await schedctl(server, "preview", *IN_NEW_YORK, "-n", "3")
    _, heading, *fires = told.lines
    assert (told.code, heading.split()) == (0, ["local", "time", "UTC", "remarks"])
    assert fires[0].split() == ["2026-10-31T01:30:00-04:00", "2026-10-31T05:30:00Z"]
    assert "clocks go back" in fires[1]
    assert fires[2].split() == ["2026-11-02T01:30:00-05:00", "2026-11-02T06:30:00Z"]
    told = await schedctl(server, "preview", *IN_NEW_YORK, "-o", "name", "-n", "1")
    assert told.lines == ["2026-10-31T05:30:00Z"]


async def test_a_schedule_is_compared_with_that_of_a_job(server: Running) -> None:
    await server.create(job_id="prices")
    arguments = ("preview", "prices", "--cron", "0 10,12 * * *", "--from", "2030-01-01", "-n", "2")
    assert (await schedctl(server, *arguments)).lines[1:] == [
        "  2030-01-01T10:00:00Z",
        "+ 2030-01-01T12:00:00Z",
    ]
    arguments = ("preview", "prices", "--cron", "0 12 * * *", "--from", "2030-01-01", "-n", "1")
    signs = [line[:13] for line in (await schedctl(server, *arguments)).lines[1:]]
    assert signs == ["- 2030-01-01T", "+ 2030-01-01T"]


@pytest.mark.parametrize("format_", ["json", "yaml"])
async def test_programs_are_told_which_times_come_and_go_too(server: Running, format_: str) -> None:
    await server.create(job_id="prices")
    arguments = ("preview", "prices", "--cron", "0 10,12 * * *", "--holiday", "US", "--from", "2030-01-01", "-n", "2")
    told = await schedctl(server, *arguments, "-o", format_)
    fires = told.json if format_ == "json" else yaml.safe_load_all(told.out)
    assert [(fire["time"], fire["sign"]) for fire in fires] == [
        ("2030-01-01T10:00:00Z", "-"),
        ("2030-01-02T10:00:00Z", ""),
        ("2030-01-02T12:00:00Z", "+"),
    ], told.out
    told = await schedctl(server, *arguments, "-o", "name")
    assert told.lines == ["2030-01-02T10:00:00Z", "2030-01-02T12:00:00Z"]
    plain = await schedctl(server, "preview", "prices", "-n", "1", "-o", "json")
    assert "sign" not in plain.json[0], "nothing is compared"


async def test_options_beside_a_job_are_previewed_as_an_update_would_take_them(server: Running) -> None:
    zone = ("--cron", "0 8 * * *", "--tz", "Asia/Tokyo")
    assert (await schedctl(server, "jobs", "create", "tokyo", *PRICES, *zone)).code == 0
    span = ("--from", "2029-12-31", "-n", "2")
    told = await schedctl(server, "preview", "tokyo", "--holiday", "JP", *span)
    assert [line[:12] for line in told.lines[1:]] == ["- 2030-01-01", "  2030-01-02", "  2030-01-03"], told.err
    told = await schedctl(server, "preview", "tokyo", "--cron", "0 9 * * *", *span)
    assert {line[12:27] for line in told.lines[1:]} == {"T08:00:00+09:00", "T09:00:00+09:00"}, "its zone stays"
    told = await schedctl(server, "describe", "tokyo", "--cron", "0 9 * * *")
    assert ("09:00" in told.out, "Tokyo" in told.out) == (True, True), told.out
    told = await schedctl(server, "preview", "nobody", "--holiday", "JP")
    assert (told.code, told.err) == (3, "NOT_FOUND: there is no job 'nobody'\n")


async def test_a_schedule_is_previewed_with_all_that_the_options_of_a_job_say_of_it(server: Running) -> None:
    new_years_eve = ("--cron", "0 9 * * *", "--holiday", "US", "--from", "2029-12-31")
    told = await schedctl(server, "preview", *new_years_eve, "-o", "name", "-n", "2")
    assert told.lines == ["2029-12-31T09:00:00Z", "2030-01-02T09:00:00Z"]
    told = await schedctl(server, "preview", "--every", "1h", "--max-runs", "2", "-o", "name")
    assert len(told.lines) == 2
    told = await schedctl(server, "preview", "--every", "1h", "--jitter", "5m")
    assert "warning: schedule_config.jitter: when a fire goes out depends on the job" in told.err
    told = await schedctl(server, "describe", "--cron", "0 9 * * *", "--holiday", "US", "--jitter", "5m")
    assert ("US holidays" in told.out, "put off by less than 5 minutes" in told.out) == (True, True), told.out
    told = await schedctl(server, "preview", "--every", "1h", "--holiday", "ZZ")
    assert (told.code, told.err.startswith("--holiday: ")) == (4, True), told.err
    told = await schedctl(server, "preview", "--jitter", "5m")
    assert (told.code, "go with a schedule: --cron, --every or --at" in told.err) == (2, True)


async def test_a_schedule_that_fires_first_in_more_than_a_year_is_warned_about(server: Running) -> None:
    job = ("jobs", "create", *PRICES)
    far = "warning: it fires next at 2096-02-29T00:00:00Z, more than a year from now\n"
    for command in (("preview",), (*job, "--validate-only"), job):
        told = await schedctl(server, *command, "--at", "2096-02-29T00:00:00Z", "-o", "json")
        assert (told.code, told.err, len(told.json)) == (0, far, 1)
        told = await schedctl(server, *command, "--cron", "@yearly")
        assert (told.code, told.err) == (0, "")
    told = await schedctl(server, "preview", "--cron", "@yearly", "--from", "2096-01-01T00:00:00Z")
    assert (told.code, told.err) == (0, ""), "it was asked for"


async def test_a_single_time_without_an_offset_is_by_the_zone_that_is_named(server: Running) -> None:
    for zone, told in (("America/New_York", "2030-07-01T12:00:00Z"), ("", "2030-07-01T08:00:00Z")):
        found = await schedctl(server, "preview", "--at", "2030-07-01T08:00", "--tz", zone, "-o", "name")
        assert found.lines == [told], found.err
    found = await schedctl(server, "preview", "--at", "2030-07-01T08:00Z", "--tz", "America/New_York", "-o", "name")
    assert found.lines == ["2030-07-01T08:00:00Z"]


async def test_a_job_tells_when_it_fires_next(server: Running) -> None:
    await server.create(job_id="prices")
    told = await schedctl(server, "jobs", "next", "prices", "-n", "3")
    assert (told.code, len(told.lines)) == (0, 5)
    assert all("T10:00:00Z" in line for line in told.lines[2:])
    assert (await schedctl(server, "jobs", "next", "nobody")).code == 3


async def test_a_schedule_is_said_in_plain_words(server: Running) -> None:
    told = await schedctl(server, "describe", "--cron", "0 8 * * MON-FRI")
    assert (told.code, "Monday through Friday" in told.out) == (0, True)
    await server.create(job_id="prices")
    assert "10:00" in (await schedctl(server, "describe", "prices", "--json")).json[0]["description"]


@pytest.mark.parametrize("command", ["preview", "describe"])
async def test_a_schedule_or_a_job_has_to_be_named(server: Running, command: str) -> None:
    assert (await schedctl(server, command)).code == 2
    told = await schedctl(server, command, "--cron", "0 25 * * *")
    assert (told.code, "'25' is not an hour" in told.err) == (4, True)


async def test_an_occurrence_is_explained_by_the_jobs_clock_or_as_an_instant(server: Running) -> None:
    await server.create(job_id="prices")
    for when in ("2030-01-01T10:00", "2030-01-01 10:00", "2030-01-01T10:00Z", "2030-01-01T11:00+01:00"):
        told = await schedctl(server, "explain", "prices", when)
        assert told.code == 0
        assert "still to come" in told.lines[0]
        assert told.lines[1].split() == ["verdict", "UPCOMING"]
        assert "+00:00" not in told.out
        assert (await schedctl(server, "explain", "prices", when, "-o", "name")).out == "", "it has no execution"
    today = await schedctl(server, "explain", "prices", "10:00", "-o", "json")
    assert today.json[0]["local_time"][10:16] == "T10:00"
    for when, meant in (("8:00", "T08:00:00"), ("8:00:00", "T08:00:00"), ("08:00:01", "T08:00:01")):
        told = await schedctl(server, "explain", "prices", when, "-o", "json")
        assert (told.code, told.json[0]["local_time"][10:19]) == (0, meant), told.err
    told = await schedctl(server, "explain", "prices", "2030-01-01T11:00", "-o", "yaml")
    assert yaml.safe_load(told.out)["verdict"] == "VERDICT_NO_OCCURRENCE"
    for when in ("-2h", "+30m"):
        told = await schedctl(server, "explain", "prices", when, "-o", "json")
        assert (told.code, told.json[0]["verdict"]) == (0, "VERDICT_NO_OCCURRENCE"), told.err
    await schedctl(server, "jobs", "delete", "prices", "--yes")
    gone = await schedctl(server, "explain", "prices", "10:00", "-o", "json")
    assert (gone.code, gone.json[0]["local_time"]) == (0, today.json[0]["local_time"]), "deleted jobs are explained too"
    told = await schedctl(server, "explain", "prices", "-x")
    assert (told.code, "No such option: -x" in told.err) == (2, True)
    told = await schedctl(server, "explain", "prices", "yesterday")
    assert (told.code, "'yesterday' is not a time" in told.err) == (2, True)
    told = await schedctl(server, "explain", "prices", "99:99")
    assert (told.code, "'99:99' is not a time" in told.err) == (2, True), told.err


async def test_a_time_without_an_offset_is_by_the_jobs_clock_however_it_is_written(server: Running) -> None:
    tokyo = pb.ScheduleConfig(type="cron", config={"expression": "0 10 * * *"}, timezone="Asia/Tokyo")
    await server.create(job_id="prices", schedule_config=tokyo)
    for when in ("2030-01-01T10:00", "2030-01-01t10:00", "2030-01-01T10", "20300101T1000", "2030-01-01 10:00:00.000"):
        told = await schedctl(server, "explain", "prices", when, "-o", "json")
        assert (told.code, told.json[0]["local_time"]) == (0, "2030-01-01T10:00:00+09:00"), when
    told = await schedctl(server, "occurrences", "move", "prices", "2030-01-01T10:00", "2030-01-01T12:00:00.5")
    assert (told.code, "has a fraction of a second" in told.err) == (2, True), told.err
    assert not (await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="prices"))).occurrence_changes


async def test_the_form_shows_when_the_job_would_fire_and_asks_again_for_a_schedule_that_is_none(
    server: Running,
) -> None:
    wrong = [("Schedule (", "0 25 * * *"), ("Time zone", "UTC"), ("'25' is not an hour", "")]
    told = await on_terminal(server, "jobs", "create", answers=[*FORM[:6], *wrong, *FORM[6:]])
    assert (told.code, "New York time" in told.out) == (0, True), told.out
    assert len(re.findall(r"T08:00:00-0[45]:00", told.out)) == 5
