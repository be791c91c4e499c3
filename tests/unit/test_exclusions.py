"""Unions and exclusions: every answer against going through days and times one by one, and what is refused."""

from __future__ import annotations

import random
import tracemalloc
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain import exclusions as module
from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import MOST_DAYS, WEEKDAYS, Exclusions, ExclusionTerms, OnExcluded, Resolved
from shared.domain.occurrences import upcoming
from shared.domain.schedule import CronSchedule, IntervalSchedule, Schedule, from_document, parse_schedule, to_document
from shared.domain.zones import package_rules, zone
from tests.recurrence_oracle import DAY, ZONES, Expression, fires_between, stay, zone_info
from tests.unit.test_recurrence_properties import DENSE, EXPRESSIONS, POLICIES, Window, windows

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SKIP, NEXT, PREVIOUS = OnExcluded.SKIP, OnExcluded.NEXT_BUSINESS_DAY, OnExcluded.PREVIOUS_BUSINESS_DAY

relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def excluding(*dates: str, **more: Any) -> ExclusionTerms:
    return ExclusionTerms(dates=dates, **more)


def parse(kind: str, config: dict[str, str], zone: str = "", **more: Any) -> Schedule:
    return parse_schedule(type=kind, config=config, timezone=zone, now=NOW, hash_key="job-1", **more)


