"""`schedctl jobs`: a job's life, as somebody at a terminal or a script goes through it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scheduler_service.services.scheduler import SchedulerService
from tests.integration.test_cli_harness import schedctl

if TYPE_CHECKING:
    from tests.integration.test_server_harness import Running

ROOT = Path(__file__).resolve().parents[2]
PRICES = (
    "--name", "Prices", "--type", "SCRAPING", "--target", "scraper-service", "--method", "ScrapeCompetitorPrices",
    "--parameters", '{"competitor_ids": ["amazon"]}',
)  # fmt: skip


async def test_a_job_is_created_by_options_shown_paused_resumed_and_deleted(server: Running) -> None:
    made = await schedctl(
        server, "jobs", "create", "prices", *PRICES, "--cron", "0 8 * * *", "--tz", "America/New_York",
        "--label", "team=pricing",
    )  # fmt: skip
    assert (made.code, made.out, made.err) == (0, "the job prices is created\n", "")
    shown = await schedctl(server, "jobs", "list")
    assert shown.lines[0].split() == ["job", "state", "schedule", "target", "queue", "labels", "name"]
    assert "prices  ACTIVE  0 8 * * * America/New_York" in shown.lines[1]
    assert "team=pricing" in shown.lines[1]
    facts = (await schedctl(server, "jobs", "get", "prices")).out
    assert "scraper-service ScrapeCompetitorPrices" in facts
    assert facts.count("T1") + facts.count("T0") >= 5, "the next fires"
    assert (await schedctl(server, "jobs", "pause", "prices", "--reason", "sale")).out == "the job prices is paused\n"
    assert "PAUSED" in (await schedctl(server, "jobs", "list")).out
    assert (await schedctl(server, "jobs", "resume", "prices")).code == 0
    assert (await schedctl(server, "jobs", "delete", "prices", "--yes")).out == "the job prices is deleted\n"
    gone = await schedctl(server, "jobs", "get", "prices")
    assert (gone.code, gone.out) == (3, "")
    assert "NOT_FOUND" in gone.err


async def test_a_job_tells_its_fires_by_its_own_clock_and_what_does_not_go_as_it_says(server: Running) -> None:
    zone = ("--cron", "0 8 * * *", "--tz", "Asia/Tokyo")
    assert (await schedctl(server, "jobs", "create", "prices", *PRICES, *zone)).code == 0
    fires = (await schedctl(server, "jobs", "next", "prices", "-n", "2", "-o", "name")).lines
    await schedctl(server, "occurrences", "skip", "prices", fires[0], "--reason", "sale", "--yes")
    later = fires[1].replace("T23:", "T22:")
    await schedctl(server, "occurrences", "move", "prices", fires[1], later, "--yes")
    facts = (await schedctl(server, "jobs", "get", "prices")).out
    assert re.search(rf"{later} \(\S+T07:00:00\+09:00\)\n", facts)
    assert re.search(rf"{fires[0]} \(\S+T08:00:00\+09:00\) is left out, by \S+: sale\n", facts)
    assert re.search(rf"{fires[1]} \(\S+\) runs at {later} \(\S+T07:00:00\+09:00\), by ", facts)


async def test_a_job_tells_what_becomes_of_late_and_overlapping_runs(server: Running) -> None:
    made = ("jobs", "create", "prices", *PRICES, "--every", "1h", "--expires", "2h", "--priority", "7")
    assert (await schedctl(server, *made)).code == 0
    said = {"late by 1m": "fire_latest", "while one runs": "skip", "expires": "2h", "priority": "7"}
    assert await facts(server, *said) == said
    changes = ("--misfire", "fire_all", "--overlap", "buffer_all", "--jitter", "90s", "--max-runs", "3")
    assert (await schedctl(server, "jobs", "update", "prices", *changes, "--holiday", "US")).code == 0
    said = {
        "late by 1m": "fire_all, at most 100", "while one runs": "buffer_all, at most 100",
        "put off by up to": "1m30s", "ends after": "3 runs", "not on holidays of": "US",
    }  # fmt: skip
    assert await facts(server, *said) == said


async def facts(server: Running, *headings: str) -> dict[str, str]:
    """Return what `jobs get` tells under these headings."""
    lines = (await schedctl(server, "jobs", "get", "prices")).lines
    return {name: line.removeprefix(name).strip() for line in lines for name in headings if line.startswith(name)}


async def test_whole_numbers_are_told_as_such(server: Running) -> None:
    document = '{"competitor_ids": ["amazon"], "max_products": 50}'
    made = await schedctl(server, "jobs", "create", "prices", *PRICES, "--parameters", document, "--every", "1h")
    assert made.code == 0, made.err
    assert "max_products: 50\n" in (await schedctl(server, "jobs", "get", "prices", "-o", "yaml")).out
    assert re.search('"max_products": 50[,}]', (await schedctl(server, "jobs", "get", "prices", "--json")).out)


async def test_a_job_that_is_only_checked_has_the_id_it_was_given_or_none(server: Running) -> None:
    check = ("jobs", "create", *PRICES, "--every", "1h", "--validate-only")
    assert (await schedctl(server, *check)).out == "the job would be accepted\n"
    assert (await schedctl(server, *check, "-o", "name")).out == ""
    assert (await schedctl(server, *check, "prices")).out == "the job prices would be accepted\n"


async def test_programs_get_json_yaml_or_names(server: Running) -> None:
    for name in ("one", "two"):
        await server.create(job_id=name, labels={"team": "pricing"})
    found = (await schedctl(server, "jobs", "list", "-o", "json")).json
    assert [(job["job_id"], job["state"]) for job in found] == [("two", "STATE_ACTIVE"), ("one", "STATE_ACTIVE")]
    assert (await schedctl(server, "jobs", "list", "-o", "name")).lines == ["two", "one"]
    assert (await schedctl(server, "jobs", "list", "--json", "--limit", "1")).json[0]["job_id"] == "two"
    documents = list(yaml.safe_load_all((await schedctl(server, "jobs", "list", "-o", "yaml")).out))
    assert [job["labels"] for job in documents] == [{"team": "pricing"}] * 2
    assert yaml.safe_load((await schedctl(server, "jobs", "get", "one", "-o", "yaml")).out)["job_id"] == "one"


async def test_a_list_says_when_there_is_more(server: Running) -> None:
    for number in range(3):
        await server.create(job_id=f"job-{number}")
    told = await schedctl(server, "jobs", "list", "--limit", "2")
    assert (len(told.lines), told.err) == (3, "and more: --limit shows more than 2\n")
    assert (await schedctl(server, "jobs", "list", "--limit", "3")).err == ""


async def test_a_job_is_created_from_a_file_of_the_form_of_the_preconfigured_ones(
    server: Running, tmp_path: Path
) -> None:
    job = {
        "job_id": "from-file",
        "name": "Prices",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "parameters": {},
        "schedule_config": {"type": "cron", "config": {"hour": 8, "minute": 0}},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump({"jobs": [job]}))
    made = await schedctl(server, "jobs", "create", "-f", str(file), "-o", "json")
    assert (made.json[0]["job_id"], made.json[0]["schedule_config"]["config"]) == (
        "from-file", {"hour": "8", "minute": "0"},
    )  # fmt: skip
    assert made.code == 0
    again = await schedctl(server, "jobs", "create", "-f", "-", typed=json.dumps(job))
    assert again.code == 5
    assert "ALREADY_EXISTS" in again.err


async def test_what_becomes_of_late_overlapping_and_failed_runs_is_said_by_options(server: Running) -> None:
    told = await schedctl(
        server, "jobs", "create", "prices", *PRICES, "--every", "1h", "--timeout", "90s", "--attempts", "2",
        "--backoff", "1m30s", "--misfire", "skip", "--overlap", "buffer_one", "-o", "json",
    )  # fmt: skip
    (job,) = told.json
    assert (job["timeout"], job["retry_policy"]["max_attempts"]) == ("90s", 2)
    assert job["retry_policy"]["initial_backoff"] == "90s"
    assert (job["policies"]["misfire"], job["policies"]["overlap"]) == ("MISFIRE_SKIP", "OVERLAP_BUFFER_ONE")


async def test_what_a_schedule_and_the_queue_make_of_it_is_said_by_options(server: Running) -> None:
    told = await schedctl(
        server, "jobs", "create", "prices", *PRICES, "--cron", "0 8 * * *", "--jitter", "5m", "--max-runs", "3",
        "--holiday", "DE-BY", "--holiday", "US", "--priority", "0", "--expires", "2h", "-o", "json",
    )  # fmt: skip
    (job,) = told.json
    schedule = job["schedule_config"]
    assert (schedule["jitter"], schedule["max_runs"], schedule["exclusions"]["holidays"]) == (
        "300s", "3", ["DE-BY", "US"],
    )  # fmt: skip
    assert (job.get("priority", 0), job["expires"]) == (0, "7200s")
    (set_,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert len(set_["next_fire_times"]) == 3
    assert set_ | {"next_fire_times": []} == job


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--jitter", "5m"), 2, "--jitter, --max-runs, --holiday and --tz go with a schedule"),
        (("--every", "1h", "--tz", "Mars"), 4, "--tz: 'Mars' is not an IANA time zone"),
        (("--every", "1h", "--priority", "10"), 4, "--priority: 10 is not a priority"),
        (("--cron", "0 8 * * *", "--holiday", "XX"), 4, "--holiday: 'XX' is not a country"),
        (("--every", "1h", "--jitter", "2d"), 4, "--jitter: "),
    ],
)
async def test_what_is_wrong_with_a_job_is_told_of_its_option(
    server: Running, arguments: tuple[str, ...], code: int, said: str
) -> None:
    told = await schedctl(server, "jobs", "create", "prices", *PRICES, *arguments)
    assert (told.code, told.out) == (code, "")
    assert told.err.startswith(said)


async def test_options_change_what_they_name_of_a_job_and_nothing_else(server: Running) -> None:
    await schedctl(
        server, "jobs", "create", "prices", *PRICES, "--cron", "0 8 * * *", "--tz", "Asia/Tokyo", "--jitter", "5m",
        "--holiday", "US", "--label", "team=pricing", "--label", "tier=1", "--attempts", "2", "--backoff", "1500ms",
        "--misfire", "skip", "--expires", "2h",
    )  # fmt: skip
    (before,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    told = await schedctl(
        server, "jobs", "update", "prices", "--cron", "0 9 * * *", "--max-runs", "7", "--label", "tier=2",
        "--backoff", "90s", "--overlap", "allow", "--description", "By nine", "--clear", "expires",
    )  # fmt: skip
    assert (told.code, told.out, told.err) == (0, "the job prices is changed\n", "")
    (after,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    schedule = before["schedule_config"] | {"config": {"expression": "0 9 * * *"}, "max_runs": "7"}
    assert after["schedule_config"] == schedule
    assert (after["labels"], after["description"]) == ({"team": "pricing", "tier": "2"}, "By nine")
    assert after["retry_policy"] == before["retry_policy"] | {"initial_backoff": "90s"}
    assert after["policies"] == before["policies"] | {"overlap": "OVERLAP_ALLOW"}
    assert "expires" in before
    assert "expires" not in after
    same = ("name", "target_service", "target_method", "parameters", "job_type", "queue", "priority", "timeout")
    assert [after.get(name) for name in same] == [before.get(name) for name in same]


async def test_a_zone_alone_moves_a_cron_schedule_and_another_type_takes_nothing_over(server: Running) -> None:
    await schedctl(server, "jobs", "create", "prices", *PRICES, "--cron", "0 8 * * *", "--jitter", "5m")
    (before,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    told = await schedctl(server, "jobs", "update", "prices", "--tz", "Asia/Tokyo", "-o", "json")
    assert told.json[0]["schedule_config"] == before["schedule_config"] | {"timezone": "Asia/Tokyo"}
    told = await schedctl(server, "jobs", "update", "prices", "--every", "2h", "-o", "json")
    schedule = told.json[0]["schedule_config"]
    assert (schedule["type"], schedule["config"], "jitter" in schedule) == ("interval", {"every": "2h"}, False)


async def test_a_zone_says_on_which_day_an_interval_or_a_single_time_meets_a_holiday(server: Running) -> None:
    on_the_4th = (*PRICES, "--at", "2030-07-04T23:30:00-04:00", "--holiday", "US")
    told = await schedctl(server, "jobs", "create", "prices", *on_the_4th, "--tz", "America/New_York")
    assert (told.code, "they leave no occurrence" in told.err) == (4, True), told.err
    assert (await schedctl(server, "jobs", "create", "prices", *on_the_4th)).code == 0, "by UTC it is the 5th"
    told = await schedctl(server, "jobs", "create", "hourly", *PRICES, "--every", "1h", "--tz", "Asia/Tokyo")
    assert told.code == 0, told.err
    told = await schedctl(server, "jobs", "update", "hourly", "--tz", "America/New_York", "-o", "json")
    schedule = told.json[0]["schedule_config"]
    assert (schedule["config"], schedule["timezone"]) == ({"every": "1h"}, "America/New_York")
    told = await schedctl(
        server, "jobs", "create", "single", *PRICES, "--at", "2030-07-01T08:00", "--tz", "America/New_York"
    )
    assert told.code == 0, told.err
    told = await schedctl(server, "jobs", "get", "single")
    assert "at 2030-07-01T08:00:00 America/New_York" in told.out
    (job,) = (await schedctl(server, "jobs", "get", "single", "-o", "json")).json
    assert job["next_fire_times"] == ["2030-07-01T12:00:00Z"]
    assert (await schedctl(server, "jobs", "update", "single", "--at", "2030-07-02T09:00")).code == 0
    told = await schedctl(server, "jobs", "get", "single")
    assert "at 2030-07-02T09:00:00 America/New_York" in told.out, "by the clock that it has"


async def test_no_holidays_take_them_back(server: Running) -> None:
    await schedctl(server, "jobs", "create", "prices", *PRICES, "--cron", "0 8 * * *", "--holiday", "US")
    told = await schedctl(server, "jobs", "update", "prices", "--holiday", "", "-o", "json")
    assert told.code == 0, told.err
    assert told.json[0]["schedule_config"]["exclusions"]["holidays"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "say by options what to change"),
        (("--queue", "manual", "--clear", "queue"), 2, "what is to become of queue is said twice"),
        (("--cron", "61 * * * *"), 4, "--cron: "),
        (("--tz", "Mars"), 4, "--tz: "),
        (("--clear", "colour"), 2, "'colour' is not one of name, "),
    ],
)
async def test_a_change_that_can_not_be_made_changes_nothing(
    server: Running, arguments: tuple[str, ...], code: int, said: str
) -> None:
    await schedctl(server, "jobs", "create", "prices", *PRICES, "--every", "1h")
    (before,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    told = await schedctl(server, "jobs", "update", "prices", *arguments)
    assert (told.code, told.out) == (code, "")
    assert said in told.err
    assert (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json == [before]


async def test_a_change_is_only_checked_when_that_is_asked_for(server: Running) -> None:
    await schedctl(server, "jobs", "create", "prices", *PRICES, "--every", "1h")
    told = await schedctl(server, "jobs", "update", "prices", "--name", "New", "--validate-only")
    assert told.out == "the job prices would be changed\n"
    assert (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json[0]["name"] == "Prices"
    assert (await schedctl(server, "jobs", "update", "nosuch", "--name", "New")).code == 3


async def test_options_beside_a_file_go_before_what_it_says(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        """
        name: Prices
        target_service: scraper-service
        target_method: ScrapeCompetitorPrices
        parameters: {competitor_ids: [amazon], max_products: 5}
        schedule_config: {type: cron, config: {hour: 8, minute: 0}}
        policies: {misfire: MISFIRE_SKIP, overlap: OVERLAP_ALLOW}
        retry_policy: {max_attempts: 3, initial_backoff: 1.5s}
        """
    )
    told = await schedctl(
        server, "jobs", "create", "prices", "-f", str(file), "--parameters", '{"max_products": 6}', "--every", "1h",
        "--overlap", "skip", "--backoff", "90s", "-o", "json",
    )  # fmt: skip
    (job,) = told.json
    assert (job["retry_policy"]["max_attempts"], job["retry_policy"]["initial_backoff"]) == (3, "90s")
    assert (job["name"], job["parameters"]) == ("Prices", {"max_products": 6})
    assert job["schedule_config"]["config"] == {"every": "1h"}
    assert (job["policies"]["misfire"], job["policies"]["overlap"]) == ("MISFIRE_SKIP", "OVERLAP_SKIP")


async def test_a_whole_number_that_a_message_cannot_hold_is_refused_and_not_rounded(server: Running) -> None:
    said = "9007199254740993 is too large for a JSON number, which is exact below 2^53; write it as a string"
    parameters = '{"competitor_ids": ["amazon"], "max_products": 9007199254740993}'
    told = await schedctl(server, "jobs", "create", "prices", *PRICES, "--parameters", parameters, "--every", "1h")
    assert (told.code, said in told.err) == (2, True)
    told = await schedctl(server, "jobs", "create", "prices", "-f", "-", typed=f"name: x\nparameters: {parameters}")
    assert (told.code, told.err) == (2, f"{said}\n")
    told = await schedctl(server, "jobs", "create", *PRICES, "--every", "1h", "--parameters", f'{{"a": 1{"0" * 400}}}')
    assert (told.code, "it is no JSON object" in told.err) == (2, True)


async def test_parameters_that_say_a_value_twice_are_refused(server: Running) -> None:
    parameters = '{"competitor_ids": ["amazon"], "max_products": 1, "max_products": 2}'
    told = await schedctl(server, "jobs", "create", "prices", *PRICES, "--parameters", parameters, "--every", "1h")
    assert (told.code, "the key 'max_products' is there twice" in told.err) == (2, True)


async def test_workflows_and_exclusions_come_by_a_file(server: Running) -> None:
    document = """
        name: Prices of business days
        schedule_config:
          type: cron
          config: {expression: 0 8 * * *}
          exclusions: {holidays: [US]}
        workflow:
          steps:
          - {name: scrape, target_service: scraper-service, target_method: ScrapeCompetitorPrices}
        """
    told = await schedctl(server, "jobs", "create", "prices", "-f", "-", typed=document)
    assert told.code == 0, told.err
    assert "workflow of 1 step" in (await schedctl(server, "jobs", "list")).out
    (job,) = (await schedctl(server, "jobs", "get", "prices", "--json")).json
    assert job["schedule_config"]["exclusions"]["holidays"] == ["US"]


async def test_a_type_is_taken_in_either_case(server: Running) -> None:
    arguments = [word.lower() if word == "SCRAPING" else word for word in PRICES]
    assert arguments != list(PRICES)
    told = await schedctl(server, "jobs", "create", "x", *arguments, "--every", "1h", "-o", "json")
    assert (told.code, told.json[0]["job_type"]) == (0, "SCRAPING"), told.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("jobs", "create", "x", *PRICES, "--cron", "0 25 * * *"), 4, "--cron: "),
        (("jobs", "create", "x", *PRICES, "--cron", "0 8 * * *", "--cron", "0 25 * * *"), 4, "--cron: "),
        (("jobs", "create", "x", *PRICES, "--cron", "0 8 * * *", "--tz", "Mars"), 4, "--tz: "),
        (("preview", "--every", "soon"), 4, "--every: "),
        (("jobs", "create", "x"), 4, "--target: "),
        (("jobs", "create", "x", "--cron", "@daily", "--every", "1h"), 2, "--cron and --every say different"),
        (("jobs", "create", "x", "--parameters", "{"), 2, "'--parameters': it is no JSON object"),
        (("jobs", "create", "x", "--label", "team"), 2, "'team': expected KEY=VALUE"),
        (("jobs", "create", "x", *PRICES, "--every", "1h", "--label", f"team={'x' * 300}"), 4, "--label: "),
        (
            ("jobs", "create", "x", "--type", "BAKING", "--every", "1h"),
            2,
            "'BAKING' is not one of scraping, ",
        ),
        (("jobs", "create", "-f", "nowhere.yaml"), 2, "nowhere.yaml can't be read: No such file"),
        (("jobs", "pause", "nobody"), 3, "NOT_FOUND: there is no job 'nobody'"),
        (("jobs", "frobnicate"), 2, "No such command 'frobnicate'"),
        (("job", "list"), 2, "Did you mean 'jobs'"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else None,
)
async def test_what_is_wrong_is_said_and_told_by_the_exit_code(
    server: Running, arguments: tuple[str, ...], code: int, said: str
) -> None:
    told = await schedctl(server, *arguments)
    assert (told.code, told.out) == (code, "")
    assert said in told.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("jobs", "create", *PRICES, "--every", "1h", "--attempts", "99999999999"), "'--attempts'"),
        (("jobs", "create", *PRICES, "--every", "1h", "--timeout", "99999999999999h"), "'--timeout'"),
        (("jobs", "create", *PRICES, "--every", "1h", "--timeout", f"{'9' * 400}h"), "'--timeout'"),
        (("jobs", "next", "prices", "-n", "99999999999"), "'--count' / '-n'"),
        (("preview", "prices", "-n", "99999999999"), "'--count' / '-n'"),
        (("preview", "prices", "--from", "+99999999d"), "'--from'"),
        (("jobs", "list", "-n", "99999999999999999999"), "'--limit' / '-n'"),
        (
            ("backfills", "create", "prices", "--from", "-2h", "--to", "now", "--parallel", "99999999999"),
            "'--parallel'",
        ),
        (("doctor", "--timeout", "1e30"), "'--timeout'"),
        (("doctor", "--timeout", "nan"), "'--timeout'"),
        (("targets", "test", "scraper-service", "--timeout", "inf"), "'--timeout'"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
async def test_a_number_that_no_message_holds_is_refused_by_its_options_name(
    server: Running, arguments: tuple[str, ...], option: str
) -> None:
    told = await schedctl(server, *arguments)
    assert (told.code, told.out) == (2, "")
    assert f"Invalid value for {option}" in told.err


async def test_an_interval_that_is_too_large_is_said_to_be(server: Running) -> None:
    told = await schedctl(server, "preview", "--every", "999999999999999999h")
    assert (told.code, "--every: '999999999999999999h' is too large" in told.err) == (4, True), told.err


async def test_of_several_jobs_it_is_said_which_were_done_when_one_is_refused(server: Running) -> None:
    for name in ("one", "two", "three"):
        await server.create(job_id=name)
    told = await schedctl(server, "jobs", "pause", "one", "nosuch", "two", "three")
    assert (told.code, told.out) == (3, "the job one is paused\n")
    assert told.err.splitlines() == [
        "nosuch is refused; done before it: one; not done after it: two, three",
        "NOT_FOUND: there is no job 'nosuch'",
    ]
    told = await schedctl(server, "jobs", "delete", "nosuch", "two", "--yes")
    assert told.err.startswith("nosuch is refused; done before it: none; not done after it: two\n")
    assert set((await schedctl(server, "jobs", "list", "-o", "name")).lines) == {"one", "two", "three"}


async def test_all_that_the_server_refuses_is_said_a_line_each(server: Running) -> None:
    told = await schedctl(server, "jobs", "create", "Wrong!", *PRICES, "--cron", "0 25 * * *")
    assert (told.code, len(told.err.splitlines())) == (4, 2)


async def test_deleting_asks_first_and_no_answer_is_no(server: Running) -> None:
    await server.create(job_id="one")
    await server.create(job_id="two")
    for typed in ("", "n\n"):
        told = await schedctl(server, "jobs", "delete", "one", "two", typed=typed)
        assert (told.code, told.out) == (2, "")
        assert "Delete 2 jobs?" in told.err
        assert "nothing was done; --yes does it without asking" in told.err
    assert (await schedctl(server, "jobs", "delete", "one", typed="y\n")).code == 0
    assert (await schedctl(server, "jobs", "list", "-o", "name")).lines == ["two"]


async def test_a_job_is_run_and_its_history_shown(server: Running) -> None:
    await server.create(job_id="prices")
    ran = await schedctl(server, "jobs", "run", "prices", "--request-id", "r", "-o", "name")
    again = await schedctl(server, "jobs", "run", "prices", "--request-id", "r", "-o", "name")
    assert (ran.code, ran.out) == (0, again.out)
    heading, line = (await schedctl(server, "jobs", "history", "prices")).lines
    assert heading.startswith("nominal time")
    assert ran.out.strip() in line
    assert "MANUAL" in line
    assert (await schedctl(server, "jobs", "history", "prices", "--failed")).out == ""


async def test_a_repeated_run_tells_what_has_become_of_the_first(server: Running) -> None:
    await server.create(job_id="prices")
    run = ("jobs", "run", "prices", "--request-id", "r")
    name = (await schedctl(server, *run, "-o", "name")).out.strip()
    assert (await schedctl(server, *run)).out == f"{name} is on its way\n"
    assert (await schedctl(server, "executions", "cancel", name, "--yes")).code == 0
    ended = (await schedctl(server, "executions", "get", name, "-o", "json")).json
    told = await schedctl(server, *run)
    assert (told.code, told.err) == (0, "")
    assert re.fullmatch(rf"{name} has ended: CANCELLED at \S+Z\n", told.out), told.out
    assert (await schedctl(server, *run, "-o", "json")).json == ended


async def test_all_that_fit_a_filter_are_paused_and_resumed_after_asking(server: Running) -> None:
    for name, team in (("one", "pricing"), ("two", "pricing"), ("three", "other")):
        await server.create(job_id=name, labels={"team": team})
    arguments = ("--filter", 'labels.team = "pricing"')
    told = await schedctl(server, "jobs", "pause", *arguments, typed="n\n")
    assert (told.code, "Pause 2 jobs?" in told.err) == (2, True)
    told = await schedctl(server, "jobs", "pause", *arguments, typed="y\n")
    assert (told.code, told.lines[-1]) == (0, "2 fit, 2 changed, 0 refused")
    told = await schedctl(server, "jobs", "list", "--filter", "state = PAUSED", "-o", "name")
    assert set(told.lines) == {"one", "two"}
    told = await schedctl(server, "jobs", "resume", *arguments, "--yes", "-o", "name")
    assert (told.code, set(told.lines)) == (0, {"one", "two"})
    for command in ("pause", "resume"):
        told = await schedctl(server, "jobs", command, "--filter", 'labels.team = "nosuch"')
        assert (told.code, told.out, told.err) == (0, "0 fit, 0 changed, 0 refused\n", ""), "there is nothing to ask"
    for wrong in (("jobs", "pause"), ("jobs", "pause", "one", *arguments)):
        assert (await schedctl(server, *wrong)).code == 2


@pytest.fixture
def minutes_given(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many minutes, rounded, the calls about many jobs were given that a server, started after this, has got."""
    given: dict[str, int] = {}
    many = ("BatchCreateScheduledJobs", "BatchPauseScheduledJobs", "BatchResumeScheduledJobs", "ImportScheduledJobs")
    for method in many:
        answer = getattr(SchedulerService, method)

        async def noted(self: Any, request: Any, context: Any, answer: Any = answer, method: str = method) -> Any:
            given[method] = round(context.time_remaining() / 60)
            return await answer(self, request, context)

        monkeypatch.setattr(SchedulerService, method, noted)
    return given


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("BatchPauseScheduledJobs", ("jobs", "pause", "--filter", "state = ACTIVE", "--yes")),
        ("BatchResumeScheduledJobs", ("jobs", "resume", "--filter", "state = PAUSED")),
        ("BatchCreateScheduledJobs", ("jobs", "create", "-f", "config/jobs.yaml", "--validate-only")),
        ("ImportScheduledJobs", ("diff", "-f", "config/jobs.yaml")),
        ("ImportScheduledJobs", ("apply", "-f", "config/jobs.yaml")),
    ],
)
async def test_a_call_about_many_jobs_is_given_minutes_as_a_busy_server_may_need(
    minutes_given: dict[str, int], server: Running, method: str, arguments: tuple[str, ...]
) -> None:
    words = [str(ROOT / word) if word.endswith(".yaml") else word for word in arguments]
    told = await schedctl(server, *words)
    assert told.code in {0, 1}, told.err
    assert minutes_given == {method: 10}


