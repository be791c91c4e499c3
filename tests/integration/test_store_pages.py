"""The pages of a collection, as whoever comes first makes it: and what becomes of it where the store refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pymongo.errors import OperationFailure
from structlog.testing import capture_logs

from scheduler_service.prepare import create_collections
from shared.store import jobs, pages
from shared.store.mongo import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"


@pytest.fixture
def empty(database_url: str) -> Iterator[Db]:
    """A database in which there is no collection yet."""
    database = connect(database_url)
    yield database
    database.client.close()


def leaf_pages(database: Db) -> str:
    """Return how the store says that the collection of jobs was made."""
    made: str = database.command("collStats", jobs.COLLECTION)["wiredTiger"]["creationString"]
    return made.partition("leaf_page_max=")[2].partition(",")[0]


async def test_a_server_that_comes_first_makes_small_pages_and_later_ones_leave_them(
    empty: Db, database_url: str
) -> None:
    database = connect_async(database_url)
    with capture_logs() as logs:
        for _ in range(2):
            await create_collections(database)
    await database.client.close()
    assert leaf_pages(empty) == "8KB"
    assert not logs


async def test_a_store_that_refuses_the_option_makes_its_own_pages(
    empty: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"create": jobs.COLLECTION, "storageEngine": {"unheardOf": {"configString": "leaf_page_max=8KB"}}}
    monkeypatch.setattr(pages, "CREATE_COMMANDS", (unknown,))
    database = connect_async(database_url)
    with capture_logs() as logs:
        await create_collections(database)
    await database.client.close()
    assert [line["action"] for line in logs] == ["pages_not_chosen"]
    assert empty[jobs.COLLECTION].index_information().keys() > {"wake_time"}


def test_a_store_that_is_only_away_is_asked_again() -> None:
    not_primary = OperationFailure("not primary", 10107, {"errorLabels": ["RetryableWriteError"]})
    with pytest.raises(OperationFailure, match="not primary"):
        pages.tolerate(not_primary)
