"""What a benchmark of RESULTS.md gives: figures of several rounds, beside those of a peer or of a limit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROUNDS: Final = 5
"""A figure is the median of at least so many."""


class Better(Enum):
    """Which way a figure gets better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Comparison:
    """One figure of ours in several rounds, and the other side's in the same rounds.

    what: names it within its benchmark; a gate finds its earlier result by that. against: the other side; empty when
    there is none. ours, theirs: a figure for each round, in `unit`. goal: what the median of ours shall reach.
    ratio_goal: what the ratio ours / theirs shall reach. note: what a reader has to know, as that a peer confirms
    nothing.
    """

    what: str
    unit: str
    better: Better
    ours: tuple[float, ...]
    against: str = ""
    theirs: tuple[float, ...] = ()
    goal: float | None = None
    ratio_goal: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.ours or (self.theirs and len(self.theirs) != len(self.ours)):
            raise ValueError(f"{self.what}: {len(self.ours)} rounds of ours, {len(self.theirs)} of the other side")
        if bool(self.theirs) != bool(self.against):
            raise ValueError(f"{self.what}: a side has both a name and figures")

    @property
    def median(self) -> float:
        """The median of our rounds."""
        return median(self.ours)

    @property
    def ratio(self) -> float | None:
        """The median over the rounds of ours / theirs: what both sides of a round suffer alike cancels out."""
        return median(map(_over, self.ours, self.theirs)) if self.theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether all goals are reached; None when there is none."""
        goals = [(self.median, self.goal), (self.ratio, self.ratio_goal)]
        held = [
            value >= goal if self.better is Better.HIGHER else value <= goal
            for value, goal in goals
            if goal is not None and value is not None
        ]
        return all(held) if held else None

    def worse_by(self, earlier: Comparison) -> float | None:
        """Return how many times worse the ratio is than an earlier one, below 1 when it is better; None without one."""
        now, before = self.ratio, earlier.ratio
        if now is None or before is None:
            return None
        return _over(before, now) if self.better is Better.HIGHER else _over(now, before)

    def summary(self) -> str:
        """Return a line for a terminal."""
        beside = f", {self.against} {_figure(median(self.theirs))}, ratio {_figure(self.ratio)}" if self.theirs else ""
        missed = "" if self.reached is not False else f"  [to reach: {self.to_reach}]"
        return f"{self.what}: {_figure(self.median)} {self.unit}{beside}{missed}"

    def row(self) -> str:
        """Return a row of the table in RESULTS.md."""
        reached = {True: "yes", False: "**no**", None: ""}[self.reached]
        theirs = f"{_figure(median(self.theirs))} {self.unit}" if self.theirs else ""
        spread = f"{_figure(min(self.ours))} to {_figure(max(self.ours))}"
        ours, ratio = f"{_figure(self.median)} {self.unit}", _figure(self.ratio)
        return (
            f"| {self.what} | {ours} | {spread} | {self.against} | {theirs} | {ratio} | {self.to_reach} | {reached} |"
        )

    @property
    def to_reach(self) -> str:
        """The goals in words; empty when there is none."""
        sign = "≥" if self.better is Better.HIGHER else "≤"
        goals = [f"{sign} {_figure(self.goal)} {self.unit}"] if self.goal is not None else []
        goals += [f"ratio {sign} {_figure(self.ratio_goal)}"] if self.ratio_goal is not None else []
        return ", ".join(goals)

    def to_json(self) -> dict[str, Any]:
        """Return what from_json reads."""
        return {**vars(self), "better": self.better.value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Comparison:
        """Read what to_json returned."""
        figures = {name: tuple(stored[name]) for name in ("ours", "theirs")}
        return cls(**{**stored, **figures, "better": Better(stored["better"])})


def _over(one: float, other: float) -> float:
    """Return how many times the other one is; nothing is as much as nothing."""
    return one / other if other else 1.0 if not one else inf


def _figure(value: float | None) -> str:
    """Return three digits of a figure, and all of those before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def taking_turns(
    sides: Mapping[str, Callable[[], float]], rounds: int = ROUNDS, *, warm: bool = True
) -> dict[str, tuple[float, ...]]:
    """Measure each side once a round, in an order that turns, and return the figures of each.

    warm: whether each is measured once more before, which is not counted.
    """
    names = list(sides)
    if warm:
        for side in sides.values():
            side()
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in _turned(names, number):
            figures[name].append(sides[name]())
    return {name: tuple(values) for name, values in figures.items()}


def _turned(names: Sequence[str], number: int) -> Sequence[str]:
    start = number % len(names)
    return [*names[start:], *names[:start]]
