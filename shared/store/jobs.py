"""The collection `jobs`: documents to domain values and back, and every filter and update on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from ulid import ULID

from shared.domain.job import JobDefinition, JobState, JobType
from shared.domain.overrides import Override, standing
from shared.domain.plan import Chain, Change, Install, Mode, Spec
from shared.domain.policies import Misfire, Overlap, Policies, WorkerLost
from shared.domain.retry import RetryWindow
from shared.domain.schedule import Schedule, from_document, to_document
from shared.store.flows import flow_document, to_flow
from shared.store.kinds import require_kinds
from shared.store.mongo import FIRST_INSTANT, LAST_INSTANT
from shared.store.pipeline import NOW, appended, as_count, from_now, literal, up_to
from shared.store.retry import WITH_RETRY_DEFAULTS, retry_policy, retry_policy_document
from shared.store.tail import NEW_JOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLLECTION: Final = "jobs"
REVISIONS: Final = "job_revisions"
"""What each epoch of a job followed, since when, by whom and why: `_id` is `<uid>.<epoch>`."""

SCHEMA: Final = 4
"""Of documents that are written. Those of 1 lack `policies`, `fired`, `failures_since`, and the last four of `retry`;
those of 2 have neither fan-outs nor workflows, no `expires`, and nothing that manages them; those of 3 have no
overrides: what those leave out, a beat that does not know of them would fire.

Older ones are read with defaults, and migrated by the next edit. Newer ones are left alone: neither planned nor edited.
"""
PARTITIONS: Final = 64
"""Above 200 the server sorts an `$in` of them in memory instead of merging index ranges (measured)."""

UNDELETE_FOR: Final = timedelta(days=30)
"""How long a deletion can be taken back, unless who deletes says otherwise."""

MOST_KEPT_EDITS: Final = 20
"""The edits that a job's document still knows, the latest ones: each is some 150 bytes, in every list of jobs."""

MOST_CHANGES: Final = 100
"""Edits that may wait for a beat. When there are more, no beat has run for long, and clients are told so."""

PLANNING_FIELDS: Final = dict.fromkeys(
    (
        "uid", "name", "job_type", "target_service", "target_method", "parameters", "queue", "priority", "timeout",
        "retry", "policies", "expires", "flow", "state", "revision", "partition", "epoch", "covered", "next_nominal",
        "fired", "installed", "changes",
    ),
    1,
)  # fmt: skip
"""What beat needs of a job: to plan, and to write rows that hold all their run needs."""


DRIFT: Final = "drift"
"""Since when a job's calls do not fit its targets' contracts, and what does not; nothing when they do."""
UNCHECKED: Final = "unchecked"
"""True while a job has not been held against the contracts that its targets have now."""
MARKS: Final = "marks"
"""How often a job was marked so: what was found of it before the last time is void."""
MARKED_FOR: Final = "marked_for"
"""The marking that did it the last time."""


_TEXTS: Final = (
    "uid", "name", "description", "queue", "target_service", "target_method", "status_message", "created_by",
)  # fmt: skip
_NUMBERS: Final = ("partition", "revision", "edits", "epoch")
_KINDS: Final = {
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(_NUMBERS, int),
    **dict.fromkeys(("created_at", "updated_at"), datetime),
}
_OPTIONAL_KINDS: Final = {"updated_by": str, "edit_log": list, "policies": dict}
"""Of what documents of older releases may lack."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it stands in the store, as its clients see it."""

    definition: JobDefinition
    uid: str
    state: JobState
    status_message: str
    created_at: datetime
    updated_at: datetime
    created_by: str
    updated_by: str
    revision: int
    edits: int
    epoch: int
    fired: int
    """How many runs were made of those that max_runs allows."""
    waiting_changes: int
    managed_by: str = ""
    """What defines the job and alone may change or delete it, as `beat_schedule`; empty for clients."""
    deleted_at: datetime | None = None
    purge_time: datetime | None = None
    """When a deletion can be taken back no longer; None too where it never could."""
    drift: tuple[str, ...] = ()
    """Where its calls no longer fit what its targets take, as sentences."""
    overrides: tuple[Override, ...] = ()
    """Of single occurrences that are still to come, as the edits that wait leave them."""

    @property
    def spec(self) -> Spec:
        """What the job follows once all its edits are in force."""
        return Spec(self.definition.schedule, self.state.mode, self.overrides)

    @property
    def etag(self) -> str:
        """A mark that changes when a client changes the job."""
        return f"{self.uid[-6:]}-{self.edits}"


