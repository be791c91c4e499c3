"""Rows of newer releases: a beat that cannot read one leaves what it is about to the beats that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.store import executions

if TYPE_CHECKING:
    from collections.abc import Mapping


class OfNewerRelease(Exception):  # noqa: N818 - what a row is, not a fault
    """A row that only a beat of a newer release can read."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(
            f"the row {row['_id']} is for a beat of a newer release (its schema is {row['schema']}; this beat knows"
            f" {executions.SCHEMA})"
        )
        self.row = row


def is_newer(row: Mapping[str, Any]) -> bool:
    """Return whether a newer release has written a row: what cannot be read of it is not damaged."""
    schema = row.get("schema")
    return isinstance(schema, int) and schema > executions.SCHEMA
