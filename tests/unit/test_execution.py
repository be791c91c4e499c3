"""The states of an execution: what may follow what, and what a failure leads to."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.execution import (
    OPEN,
    SUCCESSORS,
    TERMINAL,
    Failure,
    State,
    after_failure,
    after_lost_worker,
    basic_iso,
    manual_id,
    predecessors,
    row_id,
    trace_id_of,
)
from shared.domain.policies import WorkerLost
from shared.domain.retry import RetryPolicy
from tests.builders import ORIGIN, at

UNAVAILABLE = Failure("UNAVAILABLE", "connection refused", retryable=True)
REFUSED = Failure("INVALID_ARGUMENT", "no such competitor", retryable=False)


class TestStates:
    def test_the_table_is_the_one_of_the_design(self) -> None:
        assert {state.name: sorted(after) for state, after in SUCCESSORS.items() if after} == {
            "PENDING": ["CANCELLED", "QUEUED", "RUNNING", "SKIPPED"],
            "QUEUED": ["CANCELLED", "PENDING", "RUNNING", "SKIPPED"],
            "RUNNING": ["CANCELLED", "FAILED", "PENDING", "SUCCEEDED", "WAITING"],
            "WAITING": ["CANCELLED", "FAILED", "SUCCEEDED"],
        }

    def test_every_state_is_in_the_table(self) -> None:
        assert set(SUCCESSORS) == set(State)

    def test_terminal_states_never_change(self) -> None:
        assert {s.name for s in TERMINAL} == {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED", "COALESCED", "CLOSED"}
        assert set(State) == TERMINAL | OPEN
        assert not TERMINAL & OPEN

    def test_only_a_run_ends_well_or_badly(self) -> None:
        assert predecessors(State.SUCCEEDED) == predecessors(State.FAILED) == {State.RUNNING, State.WAITING}

    def test_only_what_a_worker_has_started_waits_for_its_parts(self) -> None:
        assert predecessors(State.WAITING) == {State.RUNNING}

    def test_nothing_becomes_what_only_a_decision_is(self) -> None:
        assert predecessors(State.COALESCED) == predecessors(State.CLOSED) == frozenset()


class TestIds:
    def test_ids_tell_job_epoch_and_instant(self) -> None:
        assert row_id("01abc", 3, ORIGIN) == "01abc.3.20260302T120000Z"
        assert row_id("01abc", 3, at(0.25)) == "01abc.3.20260302T120000.250Z"
        assert row_id("01abc", 3, None) == "01abc.3.end"
        assert manual_id("01abc", "01xyz") == "01abc.m.01xyz"

    def test_the_zone_an_instant_is_written_in_does_not_matter(self) -> None:
        assert basic_iso(ORIGIN.astimezone()) == basic_iso(ORIGIN)

    @given(st.lists(st.integers(0, 10**8), min_size=2), st.integers(0, 999))
    def test_ids_of_one_epoch_sort_by_time_and_the_end_comes_last(self, seconds: list[int], fraction: int) -> None:
        instants = sorted(at(second + fraction / 1000) for second in seconds)
        ids = [*(row_id("uid", 0, instant) for instant in instants), row_id("uid", 0, None)]
        assert ids == sorted(ids)

    def test_no_id_has_a_slash_or_a_space(self) -> None:
        assert re.fullmatch(r"[A-Za-z0-9.]+", row_id("01abc", 3, at(0.001)))

    def test_a_trace_id_is_what_the_w3c_says(self) -> None:
        assert re.fullmatch(r"[0-9a-f]{32}", trace_id_of("uid.0.x"))
        assert trace_id_of("uid.0.x") == trace_id_of("uid.0.x") != trace_id_of("uid.0.y")


class TestAfterAFailure:
    def test_it_is_tried_again_after_the_backoff(self) -> None:
        after = after_failure(UNAVAILABLE, 2, RetryPolicy(), ORIGIN, 0.5)
        assert (after.state, after.due_at) == (State.PENDING, at(120))
        assert after.reason == "UNAVAILABLE; trying again in 120.0 s"

    def test_not_after_the_last_attempt(self) -> None:
        after = after_failure(UNAVAILABLE, 4, RetryPolicy(max_attempts=4), ORIGIN, 0.5)
        assert (after.state, after.due_at) == (State.FAILED, None)
        assert after.reason == "UNAVAILABLE in the last of 4 attempts"

    def test_not_when_trying_again_could_not_help(self) -> None:
        after = after_failure(REFUSED, 1, RetryPolicy(), ORIGIN, 0.5)
        assert (after.state, after.reason) == (State.FAILED, "INVALID_ARGUMENT is not retried")

    @pytest.mark.parametrize(("seconds", "state"), [(119, State.FAILED), (120, State.FAILED), (121, State.PENDING)])
    def test_not_at_or_after_the_end_of_the_retry_window(self, seconds: float, state: State) -> None:
        after = after_failure(UNAVAILABLE, 2, RetryPolicy(), ORIGIN, 0.5, at(seconds))
        assert after.state is state
        if state is State.FAILED:
            said = f"2026-03-02T12:0{'1:59' if seconds == 119 else '2:00'}Z"
            assert after.reason == f"UNAVAILABLE; not tried again, as the next occurrence is that of {said}"

    def test_a_lost_worker_is_no_reason_to_try_again_after_the_retry_window(self) -> None:
        assert after_lost_worker("worker w fell silent", 1, 4, ORIGIN, retry_until=at(1)).state is State.PENDING
        after = after_lost_worker("worker w fell silent", 1, 4, ORIGIN, retry_until=ORIGIN)
        assert (after.state, after.due_at) == (State.FAILED, None)
        assert "as the next occurrence is that of 2026-03-02T12:00:00Z" in after.reason

    def test_nor_where_the_target_must_not_be_called_twice(self) -> None:
        after = after_lost_worker("worker w fell silent", 1, 4, ORIGIN, on_worker_lost=WorkerLost.FAIL)
        assert (after.state, after.due_at) == (State.FAILED, None)
        assert after.reason == "worker w fell silent, and on_worker_lost is FAIL"

    @given(st.integers(1, 200), st.integers(1, 100), st.booleans(), st.floats(0, 1, exclude_max=True))
    def test_it_ends_after_as_many_attempts_as_the_policy_says(
        self, attempt: int, most: int, retryable: bool, chance: float
    ) -> None:
        policy = RetryPolicy(max_attempts=most, initial_backoff=timedelta(0))
        failure = Failure("UNAVAILABLE", "", retryable=retryable)
        after = after_failure(failure, attempt, policy, ORIGIN, chance)
        assert (after.state is State.PENDING) == (retryable and attempt < most) == (after.due_at is not None)
        assert after.state in SUCCESSORS[State.RUNNING]

    @pytest.mark.parametrize(("attempt", "state", "due"), [(1, State.PENDING, ORIGIN), (2, State.FAILED, None)])
    def test_a_lost_worker_costs_an_attempt_but_no_wait(self, attempt: int, state: State, due: object) -> None:
        after = after_lost_worker("worker-1 fell silent", attempt, 2, ORIGIN)
        assert (after.state, after.due_at) == (state, due)
        assert "worker-1 fell silent" in after.reason
