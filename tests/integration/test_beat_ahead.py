"""What is made ready ahead of time fires as if it were planned on the second, and only while it still holds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from beat import ahead
from beat.fire import Fire
from beat.partitions import Partitions
from shared.domain.job import JobState
from shared.domain.overrides import Override
from shared.domain.policies import Misfire, Policies
from shared.domain.schedule import to_document
from shared.store import jobs
from shared.store.executions import OWN_PUBLISHER_GRACE
from tests.builders import every, fired, job_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

ALL = frozenset(range(jobs.PARTITIONS))
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
ITS_OWN = ("_id", "job_id", "job_uid", "partition", "trace_id")
OF_THE_INSTANT = ("decided_at", "send_at", "transitions", "born", "changed")


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return ALL


class Beat(Fire):
    """Notes what it was handed over, and which jobs it planned on the second."""

    def __init__(self, database: Db) -> None:
        super().__init__(database, BelievesAll(database, "beat", timedelta(seconds=60)), self._take, "beat")
        self.sent: list[str] = []
        self.planned: list[str] = []

    def _take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.sent += [row["job_id"] for row in rows]

    def _plan(self, due: Sequence[Mapping[str, Any]], session: Any, *, follow: bool = False) -> Any:
        self.planned += [job["_id"] for job in due]
        return super()._plan(due, session, follow=follow)


@pytest.fixture(autouse=True)
def one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "FEWEST", 1)


@pytest.fixture
def beat(database: Db, monkeypatch: pytest.MonkeyPatch) -> Beat:
    # As if it had looked when the jobs, which are due, were not yet: then no test has to wait until they are.
    monkeypatch.setattr(jobs, "soon_filter", lambda held, *_: jobs.due_filter(held))
    return Beat(database)


def due(job_id: str, at: datetime, **changes: Any) -> dict[str, Any]:
    return job_document(job_id, every(3600, anchor=at - HOUR), created=at - SECOND) | changes


def put(database: Db, *job_ids: str, late: float = 1.0, **changes: Any) -> datetime:
    """Store jobs that were due some seconds ago; return when."""
    now = database.command("hello")["localTime"].replace(tzinfo=UTC)
    at: datetime = now - timedelta(seconds=late)
    database.jobs.insert_many([due(job_id, at, **changes) for job_id in job_ids])
    return at


def edit(database: Db, at: datetime, state: JobState, **changes: Any) -> None:
    """Edit job-1 as the server does; acknowledged before `at`."""
    schedule = every(3600, anchor=at - HOUR)
    fields = {"schedule": to_document(schedule), "parameters": '{"edited": true}'}
    queued = jobs.Queued(schedule, "tester", "because", **changes)
    changed = database.jobs.update_one(jobs.edit_filter("job-1", 1), jobs.edit(fields, state, queued))
    assert changed.modified_count
    database.jobs.update_one({"_id": "job-1"}, {"$set": {"changes.0.cutoff": at - timedelta(milliseconds=1)}})


def states(database: Db) -> list[str]:
    """Return what was decided of job-1; a closing row is no decision."""
    rows = database.executions.find({"job_id": "job-1", "state": {"$ne": "CLOSED"}}).sort("_id", 1)
    return [row["state"] for row in rows]


def test_what_was_made_ready_fires_without_being_planned_again_and_its_row_is_the_same(
    database: Db, beat: Beat
) -> None:
    at = put(database, "job-1")
    assert not beat._ahead.run_once(ALL)
    database.jobs.insert_one(due("job-2", at))
    beat.run_once()
    assert beat.planned == ["job-2"]
    assert sorted(beat.sent) == ["job-1", "job-2"]
    ready, planned = database.executions.find().sort("job_id", 1)
    differ = dict.fromkeys((*ITS_OWN, *OF_THE_INSTANT))
    assert {**ready, **differ} == {**planned, **differ}
    for row in (ready, planned):
        assert row["send_at"] - row["decided_at"] == OWN_PUBLISHER_GRACE
        assert row["transitions"][0]["at"] == row["decided_at"] > at
    moved, beside = database.jobs.find({}, {"next_nominal": 1, "wake_at": 1, "fired": 1, "covered": 1}).sort("_id", 1)
    assert moved | {"_id": ""} == beside | {"_id": ""}


@pytest.mark.parametrize(
    ("state", "expected"), [(JobState.ACTIVE, ["PENDING"]), (JobState.PAUSED, []), (JobState.DELETED, [])]
)
def test_an_edit_that_is_acknowledged_before_its_time_counts(
    database: Db, beat: Beat, state: JobState, expected: list[str]
) -> None:
    at = put(database, "job-1")
    beat._ahead.run_once(ALL)
    edit(database, at, state)
    for _ in range(2):
        beat.run_once()
    assert states(database) == expected
    row = database.executions.find_one({"job_id": "job-1", "state": "PENDING"})
    assert row is None or (row["parameters"], row["epoch"]) == ('{"edited": true}', 1)


@pytest.mark.parametrize("to", [None, timedelta(minutes=10)])
def test_an_occurrence_that_is_skipped_or_moved_before_its_time_does_not_fire_then(
    database: Db, beat: Beat, to: timedelta | None
) -> None:
    at = put(database, "job-1")
    beat._ahead.run_once(ALL)
    edit(database, at, JobState.ACTIVE, override=Override(at, None if to is None else at + to, "tester", "because", at))
    for _ in range(2):
        beat.run_once()
    assert states(database) == ["SKIPPED"]
    assert beat.sent == []


def test_what_another_beat_has_fired_meanwhile_is_not_fired_again(database: Db, beat: Beat) -> None:
    put(database, "job-1")
    beat._ahead.run_once(ALL)
    Beat(database).run_once()
    moved = database.jobs.find_one({"_id": "job-1"})
    beat.run_once()
    assert (states(database), beat.sent) == (["PENDING"], [])
    assert database.jobs.find_one({"_id": "job-1"}) == moved


def test_what_another_beat_has_decided_otherwise_meanwhile_stands(database: Db, beat: Beat) -> None:
    at = put(database, "job-1")
    beat._ahead.run_once(ALL)
    job = database.jobs.find_one({"_id": "job-1"})
    assert job is not None
    skipped = fired(job, at) | {"state": "SKIPPED", "run": False, "open": False}
    database.executions.insert_one(skipped)
    beat.run_once()
    assert (states(database), beat.sent) == (["SKIPPED"], [])
    after = database.jobs.find_one({"_id": "job-1"})
    assert after is not None
    assert after["next_nominal"] == at + HOUR


def test_what_is_in_flight_on_the_second_is_heeded(database: Db, beat: Beat) -> None:
    at = put(database, "job-1")
    beat._ahead.run_once(ALL)
    job = database.jobs.find_one({"_id": "job-1"})
    assert job is not None
    database.executions.insert_one(fired(job, at - HOUR))
    beat.run_once()
    assert states(database) == ["PENDING", "SKIPPED"]


def test_what_is_found_late_is_decided_by_its_policy(database: Db, beat: Beat) -> None:
    policies = Policies(misfire=Misfire.SKIP, misfire_grace=SECOND)
    put(database, "job-1", late=5, policies=jobs.policies_document(policies))
    beat._ahead.run_once(ALL)
    beat.run_once()
    assert (states(database), beat.sent) == (["SKIPPED"], [])


def test_a_job_that_took_the_place_of_one_that_was_made_ready_is_another_one(database: Db, beat: Beat) -> None:
    at = put(database, "job-1")
    beat._ahead.run_once(ALL)
    database.jobs.replace_one({"_id": "job-1"}, due("job-1", at) | {"uid": "another", "parameters": "{}"})
    beat.run_once()
    (row,) = database.executions.find()
    assert (row["job_uid"], row["parameters"]) == ("another", "{}")


def test_what_is_beyond_the_bounds_is_planned_when_it_is_due(
    database: Db, beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AT_A_TIME", 2)
    monkeypatch.setattr(ahead, "MOST", 3)
    put(database, "job-1", "job-2", "job-3", "job-4")
    assert beat._ahead.run_once(ALL)
    assert not beat._ahead.run_once(ALL)
    assert len(beat._ahead) == 3
    beat.run_once()
    assert len(beat.planned) == 1
    assert sorted(beat.sent) == ["job-1", "job-2", "job-3", "job-4"]
    assert (len(beat._ahead), beat._ahead._bytes) == (0, 0)


def test_a_job_that_is_made_ready_once_more_counts_once(database: Db, beat: Beat) -> None:
    put(database, "job-1")
    beat._ahead.run_once(ALL)
    size = beat._ahead._bytes
    beat._ahead._looked_at = -math.inf
    beat._ahead.run_once(ALL)
    assert (len(beat._ahead), beat._ahead._bytes) == (1, size)
    beat.run_once()
    assert (len(beat._ahead), beat._ahead._bytes, beat.sent) == (0, 0, ["job-1"])


def test_what_is_ready_and_never_asked_for_is_forgotten_when_others_are_due(database: Db, beat: Beat) -> None:
    put(database, "job-1", late=ahead.AHEAD.total_seconds() + 1)
    beat._ahead.run_once(ALL)
    assert len(beat._ahead) == 1
    database.jobs.delete_one({"_id": "job-1"})
    put(database, "job-2")
    beat.run_once()
    assert (len(beat._ahead), beat._ahead._bytes, beat.planned) == (0, 0, ["job-2"])


def test_beat_sleeps_by_so_much_less_as_making_ready_took(beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    def takes(_held: Any) -> bool:
        clock.append(clock[-1] + 0.25)
        return False

    clock = [monotonic()]
    monkeypatch.setattr("beat.fire.monotonic", lambda: clock[-1])
    monkeypatch.setattr(beat, "_until_next", lambda *_: 0.375)
    monkeypatch.setattr(beat._ahead, "run_once", takes)
    assert beat.run_once() == pytest.approx(0.125)
    assert beat.run_once() == pytest.approx(0.125)


def test_it_looks_at_jobs_some_seconds_before_they_are_due_and_not_at_later_ones(database: Db) -> None:
    put(database, "soon", late=-ahead.AHEAD.total_seconds() + 0.1)
    put(database, "later", late=-60)
    beat = Beat(database)
    beat._ahead.run_once(ALL)
    assert list(beat._ahead._ready) == ["soon"]
    assert list(database.executions.find()) == []


def test_few_jobs_are_planned_when_they_are_due(database: Db, beat: Beat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "FEWEST", 3)
    put(database, "job-1", "job-2")
    assert not beat._ahead.run_once(ALL)
    assert len(beat._ahead) == 0
    beat.run_once()
    assert (sorted(beat.planned), sorted(beat.sent)) == (["job-1", "job-2"], ["job-1", "job-2"])


def test_a_job_that_cannot_be_planned_is_left_to_the_second(database: Db, beat: Beat) -> None:
    put(database, "job-1", "job-2")
    database.jobs.update_one({"_id": "job-1"}, {"$set": {"installed.schedule.config": {"seconds": "several"}}})
    beat._ahead.run_once(ALL)
    beat.run_once()
    parked = database.jobs.find_one({"_id": "job-1"})
    assert parked is not None
    assert (parked["state"], beat.sent) == ("ERROR", ["job-2"])
