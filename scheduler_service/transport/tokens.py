"""Opaque tokens: what a client sends back to go on from there, which only fits what it came from."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from shared.domain.zones import EPOCH

_MILLISECOND: Final = timedelta(milliseconds=1)
_DIGEST: Final = 12


def write_parts(of: str, parts: list[Any]) -> str:
    """Return a token of these parts, which JSON has. of: what it came from, in any form."""
    text = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(of, text) + text).decode().rstrip("=")


def read_parts(of: str, token: str) -> list[Any]:
    """Return the parts of a token. Raises ValueError for one that is garbled, or came from something else.

    The digest is no secret, so what it fits may be anybody's: parts of any number and kind, but for JSON's.
    """
    raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    digest, text = raw[:_DIGEST], raw[_DIGEST:]
    if digest != _digest(of, text):
        raise ValueError("it came from something else")
    parts = json.loads(text)
    if not isinstance(parts, list):
        raise ValueError("it has no parts")  # noqa: TRY004 - as for all that is no token
    return parts


def to_milliseconds(instant: datetime) -> int:
    """Return an instant as tokens have it: since 1970."""
    return (instant - EPOCH) // _MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the instant of a token's number. Raises TypeError or OverflowError for what is none."""
    return EPOCH + milliseconds * _MILLISECOND


def _digest(of: str, text: bytes) -> bytes:
    """Return what ties a token to what it came from, and tells a garbled one. Not a secret: a token opens nothing."""
    return sha256(of.encode(errors="replace") + b"\0" + text).digest()[:_DIGEST]
