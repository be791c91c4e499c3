"""Dead letters: rows of `executions` that failed for good, until a person or a tool has retried or discarded them.

A failure for good sets two marks in the write that ends it: `dead_letter`, that a copy has to be put into the queue
`dead_letter` (the relay takes it off again), and `letter`, that nobody has decided yet what becomes of it. The decision
takes `letter` off, says in `letter_end` what it was, by whom and why, and sets `withdraw`: the copy has to be removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import State
from shared.store.executions import SCHEMA, Move
from shared.store.mongo import FIRST_INSTANT
from shared.store.pipeline import NOW, literal, up_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


class Outcome(StrEnum):
    """What became of a dead letter."""

    RETRIED = "RETRIED"
    DISCARDED = "DISCARDED"


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a dead letter. retry: the id of the execution that runs it again."""

    outcome: Outcome
    by: str
    reason: str = ""
    retry: str = ""


def end(execution_id: str, ending: Ending) -> Move:
    """Take a row from the dead letters; of two who want to, one finds nothing to do.

    But what was retried was not discarded, though somebody was faster to say so: the retry is in the store.
    """
    said = {
        "outcome": literal(ending.outcome.value),
        "by": literal(ending.by),
        "at": NOW,
        "reason": literal(ending.reason),
        "retry": literal(ending.retry),
    }
    takes: list[dict[str, Any]] = [{"letter": True}]
    if ending.outcome is Outcome.RETRIED:
        takes.append({"letter_end.outcome": Outcome.DISCARDED.value})
    return Move(
        {"_id": execution_id, "$or": takes},
        [{"$set": {"letter_end": said, "withdraw": True}}, {"$unset": ["letter", "dead_letter"]}],
    )


def ending_of(document: Mapping[str, Any]) -> Ending | None:
    """Read what became of a dead letter; None when nothing has yet, or it never was one."""
    if (said := document.get("letter_end")) is None:
        return None
    return Ending(Outcome(said["outcome"]), said["by"], said["reason"], said["retry"])


NEWEST_FIRST: Final = [("finished_at", -1), ("_id", -1)]


def list_filter(uid: str | None, after: tuple[datetime | str, str] | None) -> dict[str, Any]:
    """Find the dead letters of a list, of one job or of all. after: (finished_at, id) of the page before's last."""
    found: dict[str, Any] = {"state": State.FAILED.value, "letter": True, "finished_at": {"$gte": FIRST_INSTANT}}
    if uid is not None:
        found["job_uid"] = uid
    if after is not None:
        finished_at, execution_id = after
        found["finished_at"] = {"$lte": finished_at}
        found["$or"] = [{"finished_at": {"$lt": finished_at}}, {"_id": {"$lt": execution_id}}]
    return found


DEAD_LETTER_FILTER: Final = {"state": State.FAILED.value, "dead_letter": True, **up_to(SCHEMA)}
DEAD_LETTER_SENT: Final = {"$unset": {"dead_letter": ""}}


def unsent_letters_filter(partitions: Iterable[int]) -> dict[str, Any]:
    """Find dead letters that have not been sent yet."""
    return {**DEAD_LETTER_FILTER, "partition": {"$in": sorted(partitions)}}


def withdraw_filter(partitions: Iterable[int], decided_by: datetime | None = None) -> dict[str, Any]:
    """Find rows whose copy has to be removed from the queue; of all, or of those decided by an instant."""
    found: dict[str, Any] = {"state": State.FAILED.value, "withdraw": True, "partition": {"$in": sorted(partitions)}}
    return found if decided_by is None else {**found, "letter_end.at": {"$lte": decided_by}}


def withdrawn_filter(execution_ids: Iterable[str]) -> dict[str, Any]:
    """Find those of these rows that are still marked."""
    return {"_id": {"$in": list(execution_ids)}, "withdraw": True}


WITHDRAWN: Final = {"$unset": {"withdraw": ""}}


def undecided_filter(execution_ids: Iterable[str]) -> dict[str, Any]:
    """Find those of these rows whose copies have to stay: nobody has decided what becomes of them."""
    return {"_id": {"$in": list(execution_ids)}, "letter_end": {"$exists": False}}
