"""The tail: no step of a row, and no change of a job that its clients see, goes by unmarked."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from bson import Timestamp

from shared.domain.execution import AfterFailure, Failure, State
from shared.domain.flow import Ending, Step
from shared.domain.job import JobState
from shared.domain.plan import Change, Install, Mode, Row, Spec
from shared.domain.retry import RetryPolicy
from shared.store import canvas, dead_letters, executions, jobs, parts, submitted, tail, task_attempts
from tests.builders import at, fired, job_document
from tests.integration.test_store_moves import ID, LEASE, now, put, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from shared.store.executions import Move

Db: TypeAlias = "Database[dict[str, Any]]"

STORES = (executions, parts, submitted, task_attempts, dead_letters, canvas)
FAILURE = Failure("UNAVAILABLE", "away", retryable=True)
PARENT = {"_id": ID, "total": 1, "expanded": 0, "signals": 0, "cancel": {"by": "anna", "call": True}}
ARGUMENTS: dict[str, Any] = {
    "after": AfterFailure(State.PENDING, datetime.now(UTC), "again"),
    "attempt": 0,
    "before": now(86_400),
    "by": "somebody",
    "calls": True,
    "carried": {},
    "changed": {},
    "chosen": {"_id": ID},
    "counts": {},
    "due": timedelta(0),
    "ending": Ending(State.SUCCEEDED, "all went well"),
    "execution_id": ID,
    "execution_ids": [ID],
    "failure": FAILURE,
    "held": {ID: "n1"},
    "items": "[]",
    "lease": LEASE,
    "nonce": "n1",
    "nonces": ["n1"],
    "parent": PARENT,
    "parent_ids": [ID],
    "part_ids": [ID],
    "partitions": range(64),
    "reason": "because",
    "result": {},
    "row": {"job_uid": "uid-job-1", "nominal_time": now(86_400)},
    "slot": None,
    "through": 1,
    "token": "n1",
    "total": 1,
    "truncated": False,
    "uid": "uid-job-1",
    "wait": timedelta(0),
    "why": "unreadable",
    "worker": "worker-1",
}
"""What moves are made with, by the name of the parameter."""

OTHERS: dict[str, dict[str, Any]] = {
    "end": {"ending": dead_letters.Ending(dead_letters.Outcome.DISCARDED, "somebody")},
    "succeed": {"result": "{}"},
    "stop_parts": {"parent": PARENT | {"_id": "whole"}},
    "park_parts": {"parent": PARENT | {"_id": "whole"}},
    "with_progress": {"move": executions.succeed(ID, "n1", "w", "{}", truncated=False), "done": 1, "message": ""},
}


def moves() -> dict[str, Callable[[], Move]]:
    """Return every move there is: a new one, with parameters of names of its own, has to be added above."""
    found: dict[str, Callable[[], Move]] = {}
    for module in STORES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            signature = inspect.signature(function)
            foreign = name.startswith("_") or function.__module__ != module.__name__
            if foreign or signature.return_annotation != "Move":
                continue
            given = {**ARGUMENTS, **OTHERS.get(name, {})}
            required = {
                parameter.name: given[parameter.name]
                for parameter in signature.parameters.values()
                if parameter.default is parameter.empty
            }
            found[name] = lambda function=function, required=required: function(**required)  # type: ignore[misc]
    return found


MOVES = moves()
VARIANTS: list[dict[str, Any]] = [
    {},
    {"parent": "whole", "part": True, "trigger": "PART"},
    {"expires_at": now(-1)},
    {"cancel": PARENT["cancel"]},
    {"due_at": now(86_400)},
]


@pytest.mark.parametrize("name", MOVES)
def test_a_move_marks_a_row_exactly_when_it_makes_a_step(database: Db, name: str) -> None:
    move = MOVES[name]()
    steps = 0
    for state in State:
        for more in VARIANTS:
            put(database, row(state, **more))
            before = database.executions.find_one({"_id": ID})
            assert before is not None
            database.executions.update_many(move.filter, move.update)
            after = database.executions.find_one({"_id": ID})
            assert after is not None
            added = len(after["transitions"]) - len(before["transitions"])
            steps += added
            if added or after.get("progress") != before.get("progress"):
                assert after["changed"] == max(
                    after["transitions"][-1]["at"], after.get("progress", {"at": now(-3600)})["at"]
                )
            else:
                assert after["changed"] == before["changed"]
            assert after["born"] == before["born"]
    assert bool(steps) == ("transitions" in str(move.update))


def test_what_an_attempt_says_of_its_progress_marks_its_row(database: Db) -> None:
    put(database, row(State.RUNNING))
    database.executions.bulk_write(task_attempts.note_progress([(ID, "n1", (1, 2, ""))]))
    after = database.executions.find_one({"_id": ID})
    assert after is not None
    assert after["changed"] == after["progress"]["at"]


WHOLE = fired(job_document(), at(1)) | {"now": at(2), "cancel": {"by": "anna", "call": True}}
ITEM = parts.item(1, {}, "key")
STEP = Step(name="first", target_service="task", target_method="work")
DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "scheduled_document": lambda: fired(job_document(), at(1)),
    "manual_document": lambda: executions.manual_document(job_document(), "t", "manual", "", at(1), "anna"),
    "retry_document": lambda: executions.retry_document(fired(job_document(), at(1)), "t", "q", "", at(2), "anna"),
    "item_document": lambda: parts.item_document(WHOLE, ITEM, "beat", held=False),
    "stopped_item_document": lambda: parts.stopped_item_document(WHOLE, ITEM, "beat"),
    "step_document": lambda: parts.step_document(WHOLE, STEP, 1, "beat", context="{}"),
    "skipped_step_document": lambda: parts.skipped_step_document(WHOLE, STEP, 1, "beat", "no"),
    "submitted_document": lambda: submitted.submitted_document(
        "id", "task", "{}", at(1), "caller", due_at=at(1), queue="q", priority=5, timeout=LEASE, retry=RetryPolicy()
    ),
}


def test_every_new_row_gets_its_time_from_the_server(database: Db) -> None:
    made = {
        name
        for module in (executions, parts, submitted)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.endswith("_document") and function.__module__ == module.__name__
    }
    assert made == set(DOCUMENTS), "each needs a sample here"
    decided = executions.scheduled_document(job_document(), Row(State.SKIPPED, at(1), at(1)), at(1), "beat")
    for document in [decided, *(make() for make in DOCUMENTS.values())]:
        database.executions.replace_one({"_id": document["_id"]}, document, upsert=True)
        stored = database.executions.find_one({"_id": document["_id"]})
        assert stored is not None
        for name in ("born", "changed"):
            assert isinstance(stored[name], Timestamp)
            assert stored[name].time > 0


def test_steps_count_from_when_their_row_was_stored_and_never_before_those_before_them() -> None:
    steps = [{"at": at(0)}, {"at": at(0.3)}, {"at": at(5)}]
    stored = Timestamp(int(at(0).timestamp()), 7)
    assert tail.instants({"transitions": steps, "born": stored}) == [at(1), at(1), at(5)]
    assert tail.instants({"transitions": steps}) == [at(0), at(0.3), at(5)]
    assert [tail.by(tail.instants({"transitions": steps, "born": stored}), at(s)) for s in (0.5, 1, 5)] == [0, 2, 3]


def test_what_has_changed_is_read_off_the_index_alone(database: Db) -> None:
    database.executions.insert_many(fired(job_document(), at(n), _id=str(n)) for n in range(50))
    move = executions.mark_queued([str(n) for n in range(0, 50, 2)], 0, "relay")
    database.executions.update_many(move.filter, move.update)
    command = {
        "find": "executions", "filter": tail.after(datetime.now(UTC) - LEASE), "projection": tail.KEYS, "hint": "tail",
    }  # fmt: skip
    explained = database.command({"explain": command, "verbosity": "executionStats"})["executionStats"]
    assert (explained["nReturned"], explained["totalDocsExamined"]) == (50, 0)
    assert database.executions.count_documents(tail.after(datetime.now(UTC) + LEASE), hint="tail") == 0


def test_the_changes_of_a_job_that_its_clients_see_are_marked(database: Db) -> None:
    job = job_document()
    database.jobs.insert_one(job)
    schedule = jobs.to_job(job).definition.schedule
    spec = Spec(schedule, Mode.ACTIVE)
    install = Install(Change(spec, at(1), "anna", ""), spec, 1, at(1), None, 0)
    updates: list[Any] = [
        jobs.edit({}, JobState.PAUSED, jobs.Queued(schedule, "anna", "")),
        jobs.install(install, more_changes=False),
        jobs.advance(at(1), None, 1, Mode.ACTIVE),
        jobs.park("it can't be planned"),
    ]
    before = database.jobs.find_one({"_id": job["_id"]})
    assert before is not None
    assert isinstance(before["changed"], Timestamp)
    # As it was, before each: two updates within a millisecond have the same instant.
    as_it_was = {"$set": {"changed": before["changed"]}}
    for update in updates:
        database.jobs.update_one({"_id": job["_id"]}, as_it_was)
        database.jobs.update_one({"_id": job["_id"]}, update)
        after = database.jobs.find_one({"_id": job["_id"]})
        assert after is not None
        assert after["changed"] != before["changed"]
    database.jobs.update_one({"_id": job["_id"]}, as_it_was)
    database.jobs.update_one({"_id": job["_id"]}, jobs.advance(at(1), at(2), 1, Mode.ACTIVE))
    moved_on = database.jobs.find_one({"_id": job["_id"]})
    assert moved_on is not None
    assert moved_on["changed"] == before["changed"], "a pointer that moves on is nothing to be told of"
