"""Backfills, from the call to the last execution: each time once, no more at once than asked for, whatever happens."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

import pytest
from structlog.testing import capture_logs

from beat.backfill import Backfills
from scheduler_service.planning.backfill_requests import Asked
from scheduler_service.planning.backfills import Backfills as Planned
from scheduler_service.runs.cleanup import Cleanup
from scheduler_service.transport import requests
from scheduler_service.transport.caller import Caller, current
from shared.domain.backfill import Existing
from shared.domain.execution import State
from shared.domain.policies import Overlap
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs
from shared.store.mongo import connect
from tests.builders import every, fired
from tests.integration.test_beat_configured import install
from tests.integration.test_beat_fire import (
    BelievesAll,
    CrashError,
    Crashing,
    Interfered,
    Sent,
    Stalling,
    job,
    late_job,
    put,
    wait_until,
)
from tests.integration.test_server_harness import Running, cron, refusal, serving, stamp
from tests.integration.test_server_requests import DiedError, died, leases_end, lose_answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def ago(hours: float) -> datetime:
    return NOW - hours * HOUR


@pytest.fixture
async def server(database: Db, database_url: str) -> AsyncIterator[Running]:
    """A server, and a job of every hour that was made two days ago and has decided all that was due."""
    document = late_job("hourly", NOW, 48 * 3600, every(3600, anchor=ago(48)))
    del document["first"], document["first_covered"]
    following = NOW + HOUR
    put(database, document | {"covered": NOW, "next_nominal": following, "wake_at": following})
    async with serving(database_url) as running:
        yield running


class StandingStill(Interfered):
    """Before it writes several rows at once, it stops until it is let go on."""

    def __init__(self, database: Db, stopped: Event, goes_on: Event) -> None:
        super().__init__(database)
        self._stopped = stopped
        self._goes_on = goes_on

    def step(self, operation: Callable[[], Any], requests: Sequence[Any] | None, _part: Callable[[Any], Any]) -> Any:
        if requests is not None:
            self._stopped.set()
            self._goes_on.wait(60)
        return operation()


def beat(database: Db, sent: Sent | None = None, name: str = "beat") -> Backfills:
    return Backfills(database, BelievesAll(database, name, timedelta(seconds=60)), sent or Sent(), name)


@contextmanager
def beat_standing_still(database: Db) -> Iterator[Sent]:
    """Have a beat read what a window has decided, and insert none of it before the block ends; give what it sends."""
    stopped, goes_on, sent = Event(), Event(), Sent()
    duty = beat(cast("Db", StandingStill(database, stopped, goes_on)), sent)
    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(duty.run_once)
        try:
            wait_until(stopped.is_set)
            yield sent
        finally:
            goes_on.set()
        step.result()


async def create(server: Running, begins: datetime, ends: datetime, **fields: Any) -> planning.Backfill:
    request = planning.CreateBackfillRequest(job_id="hourly", from_time=stamp(begins), to_time=stamp(ends), **fields)
    response = await server.planning.CreateBackfill(request, metadata=[("x-actor", "alice")])
    return cast("planning.Backfill", response.backfill)


async def pause(server: Running, backfill: planning.Backfill) -> None:
    await server.planning.PauseBackfill(planning.PauseBackfillRequest(backfill_id=backfill.backfill_id))


async def delete_job(server: Running) -> None:
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="hourly"))


async def undelete_job(server: Running) -> None:
    await server.stub.UndeleteScheduledJob(pb.UndeleteScheduledJobRequest(job_id="hourly"))


async def dies(*_: Any, **__: Any) -> None:
    raise DiedError


async def read(server: Running, backfill: planning.Backfill) -> planning.Backfill:
    request = planning.GetBackfillRequest(backfill_id=backfill.backfill_id)
    return cast("planning.Backfill", (await server.planning.GetBackfill(request)).backfill)


def state(backfill: planning.Backfill) -> str:
    return planning.Backfill.State.Name(backfill.state).removeprefix("STATE_")


def rows(database: Db) -> list[dict[str, Any]]:
    return list(database.executions.find({"trigger": "BACKFILL"}).sort("nominal_time", 1))


def open_rows(database: Db) -> list[dict[str, Any]]:
    return [row for row in rows(database) if row.get("open")]


def end(database: Db, *execution_ids: str, state: State = State.SUCCEEDED) -> None:
    """End executions as a worker does."""
    database.executions.update_many(
        {"_id": {"$in": list(execution_ids)}, "open": True},
        {"$set": {"state": state.value, "finished_at": NOW}, "$unset": {"open": "", "send_at": ""}},
    )


def work(database: Db, duty: Backfills | None = None) -> int:
    """Let beats and workers go on until no backfill has anything left to do; return how many ran at once at most."""
    duty, most = duty or beat(database), 0
    for _ in range(10_000):
        busy = duty.run_once()
        running = open_rows(database)
        most = max(most, len(running))
        if not busy:
            if not running and not database.backfills.count_documents({"active": True}):
                return most
            end(database, *[row["_id"] for row in running[:1]])
    raise AssertionError("it does not come to an end")


class TestWhatRuns:
    async def test_each_time_of_the_range_runs_once_with_the_job_as_it_is_and_in_order(
        self, server: Running, database: Db
    ) -> None:
        backfill = await create(server, ago(5), ago(2), max_parallel=2)
        assert (backfill.total, state(backfill), backfill.created_by) == (3, "RUNNING", "alice")
        database.jobs.update_one({"_id": "hourly"}, {"$set": {"parameters": '{"new": true}'}})
        sent = Sent()
        assert work(database, beat(database, sent)) == 2
        made = rows(database)
        assert [row["nominal_time"] for row in made] == [ago(5), ago(4), ago(3)]
        uid = job(database, "hourly")["uid"]
        assert [row["_id"] for row in made] == sent.ids
        assert made[0]["_id"] == f"{uid}.b.{backfill.backfill_id}.{ago(5):%Y%m%dT%H%M%SZ}"
        assert {row["parameters"] for row in made} == {'{"new": true}'}
        done = await read(server, backfill)
        assert (state(done), done.decided, done.left, dict(done.states)) == ("COMPLETED", 3, 0, {"SUCCEEDED": 3})
        assert done.HasField("finished_at")

    async def test_one_after_another_means_just_that(self, server: Running, database: Db) -> None:
        await create(server, ago(5), ago(0), max_parallel=4, overlap="OVERLAP_BUFFER_ALL")
        assert work(database) == 1
        assert len(rows(database)) == 5

    async def test_its_executions_do_not_keep_the_schedule_from_firing(self, server: Running, database: Db) -> None:
        await create(server, ago(5), ago(0), max_parallel=4)
        beat(database).run_once()
        beat(database).run_once()
        assert len(open_rows(database)) == 4
        in_flight = {"open": True, "job_uid": job(database, "hourly")["uid"], "trigger": "SCHEDULE"}
        assert not database.executions.count_documents(in_flight)

    async def test_they_say_which_backfill_made_them(self, server: Running, database: Db) -> None:
        backfill = await create(server, ago(5), ago(4), queue="manual")
        work(database)
        (execution,) = (await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="hourly"))).executions
        assert (execution.backfill_id, execution.queue) == (backfill.backfill_id, "manual")
        assert pb.Execution.Trigger.Name(execution.trigger) == "TRIGGER_BACKFILL"

    @pytest.mark.parametrize(
        ("existing", "run"),
        [("EXISTING_SKIP", [1, 5]), ("EXISTING_RERUN_FAILED", [1, 3, 5]), ("EXISTING_RERUN", [1, 2, 3, 4, 5])],
    )
    async def test_what_ran_before_runs_again_only_where_asked_for(
        self, server: Running, database: Db, existing: str, run: list[int]
    ) -> None:
        document = job(database, "hourly")
        succeeded = fired(document, ago(4), state="SUCCEEDED")
        failed = fired(document, ago(3), state="FAILED")
        retried = fired(document, ago(2), state="FAILED")
        retry = fired(document, ago(2), state="SUCCEEDED", trigger="RETRY", _id="retry")
        by_hand = fired(document, ago(1), state="SUCCEEDED", trigger="MANUAL", _id="by-hand")
        database.executions.insert_many([succeeded, failed, retried, retry, by_hand])
        database.executions.update_many({}, {"$unset": {"open": ""}})
        backfill = await create(server, ago(5), ago(0), existing=existing, max_parallel=9)
        work(database)
        assert [row["nominal_time"] for row in rows(database)] == [ago(6 - number) for number in run]
        done = await read(server, backfill)
        assert (done.decided, done.left) == (5, 5 - len(run))

    async def test_an_occurrence_that_was_moved_has_run_at_its_nominal_time(
        self, server: Running, database: Db
    ) -> None:
        moved = fired(job(database, "hourly"), ago(1.5), state="SUCCEEDED", moved_from=ago(3))
        database.executions.insert_one(moved)
        database.executions.update_many({}, {"$unset": {"open": ""}})
        await create(server, ago(4), ago(2))
        work(database)
        assert [row["nominal_time"] for row in rows(database)] == [ago(4)]

    @pytest.mark.parametrize("fields", [{}, {"state": "PAUSED", "changes": [{"cutoff": NOW}]}, {"state": "ERROR"}])
    async def test_what_the_job_has_not_decided_yet_is_waited_for(
        self, server: Running, database: Db, fields: dict[str, Any]
    ) -> None:
        """Also of one that was paused since, or is parked: what was due before the pause is still decided."""
        await create(server, ago(5), ago(2), max_parallel=9)
        undecided = {"covered": ago(4), "next_nominal": ago(3), **fields}
        database.jobs.update_one({"_id": "hourly"}, {"$set": undecided})
        duty = beat(database)
        while duty.run_once():
            pass
        assert [row["nominal_time"] for row in rows(database)] == [ago(5), ago(4)]
        database.jobs.update_one({"_id": "hourly"}, {"$set": {"covered": NOW}})
        work(database)
        assert len(rows(database)) == 3


class TestPauseAndCancel:
    async def test_a_paused_backfill_starts_nothing_until_it_is_resumed(self, server: Running, database: Db) -> None:
        backfill = await create(server, ago(5), ago(0))
        duty = beat(database)
        assert [duty.run_once(), duty.run_once()] == [True, True]
        pause = planning.PauseBackfillRequest(backfill_id=backfill.backfill_id, reason="too much")
        for _ in range(2):
            paused = (await server.planning.PauseBackfill(pause, metadata=[("x-actor", "bob")])).backfill
            assert (state(paused), paused.status_message) == ("PAUSED", "paused by bob: too much")
        work(database)
        assert len(rows(database)) == 1
        resume = planning.ResumeBackfillRequest(backfill_id=backfill.backfill_id)
        assert state((await server.planning.ResumeBackfill(resume)).backfill) == "RUNNING"
        work(database)
        assert state(await read(server, backfill)) == "COMPLETED"

    @pytest.mark.parametrize("what", ["Pause", "Resume"])
    async def test_a_call_whose_answer_was_lost_does_not_undo_what_another_did_since(
        self, server: Running, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backfill = await create(server, ago(5), ago(0))

        async def call(what: str, request_id: str = "") -> planning.Backfill:
            request = getattr(planning, f"{what}BackfillRequest")(
                backfill_id=backfill.backfill_id, request_id=request_id
            )
            return cast("planning.Backfill", (await getattr(server.planning, f"{what}Backfill")(request)).backfill)

        if what == "Resume":
            await call("Pause")
        with monkeypatch.context() as patch:
            lose_answers(patch)
            await died(call(what, "r"))
        await leases_end(server)
        others = await call("Resume" if what == "Pause" else "Pause")
        assert await call(what, "r") == await read(server, backfill) == others

    @pytest.mark.parametrize("running", [False, True])
    async def test_a_cancelled_one_ends_what_has_not_started_and_what_runs_if_asked_to(
        self, server: Running, database: Db, running: bool
    ) -> None:
        backfill = await create(server, ago(5), ago(0), max_parallel=2)
        duty = beat(database)
        while duty.run_once():
            pass
        started, waiting = [row["_id"] for row in rows(database)]
        database.executions.update_one({"_id": started}, {"$set": {"state": "RUNNING"}})
        request = planning.CancelBackfillRequest(backfill_id=backfill.backfill_id, cancel_running=running)
        cancelled = (await server.planning.CancelBackfill(request)).backfill
        assert (state(cancelled), dict(cancelled.states)) == ("CANCELLED", {"RUNNING": 1, "CANCELLED": 1})
        duty.run_once()
        by_id = {row["_id"]: row for row in rows(database)}
        assert (by_id[waiting]["state"], by_id[started]["cancel"]["call"]) == ("CANCELLED", running)
        end(database, started)
        assert work(database) == 0
        assert dict((await read(server, backfill)).states) == {"SUCCEEDED": 1, "CANCELLED": 1}

    async def test_one_that_was_cancelled_can_be_told_to_end_what_runs_too(self, server: Running, database: Db) -> None:
        backfill = await create(server, ago(5), ago(0))
        while beat(database).run_once():
            pass
        database.executions.update_many({}, {"$set": {"state": "RUNNING"}})
        for running in (False, True):
            request = planning.CancelBackfillRequest(backfill_id=backfill.backfill_id, cancel_running=running)
            await server.planning.CancelBackfill(request)
            assert [row["cancel"]["call"] for row in rows(database)] == [running]

    async def test_what_was_decided_when_it_was_cancelled_is_never_sent(self, server: Running, database: Db) -> None:
        """A beat that has read the backfill long ago can insert nothing that is not there already."""
        backfill = await create(server, ago(5), ago(0), max_parallel=3)
        duty, sent = beat(database), Sent()
        duty.run_once()
        assert database.backfills.count_documents({"window.times.2": {"$exists": True}})
        request = planning.CancelBackfillRequest(backfill_id=backfill.backfill_id)
        await server.planning.CancelBackfill(request)
        work(database, beat(database, sent))
        assert ([row["state"] for row in rows(database)], sent.ids) == (["CANCELLED"] * 3, [])

    async def test_a_beat_that_stood_still_while_it_was_cancelled_starts_nothing(
        self, server: Running, database: Db
    ) -> None:
        backfill = await create(server, ago(5), ago(0), max_parallel=3)
        beat(database).run_once()
        with beat_standing_still(database) as sent:
            await server.planning.CancelBackfill(planning.CancelBackfillRequest(backfill_id=backfill.backfill_id))
        assert ([row["state"] for row in rows(database)], sent.ids) == (["CANCELLED"] * 3, [])
        work(database)
        assert dict((await read(server, backfill)).states) == {"CANCELLED": 3}

    async def test_a_beat_that_stood_still_while_a_server_died_over_a_cancel_starts_nothing(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server has cancelled the backfill, and inserted nothing of what a window had decided: a beat does."""

        backfill = await create(server, ago(5), ago(0), max_parallel=3)
        beat(database).run_once()
        with beat_standing_still(database) as sent:
            monkeypatch.setattr(Planned, "_insert", dies)
            await died(server.planning.CancelBackfill(planning.CancelBackfillRequest(backfill_id=backfill.backfill_id)))
            work(database)
        assert ([row["state"] for row in rows(database)], sent.ids) == (["CANCELLED"] * 3, [])

    async def test_one_that_has_ended_stays_as_it_is(self, server: Running, database: Db) -> None:
        backfill = await create(server, ago(2), ago(1))
        work(database)
        for call, request in (
            (server.planning.PauseBackfill, planning.PauseBackfillRequest),
            (server.planning.ResumeBackfill, planning.ResumeBackfillRequest),
            (server.planning.CancelBackfill, planning.CancelBackfillRequest),
        ):
            refused = await refusal(call(request(backfill_id=backfill.backfill_id)))
            assert (refused.code, "is COMPLETED" in refused.message) == ("FAILED_PRECONDITION", True)

    async def test_it_ends_with_its_job_and_goes_on_while_that_is_paused(self, server: Running, database: Db) -> None:
        backfill = await create(server, ago(5), ago(0))
        await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="hourly"))
        duty = beat(database)
        while duty.run_once():
            pass
        assert len(open_rows(database)) == 1
        await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="hourly"))
        assert work(database) == 0
        ended = await read(server, backfill)
        assert (state(ended), ended.status_message, dict(ended.states)) == (
            "CANCELLED", "the job was deleted", {"CANCELLED": 1},
        )  # fmt: skip

    async def test_a_paused_one_ends_with_its_job_too(self, server: Running, database: Db) -> None:
        """Beat has nothing to do with it any more, and asks for it no more."""
        backfill = await create(server, ago(5), ago(0))
        await pause(server, backfill)
        duty = beat(database)
        assert [duty.run_once(), duty.run_once()] == [True, False]
        await delete_job(server)
        assert state(await read(server, backfill)) == "CANCELLED"
        await undelete_job(server)
        resume = planning.ResumeBackfillRequest(backfill_id=backfill.backfill_id)
        assert (await refusal(server.planning.ResumeBackfill(resume))).reason == "BACKFILL_ENDED"
        install(database)
        assert work(database) == 0
        ended = await read(server, backfill)
        assert (state(ended), ended.status_message, rows(database)) == ("CANCELLED", "the job was deleted", [])

    @pytest.mark.parametrize("paused", [False, True])
    @pytest.mark.parametrize("died_over_it", [False, True])
    async def test_none_outlives_a_deletion_that_is_taken_back_before_any_beat_has_heard_of_it(
        self, server: Running, database: Db, paused: bool, died_over_it: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also if the server dies when it has deleted the job: a beat that installs the deletion does the rest."""
        backfill = await create(server, ago(5), ago(0))
        if paused:
            await pause(server, backfill)
        while beat(database).run_once():
            pass
        started = [row["_id"] for row in open_rows(database)]
        if died_over_it:
            with monkeypatch.context() as patch:
                patch.setattr(Planned, "end_with_job", dies)
                await died(delete_job(server))
        else:
            await delete_job(server)
        await undelete_job(server)
        install(database)
        assert work(database) == 0
        assert state(await read(server, backfill)) == "CANCELLED"
        assert [(row["_id"], row["state"]) for row in rows(database)] == [(each, "CANCELLED") for each in started]

    async def test_a_deletion_that_a_beat_installs_late_spares_what_was_made_since(
        self, server: Running, database: Db
    ) -> None:
        await delete_job(server)
        await undelete_job(server)
        backfill = await create(server, ago(5), ago(0))
        install(database)
        work(database)
        assert state(await read(server, backfill)) == "COMPLETED"

    async def test_a_deletion_that_is_late_with_its_cancelling_spares_what_was_made_since(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []
        deletes = server.jobs.delete

        async def slow(*given: Any, **how: Any) -> Any:
            job = await deletes(*given, **how)
            await undelete_job(server)
            made.append(await create(server, ago(5), ago(0)))
            return job

        monkeypatch.setattr(server.jobs, "delete", slow)
        await delete_job(server)
        install(database)
        work(database)
        assert state(await read(server, made[0])) == "COMPLETED"

    async def test_one_that_is_being_made_while_its_job_is_deleted_ends_with_it(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads, deleted = server.jobs.read, False

        async def deletes_after(*given: Any, **how: Any) -> Any:
            nonlocal deleted
            found = await reads(*given, **how)
            if not deleted:
                deleted = True
                await delete_job(server)
                install(database)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(server.jobs, "read", deletes_after)
            refused = await refusal(create(server, ago(5), ago(0)))
        assert (refused.code, refused.reason) == ("NOT_FOUND", "DELETED")
        await undelete_job(server)
        assert work(database) == 0
        (stored,) = database.backfills.find()
        assert (stored["state"], rows(database)) == ("CANCELLED", [])

    async def test_what_a_beat_starts_that_has_read_the_job_before_its_deletion_ends_with_it(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class AsRead:
            """The jobs as they were, and a time after."""

            documents: ClassVar[list[dict[str, Any]]] = []

            def find(self, *_: Any) -> list[dict[str, Any]]:
                return [{**document, "now": datetime.now(UTC)} for document in self.documents]

        await create(server, ago(5), ago(0), max_parallel=3)
        duty, ends = beat(database), Planned.end_with_job
        duty.run_once()
        assert not rows(database), "it has decided, and has started nothing"
        AsRead.documents = list(database.jobs.find())
        monkeypatch.setattr(duty, "_jobs", AsRead())

        async def ends_later(self: Planned, *given: Any, **how: Any) -> None:
            await asyncio.sleep(0.01)  # what is decided now is decided after the deletion's cutoff
            duty.run_once()
            await ends(self, *given, **how)

        monkeypatch.setattr(Planned, "end_with_job", ends_later)
        await delete_job(server)
        await undelete_job(server)
        assert [row["state"] for row in rows(database)] == ["CANCELLED"] * 3

    async def test_a_beat_that_stood_still_while_its_job_was_deleted_and_undeleted_starts_nothing(
        self, server: Running, database: Db
    ) -> None:
        backfill = await create(server, ago(5), ago(0), max_parallel=3)
        beat(database).run_once()
        with beat_standing_still(database) as sent:
            await delete_job(server)
            await undelete_job(server)
        assert ([row["state"] for row in rows(database)], sent.ids) == (["CANCELLED"] * 3, [])
        work(database)
        assert dict((await read(server, backfill)).states) == {"CANCELLED": 3}

    async def test_a_damaged_one_keeps_neither_its_job_from_being_deleted_nor_the_others_from_ending_with_it(
        self, server: Running, database: Db
    ) -> None:
        damaged = [await create(server, ago(5), ago(0), max_parallel=3) for _ in range(3)]
        backfill = await create(server, ago(5), ago(0), max_parallel=3)
        beat(database).run_once()
        for each, field in zip(damaged, ("revision", "schedule", "queue"), strict=True):
            database.backfills.update_one({"_id": each.backfill_id}, {"$set": {field: "?"}})
        await delete_job(server)
        await undelete_job(server)
        install(database)
        assert job(database, "hourly")["changes"] == []
        duty = beat(database)
        while duty.run_once():
            pass
        assert open_rows(database) == []
        assert dict((await read(server, backfill)).states) == {"CANCELLED": 3}

    @pytest.mark.parametrize("field", ["left", "decided"])
    async def test_one_whose_counts_are_damaged_is_named_and_keeps_no_other_from_going_on(
        self, server: Running, database: Db, field: str
    ) -> None:
        damaged, good = await create(server, ago(5), ago(3)), await create(server, ago(3), ago(0))
        database.backfills.update_one({"_id": damaged.backfill_id}, {"$set": {field: True}})
        duty = beat(database)
        with capture_logs() as logs:
            for _ in range(20):
                duty.run_once()
                end(database, *[row["_id"] for row in open_rows(database)])
        assert state(await read(server, good)) == "COMPLETED"
        named = {line["backfill_id"] for line in logs if line["action"] == "backfill_failed"}
        assert named == {damaged.backfill_id}


class TestRequests:
    async def test_all_that_is_wrong_with_a_request_is_said_at_once(self, server: Running) -> None:
        request = planning.CreateBackfillRequest(existing=9, overlap=1, max_parallel=101, queue="nowhere")  # type: ignore[arg-type]
        refused = await refusal(server.planning.CreateBackfill(request))
        fields = [field for field, _ in refused.violations]
        assert fields == ["job_id", "from_time", "to_time", "existing", "overlap", "max_parallel", "queue"]

    async def test_a_range_has_to_lie_in_the_past_and_name_some_times_but_not_too_many(
        self, server: Running, database: Db
    ) -> None:
        for begins, ends, field in (
            (ago(1), NOW + timedelta(days=1), "to_time"),
            (ago(1), ago(2), "to_time"),
            (ago(0.9), ago(0.8), "from_time"),
            (datetime(1, 1, 1, tzinfo=UTC), ago(2), "from_time"),
        ):
            refused = await refusal(create(server, begins, ends))
            assert (refused.code, [name for name, _ in refused.violations]) == ("INVALID_ARGUMENT", [field])
        await server.create(job_id="secondly", schedule_config=cron(second="*"))
        request = planning.CreateBackfillRequest(job_id="secondly", from_time=stamp(ago(48)), to_time=stamp(ago(0)))
        assert "172,800 times" in (await refusal(server.planning.CreateBackfill(request))).message
        assert not database.backfills.count_documents({})

    async def test_validate_onlying_counts_and_stores_nothing(self, server: Running, database: Db) -> None:
        assert (await create(server, ago(5), ago(0), validate_only=True)).total == 5
        assert not database.backfills.count_documents({})

    async def test_a_pause_an_end_of_it_and_a_cancel_that_are_only_checked_leave_all_as_it_is(
        self, server: Running, database: Db
    ) -> None:
        backfill = await create(server, ago(5), ago(0), max_parallel=2)
        beat(database).run_once()
        client, name = server.planning, backfill.backfill_id

        def everything() -> tuple[Any, Any]:
            return database.backfills.find_one(), rows(database)

        for method, request in (
            (client.PauseBackfill, planning.PauseBackfillRequest(backfill_id=name, reason="slow")),
            (client.ResumeBackfill, planning.ResumeBackfillRequest(backfill_id=name)),
            (client.CancelBackfill, planning.CancelBackfillRequest(backfill_id=name, reason="not needed")),
        ):
            before = everything()
            tried: Any = type(request)()
            tried.CopyFrom(request)
            tried.validate_only = True
            shown = (await method(tried)).backfill
            assert everything() == before
            real = (await method(request)).backfill
            assert (shown.state, shown.status_message) == (real.state, real.status_message)
        ended = planning.PauseBackfillRequest(backfill_id=name, validate_only=True)
        assert (await refusal(client.PauseBackfill(ended))).reason == "BACKFILL_ENDED"

    async def test_a_job_has_a_bounded_number_of_them(self, server: Running, database: Db) -> None:
        for _ in range(20):
            await pause(server, await create(server, ago(5), ago(0)))
        assert not work(database)
        assert (await refusal(create(server, ago(5), ago(0)))).code == "RESOURCE_EXHAUSTED"

    async def test_lists_have_pages_the_newest_first_with_progress(self, server: Running, database: Db) -> None:
        made = [(await create(server, ago(5), ago(number))).backfill_id for number in range(3)]
        while beat(database).run_once():
            pass
        found: list[planning.Backfill] = []
        token = ""
        while not found or token:
            request = planning.ListBackfillsRequest(job_id="hourly", page_size=2, page_token=token)
            page = await server.planning.ListBackfills(request)
            found, token = [*found, *page.backfills], page.next_page_token
        assert [each.backfill_id for each in found] == made[::-1]
        assert [dict(each.states) for each in found] == [{"PENDING": 1}] * 3
        assert (await refusal(server.planning.ListBackfills(planning.ListBackfillsRequest(job_id="no")))).code == (
            "NOT_FOUND"
        )
        assert (await refusal(server.planning.GetBackfill(planning.GetBackfillRequest(backfill_id="no")))).code == (
            "NOT_FOUND"
        )

    async def test_what_ended_long_ago_is_removed_with_what_it_started(self, server: Running, database: Db) -> None:
        await create(server, ago(5), ago(0), max_parallel=9)
        work(database)
        going_on = await create(server, ago(5), ago(0), existing="EXISTING_RERUN")
        removed = await Cleanup(server.database).remove_ended_before(datetime.now(UTC) + HOUR)
        assert removed == 5
        assert [each["_id"] for each in database.backfills.find()] == [going_on.backfill_id]


@pytest.mark.parametrize("halfway", [False, True])
async def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(
    server: Running, database: Db, halfway: bool
) -> None:
    for crashes in range(25):
        database.backfills.delete_many({})
        database.executions.delete_many({})
        backfill = await create(server, ago(5), ago(0), max_parallel=2)
        most = 0
        duty = beat(cast("Db", Crashing(database, crashes, halfway=halfway)))
        try:
            most = work(database, duty)
        except CrashError:
            most = work(database)
        assert most <= 2
        assert [row["nominal_time"] for row in rows(database)] == [ago(hours) for hours in (5, 4, 3, 2, 1)], crashes
        done = await read(server, backfill)
        assert (state(done), done.decided, dict(done.states)) == ("COMPLETED", 5, {"SUCCEEDED": 5}), crashes


async def test_beats_that_stall_start_each_time_once_and_no_more_at_once_than_asked_for(
    server: Running, database: Db, database_url: str
) -> None:
    asked = {"max_parallel": 3, "existing": "EXISTING_RERUN"}
    made = [await create(server, ago(40 + number), ago(0), **asked) for number in range(4)]
    done, at_once = Event(), dict.fromkeys((each.backfill_id for each in made), 0)
    sent = [Sent() for _ in range(3)]

    def racing(number: int) -> None:
        own = connect(database_url)
        duty = beat(cast("Db", Stalling(own, number)), sent[number], f"beat-{number}")
        while not done.is_set():
            duty.run_once()
        own.client.close()

    def workers() -> None:
        chance = Random(1)
        while not done.wait(0.005):
            seen = {row["_id"]: row["backfill"] for row in database.executions.find({"open": True})}
            # What is open at the second look, and was at the first, was both at the moment between them.
            still = [seen[row["_id"]] for row in database.executions.find({"_id": {"$in": list(seen)}, "open": True})]
            for backfill_id in set(still):
                at_once[backfill_id] = max(at_once[backfill_id], still.count(backfill_id))
            end(database, *[execution_id for execution_id in seen if chance.random() < 0.5])

    def over() -> bool:
        return not database.backfills.count_documents({"active": True})

    with ThreadPoolExecutor(4) as pool:
        threads = [*[pool.submit(racing, number) for number in range(3)], pool.submit(workers)]
        try:
            wait_until(over, 60)
        finally:
            done.set()
        for thread in threads:
            thread.result()
    assert set(at_once.values()) <= {2, 3}
    for number, each in enumerate(made):
        times = [row["nominal_time"] for row in rows(database) if row["backfill"] == each.backfill_id]
        assert times == [ago(hours) for hours in range(40 + number, 0, -1)]
        assert (await read(server, each)).decided == 40 + number
    handed_over = [execution_id for each in sent for execution_id in each.ids]
    assert len(handed_over) == len(set(handed_over)) == len(rows(database))


def test_its_jobs_partition_says_which_beat_works_on_it(database: Db) -> None:
    document = late_job("hourly", NOW, 60)
    assert document["partition"] == jobs.partition_of(document["uid"])
    assert not beat(database).run_once()


async def test_a_server_that_was_taken_for_dead_finds_what_another_has_made_of_its_call(server: Running, database: Db):
    backfills = Planned(server.database, server.jobs)
    current.set(Caller("client", "", "client"))
    asked = Asked(ago(3), ago(1), Existing.SKIP, Overlap.ALLOW, 1, "")
    mark = requests._current.set(requests.Request("01hzzzzzzzzzzzzzzzzzzzzzzz", again=False))
    try:
        first, second = [await backfills.create("hourly", asked, validate_only=False) for _ in range(2)]
    finally:
        requests._current.reset(mark)
    assert second.backfill_id == first.backfill_id
    assert database.backfills.count_documents({}) == 1
