"""Consequences: what a job's policies ask for after its executions have ended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from beat.zone_rules import ZoneRules
from shared.domain.execution import State
from shared.domain.job import JobState
from shared.domain.schedule import from_document
from shared.log import get_logger
from shared.store import backfills, executions, jobs
from shared.store.mongo import in_order, is_damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from pymongo.database import Database

    from beat.partitions import Partitions

log = get_logger()

BATCH: Final = 500


@contextmanager
def _logging_damage(uid: object) -> Iterator[None]:
    """Log that a job's document can't be read, so that the others are looked at; an outage is the caller's."""
    try:
        yield
    except Exception as error:  # whatever is wrong with one must not stop the rest
        if not is_damage(error):
            raise
        log.warning("a job is left as it is", action="consequences_failed", job_uid=uid, error=repr(error))


class Consequences:
    """One duty of beat: to pause jobs that fail again and again, and to delete those that are done."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        by: str,
        undelete_for: timedelta = jobs.UNDELETE_FOR,
    ) -> None:
        """Take what all duties have, and for how long what is deleted can be undeleted."""
        self._client = database.client
        self._jobs = database[jobs.COLLECTION]
        self._executions = database[executions.COLLECTION]
        self._backfills = database[backfills.COLLECTION]
        self._zone_rules = ZoneRules(database)
        self._partitions = partitions
        self._by = by
        self._undelete_for = undelete_for

    def run_once(self) -> None:
        """Look at the failures that nobody has looked at, and at the jobs that are done.

        Safe to run in any number of processes at once: each change is a compare-and-set on the job's revision, and a
        failure counts as looked at only after what follows from it was written.
        """
        self._pause_failing()
        self.delete_done()

    def _pause_failing(self) -> None:
        # What ended last is read after the marks: read older than those, it would lack what they are of.
        with in_order(self._client):
            self._pause_those_that_fail()

    def _pause_those_that_fail(self) -> None:
        failures = list(
            self._executions.find(executions.may_pause_filter(self._partitions.held), {"job_uid": 1}).limit(BATCH)
        )
        unsettled = []
        for uid in {uid for row in failures if isinstance(uid := row.get("job_uid"), str)}:
            with _logging_damage(uid):
                if not self._pause_if_failing(uid):
                    unsettled.append(uid)
        # What names no job pauses none.
        if seen := [row["_id"] for row in failures if row.get("job_uid") not in unsettled]:
            self._executions.update_many({"_id": {"$in": seen}}, executions.MAY_PAUSE_SEEN)

    def _pause_if_failing(self, uid: str) -> bool:
        """Pause a job whose last executions have all failed, as many as its policy names.

        Returns False when the job was changed meanwhile, so that it has to be looked at again.
        """
        # Read before the executions: a resume in between then makes the compare-and-set fail.
        job = self._jobs.find_one({"uid": uid, "state": JobState.ACTIVE.value})
        most = jobs.to_policies(job).pause_on_failure if job else 0
        if job is None or not most:
            return True
        counted = executions.last_ended_filter(uid, job.get("failures_since", job["created_at"]))
        ended = list(self._executions.find(counted, {"state": 1, "error": 1}).sort(executions.NEWEST_FIRST).limit(most))
        if len(ended) < most or any(row["state"] != State.FAILED for row in ended):
            return True
        error = ended[0]["error"]
        reason = f"{most} executions in a row failed, the last one, {ended[0]['_id']}, with {error['code']}"
        if not self._edit(job, JobState.PAUSED, f"pause_on_failure: {reason}"):
            return False
        log.warning("job paused", action="job_paused_on_failure", job_id=job["_id"], reason=reason)
        return True

    def delete_done(self) -> None:
        """Delete the jobs that are done, ask for that, and have nothing open. Raises PyMongoError."""
        done = jobs.done_filter(self._partitions.held)
        with in_order(self._client):
            # Not the same ones each time: some may wait for long, and they may be many.
            chosen = [job["_id"] for job in self._jobs.aggregate(jobs.sample_of(done, BATCH))]
            for job in self._jobs.find({**done, "_id": {"$in": chosen}}):
                with _logging_damage(job.get("uid")):
                    self._delete_if_over(job)

    def _delete_if_over(self, job: Mapping[str, Any]) -> None:
        if self._executions.find_one({"job_uid": job["uid"], "open": True}, {"_id": 1}):
            return
        if self._backfills.find_one(backfills.unended_filter(job["uid"]), {"_id": 1}):
            return
        if self._edit(job, JobState.DELETED, "delete_after_done: the last execution has ended"):
            log.info("job deleted", action="job_deleted_after_done", job_id=job["_id"])

    def _edit(self, job: Mapping[str, Any], state: JobState, reason: str) -> bool:
        """Change a job's state as a client would, unless it has changed; return whether it had not."""
        self._zone_rules.load([job])
        queued = jobs.Queued(from_document(job["schedule"]), self._by, reason)
        update = jobs.edit({}, state, queued, edited=False, status_message=reason, undelete_for=self._undelete_for)
        unchanged = {**jobs.edit_filter(job["_id"], job["revision"]), "state": job["state"]}
        return bool(self._jobs.update_one(unchanged, update).modified_count)
