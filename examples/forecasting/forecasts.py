"""Forecasts in MongoDB. Those of one execution are drafts until all of its regions are there."""

from datetime import datetime
from functools import cache

from pymongo import AsyncMongoClient

from examples.forecasting.outlook import Outlook
from examples.observations import Document
from examples.settings import DATABASE, Settings, connect, read

COLLECTION = "forecasts"


class Forecasts:
    """The collection. Its ids are made of execution and region, so that a second attempt writes what the first did."""

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._collection = client.get_default_database(DATABASE)[COLLECTION]

    async def draft(self, execution_id: str, region: str, made_for: datetime, outlook: Outlook) -> None:
        """Keep what was forecast for a region, unseen by those who read forecasts."""
        document = {
            "execution_id": execution_id,
            "region": region,
            "made_for": made_for,
            "days": outlook.days,
            "error": outlook.error,
            "published": False,
        }
        await self._collection.replace_one({"_id": f"{execution_id}/{region}"}, document, upsert=True)

    async def publish(self, execution_id: str) -> None:
        """Show all that an execution has forecast."""
        await self._collection.update_many({"execution_id": execution_id}, {"$set": {"published": True}})

    async def discard(self, execution_id: str) -> int:
        """Remove the drafts of an execution; return how many there were."""
        removed = await self._collection.delete_many({"execution_id": execution_id, "published": False})
        return removed.deleted_count

    async def remove_before(self, instant: datetime) -> int:
        """Remove what was made for a time before an instant; return how many there were."""
        return (await self._collection.delete_many({"made_for": {"$lt": instant}})).deleted_count


@cache
def forecasts() -> Forecasts:
    """Return this process's. Made when a task first asks: a client does not survive the fork of a prefork worker."""
    return Forecasts(connect(read(Settings)))
