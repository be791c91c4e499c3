"""The keeper: renew the leases of what this process runs, and stop the calls whose lease is lost."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from shared import metrics
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from shared.store.executions import Claimed
    from worker.ledger import Lease, Ledger
    from worker.target import Cancellation

log = get_logger()


@dataclass(slots=True, eq=False)
class Held:
    """An attempt whose lease is kept."""

    claimed: Claimed
    cancellation: Cancellation
    until: float
    """When the lease ends, by this process's monotonic clock, unless it is renewed."""
    call_ended: bool = False
    """Set by whoever runs the attempt before the outcome is written, which ends the lease as well."""


class Keeper(Thread):
    """One thread a process, whatever the pool."""

    def __init__(self, ledger: Ledger, lease: timedelta) -> None:
        super().__init__(name="keeper", daemon=True)
        self._ledger = ledger
        self._lease = lease.total_seconds()
        self._held: dict[str, Held] = {}
        self._lock = Lock()
        self._store_away = False
        self._stopping = Event()

    @contextmanager
    def holding(self, lease: Lease, cancellation: Cancellation) -> Iterator[Held]:
        """Keep the lease while the block runs."""
        execution_id = lease.claimed.execution_id
        held = Held(lease.claimed, cancellation, lease.asked_at + self._lease)
        with self._lock:
            older = self._held.get(execution_id)
            self._held[execution_id] = held
        if older is not None:
            self._lose(older, "it was given to this worker again")
        metrics.WORKER_RUNNING.inc()
        try:
            yield held
        finally:
            metrics.WORKER_RUNNING.dec()
            self._drop(held)

    def run(self) -> None:
        """Renew three times a lease, and be there when one ends, until stopped."""
        while not self._stopping.wait(self._pause()):
            try:
                self.run_once()
            except Exception:  # a keeper that ended unnoticed would lose every lease
                log.exception("keeper failed", action="keeper_failed")
                self._stopping.wait(self._lease / 3)

    def run_once(self) -> None:
        """Renew all leases; cancel the calls of attempts that are ours no longer, or not for certain."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        asked_at = monotonic()
        ours = self._renew(held, min(each.until for each in held) - asked_at)
        for each in held:
            if ours is not None and each.claimed.execution_id in ours:
                each.until = asked_at + self._lease
            elif (ours is not None or monotonic() >= each.until) and self._drop(each):
                self._lose(each, "it was given to another worker" if ours is not None else "it could not be renewed")

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def _pause(self) -> float:
        with self._lock:
            ends = [each.until for each in self._held.values()]
        return max(0.0, min([self._lease / 3, *(end - monotonic() for end in ends)]))

    def _renew(self, held: list[Held], left: float) -> set[str] | None:
        """Return the ids of those that are ours, or None if that cannot be learned before the first lease ends.

        left: seconds until then. None are left when the host was asleep; then there is a last try, because it costs
        less than to do the work anew.
        """
        if left <= 0:
            if self._store_away:
                return None
            left = self._lease / 10
        try:
            ours = self._ledger.renew({each.claimed.execution_id: each.claimed.nonce for each in held}, left)
        except PyMongoError as error:
            log.warning("leases could not be renewed", action="renew_failed", count=len(held), error=str(error))
            self._store_away = True
            return None
        self._store_away = False
        return ours

    def _drop(self, held: Held) -> bool:
        """Keep the lease no longer; return whether it was kept until now."""
        with self._lock:
            if self._held.get(held.claimed.execution_id) is not held:
                return False
            del self._held[held.claimed.execution_id]
            return True

    def _lose(self, held: Held, why: str) -> None:
        if held.call_ended:
            return  # nothing to cancel; and whether the outcome was still in time, its write tells
        metrics.WORKER_LEASES_LOST.inc()
        log.warning(
            "lease lost",
            action="lease_lost",
            execution_id=held.claimed.execution_id,
            job_id=held.claimed.job_id,
            attempt=held.claimed.attempt,
            trace_id=held.claimed.trace_id,
            reason=why,
        )
        held.cancellation.cancel(f"the lease was lost: {why}", retryable=True)
