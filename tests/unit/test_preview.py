"""The next fires of a schedule, what another one changes of them, and that neither takes long."""

# ruff: noqa: ISC004 - a sentence may take two lines
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.clock import gap_at, instants_of, local_text, repeated_at
from shared.domain.exclusions import ExclusionTerms
from shared.domain.occurrences import names, upcoming
from shared.domain.overrides import Override
from shared.domain.preview import LOOKS_AHEAD, difference, preview
from shared.domain.remarks import excluded_at, fire_of
from shared.domain.schedule import parse_schedule
from shared.domain.zones import zone
from tests.builders import ORIGIN, at, every, once

if TYPE_CHECKING:
    from shared.domain.schedule import Schedule

NEW_YORK = "America/New_York"


def cron(expression: str, timezone: str = "UTC", **terms: Any) -> Schedule:
    config = {"expression": expression, **terms.pop("config", {})}
    return parse_schedule(type="cron", config=config, timezone=timezone, now=ORIGIN, hash_key="", **terms)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def remarks(schedule: Schedule, time: str, previous: str | None = None) -> list[str]:
    return list(fire_of(schedule, instant(time), None if previous is None else instant(previous)).remarks)


FORWARD = "clocks go forward from 02:00 to 03:00 on 2026-03-08"
BACK = "clocks go back from 02:00 to 01:00 on 2026-11-01"


@pytest.mark.parametrize(
    ("schedule", "time", "previous", "said"),
    [
        # rule 2
        (cron("30 2 * * *", NEW_YORK), "2026-03-08T03:00-04:00", "2026-03-07T02:30-05:00",
         [f"{FORWARD}: 02:30 does not exist, so it fires at 03:00 instead"]),
        (cron("0,15,30 2 * * *", NEW_YORK), "2026-03-08T03:00-04:00", "2026-03-07T02:30-05:00",
         [f"{FORWARD}: 02:00 to 02:30 do not exist, so it fires at 03:00 instead"]),
        (cron("0 2,3 * * *", NEW_YORK), "2026-03-08T03:00-04:00", "2026-03-07T03:00-05:00",
         [f"{FORWARD}: 02:00 does not exist"]),
        # rule 3
        (cron("*/20 2 * * *", NEW_YORK), "2026-03-09T02:00-04:00", "2026-03-07T02:40-05:00",
         [f"{FORWARD}: 02:00 to 02:40 do not exist, and do not fire"]),
        # rule 6
        (cron("30 2 * * *", NEW_YORK, config={"gap": "SKIP"}), "2026-03-09T02:30-04:00", "2026-03-07T02:30-05:00",
         [f"{FORWARD}: 02:30 does not exist, and does not fire"]),
        (cron("30 2 * * *", NEW_YORK), "2026-03-09T02:30-04:00", "2026-03-08T03:00-04:00", []),
        # rules 4 to 6
        (cron("30 1 * * *", NEW_YORK), "2026-11-01T01:30-04:00", None,
         [f"{BACK}: 01:30 comes twice and fires the first time only"]),
        (cron("*/30 * * * *", NEW_YORK), "2026-11-01T01:30-05:00", None,
         [f"{BACK}: 01:30 comes twice and fires both times; this is the second"]),
        (cron("30 1 * * *", NEW_YORK, config={"repeat": "SECOND"}), "2026-11-01T01:30-05:00", None,
         [f"{BACK}: 01:30 comes twice and fires the second time only"]),
        # rule 7: an interval knows no clock
        (every(1800), "2026-11-01T01:30-05:00", None, []),
        # rule 9
        (cron("15 2 * * *", "Australia/Lord_Howe"), "2026-10-04T02:30+11:00", None,
         ["clocks go forward from 02:00 to 02:30 on 2026-10-04: 02:15 does not exist, so it fires at 02:30 instead"]),
        (cron("0 0 * * *", "America/Havana"), "2026-03-08T01:00-04:00", None,
         ["clocks go forward from 00:00 to 01:00 on 2026-03-08: 00:00 does not exist, so it fires at 01:00 instead"]),
    ],
)  # fmt: skip
def test_what_clocks_do_is_remarked(schedule: Schedule, time: str, previous: str | None, said: list[str]) -> None:
    assert previous is not None or names(schedule, instant(time)) or not said
    assert remarks(schedule, time, previous) == said


def test_a_dropped_day_is_remarked() -> None:
    apia = parse_schedule(
        type="cron",
        config={"expression": "0 9 * * *"},
        timezone="Pacific/Apia",
        now=instant("2011-12-01T00:00Z"),
        hash_key="",
    )
    assert remarks(apia, "2011-12-31T00:00+14:00") == [
        "clocks go forward from 2011-12-30 00:00 to 2011-12-31 00:00: 2011-12-30 09:00 does not exist, so it fires at"
        " 00:00 instead"
    ]


@pytest.mark.parametrize(
    ("terms", "time", "previous", "said"),
    [
        ({"dates": ("2026-12-25",)}, "2026-12-26T09:00Z", "2026-12-24T09:00Z",
         ["left out before it: Fri 2026-12-25 (one of the excluded dates)"]),
        ({"ranges": (("2026-12-20", "2026-12-26"),)}, "2026-12-27T09:00Z", "2026-12-19T09:00Z",
         ["left out before it: Sun 2026-12-20 (in the excluded range 2026-12-20 to 2026-12-26), Mon 2026-12-21 (in the"
          " excluded range 2026-12-20 to 2026-12-26), Tue 2026-12-22 (in the excluded range 2026-12-20 to 2026-12-26),"
          " and more days"]),
        ({"dates": ("2026-12-25",)}, "2026-12-28T09:00Z", "2026-12-27T09:00Z", []),
    ],
)  # fmt: skip
def test_what_is_left_out_before_a_fire_is_remarked(
    terms: dict[str, Any], time: str, previous: str, said: list[str]
) -> None:
    assert remarks(cron("0 9 * * *", exclusions=ExclusionTerms(**terms)), time, previous) == said


