"""Elapsed time with exclusions: the instants of an interval, but for those on excluded days, which may move.

An interval knows no wall clock (rule 7), its exclusions do: an instant belongs to the day that the zone's clock shows
then. One that moves goes to the same wall-clock time of a business day, by the rules for fixed times (2 and 4), and is
no second one where the interval has an instant anyway. What moves to a day is kept as one bit for each of its seconds.

Instants are whole seconds since 1970, as in shared.domain.cron.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.domain.exclusions import joined
from shared.domain.zones import DAY, zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.exclusions import Exclusions, Run
    from shared.domain.zones import Zone


@lru_cache(maxsize=256)
def elapsed(anchor: int, period: int, timezone: str, rules: str, exclusions: Exclusions) -> Elapsed:
    """Return an interval with exclusions; schedules that say the same share it, and what it has worked out."""
    return Elapsed(anchor, period, zone(timezone, rules), exclusions)


class Elapsed:
    """The instants anchor + n * period for n >= 1, with exclusions.

    Each question costs a few binary searches and, where something moves, some tens of microseconds for each business
    day concerned that was not asked for lately; counting concerns all those between, and all excluded spans.
    """

    __slots__ = ("_anchor", "_ends", "_period", "_starts", "_targets", "_zone")

    def __init__(self, anchor: int, period: int, zone: Zone, exclusions: Exclusions) -> None:
        self._anchor, self._period, self._zone = anchor, period, zone
        spans = list(joined((low, high - 1) for run in exclusions.runs for low, high, _ in _pieces(zone, run)))
        self._starts = [first for first, _ in spans]
        self._ends = [last for _, last in spans]
        self._targets = [
            (zone.instant(day * DAY), zone.instant((day + 1) * DAY), day, runs)
            for day, runs in exclusions.moves
            if any(self._count(low - 1, high - 1) for run in runs for low, high, _ in _pieces(zone, run))
        ]

    def next_after(self, after: int) -> int:
        """Return the first instant strictly after `after`."""
        kept = self._next_kept(after)
        for n in range(bisect_right(self._targets, after + 1, key=_end), len(self._targets)):
            begin = self._targets[n][0]
            if begin > kept:
                break
            if later := _moved(self, n) >> max(0, after + 1 - begin):
                return min(kept, max(begin, after + 1) + (later & -later).bit_length() - 1)
        return kept

    def last_between(self, after: int, through: int) -> int | None:
        """Return the last instant in (after, through], or None when there is none."""
        last = self._last_kept(after, through)
        for n in reversed(range(bisect_left(self._targets, through + 1, key=_begin))):
            begin, end, _, _ = self._targets[n]
            if end <= (after if last is None else last) + 1:
                break
            if sooner := _moved(self, n) & ((1 << min(through + 1, end) - begin) - 1):
                found = begin + sooner.bit_length() - 1
                return max(found, last) if last is not None else found if found > after else None
        return last

    def count_between(self, after: int, through: int) -> int:
        """Return the number of instants in (after, through]."""
        total = self._count(after, through)
        for n in range(bisect_right(self._ends, after), bisect_right(self._starts, through)):
            total -= self._count(max(after, self._starts[n] - 1), min(through, self._ends[n]))
        for n in range(bisect_right(self._targets, after + 1, key=_end), len(self._targets)):
            begin, end, _, _ = self._targets[n]
            if begin > through:
                break
            # Not of all bits up to `through`: that may be decades away, and each second is one.
            moved = _moved(self, n) & ((1 << min(through + 1, end) - begin) - 1)
            total += (moved >> max(0, after + 1 - begin)).bit_count()
        return total

    def moved(self, n: int) -> int:
        """Return the instants that move to the n-th business day, as bits counted from its beginning."""
        begin, end, day, runs = self._targets[n]
        walls, seen = 0, set[tuple[int, int]]()
        for run in runs:
            for low, high, offset in _pieces(self._zone, run):
                seen.update(self._by_day(low, high, offset))
        for first, stop in seen:
            walls |= _every(first, self._period, stop)
        bits = 0
        for first, stop, at, gap in _shown(self._zone, day):
            part = (walls >> first) & ((1 << stop - first) - 1)
            bits |= (bool(part) if gap else part) << at - begin
        own = self._next(begin - 1) - begin
        # A day that the clocks drop has no time to move to; what a gap takes past midnight is left out, too.
        return bits & ~_every(own, self._period, end - begin) & ((1 << end - begin) - 1)

    def _by_day(self, low: int, high: int, offset: int) -> Iterator[tuple[int, int]]:
        """Return for each day of a piece the first instant of it, as a second of the day, and where the piece ends."""
        at = self._next(low - 1)
        while at < high:
            day, time = divmod(at + offset, DAY)
            stop = min(DAY, high + offset - day * DAY)
            yield time, stop
            at = self._next(day * DAY + stop - offset - 1)

    def _next_kept(self, after: int) -> int:
        found = self._next(after)
        while (n := bisect_right(self._starts, found) - 1) >= 0 and found <= self._ends[n]:
            found = self._next(self._ends[n])
        return found

    def _last_kept(self, after: int, through: int) -> int | None:
        while self._count(after, through):
            found = self._anchor + (through - self._anchor) // self._period * self._period
            n = bisect_right(self._starts, found) - 1
            if n < 0 or found > self._ends[n]:
                return found
            through = self._starts[n] - 1
        return None

    def _next(self, after: int) -> int:
        return self._anchor + max(1, (after - self._anchor) // self._period + 1) * self._period

    def _count(self, after: int, through: int) -> int:
        first = max(0, (after - self._anchor) // self._period)
        return max(0, (through - self._anchor) // self._period - first)


def _begin(target: tuple[int, int, int, tuple[Run, ...]]) -> int:
    return target[0]


def _end(target: tuple[int, int, int, tuple[Run, ...]]) -> int:
    return target[1]


@lru_cache(maxsize=1024)
def _moved(interval: Elapsed, n: int) -> int:
    # Of all intervals together, a day's bits being up to 11 KB.
    return interval.moved(n)


def _pieces(zone: Zone, run: Run) -> Iterator[tuple[int, int, int]]:
    """Return when the zone's clock shows one of these days: from, to before, and with which offset."""
    first, last = run[0] * DAY, (run[1] + 1) * DAY
    at = first - 2 * DAY
    while at < last + 2 * DAY:
        index = zone.index(at)
        offset = zone.offsets[index]
        low, high = max(zone.starts[index], first - offset), min(zone.starts[index + 1], last - offset)
        if low < high:
            yield low, high, offset
        at = zone.starts[index + 1]


def _shown(zone: Zone, day: int) -> Iterator[tuple[int, int, int, bool]]:
    """Return how a day's seconds come: from, to before, the instant of the first, and whether all are in one gap."""
    wall, end = day * DAY, (day + 1) * DAY
    at = zone.instant(wall)
    while wall < end:
        index = zone.index(at)
        offset, stop = zone.offsets[index], zone.starts[index + 1]
        if at + offset > wall:
            until = min(at + offset, end)
            yield wall - day * DAY, until - day * DAY, at, True
            wall = until
        else:
            at = wall - offset
            until = min(stop + offset, end)
            if until > wall:
                yield wall - day * DAY, until - day * DAY, at, False
                wall = until
            at = stop


def _every(first: int, step: int, stop: int) -> int:
    """Return the bits first, first + step and so on, before stop."""
    count = -((first - stop) // step)
    if count < 1:
        return 0
    bits = have = 1
    for digit in f"{count:b}"[1:]:
        bits |= bits << step * have
        have *= 2
        if digit == "1":
            bits = bits << step | 1
            have += 1
    return bits << first
