"""Share the jobs among the beats: each partition is leased to one, and taken over when its holder falls silent.

The leases save work; they are not what keeps decisions unique. Two beats that both believe to hold a partition meet
in the ledger's ids.
"""

from __future__ import annotations

import math
from random import sample
from time import monotonic
from typing import TYPE_CHECKING, Any

from shared import metrics
from shared.log import get_logger
from shared.store import partitions
from shared.store.jobs import PARTITIONS

if TYPE_CHECKING:
    from datetime import timedelta

    from pymongo.database import Database

log = get_logger()


class Partitions:
    """The partitions of one beat. run_once in one thread; `held` may be read by any."""

    def __init__(self, database: Database[dict[str, Any]], name: str, lease: timedelta) -> None:
        self._partitions = database[partitions.PARTITION_COLLECTION]
        self._beats = database[partitions.BEAT_COLLECTION]
        self._name = name
        self._lease = lease
        self._held: frozenset[int] = frozenset()
        self._is_sure = False
        """Whether nothing is held in the store but what `_held` names: the last run_once did not end in between."""
        self._held_until = 0.0
        self.unbroken_since = -math.inf
        """Monotonic time since which this beat has been in touch with the store: its leases never ended meanwhile."""

    @property
    def held(self) -> frozenset[int]:
        """What this beat may work on now; nothing once the lease has ended by this process's own clock."""
        return self._held if monotonic() < self._held_until else frozenset()

    def prepare(self) -> None:
        """Create the rows of the partitions, if nobody has yet."""
        self._partitions.bulk_write(partitions.prepare(), ordered=False)

    def run_once(self) -> None:
        """Say that this beat is alive, renew what it holds, and move towards a fair share."""
        asked_at = monotonic()
        renewed = partitions.renew(self._lease)
        was_sure, self._is_sure = self._is_sure, False
        self._beats.update_one({"_id": self._name}, renewed, upsert=True)
        ended = [beat["ended"] for beat in self._beats.find({}, {"ended": partitions.ENDED}, hint=partitions.BY_ID)]
        if any(ended):
            self._beats.delete_many(partitions.dead_filter(), hint=partitions.BY_ID)
        # Also what has expired: whoever is the holder still is the last one who took it.
        still = self._partitions.update_many(partitions.held_filter(self._name), renewed).matched_count
        if was_sure and still == len(self._held):
            held = set(self._held)  # others may have taken some, none can have been added
        else:
            held = {row["_id"] for row in self._partitions.find(partitions.held_filter(self._name))}
        share = math.ceil(PARTITIONS / max(1, ended.count(False)))
        if len(held) > share:
            held -= self._release(sample(sorted(held), len(held) - share))
        elif len(held) < share:
            held |= self._take(share - len(held))
        self._believe(frozenset(held), asked_at)
        self._is_sure = True

    def close(self) -> None:
        """Give everything back, so that the others need not wait for the leases to end."""
        self._believe(frozenset(), 0.0)
        self._partitions.update_many(*partitions.release(self._name))
        self._beats.delete_one({"_id": self._name})

    def _take(self, most: int) -> set[int]:
        found = [row["_id"] for row in self._partitions.find(partitions.FREE, {"_id": 1}, hint=partitions.BY_ID)]
        taken = set()
        for number in sample(found, min(most, len(found))):
            if self._partitions.update_one(*partitions.take(number, self._name, self._lease)).modified_count:
                taken.add(number)
        return taken

    def _release(self, numbers: list[int]) -> set[int]:
        self._partitions.update_many(*partitions.release(self._name, numbers))
        return set(numbers)

    def _believe(self, held: frozenset[int], asked_at: float) -> None:
        if held != self._held:
            log.info("partitions changed", action="partitions_changed", held=len(held), before=len(self._held))
        metrics.BEAT_PARTITIONS.set(len(held))
        if monotonic() >= self._held_until:
            self.unbroken_since = monotonic()
        # Counted from before the question: the database's lease began later than that.
        self._held, self._held_until = held, asked_at + self._lease.total_seconds()
