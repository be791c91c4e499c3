"""`schedctl backfills`: runs of past nominal times."""

from __future__ import annotations

from datetime import datetime
from time import sleep
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.arguments import (
    LARGEST,
    JobArgument,
    JobOption,
    LimitOption,
    ReasonOption,
    ValidateOption,
    YesOption,
    one_of,
    page_for,
)
from cli.exits import Exit
from cli.output import View, counted, plain, state, stderr, time, time_of
from cli.session import Session, command, group
from cli.times import instant
from shared.proto import planning_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Cell

app = group("Run past occurrences again, or for the first time.")

BackfillArgument = Annotated[str, typer.Argument(metavar="BACKFILL_ID", help="The backfill.", show_default=False)]

LOOK_EVERY: Final = 1.0
"""Seconds."""


def _states(backfill: pb.Backfill) -> str:
    return plain(", ".join(f"{number:,} {name}" for name, number in sorted(backfill.states.items())))


BACKFILLS: Final = View[pb.Backfill](
    name=lambda backfill: backfill.backfill_id,
    columns={
        "created": lambda backfill: time(backfill.created_at),
        "backfill": lambda backfill: plain(backfill.backfill_id),
        "job": lambda backfill: plain(backfill.job_id),
        "state": lambda backfill: state(pb.Backfill.State.Name(backfill.state)),
        "decided": lambda backfill: f"{backfill.decided:,} of {backfill.total:,}",
        "executions": _states,
        "by": lambda backfill: plain(backfill.created_by),
    },
)


def _facts(backfill: pb.Backfill) -> Iterator[tuple[str, Cell]]:
    yield "backfill", plain(backfill.backfill_id)
    yield "job", plain(backfill.job_id)
    yield "state", state(pb.Backfill.State.Name(backfill.state))
    yield "because", plain(backfill.status_message)
    yield "nominal times", f"{time(backfill.from_time)} to {time(backfill.to_time)}"
    yield "what ran before", pb.Backfill.Existing.Name(backfill.existing).removeprefix("EXISTING_")
    yield "at a time", str(backfill.max_parallel)
    yield "queue", plain(backfill.queue)
    yield "decided", f"{backfill.decided:,} of {backfill.total:,}, {backfill.left:,} left as they were"
    yield "executions", _states(backfill)
    yield "reached", time_of(backfill, "reached")
    yield "created", f"{time_of(backfill, 'created_at')} by {plain(backfill.created_by)}"
    yield "finished", time_of(backfill, "finished_at")


@command(app)
def create(
    session: Session,
    job_id: JobArgument,
    start: Annotated[datetime, typer.Option("--from", parser=instant, metavar="TIME", help="The first may be then.")],
    end: Annotated[datetime, typer.Option("--to", parser=instant, metavar="TIME", help="All are before.")],
    existing: Annotated[
        str,
        typer.Option(
            parser=one_of(pb.Backfill.Existing),
            metavar="WHAT",
            help="What ran before: skip, rerun_failed or rerun.",
        ),
    ] = "skip",
    parallel: Annotated[int, typer.Option(min=1, max=LARGEST, help="How many run at a time.")] = 1,
    in_order: Annotated[bool, typer.Option("--in-order", help="One after another.")] = False,
    queue: Annotated[str, typer.Option(help="The queue, instead of the job's.")] = "",
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """Run a job for past nominal times. Says how many there are in the range, and asks first."""
    overlap = "OVERLAP_BUFFER_ALL" if in_order else "OVERLAP_ALLOW"
    wanted = {"existing": existing, "overlap": overlap, "max_parallel": parallel, "queue": queue}
    ask = session.scheduler.create_backfill
    if validate_only or not yes:
        checked = ask(job_id, start, end, validate_only=True, **wanted)  # type: ignore[arg-type]
        if validate_only:
            session.out.one(checked, "", _facts(checked))
            return
        session.confirm(f"Run {counted(checked.total, 'nominal time')} of {plain(job_id)}?", yes=yes)
    made = ask(job_id, start, end, **wanted)  # type: ignore[arg-type]
    said = f"the backfill {plain(made.backfill_id)} runs {counted(made.total, 'nominal time')}"
    session.out.done(made, made.backfill_id, said)


@command(app, "list")
def list_(session: Session, job_id: JobOption = "", limit: LimitOption = 50) -> None:
    """Show backfills, the newest first."""
    found = session.scheduler.backfills(job_id=job_id, page_size=page_for(limit))
    session.out.first(limit, found, BACKFILLS, none="no backfills")


@command(app)
def get(session: Session, backfill_id: BackfillArgument) -> None:
    """Show a backfill, with its progress."""
    found = session.scheduler.get_backfill(backfill_id)
    session.out.one(found, backfill_id, _facts(found))


@command(app)
def pause(
    session: Session, backfill_id: BackfillArgument, reason: ReasonOption = "", validate_only: ValidateOption = False
) -> None:
    """Decide no further time of a backfill until it is resumed.

    What was decided by then is still started.
    """
    found = session.scheduler.pause_backfill(backfill_id, reason=reason, validate_only=validate_only)
    said = "would be paused" if validate_only else "is paused"
    session.out.done(found, backfill_id, f"the backfill {plain(backfill_id)} {said}")


@command(app)
def resume(session: Session, backfill_id: BackfillArgument, validate_only: ValidateOption = False) -> None:
    """Go on with a paused backfill."""
    found = session.scheduler.resume_backfill(backfill_id, validate_only=validate_only)
    said = "would go on" if validate_only else "goes on"
    session.out.done(found, backfill_id, f"the backfill {plain(backfill_id)} {said}")


@command(app)
def cancel(
    session: Session,
    backfill_id: BackfillArgument,
    reason: ReasonOption = "",
    cancel_running: Annotated[bool, typer.Option("--cancel-running", help="Cancel what runs, too.")] = False,
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """End a backfill for good."""
    session.confirm(f"Cancel the backfill {plain(backfill_id)}?", yes=yes or validate_only)
    found = session.scheduler.cancel_backfill(
        backfill_id, reason=reason, cancel_running=cancel_running, validate_only=validate_only
    )
    said = "would be cancelled" if validate_only else "is cancelled"
    session.out.done(found, backfill_id, f"the backfill {plain(backfill_id)} {said}")


@command(app)
def wait(session: Session, backfill_id: BackfillArgument) -> None:
    """Wait until a backfill has ended. Ends with 1 unless all its executions succeeded."""
    from rich.progress import Progress  # noqa: PLC0415 - for this alone

    console = stderr()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(plain(backfill_id), total=None)
        while True:
            found = session.scheduler.get_backfill(backfill_id)
            ended = sum(found.states.get(name, 0) for name in ("SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"))
            progress.update(bar, total=found.total, completed=found.left + ended)
            if found.HasField("finished_at"):
                break
            sleep(LOOK_EVERY)
    session.out.one(found, backfill_id, _facts(found))
    well = found.state == pb.Backfill.STATE_COMPLETED and set(found.states) <= {"SUCCEEDED"}
    if not well:
        raise typer.Exit(Exit.FOUND)
