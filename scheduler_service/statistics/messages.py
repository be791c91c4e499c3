"""What StatisticsService tells, as messages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from scheduler_service.transport.convert import duration, timestamp
from shared.domain.tally import success_rate
from shared.domain.text import excerpt
from shared.proto import statistics_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import timedelta

    from scheduler_service.statistics.depths import Waiting
    from scheduler_service.statistics.live import Live
    from scheduler_service.statistics.tallies import Statistics
    from shared.domain.tally import Spans
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
        silent_for=None if live.process.silent_for is None else duration(live.process.silent_for),
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


def statistics_message(statistics: Statistics, width: timedelta) -> pb.GetStatisticsResponse.Statistics:
    """Return the numbers of one group in one window, which is so wide."""
    tally = statistics.tally
    return pb.GetStatisticsResponse.Statistics(
        group=statistics.group,
        time=timestamp(statistics.time),
        width=duration(width),
        counts=tally.counts,
        success_rate=success_rate(tally.counts),
        lateness=_percentiles(tally.lateness),
        duration=_percentiles(tally.duration),
        retries=tally.retries,
    )


def _percentiles(spans: Spans) -> pb.GetStatisticsResponse.Percentiles | None:
    if not spans.count:
        return None
    p50, p95, p99 = spans.percentiles(0.5, 0.95, 0.99)
    return pb.GetStatisticsResponse.Percentiles(
        p50=_milliseconds(p50),
        p95=_milliseconds(p95),
        p99=_milliseconds(p99),
        max=_milliseconds(spans.longest),
        mean=_milliseconds(spans.mean),
    )


def _milliseconds(span: float) -> Duration:
    seconds, microseconds = divmod(round(span * 1_000), 1_000_000)
    return Duration(seconds=seconds, nanos=microseconds * 1_000)


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
