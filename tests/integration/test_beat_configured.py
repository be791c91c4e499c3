"""Entries of beat_schedule are jobs: made, changed, deleted and brought back by beats, however many start at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

from celery import Celery
from celery.schedules import crontab
from structlog.testing import capture_logs

from beat.configured import BY, Configured, read_entries, report_left
from shared.domain.job import JobState
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions, jobs
from shared.tasks.registry import Tasks
from shared.tasks.task import LedgeredTask
from tests.builders import DEFAULTS, job_document
from tests.integration.test_audit import audit
from tests.integration.test_beat_fire import fire
from tests.integration.test_server_harness import Running, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

SECONDLY = {"task": "app.tasks.add", "schedule": 1, "args": (1,)}
NIGHTLY = {"task": "app.tasks.add", "schedule": crontab(hour=3, minute=0), "kwargs": {"x": 2}}


def add(x: int, y: int = 0) -> int:
    return x + y


def configured(database: Db, **schedule: Mapping[str, Any]) -> Configured:
    """A beat's view of a module that has these entries."""
    app: Any = Celery(set_as_current=False, task_cls=LedgeredTask)
    app.conf.beat_schedule = schedule
    app.task(name="app.tasks.add", shared=False)(add)
    entries = read_entries(app, Tasks({"app.tasks.add": app.tasks["app.tasks.add"]}), DEFAULTS)
    return Configured(database, entries, DEFAULTS)


def start(database: Db, **schedule: Mapping[str, Any]) -> None:
    configured(database, **schedule).run_once()


def job(database: Db, job_id: str = "tick") -> dict[str, Any]:
    found = database.jobs.find_one({"_id": job_id})
    assert found is not None
    return found


def state(database: Db, job_id: str = "tick") -> JobState:
    return jobs.to_job(job(database, job_id)).state


def back(database: Db, seconds: int, job_id: str = "tick") -> None:
    """Put a job's beginning back, so that it has occurrences to decide."""
    span = timedelta(seconds=seconds)
    document = job(database, job_id)
    anchor = document["schedule"]["anchor"] - span
    times = {"covered": document["covered"] - span, "next_nominal": anchor + timedelta(seconds=1)}
    database.jobs.update_one(
        {"_id": job_id},
        {
            "$set": times
            | {"wake_at": times["next_nominal"], "created_at": document["created_at"] - span}
            | {"schedule.anchor": anchor, "installed.schedule.anchor": anchor}
        },
    )
    database.job_revisions.update_many(
        {"job_uid": document["uid"]}, {"$set": {"began": times["covered"], "schedule.anchor": anchor}}
    )


def install(database: Db) -> None:
    """Let a beat decide what is due, and put in force what waits."""
    beat = fire(database)
    for _ in range(3):
        beat.run_once()


