"""Every method of the API, found by reflection: described, checked in every field, and robust against any request.

FUZZ_REQUESTS says how many random requests are made (`make fuzz` makes 100,000), FUZZ_SEED which, and FUZZ_ONLY makes
only the one of that number.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import structlog
from google.protobuf import descriptor_pool, json_format, message_factory, text_format
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dev.run import ROOT
from shared.proto import planning_service_pb2 as planning_pb2
from shared.proto import scheduler_service_pb2 as pb
from tests.fuzz.examples import EXAMPLES
from tests.fuzz.oddities import beyond_limits
from tests.fuzz.stream import RandomRequests
from tests.integration.test_server_harness import Running, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

REQUESTS: Final = int(os.environ.get("FUZZ_REQUESTS", "2000"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "20261125"))
ONLY: Final = os.environ.get("FUZZ_ONLY", "")
CALLERS: Final = 48
"""How many call at once."""
ROUND: Final = 1_000
PROGRESS: Final = 5_000
MOST_FAULTS: Final = 20
"""After which no more are looked for."""
PACKAGE: Final = "scheduler.v1."
OUR_FAULT: Final = frozenset({"UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "DATA_LOSS"})
FAULTS: Final = OUR_FAULT | {"DEADLINE_EXCEEDED"}
"""Where the deadline is long enough, no answer is one as well."""
DEADLINE: Final = 60.0
"""Far beyond what any answer takes on a busy machine: who has none by then never gets one."""
STREAM_DEADLINE: Final = 0.3
WAITS: Final = frozenset({"WaitExecution", "WatchJobs", "WatchExecutions"})
"""What ends by the caller's deadline; ExecuteJobNow does so as well, if it is asked to wait."""

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
        waits = self.name in WAITS or (
            self.name == "ExecuteJobNow" and not isinstance(request, bytes) and request.HasField("wait")
        )
        deadline = moment if waits else DEADLINE
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
            return "OK" if code == "DEADLINE_EXCEEDED" and waits else code
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
        yield Conformance(running, methods, await _known(running))


async def _known(running: Running, ending: str = "") -> dict[str, str]:
    """Make what the examples name; ending: what tells apart the jobs that are made several times."""
    known, doomed, deleted = (f"{name}{ending}" for name in ("known", "doomed", "deleted"))
    for job_id in (known, doomed, deleted):
        await running.create(job_id=job_id, labels={"team": "pricing"})
    await running.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=deleted))
    execution = (await running.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=known))).execution_id
    failed = (await running.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=known))).execution_id
    await running.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=failed))
    status = await running.stub.GetJobStatus(pb.GetJobStatusRequest(job_id=known))
    following = status.next_fire_times[0].ToDatetime(UTC)
    backfill = json_format.ParseDict(
        {"job_id": known, "from_time": "2026-01-01T00:00:00Z", "to_time": "2026-01-05T00:00:00Z"},
        planning_pb2.CreateBackfillRequest(),
    )
    return {
        "$job": known,
        "$doomed": doomed,
        "$deleted": deleted,
        "$execution": execution,
        "$failed": failed,
        "$next": following.isoformat(),
        "$later": (following + timedelta(hours=1)).isoformat(),
        "$backfill": (await running.planning.CreateBackfill(backfill)).backfill.backfill_id,
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


async def test_what_may_be_repeated_may_also_be_only_checked(conformance: Conformance):
    """Which is also how all that is wrong with a request is found when its id is."""
    fields = {name: {*method.request.DESCRIPTOR.fields_by_name} for name, method in conformance.methods.items()}
    repeatable = {name for name, found in fields.items() if "request_id" in found}
    assert len(repeatable) > 20
    assert repeatable == {name for name, found in fields.items() if "validate_only" in found}


async def test_every_method_is_in_the_reference(conformance: Conformance):
    """And by tests/unit/test_client.py and test_cli_pages.py in the client, and in a command of schedctl."""
    reference = (ROOT / "docs" / "api.md").read_text()
    assert not [name for name in conformance.methods if f"\n### {name}\n" not in reference]


@dataclass
class Fuzz:
    """Makes random requests, many at once, and judges the answer of each."""

    conformance: Conformance
    say: Callable[[str], None]
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    async def run(self, numbers: Sequence[int]) -> None:
        """Go through the requests by CALLERS callers, each of which takes the next when it has its answer.

        What the requests name is made anew every ROUND requests: some of them delete it, cancel it, or use it up.
        """
        for number, group in groupby(numbers, lambda number: number // ROUND):
            coming = iter(list(group))
            self.conformance.known = await _known(self.conformance.running, f"-{number}")
            requests = RandomRequests(
                SEED,
                sorted(self.conformance.methods),
                self.conformance.example,
                [*self.conformance.known.values(), *EXAMPLES, "scraper-service", "scraping", "ScrapeCompetitorPrices"],
            )
            async with asyncio.TaskGroup() as callers:
                for _ in range(CALLERS):
                    callers.create_task(self._call(requests, coming))
            if len(self.faults) >= MOST_FAULTS:
                return

    async def _call(self, requests: RandomRequests, numbers: Iterator[int]) -> None:
        for number in numbers:
            name, request = requests.at(number)
            code = await self.conformance.methods[name].call(self.conformance.running.channel, request)
            self.codes[code] += 1
            if code in FAULTS:
                self.faults.append(f"request {number} of seed {SEED}, {name}, gave {code}: {_shown(request)}")
                self.say(self.faults[-1])
            if (made := self.codes.total()) % PROGRESS == 0:
                self.say(f"{made:,} requests of seed {SEED}: {dict(self.codes.most_common())}")


def _shown(request: Message | bytes) -> str:
    """Return a request as protobuf's text, with dots for what is repeated in it; FUZZ_ONLY makes it again as it was."""
    if isinstance(request, bytes):
        return repr(request)
    return re.sub(r"(.{1,20})\1{20,}", r"\1\1...", text_format.MessageToString(request, as_one_line=True))[:4_000]


@pytest.fixture
def _only_faults_are_logged() -> None:
    """Render each line as a server does, since clients choose some of what is in it, and keep those of errors."""

    def keep(_logger: object, method: str, line: Any) -> Any:
        if method != "error":
            raise structlog.DropEvent
        return line

    structlog.configure(
        [
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
            keep,
        ]
    )


@pytest.mark.timeout(300 + REQUESTS // 10)
@pytest.mark.usefixtures("_only_faults_are_logged")
async def test_no_request_is_answered_as_a_fault_of_the_server(
    conformance: Conformance, capsys: pytest.CaptureFixture[str]
):
    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)  # noqa: T201 - make fuzz runs for a while

    fuzz = Fuzz(conformance, say)
    await fuzz.run([int(ONLY)] if ONLY else range(REQUESTS))
    assert not fuzz.faults, "\n".join(fuzz.faults)
    if not ONLY:
        # Both kinds were there: what is refused, and what gets as far as the store.
        assert fuzz.codes["OK"] > REQUESTS // 20
        assert fuzz.codes["INVALID_ARGUMENT"] > REQUESTS // 20
