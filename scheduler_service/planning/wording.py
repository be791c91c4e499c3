"""Wording: a schedule in plain words, by what its fields were read as, so that `0/15` and `*/15` are the same to it.

The library cron-descriptor says those times of day that it says as they are meant here. This module says the rest: what
the library does not know (H, unions, intervals, exclusions), steps that do not divide the hour or the day (`*/7` is not
"every 7 minutes"), lists of hours and minutes, and all about days, where rule 10 of docs/schedules.md decides.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final

from cron_descriptor import ExpressionDescriptor, Options

from shared.domain.clock import local_text
from shared.domain.cron import Gap, Repeat, field_values, uses_hash
from shared.domain.exclusions import WEEKDAYS, WEEKEND, OnExcluded
from shared.domain.remarks import zone_of
from shared.domain.schedule import CronSchedule, IntervalSchedule, OnceSchedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shared.domain.cron import FieldValues
    from shared.domain.exclusions import Exclusions
    from shared.domain.schedule import Schedule

MOST_TIMES: Final = 6
"""Times of a day that are listed; more are said by their hours and minutes."""
MOST_DAYS: Final = 3
"""Excluded dates that are listed."""
_FEW: Final = 3
"""Values in a row from which on they are said as a range."""
_SECONDS: Final = 60
_MINUTES: Final = 60
_HOURS: Final = 24

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH: Final = ("first", "second", "third", "fourth", "fifth")
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def describe(schedule: Schedule) -> str:
    """Return a schedule in plain words, as `At 08:00, Monday through Friday, New York time; not on US holidays`."""
    match schedule:
        case CronSchedule():
            said = _cron(schedule)
        case IntervalSchedule(period=period, anchor=anchor):
            said = f"Every {_span(period)}, counted from {_instant(anchor, schedule)}"
        case OnceSchedule(at=at):
            where = f", {_zone(schedule.timezone)}" if schedule.follows_zone else ""
            said = f"Once, at {_instant(at, schedule)}{where}"
    return "; ".join([said, *_clauses(schedule)])


def _cron(schedule: CronSchedule) -> str:
    said = [_expression(fields, schedule.hash_key) for fields in schedule.fields]
    first, *others = said
    text = "; and ".join([first[0].upper() + first[1:], *others])
    return f"{text}, {_zone(schedule.timezone)}"


def _zone(name: str) -> str:
    """Name a zone's time by its city, as `New York time`; one that is not named by a place as it is."""
    area, _, place = name.rpartition("/")
    if name in {"UTC", "Etc/UTC"}:
        return "UTC"
    return f"{name} time" if not area or area == "Etc" else f"{place.replace('_', ' ')} time"


def _expression(fields: Sequence[str], hash_key: str) -> str:
    second, minute, hour, day, month, weekday = field_values(fields, hash_key)
    times = _times(_values(second, 0, 59), _values(minute, 0, 59), _values(hour, 0, 23))
    return ", ".join([times, *_days(day, weekday, _values(month, 1, 12))])


def _values(field: FieldValues, low: int, high: int) -> list[int]:
    return [value for value in range(low, high + 1) if field.bits >> value & 1]


# Times of a day:


def _times(seconds: list[int], minutes: list[int], hours: list[int]) -> str:
    if len(seconds) * len(minutes) * len(hours) <= MOST_TIMES:
        return f"at {_listed([_time(*each) for each in product(hours, minutes, seconds)])}"
    if seconds == minutes == [0] and (full := _full_hours(hours)):
        return full
    if (known := _known(seconds, minutes, hours)) is not None:
        return known
    if seconds == [0]:
        return ", ".join([_steps(minutes, _MINUTES, "minute", "hour"), *_hours(hours)])
    parts = [_steps(seconds, _SECONDS, "second", "minute")]
    if len(minutes) < _MINUTES:
        one = len(minutes) == 1
        parts.append(f"in minute{'' if one else 's'} {_many(minutes)} of the hour")
    return ", ".join([*parts, *_hours(hours)])


