"""The load to come: how often jobs fire in each minute of the next days, from all of them.

Jobs of the same schedule are computed once, whatever their number; those of intervals by arithmetic. So what it costs
is to read the jobs, and to compute as many schedules as differ.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.domain.errors import InvalidInput
from shared.domain.job import JobState
from shared.domain.load import MINUTE, fires_by_minute, lattice_by_minute, milliseconds
from shared.domain.rollup import floor
from shared.domain.schedule import IntervalSchedule, Schedule, from_document
from shared.domain.zones import UnknownRules
from shared.store import jobs, zone_rules
from shared.store.mongo import database_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from pymongo.database import Database

SPAN: Final = timedelta(hours=50)
"""A question reaches 48 hours from when it is asked; the answer may be an hour old, and took half an hour."""
MINUTES: Final = SPAN // MINUTE
MOST_KEPT: Final = 50_000
"""Schedules that are kept to find those that are the same: a hundred MB. What differs in more is only slower."""
MOST_EXAMPLES: Final = 10
"""Jobs that are named for a minute."""
_OF_A_GROUP: Final = 3

Where: TypeAlias = tuple[str, str]
"""A queue and a target."""


@dataclass(slots=True)
class Load:
    """Fires by minute from start on, by queue and target. computed_at: of the database's clock, when it was begun."""

    computed_at: datetime
    start: datetime
    jobs: int = 0
    fires: dict[Where, list[int]] = field(default_factory=dict)
    examples: dict[int, list[tuple[str, str, str]]] = field(default_factory=dict)
    """Some jobs that fire in a minute: each one's queue, target and id."""

    def add(self, where: Where, minutes: Iterable[tuple[int, int]], job_ids: list[str], times: int = 1) -> None:
        """Count fires, by the minute's number, so many times over; job_ids: some of the jobs."""
        counts = self.fires.setdefault(where, [0] * MINUTES)
        named = [(*where, job_id) for job_id in job_ids]
        for minute, count in minutes:
            counts[minute] += count * times
            if count and len(examples := self.examples.setdefault(minute, [])) < MOST_EXAMPLES:
                examples += named[: MOST_EXAMPLES - len(examples)]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "computed_at": self.computed_at.isoformat(),
            "start": self.start.isoformat(),
            "jobs": self.jobs,
            "fires": [[*where, counts] for where, counts in self.fires.items()],
            "examples": list(self.examples.items()),
        }


def from_json(said: Mapping[str, Any]) -> Load:
    """Return the load that to_json gave."""
    return Load(
        computed_at=datetime.fromisoformat(said["computed_at"]),
        start=datetime.fromisoformat(said["start"]),
        jobs=said["jobs"],
        fires={(queue, target): counts for queue, target, counts in said["fires"]},
        examples={minute: [(q, t, job_id) for q, t, job_id in examples] for minute, examples in said["examples"]},
    )


@dataclass(slots=True)
class _Group:
    """Jobs of one queue and target that fire at the same times: how many, and some of their ids."""

    count: int = 0
    job_ids: list[str] = field(default_factory=list)

    def add(self, job_id: str) -> None:
        self.count += 1
        if len(self.job_ids) < _OF_A_GROUP:
            self.job_ids.append(job_id)


@dataclass(slots=True)
class _Alike:
    """Jobs of one schedule."""

    schedule: Schedule
    groups: defaultdict[Where, _Group] = field(default_factory=lambda: defaultdict(_Group))

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups.values())


