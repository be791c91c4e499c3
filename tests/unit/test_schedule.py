"""What a client may say about when a job fires, what it is told when it is wrong, and what is kept of it."""

from __future__ import annotations

import copy
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from shared.domain import occurrences
from shared.domain import schedule as module
from shared.domain.errors import InvalidInput
from shared.domain.schedule import (
    CronSchedule,
    IntervalSchedule,
    OnceSchedule,
    Schedule,
    _cron_of,
    from_document,
    parse_schedule,
    to_document,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def parse(
    kind: str,
    config: dict[str, str],
    zone: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    key: str = "job-1",
    anchor: datetime | None = None,
    **more: Any,
) -> Schedule:
    return parse_schedule(
        type=kind,
        config=config,
        timezone=zone,
        start_time=start,
        end_time=end,
        now=NOW,
        hash_key=key,
        anchor=anchor,
        **more,
    )


def refusals(
    kind: str,
    config: dict[str, str],
    zone: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    **more: Any,
) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        parse(kind, config, zone, start, end, **more)
    return [str(violation).removeprefix("schedule_config.") for violation in refused.value.violations]


def upcoming(schedule: Schedule, n: int = 3, after: datetime = NOW) -> list[str]:
    return [fire.isoformat().removesuffix("+00:00") for fire in occurrences.upcoming(schedule, after, n)]


EXAMPLES = [
    parse("cron", {"expression": "0 8 * * MON-FRI", "gap": "SKIP"}, "America/New_York"),
    parse("cron", {"hour": "8", "minute": "H", "day_of_week": "1"}, start=at("2027-01-01"), end=at("2028-01-01")),
    parse("interval", {"hours": "1", "minutes": "30"}, end=at("2027-01-01T00:00:00.250")),
    parse("interval", {"every": "1d12h"}, start=at("2027-01-01T00:00:00.123")),
    parse("once", {"at": "2027-03-28T02:30:00"}, "Europe/Berlin"),
    parse("cron", {"expression": "@hourly"}, jitter=timedelta(milliseconds=90_001), max_runs=7),
]


# Cron


def test_an_expression_fires_in_the_zone_given_and_in_utc_by_default() -> None:
    assert upcoming(parse("cron", {"expression": "0 8 * * *"}), 1) == ["2026-11-24T08:00:00"]
    assert upcoming(parse("cron", {"expression": "0 8 * * *"}, "America/New_York"), 1) == ["2026-11-23T13:00:00"]
    assert parse("cron", {"expression": "0 8 * * *"}).timezone == "UTC"


def test_the_map_form_fires_as_the_expression_does() -> None:
    fields = {"minute": "0", "hour": "8", "day_of_month": "1", "month_of_year": "1-6", "second": "30"}
    assert upcoming(parse("cron", fields)) == upcoming(parse("cron", {"expression": "30 0 8 1 1-6 *"}))


def test_policies_are_part_of_the_config() -> None:
    both = parse("cron", {"expression": "30 2 * * *", "repeat": "BOTH", "gap": "skip"}, "Europe/Berlin")
    assert both.count_between(at("2026-10-24T12:00"), at("2026-10-25T12:00")) == 2
    assert both.count_between(at("2027-03-27T12:00"), at("2027-03-28T12:00")) == 0


def test_start_and_end_may_be_occurrences_themselves() -> None:
    hourly = parse("cron", {"expression": "@hourly"}, start=at("2026-12-01T02:00"), end=at("2026-12-01T04:00"))
    assert upcoming(hourly, 9) == ["2026-12-01T02:00:00", "2026-12-01T03:00:00", "2026-12-01T04:00:00"]
    assert hourly.last_between(NOW, at("2030-01-01")) == at("2026-12-01T04:00")
    assert hourly.count_between(NOW, at("2030-01-01")) == 3
    assert hourly.next_after(at("2026-12-01T04:00")) is None


def test_a_start_within_a_second_rules_out_the_second_before_it() -> None:
    every_second = parse("cron", {"expression": "* * * * * *"}, start=at("2026-12-01T00:00:00.001"))
    assert upcoming(every_second, 1) == ["2026-12-01T00:00:01"]
    assert every_second.count_between(NOW, at("2026-12-01T00:00:01.999")) == 1


def test_expressions_without_a_hash_share_their_parsed_form_whatever_the_job() -> None:
    one, two = (parse("cron", {"expression": "0 8 * * THU"}, key=key) for key in ("job-1", "job-2"))
    assert one == two
    assert isinstance(one, CronSchedule)
    assert isinstance(two, CronSchedule)
    assert one._cron is two._cron


def test_of_an_expression_one_parsed_form_is_kept_whether_it_is_just_parsed_or_read() -> None:
    parsed_before = _cron_of.cache_info().misses
    parsed = parse("cron", {"expression": "59 23 31 12 THU"}, "Pacific/Chatham")
    read = from_document(to_document(parsed))
    assert _cron_of.cache_info().misses == parsed_before + 1
    assert isinstance(parsed, CronSchedule)
    assert isinstance(read, CronSchedule)
    assert read._cron is parsed._cron


def test_a_hash_spreads_jobs_and_survives_being_stored() -> None:
    jobs = [parse("cron", {"expression": "H H * * *"}, key=f"job-{n}") for n in range(20)]
    assert len({job.next_after(NOW) for job in jobs}) > 15
    assert all(from_document(to_document(job)).next_after(NOW) == job.next_after(NOW) for job in jobs)


def test_there_is_no_occurrence_beyond_the_year_9999() -> None:
    assert parse("cron", {"expression": "@yearly"}).next_after(at("9999-01-01T00:00:00")) is None
    assert parse("cron", {"expression": "@hourly"}, "Asia/Tokyo").next_after(at("9999-12-31T23:30:00")) is None
    assert parse("interval", {"days": "400"}).next_after(at("9999-12-01T00:00:00")) is None


@pytest.mark.parametrize(
    ("config", "sentences"),
    [
        ({"hour": "25", "minute": "0"}, ["config.hour: '25' is not an hour (0-23)"]),
        (
            {"hour": "10"},
            [
                ("config.minute: hour=10 without minute would fire 60 times between 10:00 and 10:59; "
                "give minute, for example 0")
            ],
        ),
        ({"expression": "0 25 * * *"}, ["config.expression: '25' is not an hour (0-23)"]),
        (
            {"expression": "@daily", "hour": "3"},
            ["config.expression: give either expression or the fields, not both (hour)"],
        ),
        (
            {"expression": "@daily", "hours": "3"},
            [
                ("config.hours: 'hours' is not a key of cron (expression, second, minute, hour, day_of_month, "
                "month_of_year, day_of_week, gap, repeat)")
            ],
        ),
        (
            {},
            [
                ("config: a cron schedule takes expression, or at least one of second, minute, hour, day_of_month, "
                "month_of_year, day_of_week")
            ],
        ),
        (
            {"expression": "@daily", "gap": "JUMP", "repeat": ""},
            [
                "config.gap: 'JUMP' is not a policy for gap (SKIP, SHIFT)",
                "config.repeat: '' is not a policy for repeat (FIRST, SECOND, BOTH)",
            ],
        ),
        ({"expression": "0 0 30 2 *"}, [("config.expression: never fires: no year has a day with day_of_month=30, "
                                        "month_of_year=2, day_of_week=*")]),
    ],
)  # fmt: skip
def test_a_wrong_cron_config_is_refused_key_by_key(config: dict[str, str], sentences: list[str]) -> None:
    assert refusals("cron", config) == sentences


def test_all_faults_of_a_request_are_told_at_once() -> None:
    found = refusals(
        "cron",
        {"minute": "x", "hour": "25", "gap": "?", "day": "1"},
        "Mars/Olympus",
        at("2027-01-02"),
        at("2027-01-01"),
    )
    assert [sentence.partition(":")[0] for sentence in found] == [
        "end_time",
        "config.day",
        "config.gap",
        "config.minute",
        "config.hour",
        "timezone",
    ]


def test_times_that_the_clocks_always_skip_are_refused() -> None:
    (sentence,) = refusals("cron", {"expression": "*/15 2 ? 3 SUNL"}, "Europe/Berlin")
    assert sentence.startswith("config: never fires after 2026-11-23T12:00:00.500000Z: ")
    assert "the clocks of Europe/Berlin skip each of them" in sentence


# Interval


@pytest.mark.parametrize(
    ("config", "period"),
    [
        ({"seconds": "1"}, timedelta(seconds=1)),
        ({"hours": "1", "minutes": "30"}, timedelta(minutes=90)),
        ({"days": "1", "hours": "1", "minutes": "1", "seconds": "1"}, timedelta(days=1, seconds=3661)),
        ({"days": "1.5"}, timedelta(hours=36)),
        ({"minutes": "0.5", "seconds": "0"}, timedelta(seconds=30)),
        ({"every": "1h30m"}, timedelta(minutes=90)),
        ({"every": "1d 2h 3m 4s"}, timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ({"every": "0.5m30s"}, timedelta(minutes=1)),
    ],
)
def test_an_interval_is_the_sum_of_its_parts(config: dict[str, str], period: timedelta) -> None:
    schedule = parse("interval", config)
    assert schedule.next_after(NOW) == NOW.replace(microsecond=0) + period


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "config: an interval takes every, or at least one of seconds, minutes, hours, days"),
        ({"seconds": "0"}, "config: '0 seconds' is 0 s; expected whole seconds, from 1 s to 36525 days"),
        ({"seconds": "0.5"}, "config: '0.5 seconds' is 0.5 s; expected whole seconds, from 1 s to 36525 days"),
        ({"seconds": "-5"}, "config.seconds: '-5' is not a number of seconds"),
        ({"minutes": "1e3"}, "config.minutes: '1e3' is not a number of minutes"),
        ({"hours": ""}, "config.hours: '' is not a number of hours"),
        ({"days": "36526"}, "config: '36526 days' is 3.15585e+09 s; expected whole seconds, from 1 s to 36525 days"),
        ({"every": "1h30"}, "config.every: '1h30' is not a sum of spans like 1h30m (units d, h, m, s)"),
        (
            {"every": "999999999999999999h"},
            "config.every: '999999999999999999h' is too large; an interval is at most 36525 days",
        ),
        (
            {"hours": "999999999999999999"},
            "config.hours: '999999999999999999' is too large; an interval is at most 36525 days",
        ),
        ({"every": ""}, "config.every: '' is not a sum of spans like 1h30m (units d, h, m, s)"),
        ({"every": "1.5s"}, "config.every: '1.5s' is 1.5 s; expected whole seconds, from 1 s to 36525 days"),
        ({"every": "1h", "hours": "1"}, "config.every: give either every or its parts, not both (hours)"),
        ({"every": "1h", "x": "1"}, "config.x: 'x' is not a key of interval (every, seconds, minutes, hours, days)"),
    ],
)
def test_a_wrong_interval_is_refused_in_a_sentence(config: dict[str, str], sentence: str) -> None:
    assert refusals("interval", config) == [sentence]


