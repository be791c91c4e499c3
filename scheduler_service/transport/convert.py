"""Domain values as messages of the API, and the pieces that messages are made of as domain values.

Nothing here raises for what a client sent: whatever a message can hold becomes a value, or a violation.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from shared.domain.errors import Violation
from shared.domain.execution import DECISIONS_NOT_TO_RUN
from shared.domain.flow import FanOut, Workflow
from shared.domain.schedule import CronSchedule
from shared.domain.text import excerpt
from shared.domain.zones import EPOCH
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.exclusions import ExclusionTerms
    from shared.domain.overrides import Override
    from shared.domain.policies import Policies
    from shared.domain.retry import RetryPolicy
    from shared.domain.schedule import Schedule
    from shared.store.executions import StoredExecution
    from shared.store.jobs import StoredJob

_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
"""The years 1 to 9999, as timestamp.proto asks."""
_LONGEST_SPAN: Final = 315_576_000_000
"""Seconds, as duration.proto asks."""
_NANOS: Final = 1_000_000_000
_NANOS_OF_A_MICROSECOND: Final = 1_000
_DAY: Final = 86_400
"""Seconds."""
_MOST_VIOLATIONS: Final = 100
"""Of one request; a status has room for fewer, and a request for a million."""
_EXACT: Final = 2**53
"""Below it, a whole number that travelled as a double is the number that was meant."""


# From messages:


def to_instant(field: str, timestamp: Timestamp, found: list[Violation]) -> datetime | None:
    """Read a Timestamp, cut to microseconds."""
    if not (_FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND and 0 <= timestamp.nanos < _NANOS):
        said = f"{timestamp.seconds} s and {timestamp.nanos} ns after 1970 is not an instant in the years 1 to 9999"
        found.append(Violation(field, said))
        return None
    return EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


def to_span(field: str, duration: Duration, found: list[Violation]) -> timedelta | None:
    """Read a Duration, cut to microseconds; a negative one is refused."""
    seconds, nanos = duration.seconds, duration.nanos
    if not (abs(seconds) <= _LONGEST_SPAN and abs(nanos) < _NANOS and seconds * nanos >= 0):
        said = f"{seconds} s and {nanos} ns is not a span (at most 10,000 years; both parts of one sign)"
        found.append(Violation(field, said))
        return None
    if seconds < 0 or nanos < 0:
        found.append(Violation(field, f"{seconds + nanos / _NANOS:g} s is negative"))
        return None
    return timedelta(seconds=seconds, microseconds=nanos // 1000)


def to_mapping(field: str, struct: Struct, found: list[Violation]) -> dict[str, object]:
    """Read a Struct as JSON's values; whole numbers become int."""
    return {key: _to_plain(f"{field}.{excerpt(key)}", value, found) for key, value in sorted(struct.fields.items())}


def to_list(field: str, values: ListValue, found: list[Violation]) -> list[object]:
    """Read a ListValue as JSON's values; whole numbers become int."""
    return [_to_plain(f"{field}[{n}]", item, found) for n, item in enumerate(values.values)]


def _to_plain(field: str, value: Value, found: list[Violation]) -> object:
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                _refuse(found, field, f"{number} is not a number that JSON has")
                return None
            return int(number) if number.is_integer() and abs(number) < _EXACT else number
        case "struct_value":
            return to_mapping(field, value.struct_value, found)
        case "list_value":
            return to_list(field, value.list_value, found)
        case _:
            _refuse(found, field, "has no value; for JSON's null set null_value")
            return None


def _refuse(found: list[Violation], field: str, sentence: str) -> None:
    if len(found) < _MOST_VIOLATIONS:
        found.append(Violation(field, sentence))


# To messages:


def timestamp(instant: datetime | None) -> Timestamp | None:
    """Write an instant, if there is one."""
    if instant is None:
        return None
    # By hand: FromDatetime takes twice as long, and a page of jobs has hundreds of them.
    since = instant - EPOCH
    return Timestamp(seconds=since.days * _DAY + since.seconds, nanos=since.microseconds * _NANOS_OF_A_MICROSECOND)


def timestamps(instants: Iterable[datetime]) -> list[Timestamp]:
    """Write instants."""
    return [message for instant in instants if (message := timestamp(instant)) is not None]


def duration(span: timedelta) -> Duration:
    """Write a span, which is not negative."""
    # By hand, as an instant, and for its reason.
    return Duration(seconds=span.days * _DAY + span.seconds, nanos=span.microseconds * _NANOS_OF_A_MICROSECOND)


_DEEPEST: Final = 90
"""Messages in each other; readers refuse more than 100, with those around."""
_MESSAGES_OF_AN_OBJECT: Final = 3
_MESSAGES_OF_A_LIST: Final = 2


