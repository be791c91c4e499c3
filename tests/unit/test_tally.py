"""Tallies add up, and their percentiles are as near to the true ones as they promise."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.rollup import DAY, GRACE, HOUR, KEPT, MINUTE, SETTLED_AFTER, Level, Progress, after, floor, next_step
from shared.domain.tally import ACCURACY, LONGEST, Spans, success_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.rollup import Step

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
MILLISECONDS = st.lists(st.integers(0, LONGEST) | st.integers(0, 50), min_size=1, max_size=300)


def spans(values: Iterable[int]) -> Spans:
    found = Spans()
    for value in values:
        found.add(value)
    return found


@given(MILLISECONDS, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_the_accuracy_of_the_true_one(values: list[int], share: float) -> None:
    true = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert abs(spans(values).percentile(share) - true) <= ACCURACY * true + 1e-6


@given(MILLISECONDS, MILLISECONDS)
def test_the_sum_of_two_is_what_counting_all_gives(some: list[int], others: list[int]) -> None:
    both = spans(some)
    both.merge(spans(others))
    assert both == spans([*some, *others])


@given(MILLISECONDS)
def test_however_long_spans_are_their_buckets_are_few(values: list[int]) -> None:
    assert max(spans(values).buckets) <= 620


def test_a_clock_that_was_set_back_makes_no_negative_span() -> None:
    assert spans([-5]).percentile(0.5) == 0


def test_nothing_has_no_percentile_and_no_success_rate() -> None:
    assert Spans().percentile(0.99) == Spans().mean == 0
    assert success_rate({"CANCELLED": 3}) is None
    assert success_rate({"SUCCEEDED": 3, "FAILED": 1, "SKIPPED": 5}) == 0.75


def steps(progress: Progress, now: datetime) -> list[Step]:
    """Take all steps that there are, a unit of each at a time."""
    taken = []
    while (step := next_step(progress, now)) is not None:
        assert step.start < step.end <= now
        taken.append(step)
        progress = after(progress, step, step.start + step.level.width)
    return taken


def test_a_minute_is_rolled_up_soon_after_its_end_and_once_more_for_good() -> None:
    began = Progress.beginning(MIDNIGHT)
    assert next_step(began, MIDNIGHT + MINUTE + GRACE - timedelta(milliseconds=1)) is None
    first = next_step(began, MIDNIGHT + MINUTE + GRACE)
    assert first is not None
    assert not first.final
    seen = after(began, first, MIDNIGHT + MINUTE)
    assert next_step(seen, MIDNIGHT + MINUTE + GRACE) is None
    again = next_step(seen, MIDNIGHT + MINUTE + SETTLED_AFTER)
    assert again is not None
    assert again.final
    assert again.start == MIDNIGHT


def test_hours_and_days_are_made_of_what_is_final_only() -> None:
    now = MIDNIGHT + DAY + SETTLED_AFTER
    taken = steps(Progress.beginning(MIDNIGHT), now)
    assert sum(step.level is Level.HOUR for step in taken) == 24
    assert sum(step.level is Level.DAY for step in taken) == 1
    assert [step.level for step in steps(Progress.beginning(MIDNIGHT), now - MINUTE)].count(Level.DAY) == 0


def test_what_lies_ahead_of_a_clock_that_was_set_back_is_rolled_up_anew() -> None:
    now = MIDNIGHT + timedelta(hours=5, minutes=30)
    ahead = Progress(now + HOUR, now + HOUR, floor(now + HOUR, HOUR), MIDNIGHT)
    assert ahead.not_after(now) == Progress(now, now, MIDNIGHT + timedelta(hours=5), MIDNIGHT)


def test_coarser_roll_ups_are_kept_longer() -> None:
    assert KEPT[Level.MINUTE] < KEPT[Level.HOUR] < KEPT[Level.DAY]
