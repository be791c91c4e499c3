"""Celery's canvas in the store: the collection `groups`, and the marks of executions that something follows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import TERMINAL
from shared.store.executions import Move, left_out
from shared.store.pipeline import NOW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

GROUPS: Final = "groups"
"""How many executions the header of a chord has, and whether its body has been called: `_id` is the group's id."""

KEPT: Final = timedelta(days=90)
"""How long that is known; a chord whose header takes longer is never completed."""


def size_of(group: str, size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the upsert that notes the size of a group."""
    return {"_id": group}, [{"$set": {"size": size, "at": NOW}}]


def body_called(group: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the upsert that notes that the body of a group is there."""
    return {"_id": group}, [{"$set": {"called": True, "at": NOW}}]


def waiting_filter(groups: Iterable[str]) -> dict[str, Any]:
    """Find those of some groups whose body has not been called."""
    return {"_id": {"$in": sorted(groups)}, "called": {"$exists": False}}


def followed_filter(partitions: Iterable[int], but: Collection[str] = ()) -> dict[str, Any]:
    """Find executions that have ended, and that something may follow; but: ids of executions that are left out."""
    return {"follow": True, "partition": {"$in": sorted(partitions)}, **left_out(but)}


FOLLOWED_FIELDS: Final = dict.fromkeys(
    ("state", "result", "result_truncated", "error", "canvas", "group", "root_id", "target_method", "parameters"), 1
)


def followed(execution_ids: Iterable[str]) -> Move:
    """Take the mark off executions whose followers are there."""
    return Move({"_id": {"$in": list(execution_ids)}, "follow": True}, [{"$unset": ["follow"]}])


def members_filter(group: str) -> dict[str, Any]:
    """Find the executions of a group that have ended."""
    return {"group": group, "state": {"$in": sorted(state.value for state in TERMINAL)}}


MEMBER_FIELDS: Final = dict.fromkeys(("state", "result", "result_truncated", "error", "group_index"), 1)
BY_INDEX: Final = [("group_index", 1), ("_id", 1)]
