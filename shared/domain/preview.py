"""Preview: the next fires of a schedule, and what another one would change of them. Bounded, whatever the schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.domain.remarks import fire_of, names, no_names
from shared.domain.schedule import OnceSchedule

if TYPE_CHECKING:
    from shared.domain.remarks import Fire, NameDays
    from shared.domain.schedule import Schedule

MOST_FIRES: Final = 1_000
_MOMENT: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Preview:
    """The next fires, in order. ends: why there are fewer than were asked for."""

    fires: tuple[Fire, ...]
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What one schedule names that the other does not, over the span of a preview, at most as much as was asked for."""

    added: tuple[Fire, ...] = ()
    removed: tuple[Fire, ...] = ()
    cut: bool = False
    """Whether more is removed than is shown."""


def preview(
    schedule: Schedule,
    after: datetime,
    count: int,
    *,
    runs_left: int | None,
    uid: str = "",
    name_days: NameDays = no_names,
) -> Preview:
    """Return the first `count` fires after an instant.

    runs_left: how many of them max_runs allows at the most, None for all. uid: the job's, on which its jitter depends.
    """
    most = count if runs_left is None else min(count, max(0, runs_left))
    times = schedule.upcoming(after, most)
    fires: list[Fire] = []
    before = after
    for time in times:
        fires.append(fire_of(schedule, time, before, uid, name_days))
        before = time
    if len(times) == count:
        return Preview(tuple(fires))
    return Preview(tuple(fires), _end(schedule, limited=len(times) == most))


def _end(schedule: Schedule, *, limited: bool) -> str:
    if limited and schedule.max_runs is not None:
        return f"max_runs: the job is completed after {schedule.max_runs:,} runs of this schedule"
    if isinstance(schedule, OnceSchedule):
        return "the schedule is a single instant"
    if schedule.end_time is not None:
        return f"end_time: nothing fires after {schedule.end_time:%Y-%m-%dT%H:%M:%SZ}"
    return "no further time comes before the year 10000"


def difference(
    present: Schedule, wanted: Schedule, after: datetime, count: int, uid: str = "", name_days: NameDays = no_names
) -> Difference:
    """Return what changes when `wanted` takes the place of `present`, over the span of the next `count` fires of it.

    Where `wanted` ends before, the span goes on: all that `present` would still fire is removed.
    """
    times = wanted.upcoming(after, count)
    through = times[-1] if len(times) == count else None
    added = [time for time in times if not names(present, time)]
    removed: list[datetime] = []
    following = present.next_after(after)
    # Each step finds one that is removed, or is one of `times`: at most twice `count`.
    while following is not None and (through is None or following <= through) and len(removed) <= count:
        if not names(wanted, following):
            removed.append(following)
        following = present.next_after(following)
    return Difference(
        tuple(fire_of(wanted, time, None, uid, name_days) for time in added),
        tuple(fire_of(present, time, None, uid, name_days) for time in removed[:count]),
        cut=len(removed) > count,
    )