@dataclass(frozen=True, slots=True)
class Edited:
    """One edit, as a job's document remembers it: its number, which the etag ends with; whose, when, and of what."""

    edit: int
    by: str
    at: datetime
    what: tuple[str, ...]


def new_uid() -> str:
    """Return a name for a job that is never used again."""
    return str(ULID()).lower()


def partition_of(uid: str) -> int:
    """Return the share of the work that a job belongs to."""
    return crc32(uid.encode()) % PARTITIONS


def new_document(definition: JobDefinition, uid: str, now: datetime, by: str, request: str = "") -> dict[str, Any]:
    """Return the document of a job created at `now`, the database's time. request: the token of who asked for it."""
    schedule = definition.schedule
    pointer = schedule.first_after(now)
    # A `once` whose instant passed while the request was on its way lies before now.
    covered = min(now, pointer - timedelta(milliseconds=1)) if pointer else now
    # It begins with what changes when the job fires, and with what indexes hold: MongoDB looks for a field from the
    # beginning of the document, and for each index anew whenever the pointer moves.
    return {
        "_id": definition.job_id,
        "partition": partition_of(uid),
        "wake_at": pointer,
        "next_nominal": pointer,
        "revision": 1,
        "covered": covered,
        "fired": 0,
        "uid": uid,
        "state": JobState.ACTIVE.value,
        "created_at": now,
        **NEW_JOB,
        **definition_fields(definition),
        "status_message": "",
        "updated_at": now,
        "created_by": by,
        "updated_by": by,
        "edits": 1,
        "edit_log": [{"edit": 1, "by": by, "at": now, "what": ["created"], "request": request}],
        "epoch": 0,
        "failures_since": now,
        "installed": _spec_document(Spec(schedule, Mode.ACTIVE)),
        "changes": [],
    }


def definition_fields(definition: JobDefinition) -> dict[str, Any]:
    """Return the part of the document that a client decides; a document of an older schema becomes one of this."""
    return {
        "schema": SCHEMA,
        "name": definition.name,
        "job_type": definition.job_type.value,
        "target_service": definition.target_service,
        "queue": definition.queue,
        "labels": [{"key": key, "value": value} for key, value in definition.labels.items()],
        # What was found out about the call as it was before says nothing of it now.
        DRIFT: None,
        UNCHECKED: True,
        "flow": flow_document(definition.flow) if definition.flow else None,
        "schedule": to_document(definition.schedule),
        "description": definition.description,
        "target_method": definition.target_method,
        # As text: MongoDB restricts the names of fields, and beat copies it into rows without looking inside.
        "parameters": json.dumps(definition.parameters, ensure_ascii=False, allow_nan=False),
        "priority": definition.priority,
        "timeout": definition.timeout.total_seconds(),
        "expires": definition.expires.total_seconds() if definition.expires is not None else None,
        "retry": retry_policy_document(definition.retry),
        "policies": policies_document(definition.policies),
        "annotations": [{"key": key, "value": value} for key, value in definition.annotations.items()],
    }


def is_retried_until_next(job: Mapping[str, Any]) -> bool:
    """Return whether a job's executions are tried again only until its next nominal time."""
    return bool(job["retry"].get("retry_window") == RetryWindow.UNTIL_NEXT)


