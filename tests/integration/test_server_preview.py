"""What a schedule means, asked over gRPC: its next fires, how they differ from a job's, and its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as jobs_pb
from tests.integration.test_server_harness import Running, cron, interval, once, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable


NEW_YORK = "America/New_York"


def stamp(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(datetime(year, month, day, hour, minute, tzinfo=UTC))
    return message


async def preview(server: Running, **fields: Any) -> pb.PreviewScheduleResponse:
    response: pb.PreviewScheduleResponse = await server.planning.PreviewSchedule(pb.PreviewScheduleRequest(**fields))
    return response


def local(fires: Iterable[pb.FireTime]) -> list[str]:
    return [fire.local_time for fire in fires]


async def test_the_next_fires_of_a_schedule_that_nobody_has_stored(server: Running) -> None:
    said = await preview(
        server,
        schedule_config=cron(NEW_YORK, hour="2", minute="30"),
        from_time=stamp(2027, 3, 13, 12),
        count=3,
    )
    assert local(said.fires) == ["2027-03-14T03:00:00-04:00", "2027-03-15T02:30:00-04:00", "2027-03-16T02:30:00-04:00"]
    assert [list(fire.remarks) for fire in said.fires] == [
        ["clocks go forward from 02:00 to 03:00 on 2027-03-14: 02:30 does not exist, so it fires at 03:00 instead"],
        [],
        [],
    ]
    assert (said.description, said.ends, list(said.warnings)) == ("At 02:30, New York time", "", [])
    assert await server.database.jobs.count_documents({}) == 0


async def test_a_time_that_comes_twice_is_remarked(server: Running) -> None:
    half_hours = cron(NEW_YORK, minute="*/30")
    said = await preview(server, schedule_config=half_hours, from_time=stamp(2027, 11, 7, 5, 10), count=4)
    assert local(said.fires) == [
        "2027-11-07T01:30:00-04:00", "2027-11-07T01:00:00-05:00", "2027-11-07T01:30:00-05:00",
        "2027-11-07T02:00:00-05:00",
    ]  # fmt: skip
    twice = "clocks go back from 02:00 to 01:00 on 2027-11-07: 01:30 comes twice and fires both times; this is the"
    assert [list(fire.remarks) for fire in said.fires][0::2] == [[f"{twice} first"], [f"{twice} second"]]


async def test_what_holidays_leave_out_or_move_is_remarked_by_their_names(server: Running) -> None:
    config = cron(NEW_YORK, hour="8", minute="0", day_of_month="25")
    config.exclusions.holidays.append("US")
    said = await preview(server, schedule_config=config, from_time=stamp(2027, 12, 20), count=1)
    assert said.fires[0].remarks == ["left out before it: Sat 2027-12-25 (US holiday Christmas Day)"]
    config.exclusions.on_excluded = jobs_pb.Exclusions.ON_EXCLUDED_NEXT_BUSINESS_DAY
    said = await preview(server, schedule_config=config, from_time=stamp(2027, 12, 20), count=1)
    assert local(said.fires) == ["2027-12-27T08:00:00-05:00"]
    assert said.fires[0].remarks == ["moved from Sat 2027-12-25: US holiday Christmas Day"]


async def test_a_jobs_own_schedule_is_shown_with_when_each_fire_is_due(server: Running) -> None:
    config = cron(hour="8", minute="0")
    config.jitter.CopyFrom(Duration(seconds=600))
    await server.create(job_id="mine", schedule_config=config)
    said = await preview(server, job_id="mine")
    assert len(said.fires) == 10
    waits = [fire.due_time.ToDatetime() - fire.time.ToDatetime() for fire in said.fires]
    assert all(timedelta() < wait < timedelta(minutes=10) for wait in waits)
    assert len(set(waits)) > 1
    assert not said.added
    assert not said.removed


async def test_another_schedule_is_compared_with_the_jobs(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=cron(hour="8,12", minute="0"))
    said = await preview(
        server,
        job_id="mine",
        schedule_config=cron(hour="8,20", minute="0"),
        from_time=stamp(2030, 1, 1),
        count=4,
    )
    assert local(said.fires) == [f"2030-01-0{day}T{hour}:00:00+00:00" for day in (1, 2) for hour in ("08", "20")]
    assert local(said.added) == ["2030-01-01T20:00:00+00:00", "2030-01-02T20:00:00+00:00"]
    assert local(said.removed) == ["2030-01-01T12:00:00+00:00", "2030-01-02T12:00:00+00:00"]


async def test_no_more_is_shown_as_removed_than_was_asked_for(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(seconds="1"))
    said = await preview(server, job_id="mine", schedule_config=cron(minute="0"), count=5)
    assert len(said.removed) == 5
    assert said.warnings == ["removed: only the first 5 of those that fall away are shown"]


@pytest.mark.parametrize(
    ("config", "fires", "ends"),
    [
        (once("2040-01-01T00:00:00Z"), 1, "the schedule is a single instant"),
        (
            jobs_pb.ScheduleConfig(type="cron", config={"expression": "@daily"}, end_time=stamp(2040, 1, 3)),
            3,
            "end_time: nothing fires after 2040-01-03T00:00:00Z",
        ),
        (
            jobs_pb.ScheduleConfig(type="cron", config={"expression": "@daily"}, max_runs=2),
            2,
            "max_runs: the job is completed after 2 runs of this schedule",
        ),
        (jobs_pb.ScheduleConfig(type="cron", config={"expression": "0 0 ? 2 MON#5"}), 5, ""),
    ],
)
async def test_why_there_are_fewer_fires_than_asked_for(
    server: Running, config: jobs_pb.ScheduleConfig, fires: int, ends: str
) -> None:
    since = None if config.max_runs else stamp(2039, 12, 31, 12)
    said = await preview(server, schedule_config=config, from_time=since, count=5)
    assert (len(said.fires), said.ends) == (fires, ends)


async def test_that_a_job_does_not_fire_is_warned_about(server: Running) -> None:
    await server.create(job_id="mine")
    await server.stub.PauseScheduledJob(jobs_pb.PauseScheduledJobRequest(job_id="mine"))
    assert (await preview(server, job_id="mine")).warnings == ["the job 'mine' is PAUSED: nothing fires while it is"]
    both = cron(hour="8", minute="0", day_of_month="13", day_of_week="FRI")
    assert "either of them fires" in (await preview(server, schedule_config=both)).warnings[0]
    assert "H is made from a job's id" in (await preview(server, schedule_config=cron(minute="H"))).warnings[0]


@pytest.mark.parametrize(
    ("fields", "violations"),
    [
        ({}, ["schedule_config"]),
        (
            {"schedule_config": cron(hour="25"), "count": 1_001},
            ["count", "schedule_config.config.minute", "schedule_config.config.hour"],
        ),
        ({"schedule_config": cron(minute="99"), "count": -1}, ["count", "schedule_config.config.minute"]),
        ({"schedule_config": cron(minute="0"), "from_time": Timestamp(seconds=2**62)}, ["from_time"]),
        ({"schedule_config": cron(minute="0"), "from_time": Timestamp(seconds=253_402_300_799)}, ["from_time"]),
        ({"schedule_config": cron(expression="0 0 30 2 *")}, ["schedule_config.config.expression"]),
    ],
)
async def test_all_that_is_wrong_with_a_request_is_said_at_once(
    server: Running, fields: dict[str, Any], violations: list[str]
) -> None:
    refused = await refusal(server.planning.PreviewSchedule(pb.PreviewScheduleRequest(**fields)))
    assert refused.code == "INVALID_ARGUMENT"
    assert [field for field, _ in refused.violations] == violations


async def test_a_schedule_or_a_jobs_is_said_in_words(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=cron(hour="10", minute="0", day_of_week="MON-FRI"))
    for request in (
        pb.DescribeScheduleRequest(job_id="mine"),
        pb.DescribeScheduleRequest(schedule_config=cron(hour="10", minute="0", day_of_week="1-5")),
    ):
        said = await server.planning.DescribeSchedule(request)
        assert said.description == "At 10:00, Monday through Friday, UTC"
    refused = await refusal(server.planning.DescribeSchedule(pb.DescribeScheduleRequest(job_id="none")))
    assert refused.code == "NOT_FOUND"
    refused = await refusal(server.planning.DescribeSchedule(pb.DescribeScheduleRequest()))
    assert refused.violations == [("schedule_config", "a schedule_config or a job_id is required")]
