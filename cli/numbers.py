"""`schedctl stats`, `queues` and `workers`: how it goes, what waits, and who is alive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from cli.arguments import FromOption, JobOption, LimitOption, QueueOption, TargetOption, ToOption, one_of
from cli.output import View, counted, plain, span, time, time_of
from cli.session import Session, alone
from cli.times import span as read_span
from shared.proto import statistics_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.duration_pb2 import Duration

    from cli.output import Cell

Statistics = pb.GetStatisticsResponse.Statistics
Queue = pb.ListQueuesResponse.Queue
Process = pb.ListWorkersResponse.Process


def _count(state: str) -> Callable[[Statistics], Cell]:
    return lambda row: f"{row.counts.get(state, 0):,}"


def _percentile(row: Statistics, what: str, which: str) -> str:
    if not row.HasField(what):
        return ""
    found: Duration = getattr(getattr(row, what), which)
    return span(found)


def _success(row: Statistics) -> str:
    return f"{row.success_rate:.2%}" if row.HasField("success_rate") else ""


STATISTICS: Final = View[Statistics](
    name=lambda row: row.group or "all",
    columns={
        "from": lambda row: time(row.time),
        "group": lambda row: plain(row.group or "all"),
        "succeeded": _count("SUCCEEDED"),
        "failed": _count("FAILED"),
        "cancelled": _count("CANCELLED"),
        "skipped": _count("SKIPPED"),
        "success": _success,
        "late p50": lambda row: _percentile(row, "lateness", "p50"),
        "p99": lambda row: _percentile(row, "lateness", "p99"),
        "took p50": lambda row: _percentile(row, "duration", "p50"),
        " p99": lambda row: _percentile(row, "duration", "p99"),
        "retries": lambda row: f"{row.retries:,}",
    },
    numbers=frozenset(
        {"succeeded", "failed", "cancelled", "skipped", "success", "late p50", "p99", "took p50", " p99", "retries"}
    ),
)


@alone
def stats(
    session: Session,
    by: Annotated[
        str,
        typer.Option(parser=one_of(pb.GetStatisticsRequest.GroupBy), metavar="WHAT", help="all, job, queue or target."),
    ] = "all",
    start: FromOption = None,
    end: ToOption = None,
    window: Annotated[
        timedelta | None, typer.Option(parser=read_span, metavar="SPAN", help="A line for each 1m, 1h or 1d.")
    ] = None,
    job_id: JobOption = "",
    queue: QueueOption = "",
    target: TargetOption = "",
    limit: LimitOption = 50,
) -> None:
    """Show counts, success, lateness and durations of what ended in the last 24 hours, or from --from to --to."""
    found = session.scheduler.statistics(
        group_by=by, start=start, end=end, window=window, job_id=job_id, queue=queue, target=target, limit=limit
    )
    session.out.each(found.statistics, STATISTICS)
    if found.HasField("complete_through"):
        session.out.tell(f"all that ended by {time(found.complete_through)} is counted")
    else:
        session.out.tell("nothing is counted yet")


def _known(number: int) -> str:
    return "?" if number < 0 else f"{number:,}"


QUEUES: Final = View[Queue](
    name=lambda queue: queue.name,
    columns={
        "queue": lambda queue: plain(queue.name),
        "messages": lambda queue: _known(queue.messages),
        "consumers": lambda queue: _known(queue.consumers),
        "queued": lambda queue: f"{queue.queued:,}",
        "running": lambda queue: f"{queue.running:,}",
        "oldest": lambda queue: time_of(queue, "oldest"),
        "warning": lambda queue: plain(queue.warning),
    },
    numbers=frozenset({"messages", "consumers", "queued", "running"}),
)


@alone
def queues(session: Session) -> None:
    """Show the queues: what waits in them, and who takes from them."""
    found = session.scheduler.queues()
    session.out.each(found.queues, QUEUES)
    session.warn([found.warning] if found.warning else [])


def _does(process: Process) -> Cell:
    match process.kind:
        case Process.KIND_BEAT:
            return counted(process.partitions, "partition")
        case Process.KIND_WORKER:
            return f"{process.running_total} of {process.concurrency} ({plain(process.pool)})"
        case _:
            return ""


def _heard_of(process: Process) -> Cell:
    heard = time(process.heard_at)
    if not process.HasField("silent_for"):
        return heard
    return Text.assemble(f"{heard} ", (f"(silent for {process.silent_for.seconds} s)", "yellow"))


WORKERS: Final = View[Process](
    name=lambda process: process.name,
    columns={
        "process": lambda process: plain(process.name),
        "kind": lambda process: Process.Kind.Name(process.kind).removeprefix("KIND_").lower(),
        "started": lambda process: time(process.started_at),
        "heard of": _heard_of,
        "version": lambda process: plain(process.version),
        "busy": _does,
        "queues": lambda process: plain(", ".join(process.queues)),
    },
)


@alone
def workers(session: Session) -> None:
    """Show the live servers, beats and workers, and what each worker runs."""
    found = session.scheduler.workers()
    session.out.each(found, WORKERS)
    for process in found:
        for running in process.running:
            session.out.tell(
                f"{plain(process.name)} runs {plain(running.execution_id)} of {plain(running.job_id)}"
                f" ({plain(running.target_method)}), attempt {running.attempt}, since {time(running.started_at)}"
            )
