"""Unions: the instants that at least one of several cron expressions names, each once.

Finding is asking each of them. Counting is not adding up: what several name counts once. Within a stretch of constant
offset wall-clock time is UTC plus a constant, so there instants are counted as wall-clock times (Walls); only where
clocks change do the expressions differ, by their policies, and there are at most a few kinds of those.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache, reduce
from itertools import accumulate, pairwise
from operator import or_
from typing import TYPE_CHECKING, Final

from shared.domain.cron import CYCLE_DAYS, CYCLE_START, YEAR_STARTS, Cron, PatchedDays, year_of
from shared.domain.zones import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_EXPRESSIONS: Final = 20


class Union:
    """Several crons of one zone as one: what a Cron can be asked, a Union can be asked.

    next_after and last_between cost what they cost each cron. count_between grows with the years between, as a Cron's,
    and with how many combinations of its crons share a day, which are found once: microseconds for each change of the
    offset and combination, some milliseconds for decades of 20 crons, whatever the number of instants.
    """

    __slots__ = ("_crons", "_kinds", "_walls")

    def __init__(self, crons: Sequence[Cron]) -> None:
        self._crons = tuple(crons)
        by_policy: dict[tuple[bool, bool], list[Cron]] = {}
        for cron in self._crons:
            by_policy.setdefault((cron.first_only, cron.second_only), []).append(cron)
        self._kinds = tuple(map(tuple, by_policy.values()))
        self._walls: dict[tuple[int, ...], Walls] = {}

    def __reduce__(self) -> tuple[type[Union], tuple[object, ...]]:
        return Union, (self._crons,)

    def next_after(self, after: int) -> int | None:
        """Return the first instant strictly after `after`, or None when there is none."""
        return min((found for cron in self._crons if (found := cron.next_after(after)) is not None), default=None)

    def last_between(self, after: int, through: int) -> int | None:
        """Return the last instant in (after, through], or None when there is none."""
        last: int | None = None
        for cron in self._crons:
            found = cron.last_between(after, through)
            if found is not None:
                last = after = found
        return last

    def count_between(self, after: int, through: int) -> int:
        """Return the number of instants in (after, through], each counted once."""
        zone, at, total = self._crons[0].zone, after + 1, 0
        while at <= through:
            index = zone.index(at)
            begin = zone.starts[index]
            spans = [kind[0].bounds(index, at, through + 1) for kind in self._kinds]
            for low, high in pairwise(sorted({border for span in spans for border in span})):
                kinds = tuple(n for n, span in enumerate(spans) if span[0] <= low and high <= span[1])
                if kinds:
                    walls = self._walls_of(kinds)
                    total += walls.earlier(high) - walls.earlier(low)
            if begin == at and any(cron.shifts_to(index) for cron in self._crons):
                first = begin + zone.offsets[index]
                total += not any(cron.names_one(first, first + 1) for cron in self._crons)
            at = zone.starts[index + 1]
        return total

    def _walls_of(self, kinds: tuple[int, ...]) -> Walls:
        walls = self._walls.get(kinds)
        if walls is None:
            walls = self._walls[kinds] = Walls([cron for n in kinds for cron in self._kinds[n]])
        return walls


class Walls:
    """The wall-clock times that at least one of several crons names, to be counted.

    Each day has the times of the crons that it matches; days that match the same ones have the same number of times.
    """

    __slots__ = ("_crons", "_patched", "_patches", "_sizes", "_years", "_years_before")

    def __init__(self, crons: Sequence[Cron]) -> None:
        self._crons = tuple(crons)
        self._sizes: dict[int, int] = {}
        bases = [cron.days.base if isinstance(cron.days, PatchedDays) else cron.days for cron in crons]
        kinds: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        self._years = []
        for year in range(len(YEAR_STARTS) - 1):
            masks = tuple(days.years[year] for days in bases)
            if masks not in kinds:
                kinds[masks] = self._classes(masks)
            self._years.append(kinds[masks])
        totals = {id(year): sum(days.bit_count() * size for days, size in year) for year in kinds.values()}
        self._years_before = (0, *accumulate(totals[id(year)] for year in self._years))
        self._patches = sorted(
            {day for cron in crons if isinstance(cron.days, PatchedDays) for day in cron.days.patches}
        )
        by_rule = [
            sum(1 << n for n, days in enumerate(bases) if days.at_or_after(day, day) == day) for day in self._patches
        ]
        changes = [
            self._size(self._on(day)) - self._size(rule) for day, rule in zip(self._patches, by_rule, strict=True)
        ]
        self._patched = (0, *accumulate(changes))

    def earlier(self, wall: int) -> int:
        """Return how many times there are before one, counted from 2000-01-01 (negative before it)."""
        day, time = divmod(wall, DAY)
        turns, rest = divmod(day - CYCLE_START, CYCLE_DAYS)
        year = year_of(rest)
        gone = (1 << rest - YEAR_STARTS[year]) - 1
        total = turns * self._years_before[-1] + self._years_before[year]
        total += sum((days & gone).bit_count() * size for days, size in self._years[year])
        total += self._patched[bisect_left(self._patches, day)]
        if time:
            total += (self._times(self._on(day)) & ((1 << time) - 1)).bit_count()
        return total

    def _classes(self, masks: tuple[int, ...]) -> list[tuple[int, int]]:
        """Divide a year's days by the crons that they match; return each class with the times that a day of it has."""
        classes = {reduce(or_, masks): 0}
        for n, mask in enumerate(masks):
            classes = {
                days: crons
                for before, matched in classes.items()
                for days, crons in ((before & mask, matched | 1 << n), (before & ~mask, matched))
                if days
            }
        return [(days, self._size(crons)) for days, crons in classes.items()]

    def _on(self, day: int) -> int:
        """Return the crons that a day matches, as bits."""
        return sum(1 << n for n, cron in enumerate(self._crons) if cron.days.at_or_after(day, day) == day)

    def _size(self, crons: int) -> int:
        if crons not in self._sizes:
            self._sizes[crons] = self._times(crons).bit_count()
        return self._sizes[crons]

    def _times(self, crons: int) -> int:
        """Return the seconds of a day that these crons name, as bits."""
        return reduce(or_, (_mask(cron) for n, cron in enumerate(self._crons) if crons >> n & 1), 0)


@lru_cache(maxsize=64)
def _mask(cron: Cron) -> int:
    return cron.times.mask()
