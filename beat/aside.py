"""Aside: what could not be gone on with is left alone for a while, so that the others go on."""

from __future__ import annotations

from time import monotonic
from typing import Final

PAUSE: Final = 60.0
"""Seconds until it is tried again."""


class Aside:
    """What one duty of this beat has set aside, by ids. Other beats find out by themselves."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def put(self, one: str) -> None:
        """Set one aside."""
        self._until[one] = monotonic() + PAUSE

    def ids(self) -> frozenset[str]:
        """Return what is still aside."""
        now = monotonic()
        self._until = {one: until for one, until in self._until.items() if now < until}
        return frozenset(self._until)
