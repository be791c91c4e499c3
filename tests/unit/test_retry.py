"""How long a retry waits, and which policies can't be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.domain.retry import GRPC_CODES, JITTER, LONGEST_BACKOFF, MOST_ATTEMPTS, TARGET_UNKNOWN, Jitter, RetryPolicy

spans = st.timedeltas(timedelta(0), LONGEST_BACKOFF)
policies = st.tuples(st.integers(1, MOST_ATTEMPTS), spans, spans, st.floats(1, 1000)).map(
    lambda given: RetryPolicy(given[0], min(given[1:3]), max(given[1:3]), given[3])
)
chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, MOST_ATTEMPTS)


def test_the_default_waits_a_minute_then_two_then_four_and_never_more_than_ten() -> None:
    waits = [RetryPolicy().backoff(attempt, 0.5).total_seconds() for attempt in range(1, 7)]
    assert waits == pytest.approx([60, 120, 240, 480, 600, 600])


@given(policies, attempts, chances)
def test_a_wait_is_the_formula_within_the_jitter(policy: RetryPolicy, attempt: int, chance: float) -> None:
    first, longest = policy.initial_backoff.total_seconds(), policy.max_backoff.total_seconds()
    try:
        formula = min(longest, first * policy.multiplier ** (attempt - 1))
    except OverflowError:
        formula = longest if first else 0.0
    wait = policy.backoff(attempt, chance).total_seconds()
    assert formula * (1 - JITTER) - 1e-5 <= wait <= formula * (1 + JITTER) + 1e-5


@given(policies, attempts, chances)
def test_waits_never_shrink_from_attempt_to_attempt(policy: RetryPolicy, attempt: int, chance: float) -> None:
    assert policy.backoff(attempt, chance) <= policy.backoff(attempt + 1, chance)


@given(policies, attempts, chances)
def test_full_jitter_is_anything_up_to_the_whole_wait_and_none_is_the_wait_itself(
    policy: RetryPolicy, attempt: int, chance: float
) -> None:
    whole = replace(policy, jitter=Jitter.NONE).backoff(attempt, chance)
    full = replace(policy, jitter=Jitter.FULL).backoff(attempt, chance)
    assert full.total_seconds() == pytest.approx(whole.total_seconds() * chance, abs=1e-5)
    assert replace(policy, jitter=Jitter.FULL).backoff(attempt, 0) == timedelta(0)
    assert replace(policy, jitter=Jitter.NONE).backoff(attempt, 0) == whole


@given(policies, attempts, st.tuples(chances, chances).map(sorted))
def test_chance_decides_between_the_bounds(policy: RetryPolicy, attempt: int, chances: list[float]) -> None:
    assert policy.backoff(attempt, chances[0]) <= policy.backoff(attempt, chances[1])


def test_all_that_is_wrong_with_a_policy_is_said_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        RetryPolicy(0, timedelta(seconds=-1), timedelta(days=8), float("nan"))
    assert [str(violation) for violation in refused.value.violations] == [
        "retry_policy.max_attempts: 0 is not a number of attempts (1-100)",
        "retry_policy.initial_backoff: -1 s is not between 0 s and 7 days",
        "retry_policy.max_backoff: 691200 s is not between 0 s and 7 days",
        "retry_policy.multiplier: nan is not a multiplier (1-1000)",
    ]


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    with pytest.raises(InvalidInput, match=r"max_backoff: 5 s is less than initial_backoff \(10 s\)"):
        RetryPolicy(initial_backoff=timedelta(seconds=10), max_backoff=timedelta(seconds=5))


USUAL = frozenset({"UNAVAILABLE", "ABORTED"})


@pytest.mark.parametrize(
    ("policy", "retried"),
    [
        (RetryPolicy(), {"UNAVAILABLE", "ABORTED", TARGET_UNKNOWN}),
        (RetryPolicy(retryable_codes=frozenset({"INTERNAL"})), {"INTERNAL", TARGET_UNKNOWN}),
        (RetryPolicy(non_retryable_codes=frozenset({"ABORTED"})), {"UNAVAILABLE", TARGET_UNKNOWN}),
        (RetryPolicy(non_retryable_codes=frozenset({TARGET_UNKNOWN})), {"UNAVAILABLE", "ABORTED"}),
        (
            RetryPolicy(retryable_codes=frozenset({"INTERNAL"}), non_retryable_codes=frozenset({"UNAVAILABLE"})),
            {"INTERNAL", TARGET_UNKNOWN},
        ),
    ],
)
def test_a_jobs_lists_come_before_the_services(policy: RetryPolicy, retried: set[str]) -> None:
    assert {code for code in (*GRPC_CODES, TARGET_UNKNOWN) if policy.retries(code, USUAL)} == retried


def test_the_codes_are_those_of_grpc() -> None:
    assert list(GRPC_CODES) == [code.name for code in StatusCode if code is not StatusCode.OK]


def test_codes_that_there_are_not_or_that_are_in_both_lists_are_refused() -> None:
    unknown = frozenset({"OK", "unavailable", "WORKER_LOST"})
    with pytest.raises(InvalidInput) as refused:
        RetryPolicy(retryable_codes=unknown)
    (violation,) = refused.value.violations
    assert violation.field == "retry_policy.retryable_codes"
    assert violation.description.startswith("'OK', 'WORKER_LOST', 'unavailable': no such status code (known: CANCELLED")
    with pytest.raises(InvalidInput, match="non_retryable_codes: ABORTED cannot be in both lists"):
        RetryPolicy(retryable_codes=USUAL, non_retryable_codes=frozenset({"ABORTED"}))
    with pytest.raises(InvalidInput) as refused:
        RetryPolicy(non_retryable_codes=frozenset(f"X{n}" for n in range(100_000)))
    assert len(str(refused.value)) < 2_000