def test_an_interval_first_fires_one_interval_after_its_anchor() -> None:
    assert upcoming(parse("interval", {"hours": "1"})) == [
        "2026-11-23T13:00:00",
        "2026-11-23T14:00:00",
        "2026-11-23T15:00:00",
    ]
    later = parse("interval", {"hours": "1"}, start=at("2026-12-01T00:00:00.123456"))
    assert upcoming(later, 2) == ["2026-12-01T01:00:00.123000", "2026-12-01T02:00:00.123000"]
    assert later.next_after(at("2026-12-01T00:30:00")) == at("2026-12-01T01:00:00.123")


def test_an_interval_knows_no_daylight_saving() -> None:
    daily = parse("interval", {"days": "1"}, "Europe/Berlin", anchor=at("2026-10-23T06:00"))
    assert upcoming(daily, 3, at("2026-10-24")) == ["2026-10-24T06:00:00", "2026-10-25T06:00:00", "2026-10-26T06:00:00"]


def test_an_interval_that_goes_on_keeps_its_anchor() -> None:
    anchor = at("2026-11-01T00:00:07.250")
    assert upcoming(parse("interval", {"days": "1"}, anchor=anchor), 1) == ["2026-11-24T00:00:07.250000"]
    restarted = parse("interval", {"days": "1"}, start=at("2026-11-20"), anchor=anchor)
    assert isinstance(restarted, IntervalSchedule)
    assert restarted.anchor == at("2026-11-20")


