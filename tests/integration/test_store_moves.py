"""The moves of an execution against a real MongoDB: each obeys the state table, and no text becomes an expression."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from shared.domain.execution import SUCCESSORS, AfterFailure, Failure, State
from shared.domain.flow import Ending
from shared.store import executions, parts
from tests.builders import fired, job_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from shared.store.executions import Move

Db: TypeAlias = "Database[dict[str, Any]]"

ID = "uid-job-1.0.20260302T120001Z"
LEASE = timedelta(seconds=30)
TEXT = "$state and $$NOW and {'$gt': 1}"
"""What a target may answer: to a pipeline, unless it is kept literal, a field or a variable."""
FAILURE = Failure("UNAVAILABLE", TEXT, retryable=True)


def now(seconds: float = 0) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


FAILED = AfterFailure(State.FAILED, None, TEXT)


def again(seconds: float = 60) -> AfterFailure:
    return AfterFailure(State.PENDING, now(seconds), TEXT)


def row(state: State, **changes: Any) -> dict[str, Any]:
    """Return an execution in a state, with what a row in that state has."""
    document = fired(job_document(), now(-10)) | {"_id": ID, "state": state.value}
    if state is State.QUEUED:
        document |= {"queued_at": now(-5), "sent": 1}
    if state is State.RUNNING:
        lease = {"holder": "worker-1", "nonce": "n1", "expires_at": now(-1)}
        document |= {"attempt": 1, "lease": lease, "worker": "worker-1", "started_at": now(-9)}
        del document["send_at"]
    if state is State.WAITING:
        document |= {"attempt": 1, "started_at": now(-9), "signals": 0}
        del document["send_at"]
    if not SUCCESSORS[state]:
        document |= {"finished_at": now(-1)}
        for field in ("open", "send_at"):
            del document[field]
    return document | changes


def put(database: Db, document: dict[str, Any]) -> dict[str, Any]:
    database.executions.replace_one({"_id": ID}, document, upsert=True)
    return found(database)


def found(database: Db) -> dict[str, Any]:
    document = database.executions.find_one({"_id": ID})
    assert document is not None
    return document


def do(database: Db, move: Move) -> dict[str, Any]:
    database.executions.update_many(move.filter, move.update)
    return found(database)


MOVES: dict[str, tuple[Callable[[], Move], State]] = {
    "claim": (lambda: executions.claim(ID, "worker-2", "n2", LEASE), State.RUNNING),
    "succeed": (lambda: executions.succeed(ID, "n1", "worker-1", "{}", truncated=False), State.SUCCEEDED),
    "hand back": (lambda: executions.hand_back(ID, "n1", "worker-1", TEXT), State.PENDING),
    "drop": (lambda: executions.drop(ID, "n1", "worker-1", TEXT), State.CANCELLED),
    "fail for good": (lambda: executions.fail(ID, "n1", "worker-1", FAILURE, FAILED), State.FAILED),
    "fail and retry": (lambda: executions.fail(ID, "n1", "worker-1", FAILURE, again()), State.PENDING),
    "rescue": (lambda: executions.rescue(ID, "n1", "beat", FAILURE, again(0)), State.PENDING),
    "rescue at the end": (lambda: executions.rescue(ID, "n1", "beat", FAILURE, FAILED), State.FAILED),
    "drop what waits": (lambda: executions.drop_waiting(ID, "worker-1", TEXT), State.CANCELLED),
    "lose": (lambda: executions.lose(ID, "n1", "worker-1", FAILURE, again(0)), State.PENDING),
    "lose at the end": (lambda: executions.lose(ID, "n1", "worker-1", FAILURE, FAILED), State.FAILED),
    "queue": (lambda: executions.mark_queued([ID], 0, "beat"), State.QUEUED),
}
FROM = {
    "claim": {State.PENDING, State.QUEUED},
    "succeed": {State.RUNNING},
    "hand back": {State.RUNNING},
    "drop": {State.RUNNING},
    "fail for good": {State.RUNNING},
    "fail and retry": {State.RUNNING},
    "rescue": {State.RUNNING},
    "rescue at the end": {State.RUNNING},
    "drop what waits": {State.PENDING, State.QUEUED},
    "lose": {State.RUNNING},
    "lose at the end": {State.RUNNING},
    "queue": {State.PENDING, State.QUEUED},
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_changes_a_row_only_from_a_state_that_the_table_allows(database: Db, name: str) -> None:
    make, to = MOVES[name]
    for state in State:
        before = put(database, row(state))
        after = do(database, make())
        if state not in FROM[name]:
            assert after == before
            continue
        assert after["state"] == to.value
        if (name, state) != ("queue", State.QUEUED):  # one more copy was sent, no transition
            assert to in SUCCESSORS[state]
            assert [t["number"] for t in after["transitions"]] == [1, 2]
            assert after["transitions"][-1]["state"] == to.value
            assert abs((after["transitions"][-1]["at"] - now()).total_seconds()) < 60
        if to in {State.SUCCEEDED, State.FAILED, State.CANCELLED}:
            assert not {"open", "lease", "send_at"} & set(after)
            assert after["finished_at"] >= now(-60)
        else:
            assert after["open"] is True
            assert "finished_at" not in after


def test_a_message_before_its_time_puts_only_a_queued_row_back(database: Db) -> None:
    due = now(30)
    for state in State:
        before = put(database, row(state, due_at=due))
        assert do(database, executions.claim(ID, "w", "n2", LEASE)) == before
        after = do(database, executions.return_early(ID, "w"))
        if state is State.QUEUED:
            assert (after["state"], after["send_at"]) == ("PENDING", due)
        else:
            assert after == before


def test_only_running_attempts_are_renewed(database: Db) -> None:
    for state in State:
        before = put(database, row(state))
        after = do(database, executions.renew({ID: "n1"}, LEASE))
        if state is State.RUNNING:
            assert after["lease"]["expires_at"] > now(20)
        else:
            assert after == before


STOPS: dict[str, tuple[Callable[[], Move], bool]] = {
    "cancel": (lambda: executions.cancel(ID, "$anna", TEXT), True),
    "cancel earlier": (lambda: executions.cancel_earlier("uid-job-1", now(60), "$anna", TEXT), True),
    "delete": (lambda: executions.end_open("uid-job-1", "$anna", TEXT), False),
    "delete and cancel": (lambda: executions.end_open("uid-job-1", "$anna", TEXT, running=True), True),
}


@pytest.mark.parametrize("name", STOPS)
def test_what_is_to_stop_is_cancelled_at_once_or_marked_while_it_runs(database: Db, name: str) -> None:
    make, calls = STOPS[name]
    for state in State:
        before = put(database, row(state))
        after = do(database, make())
        if state in {State.PENDING, State.QUEUED}:
            assert after["state"] == "CANCELLED"
            assert after["finished_at"] is not None
            assert after["transitions"][:-1] == before["transitions"]
            last = after["transitions"][-1]
            assert (last["state"], last["by"], last["reason"]) == ("CANCELLED", "$anna", TEXT)
            assert not {"open", "send_at", "lease"} & set(after)
        elif state in {State.RUNNING, State.WAITING}:
            asked = after.pop("cancel")
            # Beat has to look at what waits for its parts.
            assert ("advance_at" in after) == (state is State.WAITING)
            after.pop("advance_at", None)
            assert after.pop("signals", None) == (before.pop("signals") + 1 if state is State.WAITING else None)
            assert (asked["by"], asked["reason"], asked["call"]) == ("$anna", TEXT, calls)
            assert after == before
            assert executions.asked_to_cancel({"cancel": asked}) == (f"cancelled by $anna: {TEXT}" if calls else None)
        else:
            assert after == before


def test_who_asked_first_to_stop_stands_unless_a_later_one_asks_for_more(database: Db) -> None:
    put(database, row(State.RUNNING))
    given_up = do(database, executions.end_open("uid-job-1", "first", ""))
    assert do(database, executions.end_open("uid-job-1", "second", "")) == given_up
    cancelled = do(database, executions.cancel(ID, "third", ""))
    assert (cancelled["cancel"]["by"], cancelled["cancel"]["call"]) == ("third", True)
    assert do(database, executions.cancel(ID, "fourth", "")) == cancelled
    assert do(database, executions.end_open("uid-job-1", "fifth", "")) == cancelled


def test_only_what_the_schedule_fired_for_earlier_times_is_cancelled_with_the_earlier_ones(database: Db) -> None:
    for changes in ({"nominal_time": now(60)}, {"trigger": "MANUAL"}, {"job_uid": "another"}):
        before = put(database, row(State.RUNNING, **changes))
        assert do(database, executions.cancel_earlier("uid-job-1", now(30), "beat", "")) == before


class TestClaim:
    def test_it_writes_all_that_the_attempt_needs_and_takes_the_row_from_the_relay(self, database: Db) -> None:
        put(database, row(State.QUEUED))
        after = do(database, executions.claim(ID, "$worker", "$n2", LEASE))
        assert (after["attempt"], after["sent"], after["worker"]) == (1, 0, "$worker")
        assert (after["lease"]["holder"], after["lease"]["nonce"]) == ("$worker", "$n2")
        assert "send_at" not in after
        claimed = executions.to_claimed(after)
        assert (claimed.nonce, claimed.attempt, claimed.timeout) == ("$n2", 1, timedelta(minutes=30))

    def test_of_two_workers_one_finds_nothing_to_do(self, database: Db) -> None:
        put(database, row(State.QUEUED))
        first = do(database, executions.claim(ID, "worker-2", "n2", LEASE))
        assert do(database, executions.claim(ID, "worker-3", "n3", LEASE)) == first


class TestTerms:
    """Late writes of a holder that lost its lease are refused."""

    @pytest.mark.parametrize(
        "move",
        [
            executions.succeed(ID, "n0", "worker-0", "{}", truncated=False),
            executions.fail(ID, "n0", "worker-0", FAILURE, FAILED),
            executions.rescue(ID, "n0", "beat", FAILURE, FAILED),
            executions.renew({ID: "n0"}, LEASE),
        ],
    )
    def test_a_write_with_an_older_nonce_changes_nothing(self, database: Db, move: Move) -> None:
        before = put(database, row(State.RUNNING))
        assert do(database, move) == before

    def test_a_lease_that_has_not_ended_is_not_taken(self, database: Db) -> None:
        lease = {"holder": "w", "nonce": "n1", "expires_at": now(30)}
        before = put(database, row(State.RUNNING, lease=lease))
        assert do(database, executions.rescue(ID, "n1", "beat", FAILURE, again())) == before

    def test_a_worker_may_record_after_its_lease_ended_if_nobody_took_it(self, database: Db) -> None:
        put(database, row(State.RUNNING))
        assert do(database, executions.succeed(ID, "n1", "w", "{}", truncated=False))["state"] == "SUCCEEDED"


class TestText:
    """What comes from outside is kept as it is."""

    def test_a_result_of_dollars(self, database: Db) -> None:
        put(database, row(State.RUNNING))
        text, truncated = executions.cut_result({"$price": TEXT, "a.b": [TEXT]})
        after = do(database, executions.succeed(ID, "n1", "$by", text, truncated=truncated))
        execution = executions.to_execution(after)
        assert execution.result == {"$price": TEXT, "a.b": [TEXT]}
        assert execution.transitions[-1].by == "$by"

    @pytest.mark.parametrize("after", [FAILED, again()])
    def test_an_error_of_dollars(self, database: Db, after: AfterFailure) -> None:
        put(database, row(State.RUNNING))
        execution = executions.to_execution(do(database, executions.fail(ID, "n1", "$by", FAILURE, after)))
        assert execution.error == FAILURE
        assert execution.transitions[-1].reason == TEXT

    def test_a_reason_of_dollars(self, database: Db) -> None:
        put(database, row(State.QUEUED))
        after = do(database, executions.end_open("uid-job-1", "$by", TEXT))
        assert after["transitions"][-1]["reason"] == TEXT

    def test_a_long_error_is_cut(self, database: Db) -> None:
        put(database, row(State.RUNNING))
        failure = Failure("INTERNAL", "e" * 100_000, retryable=False)
        after = do(database, executions.fail(ID, "n1", "w", failure, FAILED))
        assert len(after["error"]["message"]) == executions.LONGEST_ERROR

    def test_a_long_error_of_what_has_parts_is_cut(self, database: Db) -> None:
        text = "e" * 100_000
        whole = put(database, row(State.WAITING))
        after = do(database, parts.end_whole(whole, Ending(State.FAILED, text), "beat", {}, {}))
        assert len(after["error"]["message"]) == executions.LONGEST_ERROR
        whole = put(database, row(State.WAITING))
        after = do(database, parts.park_whole(whole, "beat", text))
        assert len(after["error"]["message"]) == executions.LONGEST_ERROR

    @pytest.mark.parametrize("letter", ["x", "é", "価", "😀"])
    def test_a_large_result_is_cut_to_its_bound_and_flagged(self, letter: str) -> None:
        text, truncated = executions.cut_result({"text": letter * 100_000})
        assert truncated
        assert len(text.encode()) <= executions.LARGEST_RESULT
        assert json.loads(text)["truncated"].startswith('{"text": "' + letter)

    def test_a_result_full_of_quotes_is_cut_to_its_bound_too(self) -> None:
        text, truncated = executions.cut_result({"text": '"' * 100_000})
        assert truncated
        assert len(text.encode()) <= executions.LARGEST_RESULT


def asked(*, call: bool) -> dict[str, Any]:
    return {"by": "$anna", "reason": TEXT, "at": now(), "call": call}


def test_a_hand_back_is_due_at_once_and_counts_as_no_try(database: Db) -> None:
    put(database, row(State.RUNNING, attempt=3))
    after = do(database, executions.hand_back(ID, "n1", "w", TEXT))
    assert after["due_at"] == after["send_at"] == after["transitions"][-1]["at"]
    assert (executions.tries(after), executions.to_execution(after).max_attempts) == (2, 5)
    assert "error" not in after
    again = do(database, executions.claim(ID, "worker-2", "n2", LEASE))
    assert (again["attempt"], executions.tries(again)) == (4, 3)


class TestStopped:
    """An execution that was cancelled, or whose job was deleted, while an attempt ran."""

    @pytest.mark.parametrize("call", [True, False])
    def test_a_failure_cancels_instead_of_retrying_and_leaves_nothing_open(self, database: Db, *, call: bool) -> None:
        put(database, row(State.RUNNING, cancel=asked(call=call)))
        after = do(database, executions.fail(ID, "n1", "w", FAILURE, again()))
        said = f"{'cancelled' if call else 'given up'} by $anna: {TEXT}"
        assert (after["state"], after["transitions"][-1]["reason"]) == ("CANCELLED", said)
        assert not {"open", "lease", "send_at", "dead_letter"} & set(after), "$$REMOVE removes in this server"
        assert after["finished_at"] is not None

    @pytest.mark.parametrize("call", [True, False])
    def test_a_lost_worker_cancels_too(self, database: Db, *, call: bool) -> None:
        put(database, row(State.RUNNING, cancel=asked(call=call)))
        after = do(database, executions.rescue(ID, "n1", "beat", FAILURE, again()))
        assert (after["state"], after["workers_lost"]) == ("CANCELLED", 1)

    @pytest.mark.parametrize("call", [True, False])
    def test_it_is_not_handed_back_but_cancelled(self, database: Db, *, call: bool) -> None:
        put(database, row(State.RUNNING, cancel=asked(call=call)))
        after = do(database, executions.hand_back(ID, "n1", "w", TEXT))
        assert after["state"] == "CANCELLED"
        assert not {"open", "lease", "send_at"} & set(after)

    def test_a_last_failure_of_what_was_cancelled_is_no_dead_letter(self, database: Db) -> None:
        for end in (executions.fail, executions.rescue):
            put(database, row(State.RUNNING, cancel=asked(call=True)))
            after = do(database, end(ID, "n1", "w", FAILURE, FAILED))
            assert after["state"] == "CANCELLED"
            assert not {"open", "lease", "send_at", "dead_letter"} & set(after)

    def test_a_last_failure_of_what_was_only_given_up_is_a_failure(self, database: Db) -> None:
        put(database, row(State.RUNNING, cancel=asked(call=False)))
        after = do(database, executions.fail(ID, "n1", "w", FAILURE, FAILED))
        assert (after["state"], after["transitions"][-1]["reason"], after["dead_letter"]) == ("FAILED", TEXT, True)

    @pytest.mark.parametrize("call", [True, False])
    def test_success_is_success(self, database: Db, *, call: bool) -> None:
        put(database, row(State.RUNNING, cancel=asked(call=call)))
        assert do(database, executions.succeed(ID, "n1", "w", "{}", truncated=False))["state"] == "SUCCEEDED"


def test_a_retry_is_due_and_sent_at_the_same_instant_and_keeps_no_lease(database: Db) -> None:
    after_failure = again(60)
    put(database, row(State.RUNNING))
    after = do(database, executions.fail(ID, "n1", "w", FAILURE, after_failure))
    assert after["due_at"] == after["send_at"] == after_failure.due_at
    assert not {"lease", "finished_at"} & set(after)
    assert after["open"] is True


def test_a_failure_for_good_goes_to_the_dead_letters_in_the_same_write(database: Db) -> None:
    put(database, row(State.RUNNING))
    assert do(database, executions.fail(ID, "n1", "w", FAILURE, FAILED))["dead_letter"] is True


class TestQueued:
    def test_a_faster_worker_is_not_set_back(self, database: Db) -> None:
        put(database, row(State.PENDING))
        running = do(database, executions.claim(ID, "w", "n2", LEASE))
        assert do(database, executions.mark_queued([ID], 0, "beat")) == running

    def test_nor_is_one_that_has_failed_by_then_and_waits_for_its_retry(self, database: Db) -> None:
        put(database, row(State.PENDING))
        do(database, executions.claim(ID, "w", "n2", LEASE))
        waiting = do(database, executions.fail(ID, "n2", "w", FAILURE, again()))
        assert do(database, executions.mark_queued([ID], 0, "beat")) == waiting
        assert do(database, executions.mark_queued([ID], 1, "beat"))["state"] == "QUEUED"

    def test_a_message_that_stays_unanswered_is_sent_again_after_a_doubling_wait_of_at_most_an_hour(
        self, database: Db
    ) -> None:
        put(database, row(State.PENDING))
        waits, queued_at = [], set()
        for _ in range(9):
            after = do(database, executions.mark_queued([ID], 0, "beat"))
            waits.append(round((after["send_at"] - now()).total_seconds() / 60))
            queued_at.add(after["queued_at"])
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert len(queued_at) == 1
        assert [t["state"] for t in after["transitions"]] == ["PENDING", "QUEUED"]
        assert after["sent"] == 9

    def test_another_message_is_sent_when_it_is_due_if_the_first_came_early_and_found_nothing_to_put_back(
        self, database: Db
    ) -> None:
        due = now(20)
        before = put(database, row(State.PENDING, due_at=due))
        do(database, executions.claim(ID, "w", "n2", LEASE))
        assert do(database, executions.return_early(ID, "w")) == before
        assert do(database, executions.mark_queued([ID], 0, "beat"))["send_at"] == due
        put(database, row(State.PENDING, due_at=now(3600)))
        assert do(database, executions.mark_queued([ID], 0, "beat"))["send_at"] < now(90), "no later than any other"

    @pytest.mark.parametrize("due_in", [40, -40])
    def test_what_was_held_is_sent_when_it_is_released_and_due(self, database: Db, due_in: int) -> None:
        held = row(State.PENDING, held=True, due_at=now(due_in))
        del held["send_at"]
        put(database, held)
        released = do(database, executions.release(ID))
        assert released["send_at"] == max(released["due_at"], released["released_at"])

    def test_postponing_leaves_a_row_alone_that_a_worker_has_taken(self, database: Db) -> None:
        before = put(database, row(State.RUNNING))
        assert do(database, executions.postpone_sending([ID], timedelta(seconds=10))) == before
        put(database, row(State.PENDING))
        assert do(database, executions.postpone_sending([ID], timedelta(seconds=60)))["send_at"] > now(50)
