"""Schedules on the command line: as options, in words, and when they fire."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from cli.arguments import LARGEST, FromOption
from cli.completion import job_ids
from cli.output import Format, View, clock, plain, time, time_of
from cli.schedule_options import OPTIONS, ScheduleOptions
from cli.session import Session, alone, fail
from shared.proto.planning_service_pb2 import FireTime

if TYPE_CHECKING:
    from shared.proto.planning_service_pb2 import PreviewScheduleResponse
    from shared.proto.scheduler_service_pb2 import ScheduleConfig

FIRES: Final = View[FireTime](
    name=lambda fire: time(fire.time),
    columns={
        "local time": lambda fire: clock(fire.local_time),
        "UTC": lambda fire: time(fire.time),
        "due": lambda fire: time_of(fire, "due_time"),
        "remarks": lambda fire: plain("; ".join(fire.remarks)),
    },
)

_OFFSET: Final = re.compile(r"(Z|[+-]\d\d:\d\d)\s*$", re.IGNORECASE)

_YEAR: Final = timedelta(days=366)

_COLOURS: Final = {"+": "green", "-": "red", " ": ""}

OptionalJob = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="A job; options go over its schedule.", autocompletion=job_ids)
]


def in_words(config: ScheduleConfig) -> str:
    """Return a schedule as short as it was written, for a column."""
    terms = config.config
    zone = f" {config.timezone}" if config.timezone not in ("", "UTC") else ""
    match config.type:
        case "cron":
            fields = ("second", "minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            by_field = " ".join(terms.get(field, "*") for field in fields[1:])
            said = " | ".join(config.expressions) or terms.get("expression", by_field)
            said += zone
        case "interval":
            units = ((terms.get(unit), unit[0]) for unit in ("days", "hours", "minutes", "seconds"))
            said = "every " + (terms.get("every") or "".join(f"{number}{unit}" for number, unit in units if number))
        case "once":
            at = terms.get("at", "")
            said = f"at {at}" + ("" if _OFFSET.search(at) else zone)
        case _:
            said = config.type
    return plain(said)


@alone
def preview(
    session: Session,
    options: ScheduleOptions,
    job_id: OptionalJob = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=LARGEST, help="How many fires.")] = 10,
    start: FromOption = None,
) -> None:
    """Show when a schedule fires next, in its own time zone and in UTC, without saving anything.

    Of a job and options it shows which times would come and go by `jobs update` with these; not what of them is
    skipped, moved, or put off.
    """
    schedule = _schedule(session, options, job_id)
    found = session.scheduler.preview(schedule, job_id=job_id, count=count, start=start)
    if start is None:
        warn_when_far(session, found)
    if schedule is not None and job_id:
        _show_difference(session, found)
    elif session.out.for_people:
        show_preview(session, found)
    else:
        session.out.each(found.fires, FIRES)


def warn_when_far(session: Session, found: PreviewScheduleResponse) -> None:
    """Say when the first fire from now on is more than a year away: often two fields that seldom meet."""
    if found.fires and found.fires[0].time.ToDatetime(UTC) > datetime.now(UTC) + _YEAR:
        session.warn([f"it fires next at {time(found.fires[0].time)}, more than a year from now"])


def _schedule(session: Session, options: ScheduleOptions, job_id: str) -> ScheduleConfig | None:
    """Return the schedule that the options say, over a job's if one is named; None for the job's as it is.

    Ends the command when neither a schedule nor a job is named.
    """
    schedule = None
    if not options.say_a_schedule:
        if not job_id:
            fail("name a job, or give a schedule by --cron, --every or --at")
    elif job_id:
        schedule = session.scheduler.get_job(job_id).schedule_config
        options.put_schedule(schedule)
    else:
        schedule = options.schedule()
    session.options = OPTIONS
    return schedule


def _show_difference(session: Session, found: PreviewScheduleResponse) -> None:
    """Tell the fires of a schedule and of the job's present one in one list, with signs for what only one has."""
    if session.out.for_people:
        session.warn(found.warnings)
        session.out.tell(plain(found.description))
    added = {fire.time.ToNanoseconds() for fire in found.added}
    lines = [(fire, "+" if fire.time.ToNanoseconds() in added else " ") for fire in found.fires]
    lines += [(fire, "-") for fire in found.removed]
    for fire, sign in sorted(lines, key=lambda line: line[0].time.ToNanoseconds()):
        if not session.out.for_people:
            if sign != "-" or session.out.format is not Format.NAME:  # a name alone would be of one that comes
                session.out.raw(fire, time(fire.time), sign=sign.strip())
            continue
        local = clock(fire.local_time)
        session.out.tell(
            Text(f"{sign} {local}" + ("" if local.endswith("Z") else f"  {time(fire.time)}"), _COLOURS[sign])
        )


def show_preview(session: Session, found: PreviewScheduleResponse) -> None:
    """Tell a schedule in words, and its next fires."""
    session.warn(found.warnings)
    if found.description:
        session.out.tell(plain(found.description))
    session.out.each(found.fires, FIRES)
    if found.ends:
        session.out.tell(plain(found.ends))


@alone
def describe(session: Session, options: ScheduleOptions, job_id: OptionalJob = "") -> None:
    """Say a schedule, or a job's, in plain words; of a job and options, what `jobs update` would make of it."""
    schedule = _schedule(session, options, job_id)
    description = session.scheduler.describe(schedule, job_id=job_id)
    session.out.value("description", description)
