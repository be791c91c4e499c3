"""The collection `executions`, ledger and outbox in one: documents to values and back, every filter and update.

The marks that a row may have beside its state. Most are True or missing. What closes a chain has neither run nor part.
`its end` is the write that ends it: by end or stop; by wait_again or parts.wait_for_parts, if a cancel came before.

mark          set by                       taken off by                   means
------------  ---------------------------  -----------------------------  --------------------------------------------
run: True     pending_fields               -                              an execution, but no part
run: False    scheduled_document           -                              a decision not to run
part: True    parts._part                  -                              an item, or a step that is to run
part: False   parts.skipped_step_document  -                              a step whose turn came, and that was skipped
open          pending_fields               its end                        it has not ended
held: True    scheduled_document           release, its end               it waits for others of its job to end
held: "slot"  parts.item_document          parts.give_slots, its end      it waits until fewer of its fan-out run
settle        its end, of a part           parts.told                     its parent was not told yet
follow        its end, in a canvas         canvas.followed                what follows it is not there yet
uncopied      COPY_OUTCOME                 copied                         code may wait for it, and Redis has no copy
may_pause     failed_for_good              MAY_PAUSE_SEEN                 it may be one too many for pause_on_failure
dead_letter   failed_for_good              dead_letters.DEAD_LETTER_SENT  its copy is to go to the queue dead_letter
                                           or dead_letters.end
letter        failed_for_good              dead_letters.end               nobody has decided what becomes of it
withdraw      dead_letters.end             dead_letters.WITHDRAWN         its copy is to be taken out of that queue
advance_at    parts.wait_for_parts,        parts.rest, its end            an instant: beat has to look at its parts
              parts.signal, stop
signals       the same                     -                              a count of these; see parts
broken        parts.step_document,         -                              a text: why a worker ends it at once
              submitted_document,
              retry_document
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bson import MinKey

from shared.domain.clock import utc_text
from shared.domain.execution import (
    DECISIONS_NOT_TO_RUN,
    OPEN,
    RESEND_FIRST,
    RESEND_LONGEST,
    WORKER_LOST,
    AfterFailure,
    Failure,
    State,
    Trigger,
    after_lost_worker,
    manual_id,
    predecessors,
    retry_id,
    row_id,
    trace_id_of,
)
from shared.domain.plan import Row
from shared.domain.policies import WorkerLost
from shared.domain.text import because
from shared.domain.zones import tzdata_version
from shared.store.flows import to_flow
from shared.store.kinds import require_kinds
from shared.store.pipeline import (
    NOW,
    as_count,
    as_list,
    as_text,
    from_now,
    has_ended,
    is_past,
    is_up_to,
    literal,
    milliseconds,
    up_to,
)
from shared.store.retry import WITH_RETRY_DEFAULTS, retry_policy
from shared.store.tail import NEW_ROW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shared.domain.flow import Flow
    from shared.domain.retry import RetryPolicy

COLLECTION: Final = "executions"
SCHEMA: Final = 3
"""Of documents that are written. Those of 1 lack `policies` and the last four of `retry`; those of 2 have no parts.

Older ones are read with defaults, and migrated by the claim. Newer ones are neither claimed nor rescued.
"""

OWN_PUBLISHER_GRACE: Final = timedelta(seconds=3)
"""How long the relay leaves a new row to the process that inserted it, which is about to send it.

What that process did not send, since it died, waits for as long. Of a burst all should be out within it (beat.fire).
"""

LARGEST_RESULT: Final = 64 * 1024
"""Bytes of JSON."""
LARGEST_HANDED_ON: Final = 1024 * 1024
"""Bytes of JSON, of a result that others may take from: a part's."""
LONGEST_ERROR: Final = 4 * 1024
"""Characters."""

ROW_POLICIES: Final = ("overlap", "on_worker_lost", "pause_on_failure")
"""Those of a job's policies that a row keeps: they are asked after it was decided."""

_OF_THE_TASK: Final = ("target_service", "target_method", "timeout", "time_limit", "soft_time_limit")

RELAY_FIELDS: Final = dict.fromkeys(
    ("state", "queue", "priority", "job_id", "job_name", "attempt", "due_at", "trace_id", *_OF_THE_TASK), 1
)
"""What it takes to send a row's message."""


CALL_FIELDS: Final = ("time_limit", "soft_time_limit", "ignore_result", "headers", "root_id", "parent_id", "canvas")
"""What a row of a task may say of its call.

Limits in seconds; whether its result is not kept; what its caller attached; which executions it was called in, the
first of them and the last; and what follows it in Celery's canvas, as JSON.
"""


# New rows. They begin with what indexes hold and filters ask for: MongoDB looks for a field from the beginning of the
# document, for each index anew, and again each time that a row changes.


def scheduled_document(
    job: Mapping[str, Any], row: Row, now: datetime, by: str, retry_until: datetime | None = None
) -> dict[str, Any]:
    """Return the document of a row of a job's chain, decided at `now` (the database's time).

    retry_until: from when on it is not tried again; None: as long as there are attempts.
    """
    document = {
        "_id": row_id(job["uid"], job["epoch"], row.first),
        "state": row.state.value,
        "trigger": Trigger.SCHEDULE.value,
        "job_uid": job["uid"],
        "nominal_time": row.first,
    }
    decided = {
        "schema": SCHEMA,
        "job_id": job["_id"],
        "job_name": job["name"],
        "epoch": job["epoch"],
        "last": row.last,
        "count": row.count,
        "reason": row.reason,
        "decided_at": now,
        # Of the rules that the chain follows; a schedule from before they were kept goes by this process's.
        "tzdata": job["installed"]["schedule"].get("tzdata") or tzdata_version(),
    }
    if row.state is State.PENDING and row.first is not None:
        document |= pending_fields(job, document["_id"], row.due_at or row.first, now, by, row.reason or "due")
        document |= decided
        if row.moved_from is not None:
            # Apart from nominal_time, by which the rows of a chain are in their order.
            document["moved_from"] = row.moved_from
        if retry_until is not None:
            document["retry_until"] = retry_until
        if row.held:
            # Without a time to be sent: the relay releases it.
            document |= {"held": True}
            del document["send_at"]
        return document
    document["finished_at"] = now
    if row.state in DECISIONS_NOT_TO_RUN:
        transitions = [first_transition(row.state, now, by, row.reason)]
        return document | {"run": False, **NEW_ROW} | decided | {"transitions": transitions}
    return document | decided


