"""`schedctl targets`: the services that jobs call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.arguments import TargetArgument, ValidateOption, YesOption
from cli.exits import Exit
from cli.output import View, plain, shortened, span, state, time_of
from cli.session import Session, command, group
from cli.times import seconds
from scheduler_client import to_dict
from shared.proto import target_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.output import Cell

app = group("List, get, register and test the services that jobs call.")

TARGETS: Final = View[pb.Target](
    name=lambda target: target.name,
    columns={
        "target": lambda target: plain(target.name),
        "address": lambda target: plain(target.address),
        "defined": lambda target: pb.Target.Source.Name(target.source).removeprefix("SOURCE_").lower(),
        "services": lambda target: shortened(", ".join(target.services) or "all"),
        "contract read": lambda target: time_of(target, "contract_read_at"),
        "description": lambda target: shortened(target.description),
    },
)


@command(app, "list")
def list_(session: Session) -> None:
    """Show the targets."""
    session.out.each(session.scheduler.targets(), TARGETS, none="no targets")


@command(app)
def get(
    session: Session,
    name: TargetArgument,
    method: Annotated[str, typer.Option("--method", help="Only this method.")] = "",
) -> None:
    """Show a target, its methods, and what each asks for."""
    found = session.scheduler.describe_target(name, method=method)
    if not session.out.for_people:
        session.out.raw(found, name)
        return
    session.warn([found.warning] if found.warning else [])
    session.out.one(found.target, name, _facts(found.target))
    for each in found.methods:
        why_not = f": jobs cannot call it: {each.why_not}" if not each.callable else ""
        session.out.tell(f"\n{plain(each.name)} ({plain(each.full_name)}){plain(why_not)}")
        for field in each.fields:
            session.out.tell(f"  {_field(field)}")
        if each.HasField("example"):
            session.out.tell(f"  for example: {plain(json.dumps(to_dict(each.example), ensure_ascii=False))}")


def _facts(target: pb.Target) -> Iterator[tuple[str, Cell]]:
    yield "target", plain(target.name)
    yield "address", plain(target.address)
    yield "services", plain(", ".join(target.services))
    yield "defined", pb.Target.Source.Name(target.source).removeprefix("SOURCE_").lower()
    yield "description", plain(target.description)
    yield "jobs", f"{target.jobs:,}"
    yield "contract read", time_of(target, "contract_read_at")
    yield "updated", " by ".join(filter(None, (time_of(target, "updated_at"), plain(target.updated_by))))


def _field(field: pb.DescribeTargetResponse.Field) -> str:
    kind = f"{'repeated ' if field.repeated else ''}{field.type}{' (required)' if field.required else ''}"
    values = f", one of {', '.join(field.values)}" if field.values else ""
    comment = f": {field.comment}" if field.comment else ""
    return plain(f"{field.path}  {kind}{values}{comment}")


@command(app)
def register(
    session: Session,
    name: TargetArgument,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="As HOST:PORT.", show_default=False)],
    service: Annotated[list[str], typer.Option("--service", help="Only this one of it; may be repeated.")] = [],  # noqa: B006
    description: Annotated[str, typer.Option(help="For people.")] = "",
    validate_only: ValidateOption = False,
) -> None:
    """Add a target, or change one that was registered."""
    found = session.scheduler.register_target(
        name, address, services=service, description=description, validate_only=validate_only
    )
    session.warn(found.warnings)
    said = "would be accepted" if validate_only else f"is {plain(found.target.address)}"
    session.out.done(found.target, name, f"the target {plain(name)} {said}")


@command(app)
def unregister(
    session: Session, name: TargetArgument, validate_only: ValidateOption = False, yes: YesOption = False
) -> None:
    """Remove a registered target that no job uses."""
    session.confirm(f"Remove the target {plain(name)}?", yes=yes or validate_only)
    session.scheduler.unregister_target(name, validate_only=validate_only)
    session.out.tell(f"the target {plain(name)} {'would be' if validate_only else 'is'} removed")


@command(app)
def test(  # no test: it is called so
    session: Session,
    name: TargetArgument,
    timeout: Annotated[float, typer.Option(parser=seconds, metavar="SECONDS", help="Seconds that it may take.")] = "5",  # type: ignore[assignment]  # noqa: PT028 - typer reads it as if it were typed
) -> None:
    """Ask a target for its health, and check its jobs. Ends with 1 when something is wrong."""
    found = session.scheduler.test_target(name, timeout=timeout)
    session.out.one(found, name, _test_facts(found))
    if found.status != pb.TestTargetResponse.STATUS_SERVING or found.misfits_total:
        raise typer.Exit(Exit.FOUND)


def _test_facts(found: pb.TestTargetResponse) -> Iterator[tuple[str, Cell]]:
    yield "status", state(pb.TestTargetResponse.Status.Name(found.status))
    yield "answered in", span(found.latency)
    yield "message", plain(found.message)
    yield "contract", "read" if found.contract_read else "could not be read"
    yield "jobs", f"{found.jobs_checked:,} checked, {found.misfits_total:,} do not fit"
    for misfit in found.misfits:
        yield plain(misfit.job_id), plain("; ".join(misfit.problems))
