"""The options of `apply_async`: which there are, what they mean here, and which are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bson import InvalidDocument, encode

from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import HIGHEST_PRIORITY, LONGEST_TIMEOUT, unknown_queue
from shared.domain.text import excerpt, writable
from shared.store.submitted import EXECUTION_ID
from shared.tasks.retry import due_of
from shared.tasks.signature import not_json

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLLOWERS: Final = frozenset({"link", "link_error", "chain", "chord"})
"""The options by which Celery hands over what is to follow a call."""
BROKEN: Final = "broken"
"""Our own: why a call can't be made. Its execution is there all the same, and fails with that."""

LARGEST_HEADERS: Final = 64 * 1024
"""Bytes."""

_ROUTING: Final = ("exchange", "routing_key", "router", "route_name", "exchange_type")
_HARMLESS: Final = frozenset(
    {"connection", "producer", "publisher", "retry", "retry_policy", "compression", "add_to_parent", "delivery_mode"}
    | {"mandatory", "immediate", "result_cls", "task_type", "reply_to", "utc", "retries", "replaced_task_nesting"}
    | {"stamped_headers"}
)
"""About the message, which is not theirs here, or what is known better."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a call is to be run. expires: a span from now on, or an instant; limits are in seconds."""

    task_id: str | None = None
    queue: str | None = None
    priority: int | None = None
    due: timedelta | datetime = field(default_factory=timedelta)
    expires: timedelta | datetime | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None
    shadow: str | None = None
    headers: Mapping[str, Any] | None = None
    group: tuple[str, int] | None = None
    parent_id: str | None = None
    root_id: str | None = None
    broken: str = ""


def read_options(given: Mapping[str, Any], queues: frozenset[str]) -> Options:
    """Check and read options; an option that is None is one that was not given.

    Those of Celery's canvas that say what follows are not looked at; see shared.tasks.canvas. Raises InvalidInput with
    all that is wrong.
    """
    options = {name: value for name, value in given.items() if value is not None and name not in FOLLOWERS}
    group_id, group_index = options.pop("group_id", None), options.pop("group_index", None)
    found = [_routing(name) for name in _ROUTING if name in options]
    read: dict[str, Any] = {}
    for name, value in options.items():
        if name in _READERS:
            read |= _read(name, value, found)
        elif name not in _HARMLESS and name not in _ROUTING and name not in {"countdown", "eta"}:
            found.append(Violation(name, "there is no such option"))
    if "queue" in read and read["queue"] not in queues:
        found.append(unknown_queue("queue", read["queue"], queues))
    if read.get("soft_time_limit", 0) > read.get("time_limit", LONGEST_TIMEOUT.total_seconds()):
        found.append(Violation("soft_time_limit", "it has to be less than time_limit"))
    try:
        read["due"] = due_of(options.get("countdown"), options.get("eta") if not options.get("countdown") else None)
    except ValueError as error:
        found.append(Violation("", str(error)))
    if found:
        raise InvalidInput(found)
    read.pop("serializer", None)
    if group_id is not None:
        read["group"] = (str(group_id), int(group_index or 0))
    return Options(**read)


def _read(name: str, value: Any, found: list[Violation]) -> dict[str, Any]:
    try:
        return {name: _READERS[name](value)}
    except InvalidInput as refused:
        found += refused.violations
    except (TypeError, ValueError, OverflowError) as error:
        found.append(Violation(name, str(error)))
    return {}


def _routing(name: str) -> Violation:
    return Violation(name, "tasks are routed by their queue alone; give queue, one of those that are declared")


def _task_id(value: Any) -> str:
    if not isinstance(value, str) or not EXECUTION_ID.fullmatch(value):
        raise ValueError(f"{value!r} is not an id (letters, digits, _ : -, at most 128, a letter or digit in front)")
    return value


def _queue(value: Any) -> str:
    return str(getattr(value, "name", value))


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST_PRIORITY:
        raise ValueError(f"{value!r} is not a priority (0-{HIGHEST_PRIORITY})")
    return value


def _limit(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds <= LONGEST_TIMEOUT.total_seconds():
        raise ValueError(f"{seconds:g} s is not a limit (more than 0 s, at most 24 h)")
    return seconds


def expiry(value: Any) -> timedelta | datetime:
    """Read `expires`: seconds from now on, a span, or an instant, which is UTC without a zone. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        return expiry(datetime.fromisoformat(value))
    return timedelta(seconds=float(value))


def _headers(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{excerpt(repr(value))} is not a map")
    if (wrong := not_json(value, "headers")) is not None:
        raise InvalidInput([wrong])
    try:
        size = len(encode(value))
    except (InvalidDocument, OverflowError) as error:  # a NUL in a name, a number of more than 64 bits
        raise ValueError(f"they can't be kept: {error}") from error
    if size > LARGEST_HEADERS:
        raise ValueError(
            f"{size:,} bytes are too many (at most {LARGEST_HEADERS:,}); give what is large as an argument"
        )
    return value


def _text(value: Any) -> str:
    text = str(value)
    if writable(text) != text:
        raise ValueError(f"{excerpt(repr(text))} cannot be written as UTF-8")
    return text


def _serializer(value: Any) -> str:
    if value != "json":
        raise ValueError(f"{value!r}: arguments are kept as JSON; leave it out")
    return "json"


_READERS: Final[dict[str, Any]] = {
    "task_id": _task_id,
    "queue": _queue,
    "priority": _priority,
    "expires": expiry,
    "time_limit": _limit,
    "soft_time_limit": _limit,
    "ignore_result": bool,
    "shadow": _text,
    "headers": _headers,
    "serializer": _serializer,
    "parent_id": _text,
    "root_id": _text,
    BROKEN: lambda said: writable(str(said)),
}
