"""Revise: let jobs follow other zone rules or other days than they did, by a queued change as an edit makes one."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final

from beat.zone_rules import ZoneRules
from shared import metrics
from shared.domain.job import JobState
from shared.domain.occurrences import walk
from shared.domain.schedule import from_document, to_document
from shared.log import get_logger
from shared.store import jobs
from shared.store.mongo import database_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from shared.domain.schedule import Schedule

log = get_logger()

BATCH: Final = 500
"""Jobs read in one go."""

BY: Final = "beat"
"""Whose change it is, in a job's history."""

_COMPARED: Final = 1_000
"""Occurrences that are looked through for the first that moves."""

_BEFORE: Final = (timedelta(days=1), timedelta(seconds=1))
"""How far before the first difference of two clocks occurrences are compared: what happens at a change depends on both
sides of it; but of a job that fires every second a day is more than is looked through."""


class Revise:
    """What the duties that look for other rules and other days do with the jobs that they find."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self._jobs = database[jobs.COLLECTION]
        self._zone_rules = ZoneRules(database)

    def now(self) -> datetime:
        """Return the database's time, UTC."""
        return database_time(self._database)

    def batch(
        self,
        found: Mapping[str, Any],
        revised: Callable[[Schedule], Schedule],
        *,
        why: str,
        said: str,
        since: datetime | None,
    ) -> bool:
        """Queue a change of some of the jobs that a filter finds; return whether there may be more.

        The change is one as an edit makes it: what comes through its cutoff, now, is decided by the old schedule, and
        what comes after by the new one. The job's mode and its etag stay.

        why: `zone` or `calendar`; said: the beginning of the sentence for the history; since: the first instant at
        which the two schedules may differ, if it is known.
        """
        now, tried = self.now(), False
        batch = list(self._jobs.find(found, jobs.REVISING_FIELDS).limit(BATCH))
        self._zone_rules.load(batch)
        for job in batch:
            try:
                before = from_document(job["schedule"])
                after = revised(before)
            except Exception as error:  # noqa: BLE001 - it is parked where it is planned, and must not stop the rest
                log.warning("job cannot be revised", action="revise_failed", job_id=job["_id"], error=str(error))
                continue
            if len(job["changes"]) >= jobs.MOST_CHANGES:
                continue
            tried = True
            moved = _first_move(before, after, now, since)
            changed = self._jobs.update_one(
                jobs.edit_filter(job["_id"], job["revision"]) | {"state": job["state"]},
                jobs.edit(
                    {"schedule": to_document(after)},
                    JobState(job["state"]),
                    jobs.Queued(after, BY, f"{said}: {_sentence(moved)}"),
                    edited=False,
                    status_message=job["status_message"],
                ),
            )
            if changed.modified_count:
                metrics.BEAT_REVISED.labels(why).inc()
                _report(job["_id"], why, said, moved)
        # Not for what somebody else was faster with: two beats that disagree must not answer each other at once.
        return tried and len(batch) == BATCH


_Move = tuple["datetime | None", "datetime | None"]


def _first_move(before: Schedule, after: Schedule, now: datetime, since: datetime | None) -> _Move | None:
    """Return the first of the next occurrences that is another, as it was and as it is; None on a side: there is none.

    None when there is no such occurrence among those looked through.
    """
    for begin in {max(now, since - span) if since else now: None for span in _BEFORE}:
        for one, other in zip_longest(_following(before, begin), _following(after, begin)):
            if one != other:
                return one, other
    return None


def _following(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    return islice(walk(schedule, after), _COMPARED)


def _sentence(moved: _Move | None) -> str:
    match moved:
        case None:
            return f"none of the next {_COMPARED:,} fires moves"
        case before, None:
            return f"the fire of {_shown(before)} falls away"
        case None, after:
            return f"there is one more fire, at {_shown(after)}"
        case before, after:
            return f"the fire of {_shown(before)} moves to {_shown(after)}"


def _report(job_id: str, why: str, said: str, moved: _Move | None) -> None:
    before, after = moved or (None, None)
    (log.info if moved is None else log.warning)(
        "job revised",
        action="job_revised",
        job_id=job_id,
        why=why,
        change=said,
        before=_shown(before) if before else None,
        after=_shown(after) if after else None,
    )


def _shown(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
