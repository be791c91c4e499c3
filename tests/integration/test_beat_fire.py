"""Fire on a real MongoDB: whoever races, edits or crashes, each occurrence is decided once."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from random import Random
from threading import Event, Timer
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

import pytest
from bson import DatetimeMS
from pymongo.monitoring import CommandListener
from structlog.testing import capture_logs

from beat import fire as firing
from beat.fire import LONGEST_SLEEP, NO_JOB, Fire
from beat.partitions import Partitions
from beat.relay import Relay
from dev.mongodb import start_mongodb
from shared import metrics
from shared.domain.execution import State
from shared.domain.job import JobState
from shared.domain.plan import Mode, Row
from shared.domain.policies import Misfire, Overlap, Policies
from shared.domain.schedule import from_document, to_document
from shared.store import executions, jobs
from shared.store.mongo import connect
from shared.store.partitions import BY_ID
from tests.builders import every, fired, job_document, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from shared.domain.schedule import Schedule

Db: TypeAlias = "Database[dict[str, Any]]"

ALL = frozenset(range(jobs.PARTITIONS))
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


class LooksAndWrites(CommandListener):
    """How fire asks for jobs that are due, and for some once more, and writes so that what it is shown is no older."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reached: list[Any] = []
        """Of each question, the time that the store is to have reached at least."""
        self.times: dict[int, Any] = {}
        """When the store had done what was seen, of writes: by how much was seen then."""

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get("find") == "jobs":
            look, read = "wake_at" in event.command.get("sort", {}), event.command.get("hint") == BY_ID
            if look or read:
                self.seen.append("look" if look else "read")
                self.reached.append(event.command.get("readConcern", {}).get("afterClusterTime"))
        if event.command.get("update") == "jobs" and event.command["updates"][0]["q"] == NO_JOB:
            self.seen.append(f"write {event.command['writeConcern']['w']}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == "update" and self.seen[-1].startswith("write"):
            self.times.setdefault(len(self.seen), event.reply["operationTime"])

    def failed(self, event: CommandFailedEvent) -> None:
        self.seen.append(f"failed {event.failure}")


class BelievesAll(Partitions):
    """A beat that is sure to hold every partition, as a stalled one may be."""

    @property
    def held(self) -> frozenset[int]:
        return ALL


class Sent:
    """Where fire hands over what is to be sent."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self.ids += [document["_id"] for document in documents]


NO_NUMBERS: Final[tuple[object, ...]] = (True, [1], {}, "x")
"""What was put by hand where MongoDB counts."""


def fire(database: Db, hand_over: Sent | None = None, name: str = "beat", *, kind: type[Fire] = Fire) -> Fire:
    held = BelievesAll(database, name, timedelta(seconds=60))
    return kind(database, held, hand_over or Sent(), name)


def database_now(database: Db) -> datetime:
    now: datetime = database.command("hello")["localTime"]
    return now.replace(tzinfo=UTC)


def put(database: Db, *documents: dict[str, Any]) -> None:
    database.jobs.insert_many(documents)


def job(database: Db, job_id: str = "job-1") -> dict[str, Any]:
    found = database.jobs.find_one({"_id": job_id})
    assert found is not None
    return found


def rows(database: Db, job_id: str = "job-1") -> list[dict[str, Any]]:
    return list(database.executions.find({"job_id": job_id}).sort("_id", 1))


def edit(database: Db, job_id: str, schedule: Schedule, state: JobState = JobState.ACTIVE) -> bool:
    """Edit as the server does; return whether nobody was faster."""
    revision = job(database, job_id)["revision"]
    change = jobs.edit({"schedule": to_document(schedule)}, state, jobs.Queued(schedule, "tester", "because"))
    return bool(database.jobs.update_one(jobs.edit_filter(job_id, revision), change).modified_count)


def make_due(database: Db, job_id: str) -> None:
    """Have beats look at a job now."""
    database.jobs.update_one({"_id": job_id}, [{"$set": {"wake_at": "$$NOW"}}])


def check_ledger(database: Db) -> int:
    """Assert that each job's occurrences, from its creation to its pointer, are decided once; return how many."""
    total = 0
    by_job = defaultdict(list)
    for row in database.executions.find({"trigger": "SCHEDULE"}):
        by_job[row["job_uid"]].append(row)
    epochs: dict[str, list[tuple[datetime, Any]]] = defaultdict(list)
    for revision in database.job_revisions.find().sort("epoch", 1):
        epochs[revision["job_uid"]].append((revision["began"], revision))
    for document in database.jobs.find():
        uid = document["uid"]
        spans = [(document["first_covered"], document["first"]), *epochs[uid]]
        ends = [began for began, _ in spans[1:]] + [document["covered"]]
        assert document["epoch"] == len(spans) - 1
        for epoch, ((began, followed), end) in enumerate(zip(spans, ends, strict=True)):
            schedule = from_document(followed["schedule"])
            expected = [] if followed["mode"] == Mode.DELETED else list(occurrences(schedule, began, end))
            decided: list[datetime] = []
            for row in sorted((r for r in by_job[uid] if r["epoch"] == epoch), key=lambda r: r["_id"]):
                if row["state"] == State.CLOSED:
                    continue
                inside = list(occurrences(schedule, row["nominal_time"] - timedelta(microseconds=1), row["last"]))
                assert (row["count"], inside[-1]) == (len(inside), row["last"])
                decided += inside
            # A crashed beat may have left rows ahead of the pointer.
            assert decided[: len(expected)] == expected, (document["_id"], epoch)
            assert decided == sorted(set(decided)), (document["_id"], epoch)
            if epoch < document["epoch"]:
                assert decided == expected, (document["_id"], epoch)
            total += len(decided)
    return total


def occurrences(schedule: Schedule, after: datetime, through: datetime) -> Iterable[datetime]:
    following = schedule.next_after(after)
    while following is not None and following <= through:
        yield following
        following = schedule.next_after(following)


def watched(document: dict[str, Any]) -> dict[str, Any]:
    """Note in a job's document how it began, for check_ledger."""
    return document | {"first_covered": document["covered"], "first": document["installed"]}


def late_job(job_id: str, now: datetime, late: float, schedule: Schedule | None = None) -> dict[str, Any]:
    created = now - timedelta(seconds=late)
    return watched(job_document(job_id, schedule or every(anchor=created), created=created))


class TestFiring:
    def test_a_due_occurrence_fires_durably_before_it_is_handed_over(self, database: Db) -> None:
        now, sent = database_now(database), Sent()
        put(database, late_job("job-1", now, 1.5))
        fire(database, sent).run_once()
        (row,) = rows(database)
        assert sent.ids == [row["_id"]]
        assert (row["state"], row["nominal_time"]) == ("PENDING", row["due_at"])
        assert row["nominal_time"] == now - timedelta(seconds=0.5)
        assert row["send_at"] > row["decided_at"]

    def test_what_is_handed_over_is_in_the_store_already(self, database: Db) -> None:
        class Looking(Sent):
            def __call__(self, documents: Iterable[Mapping[str, Any]]) -> None:
                for document in documents:
                    assert database.executions.find_one({"_id": document["_id"]})
                    self.ids.append(document["_id"])

        put(database, late_job("job-1", database_now(database), 1.5))
        sent = Looking()
        fire(database, sent).run_once()
        assert sent.ids

    def test_what_is_not_due_is_left_alone(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 0, every(3600, anchor=now)))
        assert fire(database).run_once() == LONGEST_SLEEP
        assert not rows(database)

    def test_it_sleeps_until_the_next_wake_time(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 0, once(now + timedelta(seconds=0.4))))
        assert 0 < fire(database).run_once() < LONGEST_SLEEP

    def test_a_row_holds_all_that_its_run_needs(self, database: Db) -> None:
        now = database_now(database)
        parameters = {"$competitor": "a.b", "n": 1}
        created = now - timedelta(seconds=1)
        put(database, job_document(schedule=every(anchor=created), created=created, parameters=parameters, priority=7))
        fire(database).run_once()
        (row,) = rows(database)
        assert row["parameters"] == '{"$competitor": "a.b", "n": 1}'
        assert (row["queue"], row["priority"], row["job_revision"], row["timeout"]) == ("scraping", 7, 1, 1800)

    def test_a_schedule_at_its_end_completes_its_job(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 10, once(now - timedelta(seconds=5))))
        fire(database).run_once()
        after = job(database)
        assert (after["state"], after["wake_at"], after["next_nominal"]) == ("COMPLETED", None, None)

    def test_a_run_by_hand_does_not_block_the_schedule(self, database: Db) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 1)
        put(database, document)
        database.executions.insert_one(fired(document, now - timedelta(hours=1), trigger="MANUAL", _id="m"))
        fire(database).run_once()
        assert [row["state"] for row in rows(database) if row["_id"] != "m"] == ["PENDING"]

    @pytest.mark.parametrize("state", ["PENDING", "QUEUED", "RUNNING"])
    def test_one_in_flight_makes_the_next_skip(self, database: Db, state: str) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 1)
        put(database, document)
        database.executions.insert_one(fired(document, now - timedelta(hours=1), _id="earlier", state=state))
        sent = Sent()
        fire(database, sent).run_once()
        decided = [row for row in rows(database) if row["_id"] != "earlier"]
        assert [row["state"] for row in decided] == ["SKIPPED"]
        assert "earlier" in decided[0]["reason"]
        assert not sent.ids

    def test_a_job_that_cannot_be_planned_is_parked_and_stops_nobody(self, database: Db) -> None:
        now = database_now(database)
        broken, good = late_job("broken", now, 1), late_job("good", now, 1)
        broken["installed"]["schedule"]["config"] = {"seconds": "several"}
        put(database, broken, good)
        fire(database).run_once()
        parked = job(database, "broken")
        assert (parked["state"], parked["wake_at"]) == ("ERROR", None)
        assert "'several' is not a number of seconds" in parked["status_message"]
        assert [row["state"] for row in rows(database, "good")] == ["PENDING"]

    @pytest.mark.parametrize("edited", [False, True])
    @pytest.mark.parametrize(
        "damage",
        [{name: value} for name in ("fired", "revision") for value in NO_NUMBERS]
        + [{"revision": None}, {"next_nominal": [1]}, {"next_nominal": "soon"}],
        ids=str,
    )
    def test_a_job_whose_counts_are_none_to_the_store_stops_nobody(
        self, database: Db, damage: dict[str, Any], *, edited: bool
    ) -> None:
        now = database_now(database)
        document = late_job("damaged", now, 1)
        put(database, document, late_job("good", now, 1))
        if edited:
            assert edit(database, "damaged", from_document(document["schedule"]), JobState.PAUSED)
        database.jobs.update_one({"_id": "damaged"}, {"$set": damage})
        fire(database).run_once()
        (good,) = rows(database, "good")
        assert job(database, "good")["next_nominal"] > good["nominal_time"]
        assert not database.jobs.count_documents(jobs.due_filter(ALL)), "it would be planned again and again"

    @pytest.mark.parametrize("field", ["wake_at", "next_nominal", "covered", "installed.schedule.anchor", "created_at"])
    @pytest.mark.parametrize("milliseconds", [-(2**62), 2**62], ids=["long ago", "far off"])
    def test_a_job_with_a_time_beyond_those_that_python_has_stops_nobody(
        self, database: Db, field: str, milliseconds: int
    ) -> None:
        now, sent = database_now(database), Sent()
        put(database, late_job("damaged", now, 1), late_job("good", now, 1))
        database.jobs.update_one({"_id": "damaged"}, {"$set": {field: DatetimeMS(milliseconds)}})
        fire(database, sent).run_once()
        (good,) = rows(database, "good")
        assert good["_id"] in sent.ids
        assert job(database, "good")["next_nominal"] > good["nominal_time"]
        assert not database.jobs.count_documents(jobs.due_filter(ALL)), "it would be planned again and again"

    @pytest.mark.parametrize("damage", [{"$unset": {"nominal_time": ""}}, {"$set": {"nominal_time": "soon"}}])
    def test_one_in_flight_whose_time_cannot_be_read_is_named_and_stops_no_job(
        self, database: Db, damage: dict[str, Any]
    ) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 1), late_job("other", now, 1))
        earlier = [fired(job(database), now - hours * HOUR, _id=_id) for hours, _id in ((1, "damaged"), (2, "earlier"))]
        database.executions.insert_many(earlier)
        database.executions.update_one({"_id": "damaged"}, damage)
        with capture_logs() as logs:
            fire(database).run_once()
        assert [row["state"] for row in rows(database, "other")] == ["PENDING"]
        assert [row["state"] for row in rows(database) if row["_id"] not in {"damaged", "earlier"}] == ["SKIPPED"]
        named = [line["execution_id"] for line in logs if line["action"] == "held_unreadable"]
        assert named == ["damaged"]

    def test_one_in_flight_that_has_a_list_of_jobs_is_named_and_stops_none_of_them(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 1), late_job("other", now, 1))
        uids = [job(database, job_id)["uid"] for job_id in ("job-1", "other")]
        database.executions.insert_one(fired(job(database), now - HOUR, _id="damaged", job_uid=uids, job_id=""))
        with capture_logs() as logs:
            fire(database).run_once()
        assert [row["state"] for job_id in ("job-1", "other") for row in rows(database, job_id)] == ["PENDING"] * 2
        assert [line["execution_id"] for line in logs if line["action"] == "held_unreadable"] == ["damaged"]

    @pytest.mark.parametrize(
        "damage",
        [
            {"$unset": {"nominal_time": ""}},
            {"$set": {"nominal_time": "soon"}},
            {"$set": {"last": None}},
            {"$unset": {"state": ""}},
            {"$set": {"state": "GONE"}},
        ],
    )
    def test_a_job_of_which_what_stands_cannot_be_read_is_parked_and_stops_nobody(
        self, database: Db, damage: dict[str, Any]
    ) -> None:
        """A beat died before it moved the pointer, and then what it had decided was damaged."""
        now, sent = database_now(database), Sent()
        put(database, late_job("damaged", now, 1), late_job("good", now, 1))
        standing = fired(job(database, "damaged"), job(database, "damaged")["next_nominal"])
        database.executions.insert_one(standing)
        database.executions.update_one({"_id": standing["_id"]}, damage)
        fire(database, sent).run_once()
        parked = job(database, "damaged")
        assert (parked["state"], parked["wake_at"]) == ("ERROR", None)
        (good,) = rows(database, "good")
        assert sent.ids == [good["_id"]]
        assert job(database, "good")["next_nominal"] > good["nominal_time"]

    def test_what_another_beat_has_decided_otherwise_stands(self, database: Db) -> None:
        """It knew of a further occurrence, and died before it moved the pointer."""
        now, sent = database_now(database), Sent()
        put(database, late_job("job-1", now, 60, every(60, anchor=now - timedelta(seconds=60))))
        before = job(database)
        first = before["next_nominal"]
        theirs = Row(State.SKIPPED, first, first + timedelta(seconds=60), 2, "others were in flight")
        database.executions.insert_one(executions.scheduled_document(before, theirs, now, "another beat"))
        fire(database, sent).run_once()
        assert job(database)["next_nominal"] == first + timedelta(seconds=120)
        assert ([row["state"] for row in rows(database)], sent.ids) == (["SKIPPED"], [])

    @pytest.mark.parametrize("damage", [{"state": "HALTED"}, {"nominal_time": "soon"}])
    def test_a_job_of_which_a_newer_release_decided_what_cannot_be_read_is_left_to_it(
        self, database: Db, monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any]
    ) -> None:
        """A newer beat died before it moved the pointer; this one has its partitions now, and for a while."""
        monkeypatch.setattr("beat.fire.LEFT_TO_NEWER", HOUR)
        now, sent = database_now(database), Sent()
        put(database, late_job("newer", now, 1), late_job("good", now, 1, once(now)))
        before = job(database, "newer")
        standing = fired(before, before["next_nominal"]) | {"schema": executions.SCHEMA + 1}
        database.executions.insert_one(standing)
        database.executions.update_one({"_id": standing["_id"]}, {"$set": damage})
        older = fire(database, sent)
        counted = metrics.BEAT_LEFT._value.get()
        with capture_logs() as logs:
            assert older.run_once() == LONGEST_SLEEP, "it has nothing to do meanwhile"
        left = job(database, "newer")
        assert left["wake_at"] > now, "a job that stays due keeps a beat busy, and thousands stand before all others"
        assert left | {"wake_at": before["wake_at"]} == before
        assert sent.ids == [row["_id"] for row in rows(database, "good")]
        make_due(database, "newer")
        with capture_logs() as later:
            older.run_once()
        named = [(line["job_id"], line["execution_id"]) for line in logs if line["action"] == "job_left_to_newer"]
        assert (named, later) == ([("newer", standing["_id"])], [])
        assert metrics.BEAT_LEFT._value.get() == counted + 2
        assert job(database, "newer")["state"] == "ACTIVE"

    def test_a_job_that_was_left_to_a_newer_beat_goes_on_when_it_can_be_read(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("newer", now, 1))
        standing = fired(job(database, "newer"), job(database, "newer")["next_nominal"], state="HALTED")
        database.executions.insert_one(standing | {"schema": executions.SCHEMA + 1})
        fire(database).run_once()
        database.executions.update_one({"_id": standing["_id"]}, {"$set": {"state": "RUNNING"}})
        make_due(database, "newer")
        fire(database).run_once()
        assert job(database, "newer")["next_nominal"] > standing["nominal_time"]
        assert check_ledger(database) == len(rows(database, "newer"))

    def test_a_deleted_job_that_cannot_be_planned_does_not_come_back(self, database: Db) -> None:
        broken = late_job("broken", database_now(database), 1)
        broken["installed"]["schedule"]["config"] = {"seconds": "$several"}
        put(database, broken)
        assert edit(database, "broken", every(), JobState.DELETED)
        fire(database).run_once()
        parked = job(database, "broken")
        assert (parked["state"], parked["wake_at"], parked["revision"]) == ("DELETED", None, 3)
        assert "$several" in parked["status_message"]

    def test_what_a_change_makes_decided_ahead_of_its_time_is_not_sent_before_it(self, database: Db) -> None:
        """A cutoff lies in the future when the clock of a new primary is behind."""
        now, sent = database_now(database), Sent()
        put(database, late_job("job-1", now, 0, every(3600, anchor=now)))
        assert edit(database, "job-1", every(3600, anchor=now), JobState.PAUSED)
        database.jobs.update_one({}, {"$set": {"changes.0.cutoff": now + timedelta(hours=2)}})
        fire(database, sent).run_once()
        assert [row["state"] for row in rows(database) if row["epoch"] == 0] == ["PENDING", "SKIPPED", "CLOSED"]
        assert not sent.ids

    def test_without_a_partition_nothing_is_done(self, database: Db) -> None:
        put(database, late_job("job-1", database_now(database), 5))
        Fire(database, Partitions(database, "b", timedelta(seconds=1)), Sent(), "b").run_once()
        assert not rows(database)

    def test_a_retry_window_ends_with_the_next_occurrence_of_the_chain(self, database: Db) -> None:
        now = database_now(database)
        for job_id, window in (("until-next", "UNTIL_NEXT"), ("unlimited", "UNLIMITED")):
            document = late_job(job_id, now, 70, every(60, anchor=now - timedelta(seconds=70)))
            document["retry"]["retry_window"] = window
            put(database, document)
        fire(database).run_once()
        (limited,), (unlimited,) = rows(database, "until-next"), rows(database, "unlimited")
        assert limited["retry_until"] == limited["nominal_time"] + timedelta(seconds=60)
        assert "retry_until" not in unlimited

    def test_a_job_of_a_newer_release_is_neither_planned_nor_parked_and_costs_no_sleep(self, database: Db) -> None:
        now = database_now(database)
        newer = late_job("newer", now, 5) | {"schema": jobs.SCHEMA + 1, "installed": {"unheard": "of"}}
        put(database, newer)
        newer = job(database, "newer")
        assert fire(database).run_once() == LONGEST_SLEEP
        assert job(database, "newer") == newer
        assert rows(database, "newer") == []
        assert metrics.BEAT_NEWER._value.get() == 1

    def test_a_job_of_an_older_release_fires(self, database: Db) -> None:
        document = late_job("older", database_now(database), 1.5) | {"schema": 1}
        for field in ("policies", "fired", "failures_since"):
            del document[field]
        put(database, document)
        fire(database).run_once()
        assert [row["state"] for row in rows(database, "older")] == ["PENDING"]