def test_an_interval_with_an_anchor_before_its_start_fires_from_the_start_on() -> None:
    schedule = IntervalSchedule(
        terms=(("hours", "1"),), anchor=at("2026-11-01"), start_time=at("2026-11-24"), end_time=at("2026-11-24T02:00")
    )
    assert upcoming(schedule, 5) == ["2026-11-24T00:00:00", "2026-11-24T01:00:00", "2026-11-24T02:00:00"]
    assert schedule.count_between(at("2026-01-01"), at("2027-01-01")) == 3
    assert schedule.last_between(at("2026-01-01"), at("2026-11-23T23:59:59")) is None


# Once


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2027-01-01T08:00:00Z", "", "2027-01-01T08:00"),
        ("2027-01-01t08:00:00.123987z", "", "2027-01-01T08:00:00.123"),
        ("2027-01-01 08:00:00+05:30", "", "2027-01-01T02:30"),
        ("2027-01-01T08:00:00-05:00", "Europe/Berlin", "2027-01-01T13:00"),
        ("2027-01-01T08:00:00", "Europe/Berlin", "2027-01-01T07:00"),
        ("2027-01-01T08:00:00", "UTC", "2027-01-01T08:00"),
        ("2027-03-28T02:30:00.5", "Europe/Berlin", "2027-03-28T01:00"),
        ("2027-10-31T02:30:00.5", "Europe/Berlin", "2027-10-31T00:30:00.500"),
    ],
)
def test_once_is_an_instant_or_a_local_time_of_the_zone_given(text: str, zone: str, instant: str) -> None:
    schedule = parse("once", {"at": text}, zone)
    assert occurrences.upcoming(schedule, NOW, 5) == [at(instant)]


