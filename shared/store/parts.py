"""Executions with parts: the rows of parts in the collection `executions`, and all filters and updates of such wholes.

A worker that starts a fan-out or a workflow moves it from RUNNING to WAITING. From then on beats drive it: each look at
it reads its parts, inserts those whose turn it is, by ids that are made of the parent's so that a second insert is a
duplicate, and ends it when all have ended. Whoever ends a part marks it (`settle`) in the same write; a beat turns
marks into a signal for the parent (`signals`, a count), and what it concluded from its look it writes only where no
further signal has come since.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import FailedPrecondition
from shared.domain.execution import OPEN, Failure, State, Trigger, part_id, rfc3339
from shared.store.executions import (
    LARGEST_HANDED_ON,
    LEAVE_RUNNING,
    OWN_PUBLISHER_GRACE,
    RELAY_FIELDS,
    SCHEMA,
    TELL_OTHERS,
    WHO_STOPPED,
    Move,
    as_job,
    end,
    enter,
    failed_for_good,
    first_transition,
    held_attempt,
    own_time,
    pending_fields,
    stop,
    stored_error,
)
from shared.store.flows import flow_document
from shared.store.pipeline import NOW, as_count, from_now, literal, up_to
from shared.store.retry import retry_policy_document
from shared.store.tail import NEW_ROW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.domain.flow import Ending, Step

SLOT: Final = "slot"
"""The `held` of an item that waits until fewer of its fan-out run; `True` is the relay's, for overlaps."""

PARTS_FAILED: Final = "PARTS_FAILED"
"""The code of a parent too many of whose parts have not succeeded."""


PARENT_INDEX: Final = "parent_state"
"""The index of the parts of one execution, by state and place."""


# Beginning to wait, by the worker:


def wait_for_parts(
    execution_id: str, nonce: str, by: str, *, total: int, items: str | None = None, carried: Mapping[str, Any]
) -> Move:
    """Let a held attempt end in waiting for its parts; in CANCELLED, when that was asked for meanwhile.

    total: how many parts there will be. items: JSON of what is to be made of each item, as `item` writes it; None for a
    workflow. carried: what of an earlier execution of the same work stands, so that it is not done again: `succeeded`,
    a number of items beside the total; or of a workflow `steps`, by name to the ids of their executions, and `again`,
    likewise, of those fan-outs of which a part is to be done again.
    """
    stopped = {"$gt": ["$cancel", None]}
    fields: dict[str, Any] = {
        "total": literal(total),
        "expanded": literal(0),
        "carried": literal(dict(carried)),
        "signals": literal(0),
        "advance_at": {"$cond": [stopped, "$$REMOVE", NOW]},
        "finished_at": {"$cond": [stopped, NOW, "$$REMOVE"]},
        "open": {"$cond": [stopped, "$$REMOVE", True]},
    }
    if items is not None:
        fields["items"] = literal(items)
    state = {"$cond": [stopped, literal(State.CANCELLED.value), literal(State.WAITING.value)]}
    entered = enter(state, by, {"$cond": [stopped, WHO_STOPPED, literal("waits for its parts")]}, fields)
    return Move(held_attempt(execution_id, nonce), [entered, LEAVE_RUNNING, {"$unset": ["error"]}, TELL_OTHERS])


