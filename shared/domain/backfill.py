"""Backfills: the nominal times of a job's schedule in a range of the past, run once more or for the first time.

A backfill goes through its times in windows. Which of them run is decided first, and stored; then their executions are
inserted, with ids made of the backfill and the time; then the window is closed. So whoever goes on with one, after a
crash or with an old copy of it, inserts what was decided and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from shared.domain.execution import OPEN, State
from shared.domain.occurrences import INSTANT, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from shared.domain.occurrences import Occurrences

MOST_TIMES: Final = 100_000
"""Nominal times of one backfill. Each is an execution that is kept as long as all others."""
MOST_PARALLEL: Final = 100
MOST_ACTIVE: Final = 20
"""Backfills of one job that have not ended; one that is paused has not."""


class BackfillState(StrEnum):
    """How far a backfill has got. PAUSED starts nothing; the last two are for good."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


ENDED: Final = frozenset({BackfillState.COMPLETED, BackfillState.CANCELLED})


class Existing(StrEnum):
    """What becomes of a nominal time that has had an execution before; see Backfill.Existing of the API."""

    SKIP = "SKIP"
    RERUN_FAILED = "RERUN_FAILED"
    RERUN = "RERUN"


@dataclass(frozen=True, slots=True)
class Window:
    """What is decided next: these times run; of those through `through`, so many are left as they were."""

    times: tuple[datetime, ...]
    through: datetime
    left: int


def times_in(schedule: Occurrences, begins: datetime, ends: datetime) -> int:
    """Return how many nominal times lie in [begins, ends)."""
    return schedule.count_between(begins - INSTANT, ends - INSTANT)


def times_after(schedule: Occurrences, reached: datetime, ends: datetime, most: int) -> list[datetime]:
    """Return the nominal times after one and before `ends`, in their order, at most so many."""
    return list(islice(takewhile(lambda time: time < ends, walk(schedule, reached)), most))


def next_window(
    times: Iterable[datetime], ran: Mapping[datetime, frozenset[State]], existing: Existing, room: int
) -> Window | None:
    """Decide the next times, in their order, until there is no room for another to run; None when there is none.

    ran: the states of what ran before at these times. room: how many executions may be started.
    """
    run: list[datetime] = []
    left, through = 0, None
    for time in times:
        if _is_left(ran.get(time, frozenset()), existing):
            left += 1
        elif len(run) < room:
            run.append(time)
        else:
            break
        through = time
    return None if through is None else Window(tuple(run), through, left)


def _is_left(states: frozenset[State], existing: Existing) -> bool:
    match existing:
        case Existing.SKIP:
            return bool(states)
        case Existing.RERUN_FAILED:
            return bool(states & {State.SUCCEEDED, *OPEN})
        case Existing.RERUN:
            return False
