"""A job's parameters: JSON to the request message of a method, with a sentence for every field that does not fit.

protobuf's json_format stops at the first mistake, and lets some through (1.5 for an enum is 1, true for a double
is 1.0). So this walks the JSON beside the descriptor and asks json_format about one value at a time; what it builds
in the end is json_format's alone.

A placeholder stands for a value that is known only later, as `${item.id}`; it fits where a value of its kind may.
"""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import LONGEST_SHOWN, closest, excerpt
from shared.expressions.placeholder import Placeholder
from shared.targets.fields import BY_VALUE, WELL_KNOWN, WRAPPERS, a_field, a_message, article, field_names, is_map
from shared.targets.misfits import field_misfit, message_misfit, value_misfit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS: Final = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_FIRST_INEXACT: Final = 2**53
"""JSON numbers are doubles on their way here: this one may have been sent as the next, larger ones as others too."""

_MOST_VIOLATIONS: Final = 100
"""More are not looked for: a status has room for fewer, and 256 KiB of JSON for tens of thousands."""

_DEEPEST: Final = 50
"""Levels of messages. json_format stops at 100, and each of ours costs Python a few of its own."""

_REFUSED: Final = (json_format.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What json_format raises for JSON that does not fit; not all of it is wrapped in its own error."""


def build_message(kind: Descriptor, parameters: Mapping[str, object], pool: DescriptorPool) -> Message:
    """Build a message from its JSON form; types inside of an Any are looked up in the pool.

    Placeholders are checked, and left out of the message.

    Raises InvalidInput with a violation for each field at fault, named from `parameters` on, as
    `parameters.items[2].price`.
    """
    message = message_factory.GetMessageClass(kind)()
    document: Any = dict(parameters)
    walk = _Walk(pool)
    if kind.full_name in BY_VALUE:
        if "value" not in document or len(document) > 1:
            walk.refuse("parameters", f'expected only "value", {a_message(kind)}')
        document = document.get("value")
        if isinstance(document, Placeholder):
            walk.placeholder(document, message_misfit(kind, document.kind), "parameters.value")
    elif kind.full_name not in WELL_KNOWN:
        with suppress(_EnoughError):
            walk.message(kind, document, "parameters", 1)
    if not walk.found and not isinstance(document, Placeholder):
        try:
            json_format.ParseDict(_known(document), message, descriptor_pool=pool)
        except _REFUSED as error:
            field = "parameters.value" if kind.full_name in BY_VALUE else "parameters"
            walk.refuse(field, f"{_shown(document)} is not {a_message(kind)}: {_one_line(error)}")
        else:
            # required fields of proto2; the method is there, only its stub is not
            missing: list[str] = message.FindInitializationErrors()  # type: ignore[attr-defined]
            if walk.placeholders:
                # they are missing too, and what is within them nobody knows
                missing = [name for name in missing if "." not in name and name not in document]
            walk.found += [Violation(f"parameters.{name}", "it is required") for name in missing[:_MOST_VIOLATIONS]]
    if walk.found:
        raise InvalidInput(walk.found)
    return message


class _EnoughError(Exception):
    """As many violations are found as anybody is told."""


class _Walk:
    """Goes through a JSON document beside its descriptor and collects what does not fit."""

    def __init__(self, pool: DescriptorPool) -> None:
        self.found: list[Violation] = []
        self.placeholders = 0
        self._pool = pool

    def refuse(self, field: str, sentence: str) -> None:
        self.found.append(Violation(field, sentence))
        if len(self.found) >= _MOST_VIOLATIONS:
            raise _EnoughError

    def placeholder(self, value: Placeholder, misfit: str, here: str) -> None:
        """Take note of a value that is known only later; misfit: why its kind does not fit, if it does not."""
        self.placeholders += 1
        if misfit:
            self.refuse(here, f"{value.text} is {misfit}")

    def message(self, kind: Descriptor, value: object, path: str, depth: int) -> None:
        """Check a message that has fields, and no JSON form of its own."""
        if not isinstance(value, dict):
            self.refuse(
                path, f"{_shown(value)} is not an object (the fields of {article(kind.name)}: {field_names(kind)})"
            )
            return
        if depth > _DEEPEST:
            self.refuse(path, f"it is nested too deep (at most {_DEEPEST} levels)")
            return
        by_name = {field.json_name: field for field in kind.fields} | {field.name: field for field in kind.fields}
        given: dict[str, str] = {}
        for key, item in value.items():
            here = f"{path}.{excerpt(key)}"
            field = by_name.get(key)
            if field is None:
                self._unknown(kind, key, here)
                continue
            if field.name in given:
                self.refuse(here, f"it is given twice, also as {given[field.name]}")
                continue
            given[field.name] = key
            if field.containing_oneof is not None and item is not None:
                rival = given.setdefault(f"oneof {field.containing_oneof.name}", key)
                if rival != key:
                    self.refuse(here, f"only one of {rival} and {key} may be set")
            self._field(field, item, here, depth)

    def _unknown(self, kind: Descriptor, key: str, here: str) -> None:
        if not kind.fields:
            self.refuse(here, f"{kind.name} has no fields")
            return
        close = closest(key, [field.name for field in kind.fields])
        meant = f"; did you mean {close}?" if close else ""
        self.refuse(here, f"{kind.name} has no such field{meant} (its fields: {field_names(kind)})")

    def _field(self, field: FieldDescriptor, value: object, here: str, depth: int) -> None:
        # null leaves any field unset
        if value is None:
            return
        if isinstance(value, Placeholder):
            self.placeholder(value, field_misfit(field, value.kind), here)
        elif is_map(field):
            self._map(field, value, here, depth)
        elif field.is_repeated:
            if not isinstance(value, list):
                self.refuse(here, f"{_shown(value)} is not a list (of which each is {a_field(field)})")
                return
            for index, item in enumerate(value):
                self._one(field, item, [item], field, f"{here}[{index}]", depth)
        else:
            self._one(field, value, value, field, here, depth)

    def _map(self, field: FieldDescriptor, value: object, here: str, depth: int) -> None:
        assert field.message_type is not None  # noqa: S101 - a map's entries are messages
        entry = field.message_type.fields_by_name
        if not isinstance(value, dict):
            self.refuse(here, f"{_shown(value)} is not an object (of which each value is {a_field(entry['value'])})")
            return
        for key, item in value.items():
            at = f"{here}[{excerpt(key)}]"
            if not self._parses(entry["key"], _map_key(entry["key"], key)):
                self.refuse(at, f"the key {_shown(key)} is not {a_field(entry['key'])}")
            else:
                self._one(entry["value"], item, {key: item}, field, at, depth)

    def _one(
        self, field: FieldDescriptor, value: object, wrapped: object, owner: FieldDescriptor, here: str, depth: int
    ) -> None:
        """Check one value of a field; wrapped is how the owner (the field, or the map) takes it."""
        kind = field.message_type
        if isinstance(value, Placeholder):
            self.placeholder(value, value_misfit(field, value.kind), here)
            return
        if kind is not None and kind.full_name not in WELL_KNOWN:
            self.message(kind, value, here, depth + 1)
            return
        scalar = kind.fields_by_name["value"] if kind is not None and kind.name in WRAPPERS else field
        if problem := _number_problem(scalar, value):
            self.refuse(here, problem)
        elif not self._fits(scalar, value, owner, wrapped):
            self.refuse(here, f"{_shown(value)} is not {a_field(field)}")

    def _fits(self, field: FieldDescriptor, value: object, owner: FieldDescriptor, wrapped: object) -> bool:
        """Return whether json_format takes a value, but for what it takes and should not."""
        if isinstance(value, bool) and (field.cpp_type in _FLOATS or field.enum_type is not None):
            return False
        if field.enum_type is not None and not _in_enum(field.enum_type, value):
            return False
        if field.type == FieldDescriptor.TYPE_BYTES and not _is_base64(value):
            return False
        return self._parses(owner, wrapped)

    def _parses(self, field: FieldDescriptor, value: object) -> bool:
        assert field.containing_type is not None  # noqa: S101 - only extensions have none
        message = message_factory.GetMessageClass(field.containing_type)()
        try:
            json_format.ParseDict({field.name: _known(value)}, message, descriptor_pool=self._pool)
        except _REFUSED:
            return False
        return True


def _known(value: Any) -> Any:
    """Return some JSON without what is known only later; of an Any whose type is, nothing is known."""
    match value:
        case dict() if isinstance(value.get("@type"), Placeholder):
            return None
        case dict():
            return {key: _known(item) for key, item in value.items() if not isinstance(item, Placeholder)}
        case list():
            return [_known(item) for item in value if not isinstance(item, Placeholder)]
    return value


def _map_key(field: FieldDescriptor, key: str) -> object:
    """Return a key as the value of a field: JSON has only text for keys."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(key, key)
    return key


def _number_problem(field: FieldDescriptor, value: object) -> str:
    """Return what is wrong with a whole number that does not fit a field of whole numbers, or nothing."""
    if field.cpp_type not in _INTEGERS or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float) and not value.is_integer():
        return ""
    lowest, highest = _INTEGERS[field.cpp_type]
    if not lowest <= value <= highest:
        return f"{_shown(value)} is not {a_field(field)} ({lowest} to {highest})"
    if abs(value) >= _FIRST_INEXACT:
        return f"{_shown(value)} is too large for a JSON number, which is exact below 2^53; write it as a string"
    return ""


def _in_enum(kind: EnumDescriptor, value: object) -> bool:
    # An open enum takes any number; one that the contract does not have is a slip, and better told at once.
    if isinstance(value, str):
        # names are json_format's to judge, which knows of further ones; to it, digits are a number
        return not value.strip().lstrip("+-").isdigit()
    return isinstance(value, int | float) and float(value).is_integer() and int(value) in kind.values_by_number


def _is_base64(value: object) -> bool:
    if not isinstance(value, str):
        return False
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _FIRST_INEXACT:
        value = int(value)
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):
        return "what is given"
    return excerpt(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[: LONGEST_SHOWN * 3]
