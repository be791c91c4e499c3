"""`schedctl forecast`: the load to come, drawn."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from cli.arguments import FromOption, QueueOption, TargetOption
from cli.output import View, counted, plain, time
from cli.session import Session, alone
from cli.times import span
from scheduler_client import to_datetime
from shared.proto import planning_service_pb2 as pb

MINUTE: Final = timedelta(minutes=1)
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
    if bucket is not None and (bucket < MINUTE or bucket % MINUTE):
        raise typer.BadParameter("a row is whole minutes wide, at least one, as 10m", param_hint="--bucket")
    width = bucket or _fitting(length)
    session.options = {"span": "--span", "bucket": "--bucket", "from_time": "--from"}
    ask = session.scheduler.forecast
    if not session.out.for_people:
        found = ask(start=start, span=length, bucket=width, queue=queue, target=target)
        session.out.each(found.buckets, BUCKETS)
        return
    # By the minute, since rows begin at whole multiples of their width, and now is seldom one.
    found = ask(start=start, span=length, bucket=MINUTE, queue=queue, target=target)
    rows = by_row({to_datetime(each.time).astimezone(): each.fires for each in found.buckets}, width)
    high = by_row({to_datetime(peak.time).astimezone(): 1 for peak in found.peaks}, width)
    most = max(rows.values(), default=0)
    for at, fires in rows.items():
        line = Text(f"{at:%a %H:%M} ")
        line.append(bar(fires, most, WIDTH), "red" if at in high else "cyan")
        line.append(f" {fires:,}")
        session.out.tell(line)
    total = counted(sum(rows.values()), "fire")
    session.out.tell(f"{total} of {counted(found.jobs, 'job')}; computed at {time(found.computed_at)}")
    for peak in found.peaks:
        jobs = plain(", ".join(peak.job_ids))
        session.out.tell(f"a peak at {time(peak.time)}: {peak.fires:,} a minute, over {found.peak_limit:,}: {jobs}")


def _fitting(length: timedelta) -> timedelta:
    """Return a width that gives about as many rows as a terminal shows."""
    minutes = length / timedelta(minutes=1) / ROWS
    return timedelta(minutes=next((each for each in (1, 2, 5, 10, 15, 30, 60) if each >= minutes), 120))


def by_row(fires: dict[datetime, int], width: timedelta) -> dict[datetime, int]:
    """Return fires by minute summed up in rows that begin at whole multiples of their width, by the minutes' clock."""
    rows: dict[datetime, int] = {}
    for at, number in fires.items():
        since = at.replace(tzinfo=None) - datetime.min  # noqa: DTZ901 - a distance on the wall clock
        begins = at - since % width
        rows[begins] = rows.get(begins, 0) + number
    return rows


def bar(value: int, most: int, width: int) -> str:
    """Return a bar, to an eighth of a character; what is not nothing shows."""
    if value <= 0 or most <= 0:
        return ""
    full, eighths = divmod(max(round(value / most * width * 8), 1), 8)
    return EIGHTHS[8] * full + EIGHTHS[eighths].strip()
