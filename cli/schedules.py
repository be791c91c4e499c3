"""Schedules on the command line: as options, in words, and when they fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from cli.arguments import LARGEST, AtOption, CronOption, EveryOption, FromOption, ZoneOption
from cli.completion import job_ids
from cli.output import View, clock, plain, time, time_of
from cli.session import Session, alone, fail
from scheduler_client import cron, every, once
from shared.proto.planning_service_pb2 import FireTime

if TYPE_CHECKING:
    from datetime import datetime

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

_COLOURS: Final = {"+": "green", "-": "red", " ": ""}

OPTIONS: Final = {
    "schedule_config.config.expression": "--cron",
    "schedule_config.expressions": "--cron",
    "schedule_config.timezone": "--tz",
    "schedule_config.config.every": "--every",
    "schedule_config.config.at": "--at",
}
"""Where a schedule is given by options: what its fields are called there."""

OptionalJob = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="A job, instead of a schedule.", autocompletion=job_ids)
]


def schedule_of(expressions: list[str], zone: str, interval: str, at: datetime | None) -> ScheduleConfig | None:
    """Return the schedule that the options say, if they say one. Ends the command when they say several."""
    given = [name for name, value in (("--cron", expressions), ("--every", interval), ("--at", at)) if value]
    if len(given) > 1:
        fail(f"{' and '.join(given)} say different schedules; give one of them")
    if zone and not expressions:
        fail("--tz goes with --cron")
    if expressions:
        return cron(*expressions, tz=zone)
    if interval:
        return every(interval)
    return once(at) if at is not None else None


def _schedule_beside(
    job_id: str, expressions: list[str], zone: str, interval: str, at: datetime | None
) -> ScheduleConfig | None:
    """Return the schedule that the options say; without one a job has to be named."""
    schedule = schedule_of(expressions, zone, interval, at)
    if schedule is None and not job_id:
        fail("name a job, or give a schedule by --cron, --every or --at")
    return schedule


def in_words(config: ScheduleConfig) -> str:
    """Return a schedule as short as it was written, for a column."""
    terms = config.config
    match config.type:
        case "cron":
            fields = ("second", "minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            by_field = " ".join(terms.get(field, "*") for field in fields[1:])
            said = " | ".join(config.expressions) or terms.get("expression", by_field)
            said += f" {config.timezone}" if config.timezone not in ("", "UTC") else ""
        case "interval":
            units = ((terms.get(unit), unit[0]) for unit in ("days", "hours", "minutes", "seconds"))
            said = "every " + (terms.get("every") or "".join(f"{number}{unit}" for number, unit in units if number))
        case "once":
            said = f"at {terms.get('at', '')}"
        case _:
            said = config.type
    return plain(said)


@alone
def preview(
    session: Session,
    job_id: OptionalJob = "",
    expressions: CronOption = [],  # noqa: B006 - typer copies it
    zone: ZoneOption = "",
    interval: EveryOption = "",
    at: AtOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=LARGEST, help="How many fires.")] = 10,
    start: FromOption = None,
) -> None:
    """Show when a schedule fires next, in its own time zone and in UTC, without saving anything.

    Of a job and a schedule it also shows what would change.
    """
    schedule = _schedule_beside(job_id, expressions, zone, interval, at)
    session.options = OPTIONS
    found = session.scheduler.preview(schedule, job_id=job_id, count=count, start=start)
    if session.out.for_people and schedule is not None and job_id:
        session.warn(found.warnings)
        session.out.tell(plain(found.description))
        _show_difference(session, found)
    elif session.out.for_people:
        show_preview(session, found)
    else:
        session.out.each(found.fires, FIRES)


def _show_difference(session: Session, found: PreviewScheduleResponse) -> None:
    """Tell the fires of a schedule and of the job's present one in one list, with signs for what only one has."""
    added = {fire.time.ToNanoseconds() for fire in found.added}
    lines = [(fire, "+" if fire.time.ToNanoseconds() in added else " ") for fire in found.fires]
    lines += [(fire, "-") for fire in found.removed]
    for fire, sign in sorted(lines, key=lambda line: line[0].time.ToNanoseconds()):
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
def describe(
    session: Session,
    job_id: OptionalJob = "",
    expressions: CronOption = [],  # noqa: B006 - typer copies it
    zone: ZoneOption = "",
    interval: EveryOption = "",
    at: AtOption = None,
) -> None:
    """Say a schedule, or a job's, in plain words."""
    schedule = _schedule_beside(job_id, expressions, zone, interval, at)
    session.options = OPTIONS
    description = session.scheduler.describe(schedule, job_id=job_id)
    session.out.value("description", description)
