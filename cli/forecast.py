"""`schedctl forecast`: the load to come, drawn."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from cli.arguments import FromOption, QueueOption, TargetOption
from cli.output import View, plain, time
from cli.session import Session, alone
from cli.times import span
from scheduler_client import to_datetime
from shared.proto import planning_service_pb2 as pb

WIDTH: Final = 50
ROWS: Final = 36
"""About as many as a terminal shows."""
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

BUCKETS: Final = View[pb.ForecastLoadResponse.Bucket](
    name=lambda bucket: time(bucket.time),
    columns={"time": lambda bucket: time(bucket.time), "fires": lambda bucket: f"{bucket.fires:,}"},
)


@alone
def forecast(
    session: Session,
    start: FromOption = None,
    length: Annotated[
        timedelta, typer.Option("--span", parser=span, metavar="SPAN", help="How far to look; at most 48h.")
    ] = "6h",  # type: ignore[assignment]  # typer reads it as if it were typed
    bucket: Annotated[
        timedelta | None, typer.Option(parser=span, metavar="SPAN", help="Width of a row, in whole minutes.")
    ] = None,
    queue: QueueOption = "",
    target: TargetOption = "",
) -> None:
    """Draw how much all active jobs will fire over the coming hours, and name the peaks."""
    width = bucket or _fitting(length)
    found = session.scheduler.forecast(start=start, span=length, bucket=width, queue=queue, target=target)
    if not session.out.for_people:
        session.out.each(found.buckets, BUCKETS)
        return
    most = max((each.fires for each in found.buckets), default=0)
    for each in found.buckets:
        at = to_datetime(each.time).astimezone()
        ends = each.time.seconds + width.total_seconds()
        high = any(each.time.seconds <= peak.time.seconds < ends for peak in found.peaks)
        line = Text(f"{at:%a %H:%M} ")
        line.append(bar(each.fires, most, WIDTH), "red" if high else "cyan")
        line.append(f" {each.fires:,}")
        session.out.tell(line)
    total = sum(each.fires for each in found.buckets)
    session.out.tell(f"{total:,} fires of {found.jobs:,} jobs; computed at {time(found.computed_at)}")
    for peak in found.peaks:
        jobs = plain(", ".join(peak.job_ids))
        session.out.tell(f"a peak at {time(peak.time)}: {peak.fires:,} a minute, over {found.peak_limit:,}: {jobs}")


def _fitting(length: timedelta) -> timedelta:
    """Return a width that gives about as many rows as a terminal shows."""
    minutes = length / timedelta(minutes=1) / ROWS
    return timedelta(minutes=next((each for each in (1, 2, 5, 10, 15, 30, 60) if each >= minutes), 120))


def bar(value: int, most: int, width: int) -> str:
    """Return a bar, to an eighth of a character; what is not nothing shows."""
    if value <= 0 or most <= 0:
        return ""
    full, eighths = divmod(max(round(value / most * width * 8), 1), 8)
    return EIGHTHS[8] * full + EIGHTHS[eighths].strip()
