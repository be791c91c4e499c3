"""What a client asks of the statistics, checked: spans that roll-ups can answer, in windows that they have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from scheduler_service.statistics.tallies import GroupBy, Question
from scheduler_service.transport.convert import to_instant, to_span
from scheduler_service.transport.fields import name_violations, refuse
from shared.domain.clock import utc_text
from shared.domain.errors import Violation
from shared.domain.rollup import DAY, KEPT, Level, floor
from shared.proto import statistics_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SPAN: Final = DAY
DEFAULT_GROUPS: Final = 50
MOST_GROUPS: Final = 1_000
MOST_ENTRIES: Final = 10_000
"""Groups times windows: more than that no client takes in one message."""
LONGEST: Final[Mapping[Level, timedelta]] = {
    Level.MINUTE: timedelta(hours=6),
    Level.HOUR: timedelta(days=31),
    Level.DAY: KEPT[Level.DAY],
}
"""The longest span for each width of windows."""

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LEAST: Final = timedelta(microseconds=1)
_WIDTHS: Final = "60 s, 3600 s or 86400 s"


def question(request: pb.GetStatisticsRequest, now: datetime) -> Question:
    """Return what a request asks at `now` (the database's time). Raises InvalidInput with all that is wrong."""
    found: list[Violation] = []
    group_by = _group_by(request.group_by, found)
    end = to_instant("to_time", request.to_time, found) if request.HasField("to_time") else now
    # Nothing has ended before or after; and the calendar ends where the arithmetic begins.
    end = min(max(end or now, _EARLIEST + DEFAULT_SPAN), now + DAY)
    start = to_instant("from_time", request.from_time, found) if request.HasField("from_time") else end - DEFAULT_SPAN
    window = _window(request, found)
    if start is not None and start >= end:
        found.append(Violation("from_time", f"{utc_text(start)} is not before to_time, {utc_text(end)}"))
    if not 0 <= request.limit <= MOST_GROUPS:
        found.append(Violation("limit", f"{request.limit} is not 1 to {MOST_GROUPS:,}, or 0 for {DEFAULT_GROUPS}"))
    found += name_violations(request, "job_id", "queue", "target_service")
    refuse(found)
    start = start or end - DEFAULT_SPAN  # for the type: what was refused does not get here
    level = window or _finest(start, end, now)
    if end - start > LONGEST[level]:
        longest = LONGEST[level]
        said = f"{longest.days} days" if longest >= DAY else f"{longest // timedelta(hours=1)} hours"
        found.append(Violation("from_time", f"the span is too long for windows of a {level} (at most {said})"))
    elif start < now - KEPT[level]:
        said = f"roll-ups of a {level} are kept for {KEPT[level].days} days; ask for a later time, or wider windows"
        found.append(Violation("from_time", said))
    start, end = floor(start, level.width), floor(end - _LEAST, level.width) + level.width
    width = end - start if window is None else level.width
    windows = (end - start) // width
    if request.limit * windows > MOST_ENTRIES:
        said = f"{request.limit:,} groups in {windows:,} windows are more than {MOST_ENTRIES:,} entries; ask for fewer"
        found.append(Violation("limit", said))
    refuse(found)
    return Question(
        group_by,
        level,
        start,
        end,
        width,
        request.limit or min(DEFAULT_GROUPS, MOST_ENTRIES // windows),
        request.job_id,
        request.queue,
        request.target_service,
    )


def _group_by(number: int, found: list[Violation]) -> GroupBy:
    known = pb.GetStatisticsRequest.GroupBy.DESCRIPTOR.values_by_number.get(number)
    if known is None:
        found.append(Violation("group_by", f"{number} is not the number of a grouping ({', '.join(GroupBy)})"))
    return GroupBy(known.name.removeprefix("GROUP_BY_")) if known is not None and number else GroupBy.ALL


def _window(request: pb.GetStatisticsRequest, found: list[Violation]) -> Level | None:
    """Return the level that has windows of the width asked for; None when one window for all is."""
    if not request.HasField("window"):
        return None
    width = to_span("window", request.window, found)
    level = next((level for level in Level if level.width == width), None)
    if width is not None and level is None:
        found.append(Violation("window", f"{width.total_seconds():g} s is not the width of a window ({_WIDTHS})"))
    return level


def _finest(start: datetime, end: datetime, now: datetime) -> Level:
    """Return the finest level that can answer for a span as a whole; the coarsest, where none can."""
    fitting = (level for level in Level if end - start <= LONGEST[level] and start >= now - KEPT[level])
    return next(fitting, Level.DAY)
