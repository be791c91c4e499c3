"""Pages of lists: where the next one begins, as an opaque token that only fits the list it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from scheduler_service.transport.tokens import from_milliseconds, read_parts, to_milliseconds, write_parts
from shared.domain.errors import Violation
from shared.settings import LARGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from google.protobuf.message import Message

    from shared.store.listing import Position

DEFAULT_SIZE: Final = 50
MOST_BYTES: Final = 3 * 1024 * 1024
"""Of one page: clients refuse messages over 4 MiB, so a page of large entries has fewer of them than asked for."""

M = TypeVar("M", bound="Message")


def page_size(given: int, found: list[Violation]) -> int:
    """Return how many entries a page may have; 0 means the default."""
    if not 0 <= given <= LARGEST_PAGE:
        found.append(Violation("page_size", f"{given} is not a size (1-{LARGEST_PAGE:,}, or 0 for {DEFAULT_SIZE})"))
    return given or DEFAULT_SIZE


def write_token(listing: str, position: Position | None) -> str:
    """Return the token of the page after a position; the empty one when there is none.

    listing: the list's name and filter, in any form.
    """
    if position is None:
        return ""
    value, name = position
    return write_parts(listing, [value if isinstance(value, str) else to_milliseconds(value), name])


def read_token(listing: str, token: str, found: list[Violation]) -> Position | None:
    """Return the position that a token stands for; None for the empty token of a first page."""
    if not token:
        return None
    try:
        key, name = read_parts(listing, token)
        if isinstance(name, str):
            return key if isinstance(key, str) else from_milliseconds(key), name
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    sentence = "not a token of this list; send the next_page_token of the page before, with the same filter and order"
    found.append(Violation("page_token", sentence))
    return None


def entry_bytes(entry: Message) -> int:
    """Return what an entry of a list takes in its response."""
    return entry.ByteSize() + _AROUND


_AROUND: Final = 8
"""Bytes of a field's number and of a length, at the most."""


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
        room -= entry_bytes(entry)
        if len(entries) == size or (entries and room < 0):
            return entries, last
        entries.append(entry)
        last = position(document)
    return entries, None
