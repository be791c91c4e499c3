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

class AuditRequest(_message.Message):
    __slots__ = ("from_time", "to_time", "job_id", "overdue_after")
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OVERDUE_AFTER_FIELD_NUMBER: _ClassVar[int]
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    job_id: str
    overdue_after: _duration_pb2.Duration
    def __init__(self, from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., job_id: _Optional[str] = ..., overdue_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AuditResponse(_message.Message):
    __slots__ = ("progress", "finding", "summary")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    progress: AuditProgress
    finding: AuditFinding
    summary: AuditSummary
    def __init__(self, progress: _Optional[_Union[AuditProgress, _Mapping]] = ..., finding: _Optional[_Union[AuditFinding, _Mapping]] = ..., summary: _Optional[_Union[AuditSummary, _Mapping]] = ...) -> None: ...

class AuditProgress(_message.Message):
    __slots__ = ("rows", "rows_expected", "jobs", "jobs_expected")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    JOBS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    rows: int
    rows_expected: int
    jobs: int
    jobs_expected: int
    def __init__(self, rows: _Optional[int] = ..., rows_expected: _Optional[int] = ..., jobs: _Optional[int] = ..., jobs_expected: _Optional[int] = ...) -> None: ...

class AuditFinding(_message.Message):
    __slots__ = ("kind", "job_id", "execution_id", "first_time", "last_time", "count", "detail")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[AuditFinding.Kind]
        KIND_MISSING: _ClassVar[AuditFinding.Kind]
        KIND_DOUBLED: _ClassVar[AuditFinding.Kind]
        KIND_NO_OCCURRENCE: _ClassVar[AuditFinding.Kind]
        KIND_WRONG_COUNT: _ClassVar[AuditFinding.Kind]
        KIND_ILLEGAL_PATH: _ClassVar[AuditFinding.Kind]
        KIND_BROKEN_CHAIN: _ClassVar[AuditFinding.Kind]
        KIND_NO_HISTORY: _ClassVar[AuditFinding.Kind]
        KIND_UNREADABLE: _ClassVar[AuditFinding.Kind]
        KIND_OVERRIDDEN: _ClassVar[AuditFinding.Kind]
    KIND_UNSPECIFIED: AuditFinding.Kind
    KIND_MISSING: AuditFinding.Kind
    KIND_DOUBLED: AuditFinding.Kind
    KIND_NO_OCCURRENCE: AuditFinding.Kind
    KIND_WRONG_COUNT: AuditFinding.Kind
    KIND_ILLEGAL_PATH: AuditFinding.Kind
    KIND_BROKEN_CHAIN: AuditFinding.Kind
    KIND_NO_HISTORY: AuditFinding.Kind
    KIND_UNREADABLE: AuditFinding.Kind
    KIND_OVERRIDDEN: AuditFinding.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: AuditFinding.Kind
    job_id: str
    execution_id: str
    first_time: _timestamp_pb2.Timestamp
    last_time: _timestamp_pb2.Timestamp
    count: int
    detail: str
    def __init__(self, kind: _Optional[_Union[AuditFinding.Kind, str]] = ..., job_id: _Optional[str] = ..., execution_id: _Optional[str] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class AuditSummary(_message.Message):
    __slots__ = ("view_begins", "view_ends", "removed_through", "jobs", "epochs", "rows", "occurrences", "executions", "findings")
    class FindingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VIEW_BEGINS_FIELD_NUMBER: _ClassVar[int]
    VIEW_ENDS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCES_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    view_begins: _timestamp_pb2.Timestamp
    view_ends: _timestamp_pb2.Timestamp
    removed_through: _timestamp_pb2.Timestamp
    jobs: int
    epochs: int
    rows: int
    occurrences: int
    executions: int
    findings: _containers.ScalarMap[str, int]
    def __init__(self, view_begins: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., view_ends: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., removed_through: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., jobs: _Optional[int] = ..., epochs: _Optional[int] = ..., rows: _Optional[int] = ..., occurrences: _Optional[int] = ..., executions: _Optional[int] = ..., findings: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("job_id", "page_size", "page_token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    page_size: int
    page_token: str
    def __init__(self, job_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("executions", "next_page_token")
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    executions: _containers.RepeatedCompositeFieldContainer[_scheduler_service_pb2.Execution]
    next_page_token: str
    def __init__(self, executions: _Optional[_Iterable[_Union[_scheduler_service_pb2.Execution, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryDeadLettersRequest(_message.Message):
    __slots__ = ("execution_ids", "queue", "request_id", "validate_only")
    EXECUTION_IDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    execution_ids: _containers.RepeatedScalarFieldContainer[str]
    queue: str
    request_id: str
    validate_only: bool
    def __init__(self, execution_ids: _Optional[_Iterable[str]] = ..., queue: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RetryDeadLettersResponse(_message.Message):
    __slots__ = ("retries", "refusals")
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    retries: _containers.RepeatedCompositeFieldContainer[DeadLetterRetry]
    refusals: _containers.RepeatedCompositeFieldContainer[DeadLetterRefusal]
    def __init__(self, retries: _Optional[_Iterable[_Union[DeadLetterRetry, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[DeadLetterRefusal, _Mapping]]] = ...) -> None: ...

class DeadLetterRetry(_message.Message):
    __slots__ = ("execution_id", "retry_execution_id")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    retry_execution_id: str
    def __init__(self, execution_id: _Optional[str] = ..., retry_execution_id: _Optional[str] = ...) -> None: ...

class DeadLetterRefusal(_message.Message):
    __slots__ = ("execution_id", "message")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    message: str
    def __init__(self, execution_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class DiscardDeadLettersRequest(_message.Message):
    __slots__ = ("execution_ids", "reason", "request_id", "validate_only")
    EXECUTION_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    execution_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    request_id: str
    validate_only: bool
    def __init__(self, execution_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class DiscardDeadLettersResponse(_message.Message):
    __slots__ = ("execution_ids", "refusals")
    EXECUTION_IDS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    execution_ids: _containers.RepeatedScalarFieldContainer[str]
    refusals: _containers.RepeatedCompositeFieldContainer[DeadLetterRefusal]
    def __init__(self, execution_ids: _Optional[_Iterable[str]] = ..., refusals: _Optional[_Iterable[_Union[DeadLetterRefusal, _Mapping]]] = ...) -> None: ...

class DiagnoseRequest(_message.Message):
    __slots__ = ("timeout",)
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    timeout: _duration_pb2.Duration
    def __init__(self, timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("checks", "healthy", "version")
    class Check(_message.Message):
        __slots__ = ("name", "result", "detail", "remedy", "latency")
        class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            RESULT_UNSPECIFIED: _ClassVar[DiagnoseResponse.Check.Result]
            RESULT_OK: _ClassVar[DiagnoseResponse.Check.Result]
            RESULT_WARNING: _ClassVar[DiagnoseResponse.Check.Result]
            RESULT_FAILED: _ClassVar[DiagnoseResponse.Check.Result]
            RESULT_SKIPPED: _ClassVar[DiagnoseResponse.Check.Result]
        RESULT_UNSPECIFIED: DiagnoseResponse.Check.Result
        RESULT_OK: DiagnoseResponse.Check.Result
        RESULT_WARNING: DiagnoseResponse.Check.Result
        RESULT_FAILED: DiagnoseResponse.Check.Result
        RESULT_SKIPPED: DiagnoseResponse.Check.Result
        NAME_FIELD_NUMBER: _ClassVar[int]
        RESULT_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        REMEDY_FIELD_NUMBER: _ClassVar[int]
        LATENCY_FIELD_NUMBER: _ClassVar[int]
        name: str
        result: DiagnoseResponse.Check.Result
        detail: str
        remedy: str
        latency: _duration_pb2.Duration
        def __init__(self, name: _Optional[str] = ..., result: _Optional[_Union[DiagnoseResponse.Check.Result, str]] = ..., detail: _Optional[str] = ..., remedy: _Optional[str] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[DiagnoseResponse.Check]
    healthy: bool
    version: str
    def __init__(self, checks: _Optional[_Iterable[_Union[DiagnoseResponse.Check, _Mapping]]] = ..., healthy: _Optional[bool] = ..., version: _Optional[str] = ...) -> None: ...
