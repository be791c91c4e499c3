"""The verdict on skips, moves and backfills can fail: each way in which one may not be kept is reported, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.plans import Fill, Shift
from tests.chaos.test_verdict import EVERY_SECOND, LEASE, T0, at, step
from tests.chaos.verdict import Evidence, TargetCall, judge


def row(name: str, second: float, **fields: Any) -> dict[str, Any]:
    """A row of the schedule that ran at once, or was decided not to."""
    ran = {
        "run": True, "state": "SUCCEEDED", "attempt": 1,
        "transitions": [
            step(1, "PENDING", second), step(2, "QUEUED", second), step(3, "RUNNING", second + 0.1, "w1"),
            step(4, "SUCCEEDED", second + 0.2, "w1"),
        ],
    }  # fmt: skip
    skipped = {"run": False, "state": "SKIPPED", "transitions": [step(1, "SKIPPED", second)]}
    rest = skipped if fields.pop("left_out", False) else ran
    common = {"_id": name, "job_uid": "uid", "epoch": 0, "trigger": "SCHEDULE", "nominal_time": at(second)}
    return {**common, "last": at(second), "count": 1, **rest, **fields}


def call(name: str, nominal: float, began: float, seconds: float = 0.1) -> TargetCall:
    return TargetCall(name, 1, at(began).timestamp(), at(began + seconds).timestamp(), at(nominal))


@pytest.fixture
def shifted() -> Evidence:
    """A job of every second: the second 1 is skipped, 2 was moved to 4.5, 3 was skipped and restored, 4 left alone."""
    closing = row("closing", 5, last=at(4.7), count=0, state="CLOSED", run=False)
    rows = [
        row("one", 1, left_out=True),
        row("two", 2, left_out=True),
        row("three", 3),
        row("four", 4),
        row("moved", 4.5, moved_from=at(2)),
        closing,
    ]
    epoch = {"job_uid": "uid", "schedule": EVERY_SECOND}
    revisions = [
        {**epoch, "_id": "uid.0", "epoch": 0, "mode": "ACTIVE", "began": T0, "reason": "created"},
        {**epoch, "_id": "uid.1", "epoch": 1, "mode": "PAUSED", "began": at(4.7), "reason": "paused"},
    ]
    calls = [call("three", 3, 3.1), call("four", 4, 4.1), call("moved", 2, 4.6)]
    jobs = [{"_id": "job", "uid": "uid", "policies": {"overlap": "ALLOW", "max_concurrent": 9}}]
    shifts = [
        Shift("job", at(1), "skipped"),
        Shift("job", at(2), "moved", at(1.5)),
        Shift("job", at(2), "moved", at(4.5)),
        Shift("job", at(3), "skipped"),
        Shift("job", at(3), "restored"),
    ]
    return Evidence(jobs, revisions, rows, calls, [], [], LEASE, shifts=shifts)


def doctored(good: Evidence, name: str, **fields: Any) -> Evidence:
    return replace(good, rows=[{**each, **fields} if each["_id"] == name else each for each in good.rows])


def without(good: Evidence, name: str) -> Evidence:
    """The evidence without a row and its calls."""
    return replace(
        good,
        rows=[each for each in good.rows if each["_id"] != name],
        calls=[each for each in good.calls if each.execution_id != name],
    )


def with_run(good: Evidence, name: str, second: float, nominal: float, began: float) -> Evidence:
    """The evidence with a row that ran, in place of what there was, and its call."""
    left = without(good, name)
    return replace(left, rows=[*left.rows, row(name, second)], calls=[*left.calls, call(name, nominal, began)])


class TestShifts:
    def test_what_was_told_to_clients_and_kept_is_good_and_neither_lost_nor_extra(self, shifted: Evidence):
        verdict = judge(shifted)
        assert verdict.violations == []
        assert (verdict.expected, verdict.fires) == (5, 3)
        assert dict(verdict.shifts) == {"skipped": 1, "moved": 1, "restored": 1}

    def test_a_skipped_one_that_ran_is_seen_in_the_ledger_and_at_the_target(self, shifted: Evidence):
        said = judge(with_run(shifted, "one", 1, 1, 1.1)).broken_promises
        assert [each.partition("was skipped, ")[2] for each in said] == [
            "and was fired at its old time",
            "was not to run, and was called",
        ]

    def test_a_moved_one_that_ran_at_both_of_its_times_is_seen(self, shifted: Evidence):
        said = judge(with_run(shifted, "two", 2, 2, 2.1)).broken_promises
        assert any("fired at its old time" in each for each in said)
        assert any("2 executions of it were called" in each for each in said)

    def test_a_moved_one_that_ran_at_its_old_time_only_is_seen(self, shifted: Evidence):
        old = with_run(without(shifted, "moved"), "two", 2, 2, 2.1)
        verdict = judge(old)
        assert any("was called at another time" in each for each in verdict.broken_promises)
        assert verdict.lost == ["uid.0 at 2026-01-01T00:00:04.500000+00:00"]

    def test_a_moved_one_that_never_ran_is_seen_twice(self, shifted: Evidence):
        verdict = judge(without(shifted, "moved"))
        assert verdict.lost == ["uid.0 at 2026-01-01T00:00:04.500000+00:00"]
        assert any("0 executions of it were called" in each for each in verdict.broken_promises)

    def test_a_moved_one_that_was_called_too_early_is_seen(self, shifted: Evidence):
        early = replace(shifted, calls=[*shifted.calls[:2], call("moved", 2, 4.2)])
        assert any("was called at another time" in each for each in judge(early).broken_promises)

    def test_a_moved_one_that_its_target_knows_by_another_nominal_time_is_seen(self, shifted: Evidence):
        renamed = replace(shifted, calls=[*shifted.calls[:2], call("moved", 4.5, 4.6)])
        assert any("0 executions of it were called" in each for each in judge(renamed).broken_promises)

    def test_an_earlier_new_time_that_was_moved_again_must_not_be_decided(self, shifted: Evidence):
        both = with_run(shifted, "early", 1.5, 2, 1.6)
        verdict = judge(both)
        assert len(verdict.twice) == 1
        assert any("2 executions of it were called" in each for each in verdict.broken_promises)

    def test_a_restored_one_that_did_not_run_is_seen(self, shifted: Evidence):
        left_out = without(shifted, "three")
        left_out = replace(left_out, rows=[*left_out.rows, row("three", 3, left_out=True)])
        assert any("was restored, and was to run once" in each for each in judge(left_out).broken_promises)

    def test_one_whose_new_time_came_while_its_job_was_paused_must_not_run(self, shifted: Evidence):
        later = replace(shifted, shifts=[*shifted.shifts, Shift("job", at(2), "moved", at(4.9))])
        assert judge(without(later, "moved")).violations == []
        assert any("was not to run, and was called" in each for each in judge(later).broken_promises)

    def test_a_change_of_a_job_that_is_not_there_is_seen(self, shifted: Evidence):
        unknown = replace(shifted, shifts=[*shifted.shifts, Shift("another", at(2), "skipped")])
        assert len(judge(unknown).broken_promises) == 1


def filled_row(second: int, began: float, **fields: Any) -> dict[str, Any]:
    transitions = [
        step(1, "PENDING", began - 0.1), step(2, "RUNNING", began, "w1"), step(3, "SUCCEEDED", began + 0.5, "w1"),
    ]  # fmt: skip
    common = {"_id": f"filled {second}", "job_uid": "uid", "trigger": "BACKFILL", "backfill": "fill", "run": True}
    return {
        **common, "nominal_time": at(second), "state": "SUCCEEDED", "attempt": 1, "transitions": transitions, **fields,
    }  # fmt: skip


def filling(state: str = "COMPLETED") -> Evidence:
    """A backfill of the seconds 1 to 4, two at a time, long after them."""
    seconds = {1: 100, 2: 100.1, 3: 101, 4: 101.1}
    rows = [filled_row(second, began) for second, began in seconds.items()]
    calls = [call(f"filled {second}", second, began, 0.5) for second, began in seconds.items()]
    revision = {
        "job_uid": "uid", "schedule": EVERY_SECOND, "_id": "uid.0", "epoch": 0, "mode": "DELETED", "began": T0,
        "reason": "",
    }  # fmt: skip
    fill = Fill("job", "fill", at(1), at(5), 2)
    backfills = [{"_id": "fill", "state": state}]
    jobs = [{"_id": "job", "uid": "uid"}]
    return Evidence(jobs, [revision], rows, calls, [], [], LEASE, backfills=backfills, fills=[fill])


def cancelled(second: float) -> Evidence:
    """The same, cancelled at that time: what it has not begun by then it must not begin."""
    good = filling("CANCELLED")
    return replace(good, fills=[replace(good.fills[0], cancelled_at=at(second).timestamp())])


class TestFills:
    def test_a_backfill_that_ran_each_of_its_times_once_is_good(self):
        verdict = judge(filling())
        assert verdict.violations == []
        assert (dict(verdict.fills), verdict.filled) == ({"COMPLETED": 1}, 4)

    def test_a_time_that_did_not_run_is_lost(self):
        assert judge(without(filling(), "filled 3")).lost == [f"the backfill fill: {at(3)} was not run"]

    def test_a_time_that_is_there_twice_or_should_not_be_is_seen(self):
        good = filling()
        again = replace(good, rows=[*good.rows, filled_row(3, 103, _id="again")])
        assert judge(again).twice == [f"the backfill fill: {at(3)} is there 2 times"]
        beyond = replace(good, rows=[*good.rows, filled_row(5, 103)])
        assert judge(beyond).twice == [f"the backfill fill: has {at(5)}, and should not"]

    def test_another_nominal_time_than_its_own_is_illegal(self):
        good = filling()
        calls = [*good.calls[:3], call("filled 4", 3, 101.1)]
        assert judge(replace(good, calls=calls)).illegal == ["filled 4: its target was told another nominal time"]

    def test_more_at_a_time_than_may_are_seen(self):
        good = filling()
        calls = [call("filled 1", 1, 100, 1.05), call("filled 2", 2, 100.1, 1.05), *good.calls[2:]]
        (said,) = judge(replace(good, calls=calls)).overlaps[:1]
        assert said.startswith("filled 1 and filled 2 and filled 3 at ")

    def test_a_cancelled_one_may_end_what_ran_and_begin_nothing(self):
        good = cancelled(100.3)
        assert judge(without(without(good, "filled 3"), "filled 4")).violations == []
        assert judge(good).broken_promises == [
            "filled 3: began after its backfill was cancelled",
            "filled 4: began after its backfill was cancelled",
        ]

    def test_another_attempt_of_what_ran_when_it_was_cancelled_is_seen(self):
        good = without(without(cancelled(100.3), "filled 3"), "filled 4")
        steps = [
            step(1, "PENDING", 99), step(2, "RUNNING", 100, "w1"), step(3, "PENDING", 100.5, "w1"),
            step(4, "RUNNING", 101, "w1"), step(5, "SUCCEEDED", 101.5, "w1"),
        ]  # fmt: skip
        assert judge(doctored(good, "filled 1", attempt=2, transitions=steps)).broken_promises == [
            "filled 1: began after its backfill was cancelled"
        ]

    def test_a_state_that_clients_were_not_told_of_is_seen(self):
        assert judge(filling("CANCELLED")).broken_promises == ["the backfill fill is CANCELLED, not COMPLETED"]
        good = filling()
        assert judge(replace(good, backfills=[], rows=[], calls=[])).broken_promises == [
            "the backfill fill is not there"
        ]

    def test_one_that_a_repeated_request_made_once_more_is_seen(self):
        good = filling()
        both = replace(good, backfills=[*good.backfills, {"_id": "again", "state": "COMPLETED"}])
        assert judge(both).twice == ["the backfill again: no client was told of it"]
