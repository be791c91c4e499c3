"""Messages and their fields as sentences name them: what a field takes, and which fields there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

_EXPECTED: Final = {
    "Timestamp": 'RFC 3339, as "2026-01-31T08:00:00Z"',
    "Duration": 'seconds with an s, as "90s"',
    "FieldMask": 'paths joined by commas, as "name,address.city"',
    "Any": 'an object with "@type", a message type of the target',
    "Struct": "an object",
    "ListValue": "a list",
    "Value": "any JSON, at most 100 levels deep",
}
"""The well-known types that have a JSON form of their own, beside the wrappers, and what that is."""

WRAPPERS: Final = frozenset(
    f"{kind}Value" for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
WELL_KNOWN: Final = frozenset(f"google.protobuf.{name}" for name in WRAPPERS | _EXPECTED.keys())

BY_VALUE: Final = WELL_KNOWN - {"google.protobuf.Struct", "google.protobuf.Any"}
"""Messages whose JSON form need not be an object; as a whole request or response they stand under `value`."""

_SCALARS: Final = {
    FieldDescriptor.TYPE_DOUBLE: "a double",
    FieldDescriptor.TYPE_FLOAT: "a float",
    FieldDescriptor.TYPE_INT64: "an int64",
    FieldDescriptor.TYPE_UINT64: "a uint64",
    FieldDescriptor.TYPE_INT32: "an int32",
    FieldDescriptor.TYPE_FIXED64: "a fixed64",
    FieldDescriptor.TYPE_FIXED32: "a fixed32",
    FieldDescriptor.TYPE_BOOL: "a bool",
    FieldDescriptor.TYPE_STRING: "a string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_UINT32: "a uint32",
    FieldDescriptor.TYPE_SFIXED32: "an sfixed32",
    FieldDescriptor.TYPE_SFIXED64: "an sfixed64",
    FieldDescriptor.TYPE_SINT32: "a sint32",
    FieldDescriptor.TYPE_SINT64: "a sint64",
}
_MOST_NAMED: Final = 20


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map, which to protobuf is repeated entries."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def a_field(field: FieldDescriptor) -> str:
    """Say what a field takes, one value of it where it is repeated."""
    if field.enum_type is not None:
        return f"{article(field.enum_type.name)} ({_capped([value.name for value in field.enum_type.values])})"
    if field.message_type is not None:
        return a_message(field.message_type)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "a bool (true or false)"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "bytes (in base64)"
    return _SCALARS[field.type]


def a_message(kind: Descriptor) -> str:
    """Say what a message is in JSON."""
    if kind.full_name in WELL_KNOWN:
        if kind.name in WRAPPERS:
            return a_field(kind.fields_by_name["value"])
        if kind.name in {"Struct", "ListValue"}:
            return _EXPECTED[kind.name]
        return f"{article(kind.name)} ({_EXPECTED[kind.name]})"
    return f"{article(kind.name)} (an object)"


def article(name: str) -> str:
    """Return a name with its article."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def field_names(kind: Descriptor) -> str:
    """Name the fields of a message, the first of them when there are many."""
    return _capped([field.name for field in kind.fields]) or "none"


def _capped(names: list[str]) -> str:
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join(names[:_MOST_NAMED] + more)
