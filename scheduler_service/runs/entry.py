"""An execution as clients see it; of one that cannot be read, why not.

By itself it is refused then. In lists and streams it must neither hide the others nor be hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.transport.convert import execution_message
from scheduler_service.transport.unreadable import UNREADABLE, of_newer_release, why_unreadable
from shared.domain.errors import FailedPrecondition, Reason
from shared.domain.execution import SHOWN_STATES
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.store.executions import StoredExecution


def read_execution(document: Mapping[str, Any]) -> StoredExecution:
    """Read a row. Raises FailedPrecondition when it can't be read: of a newer release, or changed by hand."""
    try:
        return executions.to_execution(document)
    except UNREADABLE as error:
        raise unreadable_execution(document, error) from error


def shown_execution(document: Mapping[str, Any], parameters: str | None = None) -> pb.Execution:
    """Write a row as clients see it; parameters: JSON of what it is called with. Raises as read_execution does."""
    try:
        return execution_message(executions.to_execution(document), parameters)
    except UNREADABLE as error:
        raise unreadable_execution(document, error) from error


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


def unreadable_execution(document: Mapping[str, Any], error: Exception) -> FailedPrecondition:
    """Return the refusal of what a row that can't be read would be needed for."""
    said = why_execution_unreadable(document, error)
    is_newer = of_newer_release("execution", document, executions.SCHEMA)
    return FailedPrecondition(said, reason=Reason.STORED_BY_NEWER_RELEASE if is_newer else Reason.EXECUTION_UNREADABLE)
