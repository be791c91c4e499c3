"""What holds of every connection to the store, and which of its errors pass, so that trying again is right."""

from __future__ import annotations

import asyncio
from typing import Any

import pymongo.lock
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

from shared.store.mongo import connect, connect_async, is_away


@pytest.mark.parametrize("connecting", [connect, connect_async])
def test_writes_are_durable_and_reads_are_of_what_stays_whatever_the_url_says(connecting: Any):
    database = connecting("mongodb://nowhere.invalid/scheduler?w=1&journal=false&readConcernLevel=local&tz_aware=false")
    assert database.write_concern.document == {"w": "majority", "j": True}
    assert database.read_concern.level == "majority"
    assert database.codec_options.tz_aware


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


async def test_a_wait_that_is_cancelled_when_its_time_is_up_does_not_keep_the_lock():
    lock = pymongo.lock._async_create_lock()
    condition = pymongo.lock._async_create_condition(lock)

    async def wait() -> None:
        async with lock:
            await pymongo.lock._async_cond_wait(condition, 0.01)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)  # it waits, without the lock
    async with lock:
        await asyncio.sleep(0.05)  # its time is up, and it wants the lock back
        waiting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60), lock:
        pass
