"""`schedctl targets`, `stats`, `queues`, `workers`, `forecast` and `doctor`, without brokers, workers and beats."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cli.forecast import bar, by_row
from tests.integration.test_cli_harness import schedctl

if TYPE_CHECKING:
    from tests.integration.test_server_harness import Running


async def test_targets_are_registered_listed_and_removed(server: Running) -> None:
    told = await schedctl(server, "targets", "register", "books", "books:50051", "--description", "all books")
    assert (told.code, told.out) == (0, "the target books is books:50051\n")
    assert told.err.startswith("warning: ")
    told = await schedctl(server, "targets", "list")
    assert "books:50051" in told.out
    assert "registered" in told.out
    assert "books" in (await schedctl(server, "targets", "list", "-o", "name")).lines
    told = await schedctl(server, "targets", "unregister", "books", "--validate-only")
    assert (told.code, told.out, told.err) == (0, "the target books would be removed\n", "")
    told = await schedctl(server, "targets", "unregister", "books", typed="n\n")
    assert (told.code, "Remove the target books?" in told.err) == (2, True)
    assert (await schedctl(server, "targets", "unregister", "books", "--yes")).code == 0
    assert (await schedctl(server, "targets", "unregister", "books", "--yes")).code == 3
    assert (await schedctl(server, "targets", "register", "scraper-service", "x:1")).code == 5
    assert (await schedctl(server, "targets", "register", "Books!", "nowhere")).code == 4


async def test_a_target_is_described_with_an_example_of_each_request(server: Running) -> None:
    told = await schedctl(server, "targets", "get", "scraper-service")
    assert told.code == 0
    assert "ScrapeCompetitorPrices (scraper.v1.ScraperService/ScrapeCompetitorPrices)" in told.lines
    assert "  competitor_ids  repeated string" in told.out
    assert '"competitor_ids": [' in told.out
    (found,) = (await schedctl(server, "targets", "get", "scraper-service", "-o", "json")).json
    assert found["target"]["name"] == "scraper-service"


async def test_a_target_that_does_not_answer_is_told_by_the_exit_code(server: Running) -> None:
    await schedctl(server, "targets", "register", "books", "books.invalid:50051")
    told = await schedctl(server, "targets", "test", "books", "--timeout", "0.5")
    assert (told.code, told.lines[0].split()) == (1, ["status", "UNREACHABLE"])


async def test_numbers_are_shown_also_when_there_are_none(server: Running) -> None:
    told = await schedctl(server, "stats", "--by", "job")
    assert (told.code, told.err) == (0, "")
    assert len(told.lines) == 1
    assert (await schedctl(server, "stats", "--window", "7m")).code == 4
    assert (await schedctl(server, "stats", "--window", "soon")).code == 2
    told = await schedctl(server, "stats", "--by", "colour")
    assert (told.code, "'colour' is not one of all, job, queue, target" in told.err) == (2, True)
    assert "scraping" in (await schedctl(server, "queues", "-o", "name")).lines
    assert (await schedctl(server, "workers")).code == 0


async def test_the_load_to_come_is_drawn(server: Running) -> None:
    await server.create(job_id="prices", schedule_config={"type": "interval", "config": {"every": "1m"}})
    soon = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    ask = ("forecast", "--from", soon.isoformat(), "--span", "1h", "--bucket", "10m")
    told = await schedctl(server, *ask)
    assert told.code == 0
    *rows, total = told.lines
    assert [row.split()[-1] for row in rows] == ["10"] * 6
    assert all(re.match(r"\w{3} \d\d:\d0 █+ ", row) for row in rows)
    assert "of 1 job;" in total
    found = (await schedctl(server, "forecast", "--span", "1h", "--bucket", "30m", "--json")).json
    assert len(found) == 2
    for span, said in (
        ("90d", "--span: 7,776,000 s is longer than 48 hours, as far as a forecast looks\n"),
        ("0s", "--span: 0 s is shorter than a bucket, 60 s\n"),
        ("90s", "--span: 90 s is not a whole number of buckets, each 60 s\n"),
    ):
        told = await schedctl(server, "forecast", "--span", span)
        assert (told.code, told.err) == (4, said)
    told = await schedctl(server, "forecast", "--bucket", "90s")
    assert (told.code, "a row is whole minutes wide" in told.err) == (2, True)


def test_a_row_begins_at_a_whole_multiple_of_its_width() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    minutes = [datetime(2026, 11, 25, 8, 57, tzinfo=zone) + timedelta(minutes=number) for number in range(14)]
    rows = by_row(dict.fromkeys(minutes, 1), timedelta(minutes=10))
    assert {f"{at:%H:%M}": fires for at, fires in rows.items()} == {"08:50": 3, "09:00": 10, "09:10": 1}


def test_a_bar_is_as_long_as_its_value_and_shows_what_is_not_nothing() -> None:
    assert (bar(0, 10, 20), bar(10, 10, 20), bar(5, 10, 20)) == ("", "█" * 20, "█" * 10)
    assert bar(1, 10_000, 20) == "▏"
    assert bar(0, 0, 20) == ""


async def test_the_doctor_says_what_to_do_and_tells_by_the_exit_code(server: Running) -> None:
    told = await schedctl(server, "doctor", "--timeout", "1")
    assert told.code == 1
    assert any(line.startswith("OK ") and "mongodb.reachable: " in line for line in told.lines)
    at = next(number for number, line in enumerate(told.lines) if "workers.alive: " in line)
    assert told.lines[at].startswith("FAILED ")
    assert "python -m worker" in told.lines[at + 1]
    assert told.lines[-1].endswith("not healthy")
    found = {check["name"]: check["result"] for check in (await schedctl(server, "doctor", "--json")).json}
    assert found["mongodb.reachable"] == "RESULT_OK"
