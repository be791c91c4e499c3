"""When a schedule fires, minute by minute: what the load to come is the sum of."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from shared.domain.occurrences import INSTANT, walk
from shared.domain.overrides import Overridden, Running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from shared.domain.occurrences import Occurrences
    from shared.domain.overrides import Override
    from shared.domain.schedule import Schedule

MINUTE: Final = timedelta(minutes=1)
_MILLISECOND: Final = timedelta(milliseconds=1)

MOST_SPREAD: Final = 100
"""Fires of which each is counted when its jitter lets it go out; of a schedule with more, at its nominal time."""


def fires_by_minute(
    schedule: Schedule,
    start: datetime,
    minutes: int,
    *,
    most: int | None = None,
    key: str = "",
    overrides: Sequence[Override] = (),
) -> Mapping[int, int]:
    """Return how often a schedule fires in each of the minutes from an instant on, by their number, without zeros.

    most: after how many fires it ends. key: what jitter is computed from, the job's uid. overrides: of occurrences that
    do not go as it says. The work is bounded by the number of minutes, however often it fires.
    """
    every = Overridden(schedule, overrides)
    running: Occurrences = Running(every) if overrides else schedule
    end = start + minutes * MINUTE
    # What was due before may be let out only now.
    since = start - schedule.jitter
    total = running.count_between(since - INSTANT, end - INSTANT)
    fires: Counter[int] = Counter()
    if total <= MOST_SPREAD:
        for nominal in _first(running, since, end, most):
            # Who moves one names the very instant.
            due = nominal if nominal in every.moved_here else schedule.due_time(nominal, key)
            if start <= due < end:
                fires[(due - start) // MINUTE] += 1
    elif total <= minutes:
        for nominal in _first(running, start, end, most):
            fires[(nominal - start) // MINUTE] += 1
    else:
        left = total if most is None else most
        for minute in range(minutes):
            through = start + (minute + 1) * MINUTE - INSTANT
            if count := min(left, running.count_between(through - MINUTE, through)):
                fires[minute] = count
                left -= count
    return fires


def _first(running: Occurrences, start: datetime, end: datetime, most: int | None) -> Iterator[datetime]:
    """Go through what fires from an instant on, and before another, up to a number of times."""
    return islice(takewhile(lambda time: time < end, walk(running, start - INSTANT)), most)


def lattice_by_minute(period: timedelta, phase: int, start: datetime, minutes: int) -> Iterator[tuple[int, int]]:
    """Go through the minutes, with their number, in which what comes every period comes, and how often.

    phase: its milliseconds since 1970, by the period. By arithmetic.
    """
    step, minute = period // _MILLISECOND, MINUTE // _MILLISECOND
    begins = milliseconds(start)
    if step >= minute:
        for instant in range(begins + (phase - begins) % step, begins + minutes * minute, step):
            yield (instant - begins) // minute, 1
        return
    before = (begins - 1 - phase) // step
    for number in range(minutes):
        through = (begins + (number + 1) * minute - 1 - phase) // step
        yield number, through - before
        before = through


def milliseconds(instant: datetime) -> int:
    """Return the whole milliseconds since 1970."""
    return int(instant.timestamp()) * 1000 + instant.microsecond // 1000
