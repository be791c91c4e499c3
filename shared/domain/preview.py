"""Preview: the next fires of a schedule, and what another one would change of them. Bounded, whatever the schedules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

from shared.domain.clock import utc_text
from shared.domain.occurrences import names, walk
from shared.domain.remarks import fire_of, no_names
from shared.domain.schedule import OnceSchedule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from shared.domain.overrides import Override
    from shared.domain.remarks import Fire, NameDays
    from shared.domain.schedule import Schedule

MOST_FIRES: Final = 1_000
LOOKS_AHEAD: Final = timedelta(days=146_097)
"""How far behind the first fire others are looked for: the 400 years after which the calendar repeats. To the year
10000 it would take seconds, to find out when the clocks of a zone change until then."""


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
    overrides: Iterable[Override] = (),
) -> Preview:
    """Return the first `count` fires after an instant.

    runs_left: how many of them max_runs allows at the most, None for all; what is skipped is no run. uid: the job's, on
    which its jitter depends. overrides: of single occurrences, which are remarked.
    """
    by_nominal = {each.nominal: each for each in overrides}
    skipped = {nominal for nominal, each in by_nominal.items() if each.moved_to is None}
    allowed = count if runs_left is None else max(0, runs_left)
    times, all_seen = _times(schedule, after, min(count, allowed + len(skipped)))
    times = _runs(times, allowed, skipped)
    fires: list[Fire] = []
    before = after
    for time in times:
        fire = fire_of(schedule, time, before, uid, name_days)
        if (override := by_nominal.get(time)) is not None:
            fire = replace(fire, due=override.moved_to, remarks=(*fire.remarks, override.left_out))
        fires.append(fire)
        before = time
    if len(times) == count:
        return Preview(tuple(fires))
    limited = len(set(times) - skipped) == allowed
    return Preview(tuple(fires), _end(schedule, limited=limited, all_seen=all_seen))


def _runs(times: list[datetime], allowed: int, skipped: Collection[datetime]) -> list[datetime]:
    """Return the times up to that of the last run that is allowed."""
    before = accumulate((time not in skipped for time in times), initial=0)
    return [time for time, runs in zip(times, before, strict=False) if runs < allowed]


def _times(schedule: Schedule, after: datetime, most: int) -> tuple[list[datetime], bool]:
    """Return the next occurrences, and whether those are all but for `most`: none was too far away."""
    found: list[datetime] = []
    for time in islice(walk(schedule, after), most):
        if found and time > _later(found[0]):
            return found, False
        found.append(time)
    return found, True


def _later(instant: datetime) -> datetime:
    try:
        return instant + LOOKS_AHEAD
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _end(schedule: Schedule, *, limited: bool, all_seen: bool) -> str:
    if not all_seen:
        return "further times are more than 400 years away"
    if limited and schedule.max_runs is not None:
        return f"max_runs: the job is completed after {schedule.max_runs:,} runs of this schedule"
    if isinstance(schedule, OnceSchedule):
        return "the schedule is a single instant"
    if schedule.end_time is not None:
        return f"end_time: nothing fires after {utc_text(schedule.end_time)}"
    return "no further time comes before the year 10000"


def difference(
    present: Schedule, wanted: Schedule, after: datetime, count: int, uid: str = "", name_days: NameDays = no_names
) -> Difference:
    """Return what changes when `wanted` takes the place of `present`, over the span of the next `count` fires of it.

    Where `wanted` ends before, the span goes on: what `present` would still fire is removed.
    """
    times, _ = _times(wanted, after, count)
    through = times[-1] if len(times) == count else None
    added = [time for time in times if not names(present, time)]
    # Of these each is removed, or is one of `times`.
    before, _ = _times(present, after, 2 * count + 1)
    removed = [time for time in before if (through is None or time <= through) and not names(wanted, time)]
    return Difference(
        tuple(fire_of(wanted, time, None, uid, name_days) for time in added),
        tuple(fire_of(present, time, None, uid, name_days) for time in removed[:count]),
        cut=len(removed) > count,
    )
