"""Clock: what the clock of a zone shows, and what becomes of its times when it is put forward or back.

Instants and wall-clock times are whole seconds, as in shared.domain.zones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from shared.domain.zones import DAY, EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.zones import Zone


@dataclass(frozen=True, slots=True)
class ClockChange:
    """At the instant `at` the clock, which was about to show `before`, shows `after` instead."""

    at: int
    before: int
    after: int

    @property
    def forward(self) -> bool:
        """Whether times are left out; otherwise they come twice."""
        return self.after > self.before

    def __str__(self) -> str:
        """Say it as `clocks go forward from 02:00 to 03:00 on 2026-03-08`."""
        way = "forward" if self.forward else "back"
        one_day = self.before // DAY == self.after // DAY
        before = time_text(self.before) if one_day else wall_text(self.before)
        after = time_text(self.after) if one_day else wall_text(self.after)
        return f"clocks go {way} from {before} to {after}" + (f" on {day_text(self.before)}" if one_day else "")


@dataclass(frozen=True, slots=True)
class Repeated:
    """A time that the clock shows twice: at the instants `first` and `second`."""

    change: ClockChange
    first: int
    second: int


def change_before(zone: Zone, index: int) -> ClockChange | None:
    """Return the change with which a stretch of the zone begins; None for its first."""
    if not index:
        return None
    begin = zone.starts[index]
    return ClockChange(begin, begin + zone.offsets[index - 1], begin + zone.offsets[index])


def changes_between(zone: Zone, after: int, through: int, most: int) -> Iterator[ClockChange]:
    """Return the changes in (after, through], the latest first, at most so many."""
    index = zone.index(through)
    for _ in range(most):
        change = change_before(zone, index)
        if change is None or change.at <= after:
            return
        yield change
        index -= 1


def instants_of(zone: Zone, wall: int) -> list[int]:
    """Return when the clock shows a time: once as a rule, never in a gap, twice where it is put back."""
    found = []
    at = wall - 2 * DAY
    while at <= wall + 2 * DAY:
        index = zone.index(at)
        instant = wall - zone.offsets[index]
        if zone.starts[index] <= instant < zone.starts[index + 1]:
            found.append(instant)
        at = zone.starts[index + 1]
    return found


def gap_at(zone: Zone, wall: int) -> ClockChange | None:
    """Return the change by which the clock never shows a time; None for one that it shows."""
    change = change_before(zone, zone.index(zone.instant(wall)))
    return change if change is not None and change.before <= wall < change.after else None


def repeated_at(zone: Zone, instant: int) -> Repeated | None:
    """Return what is to be known of the time that the clock shows at an instant, if it shows it twice."""
    index = zone.index(instant)
    wall = instant + zone.offsets[index]
    for beginning in (index, index + 1):
        change = change_before(zone, beginning)
        if change is not None and change.after <= wall < change.before:
            first = wall - zone.offsets[beginning - 1]
            return Repeated(change, first, wall - zone.offsets[beginning])
    return None


def second_of(instant: datetime) -> int:
    """Return an instant in whole seconds since 1970, rounded down."""
    since = instant - EPOCH
    return since.days * DAY + since.seconds


def instant_of(second: int) -> datetime:
    """Return the instant so many seconds after 1970. Raises OverflowError beyond the years 1 to 9999."""
    return EPOCH + timedelta(seconds=second)


_UNIX_DAY: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall-clock time


def wall_time(wall: int) -> datetime:
    """Return a wall-clock time as a datetime without a zone. Raises OverflowError beyond the years 1 to 9999."""
    return _UNIX_DAY + timedelta(seconds=wall)


def to_the_millisecond(instant: datetime) -> datetime:
    """Return an instant as the store keeps it: what is finer is cut off."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def utc_text(instant: datetime) -> str:
    """Write an instant as sentences have it, by UTC and in whole seconds: 2026-03-08T07:00:00Z."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def local_text(instant: datetime, zone: Zone) -> str:
    """Write an instant as the zone's clock shows it, as 2026-11-01T01:30:00-04:00; milliseconds where there are any."""
    second = second_of(instant)
    offset = timezone(timedelta(seconds=zone.offsets[zone.index(second)]))
    try:
        return instant.astimezone(offset).isoformat(timespec="milliseconds" if instant.microsecond else "seconds")
    except OverflowError:
        # In the last hours of the year 9999, or the first of the year 1, its local date is none.
        return instant.astimezone(UTC).isoformat(timespec="seconds")


def time_text(wall: int) -> str:
    """Write a time of day as 02:00; seconds where there are any."""
    minutes, second = divmod(wall % DAY, 60)
    shown = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{shown}:{second:02}" if second else shown


def day_text(wall: int) -> str:
    """Write the day of a wall-clock time as 2026-03-08."""
    return f"{wall_time(wall):%Y-%m-%d}"


def wall_text(wall: int) -> str:
    """Write a wall-clock time as 2026-03-08 02:00."""
    return f"{day_text(wall)} {time_text(wall)}"
