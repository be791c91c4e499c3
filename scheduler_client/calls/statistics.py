"""Calls for numbers: how it goes, what waits, and who is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.call import Call, call
from scheduler_client.values import Span, duration, timestamp
from shared.proto import statistics_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import datetime

SERVICE: Final = "StatisticsService"


def statistics(
    *,
    group_by: str = "GROUP_BY_ALL",
    start: datetime | None = None,
    end: datetime | None = None,
    window: Span | None = None,
    job_id: str = "",
    queue: str = "",
    target: str = "",
    limit: int = 0,
) -> Call[pb.GetStatisticsResponse]:
    """Return counts, success rate, lateness and durations of what ended in the last 24 hours, or from start to end.

    group_by: GROUP_BY_ALL, GROUP_BY_JOB, GROUP_BY_QUEUE or GROUP_BY_TARGET. window: a minute, an hour or a day.
    Raises InvalidInput.
    """
    request = pb.GetStatisticsRequest(
        group_by=group_by,
        from_time=timestamp(start),
        to_time=timestamp(end),
        window=duration(window),
        job_id=job_id,
        queue=queue,
        target_service=target,
        limit=limit,
    )
    return call(f"{SERVICE}/GetStatistics", request, pb.GetStatisticsResponse, lambda answer: answer)


def queues() -> Call[pb.ListQueuesResponse]:
    """Return the queues, with what waits in them and who takes from them."""
    return call(f"{SERVICE}/ListQueues", pb.ListQueuesRequest(), pb.ListQueuesResponse, lambda answer: answer)


def workers(*, without_executions: bool = False) -> Call[list[pb.ListWorkersResponse.Process]]:
    """Return the live servers, beats and workers, with what each worker runs."""
    request = pb.ListWorkersRequest(without_executions=without_executions)
    return call(f"{SERVICE}/ListWorkers", request, pb.ListWorkersResponse, lambda answer: list(answer.processes))