@pytest.mark.parametrize(
    ("config", "zone", "sentence"),
    [
        ({}, "", "config.at: a time is required; expected RFC 3339, for example 2030-01-31T08:00:00Z"),
        ({"at": "soon"}, "", "config.at: 'soon' is not a time; expected RFC 3339, for example 2030-01-31T08:00:00Z"),
        (
            {"at": "2027-01-01T08:00:00"}, "",
            ("config.at: '2027-01-01T08:00:00' has neither an offset (Z or +01:00) nor a timezone to be read in; "
            "give one of them"),
        ),
        (
            {"at": "2027-02-29T08:00:00Z"}, "",
            "config.at: '2027-02-29T08:00:00Z' is not a time: day is out of range for month",
        ),
        (
            {"at": "0001-01-01T00:00:00+01:00"}, "",
            "config.at: '0001-01-01T00:00:00+01:00' is not a time: date value out of range",
        ),
        (
            {"at": "2026-11-23T12:59:00+01:00"}, "",
            ("config.at: '2026-11-23T12:59:00+01:00' is 2026-11-23T11:59:00Z, more than a minute before now, "
            "2026-11-23T12:00:00.500000Z; give a time to come"),
        ),
        (
            {"at": "2027-01-01T08:00:00"}, "Europe/Bonn",
            "timezone: 'Europe/Bonn' is not an IANA time zone; did you mean 'Europe/London'?",
        ),
        ({"at": "2027-01-01T08:00:00Z", "in": "1h"}, "", "config.in: 'in' is not a key of once (at)"),
    ],
)  # fmt: skip
def test_a_wrong_once_is_refused_in_a_sentence(config: dict[str, str], zone: str, sentence: str) -> None:
    assert refusals("once", config, zone) == [sentence]


def test_once_of_up_to_a_minute_ago_fires_first_all_the_same() -> None:
    schedule = parse("once", {"at": "2026-11-23T11:59:00.500Z"})
    assert schedule.first_after(NOW) == at("2026-11-23T11:59:00.500")
    assert schedule.next_after(NOW) is None


