"""The methods of AdminService: what operators and their tools ask."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.operations.audit import Audit, Question
from scheduler_service.operations.diagnose import Result, diagnose
from scheduler_service.runs.entry import execution_entry, read_execution
from scheduler_service.transport.caller import current
from scheduler_service.transport.convert import duration, timestamp, to_instant, to_span
from scheduler_service.transport.fields import read_timeout, reason_violations, refuse
from scheduler_service.transport.pages import page_size, read_token, take_page, write_token
from scheduler_service.transport.refusals import shortened
from shared.domain.errors import FailedPrecondition, Reason, SchedulerError, Violation
from shared.log import get_logger
from shared.proto import admin_service_pb2 as pb
from shared.proto.admin_service_pb2_grpc import AdminServiceServicer
from shared.release import release
from shared.store.dead_letters import Ending, Outcome, ending_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pymongo.database import Database

    from scheduler_service.jobs.jobs import Jobs
    from scheduler_service.operations.audit import Found
    from scheduler_service.operations.diagnose import Check
    from scheduler_service.runs.executions import Executions
    from scheduler_service.runs.runs import Runs

log = get_logger()

MOST_IDS: Final = 1_000
MOST_SAID: Final = 20
LONGEST_REFUSAL: Final = 600

_REQUEST: Final = "dead letter"
"""The request id of every retry of a dead letter: a call that is repeated after a crash finds what the first stored."""

OVERDUE_AFTER: Final = timedelta(seconds=60)
LONGEST_OVERDUE: Final = timedelta(days=366)


class AdminService(AdminServiceServicer):
    """database: blocking, since an audit's work is done in threads. checks: tells what Diagnose looks at."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        jobs: Jobs,
        executions: Executions,
        runs: Runs,
        checks: Callable[[], Sequence[Check]],
    ) -> None:
        self._database = database
        self._checks = checks
        self._jobs = jobs
        self._executions = executions
        self._runs = runs

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

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        """Return a page of what failed for good, the latest first."""
        found: list[Violation] = []
        listing = f"dead letters {request.job_id}"
        size = page_size(request.page_size, found)
        after = read_token(listing, request.page_token, found)
        refuse(found)
        uid = await self._jobs.uid(request.job_id) if request.job_id else None
        executions, last = await take_page(
            self._executions.dead_letters(uid, after, size + 1),
            size,
            execution_entry,
            lambda document: (document["finished_at"], document["_id"]),
        )
        return pb.ListDeadLettersResponse(executions=executions, next_page_token=write_token(listing, last))

    async def RetryDeadLetters(self, request: pb.RetryDeadLettersRequest, context: Any) -> pb.RetryDeadLettersResponse:
        """Run dead letters once more."""
        refuse([*_ids_violations(request.execution_ids), *self._runs.queue_violations(request.queue)])
        response = pb.RetryDeadLettersResponse()
        for execution_id in dict.fromkeys(request.execution_ids):
            try:
                retry = await self._retry(execution_id, request.queue, validate_only=request.validate_only)
            except SchedulerError as refused:
                response.refusals.add(execution_id=execution_id, message=shortened(str(refused), LONGEST_REFUSAL))
            else:
                response.retries.add(execution_id=execution_id, retry_execution_id=retry)
        return response

    async def DiscardDeadLetters(
        self, request: pb.DiscardDeadLettersRequest, context: Any
    ) -> pb.DiscardDeadLettersResponse:
        """Give dead letters up."""
        found = _ids_violations(request.execution_ids)
        refuse([*found, *reason_violations(request.reason)])
        response = pb.DiscardDeadLettersResponse()
        for execution_id in dict.fromkeys(request.execution_ids):
            try:
                await self._discard(execution_id, request.reason, validate_only=request.validate_only)
            except SchedulerError as refused:
                response.refusals.add(execution_id=execution_id, message=shortened(str(refused), LONGEST_REFUSAL))
            else:
                response.execution_ids.append(execution_id)
        return response

    async def Diagnose(self, request: pb.DiagnoseRequest, context: Any) -> pb.DiagnoseResponse:
        """Check all that the scheduler rests on."""
        seconds = read_timeout(request)
        checked = await diagnose(self._checks(), seconds)
        return pb.DiagnoseResponse(
            checks=[
                pb.DiagnoseResponse.Check(
                    name=each.name,
                    result=f"RESULT_{each.finding.result}",
                    detail=each.finding.detail,
                    remedy=each.finding.remedy,
                    latency=duration(each.latency),
                )
                for each in checked
            ],
            healthy=all(each.finding.result is not Result.FAILED for each in checked),
            version=release(),
        )

    async def _retry(self, execution_id: str, queue: str, *, validate_only: bool) -> str:
        """Retry a dead letter; return the id of what runs it again, now or since before."""
        document = await self._executions.document(execution_id)
        if not document.get("letter"):
            ended = _ended(document)
            if ended.outcome is Outcome.DISCARDED:
                ended = await self._retried(document, validate_only=validate_only) or ended
            if ended.outcome is Outcome.RETRIED:
                return ended.retry
            said = f"the dead letter '{execution_id}' was discarded by {ended.by}; RetryExecution runs it all the same"
            raise FailedPrecondition(said, reason=Reason.DEAD_LETTER_DISCARDED)
        stored = await self._runs.retry(execution_id, _REQUEST, queue, validate_only=validate_only)
        retry = str(stored["_id"])
        if not validate_only:
            log.info("dead letter retried", action="dead_letter_retried", execution_id=execution_id, retry=retry)
        return retry

    async def _discard(self, execution_id: str, reason: str, *, validate_only: bool) -> None:
        document = await self._executions.document(execution_id)
        ended = await self._retried(document, validate_only=validate_only)
        if ended is None and document.get("letter"):
            by = current.get().by
            if validate_only:
                return
            if await self._executions.end_letter(execution_id, Ending(Outcome.DISCARDED, by, reason)):
                log.info(
                    "dead letter discarded",
                    action="dead_letter_discarded",
                    execution_id=execution_id,
                    actor=by,
                    reason=reason or None,
                )
                return
            document = await self._executions.document(execution_id)  # somebody was faster
        ended = ended or _ended(document)
        if ended.outcome is Outcome.RETRIED:
            said = f"the dead letter '{execution_id}' was retried by {ended.by}, as '{ended.retry}'"
            raise FailedPrecondition(said, reason=Reason.DEAD_LETTER_RETRIED)

    async def _retried(self, letter: Mapping[str, Any], *, validate_only: bool) -> Ending | None:
        """Return how RetryDeadLetters has ended a dead letter that does not say so yet; None if it has not.

        Who stored the retry may have died before it said so, or a discard have been faster. It is said now.
        """
        retry = await self._runs.stored_retry(letter, _REQUEST)
        if retry is None:
            return None
        by = next((transition.by for transition in read_execution(retry).transitions), "")
        ending = Ending(Outcome.RETRIED, by, retry=retry["_id"])
        if not validate_only:
            await self._executions.end_letter(letter["_id"], ending)
        return ending


def _ended(document: Mapping[str, Any]) -> Ending:
    """Return what became of a dead letter; raise FailedPrecondition when it never was one."""
    ending = ending_of(document)
    if ending is None:
        said = f"the execution '{document['_id']}' is {document['state']}, and no dead letter"
        raise FailedPrecondition(said, reason=Reason.NO_DEAD_LETTER)
    return ending


def _ids_violations(ids: Sequence[str]) -> list[Violation]:
    if not 1 <= len(ids) <= MOST_IDS:
        return [Violation("execution_ids", f"{len(ids):,} ids; expected 1 to {MOST_IDS:,}")]
    return [Violation(f"execution_ids[{n}]", "is empty") for n, given in enumerate(ids) if not given][:MOST_SAID]


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
