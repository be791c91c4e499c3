"""A target that notes when it is called: answers at once, or after a second."""

from __future__ import annotations

import asyncio
import time
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2
from grpc_reflection.v1alpha import reflection

if TYPE_CHECKING:
    from typing import Self

SERVICE: Final = "benchmark.v1.TimedTarget"
AT_ONCE: Final = "Call"
AFTER_A_SECOND: Final = "CallForASecond"


class Called(NamedTuple):
    """A call: whose, and when it began and ended, by the monotonic clock that all processes of the host share."""

    execution_id: str
    began: float
    ended: float


class TimedTarget(Thread):
    """A gRPC server in a thread. Its event loop costs the caller's process less than threads for each call would."""

    def __init__(self) -> None:
        super().__init__(name="target", daemon=True)
        self.calls: list[Called] = []
        """In the order in which they ended."""
        self.began = 0
        self.port = 0
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def __enter__(self) -> Self:
        self.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    def run(self) -> None:
        """Serve until it is left."""
        self._loop.run_until_complete(self._serve())

    def forget(self) -> None:
        """Begin to count anew; while nobody calls."""
        self.began = 0
        self.calls.clear()

    async def _serve(self) -> None:
        server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(self._answer(seconds))
            for name, seconds in ((AT_ONCE, 0.0), (AFTER_A_SECOND, 1.0))
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        reflection.enable_server_reflection((SERVICE,), server, pool=_contract())
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._ready.set()
        await self._stopping.wait()
        await server.stop(None)

    def _answer(self, seconds: float) -> Any:  # grpc's stubs take no coroutine for a handler
        async def answer(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            began = time.monotonic()
            self.began += 1
            if seconds:
                await asyncio.sleep(seconds)
            metadata = dict(context.invocation_metadata() or ())
            self.calls.append(Called(str(metadata.get("x-execution-id", "")), began, time.monotonic()))
            return b""

        return answer


def _contract() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    package, _, name = SERVICE.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(
        name="timed_target.proto", package=package, syntax="proto3", dependency=[empty_pb2.DESCRIPTOR.name]
    )
    service = file.service.add(name=name)
    for each in (AT_ONCE, AFTER_A_SECOND):
        method = service.method.add(name=each)
        method.input_type = method.output_type = ".google.protobuf.Empty"
    pool.Add(file)
    return pool