def item(number: int, parameters: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return what is to be made of one item, as the parent keeps it until the item's row is there."""
    return {"n": number, "p": parameters, "k": key}


# Rows of parts. A parent is its document, with the database's time as `now`:


def item_document(parent: Mapping[str, Any], item: Mapping[str, Any], by: str, *, held: bool) -> dict[str, Any]:
    """Return the row of an item of a fan-out. held: it waits for a slot."""
    number: int = item["n"]
    job = _as_job(parent)
    job["parameters"] = json.dumps(item["p"], ensure_ascii=False, allow_nan=False)
    document = _part(parent, job, f"{number:05}", by) | {
        "number": number,
        "part_name": str(number),
        "part_key": item["k"],
    }
    if held:
        document["held"] = SLOT
        del document["send_at"]
    return document


def stopped_item_document(parent: Mapping[str, Any], item: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Return the row of an item whose row was not there yet when its fan-out was stopped: it ends as those that were.

    It has to have one, or a beat with an old snapshot might still insert it, and nobody would end it.
    """
    document = item_document(parent, item, by, held=False)
    now, asked = parent["now"], parent["cancel"]
    ended = {**first_transition(State.CANCELLED, now, by, _stopped_with_parent(parent)), "number": 2}
    for name in ("open", "send_at"):
        del document[name]
    return document | {
        "state": State.CANCELLED.value,
        "finished_at": now,
        "cancel": {"by": by, "reason": _stopped_with_parent(parent), "at": now, "call": asked["call"]},
        "transitions": [*document["transitions"], ended],
    }


def step_document(
    parent: Mapping[str, Any],
    step: Step,
    number: int,
    by: str,
    *,
    context: str,
    broken: str = "",
    again: str = "",
) -> dict[str, Any]:
    """Return the row of a step that starts.

    context: JSON of what its expressions take from. broken: why it can't run; the worker ends it with that. again: the
    id of the execution of an earlier run, of a fan-out of which only what has not succeeded is done.
    """
    job = _as_job(parent) | {
        "target_service": step.target_service,
        "target_method": step.target_method,
        "parameters": json.dumps(step.parameters, ensure_ascii=False, allow_nan=False),
    }
    if step.queue:
        job["queue"] = step.queue
    if step.priority is not None:
        job["priority"] = step.priority
    if step.timeout is not None:
        job["timeout"] = step.timeout.total_seconds()
    if step.retry is not None:
        job["retry"] = retry_policy_document(step.retry)
    if step.fan_out is not None:
        job["flow"] = flow_document(step.fan_out)
    fields = _part(parent, job, step.name, by) | {
        "number": number,
        "part_name": step.name,
        "context": context,
    }
    return fields | ({"broken": broken} if broken else {}) | ({"reuse": again} if again else {})


def skipped_step_document(parent: Mapping[str, Any], step: Step, number: int, by: str, reason: str) -> dict[str, Any]:
    """Return the row of a step whose turn came, and that does not run."""
    now = parent["now"]
    return {
        "_id": part_id(parent["_id"], step.name),
        "state": State.SKIPPED.value,
        "trigger": Trigger.PART.value,
        "finished_at": now,
        "parent": parent["_id"],
        "number": number,
        **NEW_ROW,
        **{name: parent[name] for name in ("job_uid", "nominal_time", "partition", "job_id", "job_name", "trace_id")},
        "schema": SCHEMA,
        "part": False,
        "part_name": step.name,
        "target_service": step.target_service,
        "target_method": step.target_method,
        "reason": reason,
        "decided_at": now,
        "transitions": [first_transition(State.SKIPPED, now, by, reason)],
    }


def _as_job(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parent says of its job, for a part of it."""
    job = as_job(parent) | {"queue": parent.get("parts_queue", parent["queue"])}
    return {name: value for name, value in job.items() if name not in {"flow", "context"}}


def _part(parent: Mapping[str, Any], job: Mapping[str, Any], name: str, by: str) -> dict[str, Any]:
    now = parent["now"]
    execution_id = part_id(parent["_id"], name)
    fields = pending_fields(job, execution_id, now, now, by, f"a part of {parent['_id']}")
    del fields["run"]
    policies = fields["policies"]
    document = {
        "_id": execution_id,
        "state": State.PENDING.value,
        "trigger": Trigger.PART.value,
        "job_uid": parent["job_uid"],
        "nominal_time": parent["nominal_time"],
        "parent": parent["_id"],
        **fields,
        "schema": SCHEMA,
        "job_id": parent["job_id"],
        "job_name": parent["job_name"],
        "decided_at": now,
        "part": True,
        "trace_id": parent["trace_id"],
        # What its failures mean for the job is its parent's to say.
        "policies": {name: value for name, value in policies.items() if name == "on_worker_lost"},
    }
    # The life of the job is its parent's as well: what ends an earlier one leaves it alone.
    return document | {name: parent[name] for name in ("retry_until", "epoch", "moved_from") if name in parent}


# What a worker asks before it runs a part:


def wanted_filter(parent_id: str) -> dict[str, Any]:
    """Find a part's parent while it wants its parts: it waits for them, and nobody has stopped it."""
    return {"_id": parent_id, "state": State.WAITING.value, "cancel": {"$exists": False}}


STOPPED: Final = {"state": State.WAITING.value, "cancel": {"$exists": True}}
"""What somebody has stopped, and whose parts beat is to end."""


# What a worker asks that is to do only what an earlier execution has left:


REUSED_FIELDS: Final = dict.fromkeys(("total", "carried", "items", "reuse", "parts"), 1)
REUSED_PART_FIELDS: Final = dict.fromkeys(("state", "number", "part_name", "part_key", "parameters", "flow.kind"), 1)


# What beat looks for:


def settled_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find parts that have ended, and whose parents have not been told."""
    return {"trigger": Trigger.PART.value, "settle": True, "partition": {"$in": sorted(partitions)}}


def signal(parent_ids: Iterable[str]) -> Move:
    """Tell parents that parts of theirs have ended."""
    return Move(
        {"_id": {"$in": list(parent_ids)}, "state": State.WAITING.value},
        [{"$set": {"signals": {"$add": [as_count("signals"), 1]}, "advance_at": NOW}}],
    )


def told(part_ids: Iterable[str]) -> Move:
    """Take the mark off parts whose parents were told."""
    return Move({"_id": {"$in": list(part_ids)}, "settle": True}, [{"$unset": ["settle"]}])


def advance_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find what waits for its parts and has to be looked at."""
    return {
        **up_to(SCHEMA),
        "partition": {"$in": sorted(partitions)},
        "advance_at": {"$type": "date"},
        "state": State.WAITING.value,
    }


def counts_pipeline(parent_id: str) -> list[dict[str, Any]]:
    """Count the parts of an execution by state, and by whether they wait for a slot."""
    return [
        {"$match": parts_filter(parent_id)},
        {"$group": {"_id": {"state": "$state", "held": {"$eq": ["$held", SLOT]}}, "count": {"$sum": 1}}},
    ]


def parts_filter(parent_id: str) -> dict[str, Any]:
    """Find all parts of an execution."""
    return {"trigger": Trigger.PART.value, "parent": parent_id}


BY_NUMBER: Final = [("number", 1)]

WHOLE_FIELDS: Final = dict.fromkeys(
    (
        "job_id", "job_uid", "job_name", "epoch", "job_revision", "job_type", "partition", "nominal_time",
        "moved_from", "target_service", "target_method", "parameters", "queue", "priority", "timeout", "retry",
        "retry_until", "policies", "trace_id", "parts_queue", "flow", "total", "expanded", "carried", "signals",
        "cancel", "parent",
    ),
    1,
)  # fmt: skip
"""What it takes to advance what has parts; all but the items, which may be megabytes."""

STEP_FIELDS: Final = dict.fromkeys(("state", "part_name"), 1)
"""What it takes to find the next steps of a workflow."""

OUTCOME_FIELDS: Final = dict.fromkeys(("state", "result", "result_truncated", "error", "reuse"), 1)
ITEM_FIELDS: Final = dict.fromkeys(("state", "number", "result", "result_truncated", "error"), 1)


def outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a part has ended, as expressions see it. Raises FailedPrecondition when its result was cut."""
    if row.get("result_truncated"):
        limit = f"{LARGEST_HANDED_ON:,} bytes of JSON"
        raise FailedPrecondition(f"the result of {row['_id']} is too large to take from (more than {limit})")
    return {
        "state": row["state"],
        "result": json.loads(row["result"]) if "result" in row else None,
        "error": {"code": row["error"]["code"], "message": row["error"]["message"]} if "error" in row else None,
    }


def as_context(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what expressions see of the execution itself."""
    return {"id": row["_id"], "job_id": row["job_id"], "nominal_time": rfc3339(own_time(row))}


def open_filter(parent_id: str) -> dict[str, Any]:
    """Find the items that have not ended, by their numbers read from an index.

    The first so many of them are those that may run: then no two beats let more run, however old what they have read.
    An item that was among the first stays so, since items only end; and none is given a slot before all have rows.
    """
    states = {"$in": sorted(state.value for state in OPEN)}
    return {**parts_filter(parent_id), "state": states, "held": {"$in": [None, SLOT]}}


SLOT_FIELDS: Final = {**RELAY_FIELDS, "held": 1}


# Moves of what waits:


def expanded(parent: Mapping[str, Any], through: int) -> Move:
    """Note how many of the items have their rows; when all have, what was kept of them goes."""
    done: list[dict[str, Any]] = [{"$unset": ["items"]}] if through == parent["total"] else []
    return Move(
        {"_id": parent["_id"], "state": State.WAITING.value, "expanded": parent["expanded"]},
        [{"$set": {"expanded": through}}, *done],
    )


def give_slots(part_ids: Sequence[str]) -> Move:
    """Let items run that waited for a slot. The caller sends their messages; the relay does, if it can't."""
    return Move(
        {"_id": {"$in": list(part_ids)}, "state": State.PENDING.value, "held": SLOT},
        [{"$set": {"send_at": from_now(OWN_PUBLISHER_GRACE), "released_at": NOW}}, {"$unset": ["held"]}],
    )


def rest(parent: Mapping[str, Any], counts: Mapping[str, int]) -> Move:
    """Leave a parent alone until a part of it ends; not if one has since it was read."""
    return Move(_unchanged(parent), [{"$set": {"parts": literal(dict(counts))}}, {"$unset": ["advance_at"]}])


def end_whole(
    parent: Mapping[str, Any], ending: Ending, by: str, counts: Mapping[str, int], result: Mapping[str, Any]
) -> Move:
    """End a parent whose parts have ended; not if it was stopped, or a part ended, since it was read."""
    kept = {"parts": literal(dict(counts)), "result": literal(json.dumps(result, ensure_ascii=False))}
    match ending.state:
        case State.SUCCEEDED:
            stages = [end(State.SUCCEEDED, by, ending.reason, kept)]
        case State.FAILED:
            failure = Failure(PARTS_FAILED, ending.reason, retryable=False)
            stages = failed_for_good(by, "", {**kept, "error": stored_error(failure)})
        case _:
            stages = [end(State.CANCELLED, by, WHO_STOPPED, kept)]
    return Move(_unchanged(parent), stages)


def park_parts(parent: Mapping[str, Any], by: str) -> Move:
    """End the parts of a parent that can't be read, and let those that run do so for the last time.

    Before the parent itself: behind it nobody would look at them any more.
    """
    reason = f"the execution that it is a part of can't be read: {parent['_id']}"
    return stop({"open": True, **parts_filter(parent["_id"])}, by, reason, calls=False)


def park_whole(parent: Mapping[str, Any], by: str, why: str) -> Move:
    """End a parent that can't be read: nobody else could, and it would wait for ever."""
    error = stored_error(Failure("INTERNAL", why, retryable=False))
    return Move({"_id": parent["_id"], "state": State.WAITING.value}, failed_for_good(by, "", {"error": error}))


def stop_parts(parent: Mapping[str, Any], by: str) -> Move:
    """End the parts of a parent that somebody has stopped, as far as that asks for: see executions.stop."""
    asked = parent["cancel"]
    chosen = {"open": True, **parts_filter(parent["_id"])}
    return stop(chosen, by, _stopped_with_parent(parent), calls=bool(asked["call"]))


def _stopped_with_parent(parent: Mapping[str, Any]) -> str:
    return f"the execution that it is a part of was stopped by {parent['cancel']['by']}"


def _unchanged(parent: Mapping[str, Any]) -> dict[str, Any]:
    return {"_id": parent["_id"], "state": State.WAITING.value, "signals": parent["signals"]}
