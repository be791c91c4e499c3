"""Targets as real gRPC servers, whose protos are made here and nowhere compiled in."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import duration_pb2, message_factory, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable
from shared.domain.execution import Failure, Trigger
from shared.domain.retry import RetryPolicy
from shared.store.executions import Claimed
from shared.targets import Target, Targets
from shared.targets.reflection import read_contract
from worker.answers import Succeeded
from worker.target import Cancellation, TargetCaller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

RETRYABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})
SOON = 60.0
"""Seconds after which a test gives up on what should happen at once."""

WELL_KNOWN = (timestamp_pb2, duration_pb2, struct_pb2, wrappers_pb2)
SCALARS = {"string": FieldDescriptorProto.TYPE_STRING, "int32": FieldDescriptorProto.TYPE_INT32}


def proto(
    name: str,
    package: str,
    messages: Mapping[str, Sequence[str]],
    services: Mapping[str, Mapping[str, tuple[str, str]]] | None = None,
    imports: Sequence[str] = (),
) -> FileDescriptorProto:
    """Make a file: messages with fields as `string name` or `.pkg.Type name`, services with (request, response)."""
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    file.dependency.extend([*(module.DESCRIPTOR.name for module in WELL_KNOWN), *imports])
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for number, text in enumerate(fields, 1):
            kind, field_name = text.split(" ")
            one = made.field.add(name=field_name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            if kind.startswith("."):
                one.type_name = kind
            else:
                one.type = SCALARS[kind]
    for service, methods in (services or {}).items():
        offered = file.service.add(name=service)
        for method, (request, response) in methods.items():
            offered.method.add(name=method, input_type=request, output_type=response)
    return file


def shop(method: str = "Sell", package: str = "shop.v1", name: str = "service.proto") -> FileDescriptorProto:
    fields = [
        "string name",
        "int32 count",
        ".google.protobuf.Timestamp at",
        ".google.protobuf.Duration span",
        ".google.protobuf.Struct free",
        ".google.protobuf.Int32Value wrapped",
    ]
    kind = f".{package}.Order"
    return proto(name, package, {"Order": fields}, {"Shop": {method: (kind, kind)}})


def pool_of(*files: FileDescriptorProto) -> DescriptorPool:
    pool = DescriptorPool()
    for module in WELL_KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@dataclass
class Server:
    """A target in this process. calls has the metadata of each call that came."""

    address: str
    calls: list[dict[str, Any]] = field(default_factory=list)


def echo(request: Message, _context: grpc.ServicerContext) -> Message:
    return request


@contextmanager
def serving(
    *files: FileDescriptorProto,
    handler: Callable[[Any, Any], Any] = echo,
    versions: Sequence[str] = ("v1alpha",),
    port: int = 0,
    listed: Sequence[str] | None = None,
) -> Iterator[Server]:
    """Run a target with all services of these files, each method answered by the handler, with reflection."""
    pool = pool_of(*files)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    running = Server("")
    names = []

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        running.calls.append(dict(context.invocation_metadata()))
        return handler(request, context)

    for file in files:
        for service in file.service:
            names.append(f"{file.package}.{service.name}")
            handlers: dict[str, Any] = {}
            for method in service.method:
                request = message_factory.GetMessageClass(pool.FindMessageTypeByName(method.input_type[1:]))
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                    answer,
                    request_deserializer=request.FromString,
                    response_serializer=lambda response: response.SerializeToString(),
                )
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(names[-1], handlers),))
    for version in versions:
        reflected = reflection.ReflectionServicer(names if listed is None else listed, pool=pool)
        talk = grpc.stream_stream_rpc_method_handler(
            reflected.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        full = f"grpc.reflection.{version}.ServerReflection"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full, {"ServerReflectionInfo": talk}),))
    running.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield running
    finally:
        server.stop(0).wait()


def claimed(parameters: object = None, method: str = "Sell", service: str = "shop", timeout: float = SOON) -> Claimed:
    return Claimed(
        execution_id="uid.1.20260131T080000Z",
        nonce="n",
        attempt=1,
        tries=1,
        job_id="sell",
        job_name="Sell",
        trigger=Trigger.SCHEDULE,
        nominal_time=datetime(2026, 1, 31, 8, tzinfo=UTC),
        target_service=service,
        target_method=method,
        parameters=json.dumps(parameters or {}),
        timeout=timedelta(seconds=timeout),
        retry=RetryPolicy(4, timedelta(seconds=1), timedelta(seconds=2), 2),
        retry_until=None,
        queue="manual",
        trace_id="0123456789abcdef0123456789abcdef",
    )


@contextmanager
def calling(targets: Targets) -> Iterator[TargetCaller]:
    caller = TargetCaller(targets, RETRYABLE)
    yield caller
    caller.close()


def one_target(server: Server, services: tuple[str, ...] = (), now: Callable[[], float] = lambda: 0.0) -> Targets:
    return Targets([Target("shop", server.address, services)], clock=now)


def answer_of_the_new_one(caller: TargetCaller) -> Succeeded | Failure:
    """Call until the channel has noticed that a new server listens where the old one did."""
    until = time.monotonic() + SOON
    pause = threading.Event()
    while True:
        outcome = caller.call(claimed(), Cancellation())
        if isinstance(outcome, Succeeded) or outcome.code != "UNAVAILABLE" or time.monotonic() > until:
            return outcome
        pause.wait(0.05)


class Elapsing:
    """A clock that is a minute further at each look, so that no contract counts as just read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


