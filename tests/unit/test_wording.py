"""Schedules in plain words: a table that people have checked, and that words which are the same mean the same."""

# ruff: noqa: ISC004 - a sentence may take two lines
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_service.planning.wording import describe
from shared.calendars import Calendars
from shared.domain.cron import field_values
from shared.domain.errors import InvalidInput
from shared.domain.exclusions import ExclusionTerms
from shared.domain.occurrences import upcoming
from shared.domain.schedule import Schedule, parse_schedule

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)
FIVE_DATES = tuple(f"2026-05-0{n}" for n in range(1, 6))


def a_schedule(kind: str = "cron", *, hash_key: str = "job-1", **terms: Any) -> Schedule:
    config = {"expression": terms.pop("expression")} if "expression" in terms else terms.pop("config", {})
    resolve = Calendars({}).resolve
    return parse_schedule(type=kind, config=config, now=NOW, hash_key=hash_key, resolve=resolve, **terms)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        # times of day
        ("0 8 * * *", "At 08:00"),
        ("30 8 * * *", "At 08:30"),
        ("0 0 * * *", "At 00:00"),
        ("@daily", "At 00:00"),
        ("@hourly", "Every hour"),
        ("30 0 8 * * *", "At 08:00:30"),
        ("0,30 0 8 * * *", "At 08:00 and 08:00:30"),
        ("0 8,20 * * *", "At 08:00 and 20:00"),
        ("15,45 8,20 * * *", "At 08:15, 08:45, 20:15 and 20:45"),
        ("0 22-2 * * *", "At 00:00, 01:00, 02:00, 22:00 and 23:00"),
        ("* * * * *", "Every minute"),
        ("*/1 * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("0/15 * * * *", "Every 15 minutes"),
        ("0,15,30,45 * * * *", "Every 15 minutes"),
        ("3/15 * * * *", "Every 15 minutes from minute 3"),
        ("*/7 * * * *", "At minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of the hour"),
        ("5 * * * *", "At 5 minutes past the hour"),
        ("5-15 * * * *", "Every minute from minute 5 through 15 of the hour"),
        ("1,2,7 * * * *", "At minutes 1, 2 and 7 of the hour"),
        ("* 8 * * *", "Every minute, between 08:00 and 08:59"),
        ("*/10 9-17 * * *", "Every 10 minutes, between 09:00 and 17:59"),
        ("30 9-17 * * *", "At 30 minutes past the hour, between 09:00 and 17:59"),
        ("0 9-17 * * *", "Every hour from 09:00 through 17:00"),
        ("0 */6 * * *", "At 00:00, 06:00, 12:00 and 18:00"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00"),
        ("0 */2 * * *", "Every 2 hours"),
        ("30 */2 * * *", "At minute 30, in every 2nd hour from 00:00 on"),
        ("*/20 1/3 * * *", "Every 20 minutes, in every 3rd hour from 01:00 on"),
        ("*/20 8,20 * * *", "At 08:00, 08:20, 08:40, 20:00, 20:20 and 20:40"),
        ("*/5 8,20 * * *", "Every 5 minutes, in the hours that begin at 08:00 and 20:00"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("* * * * * *", "Every second"),
        ("*/7 * * * * *", "At seconds 0, 7, 14, 21, 28, 35, 42, 49 and 56 of the minute"),
        ("30 * * * * *", "At 30 seconds past the minute"),
        ("*/5 */20 8 * * *", "Every 5 seconds, in minutes 0, 20 and 40 of the hour, between 08:00 and 08:59"),
        ("* 0 8 * * *", "Every second, in minute 0 of the hour, between 08:00 and 08:59"),
        # days
        ("0 8 * * MON-FRI", "At 08:00, Monday through Friday"),
        ("0 8 * * FRI-MON", "At 08:00, Friday through Monday"),
        ("0 8 * * 0,6", "At 08:00, on Saturday and Sunday"),
        ("0 8 * * 7", "At 08:00, on Sunday"),
        ("0 8 * * 1,3", "At 08:00, on Monday and Wednesday"),
        ("0 8 * * FRI#2", "At 08:00, on the second Friday of the month"),
        ("0 8 * * FRIL", "At 08:00, on the last Friday of the month"),
        ("0 8 * * MON#2,FRI", "At 08:00, on Friday and on the second Monday of the month"),
        ("0 8 1 * *", "At 08:00, on the 1st of the month"),
        ("0 8 1,15 * *", "At 08:00, on the 1st and the 15th of the month"),
        ("0 8 1-7 * *", "At 08:00, on the 1st through the 7th of the month"),
        ("0 8 */2 * *", "At 08:00, on every 2nd day of the month from the 1st on"),
        ("0 8 2/10 * *", "At 08:00, on the 2nd, the 12th and the 22nd of the month"),
        ("0 8 L * *", "At 08:00, on the last day of the month"),
        ("0 8 L-3 * *", "At 08:00, on the 4th-last day of the month"),
        ("0 8 LW * *", "At 08:00, on the last weekday of the month"),
        ("0 8 15W * *", "At 08:00, on the weekday nearest to the 15th of the month"),
        ("0 8 1,L * *", "At 08:00, on the 1st and the last day of the month"),
        ("0 8 2,11,21,23 * *", "At 08:00, on the 2nd, the 11th, the 21st and the 23rd of the month"),
        # rule 10: either, unless one begins with a star
        ("0 8 13 * FRI", "At 08:00, on the 13th of the month, and also on Friday"),
        ("0 8 1-7 * MON", "At 08:00, on the 1st through the 7th of the month, and also on Monday"),
        ("0 8 */2 * MON", "At 08:00, on every 2nd day of the month from the 1st on where that is a Monday"),
        ("0 8 13 * */3", "At 08:00, on the 13th of the month where that is a Wednesday, a Saturday or a Sunday"),
        ("0 8 1-31 * MON", "At 08:00"),
        ("0 8 13 * 0-6", "At 08:00"),
        # months
        ("0 0 1 1 *", "At 00:00, on the 1st of January"),
        ("0 0 29 2 *", "At 00:00, on the 29th of February"),
        ("0 6 1,15 JAN,JUL *", "At 06:00, on the 1st and the 15th of January and July"),
        ("0 8 * 1-3 *", "At 08:00, in each month from January through March"),
        ("0 8 * NOV-FEB TUE", "At 08:00, on Tuesday, in each month from November through February"),
        ("0 8 * */3 *", "At 08:00, in January, April, July and October"),
        ("0 8 ? 3 MON#1", "At 08:00, on the first Monday of March"),
        ("0 8 L 2 *", "At 08:00, on the last day of February"),
    ],
)  # fmt: skip
def test_an_expression_is_said_as_people_would(expression: str, words: str) -> None:
    assert describe(a_schedule(expression=expression)) == f"{words}, UTC"


@pytest.mark.parametrize(
    ("timezone", "words"),
    [
        ("America/New_York", "At 08:00, New York time"),
        ("America/Argentina/Buenos_Aires", "At 08:00, Buenos Aires time"),
        ("UTC", "At 08:00, UTC"),
        ("", "At 08:00, UTC"),
        ("EST5EDT", "At 08:00, EST5EDT time"),
        ("Etc/GMT+5", "At 08:00, Etc/GMT+5 time"),
    ],
)
def test_a_zone_is_named_by_its_city(timezone: str, words: str) -> None:
    assert describe(a_schedule(expression="0 8 * * *", timezone=timezone)) == words


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (a_schedule("interval", config={"every": "90m"}), "Every 1 hour 30 minutes, counted from 2026-03-02 12:00 UTC"),
        (a_schedule("interval", config={"seconds": "1"}), "Every 1 second, counted from 2026-03-02 12:00 UTC"),
        (a_schedule("interval", config={"days": "2"}), "Every 2 days, counted from 2026-03-02 12:00 UTC"),
        (a_schedule("once", config={"at": "2030-01-31T08:00:30Z"}), "Once, at 2030-01-31 08:00:30 UTC"),
        (
            a_schedule("once", config={"at": "2030-01-31T08:00:00"}, timezone="America/New_York"),
            "Once, at 2030-01-31 08:00, New York time",
        ),
        (
            a_schedule(expressions=("0 8 * * MON-FRI", "0 12 * * SAT")),
            "At 08:00, Monday through Friday; and at 12:00, on Saturday, UTC",
        ),
        (a_schedule(config={"hour": "8", "minute": "0"}), "At 08:00, UTC"),
        (
            a_schedule(expression="0 8 * * *", jitter=timedelta(minutes=5), max_runs=10),
            "At 08:00, UTC; each put off by less than 5 minutes; at most 10 runs",
        ),
        (
            a_schedule(expression="0 8 * * *", start_time=NOW, end_time=TOMORROW, timezone="Asia/Tokyo"),
            "At 08:00, Tokyo time; from 2026-03-02 21:00 on; until 2026-03-03 21:00",
        ),
        (
            a_schedule(config={"expression": "30 2 * * *", "gap": "skip", "repeat": "BOTH"}),
            "At 02:30, UTC; times that clocks leave out do not fire; times that come twice fire both times",
        ),
        (
            a_schedule(expression="0 8 * * *", exclusions=ExclusionTerms(holidays=("US",), dates=("2026-05-01",))),
            "At 08:00, UTC; not on US holidays or on 2026-05-01",
        ),
        (
            a_schedule(
                expression="0 8 * * *",
                exclusions=ExclusionTerms(ranges=(("2026-12-24", "2027-01-01"),), on_excluded="NEXT_BUSINESS_DAY"),
            ),
            "At 08:00, UTC; what falls from 2026-12-24 through 2027-01-01 moves to the next business day (Saturday and"
            " Sunday are none)",
        ),
        (
            a_schedule(expression="0 8 * * *", exclusions=ExclusionTerms(dates=FIVE_DATES)),
            "At 08:00, UTC; not on 5 dates",
        ),
        (
            a_schedule(expression="H 8 * * *", hash_key=""),
            "At 08:17, UTC; H is made from the job's id, and there is none here",
        ),
    ],
)  # fmt: skip
def test_what_else_a_schedule_says_is_said(schedule: Schedule, words: str) -> None:
    assert describe(schedule) == words


