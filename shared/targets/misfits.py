"""Whether a value that is known only later can fit a field, told from its kind.

Each function returns what the value is and the field is not, as "a list, and not a string"; nothing when it can fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FieldDescriptor

from shared.domain.text import excerpt
from shared.expressions.kinds import BOOLEAN, NULL, NUMBER, TEXT, ListOf, MapOf, Record, described
from shared.targets.fields import WELL_KNOWN, WRAPPERS, a_field, a_message, is_map

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from shared.expressions.kinds import Kind

_DEEPEST: Final = 4
"""Levels to which the fields of an object are compared: types may be recursive."""
_IN_TEXT: Final = frozenset({"Timestamp", "Duration", "FieldMask"})


def field_misfit(field: FieldDescriptor, kind: Kind | None, depth: int = 1) -> str:
    """Compare with all that a field takes: a list where it is repeated, an object where it is a map."""
    if kind is None or kind is NULL:
        return ""
    if is_map(field):
        assert field.message_type is not None  # noqa: S101 - a map's entries are messages
        entry = field.message_type.fields_by_name["value"]
        if isinstance(kind, MapOf):
            values = {"": kind.value}
        elif isinstance(kind, Record):
            values = dict(kind.fields)
        else:
            return f"{described(kind)}, and not an object (of which each value is {a_field(entry)})"
        inner = next(filter(None, (value_misfit(entry, value, depth) for value in values.values())), "")
        return f"an object in which a value is {inner}" if inner else ""
    if field.is_repeated:
        if not isinstance(kind, ListOf):
            return f"{described(kind)}, and not a list (of which each is {a_field(field)})"
        inner = value_misfit(field, kind.item, depth)
        return f"a list of which each is {inner}" if inner else ""
    return value_misfit(field, kind, depth)


def value_misfit(field: FieldDescriptor, kind: Kind | None, depth: int = 1) -> str:
    """Compare with one value of a field."""
    if kind is None or kind is NULL:
        return ""
    if field.message_type is not None:
        return message_misfit(field.message_type, kind, depth)
    if field.type == FieldDescriptor.TYPE_BOOL:
        fits = kind is BOOLEAN
    elif field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
        fits = kind is TEXT
    else:
        fits = kind in (TEXT, NUMBER)  # a number may be a string in JSON, and an enum's value is either
    return "" if fits else f"{described(kind)}, and not {a_field(field)}"


def message_misfit(message: Descriptor, kind: Kind | None, depth: int = 1) -> str:
    """Compare with a message."""
    well_known = message.name if message.full_name in WELL_KNOWN else ""
    if kind is None or kind is NULL or well_known == "Value":
        return ""
    if well_known in WRAPPERS:
        return value_misfit(message.fields_by_name["value"], kind)
    if well_known in _IN_TEXT:
        fits = kind is TEXT
    else:
        fits = isinstance(kind, ListOf) if well_known == "ListValue" else isinstance(kind, MapOf | Record)
    if not fits:
        return f"{described(kind)}, and not {a_message(message)}"
    if isinstance(kind, Record) and not well_known and depth <= _DEEPEST:
        return _fields_misfit(message, kind, depth)
    return ""


def _fields_misfit(message: Descriptor, kind: Record, depth: int) -> str:
    fields = {field.json_name: field for field in message.fields} | {field.name: field for field in message.fields}
    for name, inner in kind.fields.items():
        if name not in fields:
            return f"an object with a field {excerpt(name)}, which {message.name} does not have"
        if problem := field_misfit(fields[name], inner, depth + 1):
            return f"an object whose field {excerpt(name)} is {problem}"
    return ""
