"""`schedctl audit`: the proof that each occurrence was decided once, or what is wrong."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.arguments import FromOption
from cli.completion import job_ids
from cli.exits import Exit
from cli.output import counted, json_line, plain, stderr, time
from cli.session import Session, alone, fail
from cli.times import instant
from shared.proto import admin_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.progress import TaskID


@alone
def audit(
    session: Session,
    since: FromOption = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=instant, metavar="TIME", help="Only those up to this instant.")
    ] = None,
    job_id: Annotated[
        str, typer.Option("--job", help="Only this job, which may be deleted.", autocompletion=job_ids)
    ] = "",
    overdue_after: Annotated[
        float,
        typer.Option(min=0, help="Seconds after which what an active job has not decided counts as missing."),
    ] = 60,
) -> None:
    """Hold the ledger against the schedules.

    Recomputes every nominal time from the history of the schedules: each has to be covered by exactly one decision,
    and each execution has to have come to its state by a legal path. Prints what is not so, and ends with 1 if there
    is anything, with 2 if it could not be done. Reads only.
    """
    by_jobs = since is not None or until is not None
    out, as_json = session.out.console, not session.out.for_people
    summary: pb.AuditSummary | None = None
    told = session.scheduler.audit(start=since, end=until, job_id=job_id, overdue_after=overdue_after)
    with _progress_on(out, shown=not as_json) as progress:
        bar: TaskID | None = progress.add_task("jobs" if by_jobs else "rows", total=None) if progress else None
        for response in told:
            match response.WhichOneof("event"):
                case "progress" if progress is not None and bar is not None:
                    done, expected = _done(response.progress, by_jobs=by_jobs)
                    progress.update(bar, completed=done, total=max(done, expected), refresh=True)
                case "finding" if as_json:
                    out.print(json_line("finding", response.finding))
                case "finding":
                    _show(response.finding, out.print)
                case "summary":
                    summary = response.summary
    if summary is None:
        fail("the audit ended before it had looked at everything; try again")
    if as_json:
        out.print(json_line("summary", summary))
    else:
        _sum_up(summary, out.print)
    if summary.findings:
        raise typer.Exit(Exit.FOUND)


def _progress_on(out: Console, *, shown: bool) -> Progress | nullcontext[None]:
    """Return the bar; on standard error when the results go elsewhere. Where there is no terminal there is none."""
    console = out if out.is_terminal else stderr()
    if not shown or not console.is_terminal:
        return nullcontext()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _done(progress: pb.AuditProgress, *, by_jobs: bool) -> tuple[int, int]:
    # Of a range of time nobody knows beforehand how many rows there are.
    return (progress.jobs, progress.jobs_expected) if by_jobs else (progress.rows, progress.rows_expected)


def _show(finding: pb.AuditFinding, tell: Callable[[str], None]) -> None:
    kind = pb.AuditFinding.Kind.Name(finding.kind).removeprefix("KIND_")
    parts = [f"{kind:<13}", plain(finding.job_id) or "(unknown job)"]
    if finding.HasField("first_time"):
        parts.append(time(finding.first_time))
    if finding.HasField("last_time") and finding.last_time != finding.first_time:
        parts.append(f"to {time(finding.last_time)}")
    if finding.count > 1:
        parts.append(f"({finding.count:,} occurrences)")
    if finding.execution_id:
        parts.append(plain(finding.execution_id))
    tell(f"{' '.join(parts)}: {plain(finding.detail)}")


def _sum_up(summary: pb.AuditSummary, tell: Callable[[str], None]) -> None:
    tell(
        f"{counted(summary.jobs, 'job')}, {counted(summary.epochs, 'schedule')} in force;"
        f" {counted(summary.rows, 'row')} {'decides' if summary.rows == 1 else 'decide'}"
        f" {counted(summary.occurrences, 'occurrence')}, {summary.executions:,} of the rows are executions"
    )
    begins = f"after {time(summary.view_begins)}" if summary.HasField("view_begins") else "from the first job on"
    tell(f"the view: {begins}, through {time(summary.view_ends)}")
    if summary.HasField("removed_through"):
        tell(f"records of what ended before {time(summary.removed_through)} have been removed, and are not missed")
    found = ", ".join(f"{number:,} {kind}" for kind, number in sorted(summary.findings.items()))
    tell(f"found: {found}" if found else "no fault found")
