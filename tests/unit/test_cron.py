"""The rules of docs/schedules.md, one by one, on cases worked out by hand."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta

import pytest

from shared.domain.cron import Cron, Gap, Repeat, expression_fields, map_fields
from shared.domain.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ADVICE = "; give minute, for example 0"
OR_SIX = "or 6 (a leading second)"
NAMES = "(@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly)"


def seconds(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)


def shown(instant: int) -> str:
    return (EPOCH + timedelta(seconds=instant)).isoformat().removesuffix("+00:00").removesuffix(":00")


def parse(
    expression: str, timezone: str = "UTC", gap: Gap | None = None, repeat: Repeat | None = None, key: str = ""
) -> Cron:
    return Cron(expression_fields(expression), timezone, gap, repeat, key)


def between(schedule: Cron, after: str, through: str) -> list[str]:
    """Every fire in (after, through], in UTC."""
    found, end = [], seconds(through)
    following = schedule.next_after(seconds(after))
    while following is not None and following <= end:
        found.append(shown(following))
        following = schedule.next_after(following)
    return found


def days(expression: str, after: str, n: int) -> list[str]:
    """The dates of the next fires of an expression that fires once a day at most."""
    schedule, found, at = parse(expression), [], seconds(after) - 1
    for _ in range(n):
        following = schedule.next_after(at)
        assert following is not None
        at = following
        found.append(shown(at)[:10])
    return found


def refusals(expression: str, timezone: str = "UTC") -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        parse(expression, timezone)
    return [str(violation) for violation in refused.value.violations]


# Rule 1


def test_times_are_wall_clock_times_of_the_zone() -> None:
    daily = parse("0 8 * * *", "America/New_York")
    assert between(daily, "2026-03-07", "2026-03-10") == ["2026-03-07T13:00", "2026-03-08T12:00", "2026-03-09T12:00"]


# Rules 2 and 3


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "through", "fires"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-30T12:00",
            ["2026-03-29T01:00", "2026-03-30T00:30"],
        ),
        ("30 2 * * *", "America/New_York", "2026-03-08", "2026-03-09T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
        ("15,45 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29T12:00", ["2026-03-29T01:00"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29T12:00", ["2026-03-29T01:00"]),
        ("0 30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29T12:00", ["2026-03-29T01:00"]),
    ],
)
def test_a_fixed_time_inside_a_gap_fires_once_at_the_first_instant_after_it(
    expression: str, timezone: str, after: str, through: str, fires: list[str]
) -> None:
    schedule = parse(expression, timezone)
    assert between(schedule, after, through) == fires
    assert schedule.count_between(seconds(after), seconds(through)) == len(fires)


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("*/30 2 * * *", ["2026-03-30T00:00", "2026-03-30T00:30"]),
        ("0-10/5 2 * * *", ["2026-03-30T00:00", "2026-03-30T00:05", "2026-03-30T00:10"]),
        ("30 * * * *", ["2026-03-29T00:30", "2026-03-29T01:30"]),
        ("30 1-3 * * *", ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T23:30", "2026-03-30T00:30"]),
    ],
)
def test_an_interval_like_schedule_does_not_fire_the_times_inside_a_gap(expression: str, fires: list[str]) -> None:
    found = between(parse(expression, "Europe/Berlin"), "2026-03-29T00:00", "2026-03-30T00:59")
    assert found[: len(fires)] == fires


# Rules 4 and 5


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "through", "fires"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-26T12:00",
            ["2026-10-25T00:30", "2026-10-26T01:30"],
        ),
        (
            "0 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-26T12:00",
            ["2026-10-25T00:00", "2026-10-26T01:00"],
        ),
        ("30 1 * * *", "America/New_York", "2026-11-01", "2026-11-02T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
    ],
)
def test_a_fixed_time_inside_a_repeated_hour_fires_in_the_first_pass_only(
    expression: str, timezone: str, after: str, through: str, fires: list[str]
) -> None:
    assert between(parse(expression, timezone), after, through) == fires


def test_a_fixed_time_is_not_fired_by_a_search_that_begins_in_the_second_pass() -> None:
    assert between(parse("30 2 * * *", "Europe/Berlin"), "2026-10-25T01:10", "2026-10-26T01:00") == []


def test_an_hourly_schedule_fires_in_both_passes_of_a_repeated_hour() -> None:
    # Celery's crontab leaves the second one out.
    hourly = parse("0 * * * *", "Europe/Berlin")
    assert between(hourly, "2026-10-24T22:59", "2026-10-25T02:00") == [
        "2026-10-24T23:00",
        "2026-10-25T00:00",
        "2026-10-25T01:00",
        "2026-10-25T02:00",
    ]


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("day", ["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"])
def test_every_quarter_of_an_hour_never_goes_silent(timezone: str, day: str) -> None:
    # Celery's crontab is silent for the repeated hour.
    quarterly = parse("*/15 * * * *", timezone)
    found = between(quarterly, day, (date.fromisoformat(day) + timedelta(days=2)).isoformat())
    assert len(found) == 2 * 24 * 4


# Rule 6


@pytest.mark.parametrize(
    ("expression", "gap", "fires"),
    [
        ("30 2 * * *", Gap.SKIP, []),
        ("30 2 * * *", Gap.SHIFT, ["2026-03-29T01:00"]),
        ("*/15 2 * * *", Gap.SKIP, []),
        ("*/15 2 * * *", Gap.SHIFT, ["2026-03-29T01:00"]),
    ],
)
def test_a_schedule_may_choose_what_a_gap_does(expression: str, gap: Gap, fires: list[str]) -> None:
    schedule = parse(expression, "Europe/Berlin", gap=gap)
    assert between(schedule, "2026-03-29", "2026-03-29T12:00") == fires


@pytest.mark.parametrize("expression", ["30 2 * * *", "30-30 2 * * *"])
@pytest.mark.parametrize(
    ("repeat", "fires"),
    [
        (Repeat.FIRST, ["2026-10-25T00:30"]),
        (Repeat.SECOND, ["2026-10-25T01:30"]),
        (Repeat.BOTH, ["2026-10-25T00:30", "2026-10-25T01:30"]),
    ],
)
def test_a_schedule_may_choose_the_pass_of_a_repeated_hour(expression: str, repeat: Repeat, fires: list[str]) -> None:
    schedule = parse(expression, "Europe/Berlin", repeat=repeat)
    assert between(schedule, "2026-10-25", "2026-10-25T12:00") == fires
    assert schedule.count_between(seconds("2026-10-25"), seconds("2026-10-25T12:00")) == len(fires)
    last = schedule.last_between(seconds("2026-10-25"), seconds("2026-10-25T12:00"))
    assert last is not None
    assert shown(last) == fires[-1]


# Rule 9


@pytest.mark.parametrize(
    ("expression", "timezone", "after", "through", "fires"),
    [
        pytest.param(
            "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", "2026-10-04T12:00", ["2026-10-03T15:30"],
            id="Lord Howe, a gap of 30 minutes",
        ),
        pytest.param(
            "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", "2026-04-05T12:00", ["2026-04-04T14:45"],
            id="Lord Howe, 30 minutes repeated, fixed",
        ),
        pytest.param(
            "*/15 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", "2026-04-05T12:00",
            [f"2026-04-04T{time}" for time in ("14:00", "14:15", "14:30", "14:45", "15:00", "15:15")],
            id="Lord Howe, 30 minutes repeated, interval-like",
        ),
        pytest.param(
            "@daily", "America/Havana", "2026-03-07T12:00", "2026-03-09T12:00",
            ["2026-03-08T05:00", "2026-03-09T04:00"],
            id="Havana, no midnight",
        ),
        pytest.param(
            "@daily", "America/Havana", "2024-11-02T12:00", "2024-11-04T12:00",
            ["2024-11-03T04:00", "2024-11-04T05:00"],
            id="Havana, two midnights",
        ),
        pytest.param(
            "@daily", "Asia/Beirut", "2026-03-28T12:00", "2026-03-30", ["2026-03-28T22:00", "2026-03-29T21:00"],
            id="Beirut, no midnight",
        ),
        pytest.param(
            "@daily", "America/Asuncion", "2023-09-30T12:00", "2023-10-02T12:00",
            ["2023-10-01T04:00", "2023-10-02T03:00"],
            id="Asuncion, no midnight",
        ),
        pytest.param(
            "0 8 * * *", "Pacific/Apia", "2011-12-29T12:00", "2011-12-31T00:00",
            ["2011-12-29T18:00", "2011-12-30T10:00", "2011-12-30T18:00"],
            id="Apia, 30 December 2011 dropped, fixed",
        ),
        pytest.param(
            "0 */12 * * *", "Pacific/Apia", "2011-12-29T12:00", "2011-12-31T00:00",
            ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
            id="Apia, 30 December 2011 dropped, interval-like",
        ),
        pytest.param(
            "0 8 30 12 *", "Pacific/Apia", "2011-01-01", "2012-12-31", ["2011-12-30T10:00", "2012-12-29T18:00"],
            id="Apia, a yearly job on the dropped day",
        ),
        pytest.param(
            "45 23 * * *", "Asia/Pyongyang", "2015-08-14T12:00", "2015-08-16", ["2015-08-14T14:45", "2015-08-15T15:15"],
            id="Pyongyang, standard time half an hour back",
        ),
        pytest.param(
            "45 23 * * *", "Asia/Pyongyang", "2018-05-04T12:00", "2018-05-06", ["2018-05-04T15:00", "2018-05-05T14:45"],
            id="Pyongyang, standard time half an hour forward",
        ),
        pytest.param(
            "45 2 * * *", "America/Caracas", "2016-05-01", "2016-05-02T12:00", ["2016-05-01T07:00", "2016-05-02T06:45"],
            id="Caracas, standard time half an hour forward",
        ),
        pytest.param(
            "0 12 * * *", "Africa/Monrovia", "1972-01-06", "1972-01-08", ["1972-01-06T12:44:30", "1972-01-07T12:00"],
            id="Monrovia, an offset of odd seconds until 1972",
        ),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2090-03-25T12:00", "2090-03-26T12:00", ["2090-03-26T01:00"],
            id="Berlin, by the closing rule of the zone file",
        ),
    ],
)  # fmt: skip
def test_it_holds_for_any_change_of_offset(
    expression: str, timezone: str, after: str, through: str, fires: list[str]
) -> None:
    schedule = parse(expression, timezone)
    assert between(schedule, after, through) == fires
    assert schedule.count_between(seconds(after), seconds(through)) == len(fires)
    last = schedule.last_between(seconds(after), seconds(through))
    assert last is not None
    assert shown(last) == fires[-1]


# Rule 10


def test_when_both_days_are_restricted_either_matches() -> None:
    assert days("0 0 13 * FRI", "2026-02-01", 6) == [
        "2026-02-06",
        "2026-02-13",
        "2026-02-20",
        "2026-02-27",
        "2026-03-06",
        "2026-03-13",
    ]


def test_a_day_that_begins_with_a_star_restricts_nothing_as_in_vixie_cron() -> None:
    assert days("0 0 */2 * MON", "2026-02-01", 3) == ["2026-02-09", "2026-02-23", "2026-03-09"]
    assert days("0 0 ? * MON", "2026-02-01", 2) == ["2026-02-02", "2026-02-09"]
    assert days("0 0 13 * ?", "2026-02-01", 2) == ["2026-02-13", "2026-03-13"]


# Rule 11


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("5 * * * *", ["00:05", "01:05", "02:05"]),
        ("*/20 * * * *", ["00:20", "00:40", "01:00"]),
        ("5/20 * * * *", ["00:05", "00:25", "00:45"]),
        ("10-30/10 * * * *", ["00:10", "00:20", "00:30", "01:10"]),
        ("50-10/10 * * * *", ["00:10", "00:50", "01:00", "01:10"]),
        ("0 22-4/3 * * *", ["01:00", "04:00", "22:00"]),
        ("7,3,5-6 1 * * *", ["01:03", "01:05", "01:06", "01:07"]),
        ("*,5 * * * *", ["00:01", "00:02"]),
        ("0 0/8 * * *", ["08:00", "16:00"]),
        ("*/60 * * * *", ["01:00", "02:00"]),
        ("30 0 0 * * *", ["00:00:30"]),
        ("*/20 0 0 * * *", ["00:00:20", "00:00:40"]),
        ("@hourly", ["01:00", "02:00", "03:00"]),
        ("  0   5  *  *  * ", ["05:00"]),
    ],
)
def test_every_form_of_a_time_field_is_read(expression: str, fires: list[str]) -> None:
    found = between(parse(expression), "2026-02-01", "2026-02-01T23:59:59")
    assert [fire.removeprefix("2026-02-01T") for fire in found][: len(fires)] == fires


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("0 0 * * *", ["2026-02-01", "2026-02-02"]),
        ("0 0 1-31/10 * *", ["2026-02-01", "2026-02-11", "2026-02-21", "2026-03-01"]),
        ("0 0 28-2 * *", ["2026-02-01", "2026-02-02", "2026-02-28", "2026-03-01", "2026-03-02", "2026-03-28"]),
        ("0 0 1 JAN,mar *", ["2026-03-01", "2027-01-01"]),
        ("0 0 1 NOV-JAN *", ["2026-11-01", "2026-12-01", "2027-01-01", "2027-11-01"]),
        ("0 0 1 */6 *", ["2026-07-01", "2027-01-01"]),
        ("0 0 * * FRI-MON", ["2026-02-01", "2026-02-02", "2026-02-06", "2026-02-07", "2026-02-08", "2026-02-09"]),
        ("0 0 * * 5-7", ["2026-02-01", "2026-02-06", "2026-02-07", "2026-02-08"]),
        ("0 0 * * 7-1", ["2026-02-01", "2026-02-02", "2026-02-08"]),
        ("0 0 * * 0", ["2026-02-01", "2026-02-08"]),
        ("0 0 * * 7", ["2026-02-01", "2026-02-08"]),
        ("0 0 * * 1-5/2", ["2026-02-02", "2026-02-04", "2026-02-06", "2026-02-09"]),
        ("0 0 * * 0-7", ["2026-02-01", "2026-02-02"]),
        ("0 0 L * *", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("0 0 L 2 *", ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ("0 0 L-3 * *", ["2026-02-25", "2026-03-28", "2026-04-27"]),
        ("0 0 L-30 * *", ["2026-03-01", "2026-05-01"]),
        ("0 0 LW * *", ["2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"]),
        ("0 0 15W * *", ["2026-02-16", "2026-03-16", "2026-04-15", "2026-05-15"]),
        ("0 0 1W * *", ["2026-02-02", "2026-03-02", "2026-04-01", "2026-05-01"]),
        ("0 0 1W 8 *", ["2026-08-03"]),
        ("0 0 31W * *", ["2026-03-31", "2026-05-29", "2026-07-31", "2026-08-31"]),
        ("0 0 1W,L * *", ["2026-02-02", "2026-02-28", "2026-03-02"]),
        ("0 0 * * FRI#2", ["2026-02-13", "2026-03-13"]),
        ("0 0 * * 5#5", ["2026-05-29", "2026-07-31"]),
        ("0 0 * * FRIL", ["2026-02-27", "2026-03-27", "2026-04-24"]),
        ("0 0 * * 7L,SUN#1", ["2026-02-01", "2026-02-22", "2026-03-01", "2026-03-29"]),
        ("@daily", ["2026-02-01", "2026-02-02"]),
        ("@midnight", ["2026-02-01", "2026-02-02"]),
        ("@weekly", ["2026-02-01", "2026-02-08"]),
        ("@monthly", ["2026-02-01", "2026-03-01"]),
        ("@Yearly", ["2027-01-01", "2028-01-01"]),
        ("@annually", ["2027-01-01"]),
    ],
)
def test_every_form_of_a_day_field_is_read(expression: str, fires: list[str]) -> None:
    assert days(expression, "2026-02-01", len(fires)) == fires


@pytest.mark.parametrize(
    ("expression", "low", "high"),
    [("H * * * *", 0, 59), ("H(0-29) * * * *", 0, 29), ("H(50-5) * * * *", 0, 59)],
)
def test_a_hashed_minute_differs_between_jobs_and_stays_in_its_range(expression: str, low: int, high: int) -> None:
    minutes = set()
    for job in range(200):
        at = parse(expression, key=f"job-{job}").next_after(seconds("2026-02-01") - 1)
        again = parse(expression, key=f"job-{job}").next_after(seconds("2026-02-01") - 1)
        assert at is not None
        assert at == again
        minutes.add(at // 60 % 60)
    wanted = {*range(50, 60), *range(6)} if "50-5" in expression else set(range(low, high + 1))
    assert minutes <= wanted
    assert len(minutes) > len(wanted) // 2


def test_a_hash_is_the_same_in_every_release() -> None:
    # Changing the hash would move every job that uses H.
    schedule = parse("H H(1-5) H * *", key="job-1")
    assert between(schedule, "2026-02-01", "2026-03-31") == ["2026-02-07T03:19", "2026-03-07T03:19"]


def test_a_hashed_step_keeps_its_distance_from_a_hashed_beginning() -> None:
    found = between(parse("H/15 * * * *", key="job-1"), "2026-02-01", "2026-02-01T01:00")
    assert found == ["2026-02-01T00:04", "2026-02-01T00:19", "2026-02-01T00:34", "2026-02-01T00:49"]


def test_a_hashed_step_longer_than_its_range_fires_once_in_it() -> None:
    found = between(parse("H(0-3)/15 * * * *", key="job-1"), "2026-02-01", "2026-02-01T01:00")
    assert len(found) == 1


def test_a_hashed_day_is_in_every_month() -> None:
    for job in range(50):
        found = between(parse("0 0 H * *", key=f"job-{job}"), "2026-01-01T12:00", "2027-01-01T12:00")
        assert len(found) == 12


@pytest.mark.parametrize(
    ("expression", "interval_like"),
    [
        ("30 2 * * *", False), ("0,30 2 * * *", False), ("H 2 * * *", False), ("H(0-29) 2 * * *", False),
        ("*/30 2 * * *", True), ("30-30 2 * * *", True), ("30/30 2 * * *", True), ("H/30 2 * * *", True),
        ("* 30 2 * * *", True), ("30 1,2-2 * * *", True),
    ],
)  # fmt: skip
def test_stars_ranges_and_steps_of_time_fields_make_a_schedule_interval_like(
    expression: str, interval_like: bool
) -> None:
    found = between(
        parse(expression, "Europe/Berlin", gap=None, repeat=None, key="x"), "2026-03-29", "2026-03-29T12:00"
    )
    assert ("2026-03-29T01:00" in found) is not interval_like


def test_the_map_form_reads_as_the_expression_does() -> None:
    assert map_fields({"minute": "5", "hour": "8", "day_of_week": "MON"}) == ("0", "5", "8", "*", "*", "MON")
    assert map_fields({"second": "*/10"}) == ("*/10", "*", "*", "*", "*", "*")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"hour": "10"},
            "minute: hour=10 without minute would fire 60 times between 10:00 and 10:59" + ADVICE,
        ),
        (
            {"hour": "10", "second": "*"},
            "minute: hour=10 without minute would fire in each of the 60 minutes between 10:00 and 10:59" + ADVICE,
        ),
        (
            {"day_of_week": "MON"},
            "minute: day_of_week=MON without minute would fire 60 times an hour" + ADVICE,
        ),
    ],
)
def test_a_map_without_minute_under_a_coarser_field_is_refused_with_what_it_would_do(
    given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        map_fields(given)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("expression", "sentences"),
    [
        ("60 * * * *", ["minute: '60' is not a minute (0-59)"]),
        ("0 24 * * *", ["hour: '24' is not an hour (0-23)"]),
        ("-1 * * * *", ["minute: '-1' is not a minute (0-59), nor a range, step or list of them"]),
        ("0 8-25 * * *", ["hour: '25' in '8-25' is not an hour (0-23)"]),
        ("0 0 0 * *", ["day_of_month: '0' is not a day of the month (1-31)"]),
        ("0 0 32W * *", ["day_of_month: '32' in '32W' is not a day of the month (1-31)"]),
        ("0 0 L-31 * *", ["day_of_month: 'L-31' counts 31 days back from the month's last; at most 30 exist"]),
        ("0 0 * 13 *", ["month_of_year: '13' is not a month (1-12 or JAN-DEC)"]),
        ("0 0 * mai *", ["month_of_year: 'mai' is not a month (1-12 or JAN-DEC)"]),
        ("0 0 * * 8", ["day_of_week: '8' is not a day of the week (0-7 or SUN-SAT)"]),
        ("0 0 * * L", ["day_of_week: 'L' needs a day before it (FRIL: the month's last Friday)"]),
        ("0 0 * * FRI#6", ["day_of_week: 'FRI#6' asks for number 6 of a weekday in the month (1-5)"]),
        ("*/0 * * * *", ["minute: '*/0' has a step of 0; a step is at least 1"]),
        ("*/61 * * * *", ["minute: '*/61' steps by 61, past the field's end (a minute (0-59)); it would match once"]),
        ("1,,2 * * * *", ["minute: is empty where a minute (0-59) is expected"]),
        ("0 H\u0130 * * *", ["hour: 'H\u0130' is not an hour (0-23), nor a range, step or list of them"]),
        ("\u0661 * * * *", ["minute: '\u0661' is not a minute (0-59), nor a range, step or list of them"]),
        (
            "99 25 * * MOO",
            [
                "minute: '99' is not a minute (0-59)",
                "hour: '25' is not an hour (0-23)",
                "day_of_week: 'MOO' is not a day of the week (0-7 or SUN-SAT)",
            ],
        ),
        (
            "* * *",
            [f"'* * *' has 3 fields; expected 5 (minute, hour, day of month, month, day of week) {OR_SIX}"],
        ),
        (
            "@reboot",
            [f"'@reboot' is not a name for a schedule {NAMES}"],
        ),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_refused_with_every_fault_in_a_sentence(expression: str, sentences: list[str]) -> None:
    assert refusals(expression) == sentences


def test_an_endless_expression_is_refused_unread() -> None:
    assert refusals("0," * 1000 + "0 * * * *") == ["has 2009 characters; at most 1000 are read"]


# Rule 12


@pytest.mark.parametrize(
    "expression",
    ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 L-30 2,4 *", "0 0 30W FEB *", "0 0 */30 2 MON#5", "0 0 ? 2 0#9"],
)
def test_an_expression_that_can_never_fire_is_refused(expression: str) -> None:
    (sentence,) = refusals(expression)
    assert "never fires: no year has a day with" in sentence or "asks for number 9" in sentence


def test_times_that_fall_into_a_gap_every_year_end_the_search() -> None:
    # Berlin's clocks skip 02:00-03:00 on the last Sunday of March, for as long as the zone's rule stands.
    schedule = parse("*/15 2 ? 3 SUNL", "Europe/Berlin")
    assert schedule.next_after(seconds("2026-01-01")) is None
    assert schedule.last_between(seconds("2026-01-01"), seconds("2426-01-01")) is None
    assert schedule.count_between(seconds("2026-01-01"), seconds("2426-01-01")) == 0


# Rule 13


@pytest.mark.parametrize(
    ("expression", "after", "fire"),
    [
        ("0 0 29 2 *", "2026-01-01", "2028-02-29"),
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 0 29 2 MON", "2027-03-01", "2028-02-07"),
        ("0 0 29 2 */7", "2032-03-01", "2060-02-29"),
        ("0 0 29 2 */7", "2088-03-01", "2128-02-29"),
        ("0 0 ? 2 SUN#5", "2088-03-01", "2128-02-29"),
        ("0 0 ? 2 MON#5", "2044-03-01", "2072-02-29"),
        ("0 0 L-29 12 ?", "2026-12-03", "2027-12-02"),
    ],
)
def test_the_next_fire_of_a_rare_expression_is_found_in_few_steps(
    expression: str, after: str, fire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    search = Cron._at_or_after

    def counted(self: Cron, wall: int, through: int = 1 << 62) -> int | None:
        nonlocal steps
        steps += 1
        return search(self, wall, through)

    monkeypatch.setattr(Cron, "_at_or_after", counted)
    found = parse(expression, "America/New_York").next_after(seconds(after))
    assert found is not None
    assert shown(found)[:10] == fire
    # Those around the match, however many decades away.
    assert steps <= 6


def test_counting_the_seconds_of_a_year_enumerates_none_of_them() -> None:
    every_second = parse("* * * * * *", "Europe/Berlin")
    assert every_second.count_between(seconds("2026-01-01"), seconds("2027-01-01")) == 365 * 86_400
    business = parse("0-59/2 * 9-16 * * MON-FRI", "UTC")
    assert business.count_between(seconds("2026-01-01"), seconds("2027-01-01")) == 261 * 8 * 1800


# Rule 14


def test_an_unknown_zone_is_refused_with_the_nearest_name() -> None:
    assert refusals("@daily", "Europe/Berln") == [
        "timezone: 'Europe/Berln' is not an IANA time zone; did you mean 'Europe/Berlin'?"
    ]
    assert refusals("@daily", "europe/berlin") == [
        "timezone: 'europe/berlin' is not an IANA time zone; did you mean 'Europe/Berlin'?"
    ]
    assert refusals("@daily", "../../etc/passwd")[0].startswith("timezone: '../../etc/passwd' is not an IANA time zone")


@pytest.mark.parametrize(
    ("alias", "target"),
    [("US/Pacific", "America/Los_Angeles"), ("Asia/Calcutta", "Asia/Kolkata"), ("Europe/Kiev", "Europe/Kyiv")],
)
def test_a_retired_alias_is_the_zone_it_links_to(alias: str, target: str) -> None:
    assert between(parse("30 2 * * *", alias), "2026-01-01", "2027-01-01") == between(
        parse("30 2 * * *", target), "2026-01-01", "2027-01-01"
    )


def test_a_parsed_expression_survives_pickling_and_shares_its_zone() -> None:
    schedule = parse("*/15 * * * *", "Europe/Berlin")
    copied = pickle.loads(pickle.dumps(schedule))
    assert between(copied, "2026-10-25", "2026-10-25T03:00") == between(schedule, "2026-10-25", "2026-10-25T03:00")
