"""The collection `zone_rules`: the rules that any schedule was ever made under, so that it can go on by them.

`_id` is the fingerprint that schedules name; what is there never changes, and is never deleted (docs/decisions/0007).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne

from shared.domain.zones import knows_rules, package_rules, register_rules, tzdata_version, zone_data, zone_names
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pymongo.collection import Collection

log = get_logger()

COLLECTION: Final = "zone_rules"


@lru_cache(maxsize=1)
def package_documents() -> Mapping[str, dict[str, Any]]:
    """Return the documents of all rules of this process's package tzdata, by fingerprint: about 600, in all 400 KB."""
    version = tzdata_version()
    return {
        (rules := package_rules(name)): {"_id": rules, "zone": name, "tzdata": version, "tzif": zone_data(name)}
        for name in zone_names()
    }


def of_fingerprints(rules: Iterable[str]) -> dict[str, Any]:
    """Find the documents of these rules."""
    return {"_id": {"$in": sorted(rules)}}


def addition(document: Mapping[str, Any]) -> UpdateOne:
    """Add the document of rules, unless it has been added meanwhile."""
    return UpdateOne({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)


def unknown_rules(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return what has to be registered before the schedules in documents of jobs, or of their history, can be read."""
    return {
        rules
        for document in documents
        for schedule in _schedules(document)
        if (rules := str(schedule.get("rules", ""))) and not knows_rules(str(schedule.get("timezone")), rules)
    }


def _schedules(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the documents of schedules in one; whatever else is there is for those to refuse who read it."""
    changes = document.get("changes")
    parts = [document, document.get("installed"), *(changes if isinstance(changes, list) else ())]
    for part in parts:
        # Not Mapping, which it takes longer to ask for: beat asks for each fire, and several times.
        schedule = part.get("schedule") if isinstance(part, dict) else None
        if isinstance(schedule, dict):
            yield schedule


def load(kept: Collection[dict[str, Any]], documents: Iterable[Mapping[str, Any]]) -> None:
    """Make known what the schedules in documents of jobs follow, as far as it is kept. Raises PyMongoError."""
    if unknown := unknown_rules(documents):
        for document in kept.find(of_fingerprints(unknown)):
            register(document)


def register(document: Mapping[str, Any]) -> None:
    """Make the rules of a document known to this process; damaged ones are logged, and stay unknown."""
    try:
        register_rules(document["zone"], document["_id"], document["tzif"])
    except (ValueError, KeyError):
        log.exception("kept zone rules cannot be used", action="zone_rules_damaged", rules=document["_id"])
