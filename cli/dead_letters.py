"""`schedctl dead-letters`: what failed for good, and what becomes of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from cli.arguments import LONGEST_PAGE, LimitOption, ReasonOption, YesOption, page_for
from cli.completion import job_ids
from cli.exits import Exit
from cli.output import Format, View, as_json, counted, json_line, plain, shortened, time
from cli.progress import waiting
from cli.session import Session, command, fail, group
from scheduler_client import NotFound
from shared.proto.scheduler_service_pb2 import Execution

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.proto import admin_service_pb2 as pb

PORTION: Final = 50
"""Letters that one call is about: the server takes one after the other, each of them a few writes, and has to be done
with all when the call's time is over, also when it is busy."""

app = group("List, retry or discard what failed for good.")

LETTERS: Final = View[Execution](
    name=lambda letter: letter.execution_id,
    columns={
        "failed at": lambda letter: time(letter.finished_at),
        "execution": lambda letter: plain(letter.execution_id),
        "job": lambda letter: plain(letter.job_id),
        "attempts": lambda letter: f"{letter.attempt} of {letter.max_attempts}",
        "error": lambda letter: plain(letter.error.code),
        "message": lambda letter: shortened(letter.error.message),
    },
)

IdsArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="EXECUTION_ID", help="The dead letters.", show_default=False)
]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All there are now, instead of those named.")]
JobOption: TypeAlias = Annotated[
    str, typer.Option("--job", help="Only those of this job, which may be deleted.", autocompletion=job_ids)
]


@command(app, "list")
def list_(session: Session, job_id: JobOption = "", limit: LimitOption = 100) -> None:
    """Show the dead letters, the latest failures first."""
    letters = session.scheduler.dead_letters(job_id=job_id, page_size=page_for(limit))
    if not _as_json(session):
        session.out.first(limit, letters, LETTERS, none="no dead letters")
        return
    for letter in islice(letters, limit):
        session.out.console.print(json_line("dead_letter", letter))


@command(app)
def retry(
    session: Session,
    execution_ids: IdsArgument = None,
    all_: AllOption = False,
    job_id: JobOption = "",
    queue: Annotated[str, typer.Option(help="The queue to use, instead of that of each execution.")] = "",
    yes: YesOption = False,
) -> None:
    """Run dead letters once more, each as a new execution."""
    named, refused = _check(execution_ids or [], job_id, all_=all_), _Refused()
    for ids in _chosen(session, named, all_, job_id, "Retry" if not yes else ""):
        response = session.scheduler.retry_dead_letters(ids, queue=queue)
        for each in response.retries:
            if _as_json(session):
                session.out.console.print(json_line("retry", each))
            else:
                said = f"{plain(each.execution_id)} runs again as {plain(each.retry_execution_id)}"
                session.out.done(each, each.retry_execution_id, said)
        refused.tell(session, response.refusals, done=len(response.retries))
    refused.end(session)


@command(app)
def discard(
    session: Session,
    execution_ids: IdsArgument = None,
    all_: AllOption = False,
    job_id: JobOption = "",
    reason: ReasonOption = "",
    yes: YesOption = False,
) -> None:
    """Give dead letters up; their executions stay as they are, FAILED."""
    named, refused = _check(execution_ids or [], job_id, all_=all_), _Refused()
    for ids in _chosen(session, named, all_, job_id, "Discard" if not yes else ""):
        response = session.scheduler.discard_dead_letters(ids, reason=reason)
        for execution_id in response.execution_ids:
            if _as_json(session):
                session.out.console.print(as_json({"discarded": {"execution_id": execution_id}}))
            else:
                discarded = Execution(execution_id=execution_id)
                session.out.done(discarded, execution_id, f"{plain(execution_id)} is discarded")
        refused.tell(session, response.refusals, done=len(response.execution_ids))
    refused.end(session)


def _as_json(session: Session) -> bool:
    return session.out.format is Format.JSON


def _check(named: list[str], job_id: str, *, all_: bool) -> list[str]:
    if bool(named) == all_:
        fail("name the executions, or give --all")
    if job_id and not all_:
        fail("--job goes with --all only")
    return named


def _chosen(session: Session, named: list[str], all_: bool, job_id: str, ask: str) -> Iterator[list[str]]:
    """Return the ids to act on, in portions for one call each; after asking, when it is all there are."""
    ids = named
    if all_:
        # Listed to the end before anything is done: what fails meanwhile is not among those that were asked about.
        with waiting("reading the dead letters"):
            letters = session.scheduler.dead_letters(job_id=job_id, page_size=LONGEST_PAGE)
            ids = [letter.execution_id for letter in letters]
        if not ids:
            typer.echo("there are no dead letters", err=True)
        elif ask:
            whose = f" of the job {plain(job_id)}" if job_id else ""
            session.confirm(f"{ask} {counted(len(ids), 'dead letter')}{whose}?", yes=False)
    for start in range(0, len(ids), PORTION):
        yield ids[start : start + PORTION]


class _Refused:
    """What could not be done, and how the command ends for it."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._done = 0

    def tell(self, session: Session, refusals: Sequence[pb.DeadLetterRefusal], *, done: int) -> None:
        """Say what could not be done of one call. done: of how many letters it was."""
        for refusal in refusals:
            if _as_json(session):
                session.out.console.print(json_line("refusal", refusal))
            else:
                typer.echo(f"{plain(refusal.execution_id)}: {plain(refusal.message)}", err=True)
        self._ids += (refusal.execution_id for refusal in refusals)
        self._done += done

    def end(self, session: Session) -> None:
        """End the command: with 3 when none of what was named exists, with 2 when another was refused."""
        if not self._ids:
            return
        # Refusals are for people; what there is the server can be asked.
        unknown = not self._done and not any(_exists(session, execution_id) for execution_id in self._ids)
        raise typer.Exit(Exit.NOT_FOUND if unknown else Exit.FAILED)


def _exists(session: Session, execution_id: str) -> bool:
    try:
        session.scheduler.get_execution(execution_id)
    except NotFound:
        return False
    return True
