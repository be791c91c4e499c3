"""What people and programs read: messages as tables, JSON, YAML or names; texts that are safe on a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler_client.values import with_ints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

M = TypeVar("M", bound="Message")

WIDEST: Final = 1_000
LONGEST_TEXT: Final = 80

Cell: TypeAlias = "str | Text"


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True)
class View(Generic[M]):
    """How a kind of thing looks: its name, and what a table tells of it, by heading."""

    name: Callable[[M], str]
    columns: dict[str, Callable[[M], Cell]]
    numbers: frozenset[str] = field(default_factory=frozenset)
    """Headings of columns that are aligned to the right."""


class Output:
    """Where results go, in the form that was asked for."""

    def __init__(self, format: Format) -> None:  # noqa: A002 - what it is
        self.format = format
        self.console = stdout()
        self._begun = False

    @property
    def for_people(self) -> bool:
        """Return whether people read it."""
        return self.format is Format.TABLE

    def tell(self, text: Cell) -> None:
        """Print a line for people; programs are not bothered with it."""
        if self.for_people:
            self.console.print(text)

    def each(self, things: Iterable[M], view: View[M], *, none: str = "") -> None:
        """Print things one under the other.

        none: what people are told, on standard error, where there are none: an empty screen could be a fault.
        """
        if not self.for_people:
            for thing in things:
                self.raw(thing, view.name(thing))
            return
        rows = [{heading: column(thing) for heading, column in view.columns.items()} for thing in things]
        # What says nothing of any of them is left out.
        headings = [heading for heading in view.columns if any(row[heading] for row in rows)]
        table = Table(box=None, pad_edge=False)
        for heading in headings:
            table.add_column(heading, no_wrap=True, justify="right" if heading in view.numbers else "left")
        for row in rows:
            table.add_row(*(row[heading] for heading in headings))
        if rows:
            # As wide as it is, also on a narrow terminal: an id in two parts cannot be copied.
            _print(stdout(width=WIDEST), table)
        elif none:
            stderr().print(none)

    def first(self, limit: int, things: Iterator[M], view: View[M], *, none: str) -> None:
        """Print the first of things as `each` does, and say on standard error when these are not all."""
        self.each(islice(things, limit), view, none=none)
        if next(things, None) is not None:
            stderr().print(f"and more: --limit shows more than {limit}")

    def one(self, thing: M, name: str, facts: Iterable[tuple[str, Cell]]) -> None:
        """Print a thing: for people as facts, those that say something."""
        if not self.for_people:
            self.raw(thing, name)
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for heading, value in facts:
            if value:
                table.add_row(heading, value)
        _print(self.console if self.console.is_terminal else stdout(width=WIDEST), table)

    def value(self, name: str, value: str) -> None:
        """Print a single text that the server told."""
        match self.format:
            case Format.JSON:
                self.console.print(as_json({name: value}))
            case Format.YAML:
                self.console.print(as_yaml({name: value}).rstrip())
            case _:
                self.console.print(plain(value))

    def done(self, thing: Message, name: str, sentence: Cell) -> None:
        """Print that something was done to a thing: a sentence for people, the thing for programs."""
        if self.for_people:
            self.console.print(sentence)
        else:
            self.raw(thing, name)

    def raw(self, thing: Message, name: str, **more: str) -> None:
        """Print a thing for programs. name: empty for what has none, of which -o name then prints nothing.

        more: fields that it has here only, after its own.
        """
        match self.format:
            case Format.NAME:
                if name:
                    self.console.print(plain(name))
            case Format.YAML:
                if self._begun:
                    self.console.print("---")
                values = MessageToDict(thing, preserving_proto_field_name=True)
                self.console.print(as_yaml(with_ints(values) | more).rstrip())
            case _:
                self.console.print(as_json(_values(thing) | more))
        self._begun = True


def _print(console: Console, table: Table) -> None:
    """Print a table without the blanks at the ends of its lines."""
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


def stdout(width: int | None = None) -> Console:
    """Return the console for results: coloured on a terminal, plain for a pipe. width: in place of the terminal's."""
    return _console(width=width)


