"""Go through every state that a model can reach: none may be wrong, and from none may the end be out of reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

S = TypeVar("S", bound="Hashable")


class Step(NamedTuple, Generic[S]):
    """Something that may happen. fault: it need not, so nothing may depend on it, as a crash or a lost message."""

    what: str
    after: S
    fault: bool = False


class Model(Protocol[S]):
    """A protocol, with all that may go wrong around it."""

    @property
    def start(self) -> S: ...

    def steps(self, state: S) -> Iterator[Step[S]]:
        """All that may happen next, as one atomic step each."""

    def wrong(self, before: S, after: S) -> str:
        """Say what a step broke, or nothing."""

    def done(self, state: S) -> bool:
        """Whether everything that is due has come to its end."""


@dataclass(frozen=True)
class Explored:
    """How many states there were, and if one is wrong, how, and the steps that lead there."""

    states: int
    wrong: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.wrong:
            return f"{self.states:,} states, none wrong"
        return "\n  ".join([f"WRONG after {len(self.trace)} steps: {self.wrong}", *self.trace])


def explore(model: Model[S]) -> Explored:
    """Look at all states, nearest first, so that a trace is a shortest one.

    A state is stuck when no way leads from it to an end once faults stop: the ends are followed back over the steps
    that are no faults, and what that does not reach is stuck.
    """
    number = {model.start: 0}
    states = [model.start]
    came_from: list[tuple[int, str]] = [(0, "")]
    leads_back: list[list[int]] = [[]]
    for here, state in enumerate(states):  # which grows as it is walked
        for what, after, fault in model.steps(state):
            there = number.get(after)
            if there is None:
                there = number[after] = len(states)
                states.append(after)
                came_from.append((here, what))
                leads_back.append([])
            if wrong := model.wrong(state, after):
                return Explored(len(states), wrong, (*_trace(came_from, here), what))
            if not fault:
                leads_back[there].append(here)
    ends = [at for at, state in enumerate(states) if model.done(state)]
    stuck = _reaching(ends, leads_back).find(0)
    if stuck < 0:
        return Explored(len(states))
    at_last, steps = _left_alone(model, states[stuck])
    return Explored(len(states), f"stuck in {at_last}", (*_trace(came_from, stuck), *steps))


def _trace(came_from: list[tuple[int, str]], at: int) -> tuple[str, ...]:
    steps = []
    while at:
        at, what = came_from[at]
        steps.append(what)
    return tuple(reversed(steps))


def _reaching(ends: list[int], leads_back: list[list[int]]) -> bytearray:
    """Mark the states from which one of these ends can be reached."""
    reaching = bytearray(len(leads_back))
    while ends:
        at = ends.pop()
        if not reaching[at]:
            reaching[at] = 1
            ends += leads_back[at]
    return reaching


def _left_alone(model: Model[S], state: S) -> tuple[S, list[str]]:
    """Go on from a stuck state without faults, so that its trace shows in what it ends."""
    seen, steps = {state}, list[str]()
    while True:
        following = (step for step in model.steps(state) if not step.fault and step.after not in seen)
        if (step := next(following, None)) is None:
            return state, steps
        state = step.after
        seen.add(state)
        steps.append(step.what)
