"""Exclusions: days on which a schedule does not fire, and the days that what falls on them moves to.

Days are named by a zone's calendar, so they are plain dates; inside they are counted from 1970-01-01. Calendars and
holidays are names here: what days they mean is found out elsewhere (Resolve), and kept beside the names.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from functools import lru_cache
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MOST_DATES: Final = 1_000
MOST_RANGES: Final = 100
MOST_NAMES: Final = 20
"""Of calendars, and of holidays."""
MOST_DAYS: Final = 10_000
"""Excluded in all. Each is looked at when a schedule is parsed: tens of milliseconds for so many."""
LONGEST_NAME: Final = 100
WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
WEEKEND: Final = ("SAT", "SUN")
"""The days that are no business days when none are named."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Run: TypeAlias = tuple[int, int]
"""Days in a row: the first and the last."""


class OnExcluded(StrEnum):
    """What becomes of an occurrence on an excluded day."""

    SKIP = "SKIP"
    NEXT_BUSINESS_DAY = "NEXT_BUSINESS_DAY"
    """It moves to the same wall-clock time of the next day that is neither excluded nor of the weekend."""
    PREVIOUS_BUSINESS_DAY = "PREVIOUS_BUSINESS_DAY"


class Resolved(NamedTuple):
    """The days that names of calendars and holidays mean, and what that was read from, for people."""

    days: tuple[date, ...]
    source: str = ""


Resolve: TypeAlias = "Callable[[tuple[str, ...], tuple[str, ...]], Resolved]"
"""From names of calendars and of holidays to the days that they mean.

Raises InvalidInput with fields `calendars[0]`, `holidays[1]` for names that it does not know.
"""


def no_calendars(calendars: tuple[str, ...], holidays: tuple[str, ...]) -> Resolved:
    """Refuse all names: the way to resolve them where none is configured."""
    given = [*(f"calendars[{n}]" for n, _ in enumerate(calendars)), *(f"holidays[{n}]" for n, _ in enumerate(holidays))]
    raise InvalidInput(Violation(path, "no calendars or holidays are configured here") for path in given)


