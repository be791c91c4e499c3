"""Calls that may be repeated, only tried, or made only if nobody else was faster: request_id, validate_only, etag."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymongo.errors import AutoReconnect

from scheduler_service.jobs import jobs
from scheduler_service.moves import run_move
from scheduler_service.transport import requests as layer
from scheduler_service.transport.requests import Requests
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs as stored
from shared.store import requests
from tests.integration.test_audit import audit
from tests.integration.test_beat_fire import fire
from tests.integration.test_server_harness import Running, a_request, cron, eventually, interval, refusal, serving
from tests.integration.test_server_jobs import document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from pymongo.database import Database

Message = Any


class DiedError(Exception):
    """Stands for the death of the process: all that would have followed does not."""


async def died(call: Any) -> None:
    """Make a call whose server dies before it has answered; its lease ends, as it would in some seconds."""
    assert (await refusal(call)).code == "INTERNAL"


def an_hour_before(server: Running) -> Callable[[], Awaitable[datetime]]:
    """Return what stands for the server's clock in a call of an hour ago."""
    now = server.jobs.now

    async def before() -> datetime:
        return await now() - timedelta(hours=1)

    return before


async def leases_end(server: Running) -> None:
    await server.database.requests.update_many({}, {"$unset": {"lease": ""}})


def call(server: Running, request: Message) -> Any:
    """Call the method that a request is for."""
    return getattr(server.stub, type(request).__name__.removesuffix("Request"))(request)


PAUSE = pb.PauseScheduledJobRequest(job_id="mine", reason="why", request_id="r")
RESUME = pb.ResumeScheduledJobRequest(job_id="mine", request_id="r")
UPDATE = pb.UpdateScheduledJobRequest(
    job_id="mine", job=pb.ScheduledJob(name="Other", schedule_config=cron(minute="7")), request_id="r"
)
DELETE = pb.DeleteScheduledJobRequest(job_id="mine", request_id="r")
UNDELETE = pb.UndeleteScheduledJobRequest(job_id="mine", request_id="r")
CREATE = a_request(job_id="mine", request_id="r")
NAMELESS = a_request(request_id="r")
WRITES = {type(write).__name__: write for write in (PAUSE, RESUME, UPDATE, DELETE, UNDELETE, CREATE)}


async def prepare(server: Running, write: Message) -> None:
    """Let a write change something."""
    if write not in (CREATE, NAMELESS):
        await server.create(job_id="mine")
    if write == RESUME:
        await call(server, pb.PauseScheduledJobRequest(job_id="mine"))
    if write == UNDELETE:
        await call(server, pb.DeleteScheduledJobRequest(job_id="mine"))


