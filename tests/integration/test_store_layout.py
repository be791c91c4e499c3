"""The collections and indexes that whoever comes first makes, as a beat does; a server takes the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pymongo import WriteConcern
from pymongo.errors import OperationFailure, WriteConcernError
from pymongo.monitoring import CommandListener
from structlog.testing import capture_logs

from dev.mongodb import start_mongodb
from scheduler_service.prepare import create_collections
from shared.store import executions, jobs
from shared.store.indexes import INDEXES, OBSOLETE
from shared.store.layout import lay_out, obsolete, take
from shared.store.mongo import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

Db: TypeAlias = "Database[dict[str, Any]]"


class Given(CommandListener):
    """The names of the commands that a client gave."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def empty(database_url: str) -> Iterator[Db]:
    """A database in which there is no collection yet."""
    database = connect(database_url)
    with database.client:
        yield database


def test_what_is_missing_is_made_and_what_is_there_stays(empty: Db) -> None:
    with capture_logs() as logs:
        lay_out(empty)
        made = {name: empty[name].index_information() for name in INDEXES}
        lay_out(empty)
    assert {name: empty[name].index_information() for name in INDEXES} == made
    for name, indexes in INDEXES.items():
        assert made[name].keys() == {"_id_"} | {index.document["name"] for index in indexes}
    assert not logs


def test_indexes_of_earlier_releases_go_also_where_some_have_gone(empty: Db) -> None:
    for collection, names in OBSOLETE.items():
        empty[collection].create_index("old", name=names[-1])
    lay_out(empty)
    for collection, names in OBSOLETE.items():
        assert not empty[collection].index_information().keys() & set(names)


async def test_nothing_is_dropped_that_is_not_there(database_url: str) -> None:
    """To drop takes a lock that waits for all others, and for which all others wait."""
    given = Given()
    database, asynchronous = (
        connect(database_url, event_listeners=[given]),
        connect_async(database_url, event_listeners=[given]),
    )
    database[jobs.COLLECTION].create_index("old", name=OBSOLETE[jobs.COLLECTION][0])
    for _ in range(2):
        lay_out(database)
        await create_collections(asynchronous)
    database.client.close()
    await asynchronous.client.close()
    assert given.names.count("createIndexes") == 1 + 4 * len(INDEXES)
    assert given.names.count("dropIndexes") == 1


def test_an_index_that_another_process_has_just_dropped_stops_nobody(empty: Db) -> None:
    lay_out(empty)
    for collection, names in OBSOLETE.items():
        take(empty, obsolete(collection, names, empty.write_concern))


def test_an_index_that_cannot_be_dropped_while_another_is_built_stays_and_is_named() -> None:
    step, *_ = obsolete(executions.COLLECTION, OBSOLETE[executions.COLLECTION], WriteConcern())
    with capture_logs() as logs:
        step.refused(OperationFailure("an index build is currently running for collection", 12587))
    assert [(line["action"], line["collection"], line["index"]) for line in logs] == [
        ("index_stays", executions.COLLECTION, OBSOLETE[executions.COLLECTION][0])
    ]
    with pytest.raises(OperationFailure, match="not allowed"):
        step.refused(OperationFailure("not allowed", 13))


async def test_an_index_that_is_not_known_to_be_durable_is_not_taken_as_made(tmp_path: Path) -> None:
    server = start_mongodb(tmp_path, replica_set="rs0")
    two = WriteConcern(w=2, wtimeout=100)
    try:
        database, asynchronous = connect(server.url), connect_async(server.url)
        with pytest.raises(WriteConcernError):
            lay_out(database.with_options(write_concern=two))
        with pytest.raises(WriteConcernError):
            await create_collections(asynchronous.with_options(write_concern=two))
        database.client.close()
        await asynchronous.client.close()
    finally:
        server.kill()


def test_an_index_that_cannot_be_made_is_not_passed_over(empty: Db) -> None:
    empty[jobs.COLLECTION].create_index("something else", name="wake_time")
    with pytest.raises(OperationFailure, match="wake_time"):
        lay_out(empty)