class Named(NamedTuple):
    """The names whose days are found out elsewhere."""

    calendars: tuple[str, ...]
    holidays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExclusionTerms:
    """Exclusions as a client writes them, unchecked; an empty weekend means Saturday and Sunday."""

    dates: tuple[str, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    calendars: tuple[str, ...] = ()
    holidays: tuple[str, ...] = ()
    on_excluded: str = OnExcluded.SKIP.value
    weekend: tuple[str, ...] = ()

    def parse(self, resolve: Resolve) -> Exclusions:
        """Return what these terms mean now; raise InvalidInput with all that is wrong, as `dates[3]`."""
        found: list[Violation] = []
        resolved: Resolved | None = None
        try:
            checked = Exclusions(terms=self)
        except InvalidInput as refused:
            found += refused.violations
        if (self.calendars or self.holidays) and not any(wrong.field in {"calendars", "holidays"} for wrong in found):
            try:
                resolved = resolve(self.calendars, self.holidays)
            except InvalidInput as refused:
                found += refused.violations
        if found:
            raise InvalidInput(found)
        return checked if resolved is None else checked.with_resolved(resolved.days, resolved.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Days on which a schedule does not fire, checked.

    resolved: what the names of calendars and holidays were found to mean, sorted, as date.toordinal() has them;
    source: where that comes from. runs: all excluded days, joined and sorted, counted from 1970. moves: the business
    days that something may move to, sorted, with the runs that move there; none for SKIP.

    Raises InvalidInput with all violations, by fields like `dates[3]`.
    """

    terms: ExclusionTerms
    resolved: tuple[int, ...] = ()
    source: str = ""
    runs: tuple[Run, ...] = field(init=False, repr=False, compare=False)
    moves: tuple[tuple[int, tuple[Run, ...]], ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given, weekend, on_excluded = _read(self.terms)
        spans = [*given, *((ordinal - _EPOCH, ordinal - _EPOCH) for ordinal in self.resolved)]
        runs = tuple(joined(spans))
        if (days := sum(last - first + 1 for first, last in runs)) > MOST_DAYS:
            raise InvalidInput([Violation("", f"{days:,} excluded days are too many (at most {MOST_DAYS:,})")])
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "moves", _moves(runs, weekend, on_excluded))
        # Schedules with equal exclusions share their parsed forms, so this is asked each time a document is read.
        object.__setattr__(self, "_hash", hash((self.terms, self.resolved, self.source)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def named(self) -> Named:
        """The names that `resolved` is for."""
        return Named(self.terms.calendars, self.terms.holidays)

    def with_resolved(self, days: Iterable[date], source: str) -> Exclusions:
        """Return the same exclusions with other days for the names. Raises InvalidInput when they are too many."""
        return replace(self, resolved=tuple(sorted({day.toordinal() for day in days})), source=source)

    def excludes(self, day: int) -> bool:
        """Return whether a day, counted from 1970, is excluded."""
        at = bisect_right(self.runs, (day, day)) - 1
        return any(first <= day <= last for first, last in self.runs[max(at, 0) : at + 2])


def to_document(exclusions: Exclusions | None) -> dict[str, object] | None:
    """Return exclusions as plain values that JSON and BSON have."""
    if exclusions is None:
        return None
    terms = exclusions.terms
    return {
        "dates": list(terms.dates),
        "ranges": [list(span) for span in terms.ranges],
        "calendars": list(terms.calendars),
        "holidays": list(terms.holidays),
        "on_excluded": terms.on_excluded,
        "weekend": list(terms.weekend),
        "resolved": list(exclusions.resolved),
        "source": exclusions.source,
    }


def from_document(document: Mapping[str, Any] | None) -> Exclusions | None:
    """Return the exclusions that to_document gave."""
    if document is None:
        return None
    return _kept(
        tuple(document["dates"]),
        tuple(map(tuple, document["ranges"])),
        tuple(document["calendars"]),
        tuple(document["holidays"]),
        document["on_excluded"],
        tuple(document["weekend"]),
        tuple(document["resolved"]),
        document["source"],
    )


@lru_cache(maxsize=1024)
def _kept(*stored: Any) -> Exclusions:
    *terms, resolved, source = stored
    return Exclusions(terms=ExclusionTerms(*terms), resolved=resolved, source=source)


def _read(terms: ExclusionTerms) -> tuple[list[Run], frozenset[int], OnExcluded]:
    """Return the days that the client named, the weekdays of the weekend (Monday is 0), and what is to be done."""
    if too_many := _too_many(terms):
        raise InvalidInput(too_many)
    found: list[Violation] = []
    spans = [_span(f"dates[{n}]", text, text, found) for n, text in enumerate(terms.dates)]
    spans += [_span(f"ranges[{n}]", *pair, found, parts=(".first", ".last")) for n, pair in enumerate(terms.ranges)]
    for name in ("calendars", "holidays"):
        for n, text in enumerate(getattr(terms, name)):
            if not 0 < len(text) <= LONGEST_NAME:
                said = f"'{excerpt(text)}' has {len(text)} characters; a name has 1 to {LONGEST_NAME}"
                found.append(Violation(f"{name}[{n}]", said))
    names = terms.weekend or WEEKEND
    weekend = {WEEKDAYS.index(text.upper()) for text in names if text.upper() in WEEKDAYS}
    found += [
        Violation(f"weekend[{n}]", f"'{excerpt(text)}' is not a day of the week ({', '.join(WEEKDAYS)})")
        for n, text in enumerate(names)
        if text.upper() not in WEEKDAYS
    ]
    if len(weekend) == len(WEEKDAYS):
        found.append(Violation("weekend", "all seven days are named, so there is no business day to move to"))
    try:
        on_excluded = OnExcluded(terms.on_excluded)
    except ValueError:
        said = f"'{excerpt(terms.on_excluded)}' is not what can become of an occurrence ({', '.join(OnExcluded)})"
        found.append(Violation("on_excluded", said))
    if found:
        raise InvalidInput(found)
    return spans, frozenset(weekend), on_excluded


def _too_many(terms: ExclusionTerms) -> list[Violation]:
    limits = {
        "dates": MOST_DATES,
        "ranges": MOST_RANGES,
        "calendars": MOST_NAMES,
        "holidays": MOST_NAMES,
        "weekend": len(WEEKDAYS),
    }
    return [
        Violation(name, f"{len(given):,} are too many (at most {most:,})")
        for name, most in limits.items()
        if len(given := getattr(terms, name)) > most
    ]


def _span(
    path: str, first: str, last: str, found: list[Violation], parts: tuple[str, str] = ("", "")
) -> tuple[int, int]:
    """Return the days from first to last, counted from 1970; any when they are wrong, after adding the violation."""
    days = []
    for part, text in dict(zip(parts, (first, last), strict=True)).items():
        day = _day(text)
        if day is None:
            said = f"'{excerpt(text)}' is not a date" if text else "a date is required"
            found.append(Violation(f"{path}{part}", f"{said}; expected one like 2030-12-25"))
            return 0, 0
        days.append(day)
    if days[-1] < days[0]:
        found.append(Violation(f"{path}.last", f"{last} is before first, {first}"))
    return days[0], days[-1]


def _day(text: str) -> int | None:
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def joined(spans: Iterable[Run]) -> Iterator[Run]:
    """Join spans of days that overlap or touch."""
    current: Run | None = None
    for first, last in sorted(spans):
        if current is None:
            current = first, last
        elif first <= current[1] + 1:
            current = current[0], max(current[1], last)
        else:
            yield current
            current = first, last
    if current is not None:
        yield current


def _moves(
    runs: tuple[Run, ...], weekend: frozenset[int], on_excluded: OnExcluded
) -> tuple[tuple[int, tuple[Run, ...]], ...]:
    """Return the business days that runs move to, sorted, each with its runs.

    Between two runs no day is excluded, so either a business day is among the first seven, or the next run's is it.
    """
    if on_excluded is OnExcluded.SKIP:
        return ()
    step = 1 if on_excluded is OnExcluded.NEXT_BUSINESS_DAY else -1
    near, far = (1, 0) if step > 0 else (0, 1)
    targets: list[tuple[int, Run]] = []
    beyond: tuple[int, Run] | None = None
    for run in runs[::-step]:
        days = (run[near] + step * n for n in range(1, len(WEEKDAYS) + 1))
        # 1970 began on a Thursday.
        business = next(day for day in days if (day + 3) % 7 not in weekend)
        if beyond is not None and (business - beyond[1][far]) * step >= 0:
            business = beyond[0]
        beyond = business, run
        targets.append(beyond)
    by_target = groupby(sorted(targets), key=lambda pair: pair[0])
    return tuple((target, tuple(chain(run for _, run in pairs))) for target, pairs in by_target)
