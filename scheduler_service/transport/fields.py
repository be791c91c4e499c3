"""Fields that the requests of several methods have: read, or what is wrong with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.transport.convert import to_span
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import LONGEST_REASON
from shared.domain.text import excerpt, unprintable

if TYPE_CHECKING:
    from google.protobuf.message import Message

DEFAULT_TIMEOUT: Final = timedelta(seconds=5)
LONGEST_TIMEOUT: Final = timedelta(minutes=1)
LONGEST_NAME: Final = 63
"""Characters of the ids of jobs, and of the names of queues and targets."""


def refuse(found: list[Violation]) -> None:
    """Raise InvalidInput when there are violations."""
    if found:
        raise InvalidInput(found)


def required(field: str, given: str) -> list[Violation]:
    """Return that an id is missing, if it is."""
    article = "an" if field[0] in "aeiou" else "a"
    return [] if given else [Violation(field, f"{article} {field} is required")]


def reason_violations(reason: str) -> list[Violation]:
    """Return what is wrong with the reason that a caller gives, which the history keeps; none at all is right."""
    if len(reason) > LONGEST_REASON:
        return [Violation("reason", f"{len(reason):,} characters are too many (at most {LONGEST_REASON})")]
    said = unprintable(reason, lines=True)
    return [Violation("reason", said)] if said else []


def name_violations(request: Message, *fields: str) -> list[Violation]:
    """Return which of these fields can't name anything, as they are too long."""
    return [
        Violation(field, f"'{excerpt(given)}' is longer than any name (at most {LONGEST_NAME} characters)")
        for field in fields
        if len(given := getattr(request, field)) > LONGEST_NAME
    ]


def read_timeout(request: Any) -> float:
    """Return how many seconds what is asked, by the field `timeout`, may take to answer. Raises InvalidInput."""
    if not request.HasField("timeout"):
        return DEFAULT_TIMEOUT.total_seconds()
    found: list[Violation] = []
    timeout = to_span("timeout", request.timeout, found) or timedelta(0)
    if not found and not timedelta(0) < timeout <= LONGEST_TIMEOUT:
        longest = f"at most {LONGEST_TIMEOUT.total_seconds():g} s"
        found.append(Violation("timeout", f"{timeout.total_seconds():g} s is not a timeout (more than 0 s, {longest})"))
    refuse(found)
    return timeout.total_seconds()
