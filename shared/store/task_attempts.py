"""What becomes of an attempt of a task beside success and failure: its own retry, a wait for its turn, its progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne

from shared.store.executions import Move, held_attempt, stored_error, wait_again
from shared.store.pipeline import NOW, from_now, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from shared.domain.execution import Failure

LONGEST_REASON: Final = 200
"""Bytes of the reason for which an attempt was given back that are kept."""
LONGEST_MESSAGE: Final = 1024
"""Characters of a progress message that are kept."""


def try_again(
    execution_id: str,
    nonce: str,
    by: str,
    failure: Failure,
    reason: str,
    due: timedelta | datetime,
    changed: Mapping[str, Any],
) -> Move:
    """End a held attempt whose task asked for a retry: due after a span by the database's clock, or at an instant.

    It counts as one of the task's retries, and not for the job's retry policy. changed: fields of the row that the next
    attempt finds different: parameters, queue, priority.
    """
    fields = {
        "error": stored_error(failure),
        "retries": {"$add": [{"$ifNull": ["$retries", 0]}, 1]},
        **{name: literal(value) for name, value in changed.items()},
    }
    return Move(held_attempt(execution_id, nonce), wait_again(by, reason, _instant(due), fields))


def wait_for_turn(
    execution_id: str, nonce: str, by: str, reason: str, due: timedelta | datetime, slot: Mapping[str, Any] | None
) -> Move:
    """Give back a held attempt that is to be made later; it does not count as one.

    slot: whose turn it has, so that it takes no other one. The reason is cut: an execution may be given back thousands
    of times, and its document keeps them all (MOST_ATTEMPTS).
    """
    reason = reason.encode()[:LONGEST_REASON].decode(errors="ignore")
    fields: dict[str, Any] = {"handed_back": {"$add": [{"$ifNull": ["$handed_back", 0]}, 1]}}
    if slot is not None:
        fields["rate_slot"] = literal(dict(slot))
    return Move(held_attempt(execution_id, nonce), wait_again(by, reason, _instant(due), fields))


def _instant(due: timedelta | datetime) -> dict[str, Any]:
    return from_now(due) if isinstance(due, timedelta) else literal(due)


def progress_stage(done: float, total: float, message: str) -> dict[str, Any]:
    """Return the stage of an update that notes how far an execution says it has got."""
    noted = {"done": done, "total": total, "message": literal(message[:LONGEST_MESSAGE]), "at": NOW}
    return {"$set": {"progress": noted, "changed": NOW}}


def with_progress(move: Move, done: float, total: float, message: str) -> Move:
    """Return a move that notes the last progress as well."""
    return replace(move, update=[progress_stage(done, total, message), *move.update])


def note_progress(reports: Iterable[tuple[str, str, tuple[float, float, str]]]) -> list[UpdateOne]:
    """Note the progress of attempts, given as execution id, nonce and (done, total, message)."""
    return [
        UpdateOne(held_attempt(execution_id, nonce), [progress_stage(*said)]) for execution_id, nonce, said in reports
    ]
