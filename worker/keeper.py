"""The keeper: renew the leases of what this process runs, and end the calls that are to end early.

Those are the calls whose lease is lost, those of executions that somebody has cancelled, and those that still run when
the worker stops and their grace is over.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final

from pymongo.errors import PyMongoError

from shared import metrics
from shared.log import get_logger
from worker.ids import ids_of
from worker.ledger import StoppingError
from worker.progress import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta

    from shared.store.executions import Claimed
    from shared.tasks.execution import Progress
    from worker.ledger import Lease, Ledger
    from worker.stopping import Stopping
    from worker.target import Cancellation

log = get_logger()

LOOK: Final = 1.0
"""Seconds between two looks for what was cancelled, while anything runs; a target sees a cancel not much later."""

OVERSTAY: Final = 5.0
"""Seconds that calls get to end when they are handed back. A function in a thread may take no notice, for hours."""


@dataclass(slots=True, eq=False)
class Held:
    """An attempt whose lease is kept."""

    claimed: Claimed
    cancellation: Cancellation
    until: float
    """When the lease ends, by this process's monotonic clock, unless it is renewed."""
    said: Said = field(default_factory=Said)
    """What the attempt said of its progress."""
    call_ended: bool = False
    """Set by whoever runs the attempt before the outcome is written, which ends the lease as well."""


