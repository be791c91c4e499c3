"""What becomes of attempts of tasks, on the real store: expiry, retries that the task counts, turns of a rate limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from beat.expire import Expire
from shared.domain.execution import Failure, State
from shared.store import executions, task_attempts
from tests.integration.test_worker_ledger import execution, ledger, states, stored
from worker.rates import RateLimits

if TYPE_CHECKING:
    from shared.store.executions import Claimed
    from worker.ledger import Lease
    from worker.rates import Turn

AGO = datetime.now(UTC) - timedelta(seconds=5)
FAILED = Failure("TASK_FAILED", "ValueError: no", retryable=True)


class Held:
    """The partitions of a beat."""

    def __init__(self, *held: int) -> None:
        self.held = frozenset(held)


def claim(database: Any, execution_id: str, worker: str = "worker-1") -> Lease:
    lease = ledger(database, worker).claim(execution_id)
    assert lease is not None
    return lease


def partition(database: Any, execution_id: str) -> int:
    return int(database.executions.find_one({"_id": execution_id})["partition"])


def test_what_has_expired_is_not_started_but_cancelled(database: Any):
    execution_id = execution(database, expires_at=AGO)
    assert ledger(database).claim(execution_id) is None
    row = stored(database, execution_id)
    assert (row.state, row.attempt) == (State.CANCELLED, 0)
    assert row.transitions[-1].reason == f"it expired at {AGO:%Y-%m-%dT%H:%M:%SZ}, before it was started"


def test_what_was_started_in_time_is_tried_again_afterwards(database: Any):
    execution_id = execution(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    claimed = claim(database, execution_id).claimed
    again = task_attempts.try_again(execution_id, claimed.nonce, "w", FAILED, "again", timedelta(0), {})
    assert ledger(database).record(claimed, again)
    database.executions.update_one({"_id": execution_id}, {"$set": {"expires_at": AGO}})
    assert claim(database, execution_id).claimed.attempt == 2


def test_an_attempt_that_was_handed_back_is_no_start(database: Any):
    execution_id = execution(database)
    claimed = claim(database, execution_id).claimed
    assert ledger(database).hand_back(claimed, "the worker stops")
    database.executions.update_one({"_id": execution_id}, {"$set": {"expires_at": AGO}})
    assert ledger(database).claim(execution_id) is None
    assert stored(database, execution_id).state is State.CANCELLED


def test_beat_cancels_what_has_expired_in_its_partitions(database: Any):
    expired, held, running, later = (
        execution(database, expires_at=AGO, state="PENDING"),
        execution(database, expires_at=AGO, state="PENDING", held=True),
        execution(database),
        execution(database, expires_at=datetime.now(UTC) + timedelta(hours=1)),
    )
    claim(database, running)
    database.executions.update_one({"_id": running}, {"$set": {"expires_at": AGO}})
    others = frozenset(range(64)) - {partition(database, each) for each in (expired, held)}
    assert Expire(database, Held(*others), "beat").run_once() == 0  # type: ignore[arg-type]
    assert Expire(database, Held(*range(64)), "beat").run_once() == 2  # type: ignore[arg-type]
    assert [stored(database, each).state.value for each in (expired, held, running, later)] == [
        "CANCELLED", "CANCELLED", "RUNNING", "QUEUED",
    ]  # fmt: skip
    assert Expire(database, Held(*range(64)), "beat").run_once() == 0  # type: ignore[arg-type]


def test_a_retry_that_the_task_asked_for_counts_for_the_task_alone(database: Any):
    execution_id = execution(database)
    claimed = claim(database, execution_id).claimed
    changed = {"parameters": '{"other": 1}', "queue": "analysis", "priority": 9}
    move = task_attempts.try_again(execution_id, claimed.nonce, "w", FAILED, "again", timedelta(seconds=60), changed)
    ended = ledger(database).record(claimed, move)
    assert ended is not None
    assert (ended.state, ended.reason) == (State.PENDING, "again")
    row = stored(database, execution_id)
    assert row.due_at is not None
    assert (row.due_at - row.transitions[-1].at).total_seconds() == 60, "by the database's clock"
    assert (row.queue, row.max_attempts) == ("analysis", 5)
    database.executions.update_one({"_id": execution_id}, {"$set": {"due_at": AGO}})
    claimed = claim(database, execution_id).claimed
    assert (claimed.attempt, claimed.tries, claimed.retries) == (2, 1, 1)
    assert (claimed.parameters, claimed.priority) == ('{"other": 1}', 9)


def test_a_retry_of_what_was_cancelled_meanwhile_is_its_end(database: Any):
    execution_id = execution(database)
    claimed = claim(database, execution_id).claimed
    cancel = executions.cancel(execution_id, "anna", "enough")
    database.executions.update_one(cancel.filter, cancel.update)
    again = task_attempts.try_again(execution_id, claimed.nonce, "w", FAILED, "again", timedelta(seconds=60), {})
    assert ledger(database).record(claimed, again)
    assert states(database, execution_id)[-1] == "CANCELLED"


def test_progress_is_noted_of_the_attempt_that_is_held_and_forgotten_with_the_next(database: Any):
    execution_id = execution(database)
    claimed = claim(database, execution_id).claimed
    database.executions.bulk_write(task_attempts.note_progress([(execution_id, "another's", (9, 9, "stale"))]))
    assert stored(database, execution_id).progress is None
    database.executions.bulk_write(task_attempts.note_progress([(execution_id, claimed.nonce, (1, 2, "$half"))]))
    progress = stored(database, execution_id).progress
    assert progress is not None
    assert (progress.done, progress.total, progress.message) == (1, 2, "$half")
    assert ledger(database).hand_back(claimed, "the worker stops")
    claim(database, execution_id)
    assert stored(database, execution_id).progress is None


def test_turns_are_an_interval_apart_on_each_worker(database: Any):
    claimed = claim(database, execution(database)).claimed
    one, other = RateLimits(database, "one"), RateLimits(database, "other")
    assert one.turn(claimed, "6/m") is None, "the first is at once"
    second, third = one.turn(claimed, "6/m"), one.turn(claimed, "6/m")
    assert second is not None
    assert third is not None
    assert third.at - second.at == timedelta(seconds=10)
    assert timedelta(0) < second.wait <= timedelta(seconds=10)
    assert other.turn(claimed, "6/m") is None, "its limit is its own"
    for none in (None, 0, "0/m"):
        assert one.turn(claimed, none) is None


def pass_by(database: Any, seconds: float) -> None:
    """Make all turns that were taken so much older."""
    for row in database.rate_limits.find():
        moved = {name: at - timedelta(seconds=seconds) for name, at in row.items() if name in {"turn", "next", "begun"}}
        database.rate_limits.update_one({"_id": row["_id"]}, {"$set": moved})


def given_back(database: Any, claimed: Claimed, turn: Turn) -> Claimed:
    """Give an attempt back until its turn, which is now, and take it again."""
    back = task_attempts.wait_for_turn(claimed.execution_id, claimed.nonce, "w", "its turn", AGO, turn.slot)
    assert ledger(database).record(claimed, back)
    return claim(database, claimed.execution_id).claimed


def waiting(database: Any, limits: RateLimits, count: int) -> list[Claimed]:
    """Return so many attempts that have each been given a turn, after a first one that has begun."""
    assert limits.turn(claim(database, execution(database)).claimed, "6/m") is None
    waits = []
    for _ in range(count):
        claimed = claim(database, execution(database)).claimed
        turn = limits.turn(claimed, "6/m")
        assert turn is not None
        waits.append(given_back(database, claimed, turn))
    return waits


def test_an_attempt_that_comes_back_has_its_turn_on_whichever_worker_gets_it(database: Any):
    one, other = RateLimits(database, "one"), RateLimits(database, "other")
    waits = waiting(database, one, 5)
    assert [(each.attempt, each.tries) for each in waits] == [(2, 1)] * 5, "waiting costs no try"
    for number, claimed in enumerate(waits):
        pass_by(database, 10)
        assert (other, one)[number % 2].turn(claimed, "6/m") is None
    assert other.turn(claim(database, execution(database)).claimed, "6/m") is None, "it has used none of its own"


def test_attempts_that_come_long_after_their_turns_do_not_begin_at_once(database: Any):
    limits = RateLimits(database, "one")
    waits = waiting(database, limits, 3)
    pass_by(database, 600)
    first, second, third = (limits.turn(each, "6/m") for each in waits)
    assert first is None
    assert second is not None
    assert third is not None
    (line,) = database.rate_limits.find()
    assert second.at == line["begun"] + timedelta(seconds=10)
    assert third.at - second.at == timedelta(seconds=10)
    fresh = limits.turn(claim(database, execution(database)).claimed, "6/m")
    assert fresh is not None
    assert fresh.at - third.at == timedelta(seconds=10), "nor does one that comes only then"
    again = given_back(database, waits[1], second)
    pass_by(database, 10)
    assert limits.turn(again, "6/m") is None


def test_an_attempt_that_comes_somewhat_late_takes_no_turn_of_the_next(database: Any):
    limits = RateLimits(database, "one")
    late, in_time = waiting(database, limits, 2)
    pass_by(database, 14)
    assert limits.turn(late, "6/m") is None
    pass_by(database, 6)
    assert limits.turn(in_time, "6/m") is None


def test_the_reason_of_what_is_given_back_is_cut_as_it_may_be_given_back_thousands_of_times(database: Any):
    execution_id = execution(database)
    claimed = claim(database, execution_id).claimed
    back = task_attempts.wait_for_turn(execution_id, claimed.nonce, "w", "not yet: " + "\u00e9" * 4096, AGO, None)
    assert ledger(database).record(claimed, back)
    reason = stored(database, execution_id).transitions[-1].reason
    assert reason.startswith("not yet: \u00e9")
    assert len(reason.encode()) <= task_attempts.LONGEST_REASON