def _known(seconds: list[int], minutes: list[int], hours: list[int]) -> str | None:
    """Return what cron-descriptor says, of the forms that it says as they are meant; None for others.

    It adds one step to another: a step of a finer field is only said well where the coarser ones have none.
    """
    any_minute = len(minutes) == _MINUTES and len(hours) == _HOURS
    if seconds != [0] and not any_minute:
        return None
    texts = [
        _simple(seconds, _SECONDS, steps=any_minute),
        _simple(minutes, _MINUTES, steps=seconds == [0]),
        _simple(hours, _HOURS, steps=seconds == minutes == [0]) or _range(hours),
    ]
    known = [text for text in texts if text is not None]
    return _by_library(f"{' '.join(known)} * * *") if len(known) == len(texts) else None


def _simple(values: list[int], size: int, *, steps: bool) -> str | None:
    """Write values as a star, a number or, with `steps`, a step that divides the field; None where they are neither."""
    if len(values) == size:
        return "*"
    if len(values) == 1:
        return str(values[0])
    step = values[1] - values[0]
    return f"*/{step}" if steps and size % step == 0 and values == list(range(0, size, step)) else None


def _range(values: list[int]) -> str | None:
    return f"{values[0]}-{values[-1]}" if values == list(range(values[0], values[-1] + 1)) else None


@lru_cache(maxsize=1024)
def _by_library(expression: str) -> str:
    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"
    said = str(ExpressionDescriptor(expression, options).get_full_description())
    return said[0].lower() + said[1:]


def _steps(values: list[int], size: int, unit: str, of: str) -> str:
    """Say which minutes of an hour, or seconds of a minute."""
    if len(values) == size:
        return f"every {unit}"
    if len(values) == 1:
        return f"at {unit} {values[0]}"
    step = values[1] - values[0]
    if size % step == 0 and values == list(range(values[0], size, step)) and values[0] < step and len(values) > 1:
        begin = f" from {unit} {values[0]}" if values[0] else ""
        return f"every {step} {unit}s{begin}"
    if len(values) >= _FEW and values == list(range(values[0], values[-1] + 1)):
        return f"every {unit} from {unit} {values[0]} through {values[-1]} of the {of}"
    return f"at {unit}s {_many(values)} of the {of}"


def _full_hours(hours: list[int]) -> str:
    """Say that it is on the hour, where the hours are in a row; empty where they are not."""
    if len(hours) == _HOURS:
        return "every hour"
    in_a_row = hours == list(range(hours[0], hours[-1] + 1))
    return f"every hour from {_time(hours[0])} through {_time(hours[-1])}" if in_a_row else ""


def _hours(hours: list[int]) -> list[str]:
    if len(hours) == _HOURS:
        return []
    if len(hours) == 1:
        return [f"between {_time(hours[0])} and {_time(hours[0], 59)}"]
    if len(hours) >= _FEW and hours == list(range(hours[0], hours[-1] + 1)):
        return [f"between {_time(hours[0])} and {_time(hours[-1], 59)}"]
    step = hours[1] - hours[0]
    if len(hours) > _FEW and hours == list(range(hours[0], _HOURS, step)):
        return [f"in every {_ordinal(step)} hour from {_time(hours[0])} on"]
    return [f"in the hours that begin at {_listed([_time(hour) for hour in hours])}"]


def _time(hour: int, minute: int = 0, second: int = 0) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


# Days:


def _days(day: FieldValues, weekday: FieldValues, months: list[int]) -> list[str]:
    """Say which days, by the rule that one that matches either field matches, unless one begins with a star (10)."""
    either = not (day.starred or weekday.starred)
    of_month, of_week = _all_month_days(day), _all_weekdays(weekday)
    in_months = [] if len(months) == len(_MONTHS) else [_in_months(months)]
    month = "the month" if len(months) == len(_MONTHS) else _month_names(months)
    if (of_month and of_week) or (either and (of_month or of_week)):
        return in_months
    if of_month:
        said = _week(weekday, month)
    elif of_week:
        said = f"on {_month_days(day, month)}"
    elif either:
        said = f"on {_month_days(day, month)}, and also {_week(weekday, month)}"
    else:
        said = f"on {_month_days(day, month)} where that is {_is_weekday(weekday)}"
    return [said] if month in said and in_months else [said, *in_months]


