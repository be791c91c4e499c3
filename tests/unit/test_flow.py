"""Fan-outs and workflows, the pure part: what starts next, how the whole ends, and what can't be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.domain.execution import OPEN, State
from shared.domain.flow import (
    MOST_ITEMS,
    MOST_STEPS,
    FailurePolicy,
    FanOut,
    Requires,
    Source,
    Step,
    Workflow,
    fan_out_ending,
    next_steps,
    undisturbed_steps,
    workflow_ending,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIST = Source("customers-service", "ListCustomers")
ENDS = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


def step(name: str, *after: str, requires: Requires = Requires.SUCCESS) -> Step:
    return Step(name=name, target_service="recorder", target_method="Record", after=after, requires=requires)


def chain(*names: str) -> Workflow:
    before = [(), *((name,) for name in names)]
    return Workflow(tuple(step(name, *after) for name, after in zip(names, before, strict=False)))


def violations(make: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        make()
    found = refused.value.violations
    assert len({wrong.field for wrong in found}) == len(found)
    return {wrong.field: wrong.description for wrong in found}


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """Draw a workflow of a few steps, in any order, each of which may come after any before it."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    steps = []
    for number, name in enumerate(names):
        after = draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
        steps.append(step(name, *after, requires=draw(st.sampled_from(Requires))))
    return Workflow(tuple(draw(st.permutations(steps))))


def played(workflow: Workflow, ends: Mapping[str, State], order: Callable[[list[str]], str]) -> dict[str, State]:
    """Let a workflow go to its end: each step that runs ends as `ends` says, in an order that the caller chooses."""
    states: dict[str, State] = {}
    while True:
        while turns := next_steps(workflow, states):
            for turn in turns:
                assert turn.step.name not in states
                states[turn.step.name] = State.SKIPPED if turn.skipped else State.PENDING
        ready = [name for name, state in states.items() if state in OPEN]
        assert (workflow_ending(workflow, states, stopped=False) is None) == bool(ready)
        if not ready:
            return states
        name = order(ready)
        states[name] = ends[name]


