"""Policies as requests give them: what is not set is left to a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.transport.convert import to_span
from shared.domain.errors import Violation
from shared.domain.retry import Jitter, RetryWindow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from google.protobuf.message import Message

    from shared.proto import scheduler_service_pb2 as pb


def read_choice(message: Message, of: str, name: str, kind: type[StrEnum], found: list[Violation]) -> Any:
    """Return what a field of an enum's type says, in the domain's words; None when it is not set, or not right.

    of: the path of the message, empty for one whose caller puts that in front.
    """
    enum: Any = message.DESCRIPTOR.fields_by_name[name].enum_type
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number
    number = getattr(message, name)
    if number not in known:
        names = ", ".join(value.name for other, value in known.items() if other)
        found.append(Violation(f"{of}.{name}".lstrip("."), f"{number} is not the number of a policy ({names})"))
        return None
    return kind(known[number].name.removeprefix(prefix)) if number else None


def read_retry(given: pb.RetryPolicy, found: list[Violation]) -> Mapping[str, Any]:
    """Return the retry policy as a whole: what is not set in it has the defaults."""
    return {
        "max_attempts": given.max_attempts or None,
        "initial_backoff": to_span("retry_policy.initial_backoff", given.initial_backoff, found)
        if given.HasField("initial_backoff")
        else None,
        "max_backoff": to_span("retry_policy.max_backoff", given.max_backoff, found)
        if given.HasField("max_backoff")
        else None,
        "multiplier": given.multiplier or None,
        "jitter": read_choice(given, "retry_policy", "jitter", Jitter, found),
        "retryable_codes": frozenset(given.retryable_codes),
        "non_retryable_codes": frozenset(given.non_retryable_codes),
        "retry_window": read_choice(given, "retry_policy", "retry_window", RetryWindow, found),
    }
