"""Who calls, and in which trace: read from a call's metadata, and there for all that the call does."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

ACTOR: Final = "x-actor"
TRACEPARENT: Final = "traceparent"
LONGEST_ACTOR: Final = 200
"""Characters; it is stored with every change."""

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""W3C Trace Context; later versions may append fields."""


@dataclass(frozen=True, slots=True)
class Caller:
    """by: the actor that the metadata names, else the peer's address. trace_id: 32 hex digits.

    account: whose limits the call uses: the actor, else the peer's host, whose ports change with its connections.
    """

    by: str
    trace_id: str
    account: str = ""


current: Final[ContextVar[Caller]] = ContextVar("caller")
"""The caller of the call in progress; set by the interceptor before any handler runs."""


def read_caller(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> Caller:
    """Return who calls, from the metadata and grpc's name for the peer; a new trace begins where none was given."""
    given = {key: value for key, value in metadata if isinstance(value, str)}
    actor = given.get(ACTOR, "").strip()[:LONGEST_ACTOR]
    address = _address(peer)
    return Caller(
        actor or address, _trace_id(given.get(TRACEPARENT, "")), actor or address.rpartition(":")[0] or address
    )


def _trace_id(traceparent: str) -> str:
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or set(match["trace"]) == {"0"}:
        return secrets.token_hex(16)
    return match["trace"]


def _address(peer: str) -> str:
    """Return `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000` without the scheme and escapes."""
    scheme, _, address = peer.partition(":")
    return unquote(address) if scheme in {"ipv4", "ipv6"} else peer
