"""Remarks: what is unusual about a time at which a schedule fires, in words. The rules are those of docs/schedules.md.

What a gap takes has no instant, so it is asked of the same schedule by a clock that never changes: there the
wall-clock times that it names are instants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from shared.domain.clock import (
    ClockChange,
    changes_between,
    gap_at,
    instant_of,
    local_text,
    repeated_at,
    second_of,
    time_text,
    wall_text,
)
from shared.domain.exclusions import OnExcluded
from shared.domain.occurrences import names
from shared.domain.schedule import CronSchedule
from shared.domain.zones import DAY, EPOCH, zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.domain.exclusions import Exclusions
    from shared.domain.schedule import Schedule
    from shared.domain.zones import Zone

NameDays: TypeAlias = "Callable[[tuple[str, ...], tuple[str, ...], date], tuple[str, ...]]"
"""From names of calendars and of holidays, and a day, to what each has on that day, as `US holiday Christmas Day`."""

MOST_CHANGES: Final = 4
"""Of the clock, that are looked at before a fire: those of two years. Between rare fires there may be centuries."""
MOST_DAYS: Final = 3
"""Excluded ones that a remark names."""
MOST_REASONS: Final = 3
"""For which a day is excluded that are told: a day may be one of a hundred ranges."""
_MOST_LOOKED_AT: Final = 31
_MOMENT: Final = timedelta(milliseconds=1)


def no_names(calendars: tuple[str, ...], holidays: tuple[str, ...], day: date) -> tuple[str, ...]:
    """Know no names of days: the way where no calendars are at hand."""
    del calendars, holidays, day
    return ()


@dataclass(frozen=True, slots=True)
class Fire:
    """An instant at which a schedule fires. local: by the wall clock; due: when it goes out, where that differs."""

    time: datetime
    local: str
    due: datetime | None = None
    remarks: tuple[str, ...] = ()


def zone_of(schedule: Schedule) -> Zone:
    """Return the zone whose clock a schedule's times are shown by."""
    return zone(schedule.timezone, schedule.rules)


def names_wall(schedule: Schedule, wall: int) -> bool:
    """Return whether a schedule names a wall-clock time, also one that its zone's clock never shows."""
    if isinstance(schedule, CronSchedule):
        return names(_by_steady_clock(schedule), instant_of(wall))
    return names(schedule, instant_of(zone_of(schedule).instant(wall)))


def fire_of(
    schedule: Schedule, time: datetime, previous: datetime | None, uid: str = "", name_days: NameDays = no_names
) -> Fire:
    """Return an occurrence with what is to be said of it.

    previous: the occurrence before it, or from when on one is looked for: what would have come between and does not is
    said too. None: nothing is said of that. uid: the job's, on which its jitter depends; empty when there is no job.
    """
    where = zone_of(schedule)
    due = schedule.due_time(time, uid) if uid else time
    remarks = [*clock_remarks(schedule, time, previous), *_exclusion_remarks(schedule, time, previous, name_days)]
    return Fire(time, local_text(time, where), due if due != time else None, tuple(remarks))


def clock_remarks(schedule: Schedule, time: datetime, previous: datetime | None) -> list[str]:
    """Say what changes of the clock do to an occurrence, or to those that would have come between the two instants."""
    if not schedule.follows_zone:
        return []
    where, second = zone_of(schedule), second_of(time)
    said: list[str] = []
    if isinstance(schedule, CronSchedule):
        after = second - 1 if previous is None else second_of(previous)
        for change in changes_between(where, after, second, MOST_CHANGES):
            if change.forward and (lost := lost_times(schedule, change)):
                said.insert(0, _gap_text(schedule, lost, change, at_this=change.at == second))
    if (twice := repeated_at(where, second)) is not None:
        said.append(_repeat_text(schedule, where, second, twice.first, twice.second, twice.change))
    return said


def lost_times(schedule: CronSchedule, change: ClockChange) -> str:
    """Return the wall-clock times that a schedule names and a change of the clock leaves out; empty if none."""
    walls = _by_steady_clock(schedule)
    low, high = instant_of(change.before), instant_of(change.after - 1)
    last = walls.last_between(low - _MOMENT, high)
    first = walls.next_after(low - _MOMENT)
    if last is None or first is None:
        return ""
    one_day = change.before // DAY == change.after // DAY
    show = time_text if one_day else wall_text
    shown = show(second_of(first))
    return shown if first == last else f"{shown} to {show(second_of(last))}"


def _by_steady_clock(schedule: CronSchedule) -> CronSchedule:
    return replace(schedule, timezone="UTC", rules="", start_time=None, end_time=None)


def _gap_text(schedule: CronSchedule, lost: str, change: ClockChange, *, at_this: bool) -> str:
    several = " to " in lost
    said = f"{change}: {lost} {'do' if several else 'does'} not exist"
    if not names(schedule, instant_of(change.at)):
        return f"{said}, and {'do' if several else 'does'} not fire"
    if at_this and not names(_by_steady_clock(schedule), instant_of(change.after)):
        return f"{said}, so it fires at {time_text(change.after)} instead"
    return said