async def test_a_file_of_several_jobs_creates_each_by_itself(server: Running, tmp_path: Path) -> None:
    entry = {
        "name": "Prices",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "schedule_config": {"type": "interval", "config": {"hours": 1}},
    }
    file = tmp_path / "jobs.yaml"
    wrong = {"schedule_config": {"type": "interval", "config": {"every": "often"}}}
    file.write_text(yaml.safe_dump({"jobs": [entry | {"job_id": "one"}, entry | {"job_id": "two"} | wrong]}))
    told = await schedctl(server, "jobs", "create", "-f", str(file))
    assert (told.code, told.out) == (2, "one\n")
    assert told.err.startswith("two: INVALID_ARGUMENT: ")
    assert (await schedctl(server, "jobs", "list", "-o", "name")).lines == ["one"]
    assert (await schedctl(server, "jobs", "create", "-f", str(file))).code == 2, "refused for different reasons"
    file.write_text(yaml.safe_dump({"jobs": [entry | {"job_id": "one"}, entry | {"job_id": "three"}]}))
    assert (await schedctl(server, "jobs", "create", "-f", str(file))).code == 2, "one of them is created"
    assert (await schedctl(server, "jobs", "create", "-f", str(file))).code == 5, "all are taken, as one would be"
    told = await schedctl(server, "jobs", "create", "-f", str(file), "--queue", "scraping")
    assert (told.code, "the file holds several jobs" in told.err) == (2, True), "of which is the option?"


