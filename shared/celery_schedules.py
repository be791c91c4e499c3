"""Celery's schedules as ours: what `beat_schedule` and the stores of other beats hold, as the terms of a schedule.

What can't be said exactly is refused with a sentence: a schedule that fires at nearly the right times is worse than
none. tests/unit/test_celery_schedules.py holds the translations against Celery's own arithmetic.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from celery.schedules import BaseSchedule, crontab, schedule, solar
from celery.utils.time import weekday, yearmonth  # type: ignore[attr-defined]

from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import ScheduleTerms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

UTC: Final = "UTC"

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_ON_THE_CLOCK: Final = {timedelta(days=1): "0 0 * * *", timedelta(hours=1): "0 * * * *", _MINUTE: "* * * * *"}
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS: Final = ("", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FIELDS: Final = (
    ("minute", range(60), ()),
    ("hour", range(24), ()),
    ("day_of_month", range(1, 32), ()),
    ("month_of_year", range(1, 13), _MONTHS),
    ("day_of_week", range(7), _WEEKDAYS),
)
_ITEM: Final = re.compile(r"(?:(?P<star>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\w+))?")
_WEEKS: Final = (range(1, 8), range(8, 15), range(15, 22), range(22, 29), range(29, 32))
"""The days of a month on which a weekday comes for the first, second, ... time."""


def zone_of(timezone: str | tzinfo | None, *, enable_utc: bool) -> str:
    """Return the zone in which an app's crontabs are meant, by its settings of these names.

    Raises InvalidInput when it has no IANA name.
    """
    if not timezone and not enable_utc:
        raise _refused(
            "timezone",
            "the app has enable_utc=False and no timezone, so its times are those of whatever host it runs on; set the"
            " app's timezone to an IANA name, as Europe/Berlin",
        )
    return _zone_name(timezone or UTC)


def to_terms(given: object, timezone: str = UTC, *, relative: bool = False) -> ScheduleTerms:
    """Return the terms that mean what one of Celery's schedules means: a crontab, an interval, or seconds.

    timezone: the app's; a crontab that brings its own (`nowfun`, or a `tz` that was set) has that, and so has a
    relative interval with a `nowfun`. relative: as an entry may say it of its timedelta or seconds.
    Raises InvalidInput, on the field `schedule`, for what can't be said exactly.
    """
    if isinstance(given, bool) or given is None:
        raise _refused("schedule", f"{given!r} is not a schedule; expected a crontab, a timedelta or seconds")
    if isinstance(given, int | float | timedelta):
        return _every(given, timezone, relative=relative)
    if isinstance(given, solar):
        raise no_solar(given.event)
    if type(given) is schedule:
        zone = _zone_of_now(given) if given.relative else ""
        return _every(vars(given)["run_every"], zone or timezone, relative=given.relative)
    if type(given) is crontab:
        return ScheduleTerms("cron", {"expression": _expression(given)}, _own_zone(given) or timezone)
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    known = "a crontab, a timedelta or seconds"
    if isinstance(given, BaseSchedule):
        raise _refused("schedule", f"{kind} is a class of its own, whose times only it knows; expected {known}")
    raise _refused("schedule", f"{given!r:.80} ({kind}) is not a schedule; expected {known}")


def no_solar(event: str) -> InvalidInput:
    """Return the refusal of a solar schedule."""
    return _refused(
        "schedule",
        f"solar schedules are not supported: {event!r} comes at another time each day, by the place's sun; use a"
        " crontab at a fixed time, or one that runs often and lets the task decide",
    )


def _every(every: float | timedelta | None, timezone: str, *, relative: bool) -> ScheduleTerms:
    try:
        period = every if isinstance(every, timedelta) else timedelta(seconds=every or 0)
    except (OverflowError, TypeError, ValueError):
        raise _refused("schedule", f"{every!r:.80} is not a number of seconds") from None
    if period < _SECOND or period % _SECOND:
        raise _refused("schedule", f"every {period.total_seconds():g} s: an interval is of whole seconds, at least one")
    return _on_the_clock(period, timezone) if relative else _interval(period)


def _interval(period: timedelta) -> ScheduleTerms:
    return ScheduleTerms("interval", {"every": _span(period // _SECOND)})


def _span(seconds: int) -> str:
    """Write seconds as people do: 5400 is 1h30m."""
    text = ""
    for letter, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        text += f"{number}{letter}" if number else ""
    return text


def _on_the_clock(period: timedelta, timezone: str) -> ScheduleTerms:
    """Translate an interval that is rounded down to its own unit: of one unit it fires on the clock, as cron does.

    Of several units it depends on the last run: every two hours, when it last ran at 09:17, is at 11:00 and 13:00.
    """
    if period in _ON_THE_CLOCK:
        return ScheduleTerms("cron", {"expression": _ON_THE_CLOCK[period]}, timezone)
    if period > _MINUTE:
        raise _refused(
            "schedule",
            f"every {period} with relative=True has no fixed place on the clock: it depends on the last run; use a"
            " crontab, or leave it out",
        )
    return _interval(period)  # of seconds, which relative leaves as they are


def _expression(given: Any) -> str:
    """Return a crontab as an expression. given: the stubs of Celery do not know what a crontab has."""
    if not (given.minute and given.hour and given.day_of_week):
        raise _refused("schedule", f"{given!r} has an empty field, so it never fires")
    minute, hour, day, month, weekdays = (
        _field(getattr(given, f"_orig_{name}"), getattr(given, name), every, names) for name, every, names in _FIELDS
    )
    if not day.startswith("*") and not weekdays.startswith("*"):
        # With Celery both must match, with us (and cron) either does, unless one begins with a star.
        day, weekdays = "*", _nth_weekdays(given, day, weekdays)
    return f"{minute} {hour} {day} {month} {weekdays}"


def _nth_weekdays(given: Any, day: str, weekdays: str) -> str:
    """Say weekdays on days of the month by their number: the Mondays on days 1 to 7 are the first Mondays."""
    numbers = [n for n, week in enumerate(_WEEKS, start=1) if given.day_of_month.issuperset(week)]
    if {each for n in numbers for each in _WEEKS[n - 1]} != given.day_of_month:
        raise _refused(
            "schedule",
            f"day_of_month={day} and day_of_week={weekdays} are both restricted: with Celery both must match, here a"
            " day that matches either would fire; what can be said is whole weeks of a month (1-7, 8-14, 15-21, 22-28,"
            " 29-31), as MON#1",
        )
    return ",".join(f"{_WEEKDAYS[day]}#{n}" for n in numbers for day in sorted(given.day_of_week))


def _field(written: object, values: Iterable[int], every: range, names: tuple[str, ...]) -> str:
    """Return one field as it was written, where that means the same here, else as a list of its values.

    As written, because how a schedule behaves when clocks change depends on whether it has stars, ranges and steps.
    """
    numbers = sorted({int(value) for value in values})
    if numbers == list(every):
        return "*"
    listed = ",".join(map(str, numbers))
    if not isinstance(written, str):
        return listed
    found: set[int] = set()
    items = []
    for part in written.split(","):
        match = _ITEM.fullmatch(part.strip())
        if match is None:
            return listed  # Celery looks at the beginning of an item only
        item, matching = _item(match, every, names)
        items.append(item)
        found.update(matching)
    return ",".join(items) if sorted(found) == numbers else listed


def _item(match: re.Match[str], every: range, names: tuple[str, ...]) -> tuple[str, Iterable[int]]:
    """Return an item of a field in our words, and what it matches."""
    step = int(match["step"] or 1)
    if match["star"]:
        text, matching = "*", list(every)
    else:
        first = _number(match["first"])
        text, matching = _shown(match["first"], first, names), [first]
        if match["last"]:
            last = _number(match["last"])
            text += f"-{_shown(match['last'], last, names)}"
            through = last if last >= first else last + len(every)
            matching = [every.start + (n - every.start) % len(every) for n in range(first, through + 1)]
    if match["step"] and step >= len(matching):
        return str(matching[0]), matching[:1]
    return f"{text}/{step}" if step > 1 else text, matching[::step]


def _number(text: str) -> int:
    """Read a value as Celery does, which takes names of months and weekdays in every field."""
    try:
        return int(text)
    except ValueError:
        try:
            return int(yearmonth(text))
        except KeyError:
            return weekday(text)


def _shown(written: str, number: int, names: tuple[str, ...]) -> str:
    return names[number] if names and not written.isdecimal() else str(number)


def _own_zone(given: Any) -> str:
    """Return the zone that a crontab brings along, empty when it has the app's.

    Celery up to 5.6 counts in the zone of what `nowfun` returns, which is what people give it for.
    """
    if own := vars(given).get("tz"):
        return _zone_name(own)
    return _zone_of_now(given)


def _zone_of_now(given: Any) -> str:
    """Return the zone of what `nowfun` returns, empty when there is none: a relative interval is rounded down in it."""
    if given.nowfun is None:
        return ""
    now = given.nowfun()
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise _refused("schedule", f"its nowfun returns {now!r:.80}, which has no time zone")
    return _zone_name(now.tzinfo)


def _zone_name(given: str | tzinfo) -> str:
    """Return the IANA name of a zone as zoneinfo, pytz and datetime have it."""
    name = given if isinstance(given, str) else getattr(given, "key", None) or getattr(given, "zone", None)
    if name is None and given.utcoffset(None) == timedelta() and str(given) == UTC:  # type: ignore[union-attr]
        return UTC
    if not name:
        raise _refused("timezone", f"{given!r:.80} has no IANA name, as Europe/Berlin")
    return str(name)


def _refused(field: str, sentence: str) -> InvalidInput:
    return InvalidInput([Violation(field, sentence)])
