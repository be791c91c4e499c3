"""`schedctl explain` and `schedctl occurrences`: single occurrences, past and to come."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from zoneinfo import ZoneInfo

import typer

from cli.arguments import JobArgument, NothingAskedOption, ReasonOption, TimeArgument, ValidateOption, YesOption
from cli.output import View, clock, plain, state, time, time_of
from cli.session import Session, alone, command, group
from cli.times import instant
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as scheduler_pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Cell

app = group("List, skip, move or restore single occurrences to come.")

ComingArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TIME",
        help="Of those to come, by the job's wall clock, as 08:00 (today) or 2030-11-25T08:00; or 2030-11-25T08:00Z.",
        show_default=False,
    ),
]
NewTimeArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NEW_TIME",
        help="When it runs instead, as 10:30 (today), 2030-11-25T10:30 or 2030-11-25T10:30Z; or +2h from now.",
        show_default=False,
    ),
]

_CLOCK: Final = re.compile(r"([01]?\d|2[0-3])(:[0-5]\d){1,2}")


@alone
def explain(session: Session, job_id: JobArgument, when: TimeArgument) -> None:
    """Say what became of an occurrence, and why, with the facts behind it.

    -o name prints the id of its execution, and nothing when it has none.
    """
    if local := _by_the_clock(session, job_id, when):
        found = session.scheduler.explain(job_id, local_time=local)
    else:
        found = session.scheduler.explain(job_id, _with_offset(when))
    if not session.out.for_people:
        session.out.raw(found, found.execution.execution_id)
        return
    session.out.tell(plain(found.sentence))
    session.out.one(found, job_id, _facts(found))


def _by_the_clock(session: Session, job_id: str, when: str) -> str:
    """Return what is meant by the job's wall clock, as 2026-11-25T08:00; nothing where an instant is."""
    if _CLOCK.fullmatch(when):
        # Also of a deleted job, which is explained as well.
        zone = session.scheduler.get_job(job_id, show_deleted=True).schedule_config.timezone or "UTC"
        hour, _, rest = when.partition(":")
        return f"{datetime.now(ZoneInfo(zone)):%Y-%m-%d}T{hour.zfill(2)}:{rest}"
    try:
        local = datetime.fromisoformat(when.upper())
    except ValueError:
        return ""
    if local.tzinfo is not None:
        return ""
    if local.microsecond:
        raise typer.BadParameter(f"{when!r} has a fraction of a second; occurrences have none")
    return local.isoformat()


def _with_offset(when: str) -> datetime:
    try:
        return instant(when)
    except typer.BadParameter:
        said = "expected the job's wall clock, as 08:00 or 2026-11-25T08:00, or an instant, as 2026-11-25T08:00Z"
        raise typer.BadParameter(f"{when!r} is not a time; {said}") from None


def _instant(session: Session, job_id: str, when: str) -> datetime:
    """Return the instant that is meant: the server knows the job's clock, and which time its schedule has twice."""
    if local := _by_the_clock(session, job_id, when):
        return datetime.fromisoformat(session.scheduler.explain(job_id, local_time=local).local_time)
    return _with_offset(when).replace(microsecond=0)  # +30m from now is no whole second; occurrences are


def _facts(found: pb.ExplainOccurrenceResponse) -> Iterator[tuple[str, Cell]]:
    yield "verdict", state(pb.ExplainOccurrenceResponse.Verdict.Name(found.verdict))
    yield "local time", clock(found.local_time)
    for fact in found.facts:
        times = [f"{name} {at}" for name in ("since", "until") if (at := time_of(fact, name))]
        yield plain(fact.kind), plain(fact.detail) + (f" ({', '.join(times)})" if times else "")
    yield "execution", plain(found.execution.execution_id)
    for heading, fire in (("before it", found.previous), ("after it", found.next)):
        if fire.HasField("time"):
            yield heading, _both(fire)


def _both(fire: pb.FireTime) -> str:
    """Return when an occurrence is, in UTC, and by the job's clock where that is another."""
    local = clock(fire.local_time)
    return time(fire.time) if local.endswith("Z") else f"{time(fire.time)} ({local})"


CHANGES: Final = View[scheduler_pb.OccurrenceChange](
    name=lambda change: time(change.nominal_time),
    columns={
        "occurrence": lambda change: time(change.nominal_time),
        "runs at": lambda change: time_of(change, "new_time") or "not at all",
        "by": lambda change: plain(change.by),
        "reason": lambda change: plain(change.reason),
        "asked": lambda change: time(change.time),
    },
)


@command(app, "list")
def list_(session: Session, job_id: JobArgument) -> None:
    """Show those to come that were skipped or moved."""
    changes = session.scheduler.status(job_id).occurrence_changes
    session.out.each(changes, CHANGES, none="all go as the schedule says")


@command(app)
def skip(
    session: Session,
    job_id: JobArgument,
    when: ComingArgument,
    reason: ReasonOption = "",
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """Leave out one occurrence that is still to come."""
    nominal = _instant(session, job_id, when)
    if not (validate_only or yes):  # nobody shall say yes to what is refused then
        session.scheduler.skip_occurrence(job_id, nominal, reason=reason, validate_only=True)
        session.confirm(f"Skip the occurrence of {plain(job_id)} at {clock(nominal.isoformat())}?", yes=False)
    change = session.scheduler.skip_occurrence(job_id, nominal, reason=reason, validate_only=validate_only)
    _told(session, change, "would be left out" if validate_only else "is left out")


@command(app)
def move(
    session: Session,
    job_id: JobArgument,
    when: ComingArgument,
    to: NewTimeArgument,
    reason: ReasonOption = "",
    validate_only: ValidateOption = False,
    _yes: NothingAskedOption = False,
) -> None:
    """Run one occurrence that is still to come at another time."""
    nominal, new = _instant(session, job_id, when), _instant(session, job_id, to)
    change = session.scheduler.move_occurrence(job_id, nominal, new, reason=reason, validate_only=validate_only)
    _told(session, change, f"{'would run' if validate_only else 'runs'} at {time_of(change, 'new_time')}")


@command(app)
def restore(session: Session, job_id: JobArgument, when: ComingArgument, _yes: NothingAskedOption = False) -> None:
    """Take back a skip or a move."""
    change = session.scheduler.restore_occurrence(job_id, _instant(session, job_id, when))
    _told(session, change, "goes as the schedule says again")


def _told(session: Session, change: scheduler_pb.OccurrenceChange, said: str) -> None:
    nominal = time(change.nominal_time)
    session.out.done(change, nominal, f"the occurrence at {nominal} {said}")
