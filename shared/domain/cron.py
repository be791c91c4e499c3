"""Cron: which instants an expression names in a time zone. The rules, by their numbers, are those of docs/schedules.md.

Three things are kept apart, each in whole numbers and each O(1) or a short bounded search:

- Times: the seconds of a day that match, as bit masks of hours, minutes and seconds;
- Days: the days that match, as one bit mask for each of the 400 years after which the Gregorian calendar repeats;
- Zone (shared.domain.zones): the zone's offsets from UTC, as a list of stretches of constant offset.

A Cron joins them: within a stretch, wall-clock time is UTC plus a constant, so only the borders of the stretches
need thought, and there the policies decide. Instants are whole seconds since 1970-01-01T00:00:00Z; wall-clock times
are seconds since 1970-01-01T00:00:00 on that clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from re import compile as regex
from typing import TYPE_CHECKING, Final

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt
from shared.domain.zones import DAY, FOREVER, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from shared.domain.exclusions import Exclusions

FIELDS: Final = ("second", "minute", "hour", "day_of_month", "month_of_year", "day_of_week")
"""The fields of an expression in their order, by the names that the map form uses."""

_CYCLE_YEARS: Final = 400
CYCLE_DAYS: Final = 146_097
CYCLE_START: Final = 10_957
"""2000-01-01 in days since 1970: years 0..399 of the cycle are those from 2000 on, and weekdays repeat with it."""
_CYCLE_SECONDS: Final = CYCLE_DAYS * DAY
_SATURDAY: Final = 6
LONGEST_EXPRESSION: Final = 1_000


class Gap(StrEnum):
    """What becomes of times that the clock skips when it goes forward."""

    SKIP = "SKIP"
    SHIFT = "SHIFT"
    """They fire, once for all of them, at the first instant after the gap."""


class Repeat(StrEnum):
    """In which pass a time fires that the clock shows twice when it goes back."""

    FIRST = "FIRST"
    SECOND = "SECOND"
    BOTH = "BOTH"


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


_YEAR_LENGTHS: Final = tuple(365 + _is_leap(year) for year in range(_CYCLE_YEARS))
YEAR_STARTS: Final = (0, *accumulate(_YEAR_LENGTHS))
_FIRST_WEEKDAYS: Final = tuple((start + _SATURDAY) % 7 for start in YEAR_STARTS[:-1])
"""Weekday of 1 January, Sunday being 0; 2000 began on a Saturday."""


def year_of(rest: int) -> int:
    """Return the year of the cycle that a day lies in, which is counted from the cycle's start."""
    return bisect_right(YEAR_STARTS, rest) - 1


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