def test_what_a_new_cron_or_interval_fires_first_lies_ahead() -> None:
    assert parse("cron", {"expression": "* * * * *"}).first_after(NOW) == at("2026-11-23T12:01")
    assert parse("interval", {"seconds": "10"}).first_after(NOW) == at("2026-11-23T12:00:10")


def test_once_is_counted_where_it_lies() -> None:
    schedule = parse("once", {"at": "2027-01-01T08:00:00Z"})
    instant, tick = at("2027-01-01T08:00"), timedelta(milliseconds=1)
    assert schedule.count_between(instant - tick, instant) == 1
    assert schedule.count_between(instant, instant + tick) == 0
    assert schedule.last_between(instant - tick, instant) == instant
    assert schedule.last_between(instant, instant + tick) is None


# All types


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("", "type: a type is required (cron, interval, once)"),
        ("weekly", "type: 'weekly' is not a schedule type (cron, interval, once)"),
    ],
)
def test_an_unknown_type_is_refused_by_name(kind: str, sentence: str) -> None:
    assert refusals(kind, {"expression": "@daily"}) == [sentence]


@pytest.mark.parametrize(
    ("kind", "config", "start", "end", "sentence"),
    [
        (
            "cron", {"expression": "0 8 * * *"}, None, at("2026-11-24"),
            ("end_time: never fires after 2026-11-23T12:00:00.500000Z: its next time, 2026-11-24T08:00:00Z, "
            "is after end_time 2026-11-24T00:00:00Z"),
        ),
        (
            "interval", {"days": "2"}, None, at("2026-11-24"),
            ("end_time: never fires after 2026-11-23T12:00:00.500000Z: its next time, 2026-11-25T12:00:00Z, "
            "is after end_time 2026-11-24T00:00:00Z"),
        ),
        (
            "once", {"at": "2026-11-24T00:00:00Z"}, at("2026-12-01"), None,
            ("config.at: never fires after 2026-11-23T12:00:00.500000Z: 2026-11-24T00:00:00Z is before start_time "
            "2026-12-01T00:00:00Z"),
        ),
        (
            "cron", {"expression": "0 8 * * *"}, at("2026-11-25"), at("2026-11-25"),
            "end_time: 2026-11-25T00:00:00Z is not after start_time 2026-11-25T00:00:00Z",
        ),
        (
            "cron", {"expression": "@daily"}, datetime(2026, 12, 1), None,  # noqa: DTZ001 - that is the fault
            "start_time: 2026-12-01T00:00:00 has no zone; expected a time in UTC",
        ),
    ],
)  # fmt: skip
def test_a_schedule_that_never_fires_is_refused_with_the_reason(
    kind: str, config: dict[str, str], start: datetime | None, end: datetime | None, sentence: str
) -> None:
    assert refusals(kind, config, start=start, end=end) == [sentence]


def test_the_paths_of_violations_begin_with_the_field_given() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_schedule(type="cron", config={"expression": "x"}, now=NOW, hash_key="job-1", field="job.schedule_config")
    assert [violation.field for violation in refused.value.violations] == ["job.schedule_config.config.expression"]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_schedule_is_kept_exactly(schedule: Schedule) -> None:
    document = to_document(schedule)
    stored = json.loads(json.dumps(document, default=datetime.isoformat))
    for name, value in document.items():
        if isinstance(value, datetime):
            stored[name] = datetime.fromisoformat(stored[name])
    read = from_document(stored)
    assert read == schedule
    assert hash(read) == hash(schedule)
    assert occurrences.upcoming(read, NOW, 20) == occurrences.upcoming(schedule, NOW, 20)
    assert copy.deepcopy(schedule) == schedule


def test_a_document_is_read_whatever_the_time_is() -> None:
    ended = parse("cron", {"expression": "@daily"}, end=at("2026-12-01"))
    assert from_document(to_document(ended)).next_after(at("2030-01-01")) is None