def manual_document(
    job: Mapping[str, Any], token: str, queue: str, trace_id: str, now: datetime, by: str
) -> dict[str, Any]:
    """Return the document of a run by hand, asked for at `now`; token is a ULID, or made from the request id."""
    document = asked_for(job, manual_id(job["uid"], token), Trigger.MANUAL, now, by, "executed by hand", trace_id)
    document["queue"] = queue
    return document | _parts_queue(document, job["queue"])


def _parts_queue(document: Mapping[str, Any], queue: str) -> dict[str, str]:
    """Return where the parts go of what has some: asked for by hand, it is not they that somebody waits for."""
    return {"parts_queue": queue} if "flow" in document else {}


def retry_document(
    ended: Mapping[str, Any], token: str, queue: str, trace_id: str, now: datetime, by: str, *, reuse: bool = False
) -> dict[str, Any]:
    """Return the document of another run of a row that has ended: the same work, with all attempts before it.

    reuse: of a row that has parts, do only what has not succeeded.
    """
    job = as_job(ended)
    reason = f"a retry of {ended['_id']}"
    document = asked_for(job, retry_id(job["uid"], token), Trigger.RETRY, now, by, reason, trace_id)
    return document | {
        "retry_of": ended["_id"],
        # What could not be called at all has no arguments: its retry fails as it did.
        **{name: ended[name] for name in ("nominal_time", "moved_from", "broken") if name in ended},
        "queue": queue,
        **_parts_queue(document, ended.get("parts_queue", ended["queue"])),
        **({"reuse": ended["_id"]} if reuse else {}),
    }


def retries_filter(ended_id: str, retry_id: str) -> dict[str, Any]:
    """Find the retries of an execution that have not ended, and the one of this id, ended or not."""
    open_retry = {"retry_of": ended_id, "open": True, "trigger": Trigger.RETRY.value}
    return {"$or": [{"_id": retry_id}, open_retry]}


def reusing_filter() -> dict[str, Any]:
    """Find the retries that have not ended, and that do only what another execution has left."""
    return {"retry_of": {"$exists": True}, "open": True, "trigger": Trigger.RETRY.value, "reuse": {"$exists": True}}


