"""`schedctl explain` and `schedctl occurrences`: single occurrences, past and to come."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import typer

from cli.arguments import JobArgument, ReasonOption, TimeArgument, ValidateOption, YesOption
from cli.output import plain, state, time, time_of
from cli.session import Session, alone, command, group
from cli.times import instant
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as scheduler_pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Cell

app = group("Skip, move or restore a single occurrence to come.")

_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?")


@alone
def explain(
    session: Session,
    job_id: JobArgument,
    when: Annotated[
        str,
        typer.Argument(
            metavar="TIME",
            help="By the job's wall clock, as 08:00 (today) or 2026-11-25T08:00; or with an offset, as 08:00Z is not.",
            show_default=False,
        ),
    ],
) -> None:
    """Say what became of an occurrence, and why, with the facts behind it."""
    scheduler = session.scheduler
    if _CLOCK.fullmatch(when):
        zone = scheduler.get_job(job_id).schedule_config.timezone or "UTC"
        when = f"{datetime.now(ZoneInfo(zone)):%Y-%m-%d}T{when.zfill(5)}"
    if _LOCAL.fullmatch(when):
        found = scheduler.explain(job_id, local_time=when.replace(" ", "T"))
    else:
        found = scheduler.explain(job_id, instant(when))
    if not session.out.for_people:
        session.out.raw(found, found.execution.execution_id or job_id)
        return
    session.out.tell(plain(found.sentence))
    session.out.one(found, job_id, _facts(found))


def _facts(found: pb.ExplainOccurrenceResponse) -> Iterator[tuple[str, Cell]]:
    yield "verdict", state(pb.ExplainOccurrenceResponse.Verdict.Name(found.verdict))
    yield "local time", plain(found.local_time)
    for fact in found.facts:
        since = f" (since {time(fact.since)})" if fact.HasField("since") else ""
        yield plain(fact.kind), plain(fact.detail) + since
    yield "execution", plain(found.execution.execution_id)
    for heading, fire in (("before it", found.previous), ("after it", found.next)):
        if fire.HasField("time"):
            yield heading, f"{time(fire.time)} ({plain(fire.local_time)})"


@command(app)
def skip(
    session: Session,
    job_id: JobArgument,
    when: TimeArgument,
    reason: ReasonOption = "",
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """Leave out one occurrence that is still to come."""
    if not validate_only:
        session.confirm(f"Skip the occurrence of {plain(job_id)} at {when.isoformat()}?", yes=yes)
    change = session.scheduler.skip_occurrence(job_id, when, reason=reason, validate_only=validate_only)
    _told(session, change, "would be left out" if validate_only else "is left out")


@command(app)
def move(
    session: Session,
    job_id: JobArgument,
    when: TimeArgument,
    to: Annotated[
        datetime,
        typer.Argument(metavar="NEW_TIME", parser=instant, help="When it runs instead.", show_default=False),
    ],
    reason: ReasonOption = "",
    validate_only: ValidateOption = False,
) -> None:
    """Run one occurrence that is still to come at another time."""
    change = session.scheduler.move_occurrence(job_id, when, to, reason=reason, validate_only=validate_only)
    _told(session, change, f"{'would run' if validate_only else 'runs'} at {time_of(change, 'new_time')}")


@command(app)
def restore(session: Session, job_id: JobArgument, when: TimeArgument) -> None:
    """Take back a skip or a move."""
    _told(session, session.scheduler.restore_occurrence(job_id, when), "goes as the schedule says again")


def _told(session: Session, change: scheduler_pb.OccurrenceChange, said: str) -> None:
    nominal = time(change.nominal_time)
    session.out.done(change, nominal, f"the occurrence at {nominal} {said}")
