"""A deletion can be taken back for a time: what the job is then, what it runs, and what of its past can be seen."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from beat.consequences import Consequences
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs
from tests.integration.test_audit import audit
from tests.integration.test_beat_configured import back, install
from tests.integration.test_beat_fire import BelievesAll, fire
from tests.integration.test_server_harness import Running, interval, once, refusal

if TYPE_CHECKING:
    import pytest
    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

ACTIVE, PAUSED = pb.ScheduledJob.STATE_ACTIVE, pb.ScheduledJob.STATE_PAUSED
COMPLETED, DELETED = pb.ScheduledJob.STATE_COMPLETED, pb.ScheduledJob.STATE_DELETED
CANCELLED, PENDING = pb.Execution.STATE_CANCELLED, pb.Execution.STATE_PENDING
SECONDLY = interval(seconds="1")


async def delete(server: Running, **fields: Any) -> pb.ScheduledJob:
    response = await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine", **fields))
    job: pb.ScheduledJob = response.job
    return job


async def undelete(server: Running, **fields: Any) -> pb.ScheduledJob:
    response = await server.stub.UndeleteScheduledJob(pb.UndeleteScheduledJobRequest(job_id="mine", **fields))
    job: pb.ScheduledJob = response.job
    return job


async def pause(server: Running) -> pb.ScheduledJob:
    request = pb.PauseScheduledJobRequest(job_id="mine", reason="stock-taking")
    job: pb.ScheduledJob = (await server.stub.PauseScheduledJob(request)).job
    return job


async def run(server: Running) -> str:
    response = await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))
    return str(response.execution_id)


async def state_of(server: Running, execution_id: str) -> int:
    request = pb.GetExecutionRequest(execution_id=execution_id)
    return int((await server.stub.GetExecution(request)).execution.state)


def document(database: Db) -> dict[str, Any]:
    found = database.jobs.find_one({"_id": "mine"})
    assert found is not None
    return found


class TestTheJob:
    async def test_it_is_as_it_was_but_for_who_changed_it(self, server: Running) -> None:
        before = await server.create(job_id="mine", labels={"team": "a"}, annotations={"k": "v"})
        deleted = await delete(server, reason="by mistake")
        assert (deleted.state, deleted.status_message) == (DELETED, "by mistake")
        assert deleted.purge_time.seconds - deleted.deleted_at.seconds == 30 * 24 * 3600
        after = await undelete(server)
        assert not after.HasField("deleted_at")
        assert not after.HasField("purge_time")
        for volatile in ("revision", "etag", "updated_at"):
            before.ClearField(volatile)
            after.ClearField(volatile)
        assert after == before

    async def test_one_that_was_paused_is_paused_for_the_same_reason(self, server: Running, database: Db) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        await pause(server)
        await delete(server)
        job = await undelete(server)
        assert (job.state, job.status_message) == (PAUSED, "stock-taking")
        install(database)
        assert document(database)["installed"]["mode"] == "PAUSED"

    async def test_one_that_is_done_is_not_deleted_again(self, server: Running, database: Db) -> None:
        policies = pb.Policies(delete_after_done=True)
        await server.create(job_id="mine", schedule_config=once("2999-01-01T00:00:00Z"), policies=policies)
        database.jobs.update_one(
            {"_id": "mine"}, {"$set": {"state": "COMPLETED", "next_nominal": None, "wake_at": None, "fired": 1}}
        )
        database.jobs.update_one({"_id": "mine"}, {"$set": {"schedule.max_runs": 1, "installed.schedule.max_runs": 1}})
        consequences = Consequences(database, BelievesAll(database, "beat", timedelta(seconds=60)), "beat")
        consequences.run_once()
        install(database)
        assert document(database)["state"] == "DELETED"
        assert (await undelete(server)).state == COMPLETED
        for _ in range(2):
            install(database)
            consequences.run_once()
        job = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job
        assert (job.state, job.policies.delete_after_done) == (COMPLETED, False)

    async def test_one_that_was_parked_is_planned_again(self, server: Running, database: Db) -> None:
        await server.create(job_id="mine")
        database.jobs.update_one({"_id": "mine"}, jobs.park("no plan"))
        await delete(server)
        assert (await undelete(server)).state == ACTIVE

    async def test_one_of_an_older_release_fires_nothing_by_surprise(self, server: Running, database: Db) -> None:
        await server.create(job_id="mine")
        await delete(server)
        gone = dict.fromkeys(("deleted_at", "purge_time", "deleted_from", "edit_log"), "")
        database.jobs.update_one({"_id": "mine"}, {"$unset": gone})
        job = await undelete(server)
        assert (job.state, "nobody knows whether it was paused" in job.status_message) == (PAUSED, True)


class TestRefused:
    async def test_one_that_is_there_is_not_undeleted(self, server: Running) -> None:
        await server.create(job_id="mine")
        refused = await refusal(undelete(server))
        assert (refused.code, refused.reason, refused.resource) == ("ALREADY_EXISTS", "NOT_DELETED", ("job", "mine"))

    async def test_one_that_never_was_is_not_found(self, server: Running) -> None:
        refused = await refusal(undelete(server))
        assert (refused.code, refused.reason) == ("NOT_FOUND", "NOT_FOUND")

    async def test_after_its_time_it_stays_deleted_and_its_id_taken(self, server: Running, database: Db) -> None:
        await server.create(job_id="mine")
        deleted = await delete(server)
        past = document(database)["deleted_at"] - timedelta(milliseconds=1)
        database.jobs.update_one({"_id": "mine"}, {"$set": {"purge_time": past}})
        before = document(database)
        refused = await refusal(undelete(server))
        assert (refused.code, refused.reason) == ("NOT_FOUND", "DELETED")
        assert refused.message.endswith("; its id stays taken")
        assert document(database) == before
        assert (await refusal(server.create(job_id="mine"))).reason == "ID_TAKEN"
        shown = await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine", show_deleted=True))
        assert shown.job.uid == deleted.uid

    async def test_a_managed_one_is_brought_back_by_its_entry_only(self, server: Running, database: Db) -> None:
        await server.create(job_id="mine")
        await delete(server)
        database.jobs.update_one({"_id": "mine"}, {"$set": jobs.managed("beat_schedule", "x")})
        refused = await refusal(undelete(server))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "JOB_MANAGED")


class TestWhatItRuns:
    async def test_it_fires_again_in_an_epoch_of_its_own_and_nothing_of_between(
        self, server: Running, database: Db
    ) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        back(database, 20, "mine")
        install(database)
        await delete(server)
        install(database)
        await undelete(server)
        install(database)
        deleted, begins = (
            entry["began"] for entry in database.job_revisions.find({"epoch": {"$gt": 0}}).sort("epoch", 1)
        )
        while not database.executions.count_documents({"epoch": 2, "run": True}):
            fire(database).run_once()
        between = {"nominal_time": {"$gt": deleted, "$lte": begins}, "state": {"$ne": "CLOSED"}}
        assert database.executions.count_documents(between) == 0
        reasons = [entry["reason"] for entry in database.job_revisions.find().sort("epoch", 1)]
        assert reasons == ["created", "deleted", "undeleted"]
        result = await audit(server)
        assert (result.findings, result.summary.epochs) == ([], 3)

    async def test_at_once_after_its_deletion_it_lives_on_before_any_beat_has_heard_of_it(
        self, server: Running, database: Db
    ) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        back(database, 20, "mine")
        await delete(server)
        await undelete(server)
        assert [change["mode"] for change in document(database)["changes"]] == ["DELETED", "ACTIVE"]
        install(database)
        assert (document(database)["epoch"], document(database)["changes"]) == (2, [])
        assert (await audit(server)).findings == []

    async def test_what_is_run_by_hand_after_it_outlives_the_deletion_that_a_beat_installs_later(
        self, server: Running, database: Db
    ) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        before = await run(server)
        await delete(server)
        await undelete(server)
        after = await run(server)
        install(database)
        assert await state_of(server, before) == CANCELLED
        assert await state_of(server, after) == PENDING

    async def test_a_deletion_that_is_late_with_its_cancelling_spares_the_new_life(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        ends, goes_on, stands = server.jobs.delete, asyncio.Event(), asyncio.Event()

        async def slow(*given: Any, **how: Any) -> Any:
            job = await ends(*given, **how)
            stands.set()
            await goes_on.wait()
            return job

        monkeypatch.setattr(server.jobs, "delete", slow)
        deleting = asyncio.ensure_future(delete(server))
        await stands.wait()
        await undelete(server)
        install(database)
        after = await run(server)
        goes_on.set()
        await deleting
        assert await state_of(server, after) == PENDING

    async def test_deleted_and_undeleted_by_many_while_beats_fire_the_ledger_is_whole(
        self, server: Running, database: Db
    ) -> None:
        await server.create(job_id="mine", schedule_config=SECONDLY)
        back(database, 30, "mine")
        stopped, random = Event(), Random(7)

        def fire_on(name: str) -> None:
            beat = fire(database, name=name)
            while not stopped.is_set():
                beat.run_once()

        async def client() -> None:
            for _ in range(15):
                with suppress(grpc.aio.AioRpcError):
                    await random.choice([delete, undelete, pause])(server)

        with ThreadPoolExecutor(2) as pool:
            firing = [pool.submit(fire_on, name) for name in ("beat-1", "beat-2")]
            await asyncio.gather(*(client() for _ in range(4)))
            stopped.set()
        assert [task.exception() for task in firing] == [None, None]
        with suppress(grpc.aio.AioRpcError):
            await undelete(server)
        for _ in range(jobs.MOST_CHANGES):
            install(database)
            if not document(database)["changes"]:
                break
        assert document(database)["epoch"] > 5
        assert document(database)["installed"]["mode"] == document(database)["state"]
        assert (await audit(server)).findings == []


class TestItsPast:
    async def test_what_it_ran_can_be_listed_while_it_is_deleted(self, server: Running) -> None:
        await server.create(job_id="mine")
        execution_id = await run(server)
        await delete(server)
        listed = await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine"))
        assert [execution.execution_id for execution in listed.executions] == [execution_id]

    async def test_it_is_shown_where_asked_for(self, server: Running) -> None:
        await server.create(job_id="mine")
        deleted = await delete(server)
        get = pb.GetScheduledJobRequest(job_id="mine", show_deleted=True)
        assert (await server.stub.GetScheduledJob(get)).job == deleted
        get.show_deleted = False
        assert (await refusal(server.stub.GetScheduledJob(get))).reason == "DELETED"
