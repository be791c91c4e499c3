"""The methods of AdminService: what operators and their tools ask."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.audit import Audit, Question
from scheduler_service.convert import timestamp, to_instant, to_span
from scheduler_service.pages import refuse
from shared.domain.errors import Violation
from shared.log import get_logger
from shared.proto import admin_service_pb2 as pb
from shared.proto.admin_service_pb2_grpc import AdminServiceServicer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database

    from scheduler_service.audit import Found

log = get_logger()

OVERDUE_AFTER: Final = timedelta(seconds=60)
LONGEST_OVERDUE: Final = timedelta(days=366)


class AdminService(AdminServiceServicer):
    """database: blocking, since an audit's work is done in threads."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    async def Audit(self, request: pb.AuditRequest, context: Any) -> AsyncIterator[pb.AuditResponse]:
        """Hold the ledger against the schedules. Each step is a thread's, so that other calls go on meanwhile."""
        audit = await asyncio.to_thread(Audit, self._database, _question(request))
        yield pb.AuditResponse(progress=_progress(audit))
        steps = audit.steps()
        while (found := await asyncio.to_thread(next, steps, None)) is not None:
            for each in found:
                yield pb.AuditResponse(finding=_finding(each))
            yield pb.AuditResponse(progress=_progress(audit))
        findings = sum(audit.counts.findings.values())
        log.info("audit done", action="audit_done", rows=audit.counts.rows, jobs=audit.counts.jobs, findings=findings)
        yield pb.AuditResponse(summary=_summary(audit))


def _question(request: pb.AuditRequest) -> Question:
    found: list[Violation] = []
    since = to_instant("from_time", request.from_time, found) if request.HasField("from_time") else None
    until = to_instant("to_time", request.to_time, found) if request.HasField("to_time") else None
    if since is not None and until is not None and until < since:
        found.append(Violation("to_time", "is before from_time"))
    overdue_after: timedelta | None = OVERDUE_AFTER
    if request.HasField("overdue_after"):
        overdue_after = to_span("overdue_after", request.overdue_after, found)
        if overdue_after is not None and overdue_after > LONGEST_OVERDUE:
            said = f"{overdue_after.total_seconds():g} s is too long (at most {LONGEST_OVERDUE.days} days)"
            found.append(Violation("overdue_after", said))
    refuse(found)
    return Question(since, until, request.job_id, overdue_after or timedelta(0))


def _progress(audit: Audit) -> pb.AuditProgress:
    counts = audit.counts
    return pb.AuditProgress(
        rows=counts.rows, rows_expected=counts.rows_expected, jobs=counts.jobs, jobs_expected=counts.jobs_expected
    )


def _finding(found: Found) -> pb.AuditFinding:
    finding = found.finding
    return pb.AuditFinding(
        kind=f"KIND_{finding.fault}",
        job_id=found.job_id,
        execution_id=finding.execution_id,
        first_time=timestamp(finding.first),
        last_time=timestamp(finding.last),
        count=finding.count,
        detail=finding.detail,
    )


def _summary(audit: Audit) -> pb.AuditSummary:
    counts = audit.counts
    return pb.AuditSummary(
        view_begins=timestamp(audit.view_begins),
        view_ends=timestamp(audit.view.ends),
        removed_through=timestamp(audit.removed_through),
        jobs=counts.jobs,
        epochs=counts.epochs,
        rows=counts.rows,
        occurrences=counts.occurrences,
        executions=counts.executions,
        findings=counts.findings,
    )
