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
from tests.integration.test_beat_fire import BelievesAll
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


@pytest.fixture
def deleted_meanwhile(database: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the job deleted by a beat that has looked before what is asked for was stored."""
    keeps = Jobs.keep_done

    async def later(jobs: Jobs, job_id: str) -> bool:
        asked = {name: list(database[name].find(IN_FLIGHT)) for name in ("executions", "backfills")}
        for name in asked:
            database[name].delete_many(IN_FLIGHT)
        await asyncio.to_thread(delete_done, database)
        for name, documents in asked.items():
            for document in documents:
                database[name].insert_one(document)
        return await keeps(jobs, job_id)

    monkeypatch.setattr(Jobs, "keep_done", later)


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
