"""`schedctl executions`: what ran, runs, or was decided not to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration

from cli.arguments import (
    ExecutionArgument,
    ExecutionsArgument,
    JobOption,
    LabelsOption,
    LimitOption,
    NothingAskedOption,
    ReasonOption,
    ValidateOption,
    WaitOption,
    YesOption,
    labels_of,
    one_of,
    page_for,
)
from cli.completion import execution_ids
from cli.exits import Exit
from cli.output import View, counted, plain, shortened, span, state, time, time_of
from cli.progress import waiting
from cli.session import Session, alone, command, fail, group
from scheduler_client import DeadlineExceeded, Unavailable, to_dict
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from google.protobuf.struct_pb2 import Struct

    from cli.output import Cell

app = group("List, follow, cancel and retry executions.")

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED", "COALESCED"})
ACTIVE: Final = ("STATE_RUNNING", "STATE_WAITING", "STATE_QUEUED", "STATE_PENDING")


def state_of(execution: pb.Execution) -> str:
    """Return an execution's state, as SUCCEEDED."""
    return pb.Execution.State.Name(execution.state).removeprefix("STATE_")


def _took(execution: pb.Execution) -> str:
    if not (execution.HasField("started_at") and execution.HasField("finished_at")):
        return ""
    took = Duration()
    took.FromTimedelta(execution.finished_at.ToDatetime() - execution.started_at.ToDatetime())
    return span(took)


def _said(execution: pb.Execution) -> str:
    return shortened(execution.error.message or execution.reason)


EXECUTIONS: Final = View[pb.Execution](
    name=lambda execution: execution.execution_id,
    columns={
        "nominal time": lambda execution: time(execution.nominal_time),
        "state": lambda execution: state(pb.Execution.State.Name(execution.state)),
        "execution": lambda execution: plain(execution.execution_id),
        "job": lambda execution: plain(execution.job_id),
        "trigger": lambda execution: pb.Execution.Trigger.Name(execution.trigger).removeprefix("TRIGGER_"),
        "attempt": lambda execution: f"{execution.attempt}/{execution.max_attempts}",
        "took": _took,
        "covers": lambda execution: f"{execution.occurrence_count:,}" if execution.occurrence_count > 1 else "",
        "error or reason": _said,
    },
    numbers=frozenset({"took", "covers"}),
)


@command(app, "list")
def list_(
    session: Session,
    filter_: Annotated[str, typer.Option("--filter", help="Which, as 'state = FAILED AND queue = \"scraping\"'.")] = "",
    job_id: JobOption = "",
    states: Annotated[
        list[str],
        typer.Option(
            "--state", parser=one_of(pb.Execution.State), metavar="STATE", help="Only in this state; may be repeated."
        ),
    ] = [],  # noqa: B006
    decisions: Annotated[bool, typer.Option("--decisions", help="Also what was decided not to run.")] = False,
    parts_of: Annotated[str, typer.Option("--parts-of", metavar="EXECUTION_ID", help="The parts of this one.")] = "",
    limit: LimitOption = 50,
) -> None:
    """Show executions, the newest nominal time first."""
    found = session.scheduler.executions(
        filter_,
        job_id=job_id,
        states=states,
        include_decisions=decisions,
        parent_execution_id=parts_of,
        page_size=page_for(limit),
    )
    session.out.first(limit, found, EXECUTIONS, none="no executions")


@command(app)
def get(session: Session, execution_id: ExecutionArgument) -> None:
    """Show an execution, with each step of its life."""
    show_execution(session, session.scheduler.get_execution(execution_id))


def show_execution(session: Session, execution: pb.Execution) -> None:
    """Print an execution as a whole."""
    session.out.one(execution, execution.execution_id, _facts(execution))


def _facts(execution: pb.Execution) -> Iterator[tuple[str, Cell]]:
    yield "execution", plain(execution.execution_id)
    yield "job", plain(" ".join(filter(None, (execution.job_id, f"({execution.job_name})"))))
    yield "state", state(pb.Execution.State.Name(execution.state))
    yield "because", plain(execution.reason)
    yield "trigger", pb.Execution.Trigger.Name(execution.trigger).removeprefix("TRIGGER_")
    yield "nominal time", time(execution.nominal_time)
    if execution.occurrence_count > 1:
        first, last = time(execution.first_time), time(execution.last_time)
        yield "covers", f"{execution.occurrence_count:,} occurrences, {first} to {last}"
    yield "due", time_of(execution, "due_time")
    yield "started", time_of(execution, "started_at")
    yield "finished", time_of(execution, "finished_at")
    yield "took", _took(execution)
    yield "attempt", f"{execution.attempt} of {execution.max_attempts}"
    yield "queue", plain(execution.queue)
    yield "worker", plain(execution.worker)
    yield "target", plain(f"{execution.target_service} {execution.target_method}")
    yield "parameters", _struct(execution.parameters) if execution.HasField("parameters") else ""
    yield "result", _struct(execution.result) if execution.HasField("result") else ""
    if execution.HasField("error"):
        yield "error", plain(f"{execution.error.code}: {execution.error.message}")
    if execution.HasField("parts"):
        counts = ", ".join(f"{number} {name}" for name, number in sorted(execution.parts.states.items()))
        yield "parts", plain(f"{execution.parts.total}: {counts}")
    yield "retry of", plain(execution.retry_of)
    yield "part of", plain(execution.parent_execution_id)
    yield "backfill", plain(execution.backfill_id)
    yield "trace", plain(execution.trace_id)
    yield "life", "\n".join(_step(transition) for transition in execution.transitions)