class TestBursts:
    """More is due at one instant than a batch: all of it is out before the pointers move."""

    DUE: ClassVar = tuple(f"job-{number}" for number in range(5))

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch, database: Db) -> None:
        monkeypatch.setattr(firing, "BATCH", 2)
        now = database_now(database)
        put(database, *(late_job(job_id, now, 1.5, every(3600, anchor=now - HOUR - SECOND)) for job_id in self.DUE))

    def fires(self, database: Db) -> list[str]:
        return [row["job_id"] for row in database.executions.find({"run": True}).sort("job_id", 1)]

    def still_due(self, database: Db) -> int:
        return database.jobs.count_documents(jobs.due_filter(ALL))

    def test_everything_is_handed_over_before_the_first_pointer_moves(self, database: Db) -> None:
        class Watched(Fire):
            def _advance(self, moves: Any) -> None:
                seen.append((len(sent.ids), database.jobs.count_documents(jobs.due_filter(ALL))))
                super()._advance(moves)

        seen: list[tuple[int, int]] = []
        sent = Sent()
        fire(database, sent, kind=Watched).run_once()
        assert seen == [(5, 5)]
        assert self.still_due(database) == 0
        assert check_ledger(database) == 5

    def test_a_beat_that_dies_before_the_pointers_move_leaves_nothing_to_fire_again(self, database: Db) -> None:
        class Dying(Fire):
            def _advance(self, _moves: Any) -> None:
                raise SystemExit

        with pytest.raises(SystemExit):
            fire(database, kind=Dying).run_once()
        assert (self.fires(database), self.still_due(database)) == (list(self.DUE), 5)
        sent = Sent()
        fire(database, sent).run_once()
        assert (self.fires(database), self.still_due(database)) == (list(self.DUE), 0)
        assert sent.ids == []  # they are in the store: the relay sends them
        assert check_ledger(database) == 5

    def test_a_beat_that_dies_between_two_batches_leaves_the_others_to_the_next_one(self, database: Db) -> None:
        class Dying(Sent):
            def __call__(self, documents: Iterable[Mapping[str, Any]]) -> None:
                super().__call__(documents)
                if len(self.ids) > 3:
                    raise SystemExit

        class Died(Fire):
            def _advance(self, _moves: Any) -> None:
                raise SystemExit

        with pytest.raises(SystemExit):
            fire(database, Dying(), kind=Died).run_once()
        assert (len(self.fires(database)), self.still_due(database)) == (4, 5)
        sent = Sent()
        fire(database, sent).run_once()
        assert (len(sent.ids), self.still_due(database)) == (1, 0)
        assert check_ledger(database) == 5

    def test_jobs_that_another_beat_moves_in_between_stay_where_that_put_them(self, database: Db) -> None:
        class Overtaken(Fire):
            def _advance(self, moves: Any) -> None:
                other.run_once()
                moved.extend(job(database, each) for each in TestBursts.DUE)
                super()._advance(moves)

        other, moved = fire(database, name="other"), list[dict[str, Any]]()
        fire(database, kind=Overtaken).run_once()
        assert [job(database, each) for each in self.DUE] == moved
        assert [each["fired"] for each in moved] == [1] * 5
        assert check_ledger(database) == 5

    @pytest.mark.parametrize("state", [JobState.ACTIVE, JobState.PAUSED, JobState.DELETED])
    def test_an_edit_that_comes_before_the_pointers_move_is_installed(self, database: Db, state: JobState) -> None:
        class Edited(Fire):
            def _advance(self, moves: Any) -> None:
                assert edit(database, "job-0", every(1800), state)
                super()._advance(moves)

        fire(database, kind=Edited).run_once()
        assert job(database, "job-0")["wake_at"] <= database_now(database)
        fire(database).run_once()
        after = job(database, "job-0")
        assert (after["epoch"], after["changes"], after["installed"]["mode"]) == (1, [], state.value)
        assert self.fires(database) == list(self.DUE)
        assert check_ledger(database) == 5

    def test_a_batch_that_cannot_be_carried_out_does_not_hold_back_those_before_it(self, database: Db) -> None:
        class Broken(Sent):
            def __call__(self, documents: Iterable[Mapping[str, Any]]) -> None:
                super().__call__(documents)
                if len(self.ids) > 3:
                    raise RuntimeError

        with pytest.raises(RuntimeError):
            fire(database, Broken()).run_once()
        assert self.still_due(database) == 3
        fire(database).run_once()
        assert check_ledger(database) == 5

    def test_a_batch_that_is_being_carried_out_when_the_next_cannot_be_read_is_finished(self, database: Db) -> None:
        class Slow(Sent):
            def __call__(self, documents: Iterable[Mapping[str, Any]]) -> None:
                assert failed.wait(60)
                super().__call__(documents)

        class Failing(Fire):
            def _plan(self, due: Any, *arguments: Any, **options: Any) -> Any:
                if next(batches):
                    Timer(0.2, failed.set).start()  # the first one is done some time after the second has failed
                    raise RuntimeError
                return super()._plan(due, *arguments, **options)

        failed, batches = Event(), count()
        sent = Slow()
        with pytest.raises(RuntimeError):
            fire(database, sent, kind=Failing).run_once()
        assert (len(sent.ids), self.still_due(database)) == (2, 3)
        fire(database).run_once()
        assert check_ledger(database) == 5

    def test_pointers_do_not_wait_for_longer_than_a_bound_for_what_else_is_due(
        self, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beat = fire(database)
        monkeypatch.setattr(firing, "MOST_OUT", 4)
        assert (beat.run_once(), self.still_due(database)) == (0.0, 1)
        monkeypatch.setattr(firing, "LONGEST_OUT", 0.0)
        database.jobs.update_many({}, {"$set": {"wake_at": database_now(database)}})
        assert (beat.run_once(), len(self.fires(database))) == (0.0, 4)

    def test_while_more_is_due_than_a_look_takes_pointers_move_before_the_rest_is_out(
        self, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Watched(Fire):
            def _advance(self, moves: Any) -> None:
                super()._advance(moves)
                seen.append((len(sent.ids), database.jobs.count_documents(jobs.due_filter(ALL))))

        now = database_now(database)
        put(database, *(late_job(f"more-{n}", now, 1.5, every(3600, anchor=now - HOUR - SECOND)) for n in range(6)))
        seen: list[tuple[int, int]] = []
        sent = Sent()
        beat = fire(database, sent, kind=Watched)
        monkeypatch.setattr(firing, "MOST_OUT", 4)
        assert (beat.run_once(), seen) == (0.0, [(4, 7)])
        monkeypatch.setattr(firing, "MOST_OUT", 100)
        seen.clear()
        assert beat.run_once() > 0
        assert seen == [(6, 5), (8, 3), (10, 1), (11, 0)]
        assert check_ledger(database) == 11

    def test_jobs_that_are_due_again_when_they_have_moved_fire_for_each_occurrence_once(
        self, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = database_now(database)
        late = Policies(Misfire.FIRE_ALL, timedelta(minutes=1), overlap=Overlap.ALLOW)
        put(
            database,
            *(late_job(f"late-{n}", now, 8) | {"policies": jobs.policies_document(late)} for n in range(7)),
        )
        monkeypatch.setattr("shared.domain.plan.MOST_ROWS", 2)
        monkeypatch.setattr(firing, "MOST_OUT", 4)
        sent = Sent()
        beat = fire(database, sent)
        beat.run_once()
        monkeypatch.setattr(firing, "MOST_OUT", 100)
        wait_until(lambda: beat.run_once() >= 0 and not database.jobs.count_documents({"wake_at": {"$lte": now}}))
        assert check_ledger(database) >= 7 * 8 + 5
        fired = [row["_id"] for row in database.executions.find({"run": True})]
        assert sorted(sent.ids) == sorted(fired)


class TestMaxRuns:
    def test_a_job_runs_so_often_whatever_happens_in_between_and_is_completed_then(self, database: Db) -> None:
        now = database_now(database)
        limited = replace(every(anchor=now - timedelta(seconds=30)), max_runs=3)
        put(database, late_job("job-1", now, 3, limited) | {"policies": jobs.policies_document(ALLOW)})
        # Two are decided in one look, one in the next; between them the job is paused and resumed.
        database.jobs.update_one({}, {"$set": {"covered": now - timedelta(seconds=2)}})
        fire(database).run_once()
        assert job(database)["fired"] == len(rows(database)) == 2
        for state in (JobState.PAUSED, JobState.ACTIVE):
            assert edit(database, "job-1", limited, state)
            fire(database).run_once()
        assert [entry["fired"] for entry in database.job_revisions.find().sort("epoch", 1)] == [2, 2]
        beat = fire(database)
        wait_until(lambda: beat.run_once() >= 0 and job(database)["state"] == "COMPLETED")
        beat.run_once()
        fires = [row for row in rows(database) if row.get("run")]
        assert (len(fires), job(database)["fired"], job(database)["next_nominal"]) == (3, 3, None)


class TestOverlap:
    def test_what_another_beat_fires_while_this_one_reads_is_in_flight(self, database: Db) -> None:
        class Slow(Fire):
            def _standing(self, chain: Any, session: Any) -> Any:
                late = job(database)
                database.executions.insert_one(fired(late, late["next_nominal"]))
                return super()._standing(chain, session)

        put(database, late_job("job-1", database_now(database), 2.5))
        fire(database, kind=Slow).run_once()
        first, second = rows(database)
        assert (first["state"], second["state"]) == ("PENDING", "SKIPPED")
        assert first["_id"] in second["reason"]

    def test_what_is_in_flight_is_read_no_older_than_the_chain(self, tmp_path: Path) -> None:
        """A primary that was just elected may show, to who does not ask for more, less than the one before it did."""

        class Reads(CommandListener):
            found: ClassVar[list[tuple[str, int | None, int]]] = []

            def started(self, event: CommandStartedEvent) -> None:
                if event.command_name == "find":
                    after = event.command.get("readConcern", {}).get("afterClusterTime")
                    self.found.append((event.command["find"], after and after.time, event.request_id))

            def succeeded(self, event: CommandSucceededEvent) -> None:
                self.times[event.request_id] = event.reply["operationTime"].time

            def failed(self, event: CommandFailedEvent) -> None:
                raise AssertionError(event.failure)

            times: ClassVar[dict[int, int]] = {}

        server = start_mongodb(tmp_path, replica_set="rs0")
        try:
            reads = Reads()
            database = connect(server.url, event_listeners=[reads])
            put(database, late_job("job-1", database_now(database), 2.5))
            fire(database).run_once()
            database.client.close()
        finally:
            server.kill()
        (_, _, chain), *later = reads.found
        of_rows = [after for collection, after, _ in later if collection == "executions"]
        assert len(of_rows) == 2, "what stands, and what is in flight"
        assert all(after is not None and after >= reads.times[chain] for after in of_rows)

    def test_the_first_look_at_a_primary_is_behind_a_write_that_a_majority_has(self, tmp_path: Path) -> None:
        """Else it may still show a job without the pause that was acknowledged before that primary was elected."""

        server = start_mongodb(tmp_path, replica_set="rs0")
        try:
            commands = LooksAndWrites()
            database = connect(server.url, event_listeners=[commands])
            duty = fire(database)
            for number in range(3):
                put(database, late_job(f"job-{number}", database_now(database), 2.5))
                if number == 2:
                    duty._caught_up = ("an earlier primary", 1)
                duty.run_once()
                assert rows(database, f"job-{number}")
            database.client.close()
        finally:
            server.kill()
        assert commands.seen[:3] == ["look", "write majority", "look"]
        assert commands.seen.count("write majority") == 2, "of the same primary once"
        assert set(commands.seen) == {"look", "write majority"}
        assert commands.reached[1] >= commands.times[2]

    def test_so_is_what_is_read_once_more_when_another_primary_answers_that(self, tmp_path: Path) -> None:
        class Overtaken(Fire):
            def _insert(self, planned: Any) -> Any:
                if rows(database):
                    return super()._insert(planned)
                late = job(database)
                first = late["next_nominal"]
                row = executions.scheduled_document(late, Row(State.SKIPPED, first, first), first, "other")
                database.executions.insert_one(row)
                assert self._caught_up is not None
                self._caught_up = ("an earlier primary", 1)
                return super()._insert(planned)

        server = start_mongodb(tmp_path, replica_set="rs0")
        try:
            commands = LooksAndWrites()
            database = connect(server.url, event_listeners=[commands])
            put(database, late_job("job-1", database_now(database), 1.5))
            fire(database, kind=Overtaken).run_once()
            (row,) = rows(database)
            assert (row["state"], job(database)["covered"]) == ("SKIPPED", row["nominal_time"])
            database.client.close()
        finally:
            server.kill()
        assert commands.seen[:6] == ["look", "write majority", "look", "read", "write majority", "read"]
        assert commands.reached[3] >= commands.times[5]


class TestChanges:
    def test_pause_and_resume_leave_one_row_for_the_stretch(self, database: Db) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 10)
        put(database, document)
        assert edit(database, "job-1", from_document(document["schedule"]), JobState.PAUSED)
        fire(database).run_once()
        assert job(database)["wake_at"] is None
        # As if the pause had begun five seconds ago.
        began = job(database)["covered"] - timedelta(seconds=5)
        database.job_revisions.update_one({"epoch": 1}, {"$set": {"began": began}})
        database.executions.update_one({"state": "CLOSED"}, {"$set": {"last": began}})
        pointer = every(anchor=document["created_at"]).next_after(began)
        database.jobs.update_one({}, {"$set": {"covered": began, "next_nominal": pointer}})
        assert edit(database, "job-1", from_document(document["schedule"]))
        fire(database).run_once()
        (gap,) = [row for row in rows(database) if row["epoch"] == 1 and row["state"] != "CLOSED"]
        assert (gap["state"], gap["count"], gap["reason"]) == ("SKIPPED", 5, "the job was paused")
        assert (job(database)["epoch"], job(database)["changes"]) == (2, [])

    def test_several_changes_are_installed_in_their_order_and_kept_in_the_history(self, database: Db) -> None:
        put(database, late_job("job-1", database_now(database), 3))
        for seconds in (7, 11, 13):
            assert edit(database, "job-1", every(seconds))
        settle(database)
        history = database.job_revisions.find().sort("epoch", 1)
        assert [revision["schedule"]["config"]["seconds"] for revision in history] == ["7", "11", "13"]
        check_ledger(database)

    def test_a_delete_cancels_what_waits_and_lets_what_runs_be_the_last_attempt(self, database: Db) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 1)
        put(database, document)
        hour = timedelta(hours=1)
        for state in ("QUEUED", "RUNNING", "SUCCEEDED"):
            database.executions.insert_one(fired(document, now - hour, _id=state, state=state, trigger="MANUAL"))
        database.executions.update_one({"_id": "SUCCEEDED"}, {"$unset": {"open": ""}})
        assert edit(database, "job-1", from_document(document["schedule"]), JobState.DELETED)
        fire(database).run_once()
        after = {row["_id"]: row for row in rows(database)}
        assert after["QUEUED"]["state"] == "CANCELLED"
        cancel = after["RUNNING"]["cancel"]
        assert (after["RUNNING"]["state"], cancel["reason"], cancel["call"]) == (
            "RUNNING",
            "the job was deleted",
            False,
        )
        assert after["SUCCEEDED"]["state"] == "SUCCEEDED"
        scheduled = [row["state"] for row in after.values() if row["trigger"] == "SCHEDULE"]
        assert scheduled == ["CANCELLED", "CLOSED"]
        assert (job(database)["wake_at"], job(database)["state"]) == (None, "DELETED")
        assert fire(database).run_once() == LONGEST_SLEEP

    @pytest.mark.parametrize("damage", [None, "none", {"at": 1}], ids=str)
    def test_a_deleted_job_that_has_a_row_whose_record_is_damaged_stops_no_other(
        self, database: Db, damage: object
    ) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 1)
        put(database, document, late_job("good", now, 1))
        for each in ("damaged", "other"):
            database.executions.insert_one(fired(document, now - HOUR, _id=each, trigger="MANUAL"))
        database.executions.update_one({"_id": "damaged"}, {"$set": {"transitions": damage}})
        assert edit(database, "job-1", from_document(document["schedule"]), JobState.DELETED)
        fire(database).run_once()
        assert [row["state"] for row in rows(database, "good")] == ["PENDING"]
        assert {row["_id"]: row["state"] for row in rows(database)}.items() > {
            "damaged": "CANCELLED",
            "other": "CANCELLED",
        }.items()
        assert (job(database)["state"], job(database)["changes"]) == ("DELETED", [])

    def test_a_delete_that_cancels_what_runs_does_so_also_when_only_beat_is_left_to_do_it(self, database: Db) -> None:
        now = database_now(database)
        document = late_job("job-1", now, 1)
        put(database, document)
        database.executions.insert_one(fired(document, now - timedelta(hours=1), state="RUNNING", trigger="MANUAL"))
        change = jobs.Queued(from_document(document["schedule"]), "tester", "because", cancel_running=True)
        update = jobs.edit({}, JobState.DELETED, change)
        assert database.jobs.update_one({"_id": "job-1"}, update).modified_count
        fire(database).run_once()
        (running,) = database.executions.find({"state": "RUNNING"})
        assert running["cancel"]["call"] is True

    def test_an_edit_of_an_exhausted_schedule_is_installed_behind_the_row_end(self, database: Db) -> None:
        now = database_now(database)
        put(database, late_job("job-1", now, 10, once(now - timedelta(seconds=5))))
        fire(database).run_once()
        assert edit(database, "job-1", every(3600))
        fire(database).run_once()
        assert [(row["_id"].rpartition(".")[2], row["state"]) for row in rows(database)][-1] == ("end", "CLOSED")
        assert (job(database)["state"], job(database)["epoch"]) == ("ACTIVE", 1)
        assert job(database)["wake_at"] is not None
        check_ledger(database)

    def test_an_edit_that_comes_while_a_beat_decides_is_not_put_off_by_its_advance(self, database: Db) -> None:
        class Edited(Fire):
            def _advance(self, planned: Any) -> None:
                assert edit(database, "job-1", every(3600))
                super()._advance(planned)

        now = database_now(database)
        put(database, late_job("job-1", now, 1.5, every(anchor=now - timedelta(seconds=1.5), end=now)))
        fire(database, kind=Edited).run_once()
        assert job(database)["wake_at"] <= database_now(database)
        fire(database).run_once()
        assert (job(database)["epoch"], job(database)["changes"]) == (1, [])

    def test_the_cutoff_is_never_before_what_is_decided_or_queued(self, database: Db) -> None:
        document = late_job("job-1", database_now(database), 1)
        ahead = (database_now(database) + timedelta(hours=1)).replace(microsecond=0)
        put(database, document | {"covered": ahead})
        assert edit(database, "job-1", every(7))
        database.jobs.update_one({}, {"$set": {"changes.0.cutoff": ahead + timedelta(hours=1)}})
        assert edit(database, "job-1", every(9))
        cutoffs = [change["cutoff"] for change in job(database)["changes"]]
        assert cutoffs == [ahead + timedelta(hours=1)] * 2
        assert job(database)["wake_at"] <= database_now(database)

    def test_an_edit_of_words_of_dollars_is_kept_as_it_is(self, database: Db) -> None:
        put(database, late_job("job-1", database_now(database), 1))
        change = jobs.Queued(every(7), "$$NOW", "$state")
        update = jobs.edit({"name": "$uid", "description": "$$ROOT"}, JobState.ACTIVE, change)
        database.jobs.update_one(jobs.edit_filter("job-1", 1), update)
        after = job(database)
        assert (after["name"], after["description"]) == ("$uid", "$$ROOT")
        assert (after["changes"][0]["by"], after["changes"][0]["reason"]) == ("$$NOW", "$state")


