"""The documents of the rows of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.execution import State
from shared.store import executions, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.domain.plan import Chain, Plan, Row


def documents(job: Mapping[str, Any], chain: Chain, decided: Plan, now: datetime, by: str) -> list[dict[str, Any]]:
    """Return the documents of a plan's rows, decided at `now`, in their order."""
    return [
        executions.scheduled_document(job, row, now, by, _retry_until(job, chain, decided, row)) for row in decided.rows
    ]


def _retry_until(job: Mapping[str, Any], chain: Chain, decided: Plan, row: Row) -> datetime | None:
    """Return from when on an execution is not tried again, if its job's retry window ends with the next occurrence."""
    if row.state is not State.PENDING or not jobs.is_retried_until_next(job):
        return None
    # The last run that max_runs allows has no next occurrence.
    is_last = decided.pointer is None and row is decided.rows[-1]
    return None if is_last else chain.spec.runs.next_after(row.last)