def _repeat_text(schedule: Schedule, where: Zone, second: int, first: int, again: int, change: ClockChange) -> str:
    shown = time_text(where.wall(second))
    fires_first, fires_again = names(schedule, instant_of(first)), names(schedule, instant_of(again))
    if fires_first and fires_again:
        this = "first" if second == first else "second"
        return f"{change}: {shown} comes twice and fires both times; this is the {this}"
    return f"{change}: {shown} comes twice and fires the {'first' if fires_first else 'second'} time only"


def _exclusion_remarks(schedule: Schedule, time: datetime, previous: datetime | None, name_days: NameDays) -> list[str]:
    exclusions = schedule.exclusions
    if exclusions is None or not exclusions.runs:
        return []
    plain = replace(schedule, exclusions=None)
    said = []
    if not names(plain, time):
        sources = _moved_from(plain, exclusions, zone_of(schedule), second_of(time))
        said += [f"moved from {day:%a %Y-%m-%d}: {reason_of(exclusions, day, name_days)}" for day in sources]
    if previous is not None and exclusions.terms.on_excluded == OnExcluded.SKIP:
        said += _left_out(plain, exclusions, previous, time, name_days)
    return said


def _left_out(
    plain: Schedule, exclusions: Exclusions, after: datetime, before: datetime, name_days: NameDays
) -> list[str]:
    """Name the excluded days between two instants that the schedule names otherwise, a few of them."""
    where, through = zone_of(plain), before - _MOMENT
    days: list[date] = []
    following = plain.next_after(after)
    while following is not None and following <= through and len(days) <= MOST_DAYS:
        wall = where.wall(second_of(following))
        days.append(_date(wall // DAY))
        # What is left out on one day is said once.
        following = plain.next_after(max(following, instant_of(where.instant((wall // DAY + 1) * DAY)) - _MOMENT))
    shown = [f"{day:%a %Y-%m-%d} ({reason_of(exclusions, day, name_days)})" for day in days[:MOST_DAYS]]
    if not shown:
        return []
    more = ", and more days" if len(days) > MOST_DAYS else ""
    return [f"left out before it: {', '.join(shown)}{more}"]


def _moved_from(plain: Schedule, exclusions: Exclusions, where: Zone, second: int) -> list[date]:
    """Return the excluded days whose time of this kind moved here, the nearest first, a few of them."""
    day, time = divmod(where.wall(second), DAY)
    found: list[date] = []
    for target, runs in exclusions.moves:
        if target != day:
            continue
        spans = [range(last, first - 1, -1) if last < target else range(first, last + 1) for first, last in runs]
        looked_at = [excluded for span in spans for excluded in span[:_MOST_LOOKED_AT]]
        for excluded in sorted(looked_at, key=lambda each: abs(each - target))[:_MOST_LOOKED_AT]:
            if names(plain, instant_of(where.instant(excluded * DAY + time))):
                found.append(_date(excluded))
            if len(found) == MOST_DAYS:
                break
    return found


def reason_of(exclusions: Exclusions, day: date, name_days: NameDays = no_names) -> str:
    """Say by which rule a day is excluded, as `US holiday Christmas Day`."""
    terms = exclusions.terms
    said = ["one of the excluded dates"] if day.isoformat() in terms.dates else []
    said += [f"in the excluded range {first} to {last}" for first, last in terms.ranges if first <= f"{day}" <= last]
    if day.toordinal() in exclusions.resolved:
        known = name_days(terms.calendars, terms.holidays, day)
        # By now the calendars may say otherwise than when the days were resolved.
        said += known or [f"a day of {', '.join([*terms.calendars, *terms.holidays][:MOST_REASONS])}"]
    return ", ".join(said[:MOST_REASONS])


@dataclass(frozen=True, slots=True)
class Excluded:
    """An instant that a schedule would name, but for its exclusions: why not, and where it moved, if it did."""

    reason: str
    moved_to: datetime | None


def excluded_at(schedule: Schedule, instant: datetime, name_days: NameDays = no_names) -> Excluded | None:
    """Return what exclusions made of an instant; None when they have nothing to do with it."""
    exclusions = schedule.exclusions
    if exclusions is None or names(schedule, instant) or not names(replace(schedule, exclusions=None), instant):
        return None
    where = zone_of(schedule)
    day, time = divmod(where.wall(second_of(instant)), DAY)
    moved = None
    for target, runs in exclusions.moves:
        if any(first <= day <= last for first, last in runs):
            moved = instant_of(where.instant(target * DAY + time))
    return Excluded(
        reason_of(exclusions, _date(day), name_days), moved if moved is not None and names(schedule, moved) else None
    )


def missing_time(schedule: Schedule, wall: int) -> str:
    """Say why the clock never shows a wall-clock time; empty for one that it shows."""
    change = gap_at(zone_of(schedule), wall)
    return "" if change is None else f"{wall_text(wall)} does not exist there: {change}"


def _date(day: int) -> date:
    return EPOCH.date() + timedelta(days=day)
