"""How often a caller may ask, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scheduler_service.transport.limits import MOST_CALLERS, Limits, Rate
from scheduler_service.transport.refusals import LimitReached
from shared.domain.errors import InvalidInput
from shared.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_s_worth_may_be_asked_at_once_and_then_as_much_each_second() -> None:
    clock = Clock()
    rate = Rate(10, clock)
    assert [rate.take("anna") for _ in range(10)] == [0] * 10
    assert rate.take("anna") == pytest.approx(0.1)
    clock.now += 0.31
    assert [bool(rate.take("anna")) for _ in range(4)] == [False, False, False, True]
    clock.now += 3600
    assert sum(not rate.take("anna") for _ in range(50)) == 10


def test_after_the_time_that_is_told_the_call_does() -> None:
    clock = Clock()
    rate = Rate(0.5, clock)
    assert rate.take("anna") == 0
    clock.now += rate.take("anna") + 1e-6
    assert rate.take("anna") == 0


def test_callers_do_not_share_and_those_long_gone_are_forgotten() -> None:
    clock = Clock()
    rate = Rate(1, clock)
    assert (rate.take("anna"), rate.take("bob")) == (0, 0)
    assert rate.take("anna") > 0
    for number in range(MOST_CALLERS):
        rate.take(f"caller-{number}")
    assert len(rate._buckets) == MOST_CALLERS
    assert rate.take("anna") == 0


def test_streams_are_counted_for_each_caller_and_in_all_until_they_end() -> None:
    limits = Limits(Settings(max_streams=3, max_streams_per_caller=2))
    with limits.stream("anna"), limits.stream("anna"):
        with pytest.raises(LimitReached, match="MAX_STREAMS_PER_CALLER"), limits.stream("anna"):
            pass
        with (
            limits.stream("bob"),
            pytest.raises(LimitReached, match=r"3 streams are open.*\(MAX_STREAMS\)"),
            limits.stream("eve"),
        ):
            pass
        with limits.stream("eve"):
            pass
    assert not limits._open


def test_too_large_a_page_is_refused_where_a_request_asks_for_one() -> None:
    limits = Limits(Settings(max_page_size=100))
    limits.admit("anna", SimpleNamespace())
    limits.admit("anna", SimpleNamespace(page_size=100))
    with pytest.raises(InvalidInput, match="MAX_PAGE_SIZE"):
        limits.admit("anna", SimpleNamespace(page_size=101))
