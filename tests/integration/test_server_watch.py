"""WatchExecutions, WatchJobs and WaitExecution: each step once and in its order, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog
from google.protobuf.duration_pb2 import Duration
from pymongo.errors import AutoReconnect

from dev.mongodb import start_mongodb
from scheduler_service.watching import feed as feeds
from scheduler_service.watching import tail as tails
from scheduler_service.watching.watch import Chosen
from scheduler_service.watching.watch_tokens import Told, write_token
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions
from shared.store.task_attempts import note_progress
from tests.builders import fired, job_document
from tests.integration.test_server_harness import Running, eventually, refusal, serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from shared.store.executions import Move

LEASE = timedelta(seconds=30)
SOON = 60.0


class Watcher:
    """A client that watches, and keeps what it was told."""

    def __init__(self, server: Running, **chosen: Any) -> None:
        self.request = pb.WatchExecutionsRequest(**chosen)
        self.call = server.stub.WatchExecutions(self.request)
        self.told: dict[str, list[int]] = defaultdict(list)
        self.states: dict[str, list[str]] = defaultdict(list)
        self.messages: list[pb.WatchExecutionsResponse] = []
        self.token = ""

    async def begun(self) -> Watcher:
        """Wait for the sign of life after which everything is told."""
        async with asyncio.timeout(SOON):
            first = await self.call.read()
        assert not first.HasField("execution")
        self.token = first.resume_token
        return self

    async def read(self) -> pb.WatchExecutionsResponse:
        async with asyncio.timeout(SOON):
            message: pb.WatchExecutionsResponse = await self.call.read()
        assert isinstance(message, pb.WatchExecutionsResponse), "the stream has ended"
        self.token = message.resume_token
        if message.HasField("execution"):
            self.messages.append(message)
            name = message.execution.execution_id
            self.told[name] += [step.number for step in message.transitions]
            self.states[name] += [pb.Execution.State.Name(step.state)[6:] for step in message.transitions]
        return message

    async def until(self, execution_id: str, state: str) -> None:
        while state not in self.states[execution_id]:
            await self.read()

    async def ended(self) -> str:
        """Wait for the end of the stream; return its status."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            pass
        return str((await self.call.code()).name)


async def do(server: Running, move: Move) -> None:
    written = await server.database.executions.update_one(move.filter, move.update)
    assert written.modified_count == 1


async def start(server: Running, job_id: str = "mine") -> str:
    answer = await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id))
    return str(answer.execution_id)


async def run(server: Running, execution_id: str) -> None:
    """Do what relay and worker do with an execution that goes well."""
    await do(server, executions.mark_queued([execution_id], 0, "relay"))
    await do(server, executions.claim(execution_id, "worker-1", f"nonce of {execution_id}", LEASE))
    await end(server, execution_id)


async def end(server: Running, execution_id: str) -> None:
    nonce = f"nonce of {execution_id}"
    await do(server, executions.succeed(execution_id, nonce, "worker-1", '{"n": 1}', truncated=False))


LIFE = ["PENDING", "QUEUED", "RUNNING", "SUCCEEDED"]


async def test_each_transition_is_told_once_and_in_its_order(server: Running) -> None:
    await server.create(job_id="mine")
    watcher = await Watcher(server).begun()
    names = [await start(server) for _ in range(3)]
    for name in names:
        await run(server, name)
    for name in names:
        await watcher.until(name, "SUCCEEDED")
    assert dict(watcher.states) == dict.fromkeys(names, LIFE)
    last = watcher.messages[-1].execution
    assert (last.state, last.result["n"]) == (pb.Execution.STATE_SUCCEEDED, 1)


async def test_a_watcher_that_comes_back_is_told_what_it_has_missed_and_nothing_twice(
    server: Running, database_url: str
) -> None:
    """By any server, at any message that it got."""
    await server.create(job_id="mine")
    watcher = await Watcher(server, job_id="mine").begun()
    names = [await start(server) for _ in range(5)]
    await watcher.read()
    watcher.call.cancel()
    for name in names:
        await run(server, name)
    # Comes last, also where others are lost.
    last = await start(server)
    told = {name: list(states) for name, states in watcher.states.items()}
    token = watcher.token
    async with serving(database_url) as other:
        while last not in told:
            again = await Watcher(other, job_id="mine", resume_token=token).begun()
            await again.read()
            token = again.token
            again.call.cancel()
            for name, states in again.states.items():
                told[name] = told.get(name, []) + states
    assert told == {**dict.fromkeys(names, LIFE), last: ["PENDING"]}


