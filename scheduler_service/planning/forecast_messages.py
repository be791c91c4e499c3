"""What a client asks of the load to come, checked; and the load as a message of the API."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from scheduler_service.transport.convert import timestamp, to_instant, to_span
from scheduler_service.transport.fields import name_violations, refuse
from scheduler_service.transport.pages import MOST_BYTES, entry_bytes
from shared.domain.clock import utc_text
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import unknown_queue
from shared.domain.load import MINUTE
from shared.domain.rollup import floor
from shared.proto import planning_service_pb2 as pb

if TYPE_CHECKING:
    from scheduler_service.planning.load import Load

LONGEST_SPAN: Final = timedelta(hours=48)
DEFAULT_SPAN: Final = timedelta(hours=6)
MOST_PEAKS: Final = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A stretch of time in buckets, each of whole minutes. queue, target: only that one's, if not empty."""

    start: datetime
    buckets: int
    bucket: timedelta
    queue: str
    target: str


def _why_not(span: timedelta, bucket: timedelta) -> str:
    """Return what is wrong with a span, if anything is."""
    said = f"{span.total_seconds():,.10g} s"
    if span > LONGEST_SPAN:
        return f"{said} is longer than {LONGEST_SPAN // timedelta(hours=1)} hours, as far as a forecast looks"
    if span < bucket:
        return f"{said} is shorter than a bucket, {bucket.total_seconds():g} s"
    return f"{said} is not a whole number of buckets, each {bucket.total_seconds():g} s" if span % bucket else ""


def load_question(request: pb.ForecastLoadRequest, now: datetime, queues: frozenset[str]) -> Question:
    """Return what a request asks at `now` (the database's time). Raises InvalidInput with all that is wrong.

    queues: those that are configured. A target is asked for as lists are filtered by it, whether there is one or not.
    """
    found: list[Violation] = []
    start = to_instant("from_time", request.from_time, found) if request.HasField("from_time") else now
    if start is not None and not now - MINUTE <= start <= now + LONGEST_SPAN:
        said = f"{utc_text(start)} is not within the {LONGEST_SPAN // timedelta(hours=1)} hours from now on"
        found.append(Violation("from_time", said))
        start = None
    bucket = to_span("bucket", request.bucket, found) if request.HasField("bucket") else MINUTE
    if bucket is not None and (bucket % MINUTE or not MINUTE <= bucket <= LONGEST_SPAN):
        said = f"{bucket.total_seconds():g} s is not a whole number of minutes, 1 to {LONGEST_SPAN // MINUTE:,}"
        found.append(Violation("bucket", said))
        bucket = None
    span = to_span("span", request.span, found) if request.HasField("span") else None
    if request.HasField("span") and span is not None and bucket is not None:
        if why_not := _why_not(span, bucket):
            found.append(Violation("span", why_not))
        elif start is not None and start + span > now + LONGEST_SPAN:
            found.append(Violation("span", "ends more than 48 hours from now"))
    elif bucket is not None and start is not None and start + bucket > now + LONGEST_SPAN:
        found.append(Violation("bucket", "ends more than 48 hours from now"))
    if request.queue and request.queue not in queues:
        found.append(unknown_queue("queue", request.queue, queues))
    found += name_violations(request, "target_service")
    refuse(found)
    start, bucket = start or now, bucket or MINUTE  # for the types: what was refused does not get here
    if span is None:
        left = min(DEFAULT_SPAN, now + LONGEST_SPAN - start)
        span = max(bucket, left // bucket * bucket)
    return Question(floor(start, MINUTE), span // bucket, bucket, request.queue, request.target_service)


def load_message(load: Load, question: Question, limit: int) -> pb.ForecastLoadResponse:
    """Return what was asked for. Raises InvalidInput when that is more than a message holds."""
    response = pb.ForecastLoadResponse(jobs=load.jobs, computed_at=timestamp(load.computed_at), peak_limit=limit)
    # A minute that has passed while the load was computed is not to come, and nothing is known of it.
    first = max(0, (question.start - load.start) // MINUTE)
    width = question.bucket // MINUTE
    chosen = {
        (queue, target): counts
        for (queue, target), counts in load.fires.items()
        if question.queue in {"", queue} and question.target in {"", target}
    }
    room = MOST_BYTES
    for number in range(question.buckets):
        begins = first + number * width
        bucket = _bucket(chosen, begins, begins + width)
        bucket.time.CopyFrom(timestamp(load.start + begins * MINUTE) or bucket.time)
        room -= entry_bytes(bucket)
        if room < 0:
            said = (
                f"{question.buckets:,} buckets by queue and target are more than one answer holds; ask for wider ones"
            )
            raise InvalidInput([Violation("bucket", said)])
        response.buckets.append(bucket)
    if limit:
        response.peaks.extend(_peaks(load, chosen, first, first + question.buckets * width, limit))
    return response


def _bucket(chosen: dict[tuple[str, str], list[int]], begins: int, ends: int) -> pb.ForecastLoadResponse.Bucket:
    by_queue: Counter[str] = Counter()
    by_target: Counter[str] = Counter()
    for (queue, target), counts in chosen.items():
        if fires := sum(counts[begins:ends]):
            by_queue[queue] += fires
            if target:  # a workflow has none; its steps do
                by_target[target] += fires
    return pb.ForecastLoadResponse.Bucket(fires=by_queue.total(), by_queue=by_queue, by_target=by_target)


def _peaks(
    load: Load, chosen: dict[tuple[str, str], list[int]], begins: int, ends: int, limit: int
) -> list[pb.ForecastLoadResponse.Peak]:
    columns = zip(*(counts[begins:ends] for counts in chosen.values()), strict=True)
    totals = {begins + number: total for number, column in enumerate(columns) if (total := sum(column)) > limit}
    highest = sorted(totals, key=lambda minute: (-totals[minute], minute))[:MOST_PEAKS]
    return [
        pb.ForecastLoadResponse.Peak(
            time=timestamp(load.start + minute * MINUTE),
            fires=totals[minute],
            job_ids=[job_id for queue, target, job_id in load.examples.get(minute, ()) if (queue, target) in chosen],
        )
        for minute in highest
    ]