class TestStart:
    def test_an_entry_becomes_a_job_and_a_second_start_changes_nothing(self, database: Db) -> None:
        start(database, tick=SECONDLY, nightly=NIGHTLY)
        found = jobs.to_job(job(database, "nightly"))
        assert (found.managed_by, found.created_by, found.definition.name) == (BY, BY, "nightly")
        assert (found.definition.target_service, found.definition.parameters) == ("task", {"x": 2})
        assert found.definition.schedule.config == {"expression": "0 3 * * *"}
        before = list(database.jobs.find()), list(database.job_revisions.find())
        start(database, tick=SECONDLY, nightly=NIGHTLY)
        assert (list(database.jobs.find()), list(database.job_revisions.find())) == before

    def test_any_number_of_beats_may_start_at_once(self, database: Db) -> None:
        schedule = {f"e{number}": SECONDLY for number in range(20)}
        beats = [configured(database, **schedule) for _ in range(6)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(Configured.run_once, beats))
        assert database.jobs.count_documents({}) == 20
        assert {found["revision"] for found in database.jobs.find()} == {1}
        uids = {found["uid"] for found in database.jobs.find()}
        assert {entry["job_uid"] for entry in database.job_revisions.find()} == uids
        assert database.job_revisions.count_documents({}) == 20

    def test_an_entry_that_changed_changes_its_job(self, database: Db) -> None:
        start(database, nightly=NIGHTLY)
        start(database, nightly=NIGHTLY | {"schedule": crontab(hour=4, minute=0), "options": {"expires": 60}})
        changed = jobs.to_job(job(database, "nightly"))
        assert changed.definition.schedule.config == {"expression": "0 4 * * *"}
        assert changed.definition.expires == timedelta(minutes=1)
        assert (changed.state, changed.waiting_changes, changed.updated_by) == (JobState.ACTIVE, 1, BY)

    def test_an_interval_goes_on_counting_when_something_else_changes(self, database: Db) -> None:
        start(database, tick=SECONDLY | {"schedule": 3600})
        before = job(database)
        start(database, tick=SECONDLY | {"schedule": timedelta(hours=1), "args": (5,)})
        after = job(database)
        assert (after["schedule"], after["changes"]) == (before["schedule"], [])
        assert after["parameters"] == '{"x": 5}'

    def test_a_paused_job_stays_paused(self, database: Db) -> None:
        start(database, tick=SECONDLY)
        found = job(database)
        paused = jobs.Queued(jobs.to_job(found).definition.schedule, "alice", "not now")
        database.jobs.update_one({"_id": "tick"}, jobs.edit({}, JobState.PAUSED, paused, status_message="not now"))
        start(database, tick=SECONDLY | {"args": (7,), "schedule": 2})
        found = job(database)
        assert (found["state"], found["status_message"], found["parameters"]) == ("PAUSED", "not now", '{"x": 7}')
        install(database)
        assert job(database)["installed"]["mode"] == "PAUSED"

    def test_a_job_that_was_set_aside_begins_anew(self, database: Db) -> None:
        start(database, tick=SECONDLY)
        database.jobs.update_one({"_id": "tick"}, jobs.park("the job cannot be planned"))
        start(database, tick=SECONDLY | {"args": (2,)})
        assert (state(database), job(database)["status_message"]) == (JobState.ACTIVE, "")

    def test_a_job_whose_entry_is_gone_is_deleted_with_what_has_not_started(self, database: Db) -> None:
        start(database, tick=SECONDLY, nightly=NIGHTLY)
        back(database, 3)
        install(database)
        start(database, nightly=NIGHTLY)
        assert (state(database), state(database, "nightly")) == (JobState.DELETED, JobState.ACTIVE)
        install(database)
        rows = list(database.executions.find({"job_id": "tick", "run": True}))
        assert rows
        assert {row["state"] for row in rows} == {"CANCELLED"}

    def test_a_job_of_a_client_is_left_alone_and_the_rest_goes_on(self, database: Db) -> None:
        database.jobs.insert_one(job_document("tick"))
        before = job(database)
        with capture_logs() as logs:
            start(database, tick=SECONDLY, nightly=NIGHTLY)
        assert job(database) == before
        assert state(database, "nightly") is JobState.ACTIVE
        (taken,) = [line for line in logs if line["action"] == "configured_taken"]
        assert (taken["log_level"], taken["job_id"], taken["entry"]) == ("error", "tick", "tick")
        start(database)
        assert job(database) == before

    def test_a_job_that_cannot_be_read_is_left_alone_and_the_rest_goes_on(self, database: Db) -> None:
        start(database, tick=SECONDLY, other=SECONDLY)
        database.jobs.update_one({"_id": "other"}, {"$set": {"schedule": {"type": "lunar", "config": {}}}})
        database.jobs.update_one({"_id": "tick"}, {"$set": {"schema": jobs.SCHEMA + 1}})
        with capture_logs() as logs:
            start(database, tick=SECONDLY | {"args": (2,)}, other=SECONDLY | {"args": (2,)}, nightly=NIGHTLY)
        failed = [line["job_id"] for line in logs if line["action"] == "configured_failed"]
        assert failed == ["tick", "other"]
        assert state(database, "nightly") is JobState.ACTIVE

    def test_without_task_modules_managed_jobs_are_counted_and_left(self, database: Db) -> None:
        with capture_logs() as logs:
            report_left(database)
            assert logs == []
            start(database, tick=SECONDLY, nightly=NIGHTLY)
            start(database, nightly=NIGHTLY)
            report_left(database)
        (said,) = [line for line in logs if line["action"] == "configured_left"]
        assert (said["log_level"], said["count"]) == ("warning", 1)