def settle(database: Db) -> None:
    """Let a beat work until no change waits."""
    beat = fire(database)
    wait_until(lambda: beat.run_once() >= 0 and not database.jobs.count_documents({"changes.0": {"$exists": True}}))


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not come"
        sleep(0.01)


class Interfered:
    """A database where something happens between the steps of whoever uses it."""

    def __init__(self, database: Db) -> None:
        self._database = database

    def __getitem__(self, name: str) -> Any:
        return _InterferedCollection(self, self._database[name])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def command(self, *arguments: Any, **options: Any) -> Any:
        operation = partial(self._database.command, *arguments, **options)
        return self.step(operation, None, lambda _: None)

    def step(self, operation: Callable[[], Any], requests: Sequence[Any] | None, part: Callable[[Any], Any]) -> Any:
        """Do an operation; of a bulk, requests are its parts, and part does some of them."""
        raise NotImplementedError


class _InterferedCollection:
    def __init__(self, interfered: Interfered, collection: Any) -> None:
        self._interfered = interfered
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._collection, name)

        def step(*arguments: Any, **options: Any) -> Any:
            requests = arguments[0] if name == "bulk_write" else None
            return self._interfered.step(
                partial(operation, *arguments, **options), requests, partial(operation, **options)
            )

        return step


class Stalling(Interfered):
    """Some steps take up to a third of a second, so that snapshots are seconds old when they are acted on."""

    def __init__(self, database: Db, seed: int) -> None:
        super().__init__(database)
        self._chance = Random(seed)

    def step(self, operation: Callable[[], Any], requests: Sequence[Any] | None, _part: Callable[[Any], Any]) -> Any:
        if requests is not None or self._chance.random() < 1 / 100:
            sleep(self._chance.random() / 3)
        return operation()


