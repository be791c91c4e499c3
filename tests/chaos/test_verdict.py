"""The verdict can fail: each way to doctor a good ledger, or a target's record, is reported, and named."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.faults import Action, Fault
from tests.chaos.load import Acknowledged
from tests.chaos.striker import ALL_WORKERS, Struck
from tests.chaos.verdict import Evidence, TargetCall, judge

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = 5.0
EVERY_SECOND = {
    "type": "interval", "config": {"seconds": "1"}, "timezone": "UTC", "start_time": None, "end_time": None,
    "anchor": T0,
}  # fmt: skip
TAKEN = "fired at 2"
"""The row whose first attempt was taken from a worker that had been killed."""


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def step(number: int, state: str, seconds: float, by: str = "beat") -> dict[str, Any]:
    return {"number": number, "state": state, "at": at(seconds), "by": by, "reason": ""}


def fired(second: int, *steps: tuple[str, float, str]) -> dict[str, Any]:
    path = [("PENDING", second, "beat"), ("QUEUED", second, "beat"), *steps]
    return {
        "_id": f"fired at {second}", "job_uid": "uid", "epoch": 0, "trigger": "SCHEDULE", "nominal_time": at(second),
        "last": at(second), "count": 1, "run": True, "state": path[-1][0],
        "attempt": sum(state == "RUNNING" for state, _, _ in path),
        "transitions": [step(number, *each) for number, each in enumerate(path, start=1)],
    }  # fmt: skip


@pytest.fixture
def good() -> Evidence:
    """Five seconds of a job that fires every second: two fires, a gap of two, a fire; then it was paused."""
    gap = {
        "_id": "gap", "job_uid": "uid", "epoch": 0, "trigger": "SCHEDULE", "nominal_time": at(3), "last": at(4),
        "count": 2, "run": False, "state": "SKIPPED", "transitions": [step(1, "SKIPPED", 4)],
    }  # fmt: skip
    closing = {
        "_id": "closing", "job_uid": "uid", "epoch": 0, "trigger": "SCHEDULE", "nominal_time": at(6), "last": at(5.5),
        "count": 0, "state": "CLOSED",
    }  # fmt: skip
    lost = (("RUNNING", 2.1, "w1"), ("PENDING", 9.1, "beat"), ("RUNNING", 9.2, "w2"), ("SUCCEEDED", 9.4, "w2"))
    rows = [
        fired(1, ("RUNNING", 1.1, "w1"), ("SUCCEEDED", 1.2, "w1")),
        fired(2, *lost),
        gap,
        fired(5, ("RUNNING", 9.6, "w2"), ("SUCCEEDED", 9.7, "w2")),
        closing,
    ]
    epoch = {"job_uid": "uid", "schedule": EVERY_SECOND}
    revisions = [
        {**epoch, "_id": "uid.0", "epoch": 0, "mode": "ACTIVE", "began": T0, "reason": "created"},
        {**epoch, "_id": "uid.1", "epoch": 1, "mode": "PAUSED", "began": at(5.5), "reason": "paused 1"},
    ]
    calls = [call(1, 1, 1.1, 1.2), call(2, 1, 2.1, 4.0), call(2, 2, 9.3, 9.4), call(5, 1, 9.6, 9.7)]
    promises = [Acknowledged("created", "job"), Acknowledged("paused", "job", "paused 1")]
    return Evidence([{"_id": "job", "uid": "uid"}], revisions, rows, calls, [killed("w1", 4.0)], promises, LEASE)


def call(second: int, attempt: int, began: float, ended: float) -> TargetCall:
    return TargetCall(f"fired at {second}", attempt, at(began).timestamp(), at(ended).timestamp())


def killed(worker: str, second: float) -> Struck:
    moment = at(second).timestamp()
    return Struck(Fault(Action.KILL, ("worker-1",), 1.0), moment, moment + 2, moment + 1, frozenset({worker}))


def stopped(worker: str, began: float, ended: float) -> Struck:
    fault = Fault(Action.STOP, ("worker-1",), ended - began)
    end = at(ended).timestamp()
    return Struck(fault, at(began).timestamp(), end, end, frozenset({worker}))


def doctored(good: Evidence, row: str, **fields: Any) -> Evidence:
    """The evidence with other fields in one row; without the row when there are none."""
    kept = [each for each in good.rows if fields or each["_id"] != row]
    return replace(good, rows=[{**each, **fields} if each["_id"] == row else each for each in kept])


def test_a_good_ledger_has_no_violation_and_its_lost_worker_is_matched_with_the_kill(good: Evidence):
    verdict = judge(good)
    assert verdict.violations == []
    assert dict(verdict.decisions) == {"fired": 3, "SKIPPED": 2}
    assert (verdict.expected, verdict.fires, verdict.calls) == (5, 3, 4)
    (case,) = verdict.cases
    assert (case.execution_id, case.attempt, case.worker, case.overlap) == (TAKEN, 1, "w1", 0)
    assert case.struck.fault.action is Action.KILL


@pytest.mark.parametrize(("row", "lost"), [("fired at 1", 1), ("gap", 2), ("fired at 5", 1)])
def test_a_removed_row_is_lost(good: Evidence, row: str, lost: int):
    assert len(judge(doctored(good, row)).lost) == lost


def test_a_gap_that_is_too_short_loses_an_occurrence(good: Evidence):
    assert judge(doctored(good, "gap", last=at(3), count=1)).lost == ["uid.0 at 2026-01-01T00:00:04+00:00"]


def test_a_gap_that_counts_wrongly_is_illegal(good: Evidence):
    assert judge(doctored(good, "gap", count=3)).illegal == ["gap: counts 3 occurrences, not 2"]


def test_a_second_decision_on_an_occurrence_is_seen(good: Evidence):
    again = {**fired(5, ("RUNNING", 9.6, "w2"), ("SUCCEEDED", 9.7, "w2")), "_id": "again"}
    verdict = judge(replace(good, rows=[*good.rows, again]))
    assert [each.partition(":")[0] for each in verdict.twice] == ["again"]


def test_a_gap_that_reaches_over_a_fired_occurrence_is_a_second_decision(good: Evidence):
    verdict = judge(doctored(good, "gap", last=at(5), count=3))
    assert [each.partition(":")[0] for each in verdict.twice] == ["fired at 5"]


def test_a_row_at_an_instant_that_the_schedule_does_not_name_is_seen(good: Evidence):
    verdict = judge(doctored(good, "fired at 1", nominal_time=at(1.5), last=at(1.5)))
    assert verdict.lost == ["uid.0 at 2026-01-01T00:00:01+00:00"]
    assert len(verdict.twice) == 1


def test_an_epoch_without_its_closing_row_is_illegal(good: Evidence):
    assert len(judge(doctored(good, "closing")).illegal) == 1


def test_a_history_with_a_hole_is_illegal(good: Evidence):
    assert judge(replace(good, revisions=good.revisions[1:])).illegal


def test_a_fire_while_paused_is_illegal(good: Evidence):
    revisions = [{**each, "mode": "PAUSED"} for each in good.revisions]
    assert len(judge(replace(good, revisions=revisions)).illegal) == 3


@pytest.mark.parametrize(
    "path",
    [
        ["PENDING", "SUCCEEDED"],
        ["PENDING", "RUNNING", "SUCCEEDED", "RUNNING", "SUCCEEDED"],
        ["RUNNING", "SUCCEEDED"],
        ["PENDING", "RUNNING", "SUCCEEDED", "FAILED"],
    ],
)
def test_an_illegal_path_is_seen(good: Evidence, path: list[str]):
    steps = [step(number, state, 1 + number / 10) for number, state in enumerate(path, start=1)]
    verdict = judge(doctored(good, "fired at 1", transitions=steps, state=path[-1], attempt=path.count("RUNNING")))
    assert any("fired at 1" in each for each in verdict.illegal)


def test_a_removed_transition_is_seen(good: Evidence):
    (row,) = (each for each in good.rows if each["_id"] == "fired at 1")
    assert judge(doctored(good, "fired at 1", transitions=[*row["transitions"][:1], *row["transitions"][2:]])).illegal


def test_an_execution_that_never_ended_is_lost(good: Evidence):
    (row,) = (each for each in good.rows if each["_id"] == "fired at 1")
    verdict = judge(doctored(good, "fired at 1", state="RUNNING", transitions=row["transitions"][:-1]))
    assert verdict.lost == ["fired at 1 never ended: it is RUNNING"]


def test_a_success_that_the_target_knows_nothing_of_is_lost(good: Evidence):
    assert judge(replace(good, calls=good.calls[1:])).lost == ["fired at 1 succeeded without a call"]


def test_a_second_call_of_an_attempt_is_seen(good: Evidence):
    verdict = judge(replace(good, calls=[*good.calls, call(1, 1, 1.3, 1.4)]))
    assert verdict.calls_beyond == ["fired at 1: 2 calls of attempt 1 of 1"]


def test_a_call_of_an_attempt_that_the_ledger_does_not_have_is_seen(good: Evidence):
    verdict = judge(replace(good, calls=[*good.calls, call(1, 2, 1.3, 1.4)]))
    assert verdict.calls_beyond == ["fired at 1: 1 calls of attempt 2 of 1"]


def test_a_call_of_something_that_is_no_execution_is_seen(good: Evidence):
    assert len(judge(replace(good, calls=[*good.calls, call(7, 1, 7.0, 7.1)])).calls_beyond) == 1


def test_an_execution_in_two_places_is_matched_with_the_stop_of_its_worker(good: Evidence):
    calls = [good.calls[0], call(2, 1, 2.1, 9.9), *good.calls[2:]]
    verdict = judge(replace(good, calls=calls, struck=[stopped("w1", 3.0, 9.8)]))
    assert verdict.violations == []
    (case,) = verdict.overlapping
    assert case.overlap == pytest.approx(0.1, abs=0.001)
    assert case.struck.fault.action is Action.STOP


@pytest.mark.parametrize(
    "struck",
    [
        pytest.param([], id="no fault"),
        pytest.param([killed("w2", 4.0)], id="another worker"),
        pytest.param([killed("w1", 9.5)], id="after it was taken"),
        pytest.param([stopped("w1", 3.0, 5.0)], id="shorter than the lease"),
        pytest.param([stopped("w1", -9.0, 2.0)], id="over before the attempt"),
        pytest.param([stopped("w1", 2.1, 3.0), stopped("w1", 8.0, 9.1)], id="two stops, and time to renew between"),
        pytest.param([stopped("w1", 2.1, 6.4)], id="long over when it was taken"),
    ],
)
def test_an_attempt_taken_without_a_fault_that_explains_it_is_a_violation(good: Evidence, struck: list[Struck]):
    verdict = judge(replace(good, struck=struck))
    assert len(verdict.unmatched) == 1
    assert TAKEN in verdict.unmatched[0]


def test_two_executions_of_a_job_at_a_time_are_seen_unless_its_policy_allows_them(good: Evidence):
    calls = [call(1, 1, 1.1, 2.2), *good.calls[1:]]
    both = replace(good, calls=calls)
    assert judge(both).overlaps == ["fired at 1 and fired at 2 at 00:00:02.100"]
    jobs = [{**good.jobs[0], "policies": {"overlap": "ALLOW", "max_concurrent": 2}}]
    assert judge(replace(both, jobs=jobs)).violations == []


def test_a_cancelled_execution_may_be_answered_by_the_attempt_that_ran(good: Evidence):
    promise = Acknowledged("cancelled", "job", "fired at 1", attempt=1)
    assert judge(replace(good, acknowledged=[*good.acknowledged, promise])).violations == []


def test_another_try_after_a_lost_worker_is_illegal_where_the_policy_forbids_it(good: Evidence):
    verdict = judge(doctored(good, TAKEN, policies={"on_worker_lost": "FAIL"}))
    assert verdict.illegal == [f"{TAKEN}: tried again after its worker was lost, against its policy"]


def test_an_outage_of_the_store_silences_every_worker(good: Evidence):
    outage = replace(stopped("w1", 3.0, 8.0), silenced=frozenset({ALL_WORKERS}))
    assert judge(replace(good, struck=[outage])).violations == []


@pytest.mark.parametrize(
    "promise",
    [
        Acknowledged("created", "another"),
        Acknowledged("paused", "job", "paused 2"),
        Acknowledged("executed", "job", "an execution"),
        Acknowledged("rescheduled", "job"),
        Acknowledged("cancelled", "job", "fired at 1"),
        Acknowledged("cancelled", "job", TAKEN, attempt=1),
    ],
)
def test_a_promise_to_a_client_that_the_store_does_not_have_is_seen(good: Evidence, promise: Acknowledged):
    assert len(judge(replace(good, acknowledged=[*good.acknowledged, promise])).broken_promises) == 1


ITEMS = {
    "kind": "FAN_OUT",
    "spec": json.dumps(
        {"items": [{}] * 3, "max_parallel": 1, "failure_policy": "ALL", "min_succeeded": 0, "min_share": 0}
    ),
}
_A_THEN_B = [{"name": "a", "after": [], "requires": "SUCCESS"}, {"name": "b", "after": ["a"], "requires": "SUCCESS"}]
STEPS = {"kind": "WORKFLOW", "spec": json.dumps({"steps": _A_THEN_B})}


def whole(flow: dict[str, Any], **states: str) -> list[dict[str, Any]]:
    """An execution with these parts, one after the other, that ended as they say; and they, the last of all."""
    steps = [("RUNNING", 20.0, "w1"), ("WAITING", 20.1, "w1"), ("SUCCEEDED", 29.0, "beat")]
    names = [name.removeprefix("n") for name in states]
    parent = {
        **fired(20, *steps), "_id": "whole", "trigger": "MANUAL", "flow": flow, "total": len(names), "carried": {},
        "parts": dict(Counter(states.values())), "finished_at": at(29),
    }  # fmt: skip
    return [
        parent,
        *(
            part(name, 21 + number, state)
            for number, (name, state) in enumerate(zip(names, states.values(), strict=True))
        ),
    ]


def part(name: str, second: int, state: str) -> dict[str, Any]:
    path = [("RUNNING", second + 0.1, "w1"), (state, second + 0.2, "w1")]
    row = {**fired(second, *path), "part_name": name, "parent": "whole", "trigger": "PART", "part": True}
    del row["run"]
    return {**row, "decided_at": at(second), "finished_at": at(second + 0.2)}


def with_whole(good: Evidence, rows: list[dict[str, Any]]) -> Evidence:
    """The evidence with an execution that has parts, each of which was called."""
    calls = [
        call(int(row["_id"].split()[-1]), 1, (second := int(row["_id"].split()[-1])) + 0.1, second + 0.2)
        for row in rows[1:]
    ]
    return replace(good, rows=[*good.rows, *rows], calls=[*good.calls, *calls])


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(whole(ITEMS, n0="SUCCEEDED", n1="SUCCEEDED", n2="SUCCEEDED"), id="fan-out"),
        pytest.param(whole(STEPS, a="SUCCEEDED", b="SUCCEEDED"), id="workflow"),
    ],
)
def test_what_has_all_its_parts_and_ended_with_them_is_good(good: Evidence, rows: list[dict[str, Any]]):
    verdict = judge(with_whole(good, rows))
    assert verdict.violations == []
    assert (verdict.wholes, verdict.parts) == (1, len(rows) - 1)


def test_a_part_that_is_not_there_or_there_twice_is_seen(good: Evidence):
    rows = whole(ITEMS, n0="SUCCEEDED", n1="SUCCEEDED", n2="SUCCEEDED")
    assert judge(with_whole(good, rows[:-1])).lost == ["whole: its part 2 is not there"]
    again = with_whole(good, [*rows, part("1", 26, "SUCCEEDED")])
    assert "whole: its part 1 is there 2 times" in judge(again).twice
    assert judge(with_whole(good, [*rows, part("7", 26, "SUCCEEDED")])).twice == [
        "whole: has the part 7, and should not"
    ]
    assert judge(replace(good, rows=[*good.rows, part("7", 26, "FAILED")])).twice == [
        "whole: has 1 parts, and none to have"
    ]


def test_one_that_was_stopped_before_it_waited_has_no_parts(good: Evidence):
    parent, *_ = whole(STEPS, a="SUCCEEDED", b="SUCCEEDED")
    steps = [step(1, "PENDING", 20), step(2, "RUNNING", 20.1, "w1"), step(3, "CANCELLED", 20.2, "w1")]
    stopped = {**parent, "state": "CANCELLED", "transitions": steps, "cancel": {"by": "anna"}}
    del stopped["parts"]
    assert judge(with_whole(good, [stopped])).violations == []


def test_counts_and_an_end_that_the_parts_do_not_say_are_seen(good: Evidence):
    parent, *parts = whole(ITEMS, n0="SUCCEEDED", n1="FAILED", n2="SUCCEEDED")
    said = judge(with_whole(good, [parent, *parts])).illegal
    assert said == ["whole: is SUCCEEDED, and its parts say FAILED: {'SUCCEEDED': 2, 'FAILED': 1}"]
    said = judge(with_whole(good, [{**parent, "parts": {"SUCCEEDED": 3}}, *parts])).illegal
    assert said[0] == "whole: counts {'SUCCEEDED': 3}, and its parts are {'SUCCEEDED': 2, 'FAILED': 1}"


def test_a_part_that_ends_after_its_whole_and_a_step_out_of_its_order_are_seen(good: Evidence):
    parent, a, b = whole(STEPS, a="SUCCEEDED", b="SUCCEEDED")
    early = judge(with_whole(good, [{**parent, "finished_at": at(22)}, a, b])).illegal
    assert early == ["fired at 22: ended after what it is a part of"]
    too_soon = judge(with_whole(good, [parent, a, {**b, "decided_at": at(21)}])).illegal
    assert too_soon == ["fired at 22: decided before fired at 21 had ended"]
    failed = {**part("a", 21, "FAILED")}
    said = judge(
        with_whole(good, [{**parent, "state": "FAILED", "parts": {"FAILED": 1, "SUCCEEDED": 1}}, failed, b])
    ).illegal
    assert "fired at 22: is SUCCEEDED, though a step before it has not succeeded" in said


def test_more_items_at_a_time_than_may_are_seen(good: Evidence):
    evidence = with_whole(good, whole(ITEMS, n0="SUCCEEDED", n1="SUCCEEDED", n2="SUCCEEDED"))
    calls = [call(21, 1, 21.1, 22.15) if each.execution_id == "fired at 21" else each for each in evidence.calls]
    assert judge(replace(evidence, calls=calls)).overlaps == ["fired at 21 and fired at 22 at 00:00:22.100"]


def test_a_call_of_what_has_parts_is_beyond(good: Evidence):
    evidence = with_whole(good, whole(STEPS, a="SUCCEEDED", b="SUCCEEDED"))
    called = TargetCall("whole", 1, at(20.0).timestamp(), at(20.1).timestamp())
    assert judge(replace(evidence, calls=[*evidence.calls, called])).calls_beyond == ["whole: called, and it has parts"]
