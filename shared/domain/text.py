"""Texts that clients send, as they may be shown: cut, and matched with what they may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_SHOWN: Final = 80


def excerpt(text: str) -> str:
    """Return a text as a sentence may quote it: a refusal must not repeat megabytes."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def closest(text: str, known: Iterable[str]) -> str:
    """Return which of the known texts was probably meant, or nothing.

    Nothing for a long one: the comparison takes seconds for megabytes, and no name is as long.
    """
    if len(text) > LONGEST_SHOWN:
        return ""
    return next(iter(get_close_matches(text, known, n=1)), "")
