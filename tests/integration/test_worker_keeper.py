"""Leases are kept while calls run, and calls end with their lease: no two attempts of an execution run at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from shared import metrics
from shared.domain.execution import Failure, State
from shared.store import executions
from shared.store.mongo import connect
from shared.targets import Target, Targets
from tests.acceptance.recorder import Recorder
from tests.acceptance.system import wait_until
from tests.integration.test_worker_ledger import (
    LONG,
    AtTheFirst,
    Proxy,
    claim,
    execution,
    ledger,
    rescue,
    retry,
    states,
    stored,
    success,
)
from worker.keeper import Keeper
from worker.run import Runner
from worker.stopping import Stopping
from worker.target import Cancellation, TargetCaller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.test_worker_ledger import Documents
    from worker.ledger import Ledger

SHORT = timedelta(seconds=1)
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def proxy(database: Documents) -> Iterator[Proxy]:
    host = database.client.address
    assert host is not None
    with Proxy(host[1]) as running:
        yield running


@pytest.fixture
def through_proxy(proxy: Proxy, database: Documents) -> Iterator[Documents]:
    found = connect(f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true")
    yield found
    found.client.close()


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


def keeper(of: Ledger, lease: timedelta, stopping: Stopping | None = None) -> Keeper:
    """A keeper that the test drives by hand."""
    return Keeper(of, lease, stopping or Stopping(60))


@pytest.fixture
def started() -> Iterator[list[Keeper]]:
    """Keepers to be stopped at the end."""
    keepers: list[Keeper] = []
    yield keepers
    for each in keepers:
        each.stop()
    for each in keepers:
        each.join(60)


def losses() -> float:
    return float(metrics.WORKER_LEASES_LOST._value.get())


def test_a_lease_is_renewed_while_a_call_runs_longer_than_several(database: Documents, started: list[Keeper]):
    execution_id = execution(database)
    mine = ledger(database, lease=SHORT)
    keep = keeper(mine, SHORT)
    started.append(keep)
    keep.start()
    lease = claim(mine, execution_id)
    cancellation = Cancellation()

    def expires_at() -> Any:
        row = database.executions.find_one({"_id": execution_id})
        assert row is not None
        return row["lease"]["expires_at"]

    with keep.holding(lease, cancellation):
        wait_until(lambda: expires_at() > lease.granted_at + 4 * SHORT, "the lease was prolonged")
    assert cancellation.failure is None
    assert mine.record(lease.claimed, success(lease.claimed))


def test_the_call_of_an_attempt_that_was_taken_away_is_cancelled_and_its_outcome_refused(
    database: Documents, recorder: Recorder
):
    execution_id = execution(database, parameters='{"label": "taken", "hold": true}')
    mine = ledger(database, lease=MOMENT)
    keep = keeper(mine, LONG)
    caller = TargetCaller(Targets([Target("recorder", f"localhost:{recorder.port}", ())]), frozenset())
    before = losses()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Runner(mine, keep, caller, "worker-1").run, execution_id)
        (call,) = recorder.wait_for_calls("taken", 1)
        rescue(database, execution_id)
        keep.run_once()
        outcome = running.result(30)
    wait_until(lambda: call.given_up, "the target saw the call cancelled")
    assert losses() == before + 1
    assert outcome.state is None
    assert states(database, execution_id) == ["PENDING", "RUNNING", "PENDING"]
    caller.close()


def cancel(database: Documents, execution_id: str, reason: str = "no use") -> None:
    move = executions.cancel(execution_id, "anna", reason)
    assert database.executions.update_one(move.filter, move.update).modified_count


def test_a_cancelled_executions_call_ends_long_before_its_lease_is_renewed_and_the_target_sees_it(
    database: Documents, recorder: Recorder, started: list[Keeper]
):
    ids = [execution(database, parameters=f'{{"label": "cancel-{n}", "hold": true}}') for n in range(2)]
    mine = ledger(database)
    keep = keeper(mine, LONG)
    started.append(keep)
    keep.start()
    caller = TargetCaller(Targets([Target("recorder", f"localhost:{recorder.port}", ())]), frozenset({"CANCELLED"}))
    with ThreadPoolExecutor(2) as pool:
        runner = Runner(mine, keep, caller, "worker-1")
        running = [pool.submit(runner.run, each) for each in ids]
        (stopped,), (other,) = [recorder.wait_for_calls(f"cancel-{n}", 1) for n in range(2)]
        cancel(database, ids[0])
        assert stopped.ended.wait(LONG.total_seconds() / 6), "the keeper renews after a third of a lease"
        outcome = running[0].result(30)
        assert not other.ended.is_set()
        recorder.release("cancel-1")
        assert running[1].result(30).state is State.SUCCEEDED
    assert stopped.given_up
    assert (outcome.state, outcome.reason) == (State.CANCELLED, "cancelled by anna: no use")
    row = stored(database, ids[0])
    assert (row.state, row.cancel_requested, row.transitions[-1].by) == (State.CANCELLED, True, "worker-1")
    assert row.error is not None
    assert row.error.message == "cancelled by anna: no use"
    caller.close()


def test_a_target_that_answers_in_spite_of_the_cancel_has_done_the_work(database: Documents):
    execution_id = execution(database)
    mine = ledger(database)
    keep = keeper(mine, LONG)
    lease = claim(mine, execution_id)
    cancellation = Cancellation()
    with keep.holding(lease, cancellation):
        cancel(database, execution_id)
        keep.look_once()
        assert cancellation.failure is not None
        assert mine.record(lease.claimed, success(lease.claimed))
    row = stored(database, execution_id)
    assert (row.state, row.cancel_requested) == (State.SUCCEEDED, True)


def test_a_deletion_that_lets_run_what_runs_cancels_no_call(database: Documents):
    execution_id = execution(database)
    keep = keeper(ledger(database), LONG)
    cancellation = Cancellation()
    with keep.holding(claim(ledger(database), execution_id), cancellation):
        row = database.executions.find_one({"_id": execution_id})
        assert row is not None
        move = executions.end_open(row["job_uid"], "anna", "")
        assert database.executions.update_many(move.filter, move.update).modified_count
        keep.look_once()
        keep.run_once()
    assert cancellation.failure is None


def test_a_look_that_fails_costs_no_lease(database: Documents, through_proxy: Documents, proxy: Proxy):
    keep = keeper(ledger(through_proxy), LONG)
    cancellation = Cancellation()
    with keep.holding(claim(ledger(through_proxy), execution_id := execution(database)), cancellation):
        cancel(database, execution_id)
        proxy.stall()
        keep.look_once()
        assert cancellation.failure is None
        proxy.flow()
        keep.run_once()
        assert cancellation.failure is not None


@pytest.mark.parametrize("hurried", [False, True], ids=["when the grace is over", "at a second signal"])
def test_a_stopping_worker_hands_back_what_still_runs_and_it_does_not_count(
    database: Documents, recorder: Recorder, started: list[Keeper], *, hurried: bool
):
    label = f"handed-{hurried}"
    execution_id = execution(database, parameters=f'{{"label": "{label}", "hold": true}}')
    database.executions.update_one({"_id": execution_id}, {"$set": {"retry.max_attempts": 1}})
    mine, stopping = ledger(database), Stopping(3600 if hurried else 0)
    keep = keeper(mine, LONG, stopping)
    started.append(keep)
    keep.start()
    caller = TargetCaller(Targets([Target("recorder", f"localhost:{recorder.port}", ())]), frozenset())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Runner(mine, keep, caller, "worker-1").run, execution_id)
        (call,) = recorder.wait_for_calls(label, 1)
        stopping.begin()
        if hurried:
            stopping.hurry()
        outcome = running.result(30)
    assert call.ended.wait(60)
    assert (outcome.state, outcome.reason) == (State.PENDING, "handed back: the worker stops")
    raw = database.executions.find_one({"_id": execution_id})
    assert raw is not None
    assert raw["send_at"] == raw["due_at"] == raw["transitions"][-1]["at"], "the relay sends it at once"
    assert "lease" not in raw
    again = claim(ledger(database, "worker-2"), execution_id).claimed
    assert (again.attempt, again.tries, stored(database, execution_id).max_attempts) == (2, 1, 2)
    caller.close()


def test_what_ends_within_the_grace_is_not_handed_back(database: Documents):
    stopping = Stopping(60)
    keep = keeper(ledger(database, stopping=stopping), LONG, stopping)
    cancellation = Cancellation()
    lease = claim(ledger(database), execution(database))
    with keep.holding(lease, cancellation) as held:
        stopping.begin()
        assert not stopping.grace_over()
        held.call_ended = True
        stopping.hurry()
        keep.hand_back()
        assert cancellation.failure is None


def test_a_failure_of_the_targets_own_is_no_hand_back():
    cancellation = Cancellation()
    cancellation.cancel("handed back", hand_back=True)
    assert cancellation.failure is not None
    assert cancellation.hands_back(cancellation.failure)
    assert not cancellation.hands_back(Failure("INTERNAL", "broken", retryable=False))
    lost = Cancellation()
    lost.cancel("the lease was lost", retryable=True)
    lost.cancel("handed back", hand_back=True)
    assert lost.failure is not None
    assert not lost.hands_back(lost.failure)


def test_a_worker_that_stood_still_after_its_claim_does_not_call_for_an_attempt_that_was_taken(
    database: Documents, recorder: Recorder
):
    execution_id = execution(database, parameters='{"label": "late"}')
    mine = ledger(database, lease=MOMENT)
    caller = TargetCaller(Targets([Target("recorder", f"localhost:{recorder.port}", ())]), frozenset())
    lease = claim(mine, execution_id)
    rescue(database, execution_id)
    outcome = Runner(mine, keeper(mine, MOMENT), caller, "worker-1")._attempt(lease)
    assert recorder.calls("late") == []
    assert outcome.state is None
    assert states(database, execution_id) == ["PENDING", "RUNNING", "PENDING"]
    caller.close()


def test_a_lease_that_ended_but_that_nobody_took_is_renewed(database: Documents):
    """As after a pause of the host: to go on costs less than to do the work anew."""
    mine = ledger(database, lease=MOMENT)
    lease = claim(mine, execution(database))
    keep = keeper(ledger(database), MOMENT)
    cancellation = Cancellation()
    with keep.holding(lease, cancellation) as held:
        held.until = monotonic()
        keep._lease = LONG.total_seconds()
        keep.run_once()
        assert held.until > monotonic()
    assert cancellation.failure is None


@pytest.mark.parametrize("outage", ["silent", "refusing"])
def test_calls_end_with_their_lease_when_the_store_cannot_be_reached(
    database: Documents, through_proxy: Documents, proxy: Proxy, started: list[Keeper], outage: str
):
    """Not earlier: the store may be back in time. Not later: another worker may run the execution then."""
    execution_id = execution(database)
    mine = ledger(through_proxy, lease=SHORT)
    keep = keeper(mine, SHORT)
    started.append(keep)
    cancelled_at: list[float] = []
    cancellation = Cancellation()
    cancellation.watch(lambda: cancelled_at.append(monotonic()))
    lease = claim(mine, execution_id)
    with keep.holding(lease, cancellation) as held:
        keep.start()
        if outage == "silent":
            proxy.stall()
        else:
            proxy.refuse()
        # Well before the store's own time limits, of 5 s to find a server and 30 s for an answer.
        wait_until(lambda: cancelled_at, "the call was cancelled", timeout=4)
        assert cancelled_at[0] >= held.until >= lease.asked_at + SHORT.total_seconds()
        assert cancellation.failure is not None
        assert cancellation.failure.retryable
        assert "could not be renewed" in cancellation.failure.message
    # The store is back, nobody took the attempt: there is another one.
    direct = ledger(database)
    ended = direct.record(lease.claimed, retry(lease.claimed, cancellation.failure))
    assert ended is not None
    assert ended.state is State.PENDING


def test_a_lease_lost_in_a_store_outage_leads_to_a_retry_and_not_to_a_failure(
    database: Documents, through_proxy: Documents, proxy: Proxy, started: list[Keeper], recorder: Recorder
):
    execution_id = execution(database, parameters='{"label": "outage", "hold": true}')
    mine = ledger(through_proxy, lease=SHORT)
    keep = keeper(mine, SHORT)
    started.append(keep)
    keep.start()
    # CANCELLED is no code that is retried when it is the target's.
    caller = TargetCaller(Targets([Target("recorder", f"localhost:{recorder.port}", ())]), frozenset())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(Runner(mine, keep, caller, "worker-1").run, execution_id)
        (call,) = recorder.wait_for_calls("outage", 1)
        proxy.stall()
        try:
            wait_until(lambda: call.given_up, "the target saw the call cancelled")
        finally:
            proxy.flow()
            proxy.cut()
        outcome = running.result(60)
    assert outcome.state is State.PENDING
    row = stored(database, execution_id)
    assert row.state is State.PENDING
    assert row.error is not None
    assert row.error.code == "CANCELLED"
    assert "lease was lost" in row.error.message
    caller.close()


def test_a_renewal_that_failed_in_good_time_is_tried_again(database: Documents, through_proxy: Documents, proxy: Proxy):
    mine = ledger(through_proxy)
    keep = keeper(mine, LONG)
    lease = claim(mine, execution(database))
    cancellation = Cancellation()
    with keep.holding(lease, cancellation) as held:
        until = held.until
        proxy.lose("update")
        keep.run_once()
        assert proxy.has_lost_all
        assert held.until == until
        keep.run_once()
        assert held.until > until
    assert cancellation.failure is None


def test_a_worker_that_gets_its_own_lost_attempt_again_runs_only_the_new_one(database: Documents):
    """A process that slept past its lease, and is the first to take the message after the rescue."""
    execution_id = execution(database)
    keep = keeper(ledger(database), LONG)
    old_call, new_call = Cancellation(), Cancellation()
    with keep.holding(claim(ledger(database, lease=MOMENT), execution_id), old_call) as old:
        rescue(database, execution_id)
        with keep.holding(claim(ledger(database), execution_id), new_call) as new:
            assert old_call.failure is not None
            until_old, until_new = old.until, new.until
            keep.run_once()
            assert old.until == until_old
            assert new.until > until_new
            assert new_call.failure is None
        # Also when the old one ends later.
        with keep.holding(claim(ledger(database), execution(database)), Cancellation()):
            keep.run_once()


def test_an_attempt_that_ends_while_leases_are_renewed_is_not_taken_for_lost(database: Documents):
    mine = ledger(database)
    keep = keeper(mine, LONG)
    lease = claim(mine, execution(database))
    cancellation = Cancellation()
    before = losses()
    with keep.holding(lease, cancellation) as held:
        held.call_ended = True
        assert mine.record(lease.claimed, success(lease.claimed))
        keep.run_once()
    assert losses() == before
    assert cancellation.failure is None


def test_one_lost_attempt_does_not_touch_the_others(database: Documents):
    kept_id, lost_id = execution(database), execution(database)
    keep = keeper(ledger(database), LONG)
    kept, lost = Cancellation(), Cancellation()
    with (
        keep.holding(claim(ledger(database), kept_id), kept),
        keep.holding(claim(ledger(database, lease=MOMENT), lost_id), lost),
    ):
        rescue(database, lost_id)
        keep.run_once()
        assert kept.failure is None
        assert lost.failure is not None


def test_with_nothing_to_keep_nothing_is_asked(database: Documents, database_url: str):
    asked: list[bool] = []
    listeners = [AtTheFirst(command, lambda: asked.append(True)) for command in ("update", "find", "findAndModify")]
    with connect(database_url, event_listeners=listeners).client as client:
        mine = ledger(client[database.name])
        keep = keeper(mine, LONG)
        keep.run_once()
        with keep.holding(claim(ledger(database), execution(database)), Cancellation()):
            pass
        keep.run_once()
        assert not asked
        with keep.holding(claim(ledger(database), execution(database)), Cancellation()):
            keep.run_once()
        assert asked


def test_a_keeper_that_fails_goes_on(database: Documents, started: list[Keeper]):
    mine = ledger(database)
    keep = keeper(mine, 3 * SHORT)
    started.append(keep)
    execution_id = execution(database)
    broken = Cancellation()
    broken.watch(lambda: 1 / 0)
    with keep.holding(claim(ledger(database, lease=MOMENT), lost := execution(database)), broken):
        rescue(database, lost)
        keep.start()
        wait_until(lambda: broken.failure, "the keeper failed")
        with keep.holding(claim(mine, execution_id), Cancellation()) as held:
            until = held.until
            wait_until(lambda: held.until > until, "the keeper goes on")
    assert executions.to_execution(database.executions.find_one({"_id": execution_id}) or {}).state is State.RUNNING
