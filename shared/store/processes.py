"""The collections `processes` and `presence`: who is alive, and when nobody was.

Each process says every few seconds that it lives; what ends well takes its entry away, and the others' are no longer
shown when they have been silent for a while. Instants are the database's. Nothing is decided by these: they are for
people, and leases tell who may work on what.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from shared.domain.evidence import Absence
from shared.store.pipeline import NOW, appended, from_now, literal, milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COLLECTION: Final = "processes"
PRESENCE: Final = "presence"

HEARD_EVERY: Final = timedelta(seconds=10)
"""How often a process says that it lives."""
MISSED_AFTER: Final = 2 * HEARD_EVERY
"""After so long without a word it is told that a process is silent: it may be frozen, or cut off."""
SILENT_AFTER: Final = timedelta(seconds=30)
"""After so long without a word a process is not shown as alive, and the time without it is an absence."""
KEPT: Final = timedelta(hours=1)
"""How long the entry of a process that did not take it away is kept."""
PRESENCE_KEPT: Final = timedelta(days=90)
MOST_ABSENCES: Final = 100
"""Of one role, the latest."""


class Kind(StrEnum):
    """What a process is."""

    SERVER = "SERVER"
    BEAT = "BEAT"
    WORKER = "WORKER"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a process says of itself. name: as it signs its transitions.

    queues, pool and concurrency (executions at a time) are a worker's, partitions (how many it plans) a beat's.
    """

    name: str
    kind: Kind
    version: str = ""
    tzdata_version: str = ""
    queues: tuple[str, ...] = ()
    pool: str = ""
    concurrency: int = 0
    partitions: int = 0

    @property
    def roles(self) -> list[str]:
        """What it makes present: a worker its queues, another process its kind."""
        return [role_of_queue(queue) for queue in self.queues] if self.kind is Kind.WORKER else [self.kind.value]


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is alive: what it says of itself, since when it runs and when it was last heard of.

    silent_for: how long ago that was, as `alive_pipeline` read it, where it should have been heard of twice since.
    """

    about: About
    started_at: datetime
    heard_at: datetime
    silent_for: timedelta | None = None


def role_of_queue(queue: str) -> str:
    """Return the name of the role of a queue's workers."""
    return f"queue {queue}"


BEATS: Final = Kind.BEAT.value
"""The role of beats."""


def say_alive(about: About, run: str) -> list[dict[str, Any]]:
    """Return the update, an upsert of the process's name, that says that it lives.

    run: what tells it from an earlier process of the same name, as those of containers have that are restarted.
    """
    return [
        {
            "$set": {
                "started_at": {"$cond": [{"$eq": ["$run", literal(run)]}, "$started_at", NOW]},
                "run": literal(run),
                "heard_at": NOW,
                "expires_at": from_now(KEPT),
                "kind": literal(about.kind.value),
                "version": literal(about.version),
                "tzdata_version": literal(about.tzdata_version),
                "queues": literal(list(about.queues)),
                "pool": literal(about.pool),
                "concurrency": literal(about.concurrency),
                "partitions": literal(about.partitions),
            }
        }
    ]


def ended_filter(name: str, run: str) -> dict[str, Any]:
    """Find the entry of a process that ends."""
    return {"_id": name, "run": run}


def say_present() -> list[dict[str, Any]]:
    """Return the update, an upsert of a role's name, that says that somebody has it; it notes the absence before.

    A clock that was set back makes no absence.
    """
    absent = {"$gt": [{"$subtract": [NOW, "$heard_at"]}, milliseconds(SILENT_AFTER)]}
    noted = appended("absences", {"since": "$heard_at", "until": NOW}, MOST_ABSENCES)
    return [
        {
            "$set": {
                "absences": {"$cond": [absent, noted, {"$ifNull": ["$absences", []]}]},
                "heard_at": NOW,
                "expires_at": from_now(PRESENCE_KEPT),
            }
        }
    ]


ALIVE: Final = {"$expr": {"$gte": ["$heard_at", from_now(-SILENT_AFTER)]}}
"""Finds the processes that are alive. The collection holds those of an hour."""


def alive_pipeline() -> list[dict[str, Any]]:
    """Read the processes that are alive, each with the database's time as `read_at`."""
    return [{"$match": ALIVE}, {"$set": {"read_at": NOW}}]


def to_process(document: Mapping[str, Any]) -> Process:
    """Read an entry."""
    about = About(
        name=document["_id"],
        kind=Kind(document["kind"]),
        version=document["version"],
        tzdata_version=document["tzdata_version"],
        queues=tuple(document["queues"]),
        pool=document["pool"],
        concurrency=document["concurrency"],
        partitions=document["partitions"],
    )
    heard_at: datetime = document["heard_at"]
    silence = document.get("read_at", heard_at) - heard_at
    return Process(about, document["started_at"], heard_at, silence if silence > MISSED_AFTER else None)


def absences(document: Mapping[str, Any] | None, now: datetime) -> tuple[Absence, ...]:
    """Return when nobody had a role, as its document in `presence` says at `now` (the database's time), in order.

    Its id is the role's name. None: nobody ever had it, since before there was anything to tell. Those of less than
    SILENT_AFTER are not noted, and of the others each began up to HEARD_EVERY later than is said.
    """
    if document is None:
        return ()
    past = tuple(Absence(each["since"], each["until"]) for each in document["absences"])
    lasts = now - document["heard_at"] > SILENT_AFTER
    return (*past, Absence(document["heard_at"], None)) if lasts else past
