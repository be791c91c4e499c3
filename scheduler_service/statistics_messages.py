"""What StatisticsService tells, as messages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler_service.convert import timestamp
from shared.domain.text import excerpt
from shared.proto import statistics_service_pb2 as pb

if TYPE_CHECKING:
    from scheduler_service.depths import Waiting
    from scheduler_service.live import Live
    from shared.store.live import Attempt


def process_message(live: Live) -> pb.ListWorkersResponse.Process:
    """Return a process that is alive."""
    about = live.process.about
    return pb.ListWorkersResponse.Process(
        name=about.name,
        kind=f"KIND_{about.kind}",
        started_at=timestamp(live.process.started_at),
        heard_at=timestamp(live.process.heard_at),
        version=about.version,
        queues=about.queues,
        pool=about.pool,
        concurrency=about.concurrency,
        running=map(_running_message, live.running),
        running_total=live.total,
        partitions=about.partitions,
        tzdata_version=about.tzdata_version,
    )


def _running_message(attempt: Attempt) -> pb.ListWorkersResponse.Running:
    return pb.ListWorkersResponse.Running(
        execution_id=attempt.execution_id,
        job_id=attempt.job_id,
        job_name=excerpt(attempt.job_name),
        target_method=excerpt(attempt.target_method),
        started_at=timestamp(attempt.started_at),
        attempt=attempt.attempt,
    )


def queue_message(queue: Waiting) -> pb.ListQueuesResponse.Queue:
    """Return a queue."""
    return pb.ListQueuesResponse.Queue(
        name=queue.name,
        messages=queue.messages,
        consumers=queue.consumers,
        queued=queue.queued,
        running=queue.running,
        oldest=timestamp(queue.oldest),
        warning=queue.warning,
    )
