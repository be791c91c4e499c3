"""What has to be there before the first call is answered well: collections, indexes, zone rules, preconfigured jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from scheduler_service.jobs.seed import plant
from scheduler_service.targets.use import TargetUse
from shared.log import get_logger
from shared.store import layout
from shared.store.indexes import OBSOLETE
from shared.store.mongo import require_durable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.jobs.jobs import Jobs
    from shared.domain.job import JobDraft

log = get_logger()

PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries; the last one goes on."""


async def prepare(
    database: AsyncDatabase[dict[str, Any]], drafts: Sequence[JobDraft], jobs: Jobs, definitions: Definitions
) -> None:
    """Create collections, indexes, zone rules and preconfigured jobs; try again for as long as the store is away."""
    tries = 0
    while True:
        try:
            await create_collections(database)
            await jobs.zone_rules.keep()
            planted = await plant(drafts, jobs, definitions)
            await TargetUse(database).note_flows()
        except PyMongoError as error:
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            tries += 1
            log.warning(
                "the store can't be prepared; trying again",
                action="store_not_prepared",
                error=str(error)[:300],
                retry_seconds=pause,
            )
            await asyncio.sleep(pause)
        else:
            log.info("the store is prepared", action="store_prepared", jobs_created=planted)
            return


async def create_collections(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Create every collection and index that is missing, and drop indexes that are not needed any more."""
    concern = database.write_concern
    await _take(database, layout.collections())
    await _take(database, layout.indexes(concern))
    for collection in OBSOLETE:
        await _take(database, layout.obsolete(collection, await database[collection].index_information(), concern))


async def _take(database: AsyncDatabase[dict[str, Any]], steps: Iterable[layout.Step]) -> None:
    for step in steps:
        with pymongo.timeout(step.patience):
            try:
                require_durable(await database.command(dict(step.command)))
            except OperationFailure as error:
                step.refused(error)
