"""What an audit reads: the history and the ledger, a page at a time, both in the order of their ids.

The ids of a job's history (`<uid>.<epoch>`) and of its rows (`<uid>.<epoch>.<first>`) sort alike, so that both are read
once from beginning to end, whatever their sizes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.domain.audit import LedgerRow, Step
from shared.domain.execution import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.audit import View

BY_ID: Final = [("_id", 1)]

ROW_FIELDS: Final = dict.fromkeys(
    (
        "job_id", "state", "run", "part", "nominal_time", "last", "count", "decided_at", "backfill",
        "transitions.number", "transitions.state", "transitions.at",
    ),
    1,
)  # fmt: skip

JOB_FIELDS: Final = dict.fromkeys(("uid", "state", "epoch", "changes.cutoff", "updated_at"), 1)


def of_job(uid: str) -> tuple[str, str]:
    """Return the bounds, both exclusive, of the ids of a job's rows and of its history. `/` follows the dot."""
    return f"{uid}.", f"{uid}/"


def page_filter(after: str, before: str | None) -> dict[str, Any]:
    """Find what has an id between the bounds, both exclusive; before: None for no bound."""
    return {"_id": {"$gt": after} if before is None else {"$gt": after, "$lt": before}}


def rows_filter(after: str, before: str | None, view: View, since: datetime | None) -> dict[str, Any]:
    """Find the rows between two ids that say something about occurrences from `since` on and in the view."""
    # A closing row stands at an occurrence that may lie behind the view, and has none at the end of a schedule.
    found = page_filter(after, before) | {"$or": [{"nominal_time": {"$lte": view.ends}}, {"state": State.CLOSED.value}]}
    if since is not None:
        found = {"$and": [found, {"$or": [{"last": {"$gte": since}}, {"nominal_time": {"$gte": since}}]}]}
    return found


def jobs_filter(uids: Iterable[str]) -> dict[str, Any]:
    """Find the jobs of these uids, deleted ones too."""
    return {"uid": {"$in": list(uids)}}


def uid_of(document_id: str) -> str:
    """Return whose row or history entry this is."""
    return document_id.partition(".")[0]


def to_ledger_row(document: Mapping[str, Any]) -> LedgerRow:
    """Read a row. Raises TypeError, ValueError, LookupError or AttributeError for one that is none."""
    get = document.get
    number = document["_id"].partition(".")[2].partition(".")[0]
    row = LedgerRow(
        execution_id=document["_id"],
        epoch=int(number) if number.isdecimal() else None,
        state=State(document["state"]),
        run=get("run", get("part")),
        first=document["nominal_time"],
        last=get("last"),
        count=get("count", 1),
        decided_at=document["decided_at"],
        steps=tuple(Step(step["number"], State(step["state"]), step["at"]) for step in get("transitions", ())),
        backfill=get("backfill", ""),
    )
    for name, value, kind in (
        ("run", row.run, bool | None),
        ("nominal_time", row.first, datetime | None),
        ("last", row.last, datetime | None),
        ("count", row.count, int),
        ("decided_at", row.decided_at, datetime),
        ("backfill", row.backfill, str),
        *(("transitions.number", step.number, int) for step in row.steps),
        *(("transitions.at", step.at, datetime) for step in row.steps),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: {value!r}")
    return row