def _all_month_days(day: FieldValues) -> bool:
    return day.bits >> 1 == (1 << 31) - 1


def _all_weekdays(weekday: FieldValues) -> bool:
    return weekday.bits == (1 << 7) - 1


def _month_days(day: FieldValues, month: str) -> str:
    days = _values(day, 1, 31)
    said = [f"the weekday nearest to the {_ordinal(each)}" for each in sorted(day.nearest_workday)]
    backwards = sorted(day.before_last, reverse=True)
    said += [f"the {_ordinal(back + 1)}-last day" if back else "the last day" for back in backwards]
    said += ["the last weekday"] if day.last_workday else []
    step = days[1] - days[0] if len(days) > _FEW else 1
    if step > 1 and days == list(range(days[0], 32, step)) and not said:
        return f"every {_ordinal(step)} day of {month} from the {_ordinal(days[0])} on"
    if len(days) >= _FEW and days == list(range(days[0], days[-1] + 1)):
        said.insert(0, f"the {_ordinal(days[0])} through the {_ordinal(days[-1])}")
    else:
        said[:0] = [f"the {_ordinal(each)}" for each in days]
    return f"{_listed(said)} of {month}"


def _week(weekday: FieldValues, month: str) -> str:
    numbers = _values(weekday, 0, 6)
    run = _cyclic(numbers, 7)
    said = []
    if len(numbers) >= _FEW and run is not None:
        said.append(f"{_WEEKDAYS[run[0]]} through {_WEEKDAYS[run[-1]]}")
    elif numbers:
        said.append(f"on {_listed([_WEEKDAYS[number] for number in _from_monday(numbers)])}")
    if special := _special_weekdays(weekday):
        said.append(f"on {_listed(special)} of {month}")
    return " and ".join(said)


def _is_weekday(weekday: FieldValues) -> str:
    names = [f"a {_WEEKDAYS[number]}" for number in _from_monday(_values(weekday, 0, 6))]
    return _listed([*names, *_special_weekdays(weekday)], "or")


def _special_weekdays(weekday: FieldValues) -> list[str]:
    nth = [
        f"the {_NTH[number - 1]} {_WEEKDAYS[day]}"
        for day, number in sorted(weekday.nth_weekdays, key=lambda d: d[::-1])
    ]
    return [*nth, *(f"the last {_WEEKDAYS[day]}" for day in sorted(weekday.last_weekdays))]


def _from_monday(numbers: list[int]) -> list[int]:
    return sorted(numbers, key=lambda number: (number - 1) % 7)


def _month_names(months: list[int]) -> str:
    run = _cyclic([month - 1 for month in months], 12)
    if len(months) >= _FEW and run is not None:
        return f"each month from {_MONTHS[run[0]]} through {_MONTHS[run[-1]]}"
    return _listed([_MONTHS[month - 1] for month in months])


def _in_months(months: list[int]) -> str:
    return f"in {_month_names(months)}"


def _cyclic(numbers: list[int], size: int) -> list[int] | None:
    """Return numbers as a run that may go on from the end to the beginning; None if they are none, or all."""
    if len(numbers) == size:
        return None
    for first in numbers:
        run = [(first + n) % size for n in range(len(numbers))]
        if sorted(run) == numbers:
            return run
    return None


# What else a schedule says:


