"""Evidence: what the collections know of one occurrence of a job. Each question is a few reads by an index."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shared.domain.evidence import Era, Job, Record, Step, Stop
from shared.domain.execution import Failure, State, Trigger, row_id
from shared.domain.job import JobState
from shared.domain.schedule import from_document
from shared.store import jobs
from shared.store.executions import NOT_SHOWN, most_attempts
from shared.store.pipeline import NOW
from shared.store.submitted import EXPIRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

NEIGHBOURS: Final = 20
"""Epochs before and after the one in question that are read: who paused the job, who changed its schedule since."""
MOST_OTHERS: Final = 20
"""Further executions for one nominal time that are read."""
LOOKED_BACK: Final = 200
"""Rows of the chain before one that are read, for what was in its way."""

JOB_FIELDS: Final = dict.fromkeys(
    (
        "schema", "uid", "state", "status_message", "created_at", "created_by", "schedule", "epoch", "covered",
        "next_nominal", "installed", "changes", "read_at",
    ),
    1,
)  # fmt: skip


def job_pipeline(job_id: str) -> list[dict[str, Any]]:
    """Read what is to be known of a job, a deleted one too, with the database's time as `read_at`."""
    return [{"$match": {"_id": job_id}}, {"$set": {"read_at": NOW}}, {"$project": JOB_FIELDS}]


def begun_before(uid: str, instant: datetime) -> dict[str, Any]:
    """Find the entries of a job's history that began before an instant; LATEST_FIRST has the one in force first."""
    return {"job_uid": uid, "began": {"$lt": instant}}


def begun_since(uid: str, instant: datetime) -> dict[str, Any]:
    """Find the entries of a job's history that began at an instant or later; EARLIEST_FIRST is their order."""
    return {"job_uid": uid, "began": {"$gte": instant}}


LATEST_FIRST: Final = [("began", -1), ("epoch", -1)]
EARLIEST_FIRST: Final = [("began", 1), ("epoch", 1)]


def to_job(document: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> Job:
    """Read where a job stands, and the eras around the one in question: of its history, and of the changes that wait.

    Raises what reading a schedule raises.
    """
    eras = {
        entry["epoch"]: Era(entry["epoch"], jobs.to_spec(entry), entry["began"], entry["by"], entry["reason"])
        for entry in sorted(entries, key=lambda entry: entry["epoch"])
    }
    chain = jobs.to_chain(document)
    spec = chain.spec
    for number, change in enumerate(chain.changes, start=chain.epoch + 1):
        spec = change.spec_after(spec, change.cutoff)
        # One that was installed since the job was read is in its history.
        eras.setdefault(number, Era(number, spec, change.cutoff, change.by, change.reason))
    return Job(
        job_id=document["_id"],
        uid=document["uid"],
        state=JobState(document["state"]),
        status_message=document["status_message"],
        created_at=document["created_at"],
        created_by=document["created_by"],
        schedule=from_document(document["schedule"]),
        epoch=document["epoch"],
        covered=document["covered"],
        eras=tuple(eras.values()),
    )


# Rows:

ROW_FIELDS: Final = {**NOT_SHOWN, "parameters": 0}


def at_or_before(uid: str, epoch: int, instant: datetime) -> dict[str, Any]:
    """Find the rows of an epoch that begin at an instant or before; the last of them covers it, if any does."""
    return {"_id": {"$gte": f"{uid}.{epoch}.", "$lte": row_id(uid, epoch, instant)}}


def covers(row: Mapping[str, Any], instant: datetime) -> bool:
    """Return whether a row is the decision on an occurrence."""
    return bool(
        row["state"] != State.CLOSED.value
        and row["trigger"] == Trigger.SCHEDULE.value
        and row["nominal_time"] <= instant <= row["last"]
    )


def following(row: Mapping[str, Any]) -> dict[str, Any]:
    """Find the rows after one in its epoch."""
    return {"_id": {"$gt": row["_id"], "$lt": f"{row['job_uid']}.{row['epoch']}/"}}


def preceding(row: Mapping[str, Any]) -> dict[str, Any]:
    """Find the rows before one in its epoch."""
    return {"_id": {"$gte": f"{row['job_uid']}.{row['epoch']}.", "$lt": row["_id"]}}


def named_in_reason(row: Mapping[str, Any]) -> dict[str, Any]:
    """Find the execution that a row's reason names as being in its way."""
    return {"_id": {"$in": re.findall(rf"{re.escape(row['job_uid'])}\.[^\s;,]+", row.get("reason", ""))}}


def others_filters(uid: str, nominal_time: datetime) -> list[dict[str, Any]]:
    """Find further executions for a nominal time, but not the parts of any, which may be thousands; by OTHERS_INDEX."""
    same = {"job_uid": uid, "run": True, "nominal_time": nominal_time}
    return [
        same | {"_id": {"$gte": f"{uid}.:", "$lt": f"{uid}.p."}},
        same | {"_id": {"$gt": f"{uid}.p/", "$lt": f"{uid}/"}},
    ]


OTHERS_INDEX: Final = "job"


def to_record(row: Mapping[str, Any]) -> Record:
    """Read a row as far as it explains anything."""
    get = row.get
    steps = tuple(Step(State(t["state"]), t["at"], t["by"], t["reason"]) for t in get("transitions", ()))
    state = State(row["state"])
    cancel = get("cancel")
    return Record(
        execution_id=row["_id"],
        trigger=Trigger(row["trigger"]),
        state=state,
        nominal_time=row["nominal_time"],
        last=get("last", row["nominal_time"]),
        reason=get("reason", ""),
        decided_at=row["decided_at"],
        due_at=get("due_at"),
        started_at=get("started_at"),
        finished_at=get("finished_at"),
        attempt=get("attempt", 0),
        max_attempts=most_attempts(row),
        queue=get("queue", ""),
        worker=get("worker", ""),
        error=Failure(**row["error"]) if "error" in row else None,
        held="held" in row,
        stop=None if not cancel else Stop(cancel["by"], cancel["reason"], cancel["at"]),
        expired=state is State.CANCELLED and bool(steps) and steps[-1].reason.startswith(EXPIRED),
        steps=steps,
    )
