"""examples/forecasting on the real stack, its jobs every few seconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict
from redis import Redis

from examples.forecasting.demand import REGIONS
from examples.forecasting.forecasts import COLLECTION
from shared.proto import scheduler_service_pb2 as pb
from shared.store.mongo import connect
from tests.acceptance.example import Example, State, platform
from tests.acceptance.system import wait_until
from tests.acceptance.test_terminal import BUILDING, grpcurl  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.collection import Collection

    from dev.servers import Servers

NEVER = pb.ScheduleConfig(type="cron", config={"expression": "@yearly"})
ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def forecasting(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Example]:
    sooner = {"forecast": 3, "daily-summary": 4, "cleanup": 5}
    folder = tmp_path_factory.mktemp("forecasting")
    with platform("forecasting", folder, servers, sooner, RESULT_EXPIRES="3600") as running:
        yield running


@pytest.fixture
def stored(forecasting: Example) -> Iterator[Collection[dict[str, Any]]]:
    """The platform's own forecasts, as whoever reads them sees them."""
    database = connect(forecasting.system.environment["MONGODB_URL"])
    yield database[COLLECTION]
    database.client.close()


def like_forecast(forecasting: Example, job_id: str, **parameters: Any) -> str:
    """Make a job like `forecast`, but for its parameters, and run it; return the execution's id."""
    found = forecasting.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="forecast")).job
    forecasting.stub.CreateScheduledJob(
        pb.CreateScheduledJobRequest(
            job_id=job_id,
            name=job_id,
            job_type=found.job_type,
            target_service=found.target_service,
            target_method=found.target_method,
            parameters=parameters,
            retry_policy=found.retry_policy,
            schedule_config=NEVER,
        )
    )
    return forecasting.run(job_id, queue="forecast")


def test_a_forecast_by_schedule_covers_all_regions(forecasting: Example, stored: Collection[dict[str, Any]]):
    execution = forecasting.fired("forecast")
    assert State.Name(execution.state) == "STATE_SUCCEEDED", execution
    assert execution.queue == "forecast"
    result = MessageToDict(execution.result)
    assert result.keys() == set(REGIONS)
    assert {len(region["days"]) for region in result.values()} == {14}
    rows = list(stored.find({"execution_id": execution.execution_id}))
    assert {(row["region"], row["published"]) for row in rows} == {(region, True) for region in REGIONS}


def test_the_summary_runs_after_the_forecast_of_its_own_run(forecasting: Example):
    whole = forecasting.fired("daily-summary")
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    parts = forecasting.parts(whole.execution_id)
    forecast, summary = parts["forecast"], parts["summary"]
    assert forecast.finished_at.ToNanoseconds() <= summary.started_at.ToNanoseconds()
    total = sum(sum(region["days"]) for region in MessageToDict(forecast.result).values())
    assert MessageToDict(summary.result)["total"] == pytest.approx(total)
    assert (forecast.queue, summary.queue) == ("forecast", "reports")


def test_a_cleanup_removes_what_is_older_than_90_days_and_nothing_else(
    forecasting: Example, stored: Collection[dict[str, Any]]
):
    for days in (89, 91):
        stored.insert_one({"_id": f"old/{days}", "made_for": datetime.now(UTC) - timedelta(days=days)})

    def removed() -> int:
        return sum(int(MessageToDict(run.result).get("removed", 0)) for run in forecasting.list(job_id="cleanup"))

    assert wait_until(removed, "a cleanup by schedule has removed something") == 1
    assert [row["_id"] for row in stored.find({"_id": {"$regex": "^old/"}})] == ["old/89"]


def test_progress_is_shown_and_a_cancelled_forecast_leaves_nothing_behind(
    forecasting: Example, stored: Collection[dict[str, Any]]
):
    execution_id = like_forecast(forecasting, "endless", regions=["north", "south"], candidates=ENDLESS)
    shown = wait_until(
        lambda: found if (found := forecasting.get(execution_id)).HasField("progress") else None, "progress is shown"
    )
    assert (shown.progress.total, shown.progress.message) == (2 * ENDLESS, "north")
    assert 0 < shown.progress.done < ENDLESS
    forecasting.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=execution_id, reason="too slow"))
    execution = forecasting.ended(execution_id)
    assert State.Name(execution.state) == "STATE_CANCELLED"
    assert execution.attempt == 1
    assert "drafts discarded" in forecasting.system.log("celery-worker")
    assert stored.count_documents({"execution_id": execution_id}) == 0


def test_a_forecast_that_fails_is_tried_three_times_more(forecasting: Example, stored: Collection[dict[str, Any]]):
    execution_id = like_forecast(forecasting, "atlantis", regions=["north", "atlantis"])
    execution = forecasting.ended(execution_id)
    assert State.Name(execution.state) == "STATE_FAILED"
    assert (execution.attempt, execution.error.code) == (4, "TASK_FAILED")
    assert "there is no region atlantis" in execution.error.message
    waits = [step.reason for step in execution.transitions if "again in" in step.reason]
    assert len(waits) == 3
    assert all("3.0 s" in wait for wait in waits), waits
    assert stored.count_documents({"execution_id": execution_id}) == 0


def test_celery_has_a_result_for_an_hour(forecasting: Example):
    execution = forecasting.ended(forecasting.run("forecast"))
    key = f"celery-task-meta-{execution.execution_id}"
    with Redis.from_url(forecasting.system.environment["CELERY_RESULT_BACKEND"]) as redis:
        left = wait_until(lambda: redis.ttl(key) if redis.exists(key) else None, "the result is in Redis")
    assert 0 < int(left) <= 3600


@pytest.mark.timeout(BUILDING)
def test_the_commands_of_its_readme_do_what_it_says(forecasting: Example, grpcurl: Path):  # noqa: F811
    summary, _, long, listed, deleted, python = forecasting.readme(grpcurl).values()
    long_id = json.loads(long)["execution_id"]
    assert [each["execution_id"] for each in json.loads(listed)["executions"]] == [long_id]
    assert json.loads(deleted)["job"]["state"] == "STATE_DELETED"
    assert python == "7 days"
    assert forecasting.ended(json.loads(summary)["execution_id"]).state == State.STATE_SUCCEEDED
    assert forecasting.ended(long_id).state == State.STATE_CANCELLED