class CrashError(Exception):
    """The beat dies here."""


class Crashing(Interfered):
    """A database whose n-th operation the process does not live to see; of a bulk, half may have been done."""

    def __init__(self, database: Db, at: int, *, halfway: bool) -> None:
        super().__init__(database)
        self._operations = count()  # its next() is one step for all threads
        self._at = at
        self._halfway = halfway

    def step(self, operation: Callable[[], Any], requests: Sequence[Any] | None, part: Callable[[Any], Any]) -> Any:
        number = next(self._operations)
        if number < self._at:
            return operation()
        # Once: who has died does nothing on its way out.
        if number == self._at and self._halfway and requests is not None and len(requests) > 1:
            part(requests[: len(requests) // 2])
        raise CrashError


@pytest.mark.parametrize("batch", [firing.BATCH, 10])
def test_beats_that_all_believe_to_hold_everything_decide_each_occurrence_once(
    database: Db, database_url: str, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Beats that stall between all steps race over jobs of every second; executions end, and people edit the jobs."""
    monkeypatch.setattr(firing, "BATCH", batch)
    now = database_now(database)
    put(database, *[late_job(f"job-{n}", now, n % 5) for n in range(200)])
    sent, done = [Sent() for _ in range(3)], Event()
    until = now + timedelta(seconds=4)

    def beat(number: int) -> None:
        own = connect(database_url)
        duty = fire(cast("Db", Stalling(own, number)), sent[number], f"beat-{number}")
        while not done.is_set():
            duty.run_once()
        own.client.close()

    def workers() -> None:
        while not done.is_set():
            database.executions.update_many(
                {"open": True}, {"$set": {"state": "SUCCEEDED"}, "$unset": {"open": "", "send_at": ""}}
            )

    def editor() -> None:
        chance = Random(1)
        while not done.wait(0.03):
            states = [JobState.ACTIVE, JobState.ACTIVE, JobState.PAUSED]
            edit(database, f"job-{chance.randrange(200)}", every(chance.choice([1, 2])), chance.choice(states))

    def decided() -> bool:
        return not database.jobs.count_documents({"$or": [{"wake_at": {"$lte": until}}, {"changes.0": {"$exists": 1}}]})

    def raced() -> bool:
        several = sum(bool(each.ids) for each in sent) > 1
        return several and database.job_revisions.count_documents({}) > 50 and database_now(database) > until

    with ThreadPoolExecutor(5) as pool:
        racing = [pool.submit(beat, number) for number in range(3)] + [pool.submit(workers), pool.submit(editor)]
        try:
            wait_until(raced, 90)
        finally:
            done.set()
        for each in racing:
            each.result()
    last = fire(database)
    wait_until(lambda: last.run_once() >= 0 and decided())
    assert check_ledger(database) > 600
    handed_over = [execution_id for each in sent for execution_id in each.ids]
    assert len(handed_over) == len(set(handed_over)), "each row is handed over by the one beat that inserted it"


ALLOW = Policies(overlap=Overlap.ALLOW)
OVERLAPS = [
    Policies(misfire, timedelta(seconds=1), overlap=overlap, buffer_limit=5, max_concurrent=3)
    for overlap in Overlap
    for misfire in Misfire
]


def test_executions_of_a_job_run_at_once_only_as_its_policy_allows(database: Db, database_url: str) -> None:
    """Beats and relays that stall race over jobs of all policies, of which executions end now and then."""
    now = database_now(database)
    policy = {f"uid-job-{n}": OVERLAPS[n % len(OVERLAPS)] for n in range(60)}
    for number in range(60):
        document = late_job(f"job-{number}", now, number % 7)
        put(database, document | {"policies": jobs.policies_document(policy[document["uid"]])})
    done, at_least = Event(), now + timedelta(seconds=4)
    at_once: dict[str, int] = defaultdict(int)

    def beat(number: int) -> None:
        own = connect(database_url)
        slow = cast("Db", Stalling(own, number))
        duty = fire(slow, name=f"beat-{number}")
        held, nobody = BelievesAll(own, "beat", timedelta(seconds=60)), cast("Any", None)
        relay = Relay(slow, held, nobody, nobody, (), "beat")
        while not done.is_set():
            duty.run_once()
            relay.release_held()
        own.client.close()

    def workers() -> None:
        chance = Random(2)
        while not done.wait(0.05):
            free = {"open": True, "held": {"$exists": False}}
            seen = {row["_id"]: row["job_uid"] for row in database.executions.find(free)}
            # What is open at the second look, and was free at the first, was both at the moment between them.
            still = [seen[row["_id"]] for row in database.executions.find({"_id": {"$in": list(seen)}, "open": True})]
            for uid in set(still):
                at_once[uid] = max(at_once[uid], still.count(uid))
            ended = {"$in": [execution_id for execution_id in seen if chance.random() < 1 / 20]}
            database.executions.update_many(
                {"_id": ended, "open": True}, {"$set": {"state": "SUCCEEDED"}, "$unset": {"open": "", "send_at": ""}}
            )

    def has_raced() -> bool:
        """Whether all has been seen that policies decide: on a busy machine that takes longer than the least."""
        holding = (Overlap.BUFFER_ONE, Overlap.BUFFER_ALL, Overlap.CANCEL_PREVIOUS)
        return (
            database_now(database) > at_least
            and max(at_once.copy().values(), default=0) >= 3
            and all(
                database.executions.count_documents(
                    {"released_at": {"$exists": True}, "policies.overlap": overlap.value}, limit=1
                )
                for overlap in holding
            )
            and database.executions.count_documents({"state": "CANCELLED", "policies.overlap": "CANCEL_PREVIOUS"}) > 0
        )

    with ThreadPoolExecutor(4) as pool:
        racing = [pool.submit(beat, number) for number in range(3)] + [pool.submit(workers)]
        try:
            wait_until(has_raced)
            until = database_now(database)
        finally:
            done.set()
        for each in racing:
            each.result()
    last = fire(database)
    wait_until(lambda: last.run_once() >= 0 and not database.jobs.count_documents({"wake_at": {"$lte": until}}))
    assert check_ledger(database) > 200
    assert {uid for uid, most in at_once.items() if most > policy[uid].most_running} == set()


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("batch", [firing.BATCH, 2])
def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(
    database: Db, monkeypatch: pytest.MonkeyPatch, halfway: bool, batch: int
) -> None:
    """In small batches, more is due than a look takes: one is carried out while the next is planned."""
    monkeypatch.setattr(firing, "BATCH", batch)
    crashes = 0
    while True:
        for collection in (database.jobs, database.executions, database.job_revisions):
            collection.delete_many({})
        now = database_now(database)
        deleted = late_job("deleted", now, 2)
        put(
            database,
            late_job("one", now, 1),
            late_job("some", now, 5),
            late_job("many", now, 300),
            late_job("last", now, 300, once(now - timedelta(seconds=200))),
            late_job("edited", now, 4),
            late_job("edited-much", now, 4),
            deleted,
        )
        database.executions.insert_one(fired(deleted, now, _id="by-hand", trigger="MANUAL"))
        assert edit(database, "edited", every(2))
        for schedule, state in [(every(3), JobState.PAUSED), (every(3), JobState.ACTIVE), (every(5), JobState.ACTIVE)]:
            assert edit(database, "edited-much", schedule, state)
        assert edit(database, "deleted", every(), JobState.DELETED)

        beat = fire(cast("Db", Crashing(database, crashes, halfway=halfway)))
        beat._is_behind = batch == 2
        try:
            beat.run_once()
        except CrashError:
            crashed = True
        else:
            crashed = False
        settle(database)
        assert not database.jobs.count_documents({"wake_at": {"$lte": now}}), crashes
        assert check_ledger(database) > 300
        assert not database.executions.count_documents({"job_id": "deleted", "open": True})
        assert not database.executions.count_documents({"open": True, "send_at": {"$exists": False}})
        assert job(database, "last")["state"] == "COMPLETED"
        if not crashed:
            break
        crashes += 1
    assert crashes > 15
