import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_TYPE_UNSPECIFIED: _ClassVar[JobType]
    SCRAPING: _ClassVar[JobType]
    ANALYSIS: _ClassVar[JobType]
    MONITORING: _ClassVar[JobType]
    MAINTENANCE: _ClassVar[JobType]
    CUSTOM: _ClassVar[JobType]
JOB_TYPE_UNSPECIFIED: JobType
SCRAPING: JobType
ANALYSIS: JobType
MONITORING: JobType
MAINTENANCE: JobType
CUSTOM: JobType

class ScheduleConfig(_message.Message):
    __slots__ = ("type", "config", "timezone", "start_time", "end_time", "jitter", "max_runs", "expressions", "exclusions")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNS_FIELD_NUMBER: _ClassVar[int]
    EXPRESSIONS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    type: str
    config: _containers.ScalarMap[str, str]
    timezone: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    jitter: _duration_pb2.Duration
    max_runs: int
    expressions: _containers.RepeatedScalarFieldContainer[str]
    exclusions: Exclusions
    def __init__(self, type: _Optional[str] = ..., config: _Optional[_Mapping[str, str]] = ..., timezone: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., jitter: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_runs: _Optional[int] = ..., expressions: _Optional[_Iterable[str]] = ..., exclusions: _Optional[_Union[Exclusions, _Mapping]] = ...) -> None: ...

