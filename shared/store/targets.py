"""The collection `targets`: the services that calls have registered, beside those of config/targets.yaml.

All of them are in one document, so that a reader sees the list from before a change or from after it, and a look that
finds nothing new costs one lookup by `_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from shared.store.pipeline import NOW, appended, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

COLLECTION: Final = "targets"
REGISTERED: Final = "registered"
"""The `_id` of the list. Its `version` is another after each change, and never the same again."""

MOST_TARGETS: Final = 1_000
"""With the longest of all fields they still fit in one document, which has room for 16 MiB."""
MOST_KEPT_REQUESTS: Final = 100
"""Of all targets together: many may be registered at once, as by what starts a platform."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered target. etag: the version of the list that its last change made."""

    name: str
    address: str
    services: tuple[str, ...]
    description: str
    etag: str
    created_at: datetime
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The list at one version; that of a list to which nobody has ever added is empty.

    requests: the tokens of the last that have changed it.
    """

    version: str
    targets: Mapping[str, Registration]
    requests: Sequence[str] = ()


def list_filter() -> dict[str, Any]:
    """Find the list."""
    return {"_id": REGISTERED}


def news_filter(version: str) -> dict[str, Any]:
    """Find the list if it is at another version."""
    return {"_id": REGISTERED, "version": {"$ne": version}}


def to_registered(document: Mapping[str, Any] | None) -> Registered:
    """Read the list; None: there is none yet."""
    if document is None:
        return Registered("", {})
    return Registered(
        document["version"],
        {
            name: Registration(
                name=name,
                address=entry["address"],
                services=tuple(entry["services"]),
                description=entry["description"],
                etag=entry["etag"],
                created_at=entry["created_at"],
                updated_at=entry["updated_at"],
                updated_by=entry["updated_by"],
            )
            for name, entry in document["targets"].items()
        },
        document.get("requests", ()),
    )


def new_list() -> dict[str, Any]:
    """Return the update that makes the list unless it is there; to be made with upsert."""
    return {"$setOnInsert": {"version": "", "targets": {}}}


def at_version(version: str) -> dict[str, Any]:
    """Find the list if it is as it was read."""
    return {"_id": REGISTERED, "version": version}


def stay(version: str) -> dict[str, Any]:
    """Return the update that leaves the list, found at this version, as it is; see shared.store.jobs.stay."""
    return {"$set": {"version": version}}


def put(
    name: str, address: str, services: tuple[str, ...], description: str, by: str, request: str = ""
) -> list[dict[str, Any]]:
    """Return the update that adds a target, or changes one that is there. A name must have no dot and no dollar.

    request: the token of the request that it is the effect of.
    """
    version = _new_version()
    given = literal(
        {
            "address": address,
            "services": list(services),
            "description": description,
            "updated_by": by,
            "etag": version,
        }
    )
    times = {"created_at": {"$ifNull": [f"$targets.{name}.created_at", NOW]}, "updated_at": NOW}
    entry = {f"targets.{name}": {"$mergeObjects": [given, times]}}
    return [{"$set": {**entry, "version": version, **_done(request)}}]


def remove(name: str, request: str = "") -> list[dict[str, Any]]:
    """Return the update that removes a target. request: as of put."""
    return [{"$unset": f"targets.{name}"}, {"$set": {"version": _new_version(), **_done(request)}}]


def _done(request: str) -> dict[str, Any]:
    return {"requests": appended("requests", literal(request), MOST_KEPT_REQUESTS)} if request else {}


def _new_version() -> str:
    return str(ULID()).lower()


# What is known of the targets' contracts, of all targets; `_id` is the target's name:

CONTRACTS: Final = "target_contracts"
HAS_BEEN_READ: Final = {"read_at": {"$type": "date"}}


def contract_coming(fingerprint: str) -> list[dict[str, Any]]:
    """Return the update that notes which other contract a target has, before its jobs are marked; with upsert.

    What they are to be marked with, `marking`, is new, unless somebody has begun with that already.
    """
    ours = literal(fingerprint)
    begun = {"$cond": [{"$eq": ["$coming", ours]}, "$marking", None]}
    return [{"$set": {"coming": ours, "marking": {"$ifNull": [begun, _new_version()]}}}]


def contract_read(name: str, fingerprint: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the filter and the update that note which contract a target has, after its jobs were marked for it.

    They find nothing where another process has noted meanwhile that it is another one, which may have judged by that
    the jobs that were marked for this. What it has noted to be coming, and marks jobs for, stays. Else nothing does: a
    process of an older release notes what is coming without a marking, and what was marked with this one is not again.
    """
    ours = literal(fingerprint)
    is_last = {"$eq": [{"$ifNull": ["$coming", ours]}, ours]}
    begun = {name: {"$cond": [is_last, "$$REMOVE", f"${name}"]} for name in ("coming", "marking")}
    standing = {"_id": name, "$or": [{"coming": fingerprint}, {"fingerprint": fingerprint}]}
    return standing, [{"$set": {"fingerprint": ours, "read_at": NOW, **begun}}]


def contracts_filter(names: Iterable[str]) -> dict[str, Any]:
    """Find what is known of the contracts of some targets."""
    return {"_id": {"$in": sorted(names)}}


def noted_contract(document: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of the contract that a target's jobs are marked for; None while that changes."""
    return None if "coming" in document else document["fingerprint"]
