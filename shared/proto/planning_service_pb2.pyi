import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from shared.proto import scheduler_service_pb2 as _scheduler_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FireTime(_message.Message):
    __slots__ = ("time", "local_time", "due_time", "remarks")
    TIME_FIELD_NUMBER: _ClassVar[int]
    LOCAL_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    REMARKS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    local_time: str
    due_time: _timestamp_pb2.Timestamp
    remarks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., local_time: _Optional[str] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., remarks: _Optional[_Iterable[str]] = ...) -> None: ...

class PreviewScheduleRequest(_message.Message):
    __slots__ = ("schedule_config", "job_id", "count", "from_time")
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    schedule_config: _scheduler_service_pb2.ScheduleConfig
    job_id: str
    count: int
    from_time: _timestamp_pb2.Timestamp
    def __init__(self, schedule_config: _Optional[_Union[_scheduler_service_pb2.ScheduleConfig, _Mapping]] = ..., job_id: _Optional[str] = ..., count: _Optional[int] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PreviewScheduleResponse(_message.Message):
    __slots__ = ("fires", "description", "ends", "added", "removed", "warnings")
    FIRES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    fires: _containers.RepeatedCompositeFieldContainer[FireTime]
    description: str
    ends: str
    added: _containers.RepeatedCompositeFieldContainer[FireTime]
    removed: _containers.RepeatedCompositeFieldContainer[FireTime]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fires: _Optional[_Iterable[_Union[FireTime, _Mapping]]] = ..., description: _Optional[str] = ..., ends: _Optional[str] = ..., added: _Optional[_Iterable[_Union[FireTime, _Mapping]]] = ..., removed: _Optional[_Iterable[_Union[FireTime, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeScheduleRequest(_message.Message):
    __slots__ = ("schedule_config", "job_id")
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    schedule_config: _scheduler_service_pb2.ScheduleConfig
    job_id: str
    def __init__(self, schedule_config: _Optional[_Union[_scheduler_service_pb2.ScheduleConfig, _Mapping]] = ..., job_id: _Optional[str] = ...) -> None: ...

class DescribeScheduleResponse(_message.Message):
    __slots__ = ("description",)
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    description: str
    def __init__(self, description: _Optional[str] = ...) -> None: ...

class ExplainOccurrenceRequest(_message.Message):
    __slots__ = ("job_id", "nominal_time", "local_time")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    LOCAL_TIME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    nominal_time: _timestamp_pb2.Timestamp
    local_time: str
    def __init__(self, job_id: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., local_time: _Optional[str] = ...) -> None: ...

class ExplainOccurrenceResponse(_message.Message):
    __slots__ = ("verdict", "sentence", "facts", "execution", "local_time", "previous", "next")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_SUCCEEDED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_FAILED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_CANCELLED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_RUNNING: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_WAITING: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_SKIPPED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_COALESCED: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_UPCOMING: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_OVERDUE: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_NO_OCCURRENCE: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_NOT_ACTIVE: _ClassVar[ExplainOccurrenceResponse.Verdict]
        VERDICT_UNKNOWN: _ClassVar[ExplainOccurrenceResponse.Verdict]
    VERDICT_UNSPECIFIED: ExplainOccurrenceResponse.Verdict
    VERDICT_SUCCEEDED: ExplainOccurrenceResponse.Verdict
    VERDICT_FAILED: ExplainOccurrenceResponse.Verdict
    VERDICT_CANCELLED: ExplainOccurrenceResponse.Verdict
    VERDICT_RUNNING: ExplainOccurrenceResponse.Verdict
    VERDICT_WAITING: ExplainOccurrenceResponse.Verdict
    VERDICT_SKIPPED: ExplainOccurrenceResponse.Verdict
    VERDICT_COALESCED: ExplainOccurrenceResponse.Verdict
    VERDICT_UPCOMING: ExplainOccurrenceResponse.Verdict
    VERDICT_OVERDUE: ExplainOccurrenceResponse.Verdict
    VERDICT_NO_OCCURRENCE: ExplainOccurrenceResponse.Verdict
    VERDICT_NOT_ACTIVE: ExplainOccurrenceResponse.Verdict
    VERDICT_UNKNOWN: ExplainOccurrenceResponse.Verdict
    class Fact(_message.Message):
        __slots__ = ("kind", "detail", "since", "until", "by", "execution_id")
        KIND_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        SINCE_FIELD_NUMBER: _ClassVar[int]
        UNTIL_FIELD_NUMBER: _ClassVar[int]
        BY_FIELD_NUMBER: _ClassVar[int]
        EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
        kind: str
        detail: str
        since: _timestamp_pb2.Timestamp
        until: _timestamp_pb2.Timestamp
        by: str
        execution_id: str
        def __init__(self, kind: _Optional[str] = ..., detail: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., by: _Optional[str] = ..., execution_id: _Optional[str] = ...) -> None: ...
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    LOCAL_TIME_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    verdict: ExplainOccurrenceResponse.Verdict
    sentence: str
    facts: _containers.RepeatedCompositeFieldContainer[ExplainOccurrenceResponse.Fact]
    execution: _scheduler_service_pb2.Execution
    local_time: str
    previous: FireTime
    next: FireTime
    def __init__(self, verdict: _Optional[_Union[ExplainOccurrenceResponse.Verdict, str]] = ..., sentence: _Optional[str] = ..., facts: _Optional[_Iterable[_Union[ExplainOccurrenceResponse.Fact, _Mapping]]] = ..., execution: _Optional[_Union[_scheduler_service_pb2.Execution, _Mapping]] = ..., local_time: _Optional[str] = ..., previous: _Optional[_Union[FireTime, _Mapping]] = ..., next: _Optional[_Union[FireTime, _Mapping]] = ...) -> None: ...

class SkipOccurrenceRequest(_message.Message):
    __slots__ = ("job_id", "nominal_time", "reason", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    nominal_time: _timestamp_pb2.Timestamp
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class SkipOccurrenceResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: _scheduler_service_pb2.OccurrenceChange
    def __init__(self, change: _Optional[_Union[_scheduler_service_pb2.OccurrenceChange, _Mapping]] = ...) -> None: ...

class MoveOccurrenceRequest(_message.Message):
    __slots__ = ("job_id", "nominal_time", "new_time", "reason", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    NEW_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    nominal_time: _timestamp_pb2.Timestamp
    new_time: _timestamp_pb2.Timestamp
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., new_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class MoveOccurrenceResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: _scheduler_service_pb2.OccurrenceChange
    def __init__(self, change: _Optional[_Union[_scheduler_service_pb2.OccurrenceChange, _Mapping]] = ...) -> None: ...

class RestoreOccurrenceRequest(_message.Message):
    __slots__ = ("job_id", "nominal_time", "request_id", "reason", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    nominal_time: _timestamp_pb2.Timestamp
    request_id: str
    reason: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RestoreOccurrenceResponse(_message.Message):
    __slots__ = ("change",)
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    change: _scheduler_service_pb2.OccurrenceChange
    def __init__(self, change: _Optional[_Union[_scheduler_service_pb2.OccurrenceChange, _Mapping]] = ...) -> None: ...

class Backfill(_message.Message):
    __slots__ = ("backfill_id", "job_id", "from_time", "to_time", "existing", "overlap", "max_parallel", "state", "total", "decided", "left", "states", "reached", "created_at", "created_by", "finished_at", "status_message", "queue")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Backfill.State]
        STATE_RUNNING: _ClassVar[Backfill.State]
        STATE_PAUSED: _ClassVar[Backfill.State]
        STATE_COMPLETED: _ClassVar[Backfill.State]
        STATE_CANCELLED: _ClassVar[Backfill.State]
    STATE_UNSPECIFIED: Backfill.State
    STATE_RUNNING: Backfill.State
    STATE_PAUSED: Backfill.State
    STATE_COMPLETED: Backfill.State
    STATE_CANCELLED: Backfill.State
    class Existing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EXISTING_UNSPECIFIED: _ClassVar[Backfill.Existing]
        EXISTING_SKIP: _ClassVar[Backfill.Existing]
        EXISTING_RERUN_FAILED: _ClassVar[Backfill.Existing]
        EXISTING_RERUN: _ClassVar[Backfill.Existing]
    EXISTING_UNSPECIFIED: Backfill.Existing
    EXISTING_SKIP: Backfill.Existing
    EXISTING_RERUN_FAILED: Backfill.Existing
    EXISTING_RERUN: Backfill.Existing
    class StatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    EXISTING_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    STATUS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    backfill_id: str
    job_id: str
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    existing: Backfill.Existing
    overlap: _scheduler_service_pb2.Policies.Overlap
    max_parallel: int
    state: Backfill.State
    total: int
    decided: int
    left: int
    states: _containers.ScalarMap[str, int]
    reached: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    finished_at: _timestamp_pb2.Timestamp
    status_message: str
    queue: str
    def __init__(self, backfill_id: _Optional[str] = ..., job_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., existing: _Optional[_Union[Backfill.Existing, str]] = ..., overlap: _Optional[_Union[_scheduler_service_pb2.Policies.Overlap, str]] = ..., max_parallel: _Optional[int] = ..., state: _Optional[_Union[Backfill.State, str]] = ..., total: _Optional[int] = ..., decided: _Optional[int] = ..., left: _Optional[int] = ..., states: _Optional[_Mapping[str, int]] = ..., reached: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status_message: _Optional[str] = ..., queue: _Optional[str] = ...) -> None: ...

class CreateBackfillRequest(_message.Message):
    __slots__ = ("job_id", "from_time", "to_time", "existing", "overlap", "max_parallel", "queue", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    EXISTING_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    existing: Backfill.Existing
    overlap: _scheduler_service_pb2.Policies.Overlap
    max_parallel: int
    queue: str
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., existing: _Optional[_Union[Backfill.Existing, str]] = ..., overlap: _Optional[_Union[_scheduler_service_pb2.Policies.Overlap, str]] = ..., max_parallel: _Optional[int] = ..., queue: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CreateBackfillResponse(_message.Message):
    __slots__ = ("backfill",)
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    backfill: Backfill
    def __init__(self, backfill: _Optional[_Union[Backfill, _Mapping]] = ...) -> None: ...

class GetBackfillRequest(_message.Message):
    __slots__ = ("backfill_id",)
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    backfill_id: str
    def __init__(self, backfill_id: _Optional[str] = ...) -> None: ...

class GetBackfillResponse(_message.Message):
    __slots__ = ("backfill",)
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    backfill: Backfill
    def __init__(self, backfill: _Optional[_Union[Backfill, _Mapping]] = ...) -> None: ...

class ListBackfillsRequest(_message.Message):
    __slots__ = ("job_id", "page_size", "page_token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    page_size: int
    page_token: str
    def __init__(self, job_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBackfillsResponse(_message.Message):
    __slots__ = ("backfills", "next_page_token")
    BACKFILLS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backfills: _containers.RepeatedCompositeFieldContainer[Backfill]
    next_page_token: str
    def __init__(self, backfills: _Optional[_Iterable[_Union[Backfill, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PauseBackfillRequest(_message.Message):
    __slots__ = ("backfill_id", "reason", "request_id", "validate_only")
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    backfill_id: str
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, backfill_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class PauseBackfillResponse(_message.Message):
    __slots__ = ("backfill",)
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    backfill: Backfill
    def __init__(self, backfill: _Optional[_Union[Backfill, _Mapping]] = ...) -> None: ...

class ResumeBackfillRequest(_message.Message):
    __slots__ = ("backfill_id", "request_id", "validate_only")
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    backfill_id: str
    request_id: str
    validate_only: bool
    def __init__(self, backfill_id: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ResumeBackfillResponse(_message.Message):
    __slots__ = ("backfill",)
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    backfill: Backfill
    def __init__(self, backfill: _Optional[_Union[Backfill, _Mapping]] = ...) -> None: ...

class CancelBackfillRequest(_message.Message):
    __slots__ = ("backfill_id", "reason", "cancel_running", "request_id", "validate_only")
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUNNING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    backfill_id: str
    reason: str
    cancel_running: bool
    request_id: str
    validate_only: bool
    def __init__(self, backfill_id: _Optional[str] = ..., reason: _Optional[str] = ..., cancel_running: _Optional[bool] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CancelBackfillResponse(_message.Message):
    __slots__ = ("backfill",)
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    backfill: Backfill
    def __init__(self, backfill: _Optional[_Union[Backfill, _Mapping]] = ...) -> None: ...

class ForecastLoadRequest(_message.Message):
    __slots__ = ("from_time", "span", "bucket", "queue", "target_service")
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
    from_time: _timestamp_pb2.Timestamp
    span: _duration_pb2.Duration
    bucket: _duration_pb2.Duration
    queue: str
    target_service: str
    def __init__(self, from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., span: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., bucket: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[str] = ..., target_service: _Optional[str] = ...) -> None: ...

class ForecastLoadResponse(_message.Message):
    __slots__ = ("buckets", "peaks", "jobs", "computed_at", "peak_limit")
    class Bucket(_message.Message):
        __slots__ = ("time", "fires", "by_queue", "by_target")
        class ByQueueEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        class ByTargetEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        TIME_FIELD_NUMBER: _ClassVar[int]
        FIRES_FIELD_NUMBER: _ClassVar[int]
        BY_QUEUE_FIELD_NUMBER: _ClassVar[int]
        BY_TARGET_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        fires: int
        by_queue: _containers.ScalarMap[str, int]
        by_target: _containers.ScalarMap[str, int]
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fires: _Optional[int] = ..., by_queue: _Optional[_Mapping[str, int]] = ..., by_target: _Optional[_Mapping[str, int]] = ...) -> None: ...
    class Peak(_message.Message):
        __slots__ = ("time", "fires", "job_ids")
        TIME_FIELD_NUMBER: _ClassVar[int]
        FIRES_FIELD_NUMBER: _ClassVar[int]
        JOB_IDS_FIELD_NUMBER: _ClassVar[int]
        time: _timestamp_pb2.Timestamp
        fires: int
        job_ids: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fires: _Optional[int] = ..., job_ids: _Optional[_Iterable[str]] = ...) -> None: ...
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    PEAKS_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_AT_FIELD_NUMBER: _ClassVar[int]
    PEAK_LIMIT_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[ForecastLoadResponse.Bucket]
    peaks: _containers.RepeatedCompositeFieldContainer[ForecastLoadResponse.Peak]
    jobs: int
    computed_at: _timestamp_pb2.Timestamp
    peak_limit: int
    def __init__(self, buckets: _Optional[_Iterable[_Union[ForecastLoadResponse.Bucket, _Mapping]]] = ..., peaks: _Optional[_Iterable[_Union[ForecastLoadResponse.Peak, _Mapping]]] = ..., jobs: _Optional[int] = ..., computed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., peak_limit: _Optional[int] = ...) -> None: ...