ORDER: dict[str, Any] = {
    "name": "é",
    "count": 3.0,
    "at": "2026-01-31T08:00:00Z",
    "span": "90s",
    "free": {"a": [1, None, "x"]},
    "wrapped": 0.0,
}


@pytest.mark.parametrize("versions", [("v1alpha",), ("v1",), ("v1", "v1alpha")])
def test_a_target_that_is_not_compiled_in_is_checked_and_called_by_its_reflection(versions: Sequence[str]) -> None:
    with serving(shop(), versions=versions) as server, calling(one_target(server)) as caller:
        outcome = caller.call(claimed(ORDER), Cancellation())
    assert outcome == Succeeded(ORDER | {"count": 3, "free": {"a": [1.0, None, "x"]}, "wrapped": 0})
    (metadata,) = server.calls
    assert metadata["x-execution-id"] == "uid.1.20260131T080000Z"
    assert metadata["x-nominal-time"] == "2026-01-31T08:00:00Z"
    assert metadata["traceparent"].startswith("00-0123456789abcdef0123456789abcdef-")


def test_parameters_that_do_not_fit_a_reflected_contract_are_told_field_by_field() -> None:
    with serving(shop()) as server, pytest.raises(InvalidInput) as refused:
        one_target(server).check("shop", "Sell", {"nmae": "x", "count": "many", "at": "today", "free": 1})
    assert [violation.field for violation in refused.value.violations] == [
        "parameters.nmae",
        "parameters.count",
        "parameters.at",
        "parameters.free",
    ]


def test_targets_with_files_and_types_of_the_same_name_do_not_meet() -> None:
    other = proto(
        "service.proto",
        "shop.v1",
        {"Order": ["string colour"]},
        {"Shop": {"Paint": (".shop.v1.Order", ".shop.v1.Order")}},
    )
    with serving(shop()) as one, serving(other) as two:
        targets = Targets([Target("shop", one.address), Target("painter", two.address)])
        targets.check("shop", "Sell", {"name": "x"})
        targets.check("painter", "Paint", {"colour": "red"})
        with pytest.raises(InvalidInput, match="Order has no such field"):
            targets.check("painter", "Paint", {"name": "x"})
        with calling(targets) as caller:
            painted = caller.call(claimed({"colour": "red"}, "Paint", "painter"), Cancellation())
        assert painted == Succeeded({"colour": "red"})


