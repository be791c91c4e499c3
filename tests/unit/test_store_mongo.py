"""Which errors of the store pass, so that trying again is right."""

from __future__ import annotations

import pytest
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from shared.store.mongo import is_away


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (AutoReconnect("connection closed"), True),
        (ServerSelectionTimeoutError("nobody there"), True),
        (WriteConcernError("waiting for replication timed out", 64), True),
        (OperationFailure("interrupted at shutdown", 11601), True),
        (OperationFailure("exceeded time limit", 262), True),
        (OperationFailure("Read concern majority reads are currently not possible.", 134), True),
        (NotPrimaryError("not primary"), True),
        (OperationFailure("Transaction numbers are only allowed on a replica set member or mongos", 20), True),
        (OperationFailure("Unrecognized pipeline stage name", 40324), False),
        (DuplicateKeyError("E11000 duplicate key", 11000), False),
        (PyMongoError("a bug"), False),
    ],
)
def test_an_outage_is_told_from_a_mistake(error: PyMongoError, away: bool):
    assert is_away(error) is away
