"""`schedctl dead-letters`: what failed for good, and what becomes of it."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer
from rich.table import Table

from cli.connection import DEFAULT_SERVER, FAILED, JsonOption, ServerOption, actor, connected, fail
from cli.output import json_line, plain, stdout, time
from shared.proto import admin_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from shared.proto.admin_service_pb2_grpc import AdminServiceStub
    from shared.proto.scheduler_service_pb2 import Execution

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

PAGE: Final = 500
"""Of a list, and of the ids of one call."""
LONGEST_MESSAGE: Final = 80
WIDEST: Final = 1_000

IdsArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="EXECUTION_ID", help="The dead letters.", show_default=False)
]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All there are now, instead of those named.")]
JobOption: TypeAlias = Annotated[str, typer.Option("--job", help="Only those of this job, which may be deleted.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask before acting on all.")]


@app.callback()
def _dead_letters() -> None:
    """List, retry or discard what failed for good."""


@app.command("list")
def list_(
    job_id: JobOption = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the latest failures first.")] = 100,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters."""
    out = stdout()
    with connected(server) as stub:
        letters = list(islice(_letters(stub, job_id), limit + 1))
    if as_json:
        for letter in letters[:limit]:
            out.print(json_line("dead_letter", letter))
        return
    table = Table("failed at", "execution", "job", "attempts", "error", "message", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for letter in letters[:limit]:
        message = plain(letter.error.message)
        table.add_row(
            time(letter.finished_at),
            plain(letter.execution_id),
            plain(letter.job_id),
            f"{letter.attempt} of {letter.max_attempts}",
            plain(letter.error.code),
            message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}...",
        )
    # As wide as it is, also on a narrow terminal: an id in two parts cannot be copied.
    stdout(width=WIDEST).print(table)
    if len(letters) > limit:
        out.print(f"and more: --limit shows more than {limit}")


@app.command()
def retry(
    execution_ids: IdsArgument = None,
    all_: AllOption = False,
    job_id: JobOption = "",
    queue: Annotated[str, typer.Option(help="The queue to use, instead of that of each execution.")] = "",
    yes: YesOption = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Run dead letters once more, each as a new execution."""
    named = _check(execution_ids or [], job_id, all_=all_)
    out, refused = stdout(), 0
    with connected(server) as stub:
        for ids in _chosen(stub, named, all_, job_id, "Retry" if not yes else ""):
            response = stub.RetryDeadLetters(
                pb.RetryDeadLettersRequest(execution_ids=ids, queue=queue), metadata=actor()
            )
            for each in response.retries:
                out.print(
                    json_line("retry", each)
                    if as_json
                    else f"{plain(each.execution_id)} runs again as {plain(each.retry_execution_id)}"
                )
            refused += _tell_refusals(out, response.refusals, as_json=as_json)
    _end(refused)


@app.command()
def discard(
    execution_ids: IdsArgument = None,
    all_: AllOption = False,
    job_id: JobOption = "",
    reason: Annotated[str, typer.Option(help="For those who ask later.")] = "",
    yes: YesOption = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Give dead letters up; their executions stay as they are, FAILED."""
    named = _check(execution_ids or [], job_id, all_=all_)
    out, refused = stdout(), 0
    with connected(server) as stub:
        for ids in _chosen(stub, named, all_, job_id, "Discard" if not yes else ""):
            response = stub.DiscardDeadLetters(
                pb.DiscardDeadLettersRequest(execution_ids=ids, reason=reason), metadata=actor()
            )
            for execution_id in response.execution_ids:
                done = json.dumps({"discarded": {"execution_id": execution_id}})
                out.print(done if as_json else f"{plain(execution_id)} is discarded")
            refused += _tell_refusals(out, response.refusals, as_json=as_json)
    _end(refused)


def _check(named: list[str], job_id: str, *, all_: bool) -> list[str]:
    if bool(named) == all_:
        fail("name the executions, or give --all")
    if job_id and not all_:
        fail("--job goes with --all only")
    return named


def _letters(stub: AdminServiceStub, job_id: str) -> Iterator[Execution]:
    token = ""
    while True:
        request = pb.ListDeadLettersRequest(job_id=job_id, page_size=PAGE, page_token=token)
        page = stub.ListDeadLetters(request, metadata=actor())
        yield from page.executions
        token = page.next_page_token
        if not token:
            return


def _chosen(stub: AdminServiceStub, named: list[str], all_: bool, job_id: str, ask: str) -> Iterator[list[str]]:
    """Return the ids to act on, in portions for one call each; after asking, when it is all there are."""
    ids = named
    if all_:
        # Listed to the end before anything is done: what fails meanwhile is not among those that were asked about.
        ids = [letter.execution_id for letter in _letters(stub, job_id)]
        if not ids:
            typer.echo("there are no dead letters", err=True)
        elif ask:
            whose = f" of the job {plain(job_id)}" if job_id else ""
            _confirm(f"{ask} {len(ids):,} dead letters{whose}?")
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]


def _confirm(question: str) -> None:
    try:
        confirmed = typer.confirm(question, err=True)
    except typer.Abort:  # nobody is there to answer
        typer.echo(err=True)
        confirmed = False
    if not confirmed:
        fail("nothing was done; --yes does it without asking")


def _tell_refusals(out: Console, refusals: Sequence[pb.DeadLetterRefusal], *, as_json: bool) -> int:
    """Say what could not be done; return how much that is."""
    for refusal in refusals:
        if as_json:
            out.print(json_line("refusal", refusal))
        else:
            typer.echo(f"{plain(refusal.execution_id)}: {plain(refusal.message)}", err=True)
    return len(refusals)


def _end(refused: int) -> None:
    if refused:
        raise typer.Exit(FAILED)
