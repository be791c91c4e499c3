"""The collections `partitions` and `beats`: who works on which share of the jobs, and which beats are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne

from shared.store.jobs import PARTITIONS
from shared.store.pipeline import NOW, from_now, has_ended, literal, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

PARTITION_COLLECTION: Final = "partitions"
BEAT_COLLECTION: Final = "beats"

BY_ID: Final = "_id_"
"""The index to go by where every row is asked: no index answers what ENDED asks, and there are few rows."""

ENDED: Final = has_ended("expires_at", "length")
"""The leases, of partitions or beats, that are over."""

FREE: Final = {"$expr": {"$or": [{"$lte": ["$expires_at", None]}, ENDED]}}
"""Finds the partitions that no beat works on."""


def prepare() -> list[UpdateOne]:
    """Return the updates that make the rows of the partitions, where they are not there yet."""
    return [UpdateOne({"_id": number}, {"$setOnInsert": {}}, upsert=True) for number in range(PARTITIONS)]


def renew(lease: timedelta) -> list[dict[str, Any]]:
    """Return the update that begins a lease anew, of a partition or of a beat."""
    return [{"$set": {"expires_at": from_now(lease), "length": milliseconds(lease)}}]


def take(number: int, holder: str, lease: timedelta) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the filter and the update that lease a partition to a beat, unless it is another one's by now."""
    (renewed,) = renew(lease)
    taken = {"holder": literal(holder), "taken_at": NOW, **renewed["$set"]}
    return {"_id": number, **FREE}, [{"$set": taken}]


def release(holder: str, numbers: Iterable[int] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the filter and the update that give partitions of a beat back: these, or all."""
    which = {} if numbers is None else {"_id": {"$in": list(numbers)}}
    return {**which, **held_filter(holder)}, {"$unset": {"holder": "", "expires_at": ""}}


def held_filter(holder: str) -> dict[str, Any]:
    """Find the partitions that a beat has taken and nobody has taken since, whether its lease is over or not."""
    return {"holder": holder}


def dead_filter() -> dict[str, Any]:
    """Find the beats that are not alive."""
    return {"$expr": ENDED}


def alive_filter() -> dict[str, Any]:
    """Find the beats that are alive."""
    return {"$expr": {"$not": [ENDED]}}


def leased_filter() -> dict[str, Any]:
    """Find the partitions that a beat works on."""
    return {"holder": {"$type": "string"}, "$expr": {"$not": [ENDED]}}
