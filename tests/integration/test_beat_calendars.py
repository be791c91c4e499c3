"""Calendars on a real MongoDB: when the days of a name change, the jobs that leave them out get the new ones, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from beat.calendars import Calendars as Duty
from beat.revise import Revise
from shared.calendars import Calendars, Window
from shared.domain.exclusions import ExclusionTerms
from shared.domain.schedule import Schedule, from_document, parse_schedule
from tests.integration.test_beat_fire import (
    check_ledger,
    database_now,
    fire,
    job,
    late_job,
    put,
    rows,
    settle,
    wait_until,
)

if TYPE_CHECKING:
    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

SHOP = "shop"
NOON = (datetime.now(UTC) + timedelta(days=40)).replace(hour=12, minute=0, second=0, microsecond=0)


def calendars(*days: date, name: str = SHOP) -> Calendars:
    return Calendars({name: lambda window: frozenset(day for day in days if day.year in window.years)})


def at_noon(configured: Calendars, on_excluded: str = "SKIP") -> Schedule:
    return parsed(configured, on_excluded, hour="12", minute="0")


def parsed(configured: Calendars, on_excluded: str = "SKIP", **config: str) -> Schedule:
    terms = ExclusionTerms(calendars=tuple(configured.names), on_excluded=on_excluded)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return parse_schedule(
        type="cron", config=config, exclusions=terms, resolve=configured.resolve, now=now, hash_key="job-1"
    )


def put_late(database: Db, schedule: Schedule, *job_ids: str, late: float = 60) -> None:
    now = database_now(database)
    put(database, *(late_job(job_id, now, late, schedule) for job_id in job_ids or ("job-1",)))


def look(database: Db, configured: Calendars) -> None:
    duty = Duty(database, configured, Revise(database))
    while duty.run_once():
        pass


def test_a_changed_calendar_reaches_the_jobs_that_name_it_and_is_reported(database: Db) -> None:
    before, after = calendars(), calendars(NOON.date())
    put_late(database, at_noon(before), late=0)
    put(database, late_job("without", database_now(database), 0))
    with capture_logs() as logged:
        look(database, after)
    settle(database)
    (report,) = [line for line in logged if line["action"] == "job_revised"]
    tomorrow = NOON + timedelta(days=1)
    assert (report["job_id"], report["why"], report["change"]) == ("job-1", "calendar", "days of shop")
    assert (report["before"], report["after"]) == (f"{NOON:%Y-%m-%dT%H:%M:%SZ}", f"{tomorrow:%Y-%m-%dT%H:%M:%SZ}")
    schedule = from_document(job(database)["installed"]["schedule"])
    assert schedule.next_after(NOON - timedelta(hours=1)) == tomorrow
    assert database.job_revisions.find_one({"epoch": 1}, {"_id": 0, "by": 1, "reason": 1}) == {
        "by": "beat",
        "reason": f"days of shop: the fire of {report['before']} moves to {report['after']}",
    }
    assert job(database, "without")["epoch"] == 0


def test_what_was_due_goes_by_the_old_days_and_what_comes_by_the_new_ones(database: Db) -> None:
    today = database_now(database).date()
    put_late(database, parsed(calendars(), expression="* * * * * *"))
    look(database, calendars(today, today + timedelta(days=1)))
    settle(database)
    assert job(database)["next_nominal"].date() == today + timedelta(days=2)
    look(database, calendars())
    settle(database)
    beat = fire(database)
    wait_until(lambda: beat.run_once() >= 0 and any(row["epoch"] == 2 for row in rows(database)))
    assert [row["state"] for row in rows(database) if row["epoch"] == 1] == ["CLOSED"]
    assert check_ledger(database) >= 60


def test_two_beats_at_once_change_each_job_once(database: Db) -> None:
    names = [f"job-{number}" for number in range(30)]
    put_late(database, parsed(calendars(), expression="*/2 * * * * *"), *names)
    after = calendars(NOON.date())
    with ThreadPoolExecutor(4) as threads:
        for doing in [threads.submit(look, database, after) for _ in range(2)]:
            doing.result()
        for doing in [threads.submit(settle, database) for _ in range(2)]:
            doing.result()
    assert {document["epoch"] for document in database.jobs.find()} == {1}
    assert database.job_revisions.count_documents({}) == len(names)
    check_ledger(database)


def test_a_calendar_that_stays_changes_nothing(database: Db) -> None:
    configured = calendars(NOON.date())
    put_late(database, at_noon(configured), late=0)
    look(database, configured)
    assert job(database)["changes"] == []


def test_days_are_found_out_anew_before_their_window_ends(database: Db) -> None:
    configured = calendars(NOON.date())
    schedule = at_noon(configured)
    assert schedule.exclusions is not None
    days, source = configured.within(Window(2015, NOON.year + 2), (SHOP,), ())
    put_late(database, replace(schedule, exclusions=schedule.exclusions.with_resolved(days, source)), late=0)
    with capture_logs() as logged:
        look(database, configured)
    (change,) = job(database)["changes"]
    assert change["schedule"]["exclusions"]["source"] == configured.resolve((SHOP,), ()).source
    (report,) = [line for line in logged if line["action"] == "job_revised"]
    assert (report["before"], report["after"]) == (None, None)


def test_jobs_keep_their_days_when_their_calendar_is_gone(database: Db) -> None:
    put_late(database, at_noon(calendars(NOON.date())), late=0)
    duty = Duty(database, Calendars({}), Revise(database))
    with capture_logs() as logged:
        for _ in range(2):
            assert not duty.run_once()
    assert [line["action"] for line in logged] == ["calendar_gone"]
    assert "'shop' is not a configured calendar" in logged[0]["error"]
    assert job(database)["changes"] == []


@pytest.mark.parametrize("on_excluded", ["NEXT_BUSINESS_DAY", "PREVIOUS_BUSINESS_DAY"])
def test_a_fire_that_now_rolls_is_reported_where_it_goes(database: Db, on_excluded: str) -> None:
    monday = NOON + timedelta(days=-NOON.weekday() % 7 + 7)
    put_late(database, parsed(calendars(), on_excluded, expression="0 12 * * MON"), late=0)
    with capture_logs() as logged:
        look(database, calendars(monday.date()))
    (report,) = [line for line in logged if line["action"] == "job_revised"]
    goes = monday + timedelta(days=1 if on_excluded.startswith("NEXT") else -3)
    assert (report["before"], report["after"]) == (f"{monday:%Y-%m-%dT%H:%M:%SZ}", f"{goes:%Y-%m-%dT%H:%M:%SZ}")
