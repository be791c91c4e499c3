"""The contract of a target: its methods by name, and what goes into and comes out of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format, message_factory

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import closest, excerpt
from shared.expressions.kinds import Record
from shared.targets.fields import BY_VALUE
from shared.targets.kinds import message_kind
from shared.targets.parameters import build_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

    from shared.expressions.kinds import Kind

_MOST_NAMED: Final = 10
"""How many methods a refusal names: a status has room for about 4 KB of sentences in all."""

_FINGERPRINT: Final = 32
"""Digits of it."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a target. path is `/pkg.Service/Method`, as it is called."""

    name: str
    service: str
    client_streaming: bool
    server_streaming: bool
    input: Descriptor
    output: Descriptor
    pool: DescriptorPool

    @property
    def full_name(self) -> str:
        """`pkg.Service/Method`, as users write it."""
        return f"{self.service}/{self.name}"

    @property
    def path(self) -> str:
        """`/pkg.Service/Method`, as gRPC calls it."""
        return f"/{self.full_name}"

    @property
    def response_class(self) -> type[Message]:
        """The message that the method answers."""
        return message_factory.GetMessageClass(self.output)

    def request(self, parameters: Mapping[str, object]) -> Message:
        """Build the request from its JSON form; raise InvalidInput with a violation for every field at fault.

        Placeholders for values that are known only later are checked, and left out of the request.
        """
        return build_message(self.input, parameters, self.pool)

    @property
    def result_kind(self) -> Kind | None:
        """What is known of a result, in its JSON form, before there is one."""
        kind = message_kind(self.output)
        return Record(self.output.name, {"value": kind}) if self.output.full_name in BY_VALUE else kind

    def result(self, response: Message) -> dict[str, Any]:
        """Return a response in its JSON form, by the names of the proto.

        Fields without presence are there also when they are zero or empty, so that a reader of the history sees
        "none were found", and not silence. A response whose JSON is not an object is put under `value`. Raises
        ValueError when it has no JSON form, as an Any of a type that the contract does not have.
        """
        try:
            converted = json_format.MessageToDict(
                response,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=self.pool,
            )
        except (json_format.Error, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.output.full_name} has no JSON form: {error}") from error
        return {"value": converted} if self.output.full_name in BY_VALUE else dict(converted)


class Contract:
    """The methods of one target. Immutable; a contract that was read anew is another one.

    comments: what its protos say of methods and fields, by their full names, where the target tells.
    """

    def __init__(
        self,
        target: str,
        services: Iterable[ServiceDescriptor],
        pool: DescriptorPool,
        comments: Mapping[str, str] | None = None,
    ) -> None:
        self._target = target
        self._services = tuple(services)
        self.methods: Final = tuple(_method(each, method, pool) for each in self._services for method in each.methods)
        self.comments: Final = dict(comments or {})

    @cached_property
    def fingerprint(self) -> str:
        """The same for contracts that take the same calls: made of the services' names, and of all their files."""
        files = {service.file.name: service.file for service in self._services}
        waiting = list(files.values())
        while waiting:
            for needed in waiting.pop().dependencies:
                if needed.name not in files:
                    files[needed.name] = needed
                    waiting.append(needed)
        digest = sha256("\n".join(sorted(service.full_name for service in self._services)).encode())
        for name in sorted(files):
            digest.update(sha256(files[name].serialized_pb).digest())
        return digest.hexdigest()[:_FINGERPRINT]

    def method(self, name: str) -> Method:
        """Find a method by its short name, `Service/Method` or `pkg.Service/Method`, where that is unique.

        Raises InvalidInput on `target_method`: unknown, ambiguous, or streaming.
        """
        wanted = name.removeprefix("/")
        found = [method for method in self.methods if wanted in _names(method)]
        if len(found) > 1:
            full = ", ".join(sorted(method.full_name for method in found)[:_MOST_NAMED])
            raise _refusal(f"{name!r} is a method of several services of {self._target}; name one of {full}")
        if not found:
            raise _refusal(self._unknown(name))
        (method,) = found
        if method.client_streaming or method.server_streaming:
            raise _refusal(
                f"{name!r} of {self._target} is a streaming method; only one with a single request and a single"
                f" response can be called"
            )
        return method

    def _unknown(self, name: str) -> str:
        said = f"{excerpt(name)!r} is not a method of {self._target}" if name else "a method is required"
        callable_ = [method for method in self.methods if not (method.client_streaming or method.server_streaming)]
        short = [method.name for method in callable_]
        known = sorted(m.name if short.count(m.name) == 1 else m.full_name for m in callable_)
        if not known:
            return f"{said}, which has none that can be called"
        close = closest(name.rpartition("/")[2].rpartition(".")[2], known)
        meant = f"; did you mean {close}?" if close else ""
        more = f", and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        return f"{said}{meant} (it has {', '.join(known[:_MOST_NAMED])}{more})"


def _names(method: Method) -> tuple[str, str, str]:
    return method.name, f"{method.service.rpartition('.')[2]}/{method.name}", method.full_name


def _method(service: ServiceDescriptor, method: MethodDescriptor, pool: DescriptorPool) -> Method:
    return Method(
        name=method.name,
        service=service.full_name,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        input=method.input_type,
        output=method.output_type,
        pool=pool,
    )


def _refusal(sentence: str) -> InvalidInput:
    return InvalidInput([Violation("target_method", sentence)])
