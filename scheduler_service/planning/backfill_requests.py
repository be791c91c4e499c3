"""Requests about backfills: what they ask for, or all that is wrong with them; and backfills as clients see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.transport.convert import timestamp, to_instant
from scheduler_service.transport.fields import reason_violations, refuse, required
from scheduler_service.transport.unreadable import UNREADABLE, why_unreadable
from shared.domain.backfill import MOST_PARALLEL, Existing
from shared.domain.clock import to_the_millisecond
from shared.domain.errors import Violation
from shared.domain.policies import Overlap
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as scheduler_pb
from shared.store.backfills import SCHEMA, to_backfill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.store.backfills import StoredBackfill

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OVERLAPS: Final = {
    scheduler_pb.Policies.OVERLAP_UNSPECIFIED: Overlap.ALLOW,
    scheduler_pb.Policies.OVERLAP_ALLOW: Overlap.ALLOW,
    scheduler_pb.Policies.OVERLAP_BUFFER_ALL: Overlap.BUFFER_ALL,
}
_EXISTING: Final = {
    pb.Backfill.EXISTING_UNSPECIFIED: Existing.SKIP,
    pb.Backfill.EXISTING_SKIP: Existing.SKIP,
    pb.Backfill.EXISTING_RERUN_FAILED: Existing.RERUN_FAILED,
    pb.Backfill.EXISTING_RERUN: Existing.RERUN,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a backfill is asked to do; queue: empty for the job's."""

    begins: datetime
    ends: datetime
    existing: Existing
    overlap: Overlap
    max_parallel: int
    queue: str


def read_asked(request: pb.CreateBackfillRequest, queues: list[Violation]) -> Asked:
    """Return what a request asks for. queues: what is wrong with its queue. Raises InvalidInput."""
    found = required("job_id", request.job_id)
    begins = _instant(request, "from_time", found)
    ends = _instant(request, "to_time", found)
    if begins is not None and ends is not None and ends <= begins:
        found.append(Violation("to_time", "is not after from_time"))
    existing = _EXISTING.get(request.existing)
    if existing is None:
        found.append(Violation("existing", f"{request.existing} is not the number of one ({', '.join(Existing)})"))
    overlap = _OVERLAPS.get(request.overlap)
    if overlap is None:
        said = "executions of a backfill can ALLOW one another, up to max_parallel, or BUFFER_ALL: one after another"
        found.append(Violation("overlap", said))
    if not 0 <= request.max_parallel <= MOST_PARALLEL:
        said = f"{request.max_parallel:,} is not a number of executions at a time (1-{MOST_PARALLEL}, or 0 for 1)"
        found.append(Violation("max_parallel", said))
    refuse([*found, *queues])
    if begins is None or ends is None or existing is None or overlap is None:
        raise AssertionError  # there is a violation for each that is None
    return Asked(begins, ends, existing, overlap, request.max_parallel or 1, request.queue)


def check_backfill_id(
    request: pb.GetBackfillRequest | pb.PauseBackfillRequest | pb.ResumeBackfillRequest | pb.CancelBackfillRequest,
) -> None:
    """Raise InvalidInput unless a request names a backfill, and gives a reason that can be kept, if it gives one."""
    found = required("backfill_id", request.backfill_id)
    if isinstance(request, pb.PauseBackfillRequest | pb.CancelBackfillRequest):
        found += reason_violations(request.reason)
    refuse(found)


def backfill_message(backfill: StoredBackfill, states: Mapping[str, int]) -> pb.Backfill:
    """Write a backfill as clients see it."""
    return pb.Backfill(
        backfill_id=backfill.backfill_id,
        job_id=backfill.job_id,
        from_time=timestamp(backfill.begins),
        to_time=timestamp(backfill.ends),
        existing=f"EXISTING_{backfill.existing}",
        overlap=f"OVERLAP_{backfill.overlap}",
        max_parallel=backfill.max_parallel,
        state=f"STATE_{backfill.state}",
        total=backfill.total,
        decided=backfill.decided,
        left=backfill.left,
        states=states,
        reached=timestamp(backfill.reached),
        created_at=timestamp(backfill.created_at),
        created_by=backfill.created_by,
        finished_at=timestamp(backfill.finished_at),
        status_message=backfill.status_message,
        queue=backfill.queue,
    )


def list_entry(document: Mapping[str, Any]) -> pb.Backfill:
    """Write a stored backfill as clients see it, with the counts that it keeps once it has ended.

    One that can't be read must not hide the others: of it only its id, its job, and why not.
    """
    try:
        backfill = to_backfill(document)
        return backfill_message(backfill, backfill.states)
    except UNREADABLE as error:
        said = why_unreadable("backfill", document, SCHEMA, error, action="backfill_unreadable")
    return pb.Backfill(
        backfill_id=str(document["_id"]),
        job_id=str(document.get("job_id", "")),
        status_message=said,
    )


def _instant(request: pb.CreateBackfillRequest, field: str, found: list[Violation]) -> datetime | None:
    if not request.HasField(field):
        found.append(Violation(field, f"a {field} is required"))
        return None
    instant = to_instant(field, getattr(request, field), found)
    if instant is not None and instant < _EARLIEST:
        found.append(Violation(field, "is before 1970"))
        return None
    return instant and to_the_millisecond(instant)
