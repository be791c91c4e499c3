"""The collections and indexes that whoever comes first makes, as a beat does; a server takes the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pymongo.errors import OperationFailure
from structlog.testing import capture_logs

from shared.store import jobs
from shared.store.indexes import INDEXES, OBSOLETE
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"


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


def test_an_index_that_cannot_be_made_is_not_passed_over(empty: Db) -> None:
    empty[jobs.COLLECTION].create_index("something else", name="wake_time")
    with pytest.raises(OperationFailure, match="wake_time"):
        lay_out(empty)
