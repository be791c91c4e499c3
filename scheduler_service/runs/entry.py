"""An execution in lists and streams: one that cannot be read must neither hide the others nor be hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.transport.convert import execution_message
from scheduler_service.transport.unreadable import UNREADABLE, why_unreadable
from shared.domain.execution import SHOWN_STATES
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions

if TYPE_CHECKING:
    from collections.abc import Mapping


def execution_entry(document: Mapping[str, Any]) -> pb.Execution:
    """Write a row as clients see it; of one that cannot be read its id, whose it is, its state, and why not."""
    try:
        return execution_message(executions.to_execution(document))
    except UNREADABLE as error:
        said = why_execution_unreadable(document, error)
    state = document.get("state")
    return pb.Execution(
        execution_id=str(document["_id"]),
        job_id=str(document.get("job_id", "")),
        job_name=str(document.get("job_name", "")),
        state=f"STATE_{state}" if state in SHOWN_STATES else None,
        reason=said,
    )


def why_execution_unreadable(document: Mapping[str, Any], error: Exception) -> str:
    """Return why a row can't be read; see why_unreadable."""
    return why_unreadable("execution", document, executions.SCHEMA, error, action="execution_unreadable")