class TestWorkflows:
    @given(workflows(), st.data())
    def test_every_step_gets_its_turn_once_and_the_ending_does_not_depend_on_the_order(
        self, workflow: Workflow, data: st.DataObject
    ) -> None:
        ends = {each.name: data.draw(st.sampled_from(ENDS)) for each in workflow.steps}
        states = played(workflow, ends, lambda ready: data.draw(st.sampled_from(ready)))
        assert states.keys() == {each.name for each in workflow.steps}
        assert states == played(workflow, ends, lambda ready: ready[0])
        failed = {State.FAILED, State.CANCELLED} & set(states.values())
        ending = workflow_ending(workflow, states, stopped=False)
        assert ending is not None
        assert ending.state is (State.FAILED if failed else State.SUCCEEDED)

    @given(workflows(), st.data())
    def test_a_step_runs_behind_all_that_it_comes_after(self, workflow: Workflow, data: st.DataObject) -> None:
        states = data.draw(
            st.dictionaries(st.sampled_from([each.name for each in workflow.steps]), st.sampled_from(State))
        )
        for turn in next_steps(workflow, states):
            assert turn.step.name not in states
            assert all(states[name] not in OPEN for name in turn.step.after)
            if not turn.skipped and turn.step.requires is Requires.SUCCESS:
                assert all(states[name] is State.SUCCEEDED for name in turn.step.after)

    @given(workflows(), st.data())
    def test_one_that_was_stopped_starts_nothing_and_ends_with_what_runs(
        self, workflow: Workflow, data: st.DataObject
    ) -> None:
        names = [each.name for each in workflow.steps]
        states = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from([State.RUNNING, *ENDS])))
        turns = next_steps(workflow, states, stopped="stopped by anna")
        assert {turn.skipped for turn in turns} <= {"stopped by anna"}
        assert [turn.step.name for turn in turns] == [name for name in names if name not in states]
        assert workflow_ending(workflow, states, stopped=True) is None or not turns
        states |= {turn.step.name: State.SKIPPED for turn in turns}
        assert (workflow_ending(workflow, states, stopped=True) is None) == (State.RUNNING in states.values())
        ended = {name: State.FAILED if state is State.RUNNING else state for name, state in states.items()}
        ending = workflow_ending(workflow, ended, stopped=True)
        assert ending is not None
        assert ending.state is State.CANCELLED

    @given(workflows(), st.data())
    def test_a_retry_runs_what_failed_and_all_behind_it_and_nothing_before(
        self, workflow: Workflow, data: st.DataObject
    ) -> None:
        ends = {each.name: data.draw(st.sampled_from(ENDS)) for each in workflow.steps}
        states = played(workflow, ends, lambda ready: ready[0])
        undisturbed = undisturbed_steps(workflow, states)
        carried = {name: State.SUCCEEDED for name in undisturbed if states[name] is State.SUCCEEDED}
        again = played_from(workflow, carried)
        failed = {name for name, state in states.items() if state in {State.FAILED, State.CANCELLED}}
        assert failed <= again
        for name in again:
            assert name in failed or workflow.before(name) & failed
        assert not again & carried.keys()

    def test_a_skipped_step_says_which_step_was_not_as_it_had_to_be(self) -> None:
        workflow = Workflow((step("a"), step("b"), step("c", "a", "b"), step("d", "c")))
        (c,) = next_steps(workflow, {"a": State.FAILED, "b": State.CANCELLED})
        assert c.skipped == "the step a is FAILED, the step b is CANCELLED"
        states = {"a": State.FAILED, "b": State.CANCELLED, "c": State.SKIPPED}
        assert [turn.skipped for turn in next_steps(workflow, states)] == ["the step c is SKIPPED"]
        ending = workflow_ending(workflow, {**states, "d": State.SKIPPED}, stopped=False)
        assert ending is not None
        assert ending.reason == "the step a is FAILED, the step b is CANCELLED"

    def test_what_its_conditions_skipped_does_not_fail_it(self) -> None:
        ending = workflow_ending(chain("a", "b"), {"a": State.SUCCEEDED, "b": State.SKIPPED}, stopped=False)
        assert ending is not None
        assert ending.state is State.SUCCEEDED

    def test_a_step_knows_all_that_it_comes_after(self) -> None:
        workflow = Workflow((step("d", "b", "c"), step("a"), step("b", "a"), step("c"), step("e")))
        assert workflow.before("d") == {"a", "b", "c"}
        assert workflow.before("e") == frozenset()

    def test_all_that_can_not_be_right_is_said_at_once(self) -> None:
        steps = (
            step("A b"),
            step("twice"),
            step("twice"),
            step("lost", "nowhere", "twice"),
            step("x", "y"),
            step("y", "x"),
        )
        with pytest.raises(InvalidInput) as refused:
            Workflow(steps)
        assert [(wrong.field, wrong.description) for wrong in refused.value.violations] == [
            ("workflow.steps[0].name", "'A b' is not a name (a-z, 0-9 and _, a letter in front, at most 40)"),
            ("workflow.steps[1].name", "'twice' is the name of 2 steps"),
            ("workflow.steps[2].name", "'twice' is the name of 2 steps"),
            ("workflow.steps[3].after", "'nowhere' is not a step (there are A b, lost, twice, x, y)"),
            ("workflow.steps", "they wait for each other in a circle: x after y after x"),
        ]

    def test_a_step_that_waits_for_itself_is_a_circle(self) -> None:
        assert violations(lambda: Workflow((step("a", "a"),))) == {
            "workflow.steps": "they wait for each other in a circle: a after a"
        }

    def test_there_is_a_step_and_there_are_not_too_many(self) -> None:
        assert violations(lambda: Workflow(())) == {"workflow.steps": "a workflow needs at least one step"}
        many = tuple(step(f"s{number}") for number in range(MOST_STEPS + 1))
        assert violations(lambda: Workflow(many)) == {"workflow.steps": "51 steps are too many (at most 50)"}
        Workflow(many[:MOST_STEPS])


def played_from(workflow: Workflow, states: Mapping[str, State]) -> set[str]:
    """Return which steps run, all well, when these have states already."""
    ran: set[str] = set()
    known = dict(states)
    while turns := next_steps(workflow, known):
        known |= {turn.step.name: State.SUCCEEDED for turn in turns}
        ran |= {turn.step.name for turn in turns}
    return ran