class Reckoning:
    """Adds up the load of jobs, one by one, and what they make together at the end."""

    def __init__(self, computed_at: datetime) -> None:
        self.load = Load(computed_at, floor(computed_at, MINUTE))
        self._end = self.load.start + SPAN
        self._alike: dict[Hashable, _Alike] = {}
        self._lattices: defaultdict[Where, defaultdict[tuple[timedelta, int], _Group]] = defaultdict(
            lambda: defaultdict(_Group)
        )

    def add(self, document: Mapping[str, Any]) -> None:
        """Add a job. Raises InvalidInput, UnknownRules, KeyError, TypeError and ValueError when it can't be read."""
        where = document["queue"], document["target_service"]
        said = document["schedule"]
        self.load.jobs += 1
        # Read only of a job that may have any.
        overrides = jobs.overrides_to_come(document) if "installed" in document else ()
        if overrides or self._is_alone(said):
            schedule = from_document(said)
            most = schedule.max_runs and max(0, schedule.max_runs - document.get("fired", 0))
            fires = fires_by_minute(
                schedule, self.load.start, MINUTES, most=most, key=document["uid"], overrides=overrides
            )
            self.load.add(where, fires.items(), [document["_id"]])
        elif said["type"] == IntervalSchedule.type:
            period = _period(said)
            phase = milliseconds(said["anchor"]) % (period // timedelta(milliseconds=1))
            self._lattices[where][period, phase].add(document["_id"])
        else:
            key = _key(said)
            if (alike := self._alike.get(key)) is None:
                if len(self._alike) == MOST_KEPT:
                    self._add_alike()
                alike = self._alike[key] = _Alike(from_document(said))
            alike.groups[where].add(document["_id"])

    def finish(self) -> Load:
        """Return the sum."""
        self._add_alike()
        for where, lattices in self._lattices.items():
            for (period, phase), group in sorted(lattices.items(), key=lambda item: -item[1].count):
                minutes = lattice_by_minute(period, phase, self.load.start, MINUTES)
                self.load.add(where, minutes, group.job_ids, group.count)
        self._lattices.clear()
        return self.load

    def _is_alone(self, said: Mapping[str, Any]) -> bool:
        """Return whether a job's fires depend on more than its schedule's words: when it begins or ends, or its id."""
        start, end, anchor = said["start_time"], said["end_time"], said.get("anchor")
        return bool(
            said["type"] == "once"
            or said.get("jitter")
            or said.get("max_runs")
            or (start is not None and start > self.load.start)
            or (end is not None and end < self._end)
            # An interval's anchor is no fire itself.
            or (anchor is not None and (anchor >= self.load.start or said.get("exclusions")))
        )

    def _add_alike(self) -> None:
        """Compute what has come together; the most frequent first, so that it is those that are named."""
        for alike in sorted(self._alike.values(), key=lambda alike: -alike.count):
            minutes = list(fires_by_minute(alike.schedule, self.load.start, MINUTES).items())
            for where, group in alike.groups.items():
                self.load.add(where, minutes, group.job_ids, group.count)
        self._alike.clear()


def _key(said: Mapping[str, Any]) -> Hashable:
    """Return what tells schedules apart that have neither begun nor end, jitter, or a number of runs."""
    return (
        tuple(sorted(said["config"].items())),
        tuple(said.get("expressions", ())),
        said["timezone"],
        said.get("hash_key", ""),
        said.get("rules", ""),
        repr(said.get("exclusions")),
    )


def _period(said: Mapping[str, Any]) -> timedelta:
    schedule = from_document(said)
    if not isinstance(schedule, IntervalSchedule):
        raise TypeError(f"{said['type']} has no period")
    return schedule.period


_MAY_HAVE_OVERRIDES: Final = {"$or": ["$installed.overrides", {"$gt": ["$changes", []]}]}
FIELDS: Final = {
    **dict.fromkeys(("schedule", "queue", "target_service", "uid", "state", "fired", "changes", "covered"), 1),
    "installed": {"$cond": [_MAY_HAVE_OVERRIDES, "$installed", "$$REMOVE"]},
}


def read_load(database: Database[dict[str, Any]]) -> Load:
    """Return the load of all active jobs. Takes seconds to minutes with a million. Raises PyMongoError.

    A job that can't be read adds nothing; beat parks it when it comes to it.
    """
    reckoning = Reckoning(database_time(database))
    kept = database[zone_rules.COLLECTION]
    for document in database[jobs.COLLECTION].find(jobs.sleeping_filter(range(jobs.PARTITIONS)), FIELDS):
        if document["state"] != JobState.ACTIVE.value:
            continue
        zone_rules.load(kept, [document])
        try:
            reckoning.add(document)
        except (InvalidInput, UnknownRules, KeyError, TypeError, ValueError):
            continue
    return reckoning.finish()
