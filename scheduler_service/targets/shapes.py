"""What a target offers, for people who write jobs: its methods, the shape of their requests, and an example of each."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final, TypeVar

from scheduler_service.transport.convert import struct
from scheduler_service.transport.pages import MOST_BYTES, entry_bytes
from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt
from shared.proto import target_service_pb2 as pb
from shared.targets.shape import example, request_fields
from shared.tasks import shape as task_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

    from shared.targets import Contract, Method
    from shared.targets.shape import Field
    from shared.tasks.registry import Tasks
    from shared.tasks.task import LedgeredTask

_LONGEST_COMMENT: Final = 1_000

Shape = pb.DescribeTargetResponse.Method
M = TypeVar("M", bound="Message")


def shapes_of_contract(contract: Contract, name: str) -> Iterator[Shape]:
    """Return a contract's methods, or those that have this name. Raises InvalidInput when none has."""
    chosen = [each for each in contract.methods if not name or name in {each.name, each.full_name, each.path}]
    if name and not chosen:
        known = sorted({method.name for method in contract.methods})[:10]
        raise _no_such(name, f"(it has {', '.join(known) or 'none'})")
    return (_of_method(method, contract) for method in chosen)


def shapes_of_tasks(tasks: Tasks, name: str) -> Iterator[Shape]:
    """Return the tasks, or the one that has this name. Raises InvalidInput when none has."""
    if name and name not in tasks.names:
        raise _no_such(name, "of TASK_MODULES")
    return (_of_task(each, tasks.get(each)) for each in ([name] if name else tasks.names))


def fitting(messages: Iterable[M]) -> tuple[list[M], bool]:
    """Return as many messages as one answer has room for, and whether that are all; at least one."""
    found: list[M] = []
    room = MOST_BYTES
    for message in messages:
        room -= entry_bytes(message)
        if found and room < 0:
            return found, False
        found.append(message)
    return found, True


def _no_such(name: str, known: str) -> InvalidInput:
    return InvalidInput([Violation("method", f"'{excerpt(name)}' is not a method of it {known}")])


def _of_method(method: Method, contract: Contract) -> Shape:
    streams = method.client_streaming or method.server_streaming
    made = None if streams else example(method)
    return Shape(
        name=method.name,
        full_name=method.full_name,
        fields=[_field(field) for field in request_fields(method, contract.comments)],
        example=None if made is None else struct(made),
        callable=not streams,
        why_not="it is a streaming method; jobs make calls with one request and one response" if streams else "",
        comment=contract.comments.get(f"{method.service}.{method.name}", ""),
    )


def _of_task(name: str, task: LedgeredTask) -> Shape:
    made = task_shape.example(task.accepts)
    return Shape(
        name=name,
        full_name=name,
        fields=[
            pb.DescribeTargetResponse.Field(
                path=each.name,
                type=each.annotation,
                repeated=each.repeated,
                required=each.required,
                values=[str(value) for value in each.schema.get("enum", ())],
                comment="a parameter of any other name" if each.name == "*" else "",
            )
            for each in task.accepts.parameters
        ],
        example=None if made is None else struct(made),
        callable=True,
        comment=" ".join((inspect.getdoc(task.run) or "").split())[:_LONGEST_COMMENT],
    )


def _field(field: Field) -> pb.DescribeTargetResponse.Field:
    return pb.DescribeTargetResponse.Field(
        path=field.path,
        type=field.type,
        repeated=field.repeated,
        required=field.required,
        values=field.values,
        comment=field.comment,
    )
