"""Configured: entries of the app's beat_schedule are jobs, from beat's start until an entry is gone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from beat.zone_rules import ZoneRules
from shared.beat_schedule import read_entry
from shared.celery_schedules import zone_of
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JobDraft, JobState, ScheduleTerms, define
from shared.domain.plan import Mode, Spec
from shared.domain.schedule import from_document
from shared.log import get_logger
from shared.store import jobs
from shared.store.mongo import database_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celery import Celery
    from pymongo.database import Database

    from shared.domain.job import JobDefaults
    from shared.domain.schedule import Schedule
    from shared.tasks.registry import Tasks
    from shared.tasks.task import LedgeredTask

log = get_logger()

BY: Final = "beat_schedule"
"""What manages the jobs, and whose their changes are in the history."""

MOST_TRIES: Final = 10
"""How often a job is read again because somebody else changed it."""

_GONE: Final = "its entry is gone from beat_schedule"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of beat_schedule as the job that it is to be, and what tells whether a job is that."""

    draft: JobDraft
    fingerprint: str


def read_entries(app: Celery, tasks: Tasks, defaults: JobDefaults) -> list[Entry]:
    """Return the entries of an app's beat_schedule. Raises InvalidInput with all that is wrong with all of them."""
    found: list[Violation] = []
    names: dict[str, str] = {}
    drafts = []
    timezone = zone_of(app.conf.timezone, enable_utc=app.conf.enable_utc)
    for name, given in app.conf.beat_schedule.items():
        try:
            draft = _read(name, given, timezone, tasks)
            define(draft, defaults, datetime.now(UTC))
        except InvalidInput as refused:
            found += [_of_entry(name, violation) for violation in refused.violations]
            continue
        if (other := names.setdefault(draft.job_id, name)) != name:
            said = f"its job id would be '{draft.job_id}', as that of '{other}'; give one of them another name"
            found.append(_of_entry(name, Violation("", said)))
        drafts.append(draft)
    if found:
        raise InvalidInput(found)
    return [Entry(draft, _fingerprint(draft)) for draft in drafts]


def _read(name: str, given: Any, timezone: str, tasks: Tasks) -> JobDraft:
    task = given.get("task") if isinstance(given, dict) else None
    own = _options(tasks.get(task)) if isinstance(task, str) and task in tasks.names else {}
    return read_entry(name, given, timezone, tasks.bind, own)


def _options(task: LedgeredTask) -> Mapping[str, Any]:
    """Return the options that Celery would send a task with, by task_routes and by what the task brings itself."""
    own = {key: value for key in ("queue", "priority", "expires") if (value := getattr(task, key, None)) is not None}
    return task.routed | own


def _of_entry(name: str, violation: Violation) -> Violation:
    return replace(violation, field=f"beat_schedule['{name}'].{violation.field}".rstrip("."))


def _fingerprint(draft: JobDraft) -> str:
    """Return what differs between drafts that differ, in every process; the defaults are no part of it."""
    terms = draft.schedule if isinstance(draft.schedule, ScheduleTerms) else ScheduleTerms("")
    said = [
        draft.name,
        draft.target_method,
        dict(draft.parameters),
        [terms.type, dict(terms.config), terms.timezone],
        draft.queue,
        draft.priority,
        draft.expires and draft.expires.total_seconds(),
        draft.timeout and draft.timeout.total_seconds(),
    ]
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


