"""Every method of the API, found by reflection: described, checked in every field, and robust against any request.

FUZZ_REQUESTS says how many random requests are made (`make fuzz` makes 100,000), FUZZ_SEED which.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dev.run import ROOT
from shared.proto import scheduler_service_pb2 as pb
from tests.fuzz.examples import EXAMPLES
from tests.fuzz.oddities import Oddities, beyond_limits
from tests.integration.test_server_harness import Running, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

REQUESTS: Final = int(os.environ.get("FUZZ_REQUESTS", "2000"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "20261125"))
PACKAGE: Final = "scheduler.v1."
OUR_FAULT: Final = frozenset({"UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "DATA_LOSS"})
DEADLINE: Final = 20.0
STREAM_DEADLINE: Final = 0.3
WAITS: Final = frozenset({"WaitExecution", "WatchJobs", "WatchExecutions"})
"""What ends by the caller's deadline."""

REFUSALS: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})

OUTPUT_ONLY: Final = frozenset(
    f"scheduler.v1.ScheduledJob.{name}"
    for name in (
        "job_id", "uid", "state", "next_fire_times", "created_at", "updated_at", "created_by", "updated_by", "revision",
        "status_message", "managed_by", "deleted_at", "purge_time", "drift",
    )
)  # fmt: skip
"""What an update may send back as it was read, and does not change."""


@dataclass
class Method:
    """A method as reflection tells it."""

    path: str
    name: str
    request: type[Message]
    response: type[Message]
    streams: bool

    async def call(self, channel: grpc.aio.Channel, request: Message | bytes, moment: float = STREAM_DEADLINE) -> str:
        """Return the name of the status that a call ends with; of what waits, that of its first moment, in seconds."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        deadline = moment if self.name in WAITS else DEADLINE
        try:
            if self.streams:
                stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(self.path)
                async for response in stream(raw, timeout=deadline):
                    self.response.FromString(response)
            else:
                unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self.path)
                self.response.FromString(await unary(raw, timeout=deadline))
        except grpc.aio.AioRpcError as error:
            code: str = error.code().name
            return "OK" if code == "DEADLINE_EXCEEDED" and self.name in WAITS else code
        return "OK"


def reflected(address: str) -> dict[str, Method]:
    """Ask a server for its methods, by short name."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = descriptor_pool.DescriptorPool(database)
        found: dict[str, Method] = {}
        for service in database.get_services():
            if service.startswith(PACKAGE):
                for method in pool.FindServiceByName(service).methods:
                    assert method.name not in found
                    found[method.name] = _method(method)
        return found


def _method(described: MethodDescriptor) -> Method:
    return Method(
        f"/{described.containing_service.full_name}/{described.name}",
        described.name,
        message_factory.GetMessageClass(described.input_type),
        message_factory.GetMessageClass(described.output_type),
        described.server_streaming,
    )


@dataclass
class Conformance:
    running: Running
    methods: Mapping[str, Method]
    known: dict[str, str]

    def example(self, name: str) -> Message:
        """Return the request of a method that is right."""
        return json_format.ParseDict(self._filled(EXAMPLES[name]), self.methods[name].request())

    def _filled(self, value: Any) -> Any:
        match value:
            case dict():
                return {key: self._filled(inner) for key, inner in value.items()}
            case list():
                return [self._filled(inner) for inner in value]
            case str() if value.startswith("$"):
                return self.known[value]
            case _:
                return value


@pytest.fixture
async def conformance(database_url: str) -> AsyncIterator[Conformance]:
    async with serving(database_url) as running:
        methods = await asyncio.to_thread(reflected, running.address)
        known = await _known(running)
        yield Conformance(running, methods, known)


async def _known(running: Running) -> dict[str, str]:
    """Make what the examples name."""
    for job_id in ("known", "doomed", "deleted"):
        await running.create(job_id=job_id, labels={"team": "pricing"})
    await running.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="deleted"))
    execution = (await running.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="known"))).execution_id
    failed = (await running.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="known"))).execution_id
    await running.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=failed))
    status = await running.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="known"))
    following = status.next_fire_times[0].ToDatetime(UTC)
    return {
        "$job": "known",
        "$doomed": "doomed",
        "$deleted": "deleted",
        "$execution": execution,
        "$failed": failed,
        "$next": following.isoformat(),
        "$later": (following + timedelta(hours=1)).isoformat(),
        "$backfill": "none-yet",
    }


async def test_every_method_has_an_example_that_is_not_refused_for_its_form(conformance: Conformance):
    assert conformance.methods.keys() == EXAMPLES.keys()
    codes = {}
    for name, method in conformance.methods.items():
        codes[name] = await method.call(conformance.running.channel, conformance.example(name))
    assert not {name: code for name, code in codes.items() if code in OUR_FAULT | {"INVALID_ARGUMENT"}}


async def test_every_field_of_every_request_is_checked(conformance: Conformance):
    accepted, at_fault, tried = [], [], 0
    for name, method in conformance.methods.items():
        for path, request in beyond_limits(conformance.example(name), OUTPUT_ONLY):
            # Time enough for a refusal also on a busy machine: a stream that is cut off counts as accepted.
            code = await method.call(conformance.running.channel, request, DEADLINE)
            tried += 1
            if code in OUR_FAULT:
                at_fault.append(f"{name}: {path}: {code}")
            elif code not in REFUSALS and not (code == "ABORTED" and path.endswith("etag")):
                accepted.append(f"{name}: {path}: {code}")
    assert tried > 200
    assert not at_fault, "\n".join(at_fault)
    assert not accepted, "\n".join(accepted)


async def test_every_method_is_in_the_reference(conformance: Conformance):
    """And by tests/unit/test_client.py and test_cli_pages.py in the client, and in a command of schedctl."""
    reference = (ROOT / "docs" / "api.md").read_text()
    assert not [name for name in conformance.methods if f"\n### {name}\n" not in reference]


@pytest.mark.timeout(180 + REQUESTS // 10)
async def test_no_request_is_answered_as_a_fault_of_the_server(conformance: Conformance):
    random = Random(SEED)
    oddities = Oddities(
        random, [*conformance.known.values(), *EXAMPLES, "scraper-service", "scraping", "ScrapeCompetitorPrices"]
    )
    names = sorted(conformance.methods)
    codes: Counter[str] = Counter()
    for number in range(REQUESTS):
        name = names[number % len(names)]
        method = conformance.methods[name]
        if random.random() < 0.02:
            request: Message | bytes = random.randbytes(random.randint(0, 200))
        else:
            request = conformance.example(name)
            if random.random() < 0.3:
                request.Clear()
                oddities.fill(request)
            else:
                oddities.spoil(request)
        code = await method.call(conformance.running.channel, request)
        codes[code] += 1
        assert code not in OUR_FAULT, f"request {number} of seed {SEED}: {name}({str(request)[:2000]}) gave {code}"
    # Both kinds were there: what is refused, and what gets as far as the store.
    assert codes["OK"] > REQUESTS // 20
    assert codes["INVALID_ARGUMENT"] > REQUESTS // 20