class TestBack:
    async def test_a_job_whose_entry_is_back_lives_again_and_its_history_is_whole(
        self, database: Db, server: Running
    ) -> None:
        start(database, tick=SECONDLY)
        back(database, 5)
        install(database)
        start(database)
        install(database)
        assert job(database)["installed"]["mode"] == "DELETED"
        start(database, tick=SECONDLY | {"args": (3,)})
        revived = job(database)
        assert (revived["state"], revived["parameters"]) == ("ACTIVE", '{"x": 3}')
        install(database)
        found = job(database)
        assert (found["uid"], found["epoch"], found["changes"]) == (revived["uid"], 2, [])
        database.jobs.update_one({"_id": "tick"}, {"$set": {"updated_at": found["created_at"]}})
        while not database.executions.count_documents({"epoch": 2, "run": True}):
            fire(database).run_once()
        assert [entry["reason"] for entry in database.job_revisions.find().sort("epoch", 1)] == [
            "created",
            "its entry is gone from beat_schedule",
            "its entry is back in beat_schedule",
        ]
        result = await audit(server)
        assert (result.findings, result.summary.epochs) == ([], 3)
        assert result.summary.executions >= 2

    async def test_one_that_is_back_before_a_beat_has_deleted_it_lives_on_too(
        self, database: Db, server: Running
    ) -> None:
        start(database, tick=SECONDLY)
        back(database, 5)
        start(database)
        start(database, tick=SECONDLY)
        assert job(database)["state"] == "ACTIVE"
        assert [change["mode"] for change in job(database)["changes"]] == ["DELETED", "ACTIVE"]
        install(database)
        assert (job(database)["epoch"], job(database)["changes"]) == (2, [])
        assert (await audit(server)).findings == []

    def test_what_ran_out_while_a_beat_stood_still_takes_nothing_of_the_new_life(self, database: Db) -> None:
        start(database, tick=SECONDLY)
        start(database)
        install(database)
        deleted_in = job(database)["epoch"] - 1
        start(database, tick=SECONDLY)
        install(database)
        while not database.executions.count_documents({"run": True, "open": True}):
            fire(database).run_once()
        # What the first beat was about to do when it stopped for a while, behind the closing row.
        end = executions.end_open(job(database)["uid"], "beat", "the job was deleted", epoch=deleted_in)
        assert database.executions.update_many(end.filter, end.update).modified_count == 0

    def test_coming_and_going_again_and_again_leaves_one_chain(self, database: Db) -> None:
        for _ in range(4):
            start(database, tick=SECONDLY)
            install(database)
            start(database)
            install(database)
        assert job(database)["epoch"] == 7
        assert database.executions.count_documents({"state": "CLOSED"}) == 7

    async def test_whatever_beats_start_with_while_others_fire_the_ledger_is_whole(
        self, database: Db, server: Running
    ) -> None:
        random = Random(7)
        entries = {"a": SECONDLY, "b": SECONDLY | {"schedule": 2}, "c": NIGHTLY}
        schedules = [
            {
                name: entry | {"args": (random.randint(1, 3),), "kwargs": {}}
                for name, entry in entries.items()
                if random.random() < 0.6
            }
            for _ in range(60)
        ]
        stopped = Event()

        def fire_on(name: str) -> None:
            beat = fire(database, name=name)
            while not stopped.is_set():
                beat.run_once()

        def start_all(mine: list[dict[str, Any]]) -> None:
            for schedule in mine:
                start(database, **schedule)

        with ThreadPoolExecutor(5) as pool:
            firing = [pool.submit(fire_on, name) for name in ("beat-1", "beat-2")]
            starting = [pool.submit(start_all, schedules[number::3]) for number in range(3)]
            await asyncio.to_thread(wait, starting)
            stopped.set()
        assert [task.exception() for task in (*firing, *starting)] == [None] * 5
        start(database, **entries)
        for _ in range(jobs.MOST_CHANGES):
            install(database)
            if not database.jobs.count_documents({"changes": {"$ne": []}}):
                break
        assert {found["_id"]: found["state"] for found in database.jobs.find()} == dict.fromkeys(entries, "ACTIVE")
        assert {found["installed"]["mode"] for found in database.jobs.find()} == {"ACTIVE"}
        assert max(found["epoch"] for found in database.jobs.find()) > 5
        assert (await audit(server)).findings == []


class TestServer:
    async def test_a_managed_job_is_changed_where_it_is_written_and_nowhere_else(
        self, database: Db, server: Running
    ) -> None:
        start(database, tick=SECONDLY)
        for call in (
            server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="tick")),
            server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="tick", job={"description": "mine"})),
        ):
            refused = await refusal(call)
            assert refused.code == "FAILED_PRECONDITION"
            assert "managed by beat_schedule" in refused.message
            assert "TASK_MODULES" in refused.message
        shown = await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="tick"))
        assert shown.job.managed_by == BY

    async def test_it_is_paused_resumed_and_run_as_all_others(self, database: Db, server: Running) -> None:
        start(database, tick=NIGHTLY)
        await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="tick"))
        assert state(database) is JobState.PAUSED
        await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="tick"))
        assert state(database) is JobState.ACTIVE
        await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="tick"))
        (row,) = server.sent.documents
        assert (row["target_service"], row["target_method"]) == ("task", "app.tasks.add")


def test_a_run_expires_so_long_after_it_was_due(database: Db) -> None:
    start(database, tick=SECONDLY | {"options": {"expires": timedelta(minutes=5)}})
    back(database, 2)
    install(database)
    row = database.executions.find_one({"run": True})
    assert row is not None
    assert row["expires_at"] - row["due_at"] == timedelta(minutes=5)