def test_a_schedule_shows_what_the_client_wrote() -> None:
    schedule = parse("cron", {"hour": "8", "minute": "0"}, "US/Eastern", at("2027-01-01"), at("2028-01-01"))
    assert (schedule.type, schedule.config, schedule.timezone) == ("cron", {"hour": "8", "minute": "0"}, "US/Eastern")
    assert (schedule.start_time, schedule.end_time) == (at("2027-01-01"), at("2028-01-01"))


def test_configs_that_say_the_same_in_another_order_are_equal() -> None:
    anchor = at("2026-01-01")
    one = parse("interval", {"hours": "1", "minutes": "30"}, anchor=anchor)
    assert one == parse("interval", {"minutes": "30", "hours": "1"}, anchor=anchor)
    assert one != parse("interval", {"minutes": "90"}, anchor=anchor)


def test_a_document_of_before_jitter_and_max_runs_is_read() -> None:
    schedule = parse("cron", {"expression": "@daily"})
    document = to_document(schedule)
    assert from_document({key: document[key] for key in document.keys() - {"jitter", "max_runs"}}) == schedule


# Jitter and max_runs


def test_jitter_puts_each_fire_off_by_its_own_part_of_the_span() -> None:
    schedule = parse("cron", {"expression": "@hourly"}, jitter=timedelta(minutes=10))
    delays = [schedule.due_time(nominal, "uid-1") - nominal for nominal in occurrences.upcoming(schedule, NOW, 500)]
    assert all(timedelta() <= delay < timedelta(minutes=10) for delay in delays)
    assert all(delay % timedelta(milliseconds=1) == timedelta() for delay in delays)
    assert len(set(delays)) > 490
    assert timedelta(minutes=4) < sum(delays, timedelta()) / 500 < timedelta(minutes=6)


def test_jitter_is_the_same_on_every_host_and_in_every_release() -> None:
    schedule = parse("cron", {"expression": "@hourly"}, jitter=timedelta(minutes=10))
    assert schedule.due_time(at("2030-01-01T08:00"), "uid-1") == at("2030-01-01T08:08:16.961")
    assert schedule.due_time(at("2030-01-01T09:00"), "uid-1") == at("2030-01-01T09:03:34.107")
    assert schedule.due_time(at("2030-01-01T08:00"), "uid-2") == at("2030-01-01T08:09:59.249")


def test_jitter_never_reaches_the_next_occurrence() -> None:
    schedule = parse("cron", {"expression": "*/2 * * * * *"}, jitter=timedelta(days=1))
    for nominal in occurrences.upcoming(schedule, NOW, 2000):
        assert nominal <= schedule.due_time(nominal, "uid-1") < nominal + timedelta(seconds=2)


def test_the_last_occurrence_may_be_put_off_past_the_end() -> None:
    schedule = parse("cron", {"expression": "@hourly"}, end=at("2026-12-01"), jitter=timedelta(hours=20))
    assert schedule.due_time(at("2026-12-01"), "uid-1") > at("2026-12-01T01:00")
    late = parse("once", {"at": "9999-12-31T23:00:00Z"}, jitter=timedelta(days=1))
    assert late.due_time(at("9999-12-31T23:00"), "uid-1") > at("9999-12-31T23:00")


def test_without_jitter_a_fire_is_due_at_its_nominal_time() -> None:
    for schedule in EXAMPLES[:5]:
        nominal = schedule.next_after(NOW)
        assert nominal is not None
        assert schedule.due_time(nominal, "uid-1") == nominal
    barely = parse("cron", {"expression": "@hourly"}, jitter=timedelta(microseconds=1_500))
    assert barely.due_time(at("2030-01-01"), "uid-1") == at("2030-01-01")


