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

class ServiceHealth(_message.Message):
    __slots__ = ("name", "status", "latency", "message")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[ServiceHealth.Status]
        STATUS_SERVING: _ClassVar[ServiceHealth.Status]
        STATUS_NOT_SERVING: _ClassVar[ServiceHealth.Status]
        STATUS_UNREACHABLE: _ClassVar[ServiceHealth.Status]
    STATUS_UNSPECIFIED: ServiceHealth.Status
    STATUS_SERVING: ServiceHealth.Status
    STATUS_NOT_SERVING: ServiceHealth.Status
    STATUS_UNREACHABLE: ServiceHealth.Status
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: ServiceHealth.Status
    latency: _duration_pb2.Duration
    message: str
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[ServiceHealth.Status, str]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class HealthCheckServicesRequest(_message.Message):
    __slots__ = ("timeout",)
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    timeout: _duration_pb2.Duration
    def __init__(self, timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class HealthCheckServicesResponse(_message.Message):
    __slots__ = ("all_serving", "services", "jobs_checked", "jobs_left", "drifts", "drifts_total")
    ALL_SERVING_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    JOBS_CHECKED_FIELD_NUMBER: _ClassVar[int]
    JOBS_LEFT_FIELD_NUMBER: _ClassVar[int]
    DRIFTS_FIELD_NUMBER: _ClassVar[int]
    DRIFTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    all_serving: bool
    services: _containers.RepeatedCompositeFieldContainer[ServiceHealth]
    jobs_checked: int
    jobs_left: bool
    drifts: _containers.RepeatedCompositeFieldContainer[JobDrift]
    drifts_total: int
    def __init__(self, all_serving: _Optional[bool] = ..., services: _Optional[_Iterable[_Union[ServiceHealth, _Mapping]]] = ..., jobs_checked: _Optional[int] = ..., jobs_left: _Optional[bool] = ..., drifts: _Optional[_Iterable[_Union[JobDrift, _Mapping]]] = ..., drifts_total: _Optional[int] = ...) -> None: ...

class JobDrift(_message.Message):
    __slots__ = ("job_id", "problems", "since")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    problems: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[str] = ..., problems: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CleanupOldExecutionRecordsRequest(_message.Message):
    __slots__ = ("older_than_days",)
    OLDER_THAN_DAYS_FIELD_NUMBER: _ClassVar[int]
    older_than_days: int
    def __init__(self, older_than_days: _Optional[int] = ...) -> None: ...

class CleanupOldExecutionRecordsResponse(_message.Message):
    __slots__ = ("deleted_count", "cutoff_time")
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_TIME_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    cutoff_time: _timestamp_pb2.Timestamp
    def __init__(self, deleted_count: _Optional[int] = ..., cutoff_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
