"""What holds for every schedule in every zone, 1970-2100, held against a slow oracle and two other libraries."""

from __future__ import annotations

import re
from calendar import isleap
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.compare_recurrence import compare
from shared.domain import zones
from shared.domain.cron import Cron
from shared.domain.errors import InvalidInput
from shared.domain.occurrences import upcoming
from shared.domain.schedule import CronSchedule, IntervalSchedule, parse_schedule
from tests.recurrence_oracle import (
    ANY_DAY,
    DAY,
    ZONES,
    Expression,
    Time,
    before_last,
    changes,
    dates_between,
    dates_stepping,
    every,
    fires_between,
    in_month,
    instants,
    last_weekday,
    last_workday,
    listed,
    months_between,
    nth_weekday,
    offset,
    on_date,
    on_weekday,
    ranging,
    stepping,
    stepping_from,
    weekdays_between,
    workday_near,
    zone_info,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MINUTE = timedelta(minutes=1)

Window = tuple[str, datetime, datetime]


def times(size: int) -> st.SearchStrategy[Time]:
    value, step = st.integers(0, size - 1), st.integers(1, size)
    return st.one_of(
        st.just(every(size)),
        step.map(lambda n: stepping(size, n)),
        value.map(listed),
        st.lists(value, min_size=2, max_size=4).map(lambda values: listed(*values)),
        st.builds(partial(ranging, size), value, value),
        st.builds(partial(stepping_from, size), value, step),
    )


DAYS = st.one_of(
    st.just(ANY_DAY),
    st.just(ANY_DAY),
    st.integers(1, 31).map(on_date),
    st.builds(dates_between, st.integers(1, 31), st.integers(1, 31)),
    st.integers(1, 15).map(dates_stepping),
    st.integers(0, 30).map(before_last),
    st.builds(last_workday),
    st.integers(1, 31).map(workday_near),
)
MONTHS = st.one_of(
    st.just(ANY_DAY),
    st.integers(1, 12).map(in_month),
    st.builds(months_between, st.integers(1, 12), st.integers(1, 12)),
)
WEEKDAYS = st.one_of(
    st.just(ANY_DAY),
    st.just(ANY_DAY),
    st.integers(0, 7).map(on_weekday),
    st.builds(weekdays_between, st.integers(0, 6), st.integers(0, 6)),
    st.integers(0, 6).map(last_weekday),
    st.builds(nth_weekday, st.integers(0, 6), st.integers(1, 5)),
)
SECONDS = st.one_of(st.none(), st.none(), st.integers(0, 59).map(listed))
EXPRESSIONS = st.builds(Expression, times(60), times(24), DAYS, MONTHS, WEEKDAYS, SECONDS)
DENSE = st.builds(Expression, times(60), times(24), st.just(ANY_DAY), st.just(ANY_DAY), st.just(ANY_DAY))
POLICIES = st.fixed_dictionaries(
    {}, optional={"gap": st.sampled_from(["SKIP", "SHIFT"]), "repeat": st.sampled_from(["FIRST", "SECOND", "BOTH"])}
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """A zone and a span of four days, mostly around a change of its offset."""
    name = draw(st.sampled_from(ZONES))
    year = draw(st.integers(1970, 2099))
    centres = changes(name, year) or (datetime(year, 1, 1, tzinfo=UTC) + draw(st.integers(2, 362)) * DAY,)
    centre = draw(st.sampled_from(centres))
    begin = centre - 2 * DAY + draw(st.integers(0, 1440)) * MINUTE
    return name, begin, begin + 4 * DAY


def schedule_of(text: str, timezone: str, policies: dict[str, str] | None = None) -> CronSchedule:
    terms = tuple(sorted({"expression": text, **(policies or {})}.items()))
    return CronSchedule(terms=terms, timezone=timezone, hash_key="")


def valid(text: str, timezone: str, policies: dict[str, str] | None = None) -> CronSchedule | None:
    """The schedule, or None for an expression that no day matches; the oracle sees to it that this is rightly said."""
    try:
        return schedule_of(text, timezone, policies)
    except InvalidInput as refused:
        assert "never fires" in str(refused)  # noqa: PT017 - the refusal is what a caller sees
        return None


def iterate(schedule: CronSchedule | IntervalSchedule, begin: datetime, end: datetime) -> Iterator[datetime]:
    following = schedule.next_after(begin)
    while following is not None and following <= end:
        yield following
        following = schedule.next_after(following)


relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=90)


@relaxed
@given(windows(), st.one_of(EXPRESSIONS, DENSE), POLICIES)
def test_it_fires_exactly_when_a_minute_by_minute_walk_through_the_wall_clock_says(
    window: Window, expression: Expression, policies: dict[str, str]
) -> None:
    name, begin, end = window
    schedule = valid(expression.text, name, policies)
    fires = fires_between([expression], name, policies, begin, end)
    assert (list(iterate(schedule, begin, end)) if schedule else []) == fires


@relaxed
@given(windows(), st.one_of(EXPRESSIONS, DENSE), POLICIES, st.data())
def test_last_and_count_agree_with_going_through_the_fires_one_by_one(
    window: Window, expression: Expression, policies: dict[str, str], data: st.DataObject
) -> None:
    name, begin, end = window
    schedule = valid(expression.text, name, policies)
    if schedule is None:
        return
    inside = st.integers(0, 4 * 86_400 * 10).map(lambda tenths: begin + tenths * timedelta(milliseconds=100))
    after, through = sorted((data.draw(inside), data.draw(inside)))
    fires = [fire for fire in iterate(schedule, begin, end) if after < fire <= through]
    assert schedule.count_between(after, through) == len(fires)
    assert schedule.last_between(after, through) == (fires[-1] if fires else None)


@relaxed
@given(st.sampled_from(ZONES), st.integers(1970, 2099), EXPRESSIONS, POLICIES)
def test_fires_strictly_increase_and_are_whole_seconds_in_utc(
    name: str, year: int, expression: Expression, policies: dict[str, str]
) -> None:
    schedule = valid(expression.text, name, policies)
    if schedule is None:
        return
    begin = datetime(year, 1, 1, tzinfo=UTC)
    fires = upcoming(schedule, begin, 30)
    assert all(a < b for a, b in zip([begin, *fires], fires, strict=False))
    assert all(fire.microsecond == 0 and fire.utcoffset() == timedelta() for fire in fires)
    if fires:
        assert schedule.count_between(begin, fires[-1]) == len(fires)
        assert schedule.last_between(begin, fires[-1] - timedelta(microseconds=1)) == (
            fires[-2] if len(fires) > 1 else None
        )


@relaxed
@given(st.sampled_from(ZONES), st.integers(1970, 2080), st.integers(0, 20 * 366), st.integers(0, 20 * 366), EXPRESSIONS)
def test_counts_of_adjoining_spans_add_up_over_decades(
    name: str, year: int, first: int, second: int, expression: Expression
) -> None:
    schedule = valid(expression.text, name)
    if schedule is None:
        return
    begin = datetime(year, 1, 1, 12, 34, 56, tzinfo=UTC)
    middle = begin + first * DAY
    end = middle + second * DAY
    total = schedule.count_between(begin, end)
    assert total == schedule.count_between(begin, middle) + schedule.count_between(middle, end)
    last = schedule.last_between(begin, end)
    assert (last is None) == (total == 0)
    if last is not None:
        assert schedule.count_between(begin, last) == total
        assert schedule.count_between(last, end) == 0
        following = schedule.next_after(last)
        assert following is None or following > end


@relaxed
@given(
    st.integers(1, 10_000_000),
    st.integers(0, 4_000_000_000_000),
    st.integers(-20_000_000, 20_000_000),
    st.integers(0, 200),
)
def test_an_interval_counts_elapsed_time_from_its_anchor(period: int, anchor_ms: int, shift: int, span: int) -> None:
    anchor = datetime(1970, 1, 1, tzinfo=UTC) + anchor_ms * timedelta(milliseconds=1)
    schedule = IntervalSchedule(terms=(("seconds", str(period)),), anchor=anchor)
    begin = anchor + timedelta(seconds=shift, microseconds=17)
    end = begin + timedelta(seconds=span * period)
    fires = list(iterate(schedule, begin, end))
    assert schedule.count_between(begin, end) == len(fires)
    assert schedule.last_between(begin, end) == (fires[-1] if fires else None)
    assert all((fire - anchor) % timedelta(seconds=period) == timedelta() and fire > anchor for fire in fires)
    if fires:
        assert fires[0] == anchor + timedelta(seconds=period) or fires[0] - timedelta(seconds=period) <= begin


@relaxed
@given(windows(), st.integers(0, 86_399_999))
def test_a_single_wall_clock_time_comes_as_a_fixed_time_does(window: Window, tick: int) -> None:
    name, begin, _ = window
    wall = (begin + 2 * DAY).replace(hour=0, minute=0, second=0, tzinfo=None) + tick * timedelta(milliseconds=1)
    config = {"at": wall.isoformat(timespec="milliseconds")}
    once = parse_schedule(type="once", config=config, timezone=name, now=datetime(1960, 1, 1, tzinfo=UTC), hash_key="")
    fixed = Expression(listed(wall.minute), listed(wall.hour), ANY_DAY, ANY_DAY, ANY_DAY, listed(wall.second))
    (instant,) = instants(fixed, name, wall, {})
    assert once.next_after(begin - 4 * DAY) == instant


@relaxed
@given(st.sampled_from(ZONES), EXPRESSIONS, st.integers(1970, 2099))
def test_the_map_form_and_names_say_what_the_expression_does(name: str, e: Expression, year: int) -> None:
    schedule = valid(e.text, name)
    if schedule is None:
        return
    fields = {
        "second": e.second.text if e.second else "0", "minute": e.minute.text, "hour": e.hour.text,
        "day_of_month": e.day.text, "month_of_year": e.month.text, "day_of_week": e.weekday.text,
    }  # fmt: skip
    begin = datetime(year, 1, 1, tzinfo=UTC)
    by_name = CronSchedule(terms=tuple(sorted(fields.items())), timezone=name)
    assert upcoming(by_name, begin, 5) == upcoming(schedule, begin, 5)
    # A number that no `#`, `*/` or digit stands before is a weekday; 7 has no name of its own.
    weekdays = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
    weekday = re.sub(r"(?<![#/\d])[0-6](?!\d)", lambda number: weekdays[int(number[0])], e.weekday.text)
    named = CronSchedule(terms=tuple(sorted({**fields, "day_of_week": weekday.lower()}.items())), timezone=name)
    assert upcoming(named, begin, 5) == upcoming(schedule, begin, 5)


@relaxed
@given(
    st.text(max_size=20), st.sampled_from([("H", 0, 59), ("H(10-20)", 10, 20), ("H(50-5)", 50, 5)]), st.integers(0, 23)
)
def test_a_hash_stands_for_one_fixed_value_of_its_range(key: str, minute: tuple[str, int, int], hour: int) -> None:
    text, low, high = minute
    hashed = CronSchedule(terms=(("expression", f"{text} {hour} * * *"),), hash_key=key)
    first = hashed.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert first is not None
    assert low <= first.minute <= high if low <= high else first.minute >= low or first.minute <= high
    fixed = schedule_of(f"{first.minute} {hour} * * *", "UTC")
    assert upcoming(hashed, first, 40) == upcoming(fixed, first, 40)


KINDS_OF_YEARS = [
    next(y for y in range(2000, 2100) if isleap(y) == leap and date(y, 1, 1).weekday() == weekday)
    for leap in (False, True)
    for weekday in range(7)
]
EVERY_DAY = [date(year, 1, 1) + n * DAY for year in KINDS_OF_YEARS for n in range(365 + isleap(year))]


@relaxed
@given(EXPRESSIONS)
def test_an_expression_is_refused_if_and_only_if_no_day_of_any_year_matches(e: Expression) -> None:
    assert (valid(e.text, "UTC") is None) == (not any(map(e.on, EVERY_DAY)))


@relaxed
@given(st.sampled_from(ZONES), EXPRESSIONS, POLICIES, st.integers(1970, 2099))
def test_the_search_for_the_next_fire_takes_few_steps_whatever_is_asked(
    name: str, e: Expression, policies: dict[str, str], year: int
) -> None:
    schedule = valid(e.text, name, policies)
    if schedule is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        steps = 0
        search = Cron._at_or_after

        def counted(self: Cron, wall: int, through: int = 1 << 62) -> int | None:
            nonlocal steps
            steps += 1
            return search(self, wall, through)

        patch.setattr(Cron, "_at_or_after", counted)
        schedule.next_after(datetime(year, 6, 1, tzinfo=UTC))
    assert steps <= 20


def test_an_alias_fires_as_the_zone_that_it_links_to_and_every_zone_is_known() -> None:
    same: dict[bytes, list[str]] = {}
    for name in ZONES:
        same.setdefault((files("tzdata") / "zoneinfo").joinpath(*name.split("/")).read_bytes(), []).append(name)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for names in same.values():
        assert len({tuple(upcoming(schedule_of("30 2 * * SUN", name), begin, 60)) for name in names}) == 1


@relaxed
@given(
    st.one_of(
        st.text(max_size=30), st.sampled_from(ZONES).map(str.lower), st.sampled_from(ZONES).map(lambda z: f"../{z}")
    )
)
def test_an_unknown_zone_is_refused_and_nothing_else_happens(name: str) -> None:
    if name in ZONES:
        return
    with pytest.raises(InvalidInput) as refused:
        schedule_of("0 0 * * *", name)
    assert [violation.field for violation in refused.value.violations] == ["timezone"]


def test_the_stretches_of_every_zone_are_those_of_zoneinfo_to_the_end_of_the_century() -> None:
    seen = set()
    for name in ZONES:
        data = (files("tzdata") / "zoneinfo").joinpath(*name.split("/")).read_bytes()
        if data in seen:
            continue
        seen.add(data)
        where = zones.zone(name)
        # Every 37 days and some, so that all hours and days of the year are met.
        for instant in range(0, 4_134_000_000, 37 * 86_400 + 3_607):
            moment = zones.EPOCH + timedelta(seconds=instant)
            assert where.wall(instant) - instant == offset(name, moment) // timedelta(seconds=1), (name, moment)
    assert len(seen) > 300


def test_every_stretch_of_every_zone_is_longer_than_the_changes_at_its_ends() -> None:
    # The engine looks at one change at a time; two within one gap or repeated hour would be wrong together.
    for name in ZONES:
        where = zones.zone(name)
        for i in range(1, len(where.starts) - 2):
            jumps = [abs(where.offsets[j + 1] - where.offsets[j]) for j in (i - 1, i)]
            assert where.starts[i + 1] - where.starts[i] > max(jumps) + 86_400, name


# Comparison with cronsim and croniter.


def test_where_cronsim_or_croniter_differ_a_rule_says_who_is_right() -> None:
    compared, differing = compare(pairs=2_000, seed=20261123)
    assert compared["cronsim"] > 1_500
    assert compared["croniter"] > 1_500
    assert [found for found in differing if found.explanation is None] == []


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "ours", "cronsim_says", "croniter_says"),
    [
        pytest.param(
            "30 2 * * *", BERLIN, "2026-10-24T12:00", ["10-25T00:30", "10-26T01:30"],
            ["10-25T00:30", "10-26T01:30"], ["10-25T00:30", "10-25T01:30"],
            id="rule 4: croniter fires a fixed time in both passes",
        ),
        pytest.param(
            "0 0 * * *", "America/Havana", "2024-11-02T12:00", ["11-03T04:00", "11-04T05:00"],
            ["11-03T04:00", "11-04T05:00"], ["11-03T04:00", "11-03T05:00"],
            id="rule 4: croniter fires daily jobs twice where midnight repeats",
        ),
        pytest.param(
            "*/30 2 * * *", BERLIN, "2026-03-29", ["03-30T00:00", "03-30T00:30"],
            ["03-30T00:00", "03-30T00:30"], ["03-29T01:00", "03-30T00:00"],
            id="rule 3: croniter shifts interval-like times out of a gap",
        ),
        pytest.param(
            "30 1-3 * * *", BERLIN, "2026-03-29", ["03-29T00:30", "03-29T01:30"],
            ["03-29T00:30", "03-29T01:00"], ["03-29T00:30", "03-29T01:00"],
            id="rule 3: both shift times of a range of hours out of a gap",
        ),
        pytest.param(
            "30 1-3 * * *", BERLIN, "2026-10-24T23:45", ["10-25T00:30", "10-25T01:30"],
            ["10-25T00:30", "10-25T02:30"], ["10-25T00:30", "10-25T01:30"],
            id="rule 5: to cronsim a range is fixed",
        ),
        pytest.param(
            "0 30 2 * * *", BERLIN, "2026-03-28T12:00", ["03-29T01:00", "03-30T00:30"],
            ["03-30T00:30", "03-31T00:30"], None,
            id="rule 2: cronsim drops fixed times with seconds in a gap; croniter wants seconds last",
        ),
        pytest.param(
            "0 0 */2 * MON", "UTC", "2026-02-01", ["02-09T00:00", "02-23T00:00"],
            ["02-09T00:00", "02-23T00:00"], ["02-02T00:00", "02-03T00:00"],
            id="rule 10: to croniter a step of a star restricts the day, to Vixie cron it does not",
        ),
        pytest.param(
            "0 0 13 * FRI#2", "UTC", "2026-03-31", ["04-10T00:00", "04-13T00:00"],
            ["04-10T00:00", "04-13T00:00"], ["04-10T00:00", "05-08T00:00"],
            id="rule 10: croniter forgets the day of the month beside FRI#2",
        ),
        pytest.param(
            "0 0 * * FRI-MON", "UTC", "2026-02-01", ["02-02T00:00", "02-06T00:00"],
            None, ["02-02T00:00", "02-06T00:00"],
            id="rule 11: cronsim has no ranges that wrap",
        ),
        pytest.param(
            "0 0 * * FRIL", "UTC", "2026-02-01", ["02-27T00:00", "03-27T00:00"], None, None,
            id="rule 11: cronsim writes 5L, croniter L5",
        ),
        pytest.param(
            "0 0 * * 5/2", "UTC", "2026-02-01", ["02-06T00:00", "02-13T00:00"],
            ["02-06T00:00", "02-08T00:00"], ["02-06T00:00", "02-13T00:00"],
            id="rule 11: cronsim's week ends with a second Sunday, ours with Saturday",
        ),
        pytest.param(
            "0-0 * * * *", "UTC", "2026-02-01", ["02-01T01:00", "02-01T02:00"],
            ["02-01T01:00", "02-01T02:00"], ["02-01T00:01", "02-01T00:02"],
            id="rule 11: croniter reads a range of one value as a star",
        ),
        pytest.param(
            "8-8/1 0 * * *", "UTC", "2026-02-01", ["02-01T00:08", "02-02T00:08"],
            ["02-01T00:08", "02-01T00:09"], ["02-01T00:01", "02-01T00:02"],
            id="rule 11: cronsim lets a range of one value with a step go on to the end",
        ),
    ],
)  # fmt: skip
def test_where_libraries_disagree_the_rule_decides(
    expression: str,
    timezone: str,
    after: str,
    ours: list[str],
    cronsim_says: list[str] | None,
    croniter_says: list[str] | None,
) -> None:
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC)
    local = begin.astimezone(zone_info(timezone))

    def two(fires: Iterable[datetime]) -> list[str]:
        return [fire.astimezone(UTC).strftime("%m-%dT%H:%M") for fire in islice(fires, 2)]

    def said(fires: Callable[[], Iterable[datetime]]) -> list[str] | None:
        try:
            return two(fires())
        except (CronSimError, CroniterError):
            return None

    assert two(upcoming(schedule_of(expression, timezone), begin, 2)) == ours
    assert said(lambda: CronSim(expression, local)) == cronsim_says
    assert said(lambda: croniter(expression, local, ret_type=datetime)) == croniter_says