def test_what_moved_is_remarked_with_the_day_that_it_moved_from() -> None:
    moving = cron("0 9 25 * *", exclusions=ExclusionTerms(dates=("2026-12-25",), on_excluded="NEXT_BUSINESS_DAY"))
    assert remarks(moving, "2026-12-28T09:00Z", "2026-11-25T09:00Z") == [
        "moved from Fri 2026-12-25: one of the excluded dates"
    ]
    excluded = excluded_at(moving, instant("2026-12-25T09:00Z"))
    assert excluded is not None
    assert (excluded.reason, excluded.moved_to) == ("one of the excluded dates", instant("2026-12-28T09:00Z"))
    assert excluded_at(moving, instant("2026-12-25T10:00Z")) is None


def test_a_preview_ends_with_the_schedule_or_with_its_runs() -> None:
    daily = cron("0 12 * * *", end_time=ORIGIN + timedelta(days=2))
    assert [fire.time for fire in preview(daily, ORIGIN, 10, runs_left=None).fires] == [
        ORIGIN + timedelta(days=1), ORIGIN + timedelta(days=2)
    ]  # fmt: skip
    assert preview(daily, ORIGIN, 2, runs_left=None).ends == ""
    assert preview(daily, ORIGIN, 3, runs_left=None).ends.startswith("end_time")
    limited = cron("0 12 * * *", max_runs=5)
    assert len(preview(limited, ORIGIN, 10, runs_left=1).fires) == 1
    assert preview(limited, ORIGIN, 10, runs_left=-3).ends.startswith("max_runs")
    assert preview(once(at(60)), ORIGIN, 2, runs_left=None).ends == "the schedule is a single instant"


def test_a_preview_goes_no_further_than_the_calendars_cycle() -> None:
    rare = preview(cron("0 0 ? 2 SUN#5", NEW_YORK), ORIGIN, 1_000, runs_left=None)
    assert 10 <= len(rare.fires) <= 20
    assert rare.ends == "further times are more than 400 years away"
    assert rare.fires[-1].time <= rare.fires[0].time + LOOKS_AHEAD


def test_an_occurrence_that_was_skipped_or_moved_says_so() -> None:
    skipped = Override(at(60), None, "dora", "no need", ORIGIN)
    limited = replace(every(60), max_runs=2)
    shown = preview(limited, ORIGIN, 10, runs_left=2, overrides=[skipped])
    assert [fire.time for fire in shown.fires] == [at(60), at(120), at(180)], "what is skipped is no run"
    assert shown.ends.startswith("max_runs")
    moved = Override(at(120), at(150), "dora", "", ORIGIN)
    fires = preview(every(60), ORIGIN, 3, runs_left=None, uid="uid", overrides=(skipped, moved)).fires
    assert [(fire.due, list(fire.remarks)) for fire in fires] == [
        (None, ["skipped by dora: no need"]),
        (at(150), ["moved to 2026-03-02T12:02:30Z by dora"]),
        (None, []),
    ]


def test_what_a_new_schedule_adds_and_removes() -> None:
    changes = difference(cron("0 8,12 * * *"), cron("0 8,20 * * *"), ORIGIN, 4)
    assert [fire.time for fire in changes.added] == [at(8 * 3600), at(32 * 3600)]
    assert [fire.time for fire in changes.removed] == [at(24 * 3600)]
    assert not changes.cut
    assert difference(every(1), every(3600), ORIGIN, 5).cut
    assert difference(every(60), every(60), ORIGIN, 5) == difference(every(1), every(1), ORIGIN, 5)
    ended = difference(every(60), once(at(30)), ORIGIN, 5)
    assert len(ended.removed) == 5


EXPRESSIONS = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 1 * * *", "30 2 * * *", "0 */5 * * *", "15 2,3 * * 1-5", "0 9 1,15 * *"]
)
TIMEZONES = st.sampled_from(["UTC", NEW_YORK, "Australia/Lord_Howe", "America/Havana", "Europe/Berlin"])
INSTANTS = st.integers(0, 2 * 366 * 86_400).map(at)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS, TIMEZONES, INSTANTS, st.integers(1, 50))
def test_a_difference_is_what_the_two_schedules_do_not_share(
    one: str, other: str, timezone: str, after: datetime, count: int
) -> None:
    present, wanted = cron(one, timezone), cron(other, timezone)
    changes = difference(present, wanted, after, count)
    times = upcoming(wanted, after, count)
    before = set(upcoming(present, after, 2 * count + 1))
    assert {fire.time for fire in changes.added} == {time for time in times if not names(present, time)}
    gone = sorted(time for time in before if time <= times[-1] and not names(wanted, time))
    assert [fire.time for fire in changes.removed] == gone[:count]


@settings(max_examples=300, deadline=None)
@given(TIMEZONES, INSTANTS)
def test_the_clocks_times_come_once_never_or_twice(timezone: str, instant: datetime) -> None:
    where = zone(timezone)
    second = int(instant.timestamp())
    wall = where.wall(second)
    shown = instants_of(where, wall)
    assert second in shown
    assert gap_at(where, wall) is None
    twice = repeated_at(where, second)
    assert shown == ([second] if twice is None else [twice.first, twice.second])
    assert datetime.fromisoformat(local_text(instant, where)) == instant
