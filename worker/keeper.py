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
    from worker.ledger import Ledger
    from worker.target import Cancellation

log = get_logger()


@dataclass(slots=True)
class _Held:
    claimed: Claimed
    cancellation: Cancellation
    until: float


class Keeper(Thread):
    """One thread a process, whatever the pool."""

    def __init__(self, ledger: Ledger, lease: timedelta) -> None:
        super().__init__(name="keeper", daemon=True)
        self._ledger = ledger
        self._lease = lease.total_seconds()
        self._held: dict[str, _Held] = {}
        self._lock = Lock()
        self._stopping = Event()

    @contextmanager
    def holding(self, claimed: Claimed, claimed_at: float, cancellation: Cancellation) -> Iterator[None]:
        """Keep the lease while the block runs. claimed_at: this process's monotonic time before the claim."""
        with self._lock:
            self._held[claimed.nonce] = _Held(claimed, cancellation, claimed_at + self._lease)
        metrics.WORKER_RUNNING.inc()
        try:
            yield
        finally:
            metrics.WORKER_RUNNING.dec()
            with self._lock:
                self._held.pop(claimed.nonce, None)

    def run(self) -> None:
        """Renew three times a lease, until stopped."""
        while not self._stopping.wait(self._lease / 3):
            try:
                self.run_once()
            except Exception:  # a keeper that ended unnoticed would lose every lease
                log.exception("keeper failed", action="keeper_failed")

    def run_once(self) -> None:
        """Renew all leases; cancel the calls of attempts that are ours no longer, or not for certain."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        asked_at = monotonic()
        try:
            ours = self._ledger.renew({h.claimed.execution_id: h.claimed.nonce for h in held})
        except PyMongoError as error:
            log.warning("leases could not be renewed", action="renew_failed", count=len(held), error=str(error))
            ours = None
        for each in held:
            if ours is not None and each.claimed.execution_id in ours:
                each.until = asked_at + self._lease
            elif ours is not None or monotonic() >= each.until:
                self._give_up(each, "it was given to another worker" if ours is not None else "it could not be renewed")

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def _give_up(self, held: _Held, why: str) -> None:
        with self._lock:
            if self._held.pop(held.claimed.nonce, None) is None:
                return  # the attempt has ended meanwhile
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
