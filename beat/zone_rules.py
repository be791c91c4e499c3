"""Zone rules that schedules were made under, kept in the store: beat's way to them (docs/decisions/0007)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.store import zone_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymongo.database import Database


class ZoneRules:
    """The kept rules. All raise PyMongoError when the store can't be reached."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._kept = database[zone_rules.COLLECTION]

    def keep(self) -> None:
        """Add the rules of this process's package that are missing; before any schedule that names them is stored."""
        wanted = zone_rules.package_documents()
        there = {document["_id"] for document in self._kept.find(zone_rules.of_fingerprints(wanted), {"_id": 1})}
        missing = [zone_rules.addition(document) for rules, document in wanted.items() if rules not in there]
        if missing:
            self._kept.bulk_write(missing, ordered=False)

    def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Make known what the schedules in documents of jobs follow, as far as it is kept."""
        zone_rules.load(self._kept, documents)