def test_max_runs_is_kept_and_bounds_no_question() -> None:
    schedule = parse("cron", {"expression": "@hourly"}, max_runs=2)
    assert schedule.max_runs == 2
    assert len(occurrences.upcoming(schedule, NOW, 5)) == 5


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"jitter": timedelta(seconds=86_401)}, "jitter: 86401 s is not a jitter (0 s to a day)"),
        ({"jitter": timedelta(seconds=-1)}, "jitter: -1 s is not a jitter (0 s to a day)"),
        ({"max_runs": 0}, "max_runs: 0 is not a number of runs (at least 1; none means no limit)"),
        ({"max_runs": -3}, "max_runs: -3 is not a number of runs (at least 1; none means no limit)"),
    ],
)
def test_a_wrong_jitter_or_number_of_runs_is_refused_in_a_sentence(more: dict[str, Any], sentence: str) -> None:
    assert refusals("cron", {"expression": "@daily"}, **more) == [sentence]


def test_reading_the_same_document_again_parses_nothing() -> None:
    document = to_document(parse("cron", {"expression": "3 4 5 6 *"}, "Europe/Rome"))
    from_document(document)
    before = module._cron_of.cache_info()
    from_document(dict(document))
    after = module._cron_of.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_a_value_cannot_be_built_wrong() -> None:
    daily = (("expression", "@daily"),)
    berlin = timezone(timedelta(hours=1))
    with pytest.raises(InvalidInput, match=r"config\.expression: '61' is not a minute"):
        CronSchedule(terms=(("expression", "61 * * * *"),))
    with pytest.raises(InvalidInput, match="timezone: 'Nowhere' is not an IANA time zone"):
        CronSchedule(terms=daily, timezone="Nowhere")
    with pytest.raises(InvalidInput, match=r"end_time: .* is not after start_time"):
        CronSchedule(terms=daily, start_time=at("2027-01-01"), end_time=at("2026-01-01"))
    with pytest.raises(InvalidInput, match=r"start_time: .* is not a time in UTC of whole milliseconds"):
        CronSchedule(terms=daily, start_time=datetime(2027, 1, 1, tzinfo=berlin))
    with pytest.raises(InvalidInput, match=r"at: .* is not a time in UTC of whole milliseconds"):
        OnceSchedule(terms=(), at=at("2027-01-01T00:00:00.000001"))
    with pytest.raises(InvalidInput, match="config: an interval takes every"):
        IntervalSchedule(terms=(), anchor=at("2027-01-01"))
    with pytest.raises(InvalidInput, match="type: 'hourly' is not a schedule type"):
        from_document(dict(to_document(EXAMPLES[0]), type="hourly"))


@pytest.mark.parametrize(
    ("kind", "config", "zone", "field"),
    [
        ("interval", {"every": "0s" * 1_900_000 + "5s"}, "", "config.every"),
        ("interval", {"seconds": "1" * 4_000_000}, "", "config.seconds"),
        ("cron", {"expression": "0,* " * 1_000_000}, "", "config.expression"),
        ("cron", {"hour": "1," * 2_000_000, "minute": "0"}, "", "config.hour"),
        ("once", {"at": "2" * 4_000_000}, "", "config.at"),
        ("interval", {"seconds": "5"}, "Europe/" * 600_000, "timezone"),
        ("cronus" * 600_000, {}, "", "type"),
        ("cron", {"minute": "0", "k" * 4_000_000: ""}, "", "config." + "k" * 80 + "..."),
    ],
)
def test_megabytes_are_refused_by_their_length_before_anything_is_parsed(
    kind: str, config: dict[str, str], zone: str, field: str
) -> None:
    began = time.process_time()
    (said,) = refusals(kind, config, zone)
    assert time.process_time() - began < 0.2
    assert said.startswith(f"{field}: '")
    assert said.endswith(" characters; at most 1,000 are read")
    assert len(said) < 300


def test_hundreds_of_thousands_of_keys_are_one_violation() -> None:
    said = refusals("cron", {str(n): "" for n in range(300_000)})
    assert said == ["config: 300,000 keys are too many (at most 20)"]


def test_what_is_read_but_long_is_quoted_cut() -> None:
    for config in ({"every": "x" * 1_000}, {"seconds": "x" * 1_000}, {"every": "1s" * 500, "k" * 1_000: ""}):
        assert all(len(said) < 300 for said in refusals("interval", config, "Z" * 1_000))
    for key in ("expression", "minute", "gap"):
        assert all(len(said) < 300 for said in refusals("cron", {key: "X" * 1_000}))
