"""Cleanup: remove the records of what ended long ago, a bounded batch at a time."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.domain.execution import State, Trigger
from shared.log import get_logger
from shared.store import backfills, canvas, executions, jobs, retention, rollups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

log = get_logger()

BATCH: Final = 500

_FIELDS: Final = dict.fromkeys(
    ("job_uid", "epoch", "trigger", "state", "nominal_time", "finished_at", "parent", "group"), 1
)
_REUSED: Final = {"reuse": 1}


class Cleanup:
    """Removes old rows. What it removed stays removed when it is cancelled half-way; the next one goes on."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], batch: int = BATCH) -> None:
        self._executions = database[executions.COLLECTION]
        self._jobs = database[jobs.COLLECTION]
        self._retention = database[retention.COLLECTION]
        self._backfills = database[backfills.COLLECTION]
        self._groups = database[canvas.GROUPS]
        self._rolling_up = database[rollups.PROGRESS]
        self._batch = batch

    async def remove_ended_before(self, cutoff: datetime) -> int:
        """Remove the rows that ended before an instant, the oldest first; return how many.

        Rows of a chain that beat may still have to follow stay, whatever their age: without them their occurrences
        would be decided again. So do parts, until what they are parts of goes: it would wait for them for ever, or not
        know what is left to do again. So does what a retry goes on with that had not ended when this began, and the
        header of a chord whose body has not been called, as beat counts its rows. And so do rows that end where the
        statistics have not come yet, once there are any; what is in none of them, because beat cannot read it, goes
        like the others.
        """
        counted = await self._rolling_up.find_one(rollups.PROGRESS_FILTER, rollups.PROGRESS_NOW)
        if counted is not None:
            # As a status has it, which counts by rows what the lasting roll-ups do not tell.
            cutoff = min(cutoff, rollups.to_progress(counted).lasting(counted["now"]).settled)
        # First, so that whoever misses a row finds out that it may have been removed.
        await self._retention.update_one(retention.EXECUTIONS_FILTER, retention.note_removal(cutoff), upsert=True)
        await self._backfills.delete_many(backfills.ended_filter(cutoff))
        reused = await self._reused()
        removed = 0
        since: datetime | None = None
        kept: list[str] = []
        while True:
            batch = await self._oldest(cutoff, since, kept)
            if not batch:
                return removed
            followed = await self._followed(batch) | await self._needed(batch, cutoff, reused)
            followed |= await self._counted(batch)
            gone = [row["_id"] for row in batch if row["_id"] not in followed]
            if gone:
                deleted = await self._executions.delete_many({"_id": {"$in": gone}, **executions.ended_filter(cutoff)})
                removed += deleted.deleted_count
            # What stays is stepped over; of it only what ended at the very instant has to be named.
            since = batch[-1]["finished_at"]
            staying = [row["_id"] for row in batch if row["_id"] in followed and row["finished_at"] == since]
            kept = [*(kept if since == batch[0]["finished_at"] else []), *staying]

    async def _oldest(self, cutoff: datetime, since: datetime | None, kept: list[str]) -> list[dict[str, Any]]:
        chosen = executions.ended_filter(cutoff)
        if since is not None:
            chosen["finished_at"]["$gte"] = since
        if kept:
            chosen["_id"] = {"$nin": kept}
        return await self._executions.find(chosen, _FIELDS, sort=[("finished_at", 1)], limit=self._batch).to_list()

    async def _followed(self, rows: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the ids of the rows that lie at or behind their job's pointer, in its present epoch or a later one.

        And of those of which that cannot be read: they keep no other from being removed. The jobs are read after the
        rows, so no pointer is behind the one under which a row was written.
        """
        # Of texts only: to ask for None finds the jobs that have no uid.
        uids = {uid for row in rows if isinstance(uid := row.get("job_uid"), str)}
        found = self._jobs.find({"uid": {"$in": list(uids)}}, {"uid": 1, "epoch": 1, "covered": 1})
        jobs_by_uid = {job["uid"]: job async for job in found}
        followed: set[str] = set()
        unreadable: list[_Unreadable] = []
        for row in rows:
            try:
                if not _may_be_followed(row, jobs_by_uid.get(row["job_uid"])):
                    continue
            except (KeyError, TypeError) as error:
                unreadable.append(_Unreadable(row, repr(error)))
            followed.add(row["_id"])
        _report(unreadable)
        return followed

    async def _reused(self) -> frozenset[str]:
        """Return the ids of what retries that have not ended go on with, and of what that went on with in turn."""
        found: set[str] = set()
        retries = self._executions.find(executions.reusing_filter(), _REUSED)
        while more := {named async for row in retries if isinstance(named := row.get("reuse"), str)} - found:
            found |= more
            retries = self._executions.find({"_id": {"$in": list(more)}}, _REUSED)
        return frozenset(found)

    async def _counted(self, rows: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the ids of the rows that are in the header of a chord whose body has not been called."""
        groups = {row["_id"]: group for row in rows if isinstance(group := row.get("group"), str)}
        if not groups:
            return set()
        found = self._groups.find(canvas.waiting_filter(set(groups.values())), {"_id": 1})
        waited_for = {group["_id"] async for group in found}
        return {row_id for row_id, group in groups.items() if group in waited_for}

    async def _needed(self, rows: Sequence[Mapping[str, Any]], cutoff: datetime, reused: frozenset[str]) -> set[str]:
        """Return the ids of what is reused, and of what is part of that, or of what has not ended before the cutoff.

        And of their parts, and of those of which it cannot be read what they are parts of. Each whole is looked for
        once, so that damaged ones which name each other as their whole end it too; those go like others, when all of
        them have ended.
        """
        parents: dict[str, str] = {}
        unreadable: dict[str, _Unreadable] = {}
        needed = set(reused)
        sought: set[str] = set()
        looked_at = rows
        while looked_at:
            for row in looked_at:
                parent = row.get("parent", "")
                if not isinstance(parent, str) or parent == row["_id"]:
                    unreadable[row["_id"]] = _Unreadable(row, f"{parent!r} is not what it is a part of")
                elif parent:
                    parents[row["_id"]] = parent
            above = set(parents.values()) - sought
            sought |= above
            looked_at = await self._executions.find({"_id": {"$in": list(above)}}, _FIELDS).to_list() if above else []
            needed |= {whole["_id"] for whole in looked_at if not _ended_before(whole, cutoff)}
        _report(unreadable.values())
        needed |= unreadable.keys()
        while more := {part for part, parent in parents.items() if parent in needed} - needed:
            needed |= more
        return needed


class _Unreadable(NamedTuple):
    """A record of which it can't be told whether it is needed, and why not."""

    row: Mapping[str, Any]
    why: str


def _report(unreadable: Iterable[_Unreadable]) -> None:
    """Log what stays: a line for each job, as what can't be read may be the job, which may have very many records."""
    by_job: defaultdict[str, list[_Unreadable]] = defaultdict(list)
    for each in unreadable:
        by_job[str(each.row.get("job_uid"))].append(each)
    for found in by_job.values():
        log.warning(
            "records stay",
            action="record_unreadable",
            job_uid=found[0].row.get("job_uid"),
            execution_id=found[0].row["_id"],
            count=len(found),
            error=found[0].why,
        )


def _ended_before(row: Mapping[str, Any], cutoff: datetime) -> bool:
    ended = row.get("finished_at")
    return isinstance(ended, datetime) and ended < cutoff


def _may_be_followed(row: Mapping[str, Any], job: Mapping[str, Any] | None) -> bool:
    """Return whether beat may still read the row, given its job; raises KeyError or TypeError if it can't be told."""
    if row["trigger"] != Trigger.SCHEDULE.value or job is None:
        return False
    if row["epoch"] != job["epoch"]:
        return bool(row["epoch"] > job["epoch"])
    return bool(row["state"] == State.CLOSED.value or row["nominal_time"] > job["covered"])
