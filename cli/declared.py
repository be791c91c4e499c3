"""`schedctl apply`, `diff` and `export`: jobs as a file, which is kept under version control."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
import yaml
from rich.text import Text

from cli.arguments import FilterOption, YesOption
from cli.documents import read_file
from cli.exits import Exit
from cli.output import View, as_yaml, counted, is_printable, plain
from cli.session import Session, alone, fail
from scheduler_client import NotFound, SchedulerError
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler_client import SchedulerClient

Change = pb.ImportScheduledJobsResponse.Change

FileArgument = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", help="Jobs in YAML; - is standard input.", show_default=False)
]
PruneOption = Annotated[bool, typer.Option("--prune", help="Delete those that fit --prune-filter and are not in it.")]
PruneFilterOption = Annotated[
    str, typer.Option("--prune-filter", metavar="FILTER", help="Which jobs the file is all of; needed by --prune.")
]

CHANGES: Final = View[Change](name=lambda change: change.job_id, columns={})

_SIGNS: Final = {
    Change.ACTION_CREATE: ("+", "green", "create"),
    Change.ACTION_UPDATE: ("~", "yellow", "update"),
    Change.ACTION_DELETE: ("-", "red", "delete"),
    Change.ACTION_UNDELETE: ("+", "green", "undelete"),
}


@alone
def diff(
    session: Session, file: FileArgument, prune: PruneOption = False, prune_filter: PruneFilterOption = ""
) -> None:
    """Show what apply would change; ends with 1 when that is anything."""
    text, scheduler = read_file(file), session.scheduler_of_many
    changes = scheduler.import_jobs(text, prune=prune, prune_filter=prune_filter, validate_only=True)
    _show(session, changes)
    if _real(changes):
        raise typer.Exit(Exit.FOUND)


@alone
def apply(
    session: Session,
    file: FileArgument,
    prune: PruneOption = False,
    prune_filter: PruneFilterOption = "",
    yes: YesOption = False,
) -> None:
    """Make the jobs be as a file says: create what is not there, change what differs, with --prune delete the rest.

    Deletions are shown and asked about first.
    """
    text, scheduler = read_file(file), session.scheduler_of_many
    if prune and not yes:
        planned = scheduler.import_jobs(text, prune=True, prune_filter=prune_filter, validate_only=True)
        deleted = [change for change in planned if change.action == Change.ACTION_DELETE]
        if deleted:
            for change in deleted:
                typer.echo(f"- {plain(change.job_id)}", err=True)
            these = f"{counted(len(deleted), 'job')} that {'is' if len(deleted) == 1 else 'are'}"
            session.confirm(f"Delete {these} not in {plain(str(file))}?", yes=yes)
        # What others have made or changed since was not shown as it is: it stays.
        changes = [*scheduler.import_jobs(text), *(_deleted(scheduler, change) for change in deleted)]
    else:
        changes = scheduler.import_jobs(text, prune=prune, prune_filter=prune_filter)
    _show(session, changes, done=True)
    if any(change.error for change in changes):
        raise typer.Exit(Exit.FAILED)


@alone
def export(
    session: Session,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Where to; standard output if left out.")
    ] = None,
    filter_: FilterOption = "",
) -> None:
    """Write jobs as YAML that apply takes, the oldest first."""
    documents = list(session.scheduler.export_jobs(filter_))
    text = documents[0] if len(documents) == 1 else _joined(documents)
    if file is None:
        session.out.console.print((text if is_printable(text) else _joined(documents)).rstrip("\n"))
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{plain(str(file))} can't be written: {error.strerror}")
    number = len((yaml.safe_load(text) or {}).get("jobs") or ())
    typer.echo(f"{counted(number, 'job')} written to {plain(str(file))}", err=True)


def _deleted(scheduler: SchedulerClient, change: Change) -> Change:
    """Make a deletion that was planned; why it could not be is told with it, as what was done before is told too."""
    try:
        scheduler.delete_job(change.job_id, reason="not in an applied file", etag=change.etag)
    except NotFound:
        pass  # somebody else has deleted it
    except SchedulerError as refused:
        change.error = refused.message
    return change


def _joined(documents: Sequence[str]) -> str:
    jobs = [job for document in documents for job in (yaml.safe_load(document) or {}).get("jobs") or ()]
    return "---\n" + as_yaml({"jobs": jobs})


def _real(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.action != Change.ACTION_NONE]


def _show(session: Session, changes: Sequence[Change], *, done: bool = False) -> None:
    if not session.out.for_people:
        session.out.each(changes, CHANGES)
        return
    real = _real(changes)
    for change in real:
        sign, colour, said = _SIGNS.get(change.action, ("?", "", "change"))
        session.out.tell(Text(f"{sign} {said} {plain(change.job_id)}", colour))
        for difference in change.differences:
            before, after = plain(difference.before) or "(not set)", plain(difference.after) or "(not set)"
            session.out.tell(f"    {plain(difference.field)}: {before} -> {after}")
        session.warn(f"{change.job_id}: {warning}" for warning in change.warnings)
        if change.error:
            typer.echo(f"{plain(change.job_id)}: {plain(change.error)}", err=True)
    same = len(changes) - len(real)
    failed = sum(bool(change.error) for change in real)
    said = (
        f"{len(real) - failed:,} changed, " if done else f"{len(real):,} {'differs' if len(real) == 1 else 'differ'}, "
    )
    said += f"{failed:,} failed, " if failed else ""
    session.out.tell(f"{said}{same:,} {_were(same, done=done)} as the file says")


def _were(number: int, *, done: bool) -> str:
    if number == 1:
        return "was" if done else "is"
    return "were" if done else "are"
