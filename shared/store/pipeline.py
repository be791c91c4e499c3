"""Pieces of MongoDB update pipelines. Pipelines, because only they can use the database's own clock, `$$NOW`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import timedelta

NOW: Final = "$$NOW"


def literal(value: object) -> dict[str, object]:
    """Keep a value from being read as an expression: a target's error may well begin with a dollar sign."""
    return {"$literal": value}


def up_to(schema: int) -> dict[str, Any]:
    """Return a filter: documents of this schema or an older one; those of a newer one are left to newer processes."""
    return {"schema": {"$not": {"$gt": schema}}}


def from_now(span: timedelta) -> dict[str, Any]:
    """Return the instant that lies the given span after the database's present time."""
    return {"$add": [NOW, int(span.total_seconds() * 1000)]}


def is_past(field: str) -> dict[str, Any]:
    """Return a filter: the field's instant has come, by the database's clock. A missing field has not."""
    return {"$and": [{"$gt": [f"${field}", None]}, {"$lte": [f"${field}", NOW]}]}
