"""When an instant counts as settled: by looks at a real store, with a clock that the test moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from scheduler_service.watching import tail as tails
from scheduler_service.watching.tail import SETTLED, ClockSetBack, Look, Tail
from shared.store.mongo import connect_async, database_time
from tests.builders import fired, job_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database

BEGAN = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Reader:
    """A reader to which as many seconds pass as the test says, on both clocks.

    behind: seconds since the last write that the majority has, while another is on its way there.
    """

    def __init__(self, rows: Any) -> None:
        self.seconds = 0.0
        self.behind = 0.0
        self.rows = rows
        self._tail = Tail(rows, {}, lambda: self.seconds)

    def at(self, seconds: float) -> datetime:
        return BEGAN + timedelta(seconds=seconds)

    async def after(self, seconds: float) -> Look:
        self.seconds += seconds
        return await self._tail.look()

    async def changes(self, name: str, seconds: float) -> None:
        """Let a row become visible now that says it was changed at another time."""
        row = fired(job_document(), self.at(seconds), _id=name, changed=self.at(seconds))
        del row["born"]
        await self.rows.insert_one(row)


@pytest.fixture
async def reader(
    database: Database[dict[str, Any]],  # noqa: ARG001
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Reader]:
    collection = connect_async(database_url).executions
    made = Reader(collection)

    async def now(_: Any) -> tuple[datetime, datetime]:
        return made.at(made.seconds), made.at(made.seconds - made.behind)

    monkeypatch.setattr(tails, "database_now", now)
    yield made
    await collection.database.client.close()


async def test_the_databases_time_is_the_same_by_the_clock_of_any_zone(
    database: Database[dict[str, Any]],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collection = connect_async(database_url).executions
    before = database_time(database)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        now, visible = await tails.database_now(collection)
    finally:
        monkeypatch.undo()
        time.tzset()
        await collection.database.client.close()
    assert before <= now == visible <= database_time(database)


async def test_what_a_look_saw_is_settled_a_second_of_looking_later(reader: Reader) -> None:
    assert not (await reader.after(0)).ready
    assert not (await reader.after(0.5)).ready
    look = await reader.after(SETTLED - 0.5)
    assert (look.ready, look.settled) == (True, reader.at(0))


async def test_while_rows_of_an_instant_still_appear_it_is_not_settled(reader: Reader) -> None:
    """As those of a write to many rows do, which all say when it began."""
    await reader.after(0)
    for number in range(20):
        await reader.changes(f"row-{number}", 0.1)
        look = await reader.after(0.25)
        assert len(look.documents) == 1
        assert not look.late
        assert look.settled < reader.at(0.1)
    for _ in range(8):
        look = await reader.after(0.25)
    assert look.settled > reader.at(0.1)


async def test_a_store_that_does_not_answer_does_not_let_time_pass(reader: Reader) -> None:
    await reader.after(0)
    await reader.after(60)
    # What began before the pause may appear now.
    await reader.changes("stopped", 0.1)
    look = await reader.after(0.25)
    assert [row["_id"] for row in look.documents] == ["stopped"]
    assert (look.late, look.settled) == (frozenset(), reader.at(0))


async def test_what_appears_late_is_found_and_said_to_be_late(reader: Reader) -> None:
    for _ in range(20):
        look = await reader.after(0.25)
    assert look.settled > reader.at(3)
    await reader.changes("late", 2)
    late: set[str] = set()
    for _ in range(tails.LOOK_BACK_EVERY):
        late |= (await reader.after(0.25)).late
    assert late == {"late"}


async def test_a_document_is_read_once_a_change(reader: Reader) -> None:
    await reader.after(0)
    await reader.changes("row", 0.1)
    read = 0
    for _ in range(20):
        read += len((await reader.after(0.25)).documents)
    assert read == 1


async def test_a_clock_that_was_set_back_is_noticed(reader: Reader) -> None:
    for _ in range(20):
        await reader.after(1)
    with pytest.raises(ClockSetBack):
        await reader.after(-10)


async def test_a_write_on_its_way_to_the_majority_after_a_quiet_while_is_no_clock_set_back(reader: Reader) -> None:
    for _ in range(20):
        before = await reader.after(0.25)
    reader.behind = 10
    for _ in range(20):
        look = await reader.after(0.25)
        assert (look.now, look.settled < reader.at(5.25)) == (reader.at(reader.seconds), True)
        assert look.settled >= before.settled
    reader.behind = 0
    await reader.changes("row", 5.25)
    look = await reader.after(0.25)
    assert [row["_id"] for row in look.documents] == ["row"]
    assert not look.late
