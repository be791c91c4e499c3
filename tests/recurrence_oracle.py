"""A slow second opinion on when a cron schedule fires, which shares no code with the engine.

It walks through the times of the wall clock one by one, asks ZoneInfo (with `fold`) at which instants the clock shows
each, and applies rules 2-6 to the answer. Expressions are made together with what they mean, so that no second parser
is needed.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product, starmap
from zoneinfo import ZoneInfo

ZONES = sorted((files("tzdata") / "zones").read_text(encoding="utf-8").split())
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

DayTest = Callable[[date], bool]


@cache
def zone_info(name: str) -> ZoneInfo:
    with (files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def offset(name: str, instant: datetime) -> timedelta:
    ahead = instant.astimezone(zone_info(name)).utcoffset()
    assert ahead is not None
    return ahead


@lru_cache(maxsize=100_000)
def changes(name: str, year: int) -> tuple[datetime, ...]:
    """The instants of a year at which a zone's offset changes."""
    found = []
    before, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while before < end:
        after = min(before + 5 * DAY, end)
        if offset(name, before) != offset(name, after):
            found.append(change_between(name, before, after))
        before = after
    return tuple(found)


def change_between(name: str, before: datetime, after: datetime) -> datetime:
    old = offset(name, before)
    # Changes come at whole seconds. Between others the halving would end on the same middle again and again.
    before = before.replace(microsecond=0)
    after = after.replace(microsecond=0) + (SECOND if after.microsecond else timedelta())
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        before, after = (middle, after) if offset(name, middle) == old else (before, middle)
    return after


def changes_between(name: str, begin: datetime, end: datetime) -> list[datetime]:
    """The instants from begin to end, both included, at which a zone's offset changes."""
    return [c for year in range(begin.year, end.year + 1) for c in changes(name, year) if begin <= c <= end]


# Expressions with their meaning.


@dataclass(frozen=True)
class Time:
    text: str
    values: frozenset[int]
    interval_like: bool


@dataclass(frozen=True)
class Day:
    text: str
    matches: DayTest
    starred: bool = False

    def __repr__(self) -> str:
        return self.text


ANY_DAY = Day("*", lambda _: True, starred=True)
ON_THE_MINUTE = Time("0", frozenset({0}), interval_like=False)


@dataclass(frozen=True)
class Expression:
    minute: Time
    hour: Time
    day: Day
    month: Day
    weekday: Day
    second: Time | None = None

    @property
    def text(self) -> str:
        second = f"{self.second.text} " if self.second else ""
        return f"{second}{self.minute.text} {self.hour.text} {self.day.text} {self.month.text} {self.weekday.text}"

    @property
    def interval_like(self) -> bool:
        return any(time.interval_like for time in (self.second, self.minute, self.hour) if time)

    def on(self, day: date) -> bool:
        if not self.month.matches(day):
            return False
        if self.day.starred or self.weekday.starred:
            return self.day.matches(day) and self.weekday.matches(day)
        return self.day.matches(day) or self.weekday.matches(day)

    def times(self) -> Iterator[time]:
        return starmap(time, product(*map(sorted, (self.hour.values, self.minute.values, self.seconds))))

    @property
    def seconds(self) -> frozenset[int]:
        return (self.second or ON_THE_MINUTE).values


def every(size: int) -> Time:
    return Time("*", frozenset(range(size)), interval_like=True)


def stepping(size: int, step: int) -> Time:
    return Time(f"*/{step}", frozenset(range(0, size, step)), interval_like=True)


def listed(*values: int) -> Time:
    return Time(",".join(map(str, values)), frozenset(values), interval_like=False)


def ranging(size: int, first: int, last: int, step: int = 1) -> Time:
    """A range, also one that wraps."""
    values = [value % size for value in range(first, last + 1 if first <= last else last + 1 + size, step)]
    return Time(f"{first}-{last}" + (f"/{step}" if step > 1 else ""), frozenset(values), interval_like=True)


def stepping_from(size: int, first: int, step: int) -> Time:
    return Time(f"{first}/{step}", frozenset(range(first, size, step)), interval_like=True)