def stderr() -> Console:
    """Return the console for what is not a result."""
    return _console(stderr=True)


def _console(**where: Any) -> Console:
    # Text is printed as it is: rich would put emojis for what is between two colons, as in an URN.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, **where)


def json_line(name: str, message: Message) -> str:
    """Return a message, with all its fields, as one line of JSON under a name."""
    return as_json({name: _values(message)})


def _values(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = with_ints(
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
    return found


def as_json(values: Any) -> str:
    """Return one line of JSON; what would steer a terminal is written as its escape."""
    return "".join(
        char if char.isprintable() else json.dumps(char)[1:-1] for char in json.dumps(values, ensure_ascii=False)
    )


def as_yaml(values: Any) -> str:
    """Return YAML, in the values' own order; what would steer a terminal is written as its escape."""
    import yaml  # noqa: PLC0415 - few calls need it

    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
    if is_printable(text):
        return text
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=110))


def is_printable(text: str) -> bool:
    """Return whether nothing in a text, of one line or more, would steer a terminal."""
    return all(char.isprintable() or char == "\n" for char in text)


def time(timestamp: Timestamp) -> str:
    """Return an instant in UTC as RFC 3339, to the millisecond only where it has any."""
    instant = timestamp.ToDatetime(UTC)
    fraction = f".{instant.microsecond // 1000:03}" if instant.microsecond >= 1000 else ""  # noqa: PLR2004
    return f"{instant:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def by_the_clock(timestamp: Timestamp, zone: str) -> str:
    """Return an instant in UTC, and by the clock of a zone, if that is another and known here."""
    instant = timestamp.ToDatetime(UTC)
    try:
        local = clock(instant.astimezone(ZoneInfo(zone or "UTC")).isoformat(timespec="seconds"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return time(timestamp)
    return time(timestamp) if local.endswith("Z") else f"{time(timestamp)} ({local})"


def clock(local_time: str) -> str:
    """Return a time with an offset in the one way in which UTC is written: with a Z."""
    return f"{local_time.removesuffix('+00:00')}Z" if local_time.endswith("+00:00") else plain(local_time)


def time_of(message: Message, name: str) -> str:
    """Return the instant in a message's field; nothing when it is not set."""
    return time(getattr(message, name)) if message.HasField(name) else ""


def span(duration: Duration) -> str:
    """Return a span as people say it: 1h30m, 12.5s, 3ms."""
    seconds = duration.ToTimedelta().total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    left, parts = int(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)


_COLOURS: Final = {
    "SUCCEEDED": "green", "ACTIVE": "green", "OK": "green", "SERVING": "green",
    "FAILED": "red", "ERROR": "red", "UNREACHABLE": "red", "NOT_SERVING": "red",
    "RUNNING": "cyan", "WAITING": "cyan", "QUEUED": "blue", "PENDING": "blue",
    "PAUSED": "yellow", "WARNING": "yellow", "CANCELLED": "magenta", "OVERDUE": "yellow",
    "SKIPPED": "dim", "COALESCED": "dim", "DELETED": "dim", "COMPLETED": "dim",
}  # fmt: skip


def state(name: str) -> Text:
    """Return an enum's value without its prefix, coloured: STATE_ACTIVE is a green ACTIVE."""
    short = name.partition("_")[2]
    return Text(short, _COLOURS.get(short, ""))


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text that others wrote on one line of a table."""
    safe = plain(text)
    return safe if len(safe) <= longest else f"{safe[: longest - 3]}..."


def counted(number: int, what: str) -> str:
    """Return how many there are of something, as `1 job` or `1,204 jobs`."""
    return f"{number:,} {what if number == 1 else f'{what}s'}"


def labels(values: Any) -> str:
    """Return labels as `team=pricing, tier=1`."""
    return plain(", ".join(f"{key}={value}" for key, value in sorted(values.items())))


def sentences(texts: Sequence[str]) -> str:
    """Return sentences one under the other."""
    return "\n".join(plain(text) for text in texts)


def plain(text: str) -> str:
    """Return a text without what would steer a terminal: others have written it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