def _struct(struct: Struct) -> str:
    return plain(json.dumps(to_dict(struct), ensure_ascii=False))


def _step(transition: pb.Execution.Transition) -> str:
    name = pb.Execution.State.Name(transition.state).removeprefix("STATE_")
    said = f"{time(transition.time)} {name:<9} {transition.by}"
    return plain(f"{said}: {transition.reason}" if transition.reason else said)


@command(app)
def cancel(
    session: Session,
    execution_ids: ExecutionsArgument,
    reason: ReasonOption = "",
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """Stop executions for good, also those that run."""
    named = plain(execution_ids[0]) if len(execution_ids) == 1 else counted(len(execution_ids), "execution")
    session.confirm(f"Cancel {named}?", yes=yes or validate_only)

    def do(execution_id: str) -> None:
        execution = session.scheduler.cancel(execution_id, reason=reason, validate_only=validate_only)
        ended = state_of(execution) == "CANCELLED"
        said = "cancelled" if ended else "asked to stop"
        said = f"would be {said}" if validate_only else f"is {said}"
        session.out.done(execution, execution_id, f"{plain(execution_id)} {said}")

    session.for_each(execution_ids, do)


@command(app)
def retry(
    session: Session,
    execution_ids: ExecutionsArgument,
    queue: Annotated[str, typer.Option(help="The queue, instead of that of each.")] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Also the parts that succeeded.")] = False,
    validate_only: ValidateOption = False,
    _yes: NothingAskedOption = False,
) -> None:
    """Run again what failed or was cancelled. Each runs as a new execution."""

    def do(execution_id: str) -> None:
        execution = session.scheduler.retry(
            execution_id, queue=queue, from_start=from_start, validate_only=validate_only
        )
        if validate_only:
            session.out.done(execution, execution_id, f"{plain(execution_id)} would run again")
            return
        said = f"{plain(execution_id)} runs again as {plain(execution.execution_id)}"
        session.out.done(execution, execution.execution_id, said)

    session.for_each(execution_ids, do)


@command(app)
def watch(
    session: Session,
    execution_id: Annotated[
        str, typer.Argument(metavar="EXECUTION_ID", help="Until it has ended.", autocompletion=execution_ids)
    ] = "",
    job_id: JobOption = "",
    label: LabelsOption = [],  # noqa: B006 - typer copies it
    decisions: Annotated[bool, typer.Option("--decisions", help="Also decisions not to run.")] = False,
    parts: Annotated[bool, typer.Option("--parts", help="Also the parts of fan-outs and workflows.")] = False,
    resume: Annotated[str, typer.Option("--resume", metavar="TOKEN", help="Go on after a resume_token.")] = "",
) -> None:
    """Print each step of executions as it happens. A line each; of one execution, until it has ended."""
    told = session.scheduler.watch_executions(
        execution_id=execution_id,
        job_id=job_id,
        labels=labels_of(label),
        include_decisions=decisions,
        include_parts=parts,
        resume_token=resume,
    )
    for message in told:
        execution = message.execution
        if not session.out.for_people:
            session.out.raw(message, execution.execution_id)
        for transition in message.transitions:
            session.out.tell(f"{_step(transition)}  {plain(execution.job_id)} {plain(execution.execution_id)}")
        if execution_id and state_of(execution) in ENDED:
            return


@command(app)
def wait(session: Session, execution_id: ExecutionArgument, timeout: WaitOption = None) -> None:
    """Wait until an execution has ended. Ends with 1 unless it succeeded, with 6 when the time is over."""
    follow_to_the_end(session, execution_id, timeout)


def follow_to_the_end(session: Session, execution_id: str, timeout: timedelta | None) -> None:
    """Wait for an execution, print it, and end the command as it ended."""
    seconds = None if timeout is None else timeout.total_seconds()
    name = plain(execution_id)
    waits_on = f"`schedctl executions wait {name}` waits on"
    try:
        with waiting(f"waiting for {name}"):
            execution = session.scheduler.wait(execution_id, timeout=seconds)
    except DeadlineExceeded:
        fail(f"{name} goes on; {waits_on}", Exit.TIMEOUT)
    except (KeyboardInterrupt, Unavailable):
        typer.echo(f"{name} has perhaps not ended; {waits_on}", err=True)
        raise
    show_execution(session, execution)
    if state_of(execution) != "SUCCEEDED":
        raise typer.Exit(Exit.FOUND)


@alone
def active(session: Session, job_id: JobOption = "", limit: LimitOption = 100) -> None:
    """Show what runs, and what waits to."""
    found = session.scheduler.executions(job_id=job_id, states=ACTIVE, page_size=page_for(limit))
    session.out.first(limit, found, EXECUTIONS, none="nothing runs or waits")
