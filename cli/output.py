"""What people and programs read: messages as JSON, times and texts that are safe on a terminal."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict
from rich.console import Console

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp


def stdout(width: int | None = None) -> Console:
    """Return the console for results: coloured on a terminal, plain for a pipe. width: in place of the terminal's."""
    return Console(highlight=False, markup=False, soft_wrap=True, width=width)


def json_line(name: str, message: Message) -> str:
    """Return a message, with all its fields, as one line of JSON under a name."""
    values = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps({name: values}, ensure_ascii=False)


def time(timestamp: Timestamp) -> str:
    """Return an instant in UTC as RFC 3339, to the millisecond only where it has any."""
    instant = timestamp.ToDatetime(UTC)
    fraction = f".{instant.microsecond // 1000:03}" if instant.microsecond >= 1000 else ""  # noqa: PLR2004
    return f"{instant:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def plain(text: str) -> str:
    """Return a text without what would steer a terminal: others have written it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
