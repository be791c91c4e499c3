"""Pieces of MongoDB update pipelines. Pipelines, because only they can use the database's own clock, `$$NOW`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import timedelta

NOW: Final = "$$NOW"

SMALL_STEP: Final = 1 / 3
"""The share of a lease that the database's clock may be set by, forwards or backwards, before rescue holds still."""

_TOO_LONG: Final = 1 + 1.5 * SMALL_STEP
"""Lengths of a lease that none reaches from now on whose holder is alive, whatever small step the clock took back.

With half a step more than that, since steps are measured from outside, with the answer's time on its way.
"""


def literal(value: object) -> dict[str, object]:
    """Keep a value from being read as an expression: a target's error may well begin with a dollar sign."""
    return {"$literal": value}


def as_list(field: str) -> dict[str, Any]:
    """Return a field's list; an empty one where something else was put by hand.

    An update of many documents ends at the first that it fails at, and leaves out all behind that.
    """
    return {"$cond": [{"$isArray": f"${field}"}, f"${field}", []]}


def appended(field: str, value: object, most: int) -> dict[str, Any]:
    """Return a field's list, if there is one, with one value more, of which so many are kept, the last."""
    return {"$slice": [{"$concatArrays": [{"$ifNull": [f"${field}", []]}, [value]]}, -most]}


def as_count(field: str) -> dict[str, Any]:
    """Return a field's number, 0 or more; 0 where something else was put by hand, as as_list does."""
    return {"$cond": [{"$and": [{"$isNumber": f"${field}"}, {"$gte": [f"${field}", 0]}]}, f"${field}", 0]}


def as_text(field: str) -> dict[str, Any]:
    """Return a field's text; an empty one where something else was put by hand, as as_list does."""
    return {"$cond": [{"$eq": [{"$type": f"${field}"}, "string"]}, f"${field}", ""]}


def up_to(schema: int) -> dict[str, Any]:
    """Return a filter: documents of this schema or an older one; those of a newer one are left to newer processes."""
    return {"schema": {"$not": {"$gt": schema}}}


def is_up_to(schema: int) -> dict[str, Any]:
    """Return up_to as an expression."""
    return {"$not": [{"$and": [{"$isNumber": "$schema"}, {"$gt": ["$schema", schema]}]}]}


def from_now(span: timedelta) -> dict[str, Any]:
    """Return the instant that lies the given span after the database's present time."""
    return {"$add": [NOW, milliseconds(span)]}


def is_past(field: str) -> dict[str, Any]:
    """Return an expression: the field's instant has come, by the database's clock. A missing field has not."""
    return {"$and": [{"$gt": [f"${field}", None]}, {"$lte": [f"${field}", NOW]}]}


def milliseconds(span: timedelta) -> int:
    """Return a span as the database counts it."""
    return int(span.total_seconds() * 1000)


def has_ended(expires_at: str, length: str) -> dict[str, Any]:
    """Return an expression: a lease is over, by the database's clock. A missing one is not.

    Also one that ends later than one taken now would, by more than a small step of the clock: the clock was set back
    since its holder last renewed it, which holders do several times a lease. Without it, what a dead process held would
    be free only when the clock has caught up; without the margin, a small step would cost live processes what they
    hold. A lease without a length (in milliseconds; older documents) is only over when its end has come.
    """
    later = {"$gt": [f"${expires_at}", {"$add": [NOW, {"$multiply": [_TOO_LONG, {"$ifNull": [f"${length}", 0]}]}]}]}
    return {"$or": [is_past(expires_at), {"$and": [{"$gt": [f"${length}", None]}, later]}]}
