"""Which roll-up is to be made next: of the rows that ended in a minute, of an hour's minutes, of a day's hours.

A roll-up is always made anew, from all that it is made of, and put in the place of the one before. So it may be made
as often as one likes, by whomever, and a crash in the middle costs only its repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shared.domain.zones import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

GRACE: Final = timedelta(seconds=10)
"""After the end of a minute until it is rolled up first: the writes that end rows take a moment to be seen."""
SETTLED_AFTER: Final = timedelta(minutes=5)
"""After the end of a minute until it is rolled up once more, for good: for writes that took longer than that."""


class Level(StrEnum):
    """How long the time is that a roll-up is of."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def width(self) -> timedelta:
        """That time."""
        return _WIDTHS[self]


_WIDTHS: Final = {Level.MINUTE: MINUTE, Level.HOUR: HOUR, Level.DAY: DAY}

KEPT: Final = {Level.MINUTE: timedelta(days=7), Level.HOUR: timedelta(days=100), Level.DAY: timedelta(days=1_100)}
"""How long roll-ups are kept."""


def floor(instant: datetime, width: timedelta) -> datetime:
    """Return the beginning of the minute, hour or day (UTC) that an instant lies in."""
    day = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + (instant - day) // width * width


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the roll-ups have got: all that ended before is in those of minutes, finally so, of hours, of days."""

    minutes: datetime
    settled: datetime
    hours: datetime
    days: datetime

    @classmethod
    def beginning(cls, first: datetime) -> Progress:
        """Return where to begin when the first row ended at this instant, or nothing has yet and it is this one now."""
        return cls(*[floor(first, DAY)] * 4)

    @property
    def for_good(self) -> Progress:
        """How far the roll-ups have got that will not change any more."""
        return replace(self, minutes=self.settled)

    def lasting(self, now: datetime) -> Progress:
        """How far the roll-ups have got that are still there an hour from now, for who asks for them a moment later.

        Those of minutes that are no longer kept go as soon as their hour is made. As a rule that is long since; but
        while beat catches up with more than a week, it makes hours of that age.
        """
        if self.hours >= now - KEPT[Level.MINUTE] + HOUR:
            return self
        return replace(self, minutes=self.hours, settled=self.hours)

    def reached(self, level: Level) -> datetime:
        """Return how far the roll-ups of a level have got."""
        return {Level.MINUTE: self.minutes, Level.HOUR: self.hours, Level.DAY: self.days}[level]

    def not_after(self, now: datetime) -> Progress:
        """Return the progress without what lies ahead of the clock, which was set back: rows will end there again."""
        return Progress(
            min(self.minutes, floor(now, MINUTE)),
            min(self.settled, floor(now, MINUTE)),
            min(self.hours, floor(now, HOUR)),
            min(self.days, floor(now, DAY)),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The next roll-ups: of the times from `start` on, and before `end`."""

    level: Level
    start: datetime
    end: datetime
    final: bool = True
    """For minutes: whether it is so long after their end that it is for good."""


def next_step(progress: Progress, now: datetime) -> Step | None:
    """Return what is to be rolled up next; None when there is nothing yet.

    Days before hours before minutes, so that what has to be read to answer a question is never much.
    """
    if progress.days + DAY <= progress.hours:
        return Step(Level.DAY, progress.days, floor(progress.hours, DAY))
    if progress.hours + HOUR <= progress.settled:
        return Step(Level.HOUR, progress.hours, floor(progress.settled, HOUR))
    settled = floor(now - SETTLED_AFTER, MINUTE)
    if progress.settled < settled:
        return Step(Level.MINUTE, progress.settled, settled)
    seen = floor(now - GRACE, MINUTE)
    if progress.minutes < seen:
        return Step(Level.MINUTE, progress.minutes, seen, final=False)
    return None


def after(progress: Progress, step: Step, through: datetime) -> Progress:
    """Return the progress when all before an instant has been rolled up by a step."""
    if step.level is Level.DAY:
        return replace(progress, days=through)
    if step.level is Level.HOUR:
        return replace(progress, hours=through)
    minutes = max(progress.minutes, through)
    return replace(progress, minutes=minutes, settled=through if step.final else progress.settled)


@dataclass(frozen=True, slots=True)
class Piece:
    """Roll-ups of one level: of the times from `start` on, and before `end`."""

    level: Level
    start: datetime
    end: datetime


def cover(levels: Sequence[Level], start: datetime, end: datetime, progress: Progress) -> list[Piece]:
    """Return the roll-ups of which a span consists, in the order of time, as far as they have got.

    levels: those that it may consist of, the coarsest first, which is taken where it fits; what that was not made of
    yet, the finer ones tell. The span is one of whole times of the finest.
    """
    if not levels or start >= end:
        return []
    level, *finer = levels
    begins = -(-(start - EPOCH) // level.width) * level.width + EPOCH
    ends = min(floor(end, level.width), progress.reached(level))
    if begins >= ends:
        return cover(finer, start, end, progress)
    return [
        *cover(finer, start, begins, progress),
        Piece(level, begins, ends),
        *cover(finer, ends, end, progress),
    ]


@lru_cache(maxsize=16)  # a busy server asks some hundred times a second, between two answers of the store
def counted(progress: Progress, start: datetime, now: datetime) -> tuple[Sequence[Piece], datetime]:
    """Return the roll-ups that tell for good what has ended since `start`, and the instant from which on rows have to.

    start: a full hour. That instant is some minutes ago while a beat rolls up, and stands still while none does.
    """
    final = progress.not_after(now).for_good.lasting(now)
    since = max(start, final.minutes)
    return tuple(cover((Level.DAY, Level.HOUR, Level.MINUTE), start, since, final)), since
