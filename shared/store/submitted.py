"""Executions that code asks for, by calling a task: their rows, and the end of what was not started in time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import State, Trigger, predecessors
from shared.domain.job import TASK, JobType
from shared.store.executions import COPY_OUTCOME, SCHEMA, Move, end, pending_fields
from shared.store.jobs import partition_of
from shared.store.pipeline import is_past, up_to
from shared.store.retry import retry_policy_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from shared.domain.retry import RetryPolicy

EXECUTION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]{0,127}")
"""An id that code may choose. Without a dot: those with dots are the ledger's own."""


def submitted_document(
    execution_id: str,
    task: str,
    parameters: str,
    now: datetime,
    by: str,
    *,
    due_at: datetime,
    queue: str,
    priority: int,
    timeout: timedelta,
    retry: RetryPolicy,
    shown_as: str = "",
    trace_id: str = "",
    expires_at: datetime | None = None,
    call: Mapping[str, Any] | None = None,
    group: tuple[str, int] | None = None,
    broken: str = "",
) -> dict[str, Any]:
    """Return the row of a task that was called at `now`, the database's time. It belongs to no job.

    parameters: JSON. shown_as: what people read instead of the task's name. call: those of CALL_FIELDS that there are.
    group: the group of Celery's canvas that it is in, and its place there. broken: why it can't be run; a worker ends
    it with that.
    """
    stand_in = {
        "revision": 0,
        "partition": partition_of(execution_id),
        "job_type": JobType.CUSTOM.value,
        "target_service": TASK,
        "target_method": task,
        "parameters": parameters,
        "queue": queue,
        "priority": priority,
        "timeout": timeout.total_seconds(),
        "retry": retry_policy_document(retry),
        **(call or {}),
    }
    pending = pending_fields(stand_in, execution_id, due_at, now, by, "called")
    return {
        "_id": execution_id,
        "state": State.PENDING.value,
        "trigger": Trigger.API.value,
        "job_uid": execution_id,
        "nominal_time": due_at,
        **pending,
        "schema": SCHEMA,
        "job_id": "",
        "job_name": shown_as or task,
        "decided_at": now,
        **({"trace_id": trace_id} if trace_id else {}),
        **({"expires_at": expires_at} if expires_at is not None else {}),
        **({"group": group[0], "group_index": group[1]} if group else {}),
        **({"broken": broken} if broken else {}),
    }


NOT_STARTED: Final = {"$lte": ["$attempt", {"$ifNull": ["$handed_back", 0]}]}
"""No attempt has been made but those that were handed back."""


EXPIRED: Final = "it expired at "
"""Begins the reason of what was cancelled because it had expired; others read it by that."""


def expire(chosen: Mapping[str, Any], by: str) -> Move:
    """End what was not started before it expired, by the database's clock."""
    said = {"$dateToString": {"date": "$expires_at", "format": "%Y-%m-%dT%H:%M:%SZ"}}
    reason = {"$concat": [EXPIRED, said, ", before it was started"]}
    waiting = sorted(state.value for state in predecessors(State.CANCELLED) & predecessors(State.RUNNING))
    return Move(
        {
            **up_to(SCHEMA),
            **chosen,
            "state": {"$in": waiting},
            "expires_at": {"$type": "date"},
            "$expr": {"$and": [is_past("expires_at"), NOT_STARTED]},
        },
        [end(State.CANCELLED, by, reason), COPY_OUTCOME],
    )


def expire_one(execution_id: str, by: str) -> Move:
    """End an execution as expire does."""
    return expire({"_id": execution_id}, by)


def expired_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find what expire_all would end."""
    return expire_all(partitions, "").filter


def expire_all(partitions: Iterable[int], by: str) -> Move:
    """End all executions of these partitions that have expired, as expire does."""
    return expire({"open": True, "partition": {"$in": sorted(partitions)}}, by)
