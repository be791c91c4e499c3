"""Which jobs use which targets, as the store knows it: its index is asked, and no job is looked at for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.store import calls, jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.asynchronous.database import AsyncDatabase

BATCH: Final = 500
CALL_FIELDS: Final = dict.fromkeys(
    ("target_service", "target_method", "parameters", "flow", "edits", jobs.MARKS, jobs.DRIFT), 1
)
"""What has to be known of a job to hold its calls against contracts, and to say what came of it."""


class TargetUse:
    """Asks for the jobs that call a target; flows count for each target that they name. Deleted jobs do not count."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._jobs = database[jobs.COLLECTION]

    async def note_flows(self) -> None:
        """Keep the targets of flows beside them, in jobs of before that was done; finds nothing as a rule."""
        async for job in self._jobs.find(calls.unlisted_flows_filter(), {"flow": 1}):
            await self._jobs.update_one(calls.unlisted_flow_filter(job), calls.list_flow_targets(job))

    async def count(self, target: str) -> int:
        """Return how many jobs call a target."""
        return await self._jobs.count_documents(calls.uses_filter(target))

    async def some(self, target: str, most: int) -> list[str]:
        """Return the ids of a few of them."""
        found = self._jobs.find(calls.uses_filter(target), {"_id": 1}, limit=most)
        return [job["_id"] async for job in found]

    async def named(self) -> set[str]:
        """Return the targets that any job names, also deleted ones."""
        own = await self._jobs.distinct("target_service")
        return {*own, *await self._named_by_flows()} - {""}

    async def _named_by_flows(self) -> set[str]:
        """Go from name to name: flows may be many, and `distinct` reads each where an index holds lists."""
        found: set[str] = set()
        last = ""
        while flow := await self._jobs.find_one(calls.flow_behind(last), {calls.FLOW_TARGETS: 1}, hint="flow_targets"):
            last = min(name for name in flow["flow"]["targets"] if name > last)
            found.add(last)
        return found

    async def batches(self, target: str) -> AsyncIterator[list[dict[str, Any]]]:
        """Return all of them in batches, with CALL_FIELDS."""
        batch: list[dict[str, Any]] = []
        async for job in self._jobs.find(calls.uses_filter(target), CALL_FIELDS, batch_size=BATCH):
            batch.append(job)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
