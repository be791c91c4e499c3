"""The Python client against a real server: both kinds of it, page by page, refused, and through a restart."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from dev.server import HOST, free_port
from scheduler_client import (
    AlreadyExists,
    AsyncSchedulerClient,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    SchedulerClient,
    Unavailable,
    call,
    cron,
    every,
    to_dict,
)
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceServicer, add_SchedulerServiceServicer_to_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.test_server_harness import Running


PRICES: dict[str, Any] = {
    "name": "Prices",
    "job_type": "SCRAPING",
    "target": "scraper-service",
    "method": "ScrapeCompetitorPrices",
    "parameters": {"competitor_ids": ["amazon"]},
}


@pytest.fixture
async def scheduler(server: Running) -> AsyncIterator[AsyncSchedulerClient]:
    async with AsyncSchedulerClient(server.address, actor="anna") as client:
        yield client


async def test_the_life_of_a_job(scheduler: AsyncSchedulerClient) -> None:
    made = await scheduler.create_job(job_id="prices", schedule=cron("0 8 * * *", tz="America/New_York"), **PRICES)
    assert (made.job_id, made.job.created_by) == ("prices", "anna")
    changed = await scheduler.update_job("prices", schedule=every("1h30m"), labels={"team": "pricing"})
    assert dict(changed.job.labels) == {"team": "pricing"}
    assert (await scheduler.pause_job("prices", reason="sale")).state == pb.ScheduledJob.STATE_PAUSED
    assert (await scheduler.resume_job("prices")).state == pb.ScheduledJob.STATE_ACTIVE
    run = await scheduler.run("prices")
    assert run.trigger == pb.Execution.TRIGGER_MANUAL
    assert [each.execution_id async for each in scheduler.executions(job_id="prices")] == [run.execution_id]
    found = await scheduler.get_execution(run.execution_id)
    assert to_dict(found.parameters) == PRICES["parameters"]
    assert (await scheduler.cancel(run, reason="tried out")).state == pb.Execution.STATE_CANCELLED
    assert (await scheduler.retry(run)).retry_of == run.execution_id
    assert len((await scheduler.status("prices")).next_fire_times) == 5
    await scheduler.delete_job("prices")
    with pytest.raises(NotFound):
        await scheduler.get_job("prices")


async def test_the_blocking_client_does_the_same(server: Running) -> None:
    def work() -> list[str]:
        with SchedulerClient(server.address, actor="anna") as scheduler:
            scheduler.connect()
            for number in range(5):
                scheduler.create_job(job_id=f"job-{number}", schedule=every("1h"), **PRICES)
            assert scheduler.within(5).get_job("job-0").created_by == "anna"
            return [job.job_id for job in scheduler.jobs(page_size=2)]

    assert await asyncio.to_thread(work) == [f"job-{number}" for number in (4, 3, 2, 1, 0)]


async def test_pages_are_asked_for_as_they_are_needed(scheduler: AsyncSchedulerClient, server: Running) -> None:
    for number in range(5):
        await server.create(job_id=f"job-{number}")
    assert len([job async for job in scheduler.jobs(page_size=2)]) == 5
    async for job in scheduler.jobs(page_size=2):
        assert job.job_id == "job-4"
        break


async def test_what_is_refused_is_an_exception_that_has_the_details(scheduler: AsyncSchedulerClient) -> None:
    with pytest.raises(InvalidInput) as refused:
        await scheduler.create_job(job_id="Wrong!", schedule=cron("0 25 * * *"), **PRICES)
    assert {each.field for each in refused.value.violations} == {"job_id", "schedule_config.config.expression"}
    with pytest.raises(NotFound) as missing:
        await scheduler.get_job("nobody")
    assert missing.value.resource == ("job", "nobody")
    await scheduler.create_job(job_id="prices", schedule=every("1h"), **PRICES)
    with pytest.raises(AlreadyExists):
        await scheduler.create_job(job_id="prices", schedule=every("1h"), **PRICES)
    with pytest.raises(FailedPrecondition):
        await scheduler.retry(await scheduler.run("prices"))


async def test_a_run_with_a_request_id_is_one_run_however_often_it_is_asked_for(
    scheduler: AsyncSchedulerClient, server: Running
) -> None:
    await server.create(job_id="prices")
    first, again = await scheduler.run("prices", request_id="r"), await scheduler.run("prices", request_id="r")
    assert first.execution_id == again.execution_id
    assert (await scheduler.run("prices")).execution_id != first.execution_id


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    address = f"{HOST}:{free_port()}"
    async with AsyncSchedulerClient(address) as scheduler:
        with pytest.raises(Unavailable):
            await scheduler.get_job("x")
        with pytest.raises(TimeoutError, match="no server has answered"):
            await scheduler.connect(0.1)


class Flaky(SchedulerServiceServicer):
    """Refuses, breaks off and lets wait, as a server that is restarted or too busy does."""

    def __init__(self, *failures: grpc.StatusCode) -> None:
        self.failures = list(failures)
        self.asked: list[Any] = []

    async def _fail(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        if self.failures:
            await context.abort(self.failures.pop(0), "not now")

    async def ExecuteJobNow(self, request: Any, context: Any) -> pb.ExecuteJobResponse:  # noqa: N802
        await self._fail(request, context)
        return pb.ExecuteJobResponse(execution=pb.Execution(execution_id=request.request_id))

    async def WaitExecution(self, request: Any, context: Any) -> pb.WaitExecutionResponse:  # noqa: N802
        await self._fail(request, context)
        return pb.WaitExecutionResponse(execution=pb.Execution(state="STATE_SUCCEEDED"))

    async def WatchExecutions(self, request: Any, context: Any) -> AsyncIterator[pb.WatchExecutionsResponse]:  # noqa: N802
        self.asked.append(request)
        begun = int(request.resume_token or 0)
        yield pb.WatchExecutionsResponse(resume_token=str(begun))
        for number in (begun + 1, begun + 2):
            execution = pb.Execution(execution_id=f"e{number}")
            yield pb.WatchExecutionsResponse(execution=execution, resume_token=str(number))
        if self.failures:
            await context.abort(self.failures.pop(0), "not now")


FLAKY: Any = Flaky  # to mypy it lacks methods, which here nobody calls


async def flaky(servicer: Any) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server()
    add_SchedulerServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    return server, f"{HOST}:{port}"


async def test_a_write_is_repeated_with_the_same_request_id() -> None:
    servicer: Any = FLAKY(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE)
    server, address = await flaky(servicer)
    async with AsyncSchedulerClient(address) as scheduler:
        run = await scheduler.run("prices")
    await server.stop(0)
    assert [request.request_id for request in servicer.asked] == [run.execution_id] * 3


async def test_a_wait_without_an_end_asks_again_and_one_with_an_end_does_not() -> None:
    servicer: Any = FLAKY(grpc.StatusCode.DEADLINE_EXCEEDED)
    server, address = await flaky(servicer)
    async with AsyncSchedulerClient(address) as scheduler:
        assert (await scheduler.wait("e")).state == pb.Execution.STATE_SUCCEEDED
        servicer.failures.append(grpc.StatusCode.DEADLINE_EXCEEDED)
        with pytest.raises(DeadlineExceeded):
            await scheduler.wait("e", timeout=20)
    await server.stop(0)


@pytest.mark.parametrize(
    "failures",
    [[], [grpc.StatusCode.UNAVAILABLE] * 5, [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]],
    ids=["ended", "away", "too-slow"],
)
async def test_a_watch_goes_on_by_itself_and_tells_each_once(failures: list[grpc.StatusCode]) -> None:
    servicer: Any = FLAKY(*failures)
    server, address = await flaky(servicer)
    told = []
    async with AsyncSchedulerClient(address) as scheduler:
        async for each in scheduler.watch_executions(job_id="prices"):
            told.append(each.execution.execution_id)
            if len(told) == 6:
                break
    await server.stop(0)
    assert told == [f"e{number}" for number in range(1, 7)]
    assert [(each.job_id, each.resume_token) for each in servicer.asked[:3]] == [
        ("prices", ""), ("prices", "2"), ("prices", "4"),
    ]  # fmt: skip


async def test_the_blocking_watch_goes_on_too() -> None:
    servicer: Any = FLAKY(grpc.StatusCode.UNAVAILABLE)
    server, address = await flaky(servicer)

    def watch() -> list[str]:
        told = []
        with SchedulerClient(address) as scheduler:
            for each in scheduler.watch_executions():
                told.append(each.execution.execution_id)
                if len(told) == 4:
                    break
        return told

    assert await asyncio.to_thread(watch) == ["e1", "e2", "e3", "e4"]
    await server.stop(0)


async def test_a_watch_of_one_execution_ends_with_it_also_after_a_token_of_its_end(server: Running) -> None:
    await server.create(job_id="prices")

    def read(execution_id: str, token: str) -> list[pb.WatchExecutionsResponse]:
        with SchedulerClient(server.address) as blocking:
            return list(blocking.watch_executions(execution_id=execution_id, resume_token=token))

    async with AsyncSchedulerClient(server.address) as scheduler, asyncio.timeout(60):
        run = await scheduler.cancel(await scheduler.run("prices"))
        watch = scheduler.watch_executions(execution_id=run.execution_id)
        last = [each async for each in watch][-1]
        assert last.transitions[-1].state == pb.Execution.STATE_CANCELLED
        again = scheduler.watch_executions(execution_id=run.execution_id, resume_token=last.resume_token)
        assert [each async for each in again] == []
        assert await asyncio.to_thread(read, run.execution_id, last.resume_token) == []


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_a_watch_that_begins_with_a_list_goes_on_from_it_however_long_it_is_read(
    server: Running, monkeypatch: pytest.MonkeyPatch, *, is_blocking: bool
) -> None:
    monkeypatch.setattr(call, "STREAM_AT_A_TIME", 0.5)
    names = [f"job-{number}" for number in range(3)]
    for name in names:
        await server.create(job_id=name, annotations={"note": "n" * 60_000})
    told: list[pb.WatchJobsResponse] = []
    async with AsyncSchedulerClient(server.address) as scheduler, asyncio.timeout(60):
        with SchedulerClient(server.address) as blocking:
            watch, blocking_watch = scheduler.watch_jobs(initial=True), blocking.watch_jobs(initial=True)
            while "new" not in {each.job.job_id for each in told}:
                told.append(await (asyncio.to_thread(next, blocking_watch) if is_blocking else anext(watch)))
                if len(told) == len(names):
                    await server.create(job_id="new")
                await asyncio.sleep(call.STREAM_AT_A_TIME)
    # Those of the last seconds may come again, as changes.
    assert [each.job.job_id for each in told if each.initial] == names


async def test_an_iterator_that_is_left_ends_its_call() -> None:
    servicer: Any = FLAKY()
    server, address = await flaky(servicer)
    async with AsyncSchedulerClient(address) as scheduler:
        watch = scheduler.watch_executions()
        assert (await anext(watch)).execution.execution_id == "e1"
        with suppress(asyncio.CancelledError):
            await watch.aclose()  # type: ignore[attr-defined]
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
    await server.stop(0)