def items(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    step = st.integers(1, high - low + 1)
    return st.one_of(
        st.just("*"),
        st.builds(str, value),
        st.builds("{}-{}".format, value, value),
        st.builds("*/{}".format, step),
        st.builds("{}/{}".format, value, step),
    )


def fields(low: int, high: int, *special: str) -> st.SearchStrategy[str]:
    one = st.one_of(items(low, high), st.sampled_from(special)) if special else items(low, high)
    return st.lists(one, min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(
    st.one_of(st.just("0"), fields(0, 59)),
    fields(0, 59),
    fields(0, 23),
    fields(1, 31, "L", "LW", "15W", "1W", "L-3"),
    fields(1, 12),
    fields(0, 6, "FRI#2", "MON#1", "FRIL", "SUNL"),
)

# Few enough that many examples have the same words: those of a field that mean the same, and its neighbours.
ALIKE = st.tuples(
    st.sampled_from(["0", "0", "0", "30", "*", "*/10", "0-59", "*/7"]),
    st.sampled_from(["0", "5", "*", "*/15", "0/15", "0,15,30,45", "*/7", "5-10", "5,6,7,8,9,10", "3/15", "0-59"]),
    st.sampled_from(["8", "*", "0-23", "9-17", "*/2", "0/2", "1/2", "*/5", "22-2", "8,20", "8-9"]),
    st.sampled_from(["*", "?", "1-31", "13", "*/2", "1/2", "L", "1,L", "15W", "1-7", "L-3"]),
    st.sampled_from(["*", "1-12", "2", "JAN,JUL", "NOV-FEB", "*/3"]),
    st.sampled_from(["*", "0-6", "MON", "1", "MON-FRI", "1,2,3,4,5", "FRI-MON", "*/2", "FRI#2", "FRIL", "MON,FRI#2"]),
)

said: dict[str, tuple[Any, ...]] = {}
"""What the words of all examples so far mean."""


def meaning(expression: tuple[str, ...]) -> tuple[Any, ...]:
    """Return what decides when an expression fires: two that agree on it name the same instants."""
    second, minute, hour, _, month, _ = field_values(expression, "")
    schedule = a_schedule(expression=" ".join(expression))
    year = schedule.count_between(NOW, NOW + timedelta(days=366 * 4)), upcoming(schedule, NOW, 5)
    return second.bits, minute.bits, hour.bits, month.bits, str(year)


@settings(max_examples=500, deadline=None)
@given(st.one_of(EXPRESSIONS, ALIKE))
def test_words_that_are_the_same_mean_the_same(expression: tuple[str, ...]) -> None:
    try:
        schedule = a_schedule(expression=" ".join(expression))
    except InvalidInput:  # no such day
        return
    words = describe(schedule)
    assert said.setdefault(words, meaning(expression)) == meaning(expression)
