"""The collections `partitions` and `beats`: who works on which share of the jobs, and which beats are alive."""

from __future__ import annotations

from typing import Any, Final

from shared.store.pipeline import has_ended

PARTITION_COLLECTION: Final = "partitions"
BEAT_COLLECTION: Final = "beats"

BY_ID: Final = "_id_"
"""The index to go by where every row is asked: no index answers what ENDED asks, and there are few rows."""

ENDED: Final = has_ended("expires_at", "length")
"""The leases, of partitions or beats, that are over."""


def alive_filter() -> dict[str, Any]:
    """Find the beats that are alive."""
    return {"$expr": {"$not": [ENDED]}}


def leased_filter() -> dict[str, Any]:
    """Find the partitions that a beat works on."""
    return {"holder": {"$type": "string"}, "$expr": {"$not": [ENDED]}}
