"""Rescue: give executions whose worker went silent to another one."""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from pymongo import ReturnDocument
from pymongo.errors import PyMongoError
from pymongo.monitoring import TopologyListener
from pymongo.topology_description import TOPOLOGY_TYPE

from shared import metrics
from shared.domain.execution import WORKER_LOST, Failure
from shared.log import get_logger
from shared.store import executions
from shared.store.mongo import database_time
from shared.store.pipeline import SMALL_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from pymongo.database import Database
    from pymongo.monitoring import TopologyClosedEvent, TopologyDescriptionChangedEvent, TopologyOpenedEvent

    from beat.partitions import Partitions

log = get_logger()

BATCH: Final = 500


class StoreReturns(TopologyListener):
    """Notices when MongoDB is reachable again, or has a new primary."""

    def __init__(self) -> None:
        self.last_return = monotonic()

    def opened(self, event: TopologyOpenedEvent) -> None:
        """Do nothing; the first server found counts as a return."""

    def closed(self, event: TopologyClosedEvent) -> None:
        """Do nothing."""

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        """Note the time when a server that takes writes has appeared."""
        before, after = event.previous_description, event.new_description
        if after.has_writable_server() and _writable(before) != _writable(after):
            self.last_return = monotonic()


def _writable(description: Any) -> frozenset[Any]:
    if description.topology_type == TOPOLOGY_TYPE.Unknown:
        return frozenset()
    return frozenset(address for address, server in description.server_descriptions().items() if server.is_writable)


class StoreClock:
    """Notices when the database's clock is set, by this host's monotonic one. Clocks that are slewed pass."""

    def __init__(self, tolerance: timedelta) -> None:
        self._tolerance = tolerance.total_seconds()
        self._offset: tuple[float, float] | None = None
        """Least and most of its seconds since the epoch, less our monotonic ones: the answer takes its time."""
        self.last_set = -math.inf
        """By the monotonic clock."""

    def read(self, database: Database[dict[str, Any]]) -> None:
        """Read it and compare it with the last reading. Raises PyMongoError."""
        before = monotonic()
        now = database_time(database).timestamp()
        after = monotonic()
        least, most = now - after, now - before
        if self._offset is not None:
            ahead, behind = least - self._offset[1], self._offset[0] - most
            if max(ahead, behind) > self._tolerance:
                self.last_set = after
                log.warning("the database's clock was set", action="store_clock_set", seconds=round(ahead, 3))
        self._offset = least, most


class Rescue:
    """One duty of beat."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        returns: StoreReturns,
        lease: timedelta,
        by: str,
    ) -> None:
        self._executions = database[executions.COLLECTION]
        self._partitions = partitions
        self._returns = returns
        self._lease = lease
        self._clock = StoreClock(lease * SMALL_STEP)
        self._by = by

    def run_once(self) -> int:
        """Return attempts whose lease has ended, by the database's clock, to PENDING, or fail those out of attempts.

        Safe to run in any number of processes at once: each move is a compare-and-set on the attempt's nonce, so of
        two rescuers one finds nothing to do. Holds still for one lease after the store was away, or out of this beat's
        reach, or its clock was set, so that live workers first renew, or write what they finished meanwhile. Returns
        how many were moved.
        """
        held = self._partitions.held
        # The listener hears of the store's return up to a second late, and a beat that was itself stopped never.
        in_touch_since = max(self._returns.last_return, self._partitions.unbroken_since)
        found = self._look(held) if held else []
        # After the look, which may itself have been misled.
        self.watch_clock()
        if monotonic() - max(in_touch_since, self._clock.last_set) < self._lease.total_seconds():
            return 0
        moved = 0
        for row in found:
            try:
                moved += self._rescue(row)
            except PyMongoError:
                raise
            except Exception as error:  # one that can't be read must not keep the others from being rescued
                metrics.BEAT_RESCUE_FAILURES.inc()
                log.exception("an attempt cannot be rescued", action="rescue_failed", execution_id=row["_id"])
                self._park(row, error)
        return moved

    def watch_clock(self) -> None:
        """Notice whether the database's clock was set since this was last called. Raises PyMongoError."""
        self._clock.read(self._executions.database)

    def _rescue(self, row: Mapping[str, Any]) -> bool:
        worker = row["lease"]["holder"]
        lost, after = executions.after_loss(row, f"worker {worker} fell silent", row["now"])
        move = executions.rescue(row["_id"], row["lease"]["nonce"], self._by, lost, after)
        # The state is read from the row: the write itself may have cancelled what was to be tried again.
        written = self._executions.find_one_and_update(
            move.filter, move.update, {"state": 1}, return_document=ReturnDocument.AFTER
        )
        if written is None:
            return False
        metrics.BEAT_RESCUED.labels(written["state"]).inc()
        log.warning(
            "attempt taken from a silent worker",
            action="attempt_rescued",
            execution_id=row["_id"],
            job_id=row["job_id"],
            attempt=row["attempt"],
            trace_id=row["trace_id"],
            worker=worker,
            state=written["state"],
        )
        return True

    def _park(self, row: Mapping[str, Any], error: Exception) -> None:
        """End an attempt that can't be read, as a worker does with what it can't read: nobody else ever would."""
        failure = Failure(WORKER_LOST, f"the execution's document can't be read: {error!r}", retryable=False)
        move = executions.park_lost(row["_id"], row["lease"].get("nonce"), self._by, failure)
        self._executions.update_one(move.filter, move.update)

    def _look(self, held: frozenset[int]) -> list[dict[str, Any]]:
        over = executions.expired_filter(held), executions.ahead_filter(held, self._lease)
        return list(self._executions.find({"$or": over}, {"now": "$$NOW", **_FIELDS}).limit(BATCH))


_FIELDS: Final = {**executions.LOSS_FIELDS, **dict.fromkeys(("job_id", "lease", "trace_id"), 1)}
