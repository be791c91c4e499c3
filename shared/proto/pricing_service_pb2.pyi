import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComprehensivePriceAnalysisRequest(_message.Message):
    __slots__ = ("competitor_ids", "since")
    COMPETITOR_IDS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    competitor_ids: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    def __init__(self, competitor_ids: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ComprehensivePriceAnalysisResponse(_message.Message):
    __slots__ = ("observation_count", "product_count", "outlier_count", "competitor_ids_without_observations", "since", "until", "products")
    OBSERVATION_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTLIER_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPETITOR_IDS_WITHOUT_OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    observation_count: int
    product_count: int
    outlier_count: int
    competitor_ids_without_observations: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    products: _containers.RepeatedCompositeFieldContainer[ProductAnalysis]
    def __init__(self, observation_count: _Optional[int] = ..., product_count: _Optional[int] = ..., outlier_count: _Optional[int] = ..., competitor_ids_without_observations: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., products: _Optional[_Iterable[_Union[ProductAnalysis, _Mapping]]] = ...) -> None: ...

class ProductAnalysis(_message.Message):
    __slots__ = ("product_id", "name", "currency", "cheapest", "spread", "latest_prices", "outlier_count", "outliers")
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CHEAPEST_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    LATEST_PRICES_FIELD_NUMBER: _ClassVar[int]
    OUTLIER_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTLIERS_FIELD_NUMBER: _ClassVar[int]
    product_id: str
    name: str
    currency: str
    cheapest: Offer
    spread: Spread
    latest_prices: _containers.RepeatedCompositeFieldContainer[CompetitorPrice]
    outlier_count: int
    outliers: _containers.RepeatedCompositeFieldContainer[Outlier]
    def __init__(self, product_id: _Optional[str] = ..., name: _Optional[str] = ..., currency: _Optional[str] = ..., cheapest: _Optional[_Union[Offer, _Mapping]] = ..., spread: _Optional[_Union[Spread, _Mapping]] = ..., latest_prices: _Optional[_Iterable[_Union[CompetitorPrice, _Mapping]]] = ..., outlier_count: _Optional[int] = ..., outliers: _Optional[_Iterable[_Union[Outlier, _Mapping]]] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("competitor_id", "price")
    COMPETITOR_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    competitor_id: str
    price: str
    def __init__(self, competitor_id: _Optional[str] = ..., price: _Optional[str] = ...) -> None: ...

class Spread(_message.Message):
    __slots__ = ("amount", "percent")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    amount: str
    percent: str
    def __init__(self, amount: _Optional[str] = ..., percent: _Optional[str] = ...) -> None: ...

class CompetitorPrice(_message.Message):
    __slots__ = ("competitor_id", "price", "out_of_stock", "observed_at", "change_since_last_week")
    COMPETITOR_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_STOCK_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_SINCE_LAST_WEEK_FIELD_NUMBER: _ClassVar[int]
    competitor_id: str
    price: str
    out_of_stock: bool
    observed_at: _timestamp_pb2.Timestamp
    change_since_last_week: PriceChange
    def __init__(self, competitor_id: _Optional[str] = ..., price: _Optional[str] = ..., out_of_stock: _Optional[bool] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., change_since_last_week: _Optional[_Union[PriceChange, _Mapping]] = ...) -> None: ...

class PriceChange(_message.Message):
    __slots__ = ("previous_price", "previous_observed_at", "amount", "percent")
    PREVIOUS_PRICE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    previous_price: str
    previous_observed_at: _timestamp_pb2.Timestamp
    amount: str
    percent: str
    def __init__(self, previous_price: _Optional[str] = ..., previous_observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., amount: _Optional[str] = ..., percent: _Optional[str] = ...) -> None: ...

class Outlier(_message.Message):
    __slots__ = ("competitor_id", "price", "median", "observed_at")
    COMPETITOR_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    competitor_id: str
    price: str
    median: str
    observed_at: _timestamp_pb2.Timestamp
    def __init__(self, competitor_id: _Optional[str] = ..., price: _Optional[str] = ..., median: _Optional[str] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
