"""The search for the next fire of common cron expressions, beside cronsim's and croniter's.

A few seconds. benchmarks.next_fire has more, and prints each expression.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.comparison import ROUNDS, Better, Comparison
from benchmarks.next_fire import COMMON, rivals
from benchmarks.next_fire import measure as times_of
from benchmarks.results import Size

if TYPE_CHECKING:
    from collections.abc import Sequence


def measure(size: Size) -> Sequence[Comparison]:
    """Return the microseconds of one search, in the median over expressions and instants."""
    instants = {Size.FULL: 100, Size.QUICK: 20}[size]
    rounds = []
    for number in range(ROUNDS):
        pooled: dict[str, list[float]] = {}
        for expression in COMMON:
            for name, taken in times_of(rivals(expression), instants, random.Random(number)).items():
                pooled.setdefault(name, []).extend(taken)
        rounds.append({name: median(taken) for name, taken in pooled.items()})
    ours = tuple(each["ours"] for each in rounds)
    return [
        Comparison(
            f"next fire of ten common expressions, {library}",
            "µs",
            Better.LOWER,
            ours,
            against=library,
            theirs=tuple(each[library] for each in rounds),
            ratio_goal=1.0,
        )
        for library in ("cronsim", "croniter")
    ]
