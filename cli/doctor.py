"""`schedctl doctor`: everything that the scheduler rests on, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from cli.exits import Exit
from cli.output import View, plain, span, state
from cli.progress import waiting
from cli.session import Session, alone
from cli.times import seconds
from shared.proto import admin_service_pb2 as pb

if TYPE_CHECKING:
    from cli.output import Cell

Check = pb.DiagnoseResponse.Check

CHECKS: Final = View[Check](name=lambda check: check.name, columns={})


@alone
def doctor(
    session: Session,
    timeout: Annotated[
        float, typer.Option(parser=seconds, metavar="SECONDS", help="Seconds that each check may take.")
    ] = "5",  # type: ignore[assignment]  # typer reads it as if it were typed
) -> None:
    """Check every dependency, queue, target, index, clock and process, and say what to do.

    Ends with 1 when something has failed, with 0 when there are warnings only.
    """
    scheduler = session.scheduler
    with waiting("checking"):
        found = scheduler.diagnose(timeout=timeout)
    if session.out.for_people:
        for check in found.checks:
            session.out.tell(_line(check))
            if check.remedy:
                session.out.tell(f"           {plain(check.remedy)}")
        session.out.tell(f"version {plain(found.version)}: {'healthy' if found.healthy else 'not healthy'}")
    else:
        session.out.each(found.checks, CHECKS)
    if not found.healthy:
        raise typer.Exit(Exit.FOUND)


def _line(check: Check) -> Cell:
    line = state(Check.Result.Name(check.result))
    line.pad_right(9 - len(line))
    return Text.assemble(line, f"  {plain(check.name)}: {plain(check.detail)} ({span(check.latency)})")
