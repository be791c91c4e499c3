"""The collection `rate_limits`: when the next attempt of a task may begin on a worker, across its processes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from shared.store.executions import Move
from shared.store.pipeline import NOW, from_now

COLLECTION: Final = "rate_limits"

KEPT: Final = timedelta(hours=1)
"""How long what was handed out last is kept; a limit that is slower keeps it until its next turn."""


def key(task: str, worker: str) -> str:
    """Return the id of the row of a task on a worker."""
    return f"{task}@{worker}"


def take_turn(task: str, worker: str, interval: timedelta) -> Move:
    """Take the next turn: `turn` is then when it is, at once if the last one is an interval ago. An upsert."""
    milliseconds = int(interval.total_seconds() * 1000)
    turn = {"$set": {"turn": {"$max": [NOW, "$next"]}}}
    after: dict[str, Any] = {"$add": ["$turn", milliseconds]}
    kept = {"$max": [from_now(KEPT), {"$add": ["$turn", 2 * milliseconds]}]}
    return Move({"_id": key(task, worker)}, [turn, {"$set": {"next": after, "expires_at": kept}}])


FIELDS: Final = {"turn": 1, "now": NOW}
"""What whoever takes a turn learns: when it is, and the database's time."""
