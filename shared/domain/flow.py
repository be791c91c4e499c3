"""Executions that have parts: a fan-out over the items of a list, a workflow of steps; and what follows from the parts.

Pure: what to start next, and how the whole ends, follow from the states of the parts alone, so that any number of
beats, with snapshots of any age, come to decisions that do not contradict each other.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from shared.domain.errors import InvalidInput, Violation
from shared.domain.execution import OPEN, State
from shared.domain.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from shared.domain.retry import RetryPolicy

MOST_ITEMS: Final = 10_000
"""Of a fan-out; each is an execution."""
LARGEST_ITEMS: Final = 4 * 1024 * 1024
"""Bytes of JSON of what is made of all items, kept on the parent until its parts are there."""
MOST_STEPS: Final = 50
STEP_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
LONGEST_EXPRESSION: Final = 1_000
LONGEST_KEY: Final = 200
"""Characters of an item's key; a longer one is cut."""


class FailurePolicy(StrEnum):
    """How many of a fan-out's items have to succeed for the whole to succeed."""

    ALL = "ALL"
    AT_LEAST = "AT_LEAST"
    SHARE = "SHARE"
    IGNORE = "IGNORE"


class Requires(StrEnum):
    """What a step asks of those that it comes after."""

    SUCCESS = "SUCCESS"
    END = "END"