def last_of(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def nearest_workday(day: date, n: int) -> bool:
    """Whether `day` is the workday that is nearest to the n-th of its month and in it."""
    if n > last_of(day):
        return False
    wanted = day.replace(day=n)
    workdays = [day.replace(day=d) for d in range(1, last_of(day) + 1) if day.replace(day=d).weekday() < 5]
    # On a Saturday Friday is nearest, on a Sunday Monday: one day away both; else two days.
    return day == min(workdays, key=lambda d: abs((d - wanted).days))


def on_date(n: int) -> Day:
    return Day(f"{n}", lambda d: d.day == n)


def on_dates(*ns: int) -> Day:
    return Day(",".join(map(str, ns)), lambda d: d.day in ns)


def dates_between(first: int, last: int) -> Day:
    return Day(f"{first}-{last}", lambda d: (d.day - first) % 31 <= (last - first) % 31)


def dates_stepping(step: int) -> Day:
    return Day(f"*/{step}", lambda d: (d.day - 1) % step == 0, starred=True)


def before_last(n: int) -> Day:
    return Day(f"L-{n}" if n else "L", lambda d: d.day == last_of(d) - n)


def last_workday() -> Day:
    return Day("LW", lambda d: nearest_workday(d, last_of(d)))


def workday_near(n: int) -> Day:
    return Day(f"{n}W", lambda d: nearest_workday(d, n))


def in_month(n: int) -> Day:
    return Day(f"{n}", lambda d: d.month == n)


def months_between(first: int, last: int) -> Day:
    return Day(f"{first}-{last}", lambda d: (d.month - first) % 12 <= (last - first) % 12)


def on_weekday(n: int) -> Day:
    return Day(f"{n}", lambda d: d.isoweekday() % 7 == n % 7)


def on_weekdays(*ns: int) -> Day:
    return Day(",".join(map(str, ns)), lambda d: d.isoweekday() % 7 in ns)


def weekdays_between(first: int, last: int) -> Day:
    return Day(f"{first}-{last}", lambda d: (d.isoweekday() - first) % 7 <= (last - first) % 7)


def weekdays_stepping(step: int) -> Day:
    return Day(f"*/{step}", lambda d: d.isoweekday() % 7 % step == 0, starred=True)


def last_weekday(n: int) -> Day:
    return Day(f"{n}L", lambda d: d.isoweekday() % 7 == n and d.day + 7 > last_of(d))


def nth_weekday(n: int, nth: int) -> Day:
    return Day(f"{n}#{nth}", lambda d: d.isoweekday() % 7 == n and (d.day - 1) // 7 + 1 == nth)


# The opinion.


def instants(e: Expression, name: str, wall: datetime, policies: dict[str, str]) -> set[datetime]:
    """When a wall-clock time fires that the expression names; it has no zone."""
    gap = policies.get("gap") or ("SKIP" if e.interval_like else "SHIFT")
    repeat = policies.get("repeat") or ("BOTH" if e.interval_like else "FIRST")
    zone = zone_info(name)
    passes = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [p for p in passes if p.astimezone(zone).replace(tzinfo=None, fold=0) == wall]
    if shown:
        return {"FIRST": {min(shown)}, "SECOND": {max(shown)}, "BOTH": set(shown)}[repeat]
    # With fold=1 ZoneInfo reads a missing time by the later offset: an instant before the gap.
    return {change_between(name, passes[1] - SECOND, passes[0])} if gap == "SHIFT" else set()


def stay(day: date) -> date:
    return day


def fires_between(
    expressions: Sequence[Expression],
    name: str,
    policies: dict[str, str],
    begin: datetime,
    end: datetime,
    move: Callable[[date], date | None] = stay,
) -> list[datetime]:
    """The fires in (begin, end] of the union; move says to which day the times of a day move, None for nowhere.

    A month on both sides is walked through, since times may move that far in the tests.
    """
    fires: set[datetime] = set()
    reach = 2 * DAY if move is stay else 30 * DAY
    for e in expressions:
        day, stop, times = (begin - reach).date(), (end + reach).date(), list(e.times())
        while day <= stop:
            goal = move(day) if e.on(day) else None
            if goal and begin - 2 * DAY < datetime.combine(goal, time(), UTC) < end + 2 * DAY:
                for at in times:
                    fires |= instants(e, name, datetime.combine(goal, at), policies)
            day += DAY
    return sorted(fire for fire in fires if begin < fire <= end)


def first_fire(e: Expression, name: str, after: datetime, within: timedelta) -> datetime | None:
    """The first fire after an instant, if it comes within that span."""
    zone = zone_info(name)
    around = changes_between(name, after - 3 * DAY, after + within + 3 * DAY)
    # No wall-clock time comes earlier or later than its neighbours suggest by more than the clocks are put there.
    jumps = sum((abs(offset(name, c) - offset(name, c - SECOND)) for c in around), 2 * SECOND)
    wall = after.astimezone(zone).replace(tzinfo=None, fold=0) - jumps
    stop, best = wall + within, None
    while wall <= stop:
        if not e.on(wall.date()):
            wall = datetime.combine(wall.date() + DAY, time())
        elif wall.hour not in e.hour.values:
            wall = wall.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        elif wall.minute not in e.minute.values:
            wall = wall.replace(second=0, microsecond=0) + timedelta(minutes=1)
        else:
            if wall.second in e.seconds:
                ahead = [fire for fire in instants(e, name, wall, {}) if fire > after]
                best = min([best, *ahead] if best else ahead, default=None)
                if best is not None:
                    stop = min(stop, best.astimezone(zone).replace(tzinfo=None, fold=0) + jumps)
            wall = wall.replace(microsecond=0) + SECOND
    return best
