"""The ids by which a line of log about an attempt is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.store.executions import Claimed


def ids_of(claimed: Claimed) -> dict[str, Any]:
    """Return those of an attempt; what binds them once has them in all lines of a piece of work."""
    return {
        "execution_id": claimed.execution_id,
        "job_id": claimed.job_id,
        "attempt": claimed.attempt,
        "trace_id": claimed.trace_id,
    }
