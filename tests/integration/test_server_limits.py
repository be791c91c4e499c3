"""Each limit of a server is a setting, and each refusal names it; docs/limits.md lists them all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import QuotaFailure, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from shared.proto import scheduler_service_pb2 as pb
from shared.settings import Settings
from tests.integration.test_server_harness import Running, a_request, refusal, serving
from tests.unit.test_docs import ROOT, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PAGE: Path = ROOT / "docs" / "limits.md"


async def _too_many_jobs(server: Running) -> None:
    for _ in range(3):
        await server.create()


async def _long_name(server: Running) -> None:
    await server.create(name="n" * 21)


async def _large_parameters(server: Running) -> None:
    await server.create(parameters={"competitor_ids": ["x" * 600]})


async def _large_page(server: Running) -> None:
    await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=11))


async def _large_message(server: Running) -> None:
    await server.create(description="d" * 70_000)


async def _streams(server: Running, actors: tuple[str, ...]) -> None:
    calls = [server.stub.WatchJobs(pb.WatchJobsRequest(), metadata=[("x-actor", actor)]) for actor in actors]
    for call in calls:
        await call.read()
        await call.read() if call is calls[-1] else None


async def _streams_of_one(server: Running) -> None:
    await _streams(server, ("anna", "anna", "anna"))


async def _streams_of_all(server: Running) -> None:
    await _streams(server, ("anna", "bob", "eve", "ada"))


async def _requests(server: Running) -> None:
    for _ in range(4):
        await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())


BEYOND: dict[str, tuple[Any, Callable[[Running], Awaitable[None]], str]] = {
    "MAX_JOBS": (2, _too_many_jobs, "RESOURCE_EXHAUSTED"),
    "MAX_NAME_LENGTH": (20, _long_name, "INVALID_ARGUMENT"),
    "MAX_PARAMETERS_BYTES": (500, _large_parameters, "INVALID_ARGUMENT"),
    "MAX_PAGE_SIZE": (10, _large_page, "INVALID_ARGUMENT"),
    "MAX_MESSAGE_BYTES": (65_536, _large_message, "RESOURCE_EXHAUSTED"),
    "MAX_STREAMS": (3, _streams_of_all, "RESOURCE_EXHAUSTED"),
    "MAX_STREAMS_PER_CALLER": (2, _streams_of_one, "RESOURCE_EXHAUSTED"),
    "MAX_REQUESTS_PER_SECOND": (0.5, _requests, "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize("setting", BEYOND)
async def test_what_goes_beyond_a_limit_is_refused_by_its_name(database_url: str, setting: str) -> None:
    value, ask, code = BEYOND[setting]
    async with serving(database_url, **{setting.lower(): value}) as server:
        refused = await refusal(ask(server))
    assert (refused.code, setting in refused.message) == (code, True), refused


async def test_many_who_create_jobs_at_the_same_time_do_not_go_beyond_the_limit(database_url: str) -> None:
    async with serving(database_url, max_jobs=10) as server:
        answers = await asyncio.gather(*(server.create() for _ in range(60)), return_exceptions=True)
        refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
        assert {each.code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        listed = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
    assert (len(listed.jobs), len(refused)) == (10, 50)


async def test_who_asks_too_often_is_told_when_to_come_back_and_health_is_not_counted(database_url: str) -> None:
    async with serving(database_url, max_requests_per_second=0.5) as server:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _requests(server)
        status = rpc_status.from_call(cast("grpc.Call", refused.value))
        assert status is not None
        quota, retry = QuotaFailure(), RetryInfo()
        for detail in status.details:
            for message in (quota, retry):
                detail.Unpack(message)
        assert quota.violations[0].description == "MAX_REQUESTS_PER_SECOND"
        assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 2
        health: Any = health_pb2_grpc.HealthStub(server.channel)
        for _ in range(5):
            await health.Check(health_pb2.HealthCheckRequest())
        other = [("x-actor", "somebody else")]
        await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(), metadata=other)


async def test_streams_that_have_ended_are_counted_no_more(database_url: str) -> None:
    async with serving(database_url, max_streams=1) as server:
        for _ in range(3):
            call = server.stub.WatchExecutions(pb.WatchExecutionsRequest(execution_id="none"))
            assert (await refusal(call.read())).code == "NOT_FOUND"


async def test_a_message_far_beyond_the_limit_is_refused_before_it_is_read(database_url: str) -> None:
    async with serving(database_url, max_message_bytes=65_536) as server:
        refused = await refusal(server.stub.CreateScheduledJob(a_request(description="d" * 1_000_000)))
        assert refused.code == "RESOURCE_EXHAUSTED"


def test_the_page_lists_every_limit_with_its_default_and_status() -> None:
    rows = {row[0].strip("`"): row[1:3] for row in table(PAGE, "setting")}
    settings = {name.upper(): field for name, field in Settings.model_fields.items() if name.startswith("max_")}
    del settings["MAX_CONCURRENT"]
    assert set(BEYOND) == set(settings)
    assert rows == {name: [f"`{field.default}`", f"`{BEYOND[name][2]}`"] for name, field in settings.items()}
