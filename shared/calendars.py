"""Calendars: which days the names in a schedule's exclusions mean, from config/calendars and the library holidays.

What names mean is found out for a window of years, from last year to ten years ahead, and kept with the schedule; beat
asks again when a calendar has changed, or when the window's end comes near (beat/calendars.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import yaml

from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import Resolved
from shared.domain.text import closest, excerpt
from shared.settings import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from icalendar import Calendar as ICalendar

FOLDER: Final = "calendars"
"""Of the configuration's folder."""
MOST_CALENDARS: Final = 100
MOST_ENTRIES: Final = 5_000
"""Of one calendar: dates, ranges, or events of an iCalendar file."""
YEARS_AHEAD: Final = 10
YEARS_LEFT: Final = 5
"""When a window ends sooner, it is time for a new one."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEARLY: Final = re.compile(r"[0-9]{2}-[0-9]{2}")
_LEAP_YEAR: Final = 2000
_WINDOW: Final = re.compile(r"([0-9]{4})-([0-9]{4}) [0-9a-f]+")
_DAY: Final = timedelta(days=1)
_SHOWN: Final = 8
"""Parts of a country that a refusal names."""
_FINER: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")
_DAYS_AND_LONGER: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


@dataclass(frozen=True, slots=True)
class Window:
    """The years that names are resolved for, first to last."""

    first: int
    last: int

    @classmethod
    def around(cls, now: datetime) -> Window:
        """Return the window that is asked for at an instant."""
        return cls(now.year - 1, now.year + YEARS_AHEAD)

    @property
    def years(self) -> range:
        """Every year of it."""
        return range(self.first, self.last + 1)

    def days(self, first: date, last: date) -> Iterator[date]:
        """Return the days from first to last that are in it."""
        day, end = max(first, date(self.first, 1, 1)), min(last, date(self.last, 12, 31))
        while day <= end:
            yield day
            day += _DAY


class Calendars:
    """The named calendars that are configured, and all public holidays."""

    def __init__(self, calendars: Mapping[str, Callable[[Window], frozenset[date]]]) -> None:
        self._days = {name: lru_cache(maxsize=4)(days) for name, days in calendars.items()}

    @property
    def names(self) -> list[str]:
        """The names of the configured calendars, sorted."""
        return sorted(self._days)

    def resolve(self, calendars: tuple[str, ...], holidays: tuple[str, ...]) -> Resolved:
        """Return the days that the names mean, for the window around now.

        Raises InvalidInput, with fields `calendars[0]` or `holidays[1]`, for names that are not known.
        """
        return self.within(Window.around(datetime.now(UTC)), calendars, holidays)

    def within(self, window: Window, calendars: tuple[str, ...], holidays: tuple[str, ...]) -> Resolved:
        """Return the days that the names mean in a window; raises as resolve does."""
        found: list[Violation] = []
        days: set[date] = set()
        for index, name in enumerate(calendars):
            if name in self._days:
                days |= self._days[name](window)
            else:
                found.append(Violation(f"calendars[{index}]", _unknown_calendar(name, self.names)))
        for index, code in enumerate(holidays):
            if said := _unknown_region(code):
                found.append(Violation(f"holidays[{index}]", said))
            else:
                days |= _public_holidays(code, window)
        if found:
            raise InvalidInput(found)
        ordered = tuple(sorted(days))
        said = "\n".join([*sorted({*calendars}), "", *sorted({*holidays}), "", *map(str, ordered)])
        mark = blake2b(said.encode(), digest_size=8).hexdigest()
        return Resolved(ordered, f"{window.first}-{window.last} {mark}")

    def names_on(self, calendars: tuple[str, ...], holidays: tuple[str, ...], day: date) -> tuple[str, ...]:
        """Return what these names have on a day by now, for people, as `US holiday Christmas Day`; none may have any.

        Names that are not known have nothing.
        """
        window = Window(day.year, day.year)
        said = [f"the calendar {name}" for name in calendars if name in self._days and day in self._days[name](window)]
        known = [code for code in holidays if not _unknown_region(code)]
        said += [f"{code} holiday {name}" for code in known if (name := _holiday_names(code, day.year).get(day))]
        return tuple(said)

    def renewed(
        self, source: str, calendars: tuple[str, ...], holidays: tuple[str, ...], now: datetime
    ) -> Resolved | None:
        """Return the days that names mean by now, if those of a source are outdated; None if they still hold.

        They are when the days in the source's window are others by now, or when it ends in less than YEARS_LEFT years:
        so that it does not follow the calendar year. Raises as resolve does.
        """
        match = _WINDOW.fullmatch(source)
        if match is not None:
            window = Window(int(match[1]), int(match[2]))
            if window.last >= now.year + YEARS_LEFT and self.within(window, calendars, holidays).source == source:
                return None
        return self.within(Window.around(now), calendars, holidays)


def load_calendars(folder: Path) -> Calendars:
    """Read config/calendars, or end the process with one sentence that names all that is wrong with it.

    folder: the configuration's. No folder of calendars means that there are none.
    """
    problems: list[str] = []
    calendars = _read_folder(folder / FOLDER, problems)
    if problems:
        stop("; ".join(problems))
    return Calendars(calendars)


def _read_folder(folder: Path, problems: list[str]) -> dict[str, Callable[[Window], frozenset[date]]]:
    calendars: dict[str, Callable[[Window], frozenset[date]]] = {}
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if file.name.startswith("."):
            continue
        if file.suffix not in _READERS:
            problems.append(f"{file}: a calendar is a file {' or '.join(f'*{suffix}' for suffix in _READERS)}")
            continue
        try:
            read = _READERS[file.suffix](file)
        except _UnreadableError as error:
            problems += [f"{file}: {problem}" for problem in error.problems]
            continue
        for name, days in read.items():
            if not _NAME.fullmatch(name):
                problems.append(f"{file}: '{name}' is not a name for a calendar (a-z, 0-9, _ and -, at most 63)")
            if name in calendars:
                problems.append(f"{file}: the calendar '{name}' is there twice")
            calendars[name] = days
    if len(calendars) > MOST_CALENDARS:
        problems.append(f"{folder}: {len(calendars)} calendars are too many (at most {MOST_CALENDARS})")
    return calendars


class _UnreadableError(Exception):
    """A file can't be used as it is; each problem is a sentence."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(*problems)


