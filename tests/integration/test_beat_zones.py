"""Zones on a real MongoDB: a new version of tzdata moves what follows it, once, and turns nothing back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from beat.revise import BATCH, Revise
from beat.zone_rules import ZoneRules
from beat.zones import Zones
from dev.server import free_port
from shared.domain.job import JobState
from shared.domain.schedule import Schedule, from_document, parse_schedule, to_document
from shared.domain.zones import package_rules, tzdata_version, zone_names
from shared.store.jobs import to_job
from tests.builders import own_vhost
from tests.integration.test_beat_fire import (
    check_ledger,
    database_now,
    edit,
    fire,
    job,
    late_job,
    put,
    rows,
    settle,
    wait_until,
)
from tests.tzdata import fixed, from_then_on, install, installed

if TYPE_CHECKING:
    from pymongo.database import Database

    from dev.servers import Servers

Db: TypeAlias = "Database[dict[str, Any]]"

ZONE = "Europe/Berlin"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The package tzdata of version 2030.9, by which the zone is UTC."""
    return install(tmp_path / "old", "2030.9", {ZONE: fixed(0)})


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The one of version 2030.10, by which its clock is two seconds ahead."""
    return install(tmp_path / "new", "2030.10", {ZONE: fixed(2)})


def every_four_seconds() -> Schedule:
    return parsed(expression="*/4 * * * * *")


def parsed(kind: str = "cron", timezone: str = ZONE, **config: str) -> Schedule:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return parse_schedule(type=kind, config=config, timezone=timezone, now=now, hash_key="job-1")


def keep(database: Db) -> None:
    """What every process does when it starts."""
    ZoneRules(database).keep()


def look(database: Db) -> None:
    """Let the duty work until there is nothing more to do."""
    zones = Zones(database, Revise(database))
    while zones.run_once():
        pass


def put_late(database: Db, schedule: Schedule, *job_ids: str, late: float = 60) -> None:
    now = database_now(database)
    put(database, *(late_job(job_id, now, late, schedule) for job_id in job_ids or ("job-1",)))


def seconds_of(database: Db, epoch: int, job_id: str = "job-1") -> set[int]:
    """The seconds of the UTC minute, modulo four, at which what was decided in an epoch had its time."""
    decided = [row for row in rows(database, job_id) if row["epoch"] == epoch and row["state"] != "CLOSED"]
    return {instant.second % 4 for row in decided for instant in (row["nominal_time"], row["last"])}


def test_what_was_due_goes_by_the_old_rules_and_what_comes_by_the_new_ones(database: Db, old: Path, new: Path) -> None:
    with installed(old):
        keep(database)
        put_late(database, every_four_seconds())
    with installed(new):
        keep(database)
        look(database)
        settle(database)
        assert job(database)["epoch"] == 1
        beat = fire(database)
        wait_until(lambda: beat.run_once() >= 0 and len(seconds_of(database, 1)) > 0)
        assert (seconds_of(database, 0), seconds_of(database, 1)) == ({0}, {2})
        assert {row["tzdata"] for row in rows(database) if row["epoch"] == 0} == {"2030.9"}
        assert {row["tzdata"] for row in rows(database) if row["epoch"] == 1} == {"2030.10"}
        assert check_ledger(database) >= 15


def test_two_beats_at_once_change_each_job_once(database: Db, old: Path, new: Path) -> None:
    names = [f"job-{number}" for number in range(30)]
    with installed(old):
        keep(database)
        put_late(database, every_four_seconds(), *names)
    with installed(new), ThreadPoolExecutor(4) as threads:
        for doing in [threads.submit(look, database) for _ in range(2)]:
            doing.result()
        for doing in [threads.submit(settle, database) for _ in range(2)]:
            doing.result()
        assert {document["epoch"] for document in database.jobs.find()} == {1}
        assert database.job_revisions.count_documents({}) == len(names)
        check_ledger(database)


def test_a_beat_with_an_older_tzdata_follows_the_new_rules_and_turns_nothing_back(
    database: Db, old: Path, new: Path
) -> None:
    with installed(old):
        keep(database)
        put_late(database, every_four_seconds())
    with installed(new):
        keep(database)
        look(database)
        settle(database)
    with installed(old):
        look(database)
        assert (job(database)["epoch"], job(database)["changes"]) == (1, [])
        beat = fire(database)
        wait_until(lambda: beat.run_once() >= 0 and len(seconds_of(database, 1)) > 0)
        assert seconds_of(database, 1) == {2}
        assert job(database)["state"] == "ACTIVE"
        check_ledger(database)
    with installed(new):
        look(database)
        assert job(database)["epoch"] == 1


def test_an_upgrade_while_beats_of_both_versions_run_decides_nothing_twice(
    database: Db, database_url: str, servers: Servers, old: Path, new: Path
) -> None:
    """Processes of their own, on the same jobs."""
    names = [f"job-{number}" for number in range(20)]
    broker = own_vhost(servers.rabbitmq)

    def start(package: Path) -> subprocess.Popen[str]:
        environment = os.environ | servers.environment
        environment |= {"MONGODB_URL": database_url, "CELERY_BROKER_URL": broker, "PYTHONPATH": str(package)}
        environment |= {"BEAT_METRICS_PORT": str(free_port()), "PARTITION_LEASE": "1"}
        return subprocess.Popen([sys.executable, "-m", "beat"], cwd=ROOT, env=environment, text=True)

    def decided(epoch: int) -> set[str]:
        rows = database.executions.find({"epoch": epoch, "state": {"$ne": "CLOSED"}}, {"job_id": 1})
        return {row["job_id"] for row in rows}

    with installed(old):
        keep(database)
        put_late(database, every_four_seconds(), *names)
    with contextlib.ExitStack() as running:
        beats = []
        for package in (old, new):
            beats.append(running.enter_context(start(package)))
            running.callback(beats[-1].kill)
            wait_until(lambda: decided(len(beats) - 1) == set(names), seconds=60)
        # Both go on for a while: what they decide comes every four seconds.
        later = database.executions.count_documents({}) + 2 * len(names)
        wait_until(lambda: database.executions.count_documents({}) >= later, seconds=60)
        for beat in beats:
            beat.terminate()
            assert beat.wait(60) == 0
    with installed(new):
        ZoneRules(database).load({"installed": document["first"]} for document in database.jobs.find())
        assert check_ledger(database) >= 15 * len(names)
    for name in names:
        assert (job(database, name)["epoch"], job(database, name)["state"]) == (1, "ACTIVE")
        assert (seconds_of(database, 0, name), seconds_of(database, 1, name)) == ({0}, {2})


def test_the_change_is_reported_with_the_first_fire_that_moves(database: Db, tmp_path: Path) -> None:
    noon = (datetime.now(UTC) + timedelta(days=60)).replace(hour=12, minute=0, second=0, microsecond=0)
    with installed(install(tmp_path / "old", "2030.1", {ZONE: fixed(3600)})):
        keep(database)
        put_late(database, parsed(hour="8", minute="30"), late=0)
    before = REGISTRY.get_sample_value("scheduler_beat_jobs_revised_total", {"why": "zone"}) or 0
    changed = from_then_on(int(noon.timestamp()), 3600, 7200)
    with installed(install(tmp_path / "new", "2030.2", {ZONE: changed})), capture_logs() as logged:
        look(database)
    (report,) = [line for line in logged if line["action"] == "job_revised"]
    moves = noon + timedelta(days=1)
    assert (report["job_id"], report["change"]) == ("job-1", "zone data 2030.1 -> 2030.2")
    assert report["before"] == f"{moves:%Y-%m-%d}T07:30:00Z"
    assert report["after"] == f"{moves:%Y-%m-%d}T06:30:00Z"
    (change,) = job(database)["changes"]
    moved = f"the fire of {report['before']} moves to {report['after']}"
    assert (change["by"], change["reason"]) == ("beat", f"zone data 2030.1 -> 2030.2: {moved}")
    assert REGISTRY.get_sample_value("scheduler_beat_jobs_revised_total", {"why": "zone"}) == before + 1


def test_a_job_that_keeps_its_times_is_reported_without_any(database: Db, tmp_path: Path) -> None:
    far = int((datetime.now(UTC) + timedelta(days=4000)).timestamp())
    with installed(install(tmp_path / "old", "2030.1", {ZONE: fixed(0)})):
        keep(database)
        put_late(database, parsed("once", at="2031-03-03T08:00:00"), late=0)
    changed = {ZONE: from_then_on(far, 0, 3600)}
    with installed(install(tmp_path / "new", "2030.2", changed)), capture_logs() as logged:
        look(database)
    (report,) = [line for line in logged if line["action"] == "job_revised"]
    assert (report["before"], report["after"], report["log_level"]) == (None, None, "info")
    assert job(database)["changes"][0]["reason"].endswith("none of the next 1,000 fires moves")


def test_state_message_and_etag_stay_and_only_what_has_times_to_come_is_changed(
    database: Db, old: Path, new: Path
) -> None:
    with installed(old):
        keep(database)
        schedule = every_four_seconds()
        put_late(database, schedule, "active", "paused", "completed", "deleted", "parked", late=0)
        database.jobs.update_one({"_id": "paused"}, {"$set": {"state": "PAUSED", "status_message": "for now"}})
        for name, state in (("completed", "COMPLETED"), ("deleted", "DELETED"), ("parked", "ERROR")):
            database.jobs.update_one({"_id": name}, {"$set": {"state": state, "wake_at": None}})
        etags = {document["_id"]: to_job(document).etag for document in database.jobs.find()}
    with installed(new):
        look(database)
        settle(database)
        after = {document["_id"]: document for document in database.jobs.find()}
        assert {name for name, document in after.items() if document["epoch"] == 1} == {"active", "paused"}
        assert (after["paused"]["state"], after["paused"]["status_message"]) == ("PAUSED", "for now")
        assert (after["paused"]["installed"]["mode"], after["paused"]["wake_at"]) == ("PAUSED", None)
        assert {name: to_job(document).etag for name, document in after.items()} == etags


def test_rules_that_differ_in_the_past_only_change_no_epoch(database: Db, tmp_path: Path) -> None:
    changed_long_ago = from_then_on(1_000_000_000, 3600, 0)
    with installed(install(tmp_path / "old", "2030.1", {ZONE: fixed(0)})):
        keep(database)
        put_late(database, every_four_seconds())
    with installed(install(tmp_path / "new", "2030.2", {ZONE: changed_long_ago})), capture_logs() as logged:
        look(database)
        fire(database).run_once()
        assert (job(database)["epoch"], job(database)["changes"]) == (0, [])
        assert job(database)["schedule"]["rules"] == package_rules(ZONE)
        assert [line["jobs"] for line in logged if line["action"] == "zone_rules_renamed"] == [1]
        assert len(rows(database)) == 2
        check_ledger(database)


def test_a_job_whose_zone_is_gone_goes_on_by_its_rules_and_can_be_given_another(
    database: Db, tmp_path: Path, old: Path
) -> None:
    with installed(old):
        keep(database)
        put_late(database, every_four_seconds())
    with installed(install(tmp_path / "gone", "2031.1", {ZONE: None})), capture_logs() as logged:
        fire(database).run_once()
        assert job(database)["state"] == "ACTIVE"
        assert seconds_of(database, 0) == {0}
        keep(database)
        look(database)
        assert [line["zone"] for line in logged if line["action"] == "zone_gone"] == [ZONE]
        assert edit(database, "job-1", parsed(timezone="Europe/Paris", expression="*/4 * * * * *"))
        settle(database)
        assert (job(database)["state"], job(database)["epoch"]) == ("ACTIVE", 1)
        check_ledger(database)


def test_a_job_whose_rules_nobody_kept_is_parked_and_says_which(database: Db, tmp_path: Path, old: Path) -> None:
    with installed(old):
        put_late(database, every_four_seconds())
        rules = package_rules(ZONE)
    with installed(install(tmp_path / "gone", "2031.1", {ZONE: None})):
        fire(database).run_once()
    assert job(database)["state"] == JobState.ERROR.value
    assert f"the zone rules {rules} of Europe/Berlin are not known here" in job(database)["status_message"]


def test_jobs_from_before_rules_were_kept_get_those_of_now(database: Db, new: Path) -> None:
    with installed(new):
        keep(database)
        put_late(database, every_four_seconds(), "cron")
        put_late(database, parsed("interval", seconds="7"), "interval")
        for part in ("schedule", "installed.schedule"):
            database.jobs.update_many({}, {"$unset": {f"{part}.rules": "", f"{part}.tzdata": ""}})
        look(database)
        settle(database)
        fire(database).run_once()
        assert job(database, "cron")["installed"]["schedule"]["rules"] == package_rules(ZONE)
        assert (job(database, "interval")["epoch"], job(database, "interval")["schedule"]["rules"]) == (0, "")
        assert {row["tzdata"] for name in ("cron", "interval") for row in rows(database, name)} == {"2030.10"}
        look(database)
        assert job(database, "cron")["epoch"] == 1


def test_more_jobs_than_are_read_in_one_go_are_all_changed(database: Db, old: Path, new: Path) -> None:
    names = [f"job-{number}" for number in range(BATCH + 10)]
    with installed(old):
        keep(database)
        put_late(database, parsed(hour="8", minute="0"), *names, late=0)
    with installed(new):
        look(database)
        assert database.jobs.count_documents({"changes.0": {"$exists": True}}) == len(names)


def test_an_edit_that_races_with_the_change_wins_and_the_job_is_found_again(database: Db, old: Path, new: Path) -> None:
    with installed(old):
        keep(database)
        put_late(database, every_four_seconds(), late=0)
    other = parsed(expression="1/4 * * * * *")
    with installed(old):
        schedule = parsed(expression="1/4 * * * * *")
    assert other.config == schedule.config
    with installed(new):
        revise = Revise(database)

        def edited_meanwhile(present: Schedule) -> Schedule:
            assert edit(database, "job-1", schedule)
            return present

        revise.batch({}, edited_meanwhile, why="zone", said="", since=None)
        assert [change["by"] for change in job(database)["changes"]] == ["tester"]
        look(database)
        settle(database)
        assert job(database)["epoch"] == 2
        assert job(database)["installed"]["schedule"]["config"] == schedule.config
        assert job(database)["installed"]["schedule"]["tzdata"] == "2030.10"
        check_ledger(database)


def test_every_process_adds_the_rules_of_its_package_once(database: Db, old: Path) -> None:
    keep(database)
    keep(database)
    assert database.zone_rules.count_documents({}) == len(zone_names())
    with installed(old):
        keep(database)
        assert database.zone_rules.count_documents({"tzdata": tzdata_version()}) == 1
    stored = database.zone_rules.find_one({"_id": package_rules(ZONE)})
    assert stored is not None
    assert (stored["zone"], stored["tzdata"]) == (ZONE, tzdata_version())


def test_what_is_stored_is_read_again_by_a_process_that_never_had_it(database: Db, old: Path, new: Path) -> None:
    with installed(old):
        keep(database)
        schedule = every_four_seconds()
    with installed(new):
        ZoneRules(database).load([{"schedule": to_document(schedule)}, {"schedule": "broken"}, {"changes": None}])
        assert from_document(to_document(schedule)) == schedule
