"""Python's values as the API's messages have them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

Span: TypeAlias = "timedelta | float"
"""A span of time; a number means seconds."""

LONGEST_SPAN: Final = timedelta(seconds=315_576_000_000)
"""What a Duration holds at most, in either direction: about 10,000 years."""

_EXACT: Final = 2**53
"""Up to it a float is the whole number that was written."""


def timestamp(instant: datetime | None) -> Timestamp | None:
    """Return an instant as a message; None stays None.

    Raises ValueError for one without a time zone: what it means depends on where it is read.
    """
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; for UTC, write datetime(..., tzinfo=UTC)")
    found = Timestamp()
    found.FromDatetime(instant)
    return found


def duration(span: Span | None) -> Duration | None:
    """Return a span as a message; None stays None.

    Raises ValueError for one that no message holds, before anything is sent.
    """
    if span is None:
        return None
    found = Duration()
    found.FromTimedelta(_held(span))
    return found


def to_datetime(instant: Timestamp) -> datetime:
    """Return a message's instant, in UTC."""
    return instant.ToDatetime(UTC)


def to_timedelta(span: Duration) -> timedelta:
    """Return a message's span."""
    return span.ToTimedelta()


def _held(span: Span) -> timedelta:
    try:
        held = span if isinstance(span, timedelta) else timedelta(seconds=span)
    except OverflowError:
        held = timedelta.max
    except ValueError:
        raise ValueError(f"{span} is not a span; expected a timedelta, or a number of seconds") from None
    if abs(held) > LONGEST_SPAN:
        said = span if isinstance(span, timedelta) else f"{span:g} s"
        raise ValueError(f"a span of {said} is too large; at most {LONGEST_SPAN.total_seconds():.0f} s can be said")
    return held


def to_dict(struct: Struct) -> dict[str, Any]:
    """Return what a job's parameters or an execution's result hold; whole numbers as int, though JSON knows no ints."""
    found: dict[str, Any] = with_ints(MessageToDict(struct))
    return found


def with_ints(value: Any) -> Any:
    """Return values with whole numbers as such: a Struct knows no ints, but 50 is what somebody wrote."""
    match value:
        case dict():
            return {key: with_ints(each) for key, each in value.items()}
        case list():
            return [with_ints(each) for each in value]
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
    return value
