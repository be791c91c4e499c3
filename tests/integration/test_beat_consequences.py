"""What a job's policies ask for after its executions have ended: pause_on_failure and delete_after_done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from beat.consequences import Consequences
from beat.fire import Fire
from beat.partitions import Partitions
from shared.domain.execution import AfterFailure, Failure, State
from shared.domain.job import JobState
from shared.store import executions, jobs
from tests.builders import every, fired, job_document, once

if TYPE_CHECKING:
    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

NOW = datetime.now(UTC).replace(microsecond=0)
LEASE = timedelta(seconds=60)


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(jobs.PARTITIONS))


def run_once(database: Db) -> None:
    Consequences(database, BelievesAll(database, "beat", LEASE), "beat").run_once()


def put(database: Db, **policies: Any) -> dict[str, Any]:
    """Store a job that was created an hour ago and fires every minute."""
    document = job_document(
        "job-1", every(60, anchor=NOW - timedelta(hours=1)), created=NOW - timedelta(hours=1), policies=policies
    )
    database.jobs.insert_one(document)
    return document


def end(database: Db, job: dict[str, Any], minutes_ago: int, state: State, **changes: Any) -> None:
    """Insert an execution and end it as a worker does."""
    nominal = NOW - timedelta(minutes=minutes_ago)
    row = fired(job, nominal) | changes
    database.executions.insert_one(row)
    claim = executions.claim(row["_id"], "worker", "nonce", LEASE)
    assert database.executions.update_one(claim.filter, claim.update).modified_count
    if state is State.SUCCEEDED:
        move = executions.succeed(row["_id"], "nonce", "worker", "{}", truncated=False)
    else:
        move = executions.fail(
            row["_id"], "nonce", "worker", Failure("INTERNAL", "no", False), AfterFailure(State.FAILED, None, "no")
        )
    assert database.executions.update_one(move.filter, move.update).modified_count


def job(database: Db) -> dict[str, Any]:
    found = database.jobs.find_one({"_id": "job-1"})
    assert found is not None
    return found


class TestPauseOnFailure:
    def test_a_job_is_paused_after_so_many_failures_in_a_row_and_says_so(self, database: Db) -> None:
        document = put(database, pause_on_failure=2)
        end(database, document, 9, State.FAILED)
        run_once(database)
        assert job(database)["state"] == JobState.ACTIVE
        end(database, document, 8, State.FAILED)
        run_once(database)
        paused = jobs.to_job(job(database))
        assert paused.state is JobState.PAUSED
        assert "2 executions in a row failed" in paused.status_message
        assert "INTERNAL" in paused.status_message
        assert paused.waiting_changes == 1

    def test_the_pause_is_put_in_force_and_its_occurrences_are_skipped(self, database: Db) -> None:
        document = put(database, pause_on_failure=1)
        end(database, document, 30, State.FAILED)
        run_once(database)
        Fire(database, BelievesAll(database, "beat", LEASE), lambda _: None, "beat").run_once()
        assert job(database)["installed"]["mode"] == "PAUSED"

    def test_a_success_in_between_begins_the_count_anew(self, database: Db) -> None:
        document = put(database, pause_on_failure=2)
        for minutes, state in ((9, State.FAILED), (8, State.SUCCEEDED), (7, State.FAILED)):
            end(database, document, minutes, state)
        run_once(database)
        assert job(database)["state"] == JobState.ACTIVE

    def test_runs_by_hand_do_not_count(self, database: Db) -> None:
        document = put(database, pause_on_failure=2)
        end(database, document, 9, State.FAILED, trigger="MANUAL")
        end(database, document, 8, State.FAILED)
        run_once(database)
        assert job(database)["state"] == JobState.ACTIVE

    def test_failures_from_before_a_resume_do_not_count(self, database: Db) -> None:
        document = put(database, pause_on_failure=2)
        end(database, document, 9, State.FAILED)
        resumed = jobs.edit({}, JobState.ACTIVE, jobs.Queued(every(60), "someone", "resumed"))
        database.jobs.update_one(jobs.edit_filter("job-1", 1), resumed)
        end(database, document, -1, State.FAILED, due_at=NOW)
        run_once(database)
        assert job(database)["state"] == JobState.ACTIVE

    def test_a_failure_is_looked_at_again_when_the_job_was_edited_meanwhile(self, database: Db) -> None:
        document = put(database, pause_on_failure=1)
        end(database, document, 9, State.FAILED)

        class EditsMeanwhile(Consequences):
            def _edit(self, job: Any, state: JobState, reason: str) -> bool:
                database.jobs.update_one({}, {"$inc": {"revision": 1}})
                return super()._edit(job, state, reason)

        EditsMeanwhile(database, BelievesAll(database, "beat", LEASE), "beat").run_once()
        assert job(database)["state"] == JobState.ACTIVE
        run_once(database)
        assert job(database)["state"] == JobState.PAUSED

    def test_a_job_of_a_newer_schema_is_left_to_a_newer_beat(self, database: Db) -> None:
        document = put(database, pause_on_failure=1)
        end(database, document, 9, State.FAILED)
        database.jobs.update_one({}, {"$set": {"schema": jobs.SCHEMA + 1}})
        before = job(database)
        run_once(database)
        assert job(database) == before
        assert database.executions.count_documents({"may_pause": True}) == 1, "the newer beat has to look at it"

    @pytest.mark.parametrize("damage", [["a", "list"], None], ids=str)
    def test_a_failure_that_names_no_job_keeps_none_from_being_paused(self, database: Db, damage: object) -> None:
        document = put(database, pause_on_failure=1)
        end(database, document, 9, State.FAILED)
        end(database, job_document("job-2", policies={"pause_on_failure": 1}), 8, State.FAILED, _id="damaged")
        database.executions.update_one({"_id": "damaged"}, {"$set": {"job_uid": damage}})
        run_once(database)
        assert job(database)["state"] == JobState.PAUSED

    def test_by_default_a_job_fails_for_ever(self, database: Db) -> None:
        document = put(database)
        for minutes in range(20, 5, -1):
            end(database, document, minutes, State.FAILED)
        run_once(database)
        assert job(database)["state"] == JobState.ACTIVE
        assert not database.executions.count_documents({"may_pause": True})


class TestDeleteAfterDone:
    def done(self, database: Db, **policies: Any) -> dict[str, Any]:
        """Store a `once` that has fired."""
        document = job_document("job-1", once(NOW), created=NOW - timedelta(hours=1), policies=policies)
        database.jobs.insert_one(document)
        fires = Fire(database, BelievesAll(database, "beat", LEASE), lambda _: None, "beat")
        fires.run_once()
        assert job(database)["state"] == JobState.COMPLETED
        return document

    def test_a_job_is_deleted_when_its_last_execution_has_ended(self, database: Db) -> None:
        self.done(database, delete_after_done=True)
        run_once(database)
        assert job(database)["state"] == JobState.COMPLETED, "its execution is still in flight"
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        run_once(database)
        assert job(database)["state"] == JobState.DELETED
        assert "delete_after_done" in job(database)["status_message"]

    def test_one_that_has_a_paused_backfill_is_not_done(self, database: Db) -> None:
        self.done(database, delete_after_done=True)
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        # As it is when beat has nothing to do with it until it is resumed.
        database.backfills.insert_one({"_id": "b", "job_uid": "uid-job-1", "state": "PAUSED"})
        run_once(database)
        assert job(database)["state"] == JobState.COMPLETED
        database.backfills.update_one({}, {"$set": {"state": "CANCELLED"}})
        run_once(database)
        assert job(database)["state"] == JobState.DELETED

    def test_of_more_than_are_looked_at_at_once_each_has_its_turn(
        self, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two wait for executions that do not end; they may be looked at first, but not for ever."""
        monkeypatch.setattr("beat.consequences.BATCH", 1)
        self.done(database, delete_after_done=True)
        (document,) = database.jobs.find()
        for name in ("waits", "waits-too"):
            database.jobs.insert_one({**document, "_id": name, "uid": f"uid-{name}"})
            database.executions.insert_one(fired(job_document(name), NOW))
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        for _ in range(200):  # of each, two thirds miss it
            run_once(database)
        states = {each["_id"]: each["state"] for each in database.jobs.find()}
        assert states == {"job-1": "DELETED", "waits": "COMPLETED", "waits-too": "COMPLETED"}

    def test_a_job_of_a_newer_schema_is_left_to_a_newer_beat(self, database: Db) -> None:
        self.done(database, delete_after_done=True)
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        database.jobs.update_one({}, {"$set": {"schema": jobs.SCHEMA + 1}})
        before = job(database)
        run_once(database)
        assert job(database) == before

    def test_by_default_it_stays(self, database: Db) -> None:
        self.done(database)
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        run_once(database)
        assert job(database)["state"] == JobState.COMPLETED

    def test_a_job_that_cannot_be_read_stops_nobody(self, database: Db) -> None:
        self.done(database, delete_after_done=True)
        cancelled = executions.end_open("uid-job-1", "someone", "stopped")
        database.executions.update_one(cancelled.filter, cancelled.update)
        broken = job_document("broken", every(60), policies={"delete_after_done": True, "pause_on_failure": 1})
        broken["schedule"]["type"] = "sunrise"
        database.jobs.insert_one(broken | {"state": "COMPLETED"})
        failing = job_document("failing", every(60), policies={"pause_on_failure": 1})
        failing["policies"]["misfire"] = "NEVER_HEARD_OF"
        database.jobs.insert_one(failing)
        end(database, job_document("failing", policies={"pause_on_failure": 1}), 9, State.FAILED)
        run_once(database)
        assert job(database)["state"] == JobState.DELETED
