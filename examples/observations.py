"""Price observations in MongoDB: what scraper-service writes and pricing-service reads."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bson.decimal128 import Decimal128
from pymongo import ASCENDING, AsyncMongoClient, IndexModel, UpdateOne

COLLECTION = "price_observations"

# Both readers select a stretch of time, and then perhaps some competitors.
INDEXES = [IndexModel([("observed_at", ASCENDING), ("competitor_id", ASCENDING)])]

Document = dict[str, Any]


class Availability(StrEnum):
    """Whether a page says that the product can be bought."""

    IN_STOCK = "IN_STOCK"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Observation:
    """A price that a competitor's page showed at a time (UTC)."""

    competitor_id: str
    product_id: str
    name: str
    price: Decimal
    currency: str
    availability: Availability
    url: str
    observed_at: datetime


class Observations:
    """The collection. Every method raises pymongo.errors.ConnectionFailure while MongoDB does not answer."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._collection = client.get_default_database(database)[COLLECTION]

    async def ensure_indexes(self) -> None:
        """Create the indexes that are missing. Safe to repeat."""
        await self._collection.create_indexes(INDEXES)

    async def record(self, execution_id: str, observations: Sequence[Observation]) -> int:
        """Store those that this execution has not stored yet, and return how many that were.

        The id is made of execution, competitor and product, so a second attempt of an execution, even at the same
        time as the first, adds only what is missing; what the first saw stands.
        """
        if not observations:
            return 0
        writes = [
            UpdateOne(
                {"_id": f"{execution_id}/{seen.competitor_id}/{seen.product_id}"},
                {"$setOnInsert": {**_to_document(seen), "execution_id": execution_id}},
                upsert=True,
            )
            for seen in observations
        ]
        result = await self._collection.bulk_write(writes, ordered=False)
        return result.upserted_count

    async def between(self, start: datetime, end: datetime, competitor_ids: Sequence[str]) -> list[Observation]:
        """Return what was seen from start to end, both included; no competitor_ids means all."""
        return [_from_document(found) async for found in self._collection.find(_match(start, end, competitor_ids))]

    async def latest_between(self, start: datetime, end: datetime, competitor_ids: Sequence[str]) -> list[Observation]:
        """Return the latest of each competitor, product and currency from start to end; no competitor_ids means all."""
        stages: list[Document] = [
            {"$match": _match(start, end, competitor_ids)},
            {
                "$group": {
                    "_id": {"competitor": "$competitor_id", "product": "$product_id", "currency": "$currency"},
                    "latest": {"$top": {"sortBy": {"observed_at": -1}, "output": "$$ROOT"}},
                }
            },
        ]
        rows: AsyncIterator[Document] = await self._collection.aggregate(stages)
        return [_from_document(row["latest"]) async for row in rows]


def _match(start: datetime, end: datetime, competitor_ids: Sequence[str]) -> Document:
    match: Document = {"observed_at": {"$gte": start, "$lte": end}}
    if competitor_ids:
        match["competitor_id"] = {"$in": list(competitor_ids)}
    return match


def _to_document(seen: Observation) -> Document:
    return {
        "competitor_id": seen.competitor_id,
        "product_id": seen.product_id,
        "name": seen.name,
        "price": Decimal128(seen.price),
        "currency": seen.currency,
        "availability": seen.availability.value,
        "url": seen.url,
        "observed_at": seen.observed_at,
    }


def _from_document(found: Document) -> Observation:
    return Observation(
        competitor_id=found["competitor_id"],
        product_id=found["product_id"],
        name=found["name"],
        price=found["price"].to_decimal(),
        currency=found["currency"],
        availability=Availability(found["availability"]),
        url=found["url"],
        observed_at=found["observed_at"],
    )
