"""`schedctl watch`: executions as they go, in a table that is drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.arguments import JobOption, LabelsOption, labels_of
from cli.executions import EXECUTIONS
from cli.executions import watch as print_steps
from cli.output import stdout
from cli.session import Session, alone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.proto.scheduler_service_pb2 import Execution

LEAST_ROWS: Final = 5
HEAD: Final = 2
SHORTENED: Final = ("execution", "error or reason")
"""What gives way where a terminal is narrow; rich shortens first what may wrap, and their texts do not."""


@alone
def watch(
    session: Session,
    job_id: JobOption = "",
    label: LabelsOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Show executions as they go, the latest change first, until Ctrl-C.

    Where there is no terminal it prints a line for each step instead.
    """
    console = stdout()
    if not (session.out.for_people and console.is_terminal):
        print_steps(session, job_id=job_id, label=label)
        return
    latest: dict[str, Execution] = {}
    most = max(console.height - HEAD, LEAST_ROWS)
    told = session.scheduler.watch_executions(job_id=job_id, labels=labels_of(label))
    with Live(_table(()), console=console, auto_refresh=False) as live:
        for message in told:
            latest.pop(message.execution.execution_id, None)
            latest[message.execution.execution_id] = message.execution
            while len(latest) > most:
                del latest[next(iter(latest))]
            live.update(_table(reversed(latest.values())), refresh=True)


def _table(executions: Iterable[Execution]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in EXECUTIONS.columns:
        table.add_column(
            Text(heading, no_wrap=True, overflow="ellipsis"), no_wrap=heading not in SHORTENED, overflow="ellipsis"
        )
    for execution in executions:
        cells = {heading: column(execution) for heading, column in EXECUTIONS.columns.items()}
        cells |= {heading: Text(str(cells[heading]), no_wrap=True, overflow="ellipsis") for heading in SHORTENED}
        table.add_row(*cells.values())
    return table