def as_job(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says of its job, by the names that a job's document has: for rows that are made of rows."""
    return {
        **row,
        "_id": row["job_id"],
        "uid": row["job_uid"],
        "name": row["job_name"],
        "revision": row["job_revision"],
    }


def asked_for(
    job: Mapping[str, Any], execution_id: str, trigger: Trigger, now: datetime, by: str, reason: str, trace_id: str = ""
) -> dict[str, Any]:
    """Return the fields that every row has which somebody asked for at `now`, and no schedule; nominally for then."""
    pending = pending_fields(job, execution_id, now, now, by, reason)
    return {
        "_id": execution_id,
        "state": State.PENDING.value,
        "trigger": trigger.value,
        "job_uid": job["uid"],
        "nominal_time": now,
        **pending,
        "schema": SCHEMA,
        "job_id": job["_id"],
        "job_name": job["name"],
        "decided_at": now,
        "trace_id": trace_id or pending["trace_id"],
    }


def pending_fields(
    job: Mapping[str, Any], execution_id: str, due_at: datetime, now: datetime, by: str, reason: str
) -> dict[str, Any]:
    """Return the fields that only a row that runs has: all that its run needs, as it was when it was decided."""
    expires, policies = job.get("expires"), job.get("policies", {})
    fields = {
        "run": True,
        "open": True,
        "partition": job["partition"],
        "send_at": _send_at(due_at, now),
        "queue": job["queue"],
        **NEW_ROW,
        "due_at": due_at,
        **({} if expires is None else {"expires_at": due_at + timedelta(seconds=expires)}),
        "attempt": 0,
        "sent": 0,
        "workers_lost": 0,
        "job_revision": job["revision"],
        "job_type": job["job_type"],
        "target_service": job["target_service"],
        "target_method": job["target_method"],
        "parameters": job["parameters"],
        "priority": job["priority"],
        "timeout": job["timeout"],
        "retry": job["retry"],
        "policies": {name: policies[name] for name in ROW_POLICIES if name in policies},
        "trace_id": trace_id_of(execution_id),
        "transitions": [first_transition(State.PENDING, now, by, reason)],
        **{name: job[name] for name in CALL_FIELDS if name in job},
    }
    if job.get("flow"):
        fields["flow"] = job["flow"]
    return fields


def decided_at(document: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the document of a row that runs, and that was made before, as if it were decided at `now`."""
    (transition,) = document["transitions"]
    return document | {
        "decided_at": now,
        "send_at": _send_at(document["due_at"], now),
        "transitions": [transition | {"at": now}],
    }


def _send_at(due_at: datetime, now: datetime) -> datetime:
    """Return when the relay looks after a row that was decided at `now`, if nobody has sent its message."""
    # Of what is due only later nobody else will send the message.
    return due_at if due_at > now else now + OWN_PUBLISHER_GRACE


def first_transition(state: State, now: datetime, by: str, reason: str) -> dict[str, Any]:
    """Return the transition that a new row begins with."""
    return {"number": 1, "state": state.value, "at": now, "by": by, "reason": reason}


def to_row(document: Mapping[str, Any]) -> Row:
    """Read a row of a chain. One that fires stays PENDING to the planner, however far its run has got.

    Raises KeyError, TypeError or ValueError if it can't be read: nobody can go on from it.
    """
    state = State(document["state"])
    decided = state if state in DECISIONS_NOT_TO_RUN or state is State.CLOSED else State.PENDING
    if document.get("run"):
        decided = State.PENDING
    first, last = document["nominal_time"], document["last"]
    if not (isinstance(first, datetime | None) and isinstance(last, datetime)):
        raise TypeError(f"the row {document['_id']} covers {first!r} to {last!r}, which are no instants")
    return Row(decided, first, last, document["count"], document["reason"], held=document.get("held", False))


def same_decision(one: Row, other: Row) -> bool:
    """Return whether two rows decide the same occurrences in the same way; then it does not matter whose stands."""
    return (one.state, one.first, one.last, one.held) == (other.state, other.first, other.last, other.held)


# Reading the chain:


def chain_filter(uid: str, epoch: int, pointer: datetime | None) -> dict[str, Any]:
    """Find the rows of an epoch from the pointer on. Ids sort by time; `end` sorts last, and `/` follows the dot."""
    return {"_id": {"$gte": row_id(uid, epoch, pointer), "$lt": f"{uid}.{epoch}/"}}


CHAIN_FIELDS: Final = dict.fromkeys(("schema", "state", "run", "nominal_time", "last", "count", "reason", "held"), 1)


HELD_FIELDS: Final = dict.fromkeys(("job_uid", "nominal_time", "policies"), 1)
IN_FLIGHT_FIELDS: Final = dict.fromkeys(("job_uid", "nominal_time", "held"), 1)


def in_flight_filter(uids: Iterable[str]) -> dict[str, Any]:
    """Find what schedules fired and has not ended. Runs by hand are the caller's business, and block nothing."""
    return {"open": True, "job_uid": {"$in": list(uids)}, "trigger": Trigger.SCHEDULE.value}


# Moves. Each is a filter and an update; the filter, of a claim the update itself, asks for a state from which the
# transition table allows the move.


@dataclass(frozen=True, slots=True)
class Move:
    """A compare-and-set on one row, or on several of the same kind."""

    filter: dict[str, Any]
    update: list[dict[str, Any]]
    leads_to: State | None = None
    """The state that it leads to, without a reason, wherever it applies; None where the row has a say in that."""


def _states(states: Iterable[State]) -> dict[str, Any]:
    return {"$in": sorted(state.value for state in states)}


_STEPS: Final = as_list("transitions")


def enter(state: State | dict[str, Any], by: str, reason: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stage of an update that enters a state: with a numbered, timed transition. fields are expressions."""
    return {"$set": _entered(state, by, reason, fields)}


def _entered(state: State | dict[str, Any], by: str, reason: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    entered = literal(state.value) if isinstance(state, State) else state
    # Never before the step before: of two writes that waited for each other, the later may have begun earlier.
    at = {"$max": [NOW, {"$last": as_list("transitions.at")}]}
    transition = {
        "number": {"$add": [{"$size": _STEPS}, 1]},
        "state": entered,
        "at": at,
        "by": literal(by),
        "reason": literal(reason) if isinstance(reason, str) else reason,
    }
    steps = {"$concatArrays": [_STEPS, [transition]]}
    return {"state": entered, **fields, "transitions": steps, "changed": at}


LEAVE_RUNNING: Final = {"$unset": ["lease"]}


def _mark_where(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"$cond": [{"$and": conditions}, True, "$$REMOVE"]}


_HAS_ENDED: Final = {"$ne": ["$open", True]}
_IS_PART, _IS_FOLLOWED = {"$gt": ["$parent", None]}, {"$gt": ["$canvas", None]}

COPY_OUTCOME: Final = {
    "$set": {"uncopied": _mark_where({"$eq": ["$trigger", Trigger.API.value]}, _HAS_ENDED)},
}
"""Marks what others than a worker's attempt have ended, and code may wait for: Redis has no copy of that yet."""

TELL_OTHERS: Final = {
    "$set": {"settle": _mark_where(_IS_PART, _HAS_ENDED), "follow": _mark_where(_IS_FOLLOWED, _HAS_ENDED)},
}
"""Marks what has ended, in the very write that ends it, where others wait for that: its parent, or what follows it in a
canvas. What that means for them is beat's to find."""

_LEFT_OPEN: Final = {
    **dict.fromkeys(("open", "lease", "send_at", "held", "advance_at"), "$$REMOVE"),
    "settle": _mark_where(_IS_PART),
    "follow": _mark_where(_IS_FOLLOWED),
    "finished_at": NOW,
}
"""The fields of each move that ends an execution, whatever it was; others are told as by TELL_OTHERS.

In the stage that enters its state: for each stage MongoDB reads and writes the row anew."""


def end(
    state: State | dict[str, Any], by: str, reason: object, fields: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the stage of an update that ends an execution in a state, as enter does."""
    return enter(state, by, reason, {**(fields or {}), **_LEFT_OPEN})


def claim(execution_id: str, worker: str, nonce: str, lease: timedelta, pid: int | None = None) -> Move:
    """Start an attempt: only of a row that is due, by the database's clock, and neither held nor run by anybody.

    Nor expired, unless it was started before that. pid: the process that runs it, of those that the worker has.
    The filter also finds a row that may not be started, and the update leaves that one unchanged: ask is_held.
    """
    return _claim(execution_id, worker, literal(nonce), lease, pid)


def claim_together(
    execution_ids: Sequence[str], worker: str, token: str, lease: timedelta, pid: int | None = None
) -> Move:
    """Start an attempt of each of these rows, where claim would; its nonce is nonce_of the token and the row's id.

    The token is never used twice. No id is given twice: it would be for two attempts.
    """
    nonce = {"$concat": [literal(token), ".", "$_id"]}
    return _claim({"$in": list(execution_ids)}, worker, nonce, lease, pid)


def is_held(row: Mapping[str, Any], nonces: Sequence[str]) -> bool:
    """Return whether a row has the lease of an attempt that was claimed with one of the nonces."""
    lease = row.get("lease")
    return isinstance(lease, dict) and lease.get("nonce") in nonces


def nonce_of(token: str, execution_id: str) -> str:
    """Return the nonce that claim_together writes."""
    return f"{token}.{execution_id}"


_CLAIMABLE: Final = {
    "$and": [
        {"$in": ["$state", sorted(state.value for state in predecessors(State.RUNNING))]},
        is_up_to(SCHEMA),
        {"$eq": [{"$type": "$held"}, "missing"]},
        is_past("due_at"),
        {"$or": [{"$not": [is_past("expires_at")]}, {"$gt": ["$attempt", {"$ifNull": ["$handed_back", 0]}]}]},
    ]
}


def _claim(which: object, worker: str, nonce: object, lease: timedelta, pid: int | None) -> Move:
    started = _entered(
        State.RUNNING,
        worker,
        {"$concat": ["attempt ", {"$toString": {"$add": ["$attempt", 1]}}]},
        {
            "schema": SCHEMA,
            "retry": WITH_RETRY_DEFAULTS,
            "policies": {"$ifNull": ["$policies", {}]},
            "attempt": {"$add": ["$attempt", 1]},
            "sent": 0,
            "worker": literal(worker),
            "started_at": NOW,
            # A retry is due, and starts, at times of its own.
            "first_started_at": {"$ifNull": ["$first_started_at", NOW]},
            "late_by": {"$ifNull": ["$late_by", {"$subtract": [NOW, "$due_at"]}]},
            "lease": {
                "holder": literal(worker),
                "pid": literal(pid),
                "nonce": nonce,
                "expires_at": from_now(lease),
                "length": milliseconds(lease),
            },
        },
    )
    row: dict[str, Any] = {"$mergeObjects": ["$$ROOT", started]}
    for gone in ("send_at", "progress"):
        row = {"$unsetField": {"field": gone, "input": row}}
    # In the update: beside the id, conditions have MongoDB make a plan, which is a quarter of what one claim takes.
    return Move({"_id": which}, [{"$replaceWith": {"$cond": [_CLAIMABLE, row, "$$ROOT"]}}])


def return_early(execution_id: str, by: str) -> Move:
    """Put a row whose message came before its time back to PENDING, so that the relay sends it in time."""
    return Move(
        {"_id": execution_id, "state": State.QUEUED.value, "$expr": {"$gt": ["$due_at", NOW]}},
        [enter(State.PENDING, by, "the message came before it was due", {"send_at": "$due_at"})],
    )


def renew(held: Mapping[str, str], lease: timedelta) -> Move:
    """Prolong the leases of attempts, given as execution id to nonce. A nonce is never used twice."""
    return Move(kept_filter(held), [{"$set": {"lease.expires_at": from_now(lease)}}])


def kept_filter(held: Mapping[str, str]) -> dict[str, Any]:
    """Find those of the attempts, given as execution id to nonce, that nobody has taken from their holder."""
    return _kept(list(held), list(held.values()))


def _kept(execution_ids: list[str], nonces: list[str]) -> dict[str, Any]:
    return {"_id": {"$in": execution_ids}, "state": State.RUNNING.value, "lease.nonce": {"$in": nonces}}


KEEPER_FIELDS: Final = {"cancel": 1}


def asked_to_cancel(row: Mapping[str, Any]) -> str | None:
    """Return who asked for the end of a running attempt's call, and why; None when nobody did."""
    asked = row.get("cancel", {})
    if not asked.get("call"):
        return None
    return because(f"cancelled by {asked['by']}", asked["reason"])


def confirm(execution_id: str, nonces: Sequence[str], lease: timedelta) -> Move:
    """Begin anew the lease of an attempt that was started by one of several claims whose answers were lost."""
    started = {"_id": execution_id, "state": State.RUNNING.value, "lease.nonce": {"$in": list(nonces)}}
    return Move(started, [{"$set": {"lease.expires_at": from_now(lease)}}])


def held_attempt(execution_id: str, nonce: str) -> dict[str, Any]:
    """Find an execution while the attempt that was claimed with this nonce runs, and nobody has taken it."""
    return {"_id": execution_id, "state": State.RUNNING.value, "lease.nonce": nonce}


def _lost(execution_id: str, nonce: str) -> dict[str, Any]:
    return held_attempt(execution_id, nonce) | {"$expr": has_ended("lease.expires_at", "lease.length")}


def succeed(execution_id: str, nonce: str, by: str, result: str | None, *, truncated: bool) -> Move:
    """End a held attempt well. result is JSON; None: it is not kept."""
    kept = {} if result is None else {"result": literal(result), "result_truncated": literal(truncated)}
    return Move(held_attempt(execution_id, nonce), [end(State.SUCCEEDED, by, "", kept)], leads_to=State.SUCCEEDED)


def alike_together(outcomes: Iterable[tuple[Claimed, Move]]) -> list[Move]:
    """Return moves that end these held attempts as their own do, one for all of which the same is to be written.

    The database reads an update once for all its rows. An execution may be there twice, if it was given to this process
    again: its row has one of the nonces.
    """
    alike: dict[str, tuple[Move, list[Claimed]]] = {}
    for claimed, move in outcomes:
        alike.setdefault(repr(move.update), (move, []))[1].append(claimed)
    return [
        Move(_kept([each.execution_id for each in held], [each.nonce for each in held]), move.update, move.leads_to)
        for move, held in alike.values()
    ]


def park(execution_id: str, nonce: str, by: str, failure: Failure) -> Move:
    """End a held attempt whose row can't be read: for good, and without a dead letter, which nobody could write."""
    ended = end(State.FAILED, by, "its document can't be read", {"error": stored_error(failure)})
    return Move(held_attempt(execution_id, nonce), [ended, COPY_OUTCOME])


def park_lost(execution_id: str, nonce: str, by: str, failure: Failure) -> Move:
    """End an attempt as park does, whose holder's lease has ended, by the database's clock."""
    return Move(_lost(execution_id, nonce), park(execution_id, nonce, by, failure).update)


def drop(execution_id: str, nonce: str, by: str, reason: str) -> Move:
    """Cancel what was claimed, but must not be called."""
    return Move(held_attempt(execution_id, nonce), [end(State.CANCELLED, by, reason), COPY_OUTCOME])


def drop_stopped(execution_id: str, nonce: str, by: str) -> Move:
    """Cancel what was claimed and is not called yet, if it was cancelled, or its job deleted, since it was claimed."""
    stopped = {**held_attempt(execution_id, nonce), "cancel": {"$exists": True}}
    return Move(stopped, [end(State.CANCELLED, by, WHO_STOPPED), COPY_OUTCOME])


def drop_waiting(execution_id: str, by: str, reason: str) -> Move:
    """Cancel what no worker runs, if it is not running by now."""
    waits = {"_id": execution_id, **up_to(SCHEMA), "state": _states({State.PENDING, State.QUEUED})}
    return Move(waits, [end(State.CANCELLED, by, reason), COPY_OUTCOME])


def fail(execution_id: str, nonce: str, by: str, failure: Failure, after: AfterFailure) -> Move:
    """End a held attempt badly: for good, or until its retry is due."""
    return Move(held_attempt(execution_id, nonce), _failed(by, failure, after))


def fail_killed(execution_id: str, nonce: str, by: str, failure: Failure, after: AfterFailure) -> Move:
    """End a held attempt as fail does, for its process, which was killed for it."""
    return Move(held_attempt(execution_id, nonce), [*_failed(by, failure, after), COPY_OUTCOME])


def give_up(execution_id: str, nonce: str, by: str, reason: str) -> Move:
    """End for good what was claimed for another try, but must not be tried any more; its last error stays."""
    return Move(held_attempt(execution_id, nonce), failed_for_good(by, reason, {}))


def rescue(execution_id: str, nonce: str, by: str, failure: Failure, after: AfterFailure) -> Move:
    """Take an attempt from a holder whose lease has ended, by the database's clock."""
    return Move(_lost(execution_id, nonce), _taken(by, failure, after))


def lose(execution_id: str, nonce: str, by: str, failure: Failure, after: AfterFailure) -> Move:
    """Take an attempt from a process that is known to be dead, without waiting for the end of its lease."""
    return Move(held_attempt(execution_id, nonce), _taken(by, failure, after))


def _taken(by: str, failure: Failure, after: AfterFailure) -> list[dict[str, Any]]:
    return [
        {"$set": {"workers_lost": {"$add": [as_count("workers_lost"), 1]}}},
        *_failed(by, failure, after),
        COPY_OUTCOME,
    ]


def _failed(by: str, failure: Failure, after: AfterFailure) -> list[dict[str, Any]]:
    error = {"error": stored_error(failure)}
    if after.due_at is not None:
        return wait_again(by, after.reason, literal(after.due_at), error)
    return failed_for_good(by, after.reason, error)


def stored_error(failure: Failure) -> dict[str, Any]:
    """Return a failure as rows keep it, as an expression: its message is cut."""
    cut = {"code": failure.code, "message": failure.message[:LONGEST_ERROR], "retryable": failure.retryable}
    return literal(cut)


def failed_for_good(by: str, reason: str, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages that end an execution as FAILED; as CANCELLED, when that was asked for meanwhile.

    Decided in the write itself, so that no cancel is missed. A part leaves no dead letter: what becomes of its failure
    its parent says, which can be retried as a whole.
    """
    asked = {"$eq": ["$cancel.call", True]}
    is_part = {"$eq": ["$part", True]}
    pauses = {"$gt": ["$policies.pause_on_failure", 0]}
    return [
        end(
            {"$cond": [asked, literal(State.CANCELLED.value), literal(State.FAILED.value)]},
            by,
            {"$cond": [asked, WHO_STOPPED, literal(reason)]},
            {
                **fields,
                "dead_letter": {"$cond": [{"$or": [asked, is_part]}, "$$REMOVE", True]},
                "letter": {"$cond": [{"$or": [asked, is_part]}, "$$REMOVE", True]},
                "may_pause": {"$cond": [{"$and": [{"$not": [asked]}, pauses]}, True, "$$REMOVE"]},
            },
        ),
    ]


def hand_back(execution_id: str, nonce: str, by: str, reason: str) -> Move:
    """Give a held attempt that was ended without its fault to another worker, at once; it does not count as one."""
    fields = {"handed_back": {"$add": [{"$ifNull": ["$handed_back", 0]}, 1]}}
    return Move(held_attempt(execution_id, nonce), wait_again(by, reason, NOW, fields))


def wait_again(by: str, reason: str, due_at: object, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages that leave RUNNING for PENDING.

    For CANCELLED, when the execution was cancelled, or its job deleted, meanwhile. Decided in the write itself, so that
    no cancel and no deletion is missed.
    """
    stopped = {"$gt": ["$cancel", None]}
    return [
        enter(
            {"$cond": [stopped, literal(State.CANCELLED.value), literal(State.PENDING.value)]},
            by,
            {"$cond": [stopped, WHO_STOPPED, literal(reason)]},
            {
                **fields,
                "due_at": due_at,
                "send_at": {"$cond": [stopped, "$$REMOVE", due_at]},
                "finished_at": {"$cond": [stopped, NOW, "$$REMOVE"]},
                "open": {"$cond": [stopped, "$$REMOVE", True]},
            },
        ),
        LEAVE_RUNNING,
        TELL_OTHERS,
    ]


WHO_STOPPED: Final = {
    "$concat": [
        {"$cond": [{"$eq": ["$cancel.call", True]}, "cancelled by ", "given up by "]},
        as_text("cancel.by"),
        {"$cond": [{"$eq": [as_text("cancel.reason"), ""]}, "", ": "]},
        as_text("cancel.reason"),
    ]
}


def cancel(execution_id: str, by: str, reason: str, *, running: bool = True) -> Move:
    """End an execution: at once if no worker runs it; else its worker is told to cancel the call.

    running: else the attempt that runs is the last.
    """
    return stop({"_id": execution_id}, by, reason, calls=running)


def cancel_earlier(uid: str, before: datetime, by: str, reason: str) -> Move:
    """End what a job's schedule fired, and has not ended, for nominal times before the given one, as cancel does."""
    chosen = {"open": True, "job_uid": uid, "trigger": Trigger.SCHEDULE.value, "nominal_time": {"$lt": before}}
    return stop(chosen, by, reason, calls=True)


def end_open(
    uid: str,
    by: str,
    reason: str,
    *,
    running: bool = False,
    epoch: int | None = None,
    until: datetime | None = None,
) -> Move:
    """End what a deleted job has in flight: cancel what no worker runs, and let the running attempts be the last.

    running: cancel those too. epoch, until: the last of the life that ends, and when it ended; the job may have been
    revived when this is done, and what runs then, by its schedule or by hand, is spared.
    """
    chosen: dict[str, Any] = {"open": True, "job_uid": uid}
    if epoch is not None:
        chosen["$nor"] = [{"epoch": {"$gt": epoch}}]
    if until is not None:
        chosen["$nor"] = [*chosen.get("$nor", ()), {"epoch": {"$exists": False}, "decided_at": {"$gt": until}}]
    return stop(chosen, by, reason, calls=running)


def stop(chosen: Mapping[str, Any], by: str, reason: str, *, calls: bool) -> Move:
    """End rows for good. One write decides for each, so that none slips from the one case into the other in between.

    A running row is marked with who asked and why, so that its attempt is the last; with `calls` its worker also
    cancels the call. So is one that waits for its parts, which beat then ends in the same way. Who asked first stands,
    unless a later one asks for more.
    """
    waiting = {"$eq": ["$state", State.WAITING.value]}
    running = {"$in": ["$state", [State.RUNNING.value, State.WAITING.value]]}
    cancelled = enter(State.CANCELLED, by, reason, {})["$set"]
    asked = {"by": literal(by), "reason": literal(reason), "at": NOW, "call": {"$cond": [running, calls, True]}}
    stands = {"$eq": ["$cancel.call", True]} if calls else {"$gt": ["$cancel", None]}
    fields = {
        "state": {"$cond": [running, "$state", cancelled["state"]]},
        "transitions": {"$cond": [running, "$transitions", cancelled["transitions"]]},
        "changed": {"$cond": [running, "$changed", cancelled["changed"]]},
        "finished_at": {"$cond": [running, "$$REMOVE", NOW]},
        "open": {"$cond": [running, True, "$$REMOVE"]},
        "cancel": {"$cond": [stands, "$cancel", asked]},
        "send_at": "$$REMOVE",
        "held": "$$REMOVE",
        "advance_at": {"$cond": [waiting, NOW, "$$REMOVE"]},
        "signals": {"$cond": [waiting, {"$add": [as_count("signals"), 1]}, "$$REMOVE"]},
    }
    return Move({**chosen, "state": _states(OPEN)}, [{"$set": fields}, TELL_OTHERS, COPY_OUTCOME])


def mark_queued(execution_ids: Sequence[str], attempt: int, by: str) -> Move:
    """Note that the broker confirmed the messages for these executions' next attempt.

    Not if they are further already, which the attempt's number tells. A row that was QUEUED before only notes
    that one more copy was sent.

    A message that was sent before the row is due may have been taken already, by a worker that found a PENDING row and
    nothing to put back (see return_early): another follows when it is due.
    """
    first = {"$eq": ["$state", State.PENDING.value]}
    queued = enter(State.QUEUED, by, "the broker confirmed the message", {})["$set"]
    sent = as_count("sent")
    wait = {"$multiply": [RESEND_FIRST.total_seconds() * 1000, {"$pow": [2, {"$min": [sent, 10]}]}]}
    longest = RESEND_LONGEST.total_seconds() * 1000
    again = {"$add": [NOW, {"$toLong": {"$min": [wait, longest]}}]}
    return Move(
        {
            "_id": {"$in": list(execution_ids)},
            "state": _states(predecessors(State.QUEUED) | {State.QUEUED}),
            "attempt": attempt,
        },
        [
            {
                "$set": {
                    "state": State.QUEUED.value,
                    "transitions": {"$cond": [first, queued["transitions"], "$transitions"]},
                    "changed": {"$cond": [first, queued["changed"], "$changed"]},
                    "queued_at": {"$cond": [first, NOW, "$queued_at"]},
                    "sent": {"$add": [sent, 1]},
                    "send_at": {"$cond": [{"$gt": ["$due_at", NOW]}, {"$min": ["$due_at", again]}, again]},
                }
            }
        ],
    )


def release(execution_id: str) -> Move:
    """Let a held row be sent when it is due: those that it waited for have ended.

    It stays PENDING; that is no step of its life.
    """
    return Move(
        {"_id": execution_id, "state": State.PENDING.value, "held": True},
        [{"$set": {"send_at": {"$max": [NOW, "$due_at"]}, "released_at": NOW}}, {"$unset": ["held"]}],
    )


def postpone_sending(execution_ids: Iterable[str], wait: timedelta) -> Move:
    """Let the relay leave alone, for a while, rows whose message the broker did not take."""
    return Move(
        {"_id": {"$in": list(execution_ids)}, "send_at": {"$type": "date"}},
        [{"$set": {"send_at": from_now(wait)}}],
    )


# What relay and rescue look for:


def send_filter(partitions: Iterable[int], overdue: timedelta = timedelta(0)) -> dict[str, Any]:
    """Find rows whose message is to be sent now: never sent, due for a retry, or unanswered for long.

    overdue: for how long already.
    """
    return {
        "partition": {"$in": sorted(partitions)},
        "send_at": {"$type": "date"},
        "$expr": {"$lte": ["$send_at", from_now(-overdue)]},
    }


def unsent_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find rows whose message is to be sent at some time."""
    return {"partition": {"$in": sorted(partitions)}, "send_at": {"$type": "date"}}


def cancel_previous(row: Mapping[str, Any], by: str) -> Move:
    """Cancel all of a job's schedule that a held row, whose policy is CANCEL_PREVIOUS, is to replace."""
    reason = f"the occurrence {utc_text(row['nominal_time'])} takes its place (CANCEL_PREVIOUS)"
    return cancel_earlier(row["job_uid"], row["nominal_time"], by, reason)


def held_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find rows that wait for others of their job to end, whatever they have where its uid should be."""
    return {"held": True, "partition": {"$in": sorted(partitions)}, "job_uid": {"$gte": MinKey()}}


_UID_TYPE: Final = {"$type": "$job_uid"}
"""As an expression tells it: to a query, a list is of the type of each of its items."""


def held_of_jobs_filter(partitions: Iterable[int], after_uid: str) -> dict[str, Any]:
    """Of those, find the rows of the jobs whose uid is greater than the given one."""
    return held_filter(partitions) | {"job_uid": {"$gt": after_uid}, "$expr": {"$eq": [_UID_TYPE, "string"]}}


def held_of_no_job_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Of those, find the rows whose job cannot be told."""
    return held_filter(partitions) | {"$expr": {"$ne": [_UID_TYPE, "string"]}}


def waiting_filter(queue: str, longer_than: timedelta) -> dict[str, Any]:
    """Find rows of a queue whose message was confirmed so long ago that it should be in the queue or have been run."""
    before = {"$subtract": [NOW, int(longer_than.total_seconds() * 1000)]}
    return {
        "open": True,
        "state": State.QUEUED.value,
        "queue": queue,
        "$expr": {"$lte": ["$queued_at", before]},
    }


def expired_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find attempts whose lease has ended, by the database's clock."""
    return {
        **up_to(SCHEMA),
        "lease.expires_at": {"$type": "date"},
        "partition": {"$in": sorted(partitions)},
        "state": State.RUNNING.value,
        "$expr": {"$lte": ["$lease.expires_at", NOW]},
    }


def left_pipeline(execution_id: str, worker: str, pid: int) -> list[dict[str, Any]]:
    """Find the attempt that one of a worker's processes runs, or has left behind; with the database's time as `now`."""
    running = {"_id": execution_id, **up_to(SCHEMA), "state": State.RUNNING.value}
    return [{"$match": {**running, "lease.holder": worker, "lease.pid": pid}}, {"$set": {"now": NOW}}]


def ahead_filter(partitions: Iterable[int], lease: timedelta) -> dict[str, Any]:
    """Find attempts whose lease ends so much later than one taken now that the database's clock was set back since.

    lease: the usual one; only the index needs it. What ends a lease is has_ended.
    """
    bound = {"$gt": ["$lease.expires_at", from_now(lease)]}
    return expired_filter(partitions) | {"$expr": {"$and": [bound, has_ended("lease.expires_at", "lease.length")]}}


def may_pause_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find failures that may have been one too many for their job's pause_on_failure."""
    return {"state": State.FAILED.value, "may_pause": True, "partition": {"$in": sorted(partitions)}}


MAY_PAUSE_SEEN: Final = {"$unset": {"may_pause": ""}}


def last_ended_filter(uid: str, since: datetime) -> dict[str, Any]:
    """Find what a job's schedule ran that succeeded or failed, of what was decided after an instant."""
    return {
        "job_uid": uid,
        "run": True,
        "trigger": Trigger.SCHEDULE.value,
        "state": _states({State.SUCCEEDED, State.FAILED}),
        "decided_at": {"$gte": since},
    }


# Reading:


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of an execution's life."""

    number: int
    state: State
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parts:
    """How many parts an execution has, and how many of them are in which state, by its name."""

    total: int
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StoredProgress:
    """How far an execution said that it had got, and when; total 0 is not known."""

    done: float
    total: float
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """A row as its readers see it: a run, or a decision on a range of occurrences not to run."""

    execution_id: str
    job_id: str
    job_name: str
    trigger: Trigger
    state: State
    nominal_time: datetime
    last: datetime | None
    count: int
    reason: str
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    max_attempts: int
    workers_lost: int
    queue: str
    worker: str
    target_service: str
    target_method: str
    result: Mapping[str, Any] | None
    result_truncated: bool
    error: Failure | None
    trace_id: str
    cancel_requested: bool
    tzdata: str
    retry_of: str
    held: bool
    parent: str
    """What it is a part of; of a call of a task, the execution that it follows, or was made in."""
    group: str
    part_name: str
    part_key: str
    parts: Parts | None
    transitions: tuple[Transition, ...]
    progress: StoredProgress | None = None
    expires_at: datetime | None = None
    moved: bool = False
    backfill: str = ""
    """The backfill that made it."""


_KINDS: Final = {"job_id": str, "job_name": str}
_OPTIONAL_KINDS: Final = {"queue": str}
"""Of what a decision not to run has not."""


def to_execution(document: Mapping[str, Any]) -> StoredExecution:
    """Read a row. Raises KeyError, TypeError and the like when somebody has changed it by hand."""
    require_kinds(document, _KINDS, _OPTIONAL_KINDS)
    get = document.get
    return StoredExecution(
        execution_id=document["_id"],
        job_id=document["job_id"],
        job_name=document["job_name"],
        trigger=Trigger(document["trigger"]),
        state=State(document["state"]),
        nominal_time=own_time(document),
        last=get("last"),
        count=get("count", 1),
        reason=get("reason", ""),
        due_at=get("due_at"),
        started_at=get("started_at"),
        finished_at=get("finished_at"),
        attempt=get("attempt", 0),
        max_attempts=most_attempts(document),
        workers_lost=get("workers_lost", 0),
        queue=get("queue", ""),
        worker=get("worker", ""),
        target_service=get("target_service", ""),
        target_method=get("target_method", ""),
        result=_shown_result(document["result"]) if "result" in document else None,
        result_truncated=get("result_truncated", False),
        error=Failure(**document["error"]) if "error" in document else None,
        trace_id=get("trace_id", ""),
        retry_of=get("retry_of", ""),
        cancel_requested=get("cancel", {}).get("call", False),
        tzdata=get("tzdata", ""),
        held="held" in document,
        parent=get("parent") or get("parent_id", ""),
        group=get("group", ""),
        part_name=get("part_name", ""),
        part_key=get("part_key", ""),
        parts=_parts(document),
        transitions=tuple(
            Transition(t["number"], State(t["state"]), t["at"], t["by"], t["reason"]) for t in get("transitions", ())
        ),
        progress=StoredProgress(**document["progress"]) if "progress" in document else None,
        expires_at=get("expires_at"),
        moved="moved_from" in document,
        backfill=get("backfill", ""),
    )


def own_time(document: Mapping[str, Any]) -> datetime:
    """Return the nominal time of the occurrence that a row is for; one that was moved runs at another time."""
    nominal: datetime = document.get("moved_from", document["nominal_time"])
    return nominal


def _parts(document: Mapping[str, Any]) -> Parts | None:
    if "flow" not in document:
        return None
    return Parts(document.get("total", 0) + document.get("carried", {}).get("succeeded", 0), document.get("parts", {}))


def _shown_result(text: str) -> Mapping[str, Any] | None:
    """Return a result as the API shows it, whose results are objects: another value under `value`, and null as none."""
    result = json.loads(text)
    return result if isinstance(result, dict) or result is None else {"value": result}


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that this process holds: all that its call needs. parameters is JSON.

    tries is the number of the attempt without those that were handed back, and without those that ended in a retry that
    its task asked for: what its retry policy counts. The limits, in seconds, are those of its caller.

    flow: what it starts, if it has parts. reuse: the id of an earlier execution of which only what has not succeeded is
    done. context: what the expressions in its parameters take from, if it is a step; broken: why it can't be run at
    all. parent: the id of the execution that it is a part of; parent_id: of the one that called it, if code did.
    """

    execution_id: str
    nonce: str
    attempt: int
    tries: int
    job_id: str
    job_name: str
    trigger: Trigger
    nominal_time: datetime
    target_service: str
    target_method: str
    parameters: str
    timeout: timedelta
    retry: RetryPolicy
    retry_until: datetime | None
    queue: str
    trace_id: str
    flow: Flow | None = None
    reuse: str = ""
    context: Mapping[str, Any] | None = None
    broken: str = ""
    parent: str = ""
    priority: int = 5
    retries: int = 0
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    root_id: str = ""
    parent_id: str = ""
    expires_at: datetime | None = None
    rate_slot: Mapping[str, Any] | None = None
    canvas: bool = False

    @property
    def hands_on(self) -> bool:
        """Whether others may take from its result: the steps after it, what follows it in a canvas."""
        return bool(self.parent) or self.canvas


def tries(document: Mapping[str, Any]) -> int:
    """Return how many of a row's attempts count for its retry policy.

    Not those that were handed back, nor those after which its task asked for a retry: these the task counts.
    """
    count: int = document["attempt"] - document.get("handed_back", 0) - document.get("retries", 0)
    return count


def most_attempts(row: Mapping[str, Any]) -> int:
    """Return how many attempts a row may have, those that its retry policy does not count included; 0: none."""
    most: int = row.get("retry", {}).get("max_attempts", 0) + row.get("handed_back", 0) + row.get("retries", 0)
    return most


LOSS_FIELDS: Final = dict.fromkeys(("attempt", "handed_back", "retries", "retry", "retry_until", "policies"), 1)


def after_loss(row: Mapping[str, Any], what: str, now: datetime) -> tuple[Failure, AfterFailure]:
    """Decide what follows when the worker of a row's attempt is lost at `now` (the database's time).

    what: how it was lost, as `worker x fell silent`.
    """
    policy = WorkerLost(row.get("policies", {}).get("on_worker_lost", WorkerLost.RETRY))
    failure = Failure(WORKER_LOST, f"{what} during attempt {row['attempt']}", retryable=policy is WorkerLost.RETRY)
    after = after_lost_worker(
        what,
        tries(row),
        row["retry"]["max_attempts"],
        now,
        retry_until=row.get("retry_until"),
        on_worker_lost=policy,
    )
    return failure, after


def to_claimed(document: Mapping[str, Any]) -> Claimed:
    """Read the row that a claim returned."""
    return Claimed(
        execution_id=document["_id"],
        nonce=document["lease"]["nonce"],
        attempt=document["attempt"],
        tries=tries(document),
        job_id=document["job_id"],
        job_name=document["job_name"],
        trigger=Trigger(document["trigger"]),
        nominal_time=own_time(document),
        target_service=document["target_service"],
        target_method=document["target_method"],
        parameters=document["parameters"],
        timeout=timedelta(seconds=document["timeout"]),
        retry=retry_policy(document["retry"]),
        retry_until=document.get("retry_until"),
        queue=document["queue"],
        trace_id=document["trace_id"],
        flow=to_flow(document["flow"]) if "flow" in document else None,
        reuse=document.get("reuse", ""),
        context=json.loads(document["context"]) if "context" in document else None,
        broken=document.get("broken", ""),
        parent=document["parent"] if "part" in document else "",
        priority=document["priority"],
        retries=document.get("retries", 0),
        time_limit=document.get("time_limit"),
        soft_time_limit=document.get("soft_time_limit"),
        ignore_result=document.get("ignore_result"),
        canvas="canvas" in document or "group" in document,
        headers=document.get("headers", {}),
        root_id=document.get("root_id", ""),
        parent_id=document.get("parent_id", ""),
        expires_at=document.get("expires_at"),
        rate_slot=document.get("rate_slot"),
    )


def cut_result(result: Any, *, handed_on: bool = False) -> tuple[str, bool]:
    """Return a result as JSON, and whether it was cut: of a larger one only the beginning of its text is kept.

    handed_on: whether others take from it, for whom a part of it would be worse than none; then more is kept.
    """
    text = json.dumps(result, ensure_ascii=False)
    encoded = text.encode()
    if len(encoded) <= (LARGEST_HANDED_ON if handed_on else LARGEST_RESULT):
        return text, False
    kept = encoded[:LARGEST_RESULT].decode(errors="ignore")
    while len((cut := json.dumps({"truncated": kept}, ensure_ascii=False)).encode()) > LARGEST_RESULT:
        kept = kept[: len(kept) * 9 // 10]  # every quote and backslash in it takes two bytes
    return cut, True


# Lists and counts:


NEWEST_FIRST: Final = [("nominal_time", -1), ("_id", -1)]

SHOWN: Final = {"state": {"$ne": State.CLOSED.value}}
"""Finds what readers are shown; see SHOWN_STATES."""

NOT_RETRIED: Final = {"items": 0, "context": 0}
"""What a retry has no use for: its worker asks for the items that are left, and a step is not retried by itself."""

NOT_SHOWN: Final = {**NOT_RETRIED, "canvas": 0}
"""What readers need not be sent: megabytes that an execution keeps for what is still to be done."""


RUN_OR_DECISION: Final = {"run": {"$in": [True, False]}}
"""Finds what counts for a job: no part, and nothing that closes a chain."""


BY_END: Final = {"finished_at": 1}


def not_ended_before(since: datetime) -> dict[str, Any]:
    """Find what counts for a job, and is in flight or has ended from an instant on."""
    return {**RUN_OR_DECISION, "finished_at": {"$not": {"$lt": since}}}


def with_runs(since: datetime) -> list[dict[str, Any]]:
    """Return the stages that add to a job its newest run, and in which states its rows not ended before an instant are.

    As lists: `newest` of one run at most, `counts` of a state as `_id` and a count, in which a gap row counts as its
    occurrences. Each is one range of an index of its own, `job` and `job_end`. In that one a row moves forward when it
    ends, so it is not missed; and of what is read in an order, from two ranges, MongoDB leaves out what it met before.
    """
    return [
        _looked_up("newest", {"$match": {"run": True}}, {"$sort": dict(NEWEST_FIRST)}, {"$limit": 1}, _SHOWN_ONLY),
        _looked_up(
            "counts",
            {"$match": not_ended_before(since)},
            {"$sort": BY_END},
            {"$group": {"_id": "$state", "count": {"$sum": {"$ifNull": ["$count", 1]}}}},
        ),
    ]


_SHOWN_ONLY: Final = {"$project": NOT_SHOWN}


def _looked_up(name: str, *stages: Mapping[str, Any]) -> dict[str, Any]:
    of_job = {"localField": "uid", "foreignField": "job_uid"}
    return {"$lookup": {"from": COLLECTION, **of_job, "pipeline": stages, "as": name}}


def ended_filter(cutoff: datetime) -> dict[str, Any]:
    """Find rows that ended before an instant. The type is what lets the partial index be used."""
    return {"finished_at": {"$type": "date", "$lt": cutoff}}


# Celery's copies of what no worker has ended:


def uncopied_filter(partitions: Iterable[int], but: Collection[str] = ()) -> dict[str, Any]:
    """Find what has ended without a copy in Redis. but: ids of executions that are left out."""
    return {"trigger": Trigger.API.value, "uncopied": True, "partition": {"$in": sorted(partitions)}, **left_out(but)}


def left_out(ids: Collection[str]) -> dict[str, Any]:
    """Return what a filter has besides, so that it finds none of these."""
    return {"_id": {"$nin": sorted(ids)}} if ids else {}


UNCOPIED_FIELDS: Final = {
    **dict.fromkeys(("state", "error", "result", "result_truncated", "canvas", "cancel"), 1),
    "transitions": {"$slice": -1},
}


def lacks_copy(execution_id: str) -> Move:
    """Mark what has ended, and code may wait for, while Redis took no copy of it."""
    return Move({"_id": execution_id, "trigger": Trigger.API.value}, [COPY_OUTCOME])


def copied(execution_id: str) -> Move:
    """Take the mark off what has its copy."""
    return Move({"_id": execution_id, "uncopied": True}, [{"$unset": ["uncopied"]}])
