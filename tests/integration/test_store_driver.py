"""What an outage does to PyMongo's pool of connections: a mongod that breaks off one write while others wait for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.monitoring import ConnectionPoolListener

from dev.mongodb import mongodb
from shared.store.mongo import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.monitoring import (
        ConnectionCheckedInEvent,
        ConnectionCheckedOutEvent,
        ConnectionCheckOutFailedEvent,
        ConnectionCheckOutStartedEvent,
        ConnectionClosedEvent,
        ConnectionCreatedEvent,
        ConnectionReadyEvent,
        PoolClearedEvent,
        PoolClosedEvent,
        PoolCreatedEvent,
        PoolReadyEvent,
    )


class Pool(ConnectionPoolListener):
    """Counts how often all connections were given up, and says when one is in use."""

    def __init__(self) -> None:
        self.cleared = 0
        self.in_use = Event()

    def pool_cleared(self, event: PoolClearedEvent) -> None:  # noqa: ARG002
        self.cleared += 1

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:  # noqa: ARG002
        self.in_use.set()

    def pool_created(self, event: PoolCreatedEvent) -> None: ...
    def pool_ready(self, event: PoolReadyEvent) -> None: ...
    def pool_closed(self, event: PoolClosedEvent) -> None: ...
    def connection_created(self, event: ConnectionCreatedEvent) -> None: ...
    def connection_ready(self, event: ConnectionReadyEvent) -> None: ...
    def connection_closed(self, event: ConnectionClosedEvent) -> None: ...
    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None: ...
    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None: ...
    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None: ...


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server = mongodb(tmp_path)
    server.program = replace(
        server.program, command=[*server.program.command, "--setParameter", "enableTestCommands=1"]
    )
    server.start()
    yield server.url
    server.stop()


BREAK_OFF: dict[str, Any] = {
    "mode": {"times": 1},
    "data": {"failCommands": ["update"], "closeConnection": True, "blockConnection": True, "blockTimeMS": 5000},
}
WRITE: dict[str, Any] = {"$set": {"seen": True}}


def test_writes_that_waited_for_a_connection_that_broke_do_not_break_the_next_ones(url: str):
    pool = Pool()
    database = connect(url, maxPoolSize=1, event_listeners=[pool])
    database.client.admin.command("configureFailPoint", "failCommand", **BREAK_OFF)
    pool.in_use.clear()
    with ThreadPoolExecutor() as threads:
        broken = threads.submit(database.rows.update_one, {"_id": 1}, WRITE)
        assert pool.in_use.wait(60)
        waiting = threads.submit(database.rows.update_one, {"_id": 2}, WRITE)
        errors = [each.exception(60) for each in (broken, waiting)]
    assert database.rows.update_one({"_id": 1}, WRITE).acknowledged
    database.client.close()
    assert "connection closed" in str(errors[0])
    assert "connection pool paused" in str(errors[1])
    assert pool.cleared == 1


async def test_requests_that_waited_for_a_connection_that_broke_do_not_break_the_next_ones(url: str):
    pool = Pool()
    database = connect_async(url, maxPoolSize=1, event_listeners=[pool])
    await database.client.admin.command("configureFailPoint", "failCommand", **BREAK_OFF)
    writes = [database.rows.update_one({"_id": number}, WRITE) for number in range(2)]
    errors = await asyncio.gather(*writes, return_exceptions=True)
    assert (await database.rows.update_one({"_id": 1}, WRITE)).acknowledged
    await database.client.close()
    assert "connection closed" in str(errors[0])
    assert "connection pool paused" in str(errors[1])
    assert pool.cleared == 1