@dataclass(frozen=True, slots=True)
class Source:
    """What is called, when a fan-out begins, for its items. path: JMESPath to the list; empty: the answer is it."""

    target_service: str
    target_method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class FanOut:
    """One execution for each item of a list. Raises InvalidInput when it can't be right.

    The list is given (items), fetched (source), or, in a step, taken from what an earlier one answered (items_from, an
    expression). max_parallel: how many run at a time; 0 is no limit. key: an expression for what an item is known by.
    min_succeeded is AT_LEAST's, min_share (0 to 1) SHARE's.
    """

    items: tuple[object, ...] | None = None
    source: Source | None = None
    items_from: str = ""
    max_parallel: int = 0
    failure_policy: FailurePolicy = FailurePolicy.ALL
    min_succeeded: int = 0
    min_share: float = 0.0
    key: str = ""

    def __post_init__(self) -> None:
        if violations := list(self._violations()):
            raise InvalidInput(violations)

    def _violations(self) -> Iterable[Violation]:
        given = [
            name
            for name, value in (("items", self.items), ("source", self.source), ("items_from", self.items_from or None))
            if value is not None
        ]
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "nothing says what the items are"
            yield Violation("fan_out", f"{said}; give one of items, source and, in a step, items_from")
        if self.items is not None and len(self.items) > MOST_ITEMS:
            yield Violation("fan_out.items", f"{len(self.items):,} items are too many (at most {MOST_ITEMS:,})")
        if self.source is not None and not self.source.target_service:
            yield Violation("fan_out.source.target_service", "a target is required, as customers-service")
        if self.source is not None and not self.source.target_method:
            yield Violation("fan_out.source.target_method", "a method is required, as ListCustomers")
        if not 0 <= self.max_parallel <= MOST_ITEMS:
            said = f"{self.max_parallel} is not a number of executions (0-{MOST_ITEMS:,}; 0 means no limit)"
            yield Violation("fan_out.max_parallel", said)
        if self.failure_policy is FailurePolicy.AT_LEAST:
            if not 0 < self.min_succeeded <= MOST_ITEMS:
                said = f"{self.min_succeeded} is not a number of items (1-{MOST_ITEMS:,}), as AT_LEAST needs it"
                yield Violation("fan_out.min_succeeded", said)
            elif self.items is not None and len(self.items) < self.min_succeeded:
                said = f"of {len(self.items):,} items {self.min_succeeded:,} can't succeed"
                yield Violation("fan_out.min_succeeded", said)
        if self.failure_policy is FailurePolicy.SHARE and not 0 < self.min_share <= 1:
            said = f"{self.min_share:g} is not a share (more than 0, at most 1), as SHARE needs it"
            yield Violation("fan_out.min_share", said)

    def suffices(self, succeeded: int, total: int) -> bool:
        """Return whether the whole has succeeded, with so many of its items."""
        match self.failure_policy:
            case FailurePolicy.ALL:
                return succeeded == total
            case FailurePolicy.AT_LEAST:
                return succeeded >= self.min_succeeded
            case FailurePolicy.SHARE:
                # Divided, since both sides are then the doubles next to what was meant: 0.07 * 100 is more than 7.
                return total == 0 or succeeded / total >= self.min_share
            case FailurePolicy.IGNORE:
                return True

    def asked(self, total: int) -> str:
        """Return, for people, how many were to succeed."""
        match self.failure_policy:
            case FailurePolicy.AT_LEAST:
                return f"at least {self.min_succeeded:,}"
            case FailurePolicy.SHARE:
                return f"{self.min_share:.0%} of {total:,}"
            case _:
                return "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a workflow: an execution of its own. What is None is taken from the job.

    when: a JMESPath condition, asked once the steps that it comes after have ended.
    """

    name: str
    target_service: str
    target_method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    requires: Requires = Requires.SUCCESS
    when: str = ""
    fan_out: FanOut | None = None
    queue: str = ""
    priority: int | None = None
    timeout: timedelta | None = None
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """Steps and what comes after what. Raises InvalidInput with all that can't be right, cycles among it."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if violations := list(self._violations()):
            raise InvalidInput(violations)

    def _violations(self) -> Iterable[Violation]:
        if not self.steps:
            yield Violation("workflow.steps", "a workflow needs at least one step")
        if len(self.steps) > MOST_STEPS:
            yield Violation("workflow.steps", f"{len(self.steps):,} steps are too many (at most {MOST_STEPS})")
            return
        names = Counter(step.name for step in self.steps)
        for number, step in enumerate(self.steps):
            where = f"workflow.steps[{number}]"
            if not STEP_NAME.fullmatch(step.name):
                said = f"{excerpt(step.name)!r} is not a name (a-z, 0-9 and _, a letter in front, at most 40)"
                yield Violation(f"{where}.name", said)
            elif names[step.name] > 1:
                yield Violation(f"{where}.name", f"'{step.name}' is the name of {names[step.name]} steps")
            for other in step.after:
                if other not in names:
                    known = ", ".join(sorted(names))
                    yield Violation(f"{where}.after", f"'{excerpt(other)}' is not a step (there are {known})")
        try:
            TopologicalSorter({step.name: step.after for step in self.steps}).prepare()
        except CycleError as cycle:
            yield Violation("workflow.steps", f"they wait for each other in a circle: {' after '.join(cycle.args[1])}")

    def step(self, name: str) -> Step:
        """Return a step by its name."""
        return next(step for step in self.steps if step.name == name)

    def before(self, name: str) -> frozenset[str]:
        """Return all steps that a step comes after, directly or through others: what its expressions may name."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            new = set(self.step(waiting.pop()).after) - found
            found |= new
            waiting += new
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Next:
    """A step whose turn it is: it starts, or, with a reason, is skipped."""

    step: Step
    skipped: str = ""


def next_steps(workflow: Workflow, states: Mapping[str, State], *, stopped: str = "") -> list[Next]:
    """Return the steps whose turn it is, of which there is no row yet; conditions (`when`) are the caller's to ask.

    states: of the steps that have a row. stopped: why nothing more starts; then all others are skipped with that, so
    that each has its row, and nobody with an old snapshot can start it any more.
    """
    if stopped:
        return [Next(step, skipped=stopped) for step in workflow.steps if step.name not in states]
    found = []
    for step in workflow.steps:
        if step.name in states or any(states.get(name, State.PENDING) in OPEN for name in step.after):
            continue
        missed = [name for name in step.after if states[name] is not State.SUCCEEDED]
        if missed and step.requires is Requires.SUCCESS:
            said = ", ".join(f"the step {name} is {states[name]}" for name in missed)
            found.append(Next(step, skipped=said))
        else:
            found.append(Next(step))
    return found


@dataclass(frozen=True, slots=True)
class Ending:
    """How a whole ends whose parts have all ended: SUCCEEDED, FAILED (reason says why) or CANCELLED."""

    state: State
    reason: str = ""


def workflow_ending(workflow: Workflow, states: Mapping[str, State], *, stopped: bool) -> Ending | None:
    """Return how a workflow ends; None while it goes on.

    It has failed when a step has, also when a later one looked after it; a step that was cancelled for itself fails it
    as well, since its work was not done.
    """
    if len(states) < len(workflow.steps) or any(state in OPEN for state in states.values()):
        return None
    if stopped:
        return Ending(State.CANCELLED)
    bad = [step.name for step in workflow.steps if states[step.name] in {State.FAILED, State.CANCELLED}]
    if bad:
        said = ", ".join(f"the step {name} is {states[name]}" for name in bad)
        return Ending(State.FAILED, said)
    return Ending(State.SUCCEEDED)


def fan_out_ending(fan_out: FanOut, counts: Mapping[State, int], total: int, *, stopped: bool) -> Ending | None:
    """Return how a fan-out ends, from the number of its parts in each state; None while it goes on."""
    if sum(counts.values()) < total or any(count for state, count in counts.items() if state in OPEN):
        return None
    if stopped:
        return Ending(State.CANCELLED)
    succeeded = counts.get(State.SUCCEEDED, 0)
    if fan_out.suffices(succeeded, total):
        return Ending(State.SUCCEEDED)
    said = f"{succeeded:,} of {total:,} items succeeded, and {fan_out.asked(total)} had to"
    return Ending(State.FAILED, said)


def undisturbed_steps(workflow: Workflow, states: Mapping[str, State]) -> frozenset[str]:
    """Return the steps before which no other has failed or was cancelled: what they did stands when those run again.

    The others run again as well, also those that have succeeded: they have looked at what is done anew.
    """
    again = {name for name, state in states.items() if state in {State.FAILED, State.CANCELLED}}
    return frozenset(step.name for step in workflow.steps if not workflow.before(step.name) & again)


Flow = FanOut | Workflow
