import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatisticsRequest(_message.Message):
    __slots__ = ("group_by", "from_time", "to_time", "window", "job_id", "queue", "target_service", "limit")
    class GroupBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        GROUP_BY_UNSPECIFIED: _ClassVar[GetStatisticsRequest.GroupBy]
        GROUP_BY_ALL: _ClassVar[GetStatisticsRequest.GroupBy]
        GROUP_BY_JOB: _ClassVar[GetStatisticsRequest.GroupBy]
        GROUP_BY_QUEUE: _ClassVar[GetStatisticsRequest.GroupBy]
        GROUP_BY_TARGET: _ClassVar[GetStatisticsRequest.GroupBy]
    GROUP_BY_UNSPECIFIED: GetStatisticsRequest.GroupBy
    GROUP_BY_ALL: GetStatisticsRequest.GroupBy
    GROUP_BY_JOB: GetStatisticsRequest.GroupBy
    GROUP_BY_QUEUE: GetStatisticsRequest.GroupBy
    GROUP_BY_TARGET: GetStatisticsRequest.GroupBy
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TARGET_SERVICE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    group_by: GetStatisticsRequest.GroupBy
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    window: _duration_pb2.Duration
    job_id: str
    queue: str
    target_service: str
    limit: int
    def __init__(self, group_by: _Optional[_Union[GetStatisticsRequest.GroupBy, str]] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., job_id: _Optional[str] = ..., queue: _Optional[str] = ..., target_service: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("statistics", "complete_through")
    class Percentiles(_message.Message):
        __slots__ = ("p50", "p95", "p99", "max", "mean")
        P50_FIELD_NUMBER: _ClassVar[int]
        P95_FIELD_NUMBER: _ClassVar[int]
        P99_FIELD_NUMBER: _ClassVar[int]
        MAX_FIELD_NUMBER: _ClassVar[int]
        MEAN_FIELD_NUMBER: _ClassVar[int]
        p50: _duration_pb2.Duration
        p95: _duration_pb2.Duration
        p99: _duration_pb2.Duration
        max: _duration_pb2.Duration
        mean: _duration_pb2.Duration
        def __init__(self, p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p99: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mean: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    class Statistics(_message.Message):
        __slots__ = ("group", "time", "width", "counts", "success_rate", "lateness", "duration", "retries")
        class CountsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        GROUP_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        WIDTH_FIELD_NUMBER: _ClassVar[int]
        COUNTS_FIELD_NUMBER: _ClassVar[int]
        SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
        LATENESS_FIELD_NUMBER: _ClassVar[int]
        DURATION_FIELD_NUMBER: _ClassVar[int]
        RETRIES_FIELD_NUMBER: _ClassVar[int]
        group: str
        time: _timestamp_pb2.Timestamp
        width: _duration_pb2.Duration
        counts: _containers.ScalarMap[str, int]
        success_rate: float
        lateness: GetStatisticsResponse.Percentiles
        duration: GetStatisticsResponse.Percentiles
        retries: int
        def __init__(self, group: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., width: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., counts: _Optional[_Mapping[str, int]] = ..., success_rate: _Optional[float] = ..., lateness: _Optional[_Union[GetStatisticsResponse.Percentiles, _Mapping]] = ..., duration: _Optional[_Union[GetStatisticsResponse.Percentiles, _Mapping]] = ..., retries: _Optional[int] = ...) -> None: ...
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_THROUGH_FIELD_NUMBER: _ClassVar[int]
    statistics: _containers.RepeatedCompositeFieldContainer[GetStatisticsResponse.Statistics]
    complete_through: _timestamp_pb2.Timestamp
    def __init__(self, statistics: _Optional[_Iterable[_Union[GetStatisticsResponse.Statistics, _Mapping]]] = ..., complete_through: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListQueuesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListQueuesResponse(_message.Message):
    __slots__ = ("queues", "warning")
    class Queue(_message.Message):
        __slots__ = ("name", "messages", "consumers", "queued", "running", "oldest", "warning")
        NAME_FIELD_NUMBER: _ClassVar[int]
        MESSAGES_FIELD_NUMBER: _ClassVar[int]
        CONSUMERS_FIELD_NUMBER: _ClassVar[int]
        QUEUED_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        OLDEST_FIELD_NUMBER: _ClassVar[int]
        WARNING_FIELD_NUMBER: _ClassVar[int]
        name: str
        messages: int
        consumers: int
        queued: int
        running: int
        oldest: _timestamp_pb2.Timestamp
        warning: str
        def __init__(self, name: _Optional[str] = ..., messages: _Optional[int] = ..., consumers: _Optional[int] = ..., queued: _Optional[int] = ..., running: _Optional[int] = ..., oldest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., warning: _Optional[str] = ...) -> None: ...
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    queues: _containers.RepeatedCompositeFieldContainer[ListQueuesResponse.Queue]
    warning: str
    def __init__(self, queues: _Optional[_Iterable[_Union[ListQueuesResponse.Queue, _Mapping]]] = ..., warning: _Optional[str] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ("without_executions",)
    WITHOUT_EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    without_executions: bool
    def __init__(self, without_executions: _Optional[bool] = ...) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("processes",)
    class Running(_message.Message):
        __slots__ = ("execution_id", "job_id", "job_name", "target_method", "started_at", "attempt")
        EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
        JOB_ID_FIELD_NUMBER: _ClassVar[int]
        JOB_NAME_FIELD_NUMBER: _ClassVar[int]
        TARGET_METHOD_FIELD_NUMBER: _ClassVar[int]
        STARTED_AT_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        execution_id: str
        job_id: str
        job_name: str
        target_method: str
        started_at: _timestamp_pb2.Timestamp
        attempt: int
        def __init__(self, execution_id: _Optional[str] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., target_method: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...
    class Process(_message.Message):
        __slots__ = ("name", "kind", "started_at", "heard_at", "version", "queues", "pool", "concurrency", "running", "running_total", "partitions", "tzdata_version", "silent_for")
        class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            KIND_UNSPECIFIED: _ClassVar[ListWorkersResponse.Process.Kind]
            KIND_SERVER: _ClassVar[ListWorkersResponse.Process.Kind]
            KIND_BEAT: _ClassVar[ListWorkersResponse.Process.Kind]
            KIND_WORKER: _ClassVar[ListWorkersResponse.Process.Kind]
        KIND_UNSPECIFIED: ListWorkersResponse.Process.Kind
        KIND_SERVER: ListWorkersResponse.Process.Kind
        KIND_BEAT: ListWorkersResponse.Process.Kind
        KIND_WORKER: ListWorkersResponse.Process.Kind
        NAME_FIELD_NUMBER: _ClassVar[int]
        KIND_FIELD_NUMBER: _ClassVar[int]
        STARTED_AT_FIELD_NUMBER: _ClassVar[int]
        HEARD_AT_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        QUEUES_FIELD_NUMBER: _ClassVar[int]
        POOL_FIELD_NUMBER: _ClassVar[int]
        CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        RUNNING_TOTAL_FIELD_NUMBER: _ClassVar[int]
        PARTITIONS_FIELD_NUMBER: _ClassVar[int]
        TZDATA_VERSION_FIELD_NUMBER: _ClassVar[int]
        SILENT_FOR_FIELD_NUMBER: _ClassVar[int]
        name: str
        kind: ListWorkersResponse.Process.Kind
        started_at: _timestamp_pb2.Timestamp
        heard_at: _timestamp_pb2.Timestamp
        version: str
        queues: _containers.RepeatedScalarFieldContainer[str]
        pool: str
        concurrency: int
        running: _containers.RepeatedCompositeFieldContainer[ListWorkersResponse.Running]
        running_total: int
        partitions: int
        tzdata_version: str
        silent_for: _duration_pb2.Duration
        def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ListWorkersResponse.Process.Kind, str]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heard_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[str] = ..., queues: _Optional[_Iterable[str]] = ..., pool: _Optional[str] = ..., concurrency: _Optional[int] = ..., running: _Optional[_Iterable[_Union[ListWorkersResponse.Running, _Mapping]]] = ..., running_total: _Optional[int] = ..., partitions: _Optional[int] = ..., tzdata_version: _Optional[str] = ..., silent_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[ListWorkersResponse.Process]
    def __init__(self, processes: _Optional[_Iterable[_Union[ListWorkersResponse.Process, _Mapping]]] = ...) -> None: ...
