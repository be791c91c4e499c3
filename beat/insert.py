"""Insert rows of the ledger; what is there already was inserted by another beat, or before a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import InsertOne
from pymongo.errors import BulkWriteError

from shared.store.mongo import already_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.collection import Collection


def insert_missing(executions: Collection[dict[str, Any]], documents: Sequence[dict[str, Any]]) -> set[str]:
    """Insert the rows that are not there, durably; return the ids of those that were. Raises PyMongoError."""
    try:
        executions.bulk_write([InsertOne(document) for document in documents], ordered=False)
    except BulkWriteError as error:
        return {failure["op"]["_id"] for failure in already_there(error)}
    return set()