class Keeper(Thread):
    """One thread a process, whatever the pool."""

    def __init__(
        self, ledger: Ledger, lease: timedelta, stopping: Stopping, tell: Callable[[str, Progress], None] | None = None
    ) -> None:
        """Take who else is told of progress, about once a second."""
        super().__init__(name="keeper", daemon=True)
        self._ledger = ledger
        self._lease = lease.total_seconds()
        self._worker_stops = stopping
        self._tell = tell
        self._held: dict[str, Held] = {}
        self._lock = Lock()
        self._store_away = False
        self._next_renewal = self._next_look = 0.0
        self._something_held = Event()
        self._stopping = Event()

    @contextmanager
    def holding(self, lease: Lease, cancellation: Cancellation) -> Iterator[Held]:
        """Keep the lease while the block runs."""
        execution_id = lease.claimed.execution_id
        held = Held(lease.claimed, cancellation, lease.asked_at + self._lease)
        with self._lock:
            older = self._held.get(execution_id)
            renewal = lease.asked_at + self._lease / 3
            if self._held:
                self._next_renewal = min(self._next_renewal, renewal)
            else:
                self._next_renewal, self._next_look = renewal, monotonic() + LOOK
            self._held[execution_id] = held
            self._something_held.set()
        if older is not None:
            self._lose(older, "it was given to this worker again")
        metrics.WORKER_RUNNING.inc()
        try:
            yield held
        finally:
            metrics.WORKER_RUNNING.dec()
            self._drop(held)

    def run(self) -> None:
        """Renew three times a lease, be there when one ends, and look for cancels; asleep while nothing runs.

        Sees within a second that the worker is to stop.
        """
        while not self._stopping.is_set():
            self._something_held.wait()
            if self._stopping.wait(max(0.0, self._next_duty() - monotonic())):
                break
            try:
                if self._worker_stops.grace_over():
                    self.hand_back()
                    self._leave()
                if monotonic() >= self._renewal_due():
                    self.run_once()
                elif monotonic() >= self._next_look:
                    self.look_once()
            except Exception:  # a keeper that ended unnoticed would lose every lease
                log.exception("keeper failed", action="keeper_failed")
                self._stopping.wait(self._lease / 3)

    def run_once(self) -> None:
        """Renew all leases; cancel the calls of attempts that are ours no longer, or not for certain."""
        asked_at = monotonic()
        held = self._all()
        self._next_renewal, self._next_look = asked_at + self._lease / 3, asked_at + LOOK
        if not held:
            return
        ours = self._renew(held, min(each.until for each in held) - asked_at)
        for each in held:
            if ours is not None and each.claimed.execution_id in ours:
                each.until = asked_at + self._lease
            elif (ours is not None or monotonic() >= each.until) and self._drop(each):
                self._lose(each, "it was given to another worker" if ours is not None else "it could not be renewed")
        if ours is not None:
            self._cancel(held, ours)
            self._note_progress(held)

    def look_once(self) -> None:
        """Cancel the calls of executions that somebody has cancelled."""
        held = self._all()
        self._next_look = monotonic() + LOOK
        if not held:
            return
        try:
            # Briefly, so that an answer that never comes does not keep the leases from being renewed.
            found = self._ledger.look(_nonces(held), min(LOOK, self._lease / 3))
        except PyMongoError as error:
            log.warning("cancels could not be looked for", action="look_failed", count=len(held), error=str(error))
            self._next_look = self._next_renewal  # which tells whether the store is back
        else:
            self._cancel(held, found)
        self._note_progress(held)

    def _note_progress(self, held: list[Held]) -> None:
        """Write what attempts said of their progress; where that fails, the next word, or the outcome, makes up."""
        said = [(each.claimed, progress) for each in held if (progress := each.said.take()) is not None]
        if not said:
            return
        for claimed, progress in said:
            if self._tell is not None:
                self._tell(claimed.execution_id, progress)
        try:
            self._ledger.note_progress(said, min(LOOK, self._lease / 3))
        except PyMongoError as error:
            log.warning("progress could not be noted", action="progress_failed", count=len(said), error=str(error))

    def hand_back(self) -> None:
        """End the calls that still run, so that other workers make them."""
        for each in self._all():
            if not each.call_ended and each.cancellation.cancel("handed back: the worker stops", hand_back=True):
                log.warning("attempt is handed back", action="attempt_handed_back", **ids_of(each.claimed))

    def _leave(self) -> None:
        """End the process when calls take no notice of being handed back: nothing else ends a thread.

        What has ended is recorded first. Where the store is away, the leases tell that the attempts are over.
        """
        ends_at = self._worker_stops.ends_at
        held = self._all()
        if ends_at is None or monotonic() < ends_at + OVERSTAY or not held or any(each.call_ended for each in held):
            return
        for each in held:
            with suppress(StoppingError):
                self._ledger.hand_back(each.claimed, "handed back: the worker stops, and the task did not")
        log.warning("tasks take no notice of being stopped", action="worker_left", count=len(held))
        logging.shutdown()
        os._exit(0)

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._something_held.set()

    def _all(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def _next_duty(self) -> float:
        grace_ends = self._worker_stops.ends_at
        # Once it is over, what began even later is found with the next look.
        until_handed_back = [grace_ends] if grace_ends is not None and not self._worker_stops.grace_over() else []
        return min([self._renewal_due(), self._next_look, *until_handed_back])

    def _renewal_due(self) -> float:
        with self._lock:
            return min([self._next_renewal, *(each.until for each in self._held.values())])

    def _cancel(self, held: list[Held], found: Mapping[str, str | None]) -> None:
        for each in held:
            why = found.get(each.claimed.execution_id)
            if why is not None and each.cancellation.cancel(why) and not each.call_ended:
                log.info("call cancelled", action="call_cancelled", **ids_of(each.claimed), reason=why)

    def _renew(self, held: list[Held], left: float) -> Mapping[str, str | None] | None:
        """Return those that are ours, as Ledger.renew; None if that cannot be learned before the first lease ends.

        left: seconds until then. None are left when the host was asleep; then there is a last try, because it costs
        less than to do the work anew.
        """
        if left <= 0:
            if self._store_away:
                return None
            left = self._lease / 10
        try:
            ours = self._ledger.renew(_nonces(held), left)
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
            if not self._held and not self._stopping.is_set():
                self._something_held.clear()
            return True

    def _lose(self, held: Held, why: str) -> None:
        if held.call_ended:
            return  # nothing to cancel; and whether the outcome was still in time, its write tells
        metrics.WORKER_LEASES_LOST.inc()
        log.warning("lease lost", action="lease_lost", **ids_of(held.claimed), reason=why)
        held.cancellation.cancel(f"the lease was lost: {why}", retryable=True)


def _nonces(held: list[Held]) -> dict[str, str]:
    return {each.claimed.execution_id: each.claimed.nonce for each in held}
