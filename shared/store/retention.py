"""The collection `retention`: through which instant records were removed, so that nobody takes them for missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COLLECTION: Final = "retention"
EXECUTIONS_FILTER: Final = {"_id": "executions"}
"""The one document: about the rows of `executions`."""


def note_removal(cutoff: datetime) -> dict[str, Any]:
    """Return the upsert that says that rows which ended before the cutoff may be gone. It never goes back."""
    return {"$max": {"removed_through": cutoff}}


def removed_through(document: Mapping[str, Any] | None) -> datetime | None:
    """Return the instant through which occurrences may have lost their rows; None when none was ever removed."""
    return document["removed_through"] if document is not None else None
