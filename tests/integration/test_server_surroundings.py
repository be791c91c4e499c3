"""What surrounds every call: errors of ours, a store that is away, health, reflection, the log line, the metrics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from dev.mongodb import mongodb
from dev.server import HOST, free_port
from shared.proto import scheduler_service_pb2 as pb
from tests.integration.test_server_harness import Running, a_request, eventually, refusal, serving

if TYPE_CHECKING:
    from pathlib import Path


SERVICES = ("", *(f"scheduler.v1.{name}" for name in ("SchedulerService", "MaintenanceService", "AdminService")))


async def health_of(server: Running, service: str = "") -> str:
    stub: Any = health_pb2_grpc.HealthStub(server.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def answered(lines: list[Any], number: int) -> list[dict[str, Any]]:
    """Return the lines of so many requests, once they are there: a client may have its answer before."""

    def there() -> list[dict[str, Any]]:
        return [line for line in lines if line["action"] == "request_answered"]

    async def are_enough() -> bool:
        return len(there()) >= number

    await eventually(are_enough)
    return there()


async def test_of_an_internal_error_a_client_sees_an_id_that_is_in_the_log(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ValueError("the secret is out")

    monkeypatch.setattr(server.jobs, "read", fail)
    with structlog.testing.capture_logs() as lines:
        refused = await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="x")))
    assert refused.code == "INTERNAL"
    assert "secret" not in refused.message
    (line,) = [line for line in lines if line["action"] == "request_failed"]
    assert line["error_id"] in refused.message
    assert "the secret" in str(line["exc_info"])


async def test_each_request_is_one_line_and_one_count_with_its_ids(server: Running) -> None:
    labels = {"method": "/scheduler.v1.SchedulerService/CreateScheduledJob", "code": "OK"}
    before = REGISTRY.get_sample_value("scheduler_server_requests_total", labels) or 0
    trace = "0af7651916cd43dd8448eb211c80319c"
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await server.stub.CreateScheduledJob(
            a_request(job_id="mine"), metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
        )
        await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="none")))
        first, second = await answered(lines, 2)
    assert (first["method"], first["code"], first["job_id"], first["trace_id"]) == (
        labels["method"],
        "OK",
        "mine",
        trace,
    )
    assert first["duration_ms"] >= 0
    assert (second["code"], second["job_id"], len(second["trace_id"])) == ("NOT_FOUND", "none", 32)
    assert REGISTRY.get_sample_value("scheduler_server_requests_total", labels) == before + 1


async def test_the_line_of_a_request_names_who_asked(server: Running) -> None:
    await server.create(job_id="mine")
    with structlog.testing.capture_logs() as lines:
        for method in ("Pause", "Resume", "Delete"):
            kind = getattr(pb, f"{method}ScheduledJobRequest")
            call = getattr(server.stub, f"{method}ScheduledJob")
            await call(kind(job_id="mine"), metadata=[("x-actor", f"{method} man")])
        await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")))
        *named, last = [line["actor"] for line in await answered(lines, 4)]
    assert named == ["Pause man", "Resume man", "Delete man"]
    assert last.startswith("127.0.0.1:")


def a_deep_struct(levels: int) -> bytes:
    """A create request whose parameters are nested this deep; protobuf writes none that it would not read."""

    def field(number: int, inside: bytes) -> bytes:
        length, size = len(inside), b""
        while length > 127:
            size += bytes([length & 127 | 128])
            length >>= 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + inside

    raw = b""
    for _ in range(levels):
        raw = field(1, field(2, field(5, raw)))
    return field(pb.CreateScheduledJobRequest.PARAMETERS_FIELD_NUMBER, raw)


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("scheduler.v1.SchedulerService/CreateScheduledJob", a_deep_struct(100)),
        ("scheduler.v1.SchedulerService/CreateScheduledJob", b"\x0a\x02\xff\xfe"),
        ("scheduler.v1.SchedulerService/DeleteScheduledJob", b"\xff" * 20),
        ("scheduler.v1.MaintenanceService/CleanupOldExecutionRecords", b"\x0a\x7f"),
        ("grpc.health.v1.Health/Check", b"\x0a\x7f"),
    ],
    ids=["deep", "utf-8", "garbage", "cut", "health"],
)
async def test_a_request_that_cannot_be_decoded_is_bad_input_with_one_line_and_one_count(
    server: Running, method: str, raw: bytes
) -> None:
    labels = {"method": f"/{method}", "code": "INVALID_ARGUMENT"}
    before = REGISTRY.get_sample_value("scheduler_server_requests_total", labels) or 0
    call: Any = server.channel.unary_unary(f"/{method}")
    with structlog.testing.capture_logs() as lines:
        refused = await refusal(call(raw))
        await answered(lines, 1)
    assert (refused.code, refused.violations) == ("INVALID_ARGUMENT", [("", refused.message)])
    assert refused.message.startswith("the request can't be decoded: ")
    told = [(line["action"], line["code"], line["method"]) for line in lines if "code" in line or "exc_info" in line]
    assert told == [("request_answered", "INVALID_ARGUMENT", f"/{method}")]
    assert REGISTRY.get_sample_value("scheduler_server_requests_total", labels) == before + 1


async def test_every_service_is_reflected(server: Running) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(server.channel)  # type: ignore[arg-type]
    calls = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name async for answer in calls for service in answer.list_services_response.service}
    assert {*SERVICES[1:], "grpc.health.v1.Health"} <= names


async def test_an_unknown_method_is_unimplemented(server: Running) -> None:
    call: Any = server.channel.unary_unary("/scheduler.v1.SchedulerService/Nothing")
    assert (await refusal(call(b""))).code == "UNIMPLEMENTED"


async def test_health_is_told_by_service_and_an_unknown_one_is_not_found(server: Running) -> None:
    for service in SERVICES:
        assert await health_of(server, service) == "SERVING"
    assert (await refusal(health_of(server, "nobody"))).code == "NOT_FOUND"


async def test_a_watcher_hears_that_the_server_stops(server: Running) -> None:
    stub: Any = health_pb2_grpc.HealthStub(server.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[1]))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(server.server.stop(60))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    async with asyncio.timeout(30):  # a watcher holds up no stop
        await stopping


async def test_while_the_store_is_away_calls_are_unavailable_within_seconds_and_health_says_so() -> None:
    async with serving(f"mongodb://{HOST}:{free_port()}/none", prepared=False) as server:
        calls = [
            server.stub.CreateScheduledJob(a_request()),
            server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="x")),
            server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest()),
            server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="x")),
            server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="x")),
            server.stub.ListExecutions(pb.ListExecutionsRequest()),
        ]
        began = time.monotonic()
        for refused in await asyncio.gather(*(refusal(call) for call in calls)):
            assert (refused.code, refused.message) == ("UNAVAILABLE", "the store cannot be reached now; try again")
            assert refused.retry
        assert time.monotonic() - began < 20, "the store's client alone would wait for 30 s"
        for service in SERVICES:
            assert await health_of(server, service) == "NOT_SERVING"
        bad = await refusal(server.stub.ExecuteJobNow(pb.ExecuteJobRequest(queue="nowhere")))
        assert bad.code == "INVALID_ARGUMENT"


async def test_the_server_goes_on_by_itself_when_the_store_comes_freezes_and_comes_back(tmp_path: Path) -> None:
    store = mongodb(tmp_path)
    async with serving(store.url, prepared=False) as server:
        assert await health_of(server) == "NOT_SERVING"
        try:
            await asyncio.to_thread(store.start)
            await eventually(lambda: serves(server))
            await server.create(job_id="mine")
            assert "wake_time" in await server.database.jobs.index_information()

            store.pause()
            await eventually(lambda: serves_not(server))
            began = time.monotonic()
            refused = await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")))
            assert (refused.code, refused.retry) == ("UNAVAILABLE", True)
            assert time.monotonic() - began < 20
            store.resume()
            await eventually(lambda: serves(server))
            await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))
        finally:
            store.kill()


async def serves(server: Running) -> bool:
    return await health_of(server) == "SERVING"


async def serves_not(server: Running) -> bool:
    return not await serves(server)


async def test_a_call_in_progress_may_end_before_the_server_stops(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create(job_id="mine")
    read, entered, may_go_on = server.jobs.read, asyncio.Event(), asyncio.Event()

    async def slow(job_id: str, **how: Any) -> Any:
        entered.set()
        await may_go_on.wait()
        return await read(job_id, **how)

    monkeypatch.setattr(server.jobs, "read", slow)
    call = asyncio.ensure_future(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")))
    await entered.wait()
    stopping = asyncio.create_task(server.server.stop(10))
    await eventually(lambda: refuses(server))
    may_go_on.set()
    assert (await call).job.job_id == "mine"
    await stopping


async def test_a_handler_cancelled_at_the_end_of_grace_has_ended_when_stop_returns(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def stuck(_: str, **__: Any) -> Any:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(server.jobs, "read", stuck)
    call = asyncio.ensure_future(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")))
    await entered.wait()
    await server.server.stop(0.1)
    assert ended.is_set()
    assert (await refusal(call)).code in {"UNAVAILABLE", "CANCELLED"}


async def refuses(server: Running) -> bool:
    """Whether the server takes no new connection."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        try:
            async with asyncio.timeout(0.3):
                await channel.channel_ready()
        except TimeoutError:
            return True
    return False
