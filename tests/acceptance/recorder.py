"""A target that records every call: what was asked, with which metadata, and whether the caller gave up.

Its contract exists only at run time, so that the scheduler has to read it by reflection, as that of any service that
somebody adds to targets.yaml.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "recorder.v1.Recorder"

_Field = descriptor_pb2.FieldDescriptorProto


def _descriptors() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="recorder.proto", package="recorder.v1", syntax="proto3")
    request = file.message_type.add(name="RecordRequest")
    for number, (name, kind) in enumerate(
        {
            "label": _Field.TYPE_STRING,
            "hold": _Field.TYPE_BOOL,
            "fail_code": _Field.TYPE_STRING,
            "fail_times": _Field.TYPE_INT32,
            "fail_attempts": _Field.TYPE_INT32,
            "seconds": _Field.TYPE_DOUBLE,
        }.items(),
        start=1,
    ):
        request.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    response = file.message_type.add(name="RecordResponse")
    response.field.add(name="label", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    response.field.add(name="calls", number=2, type=_Field.TYPE_INT32, label=_Field.LABEL_OPTIONAL)
    service = file.service.add(name="Recorder")
    service.method.add(
        name="Record", input_type=".recorder.v1.RecordRequest", output_type=".recorder.v1.RecordResponse"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


@dataclass
class Call:
    """One call as the target saw it."""

    label: str
    metadata: Mapping[str, str]
    seconds_allowed: float
    began_at: float
    """Seconds since the epoch, by this machine's clock; `ended_at` as well."""
    ended_at: float | None = None
    """When it was answered, or given up; None while it goes on."""
    ended: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False


class Recorder:
    """Runs in the test's process.

    Calls with `hold` wait until released, or until their caller gives up; those with `seconds` wait that long.
    `fail_times` counts the calls with the same label, `fail_attempts` those of one execution.
    """

    def __init__(self) -> None:
        self._pool = _descriptors()
        self._calls: dict[str, list[Call]] = {}
        self._changed = threading.Condition()
        self._released: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(64))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        method = self._pool.FindServiceByName(SERVICE).methods_by_name["Record"]
        request, response = (message_factory.GetMessageClass(m) for m in (method.input_type, method.output_type))
        self._response = response
        handler = grpc.unary_unary_rpc_method_handler(
            self._record, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Record": handler}),))
        servicer = health.HealthServicer()
        servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        reflection.enable_server_reflection((SERVICE,), self._server, pool=self._pool)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._released = set(self._calls)
            self._changed.notify_all()
        self._server.stop(grace=1).wait()

    def calls(self, label: str) -> list[Call]:
        """Return the calls so far that carried this label."""
        with self._changed:
            return list(self._calls.get(label, ()))

    def labels(self) -> list[str]:
        """Return the labels that calls have carried so far."""
        with self._changed:
            return list(self._calls)

    def wait_for_calls(self, label: str, count: int, timeout: float = 60) -> list[Call]:
        """Wait until that many calls with this label have begun, and return them."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._calls.get(label, ())) >= count, timeout)
        calls = self.calls(label)
        assert arrived, f"{len(calls)} calls with the label {label} after {timeout} s, not {count}"
        return calls

    def release(self, label: str) -> None:
        """Let the calls with this label that are held go on."""
        with self._changed:
            self._released.add(label)
            self._changed.notify_all()

    def _record(self, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = {k: str(v) for k, v in context.invocation_metadata()}
        call = Call(request.label, metadata, context.time_remaining() or 0.0, time.time())

        def ended() -> None:
            with self._changed:
                call.given_up = call.ended_at is None
                call.ended_at = call.ended_at or time.time()
                call.ended.set()
                self._changed.notify_all()

        context.add_callback(ended)
        with self._changed:
            calls = self._calls.setdefault(request.label, [])
            calls.append(call)
            number = len(calls)
            self._changed.notify_all()
            if request.hold:
                self._changed.wait_for(lambda: call.ended.is_set() or request.label in self._released)
        if request.seconds:
            call.ended.wait(request.seconds)
        with self._changed:
            # Before the answer: the caller may act on it before gRPC tells us that it was sent.
            call.ended_at = call.ended_at or time.time()
        if request.fail_code and self._fails(request, number, int(metadata.get("x-attempt", "1"))):
            context.abort(grpc.StatusCode[request.fail_code], f"failed on purpose, call {number}")
        return self._response(label=request.label, calls=number)

    @staticmethod
    def _fails(request: Any, number: int, attempt: int) -> bool:
        if request.fail_attempts:
            return bool(attempt <= request.fail_attempts)
        return bool(number <= (request.fail_times or number))