async def test_what_another_server_has_told_and_has_not_settled_here_is_not_told_again(
    server: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create(job_id="mine")
    async with serving(database_url) as behind:
        feed = behind.watching._execution_feed
        with feed.reading():
            await feed.looked(ready=True)
            with monkeypatch.context() as held:
                held.setattr(feed._tail, "_settle", lambda *_: None)
                watcher = await Watcher(server).begun()
                first = await start(server)
                await watcher.until(first, "PENDING")
                again = await Watcher(behind, resume_token=watcher.token).begun()
                await eventually(lambda: _is_watched(behind))
            second = await start(server)
            await again.until(second, "PENDING")
    assert dict(again.told) == {second: [1]}


async def _is_watched(server: Running) -> bool:
    return any(server.watching._execution_feed.subscriptions())


async def test_a_watcher_is_told_only_of_what_it_has_chosen(server: Running) -> None:
    await server.create(job_id="mine", labels={"team": "prices", "tier": "1"})
    await server.create(job_id="theirs", labels={"team": "stock"})
    by_label = await Watcher(server, labels={"team": "prices"}).begun()
    by_job = await Watcher(server, job_id="theirs").begun()
    mine, theirs, last = await start(server), await start(server, "theirs"), await start(server)
    await by_label.until(last, "PENDING")
    await by_job.until(theirs, "PENDING")
    assert set(by_label.told) == {mine, last}
    assert set(by_job.told) == {theirs}


@pytest.mark.parametrize(
    "damage",
    [
        {"transitions.0.at": "soon"},
        {"transitions.1.at": "soon"},
        {"born": "soon"},
        {"transitions.0.state": "GONE"},
        {"transitions": "none"},
        {"state": ["PENDING"]},
        {"job_uid": ["a", "list"]},
        {"trigger": 7},
        {"progress": "much"},
        {"attempt": "first"},
    ],
    ids=str,
)
async def test_an_execution_that_cannot_be_read_keeps_none_from_being_told_of_others(
    server: Running, damage: dict[str, Any]
) -> None:
    await server.create(job_id="mine", labels={"team": "pricing"})
    await server.create(job_id="odd")
    watcher = await Watcher(server).begun()
    chosen = await Watcher(server, labels={"team": "pricing"}).begun()
    tokens = watcher.token, chosen.token
    await start(server, "odd")
    await server.database.jobs.update_one({"_id": "odd"}, {"$set": {"labels": "none"}})
    broken = await start(server)
    await watcher.until(broken, "PENDING")
    await server.database.executions.update_one({"_id": broken}, [{"$set": {"changed": "$$NOW"}}])
    await server.database.executions.update_one({"_id": broken}, {"$set": damage})
    whole = await start(server)
    await run(server, whole)
    await watcher.until(whole, "SUCCEEDED")
    assert watcher.states[whole] == LIFE
    await chosen.until(whole, "SUCCEEDED")
    for again in (
        await Watcher(server, resume_token=tokens[0]).begun(),
        await Watcher(server, resume_token=tokens[1], labels={"team": "pricing"}).begun(),
    ):
        await again.until(whole, "SUCCEEDED")
        assert again.states[whole] == LIFE


@pytest.mark.parametrize("field", ["state", "trigger"])
async def test_what_only_a_newer_release_can_read_is_left_to_its_servers(server: Running, field: str) -> None:
    """The stream ends, and no token goes on past it."""
    await server.create(job_id="mine")
    watcher = await Watcher(server).begun()
    newer = await start(server)
    await watcher.until(newer, "PENDING")
    stored = await server.database.executions.find_one({"_id": newer})
    assert stored is not None
    step = {"number": 2, "state": "QUEUED", "at": "$$NOW", "by": "relay", "reason": ""}
    changed = {"changed": "$$NOW", "transitions": {"$concatArrays": ["$transitions", [step]]}}
    unheard_of = {field: "UNHEARD_OF", "schema": executions.SCHEMA + 1}
    await server.database.executions.update_one({"_id": newer}, [{"$set": {**changed, **unheard_of}}])
    assert await watcher.ended() == "UNAVAILABLE"
    again = Watcher(server, resume_token=watcher.token)
    assert await again.ended() == "UNAVAILABLE"
    # As a server that can read it sees it.
    await server.database.executions.update_one({"_id": newer}, {"$set": {field: stored[field]}})
    again = await Watcher(server, resume_token=watcher.token).begun()
    await again.until(newer, "QUEUED")


async def test_decisions_and_parts_are_told_only_where_asked_for(server: Running) -> None:
    await server.create(job_id="mine")
    plain = await Watcher(server).begun()
    everything = await Watcher(server, include_decisions=True, include_parts=True).begun()
    now = datetime.now(UTC)
    part = fired(job_document("mine"), now) | {"_id": "part", "trigger": "PART", "parent": "whole"}
    del part["run"]
    skipped = fired(job_document("mine"), now) | {"_id": "skipped", "state": "SKIPPED", "run": False}
    skipped["transitions"][0]["state"] = "SKIPPED"
    await server.database.executions.insert_many([part, skipped])
    name = await start(server)
    await plain.until(name, "PENDING")
    assert set(plain.told) == {name}
    while not {"part", "skipped", name} <= set(everything.told):
        await everything.read()


async def test_of_one_execution_everything_is_told_and_its_end_ends_the_stream(server: Running) -> None:
    await server.create(job_id="mine")
    name = await start(server)
    await do(server, executions.mark_queued([name], 0, "relay"))
    watcher = await Watcher(server, execution_id=name).begun()
    await watcher.until(name, "QUEUED")
    await do(server, executions.claim(name, "worker-1", f"nonce of {name}", LEASE))
    await end(server, name)
    await watcher.until(name, "SUCCEEDED")
    assert watcher.states[name] == LIFE
    assert await watcher.ended() == "OK"
    late = await Watcher(server, execution_id=name).begun()
    await late.until(name, "SUCCEEDED")
    assert (late.states[name], await late.ended()) == (LIFE, "OK")
    again = await Watcher(server, execution_id=name, resume_token=late.token).begun()
    assert (await again.ended(), dict(again.told)) == ("OK", {})


async def test_progress_is_told_without_transitions(server: Running) -> None:
    await server.create(job_id="mine")
    name = await start(server)
    await do(server, executions.claim(name, "worker-1", "n", LEASE))
    watcher = await Watcher(server, execution_id=name).begun()
    await watcher.until(name, "RUNNING")
    await server.database.executions.bulk_write(note_progress([(name, "n", (3, 10, "pages"))]))
    message = await watcher.read()
    assert (message.execution.progress.done, list(message.transitions)) == (3, [])


async def test_a_slow_client_is_dropped_with_a_status_that_says_so_and_can_go_on(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_WAITING", 50)
    await server.create(job_id="mine")
    watcher = await Watcher(server).begun()
    now = datetime.now(UTC)
    rows = [fired(job_document("mine"), now, _id=f"row-{n}", job_name="n" * 60_000) for n in range(400)]
    for begin in range(0, 400, 100):
        await server.database.executions.insert_many(rows[begin : begin + 100])
    # Nothing is read meanwhile, so that the client's window fills, and then the queue.
    await eventually(lambda: _is_dropped(server))
    told: list[str] = []
    refused = await refusal(_read_all(watcher, told))
    assert (refused.code, "reads too slowly" in refused.message) == ("RESOURCE_EXHAUSTED", True)
    again = await Watcher(server, resume_token=watcher.token).begun()
    while len(told) < 400:
        told.append((await again.read()).execution.execution_id)
    assert sorted(told) == sorted(f"row-{n}" for n in range(400))


async def _read_all(watcher: Watcher, told: list[str]) -> None:
    while True:
        told.append((await watcher.read()).execution.execution_id)


async def _is_dropped(server: Running) -> bool:
    feed = server.watching._execution_feed
    return any(subscription._end is not None for subscription in feed.subscriptions())


async def test_tokens_that_do_not_fit_or_are_too_old_are_refused(server: Running) -> None:
    await server.create(job_id="mine")
    watcher = await Watcher(server).begun()
    for token in (watcher.token, "garbage", watcher.token[:-4] + "AAAA"):
        refused = await refusal(
            server.stub.WatchExecutions(pb.WatchExecutionsRequest(job_id="mine", resume_token=token)).read()
        )
        assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", ["resume_token"])
    for days, said in ((-2, "only the last 24 h"), (2, "was set back")):
        old = write_token(Chosen().text, Told.all_by(datetime.now(UTC) + timedelta(days=days)))
        call = server.stub.WatchExecutions(pb.WatchExecutionsRequest(resume_token=old))
        refused = await refusal(call.read())
        assert (refused.code, said in refused.message) == ("OUT_OF_RANGE", True)


async def test_labels_are_those_that_the_job_has_when_it_is_told(server: Running) -> None:
    await server.create(job_id="mine", labels={"team": "prices"})
    watcher = await Watcher(server, labels={"team": "prices"}).begun()
    first = await start(server)
    await watcher.until(first, "PENDING")
    changed = pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(labels={"team": "stock"}))
    await server.stub.UpdateScheduledJob(changed)
    second = await start(server)
    await server.stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(labels={"team": "prices"}))
    )
    again = await Watcher(server, labels={"team": "prices"}, resume_token=watcher.token).begun()
    last = await start(server)
    await again.until(last, "PENDING")
    assert set(again.told) == {second, last}


