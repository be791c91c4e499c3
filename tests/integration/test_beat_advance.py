"""Advance on a real MongoDB: whoever races, crashes or cancels, each part runs once, and the whole ends with its parts.

The duties of worker and beat are called one after the other, without processes, so that a test can put anything between
any two of their writes.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from beat.advance import BATCH, ITEMS, Advance
from beat.consequences import Consequences
from beat.partitions import Partitions
from beat.rescue import Rescue, StoreReturns
from scheduler_service.operations.audit import Audit, Question
from scheduler_service.runs.cleanup import Cleanup
from shared.domain.execution import OPEN, Failure, State, part_id
from shared.domain.flow import FailurePolicy, FanOut, Requires, Source, Step, Workflow
from shared.domain.job import JobState
from shared.domain.policies import Overlap
from shared.store import executions, jobs, parts
from shared.store.mongo import connect_async
from shared.tasks.retry import Again
from tests.builders import every, fired, job_document
from worker.answers import Succeeded, TryAgain
from worker.keeper import Keeper
from worker.ledger import Ledger
from worker.run import Runner
from worker.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pymongo.collection import Collection
    from pymongo.database import Database

    from shared.domain.flow import Flow
    from shared.store.executions import Claimed
    from worker.run import Outcome
    from worker.target import Cancellation

Db: TypeAlias = "Database[dict[str, Any]]"

LEASE = timedelta(seconds=60)
RECORDED: dict[str, Any] = {"target_service": "recorder", "target_method": "Record"}
NO = Failure("INTERNAL", "no", retryable=False)


class BelievesAll(Partitions):
    """A beat that is sure to hold every partition, as a stalled one may be."""

    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(jobs.PARTITIONS))


class Crash(BaseException):
    """The process ends here."""


class Watched:
    """A collection whose writes something can be done about: crash after the nth, or let somebody else go first."""

    def __init__(self, collection: Collection[dict[str, Any]], before: Callable[[str], None]) -> None:
        self._collection = collection
        self._before = before

    def __getattr__(self, name: str) -> Any:
        if name in {"update_many", "update_one", "bulk_write", "find", "find_one", "aggregate"}:
            self._before(name)
        return getattr(self._collection, name)


class Beat:
    """One beat's duty, with a collection that can be watched, and what it has sent."""

    def __init__(self, database: Db, name: str = "beat", before: Callable[[str], None] | None = None) -> None:
        self.sent: list[str] = []
        self.advance = Advance(database, BelievesAll(database, name, LEASE), self._hand_over, name)
        if before is not None:
            self.advance._executions = Watched(database.executions, before)  # type: ignore[assignment]

    def _hand_over(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.sent += [row["_id"] for row in rows]

    def until_idle(self, most: int = 500) -> None:
        for _ in range(most):
            if not self.advance.run_once():
                return
        pytest.fail("beat always finds something to do")


class World:
    """A store, and the processes that work on it."""

    def __init__(self, database: Db) -> None:
        self.database = database
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        """Execution, method and parameters of each call."""
        self.answers: Callable[[Claimed, dict[str, Any]], Any] = lambda _claimed, parameters: parameters
        self.beat = Beat(database)
        stopping = Stopping(60)
        self.ledger = Ledger(database, "worker", LEASE, stopping)
        self.runner = Runner(self.ledger, Keeper(self.ledger, LEASE, stopping), self, "worker")  # type: ignore[arg-type]
        self._numbers = count()

    def call(self, claimed: Claimed, _cancellation: Cancellation) -> Succeeded | Failure | TryAgain:
        """Stand in for the target."""
        parameters = json.loads(claimed.parameters)
        self.calls.append((claimed.execution_id, claimed.target_method, parameters))
        answer = self.answers(claimed, parameters)
        return answer if isinstance(answer, Failure | TryAgain) else Succeeded(answer)

    def job(self, flow: Flow, **changes: Any) -> dict[str, Any]:
        of_steps: dict[str, Any] = (
            {"target_service": "", "target_method": ""} if isinstance(flow, Workflow) else RECORDED
        )
        document = job_document("job-1", every(60), flow=flow, **of_steps, **changes)
        self.database.jobs.insert_one(document)
        return document

    def begin(self, flow: Flow, **changes: Any) -> str:
        """Fire a job that has this flow, and let a worker start it; return the id of the execution."""
        return self.fire(self.job(flow, **changes))

    def fire(self, job: dict[str, Any], **changes: Any) -> str:
        nominal = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=3600 - next(self._numbers))
        document = fired(job, nominal, **changes)
        self.database.executions.insert_one(document)
        self.runner.run(document["_id"])
        return str(document["_id"])

    def begin_by_hand(self, job: dict[str, Any]) -> str:
        """Run a job by hand, and let a worker start it."""
        document = executions.manual_document(
            job, f"hand{next(self._numbers)}", "manual", "", datetime.now(UTC), "anna"
        )
        self.database.executions.insert_one(document)
        self.runner.run(document["_id"])
        return str(document["_id"])

    def retry(self, execution_id: str) -> str:
        """Retry as the server does; return the id of the new execution, which nobody has started yet."""
        ended = self.row(execution_id)
        assert ended["state"] in {"FAILED", "CANCELLED"}, ended["state"]
        now = datetime.now(UTC)
        token = f"again{next(self._numbers)}"
        document = executions.retry_document(ended, token, "manual", "", now, "anna", reuse=True)
        self.database.executions.insert_one(document)
        return str(document["_id"])

    def run(self, execution_id: str) -> Outcome:
        return self.runner.run(execution_id)

    def row(self, execution_id: str) -> dict[str, Any]:
        found = self.database.executions.find_one({"_id": execution_id})
        assert found is not None, execution_id
        return found

    def state(self, execution_id: str) -> str:
        return str(self.row(execution_id)["state"])

    def parts(self, execution_id: str) -> dict[str, dict[str, Any]]:
        found = self.database.executions.find({"parent": execution_id}).sort("number", 1)
        return {row["part_name"]: row for row in found}

    def states(self, execution_id: str) -> dict[str, str]:
        return {name: row["state"] for name, row in self.parts(execution_id).items()}

    def startable(self) -> list[str]:
        """Return what a message may make run now, parts and steps."""
        chosen = {"state": {"$in": ["PENDING", "QUEUED"]}, "held": {"$exists": False}}
        return [row["_id"] for row in self.database.executions.find(chosen, {}).sort("number", 1)]

    def work(self, most: int = 10_000) -> int:
        """Let workers take what is there, as many as `most`; return how many there were."""
        ready = self.startable()[:most]
        for execution_id in ready:
            self.run(execution_id)
        return len(ready)

    def to_the_end(self) -> None:
        """Let beat and workers go on until nothing is left to do, and find all of it in order."""
        self.go_on()
        open_rows = list(self.database.executions.find({"state": {"$in": [state.value for state in OPEN]}}, {}))
        assert not open_rows, f"something waits for ever: {open_rows[:5]}"
        check(self.database)

    def go_on(self) -> None:
        """Let beat and workers go on until nothing is left to do."""
        for _ in range(200):
            self.beat.until_idle()
            if not self.work():
                break

    def stop(self, execution_id: str, *, by: str = "anna") -> None:
        move = executions.cancel(execution_id, by, "")
        assert self.database.executions.update_one(move.filter, move.update).modified_count

    def called(self, method: str | None = None) -> Counter[str]:
        return Counter(execution_id for execution_id, name, _ in self.calls if method in {None, name})


