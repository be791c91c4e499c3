"""Overrides: single occurrences of a schedule that are left out, or run at another time.

An epoch decides all instants that its schedule names, and those to which it was asked to move some (Overridden). Of
these it runs all but what is left out (Running). Where there are no overrides both are the schedule itself.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.domain.clock import utc_text
from shared.domain.occurrences import INSTANT, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from shared.domain.occurrences import Occurrences
    from shared.domain.schedule import Schedule

MOST_OVERRIDES: Final = 100
"""Of one job, that are still to come: each plan of the job looks at all of them."""


@dataclass(frozen=True, slots=True)
class Override:
    """One occurrence does not go as the schedule says: it is left out, or runs at `moved_to` instead.

    by, reason, at: who asked for it, why, and when.
    """

    nominal: datetime
    moved_to: datetime | None
    by: str
    reason: str
    at: datetime

    @property
    def first(self) -> datetime:
        """The earlier of the instants that it concerns: when that is decided, it can't be taken back any more."""
        return self.nominal if self.moved_to is None else min(self.nominal, self.moved_to)

    @property
    def last(self) -> datetime:
        """The later of them: behind it the override says nothing any more."""
        return self.nominal if self.moved_to is None else max(self.nominal, self.moved_to)

    @property
    def left_out(self) -> str:
        """Why its nominal time does not run, for people."""
        return self._said("skipped" if self.moved_to is None else f"moved to {utc_text(self.moved_to)}")

    @property
    def moved_here(self) -> str:
        """Why something runs at its new time, for people."""
        return self._said(f"moved from {utc_text(self.nominal)}")

    def _said(self, what: str) -> str:
        return f"{what} by {self.by}: {self.reason}" if self.reason else f"{what} by {self.by}"


def standing(overrides: Iterable[Override], schedule: Schedule, reached: datetime) -> tuple[Override, ...]:
    """Return the overrides that an epoch takes over which follows `schedule`, and decides what comes after `reached`.

    One is void when the schedule does not name its occurrence any more. Not one of which a half was decided: what was
    moved away already has still to run, and what has run early must not run again.
    """
    return tuple(
        each for each in overrides if each.last > reached and (each.first <= reached or names(schedule, each.nominal))
    )


def overridden(
    overrides: Iterable[Override], override: Override | None, restored: datetime | None, reached: datetime
) -> tuple[Override, ...]:
    """Return the overrides after one was added, or that of an occurrence taken back; as they were when it is too late.

    It is when the chain has reached, `reached`, one of the instants that are concerned: a decision stands.
    """
    nominal = restored if override is None else override.nominal
    if nominal is None:
        return tuple(overrides)
    others = tuple(each for each in overrides if each.nominal != nominal)
    replaced = [each for each in overrides if each.nominal == nominal]
    concerned = [*replaced, *([override] if override is not None else [])]
    if any(each.first <= reached for each in concerned):
        return (*others, *replaced)
    return others if override is None else (*others, override)


class Overridden:
    """All instants that an epoch decides: those of its schedule, and those to which some of them were moved."""

    def __init__(self, schedule: Occurrences, overrides: Iterable[Override]) -> None:
        self._schedule = schedule
        by_nominal = {each.nominal: each for each in overrides if names(schedule, each.nominal)}
        moves = {each.moved_to: each for each in overrides if each.moved_to is not None}
        self._added = sorted(instant for instant in moves if not names(schedule, instant))
        self.left_out: Mapping[datetime, Override] = {
            instant: by_nominal[instant] for instant in sorted(by_nominal) if instant not in moves
        }
        # An instant that the schedule names itself, and runs, stands for what was moved there as well.
        self.moved_here: Mapping[datetime, Override] = {
            instant: each for instant, each in moves.items() if instant in by_nominal or not names(schedule, instant)
        }

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant strictly after one."""
        index = bisect_right(self._added, instant)
        found = [*self._added[index : index + 1], *_given(self._schedule.next_after(instant))]
        return min(found, default=None)

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last instant in (after, through], or None."""
        added = [instant for instant in self._added if after < instant <= through]
        return max([*added, *_given(self._schedule.last_between(after, through))], default=None)

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many instants lie in (after, through]."""
        return self._schedule.count_between(after, through) + sum(after < each <= through for each in self._added)


class Running:
    """The instants of these at which something runs: all but those that are left out."""

    def __init__(self, every: Overridden) -> None:
        self._every = every

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant strictly after one."""
        following = self._every.next_after(instant)
        while following is not None and following in self._every.left_out:
            following = self._every.next_after(following)
        return following

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last instant in (after, through], or None."""
        last = self._every.last_between(after, through)
        while last is not None and last in self._every.left_out:
            last = self._every.last_between(after, last - INSTANT)
        return last

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many instants lie in (after, through]."""
        left_out = sum(after < each <= through for each in self._every.left_out)
        return self._every.count_between(after, through) - left_out


def _given(instant: datetime | None) -> list[datetime]:
    return [] if instant is None else [instant]
