"""The load to come is what the schedules name, counted one by one; and jobs that are alike are computed once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_service.planning import load as loads
from scheduler_service.planning.forecast_messages import load_message, load_question
from scheduler_service.planning.load import MINUTES, Load, Reckoning, from_json
from shared.domain.errors import InvalidInput
from shared.domain.load import MINUTE, fires_by_minute, lattice_by_minute, milliseconds
from shared.domain.occurrences import upcoming
from shared.domain.overrides import Override
from shared.domain.schedule import CronSchedule, IntervalSchedule, parse_schedule
from shared.proto import planning_service_pb2 as pb
from tests.builders import job_document

if TYPE_CHECKING:
    from shared.domain.schedule import Schedule

START = datetime(2026, 10, 31, 22, tzinfo=UTC)
"""With the change of the clocks in New York ahead."""
END = START + MINUTES * MINUTE
TICK = timedelta(microseconds=1)


def schedule(now: datetime = START - timedelta(days=3), **given: Any) -> Schedule:
    jitter = timedelta(seconds=given.pop("jitter", 0))
    return parse_schedule(**{"config": {}, **given}, now=now, hash_key="job-1", jitter=jitter)


SCHEDULES: list[dict[str, Any]] = [
    {"type": "cron", "config": {"expression": "*/7 * * * *"}},
    {"type": "cron", "config": {"expression": "30 1 * * *"}, "timezone": "America/New_York"},
    {"type": "cron", "config": {"expression": "*/20 * * * * *"}},
    {"type": "cron", "config": {"expression": "H H * * *"}},
    {"type": "cron", "expressions": ["0 8 * * *", "0 20 * * SUN"]},
    {"type": "interval", "config": {"every": "7s"}},
    {"type": "interval", "config": {"every": "1s"}},
    {"type": "interval", "config": {"every": "90s"}},
    {"type": "interval", "config": {"every": "1h1s"}},
    {"type": "interval", "config": {"every": "7h"}, "start_time": START + timedelta(hours=5)},
    {"type": "interval", "config": {"every": "7h"}, "end_time": START + timedelta(hours=30)},
    {"type": "once", "config": {"at": "2026-11-01T12:00:00Z"}},
    {"type": "cron", "config": {"expression": "0 8 * * *"}, "jitter": 3_600},
]


def one_by_one(schedule: Schedule, most: int | None = None, key: str = "") -> Counter[int]:
    """Count what a schedule fires by going through it."""
    found: Counter[int] = Counter()
    after = START - schedule.jitter - TICK
    while (following := schedule.next_after(after)) is not None and following < END and most != 0:
        due = schedule.due_time(following, key)
        if START <= due < END:
            found[(due - START) // MINUTE] += 1
        most = None if most is None else most - 1
        after = following
    return found


def document(job_id: str, schedule: Schedule, **changes: Any) -> dict[str, Any]:
    return job_document(job_id, schedule) | changes


def reckon(*documents: dict[str, Any]) -> Load:
    reckoning = Reckoning(START + timedelta(seconds=20))
    for each in documents:
        reckoning.add(each)
    return reckoning.finish()


def totals(load: Load) -> Counter[int]:
    found: Counter[int] = Counter()
    for counts in load.fires.values():
        found.update({minute: count for minute, count in enumerate(counts) if count})
    return found


@pytest.mark.parametrize("given_schedule", SCHEDULES, ids=str)
def test_the_fires_of_a_schedule_are_those_that_it_names(given_schedule: dict[str, Any]) -> None:
    each = schedule(**given_schedule)
    assert fires_by_minute(each, START, MINUTES, key="uid") == one_by_one(each, key="uid")


@pytest.mark.parametrize("most", [0, 1, 3, 5_000])
@pytest.mark.parametrize("every", ["7s", "90s", "7h"])
def test_a_schedule_that_ends_after_some_fires_has_no_more(most: int, every: str) -> None:
    each = schedule(type="interval", config={"every": every})
    assert fires_by_minute(each, START, MINUTES, most=most) == one_by_one(each, most)


@given(st.integers(1, 200_000), st.integers(0, 300_000_000))
def test_arithmetic_finds_the_fires_of_any_interval(seconds: int, phase: int) -> None:
    minutes = 120
    period = timedelta(seconds=seconds)
    fires: Counter[int] = Counter()
    for minute, count in lattice_by_minute(period, phase % (seconds * 1000), START, minutes):
        fires[minute] += count
    anchor = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=phase % (seconds * 1000))
    interval = IntervalSchedule(terms=(("seconds", str(seconds)),), anchor=anchor - period)
    assert +fires == Counter(fires_by_minute(interval, START, minutes))


def test_the_load_is_the_sum_of_all_jobs_by_queue_and_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "MOST_KEPT", 2)  # so that what is alike comes in several lots
    made = [schedule(**each) for each in SCHEDULES * 3]
    documents = [document(f"job-{n}", each, queue=("scraping", "analysis")[n % 2]) for n, each in enumerate(made)]
    load = reckon(*documents)
    expected: Counter[int] = Counter()
    for each, stored in zip(made, documents, strict=True):
        expected += one_by_one(each, key=stored["uid"])
    assert totals(load) == expected
    assert load.jobs == len(documents)
    assert set(load.fires) == {("scraping", "scraper-service"), ("analysis", "scraper-service")}


def test_jobs_of_the_same_schedule_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[Schedule] = []

    def noted(each: Schedule, *arguments: Any, **named: Any) -> Any:
        computed.append(each)
        return fires_by_minute(each, *arguments, **named)

    monkeypatch.setattr(loads, "fires_by_minute", noted)
    daily = [document(f"daily-{n}", schedule(type="cron", config={"hour": "8", "minute": "0"})) for n in range(500)]
    anchored = [
        document(f"every-{n}", schedule(START - timedelta(seconds=n), type="interval", config={"every": "1s"}))
        for n in range(1, 500)
    ]
    load = reckon(*daily, *anchored)
    assert len(computed) == 1
    assert isinstance(computed[0], CronSchedule)
    assert totals(load)[0] == 499 * 60
    assert totals(load)[600] == 499 * 60 + 500  # 08:00


def test_a_job_that_was_to_run_so_often_only_runs_as_often_as_is_left() -> None:
    limited = schedule(type="interval", config={"every": "1h"}, max_runs=5)
    assert totals(reckon(document("job-1", limited, fired=3))).total() == 2


@pytest.mark.parametrize("said", [*SCHEDULES[:3], SCHEDULES[-1]], ids=str)
def test_what_is_skipped_does_not_count_and_what_is_moved_counts_at_its_new_time(said: dict[str, Any]) -> None:
    made = schedule(**said)
    skipped, moved = upcoming(made, START, 2)
    to = START + timedelta(hours=47, seconds=1)
    overrides = [Override(skipped, None, "anna", "", START), Override(moved, to, "anna", "", START)]
    fires = Counter(fires_by_minute(made, START, MINUTES, overrides=overrides))
    expected = one_by_one(made)
    expected.subtract((made.due_time(each, "") - START) // MINUTE for each in (skipped, moved))
    expected.update([(to - START) // MINUTE])
    assert fires == +expected


def test_a_minute_names_some_of_its_jobs() -> None:
    daily = schedule(type="cron", config={"hour": "8", "minute": "0"})
    load = reckon(*(document(f"job-{n}", daily) for n in range(30)), document("job-x", schedule(**SCHEDULES[6])))
    named = [job_id for *_, job_id in load.examples[600]]
    assert named == ["job-0", "job-1", "job-2", "job-x"]


def test_a_load_is_the_same_after_its_way_from_process_to_process() -> None:
    load = reckon(document("job-1", schedule(**SCHEDULES[0])))
    assert from_json(load.to_json()) == load


NOW = START + timedelta(seconds=20)
QUEUES = frozenset({"manual", "scraping"})


def ask(load: Load, limit: int = 0, **asked: Any) -> pb.ForecastLoadResponse:
    return load_message(load, load_question(pb.ForecastLoadRequest(**asked), NOW, QUEUES), limit)


def test_buckets_add_up_whatever_their_width_and_leave_none_out() -> None:
    load = reckon(
        document("job-1", schedule(**SCHEDULES[5])), document("job-2", schedule(**SCHEDULES[2]), queue="manual")
    )
    narrow = ask(load)
    wide = ask(load, bucket={"seconds": 3_600})
    assert (len(narrow.buckets), len(wide.buckets)) == (360, 6)
    assert [bucket.fires for bucket in wide.buckets] == [
        sum(bucket.fires for bucket in narrow.buckets[hour * 60 : hour * 60 + 60]) for hour in range(6)
    ]
    assert dict(wide.buckets[0].by_queue) == {"manual": 180, "scraping": wide.buckets[0].fires - 180}
    assert dict(wide.buckets[0].by_target) == {"scraper-service": wide.buckets[0].fires}
    assert sum(bucket.fires for bucket in ask(load, queue="manual").buckets) == 180 * 6
    assert not any(bucket.fires for bucket in ask(load, target_service="nobody").buckets)


def test_minutes_beyond_the_limit_are_peaks_the_highest_first() -> None:
    daily = [document(f"job-{n}", schedule(type="cron", config={"hour": "8", "minute": "0"})) for n in range(5)]
    later = [document(f"late-{n}", schedule(type="cron", config={"hour": "9", "minute": "0"})) for n in range(7)]
    response = ask(reckon(*daily, *later), limit=4, span={"seconds": 12 * 3_600}, bucket={"seconds": 3_600})
    assert [peak.fires for peak in response.peaks] == [7, 5]
    assert response.peaks[1].time.ToDatetime(UTC) == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert list(response.peaks[1].job_ids) == ["job-0", "job-1", "job-2"]
    assert response.peak_limit == 4
    assert not ask(reckon(*daily)).peaks


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"from_time": START - timedelta(hours=1)}, ["from_time"]),
        ({"from_time": START + timedelta(hours=49), "queue": "q" * 64}, ["from_time", "queue"]),
        ({"from_time": {"seconds": 253_402_300_799}}, ["from_time"]),
        ({"from_time": {"seconds": -(2**60)}}, ["from_time"]),
        ({"span": {"seconds": 48 * 3_600 + 60}}, ["span"]),
        ({"span": {"seconds": 90}}, ["span"]),
        ({"span": {}}, ["span"]),
        ({"span": {"seconds": 2**62}, "bucket": {"seconds": -5}}, ["bucket", "span"]),
        ({"bucket": {"seconds": 90}}, ["bucket"]),
        ({"bucket": {}}, ["bucket"]),
        ({"bucket": {"seconds": 99_999 * 3_600}}, ["bucket"]),
        ({"from_time": START + timedelta(hours=2), "bucket": {"seconds": 47 * 3_600}}, ["bucket"]),
        ({"queue": "nosuch"}, ["queue"]),
        ({"from_time": START + timedelta(hours=2), "span": {"seconds": 47 * 3_600}}, ["span"]),
    ],
)
def test_what_a_forecast_cannot_tell_is_said(asked: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(reckon(), **asked)
    assert [violation.field for violation in refused.value.violations] == fields


def test_every_question_that_is_allowed_is_answered_from_the_load() -> None:
    """Also the latest, asked when the load is an hour old."""
    load = reckon(document("job-1", schedule(**SCHEDULES[6])))
    now = load.computed_at + timedelta(hours=1)
    request = pb.ForecastLoadRequest(from_time=now + timedelta(hours=42), span={"seconds": 6 * 3_600})
    buckets = load_message(load, load_question(request, now, QUEUES), 0).buckets
    assert {bucket.fires for bucket in buckets} == {60}


def test_a_load_that_was_computed_when_the_minute_of_the_question_had_passed_is_told_from_its_own_on() -> None:
    load = reckon(document("job-1", schedule(**SCHEDULES[6])))
    buckets = load_message(load, load_question(pb.ForecastLoadRequest(), NOW - MINUTE, QUEUES), 0).buckets
    assert buckets[0].time.ToDatetime(UTC) == load.start
    assert {bucket.fires for bucket in buckets} == {60}


def test_milliseconds_are_exact() -> None:
    instant = datetime(2026, 3, 2, 12, 0, 0, 123_000, tzinfo=UTC)
    assert datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds(instant)) == instant