def check(database: Db) -> None:
    """Assert what holds whenever nothing is open: of each whole, and of all rows of parts."""
    for whole in database.executions.find({"flow": {"$exists": True}, "total": {"$exists": True}}):
        rows = list(database.executions.find({"parent": whole["_id"]}))
        carried = whole["carried"].get("succeeded", 0) + len(whole["carried"].get("steps", {}))
        said = f"{whole['_id']} is {whole['state']}"
        if "items" not in whole:
            expected = whole["total"] - len(whole["carried"].get("steps", {}))
            assert len(rows) == expected, f"{said} and has {len(rows)} of {expected} parts"
        if "parts" in whole:
            counts = Counter(row["state"] for row in rows)
            counts["SUCCEEDED"] += carried
            assert Counter(whole["parts"]) == +counts, said
        for row in rows:
            assert row["_id"] == part_id(
                whole["_id"], row["part_name"].zfill(5 if whole["flow"]["kind"] == "FAN_OUT" else 0)
            )
            assert row["finished_at"] <= whole["finished_at"], f"{said} before {row['_id']}"
    assert not database.executions.count_documents({"settle": True})
    assert not database.executions.count_documents({"open": True})
    assert not database.executions.count_documents({"part": {"$exists": True}, "dead_letter": True})
    assert not database.executions.count_documents({"part": {"$exists": True}, "letter": True})


@pytest.fixture
def world(database: Db) -> World:
    return World(database)


def items(number: int) -> tuple[dict[str, Any], ...]:
    return tuple({"name": f"item-{index}"} for index in range(number))


def step(name: str, *after: str, **fields: Any) -> Step:
    usual: dict[str, Any] = {**RECORDED, "parameters": {"step": name}}
    return Step(name=name, after=after, **(usual | fields))


def fails(*names: str) -> Callable[[Claimed, dict[str, Any]], Any]:
    """Return a target that fails the calls for these items or steps."""

    def answer(_claimed: Claimed, parameters: dict[str, Any]) -> Any:
        return NO if parameters.get("name", parameters.get("step")) in names else parameters

    return answer