async def test_a_watcher_of_what_is_not_there_is_told_so(server: Running) -> None:
    for request in (pb.WatchExecutionsRequest(job_id="none"), pb.WatchExecutionsRequest(execution_id="none")):
        assert (await refusal(server.stub.WatchExecutions(request).read())).code == "NOT_FOUND"
    many = pb.WatchExecutionsRequest(labels={f"l{n}": "" for n in range(65)}, resume_token="x" * 1001)
    refused = await refusal(server.stub.WatchExecutions(many).read())
    assert {field for field, _ in refused.violations} == {"labels", "resume_token"}


async def test_when_the_server_stops_watchers_and_waiters_end_with_unavailable(server: Running) -> None:
    await server.create(job_id="mine")
    watcher = await Watcher(server).begun()
    jobs = server.stub.WatchJobs(pb.WatchJobsRequest())
    await jobs.read()
    name = await start(server)
    waiting = asyncio.create_task(refusal(server.stub.WaitExecution(pb.WaitExecutionRequest(execution_id=name))))
    await eventually(lambda: _waits(server, 1))
    await server.watching.stop()
    assert (await waiting).code == "UNAVAILABLE"
    assert await watcher.ended() == "UNAVAILABLE"
    assert (await jobs.code()).name == "UNAVAILABLE"
    refused = await refusal(server.stub.WatchJobs(pb.WatchJobsRequest()).read())
    assert (refused.code, refused.retry) == ("UNAVAILABLE", True)