def struct(values: Mapping[str, Any], room: int = _DEEPEST) -> Struct:
    """Write JSON's values. What a double, UTF-8 or a message cannot hold is written as near as it can be.

    What is nested too deep is a text, of JSON. room: for how many messages in each other there is.
    """
    return Struct(fields={_text(key): _value(value, room - _MESSAGES_OF_AN_OBJECT) for key, value in values.items()})


def _value(plain: Any, room: int = _DEEPEST) -> Value:
    match plain:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=plain)
        case int() | float():
            try:
                return Value(number_value=float(plain))
            except OverflowError:
                return Value(string_value=str(plain))
        case str():
            return Value(string_value=_text(plain))
        case dict() | list() if room < _MESSAGES_OF_AN_OBJECT:
            return Value(string_value=_text(json.dumps(plain, ensure_ascii=False)))
        case dict():
            return Value(struct_value=struct(plain, room))
        case list():
            return Value(list_value=ListValue(values=[_value(item, room - _MESSAGES_OF_A_LIST) for item in plain]))
        case _:
            return Value(string_value=_text(str(plain)))


def _text(text: str) -> str:
    """Return a text without lone surrogates, which JSON can hold and a message cannot."""
    return text.encode(errors="replace").decode()


def job_message(job: StoredJob, next_fire_times: Iterable[datetime] = ()) -> pb.ScheduledJob:
    """Write a job as its clients see it."""
    definition = job.definition
    return pb.ScheduledJob(
        job_id=definition.job_id,
        uid=job.uid,
        name=definition.name,
        description=definition.description,
        job_type=definition.job_type.value,
        target_service=definition.target_service,
        target_method=definition.target_method,
        parameters=struct(definition.parameters),
        schedule_config=_schedule_config(definition.schedule),
        queue=definition.queue,
        priority=definition.priority,
        timeout=duration(definition.timeout),
        retry_policy=retry_message(definition.retry),
        labels=definition.labels,
        annotations=definition.annotations,
        policies=policies_message(definition.policies),
        fan_out=_fan_out(definition.flow) if isinstance(definition.flow, FanOut) else None,
        workflow=_workflow(definition.flow) if isinstance(definition.flow, Workflow) else None,
        state=f"STATE_{job.state}",
        next_fire_times=timestamps(next_fire_times),
        created_at=timestamp(job.created_at),
        updated_at=timestamp(job.updated_at),
        created_by=job.created_by,
        updated_by=job.updated_by,
        revision=job.revision,
        etag=job.etag,
        status_message=job.status_message,
        expires=None if definition.expires is None else duration(definition.expires),
        managed_by=job.managed_by,
        deleted_at=timestamp(job.deleted_at),
        purge_time=timestamp(job.purge_time),
        drift=job.drift,
    )


def _schedule_config(schedule: Schedule) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(
        type=schedule.type,
        config=schedule.config,
        timezone=schedule.timezone,
        start_time=timestamp(schedule.start_time),
        end_time=timestamp(schedule.end_time),
        jitter=duration(schedule.jitter) if schedule.jitter else None,
        max_runs=schedule.max_runs or 0,
        expressions=schedule.expressions if isinstance(schedule, CronSchedule) else (),
        exclusions=_exclusions(schedule.exclusions.terms) if schedule.exclusions else None,
    )


def _exclusions(terms: ExclusionTerms) -> pb.Exclusions:
    return pb.Exclusions(
        dates=terms.dates,
        ranges=[pb.Exclusions.DateRange(first=first, last=last) for first, last in terms.ranges],
        calendars=terms.calendars,
        holidays=terms.holidays,
        on_excluded=f"ON_EXCLUDED_{terms.on_excluded}",
        weekend=terms.weekend,
    )


def _fan_out(fan_out: FanOut) -> pb.FanOut:
    source = fan_out.source
    message = pb.FanOut(
        max_parallel=fan_out.max_parallel,
        failure_policy=f"FAILURE_POLICY_{fan_out.failure_policy}",
        min_succeeded=fan_out.min_succeeded,
        min_share=fan_out.min_share,
        key=fan_out.key,
        items_from=fan_out.items_from,
    )
    if fan_out.items is not None:
        message.items.CopyFrom(ListValue(values=[_value(item) for item in fan_out.items]))
    if source is not None:
        message.source.CopyFrom(
            pb.FanOut.Source(
                target_service=source.target_service,
                target_method=source.target_method,
                parameters=struct(source.parameters),
                path=source.path,
            )
        )
    return message