class TestFanOuts:
    def test_each_item_runs_once_and_the_whole_ends_with_their_counts(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(3)))
        assert world.state(whole) == "WAITING"
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"
        assert json.loads(world.row(whole)["result"]) == {"total": 3, "succeeded": 3, "failed": 0, "cancelled": 0}
        assert sorted(parameters["name"] for _, _, parameters in world.calls) == ["item-0", "item-1", "item-2"]

    def test_ten_thousand_items_have_their_rows_in_batches_and_none_twice(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(10_000)))
        looks = 0
        while "items" in world.row(whole):
            assert world.beat.advance.run_once()
            looks += 1
        assert looks == 10_000 / ITEMS
        assert len(world.parts(whole)) == 10_000
        assert len(set(world.beat.sent)) == len(world.beat.sent) == 10_000
        # As workers end them, but in one go.
        world.database.executions.update_many({"parent": whole}, [executions.end(State.SUCCEEDED, "worker", "")])
        world.to_the_end()
        assert world.row(whole)["parts"] == {"SUCCEEDED": 10_000}

    def test_no_items_are_enough_unless_some_had_to_succeed(self, world: World) -> None:
        whole = world.begin(FanOut(items=()))
        world.to_the_end()
        assert (world.state(whole), world.parts(whole)) == ("SUCCEEDED", {})

    def test_no_items_are_too_few_where_some_had_to_succeed(self, world: World) -> None:
        source = Source("recorder", "List", {}, "items")
        world.answers = lambda *_: {"items": []}
        whole = world.begin(FanOut(source=source, failure_policy=FailurePolicy.AT_LEAST, min_succeeded=1))
        world.to_the_end()
        assert world.row(whole)["error"]["message"] == "0 of 0 items succeeded, and at least 1 had to"

    @pytest.mark.parametrize("crash_after", range(12))
    def test_a_beat_that_dies_after_any_write_neither_loses_nor_doubles_a_part(
        self, world: World, crash_after: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.ITEMS", 3)
        whole = world.begin(FanOut(items=items(7), max_parallel=4))
        writes = count()

        def die(operation: str) -> None:
            # Before the next operation of any kind: what was written before stands.
            if operation in {"update_many", "bulk_write"} and next(writes) == crash_after:
                raise Crash

        dying = Beat(world.database, "dying", die)
        try:
            for _ in range(30):
                dying.advance.run_once()
                world.work(2)
        except Crash:
            pass
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"
        assert set(world.called().values()) == {1}
        assert len(world.calls) == 7

    def test_a_beat_that_dies_while_it_tells_of_the_last_part_leaves_that_to_another(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(1)))
        world.beat.until_idle()
        world.work()
        writes = count()

        def die(operation: str) -> None:
            if operation == "update_many" and next(writes) == 1:
                raise Crash

        with pytest.raises(Crash):
            Beat(world.database, "dying", die).advance.run_once()
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"

    def test_a_beat_that_dies_within_a_batch_leaves_the_rest_to_another(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(20)))
        rows = [
            parts.item_document(parent(world, whole), item, "dead", held=False)
            for item in json.loads(world.row(whole)["items"])
        ]
        world.database.executions.insert_many(rows[1::3])
        world.to_the_end()
        assert sorted(world.called().values()) == [1] * 20

    def test_two_beats_with_the_same_snapshot_insert_and_send_each_item_once(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(10), max_parallel=4))
        other = Beat(world.database, "other")
        going = Beat(world.database, "going", first("find_one", other.until_idle))
        going.until_idle()
        assert len(world.parts(whole)) == 10
        assert sorted(other.sent + going.sent) == sorted(row["_id"] for row in world.parts(whole).values())[:4]
        world.to_the_end()

    def test_a_beat_that_notes_its_rows_late_does_not_take_back_what_another_has_noted(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.ITEMS", 3)
        whole = world.begin(FanOut(items=items(7)))
        late = Beat(world.database, "late", first("bulk_write", world.beat.until_idle, after=True))
        late.advance.run_once()
        assert world.row(whole)["expanded"] == 7
        world.to_the_end()

    def test_no_more_run_at_a_time_than_may_also_when_two_beats_give_slots_at_once(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(12), max_parallel=3))
        world.beat.until_idle()
        assert len(world.startable()) == 3
        world.work()
        other = Beat(world.database, "other")
        # Between its count of what runs and the slots that it gives, the other gives them.
        going = Beat(world.database, "going", first("aggregate", other.until_idle, after=True))
        going.until_idle()
        assert len(world.startable()) == 3
        world.to_the_end()
        assert world.row(whole)["parts"] == {"SUCCEEDED": 12}

    def test_slots_are_given_in_the_order_of_the_items_and_to_what_was_cancelled_none(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(5), max_parallel=1, failure_policy=FailurePolicy.IGNORE))
        world.beat.until_idle()
        world.stop(part_id(whole, "00001"))
        world.beat.until_idle()
        assert world.startable() == [part_id(whole, "00000")]
        world.work()
        world.beat.until_idle()
        assert world.startable() == [part_id(whole, "00002")]
        world.to_the_end()
        assert world.row(whole)["parts"] == {"SUCCEEDED": 4, "CANCELLED": 1}

    def test_slots_whose_messages_were_never_handed_over_are_sent_by_the_relay(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(2), max_parallel=1))
        world.beat.until_idle()
        world.work()

        class Dying(Beat):
            def _hand_over(self, rows: Iterable[Mapping[str, Any]]) -> None:
                if list(rows):
                    raise Crash

        with pytest.raises(Crash):
            Dying(world.database, "dying").until_idle()
        row = world.row(part_id(whole, "00001"))
        assert "held" not in row
        chosen = executions.send_filter(range(jobs.PARTITIONS), -timedelta(seconds=3))
        assert [found["_id"] for found in world.database.executions.find(chosen)] == [row["_id"]]

    def test_a_part_that_ends_between_a_look_and_its_conclusion_is_not_overlooked(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(2)))
        world.beat.until_idle()
        one, other = part_id(whole, "00000"), part_id(whole, "00001")
        world.run(one)
        quick = Beat(world.database, "quick").advance

        def end_the_other() -> None:
            world.run(other)
            quick._tell_parents(frozenset(range(jobs.PARTITIONS)))  # and dies before it looks at it

        Beat(world.database, "slow", first("aggregate", end_the_other, after=True)).until_idle()
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"

    def test_many_wholes_go_on_together(self, world: World) -> None:
        job = world.job(FanOut(items=items(1)))
        wholes = [world.fire(job) for _ in range(BATCH + 20)]
        world.to_the_end()
        assert {world.state(whole) for whole in wholes} == {"SUCCEEDED"}

    @pytest.mark.parametrize(
        ("fan_out", "failing", "state"),
        [
            ({}, 1, "FAILED"),
            ({"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2}, 1, "SUCCEEDED"),
            ({"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2}, 2, "FAILED"),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 0.6}, 1, "SUCCEEDED"),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 0.7}, 1, "FAILED"),
            ({"failure_policy": FailurePolicy.IGNORE}, 3, "SUCCEEDED"),
        ],
    )
    def test_the_failure_policy_decides_once_all_have_ended(
        self, world: World, fan_out: dict[str, Any], failing: int, state: str
    ) -> None:
        world.answers = fails(*(f"item-{index}" for index in range(failing)))
        whole = world.begin(FanOut(items=items(3), **fan_out))
        world.to_the_end()
        assert world.state(whole) == state
        assert len(world.calls) == 3

    def test_the_items_are_fetched_and_an_item_is_an_object_or_is_mentioned(self, world: World) -> None:
        def answer(claimed: Claimed, parameters: dict[str, Any]) -> Any:
            return {"customers": ["a", "b"]} if claimed.target_method == "List" else parameters

        world.answers = answer
        source = Source("recorder", "List", {"on": "${execution.nominal_time}"}, "customers")
        whole = world.begin(FanOut(source=source, key="${item}"), parameters={"customer": "${item}", "at": "${index}"})
        world.to_the_end()
        assert [row["part_key"] for row in world.parts(whole).values()] == ["a", "b"]
        assert [parameters for _, method, parameters in world.calls if method == "Record"] == [
            {"customer": "a", "at": 0},
            {"customer": "b", "at": 1},
        ]

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ({"items": {"a": 1}}, "not a list"),
            ({"items": ["a"]}, "no parameter mentions ${item}"),
            ({"items": [{}] * 10_001}, "10,001 items are too many"),
            ({"items": [{"name": "x" * 500_000}] * 9}, "bytes of JSON"),
            ({}, "items"),
        ],
    )
    def test_items_that_can_not_be_called_end_the_execution_with_a_sentence(
        self, world: World, answer: dict[str, Any], said: str
    ) -> None:
        world.answers = lambda *_: answer
        whole = world.begin(FanOut(source=Source("recorder", "List", {}, "items")))
        row = world.row(whole)
        assert (row["state"], row["error"]["code"]) == ("FAILED", "INVALID_RESULT")
        assert said in row["error"]["message"]
        assert row["letter"]

    def test_a_source_that_fails_is_tried_again_as_any_call(self, world: World) -> None:
        world.answers = lambda *_: Failure("UNAVAILABLE", "down", retryable=True)
        whole = world.begin(FanOut(source=Source("recorder", "List", {}, "items")))
        assert world.state(whole) == "PENDING"
        world.database.executions.update_one({"_id": whole}, {"$set": {"due_at": datetime.now(UTC)}})
        world.answers = lambda _claimed, parameters: {"items": [{"name": "a"}], **parameters}
        world.run(whole)
        world.to_the_end()
        assert (world.state(whole), world.row(whole)["attempt"]) == ("SUCCEEDED", 2)


def parent(world: World, execution_id: str) -> dict[str, Any]:
    """Return a whole as a beat reads it."""
    chosen = parts.advance_filter(range(jobs.PARTITIONS)) | {"_id": execution_id}
    (found,) = world.database.executions.find(chosen, {**parts.WHOLE_FIELDS, "now": "$$NOW"})
    return found


def first(operation: str, act: Callable[[], object], *, after: bool = False) -> Callable[[str], None]:
    """Return what acts before the first operation of this name; with `after`, before the one that follows it."""
    state = {"seen": False, "done": False}

    def before(name: str) -> None:
        due = state["seen"] if after else name == operation
        state["seen"] = state["seen"] or name == operation
        if due and not state["done"]:
            state["done"] = True
            act()

    return before


class TestStopping:
    def test_a_cancel_while_it_gets_its_rows_ends_all_items_each_with_a_row(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.ITEMS", 3)
        whole = world.begin(FanOut(items=items(10), max_parallel=2))
        world.beat.advance.run_once()
        world.stop(whole)
        world.to_the_end()
        assert world.states(whole) == {str(number): "CANCELLED" for number in range(10)}
        assert world.row(whole)["parts"] == {"CANCELLED": 10}
        assert world.calls == []

    @pytest.mark.parametrize("late", range(4))
    def test_a_beat_with_an_old_snapshot_can_not_start_what_was_stopped(
        self, world: World, late: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.ITEMS", 3)
        whole = world.begin(FanOut(items=items(7), max_parallel=2))
        looks = iter(range(100))

        def cancel_and_go_on() -> None:
            world.stop(whole)
            for _ in zip(range(late), looks, strict=False):
                world.beat.advance.run_once()

        # It has read what it is to insert; then somebody stops the whole, and another beat has so many looks at it.
        stale = Beat(world.database, "stale", first("bulk_write", cancel_and_go_on))
        stale.advance.run_once()
        world.to_the_end()
        assert world.state(whole) == "CANCELLED"
        assert world.calls == []

    def test_a_step_that_a_beat_with_an_old_snapshot_inserts_does_not_run(self, world: World) -> None:
        whole = world.begin(Workflow((step("one"), step("two", "one"))))
        world.beat.until_idle()
        world.work()

        def cancel_and_end() -> None:
            world.stop(whole)
            world.beat.until_idle()

        stale = Beat(world.database, "stale", first("bulk_write", cancel_and_end))
        stale.advance.run_once()
        world.to_the_end()
        assert world.state(whole) == "CANCELLED"
        assert world.states(whole) == {"one": "SUCCEEDED", "two": "SKIPPED"}
        assert world.parts(whole)["two"]["reason"] == "the workflow was stopped by anna"

    def test_a_step_that_was_inserted_just_before_the_cancel_is_not_run_after_it(self, world: World) -> None:
        whole = world.begin(Workflow((step("one"),)))
        world.beat.advance.run_once()
        world.stop(whole)
        world.work()
        world.to_the_end()
        assert (world.state(whole), world.states(whole), world.calls) == ("CANCELLED", {"one": "CANCELLED"}, [])

    def test_what_runs_when_its_whole_is_cancelled_is_asked_to_end_and_is_waited_for(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(2)))
        world.beat.until_idle()
        asked: list[dict[str, Any]] = []

        def answer(claimed: Claimed, _parameters: dict[str, Any]) -> Any:
            world.stop(whole)
            world.beat.until_idle()
            asked.append(world.row(claimed.execution_id)["cancel"])
            assert world.state(whole) == "WAITING"
            return Failure("CANCELLED", "as asked", retryable=False)

        world.answers = answer
        world.run(part_id(whole, "00000"))
        assert (asked[0]["call"], asked[0]["reason"]) == (
            True,
            "the execution that it is a part of was stopped by anna",
        )
        world.to_the_end()
        assert world.row(whole)["parts"] == {"CANCELLED": 2}

    def test_a_cancel_reaches_the_items_of_a_step_that_fans_out(self, world: World) -> None:
        whole = world.begin(Workflow((step("each", fan_out=FanOut(items=items(5), max_parallel=1), parameters={}),)))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        each = part_id(whole, "each")
        assert Counter(world.states(each).values()) == {"PENDING": 5}
        world.stop(whole)
        world.to_the_end()
        assert Counter(world.states(each).values()) == {"CANCELLED": 5}
        assert (world.state(each), world.state(whole), world.calls) == ("CANCELLED", "CANCELLED", [])

    def test_an_item_of_a_step_that_fans_out_does_not_start_after_the_cancel_before_any_beat_has_heard_of_it(
        self, world: World
    ) -> None:
        whole = world.begin(Workflow((step("each", fan_out=FanOut(items=items(5)), parameters={}),)))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        assert len(world.startable()) == 5
        world.stop(whole)
        world.work(2)
        assert world.calls == []
        each = part_id(whole, "each")
        world.to_the_end()
        assert Counter(world.states(each).values()) == {"CANCELLED": 5}
        assert (world.state(each), world.state(whole), world.calls) == ("CANCELLED", "CANCELLED", [])
        # Those of a workflow that nobody has stopped run, and those of its retry.
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert (world.state(again), len(world.calls)) == ("SUCCEEDED", 5)

    def test_a_step_does_not_succeed_by_items_that_were_cancelled_with_its_workflow(self, world: World) -> None:
        ignoring = FanOut(items=items(2), failure_policy=FailurePolicy.IGNORE)
        whole = world.begin(Workflow((step("each", fan_out=ignoring, parameters={}),)))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        world.work(1)

        def stop() -> None:
            world.stop(whole)
            assert world.work() == 1

        # A look at the step, since an item of it has ended, that has read it, and not yet the items.
        Beat(world.database, "looking", first("aggregate", stop)).advance.run_once()
        world.to_the_end()
        each = part_id(whole, "each")
        assert (world.state(each), world.state(whole)) == ("CANCELLED", "CANCELLED")
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert sorted(parameters["name"] for _, _, parameters in world.calls) == ["item-0", "item-1"]

    def test_steps_whose_items_have_ended_do_not_keep_their_workflows_from_being_stopped(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.BATCH", 1)  # as if there were a hundred such
        whole = world.begin(Workflow((step("each", fan_out=FanOut(items=items(1)), parameters={}),)))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        world.work()
        # The step is told that its item has ended, and is due before the workflow.
        Beat(world.database, "telling", first("update_many", lambda: world.stop(whole), after=True)).advance.run_once()
        world.beat.until_idle(20)
        assert world.state(whole) == "CANCELLED"

    @pytest.mark.parametrize("named", ["itself", {"by": "hand"}])
    def test_items_of_a_step_that_does_not_say_what_it_is_part_of_run(self, world: World, named: Any) -> None:
        whole = world.begin(Workflow((step("each", fan_out=FanOut(items=items(2)), parameters={}),)))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        each = part_id(whole, "each")
        damaged = each if named == "itself" else named
        world.database.executions.update_one({"_id": each}, {"$set": {"parent": damaged}})
        world.work()
        assert sorted(parameters["name"] for _, _, parameters in world.calls) == ["item-0", "item-1"]

    def test_a_cancel_while_its_worker_finds_out_the_items_ends_it_without_any(self, world: World) -> None:
        def answer(claimed: Claimed, _parameters: dict[str, Any]) -> Any:
            world.stop(claimed.execution_id)
            return {"items": [{"name": "a"}]}

        world.answers = answer
        whole = world.begin(FanOut(source=Source("recorder", "List", {}, "items")))
        assert (world.state(whole), world.parts(whole)) == ("CANCELLED", {})
        world.to_the_end()
        # And what it found is not found again.
        world.answers = lambda _claimed, parameters: parameters
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert world.row(again)["parts"] == {"SUCCEEDED": 1}

    @pytest.mark.parametrize(("running", "cut_short"), [(False, False), (True, True)])
    def test_a_deleted_job_lets_what_runs_be_the_last_unless_that_is_cancelled_too(
        self, world: World, *, running: bool, cut_short: bool
    ) -> None:
        job = world.job(FanOut(items=items(3), max_parallel=2))
        whole = world.fire(job)
        world.beat.until_idle()

        def answer(claimed: Claimed, parameters: dict[str, Any]) -> Any:
            move = executions.end_open(job["uid"], "anna", "the job was deleted", running=running)
            world.database.executions.update_many(move.filter, move.update)
            world.beat.until_idle()
            assert world.row(claimed.execution_id)["cancel"]["call"] is cut_short
            return parameters

        world.answers = answer
        world.run(part_id(whole, "00000"))
        world.to_the_end()
        assert world.states(whole) == {"0": "SUCCEEDED", "1": "CANCELLED", "2": "CANCELLED"}
        assert world.state(whole) == "CANCELLED"

    def test_a_whole_that_can_not_be_read_ends_with_all_its_parts(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(5), max_parallel=1))
        healthy = world.fire(job_document("job-2", every(60), flow=FanOut(items=items(1)), **RECORDED))
        world.beat.until_idle()
        world.database.executions.update_one(
            {"_id": whole}, {"$set": {"flow.spec": "{", "advance_at": datetime.now(UTC)}}
        )
        world.beat.until_idle()
        row = world.row(whole)
        assert (row["state"], row["error"]["code"], row["letter"]) == ("FAILED", "INTERNAL", True)
        assert Counter(world.states(whole).values()) == {"CANCELLED": 5}
        world.work()
        world.beat.until_idle()
        assert world.state(healthy) == "SUCCEEDED"
        assert not world.database.executions.count_documents({"open": True})

    def test_a_fan_out_whose_items_are_gone_before_they_have_rows_has_failed(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(5)))
        world.database.executions.update_one({"_id": whole}, {"$unset": {"items": ""}})
        world.beat.until_idle()
        assert (world.state(whole), world.row(whole)["error"]["code"]) == ("FAILED", "INTERNAL")

    def test_a_workflow_whose_step_does_not_say_of_what_it_is_keeps_no_other_from_going_on(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.BATCH", 1)  # as if there were a hundred such
        broken = world.begin(Workflow((step("one"),)))
        world.beat.until_idle()
        world.database.executions.update_one({"parent": broken}, {"$set": {"parent": 7}})
        world.database.executions.update_one({"_id": broken}, {"$set": {"advance_at": datetime.now(UTC)}})
        healthy = world.fire(job_document("job-2", every(60), flow=FanOut(items=items(1)), **RECORDED))
        for _ in range(20):
            world.beat.advance.run_once()
            world.work()
        assert (world.state(broken), world.state(healthy)) == ("WAITING", "SUCCEEDED")

    @pytest.mark.parametrize("damage", [["a", "list"], None, 7], ids=str)
    def test_a_part_that_does_not_say_of_what_keeps_no_other_from_being_told_of(
        self, world: World, damage: object
    ) -> None:
        broken = world.begin(FanOut(items=items(2)))
        healthy = world.fire(job_document("job-2", every(60), flow=FanOut(items=items(1)), **RECORDED))
        world.beat.until_idle()
        world.work()
        world.database.executions.update_one({"parent": broken}, {"$set": {"parent": damage}})
        world.beat.until_idle()
        assert (world.state(broken), world.state(healthy)) == ("WAITING", "SUCCEEDED")

    @pytest.mark.parametrize("damage", ["many", None, float("nan")], ids=str)
    def test_a_whole_whose_count_of_what_has_ended_is_damaged_ends_as_every_other(
        self, world: World, damage: object
    ) -> None:
        whole = world.begin(FanOut(items=items(2)))
        world.beat.until_idle()
        world.database.executions.update_one({"_id": whole}, {"$set": {"signals": damage}})
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"


class TestWorkflows:
    def test_steps_run_in_their_order_with_what_earlier_ones_gave(self, world: World) -> None:
        world.answers = lambda _claimed, parameters: {"made": parameters["step"]}
        whole = world.begin(
            Workflow(
                (
                    step("one"),
                    step("two", "one", parameters={"step": "${steps.one.result.made} and two"}),
                    step("three", "two", parameters={"step": "${steps.one.result.made}, ${steps.two.result.made}"}),
                )
            )
        )
        world.to_the_end()
        assert [parameters["step"] for _, _, parameters in world.calls] == ["one", "one and two", "one, one and two"]
        assert json.loads(world.row(whole)["result"])["steps"]["two"] == {
            "state": "SUCCEEDED",
            "execution_id": part_id(whole, "two"),
        }

    @pytest.mark.parametrize("crash_after", range(14))
    def test_a_beat_that_dies_after_any_write_leaves_each_step_one_run(self, world: World, crash_after: int) -> None:
        whole = world.begin(
            Workflow(
                (step("a"), step("b", "a"), step("c", "a", when="`false`"), step("d", "b", "c", requires=Requires.END))
            )
        )
        writes = count()

        def die(operation: str) -> None:
            if operation in {"update_many", "bulk_write"} and next(writes) == crash_after:
                raise Crash

        dying = Beat(world.database, "dying", die)
        try:
            for _ in range(30):
                dying.advance.run_once()
                world.work(1)
        except Crash:
            pass
        world.to_the_end()
        assert world.states(whole) == {"a": "SUCCEEDED", "b": "SUCCEEDED", "c": "SKIPPED", "d": "SUCCEEDED"}
        assert [parameters["step"] for _, _, parameters in world.calls] == ["a", "b", "d"]

    def test_a_beat_that_has_seen_less_does_not_end_it_too_early(self, world: World) -> None:
        whole = world.begin(Workflow((step("one"), step("two", "one"))))
        world.beat.until_idle()
        world.work()

        def go_on() -> None:
            world.beat.until_idle()

        Beat(world.database, "slow", first("bulk_write", go_on)).advance.run_once()
        assert world.state(whole) == "WAITING"
        world.to_the_end()
        assert len(world.calls) == 2

    def test_what_comes_after_a_failed_step_is_skipped_and_says_so_unless_it_asks_only_for_its_end(
        self, world: World
    ) -> None:
        world.answers = fails("one")
        told = "${steps.one.state}: ${steps.one.error.message}"
        whole = world.begin(
            Workflow(
                (
                    step("one"),
                    step("two", "one"),
                    step("three", "two"),
                    step("report", "one", requires=Requires.END, parameters={"step": told}),
                )
            )
        )
        world.to_the_end()
        rows = world.parts(whole)
        assert [rows[name]["state"] for name in ("one", "two", "three", "report")] == [
            "FAILED", "SKIPPED", "SKIPPED", "SUCCEEDED",
        ]  # fmt: skip
        assert (rows["two"]["reason"], rows["three"]["reason"]) == ("the step one is FAILED", "the step two is SKIPPED")
        assert world.calls[-1][2] == {"step": "FAILED: no"}
        assert world.row(whole)["error"]["message"] == "the step one is FAILED"

    def test_a_condition_decides_whether_a_step_runs(self, world: World) -> None:
        world.answers = lambda _claimed, parameters: {"count": 3, **parameters}
        whole = world.begin(
            Workflow(
                (
                    step("one"),
                    step("few", "one", when="steps.one.result.count < `2`"),
                    step("many", "one", when="steps.one.result.count > `2`"),
                )
            )
        )
        world.to_the_end()
        assert world.states(whole) == {"one": "SUCCEEDED", "few": "SKIPPED", "many": "SUCCEEDED"}
        assert world.parts(whole)["few"]["reason"] == (
            "its condition does not hold: steps.one.result.count < `2` (steps.one.result.count is 3)"
        )
        assert world.state(whole) == "SUCCEEDED"

    @pytest.mark.parametrize(
        "broken",
        [
            {"when": "sum(steps.one.result.step) > `2`"},
            {"parameters": {"step": "${steps.one.result.missing}"}},
            {"fan_out": FanOut(items_from="${steps.one.result.step}")},
            {"fan_out": FanOut(items_from="${steps.one.result.missing}")},
        ],
    )
    def test_an_expression_that_finds_nothing_fails_its_step_with_a_sentence(
        self, world: World, broken: dict[str, Any]
    ) -> None:
        whole = world.begin(Workflow((step("one"), step("two", "one", **broken))))
        world.to_the_end()
        assert world.states(whole) == {"one": "SUCCEEDED", "two": "FAILED"}
        error = world.parts(whole)["two"]["error"]
        assert error["code"] in {"INVALID_ARGUMENT", "INVALID_RESULT"}
        assert any(said in error["message"] for said in ("missing", "not a list", "sum"))
        assert ("|| `null`" in error["message"]) == ("parameters" in broken), "there is no list that is null"
        assert world.state(whole) == "FAILED"

    def test_a_step_can_fan_out_over_what_an_earlier_one_gave_and_later_ones_see_all_results(
        self, world: World
    ) -> None:
        def answer(_claimed: Claimed, parameters: dict[str, Any]) -> Any:
            return {"names": ["a", "b"]} if parameters.get("step") == "list" else {"made": parameters["step"]}

        world.answers = answer
        whole = world.begin(
            Workflow(
                (
                    step("list"),
                    step(
                        "each",
                        "list",
                        fan_out=FanOut(items_from="${steps.list.result.names}"),
                        parameters={"step": "${item}"},
                    ),
                    step("all", "each", parameters={"step": "${join('+', steps.each.results[].made)}"}),
                )
            )
        )
        world.to_the_end()
        assert world.calls[-1][2] == {"step": "a+b"}
        assert world.state(whole) == "SUCCEEDED"

    def test_a_step_that_takes_more_than_fits_fails_and_the_workflow_goes_on(self, world: World) -> None:
        world.answers = lambda *_: {"text": "x" * 900_000}
        whole = world.begin(
            Workflow(
                (
                    step("each", fan_out=FanOut(items=items(6)), parameters={}),
                    step("all", "each", parameters={"step": "${steps.each.results[0].text}"}),
                    step("end", "each", parameters={"step": "${steps.each.result.succeeded} of them"}),
                )
            )
        )
        world.to_the_end()
        assert world.states(whole) == {"each": "SUCCEEDED", "all": "FAILED", "end": "SUCCEEDED"}
        assert "too large" in world.parts(whole)["all"]["error"]["message"]
        assert {"step": "6 of them"} in [parameters for _, _, parameters in world.calls]

    def test_a_step_runs_where_and_as_it_says_and_else_as_its_job(self, world: World) -> None:
        own = step("own", queue="analysis", priority=9, timeout=timedelta(seconds=7))
        whole = world.begin(Workflow((step("jobs"), own)))
        world.beat.until_idle()
        rows = world.parts(whole)
        assert [rows["own"][name] for name in ("queue", "priority", "timeout")] == ["analysis", 9, 7]
        inherited = ("queue", "priority", "timeout", "retry", "partition", "nominal_time", "trace_id")
        assert {name: rows["jobs"][name] for name in inherited} == {name: world.row(whole)[name] for name in inherited}


class TestRetries:
    def test_a_retry_runs_what_has_not_succeeded_and_a_retry_of_that_what_is_left(self, world: World) -> None:
        world.answers = fails("item-0", "item-1")
        whole = world.begin(FanOut(items=items(4), key="${item.name}"))
        world.to_the_end()
        world.answers = fails("item-1")
        second = world.retry(whole)
        world.run(second)
        world.to_the_end()
        assert world.row(second)["parts"] == {"SUCCEEDED": 3, "FAILED": 1}
        world.answers = fails()
        third = world.retry(second)
        world.run(third)
        world.to_the_end()
        assert world.row(third)["parts"] == {"SUCCEEDED": 4}
        assert json.loads(world.row(third)["result"]) == {"total": 4, "succeeded": 4, "failed": 0, "cancelled": 0}
        assert {row["part_key"] for row in world.parts(third).values()} == {"item-1"}
        names = Counter(parameters["name"] for _, _, parameters in world.calls)
        assert names == {"item-0": 2, "item-1": 3, "item-2": 1, "item-3": 1}

    def test_a_retry_that_ended_before_it_had_parts_leaves_as_much_to_do(self, world: World) -> None:
        world.answers = fails("item-0")
        whole = world.begin(FanOut(items=items(2)))
        world.to_the_end()
        second = world.retry(whole)
        world.stop(second)
        world.answers = fails()
        third = world.retry(second)
        world.run(third)
        world.to_the_end()
        assert world.row(third)["parts"] == {"SUCCEEDED": 2}
        assert Counter(parameters["name"] for _, _, parameters in world.calls) == {"item-0": 2, "item-1": 1}

    def test_a_retry_of_what_was_stopped_while_it_got_its_rows_runs_the_rest(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.advance.ITEMS", 2)
        whole = world.begin(FanOut(items=items(5)))
        world.beat.advance.run_once()
        world.work()
        # A beat dies behind the rows of two more.
        rows = [
            parts.item_document(parent(world, whole), each, "dead", held=False)
            for each in json.loads(world.row(whole)["items"])
        ]
        world.database.executions.insert_many(rows[2:4])
        world.stop(whole)
        world.to_the_end()
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert (world.state(again), world.row(again)["parts"]) == ("SUCCEEDED", {"SUCCEEDED": 5})
        assert set(Counter(parameters["name"] for _, _, parameters in world.calls).values()) == {1}

    def test_a_retry_does_not_take_for_done_what_is_not_recorded_any_more(self, world: World) -> None:
        world.answers = fails("item-0")
        whole = world.begin(FanOut(items=items(3)))
        world.to_the_end()
        world.database.executions.delete_one({"_id": part_id(whole, "00000")})
        again = world.retry(whole)
        world.run(again)
        error = world.row(again)["error"]["message"]
        assert error == f"the records of 1 of the 3 parts of {whole} were removed; only a retry from_start can do them"

    @pytest.mark.parametrize("flow", [FanOut(items=items(3)), Workflow((step("one"), step("two", "one")))])
    def test_a_retry_of_what_was_removed_fails_and_does_not_do_all_of_it_again(self, world: World, flow: Flow) -> None:
        world.answers = fails("item-0", "two")
        whole = world.begin(flow)
        world.to_the_end()
        world.calls.clear()
        second = world.retry(whole)
        world.stop(second)  # before it has parts
        third = world.retry(second)
        fourth = world.retry(whole)
        world.database.executions.delete_many({"$or": [{"_id": whole}, {"parent": whole}]})
        for again in (third, fourth):
            world.run(again)
            assert world.row(again)["error"]["message"] == (
                f"the record of {whole}, which this is a retry of, was removed; only a retry from_start can do it"
            )
        world.to_the_end()
        assert (world.state(third), world.state(fourth), world.calls) == ("FAILED", "FAILED", [])

    def test_a_retry_of_a_workflow_whose_steps_were_removed_does_not_do_them_again(self, world: World) -> None:
        world.answers = fails("three")
        flow = Workflow((step("one"), step("two", "one"), step("three", "two"), step("four", "three")))
        whole = world.begin(flow)
        world.to_the_end()
        world.answers = fails("four")
        second = world.retry(whole)
        world.run(second)
        world.to_the_end()
        assert world.states(second) == {"three": "SUCCEEDED", "four": "FAILED"}
        world.calls.clear()
        # What the second carries over is no part of its own, and is missed in the first only.
        for ended, gone, of in ((whole, "one", 4), (second, "three", 2)):
            world.database.executions.delete_one({"_id": part_id(ended, gone)})
            again = world.retry(ended)
            world.run(again)
            said = f"the records of 1 of the {of} parts of {ended} were removed; only a retry from_start can do them"
            assert world.row(again)["error"]["message"] == said
        world.go_on()
        assert world.calls == []

    def test_a_retry_of_a_workflow_that_was_stopped_before_it_had_steps_does_what_was_left(self, world: World) -> None:
        def stopped_as_it_begins(execution_id: str, carried: Mapping[str, Any]) -> str:
            lease = world.ledger.claim(execution_id)
            assert lease is not None
            world.stop(execution_id)
            claimed = lease.claimed
            move = parts.wait_for_parts(execution_id, claimed.nonce, "worker", total=2, carried=carried)
            world.ledger.record(claimed, move)
            assert (world.state(execution_id), world.parts(execution_id)) == ("CANCELLED", {})
            return execution_id

        world.answers = fails("two")
        job = world.job(Workflow((step("one"), step("two", "one"))))
        row = fired(job, datetime.now(UTC) - timedelta(seconds=10))
        world.database.executions.insert_one(row)
        second = world.retry(stopped_as_it_begins(row["_id"], {}))
        world.run(second)
        world.go_on()
        assert world.states(second) == {"one": "SUCCEEDED", "two": "FAILED"}
        world.answers = fails()
        carried = {"steps": {"one": part_id(second, "one")}, "again": {}}
        fourth = world.retry(stopped_as_it_begins(world.retry(second), carried))
        world.run(fourth)
        world.go_on()
        assert (world.state(fourth), world.states(fourth)) == ("SUCCEEDED", {"two": "SUCCEEDED"})
        assert [parameters["step"] for _, _, parameters in world.calls] == ["one", "two", "two"]

    def test_a_retry_of_a_workflow_that_was_set_aside_in_the_middle_does_the_rest(self, world: World) -> None:
        whole = world.begin(Workflow((step("one"), step("two", "one"), step("three", "two"))))
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        damaged = {"carried": "damaged", "advance_at": datetime.now(UTC)}
        world.database.executions.update_one({"_id": whole}, {"$set": damaged})
        world.beat.until_idle()
        assert (world.state(whole), world.states(whole)) == ("FAILED", {"one": "SUCCEEDED", "two": "CANCELLED"})
        world.database.executions.update_one({"_id": whole}, {"$set": {"carried": {}}})
        again = world.retry(whole)
        world.run(again)
        world.go_on()
        assert world.states(again) == {"two": "SUCCEEDED", "three": "SUCCEEDED"}
        assert [parameters["step"] for _, _, parameters in world.calls] == ["one", "two", "three"]

    def test_a_retry_of_a_workflow_goes_on_at_the_step_that_failed(self, world: World) -> None:
        world.answers = fails("two")
        flow = Workflow((step("one"), step("two", "one"), step("three", "two"), step("beside")))
        whole = world.begin(flow)
        world.to_the_end()
        world.answers = fails()
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert (world.state(again), world.states(again)) == ("SUCCEEDED", {"two": "SUCCEEDED", "three": "SUCCEEDED"})
        assert [parameters["step"] for _, _, parameters in world.calls[-2:]] == ["two", "three"]
        assert len(world.calls) == 3 + 2
        assert world.row(again)["parts"] == {"SUCCEEDED": 4}
        assert json.loads(world.row(again)["result"])["steps"]["one"]["execution_id"] == part_id(whole, "one")

    def test_a_step_that_looked_after_a_failed_one_looks_again(self, world: World) -> None:
        world.answers = fails("one")
        flow = Workflow(
            (step("one"), step("report", "one", requires=Requires.END, parameters={"step": "${steps.one.state}"}))
        )
        whole = world.begin(flow)
        world.to_the_end()
        assert world.states(whole) == {"one": "FAILED", "report": "SUCCEEDED"}
        world.answers = fails()
        again = world.retry(whole)
        world.run(again)
        world.to_the_end()
        assert [parameters["step"] for _, _, parameters in world.calls] == ["one", "FAILED", "one", "SUCCEEDED"]

    def test_of_a_failed_step_that_fans_out_only_the_failed_items_run_again_and_the_results_are_whole(
        self, world: World
    ) -> None:
        broken = {"item-1", "item-2"}

        def answer(_claimed: Claimed, parameters: dict[str, Any]) -> Any:
            return NO if parameters.get("name") in broken else parameters

        world.answers = answer
        flow = Workflow(
            (
                step("each", fan_out=FanOut(items=items(4)), parameters={}),
                step("all", "each", parameters={"step": "${join(',', steps.each.results[].name)}"}),
            )
        )
        whole = world.begin(flow)
        world.to_the_end()
        second = world.retry(whole)
        broken.remove("item-1")
        world.run(second)
        world.to_the_end()
        assert world.states(second) == {"each": "FAILED", "all": "SKIPPED"}
        # One that ends before its fan-out begins again changes nothing of what is left.
        third = world.retry(second)
        world.run(third)
        world.stop(third)
        world.to_the_end()
        broken.clear()
        fourth = world.retry(third)
        world.run(fourth)
        world.to_the_end()
        assert (world.state(fourth), world.states(fourth)) == ("SUCCEEDED", {"each": "SUCCEEDED", "all": "SUCCEEDED"})
        names = Counter(parameters["name"] for _, _, parameters in world.calls if "name" in parameters)
        assert names == {"item-0": 1, "item-1": 2, "item-2": 3, "item-3": 1}
        assert world.calls[-1][2] == {"step": "item-0,item-1,item-2,item-3"}


class TestTheJob:
    def test_a_whole_that_waits_counts_as_in_flight(self, world: World) -> None:
        job = world.job(FanOut(items=items(2)))
        world.fire(job)
        found = world.database.executions.find(executions.in_flight_filter([job["uid"]]))
        assert [row["state"] for row in found] == ["WAITING"]

    def test_a_later_occurrence_takes_the_place_of_a_whole_and_its_parts(self, world: World) -> None:
        job = world.job(FanOut(items=items(3), max_parallel=1), policies={"overlap": Overlap.CANCEL_PREVIOUS})
        whole = world.fire(job)
        world.beat.until_idle()
        later = fired(job, datetime.now(UTC), held=True)
        world.database.executions.insert_one(later)
        move = executions.cancel_previous(later, "beat")
        world.database.executions.update_many(move.filter, move.update)
        world.beat.until_idle()
        assert world.state(whole) == "CANCELLED"
        assert set(world.states(whole).values()) == {"CANCELLED"}

    def test_the_end_of_an_earlier_life_of_the_job_leaves_parts_of_a_later_one_alone(self, world: World) -> None:
        job = world.job(Workflow((step("each", fan_out=FanOut(items=items(2)), parameters={}),)))
        world.fire(job | {"epoch": 2})
        world.beat.until_idle()
        world.work()
        world.beat.until_idle()
        late = executions.end_open(job["uid"], "beat", "the job was deleted", epoch=0)
        assert world.database.executions.count_documents(late.filter) == 0
        world.to_the_end()
        assert len(world.calls) == 2

    def test_a_whole_counts_once_for_pause_on_failure_and_leaves_the_only_dead_letter(self, world: World) -> None:
        job = world.job(FanOut(items=items(3)), policies={"pause_on_failure": 2})
        world.answers = fails("item-0", "item-1", "item-2")
        consequences = Consequences(world.database, BelievesAll(world.database, "beat", LEASE), "beat")

        def state() -> str:
            consequences.run_once()
            return str(world.database.jobs.find_one({"_id": "job-1"})["state"])  # type: ignore[index]

        first_whole = world.fire(job, decided_at=datetime.now(UTC))
        world.to_the_end()
        assert state() == JobState.ACTIVE
        world.fire(job, decided_at=datetime.now(UTC))
        world.to_the_end()
        assert state() == JobState.PAUSED
        letters = {row["_id"] for row in world.database.executions.find({"letter": True})}
        assert first_whole in letters
        assert len(letters) == 2

    def test_a_worker_that_dies_before_the_parts_are_known_leaves_it_to_another(self, world: World) -> None:
        job = world.job(FanOut(items=items(2)))
        row = fired(job, datetime.now(UTC) - timedelta(seconds=10))
        world.database.executions.insert_one(row)
        lease = world.ledger.claim(row["_id"])
        assert lease is not None
        world.database.executions.update_one(
            {"_id": row["_id"]}, {"$set": {"lease.expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
        )
        returns = StoreReturns()
        returns.last_return = float("-inf")
        held = BelievesAll(world.database, "beat", LEASE)
        held.unbroken_since = float("-inf")
        assert Rescue(world.database, held, returns, LEASE, "beat").run_once() == 1
        world.run(row["_id"])
        world.to_the_end()
        assert (world.state(row["_id"]), world.row(row["_id"])["attempt"]) == ("SUCCEEDED", 2)
        # The first one's end comes too late.
        claimed = lease.claimed
        late = parts.wait_for_parts(claimed.execution_id, claimed.nonce, "worker", total=2, items="[]", carried={})
        assert world.ledger.record(claimed, late) is None

    def test_a_message_that_comes_twice_starts_the_parts_once(self, world: World) -> None:
        whole = world.begin(FanOut(items=items(2)))
        assert world.run(whole).reason == "it is WAITING"
        world.to_the_end()
        assert world.run(whole).reason == "it is SUCCEEDED"

    async def test_parts_are_kept_as_long_as_what_they_are_parts_of(self, world: World, database_url: str) -> None:
        flow = Workflow((step("each", fan_out=FanOut(items=items(2)), parameters={}), step("wait", "each")))
        whole = world.begin(flow)
        for _ in range(2):
            world.beat.until_idle()
            world.work()
        world.beat.until_idle()
        assert world.states(whole) == {"each": "SUCCEEDED", "wait": "PENDING"}
        database = connect_async(database_url)
        assert await Cleanup(database).remove_ended_before(datetime.now(UTC) + timedelta(seconds=1)) == 0
        world.to_the_end()
        assert world.state(whole) == "SUCCEEDED"
        world.database.jobs.update_one({}, {"$set": {"covered": datetime.now(UTC)}})
        assert await Cleanup(database).remove_ended_before(world.row(whole)["finished_at"]) == 0
        assert await Cleanup(database, 2).remove_ended_before(datetime.now(UTC) + timedelta(seconds=1)) == 1 + 2 + 2
        await database.client.close()

    async def test_what_a_retry_that_has_not_ended_goes_on_with_is_kept(self, world: World, database_url: str) -> None:
        world.answers = lambda claimed, parameters: NO if claimed.execution_id.endswith("two") else parameters
        two = step("two", "one", parameters={"step": "${steps.one.result.step}"})
        whole = world.begin(Workflow((step("one"), two)))
        world.to_the_end()
        second = world.retry(whole)
        world.stop(second)  # before it has parts: what the third is to do, the first tells
        third = world.retry(second)
        world.database.executions.insert_one({**world.row(third), "_id": "damaged", "reuse": ["a", "list"]})
        world.database.jobs.update_one({}, {"$set": {"covered": datetime.now(UTC)}})
        database = connect_async(database_url)
        later = datetime.now(UTC) + timedelta(seconds=1)
        assert await Cleanup(database, 1).remove_ended_before(later) == 0
        world.answers = fails()
        world.run(third)
        assert await Cleanup(database, 1).remove_ended_before(later) == 0
        world.database.executions.delete_one({"_id": "damaged"})
        world.to_the_end()
        assert (world.state(third), world.states(third)) == ("SUCCEEDED", {"two": "SUCCEEDED"})
        assert [parameters["step"] for _, _, parameters in world.calls] == ["one", "one", "one"]
        later = datetime.now(UTC) + timedelta(seconds=1)
        assert await Cleanup(database).remove_ended_before(later) == (1 + 2) + 1 + (1 + 1)
        await database.client.close()

    def test_the_audit_finds_nothing_wrong_with_parts_nor_with_rows_of_no_job(self, world: World) -> None:
        world.answers = fails("item-1")
        job = world.job(FanOut(items=items(3), max_parallel=1))
        whole = world.begin_by_hand(job)
        world.beat.until_idle()
        world.stop(part_id(whole, "00002"))
        world.to_the_end()
        stopped = world.begin_by_hand(job)
        world.stop(stopped)
        world.to_the_end()
        row = world.row(whole)
        alone = {**row, "_id": "from-code", "job_id": "", "job_uid": "from-code", "trigger": "API"}
        world.database.executions.insert_one(alone)
        audit = Audit(world.database, Question(None, None, "", timedelta(minutes=1)))
        found = [each for step in audit.steps() for each in step if each.job_id != "job-1" or each.finding.execution_id]
        assert found == []
        assert audit.counts.rows == 2 + 6 + 1
        assert audit.counts.jobs == 1


def asked_again(parameters: dict[str, Any]) -> TryAgain:
    """Answer as a task that wants to be called again, with these parameters."""
    return TryAgain(Failure("TASK_FAILED", "not yet", retryable=True), Again(timedelta(0), parameters))


def test_a_retry_of_the_source_with_other_arguments_leaves_those_of_the_items_alone(world: World):
    odd = "${not.an.expression("

    def answers(claimed: Claimed, parameters: dict[str, Any]) -> Any:
        if claimed.parent:
            return parameters
        return [{"n": 1}, {"n": 2}] if parameters["page"] == odd else asked_again({"page": odd})

    world.answers = answers
    source = Source("recorder", "List", {"page": "first"})
    whole = world.begin(FanOut(source=source), parameters={"label": "${item.n}"})
    world.to_the_end()
    assert world.state(whole) == "SUCCEEDED"
    assert [json.loads(part["result"]) for part in world.parts(whole).values()] == [{"label": 1}, {"label": 2}]


def test_a_retry_of_a_step_with_other_arguments_is_called_with_them_as_they_are(world: World):
    odd = "${not.an.expression("
    world.answers = lambda _, parameters: (
        asked_again({"page": odd}) if parameters["page"] != odd else parameters  # of the only call that has one
    )
    step = Step(name="read", **RECORDED, parameters={"page": "${execution.id}"})
    whole = world.begin(Workflow((step,)))
    world.to_the_end()
    assert world.state(whole) == "SUCCEEDED"
    assert json.loads(world.parts(whole)["read"]["result"]) == {"page": odd}