async def _waits(server: Running, count: int) -> bool:
    return len(server.watching._execution_feed._waiters) == count


async def test_the_reader_ends_with_the_server_though_its_cancellation_gets_lost_on_the_way(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for loses one before Python 3.12, when what it waits for is done by then."""
    feed, asks = server.watching._execution_feed, asyncio.Event()

    with feed.reading():
        await feed.looked(ready=False)
        look = feed._tail.look

        async def loses() -> tails.Look:
            with suppress(asyncio.CancelledError):
                asks.set()
                await asyncio.Event().wait()
            monkeypatch.setattr(feed._tail, "look", look)
            return await look()

        monkeypatch.setattr(feed._tail, "look", loses)
        await asks.wait()
        async with asyncio.timeout(SOON):
            await feed.stop()
    assert feed._task is not None
    assert feed._task.done()


async def test_a_thousand_watchers_come_and_go_and_leave_nothing(server: Running) -> None:
    """While they are there, one reader asks for all of them."""
    await server.create(job_id="mine")
    before = len(asyncio.all_tasks())
    calls = [server.stub.WatchExecutions(pb.WatchExecutionsRequest()) for _ in range(1000)]
    await asyncio.gather(*(call.read() for call in calls))
    assert sum(task.get_name() == "ExecutionFeed" for task in asyncio.all_tasks()) == 1
    name = await start(server)
    told = await asyncio.gather(*(call.read() for call in calls))
    assert {message.execution.execution_id for message in told} == {name}
    for call in calls[:500]:
        call.cancel()
    deadlines = [server.stub.WatchExecutions(pb.WatchExecutionsRequest(), timeout=0.5) for _ in range(10)]
    await asyncio.gather(*(refusal(_all(call)) for call in deadlines))
    for call in calls[500:]:
        call.cancel()
    await eventually(lambda: _nobody_watches(server))
    await eventually(lambda: _tasks_are(before + 3))


async def _all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def _nobody_watches(server: Running) -> bool:
    return not await _is_watched(server)


async def _tasks_are(most: int) -> bool:
    return len(asyncio.all_tasks()) <= most


async def test_what_becomes_visible_after_its_instant_has_settled_is_told_nevertheless(server: Running) -> None:
    watcher = await Watcher(server).begun()
    late = datetime.now(UTC)
    await eventually(lambda: _is_settled(server, late))
    row = fired(job_document("mine"), late, _id="late", changed=late)
    del row["born"]
    with structlog.testing.capture_logs() as lines:
        await server.database.executions.insert_one(row)
        await watcher.until("late", "PENDING")
    assert [line["execution_id"] for line in lines if line["action"] == "watch_told_late"] == ["late"]


async def test_what_settles_while_the_store_is_away_is_not_late_and_a_token_among_it_leaves_nothing_out(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create(job_id="mine", labels={"team": "prices"})
    watcher = await Watcher(server, labels={"team": "prices"}).begun()
    feed = server.watching._execution_feed

    async def away(_: Any) -> dict[str, dict[str, str]]:
        raise AutoReconnect("away")

    with monkeypatch.context() as held, structlog.testing.capture_logs() as lines:
        held.setattr(feed, "labels", away)
        names = {await start(server) for _ in range(3)}
        stored = datetime.now(UTC) + timedelta(seconds=1)
        await eventually(lambda: _has_settled(feed._tail, stored))
        held.undo()
        await watcher.read()
        again = await Watcher(server, labels={"team": "prices"}, resume_token=watcher.token).begun()
        last = await start(server)
        await again.until(last, "PENDING")
    assert not await _is_said(lines, "watch_told_late")
    assert set(watcher.told) | set(again.told) == {*names, last}
    assert not set(watcher.told) & set(again.told)


async def _has_settled(tail: tails.Tail, instant: datetime) -> bool:
    return tail._settled > instant


async def _is_settled(server: Running, instant: datetime) -> bool:
    return server.watching._execution_feed.settled > instant


async def test_when_the_databases_clock_is_set_back_watchers_have_to_begin_anew(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = await Watcher(server).begun()

    async def an_hour_ago(_: Any) -> tuple[datetime, datetime]:
        now = datetime.now(UTC) - timedelta(hours=1)
        return now, now

    with monkeypatch.context() as patched:
        patched.setattr(tails, "database_now", an_hour_ago)
        assert await watcher.ended() == "OUT_OF_RANGE"
    await Watcher(server).begun()


async def test_a_replica_set_is_watched_as_a_single_server_is(tmp_path: Path) -> None:
    store = start_mongodb(tmp_path, replica_set="rs")
    try:
        async with serving(store.url) as server:
            await server.create(job_id="mine")
            watcher = await Watcher(server).begun()
            name = await start(server)
            await run(server, name)
            await watcher.until(name, "SUCCEEDED")
            assert watcher.states[name] == LIFE
    finally:
        store.stop()


async def test_watchers_and_waiters_survive_an_outage_of_the_store(tmp_path: Path) -> None:
    store = start_mongodb(tmp_path)
    try:
        async with serving(store.url) as server:
            await server.create(job_id="mine")
            watcher = await Watcher(server).begun()
            name = await start(server)
            request = pb.WaitExecutionRequest(execution_id=name)
            waiting = server.stub.WaitExecution(request, timeout=60)
            await eventually(lambda: _waits(server, 1))
            with structlog.testing.capture_logs() as lines:
                await asyncio.to_thread(store.kill)
                await eventually(lambda: _is_said(lines, "watch_waits"))
                await asyncio.to_thread(store.restart)
            await run(server, name)
            assert (await waiting).execution.state == pb.Execution.STATE_SUCCEEDED
            await watcher.until(name, "SUCCEEDED")
            assert watcher.states[name] == LIFE
    finally:
        store.stop()


async def _is_said(lines: list[Any], action: str) -> bool:
    return any(line["action"] == action for line in lines)


def shows(monkeypatch: pytest.MonkeyPatch, collection: Any, rows: list[Any]) -> None:
    """Let the first reads of a collection find these."""
    find_one = collection.find_one

    async def found(*chosen: Any) -> Any:
        return rows.pop(0) if rows else await find_one(*chosen)

    monkeypatch.setattr(collection, "find_one", found)


class TestWait:
    async def test_it_returns_when_the_execution_has_ended_and_at_once_when_it_had(self, server: Running) -> None:
        await server.create(job_id="mine")
        name = await start(server)
        request = pb.WaitExecutionRequest(execution_id=name)
        calls = [server.stub.WaitExecution(request, timeout=SOON) for _ in range(3)]
        await eventually(lambda: _waits(server, 1))
        await run(server, name)
        for call in calls:
            assert (await call).execution.result["n"] == 1
        assert (await server.stub.WaitExecution(request)).execution.state == pb.Execution.STATE_SUCCEEDED

    async def test_it_is_bounded_by_the_callers_deadline(self, server: Running) -> None:
        await server.create(job_id="mine")
        name = await start(server)
        refused = await refusal(server.stub.WaitExecution(pb.WaitExecutionRequest(execution_id=name), timeout=0.5))
        assert refused.code == "DEADLINE_EXCEEDED"
        await eventually(lambda: _waits(server, 0))

    async def test_what_is_not_there_is_said_at_once(self, server: Running) -> None:
        for name, code in (("none", "NOT_FOUND"), ("", "INVALID_ARGUMENT")):
            refused = await refusal(server.stub.WaitExecution(pb.WaitExecutionRequest(execution_id=name)))
            assert refused.code == code

    async def test_a_run_by_hand_can_be_waited_for(self, server: Running) -> None:
        await server.create(job_id="mine")
        request = pb.ExecuteJobRequest(job_id="mine", wait=Duration(seconds=10))
        asked = server.stub.ExecuteJobNow(request)
        await eventually(lambda: _waits(server, 1))
        name = server.sent.documents[0]["_id"]
        await run(server, name)
        assert (await asked).execution.state == pb.Execution.STATE_SUCCEEDED

    async def test_a_run_by_hand_that_takes_longer_is_answered_as_it_is_by_then(self, server: Running) -> None:
        await server.create(job_id="mine")
        request = pb.ExecuteJobRequest(job_id="mine", wait=Duration(seconds=60))
        answer = await server.stub.ExecuteJobNow(request, timeout=1)
        assert answer.execution.state == pb.Execution.STATE_PENDING

    async def test_one_that_has_ended_is_told_though_a_new_primary_does_not_show_it_at_first(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")
        name = await start(server)
        watcher = await Watcher(server, execution_id=name).begun()
        feed = server.watching._execution_feed
        before = await feed._collection.find_one({"_id": name})
        await run(server, name)
        await watcher.until(name, "SUCCEEDED")
        shows(monkeypatch, feed._collection, [before])
        answer = await server.stub.WaitExecution(pb.WaitExecutionRequest(execution_id=name), timeout=SOON)
        assert answer.execution.state == pb.Execution.STATE_SUCCEEDED

    async def test_a_run_by_hand_is_waited_for_though_a_new_primary_does_not_show_it_at_first(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")
        shows(monkeypatch, server.watching._execution_feed._collection, [None])
        asked = server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", wait=Duration(seconds=30)))
        await eventually(lambda: _waits(server, 1))
        await run(server, server.sent.documents[0]["_id"])
        assert (await asked).execution.state == pb.Execution.STATE_SUCCEEDED
        for collection in (server.watching._execution_feed._collection, server.watching._executions._executions):
            shows(monkeypatch, collection, [None])
        answer = await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", wait=Duration(nanos=10**8)))
        assert answer.execution.state == pb.Execution.STATE_PENDING

    async def test_it_is_over_in_time_though_its_cancellation_gets_lost_on_the_way(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await server.create(job_id="mine")
        name = await start(server)
        feed = server.watching._execution_feed
        find_one = feed._collection.find_one

        async def loses(*chosen: Any) -> Any:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return await find_one(*chosen)

        monkeypatch.setattr(feed._collection, "find_one", loses)
        async with asyncio.timeout(SOON):
            assert await feed.wait(name, 1) is None

    async def test_a_wait_is_checked(self, server: Running) -> None:
        await server.create(job_id="mine")
        for wait in (Duration(seconds=3601), Duration(seconds=-1)):
            refused = await refusal(server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", wait=wait)))
            assert [field for field, _ in refused.violations] == ["wait"]


class TestJobs:
    async def test_each_change_of_a_job_is_told(self, server: Running) -> None:
        call = server.stub.WatchJobs(pb.WatchJobsRequest())
        first = await call.read()
        assert not first.HasField("job")
        created = await server.create(job_id="mine")
        assert (await _job(call)).revision == created.revision
        await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))
        assert (await _job(call)).state == pb.ScheduledJob.STATE_PAUSED
        await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
        assert (await _job(call)).state == pb.ScheduledJob.STATE_DELETED

    async def test_one_that_comes_back_is_told_what_has_changed(self, server: Running) -> None:
        await server.create(job_id="mine")
        await server.create(job_id="theirs")
        call = server.stub.WatchJobs(pb.WatchJobsRequest(job_id="mine"))
        token = (await call.read()).resume_token
        call.cancel()
        for job_id in ("mine", "theirs"):
            await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=job_id))
        again = server.stub.WatchJobs(pb.WatchJobsRequest(job_id="mine", resume_token=token))
        job = await _job(again)
        assert (job.job_id, job.state) == ("mine", pb.ScheduledJob.STATE_PAUSED)

    async def test_a_change_at_which_the_store_goes_away_is_told_when_it_is_back(
        self, server: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        zone_rules = server.watching._job_feed._zone_rules
        load, failures = zone_rules.load, [AutoReconnect("away")] * 2

        async def fails(documents: Iterable[Mapping[str, Any]]) -> None:
            if failures:
                raise failures.pop()
            await load(documents)

        call = server.stub.WatchJobs(pb.WatchJobsRequest())
        await call.read()
        await server.create(job_id="mine")
        assert (await _job(call)).job_id == "mine"
        monkeypatch.setattr(zone_rules, "load", fails)
        await server.database.jobs.update_one({"_id": "mine"}, [{"$set": {"changed": "$$NOW", "name": "Other"}}])
        await eventually(lambda: _is_empty(failures))
        assert (await _job(call)).name == "Other"
        failures.append(AutoReconnect("away"))
        refused = await refusal(server.stub.WatchJobs(pb.WatchJobsRequest(initial=True)).read())
        assert refused.code == "UNAVAILABLE"

    async def test_it_begins_with_those_there_are_where_asked_for(self, server: Running) -> None:
        await server.create(job_id="mine", labels={"team": "prices"})
        await server.create(job_id="theirs")
        await server.create(job_id="gone", labels={"team": "prices"})
        await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="gone"))
        call = server.stub.WatchJobs(pb.WatchJobsRequest(labels={"team": "prices"}, initial=True))
        found = await call.read()
        assert (found.job.job_id, found.initial) == ("mine", True)
        assert not (await call.read()).HasField("job")

    async def test_tokens_of_other_streams_are_refused(self, server: Running) -> None:
        watcher = await Watcher(server).begun()
        refused = await refusal(server.stub.WatchJobs(pb.WatchJobsRequest(resume_token=watcher.token)).read())
        assert [field for field, _ in refused.violations] == ["resume_token"]


async def _is_empty(those: list[Any]) -> bool:
    return not those


async def _job(call: Any) -> pb.ScheduledJob:
    async with asyncio.timeout(SOON):
        while not (message := await call.read()).HasField("job"):
            pass
    job: pb.ScheduledJob = message.job
    return job
