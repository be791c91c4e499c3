"""How often topics were named on the pages of archives, in MongoDB: what a backfill has done stays done."""

from collections.abc import Mapping
from functools import cache

from pymongo import AsyncMongoClient

from examples.observations import Document
from examples.settings import DATABASE, Settings, connect, read

COLLECTION = "trend_pages"


class Archive:
    """The collection, one document a page."""

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._collection = client.get_default_database(DATABASE)[COLLECTION]

    async def pages(self, plugin: str) -> set[int]:
        """Return the pages of a plugin that are there."""
        return {row["page"] async for row in self._collection.find({"plugin": plugin}, {"page": 1})}

    async def keep(self, plugin: str, page: int, counts: Mapping[str, int]) -> None:
        """Keep a page; once more is as good as once."""
        document = {"plugin": plugin, "page": page, "counts": counts}
        await self._collection.replace_one({"_id": f"{plugin}/{page}"}, document, upsert=True)


@cache
def archive() -> Archive:
    """Return this process's. Made when a task first asks: a client does not survive the fork of a prefork worker."""
    return Archive(connect(read(Settings)))
