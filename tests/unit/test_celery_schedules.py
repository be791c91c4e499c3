"""Celery's schedules mean the same here, to the minute, or are refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab, schedule, solar
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.celery_schedules import to_terms, zone_of
from shared.domain.errors import InvalidInput
from shared.domain.job import ScheduleTerms
from shared.domain.occurrences import upcoming

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def expression(given: crontab) -> str:
    return to_terms(given).config["expression"]


def refusal(given: object) -> str:
    with pytest.raises(InvalidInput) as refused:
        to_terms(given)
    return str(refused.value)


def built(minute: Any, hour: Any, weekday: Any = "*", day: Any = "*", month: Any = "*") -> Any:
    """A crontab of what the stubs of Celery do not know, or None on 30 February."""
    try:
        return crontab(minute, hour, weekday, day, month)
    except ValueError:
        return None


class TestCrontab:
    @pytest.mark.parametrize(
        ("given", "ours"),
        [
            (crontab(), "* * * * *"),
            (crontab(hour=14, minute=30), "30 14 * * *"),
            (crontab(minute="*/15"), "*/15 * * * *"),
            (crontab(0, "9-17", "mon-fri"), "0 9-17 * * MON-FRI"),
            (crontab(0, "22-4/2"), "0 22-4/2 * * *"),
            (built([45, 15], {3, 4}, "sunday,tue"), "15,45 3,4 * * SUN,TUE"),
            (crontab(0, 0, month_of_year="january-mar/2", day_of_month="1-31"), "0 0 * JAN-MAR/2 *"),
            (built(0, 0, "*", "*", range(1, 4)), "0 0 * 1,2,3 *"),
            (crontab("*/70", 5), "0 5 * * *"),
            (crontab(0, 0, day_of_week=0), "0 0 * * 0"),
        ],
    )
    def test_it_keeps_the_words_of_its_author_where_they_mean_the_same(self, given: crontab, ours: str) -> None:
        assert expression(given) == ours

    def test_what_celery_reads_the_beginning_of_becomes_what_it_matches(self) -> None:
        assert expression(crontab("1-5-7", 5)) == "1,2,3,4,5 5 * * *"

    @pytest.mark.parametrize(
        ("days", "weekdays", "ours"),
        [
            ("1-7", "mon", "MON#1"),
            ("8-14", 2, "TUE#2"),
            ("1-7,15-21", "mon", "MON#1,MON#3"),
            ("22-28", "sat,sun", "SUN#4,SAT#4"),
            ("29-31", "fri", "FRI#5"),
        ],
    )
    def test_a_weekday_in_a_week_of_the_month_is_its_number(self, days: str, weekdays: Any, ours: str) -> None:
        given = crontab(0, 0, day_of_month=days, day_of_week=weekdays)
        assert expression(given) == f"0 0 * * {ours}"

    def test_a_day_that_has_to_be_both_is_refused_since_here_either_would_do(self) -> None:
        said = refusal(crontab(0, 12, day_of_month=13, day_of_week="fri"))
        assert "day_of_month=13 and day_of_week=FRI are both restricted" in said
        assert "MON#1" in said

    def test_an_empty_field_is_refused(self) -> None:
        assert "never fires" in refusal(crontab(minute=[]))


class TestZone:
    def test_a_crontab_is_meant_in_the_zone_of_the_app(self) -> None:
        assert zone_of(None, enable_utc=True) == "UTC"
        assert zone_of("Europe/Berlin", enable_utc=True) == "Europe/Berlin"
        assert zone_of(ZoneInfo("Europe/Berlin"), enable_utc=False) == "Europe/Berlin"
        assert to_terms(crontab(0, 8), "Europe/Berlin").timezone == "Europe/Berlin"

    def test_a_zone_of_its_own_goes_before(self) -> None:
        def in_new_york() -> datetime:
            return datetime.now(ZoneInfo("America/New_York"))

        assert to_terms(crontab(0, 8, nowfun=in_new_york), "Europe/Berlin").timezone == "America/New_York"
        owned = crontab(0, 8)
        vars(owned)["tz"] = ZoneInfo("Asia/Tokyo")
        assert to_terms(owned, "Europe/Berlin").timezone == "Asia/Tokyo"

    def test_a_relative_interval_is_on_the_clock_that_it_brings(self) -> None:
        nine = datetime(2026, 1, 1, 9, tzinfo=ZoneInfo("America/New_York"))
        daily = schedule(timedelta(days=1), relative=True, nowfun=lambda: nine)
        assert nine + daily.remaining_estimate(nine) == datetime(2026, 1, 2, tzinfo=nine.tzinfo)
        expected = ScheduleTerms("cron", {"expression": "0 0 * * *"}, "America/New_York")
        assert to_terms(daily, "Europe/Berlin") == expected

    def test_times_of_whatever_host_it_runs_on_are_refused(self) -> None:
        with pytest.raises(InvalidInput, match="enable_utc=False and no timezone"):
            zone_of(None, enable_utc=False)
        with pytest.raises(InvalidInput, match="has no time zone"):
            to_terms(crontab(0, 8, nowfun=lambda: datetime(2026, 1, 1)))  # noqa: DTZ001 - the point of it


class TestInterval:
    @pytest.mark.parametrize(
        ("given", "every"),
        [
            (30, "30s"),
            (30.0, "30s"),
            (timedelta(minutes=90), "1h30m"),
            (timedelta(days=1, seconds=1), "1d1s"),
            (schedule(timedelta(hours=4)), "4h"),
            (schedule(2.0, relative=True), "2s"),
        ],
    )
    def test_it_is_every_so_many_seconds(self, given: object, every: str) -> None:
        assert to_terms(given, "Europe/Berlin") == ScheduleTerms("interval", {"every": every})

    @pytest.mark.parametrize("given", [0, 0.5, 1.5, -60, timedelta(milliseconds=1500), schedule(None)])
    def test_parts_of_a_second_are_refused(self, given: object) -> None:
        assert "whole seconds, at least one" in refusal(given)

    @pytest.mark.parametrize("given", [float("inf"), float("nan"), 10**400, schedule("x")])  # type: ignore[arg-type]
    def test_what_is_no_number_of_seconds_is_refused(self, given: object) -> None:
        assert "not a number of seconds" in refusal(given)

    @pytest.mark.parametrize(
        ("period", "ours"),
        [
            (timedelta(days=1), "0 0 * * *"),
            (timedelta(hours=1), "0 * * * *"),
            (timedelta(minutes=1), "* * * * *"),
        ],
    )
    def test_a_relative_one_of_one_unit_fires_on_the_clock_as_with_celery(self, period: timedelta, ours: str) -> None:
        given = schedule(period, relative=True)
        assert to_terms(given, "Europe/Berlin") == ScheduleTerms("cron", {"expression": ours}, "Europe/Berlin")
        ran = CREATED + timedelta(hours=9, minutes=17, seconds=23)
        assert upcoming(to_terms(given).parse(ran, "job"), ran, 30) == list(islice(celery_fires(given, ran), 30))

    @pytest.mark.parametrize(
        ("period", "unit"),
        [
            (timedelta(days=2), timedelta(days=1)),
            (timedelta(hours=2), timedelta(hours=1)),
            (timedelta(hours=5), timedelta(hours=1)),
            (timedelta(minutes=5), timedelta(minutes=1)),
        ],
    )
    def test_a_relative_one_whose_times_depend_on_the_last_run_is_refused(
        self, period: timedelta, unit: timedelta
    ) -> None:
        given, ran = schedule(period, relative=True), CREATED + timedelta(hours=9, minutes=17)
        times, times_of_later = (set(islice(celery_fires(given, last), 30)) for last in (ran, ran + unit))
        assert not times & times_of_later
        assert "no fixed place on the clock: it depends on the last run" in refusal(given)

    def test_a_relative_one_of_a_part_of_a_unit_is_refused(self) -> None:
        assert "no fixed place on the clock" in refusal(schedule(timedelta(minutes=90), relative=True))


class TestRefused:
    def test_solar_schedules(self) -> None:
        sunset = object.__new__(solar)  # to construct one takes the library ephem
        sunset.event = "sunset"
        assert refusal(sunset).startswith("schedule: solar schedules are not supported: 'sunset'")

    def test_classes_of_their_own(self) -> None:
        class Moody(crontab):
            pass

        assert "Moody is a class of its own" in refusal(Moody())

    @pytest.mark.parametrize("given", [None, True, "* * * * *"])
    def test_what_is_no_schedule(self, given: object) -> None:
        assert "not a schedule; expected a crontab, a timedelta or seconds" in refusal(given)


def fields(low: int, high: int, *names: str) -> st.SearchStrategy[Any]:
    """What people write in a field: a number, a list, a set, stars, ranges, steps, and names where there are any."""
    number = st.integers(low, high)
    value = number.map(str) if not names else st.one_of(number.map(str), st.sampled_from(names))
    step = st.integers(1, high)
    item = st.one_of(
        value,
        st.builds("{}-{}".format, value, value),
        st.builds("{}-{}/{}".format, value, value, step),
        st.builds("*/{}".format, step),
    )
    return st.one_of(
        st.just("*"),
        number,
        st.sets(number, min_size=1, max_size=5),
        st.lists(number, min_size=1, max_size=5),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


MINUTES, HOURS = fields(0, 59), fields(0, 23)
DAYS, WEEKDAYS = fields(1, 31), fields(0, 6, "sun", "Monday", "WED")
MONTHS = fields(1, 12, "jan", "April", "DEC")
WEEKS = st.lists(st.sampled_from(["1-7", "8-14", "15-21", "22-28", "29-31"]), min_size=1).map(",".join)


CRONTABS = st.one_of(
    st.builds(built, MINUTES, HOURS, WEEKDAYS, st.just("*"), MONTHS),
    st.builds(built, MINUTES, HOURS, st.just("*"), DAYS, MONTHS),
    st.builds(built, MINUTES, HOURS, WEEKDAYS, WEEKS, MONTHS),
    st.builds(built, MINUTES, HOURS, WEEKDAYS, DAYS, MONTHS),
).filter(lambda made: made is not None)


class FixedApp(Celery):
    """An app at a time that a test sets."""

    at = CREATED

    def now(self) -> datetime:
        return self.at


def celery_fires(given: crontab | schedule, after: datetime) -> Iterator[datetime]:
    """Step through the fire times as Celery's beat does: each is estimated from the one before."""
    given.app = app = FixedApp("test", set_as_current=False)
    at = after
    while True:
        app.at = at
        following = at + given.remaining_estimate(at)
        app.at = following
        assert given.is_due(at).is_due
        at = following
        yield at.astimezone(UTC)


NAIVE = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - hypothesis takes naive ones
# Where clocks don't change: what Celery does when they do is another matter.
ZONES = st.sampled_from(["UTC", "Asia/Kolkata", "America/Bogota"])


@settings(max_examples=300, deadline=None)
@given(CRONTABS, NAIVE, ZONES)
def test_it_fires_when_celery_would(given: crontab, naive: datetime, zone: str) -> None:
    vars(given)["tz"] = ZoneInfo(zone)
    after = naive.replace(tzinfo=UTC, second=0, microsecond=0)
    try:
        terms = to_terms(given)
    except InvalidInput as refused:
        if "both restricted" not in str(refused):
            raise
        return
    ours = terms.parse(after, "job")
    assert upcoming(ours, after, 40) == list(islice(celery_fires(given, after), 40))
