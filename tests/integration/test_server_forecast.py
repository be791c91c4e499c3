"""ForecastLoad over a real store; and who is warned that a job adds to a peak."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from dev.server import free_port
from scheduler_service.planning.forecast import Forecast, in_process
from scheduler_service.planning.load import Load, Reckoning
from shared.domain.errors import Unavailable
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as jobs_pb
from shared.store import jobs
from tests.builders import every, job_document
from tests.integration.test_rollup import now
from tests.integration.test_server_harness import a_request, cron, interval, not_now, refusal, serving

if TYPE_CHECKING:
    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"


async def test_the_forecast_counts_the_fires_of_all_active_jobs(database: Db, database_url: str) -> None:
    old = now().replace(microsecond=0) - timedelta(days=1)
    paused = job_document("paused", every(1, anchor=old)) | {"state": "PAUSED"}
    broken = job_document("broken", every(1, anchor=old))
    broken["schedule"]["config"] = {"seconds": "no number"}
    database[jobs.COLLECTION].insert_many([job_document("job-1", every(10, anchor=old)), paused, broken])
    async with serving(database_url) as running:
        await running.create(job_id="daily", schedule_config=cron(**not_now()))
        answer = await running.planning.ForecastLoad(pb.ForecastLoadRequest(span={"seconds": 24 * 3_600}))
    assert {bucket.fires for bucket in answer.buckets} == {6, 7}
    assert sum(bucket.fires == 7 for bucket in answer.buckets) == 1
    assert dict(answer.buckets[0].by_queue) == {"scraping": 6}
    assert answer.jobs == 3
    assert answer.computed_at.ToDatetime() <= now().replace(tzinfo=None)


async def test_an_occurrence_that_is_skipped_is_not_in_the_forecast_before_a_beat_knows_of_it(
    database_url: str,
) -> None:
    async with serving(database_url) as running:
        await running.create(job_id="daily", schedule_config=cron(**not_now()))
        created = await running.stub.GetJobStatus(jobs_pb.GetJobStatusRequest(job_id="daily"))
        first = created.next_fire_times[0]
        await running.planning.SkipOccurrence(pb.SkipOccurrenceRequest(job_id="daily", nominal_time=first))
        answer = await running.planning.ForecastLoad(pb.ForecastLoadRequest(span={"seconds": 48 * 3_600}))
    assert sum(bucket.fires for bucket in answer.buckets) == 1, "of two days"


async def test_while_the_store_is_away_there_is_no_forecast_but_a_refusal_that_says_so() -> None:
    away = in_process(f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=100")
    with pytest.raises(Unavailable):
        await away()


async def test_what_is_wrong_with_a_question_is_said_before_anything_is_computed(database_url: str) -> None:
    async with serving(database_url) as running:
        request = pb.ForecastLoadRequest(bucket={"seconds": 7}, queue="nosuch")
        refused = await refusal(running.planning.ForecastLoad(request))
    assert refused.code == "INVALID_ARGUMENT"
    said = dict(refused.violations)
    assert said.keys() == {"bucket", "queue"}
    assert said["queue"].startswith("'nosuch' is not a configured queue (")


async def test_a_job_that_adds_to_a_peak_is_warned_about_at_creation_and_at_change(database_url: str) -> None:
    peak = not_now()
    async with serving(database_url, peak_fires_per_minute=2) as running:
        create = running.stub.CreateScheduledJob
        for number in range(2):
            await create(a_request(job_id=f"job-{number}", schedule_config=cron(**peak)))
        await running.forecast.read()
        tried = await create(a_request(job_id="job-x", schedule_config=cron(**peak), validate_only=True))
        # The second of these is warned of the first, which the forecast does not have yet.
        third = await create(a_request(job_id="job-2", schedule_config=cron(**peak)))
        fourth = await create(a_request(job_id="job-3", schedule_config=cron(**peak)))
        other = await create(a_request(job_id="job-4", schedule_config=interval(hours="7")))
        update = jobs_pb.UpdateScheduledJobRequest(job_id="job-4", job={"schedule_config": cron(**peak)})
        moved = await running.stub.UpdateScheduledJob(update)
        renamed = await running.stub.UpdateScheduledJob(
            jobs_pb.UpdateScheduledJobRequest(job_id="job-4", job={"description": "as before"})
        )
    minute = f":{int(peak['minute']):02}Z"
    for response, fires in ((tried, 3), (third, 3), (fourth, 4), (moved, 5)):
        (warning,) = response.warnings
        assert minute in warning
        assert f"has {fires} fires, more than PEAK_FIRES_PER_MINUTE (2)" in warning
    assert not other.warnings
    assert not renamed.warnings


async def test_without_a_limit_nobody_is_warned(database_url: str) -> None:
    async with serving(database_url) as running:
        await running.forecast.read()
        response = await running.stub.CreateScheduledJob(a_request(schedule_config=interval(seconds="1")))
    assert not response.warnings


class Computing:
    """Computes when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.load = replace(Reckoning(now()).finish(), jobs=1)

    async def __call__(self) -> Load:
        self.begun += 1
        self.has_begun.set()
        await self.go_on.wait()
        return self.load


async def test_however_many_ask_one_computes() -> None:
    computing = Computing()
    forecast = Forecast(computing, 0)
    asked = [asyncio.create_task(forecast.read()) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    computing.go_on.set()
    answers = await asyncio.gather(*asked[1:])
    assert [load.jobs for load in answers] == [1] * 4
    assert await forecast.read() is computing.load
    assert computing.begun == 1


async def test_a_computation_that_failed_is_made_again_for_the_next_who_asks() -> None:
    tries = iter([Unavailable("not now"), None])
    load = Reckoning(now()).finish()

    async def compute() -> Load:
        if (error := next(tries)) is not None:
            raise error
        return load

    forecast = Forecast(compute, 0)
    with pytest.raises(Unavailable):
        await forecast.read()
    assert await forecast.read() is load


async def test_a_forecast_that_is_stopped_leaves_no_process() -> None:
    computing = Computing()
    forecast = Forecast(computing, peak_limit=1)
    forecast.start()
    await computing.has_begun.wait()
    await forecast.stop()
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"forecast", "forecast-once"})
