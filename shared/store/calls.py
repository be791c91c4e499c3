"""Of the collection `jobs`: which targets jobs call, and whether their calls still fit what these take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.domain.job import JobState
from shared.store.flows import flow_targets, to_flow
from shared.store.jobs import DRIFT, MARKED_FOR, MARKS, SCHEMA, UNCHECKED
from shared.store.pipeline import NOW, literal, up_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FLOW_TARGETS: Final = "flow.targets"
"""The targets that a fan-out's source, or a workflow's steps call; flows of before this was kept lack it."""
IS_FLOW: Final = {"flow.kind": {"$type": "string"}}
"""The index of the targets of flows has this condition."""
HAS_DRIFT: Final = {f"{DRIFT}.since": {"$type": "date"}}
IS_UNCHECKED: Final = {UNCHECKED: True}
_NOT_DELETED: Final = {"$expr": {"$ne": ["$state", JobState.DELETED.value]}}
"""As an expression, which no index of states answers: that would be nearly all jobs."""


def uses_filter(target: str) -> dict[str, Any]:
    """Find the jobs that call a target, without deleted ones."""
    return {
        "$or": [{"target_service": target}, {**IS_FLOW, FLOW_TARGETS: target}],
        **_NOT_DELETED,
    }


def unlisted_flows_filter() -> dict[str, Any]:
    """Find the flows of before their targets were kept."""
    return {**up_to(SCHEMA), **IS_FLOW, FLOW_TARGETS: {"$exists": False}}


def flow_behind(target: str) -> dict[str, Any]:
    """Find the flows that name a target behind this one; the first by the index names the next one."""
    return {**IS_FLOW, FLOW_TARGETS: {"$gt": target}}


def unlisted_flow_filter(document: Mapping[str, Any]) -> dict[str, Any]:
    """Find such a job if its flow is as it was read."""
    return {"_id": document["_id"], "flow": document["flow"]}


def list_flow_targets(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the update that keeps the targets of a flow beside it."""
    return {"$set": {FLOW_TARGETS: flow_targets(to_flow(document["flow"]))}}


def mark_unchecked(target: str, marking: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the filter and the update of jobs one of whose targets has another contract.

    Also of those that are unchecked already, which somebody may just judge by the one of before; but of none twice in
    one marking, so that one that broke off goes on.
    """
    to_mark = {**uses_filter(target), MARKED_FOR: {"$ne": marking}}
    return to_mark, {"$set": {UNCHECKED: True, MARKED_FOR: marking}, "$inc": {MARKS: 1}}


def forget_drift() -> dict[str, Any]:
    """Return the update of jobs one of whose targets is another service now."""
    return {"$set": {UNCHECKED: True, DRIFT: None}, "$inc": {MARKS: 1}}


def unchecked_filter(target: str, after: str) -> list[dict[str, Any]]:
    """Find the unchecked jobs that call a target themselves, and those whose flows do, behind an id."""
    unchecked = {**up_to(SCHEMA), **IS_UNCHECKED, **_NOT_DELETED, "_id": {"$gt": after}}
    return [{**unchecked, "target_service": target}, {**unchecked, FLOW_TARGETS: target}]


def judged_filter(document: Mapping[str, Any]) -> dict[str, Any]:
    """Find a job if nobody has edited it since it was read, or marked it once more."""
    return {"_id": document["_id"], "edits": document["edits"], MARKS: document.get(MARKS), **IS_UNCHECKED}


def judged(problems: Iterable[str]) -> list[dict[str, Any]]:
    """Return the update that says how a job fits its targets: where it does not, with since when."""
    said = list(problems)
    if not said:
        return [{"$set": {DRIFT: None}}, {"$unset": UNCHECKED}]
    since = {"$ifNull": [f"${DRIFT}.since", NOW]}
    return [{"$set": {DRIFT: {"since": since, "problems": literal(said)}}}, {"$unset": UNCHECKED}]
