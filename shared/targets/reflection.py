"""Server reflection: reads the contract of a target from the target itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from grpc_reflection.v1alpha import reflection_pb2

from shared.domain.errors import FailedPrecondition, Reason, Unavailable
from shared.log import get_logger
from shared.targets.comments import comments
from shared.targets.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from shared.targets.registry import Target

    _Files = Mapping[str, descriptor_pb2.FileDescriptorProto]

log = get_logger()

DEADLINE: Final = 5.0
"""Seconds for reading a whole contract. Longer, and a create waits on a target that is away; shorter, and a busy one
looks as if it were."""

_LARGEST_FILES: Final = 32 * 1024 * 1024
"""Bytes that one answer may have. A file comes with all it imports; gRPC's own limit of 4 MiB is met in practice."""

_VERSIONS: Final = ("v1", "v1alpha")
"""In this order: newer servers drop v1alpha. The messages of both have the same shape on the wire."""

_INFRASTRUCTURE: Final = "grpc."
"""Reflection, health, channelz: not what a job calls."""

_WELL_KNOWN_FILES: Final = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
}
"""Ours are used in place of the target's: they are the same everywhere, and some servers leave them out."""


class _Unoffered(Exception):  # noqa: N818 - a turn of the talk, caught below
    """The target does not know this version of the reflection service."""


class NotOffered(FailedPrecondition):
    """The target answers, and does not have a service that the registry names."""


def read_contract(target: Target, deadline: float = DEADLINE) -> Contract:
    """Read a target's contract into a descriptor pool of its own, in at most `deadline` seconds.

    A pool of its own, because two targets may have different files of the same name. Blocks; opens a channel and
    closes it. Raises Unavailable when the target does not answer, FailedPrecondition when it has no reflection, does
    not let us use it, or lacks a service that the registry names.
    """
    options = [("grpc.max_receive_message_length", _LARGEST_FILES)]
    ends = time.monotonic() + deadline
    with grpc.insecure_channel(target.address, options=options) as channel:
        for version in _VERSIONS:
            talk = _Talk(target, channel, version, ends)
            try:
                return _contract(target, talk)
            except _Unoffered:
                continue
    raise FailedPrecondition(
        f"{target.name} at {target.address} does not offer server reflection; enable it there, or add its proto to"
        f" protos/ and its services to the registry",
        reason=Reason.TARGET_CONTRACT_UNREADABLE,
    )


def _contract(target: Target, talk: _Talk) -> Contract:
    offered = talk.services()
    wanted = target.services or tuple(name for name in offered if not name.startswith(_INFRASTRUCTURE))
    if absent := sorted(set(wanted) - set(offered)):
        raise NotOffered(
            f"{target.name} at {target.address} does not offer {', '.join(absent)}; its reflection lists"
            f" {', '.join(offered) or 'nothing'}",
            reason=Reason.TARGET_CONTRACT_UNREADABLE,
        )
    files = talk.files_of(wanted)
    pool = descriptor_pool.DescriptorPool()
    services: list[ServiceDescriptor] = []
    problems: list[str] = []
    seen: set[str] = set()
    for name in wanted:
        try:
            file = _file_of(files, name)
            if file.name not in seen:
                for content in _ordered(files, file, seen):
                    pool.AddSerializedFile(content)
            services.append(pool.FindServiceByName(name))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{name}: {' '.join(str(error).split())}")
    if problems:
        # One service whose files do not hold together must not hide the others, unless the registry asks for it.
        sentence = f"the reflection of {target.name} at {target.address} is incomplete: {'; '.join(problems)}"
        if target.services or not services:
            raise FailedPrecondition(sentence, reason=Reason.TARGET_CONTRACT_UNREADABLE)
        log.warning(sentence, action="contract_incomplete", target=target.name)
    contract = Contract(target.name, services, pool, comments(files[name] for name in seen))
    log.info(
        "Read the contract of a target",
        action="contract_read",
        target=target.name,
        address=target.address,
        reflection=talk.version,
        services=[service.full_name for service in services],
    )
    return contract


def _ordered(files: _Files, file: descriptor_pb2.FileDescriptorProto, seen: set[str]) -> Iterator[bytes]:
    """Return a file and all that it imports, the imported first, as a pool wants them; none that was seen before."""
    seen.add(file.name)
    for name in file.dependency:
        # one that the target does not have is left to the pool, whose sentence names it
        if name in files and name not in seen:
            yield from _ordered(files, files[name], seen)
    yield file.SerializeToString()


def _file_of(files: _Files, service: str) -> descriptor_pb2.FileDescriptorProto:
    for file in files.values():
        if service in _service_names(file):
            return file
    raise ValueError("it has no file with this service")


def _service_names(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    return [f"{file.package}.{service.name}" if file.package else service.name for service in file.service]


class _Talk:
    """Asks one version of a target's reflection service; each question is a batch, sent at once."""

    def __init__(self, target: Target, channel: grpc.Channel, version: str, ends: float) -> None:
        self.version = version
        self._target = target
        self._ends = ends
        self._ask_all: Callable[..., Iterable[reflection_pb2.ServerReflectionResponse]] = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

    def services(self) -> list[str]:
        """Return the full names of all services that the target lists."""
        (answer,) = self._ask([reflection_pb2.ServerReflectionRequest(list_services="*")])
        return sorted(service.name for service in answer.list_services_response.service)

    def files_of(self, services: Iterable[str]) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        """Return the files of the services, and all that they import as far as the target has them, by name."""
        files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        for name, content in _WELL_KNOWN_FILES.items():
            files[name] = descriptor_pb2.FileDescriptorProto.FromString(content)
        asked: set[str] = set()
        questions = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=service) for service in services]
        while questions:
            for answer in self._ask(questions):
                # an error says that the target lacks the file; who needs it will say so
                for content in answer.file_descriptor_response.file_descriptor_proto:
                    file = descriptor_pb2.FileDescriptorProto.FromString(content)
                    files.setdefault(file.name, file)
            missing = {name for file in files.values() for name in file.dependency} - files.keys() - asked
            asked |= missing
            questions = [reflection_pb2.ServerReflectionRequest(file_by_filename=name) for name in sorted(missing)]
        return files

    def _ask(
        self, questions: Sequence[reflection_pb2.ServerReflectionRequest]
    ) -> list[reflection_pb2.ServerReflectionResponse]:
        where = f"{self._target.name} at {self._target.address}"
        try:
            answers = list(self._ask_all(iter(questions), timeout=max(0.0, self._ends - time.monotonic())))
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is grpc.StatusCode.UNIMPLEMENTED:
                raise _Unoffered from None
            if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
                said = f"{where} refuses server reflection: {code.name}: {details}"
                raise FailedPrecondition(said, reason=Reason.TARGET_CONTRACT_UNREADABLE) from error
            raise Unavailable(
                f"the contract of {where} can't be read: {code.name}: {details}; try again later",
                reason=Reason.TARGET_UNAVAILABLE,
            ) from error
        if len(answers) != len(questions):
            said = f"the contract of {where} can't be read: its reflection left questions unanswered"
            raise Unavailable(said, reason=Reason.TARGET_UNAVAILABLE)
        return answers
