"""Schedules: when a job fires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.values import Span, duration, timestamp
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import datetime

_SECOND: Final = 1.0


def cron(
    *expressions: str,
    tz: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    jitter: Span | None = None,
    max_runs: int = 0,
    exclusions: pb.Exclusions | None = None,
) -> pb.ScheduleConfig:
    """Return a schedule that follows cron expressions, as `"0 8 * * MON-FRI"`, by the wall clock of a time zone.

    tz: an IANA name, as "America/New_York"; UTC if left out. Of several expressions the schedule is the union.
    Whether they are right is for the service to say.
    """
    if not expressions:
        raise TypeError("cron() needs an expression, as '0 8 * * *'")
    several = len(expressions) > 1
    return pb.ScheduleConfig(
        type="cron",
        config={} if several else {"expression": expressions[0]},
        expressions=expressions if several else (),
        timezone=tz,
        start_time=timestamp(start),
        end_time=timestamp(end),
        jitter=duration(jitter),
        max_runs=max_runs,
        exclusions=exclusions,
    )


def every(
    interval: str | Span,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    jitter: Span | None = None,
    max_runs: int = 0,
) -> pb.ScheduleConfig:
    """Return a schedule that fires again and again after an interval: "1h30m", a timedelta, or seconds.

    It counts from start, else from when the job is created; the first fire is one interval later.
    """
    return pb.ScheduleConfig(
        type="interval",
        config={"every": interval} if isinstance(interval, str) else {"seconds": _seconds(interval)},
        start_time=timestamp(start),
        end_time=timestamp(end),
        jitter=duration(jitter),
        max_runs=max_runs,
    )


def once(at: datetime) -> pb.ScheduleConfig:
    """Return a schedule that fires at one instant, which needs a time zone."""
    timestamp(at)
    return pb.ScheduleConfig(type="once", config={"at": at.isoformat()})


def _seconds(interval: Span) -> str:
    duration(interval)  # refuses what no span can be
    seconds = interval if isinstance(interval, int | float) else interval.total_seconds()
    if seconds < _SECOND or seconds != int(seconds):
        raise ValueError(f"an interval is a whole number of seconds, at least one; {seconds} is not")
    return str(int(seconds))
