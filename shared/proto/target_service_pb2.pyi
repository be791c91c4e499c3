import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Target(_message.Message):
    __slots__ = ("name", "address", "services", "source", "description", "etag", "created_at", "updated_at", "updated_by", "contract_read_at", "jobs")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOURCE_UNSPECIFIED: _ClassVar[Target.Source]
        SOURCE_CONFIGURATION: _ClassVar[Target.Source]
        SOURCE_REGISTERED: _ClassVar[Target.Source]
        SOURCE_TASKS: _ClassVar[Target.Source]
    SOURCE_UNSPECIFIED: Target.Source
    SOURCE_CONFIGURATION: Target.Source
    SOURCE_REGISTERED: Target.Source
    SOURCE_TASKS: Target.Source
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_READ_AT_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    services: _containers.RepeatedScalarFieldContainer[str]
    source: Target.Source
    description: str
    etag: str
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    updated_by: str
    contract_read_at: _timestamp_pb2.Timestamp
    jobs: int
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., source: _Optional[_Union[Target.Source, str]] = ..., description: _Optional[str] = ..., etag: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_by: _Optional[str] = ..., contract_read_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., jobs: _Optional[int] = ...) -> None: ...

class RegisterTargetRequest(_message.Message):
    __slots__ = ("name", "address", "services", "description", "etag", "request_id", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    services: _containers.RepeatedScalarFieldContainer[str]
    description: str
    etag: str
    request_id: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class RegisterTargetResponse(_message.Message):
    __slots__ = ("target", "warnings")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    target: Target
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class UnregisterTargetRequest(_message.Message):
    __slots__ = ("name", "request_id", "etag", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    etag: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UnregisterTargetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTargetsResponse(_message.Message):
    __slots__ = ("targets", "next_page_token")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    next_page_token: str
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DescribeTargetRequest(_message.Message):
    __slots__ = ("name", "method")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    name: str
    method: str
    def __init__(self, name: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class DescribeTargetResponse(_message.Message):
    __slots__ = ("target", "methods", "warning")
    class Field(_message.Message):
        __slots__ = ("path", "type", "repeated", "required", "values", "comment")
        PATH_FIELD_NUMBER: _ClassVar[int]
        TYPE_FIELD_NUMBER: _ClassVar[int]
        REPEATED_FIELD_NUMBER: _ClassVar[int]
        REQUIRED_FIELD_NUMBER: _ClassVar[int]
        VALUES_FIELD_NUMBER: _ClassVar[int]
        COMMENT_FIELD_NUMBER: _ClassVar[int]
        path: str
        type: str
        repeated: bool
        required: bool
        values: _containers.RepeatedScalarFieldContainer[str]
        comment: str
        def __init__(self, path: _Optional[str] = ..., type: _Optional[str] = ..., repeated: _Optional[bool] = ..., required: _Optional[bool] = ..., values: _Optional[_Iterable[str]] = ..., comment: _Optional[str] = ...) -> None: ...
    class Method(_message.Message):
        __slots__ = ("name", "full_name", "fields", "example", "callable", "why_not", "comment")
        NAME_FIELD_NUMBER: _ClassVar[int]
        FULL_NAME_FIELD_NUMBER: _ClassVar[int]
        FIELDS_FIELD_NUMBER: _ClassVar[int]
        EXAMPLE_FIELD_NUMBER: _ClassVar[int]
        CALLABLE_FIELD_NUMBER: _ClassVar[int]
        WHY_NOT_FIELD_NUMBER: _ClassVar[int]
        COMMENT_FIELD_NUMBER: _ClassVar[int]
        name: str
        full_name: str
        fields: _containers.RepeatedCompositeFieldContainer[DescribeTargetResponse.Field]
        example: _struct_pb2.Struct
        callable: bool
        why_not: str
        comment: str
        def __init__(self, name: _Optional[str] = ..., full_name: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[DescribeTargetResponse.Field, _Mapping]]] = ..., example: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., callable: _Optional[bool] = ..., why_not: _Optional[str] = ..., comment: _Optional[str] = ...) -> None: ...
    TARGET_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    target: Target
    methods: _containers.RepeatedCompositeFieldContainer[DescribeTargetResponse.Method]
    warning: str
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., methods: _Optional[_Iterable[_Union[DescribeTargetResponse.Method, _Mapping]]] = ..., warning: _Optional[str] = ...) -> None: ...

class TestTargetRequest(_message.Message):
    __slots__ = ("name", "timeout")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    timeout: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TestTargetResponse(_message.Message):
    __slots__ = ("status", "latency", "message", "contract_read", "jobs_checked", "misfits", "misfits_total")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[TestTargetResponse.Status]
        STATUS_SERVING: _ClassVar[TestTargetResponse.Status]
        STATUS_NOT_SERVING: _ClassVar[TestTargetResponse.Status]
        STATUS_UNREACHABLE: _ClassVar[TestTargetResponse.Status]
    STATUS_UNSPECIFIED: TestTargetResponse.Status
    STATUS_SERVING: TestTargetResponse.Status
    STATUS_NOT_SERVING: TestTargetResponse.Status
    STATUS_UNREACHABLE: TestTargetResponse.Status
    class Misfit(_message.Message):
        __slots__ = ("job_id", "problems")
        JOB_ID_FIELD_NUMBER: _ClassVar[int]
        PROBLEMS_FIELD_NUMBER: _ClassVar[int]
        job_id: str
        problems: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, job_id: _Optional[str] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_READ_FIELD_NUMBER: _ClassVar[int]
    JOBS_CHECKED_FIELD_NUMBER: _ClassVar[int]
    MISFITS_FIELD_NUMBER: _ClassVar[int]
    MISFITS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    status: TestTargetResponse.Status
    latency: _duration_pb2.Duration
    message: str
    contract_read: bool
    jobs_checked: int
    misfits: _containers.RepeatedCompositeFieldContainer[TestTargetResponse.Misfit]
    misfits_total: int
    def __init__(self, status: _Optional[_Union[TestTargetResponse.Status, str]] = ..., latency: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., message: _Optional[str] = ..., contract_read: _Optional[bool] = ..., jobs_checked: _Optional[int] = ..., misfits: _Optional[_Iterable[_Union[TestTargetResponse.Misfit, _Mapping]]] = ..., misfits_total: _Optional[int] = ...) -> None: ...
