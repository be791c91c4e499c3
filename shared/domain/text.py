"""Texts of clients, as they may be kept and shown: nothing hidden in them, cut, matched with what was meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_SHOWN: Final = 80

_HIDDEN: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""The control characters of ASCII and Latin-1 but tab and newline, Unicode's breaks, and what overrides direction."""
_UNSEEN: Final = re.compile(f"[{_HIDDEN}]")
_UNSEEN_OR_BREAK: Final = re.compile(rf"[{_HIDDEN}\t\n]")


def excerpt(text: str) -> str:
    """Return a text as a sentence may quote it: a refusal must not repeat megabytes."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def writable(text: str) -> str:
    """Return a text without lone surrogates, which neither a document nor a message can hold; of `open`, as a rule."""
    return text.encode(errors="backslashreplace").decode()


def because(what: str, reason: str) -> str:
    """Return what was done, and why, where somebody has said that."""
    return f"{what}: {reason}" if reason else what


def unprintable(text: str, *, lines: bool = False) -> str:
    """Return what is wrong with a text that has characters for terminals and not for people, or nothing.

    lines: whether it may have more than one line, and tabs.
    """
    found = (_UNSEEN if lines else _UNSEEN_OR_BREAK).search(text)
    if found is None:
        return ""
    code = f"U+{ord(found[0]):04X}"
    return f"has the character {code}, a control character or one that changes how others are shown; leave it out"


def closest(text: str, known: Iterable[str]) -> str:
    """Return which of the known texts was probably meant, or nothing.

    Nothing for a long one: the comparison takes seconds for megabytes, and no name is as long.
    """
    if len(text) > LONGEST_SHOWN:
        return ""
    return next(iter(get_close_matches(text, known, n=1)), "")