def policies_document(policies: Policies) -> dict[str, Any]:
    """Return policies as a job's document has them; spans in seconds."""
    return {
        "misfire": policies.misfire.value,
        "misfire_grace": policies.misfire_grace.total_seconds(),
        "misfire_limit": policies.misfire_limit,
        "overlap": policies.overlap.value,
        "buffer_limit": policies.buffer_limit,
        "max_concurrent": policies.max_concurrent,
        "on_worker_lost": policies.on_worker_lost.value,
        "pause_on_failure": policies.pause_on_failure,
        "delete_after_done": policies.delete_after_done,
    }


def to_policies(document: Mapping[str, Any]) -> Policies:
    """Read the policies of a job's document; one from before there were any has the defaults of that time."""
    if (given := document.get("policies")) is None:
        return Policies()
    return _policies(*_POLICIES(given))


_POLICIES: Final = itemgetter(*(each.name for each in fields(Policies)))


@lru_cache(256, typed=True)
def _policies(*given: Any) -> Policies:
    # Nearly all jobs have the same ones, and beat reads them for each fire.
    misfire, grace, misfire_limit, overlap, buffer_limit, max_concurrent, lost, failures, delete = given
    return Policies(
        Misfire(misfire),
        timedelta(seconds=grace),
        misfire_limit,
        Overlap(overlap),
        buffer_limit,
        max_concurrent,
        WorkerLost(lost),
        failures,
        delete,
    )


