"""Calls that look along schedules: ahead, back, and at single occurrences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.call import Call, Pages, call, new_request_id, pages
from scheduler_client.values import Span, duration, timestamp
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as scheduler_pb

if TYPE_CHECKING:
    from datetime import datetime

    from shared.proto.scheduler_service_pb2 import ScheduleConfig

SERVICE: Final = "PlanningService"


def preview(
    schedule: ScheduleConfig | None = None, *, job_id: str = "", count: int = 0, start: datetime | None = None
) -> Call[pb.PreviewScheduleResponse]:
    """Return the next instants at which a schedule fires, or a job's; of both, also what would change.

    count: 10 if left out. start: fires after this instant; now if left out. Raises InvalidInput, NotFound.
    """
    request = pb.PreviewScheduleRequest(
        schedule_config=schedule, job_id=job_id, count=count, from_time=timestamp(start)
    )
    return call(f"{SERVICE}/PreviewSchedule", request, pb.PreviewScheduleResponse, lambda answer: answer)


def describe(schedule: ScheduleConfig | None = None, *, job_id: str = "") -> Call[str]:
    """Return a schedule, or a job's, in plain words. Raises InvalidInput, NotFound."""
    request = pb.DescribeScheduleRequest(schedule_config=schedule, job_id=job_id)
    return call(f"{SERVICE}/DescribeSchedule", request, pb.DescribeScheduleResponse, lambda answer: answer.description)


def explain(job_id: str, at: datetime | None = None, *, local_time: str = "") -> Call[pb.ExplainOccurrenceResponse]:
    """Return what became of an occurrence, and why, in a sentence and with the facts behind it. Raises NotFound.

    at: its nominal time; or local_time: by the wall clock of the job's time zone, as "2026-11-25T08:00".
    """
    request = pb.ExplainOccurrenceRequest(job_id=job_id, nominal_time=timestamp(at), local_time=local_time)
    return call(f"{SERVICE}/ExplainOccurrence", request, pb.ExplainOccurrenceResponse, lambda answer: answer)


def skip_occurrence(
    job_id: str, at: datetime, *, reason: str = "", request_id: str = "", validate_only: bool = False
) -> Call[scheduler_pb.OccurrenceChange]:
    """Leave out one occurrence that is to come. Raises NotFound, and FailedPrecondition when it is decided already."""
    request = pb.SkipOccurrenceRequest(
        job_id=job_id,
        nominal_time=timestamp(at),
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/SkipOccurrence", request, pb.SkipOccurrenceResponse, lambda answer: answer.change)


def move_occurrence(
    job_id: str,
    at: datetime,
    to: datetime,
    *,
    reason: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[scheduler_pb.OccurrenceChange]:
    """Run one occurrence that is to come at another instant. Raises as skip_occurrence does."""
    request = pb.MoveOccurrenceRequest(
        job_id=job_id,
        nominal_time=timestamp(at),
        new_time=timestamp(to),
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/MoveOccurrence", request, pb.MoveOccurrenceResponse, lambda answer: answer.change)


def restore_occurrence(job_id: str, at: datetime, *, request_id: str = "") -> Call[scheduler_pb.OccurrenceChange]:
    """Take back a skip or a move. Raises NotFound when there is none."""
    request = pb.RestoreOccurrenceRequest(
        job_id=job_id, nominal_time=timestamp(at), request_id=new_request_id(request_id)
    )
    return call(f"{SERVICE}/RestoreOccurrence", request, pb.RestoreOccurrenceResponse, lambda answer: answer.change)


def create_backfill(
    job_id: str,
    start: datetime,
    end: datetime,
    *,
    existing: str = "EXISTING_SKIP",
    overlap: str = "OVERLAP_ALLOW",
    max_parallel: int = 1,
    queue: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.Backfill]:
    """Run the nominal times from start on and before end, so many at a time. Raises InvalidInput, NotFound.

    existing: EXISTING_SKIP, EXISTING_RERUN_FAILED or EXISTING_RERUN, for what ran before. validate_only: count only.
    """
    request = pb.CreateBackfillRequest(
        job_id=job_id,
        from_time=timestamp(start),
        to_time=timestamp(end),
        existing=existing,
        overlap=overlap,
        max_parallel=max_parallel,
        queue=queue,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/CreateBackfill", request, pb.CreateBackfillResponse, lambda answer: answer.backfill)


def get_backfill(backfill_id: str) -> Call[pb.Backfill]:
    """Return a backfill, with its progress. Raises NotFound."""
    request = pb.GetBackfillRequest(backfill_id=backfill_id)
    return call(f"{SERVICE}/GetBackfill", request, pb.GetBackfillResponse, lambda answer: answer.backfill)


def backfills(*, job_id: str = "", page_size: int = 0) -> Pages[pb.Backfill]:
    """Return backfills one after another, the newest first."""
    request = pb.ListBackfillsRequest(job_id=job_id, page_size=page_size)
    return pages(f"{SERVICE}/ListBackfills", request, pb.ListBackfillsResponse, lambda page: page.backfills)


def pause_backfill(
    backfill_id: str, *, reason: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.Backfill]:
    """Decide no further time of a backfill; what was decided is still started. Raises NotFound, FailedPrecondition."""
    request = pb.PauseBackfillRequest(
        backfill_id=backfill_id, reason=reason, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(f"{SERVICE}/PauseBackfill", request, pb.PauseBackfillResponse, lambda answer: answer.backfill)


def resume_backfill(backfill_id: str, *, request_id: str = "", validate_only: bool = False) -> Call[pb.Backfill]:
    """Go on with a paused backfill. Raises NotFound, FailedPrecondition."""
    request = pb.ResumeBackfillRequest(
        backfill_id=backfill_id, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(f"{SERVICE}/ResumeBackfill", request, pb.ResumeBackfillResponse, lambda answer: answer.backfill)


def cancel_backfill(
    backfill_id: str,
    *,
    reason: str = "",
    cancel_running: bool = False,
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.Backfill]:
    """End a backfill for good. Raises NotFound, FailedPrecondition."""
    request = pb.CancelBackfillRequest(
        backfill_id=backfill_id,
        reason=reason,
        cancel_running=cancel_running,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/CancelBackfill", request, pb.CancelBackfillResponse, lambda answer: answer.backfill)


def forecast(
    *,
    start: datetime | None = None,
    span: Span | None = None,
    bucket: Span | None = None,
    queue: str = "",
    target: str = "",
) -> Call[pb.ForecastLoadResponse]:
    """Return how much all active jobs will fire: from now if start is left out, for 6 hours, by the minute."""
    request = pb.ForecastLoadRequest(
        from_time=timestamp(start), span=duration(span), bucket=duration(bucket), queue=queue, target_service=target
    )
    return call(f"{SERVICE}/ForecastLoad", request, pb.ForecastLoadResponse, lambda answer: answer)
