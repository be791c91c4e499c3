"""What somebody asks for of a job that is done while a beat deletes it: it keeps the job, or is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from beat.consequences import Consequences
from scheduler_service.jobs.jobs import Jobs
from scheduler_service.runs.executions import Executions
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions
from tests.integration.test_beat_fire import BelievesAll, fire
from tests.integration.test_server_harness import Running, cron, refusal, stamp
from tests.integration.test_server_requests import DiedError, died, leases_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pymongo.database import Database

    from shared.domain.job import JobState

Db: TypeAlias = "Database[dict[str, Any]]"
Ask: TypeAlias = "Callable[[Running], Awaitable[Any]]"

NOW = datetime.now(UTC).replace(microsecond=0)


def delete_done(database: Db, kind: type[Consequences] = Consequences) -> None:
    kind(database, BelievesAll(database, "beat", timedelta(seconds=60)), "beat").run_once()


def state(database: Db) -> str:
    found = database.jobs.find_one({"_id": "mine"})
    assert found is not None
    return str(found["state"])


@pytest.fixture
async def done(server: Running, database: Db) -> None:
    """Make a job that is deleted when it is done, and is, and whose last execution has failed."""
    policies = pb.Policies(delete_after_done=True)
    await server.create(job_id="mine", schedule_config=cron(minute="*"), policies=policies)
    await by_hand(server)
    error = {"code": "INTERNAL", "message": "no", "retryable": False}
    failed = {"state": "FAILED", "finished_at": NOW, "error": error, "letter": True}
    database.executions.update_one({}, {"$set": failed, "$unset": {"open": ""}})
    over = {"state": "COMPLETED", "next_nominal": None, "wake_at": None, "created_at": NOW - timedelta(hours=1)}
    database.jobs.update_one({}, {"$set": over})


async def by_hand(server: Running, **fields: Any) -> pb.Execution:
    response = await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", **fields))
    execution: pb.Execution = response.execution
    return execution


async def once_more(server: Running) -> None:
    row = await server.database.executions.find_one({"state": "FAILED"})
    assert row is not None
    await server.stub.RetryExecution(pb.RetryExecutionRequest(execution_id=row["_id"]))


async def for_the_past(server: Running, **fields: Any) -> None:
    begins, ends = stamp(NOW - timedelta(minutes=9)), stamp(NOW - timedelta(minutes=2))
    await server.planning.CreateBackfill(
        planning.CreateBackfillRequest(job_id="mine", from_time=begins, to_time=ends, **fields)
    )


async def beat_that_is_asked_in_between(server: Running, database: Db, ask: Ask) -> None:
    """Let a beat look at the job, which is asked something before the beat deletes it."""
    loop, answered = asyncio.get_running_loop(), []

    async def asked() -> None:
        answered.append(await ask(server))

    class Slow(Consequences):
        def _edit(self, job: Mapping[str, Any], state: JobState, reason: str) -> bool:
            asyncio.run_coroutine_threadsafe(asked(), loop).result(60)
            return super()._edit(job, state, reason)

    await asyncio.to_thread(delete_done, database, Slow)
    assert answered


IN_FLIGHT = {"$or": [{"open": True}, {"active": True}]}
ALL = pytest.mark.parametrize("ask", [by_hand, once_more, for_the_past])


@pytest.mark.usefixtures("done")
class TestKept:
    @ALL
    async def test_what_was_acknowledged_keeps_its_job_until_it_has_ended(
        self, server: Running, database: Db, ask: Ask
    ) -> None:
        await beat_that_is_asked_in_between(server, database, ask)
        assert state(database) == "COMPLETED"
        delete_done(database)
        assert state(database) == "COMPLETED", "it is still in flight"
        assert not database.executions.count_documents({"state": "CANCELLED"})
        database.backfills.update_many({}, {"$set": {"state": "COMPLETED"}, "$unset": {"active": ""}})
        database.executions.update_many({}, {"$unset": {"open": ""}})
        delete_done(database)
        assert state(database) == "DELETED"

    @pytest.mark.parametrize("ask", [by_hand, for_the_past])
    async def test_so_does_what_a_server_that_died_over_it_has_stored_once_it_is_repeated(
        self, server: Running, database: Db, ask: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def dies(*_: Any) -> bool:
            raise DiedError

        async def asks(_: Running) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(Jobs, "keep_done", dies)
                await died(ask(server, request_id="r"))
            await leases_end(server)
            await ask(server, request_id="r")

        await beat_that_is_asked_in_between(server, database, asks)
        assert state(database) == "COMPLETED"


def delete_late(database: Db) -> None:
    """Have the job deleted by a beat that has looked before what is asked for was stored."""
    asked = {name: list(database[name].find(IN_FLIGHT)) for name in ("executions", "backfills")}
    for name in asked:
        database[name].delete_many(IN_FLIGHT)
    delete_done(database)
    for name, documents in asked.items():
        for document in documents:
            database[name].insert_one(document)


def install(database: Db) -> None:
    """Put what was changed in force."""
    for _ in range(2):
        fire(database).run_once()
    assert database.jobs.count_documents({"changes": []})


Meanwhile: TypeAlias = "Callable[[Callable[[], Awaitable[None]]], None]"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have something happen between the storing of what is asked for and the look whether its job is kept."""
    keeps = Jobs.keep_done

    def have(happen: Callable[[], Awaitable[None]]) -> None:
        async def later(jobs: Jobs, job_id: str) -> bool:
            await happen()
            return await keeps(jobs, job_id)

        monkeypatch.setattr(Jobs, "keep_done", later)

    return have


