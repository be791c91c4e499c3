"""The collection `backfills`: documents to values and back, every filter and update, and the rows that backfills make.

`active` is there as long as beat has something to do with one: also after its end, until what it started has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.domain.backfill import BackfillState, Existing, Window
from shared.domain.execution import OPEN, Trigger, backfill_execution_id
from shared.domain.policies import Overlap
from shared.domain.schedule import from_document, to_document
from shared.store.executions import Move, asked_for, stop
from shared.store.mongo import FIRST_INSTANT
from shared.store.pipeline import NOW, appended, as_count, literal, up_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.domain.schedule import Schedule

COLLECTION: Final = "backfills"
MOST_KEPT_REQUESTS: Final = 20
SCHEMA: Final = 1
"""Of documents that are written. Newer ones are left alone."""


@dataclass(frozen=True, slots=True)
class StoredBackfill:
    """A backfill as it stands in the store. begins and ends: nominal times in [begins, ends).

    decided: how many of the times were looked at, of which `left` were left as they were; reached: the last of them.
    states: its executions, by their state, once it has ended and so have they; empty before. requests: the tokens of
    the last that have put it into another state.
    """

    backfill_id: str
    job_id: str
    job_uid: str
    schedule: Schedule
    begins: datetime
    ends: datetime
    existing: Existing
    overlap: Overlap
    max_parallel: int
    queue: str
    state: BackfillState
    status_message: str
    total: int
    decided: int
    left: int
    reached: datetime | None
    window: Window | None
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    cancel_running: bool
    revision: int
    states: Mapping[str, int]
    requests: Sequence[str] = ()

    @property
    def most_open(self) -> int:
        """How many of its executions may be in flight."""
        return 1 if self.overlap is Overlap.BUFFER_ALL else self.max_parallel


def new_document(asked: StoredBackfill, partition: int) -> dict[str, Any]:
    """Return the document of a new backfill."""
    return {
        "_id": asked.backfill_id,
        "schema": SCHEMA,
        "job_id": asked.job_id,
        "job_uid": asked.job_uid,
        "partition": partition,
        "schedule": to_document(asked.schedule),
        "begins": asked.begins,
        "ends": asked.ends,
        "existing": asked.existing.value,
        "overlap": asked.overlap.value,
        "max_parallel": asked.max_parallel,
        "queue": asked.queue,
        "state": asked.state.value,
        "status_message": asked.status_message,
        "total": asked.total,
        "decided": 0,
        "left": 0,
        "created_at": asked.created_at,
        "created_by": asked.created_by,
        "revision": 1,
        "active": True,
    }


def to_backfill(document: Mapping[str, Any]) -> StoredBackfill:
    """Read a backfill."""
    get = document.get
    window = get("window")
    return StoredBackfill(
        backfill_id=document["_id"],
        job_id=document["job_id"],
        job_uid=document["job_uid"],
        schedule=from_document(document["schedule"]),
        begins=document["begins"],
        ends=document["ends"],
        existing=Existing(document["existing"]),
        overlap=Overlap(document["overlap"]),
        max_parallel=document["max_parallel"],
        queue=document["queue"],
        state=BackfillState(document["state"]),
        status_message=document["status_message"],
        total=document["total"],
        decided=document["decided"],
        left=document["left"],
        reached=get("reached"),
        window=None if window is None else Window(tuple(window["times"]), window["through"], window["left"]),
        created_at=document["created_at"],
        created_by=document["created_by"],
        finished_at=get("finished_at"),
        cancel_running=get("cancel_running", False),
        revision=document["revision"],
        states=get("states", {}),
        requests=get("requests", ()),
    )


# What the server asks, and does:


def list_filter(uid: str | None, after: tuple[datetime | str, str] | None) -> dict[str, Any]:
    """Find backfills for a list, those of one job or all, from a position on: (creation, id) of the one before."""
    found: dict[str, Any] = {"created_at": {"$gte": FIRST_INSTANT}}
    if uid is not None:
        found["job_uid"] = uid
    if after is not None:
        created_at, backfill_id = after
        # The bound stands on its own, so that the index is read in its order.
        found["created_at"] = {"$lte": created_at}
        found["$or"] = [{"created_at": {"$lt": created_at}}, {"_id": {"$lt": backfill_id}}]
    return found


NEWEST_FIRST: Final = [("created_at", -1), ("_id", -1)]


def unended_filter(uid: str) -> dict[str, Any]:
    """Find a job's backfills that have not ended: also those that are paused, with which beat has nothing to do."""
    return {"job_uid": uid, "$or": [{"active": True}, {"state": BackfillState.PAUSED.value}]}


def ended_filter(cutoff: datetime) -> dict[str, Any]:
    """Find backfills that ended before an instant, with all that they started."""
    return {"finished_at": {"$type": "date", "$lt": cutoff}, "active": {"$exists": False}}