class Configured:
    """Makes the jobs what the entries say. Any number of beats may do so at once: each change is a compare-and-set.

    Of beats with different entries, the one that started last wins.
    """

    def __init__(self, database: Database[dict[str, Any]], entries: Sequence[Entry], defaults: JobDefaults) -> None:
        self._database = database
        self._jobs = database[jobs.COLLECTION]
        self._revisions = database[jobs.REVISIONS]
        self._zone_rules = ZoneRules(database)
        self._entries = {entry.draft.job_id: entry for entry in entries}
        self._defaults = defaults

    def run_once(self) -> None:
        """Create what is missing, edit what differs, delete what has no entry. Raises PyMongoError; again goes on."""
        for job_id, entry in self._entries.items():
            _persist(job_id, partial(self._settle, entry))
        managed = [job["_id"] for job in self._jobs.find(jobs.managed_filter(BY), {"_id": 1})]
        for job_id in managed:
            if job_id not in self._entries:
                _persist(job_id, partial(self._delete, job_id))

    def _settle(self, entry: Entry) -> bool:
        """Make a job what its entry says; return False when somebody else changed it meanwhile."""
        job = self._read(entry.draft.job_id)
        if job is None:
            return self._create(entry)
        managed = job.get("managed", {})
        if managed.get("by") != BY:
            log.error(
                "an entry of beat_schedule has the id of a job that a client has made, which stays as it is",
                action="configured_taken",
                job_id=job["_id"],
                entry=entry.draft.name,
            )
            return True
        if managed["hash"] == entry.fingerprint and job["state"] != JobState.DELETED:
            return True
        return self._edit(job, entry)

    def _read(self, job_id: str) -> Mapping[str, Any] | None:
        job = self._jobs.find_one({"_id": job_id})
        if job is not None:
            if (schema := job.get("schema", 1)) > jobs.SCHEMA:
                said = f"it was stored by a newer release (schema {schema}; this beat knows {jobs.SCHEMA})"
                raise RuntimeError(said)
            self._zone_rules.load([job])
        return job

    def _create(self, entry: Entry) -> bool:
        now = database_time(self._database)
        definition = define(entry.draft, self._defaults, now)
        uid = jobs.new_uid()
        document = jobs.new_document(definition, uid, now, BY) | jobs.managed(BY, entry.fingerprint)
        spec = Spec(definition.schedule, Mode.ACTIVE)
        # Before the job, so that no epoch is ever without its entry in the history.
        revision = jobs.revision_document(uid, document["epoch"], spec, document["covered"], BY, "created")
        self._revisions.insert_one(revision)
        try:
            self._jobs.insert_one(document)
        except DuplicateKeyError:
            self._revisions.delete_one({"_id": revision["_id"]})
            return False
        log.info("a job was made of an entry of beat_schedule", action="configured_created", job_id=definition.job_id)
        return True

    def _edit(self, job: Mapping[str, Any], entry: Entry) -> bool:
        """Give a job its entry's definition; one that was deleted lives again, in the next epoch of its chain."""
        present = from_document(job["schedule"])
        schedule = _kept(present, entry.draft.schedule)
        definition = define(replace(entry.draft, schedule=schedule), self._defaults, database_time(self._database))
        before = JobState(job["state"])
        changed = definition.schedule != present
        revived = before is JobState.DELETED
        resumed = revived or before is JobState.ERROR or (changed and before is JobState.COMPLETED)
        state = JobState.ACTIVE if resumed else before
        change = None
        if changed or resumed:
            why = "its entry is back in beat_schedule" if revived else "its entry in beat_schedule has changed"
            change = jobs.Queued(definition.schedule, BY, why, counts_anew=changed or revived)
        fields = jobs.definition_fields(definition) | jobs.managed(BY, entry.fingerprint)
        if not self._change(job, fields, state, change, "" if resumed else job["status_message"]):
            return False
        log.info(
            "a job was changed as its entry in beat_schedule has",
            action="configured_changed",
            job_id=job["_id"],
            revived=revived,
        )
        return True

    def _delete(self, job_id: str) -> bool:
        job = self._read(job_id)
        if job is None or job["state"] == JobState.DELETED or job.get("managed", {}).get("by") != BY:
            return True
        queued = jobs.Queued(from_document(job["schedule"]), BY, _GONE)
        if not self._change(job, {}, JobState.DELETED, queued, _GONE):
            return False
        log.info("a job was deleted whose entry is gone", action="configured_deleted", job_id=job_id)
        return True

    def _change(
        self,
        job: Mapping[str, Any],
        fields: Mapping[str, Any],
        state: JobState,
        change: jobs.Queued | None,
        status_message: str,
    ) -> bool:
        if change is not None and len(job["changes"]) >= jobs.MOST_CHANGES:
            said = f"{len(job['changes'])} changes of it wait to be put in force already"
            raise RuntimeError(said)
        result = self._jobs.update_one(
            jobs.edit_filter(job["_id"], job["revision"]) | {"state": job["state"]},
            jobs.edit(
                fields, state, change, by=BY, status_message=status_message, what=("its entry in beat_schedule",)
            ),
        )
        return bool(result.modified_count)


def report_left(database: Database[dict[str, Any]]) -> None:
    """Say that there are jobs of a beat_schedule, when this beat has none to hold them against."""
    if count := database[jobs.COLLECTION].count_documents(jobs.managed_filter(BY)):
        log.warning(
            "jobs of a beat_schedule are left as they are: TASK_MODULES is not set",
            action="configured_left",
            count=count,
        )


def _persist(job_id: str, step: Callable[[], bool]) -> None:
    """Take a step until nobody else is faster; what is wrong with one job must not keep the others from theirs."""
    try:
        if not any(step() for _ in range(MOST_TRIES)):
            said = "it is being changed by others again and again"
            raise RuntimeError(said)  # noqa: TRY301 - told as the others
    except PyMongoError:
        raise
    except Exception as error:  # noqa: BLE001 - see the docstring
        said = f"{type(error).__name__}: {error}"
        log.error("a job of beat_schedule is left as it is", action="configured_failed", job_id=job_id, error=said)  # noqa: TRY400


def _kept(present: Schedule, terms: Schedule | ScheduleTerms | None) -> Schedule | ScheduleTerms | None:
    """Return a job's schedule if an entry still says the same: an interval goes on counting from where it was."""
    if isinstance(terms, ScheduleTerms):
        said = terms.type, dict(terms.config), terms.timezone or "UTC"
        if said == (present.type, present.config, present.timezone):
            return present
    return terms