class TestFanOuts:
    @pytest.mark.parametrize(
        ("fields", "succeeded", "total", "suffices"),
        [
            ({}, 3, 3, True),
            ({}, 2, 3, False),
            ({}, 0, 0, True),
            ({"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2}, 2, 9, True),
            ({"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2}, 1, 9, False),
            ({"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 1}, 0, 0, False),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 0.07}, 7, 100, True),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 0.07}, 6, 100, False),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 1.0}, 0, 0, True),
            ({"failure_policy": FailurePolicy.IGNORE}, 0, 9, True),
        ],
    )
    def test_a_policy_says_how_many_have_to_succeed(
        self, fields: dict[str, Any], succeeded: int, total: int, *, suffices: bool
    ) -> None:
        assert FanOut(source=LIST, **fields).suffices(succeeded, total) is suffices

    @given(st.integers(1, MOST_ITEMS), st.integers(0, MOST_ITEMS))
    def test_a_share_that_is_reached_exactly_is_reached(self, total: int, part: int) -> None:
        share = min(part, total) / total
        if share:
            fan_out = FanOut(items=(), failure_policy=FailurePolicy.SHARE, min_share=share)
            assert fan_out.suffices(min(part, total), total)
            assert not fan_out.suffices(min(part, total) - 1, total)

    @given(
        counts=st.dictionaries(st.sampled_from([State.PENDING, State.RUNNING, *ENDS]), st.integers(0, 5)),
        stopped=st.booleans(),
    )
    @example(counts={}, stopped=True)
    def test_it_ends_exactly_when_all_items_have_ended(self, counts: dict[State, int], stopped: bool) -> None:
        fan_out = FanOut(items=())
        still_open = sum(count for state, count in counts.items() if state in OPEN)
        total = sum(counts.values())
        ending = fan_out_ending(fan_out, counts, total, stopped=stopped)
        assert (ending is None) == bool(still_open)
        assert fan_out_ending(fan_out, counts, total + 1, stopped=stopped) is None  # a row is still to come
        if ending is not None:
            all_well = counts.get(State.SUCCEEDED, 0) == total
            assert ending.state is (State.CANCELLED if stopped else State.SUCCEEDED if all_well else State.FAILED)

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({}, "1 of 3 items succeeded, and all had to"),
            (
                {"failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2},
                "1 of 3 items succeeded, and at least 2 had to",
            ),
            ({"failure_policy": FailurePolicy.SHARE, "min_share": 0.5}, "1 of 3 items succeeded, and 50% of 3 had to"),
        ],
    )
    def test_one_that_fails_says_how_many_succeeded_and_had_to(self, fields: dict[str, Any], said: str) -> None:
        ending = fan_out_ending(FanOut(source=LIST, **fields), {State.SUCCEEDED: 1, State.FAILED: 2}, 3, stopped=False)
        assert ending is not None
        assert (ending.state, ending.reason) == (State.FAILED, said)

    def test_all_that_can_not_be_right_is_said_at_once(self) -> None:
        said = violations(
            lambda: FanOut(
                items=({},) * (MOST_ITEMS + 1),
                source=Source("", ""),
                items_from="${steps.a.result}",
                max_parallel=-1,
                failure_policy=FailurePolicy.SHARE,
                min_share=1.5,
            )
        )
        assert said == {
            "fan_out": (
                "items and source and items_from are given; give one of items, source and, in a step, items_from"
            ),
            "fan_out.items": "10,001 items are too many (at most 10,000)",
            "fan_out.source.target_service": "a target is required, as customers-service",
            "fan_out.source.target_method": "a method is required, as ListCustomers",
            "fan_out.max_parallel": "-1 is not a number of executions (0-10,000; 0 means no limit)",
            "fan_out.min_share": "1.5 is not a share (more than 0, at most 1), as SHARE needs it",
        }

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({}, {"fan_out": "nothing says what the items are; give one of items, source and, in a step, items_from"}),
            (
                {"items": ({},), "failure_policy": FailurePolicy.AT_LEAST},
                {"fan_out.min_succeeded": "0 is not a number of items (1-10,000), as AT_LEAST needs it"},
            ),
            (
                {"items": ({},), "failure_policy": FailurePolicy.AT_LEAST, "min_succeeded": 2},
                {"fan_out.min_succeeded": "of 1 items 2 can't succeed"},
            ),
        ],
    )
    def test_what_is_missing_or_can_not_come_true_is_refused(
        self, fields: dict[str, Any], said: dict[str, str]
    ) -> None:
        assert violations(lambda: FanOut(**fields)) == said

    def test_what_another_policy_needs_is_not_looked_at(self) -> None:
        FanOut(items=({},), min_succeeded=9, min_share=2.0)