class Exclusions(_message.Message):
    __slots__ = ("dates", "ranges", "calendars", "holidays", "on_excluded", "weekend")
    class OnExcluded(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ON_EXCLUDED_UNSPECIFIED: _ClassVar[Exclusions.OnExcluded]
        ON_EXCLUDED_SKIP: _ClassVar[Exclusions.OnExcluded]
        ON_EXCLUDED_NEXT_BUSINESS_DAY: _ClassVar[Exclusions.OnExcluded]
        ON_EXCLUDED_PREVIOUS_BUSINESS_DAY: _ClassVar[Exclusions.OnExcluded]
    ON_EXCLUDED_UNSPECIFIED: Exclusions.OnExcluded
    ON_EXCLUDED_SKIP: Exclusions.OnExcluded
    ON_EXCLUDED_NEXT_BUSINESS_DAY: Exclusions.OnExcluded
    ON_EXCLUDED_PREVIOUS_BUSINESS_DAY: Exclusions.OnExcluded
    class DateRange(_message.Message):
        __slots__ = ("first", "last")
        FIRST_FIELD_NUMBER: _ClassVar[int]
        LAST_FIELD_NUMBER: _ClassVar[int]
        first: str
        last: str
        def __init__(self, first: _Optional[str] = ..., last: _Optional[str] = ...) -> None: ...
    DATES_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    CALENDARS_FIELD_NUMBER: _ClassVar[int]
    HOLIDAYS_FIELD_NUMBER: _ClassVar[int]
    ON_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    WEEKEND_FIELD_NUMBER: _ClassVar[int]
    dates: _containers.RepeatedScalarFieldContainer[str]
    ranges: _containers.RepeatedCompositeFieldContainer[Exclusions.DateRange]
    calendars: _containers.RepeatedScalarFieldContainer[str]
    holidays: _containers.RepeatedScalarFieldContainer[str]
    on_excluded: Exclusions.OnExcluded
    weekend: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dates: _Optional[_Iterable[str]] = ..., ranges: _Optional[_Iterable[_Union[Exclusions.DateRange, _Mapping]]] = ..., calendars: _Optional[_Iterable[str]] = ..., holidays: _Optional[_Iterable[str]] = ..., on_excluded: _Optional[_Union[Exclusions.OnExcluded, str]] = ..., weekend: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryPolicy(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff", "multiplier", "jitter", "retryable_codes", "non_retryable_codes", "retry_window")
    class Jitter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        JITTER_UNSPECIFIED: _ClassVar[RetryPolicy.Jitter]
        JITTER_PROPORTIONAL: _ClassVar[RetryPolicy.Jitter]
        JITTER_FULL: _ClassVar[RetryPolicy.Jitter]
        JITTER_NONE: _ClassVar[RetryPolicy.Jitter]
    JITTER_UNSPECIFIED: RetryPolicy.Jitter
    JITTER_PROPORTIONAL: RetryPolicy.Jitter
    JITTER_FULL: RetryPolicy.Jitter
    JITTER_NONE: RetryPolicy.Jitter
    class RetryWindow(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RETRY_WINDOW_UNSPECIFIED: _ClassVar[RetryPolicy.RetryWindow]
        RETRY_WINDOW_UNLIMITED: _ClassVar[RetryPolicy.RetryWindow]
        RETRY_WINDOW_UNTIL_NEXT: _ClassVar[RetryPolicy.RetryWindow]
    RETRY_WINDOW_UNSPECIFIED: RetryPolicy.RetryWindow
    RETRY_WINDOW_UNLIMITED: RetryPolicy.RetryWindow
    RETRY_WINDOW_UNTIL_NEXT: RetryPolicy.RetryWindow
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_CODES_FIELD_NUMBER: _ClassVar[int]
    NON_RETRYABLE_CODES_FIELD_NUMBER: _ClassVar[int]
    RETRY_WINDOW_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    multiplier: float
    jitter: RetryPolicy.Jitter
    retryable_codes: _containers.RepeatedScalarFieldContainer[str]
    non_retryable_codes: _containers.RepeatedScalarFieldContainer[str]
    retry_window: RetryPolicy.RetryWindow
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., multiplier: _Optional[float] = ..., jitter: _Optional[_Union[RetryPolicy.Jitter, str]] = ..., retryable_codes: _Optional[_Iterable[str]] = ..., non_retryable_codes: _Optional[_Iterable[str]] = ..., retry_window: _Optional[_Union[RetryPolicy.RetryWindow, str]] = ...) -> None: ...

class Policies(_message.Message):
    __slots__ = ("misfire", "misfire_grace", "misfire_limit", "overlap", "buffer_limit", "max_concurrent", "on_worker_lost", "pause_on_failure", "delete_after_done")
    class Misfire(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MISFIRE_UNSPECIFIED: _ClassVar[Policies.Misfire]
        MISFIRE_FIRE_LATEST: _ClassVar[Policies.Misfire]
        MISFIRE_FIRE_ALL: _ClassVar[Policies.Misfire]
        MISFIRE_SKIP: _ClassVar[Policies.Misfire]
    MISFIRE_UNSPECIFIED: Policies.Misfire
    MISFIRE_FIRE_LATEST: Policies.Misfire
    MISFIRE_FIRE_ALL: Policies.Misfire
    MISFIRE_SKIP: Policies.Misfire
    class Overlap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OVERLAP_UNSPECIFIED: _ClassVar[Policies.Overlap]
        OVERLAP_SKIP: _ClassVar[Policies.Overlap]
        OVERLAP_BUFFER_ONE: _ClassVar[Policies.Overlap]
        OVERLAP_BUFFER_ALL: _ClassVar[Policies.Overlap]
        OVERLAP_CANCEL_PREVIOUS: _ClassVar[Policies.Overlap]
        OVERLAP_ALLOW: _ClassVar[Policies.Overlap]
    OVERLAP_UNSPECIFIED: Policies.Overlap
    OVERLAP_SKIP: Policies.Overlap
    OVERLAP_BUFFER_ONE: Policies.Overlap
    OVERLAP_BUFFER_ALL: Policies.Overlap
    OVERLAP_CANCEL_PREVIOUS: Policies.Overlap
    OVERLAP_ALLOW: Policies.Overlap
    class WorkerLost(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        WORKER_LOST_UNSPECIFIED: _ClassVar[Policies.WorkerLost]
        WORKER_LOST_RETRY: _ClassVar[Policies.WorkerLost]
        WORKER_LOST_FAIL: _ClassVar[Policies.WorkerLost]
    WORKER_LOST_UNSPECIFIED: Policies.WorkerLost
    WORKER_LOST_RETRY: Policies.WorkerLost
    WORKER_LOST_FAIL: Policies.WorkerLost
    MISFIRE_FIELD_NUMBER: _ClassVar[int]
    MISFIRE_GRACE_FIELD_NUMBER: _ClassVar[int]
    MISFIRE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BUFFER_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    ON_WORKER_LOST_FIELD_NUMBER: _ClassVar[int]
    PAUSE_ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    DELETE_AFTER_DONE_FIELD_NUMBER: _ClassVar[int]
    misfire: Policies.Misfire
    misfire_grace: _duration_pb2.Duration
    misfire_limit: int
    overlap: Policies.Overlap
    buffer_limit: int
    max_concurrent: int
    on_worker_lost: Policies.WorkerLost
    pause_on_failure: int
    delete_after_done: bool
    def __init__(self, misfire: _Optional[_Union[Policies.Misfire, str]] = ..., misfire_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., misfire_limit: _Optional[int] = ..., overlap: _Optional[_Union[Policies.Overlap, str]] = ..., buffer_limit: _Optional[int] = ..., max_concurrent: _Optional[int] = ..., on_worker_lost: _Optional[_Union[Policies.WorkerLost, str]] = ..., pause_on_failure: _Optional[int] = ..., delete_after_done: _Optional[bool] = ...) -> None: ...

class FanOut(_message.Message):
    __slots__ = ("items", "source", "max_parallel", "failure_policy", "min_succeeded", "min_share", "key", "items_from")
    class FailurePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FAILURE_POLICY_UNSPECIFIED: _ClassVar[FanOut.FailurePolicy]
        FAILURE_POLICY_ALL: _ClassVar[FanOut.FailurePolicy]
        FAILURE_POLICY_AT_LEAST: _ClassVar[FanOut.FailurePolicy]
        FAILURE_POLICY_SHARE: _ClassVar[FanOut.FailurePolicy]
        FAILURE_POLICY_IGNORE: _ClassVar[FanOut.FailurePolicy]
    FAILURE_POLICY_UNSPECIFIED: FanOut.FailurePolicy
    FAILURE_POLICY_ALL: FanOut.FailurePolicy
    FAILURE_POLICY_AT_LEAST: FanOut.FailurePolicy
    FAILURE_POLICY_SHARE: FanOut.FailurePolicy
    FAILURE_POLICY_IGNORE: FanOut.FailurePolicy
    class Source(_message.Message):
        __slots__ = ("target_service", "target_method", "parameters", "path")
        TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
        TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
        PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        PATH_FIELD_NUMBER: _ClassVar[int]
        target_service: str
        target_method: str
        parameters: _struct_pb2.Struct
        path: str
        def __init__(self, target_service: _Optional[str] = ..., target_method: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., path: _Optional[str] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    FAILURE_POLICY_FIELD_NUMBER: _ClassVar[int]
    MIN_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    MIN_SHARE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FROM_FIELD_NUMBER: _ClassVar[int]
    items: _struct_pb2.ListValue
    source: FanOut.Source
    max_parallel: int
    failure_policy: FanOut.FailurePolicy
    min_succeeded: int
    min_share: float
    key: str
    items_from: str
    def __init__(self, items: _Optional[_Union[_struct_pb2.ListValue, _Mapping]] = ..., source: _Optional[_Union[FanOut.Source, _Mapping]] = ..., max_parallel: _Optional[int] = ..., failure_policy: _Optional[_Union[FanOut.FailurePolicy, str]] = ..., min_succeeded: _Optional[int] = ..., min_share: _Optional[float] = ..., key: _Optional[str] = ..., items_from: _Optional[str] = ...) -> None: ...

class Workflow(_message.Message):
    __slots__ = ("steps",)
    class Requires(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REQUIRES_UNSPECIFIED: _ClassVar[Workflow.Requires]
        REQUIRES_SUCCESS: _ClassVar[Workflow.Requires]
        REQUIRES_END: _ClassVar[Workflow.Requires]
    REQUIRES_UNSPECIFIED: Workflow.Requires
    REQUIRES_SUCCESS: Workflow.Requires
    REQUIRES_END: Workflow.Requires
    class Step(_message.Message):
        __slots__ = ("name", "after", "target_service", "target_method", "parameters", "fan_out", "retry_policy", "timeout", "queue", "priority", "when", "requires")
        NAME_FIELD_NUMBER: _ClassVar[int]
        AFTER_FIELD_NUMBER: _ClassVar[int]
        TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
        TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
        PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        FAN_OUT_FIELD_NUMBER: _ClassVar[int]
        RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
        TIMEOUT_FIELD_NUMBER: _ClassVar[int]
        QUEUE_FIELD_NUMBER: _ClassVar[int]
        PRIORITY_FIELD_NUMBER: _ClassVar[int]
        WHEN_FIELD_NUMBER: _ClassVar[int]
        REQUIRES_FIELD_NUMBER: _ClassVar[int]
        name: str
        after: _containers.RepeatedScalarFieldContainer[str]
        target_service: str
        target_method: str
        parameters: _struct_pb2.Struct
        fan_out: FanOut
        retry_policy: RetryPolicy
        timeout: _duration_pb2.Duration
        queue: str
        priority: int
        when: str
        requires: Workflow.Requires
        def __init__(self, name: _Optional[str] = ..., after: _Optional[_Iterable[str]] = ..., target_service: _Optional[str] = ..., target_method: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., fan_out: _Optional[_Union[FanOut, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[str] = ..., priority: _Optional[int] = ..., when: _Optional[str] = ..., requires: _Optional[_Union[Workflow.Requires, str]] = ...) -> None: ...
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Workflow.Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Workflow.Step, _Mapping]]] = ...) -> None: ...

class ScheduledJob(_message.Message):
    __slots__ = ("job_id", "uid", "name", "description", "job_type", "target_service", "target_method", "parameters", "schedule_config", "queue", "priority", "timeout", "retry_policy", "labels", "state", "next_fire_times", "created_at", "updated_at", "created_by", "revision", "etag", "status_message", "updated_by", "policies", "fan_out", "workflow", "expires", "managed_by", "annotations", "deleted_at", "purge_time", "drift")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ScheduledJob.State]
        STATE_ACTIVE: _ClassVar[ScheduledJob.State]
        STATE_PAUSED: _ClassVar[ScheduledJob.State]
        STATE_COMPLETED: _ClassVar[ScheduledJob.State]
        STATE_ERROR: _ClassVar[ScheduledJob.State]
        STATE_DELETED: _ClassVar[ScheduledJob.State]
    STATE_UNSPECIFIED: ScheduledJob.State
    STATE_ACTIVE: ScheduledJob.State
    STATE_PAUSED: ScheduledJob.State
    STATE_COMPLETED: ScheduledJob.State
    STATE_ERROR: ScheduledJob.State
    STATE_DELETED: ScheduledJob.State
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    JOB_TYPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIRE_TIMES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    STATUS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    MANAGED_BY_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    DELETED_AT_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    uid: str
    name: str
    description: str
    job_type: JobType
    target_service: str
    target_method: str
    parameters: _struct_pb2.Struct
    schedule_config: ScheduleConfig
    queue: str
    priority: int
    timeout: _duration_pb2.Duration
    retry_policy: RetryPolicy
    labels: _containers.ScalarMap[str, str]
    state: ScheduledJob.State
    next_fire_times: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    created_by: str
    revision: int
    etag: str
    status_message: str
    updated_by: str
    policies: Policies
    fan_out: FanOut
    workflow: Workflow
    expires: _duration_pb2.Duration
    managed_by: str
    annotations: _containers.ScalarMap[str, str]
    deleted_at: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    drift: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job_id: _Optional[str] = ..., uid: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., job_type: _Optional[_Union[JobType, str]] = ..., target_service: _Optional[str] = ..., target_method: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., schedule_config: _Optional[_Union[ScheduleConfig, _Mapping]] = ..., queue: _Optional[str] = ..., priority: _Optional[int] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[ScheduledJob.State, str]] = ..., next_fire_times: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ..., status_message: _Optional[str] = ..., updated_by: _Optional[str] = ..., policies: _Optional[_Union[Policies, _Mapping]] = ..., fan_out: _Optional[_Union[FanOut, _Mapping]] = ..., workflow: _Optional[_Union[Workflow, _Mapping]] = ..., expires: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., managed_by: _Optional[str] = ..., annotations: _Optional[_Mapping[str, str]] = ..., deleted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., drift: _Optional[_Iterable[str]] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("execution_id", "job_id", "job_name", "trigger", "nominal_time", "due_time", "started_at", "finished_at", "state", "attempt", "max_attempts", "queue", "worker", "target_service", "target_method", "result", "result_truncated", "error", "cancel_requested", "transitions", "reason", "first_time", "last_time", "occurrence_count", "workers_lost", "trace_id", "tzdata_version", "retry_of", "held", "progress", "parent_execution_id", "part_name", "part_key", "parts", "group_id", "parameters", "backfill_id", "moved")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Execution.State]
        STATE_PENDING: _ClassVar[Execution.State]
        STATE_QUEUED: _ClassVar[Execution.State]
        STATE_RUNNING: _ClassVar[Execution.State]
        STATE_SUCCEEDED: _ClassVar[Execution.State]
        STATE_FAILED: _ClassVar[Execution.State]
        STATE_CANCELLED: _ClassVar[Execution.State]
        STATE_SKIPPED: _ClassVar[Execution.State]
        STATE_COALESCED: _ClassVar[Execution.State]
        STATE_WAITING: _ClassVar[Execution.State]
    STATE_UNSPECIFIED: Execution.State
    STATE_PENDING: Execution.State
    STATE_QUEUED: Execution.State
    STATE_RUNNING: Execution.State
    STATE_SUCCEEDED: Execution.State
    STATE_FAILED: Execution.State
    STATE_CANCELLED: Execution.State
    STATE_SKIPPED: Execution.State
    STATE_COALESCED: Execution.State
    STATE_WAITING: Execution.State
    class Trigger(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TRIGGER_UNSPECIFIED: _ClassVar[Execution.Trigger]
        TRIGGER_SCHEDULE: _ClassVar[Execution.Trigger]
        TRIGGER_MANUAL: _ClassVar[Execution.Trigger]
        TRIGGER_RETRY: _ClassVar[Execution.Trigger]
        TRIGGER_BACKFILL: _ClassVar[Execution.Trigger]
        TRIGGER_API: _ClassVar[Execution.Trigger]
        TRIGGER_PART: _ClassVar[Execution.Trigger]
    TRIGGER_UNSPECIFIED: Execution.Trigger
    TRIGGER_SCHEDULE: Execution.Trigger
    TRIGGER_MANUAL: Execution.Trigger
    TRIGGER_RETRY: Execution.Trigger
    TRIGGER_BACKFILL: Execution.Trigger
    TRIGGER_API: Execution.Trigger
    TRIGGER_PART: Execution.Trigger
    class Progress(_message.Message):
        __slots__ = ("done", "total", "message", "time")
        DONE_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        done: float
        total: float
        message: str
        time: _timestamp_pb2.Timestamp
        def __init__(self, done: _Optional[float] = ..., total: _Optional[float] = ..., message: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class Parts(_message.Message):
        __slots__ = ("total", "states")
        class StatesEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        STATES_FIELD_NUMBER: _ClassVar[int]
        total: int
        states: _containers.ScalarMap[str, int]
        def __init__(self, total: _Optional[int] = ..., states: _Optional[_Mapping[str, int]] = ...) -> None: ...
    class Error(_message.Message):
        __slots__ = ("code", "message", "retryable")
        CODE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        RETRYABLE_FIELD_NUMBER: _ClassVar[int]
        code: str
        message: str
        retryable: bool
        def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ...) -> None: ...
    class Transition(_message.Message):
        __slots__ = ("number", "state", "time", "by", "reason")
        NUMBER_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        BY_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        number: int
        state: Execution.State
        time: _timestamp_pb2.Timestamp
        by: str
        reason: str
        def __init__(self, number: _Optional[int] = ..., state: _Optional[_Union[Execution.State, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESULT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_LOST_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    TZDATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PARENT_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    PART_NAME_FIELD_NUMBER: _ClassVar[int]
    PART_KEY_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BACKFILL_ID_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    job_id: str
    job_name: str
    trigger: Execution.Trigger
    nominal_time: _timestamp_pb2.Timestamp
    due_time: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    state: Execution.State
    attempt: int
    max_attempts: int
    queue: str
    worker: str
    target_service: str
    target_method: str
    result: _struct_pb2.Struct
    result_truncated: bool
    error: Execution.Error
    cancel_requested: bool
    transitions: _containers.RepeatedCompositeFieldContainer[Execution.Transition]
    reason: str
    first_time: _timestamp_pb2.Timestamp
    last_time: _timestamp_pb2.Timestamp
    occurrence_count: int
    workers_lost: int
    trace_id: str
    tzdata_version: str
    retry_of: str
    held: bool
    progress: Execution.Progress
    parent_execution_id: str
    part_name: str
    part_key: str
    parts: Execution.Parts
    group_id: str
    parameters: _struct_pb2.Struct
    backfill_id: str
    moved: bool
    def __init__(self, execution_id: _Optional[str] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., trigger: _Optional[_Union[Execution.Trigger, str]] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[Execution.State, str]] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., queue: _Optional[str] = ..., worker: _Optional[str] = ..., target_service: _Optional[str] = ..., target_method: _Optional[str] = ..., result: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., result_truncated: _Optional[bool] = ..., error: _Optional[_Union[Execution.Error, _Mapping]] = ..., cancel_requested: _Optional[bool] = ..., transitions: _Optional[_Iterable[_Union[Execution.Transition, _Mapping]]] = ..., reason: _Optional[str] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., occurrence_count: _Optional[int] = ..., workers_lost: _Optional[int] = ..., trace_id: _Optional[str] = ..., tzdata_version: _Optional[str] = ..., retry_of: _Optional[str] = ..., held: _Optional[bool] = ..., progress: _Optional[_Union[Execution.Progress, _Mapping]] = ..., parent_execution_id: _Optional[str] = ..., part_name: _Optional[str] = ..., part_key: _Optional[str] = ..., parts: _Optional[_Union[Execution.Parts, _Mapping]] = ..., group_id: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., backfill_id: _Optional[str] = ..., moved: _Optional[bool] = ...) -> None: ...

class CreateScheduledJobRequest(_message.Message):
    __slots__ = ("name", "job_type", "target_service", "target_method", "schedule_config", "parameters", "description", "job_id", "queue", "priority", "timeout", "retry_policy", "labels", "policies", "fan_out", "workflow", "expires", "annotations", "request_id", "validate_only")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_TYPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_type: JobType
    target_service: str
    target_method: str
    schedule_config: ScheduleConfig
    parameters: _struct_pb2.Struct
    description: str
    job_id: str
    queue: str
    priority: int
    timeout: _duration_pb2.Duration
    retry_policy: RetryPolicy
    labels: _containers.ScalarMap[str, str]
    policies: Policies
    fan_out: FanOut
    workflow: Workflow
    expires: _duration_pb2.Duration
    annotations: _containers.ScalarMap[str, str]
    request_id: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., job_type: _Optional[_Union[JobType, str]] = ..., target_service: _Optional[str] = ..., target_method: _Optional[str] = ..., schedule_config: _Optional[_Union[ScheduleConfig, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., description: _Optional[str] = ..., job_id: _Optional[str] = ..., queue: _Optional[str] = ..., priority: _Optional[int] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., policies: _Optional[_Union[Policies, _Mapping]] = ..., fan_out: _Optional[_Union[FanOut, _Mapping]] = ..., workflow: _Optional[_Union[Workflow, _Mapping]] = ..., expires: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., annotations: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CreateScheduledJobResponse(_message.Message):
    __slots__ = ("job_id", "job", "warnings")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    job: ScheduledJob
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job_id: _Optional[str] = ..., job: _Optional[_Union[ScheduledJob, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "show_deleted")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    show_deleted: bool
    def __init__(self, job_id: _Optional[str] = ..., show_deleted: _Optional[bool] = ...) -> None: ...

class GetScheduledJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ...) -> None: ...

class ListScheduledJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "show_deleted", "filter", "order_by")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    show_deleted: bool
    filter: str
    order_by: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., show_deleted: _Optional[bool] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListScheduledJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[ScheduledJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[ScheduledJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "job", "update_mask", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    job: ScheduledJob
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., job: _Optional[_Union[ScheduledJob, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateScheduledJobResponse(_message.Message):
    __slots__ = ("job", "warnings")
    JOB_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class PauseScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "reason", "request_id", "validate_only", "etag")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    request_id: str
    validate_only: bool
    etag: str
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ..., etag: _Optional[str] = ...) -> None: ...

class PauseScheduledJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ...) -> None: ...

class ResumeScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "reason", "request_id", "validate_only", "etag")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    request_id: str
    validate_only: bool
    etag: str
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ..., etag: _Optional[str] = ...) -> None: ...

class ResumeScheduledJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ...) -> None: ...

class DeleteScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "reason", "cancel_running", "request_id", "validate_only", "etag")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUNNING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    cancel_running: bool
    request_id: str
    validate_only: bool
    etag: str
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ..., cancel_running: _Optional[bool] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteScheduledJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ...) -> None: ...

class ExecuteJobRequest(_message.Message):
    __slots__ = ("job_id", "request_id", "queue", "wait", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    request_id: str
    queue: str
    wait: _duration_pb2.Duration
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., request_id: _Optional[str] = ..., queue: _Optional[str] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ExecuteJobResponse(_message.Message):
    __slots__ = ("execution_id", "execution")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    execution: Execution
    def __init__(self, execution_id: _Optional[str] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class GetJobStatusRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetJobStatusResponse(_message.Message):
    __slots__ = ("job", "next_fire_times", "last_execution", "counts", "window", "occurrence_changes")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIRE_TIMES_FIELD_NUMBER: _ClassVar[int]
    LAST_EXECUTION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCE_CHANGES_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    next_fire_times: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    last_execution: Execution
    counts: _containers.ScalarMap[str, int]
    window: _duration_pb2.Duration
    occurrence_changes: _containers.RepeatedCompositeFieldContainer[OccurrenceChange]
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ..., next_fire_times: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., last_execution: _Optional[_Union[Execution, _Mapping]] = ..., counts: _Optional[_Mapping[str, int]] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., occurrence_changes: _Optional[_Iterable[_Union[OccurrenceChange, _Mapping]]] = ...) -> None: ...

class OccurrenceChange(_message.Message):
    __slots__ = ("nominal_time", "new_time", "by", "reason", "time")
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    NEW_TIME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    nominal_time: _timestamp_pb2.Timestamp
    new_time: _timestamp_pb2.Timestamp
    by: str
    reason: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., new_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., by: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CancelExecutionRequest(_message.Message):
    __slots__ = ("execution_id", "reason", "request_id", "validate_only")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, execution_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CancelExecutionResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class RetryExecutionRequest(_message.Message):
    __slots__ = ("execution_id", "request_id", "queue", "from_start", "validate_only")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FROM_START_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    request_id: str
    queue: str
    from_start: bool
    validate_only: bool
    def __init__(self, execution_id: _Optional[str] = ..., request_id: _Optional[str] = ..., queue: _Optional[str] = ..., from_start: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RetryExecutionResponse(_message.Message):
    __slots__ = ("execution_id", "execution")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    execution: Execution
    def __init__(self, execution_id: _Optional[str] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class GetExecutionRequest(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class GetExecutionResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...

class ListExecutionsRequest(_message.Message):
    __slots__ = ("job_id", "states", "include_decisions", "page_size", "page_token", "parent_execution_id", "part_key", "filter", "order_by")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DECISIONS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARENT_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    PART_KEY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    states: _containers.RepeatedScalarFieldContainer[Execution.State]
    include_decisions: bool
    page_size: int
    page_token: str
    parent_execution_id: str
    part_key: str
    filter: str
    order_by: str
    def __init__(self, job_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[Execution.State, str]]] = ..., include_decisions: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., parent_execution_id: _Optional[str] = ..., part_key: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListExecutionsResponse(_message.Message):
    __slots__ = ("executions", "next_page_token")
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    executions: _containers.RepeatedCompositeFieldContainer[Execution]
    next_page_token: str
    def __init__(self, executions: _Optional[_Iterable[_Union[Execution, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UndeleteScheduledJobRequest(_message.Message):
    __slots__ = ("job_id", "reason", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UndeleteScheduledJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ...) -> None: ...

class BatchCreateScheduledJobsRequest(_message.Message):
    __slots__ = ("requests", "request_id", "validate_only")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CreateScheduledJobRequest]
    request_id: str
    validate_only: bool
    def __init__(self, requests: _Optional[_Iterable[_Union[CreateScheduledJobRequest, _Mapping]]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("job_id", "changed", "code", "message", "reason", "warnings")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    changed: bool
    code: str
    message: str
    reason: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job_id: _Optional[str] = ..., changed: _Optional[bool] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchCreateScheduledJobsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ...) -> None: ...

class BatchPauseScheduledJobsRequest(_message.Message):
    __slots__ = ("job_ids", "filter", "reason", "request_id", "validate_only")
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_ids: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, job_ids: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class BatchPauseScheduledJobsResponse(_message.Message):
    __slots__ = ("results", "matched", "changed", "refused")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    matched: int
    changed: int
    refused: int
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ..., matched: _Optional[int] = ..., changed: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...

class BatchResumeScheduledJobsRequest(_message.Message):
    __slots__ = ("job_ids", "filter", "reason", "request_id", "validate_only")
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_ids: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, job_ids: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class BatchResumeScheduledJobsResponse(_message.Message):
    __slots__ = ("results", "matched", "changed", "refused")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    matched: int
    changed: int
    refused: int
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ..., matched: _Optional[int] = ..., changed: _Optional[int] = ..., refused: _Optional[int] = ...) -> None: ...

class ImportScheduledJobsRequest(_message.Message):
    __slots__ = ("yaml", "prune", "prune_filter", "request_id", "validate_only")
    YAML_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FIELD_NUMBER: _ClassVar[int]
    PRUNE_FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    prune: bool
    prune_filter: str
    request_id: str
    validate_only: bool
    def __init__(self, yaml: _Optional[str] = ..., prune: _Optional[bool] = ..., prune_filter: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ImportScheduledJobsResponse(_message.Message):
    __slots__ = ("changes",)
    class Change(_message.Message):
        __slots__ = ("job_id", "action", "differences", "warnings", "error", "etag")
        class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            ACTION_UNSPECIFIED: _ClassVar[ImportScheduledJobsResponse.Change.Action]
            ACTION_CREATE: _ClassVar[ImportScheduledJobsResponse.Change.Action]
            ACTION_UPDATE: _ClassVar[ImportScheduledJobsResponse.Change.Action]
            ACTION_NONE: _ClassVar[ImportScheduledJobsResponse.Change.Action]
            ACTION_DELETE: _ClassVar[ImportScheduledJobsResponse.Change.Action]
            ACTION_UNDELETE: _ClassVar[ImportScheduledJobsResponse.Change.Action]
        ACTION_UNSPECIFIED: ImportScheduledJobsResponse.Change.Action
        ACTION_CREATE: ImportScheduledJobsResponse.Change.Action
        ACTION_UPDATE: ImportScheduledJobsResponse.Change.Action
        ACTION_NONE: ImportScheduledJobsResponse.Change.Action
        ACTION_DELETE: ImportScheduledJobsResponse.Change.Action
        ACTION_UNDELETE: ImportScheduledJobsResponse.Change.Action
        class Difference(_message.Message):
            __slots__ = ("field", "before", "after")
            FIELD_FIELD_NUMBER: _ClassVar[int]
            BEFORE_FIELD_NUMBER: _ClassVar[int]
            AFTER_FIELD_NUMBER: _ClassVar[int]
            field: str
            before: str
            after: str
            def __init__(self, field: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...
        JOB_ID_FIELD_NUMBER: _ClassVar[int]
        ACTION_FIELD_NUMBER: _ClassVar[int]
        DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
        WARNINGS_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        ETAG_FIELD_NUMBER: _ClassVar[int]
        job_id: str
        action: ImportScheduledJobsResponse.Change.Action
        differences: _containers.RepeatedCompositeFieldContainer[ImportScheduledJobsResponse.Change.Difference]
        warnings: _containers.RepeatedScalarFieldContainer[str]
        error: str
        etag: str
        def __init__(self, job_id: _Optional[str] = ..., action: _Optional[_Union[ImportScheduledJobsResponse.Change.Action, str]] = ..., differences: _Optional[_Iterable[_Union[ImportScheduledJobsResponse.Change.Difference, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ImportScheduledJobsResponse.Change]
    def __init__(self, changes: _Optional[_Iterable[_Union[ImportScheduledJobsResponse.Change, _Mapping]]] = ...) -> None: ...

class ExportScheduledJobsRequest(_message.Message):
    __slots__ = ("filter", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: str
    page_token: str
    def __init__(self, filter: _Optional[str] = ..., page_token: _Optional[str] = ...) -> None: ...

class ExportScheduledJobsResponse(_message.Message):
    __slots__ = ("yaml", "jobs", "next_page_token")
    YAML_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    yaml: str
    jobs: int
    next_page_token: str
    def __init__(self, yaml: _Optional[str] = ..., jobs: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobsRequest(_message.Message):
    __slots__ = ("job_id", "labels", "resume_token", "initial")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    labels: _containers.ScalarMap[str, str]
    resume_token: str
    initial: bool
    def __init__(self, job_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., resume_token: _Optional[str] = ..., initial: _Optional[bool] = ...) -> None: ...

class WatchJobsResponse(_message.Message):
    __slots__ = ("job", "resume_token", "initial")
    JOB_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    job: ScheduledJob
    resume_token: str
    initial: bool
    def __init__(self, job: _Optional[_Union[ScheduledJob, _Mapping]] = ..., resume_token: _Optional[str] = ..., initial: _Optional[bool] = ...) -> None: ...

class WatchExecutionsRequest(_message.Message):
    __slots__ = ("job_id", "labels", "execution_id", "resume_token", "include_decisions", "include_parts")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_DECISIONS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PARTS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    labels: _containers.ScalarMap[str, str]
    execution_id: str
    resume_token: str
    include_decisions: bool
    include_parts: bool
    def __init__(self, job_id: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., execution_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., include_decisions: _Optional[bool] = ..., include_parts: _Optional[bool] = ...) -> None: ...

class WatchExecutionsResponse(_message.Message):
    __slots__ = ("execution", "transitions", "resume_token")
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    transitions: _containers.RepeatedCompositeFieldContainer[Execution.Transition]
    resume_token: str
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ..., transitions: _Optional[_Iterable[_Union[Execution.Transition, _Mapping]]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WaitExecutionRequest(_message.Message):
    __slots__ = ("execution_id",)
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    def __init__(self, execution_id: _Optional[str] = ...) -> None: ...

class WaitExecutionResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: Execution
    def __init__(self, execution: _Optional[_Union[Execution, _Mapping]] = ...) -> None: ...