@pytest.fixture
def deleted_meanwhile(database: Db, meanwhile: Meanwhile) -> None:
    meanwhile(lambda: asyncio.to_thread(delete_late, database))


@pytest.mark.usefixtures("done", "deleted_meanwhile")
class TestRefused:
    @ALL
    async def test_what_comes_after_the_deletion_is_refused_and_never_starts(
        self, server: Running, database: Db, ask: Ask
    ) -> None:
        refused = await refusal(ask(server))
        assert refused.reason == ("JOB_DELETED" if ask is once_more else "DELETED")
        assert state(database) == "DELETED"
        assert not database.executions.count_documents({"open": True})
        assert not database.backfills.count_documents({"state": {"$ne": "CANCELLED"}})
        assert database.executions.count_documents({"letter": True}) == 1, "what is not retried is still a letter"

    async def test_but_what_a_worker_has_begun_by_then_goes_on(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inserts = Executions.insert_manual

        async def begins(self: Executions, document: dict[str, Any], **how: Any) -> Any:
            stored = await inserts(self, document, **how)
            claim = executions.claim(document["_id"], "worker", "nonce", timedelta(seconds=60))
            assert database.executions.update_one(claim.filter, claim.update).modified_count
            return stored

        monkeypatch.setattr(Executions, "insert_manual", begins)
        assert (await by_hand(server)).state == pb.Execution.STATE_RUNNING
        assert state(database) == "DELETED"
        (row,) = database.executions.find({"open": True})
        assert (row["state"], row["cancel"]["call"]) == ("RUNNING", False)


@pytest.mark.usefixtures("done")
class TestTakenBack:
    """The deletion is, before the server looks; a beat, which puts it in force, ends what was stored before it."""

    @pytest.mark.parametrize("is_installed", [False, True])
    @ALL
    async def test_what_ends_with_the_deletion_is_refused(
        self, server: Running, database: Db, meanwhile: Meanwhile, ask: Ask, *, is_installed: bool
    ) -> None:
        async def deleted_and_undeleted() -> None:
            await asyncio.to_thread(delete_late, database)
            await server.stub.UndeleteScheduledJob(pb.UndeleteScheduledJobRequest(job_id="mine"))
            if is_installed:
                await asyncio.to_thread(install, database)

        meanwhile(deleted_and_undeleted)
        refused = await refusal(ask(server))
        assert refused.reason == ("JOB_DELETED" if ask is once_more else "DELETED")
        assert not database.executions.count_documents({"open": True}), "before a beat looks, too"
        assert not database.backfills.count_documents({"state": {"$ne": "CANCELLED"}})
        await asyncio.to_thread(install, database)
        assert state(database) == "COMPLETED"
        assert database.executions.count_documents({"letter": True}) == 1, "what is not retried is still a letter"

    @ALL
    async def test_what_is_asked_for_of_a_job_that_is_only_changed_meanwhile_is_kept(
        self, server: Running, database: Db, meanwhile: Meanwhile, ask: Ask
    ) -> None:
        async def changed() -> None:
            mine = pb.ScheduledJob(schedule_config=cron(minute="0", hour="0"))
            await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="mine", job=mine))
            await asyncio.to_thread(install, database)

        meanwhile(changed)
        await ask(server)
        assert state(database) == "ACTIVE"
        assert not database.executions.count_documents({"state": "CANCELLED"})
        assert not database.backfills.count_documents({"state": "CANCELLED"})