def test_a_contract_over_several_files_is_read_whole() -> None:
    base = proto("base.proto", "base", {"Name": ["string text"]})
    middle = proto("middle.proto", "middle", {"Item": [".base.Name name"]}, imports=["base.proto"])
    top = proto(
        "top.proto",
        "top",
        {"Order": [".middle.Item item", ".base.Name buyer"]},
        {"Shop": {"Sell": (".top.Order", ".base.Name")}},
        imports=["middle.proto", "base.proto"],
    )
    with serving(base, middle, top) as server:
        one_target(server).check("shop", "Sell", {"item": {"name": {"text": "x"}}, "buyer": {"text": "y"}})


def test_only_the_services_that_the_registry_names_can_be_called() -> None:
    with serving(shop(), shop(package="back.v1", name="back.proto")) as server:
        with pytest.raises(InvalidInput, match="several services"):
            one_target(server).method("shop", "Sell")
        assert one_target(server, ("back.v1.Shop",)).method("shop", "Sell").path == "/back.v1.Shop/Sell"
        with pytest.raises(FailedPrecondition, match=r"does not offer gone\.v1\.Shop; its reflection lists back\.v1"):
            one_target(server, ("gone.v1.Shop",)).method("shop", "Sell")


def test_infrastructure_is_not_what_jobs_call() -> None:
    listed = ["shop.v1.Shop", reflection.SERVICE_NAME, "grpc.health.v1.Health"]
    with serving(shop(), listed=listed) as server, pytest.raises(InvalidInput, match=r"\(it has Sell\)"):
        one_target(server).method("shop", "ServerReflectionInfo")


def test_a_service_without_files_does_not_hide_the_others() -> None:
    with serving(shop(), listed=["shop.v1.Shop", "lost.v1.Lost"]) as server:
        one_target(server).check("shop", "Sell", {})
        with pytest.raises(FailedPrecondition, match=r"incomplete: lost\.v1\.Lost"):
            one_target(server, ("lost.v1.Lost",)).check("shop", "Sell", {})


def test_a_target_without_reflection_is_told_to_enable_it() -> None:
    with serving(shop(), versions=()) as server, calling(one_target(server)) as caller:
        with pytest.raises(FailedPrecondition, match=rf"shop at {server.address} does not offer server refl.*; enable"):
            one_target(server).check("shop", "Sell", {})
        outcome = caller.call(claimed(), Cancellation())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable) == ("FAILED_PRECONDITION", False)


def test_a_target_that_is_away_is_named_with_address_and_status() -> None:
    with serving(shop()) as server:
        pass
    with pytest.raises(Unavailable, match=rf"the contract of shop at {server.address} can't be read: UNAVAILABLE: "):
        one_target(server).check("shop", "Sell", {})
    with calling(one_target(server)) as caller:
        outcome = caller.call(claimed(), Cancellation())
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.retryable) == ("UNAVAILABLE", True)


def test_a_target_that_accepts_and_says_nothing_holds_nobody_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Target("shop", f"127.0.0.1:{silent.getsockname()[1]}")
        targets = Targets([mute], read=lambda target: read_contract(target, deadline=0.5))
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            targets.check("shop", "Sell", {})


def test_a_target_that_goes_away_is_unavailable_at_once_and_found_when_it_is_back() -> None:
    with ExitStack() as stack:
        with serving(shop()) as server:
            caller = stack.enter_context(calling(one_target(server)))
            assert isinstance(caller.call(claimed(), Cancellation()), Succeeded)
        outcome = caller.call(claimed(timeout=600), Cancellation())
        assert isinstance(outcome, Failure)
        assert (outcome.code, outcome.retryable) == ("UNAVAILABLE", True)
        port = int(server.address.rpartition(":")[2])
        stack.enter_context(serving(shop(), port=port))
        assert isinstance(answer_of_the_new_one(caller), Succeeded)