def _clauses(schedule: Schedule) -> list[str]:
    said = []
    if isinstance(schedule, CronSchedule):
        config = schedule.config
        if (gap := config.get("gap")) is not None:
            said.append(_GAPS[Gap(gap.strip().upper())])
        if (repeat := config.get("repeat")) is not None:
            said.append(_REPEATS[Repeat(repeat.strip().upper())])
        if any(uses_hash(fields) for fields in schedule.fields):
            said.append("H is made from the job's id" + ("" if schedule.hash_key else ", and there is none here"))
    if schedule.exclusions is not None and schedule.exclusions.runs:
        said.append(_exclusions(schedule.exclusions))
    if schedule.start_time is not None and not isinstance(schedule, IntervalSchedule):
        said.append(f"from {_instant(schedule.start_time, schedule)} on")
    if schedule.end_time is not None:
        said.append(f"until {_instant(schedule.end_time, schedule)}")
    if schedule.jitter:
        said.append(f"each put off by less than {_span(schedule.jitter)}")
    if schedule.max_runs is not None:
        said.append(f"at most {schedule.max_runs:,} run{'' if schedule.max_runs == 1 else 's'}")
    return said


_GAPS: Final = {
    Gap.SKIP: "times that clocks leave out do not fire",
    Gap.SHIFT: "times that clocks leave out fire right after",
}
_REPEATS: Final = {
    Repeat.FIRST: "times that come twice fire the first time",
    Repeat.SECOND: "times that come twice fire the second time",
    Repeat.BOTH: "times that come twice fire both times",
}


def _exclusions(exclusions: Exclusions) -> str:
    terms = exclusions.terms
    days = []
    if terms.holidays:
        days.append(f"on {_listed([*terms.holidays])} holidays")
    if terms.calendars:
        days.append(f"on days of the calendar{'s' if len(terms.calendars) > 1 else ''} {_listed([*terms.calendars])}")
    if terms.dates:
        dates = sorted(terms.dates)
        days.append(f"on {_listed(dates)}" if len(dates) <= MOST_DAYS else f"on {len(dates):,} dates")
    days += [f"from {first} through {last}" for first, last in terms.ranges[:MOST_DAYS]]
    if len(terms.ranges) > MOST_DAYS:
        days.append(f"in {len(terms.ranges) - MOST_DAYS:,} more ranges of days")
    if terms.on_excluded == OnExcluded.SKIP:
        return f"not {_listed(days, 'or')}"
    which = "next" if terms.on_excluded == OnExcluded.NEXT_BUSINESS_DAY else "previous"
    weekend = [_WEEKDAYS[(WEEKDAYS.index(day.upper()) + 1) % 7] for day in terms.weekend or WEEKEND]
    return f"what falls {_listed(days, 'or')} moves to the {which} business day ({_listed(weekend)} are none)"


def _instant(instant: datetime, schedule: Schedule) -> str:
    """Write an instant by the schedule's clock, as `2026-03-02 12:00`; by UTC, where it follows no zone's."""
    if not schedule.follows_zone:
        return f"{_clock(f'{instant:%Y-%m-%d %H:%M:%S.%f}'[:-3])} UTC"
    date, _, time = local_text(instant, zone_of(schedule)).partition("T")
    return _clock(f"{date} {re.split('[+-]', time)[0]}")


def _clock(text: str) -> str:
    """Return a time without the seconds and milliseconds that it does not need."""
    return text.removesuffix(".000").removesuffix(":00")


def _span(span: timedelta) -> str:
    """Write a span in whole units, as `1 hour 30 minutes`; what is less than a second in milliseconds."""
    seconds, rest = divmod(span // timedelta(milliseconds=1), 1_000)
    said = []
    for unit, size in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            said.append(f"{number:,} {unit}{'' if number == 1 else 's'}")
    return " ".join([*said, *([f"{rest} ms"] if rest else [])])


def _ordinal(number: int) -> str:
    teen = 10 <= number % 100 <= 20  # noqa: PLR2004 - 11th, 12th, 13th
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _many(values: Iterable[int]) -> str:
    return _listed([str(value) for value in values])


def _listed(texts: Sequence[str], last: str = "and") -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"
