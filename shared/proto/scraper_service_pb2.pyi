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

class ScrapeCompetitorPricesRequest(_message.Message):
    __slots__ = ("competitor_ids", "top_products_only", "product_ids", "max_products")
    COMPETITOR_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_PRODUCTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    competitor_ids: _containers.RepeatedScalarFieldContainer[str]
    top_products_only: bool
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    max_products: int
    def __init__(self, competitor_ids: _Optional[_Iterable[str]] = ..., top_products_only: _Optional[bool] = ..., product_ids: _Optional[_Iterable[str]] = ..., max_products: _Optional[int] = ...) -> None: ...

class ScrapeCompetitorPricesResponse(_message.Message):
    __slots__ = ("observation_count", "already_stored_count", "failed_page_count", "incomplete_competitor_ids", "observed_at", "competitors", "unlisted_product_ids")
    OBSERVATION_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_STORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_COMPETITOR_IDS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPETITORS_FIELD_NUMBER: _ClassVar[int]
    UNLISTED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    observation_count: int
    already_stored_count: int
    failed_page_count: int
    incomplete_competitor_ids: _containers.RepeatedScalarFieldContainer[str]
    observed_at: _timestamp_pb2.Timestamp
    competitors: _containers.RepeatedCompositeFieldContainer[CompetitorResult]
    unlisted_product_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, observation_count: _Optional[int] = ..., already_stored_count: _Optional[int] = ..., failed_page_count: _Optional[int] = ..., incomplete_competitor_ids: _Optional[_Iterable[str]] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., competitors: _Optional[_Iterable[_Union[CompetitorResult, _Mapping]]] = ..., unlisted_product_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CompetitorResult(_message.Message):
    __slots__ = ("competitor_id", "outcome", "observation_count", "failed_page_count", "error", "page_failures", "duration")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[CompetitorResult.Outcome]
        OUTCOME_COMPLETE: _ClassVar[CompetitorResult.Outcome]
        OUTCOME_PARTIAL: _ClassVar[CompetitorResult.Outcome]
        OUTCOME_FAILED: _ClassVar[CompetitorResult.Outcome]
    OUTCOME_UNSPECIFIED: CompetitorResult.Outcome
    OUTCOME_COMPLETE: CompetitorResult.Outcome
    OUTCOME_PARTIAL: CompetitorResult.Outcome
    OUTCOME_FAILED: CompetitorResult.Outcome
    COMPETITOR_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PAGE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    competitor_id: str
    outcome: CompetitorResult.Outcome
    observation_count: int
    failed_page_count: int
    error: str
    page_failures: _containers.RepeatedCompositeFieldContainer[PageFailure]
    duration: _duration_pb2.Duration
    def __init__(self, competitor_id: _Optional[str] = ..., outcome: _Optional[_Union[CompetitorResult.Outcome, str]] = ..., observation_count: _Optional[int] = ..., failed_page_count: _Optional[int] = ..., error: _Optional[str] = ..., page_failures: _Optional[_Iterable[_Union[PageFailure, _Mapping]]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PageFailure(_message.Message):
    __slots__ = ("url", "reason")
    URL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    url: str
    reason: str
    def __init__(self, url: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