def counts_pipeline(backfill_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Count the executions of backfills by state."""
    return [
        {"$match": {"backfill": {"$in": list(backfill_ids)}}},
        {"$group": {"_id": {"backfill": "$backfill", "state": "$state"}, "count": {"$sum": 1}}},
    ]


def pause(backfill_id: str, message: str, request: str = "") -> Move:
    """Decide no further time. What a window has decided already is still started, by beat.

    request: the token of the request that it is the effect of; one does nothing a second time.
    """
    return _enter({"_id": backfill_id}, {BackfillState.RUNNING}, BackfillState.PAUSED, message, {}, request)


def resume(backfill_id: str, request: str = "") -> Move:
    """Go on. request: as of a pause."""
    return _enter({"_id": backfill_id}, {BackfillState.PAUSED}, BackfillState.RUNNING, "", {"active": True}, request)


def cancel(backfill_id: str, message: str, *, running: bool) -> Move:
    """End a backfill for good. What is in flight is ended by stop_open, again and again until nothing is."""
    return _cancel({"_id": backfill_id}, message, running=running)


def end_with_job(uid: str, until: datetime, *, running: bool) -> Move:
    """End the backfills of a job that was deleted, as cancel ends one.

    until: when it was; it may have been undeleted when this is done, and what was made since is spared.
    """
    return _cancel({"job_uid": uid, "created_at": {"$lte": until}}, "the job was deleted", running=running)


def cancelled_filter(uid: str, until: datetime) -> dict[str, Any]:
    """Find a job's backfills, made until then, that were cancelled, and may have something in flight."""
    cancelled = {"job_uid": uid, "active": True, "state": BackfillState.CANCELLED.value}
    return {**up_to(SCHEMA), **cancelled, "created_at": {"$lte": until}}


def _cancel(chosen: Mapping[str, Any], message: str, *, running: bool) -> Move:
    before = {BackfillState.RUNNING, BackfillState.PAUSED}
    fields = {"active": True, "finished_at": NOW, "cancel_running": running}
    return _enter(chosen, before, BackfillState.CANCELLED, message, fields)


def _enter(
    which: Mapping[str, Any],
    before: Iterable[BackfillState],
    state: BackfillState,
    message: str,
    fields: Mapping[str, Any],
    request: str = "",
) -> Move:
    chosen = {**which, **up_to(SCHEMA), "state": {"$in": sorted(each.value for each in before)}}
    entered = {
        "state": state.value,
        "status_message": literal(message),
        "revision": {"$add": [as_count("revision"), 1]},
        **fields,
    }
    if request:
        # Whoever goes on with a call that has had its effect does not undo what others have done since.
        chosen["requests"] = {"$ne": request}
        entered["requests"] = appended("requests", literal(request), MOST_KEPT_REQUESTS)
    return Move(chosen, [{"$set": entered}])


def stop_open(backfill_id: str, by: str, reason: str, *, running: bool) -> Move:
    """Cancel what a backfill has in flight, that no worker runs; with `running` that too, else it is tried no more."""
    return stop({"backfill": backfill_id, "open": True}, by, reason, calls=running)


# What beat asks, and does:


def due_filter(partitions: Iterable[int], after: str = "") -> dict[str, Any]:
    """Find backfills of these partitions that there is something to do with, with ids behind the given one."""
    return {**up_to(SCHEMA), "active": True, "partition": {"$in": sorted(partitions)}, "_id": {"$gt": after}}


def open_pipeline(backfill_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Count what backfills have in flight."""
    return [
        {"$match": {"backfill": {"$in": list(backfill_ids)}, "state": {"$in": sorted(each.value for each in OPEN)}}},
        {"$group": {"_id": "$backfill", "count": {"$sum": 1}}},
    ]


_RAN: Final = {"$in": sorted({Trigger.SCHEDULE.value, Trigger.BACKFILL.value, Trigger.RETRY.value})}
RAN_FIELDS: Final = {"nominal_time": 1, "moved_from": 1, "state": 1, "_id": 0}


def ran_filters(backfill: StoredBackfill, times: Sequence[datetime]) -> list[dict[str, Any]]:
    """Find the executions that a job has had for nominal times between the first and the last of some."""
    span = {"$gte": times[0], "$lte": times[-1]}
    others = {"job_uid": backfill.job_uid, "run": True, "trigger": _RAN}
    return [others | {"nominal_time": span, "moved_from": {"$exists": False}}, others | {"moved_from": span}]


def as_read(backfill: StoredBackfill) -> dict[str, Any]:
    """Find a backfill if nothing has changed it since it was read."""
    return {"_id": backfill.backfill_id, "revision": backfill.revision}


def open_window(window: Window) -> dict[str, Any]:
    """Return the update that decides the next times."""
    stored = {"times": list(window.times), "through": window.through, "left": window.left}
    return {"$set": {"window": stored}, "$inc": {"revision": 1}}


def close_window(window: Window) -> dict[str, Any]:
    """Return the update that says that the executions of a window are in the store."""
    return {
        "$set": {"reached": window.through},
        "$unset": {"window": ""},
        "$inc": {"revision": 1, "decided": len(window.times) + window.left, "left": window.left},
    }


def rest() -> dict[str, Any]:
    """Return the update after which beat has nothing to do with a paused backfill until it is resumed."""
    return {"$unset": {"active": ""}, "$inc": {"revision": 1}}


def settle(state: BackfillState, states: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the update that ends what is over: all that it started has ended, in these states."""
    fields = {
        "state": state.value,
        "finished_at": {"$ifNull": ["$finished_at", NOW]},
        "states": literal(dict(states)),
        "revision": {"$add": ["$revision", 1]},
    }
    return [{"$set": fields}, {"$unset": ["active"]}]


def execution_document(
    backfill: StoredBackfill, job: Mapping[str, Any], nominal: datetime, now: datetime, by: str
) -> dict[str, Any]:
    """Return the row of one of a backfill's times: with all that its run needs, as the job is at `now`."""
    execution_id = backfill_execution_id(backfill.job_uid, backfill.backfill_id, nominal)
    reason = f"backfill {backfill.backfill_id}"
    return asked_for(job, execution_id, Trigger.BACKFILL, now, by, reason) | {
        "backfill": backfill.backfill_id,
        "nominal_time": nominal,
        "queue": backfill.queue,
    }
