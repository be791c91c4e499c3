"""Zone rules that schedules were made under, kept in the store: the server's way to them (docs/decisions/0007)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shared.store import zone_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase


class ZoneRules:
    """The kept rules. All raise PyMongoError when the store can't be reached."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._kept = database[zone_rules.COLLECTION]
        self._all_kept = False

    async def keep(self) -> None:
        """Add the rules of this process's package that are missing; before any schedule that names them is stored."""
        if self._all_kept:
            return
        wanted = await asyncio.to_thread(zone_rules.package_documents)
        there = {document["_id"] async for document in self._kept.find(zone_rules.of_fingerprints(wanted), {"_id": 1})}
        missing = [zone_rules.addition(document) for rules, document in wanted.items() if rules not in there]
        if missing:
            await self._kept.bulk_write(missing, ordered=False)
        self._all_kept = True

    async def load(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Make known what the schedules in documents of jobs follow, as far as it is kept."""
        unknown = zone_rules.unknown_rules(documents)
        if unknown:
            async for document in self._kept.find(zone_rules.of_fingerprints(unknown)):
                zone_rules.register(document)