def refusals(kind: str, config: dict[str, str], zone: str = "", **more: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        parse(kind, config, zone, **more)
    return [str(violation).removeprefix("schedule_config.") for violation in refused.value.violations]


def daily(hour: int = 8, zone: str = "", *, exclusions: ExclusionTerms | None = None, **more: Any) -> Schedule:
    return parse("cron", {"hour": str(hour), "minute": "0"}, zone, exclusions=exclusions, **more)


def fires(schedule: Schedule, after: str, n: int = 3) -> list[str]:
    return [fire.isoformat().removesuffix(":00+00:00") for fire in upcoming(schedule, at(after), n)]


def iterate(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    found = []
    following = schedule.next_after(begin)
    while following is not None and following <= end:
        found.append(following)
        following = schedule.next_after(following)
    return found


def agrees(schedule: Schedule, all_fires: list[datetime], begin: datetime, end: datetime, data: st.DataObject) -> None:
    """Ask for the last one and the number of them in some spans, which begin and end near occurrences, too."""
    tenths = st.integers(0, (end - begin) // timedelta(milliseconds=100))
    anywhere = tenths.map(lambda tenth: begin + tenth * timedelta(milliseconds=100))
    edges = [max(begin, min(end, f + n * timedelta(milliseconds=1))) for f in all_fires[:8] for n in (-1, 0, 1)]
    instant = st.one_of(anywhere, st.sampled_from(edges)) if edges else anywhere
    for _ in range(4):
        after, through = sorted((data.draw(instant), data.draw(instant)))
        inside = [fire for fire in all_fires if after < fire <= through]
        assert schedule.count_between(after, through) == len(inside)
        assert schedule.last_between(after, through) == (inside[-1] if inside else None)
    for edge in edges:
        following = next((fire for fire in all_fires if fire > edge), None)
        if following is not None:
            assert schedule.next_after(edge) == following


# Unions


@relaxed
@given(windows(), st.lists(st.one_of(EXPRESSIONS, DENSE), min_size=2, max_size=3), POLICIES, st.data())
def test_a_union_fires_when_one_of_its_expressions_does_and_once_when_several_do(
    window: Window, expressions: list[Expression], policies: dict[str, str], data: st.DataObject
) -> None:
    name, begin, end = window
    texts = tuple(e.text for e in expressions)
    try:
        schedule = CronSchedule(terms=tuple(sorted(policies.items())), expressions=texts, timezone=name)
    except InvalidInput as refused:
        assert "never fires" in str(refused)  # noqa: PT017 - the refusal is what a caller sees
        return
    expected = fires_between(expressions, name, policies, begin, end)
    assert iterate(schedule, begin, end) == expected
    agrees(schedule, expected, begin, end, data)


@relaxed
@given(st.sampled_from(ZONES), st.lists(EXPRESSIONS, min_size=2, max_size=6), st.integers(1970, 2080), st.data())
def test_counts_of_a_union_add_up_over_decades(
    name: str, expressions: list[Expression], year: int, data: st.DataObject
) -> None:
    days = st.integers(0, 20 * 366)
    dates = tuple(str(date(year, 1, 1) + data.draw(days) * DAY) for _ in range(data.draw(st.integers(0, 5))))
    exclusions = Exclusions(terms=ExclusionTerms(dates, on_excluded=data.draw(st.sampled_from(OnExcluded))))
    try:
        schedule = CronSchedule(
            terms=(), expressions=tuple(e.text for e in expressions), timezone=name, exclusions=exclusions
        )
    except InvalidInput:
        return
    begin = datetime(year, 1, 1, 12, 34, 56, tzinfo=UTC)
    middle = begin + data.draw(days) * DAY
    end = middle + data.draw(days) * DAY
    total = schedule.count_between(begin, end)
    assert total == schedule.count_between(begin, middle) + schedule.count_between(middle, end)
    last = schedule.last_between(begin, end)
    assert (last is None) == (total == 0)
    if last is not None:
        assert schedule.count_between(begin, last) == total
        assert schedule.count_between(last, end) == 0


def test_a_union_of_three_counts_what_two_of_them_share_once() -> None:
    union = parse("cron", {}, expressions=["0 8 * * *", "0 8,9 * * MON", "*/30 8 1 * *"])
    # Every day once, four Mondays at nine, and half past eight on the first.
    assert union.count_between(at("2027-02-01"), at("2027-03-01")) == 28 + 4 + 1


def test_decades_of_a_union_of_every_second_are_counted_at_once() -> None:
    union = parse("cron", {}, expressions=["* * * * * *", "0 0 1 1 *", "*/7 * * * * *"])
    assert (
        union.count_between(at("2030-01-01"), at("2060-01-01")) == (at("2060-01-01") - at("2030-01-01")).total_seconds()
    )


def test_each_expression_keeps_its_own_rule_where_clocks_change() -> None:
    union = parse("cron", {}, "Europe/Berlin", expressions=["30 2 * * *", "*/30 2 * * *"])
    # Fixed, half past two comes once, in the first pass; interval-like, it comes in both.
    assert fires(union, "2027-10-30T23:30", 4) == [
        "2027-10-31T00:00", "2027-10-31T00:30", "2027-10-31T01:00", "2027-10-31T01:30"
    ]  # fmt: skip
    # In the gap only the fixed one fires, after it.
    assert fires(union, "2027-03-28T00:00", 1) == ["2027-03-28T01:00"]


def test_gap_and_repeat_hold_for_all_expressions() -> None:
    union = parse(
        "cron", {"gap": "SKIP", "repeat": "FIRST"}, "Europe/Berlin", expressions=["30 2 * * *", "*/30 2 * * *"]
    )
    assert union.count_between(at("2027-10-30T12:00"), at("2027-10-31T12:00")) == 2
    assert union.count_between(at("2027-03-27T12:00"), at("2027-03-28T12:00")) == 0


@pytest.mark.parametrize(
    ("kind", "config", "more", "sentences"),
    [
        ("cron", {}, {"expressions": ["@daily", "0 25 * * *", "x"]}, [
            "expressions[1]: '25' is not an hour (0-23)",
            "expressions[2]: 'x' has 1 field; expected 5 (minute, hour, day of month, month, day of week) or 6 (a leading second)",  # noqa: E501
        ]),
        ("cron", {"expression": "@daily"}, {"expressions": ["@daily"]},
         ["expressions: give either expressions or what config has, not both (expression)"]),
        ("cron", {"minute": "5", "gap": "SKIP"}, {"expressions": ["@daily"]},
         ["expressions: give either expressions or what config has, not both (gap, minute)"]),
        ("interval", {"hours": "1"}, {"expressions": ["@daily"]},
         ["expressions: only a cron schedule has expressions, not one of type interval"]),
        ("cron", {}, {"expressions": ["@daily"] * 21}, ["expressions: 21 are too many (at most 20)"]),
        ("cron", {}, {"expressions": ["@daily", "@hourly"], "zone": "Mars/Olympus"},
         ["timezone: 'Mars/Olympus' is not an IANA time zone, for example Europe/Berlin"]),
        ("cron", {}, {"expressions": ["x" * 1001]},
         [f"expressions[0]: '{'x' * 80}...' has 1,001 characters; at most 1,000 are read"]),
    ],
)  # fmt: skip
def test_wrong_expressions_are_refused_one_by_one(
    kind: str, config: dict[str, str], more: dict[str, Any], sentences: list[str]
) -> None:
    assert refusals(kind, config, **more) == sentences


# Exclusions of cron schedules


@cache
def days_of(terms: ExclusionTerms) -> frozenset[date]:
    found = {date.fromisoformat(text) for text in terms.dates}
    for first, last in terms.ranges:
        day = date.fromisoformat(first)
        while day <= date.fromisoformat(last):
            found.add(day)
            day += DAY
    return frozenset(found)


def goal(terms: ExclusionTerms, day: date) -> date | None:
    """Where a day's times go, day by day."""
    if day not in days_of(terms):
        return day
    if terms.on_excluded == SKIP:
        return None
    weekend = {WEEKDAYS.index(name) for name in terms.weekend or ("SAT", "SUN")}
    while day in days_of(terms) or day.weekday() in weekend:
        day += DAY if terms.on_excluded == NEXT else -DAY
    return day


@st.composite
def exclusions_near(draw: st.DrawFn, begin: datetime) -> ExclusionTerms:
    near = st.integers(-6, 9).map(lambda n: begin.date() + n * DAY)
    spans = draw(st.lists(st.tuples(near, st.integers(0, 4)), max_size=2))
    return ExclusionTerms(
        dates=tuple(map(str, draw(st.lists(near, max_size=6)))),
        ranges=tuple((str(first), str(first + n * DAY)) for first, n in spans),
        on_excluded=draw(st.sampled_from(OnExcluded)).value,
        weekend=draw(st.one_of(st.just(()), st.lists(st.sampled_from(WEEKDAYS), max_size=4).map(tuple))),
    )


@relaxed
@given(windows(), st.lists(st.one_of(EXPRESSIONS, DENSE), min_size=1, max_size=3), POLICIES, st.data())
def test_excluded_days_are_left_out_or_their_times_move_to_the_business_day(
    window: Window, expressions: list[Expression], policies: dict[str, str], data: st.DataObject
) -> None:
    name, begin, end = window
    terms = data.draw(exclusions_near(begin))
    texts = tuple(e.text for e in expressions)
    try:
        schedule = CronSchedule(
            terms=tuple(sorted(policies.items())), expressions=texts, timezone=name, exclusions=Exclusions(terms=terms)
        )
    except InvalidInput as refused:
        assert "never fires" in str(refused)  # noqa: PT017
        return
    expected = fires_between(expressions, name, policies, begin, end, lambda day: goal(terms, day))
    assert iterate(schedule, begin, end) == expected
    agrees(schedule, expected, begin, end, data)


def test_a_skipped_day_is_no_occurrence() -> None:
    assert fires(daily(exclusions=excluding("2030-12-25")), "2030-12-24T00:00") == [
        "2030-12-24T08:00", "2030-12-26T08:00", "2030-12-27T08:00"
    ]  # fmt: skip


def test_a_moved_occurrence_joins_those_of_the_business_day_and_comes_once() -> None:
    weekly = excluding("2030-12-24", "2030-12-25", on_excluded=NEXT)
    tuesdays = parse("cron", {"expression": "0 8 * * TUE"}, exclusions=weekly)
    assert fires(tuesdays, "2030-12-18T00:00", 2) == ["2030-12-26T08:00", "2030-12-31T08:00"]
    both = parse("cron", {"expression": "0 8 * * TUE,THU"}, exclusions=weekly)
    assert fires(both, "2030-12-23T00:00", 2) == ["2030-12-26T08:00", "2030-12-31T08:00"]
    assert both.count_between(at("2030-12-23"), at("2031-01-01")) == 2


def test_the_next_business_day_is_neither_excluded_nor_of_the_weekend() -> None:
    # 2030-12-26 is a Thursday.
    terms = excluding("2030-12-26", "2030-12-27", "2030-12-30", on_excluded=NEXT)
    assert fires(parse("cron", {"expression": "0 8 26 * *"}, exclusions=terms), "2030-12-01", 1) == ["2030-12-31T08:00"]
    friday = excluding("2030-12-26", on_excluded=NEXT, weekend=("fri", "sat"))
    assert fires(parse("cron", {"expression": "0 8 26 * *"}, exclusions=friday), "2030-12-01", 1) == [
        "2030-12-29T08:00"
    ]


def test_a_schedule_on_weekends_fires_on_weekends_that_are_not_excluded() -> None:
    terms = excluding("2030-12-28", on_excluded=NEXT)
    saturdays = parse("cron", {"expression": "0 8 * * SAT"}, exclusions=terms)
    assert fires(saturdays, "2030-12-20") == ["2030-12-21T08:00", "2030-12-30T08:00", "2031-01-04T08:00"]


def test_what_moves_back_comes_before_the_excluded_day() -> None:
    terms = excluding("2031-01-01", on_excluded=PREVIOUS)
    yearly = parse("cron", {"expression": "0 8 1 1 *"}, exclusions=terms)
    assert fires(yearly, "2030-12-01", 2) == ["2030-12-31T08:00", "2032-01-01T08:00"]
    assert yearly.last_between(at("2030-12-31"), at("2031-06-01")) == at("2030-12-31T08:00")


def test_a_time_moves_into_a_gap_as_a_time_that_is_named_there() -> None:
    # Clocks in Berlin go from 02:00 to 03:00 on Sunday 2027-03-28.
    terms = excluding("2027-03-27", on_excluded=NEXT, weekend=("SAT",))
    fixed = parse("cron", {"expression": "30 2 * * SAT"}, "Europe/Berlin", exclusions=terms)
    assert fires(fixed, "2027-03-26", 1) == ["2027-03-28T01:00"]
    stepped = parse("cron", {"expression": "*/30 2 * * SAT"}, "Europe/Berlin", exclusions=terms)
    assert fires(stepped, "2027-03-26", 1) == ["2027-04-03T00:00"]


def test_start_and_end_bound_the_times_that_come_of_a_move() -> None:
    terms = excluding("2030-12-25", on_excluded=NEXT)
    yearly = {"expression": "0 8 25 12 *"}
    assert fires(parse("cron", yearly, exclusions=terms, start_time=at("2030-12-26")), "2030-01-01", 1) == [
        "2030-12-26T08:00"
    ]
    ends = parse("cron", yearly, exclusions=terms, end_time=at("2030-12-26"))
    assert ends.last_between(at("2030-01-01"), at("2040-01-01")) is None


# Exclusions of intervals and single instants


def interval_fires(
    anchor: datetime, period: timedelta, name: str, terms: ExclusionTerms, end: datetime
) -> list[datetime]:
    """Go through the elapsed times one by one."""
    where, found, instant = zone(name), set(), anchor + period
    while instant < end + 40 * DAY:
        local = instant.astimezone(zone_info(name)).replace(tzinfo=None)
        day = goal(terms, local.date())
        if day == local.date():
            found.add(instant)
        elif day is not None:
            wall = datetime.combine(day, local.time(), UTC)
            moved = datetime.fromtimestamp(where.instant(int(wall.timestamp())), UTC)
            # What a gap would take past the day's end has no time to move to.
            if moved < datetime.fromtimestamp(where.instant(int(at(f"{day + DAY}").timestamp())), UTC):
                found.add(moved + timedelta(microseconds=anchor.microsecond))
        instant += period
    return sorted(found)


@relaxed
@given(
    windows(),
    st.sampled_from([600, 901, 3600, 5400, 25_213, 86_400, 90_000, 172_800, 259_207]),
    st.integers(0, 20 * 86_400_000),
    st.data(),
)
def test_an_interval_leaves_excluded_days_out_or_moves_to_the_same_wall_clock_time(
    window: Window, period: int, back: int, data: st.DataObject
) -> None:
    name, begin, end = window
    terms = data.draw(exclusions_near(begin))
    anchor = begin - back * timedelta(milliseconds=1)
    schedule = IntervalSchedule(
        terms=(("seconds", str(period)),), timezone=name, anchor=anchor, exclusions=Exclusions(terms=terms)
    )
    everything = interval_fires(anchor, timedelta(seconds=period), name, terms, end)
    expected = [fire for fire in everything if begin < fire <= end]
    assert iterate(schedule, begin, end) == expected
    agrees(schedule, expected, begin, end, data)


def test_an_interval_of_every_second_moves_thousands_of_times_at_once() -> None:
    terms = excluding("2030-12-25", on_excluded=NEXT)
    schedule = parse("interval", {"seconds": "7"}, exclusions=terms, start_time=at("2030-12-01"))
    sevens = [schedule.count_between(at(f"2030-12-{day}"), at(f"2030-12-{day + 1}")) for day in (24, 25, 26, 27)]
    assert sevens[1] == 0
    assert sevens[2] in {2 * n + m for n in (12_342, 12_343) for m in (0, 1)}
    every_second = parse("interval", {"seconds": "1"}, exclusions=terms, start_time=at("2030-12-01"))
    assert every_second.count_between(at("2030-12-24T23:59:59"), at("2030-12-26T23:59:59")) == 86_400


def test_decades_of_an_interval_with_exclusions_are_counted_in_little_memory() -> None:
    terms = excluding("2030-12-25", on_excluded=NEXT)
    schedule = parse("interval", {"seconds": "1"}, exclusions=terms, start_time=at("2030-12-01"))
    tracemalloc.start()
    try:
        days = (at("2130-12-02") - at("2030-12-02")).days - 1
        assert schedule.count_between(at("2030-12-02"), at("2130-12-02")) == days * 86_400
        assert schedule.last_between(at("2030-12-02"), at("2130-12-02")) == at("2130-12-02")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_single_instant_moves_too() -> None:
    terms = excluding("2030-12-25", on_excluded=NEXT)
    once = parse("once", {"at": "2030-12-25T08:00:00"}, "America/New_York", exclusions=terms)
    assert fires(once, "2030-01-01") == ["2030-12-26T13:00"]
    assert once.last_between(at("2030-12-26"), at("2031-01-01")) == at("2030-12-26T13:00")
    assert once.count_between(at("2030-12-25"), at("2030-12-26")) == 0
    night = excluding("2027-03-27", on_excluded=NEXT, weekend=("SAT",))
    assert fires(parse("once", {"at": "2027-03-27T02:30:00"}, "Europe/Berlin", exclusions=night), "2027-01-01") == [
        "2027-03-28T01:00"
    ]


# What is refused, and what is kept


def resolve(calendars: tuple[str, ...], holidays: tuple[str, ...]) -> Resolved:
    known = {"US": date(2030, 7, 4), "company": date(2030, 8, 1)}
    wrong = [
        Violation(f"holidays[{n}]", f"'{name}' is unknown") for n, name in enumerate(holidays) if name not in known
    ]
    if wrong:
        raise InvalidInput(wrong)
    return Resolved(tuple(known[name] for name in (*calendars, *holidays)), "test 1")


def test_named_calendars_and_holidays_are_days_that_somebody_else_finds() -> None:
    terms = excluding("2030-07-03", calendars=("company",), holidays=("US",))
    schedule = daily(exclusions=terms, resolve=resolve)
    assert fires(schedule, "2030-07-02") == ["2030-07-02T08:00", "2030-07-05T08:00", "2030-07-06T08:00"]
    kept = schedule.exclusions
    assert kept is not None
    assert (kept.named.calendars, kept.named.holidays, kept.source) == (("company",), ("US",), "test 1")
    assert [date.fromordinal(day) for day in kept.resolved] == [date(2030, 7, 4), date(2030, 8, 1)]
    other = kept.with_resolved([date(2030, 7, 5)], "test 2")
    assert (other.terms, other.resolved, other.source) == (terms, (date(2030, 7, 5).toordinal(),), "test 2")


def test_names_are_refused_where_no_calendars_are_configured() -> None:
    assert refusals(
        "cron", {"expression": "@daily"}, exclusions=excluding(calendars=("a",), holidays=("US", "DE"))
    ) == [
        "exclusions.calendars[0]: no calendars or holidays are configured here",
        "exclusions.holidays[0]: no calendars or holidays are configured here",
        "exclusions.holidays[1]: no calendars or holidays are configured here",
    ]


@pytest.mark.parametrize(
    ("terms", "sentences"),
    [
        (excluding("2030-12-25", "25.12.2030", "", "2030-02-30"), [
            "dates[1]: '25.12.2030' is not a date; expected one like 2030-12-25",
            "dates[2]: a date is required; expected one like 2030-12-25",
            "dates[3]: '2030-02-30' is not a date; expected one like 2030-12-25",
        ]),
        (excluding(ranges=(("2030-12-24", "2031-01-01"), ("2030-12-24", "2030-12-23"), ("x", "2030-12-23"),
                           ("2030-12-24", "20301225"))), [
            "ranges[1].last: 2030-12-23 is before first, 2030-12-24",
            "ranges[2].first: 'x' is not a date; expected one like 2030-12-25",
            "ranges[3].last: '20301225' is not a date; expected one like 2030-12-25",
        ]),
        (excluding(weekend=("SAT", "SATURDAY")),
         ["weekend[1]: 'SATURDAY' is not a day of the week (MON, TUE, WED, THU, FRI, SAT, SUN)"]),
        (excluding(weekend=WEEKDAYS), ["weekend: all seven days are named, so there is no business day to move to"]),
        (excluding(on_excluded="7"),
         ["on_excluded: '7' is not what can become of an occurrence (SKIP, NEXT_BUSINESS_DAY, PREVIOUS_BUSINESS_DAY)"]),
        (excluding(holidays=("", "D" * 101), calendars=("a",)), [
            "holidays[0]: '' has 0 characters; a name has 1 to 100",
            f"holidays[1]: '{'D' * 80}...' has 101 characters; a name has 1 to 100",
        ]),
        (excluding(holidays=("US", "XX")), ["holidays[1]: 'XX' is unknown"]),
        (excluding(*["2030-12-25"] * 1_001), ["dates: 1,001 are too many (at most 1,000)"]),
        (excluding(ranges=(("2030-12-25", "2030-12-25"),) * 101), ["ranges: 101 are too many (at most 100)"]),
        (excluding(ranges=(("0001-01-01", "9999-12-31"),)),
         [": 3,652,059 excluded days are too many (at most 10,000)"]),
    ],
)  # fmt: skip
def test_wrong_exclusions_are_refused_by_field(terms: ExclusionTerms, sentences: list[str]) -> None:
    said = refusals("cron", {"expression": "@daily"}, exclusions=terms, resolve=resolve)
    expected = [f"exclusions{'' if s.startswith(':') else '.'}{s}" for s in sentences]
    if terms.holidays[:1] == ("",):
        assert set(expected) <= set(said)
    else:
        assert said == expected


def test_exclusions_that_leave_nothing_are_refused() -> None:
    at_noon = {"at": "2030-12-25T12:00:00Z"}
    never = "exclusions: never fires after 2026-11-23T12:00:00Z: they leave no occurrence"
    assert refusals("once", at_noon, exclusions=excluding("2030-12-25")) == [never]
    thousands = ExclusionTerms(ranges=(("2026-01-01", "2050-01-01"),))
    limits = refusals("cron", {"expression": "@daily"}, exclusions=thousands, end_time=at("2040-01-01"))
    assert limits == [
        (
            "end_time: never fires after 2026-11-23T12:00:00Z: its next time, 2050-01-02T00:00:00Z, is after end_time"
            " 2040-01-01T00:00:00Z"
        )
    ]


def test_a_schedule_with_all_of_it_is_kept_exactly_and_parsed_once() -> None:
    terms = ExclusionTerms(("2030-12-25",), (("2031-01-01", "2031-01-03"),), (), ("US",), PREVIOUS.value, ("SUN",))
    schedule = parse(
        "cron",
        {"gap": "SKIP"},
        "Europe/Berlin",
        expressions=["0 8 * * *", "H 9 * * *"],
        exclusions=terms,
        resolve=resolve,
    )
    document = to_document(schedule)
    read, again = from_document(document), from_document(dict(document))
    assert read == again == schedule
    assert isinstance(read, CronSchedule)
    assert isinstance(again, CronSchedule)
    assert read._cron is again._cron
    assert upcoming(read, at("2030-12-20"), 40) == upcoming(schedule, at("2030-12-20"), 40)
    for kind, config in (("interval", {"hours": "5"}), ("once", {"at": "2030-12-25T08:00:00Z"})):
        other = parse(kind, config, "Europe/Berlin", exclusions=terms, resolve=resolve)
        assert from_document(to_document(other)) == other
        assert other.rules == package_rules("Europe/Berlin")
        assert other.follows_zone


def test_a_document_of_before_unions_and_exclusions_is_read() -> None:
    schedule = daily()
    document = to_document(schedule)
    assert from_document({key: document[key] for key in document.keys() - {"expressions", "exclusions"}}) == schedule


def test_ten_thousand_excluded_days_are_found_their_business_day_at_once() -> None:
    sundays = [date(2030, 1, 6) + n * 7 * DAY for n in range(1_000)]
    terms = ExclusionTerms(tuple(map(str, sundays)), on_excluded=NEXT.value, weekend=WEEKDAYS[:6])
    exclusions = Exclusions(terms=terms)
    # Nothing but Sundays is a business day, so all of them move behind the last one.
    assert [len(runs) for _, runs in exclusions.moves] == [1_000]
    weekly = CronSchedule(terms=(("expression", "0 8 * * SUN"),), exclusions=exclusions)
    assert weekly.next_after(at("2030-01-01")) == datetime.combine(sundays[-1] + 7 * DAY, time(8), UTC)
    assert sum(last - first + 1 for first, last in exclusions.runs) <= MOST_DAYS


def test_runs_and_moves_are_those_of_a_walk_day_by_day() -> None:
    rng = random.Random(20261123)
    for _ in range(200):
        dates = tuple(str(date(2030, 1, 1) + rng.randrange(60) * DAY) for _ in range(rng.randrange(25)))
        weekend = tuple(rng.sample(WEEKDAYS, rng.randrange(7)))
        terms = ExclusionTerms(dates, weekend=weekend, on_excluded=rng.choice(list(OnExcluded)).value)
        exclusions = Exclusions(terms=terms)
        epoch = date(1970, 1, 1)
        moved = {
            epoch + n * DAY: epoch + target * DAY
            for target, runs in exclusions.moves
            for first, last in runs
            for n in range(first, last + 1)
        }
        for n in range(-3, 70):
            day = date(2030, 1, 1) + n * DAY
            assert exclusions.excludes((day - epoch).days) == (day in days_of(terms))
            assert (moved.get(day) if day in days_of(terms) else day) == goal(terms, day)
    assert stay(epoch) == epoch
    assert module.from_document(None) is None
