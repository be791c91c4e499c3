"""Backfill: start the executions of backfills, as many at a time as each may have, and end what is over."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from beat.aside import Aside
from beat.insert import insert_missing
from beat.zone_rules import ZoneRules
from shared import metrics
from shared.domain.backfill import BackfillState, Existing, next_window, times_after
from shared.domain.execution import State
from shared.domain.job import JobState
from shared.domain.text import because
from shared.log import get_logger
from shared.store import backfills as store
from shared.store import executions, jobs
from shared.store.mongo import in_order, is_damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from beat.partitions import Partitions
    from beat.relay import HandOver
    from shared.domain.backfill import Window
    from shared.store.backfills import StoredBackfill

log = get_logger()

BATCH: Final = 100
"""Backfills looked at in one go."""
LOOK: Final = 500
"""Nominal times looked at in one go, most of which may be left as they are."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_OF_A_JOB: Final = {**jobs.PLANNING_FIELDS, "now": "$$NOW"}
_STILL_DECIDED: Final = frozenset({JobState.ACTIVE.value, JobState.ERROR.value})
"""States of a job whose occurrences behind what is covered are decided some day: of a parked one, when it is resumed.
Of any other job they are while edits wait, as everything before a pause is."""


class Backfills:
    """One duty of beat. Any number may run at once, on the same backfills too.

    Each step is a compare-and-set on the backfill's revision, or an insert of what such a one has decided.
    """

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        hand_over: HandOver,
        by: str,
    ) -> None:
        self._client = database.client
        self._backfills = database[store.COLLECTION]
        self._executions = database[executions.COLLECTION]
        self._jobs = database[jobs.COLLECTION]
        self._zone_rules = ZoneRules(database)
        self._partitions = partitions
        self._hand_over = hand_over
        self._by = by
        self._after = ""
        self._aside = Aside()

    def run_once(self) -> bool:
        """Take a step with each of a batch of backfills; return whether one had any to take. Raises PyMongoError.

        The batches take turns, so that many that wait do not keep others from being looked at.
        """
        with in_order(self._client):
            return self._take_steps()

    def _take_steps(self) -> bool:
        found = list(
            self._backfills.find(store.due_filter(self._partitions.held, self._after)).sort("_id", 1).limit(BATCH)
        )
        self._after = found[-1]["_id"] if len(found) == BATCH else ""
        aside = self._aside.ids()
        found = [document for document in found if document["_id"] not in aside]
        if not found:
            return False
        self._zone_rules.load(found)
        read = [backfill for document in found for backfill in self._read(document)]
        # The jobs and what is in flight after the backfills: what an open window decided is then seen unless it ended.
        uids = [backfill.job_uid for backfill in read]
        found_jobs = {job["uid"]: job for job in self._jobs.find({"uid": {"$in": uids}}, _OF_A_JOB)}
        pipeline = store.open_pipeline([backfill.backfill_id for backfill in read])
        in_flight = {group["_id"]: group["count"] for group in self._executions.aggregate(pipeline)}
        busy = False
        for backfill in read:
            with self._setting_aside(backfill.backfill_id):
                job = found_jobs.get(backfill.job_uid)
                busy |= self._step(backfill, job, in_flight.get(backfill.backfill_id, 0))
        return busy

    def _read(self, document: Mapping[str, Any]) -> Iterator[StoredBackfill]:
        with self._setting_aside(document["_id"]):
            yield store.to_backfill(document)

    def _step(self, backfill: StoredBackfill, job: Mapping[str, Any] | None, in_flight: int) -> bool:
        """Take the next step with a backfill; return whether there was one."""
        if backfill.window is not None and job is not None:
            # Whatever has happened since: once all that was decided is in the store, no old copy can start any of it.
            return self._carry_out(backfill, backfill.window, job)
        if job is None or job["state"] == JobState.DELETED.value:
            return self._end_with_its_job(backfill, in_flight)
        match backfill.state:
            case BackfillState.RUNNING:
                return self._go_on(backfill, job, in_flight)
            case BackfillState.PAUSED:
                return self._changed(backfill, store.rest())
            case _:
                return self._wind_up(backfill, in_flight)

    def _go_on(self, backfill: StoredBackfill, job: Mapping[str, Any], in_flight: int) -> bool:
        """Decide the next window, if there is room; end the backfill if it has none, and all has ended."""
        room = backfill.most_open - in_flight
        if room <= 0:
            return False
        begins = backfill.begins - _MILLISECOND if backfill.reached is None else backfill.reached
        times = times_after(backfill.schedule, begins, backfill.ends, LOOK)
        if not times:
            return not in_flight and self._settle(backfill, BackfillState.COMPLETED)
        if job["changes"] or job["state"] in _STILL_DECIDED:
            # What the job's own beat has not decided yet would run twice, or be decided by what a backfill has run.
            times = [time for time in times if time <= job["covered"]]
        window = next_window(times, self._ran(backfill, times), backfill.existing, room)
        return window is not None and self._changed(backfill, store.open_window(window))

    def _ran(self, backfill: StoredBackfill, times: Sequence[datetime]) -> dict[datetime, frozenset[State]]:
        """Return what there has been for these times, by the states that it is in."""
        if backfill.existing is Existing.RERUN or not times:
            return {}
        states: defaultdict[datetime, set[State]] = defaultdict(set)
        for chosen in store.ran_filters(backfill, times):
            for row in self._executions.find(chosen, store.RAN_FIELDS):
                states[executions.own_time(row)].add(State(row["state"]))
        return {time: frozenset(found) for time, found in states.items()}

    def _carry_out(self, backfill: StoredBackfill, window: Window, job: Mapping[str, Any]) -> bool:
        """Insert what a window has decided, close it, and send what this beat has inserted."""
        documents = [store.execution_document(backfill, job, time, job["now"], self._by) for time in window.times]
        there = insert_missing(self._executions, documents) if documents else set()
        changed = self._changed(backfill, store.close_window(window))
        started = [document for document in documents if document["_id"] not in there]
        if backfill.state is not BackfillState.CANCELLED and job["state"] != JobState.DELETED.value:
            self._hand_over(started)
        for document in started:
            metrics.BEAT_FIRES.labels(document["queue"]).inc()
        if started:
            log.info(
                "backfill goes on",
                action="backfill_started",
                backfill_id=backfill.backfill_id,
                job_id=backfill.job_id,
                count=len(started),
                left=window.left or None,
                reached=window.through.isoformat(),
            )
        return changed

    def _end_with_its_job(self, backfill: StoredBackfill, in_flight: int) -> bool:
        if backfill.state is BackfillState.CANCELLED:
            return self._wind_up(backfill, in_flight)
        cancel = store.cancel(backfill.backfill_id, "the job was deleted", running=False)
        return bool(self._backfills.update_one(cancel.filter, cancel.update).modified_count)

    def _wind_up(self, backfill: StoredBackfill, in_flight: int) -> bool:
        """Cancel what a backfill that has ended still has in flight, until nothing is."""
        if not in_flight:
            return self._settle(backfill, backfill.state)
        reason = because("the backfill was cancelled", backfill.status_message)
        move = store.stop_open(backfill.backfill_id, self._by, reason, running=backfill.cancel_running)
        self._executions.update_many(move.filter, move.update)
        return False

    def _settle(self, backfill: StoredBackfill, state: BackfillState) -> bool:
        pipeline = store.counts_pipeline([backfill.backfill_id])
        states = {group["_id"]["state"]: group["count"] for group in self._executions.aggregate(pipeline)}
        settled = self._changed(backfill, store.settle(state, states))
        if settled:
            log.info(
                "backfill has ended",
                action="backfill_ended",
                backfill_id=backfill.backfill_id,
                job_id=backfill.job_id,
                state=state.value,
                states=states,
            )
        return settled

    def _changed(self, backfill: StoredBackfill, update: Any) -> bool:
        """Change a backfill as it was read; return whether nobody was faster."""
        return bool(self._backfills.update_one(store.as_read(backfill), update).modified_count)

    @contextmanager
    def _setting_aside(self, backfill_id: str) -> Iterator[None]:
        """Leave alone for a while what can't be read, planned or written, so that others go on.

        An outage is the caller's.
        """
        try:
            yield
        except Exception as error:  # whatever is wrong with one must not stop the rest
            if not is_damage(error):
                raise
            self._aside.put(backfill_id)
            log.warning(
                "a backfill is left as it is", action="backfill_failed", backfill_id=backfill_id, error=repr(error)
            )