# In the editor


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an editor of a sed script, and of what happens while it is open; return the environment that names it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(script: str, meanwhile: str = "") -> dict[str, str]:
        file = tmp_path / "editor"
        file.write_text(f'#!/bin/sh\nsed -i {script} "$1"\n{meanwhile}\n')
        file.chmod(0o755)
        return {"EDITOR": str(file), "VISUAL": ""}

    return make


async def test_a_job_is_changed_in_the_editor(server: Running, editor: Any) -> None:
    await server.create(job_id="prices", labels={"team": "pricing"}, description="old")
    told = await schedctl(
        server, "jobs", "edit", "prices", environment=editor("-e 's/old/new/' -e '/^labels/d' -e '/team/d'")
    )
    assert (told.code, told.out) == (0, "the job prices is changed\n")
    (job,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert (job["description"], job["labels"], job["name"]) == ("new", {}, "Prices")


async def test_a_1_becomes_true_in_the_editor(server: Running, editor: Any) -> None:
    await server.create(job_id="prices", parameters={"competitor_ids": ["a"], "max_products": 1})
    told = await schedctl(
        server, "jobs", "edit", "prices", environment=editor("'s/max_products: 1/max_products: true/'")
    )
    assert (told.code, "parameters.max_products" in told.err) == (4, True), told


async def test_without_a_terminal_no_editor_is_started_that_nobody_named(server: Running) -> None:
    await server.create(job_id="prices")
    told = await schedctl(server, "jobs", "edit", "prices", environment={"EDITOR": "", "VISUAL": ""})
    assert (told.code, told.err) == (
        2,
        "there is no terminal to edit on; set EDITOR to a command that changes the file it is given\n",
    )


async def test_an_editor_that_removes_the_file_changes_nothing(server: Running, editor: Any) -> None:
    await server.create(job_id="prices")
    told = await schedctl(server, "jobs", "edit", "prices", environment=editor("'s/nothing/x/'", 'rm "$1"'))
    assert (told.code, told.err) == (
        2,
        "what the editor left can't be read: No such file or directory; nothing was changed\n",
    )


async def test_what_was_not_changed_or_is_empty_changes_nothing(server: Running, editor: Any) -> None:
    before = await server.create(job_id="prices")
    for script in ("'s/nothing/x/'", "'d'"):
        told = await schedctl(server, "jobs", "edit", "prices", environment=editor(script))
        assert (told.code, told.err) == (0, "nothing was changed\n")
    (job,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert job["etag"] == before.etag


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("'s/minute:.*/minute: \"61\"/'", "schedule_config.config.minute"),
        ("'s/^name:.*/nome: x/'", "no such field, or none that can be changed: nome"),
        ("'s/^name:.*/name: [/'", "it is not YAML"),
        ("'s/^name:.*/name: \\xe9/'", "it is not YAML"),
        ("'s/^name:.*/name: x\\nname: y/'", "the key 'name' is there twice"),
    ],
)
async def test_what_is_refused_after_editing_is_kept(
    server: Running, editor: Any, tmp_path: Path, script: str, said: str
) -> None:
    await server.create(job_id="prices")
    told = await schedctl(server, "jobs", "edit", "prices", environment=editor(script))
    assert told.code == 4
    assert said in told.err
    (kept,) = [word for word in told.err.split() if word.endswith(".yaml")]
    file = tmp_path / kept.rpartition("/")[2]
    assert kept == str(file)
    assert (b"\xe9" in file.read_bytes()) is ("xe9" in script)


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(server: Running, editor: Any) -> None:
    await server.create(job_id="prices", description="old")
    environment = editor("'s/old/mine/'", f"cd {ROOT} && {sys.executable} -m cli jobs pause prices")
    told = await schedctl(server, "jobs", "edit", "prices", environment=environment)
    assert told.code == 5
    assert "ABORTED" in told.err
    assert "what you wrote is in " in told.err
    (job,) = (await schedctl(server, "jobs", "get", "prices", "-o", "json")).json
    assert (job["description"], job["state"]) == ("old", "STATE_PAUSED")