@dataclass(frozen=True, slots=True)
class _DayRule:
    """Which days match, by the three day fields. Bits are counted from 0: day 1 and month 1 are bit 1, Sunday bit 0."""

    days: int = 0
    months: int = 0
    weekdays: int = 0
    before_last: frozenset[int] = frozenset()
    """`L-n`: n days before the last of the month; `L` is 0."""
    last_workday: bool = False
    nearest_workday: frozenset[int] = frozenset()
    nth_weekdays: frozenset[tuple[int, int]] = frozenset()
    last_weekdays: frozenset[int] = frozenset()
    either: bool = False
    """Rule 10: both day fields are restricted, and a day that matches one of them matches."""

    def year(self, length: int, weekday: int) -> int:
        """Return the matching days of a year of that length, whose 1 January has that weekday; bit 0 is 1 January."""
        bits = at = 0
        for month, days in enumerate((31, length - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1):
            if self.months >> month & 1:
                bits |= self._month(days, (weekday + at) % 7) >> 1 << at
            at += days
        return bits

    def _month(self, length: int, weekday: int) -> int:
        """Return the matching days of a month of that length, whose first day has that weekday; bit 1 is the first."""
        by_date = self.days
        for n in self.before_last:
            if n < length:
                by_date |= 1 << (length - n)
        if self.last_workday:
            by_date |= 1 << _nearest_workday(length, length, weekday)
        for day in self.nearest_workday:
            if day <= length:
                by_date |= 1 << _nearest_workday(day, length, weekday)
        by_weekday = 0
        for day in range(1, length + 1):
            today = (weekday + day - 1) % 7
            if (
                self.weekdays >> today & 1
                or (today, (day + 6) // 7) in self.nth_weekdays
                or (today in self.last_weekdays and day + 7 > length)
            ):
                by_weekday |= 1 << day
        month = (1 << (length + 1)) - 2
        return (by_date | by_weekday if self.either else by_date & by_weekday) & month


def _nearest_workday(day: int, length: int, weekday: int) -> int:
    """Return the weekday (Monday to Friday) nearest to a day of a month, within that month, as Quartz' `15W` does."""
    today = (weekday + day - 1) % 7
    if today == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if today == 0:
        return day + 1 if day < length else day - 2
    return day


class Days:
    """The days that match a rule, as day numbers since 1970-01-01. Built by `_days_of`, which shares them."""

    __slots__ = ("_earlier", "_every", "years")

    def __init__(self, rule: _DayRule) -> None:
        masks = {kind: rule.year(*kind) for kind in set(zip(_YEAR_LENGTHS, _FIRST_WEEKDAYS, strict=True))}
        self.years = tuple(masks[kind] for kind in zip(_YEAR_LENGTHS, _FIRST_WEEKDAYS, strict=True))
        self._earlier = (0, *accumulate(bits.bit_count() for bits in self.years))
        self._every = self._earlier[-1] == CYCLE_DAYS

    def __bool__(self) -> bool:
        return self._earlier[-1] > 0

    def at_or_after(self, day: int, through: int = FOREVER) -> int | None:
        """Return the first matching day that is not before `day`; may be None when that is after `through`."""
        if self._every:
            return day
        rest = (day - CYCLE_START) % CYCLE_DAYS
        year = year_of(rest)
        of_year = rest - YEAR_STARTS[year]
        bits = self.years[year] >> of_year
        if bits:
            return day + _lowest(bits)
        first = day - of_year
        while not bits:
            first += _YEAR_LENGTHS[year]
            if first > through:
                return None
            year = (year + 1) % _CYCLE_YEARS
            bits = self.years[year]
        return first + _lowest(bits)

    def at_or_before(self, day: int, since: int = -FOREVER) -> int | None:
        """Return the last matching day that is not after `day`; may be None when that is before `since`."""
        if self._every:
            return day
        rest = (day - CYCLE_START) % CYCLE_DAYS
        year = year_of(rest)
        of_year = rest - YEAR_STARTS[year]
        bits = self.years[year] & ((2 << of_year) - 1)
        first = day - of_year
        while not bits:
            if first <= since:
                return None
            year = (year - 1) % _CYCLE_YEARS
            first -= _YEAR_LENGTHS[year]
            bits = self.years[year]
        return first + bits.bit_length() - 1

    def earlier(self, day: int) -> int:
        """Return how many days match before `day`, counted from 2000-01-01 (negative before it)."""
        turns, rest = divmod(day - CYCLE_START, CYCLE_DAYS)
        year = year_of(rest)
        of_year = rest - YEAR_STARTS[year]
        this_year = (self.years[year] & ((1 << of_year) - 1)).bit_count()
        return turns * self._earlier[-1] + self._earlier[year] + this_year


class PatchedDays:
    """The days that match a rule, but for exclusions: some do not match, and some others do, to which those move.

    What is asked of Days can be asked of these; a binary search more is all it costs. Building looks at each excluded
    day that the rule matches.
    """

    __slots__ = ("_added", "_next", "_previous", "_removed", "base", "last_patch")

    def __init__(self, rule: _DayRule, exclusions: Exclusions) -> None:
        self.base = base = _days_of(rule)
        self._removed = [day for first, last in exclusions.runs for day in _matching(base, first, last)]
        self._added = [
            target
            for target, runs in exclusions.moves
            if base.at_or_after(target, target) != target and any(_matches(base, *run) for run in runs)
        ]
        self.last_patch = max([exclusions.runs[-1][1], *self._added])
        # For each day removed, the nearest that is left on either side: a search must not step through years of them.
        self._next = self._nearest_left(reversed(self._removed), 1)[::-1]
        self._previous = self._nearest_left(self._removed, -1)

    def _nearest_left(self, removed: Iterable[int], step: int) -> list[int]:
        base, found, before = self.base, list[int](), None
        for day in removed:
            near = base.at_or_after(day + 1) if step > 0 else base.at_or_before(day - 1)
            assert near is not None  # noqa: S101 - a rule that matches at all matches in each cycle
            found.append(found[-1] if near == before else near)
            before = day
        return found

    @property
    def patches(self) -> list[int]:
        """The days that differ from the rule's, sorted."""
        return sorted(self._removed + self._added)

    def at_or_after(self, day: int, through: int = FOREVER) -> int | None:
        """Return the first matching day that is not before `day`; may be None when that is after `through`."""
        found = self.base.at_or_after(day, through)
        if found is not None:
            at = bisect_left(self._removed, found)
            if at < len(self._removed) and self._removed[at] == found:
                found = self._next[at]
        at = bisect_left(self._added, day)
        if at < len(self._added) and (found is None or self._added[at] < found):
            return self._added[at]
        return found

    def at_or_before(self, day: int, since: int = -FOREVER) -> int | None:
        """Return the last matching day that is not after `day`; may be None when that is before `since`."""
        found = self.base.at_or_before(day, since)
        if found is not None:
            at = bisect_left(self._removed, found)
            if at < len(self._removed) and self._removed[at] == found:
                found = self._previous[at]
        at = bisect_right(self._added, day)
        if at and (found is None or self._added[at - 1] > found):
            return self._added[at - 1]
        return found

    def earlier(self, day: int) -> int:
        """Return how many days match before `day`, counted from the same day as the rule's."""
        return self.base.earlier(day) - bisect_left(self._removed, day) + bisect_left(self._added, day)


def _matching(days: Days, first: int, last: int) -> Iterator[int]:
    day = days.at_or_after(first, last)
    while day is not None and day <= last:
        yield day
        day = days.at_or_after(day + 1, last)


def _matches(days: Days, first: int, last: int) -> bool:
    return next(_matching(days, first, last), None) is not None


@lru_cache(maxsize=1024)
def _patched_days_of(rule: _DayRule, exclusions: Exclusions) -> PatchedDays:
    return PatchedDays(rule, exclusions)


@lru_cache(maxsize=2048)
def _days_of(rule: _DayRule) -> Days:
    return Days(rule)


class Times:
    """The seconds of a day (0..86399) whose hour, minute and second have their bits set."""

    __slots__ = ("_first_minute", "_hours", "_last_minute", "_minutes", "_seconds", "count", "first", "last")

    def __init__(self, hours: int, minutes: int, seconds: int) -> None:
        self._hours, self._minutes, self._seconds = hours, minutes, seconds
        self._first_minute = _lowest(minutes) * 60 + _lowest(seconds)
        self._last_minute = (minutes.bit_length() - 1) * 60 + seconds.bit_length() - 1
        self.first = _lowest(hours) * 3600 + self._first_minute
        self.last = (hours.bit_length() - 1) * 3600 + self._last_minute
        self.count = hours.bit_count() * minutes.bit_count() * seconds.bit_count()

    def at_or_after(self, time: int) -> int | None:
        """Return the first matching second that is not before `time`."""
        if time <= self.first:
            return self.first
        hour, rest = divmod(time, 3600)
        if self._hours >> hour & 1 and rest <= self._last_minute:
            minute, second = divmod(rest, 60)
            if self._minutes >> minute & 1 and (bits := self._seconds >> second):
                return time + _lowest(bits)
            # rest <= _last_minute, and no second of this minute is left: a later minute matches.
            minute += 1 + _lowest(self._minutes >> minute + 1)
            return hour * 3600 + minute * 60 + _lowest(self._seconds)
        if not (later := self._hours >> hour + 1):
            return None
        return (hour + 1 + _lowest(later)) * 3600 + self._first_minute

    def at_or_before(self, time: int) -> int | None:
        """Return the last matching second that is not after `time`."""
        if time >= self.last:
            return self.last
        hour, rest = divmod(time, 3600)
        if self._hours >> hour & 1 and rest >= self._first_minute:
            minute, second = divmod(rest, 60)
            if self._minutes >> minute & 1 and (bits := self._seconds & ((2 << second) - 1)):
                return time - second + bits.bit_length() - 1
            # rest >= _first_minute, and no second of this minute has passed: an earlier minute matches.
            minute = (self._minutes & ((1 << minute) - 1)).bit_length() - 1
            return hour * 3600 + minute * 60 + self._seconds.bit_length() - 1
        if not (sooner := self._hours & ((1 << hour) - 1)):
            return None
        return (sooner.bit_length() - 1) * 3600 + self._last_minute

    def mask(self) -> int:
        """Return the matching seconds as bits; 11 KB, made anew each time."""
        minute = sum(self._seconds << 60 * n for n in range(60) if self._minutes >> n & 1)
        return sum(minute << 3600 * n for n in range(24) if self._hours >> n & 1)

    def earlier(self, time: int) -> int:
        """Return how many seconds match before `time`."""
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        in_minute = self._seconds.bit_count()
        total = (self._hours & ((1 << hour) - 1)).bit_count() * self._minutes.bit_count() * in_minute
        if self._hours >> hour & 1:
            total += (self._minutes & ((1 << minute) - 1)).bit_count() * in_minute
            if self._minutes >> minute & 1:
                total += (self._seconds & ((1 << second) - 1)).bit_count()
        return total


class Cron:
    """The instants that six fields name in a zone, under a policy for gaps and one for repeated times.

    fields: as text, in the order of FIELDS; timezone: IANA name; hash_key: what `H` is computed from (the job's id).
    rules: the fingerprint of the zone's rules to go by; empty means the package's.
    gap, repeat: None takes the default: SHIFT and FIRST for fixed times (rules 2, 4), SKIP and BOTH for interval-like
    ones (rules 3, 5).

    exclusions: days, as the fields name them, that do not match, or move: the same times of another day.

    Raises InvalidInput with a violation for each thing wrong; `field` is the name of the field, or `timezone`.
    Raises UnknownRules when the rules are not known.
    """

    __slots__ = ("_arguments", "_settled", "_shift", "days", "first_only", "second_only", "times", "zone")

    def __init__(
        self,
        fields: Sequence[str],
        timezone: str,
        gap: Gap | None = None,
        repeat: Repeat | None = None,
        hash_key: str = "",
        rules: str = "",
        exclusions: Exclusions | None = None,
    ) -> None:
        self._arguments = (tuple(fields), timezone, gap, repeat, hash_key, rules, exclusions)
        violations: list[Violation] = []
        reader = _Reader(hash_key, violations)
        second, minute, hour, day, month, weekday = (
            reader.read(field, text) for field, text in zip(_FIELDS, fields, strict=True)
        )
        try:
            self.zone = zone(timezone, rules)
        except InvalidInput as refused:
            violations += refused.violations
        if violations:
            raise InvalidInput(violations)
        interval_like = second.interval_like or minute.interval_like or hour.interval_like
        gap = gap or (Gap.SKIP if interval_like else Gap.SHIFT)
        repeat = repeat or (Repeat.BOTH if interval_like else Repeat.FIRST)
        self._shift = gap is Gap.SHIFT
        self.first_only = repeat is Repeat.FIRST
        self.second_only = repeat is Repeat.SECOND
        self.days: Days | PatchedDays
        self.times = Times(hour.bits, minute.bits, second.bits)
        rule = _DayRule(
            days=day.bits,
            months=month.bits,
            weekdays=weekday.bits,
            before_last=frozenset(day.before_last),
            last_workday=day.last_workday,
            nearest_workday=frozenset(day.nearest_workday),
            nth_weekdays=frozenset(weekday.nth_weekdays),
            last_weekdays=frozenset(weekday.last_weekdays),
            either=not (day.starred or weekday.starred),
        )
        self.days = _days_of(rule)
        if not self.days:
            named = ", ".join(f"{name}={text}" for name, text in list(zip(FIELDS, fields, strict=True))[3:])
            raise InvalidInput([Violation("day_of_month", f"never fires: no year has a day with {named}")])
        self._settled = self.zone.rule_start
        if exclusions is not None and exclusions.runs:
            self.days = _patched_days_of(rule, exclusions)
            self._settled = max(self._settled, (self.days.last_patch + 1) * DAY)

    def __reduce__(self) -> tuple[type[Cron], tuple[object, ...]]:
        return Cron, self._arguments

    def next_after(self, after: int) -> int | None:
        """Return the first instant strictly after `after`, or None when there is none.

        Bounded (rule 13): 400 years after the last exclusion the calendar and the zone's rule repeat, so what did not
        match by then, because it fell into a gap each time, never does.
        """
        zone, at = self.zone, after + 1
        give_up = max(at, self._settled) + _CYCLE_SECONDS
        while at <= give_up:
            index = zone.index(at)
            begin = zone.starts[index]
            if begin == at and self.shifts_to(index):
                return at
            low, high = self.bounds(index, at, FOREVER)
            match = self._at_or_after(low)
            if match is not None and match < high:
                return match - zone.offsets[index]
            at = zone.starts[index + 1]
            if match is not None and high - low > DAY:
                # Decades may lie between. A clock that is put back shows no time again from before `low`, a day and
                # more ago, and none from `low` to `match` matches; offsets are below a day.
                at = max(at, match - 2 * DAY)
        return None

    def last_between(self, after: int, through: int) -> int | None:
        """Return the last instant in (after, through], or None when there is none."""
        zone, at = self.zone, through
        while at > after:
            index = zone.index(at)
            begin, offset = zone.starts[index], zone.offsets[index]
            low, high = self.bounds(index, after + 1, at + 1)
            match = self._at_or_before(high - 1, since=low)
            if match is not None and match >= low:
                return match - offset
            if begin > after and self.shifts_to(index):
                return begin
            at = begin - 1
        return None

    def count_between(self, after: int, through: int) -> int:
        """Return the number of instants in (after, through]. Its cost grows with the years, not with the instants."""
        zone, at, total = self.zone, after + 1, 0
        while at <= through:
            index = zone.index(at)
            begin = zone.starts[index]
            low, high = self.bounds(index, at, through + 1)
            if low < high:
                total += self._earlier(high) - self._earlier(low)
            if begin == at and self.shifts_to(index) and not self.names_one(low, low + 1):
                total += 1
            at = zone.starts[index + 1]
        return total

    def bounds(self, index: int, since: int, until: int) -> tuple[int, int]:
        """Return the wall-clock times, end excluded, that fire in a stretch's part from since to before until."""
        zone = self.zone
        begin, end, offset = zone.starts[index], zone.starts[index + 1], zone.offsets[index]
        low, high = max(since, begin) + offset, min(until, end) + offset
        if self.first_only and index and zone.offsets[index - 1] > offset:
            low = max(low, begin + zone.offsets[index - 1])
        if self.second_only and zone.offsets[index + 1] < offset:
            high = min(high, end + zone.offsets[index + 1])
        return low, high

    def shifts_to(self, index: int) -> bool:
        """Return whether a time that fell into the gap before a stretch fires at its beginning."""
        if not self._shift or not index:
            return False
        begin = self.zone.starts[index]
        return self.names_one(begin + self.zone.offsets[index - 1], begin + self.zone.offsets[index])

    def names_one(self, low: int, high: int) -> bool:
        """Return whether a wall-clock time from low to before high matches."""
        match = self._at_or_after(low, through=high) if low < high else None
        return match is not None and match < high

    def _at_or_after(self, wall: int, through: int = FOREVER) -> int | None:
        day, time = divmod(wall, DAY)
        found = self.days.at_or_after(day, through // DAY)
        if found == day:
            match = self.times.at_or_after(time)
            if match is not None:
                return day * DAY + match
            found = self.days.at_or_after(day + 1, through // DAY)
        return None if found is None else found * DAY + self.times.first

    def _at_or_before(self, wall: int, since: int) -> int | None:
        day, time = divmod(wall, DAY)
        found = self.days.at_or_before(day, since // DAY)
        if found == day:
            match = self.times.at_or_before(time)
            if match is not None:
                return day * DAY + match
            found = self.days.at_or_before(day - 1, since // DAY)
        return None if found is None else found * DAY + self.times.last

    def _earlier(self, wall: int) -> int:
        day, time = divmod(wall, DAY)
        total = self.days.earlier(day) * self.times.count
        return total + self.times.earlier(time) if self.days.at_or_after(day, day) == day else total


# Reading expressions.

_ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_VALUE: Final = "[0-9A-Z]+"
_RANGE: Final = regex(
    rf"(?:(?P<star>[*?])|(?P<hash>H)(?:\((?P<hash_first>{_VALUE})-(?P<hash_last>{_VALUE})\))?"
    rf"|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]+))?"
)
_BEFORE_LAST: Final = regex(r"L(?:-([0-9]{1,2}))?")
_NEAREST_WORKDAY: Final = regex(r"([0-9]{1,2})W")
_NTH_WEEKDAY: Final = regex(rf"({_VALUE})#([0-9]+)")
_LAST_WEEKDAY: Final = regex(rf"({_VALUE})L")


def expression_fields(expression: str) -> tuple[str, ...]:
    """Return the six fields of an expression, in the order of FIELDS; with five given, `second` is 0 (rule 11).

    Raises InvalidInput, on a field without a name, when it has another number of fields or an unknown `@` name.
    """
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in _ALIASES:
            raise _refused(f"'{text[:40]}' is not a name for a schedule ({', '.join(_ALIASES)})")
        text = _ALIASES[text.lower()]
    if len(text) > LONGEST_EXPRESSION:
        raise _refused(f"has {len(text)} characters; at most {LONGEST_EXPRESSION} are read")
    parts = text.split()
    if len(parts) == len(FIELDS) - 1:
        parts.insert(0, "0")
    if len(parts) != len(FIELDS):
        raise _refused(
            f"'{excerpt(text)}' has {len(parts)} field{'' if len(parts) == 1 else 's'}; expected 5 (minute, hour, day"
            " of month, month, day of week) or 6 (a leading second)"
        )
    return tuple(parts)


_HOURS: Final = frozenset(text for hour in range(24) for text in (f"{hour}", f"{hour:02}"))


def map_fields(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the six fields of the map form (rule 11): one left out means `*`, `second` means 0.

    Raises InvalidInput, on the field `minute`, when it is left out though a coarser one is given.
    """
    coarser = next((name for name in ("hour", "day_of_month", "month_of_year", "day_of_week") if name in given), None)
    if coarser and "minute" not in given:
        hour = given.get("hour", "").strip()
        every = "60 times" if given.get("second", "0").strip().isdecimal() else "in each of the 60 minutes"
        if hour in _HOURS:
            often = f"{every} between {int(hour):02}:00 and {int(hour):02}:59"
        else:
            often = f"{every} of an hour" if "each" in every else f"{every} an hour"
        shown = excerpt(given[coarser].strip())
        said = f"{coarser}={shown} without minute would fire {often}; give minute, for example 0"
        raise InvalidInput([Violation("minute", said)])
    return tuple(given.get(name, "0" if name == "second" else "*") for name in FIELDS)


def field_values(fields: Sequence[str], hash_key: str) -> tuple[FieldValues, ...]:
    """Return what six fields say, in the order of FIELDS. Raises InvalidInput with a violation for each thing wrong."""
    violations: list[Violation] = []
    reader = _Reader(hash_key, violations)
    values = tuple(reader.read(field, text) for field, text in zip(_FIELDS, fields, strict=True))
    if violations:
        raise InvalidInput(violations)
    return values


def uses_hash(fields: Iterable[str]) -> bool:
    """Return whether an `H` is among the fields, so that the instants depend on the hash key."""
    return any("H" in text.upper().replace("THU", "") for text in fields)


def _refused(sentence: str) -> InvalidInput:
    return InvalidInput([Violation("", sentence)])


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    noun: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.high - self.low + 1


_MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_WEEKDAYS: Final = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_FIELDS: Final = (
    _Field("second", "a second (0-59)", 0, 59),
    _Field("minute", "a minute (0-59)", 0, 59),
    _Field("hour", "an hour (0-23)", 0, 23),
    _Field("day_of_month", "a day of the month (1-31)", 1, 31),
    _Field("month_of_year", "a month (1-12 or JAN-DEC)", 1, 12, _MONTHS),
    _Field("day_of_week", "a day of the week (0-7 or SUN-SAT)", 0, 6, _WEEKDAYS),
)
_LAST_DAY_IN_EVERY_MONTH: Final = 28
"""`H` in the day of month goes no further, as in Jenkins: a month without that day would be left out."""
_MOST_WEEKS: Final = 5


@dataclass(slots=True)
class FieldValues:
    """What one field says: bit n is the value n; Sunday is 0."""

    bits: int = 0
    starred: bool = False
    """It begins with `*` or `?`, as Vixie cron asks: then it does not restrict the days (rule 10)."""
    interval_like: bool = False
    before_last: set[int] = field(default_factory=set)
    last_workday: bool = False
    nearest_workday: set[int] = field(default_factory=set)
    nth_weekdays: set[tuple[int, int]] = field(default_factory=set)
    last_weekdays: set[int] = field(default_factory=set)


class _WrongItemError(ValueError):
    """What is wrong with an item, as a sentence."""


class _Reader:
    """Reads fields one by one, and collects what is wrong with them."""

    def __init__(self, hash_key: str, violations: list[Violation]) -> None:
        self._hash_key = hash_key
        self._violations = violations

    def read(self, field: _Field, text: str) -> FieldValues:
        text = text.strip()
        read = FieldValues(starred=text.startswith(("*", "?")))
        for item in text.split(","):
            try:
                self._item(read, field, item.strip())
            except _WrongItemError as wrong:
                self._violations.append(Violation(field.name, str(wrong)))
        return read

    def _item(self, read: FieldValues, field: _Field, item: str) -> None:
        if not item:
            raise _WrongItemError(f"is empty where {field.noun} is expected")
        upper = item.upper() if item.isascii() else ""
        special = {"day_of_month": _special_day, "day_of_week": _special_weekday}.get(field.name)
        if special and special(read, field, upper):
            return
        match = _RANGE.fullmatch(upper)
        if match is None:
            raise _WrongItemError(f"'{excerpt(item)}' is not {field.noun}, nor a range, step or list of them")
        step = _step(match["step"], field, item)
        values: Sequence[int]
        if match["star"]:
            values = range(field.low, field.high + 1)
        elif match["hash"]:
            values = self._hashed(match["hash_first"], match["hash_last"], field, item)
            spread = min(step or len(values), len(values))
            values = values[self._hash(field) % spread :: spread]
        elif match["last"]:
            values = _range(match["first"], match["last"], field, item)
        else:
            first = _value(match["first"], field, item) % (field.high + 1)
            values = range(first, field.high + 1 if step else first + 1)
        if match["star"] or match["last"] or step:
            read.interval_like = True
        for value in values if match["hash"] else values[:: step or 1]:
            read.bits |= 1 << value

    def _hashed(self, first: str | None, last: str | None, field: _Field, item: str) -> Sequence[int]:
        if first is not None and last is not None:
            return _range(first, last, field, item)
        return range(field.low, (_LAST_DAY_IN_EVERY_MONTH if field.name == "day_of_month" else field.high) + 1)

    def _hash(self, field: _Field) -> int:
        """Return a number that is the same on every host and in every release, and differs between fields."""
        text = f"{field.name}:{self._hash_key}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest())


def _value(text: str, field: _Field, item: str) -> int:
    value = field.names.get(text)
    if value is None and text.isdecimal() and len(text) < len("100"):
        value = int(text)
    is_sunday = value is not None and field.name == "day_of_week" and value == field.size
    if value is None or not (field.low <= value <= field.high or is_sunday):
        named = f"'{excerpt(item)}'" if text == item.upper() else f"'{excerpt(text)}' in '{excerpt(item)}'"
        raise _WrongItemError(f"{named} is not {field.noun}")
    return value


def _range(first: str, last: str, field: _Field, item: str) -> Sequence[int]:
    """Return first..last; it goes on from the field's end to its beginning when last is before first."""
    low, high = _value(first, field, item), _value(last, field, item)
    if low > high:
        high += field.size
    return [field.low + (value - field.low) % field.size for value in range(low, high + 1)]


def _step(text: str | None, field: _Field, item: str) -> int | None:
    if text is None:
        return None
    step = int(text[:9])
    if step == 0:
        raise _WrongItemError(f"'{excerpt(item)}' has a step of 0; a step is at least 1")
    if step > field.size:
        raise _WrongItemError(
            f"'{excerpt(item)}' steps by {step}, past the field's end ({field.noun}); it would match once"
        )
    return step


def _special_day(read: FieldValues, field: _Field, item: str) -> bool:
    if item == "LW":
        read.last_workday = True
    elif match := _BEFORE_LAST.fullmatch(item):
        days = int(match[1] or 0)
        if days >= field.high:
            raise _WrongItemError(f"'{excerpt(item)}' counts {days} days back from the month's last; at most 30 exist")
        read.before_last.add(days)
    elif match := _NEAREST_WORKDAY.fullmatch(item):
        read.nearest_workday.add(_value(match[1], field, item))
    else:
        return False
    return True


def _special_weekday(read: FieldValues, field: _Field, item: str) -> bool:
    if item == "L":
        raise _WrongItemError("'L' needs a day before it (FRIL: the month's last Friday)")
    if match := _NTH_WEEKDAY.fullmatch(item):
        nth = int(match[2][:9])
        if not 1 <= nth <= _MOST_WEEKS:
            raise _WrongItemError(f"'{excerpt(item)}' asks for number {nth} of a weekday in the month (1-5)")
        read.nth_weekdays.add((_value(match[1], field, item) % 7, nth))
    elif match := _LAST_WEEKDAY.fullmatch(item):
        read.last_weekdays.add(_value(match[1], field, item) % 7)
    else:
        return False
    return True