def _workflow(workflow: Workflow) -> pb.Workflow:
    return pb.Workflow(
        steps=[
            pb.Workflow.Step(
                name=step.name,
                after=step.after,
                target_service=step.target_service,
                target_method=step.target_method,
                parameters=struct(step.parameters),
                fan_out=_fan_out(step.fan_out) if step.fan_out is not None else None,
                retry_policy=retry_message(step.retry) if step.retry is not None else None,
                timeout=duration(step.timeout) if step.timeout is not None else None,
                queue=step.queue,
                priority=step.priority,
                when=step.when,
                requires=f"REQUIRES_{step.requires}",
            )
            for step in workflow.steps
        ]
    )


def retry_message(retry: RetryPolicy) -> pb.RetryPolicy:
    """Write a retry policy."""
    return pb.RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_backoff=duration(retry.initial_backoff),
        max_backoff=duration(retry.max_backoff),
        multiplier=retry.multiplier,
        jitter=f"JITTER_{retry.jitter}",
        retryable_codes=sorted(retry.retryable_codes),
        non_retryable_codes=sorted(retry.non_retryable_codes),
        retry_window=f"RETRY_WINDOW_{retry.retry_window}",
    )


def policies_message(policies: Policies) -> pb.Policies:
    """Write policies."""
    return pb.Policies(
        misfire=f"MISFIRE_{policies.misfire}",
        misfire_grace=duration(policies.misfire_grace),
        misfire_limit=policies.misfire_limit,
        overlap=f"OVERLAP_{policies.overlap}",
        buffer_limit=policies.buffer_limit,
        max_concurrent=policies.max_concurrent,
        on_worker_lost=f"WORKER_LOST_{policies.on_worker_lost}",
        pause_on_failure=policies.pause_on_failure,
        delete_after_done=policies.delete_after_done,
    )


def change_message(override: Override) -> pb.OccurrenceChange:
    """Write how an occurrence does not go as its schedule says."""
    return pb.OccurrenceChange(
        nominal_time=timestamp(override.nominal),
        new_time=timestamp(override.moved_to),
        by=_text(override.by),
        reason=_text(override.reason),
        time=timestamp(override.at),
    )


def execution_message(execution: StoredExecution, parameters: str | None = None) -> pb.Execution:
    """Write an execution, or a decision not to run, as clients see it; parameters: JSON of what it is called with."""
    message = pb.Execution(
        execution_id=execution.execution_id,
        job_id=execution.job_id,
        job_name=execution.job_name,
        trigger=f"TRIGGER_{execution.trigger}",
        nominal_time=timestamp(execution.nominal_time),
        due_time=timestamp(execution.due_at),
        started_at=timestamp(execution.started_at),
        finished_at=timestamp(execution.finished_at),
        state=f"STATE_{execution.state}",
        attempt=execution.attempt,
        max_attempts=execution.max_attempts,
        queue=execution.queue,
        worker=execution.worker,
        target_service=execution.target_service,
        target_method=execution.target_method,
        result=None if execution.result is None else struct(execution.result),
        result_truncated=execution.result_truncated,
        transitions=[
            pb.Execution.Transition(
                number=step.number,
                state=f"STATE_{step.state}",
                time=timestamp(step.at),
                by=_text(step.by),
                reason=_text(step.reason),
            )
            for step in execution.transitions
        ],
        reason=_text(execution.reason),
        workers_lost=execution.workers_lost,
        trace_id=execution.trace_id,
        cancel_requested=execution.cancel_requested,
        tzdata_version=execution.tzdata,
        retry_of=execution.retry_of,
        held=execution.held,
        parent_execution_id=execution.parent,
        group_id=execution.group,
        part_name=execution.part_name,
        part_key=_text(execution.part_key),
        moved=execution.moved,
        backfill_id=execution.backfill,
        parameters=None if parameters is None else struct(json.loads(parameters)),
    )
    if (progress := execution.progress) is not None:
        message.progress.CopyFrom(
            pb.Execution.Progress(
                done=progress.done, total=progress.total, message=_text(progress.message), time=timestamp(progress.at)
            )
        )
    if execution.parts is not None:
        message.parts.CopyFrom(pb.Execution.Parts(total=execution.parts.total, states=execution.parts.states))
    if execution.error is not None:
        error = execution.error
        message.error.CopyFrom(
            pb.Execution.Error(code=error.code, message=_text(error.message), retryable=error.retryable)
        )
    if execution.state in DECISIONS_NOT_TO_RUN:
        message.MergeFrom(
            pb.Execution(
                first_time=timestamp(execution.nominal_time),
                last_time=timestamp(execution.last or execution.nominal_time),
                occurrence_count=execution.count,
            )
        )
    return message
