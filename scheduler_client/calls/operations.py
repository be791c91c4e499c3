"""Calls of operators: proof of what was done, and what becomes of what failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.call import Call, Pages, Stream, call, new_request_id, pages, stream
from scheduler_client.values import Span, duration, timestamp
from shared.proto import admin_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from shared.proto.scheduler_service_pb2 import Execution

SERVICE: Final = "AdminService"
CHECKS: Final = 12
"""More than can be at work one after another in a diagnosis; each is given its time."""


def audit(
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    job_id: str = "",
    overdue_after: Span | None = None,
) -> Stream[pb.AuditResponse]:
    """Hold the ledger against the schedules; return progress, findings, and at the end a summary. Raises NotFound."""
    request = pb.AuditRequest(
        from_time=timestamp(start), to_time=timestamp(end), job_id=job_id, overdue_after=duration(overdue_after)
    )
    return stream(f"{SERVICE}/Audit", request, pb.AuditResponse)


def dead_letters(*, job_id: str = "", page_size: int = 0) -> Pages[Execution]:
    """Return what failed for good one after another, the latest failures first. Raises NotFound."""
    request = pb.ListDeadLettersRequest(job_id=job_id, page_size=page_size)
    return pages(f"{SERVICE}/ListDeadLetters", request, pb.ListDeadLettersResponse, lambda page: page.executions)


def retry_dead_letters(
    execution_ids: Iterable[str], *, queue: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.RetryDeadLettersResponse]:
    """Run up to 1,000 dead letters once more; return the new executions, and what could not be retried."""
    request = pb.RetryDeadLettersRequest(
        execution_ids=execution_ids,
        queue=queue,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/RetryDeadLetters", request, pb.RetryDeadLettersResponse, lambda answer: answer)


def discard_dead_letters(
    execution_ids: Iterable[str], *, reason: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.DiscardDeadLettersResponse]:
    """Give up to 1,000 dead letters up; return them, and what could not be discarded."""
    request = pb.DiscardDeadLettersRequest(
        execution_ids=execution_ids,
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/DiscardDeadLetters", request, pb.DiscardDeadLettersResponse, lambda answer: answer)


def diagnose(*, timeout: float = 5.0) -> Call[pb.DiagnoseResponse]:
    """Check all that the scheduler rests on, and say what to do where something is wrong.

    timeout: seconds that each check is given.
    """
    request = pb.DiagnoseRequest(timeout=duration(timeout))
    return call(f"{SERVICE}/Diagnose", request, pb.DiagnoseResponse, lambda answer: answer, timeout=timeout * CHECKS)
