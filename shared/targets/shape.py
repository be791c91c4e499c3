"""The shape of a request, for people who write parameters: its fields, those of messages in it, and an example."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from shared.domain.errors import InvalidInput
from shared.targets.fields import BY_VALUE, WELL_KNOWN, WRAPPERS, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import Descriptor

    from shared.targets.contract import Method

MOST_FIELDS: Final = 500
"""Of one request; with messages in messages in each other there may be thousands."""
_DEEPEST: Final = 8
"""Levels of messages in the list of fields."""
_DEEPEST_EXAMPLE: Final = 3
_MOST_VALUES: Final = 100

_TYPES: Final[Mapping[int, str]] = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}

_EXAMPLES: Final[Mapping[str, Any]] = {
    "Timestamp": "2030-01-31T08:00:00Z",
    "Duration": "90s",
    "FieldMask": "",
    "Struct": {"key": "value"},
    "ListValue": ["value"],
    "Value": "value",
}
"""Of the well-known types but Any, whose contents only the target knows, and the wrappers."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request. path: with the fields around it, as `filter.since`; within a map, as `prices.*.amount`."""

    path: str
    type: str
    repeated: bool = False
    required: bool = False
    values: tuple[str, ...] = ()
    comment: str = ""


def request_fields(method: Method, comments: Mapping[str, str]) -> list[Field]:
    """Return the fields of a method's request, each before those in it; at most MOST_FIELDS of them.

    A message that is in itself is not gone into again.
    """
    if method.input.full_name in BY_VALUE:
        return [Field("value", method.input.full_name)]
    found: list[Field] = []
    for field in _fields(method.input, "", (method.input.full_name,), comments):
        if len(found) == MOST_FIELDS:
            break
        found.append(field)
    return found


def _fields(kind: Descriptor, prefix: str, around: tuple[str, ...], comments: Mapping[str, str]) -> Iterator[Field]:
    for field in kind.fields:
        path = f"{prefix}{field.name}"
        entry = field.message_type.fields_by_name["value"] if is_map(field) and field.message_type is not None else None
        value = entry or field
        yield Field(
            path,
            _type(field),
            repeated=field.is_repeated and entry is None,
            required=field.is_required,
            values=tuple(each.name for each in value.enum_type.values[:_MOST_VALUES]) if value.enum_type else (),
            comment=comments.get(field.full_name, ""),
        )
        inner = value.message_type
        if (
            inner is not None
            and inner.full_name not in WELL_KNOWN
            and inner.full_name not in around
            and len(around) < _DEEPEST
        ):
            yield from _fields(inner, f"{path}.*." if entry else f"{path}.", (*around, inner.full_name), comments)


def _type(field: FieldDescriptor) -> str:
    if is_map(field) and field.message_type is not None:
        entry = field.message_type.fields_by_name
        return f"map<{_type(entry['key'])}, {_type(entry['value'])}>"
    if field.message_type is not None:
        return str(field.message_type.full_name)
    if field.enum_type is not None:
        return str(field.enum_type.full_name)
    return _TYPES[field.type]


def example(method: Method) -> dict[str, Any] | None:
    """Return parameters that the method takes, with something in every field; None when none were found."""
    kind = method.input
    if kind.full_name in BY_VALUE:
        candidates = [{"value": _well_known(kind)}]
    elif kind.full_name in WELL_KNOWN:
        candidates = [{}]
    else:
        # One that goes deep first; a request whose messages need each other without end may still take nothing.
        candidates = [_message(kind, depth) for depth in (_DEEPEST_EXAMPLE, 1)] + [{}]
    for candidate in candidates:
        with suppress(InvalidInput):
            method.request(candidate)
            return candidate
    return None


def _message(kind: Descriptor, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    chosen: set[str] = set()
    for field in kind.fields:
        oneof = field.containing_oneof
        if oneof is not None:
            if oneof.full_name in chosen:
                continue
            chosen.add(oneof.full_name)
        value = _field(field, depth)
        if value is not None:
            made[field.name] = value
    return made


def _field(field: FieldDescriptor, depth: int) -> Any:
    if is_map(field) and field.message_type is not None:
        entry = field.message_type.fields_by_name
        value = _value(entry["value"], depth)
        return None if value is None else {str(_key(entry["key"])): value}
    value = _value(field, depth)
    if value is None:
        return None
    return [value] if field.is_repeated else value


def _key(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_STRING:
        return "key"
    return "true" if field.type == FieldDescriptor.TYPE_BOOL else "1"


def _value(field: FieldDescriptor, depth: int) -> Any:
    """Return one value of a field; None: it is better left out."""
    kind = field.message_type
    if kind is not None:
        if kind.full_name in WELL_KNOWN:
            return _well_known(kind)
        return _message(kind, depth - 1) if depth > 1 else None
    if field.enum_type is not None:
        named = [value.name for value in field.enum_type.values if value.number != 0]
        return named[0] if named else field.enum_type.values[0].name
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return "dGV4dA==" if field.type == FieldDescriptor.TYPE_BYTES else "text"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return 1.5
        case _:
            return 1


def _well_known(kind: Descriptor) -> Any:
    if kind.name in WRAPPERS:
        return _value(kind.fields_by_name["value"], 1)
    return _EXAMPLES.get(kind.name)
