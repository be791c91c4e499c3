"""The tail: what has changed lately, for those who watch; a field and an index of `executions` and `jobs` each.

`changed` is when the database made the last change that watchers are told of. A change is written with `$$NOW`, so that
each transition's own `at` says the same, and what was told by an instant follows from a row alone. A new document is
not: its times are those of the process that made it, which may have been stopped for any time before it was stored. So
its `changed`, and `born`, which it keeps, are a timestamp that the server fills in when it stores it. BSON sorts the
two kinds apart, which takes two ranges of one index; a timestamp has whole seconds, of which the end counts here.

Documents from before there were tails lack both, and are told of from their next change on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bson import Timestamp
from pymongo import ASCENDING, IndexModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Changed: TypeAlias = datetime | Timestamp
"""What the field `changed` holds."""

_FILLED_IN: Final = Timestamp(0, 0)
"""At the top of a document that is inserted, the server puts its own timestamp in the place of an empty one."""

NEW_ROW: Final = {"born": _FILLED_IN, "changed": _FILLED_IN}
NEW_JOB: Final = {"changed": _FILLED_IN}
"""The fields of a new document."""

INDEX: Final = IndexModel(
    [("changed", ASCENDING), ("_id", ASCENDING)], name="tail", partialFilterExpression={"changed": {"$exists": True}}
)
KEYS: Final = {"_id": 1, "changed": 1}
"""What the index holds, so that nothing else is read."""

SECOND: Final = timedelta(seconds=1)
"""How exactly the instant is known at which a document was stored."""


def ranges(instant: datetime) -> list[dict[str, Any]]:
    """Return what `changed` is after an instant of the database's clock: of new documents, then of the others.

    From the whole second on: the first step of a row counts at the end of the second in which it was stored, and the
    steps that it took in this second count no earlier.
    """
    second = int(instant.timestamp())
    return [{"$gte": Timestamp(second, 0)}, {"$gte": datetime.fromtimestamp(second, UTC)}]


def after(instant: datetime) -> dict[str, Any]:
    """Find what has changed after an instant of the database's clock, and a little of what has before."""
    return {"$or": [{"changed": changed} for changed in ranges(instant)]}


def instant_of(changed: Changed) -> datetime:
    """Return the instant by which a change was made, by the database's clock."""
    if isinstance(changed, datetime):
        return changed
    return datetime.fromtimestamp(changed.time, UTC) + SECOND


def instants(row: Mapping[str, Any]) -> list[datetime]:
    """Return the instant of each transition of a row, in their order; never one before that of the step before it.

    Raises TypeError, AttributeError or KeyError for a row that was damaged by hand.
    """
    found: list[datetime] = []
    for step in row.get("transitions", ()):
        if not found:
            found.append(instant_of(row["born"] if "born" in row else step["at"]))
        else:
            found.append(max(found[-1], step["at"]))
    return found


def by(instants: Iterable[datetime], instant: datetime) -> int:
    """Return how many steps, whose instants are given in their order, were made by an instant."""
    return sum(1 for made in instants if made <= instant)