def test_a_method_deployed_since_is_found() -> None:
    with serving(shop()) as old:
        targets = one_target(old, now=Elapsing())
        targets.check("shop", "Sell", {})
    with serving(shop("Buy"), port=int(old.address.rpartition(":")[2])):
        targets.check("shop", "Buy", {})


def test_a_method_that_moved_since_is_called_where_it_is_now() -> None:
    with ExitStack() as stack:
        with serving(shop()) as old:
            caller = stack.enter_context(calling(one_target(old)))
            assert isinstance(caller.call(claimed(), Cancellation()), Succeeded)
        port = int(old.address.rpartition(":")[2])
        moved = stack.enter_context(serving(shop(package="shop.v2"), port=port))
        outcome = answer_of_the_new_one(caller)
        assert isinstance(outcome, Succeeded)
        assert len(moved.calls) == 1


def test_the_timeout_of_the_attempt_is_the_deadline_of_the_call() -> None:
    seen: list[float | None] = []
    ended = threading.Event()

    def slow(request: Message, context: grpc.ServicerContext) -> Message:
        seen.append(context.time_remaining())
        context.add_callback(ended.set)
        ended.wait(SOON)
        return request

    with serving(shop(), handler=slow) as server, calling(one_target(server)) as caller:
        outcome = caller.call(claimed(timeout=0.5), Cancellation())
        assert ended.wait(SOON)
    assert outcome == Failure("DEADLINE_EXCEEDED", "shop did not answer within 0.5 s", True)
    assert seen[0] is not None
    assert 0 < seen[0] < 1


def test_a_cancel_ends_the_call_at_once_and_the_target_sees_it() -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(request: Message, context: grpc.ServicerContext) -> Message:
        context.add_callback(ended.set)
        begun.set()
        ended.wait(SOON)
        return request

    cancelled = Cancellation()
    with (
        serving(shop(), handler=slow) as server,
        calling(one_target(server)) as caller,
        ThreadPoolExecutor(1) as thread,
    ):
        outcome = thread.submit(caller.call, claimed(timeout=600), cancelled)
        assert begun.wait(SOON)
        assert not outcome.done()
        cancelled.cancel("asked by alice")
        assert outcome.result(SOON) == Failure("CANCELLED", "asked by alice", False)
        assert ended.wait(SOON)
    cancelled.cancel("again, to no effect")


def test_the_targets_own_status_and_words_come_back() -> None:
    def refuse(_request: Message, context: grpc.ServicerContext) -> Message:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no space left: é")

    with serving(shop(), handler=refuse) as server, calling(one_target(server)) as caller:
        assert caller.call(claimed(), Cancellation()) == Failure("RESOURCE_EXHAUSTED", "no space left: é", True)


def test_an_answer_larger_than_grpc_takes_by_default_is_no_failure() -> None:
    def large(request: Any, _context: grpc.ServicerContext) -> Any:
        request.name = "x" * 8 * 1024 * 1024
        return request

    with serving(shop(), handler=large) as server, calling(one_target(server)) as caller:
        assert isinstance(caller.call(claimed(), Cancellation()), Succeeded)


def test_an_answer_without_a_json_form_does_not_undo_what_was_done() -> None:
    def odd(request: Any, _context: grpc.ServicerContext) -> Any:
        request.at.seconds = 2**60
        return request

    with serving(shop(), handler=odd) as server, calling(one_target(server)) as caller:
        outcome = caller.call(claimed(), Cancellation())
    assert isinstance(outcome, Succeeded)
    assert "shop.v1.Order has no JSON form" in outcome.result["unreadable"]


def test_a_request_and_a_response_that_are_no_objects_in_json_stand_under_value() -> None:
    span = ".google.protobuf.Duration"
    waiter = proto("wait.proto", "wait", {}, {"Waiter": {"Wait": (span, span)}})
    with serving(waiter) as server, calling(one_target(server)) as caller:
        assert caller.call(claimed({"value": "90s"}, "Wait"), Cancellation()) == Succeeded({"value": "90s"})
