"""Batches: each job by itself, told one by one, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scheduler_service.jobs.batches
from shared.proto import scheduler_service_pb2 as pb
from tests.integration.test_server_harness import Running, a_request, once, refusal

if TYPE_CHECKING:
    from pymongo.database import Database


async def create_all(server: Running, *requests: pb.CreateScheduledJobRequest, **fields: Any) -> list[pb.BatchResult]:
    batch = pb.BatchCreateScheduledJobsRequest(requests=requests, **fields)
    return list((await server.stub.BatchCreateScheduledJobs(batch)).results)


async def states(server: Running) -> dict[str, str]:
    page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=1_000))
    return {job.job_id: pb.ScheduledJob.State.Name(job.state).removeprefix("STATE_") for job in page.jobs}


async def test_each_job_of_a_batch_is_created_or_refused_by_itself_in_order(server: Running) -> None:
    await server.create(job_id="there")
    results = await create_all(
        server, a_request(job_id="one"), a_request(job_id="there"), a_request(job_id="bad", priority=12), a_request()
    )
    assert [(result.changed, result.code, result.reason) for result in results] == [
        (True, "", ""),
        (False, "ALREADY_EXISTS", "ID_TAKEN"),
        (False, "INVALID_ARGUMENT", "INVALID_INPUT"),
        (True, "", ""),
    ]
    assert [result.job_id for result in results[:3]] == ["one", "there", "bad"]
    assert results[2].message == "priority: 12 is not a priority (0-9)"
    assert set(await states(server)) == {"one", "there", results[3].job_id}


async def test_a_repeated_batch_gives_the_first_answer_and_creates_nothing_twice(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    requests = [a_request(), a_request(), a_request(job_id="mine")]
    first = await create_all(server, *requests, request_id="batch-1")
    assert all(result.changed for result in first)
    assert await create_all(server, *requests, request_id="batch-1") == first
    assert database.jobs.count_documents({}) == 3


async def test_a_batch_that_is_only_validated_stores_nothing(server: Running) -> None:
    results = await create_all(server, a_request(job_id="one"), a_request(priority=12), validate_only=True)
    assert [result.code for result in results] == ["", "INVALID_ARGUMENT"]
    assert await states(server) == {}


@pytest.mark.parametrize("number", [0, 1_001])
async def test_a_batch_has_one_to_a_thousand_jobs(server: Running, number: int) -> None:
    batch = pb.BatchCreateScheduledJobsRequest(requests=[pb.CreateScheduledJobRequest()] * number)
    refused = await refusal(server.stub.BatchCreateScheduledJobs(batch))
    assert refused.violations == [("requests", f"{number:,} requests are not a batch (1 to 1,000)")]


async def test_jobs_that_are_named_are_paused_and_each_is_told(server: Running) -> None:
    for job_id in ("one", "two"):
        await server.create(job_id=job_id)
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="two"))
    batch = pb.BatchPauseScheduledJobsRequest(job_ids=["one", "two", "three", "one"], reason="tidy")
    response = await server.stub.BatchPauseScheduledJobs(batch)
    assert [(result.job_id, result.changed, result.code) for result in response.results] == [
        ("one", True, ""),
        ("two", False, ""),
        ("three", False, "NOT_FOUND"),
    ]
    assert (response.matched, response.changed, response.refused) == (3, 1, 1)
    assert await states(server) == {"one": "PAUSED", "two": "PAUSED"}
    job = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="one"))).job
    assert job.status_message == "tidy"


async def test_all_jobs_that_fit_a_filter_are_paused_and_resumed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_service.jobs.batches, "PAGE", 7)
    requests = [a_request(job_id=f"job-{n:02}", labels={"team": "a" if n % 2 else "b"}) for n in range(40)]
    await create_all(server, *requests)
    of_a = "labels.team = a AND state = ACTIVE"
    response = await server.stub.BatchPauseScheduledJobs(pb.BatchPauseScheduledJobsRequest(filter=of_a))
    assert (response.matched, response.changed, response.refused, len(response.results)) == (20, 20, 0, 20)
    assert set((await states(server)).values()) == {"ACTIVE", "PAUSED"}
    again = await server.stub.BatchPauseScheduledJobs(pb.BatchPauseScheduledJobsRequest(filter="labels.team = a"))
    assert (again.matched, again.changed, list(again.results)) == (20, 0, [])
    resumed = await server.stub.BatchResumeScheduledJobs(pb.BatchResumeScheduledJobsRequest(filter="state = PAUSED"))
    assert (resumed.matched, resumed.changed) == (20, 20)
    assert set((await states(server)).values()) == {"ACTIVE"}


async def test_of_jobs_that_cannot_be_paused_it_is_said_why(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    await server.create(job_id="done", schedule_config=once("2030-01-01T00:00:00Z"))
    database.jobs.update_one({"_id": "done"}, {"$set": {"state": "COMPLETED"}})
    batch = pb.BatchPauseScheduledJobsRequest(filter="state = COMPLETED")
    response = await server.stub.BatchPauseScheduledJobs(batch)
    assert (response.matched, response.changed, response.refused) == (1, 0, 1)
    (result,) = response.results
    assert (result.code, result.reason) == ("FAILED_PRECONDITION", "JOB_COMPLETED")


async def test_a_pause_that_is_only_validated_changes_nothing(server: Running) -> None:
    await server.create(job_id="one")
    batch = pb.BatchPauseScheduledJobsRequest(filter="state = ACTIVE", validate_only=True)
    response = await server.stub.BatchPauseScheduledJobs(batch)
    assert (response.matched, response.changed) == (1, 1)
    assert await states(server) == {"one": "ACTIVE"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "filter"),
        ({"job_ids": ["a"], "filter": "state = ACTIVE"}, "filter"),
        ({"filter": "colour = red"}, "filter"),
        ({"job_ids": ["a"] * 1_001}, "job_ids"),
        ({"filter": "state = ACTIVE", "reason": "x" * 501}, "reason"),
    ],
)
@pytest.mark.parametrize("method", ["Pause", "Resume"])
async def test_a_batch_that_is_asked_for_wrongly_is_refused(
    server: Running, method: str, fields: dict[str, Any], field: str
) -> None:
    kind = getattr(pb, f"Batch{method}ScheduledJobsRequest")
    refused = await refusal(getattr(server.stub, f"Batch{method}ScheduledJobs")(kind(**fields)))
    assert (refused.code, [name for name, _ in refused.violations]) == ("INVALID_ARGUMENT", [field])
