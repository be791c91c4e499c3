"""Odd values for a field, and requests with some of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor

from shared.proto import scheduler_service_pb2 as pb
from tests.fuzz.examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

DEEPEST: Final = 6
LARGE: Final = 300_000
"""Characters beyond any limit."""
MANY: Final = 5_000
"""Entries beyond any limit."""

TEXTS: Final = (
    "", " ", "a", "A" * 64, "a" * 129, "x" * 501, "y" * 2_001, "z" * LARGE, "\x00", "a\x07b", "\u202eabc", "\ufeff",
    "\u65e5\u672c\u8a9e", "\U0001f986" * 100, "../../etc/passwd", "$where", "a.b.c", "{}", "[]", "null", "-1", "1e400",
    "NaN", "%s%n", "'; --", '"', "\\", "*", "* * * * *", "0 0 30 2 *", "@daily", "H H * * *", "1h30m",
    "2026-02-30T25:61:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "Europe/Berlin", "Mars/Olympus", "cron",
    "interval", "once", "UNAVAILABLE", "SAT", "US", "DE-BY", 'labels.team = "x"', "state = ACTIVE AND", "((((((((((",
    'name = "a*" OR name = "b*"', "${steps.a.result}", "${", "task", "jobs: &a [*a]",
    "jobs:\n- job_id: x\n  job_id: y\n", "!!python/object/apply:os.system ['true']", "localhost:99999", "[::1]:80",
)  # fmt: skip
NODES: Final = (
    "", "5", "-1", "1.5", ".nan", "-.inf", "1e999", "0x" + "f" * 6_000, "1" * 5_000, "1:1" * 200, "~", "true", "5s",
    "'5'", "[]", "{}", "[1, [2]]", "{a: 1}", "{1: {2: .inf}}", "[null]", "{a: null}", "2026-01-01", "'\\ud800'",
    "&a [*a]", "{<<: 5}", "{? [a] : b}", "{? " + "k" * 5_000 + " : 1}", "[" * 55 + "]" * 55,
)  # fmt: skip
"""Values in documents."""
TAGS: Final = ("", "", "", "", "!!seq", "!!map", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!x", "!")
INTEGERS: Final = (0, 1, -1, 2, 7, 59, 60, 61, 100, 101, 1_000, 1_001, 2**31 - 1, -(2**31))
LONG_INTEGERS: Final = (*INTEGERS, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 1.0000001, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
SECONDS: Final = (
    0,
    1,
    -1,
    60,
    86_400,
    31_622_400,
    1_767_225_600,
    4_102_444_800,
    -62_135_596_801,
    253_402_300_800,
    2**63 - 1,
)
NANOS: Final = (0, 1, -1, 999_999_999, 1_000_000_000, 2**31 - 1, -(2**31))
_TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


class Oddities:
    """Makes odd messages. known: texts that mean something to the server, as ids that exist."""

    def __init__(self, random: Random, known: Sequence[str]) -> None:
        self._random = random
        self._known = known

    def spoil(self, message: Message) -> None:
        """Give one to three fields of a message, at any depth, other values."""
        for _ in range(self._random.randint(1, 3)):
            within = self._random.choice(list(_within(message)))
            if fields := within.DESCRIPTOR.fields:
                self._set(within, self._random.choice(cast("list[FieldDescriptor]", fields)), 0)

    def fill(self, message: Message, depth: int = 0) -> None:
        """Give any fields any values."""
        for field in cast("list[FieldDescriptor]", message.DESCRIPTOR.fields):
            if self._random.random() < (0.4 if depth == 0 else 0.25):
                self._set(message, field, depth)

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        message.ClearField(field.name)
        if field.is_repeated:
            for _ in range(self._random.choice((0, 1, 1, 2, 3, 101, 1_001 if field.message_type is None else 2))):
                self._append(message, field, depth)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self._message(inner, depth + 1)
        else:
            setattr(message, field.name, self._scalar(field))

    def _append(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        values: Any = getattr(message, field.name)
        entry = field.message_type
        if entry is None:
            values.append(self._scalar(field))
        elif entry.GetOptions().map_entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            if value.message_type is None:
                values[self._scalar(key)] = self._scalar(value)
            else:
                self._message(values[self._scalar(key)], depth + 1)
        else:
            self._message(values.add(), depth + 1)

    def _message(self, message: Message, depth: int) -> None:
        if message.DESCRIPTOR.full_name in _TIMES:
            timed: Any = message
            timed.seconds, timed.nanos = self._random.choice(SECONDS), self._random.choice(NANOS)
        elif depth < DEEPEST:
            self.fill(message, depth)

    def _scalar(self, field: FieldDescriptor) -> Any:
        choose = self._random.choice
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                if field.name == "yaml" and self._random.random() < 0.9:
                    return self._document()
                if field.type == FieldDescriptor.TYPE_BYTES:
                    return choose((b"", b"\x00", b"\xff" * 100))
                return choose(self._known if self._known and self._random.random() < 0.4 else TEXTS)
            case FieldDescriptor.CPPTYPE_BOOL:
                return choose((True, False))
            case FieldDescriptor.CPPTYPE_ENUM:
                assert field.enum_type is not None
                return choose((*field.enum_type.values_by_number, 99, -1))
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return choose(FLOATS)
            case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
                return choose([number for number in INTEGERS if number >= 0])
            case FieldDescriptor.CPPTYPE_INT64:
                return choose(LONG_INTEGERS)
            case _:
                return choose(INTEGERS)

    def _document(self) -> str:
        """Return a YAML document of a job some of whose fields, or fields in them, have odd values."""
        choose = self._random.choice
        values = {name: json.dumps(value) for name, value in EXAMPLES["CreateScheduledJob"].items() if name in _FIELDS}
        values["job_id"] = "imported"
        for _ in range(self._random.randint(1, 3)):
            name, node = choose(sorted(_FIELDS)), f"{choose(TAGS)} {choose(NODES)}"
            inner = _FIELDS[name]
            if inner is not None and inner.fields and self._random.random() < 0.6:
                shape = choose(("{{{}: {}}}", "[{{{}: {}}}]", "{{{}: {{a: {}}}}}", "{{{}: [{}]}}"))
                node = shape.format(choose(inner.fields).name, node)
            values[name] = node
        return "jobs:\n- " + "\n  ".join(f"{name}: {value}" for name, value in values.items())


_FIELDS: Final[Mapping[str, Any]] = {
    field.name: field.message_type
    for field in pb.ScheduledJob.DESCRIPTOR.fields
    if field.name in pb.CreateScheduledJobRequest.DESCRIPTOR.fields_by_name
} | {"paused": None}
"""Those of an entry in a document, and what is in them."""


def _within(message: Message) -> Iterator[Message]:
    """Return a message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else [value]:
            yield from _within(inner)


