"""Pages of lists: where the next one begins, as an opaque token that only fits the list it came from."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared.domain.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from google.protobuf.message import Message

    from shared.store.listing import Position

DEFAULT_SIZE: Final = 50
LARGEST_SIZE: Final = 1_000
MOST_BYTES: Final = 3 * 1024 * 1024
"""Of one page: clients refuse messages over 4 MiB, so a page of large entries has fewer of them than asked for."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DIGEST: Final = 12

M = TypeVar("M", bound="Message")


def page_size(given: int, found: list[Violation]) -> int:
    """Return how many entries a page may have; 0 means the default."""
    if not 0 <= given <= LARGEST_SIZE:
        found.append(Violation("page_size", f"{given} is not a size (1-{LARGEST_SIZE:,}, or 0 for {DEFAULT_SIZE})"))
    return given or DEFAULT_SIZE


def write_token(listing: str, position: Position) -> str:
    """Return the token of the page after a position. listing: the list's name and filter, in any form."""
    value, name = position
    key = value if isinstance(value, str) else (value - _EPOCH) // _MILLISECOND
    text = json.dumps([key, name], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(listing, text) + text).decode().rstrip("=")


def read_token(listing: str, token: str, found: list[Violation]) -> Position | None:
    """Return the position that a token stands for; None for the empty token of a first page."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, text = raw[:_DIGEST], raw[_DIGEST:]
        if digest == _digest(listing, text):
            key, name = json.loads(text)
            if isinstance(name, str):
                return key if isinstance(key, str) else _EPOCH + key * _MILLISECOND, name
    # The digest is no secret, so what it fits may be anybody's.
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    sentence = "not a token of this list; send the next_page_token of the page before, with the same filter and order"
    found.append(Violation("page_token", sentence))
    return None


def _digest(listing: str, text: bytes) -> bytes:
    """Return what ties a token to its list, and tells a garbled one. Not a secret: a token opens nothing."""
    return sha256(listing.encode() + b"\0" + text).digest()[:_DIGEST]


async def take_page(
    documents: AsyncIterator[Mapping[str, Any]],
    size: int,
    convert: Callable[[Mapping[str, Any]], M],
    position: Callable[[Mapping[str, Any]], Position],
    most_bytes: int = MOST_BYTES,
) -> tuple[list[M], Position | None]:
    """Return the entries of one page, and the position to go on from, or None when nothing is left.

    documents: at least one more than the page may have, if there are so many.
    """
    entries: list[M] = []
    room = most_bytes
    last: Position | None = None
    async for document in documents:
        entry = convert(document)
        room -= entry.ByteSize() + 8
        if len(entries) == size or (entries and room < 0):
            return entries, last
        entries.append(entry)
        last = position(document)
    return entries, None


def refuse(found: list[Violation]) -> None:
    """Raise InvalidInput when there are violations."""
    if found:
        raise InvalidInput(found)