class TestRepeated:
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    async def test_the_same_id_gives_the_first_answer_and_does_nothing_again(
        self, server: Running, write: Message
    ) -> None:
        await prepare(server, write)
        first = await call(server, write)
        before = await document(server, "mine")
        assert await call(server, write) == first
        assert await document(server, "mine") == before

    async def test_the_first_answer_stands_though_the_job_has_changed_since(self, server: Running) -> None:
        await server.create(job_id="mine")
        first = await call(server, PAUSE)
        await call(server, RESUME)
        assert (await call(server, PAUSE)) == first
        assert (await document(server, "mine"))["state"] == "ACTIVE"

    async def test_callers_at_once_all_get_one_answer(self, server: Running) -> None:
        answers = await asyncio.gather(*(call(server, NAMELESS) for _ in range(20)))
        assert len({answer.job_id for answer in answers}) == 1
        assert await server.database.jobs.count_documents({}) == 1
        assert await server.database.job_revisions.count_documents({}) == 1

    async def test_it_holds_across_servers_and_restarts(self, server: Running, database_url: str) -> None:
        first = await call(server, NAMELESS)
        async with serving(database_url) as other:
            assert await call(other, NAMELESS) == first
        assert await server.database.jobs.count_documents({}) == 1

    async def test_another_request_with_the_id_is_refused(self, server: Running) -> None:
        await call(server, CREATE)
        refused = await refusal(call(server, a_request(job_id="other", request_id="r")))
        assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
        assert [field for field, _ in refused.violations] == ["request_id"]
        assert await server.database.jobs.count_documents({}) == 1

    async def test_an_id_is_a_methods_own(self, server: Running) -> None:
        await call(server, CREATE)
        await call(server, PAUSE)
        assert (await document(server, "mine"))["state"] == "PAUSED"

    async def test_a_refusal_is_not_remembered(self, server: Running) -> None:
        assert (await refusal(call(server, PAUSE))).code == "NOT_FOUND"
        await server.create(job_id="mine")
        assert (await call(server, PAUSE)).job.state == pb.ScheduledJob.STATE_PAUSED
        wrong = a_request(name="", job_id="new", request_id="s")
        assert (await refusal(call(server, wrong))).code == "INVALID_ARGUMENT"
        assert (await call(server, a_request(job_id="new", request_id="s"))).job_id == "new"

    @pytest.mark.parametrize("request_id", ["x" * 129, "a\u2028b"])
    async def test_an_id_that_is_none_is_refused_and_changes_nothing(self, server: Running, request_id: str) -> None:
        refused = await refusal(call(server, a_request(request_id=request_id)))
        assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", ["request_id"])
        assert await server.database.jobs.count_documents({}) == 0

    async def test_with_an_id_that_is_none_all_else_that_is_wrong_is_said_as_well(self, server: Running) -> None:
        job = await server.create(job_id="mine")
        long = "x" * 129
        for request, fields in (
            (a_request(name="", priority=12, request_id=long), ["request_id", "name", "priority"]),
            (pb.PauseScheduledJobRequest(job_id="mine", reason="x" * 501, request_id=long), ["request_id", "reason"]),
            (pb.PauseScheduledJobRequest(job_id="none", request_id=long), ["request_id"]),
            (pb.DeleteScheduledJobRequest(job_id="mine", request_id=long), ["request_id"]),
            (pb.ExecuteJobRequest(queue="nowhere", request_id=long), ["queue", "request_id", "job_id"]),
        ):
            method = server.stub.ExecuteJobNow if isinstance(request, pb.ExecuteJobRequest) else None
            refused = await refusal(method(request) if method else call(server, request))
            assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", fields)
        assert (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job == job

    async def test_what_is_only_checked_leaves_the_id_to_the_call_that_is_meant(self, server: Running) -> None:
        await call(server, a_request(job_id="mine", request_id="r", validate_only=True))
        assert (await call(server, CREATE)).job_id == "mine"

    async def test_a_run_on_another_queue_is_another_request(self, server: Running) -> None:
        await server.create(job_id="mine")
        run = pb.ExecuteJobRequest(job_id="mine", request_id="r")
        first = await server.stub.ExecuteJobNow(run)
        assert (await server.stub.ExecuteJobNow(run)).execution_id == first.execution_id
        run.queue = "analysis"
        assert (await refusal(server.stub.ExecuteJobNow(run))).reason == "REQUEST_ID_REUSED"

    async def test_an_id_is_forgotten_a_day_after_its_first_call(self, server: Running) -> None:
        indexes = await server.database.requests.index_information()
        assert indexes["at"]["expireAfterSeconds"] == 24 * 3600
        await call(server, CREATE)
        first = await server.database.requests.find_one()
        await call(server, CREATE)
        assert await server.database.requests.find_one() == first


class TestAfterADeath:
    """The effect is there, and its answer is not."""

    @pytest.mark.parametrize("write", [*WRITES.values(), NAMELESS], ids=[*WRITES, "without a job_id"])
    async def test_the_repeated_call_finds_the_effect_and_answers_as_the_first_would_have(
        self, server: Running, write: Message, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await prepare(server, write)
        with monkeypatch.context() as patch:
            lose_answers(patch)
            await died(call(server, write))
        await leases_end(server)
        (before,) = [job async for job in server.database.jobs.find()]
        answer = await call(server, write)
        (after,) = [job async for job in server.database.jobs.find()]
        assert after == before
        assert (answer.job.job_id, answer.job.revision, answer.job.etag) == (
            after["_id"],
            after["revision"],
            f"{after['uid'][-6:]}-{after['edits']}",
        )
        assert await call(server, write) == answer

    async def test_it_is_found_though_others_have_edited_the_job_since(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")
        with monkeypatch.context() as patch:
            lose_answers(patch)
            await died(call(server, PAUSE))
        await leases_end(server)
        for number in range(stored.MOST_KEPT_EDITS - 2):
            name = pb.ScheduledJob(name=f"Name {number}")
            await call(server, pb.UpdateScheduledJobRequest(job_id="mine", job=name))
        await call(server, pb.ResumeScheduledJobRequest(job_id="mine"))
        assert (await call(server, PAUSE)).job.state == pb.ScheduledJob.STATE_ACTIVE
        assert (await document(server, "mine"))["state"] == "ACTIVE"

    async def test_a_deletion_that_has_not_cancelled_yet_does_so_when_repeated(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")
        run = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution
        with monkeypatch.context() as patch:
            lose_answers(patch)

            async def dies(*_: Any, **__: Any) -> None:
                raise DiedError

            patch.setattr("scheduler_service.runs.executions.Executions.end_open", dies)
            await died(call(server, DELETE))
        await leases_end(server)
        await call(server, DELETE)
        get = pb.GetExecutionRequest(execution_id=run.execution_id)
        assert (await server.stub.GetExecution(get)).execution.state == pb.Execution.STATE_CANCELLED

    @pytest.mark.parametrize("schedule", [interval(seconds="1000"), cron(minute="*/7")], ids=["interval", "cron"])
    async def test_a_job_whose_history_alone_was_written_is_created_as_that_says(
        self,
        server: Running,
        database: Database[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        schedule: pb.ScheduleConfig,
    ) -> None:
        create = a_request(job_id="mine", request_id="r", schedule_config=schedule)
        await history_alone(server, monkeypatch, create)
        assert database.job_revisions.count_documents({}) == 1
        answer = await server.stub.CreateScheduledJob(create, metadata=[("x-actor", "who repeats it")])
        job = await document(server, "mine")
        (entry,) = database.job_revisions.find()
        assert (answer.job_id, entry["_id"]) == ("mine", f"{job['uid']}.0")
        assert job["schedule"] == job["installed"]["schedule"] == entry["schedule"]
        assert (job["covered"], job["created_by"]) == (entry["began"], "anna")
        fire(database).run_once()
        assert database.executions.count_documents({"job_id": "mine"}) > 0
        assert (await audit(server)).findings == []

    async def test_another_job_is_not_created_by_the_id_of_one_whose_history_alone_was_written(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await history_alone(server, monkeypatch, CREATE)
        other = a_request(job_id="mine", request_id="r", schedule_config=interval(seconds="1000"))
        assert (await refusal(call(server, other))).reason == "REQUEST_ID_REUSED"
        assert await server.database.jobs.count_documents({}) == 0

    async def test_of_two_at_once_that_create_a_job_both_follow_what_the_first_wrote(
        self, server: Running, monkeypatch: pytest.MonkeyPatch, database_url: str
    ) -> None:
        create = a_request(job_id="mine", request_id="r", schedule_config=interval(seconds="1000"))
        monkeypatch.setattr(requests, "LEASE", timedelta(hours=1))
        goes_on, has_begun = asyncio.Event(), asyncio.Event()

        async def later(document: dict[str, Any]) -> Any:
            has_begun.set()
            await goes_on.wait()
            return await server.database.jobs.insert_one(document)

        monkeypatch.setattr(server.jobs, "now", an_hour_before(server))
        monkeypatch.setattr(server.jobs, "_jobs", _Failing(server.database.jobs, insert_one=later))
        first = asyncio.ensure_future(call(server, create))
        await has_begun.wait()
        await leases_end(server)
        async with serving(database_url) as other:
            second = await call(other, create)
        goes_on.set()
        assert (await first).job.schedule_config == second.job.schedule_config
        entry = await server.database.job_revisions.find_one()
        assert entry is not None
        assert (await document(server, "mine"))["installed"]["schedule"] == entry["schedule"]

    async def test_another_goes_on_when_the_lease_has_ended_and_not_before(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(layer, "PATIENCE", 0.2)
        monkeypatch.setattr(requests, "LEASE", timedelta(hours=1))
        with monkeypatch.context() as patch:
            lose_answers(patch)
            await died(call(server, CREATE))
        refused = await refusal(call(server, CREATE))
        assert (refused.code, refused.reason, refused.retry) == ("UNAVAILABLE", "REQUEST_IN_PROGRESS", True)
        await leases_end(server)
        assert (await call(server, CREATE)).job_id == "mine"


class TestWhileItIsWorkedOn:
    async def test_the_call_goes_on_when_its_client_is_gone_and_answers_who_repeats_it(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        goes_on, begun = asyncio.Event(), 0
        now = server.jobs.now

        async def slow() -> Any:
            nonlocal begun
            begun += 1
            await goes_on.wait()
            return await now()

        monkeypatch.setattr(server.jobs, "now", slow)
        with pytest.raises(grpc.aio.AioRpcError):
            await server.stub.CreateScheduledJob(NAMELESS, timeout=0.3)
        again = asyncio.ensure_future(call(server, NAMELESS))
        goes_on.set()
        answer = await again
        assert [job["_id"] async for job in server.database.jobs.find()] == [answer.job_id]
        assert begun == 1

    async def test_a_lease_is_kept_for_as_long_as_the_call_is_worked_on(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        goes_on = asyncio.Event()
        now = server.jobs.now

        async def slow() -> Any:
            await goes_on.wait()
            return await now()

        monkeypatch.setattr(server.jobs, "now", slow)
        first = asyncio.ensure_future(call(server, CREATE))

        async def lease() -> Any:
            found = await server.database.requests.find_one()
            return found and found["lease"]["expires_at"]

        async def is_there() -> bool:
            return await lease() is not None

        await eventually(is_there)
        began = await lease()

        async def was_renewed_twice() -> bool:
            return bool(await lease() - began > requests.LEASE / 2)

        await eventually(was_renewed_twice)
        goes_on.set()
        assert (await first).job_id == "mine"

    async def test_a_call_is_answered_though_the_end_of_its_lease_keeping_gets_lost_on_the_way(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As asyncio.wait_for loses a cancellation before Python 3.12, when what it waits for is done by then."""
        renews, now, update_one = asyncio.Event(), server.jobs.now, server.database.requests.update_one

        async def slow() -> Any:
            await renews.wait()
            return await now()

        async def loses(chosen: Any, update: Any) -> Any:
            # Once: what loses each of them outlives the test.
            if update == requests.renew() and not renews.is_set():
                renews.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
            return await update_one(chosen, update)

        (interceptor,) = [server.server._requests]
        with monkeypatch.context() as patch:
            patch.setattr(server.jobs, "now", slow)
            patch.setattr(interceptor, "_requests", _Failing(server.database.requests, update_one=loses))
            answer = await server.stub.CreateScheduledJob(CREATE, timeout=30)
        assert await call(server, CREATE) == answer

    async def test_after_an_outage_of_unknown_outcome_the_repeated_call_goes_on_at_once(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")

        async def lost(*given: Any, **how: Any) -> Any:
            await run_move(*given, **how)
            raise AutoReconnect("the reply was lost")

        with monkeypatch.context() as patch:
            patch.setattr(jobs, "run_move", lost)
            assert (await refusal(call(server, PAUSE))).reason == "STORE_UNAVAILABLE"
        before = await document(server, "mine")
        assert (await call(server, PAUSE)).job.state == pb.ScheduledJob.STATE_PAUSED
        assert await document(server, "mine") == before

    async def test_an_answer_that_is_too_large_to_keep_is_made_again_and_the_effect_is_not(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requests, "LARGEST_ANSWER", 10)
        first = await call(server, NAMELESS)
        assert await call(server, NAMELESS) == first
        assert await server.database.jobs.count_documents({}) == 1

    async def test_an_answer_that_cannot_be_noted_is_given_all_the_same(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> Any:
            raise AutoReconnect("away")

        (interceptor,) = [server.server._requests]
        failing = _Failing(server.database.requests, update_one=fails)
        with monkeypatch.context() as patch:
            patch.setattr(interceptor, "_requests", failing)
            first = await call(server, CREATE)
        await leases_end(server)
        assert (await call(server, CREATE)).job == first.job


async def history_alone(server: Running, monkeypatch: pytest.MonkeyPatch, create: Message) -> None:
    """Let a server die, an hour ago, between a new job's entry in the history and the job."""

    def dies(*_: Any) -> Any:
        raise DiedError

    with monkeypatch.context() as patch:
        lose_answers(patch)
        patch.setattr(server.jobs, "now", an_hour_before(server))
        patch.setattr(server.jobs, "_jobs", _Failing(server.database.jobs, insert_one=dies))
        await died(server.stub.CreateScheduledJob(create, metadata=[("x-actor", "anna")]))
    await leases_end(server)


def lose_answers(patch: pytest.MonkeyPatch) -> None:
    async def dies(*_: Any) -> None:
        raise DiedError

    patch.setattr(Requests, "_note", dies)


class _Failing:
    """A collection of which some methods fail."""

    def __init__(self, collection: Any, **methods: Any) -> None:
        self._collection = collection
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._collection, name)


class TestOnlyChecked:
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    async def test_the_answer_shows_the_job_as_it_would_be_and_nothing_is_stored(
        self, server: Running, write: Message
    ) -> None:
        await prepare(server, write)
        stored_before = await everything(server)
        tried = type(write)()
        tried.CopyFrom(write)
        tried.validate_only = True
        shown = (await call(server, tried)).job
        assert await everything(server) == stored_before
        real = (await call(server, write)).job
        for volatile in ("updated_at", "created_at", "deleted_at", "purge_time", "uid", "etag"):
            shown.ClearField(volatile)
            real.ClearField(volatile)
        assert shown == real

    async def test_what_would_be_refused_is_refused(self, server: Running) -> None:
        await server.create(job_id="mine")
        tries = [
            a_request(job_id="mine", validate_only=True),
            a_request(name="", validate_only=True),
            pb.PauseScheduledJobRequest(job_id="none", validate_only=True),
            pb.PauseScheduledJobRequest(job_id="mine", etag="other", validate_only=True),
            pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(priority=10), validate_only=True),
            pb.UndeleteScheduledJobRequest(job_id="mine", validate_only=True),
        ]
        assert [(await refusal(call(server, each))).reason for each in tries] == [
            "ID_TAKEN",
            "INVALID_INPUT",
            "NOT_FOUND",
            "ETAG_MISMATCH",
            "INVALID_INPUT",
            "NOT_DELETED",
        ]

    async def test_a_deletion_that_is_only_checked_cancels_nothing(self, server: Running) -> None:
        await server.create(job_id="mine")
        run = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution
        await call(server, pb.DeleteScheduledJobRequest(job_id="mine", cancel_running=True, validate_only=True))
        get = pb.GetExecutionRequest(execution_id=run.execution_id)
        assert (await server.stub.GetExecution(get)).execution.transitions == run.transitions

    async def test_a_run_a_cancellation_and_a_retry_show_the_execution_as_it_would_be_and_leave_all_as_it_is(
        self, server: Running
    ) -> None:
        await server.create(job_id="mine")
        stub, run = server.stub, None
        for request in (
            pb.ExecuteJobRequest(job_id="mine", queue="analysis", request_id="r"),
            pb.CancelExecutionRequest(reason="why"),
            pb.RetryExecutionRequest(request_id="r"),
        ):
            method = (
                stub.ExecuteJobNow if run is None else getattr(stub, type(request).__name__.removesuffix("Request"))
            )
            if run is not None:
                request.execution_id = run.execution_id  # type: ignore[union-attr]
            before, sent = await everything(server), len(server.sent.documents)
            tried: Any = type(request)()
            tried.CopyFrom(request)
            tried.validate_only = True
            shown = (await method(tried)).execution
            assert (await everything(server), len(server.sent.documents)) == (before, sent)
            run = (await method(request)).execution
            for execution in (shown, run):
                for volatile in ("nominal_time", "due_time", "finished_at", "transitions", "trace_id"):
                    execution.ClearField(volatile)
            assert shown == run

    async def test_a_run_that_is_only_checked_is_not_waited_for(self, server: Running) -> None:
        await server.create(job_id="mine")
        request = pb.ExecuteJobRequest(job_id="mine", validate_only=True)
        request.wait.FromSeconds(3_600)
        assert (await server.stub.ExecuteJobNow(request)).execution.state == pb.Execution.STATE_PENDING

    async def test_of_runs_too_what_would_be_refused_is_refused(self, server: Running) -> None:
        await server.create(job_id="mine")
        stub = server.stub
        run = (await stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", request_id="r"))).execution_id
        await server.database.executions.update_one({"_id": run}, {"$set": {"state": "SUCCEEDED"}})
        before = await everything(server)
        tries = [
            stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="none", validate_only=True)),
            stub.ExecuteJobNow(
                pb.ExecuteJobRequest(job_id="mine", request_id="r", queue="analysis", validate_only=True)
            ),
            stub.CancelExecution(pb.CancelExecutionRequest(execution_id=run, validate_only=True)),
            stub.RetryExecution(pb.RetryExecutionRequest(execution_id=run, validate_only=True)),
        ]
        assert [(await refusal(each)).reason for each in tries] == [
            "NOT_FOUND",
            "REQUEST_ID_REUSED",
            "EXECUTION_ENDED",
            "EXECUTION_NOT_RETRYABLE",
        ]
        assert await everything(server) == before


async def everything(server: Running) -> dict[str, Any]:
    return {
        name: [document async for document in server.database[name].find().sort("_id", 1)]
        for name in ("jobs", "job_revisions", "executions", "requests", "zone_rules")
    }


class TestEtag:
    async def change(self, server: Running, actor: str, **fields: Any) -> None:
        request = pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(**fields))
        await server.stub.UpdateScheduledJob(request, metadata=[("x-actor", actor)])

    @pytest.mark.parametrize("write", [PAUSE, UPDATE, DELETE], ids=["pause", "update", "delete"])
    async def test_of_before_somebody_elses_change_it_is_refused_and_says_who_changed_what(
        self, server: Running, write: Message
    ) -> None:
        read = await server.create(job_id="mine")
        await self.change(server, "ben", name="Prices of ben", labels={"team": "b"})
        await self.change(server, "carl", schedule_config=cron(minute="9"))
        outdated = type(write)()
        outdated.CopyFrom(write)
        if write == UPDATE:
            outdated.job.etag = read.etag
        else:
            outdated.etag = read.etag
        before = await document(server, "mine")
        refused = await refusal(call(server, outdated))
        assert (refused.code, refused.reason) == ("ABORTED", "ETAG_MISMATCH")
        assert "ben changed name, labels at 20" in refused.message
        assert "carl changed schedule_config at 20" in refused.message
        assert refused.facts["updated_by"] == "carl"
        assert refused.facts["changed_fields"] == "name,labels,schedule_config"
        assert refused.facts["etag"] == f"{before['uid'][-6:]}-3"
        assert await document(server, "mine") == before

    async def test_the_one_it_has_is_taken(self, server: Running) -> None:
        job = await server.create(job_id="mine")
        paused = (await call(server, pb.PauseScheduledJobRequest(job_id="mine", etag=job.etag))).job
        resumed = (await call(server, pb.ResumeScheduledJobRequest(job_id="mine", etag=paused.etag))).job
        deleted = (await call(server, pb.DeleteScheduledJobRequest(job_id="mine", etag=resumed.etag))).job
        assert deleted.state == pb.ScheduledJob.STATE_DELETED

    async def test_of_long_ago_it_tells_the_last_changes_and_how_many_there_were(self, server: Running) -> None:
        read = await server.create(job_id="mine")
        for number in range(stored.MOST_KEPT_EDITS + 5):
            await self.change(server, "ben", name=f"Name {number}")
        refused = await refusal(call(server, pb.PauseScheduledJobRequest(job_id="mine", etag=read.etag)))
        assert refused.message.count("ben changed name") == 3
        assert f"{stored.MOST_KEPT_EDITS - 3} earlier changes" in refused.message
        assert len((await document(server, "mine"))["edit_log"]) == stored.MOST_KEPT_EDITS

    @pytest.mark.parametrize("etag", ["", "-", "abc", "other1-7", "9" * 5000, "ab-²", "\x00"])
    async def test_any_text_is_an_etag_and_none_but_the_jobs_own_is_right(self, server: Running, etag: str) -> None:
        job = await server.create(job_id="mine")
        for given in (etag, f"{job.etag}{etag}", f"{job.etag[:7]}{etag}"):
            if given in {"", job.etag}:
                continue
            refused = await refusal(call(server, pb.PauseScheduledJobRequest(job_id="mine", etag=given)))
            assert (refused.code, refused.reason) == ("ABORTED", "ETAG_MISMATCH")

    async def test_a_job_of_before_edits_were_kept_names_who_changed_it_last(self, server: Running) -> None:
        read = await server.create(job_id="mine")
        await self.change(server, "ben", name="Other")
        await server.database.jobs.update_one({"_id": "mine"}, {"$unset": {"edit_log": ""}})
        refused = await refusal(call(server, pb.PauseScheduledJobRequest(job_id="mine", etag=read.etag)))
        assert "ben changed it last, at 20" in refused.message
