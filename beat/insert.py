"""Insert rows of the ledger; what is there already was inserted by another beat, or before a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import InsertOne
from pymongo.errors import BulkWriteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.collection import Collection

_DUPLICATE_KEY: Final = 11000


def insert_missing(executions: Collection[dict[str, Any]], documents: Sequence[dict[str, Any]]) -> set[str]:
    """Insert the rows that are not there, durably; return the ids of those that were. Raises PyMongoError."""
    try:
        executions.bulk_write([InsertOne(document) for document in documents], ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        # A row without its write concern may be undone by a failover: nothing may follow from it yet.
        if error.details["writeConcernErrors"] or any(failure["code"] != _DUPLICATE_KEY for failure in failures):
            raise
        return {failure["op"]["_id"] for failure in failures}
    return set()
