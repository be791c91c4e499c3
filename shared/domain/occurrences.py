"""Occurrences: instants in order, as a schedule names them or overrides have made them; and what is asked of any."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANT: Final = timedelta(microseconds=1)
"""The least that two instants differ by."""


class Occurrences(Protocol):
    """What a planner asks of a schedule; see shared.domain.schedule for what each promises."""

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant strictly after one."""

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last instant in (after, through], or None."""

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many instants lie in (after, through]."""


def names(occurrences: Occurrences, instant: datetime) -> bool:
    """Return whether an instant is one of them; none is looked for beside it, which may lie centuries away."""
    return occurrences.last_between(instant - INSTANT, instant) == instant


def walk(occurrences: Occurrences, after: datetime) -> Iterator[datetime]:
    """Go through the instants after one; each is looked for when it is asked for."""
    following = occurrences.next_after(after)
    while following is not None:
        yield following
        following = occurrences.next_after(following)


def upcoming(occurrences: Occurrences, after: datetime, most: int) -> list[datetime]:
    """Return the next instants after one, at most so many."""
    return list(islice(walk(occurrences, after), most))