def beyond_limits(message: Message, output_only: frozenset[str]) -> Iterator[tuple[str, Message]]:
    """Return, for each field of a request that is right, its path and the request with a value that no limit allows.

    output_only: full names of fields that a request may hold, and the server takes no notice of.
    """
    yield from _beyond(message, cast("Descriptor", message.DESCRIPTOR), (), output_only)


def _beyond(
    whole: Message, descriptor: Descriptor, path: tuple[str, ...], output_only: frozenset[str]
) -> Iterator[tuple[str, Message]]:
    for field in descriptor.fields:
        here = (*path, field.name)
        if field.full_name in output_only or field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or len(here) > DEEPEST:
            continue
        inner = field.message_type
        if inner is not None and not field.is_repeated and inner.full_name not in _TIMES and _is_ours(inner):
            yield from _beyond(whole, inner, here, output_only)
            continue
        spoilt = type(whole)()
        spoilt.CopyFrom(whole)
        at: Any = spoilt
        for name in path:
            at = getattr(at, name)
        at.SetInParent()
        if _exceed(at, field):
            yield ".".join(here), spoilt


def _is_ours(descriptor: Descriptor) -> bool:
    return descriptor.full_name.startswith("scheduler.")


def _exceed(message: Any, field: FieldDescriptor) -> bool:
    """Give a field a value beyond any limit; False when it has none."""
    message.ClearField(field.name)
    inner = field.message_type
    if field.is_repeated:
        values = getattr(message, field.name)
        for number in range(MANY):
            if inner is not None and inner.GetOptions().map_entry:
                values[f"{number:020}"] = ""
            elif inner is not None:
                values.add()
            else:
                values.append(f"{number}" if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else 99)
    elif inner is None:
        setattr(message, field.name, _EXCESSIVE.get(field.cpp_type, -(2**31)))
    elif inner.full_name in _TIMES:
        timed = getattr(message, field.name)
        timed.seconds, timed.nanos = 2**63 - 1, -1
    else:
        return False  # a Struct or FieldMask: random ones are tried
    return True


_EXCESSIVE: Final[dict[int, Any]] = {
    FieldDescriptor.CPPTYPE_STRING: "\x07" * LARGE,
    FieldDescriptor.CPPTYPE_ENUM: 99,
    FieldDescriptor.CPPTYPE_DOUBLE: float("nan"),
    FieldDescriptor.CPPTYPE_INT64: -(2**63),
}