def to_job(document: Mapping[str, Any], definition: JobDefinition | None = None) -> StoredJob:
    """Read a job as its clients see it: with the edits that still wait for a beat.

    definition: the document's, where it was just made of it; else it is read. Raises TypeError, and what else reading
    raises, when somebody has changed the document by hand.
    """
    if definition is None:
        require_kinds(document, _KINDS, _OPTIONAL_KINDS)
    definition = definition or JobDefinition(
        job_id=document["_id"],
        name=document["name"],
        description=document["description"],
        job_type=JobType(document["job_type"]),
        target_service=document["target_service"],
        target_method=document["target_method"],
        parameters=json.loads(document["parameters"]),
        schedule=from_document(document["schedule"]),
        queue=document["queue"],
        priority=document["priority"],
        timeout=timedelta(seconds=document["timeout"]),
        retry=retry_policy(document["retry"]),
        policies=to_policies(document),
        labels=labels_of(document),
        annotations={each["key"]: each["value"] for each in document.get("annotations", ())},
        flow=to_flow(document["flow"]) if document.get("flow") else None,
        expires=None if (expires := document.get("expires")) is None else timedelta(seconds=expires),
    )
    return StoredJob(
        definition=definition,
        uid=document["uid"],
        state=JobState(document["state"]),
        status_message=document["status_message"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        created_by=document["created_by"],
        # Documents of before this was kept lack it; who changed one of those is not known.
        updated_by=document.get("updated_by", document["created_by"] if document["edits"] == 1 else ""),
        revision=document["revision"],
        edits=document["edits"],
        epoch=document["epoch"],
        fired=0 if any(change.get("counts_anew") for change in document["changes"]) else document.get("fired", 0),
        waiting_changes=len(document["changes"]),
        managed_by=document.get("managed", {}).get("by", ""),
        deleted_at=deleted_at(document),
        # A process of an older release leaves it behind when it revives a managed job.
        purge_time=document.get("purge_time") if deleted_at(document) else None,
        drift=tuple((document.get(DRIFT) or {}).get("problems", ())),
        overrides=overrides_to_come(document),
    )


def labels_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Read a job's labels."""
    return {label["key"]: label["value"] for label in document["labels"]}


def deleted_at(document: Mapping[str, Any]) -> datetime | None:
    """Return when a job was deleted; None for one that is not."""
    if document.get("state") != JobState.DELETED.value:
        return None
    # Of before this was kept: a deleted job is not changed any more, so its last change is the deletion.
    at: datetime = document.get("deleted_at", document["updated_at"])
    return at


def state_before_deletion(document: Mapping[str, Any]) -> tuple[JobState, str]:
    """Return the state of a deleted job, and why it was in it, that it has again when that is taken back."""
    before = document.get("deleted_from")
    if before is None:
        # Of an older release. Better not fired than fired although it was paused.
        return JobState.PAUSED, "it was undeleted, and nobody knows whether it was paused before; resume it"
    if before["state"] == JobState.ERROR.value:
        # It is planned again, which says whether it can be.
        return JobState.ACTIVE, ""
    return JobState(before["state"]), before["status_message"]


def edits_since(document: Mapping[str, Any], etag: str) -> list[Edited]:
    """Return the edits of a job that came after an etag, as far as its document remembers them; none for another's."""
    uid, _, number = etag.partition("-")
    if uid != document["uid"][-6:] or not (number.isascii() and number.isdigit()):
        return []
    return [
        Edited(each["edit"], each["by"], each["at"], tuple(each["what"]))
        for each in document.get("edit_log", ())
        if each["edit"] > int(number[:_DIGITS])
    ]


_DIGITS: Final = 18
"""Of a number that a client sent: as many as make no work."""


def was_edited_by(document: Mapping[str, Any], request: str) -> bool:
    """Return whether a request, by its token, has had its effect on this job."""
    edits = (each["request"] for each in document.get("edit_log", ()))
    return bool(request) and request in (*edits, *document.get("occurrence_requests", ()))


def of_request(job_id: str, request: str) -> dict[str, Any]:
    """Find a job if a request, by its token, has created or edited it."""
    return {"_id": job_id, "edit_log.request": request}


def to_chain(document: Mapping[str, Any]) -> Chain:
    """Read what the planner needs of a job: what is installed, and the edits that wait."""
    pointer = document["next_nominal"]
    if pointer in (FIRST_INSTANT, LAST_INSTANT):
        # No compare-and-set on it would ever find the job, which would be due again at once, for ever.
        raise ValueError(f"next_nominal: {pointer} is not what is stored, which is beyond the times that can be read")
    if not isinstance(pointer, datetime | None):
        raise TypeError(f"next_nominal: {pointer!r} is not a time")
    for name in ("revision", "fired"):
        number = document.get(name, 0)
        # A truth is a number to Python, but not to MongoDB, which neither adds to it nor finds it as 0 or 1.
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise TypeError(f"{name}: {number!r} is not a number")
    return Chain(
        uid=document["uid"],
        epoch=document["epoch"],
        covered=document["covered"],
        pointer=pointer,
        spec=to_spec(document["installed"]),
        changes=tuple(map(_change, document["changes"])),
        fired=document.get("fired", 0),
    )


def _change(document: Mapping[str, Any]) -> Change:
    override = document.get("override")
    return Change(
        to_spec(document),
        document["cutoff"],
        document["by"],
        document["reason"],
        counts_anew=document.get("counts_anew", False),
        cancel_running=document.get("cancel_running", False),
        override=None if override is None else Override(**override),
        restored=document.get("restored"),
    )


def overrides_to_come(document: Mapping[str, Any]) -> tuple[Override, ...]:
    """Return a job's overrides as they are once all edits are in force, without what is over where the job stands."""
    if not document["changes"] and "overrides" not in document["installed"]:
        return ()
    spec, reached = to_spec(document["installed"]), document["covered"]
    for change in map(_change, document["changes"]):
        reached = max(reached, change.cutoff)
        spec = change.spec_after(spec, reached)
    return standing(spec.overrides, spec.schedule, reached)


def _spec_document(spec: Spec) -> dict[str, Any]:
    document: dict[str, Any] = {"schedule": to_document(spec.schedule), "mode": spec.mode.value}
    return document | ({"overrides": [asdict(each) for each in spec.overrides]} if spec.overrides else {})


def to_spec(document: Mapping[str, Any]) -> Spec:
    """Read what is in force, was by an entry of the revision history, or is to be by an edit. Raises InvalidInput."""
    overrides = tuple(Override(**each) for each in document["overrides"]) if "overrides" in document else ()
    return Spec(from_document(document["schedule"]), Mode(document["mode"]), overrides)


# What the server does:


def edit_filter(job_id: str, revision: int | None) -> dict[str, Any]:
    """Find a job as it was read, if it is not of a newer schema.

    revision is None for a document that has none, which only parking is for.
    """
    return {**up_to(SCHEMA), "_id": job_id, "revision": revision}


def stay(state: JobState) -> dict[str, Any]:
    """Return the update that leaves a job, found in this state, as it is: who makes it knows that it was read so.

    A primary that was just elected may show a job as a majority had it earlier. The update's filter is held against the
    newest; and though it writes nothing, it is acknowledged when a majority has all from before it.
    """
    return {"$set": {"state": state.value}}


_CUTOFF: Final = {"$max": [NOW, "$covered", {"$last": "$changes.cutoff"}]}
"""Of a change that is queued now: the database's time, but never before what is already decided or queued. Whatever the
clocks say, an instant belongs to one epoch."""


def decided_through(document: Mapping[str, Any], now: datetime) -> datetime:
    """Return the cutoff of a change that is queued at `now` (the database's time)."""
    through: datetime = max(now, document["covered"], *(change["cutoff"] for change in document["changes"]))
    return through


def comes_after_cutoff(instant: datetime) -> dict[str, Any]:
    """Find a job if an instant lies behind the cutoff of a change that is queued in the same write."""
    return {"$expr": {"$gt": [literal(instant), _CUTOFF]}}


@dataclass(frozen=True, slots=True)
class Queued:
    """A change that an edit queues for a beat; see shared.domain.plan.Change."""

    schedule: Schedule
    by: str
    reason: str
    counts_anew: bool = False
    cancel_running: bool = False
    override: Override | None = None
    restored: datetime | None = None


def edit(
    set_fields: Mapping[str, Any],
    state: JobState,
    change: Queued | None,
    *,
    by: str = "",
    status_message: str = "",
    edited: bool = True,
    what: Sequence[str] = (),
    request: str = "",
    undelete_for: timedelta | None = None,
) -> list[dict[str, Any]]:
    """Return the update that edits a job; a change is queued for a beat, which is woken.

    by: who edits; left out, it is whose change it is. edited: whether it is a client's doing, which the etag shows.
    what: the names of the fields that it changes. request: the token of the request that it is the effect of.
    undelete_for: of a deletion, how long it can be taken back; None for one that can't be.

    The change's cutoff is as _CUTOFF says.
    """
    fields: dict[str, Any] = {name: literal(value) for name, value in set_fields.items()}
    fields |= {
        "state": literal(state.value),
        "status_message": literal(status_message),
        "revision": {"$add": ["$revision", 1]},
        "edits": {"$add": ["$edits", int(edited)]},
        "updated_at": NOW,
        "changed": NOW,
    }
    who = by or (change.by if change is not None else "")
    if who:
        fields["updated_by"] = literal(who)
    if edited:
        entry = {"by": literal(who), "what": literal(list(what)), "request": literal(request)}
        logged = {"$mergeObjects": [entry, {"edit": {"$add": ["$edits", 1]}, "at": NOW}]}
        fields["edit_log"] = appended("edit_log", logged, MOST_KEPT_EDITS)
    elif request:
        # Apart, so that those that change single occurrences do not push out who has changed the job.
        fields["occurrence_requests"] = appended("occurrence_requests", literal(request), MOST_KEPT_EDITS)
    fields |= _deletion(undelete_for) if state is JobState.DELETED else _NO_DELETION
    if change is not None:
        queued = literal(
            _spec_document(Spec(change.schedule, state.mode))
            | {
                "by": change.by,
                "reason": change.reason,
                "counts_anew": change.counts_anew,
                "cancel_running": change.cancel_running,
                **({} if change.override is None else {"override": asdict(change.override)}),
                **({} if change.restored is None else {"restored": change.restored}),
            }
        )
        fields["changes"] = {"$concatArrays": ["$changes", [{"$mergeObjects": [queued, {"cutoff": _CUTOFF}]}]]}
        if edited:
            # Failures of before do not count towards pausing what somebody has just looked after.
            fields["failures_since"] = NOW
    if state is JobState.DELETED:
        # While a job is deleted, nobody looks whether it fits its targets; when it is restored, somebody does.
        fields |= {DRIFT: None, UNCHECKED: "$$REMOVE"}
    elif UNCHECKED not in fields:
        was_deleted = {"$eq": ["$state", JobState.DELETED.value]}
        fields[UNCHECKED] = {"$cond": [was_deleted, True, f"${UNCHECKED}"]}
    if change is not None or state is JobState.ACTIVE:
        # Also without a change: a job that was parked is planned again.
        fields["wake_at"] = {"$cond": [change is not None, NOW, {"$ifNull": ["$wake_at", "$next_nominal"]}]}
    return [_MIGRATE, {"$set": fields}]


def _deletion(undelete_for: timedelta | None) -> dict[str, Any]:
    return {
        "deleted_at": NOW,
        "purge_time": "$$REMOVE" if undelete_for is None else from_now(undelete_for),
        "deleted_from": {"state": "$state", "status_message": "$status_message"},
    }


_NO_DELETION: Final = dict.fromkeys(("deleted_at", "purge_time", "deleted_from"), "$$REMOVE")


_MIGRATE: Final = {
    "$set": {
        "schema": SCHEMA,
        "policies": {"$ifNull": ["$policies", literal(policies_document(Policies()))]},
        "retry": WITH_RETRY_DEFAULTS,
        "fired": {"$ifNull": ["$fired", 0]},
        "failures_since": {"$ifNull": ["$failures_since", "$created_at"]},
    }
}
"""Makes an older document one of this schema; changes nothing in one that is."""


def revision_id(uid: str, epoch: int) -> str:
    """Return the id of the entry of the revision history that an epoch of a job has."""
    return f"{uid}.{epoch}"


def revision_document(
    uid: str, epoch: int, spec: Spec, began: datetime, by: str, reason: str, fired: int = 0
) -> dict[str, Any]:
    """Return the entry of the revision history that says what an epoch follows, since when, and after how many runs."""
    return {
        "_id": revision_id(uid, epoch),
        "job_uid": uid,
        "epoch": epoch,
        **_spec_document(spec),
        "began": began,
        "fired": fired,
        "by": by,
        "reason": reason,
    }


# What a process does that manages jobs by its configuration:

MANAGED_BY: Final = "managed.by"
IS_MANAGED: Final = {MANAGED_BY: {"$gt": ""}}
"""The index of managed jobs has this condition."""


def managed(by: str, fingerprint: str) -> dict[str, Any]:
    """Return the fields of a job that is managed: by what, and what tells whether it is as that says."""
    return {"managed": {"by": by, "hash": fingerprint}}


def managed_filter(by: str) -> dict[str, Any]:
    """Find the jobs that something manages, without those that it has deleted."""
    return {**up_to(SCHEMA), MANAGED_BY: by, "state": {"$ne": JobState.DELETED.value}}


# What a worker asks:


DELETION_FIELDS: Final = {"state": 1, "changes.mode": 1, "changes.cutoff": 1, "epoch": 1}
"""What is_deleted and is_in_another_epoch read of a job."""
_JOB: Final = "job_as_found"
LOOK_UP_JOB: Final = {
    "$lookup": {
        "from": COLLECTION,
        "localField": "job_id",
        "foreignField": "_id",
        "pipeline": [{"$project": DELETION_FIELDS}],
        "as": _JOB,
    }
}
"""The stage that adds DELETION_FIELDS of their jobs to rows of the ledger, which looked_up returns."""


def looked_up(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what LOOK_UP_JOB has added to a row; None if there is no such job."""
    return next(iter(row[_JOB]), None)


def is_deleted(job: Mapping[str, Any] | None, row: Mapping[str, Any]) -> bool:
    """Return whether a row's job, if it is known, is deleted, or the row is of a life of it that ends.

    A job that was undeleted may still wait for a beat to put its deletion in force, and only then is all cancelled that
    its schedule has decided in its former life, and what was asked for until the deletion. Such a row may have come
    when the deletion had cancelled what it found; or the store was away then.
    """
    if job is None:
        return False
    if job.get("state") == JobState.DELETED:
        return True
    changes, decided_at = job.get("changes"), row.get("decided_at")
    if not isinstance(changes, list):
        return False  # changed by hand
    ends = [each for each in changes if isinstance(each, dict) and each.get("mode") == Mode.DELETED]
    if "epoch" in row:
        return bool(ends)
    cutoffs = [cutoff for each in ends if isinstance(cutoff := each.get("cutoff"), datetime)]
    return isinstance(decided_at, datetime) and any(decided_at <= cutoff for cutoff in cutoffs)


def is_in_another_epoch(job: Mapping[str, Any] | None, row: Mapping[str, Any]) -> bool:
    """Return whether beat has put an edit in force since a job's schedule has made a row; it may be a deletion."""
    return job is not None and "epoch" in row and job.get("epoch") != row["epoch"]


# What beat does:


_WOKEN: Final = {
    **up_to(SCHEMA),
    "wake_at": {"$type": "date"},
    "$expr": {"$lte": ["$wake_at", NOW]},
}


def due_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find the jobs of these partitions whose wake time has come, by the database's clock."""
    return {"partition": {"$in": sorted(partitions)}, **_WOKEN}


def still_due_filter(job_ids: list[str]) -> dict[str, Any]:
    """Find those of some jobs whose wake time has come, by the database's clock."""
    return {"_id": {"$in": job_ids}, **_WOKEN}


def soon_filter(partitions: Iterable[int], span: timedelta, after: datetime | None) -> dict[str, Any]:
    """Find the jobs of these partitions that wake within a span from now, and after an instant."""
    wakes: dict[str, Any] = {"$type": "date"} if after is None else {"$type": "date", "$gt": after}
    soon = {"$and": [{"$gt": ["$wake_at", NOW]}, {"$lte": ["$wake_at", from_now(span)]}]}
    return {**due_filter(partitions), "wake_at": wakes, "$expr": soon}


def overdue_filter(partitions: Iterable[int], span: timedelta) -> dict[str, Any]:
    """Find the jobs of these partitions whose wake time came that long ago, and at which no beat has looked."""
    return {**due_filter(partitions), "$expr": {"$lte": ["$wake_at", from_now(-span)]}}


def newer_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find the jobs of these partitions that only a newer beat can plan."""
    return {
        "schema": {"$gt": SCHEMA},
        "partition": {"$in": sorted(partitions)},
        "wake_at": {"$type": "date"},
    }


def sleeping_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find the jobs of these partitions that have a wake time."""
    return {**up_to(SCHEMA), "partition": {"$in": sorted(partitions)}, "wake_at": {"$type": "date"}}


DONE: Final = {"state": JobState.COMPLETED.value, "policies.delete_after_done": True}
"""Jobs that are to be deleted when their last execution has ended."""


def done_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find such jobs."""
    return {**up_to(SCHEMA), **DONE, "partition": {"$in": sorted(partitions)}}


def done_job(job_id: str) -> dict[str, Any]:
    """Find a job if it is one of them."""
    return {**up_to(SCHEMA), **DONE, "_id": job_id}


KEEP: Final = {"$inc": {"revision": 1}}
"""Keeps a job from being deleted as done by a beat that has read it before."""


def sample_of(chosen: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    """Return a pipeline that chooses the ids of some of the jobs that a filter finds, by chance."""
    return [{"$match": chosen}, {"$project": {"_id": 1}}, {"$sample": {"size": size}}]


def advance_filter(job_ids: list[str], revision: int, pointer: datetime | None) -> dict[str, Any]:
    """Find jobs that still stand where they were read."""
    return {"_id": {"$in": job_ids}, "revision": revision, "next_nominal": pointer}


_COMPLETED: Final = {"state": JobState.COMPLETED.value, "status_message": "The schedule has no further occurrence."}
_CHANGED: Final = {"$currentDate": {"changed": True}}
"""Tells those who watch jobs, from an update that is no pipeline. A pointer that moves on is nothing to be told of."""


def advance(covered: datetime, pointer: datetime | None, fires: int, mode: Mode) -> dict[str, Any]:
    """Return the update that moves a job's pointer to the end of its chain. It does not raise the revision.

    fires: how many of the occurrences on the way run. They are added, so that one update does for jobs that have run
    differently often; the pointer, which the filter asks for, moves with them, so that none is added twice.
    """
    fields: dict[str, Any] = {"covered": covered, "next_nominal": pointer, "wake_at": None}
    move: dict[str, Any] = {"$set": fields, "$inc": {"fired": fires}}
    if mode is Mode.ACTIVE:
        fields["wake_at"] = pointer
        if pointer is None:
            fields |= _COMPLETED
            move |= _CHANGED
    return move


def install(installing: Install, *, more_changes: bool) -> dict[str, Any]:
    """Return the update that puts the first queued change in force."""
    active = installing.spec.mode is Mode.ACTIVE
    fields: dict[str, Any] = {
        "installed": _spec_document(installing.spec),
        "epoch": installing.epoch,
        "covered": installing.reached,
        "next_nominal": installing.pointer,
        "fired": installing.fired,
        # With more changes waiting the job is due at once; any past instant says so.
        "wake_at": installing.reached if more_changes else installing.pointer if active else None,
    }
    if active and installing.pointer is None and not more_changes:
        fields |= _COMPLETED
    return {"$set": fields, "$pop": {"changes": -1}, "$inc": {"revision": 1}, **_CHANGED}


def leave(span: timedelta) -> list[dict[str, Any]]:
    """Return the update after which no beat looks at a job within a span from now, or until it is edited."""
    return [{"$set": {"wake_at": from_now(span)}}]


RULES: Final = "schedule.rules"
TZDATA: Final = "schedule.tzdata"
_FIRING: Final = [JobState.ACTIVE.value, JobState.PAUSED.value]
"""The states of jobs that have times to come. Parked ones are left to their clients."""

DAYS_SOURCE: Final = "schedule.exclusions.source"
HAS_NAMED_DAYS: Final = {DAYS_SOURCE: {"$gt": ""}}
"""Jobs that leave out days of calendars or public holidays; the index of them has this condition."""

REVISING_FIELDS: Final = dict.fromkeys(("schedule", "state", "status_message", "revision", "changes.cutoff"), 1)
"""What beat needs of a job to give it a schedule under other rules."""


def follows_filter(rules: str, tzdata: str) -> dict[str, Any]:
    """Find jobs that follow these zone rules, which they got from this version of tzdata."""
    return {**up_to(SCHEMA), RULES: rules, TZDATA: tzdata, "state": {"$in": _FIRING}}


def days_filter(source: str) -> dict[str, Any]:
    """Find jobs that leave out days of calendars that were found out as this source says."""
    return {**up_to(SCHEMA), DAYS_SOURCE: source, "state": {"$in": _FIRING}}


def unmarked_filter(kind: str = "") -> dict[str, Any]:
    """Find jobs from before schedules named their rules; kind: only those of a type of schedule."""
    unmarked: dict[str, Any] = {**up_to(SCHEMA), RULES: None, TZDATA: None, "state": {"$in": _FIRING}}
    return unmarked | {"schedule.type": kind} if kind else unmarked


def name_rules(rules: str, tzdata: str) -> dict[str, Any]:
    """Return the update that names other rules in a job, under which its times are the same."""
    return {"$set": {RULES: rules, TZDATA: tzdata}, "$inc": {"revision": 1}}


def park(reason: str) -> list[dict[str, Any]]:
    """Return the update that sets a job aside which can't be planned, so that it does not starve the rest.

    One that is deleted stays deleted: it must not come back to its clients.
    """
    deleted = {"$eq": ["$state", JobState.DELETED.value]}
    return [
        {
            "$set": {
                "state": {"$cond": [deleted, JobState.DELETED.value, JobState.ERROR.value]},
                "status_message": literal(reason),
                "wake_at": None,
                "revision": {"$add": [as_count("revision"), 1]},
                "changed": NOW,
            }
        }
    ]
