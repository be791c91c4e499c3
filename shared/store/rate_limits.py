"""The collection `rate_limits`: the line of those attempts of a task that one worker's processes have given turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from shared.store.executions import Move
from shared.store.pipeline import NOW, from_now, milliseconds

COLLECTION: Final = "rate_limits"

KEPT: Final = timedelta(hours=1)
"""How long what was handed out last is kept; a limit that is slower keeps it until its next turn."""


def key(task: str, worker: str) -> str:
    """Return the id of the row of a task on a worker."""
    return f"{task}@{worker}"


def take_turn(task: str, worker: str, interval: timedelta, soon: timedelta, *, has_turn: bool) -> Move:
    """Take a turn at the end of the line: `turn` is then when it is, at once if nobody is in it. An upsert.

    has_turn: of an attempt whose turn has come; then it begins, unless others that are late have just begun. One that
    is late by less than half an interval is not late: messages take their time, and the next would lose its turn.
    soon: how far away a turn may be that is not given back, but waited for.
    """
    span = milliseconds(interval)
    after_last = {"$add": ["$begun", span]}
    first = [from_now(-interval / 2)] if has_turn else [NOW, "$next"]
    begins = {"$lte": ["$turn", from_now(soon)]}
    at_end: dict[str, Any] = {"$cond": [begins, "$turn", {"$max": ["$turn", "$next"]}]}
    kept = {"$max": [from_now(KEPT), {"$add": ["$turn", 2 * span]}]}
    stages = [
        {"turn": {"$max": [*first, after_last]}},
        {"turn": at_end, "begun": {"$cond": [begins, "$turn", "$begun"]}},
        {"next": {"$max": ["$next", {"$add": ["$turn", span]}]}, "expires_at": kept},
    ]
    return Move({"_id": key(task, worker)}, [{"$set": each} for each in stages])


FIELDS: Final = {"turn": 1, "now": NOW}
"""What whoever takes a turn learns: when it is, and the database's time."""