# YAML: a list of dates, or several lists by their calendars' names


@dataclass(slots=True)
class _Listed:
    """Days as YAML lists them."""

    spans: list[tuple[date, date]] = field(default_factory=list)
    yearly: list[tuple[int, int]] = field(default_factory=list)
    """Month and day; 29 February is there in leap years only."""

    def __call__(self, window: Window) -> frozenset[date]:
        days = {day for span in self.spans for day in window.days(*span)}
        for year in window.years:
            for month, day in self.yearly:
                if (month, day) != (2, 29) or _has_leap_day(year):
                    days.add(date(year, month, day))
        return frozenset(days)


def _has_leap_day(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


class _Loader(yaml.SafeLoader):
    """Leaves dates as the text they are, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:merge"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(file: Path) -> dict[str, Callable[[Window], frozenset[date]]]:
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _UnreadableError([f"it can't be read: {' '.join(str(error).split())}"]) from error
    lists = document if isinstance(document, dict) else {file.stem: document}
    problems: list[str] = []
    read: dict[str, Callable[[Window], frozenset[date]]] = {}
    for name, entries in lists.items():
        if not isinstance(entries, list):
            problems.append(f"{name}: expected a list of dates, or names with such lists")
            continue
        if len(entries) > MOST_ENTRIES:
            problems.append(f"{name}: {len(entries):,} entries are too many (at most {MOST_ENTRIES:,})")
            continue
        listed = _Listed()
        problems += [
            f"{name}: {excerpt(str(entry))!r} is neither a date (2030-12-25), one of each year (12-25), nor a range"
            " (first: 2030-12-24, last: 2031-01-01)"
            for entry in entries
            if not _add(entry, listed)
        ]
        read[str(name)] = listed
    if problems:
        raise _UnreadableError(problems)
    return read


def _add(entry: object, listed: _Listed) -> bool:
    """Add what an entry of a list says; return whether it says anything."""
    if isinstance(entry, dict):
        first, last = _date(entry.get("first")), _date(entry.get("last"))
        if entry.keys() != {"first", "last"} or first is None or last is None or last < first:
            return False
        listed.spans.append((first, last))
        return True
    if (day := _date(entry)) is not None:
        listed.spans.append((day, day))
        return True
    if isinstance(entry, str) and _YEARLY.fullmatch(entry) and (day := _date(f"{_LEAP_YEAR}-{entry}")) is not None:
        listed.yearly.append((day.month, day.day))
        return True
    return False


def _date(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) and _DATE.fullmatch(text) else None
    except ValueError:
        return None


# iCalendar: the days that its events touch


def _read_icalendar(file: Path) -> dict[str, Callable[[Window], frozenset[date]]]:
    """Return the calendar of a file, by the file's name."""
    from icalendar import Calendar as ICalendar  # noqa: PLC0415 - 4 MB and 90 ms of each start, for files that few have

    try:
        calendar = ICalendar.from_ical(file.read_bytes())
        events = [event for event in calendar.walk("VEVENT") if event.get("STATUS") != "CANCELLED"]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise _UnreadableError([f"it can't be read as iCalendar: {' '.join(str(error).split())}"]) from error
    if len(events) > MOST_ENTRIES:
        raise _UnreadableError([f"{len(events):,} events are too many (at most {MOST_ENTRIES:,})"])
    if problems := [said for event in events if (said := _too_fine(event))]:
        raise _UnreadableError(problems)

    def days(window: Window) -> frozenset[date]:
        return frozenset(_event_days(calendar, window))

    try:
        days(Window.around(datetime.now(UTC)))
    except Exception as error:  # the library raises whatever it stumbles over
        raise _UnreadableError([f"its events can't be laid out: {' '.join(str(error).split())}"]) from error
    return {file.stem: days}


def _too_fine(event: Any) -> str:
    """Say that an event comes more than once a day: that names no days, and may be millions of times."""
    rules = event.get("RRULE") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        frequency = str((rule.get("FREQ") or [""])[0])
        if frequency not in _DAYS_AND_LONGER or any(part in rule for part in _FINER):
            return f"the event '{excerpt(str(event.get('SUMMARY', '')))}' comes more often than once a day"
    return ""


def _event_days(calendar: ICalendar, window: Window) -> Iterator[date]:
    import recurring_ical_events  # noqa: PLC0415 - as icalendar

    query = recurring_ical_events.of(calendar)
    for year in window.years:
        for event in query.between(date(year, 1, 1), date(year + 1, 1, 1)):
            if event.get("STATUS") != "CANCELLED":
                yield from window.days(*_span(event))


def _span(event: Any) -> tuple[date, date]:
    """Return the first and the last day that an event touches, by the clock that it is written for."""
    start, end = event["DTSTART"].dt, (event.get("DTEND") or event["DTSTART"]).dt
    if not isinstance(start, datetime):
        return start, max(start, end - _DAY)
    last: datetime = max(start, end - timedelta(microseconds=1)) if end > start else start
    return start.date(), last.date()


_READERS: Final = {".yaml": _read_yaml, ".ics": _read_icalendar}


# Public holidays


def _library() -> ModuleType:
    """Return the library holidays. Few jobs name any: it would be 2 MB of each process, and a part of its start."""
    import holidays  # noqa: PLC0415 - see above

    return holidays


@lru_cache(maxsize=1)
def _regions() -> Mapping[str, tuple[str, ...]]:
    """Return the countries that are known, each with its subdivisions."""
    return {
        country: tuple(parts) for country, parts in _library().list_supported_countries(include_aliases=False).items()
    }


@lru_cache(maxsize=256)
def _public_holidays(code: str, window: Window) -> frozenset[date]:
    country, _, part = code.partition("-")
    found: Iterable[date] = _library().country_holidays(country, subdiv=part or None, years=window.years)
    return frozenset(day for day in found if day.year in window.years)


@lru_cache(maxsize=256)
def _holiday_names(code: str, year: int) -> Mapping[date, str]:
    country, _, part = code.partition("-")
    return dict(_library().country_holidays(country, subdiv=part or None, years=year, language="en_US"))


def _unknown_region(code: str) -> str:
    """Say that a country, or a part of one, has no holidays here; nothing if it has."""
    country, dash, part = code.partition("-")
    parts = _regions().get(country)
    if parts is None:
        near = closest(code.upper(), _regions()) or closest(country.upper(), _regions())
        hint = f"; did you mean '{near}'?" if near else " (ISO 3166, as US or DE-BY)"
        return f"'{excerpt(code)}' is not a country with known public holidays{hint}"
    if dash and part not in parts:
        known = [f"{country}-{part}" for part in parts]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        shown = f"known: {', '.join(known[:_SHOWN])}{more}" if known else "it is known as a whole only"
        return f"'{excerpt(code)}' is not a part of {country} with known public holidays ({shown})"
    return ""


def _unknown_calendar(name: str, names: list[str]) -> str:
    known = f"known: {', '.join(names)}" if names else "none is configured"
    near = closest(name, names)
    hint = f"; did you mean '{near}'?" if near else f" ({known})"
    return f"'{excerpt(name)}' is not a configured calendar{hint}"
