"""The collection `requests`: what calls with a request id have answered, and which of them are worked on.

`_id` is the method and the request id. A document is there before the call has any effect, with a token that the effect
carries; so whoever finds it later, without an answer, can tell whether the effect is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.store.pipeline import NOW, from_now, has_ended, literal, milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

COLLECTION: Final = "requests"

KEPT: Final = timedelta(hours=24)
"""How long a request id is remembered, from its first call on; the database removes it within a minute after that."""

LEASE: Final = timedelta(seconds=5)
"""How long a call that is worked on is left to who works on it, who renews; then another may go on with it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is to be made, by who holds the nonce."""

    key: str
    digest: str
    token: str
    nonce: str

    @property
    def ours(self) -> dict[str, Any]:
        """The filter that finds it while nobody else has taken it over."""
        return {"_id": self.key, "nonce": self.nonce, "answer": {"$exists": False}}


def claim(wanted: Claim) -> list[dict[str, Any]]:
    """Return the update, an upsert, that takes a call unless it is answered, another's, or another request's.

    What stands after it says which: see is_ours, and the fields `digest` and `answer`. The token is the first one's.
    """
    # Of a document that the upsert makes, and of one whose holder has let go, the lease is not there.
    nobody = {"$or": [{"$eq": [{"$type": "$lease"}, "missing"]}, has_ended("lease.expires_at", "lease.length")]}
    same = {"$in": [{"$ifNull": ["$digest", wanted.digest]}, [wanted.digest]]}
    free = {"$and": [{"$eq": [{"$type": "$answer"}, "missing"]}, same, nobody]}
    return [
        {"$set": {"free": free}},
        {
            "$set": {
                "digest": {"$ifNull": ["$digest", wanted.digest]},
                "token": {"$ifNull": ["$token", wanted.token]},
                "at": {"$ifNull": ["$at", NOW]},
                "nonce": {"$cond": ["$free", literal(wanted.nonce), "$nonce"]},
                "lease": {"$cond": ["$free", _lease(), "$lease"]},
            }
        },
        {"$unset": "free"},
    ]


def is_ours(wanted: Claim, standing: Mapping[str, Any]) -> bool:
    """Return whether what stands after a claim is it."""
    return bool(standing["nonce"] == wanted.nonce and "answer" not in standing)


def renew() -> list[dict[str, Any]]:
    """Return the update that keeps a call for another lease."""
    return [{"$set": {"lease": _lease()}}]


LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes; a document has room for twice that, and few clients take half of it."""

LET_GO: Final = {"$unset": {"lease": ""}}
"""The update after an outage: nobody knows what the call has done, and whoever repeats it goes on with it."""


def answer(response: bytes) -> dict[str, Any]:
    """Return the update that ends a call: this is what it answers, to whoever repeats it.

    One that is too large to keep is put together again, from the effect that is found.
    """
    if len(response) > LARGEST_ANSWER:
        return LET_GO
    return {"$set": {"answer": response}, "$unset": {"lease": ""}}


def _lease() -> dict[str, Any]:
    return {"expires_at": from_now(LEASE), "length": milliseconds(LEASE)}
