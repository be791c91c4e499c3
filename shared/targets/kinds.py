"""What is known of a method's result before it is called: the kinds of a message's fields in its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FieldDescriptor

from shared.expressions.kinds import BOOLEAN, NULL, NUMBER, TEXT, ListOf, MapOf, Record
from shared.targets.fields import WELL_KNOWN, WRAPPERS, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

    from shared.expressions.kinds import Kind

_WELL_KNOWN: Final[Mapping[str, Kind | None]] = {
    "Timestamp": TEXT,
    "Duration": TEXT,
    "FieldMask": TEXT,
    "Any": MapOf(None),
    "Struct": MapOf(None),
    "ListValue": ListOf(None),
    "Value": None,
}
"""The messages that have a JSON form of their own, beside the wrappers."""

_NUMBERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_FLOAT,
        FieldDescriptor.CPPTYPE_DOUBLE,
    }
)


def message_kind(kind: Descriptor) -> Kind | None:
    """Return what a message is in JSON, by the names of its proto; None: any JSON.

    64-bit integers, bytes and the names of enums are strings there. (So are the infinite floats, and an enum's value
    that the contract does not have is a number: what is so rare is not thought of.)
    """
    if kind.full_name not in WELL_KNOWN:
        return Record(kind.name, _Fields(kind))
    return _one_kind(kind.fields_by_name["value"]) if kind.name in WRAPPERS else _WELL_KNOWN[kind.name]


class _Fields(Mapping[str, "Kind | None"]):
    """The kinds of a message's fields, made as they are asked for: a message may have fields of its own type."""

    def __init__(self, kind: Descriptor) -> None:
        self._kind = kind

    def __getitem__(self, name: str) -> Kind | None:
        return _field_kind(self._kind.fields_by_name[name])

    def __contains__(self, name: object) -> bool:
        return name in self._kind.fields_by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._kind.fields_by_name)

    def __len__(self) -> int:
        return len(self._kind.fields_by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fields) and self._kind is other._kind

    def __hash__(self) -> int:
        return hash(self._kind)


def _field_kind(field: FieldDescriptor) -> Kind | None:
    kind = field.message_type
    if kind is not None and is_map(field):
        return MapOf(_one_kind(kind.fields_by_name["value"]))
    return ListOf(_one_kind(field)) if field.is_repeated else _one_kind(field)


def _one_kind(field: FieldDescriptor) -> Kind | None:
    """Return the kind of one value of a field."""
    if field.message_type is not None:
        return message_kind(field.message_type)
    if field.enum_type is not None:
        return NULL if field.enum_type.full_name == "google.protobuf.NullValue" else TEXT
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return BOOLEAN
    return NUMBER if field.cpp_type in _NUMBERS else TEXT
