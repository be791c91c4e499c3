"""How many jobs may be stored, held against how many are, while calls are storing them."""

from __future__ import annotations

import asyncio

import pytest

from scheduler_service.jobs.room import FAR_AWAY, Room
from scheduler_service.transport.refusals import LimitReached


class Store:
    """Stores jobs when the test says so, and tells how many there are."""

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored
        self.asked = 0
        self.answers = _passed()

    async def count(self) -> int:
        self.asked += 1
        stored = self.stored
        await self.answers.wait()
        return stored

    async def create(self, room: Room, goes_on: asyncio.Event, *, fails: bool = False) -> str:
        try:
            async with room.place():
                await goes_on.wait()
                if fails:
                    return "failed"
                self.stored += 1
                return "stored"
        except LimitReached:
            return "refused"


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def goes_on() -> asyncio.Event:
    return asyncio.Event()


async def test_calls_at_the_same_time_store_no_more_than_there_may_be(goes_on: asyncio.Event) -> None:
    store = Store(stored=7)
    room = Room(store.count, 10)
    calls = [asyncio.create_task(store.create(room, goes_on)) for _ in range(20)]
    await settle()
    assert not any(call.done() for call in calls), "those who hold the last places may still fail"
    goes_on.set()
    came_to = await asyncio.gather(*calls)
    assert (came_to.count("stored"), came_to.count("refused"), store.stored) == (3, 17, 10)


async def test_a_job_that_is_stored_while_they_are_counted_is_not_forgotten(goes_on: asyncio.Event) -> None:
    store = Store()
    room = Room(store.count, 1)
    first = asyncio.create_task(store.create(room, goes_on))
    await settle()
    store.answers = asyncio.Event()
    second = asyncio.create_task(store.create(room, _passed()))
    await settle()
    goes_on.set()
    assert await first == "stored"
    store.answers.set()
    assert await second == "refused"


async def test_beside_a_job_that_is_on_its_way_there_is_room_for_as_many_as_are_left(goes_on: asyncio.Event) -> None:
    store = Store()
    room = Room(store.count, 2)
    first = asyncio.create_task(store.create(room, goes_on))
    await settle()
    assert await store.create(room, _passed()) == "stored"
    goes_on.set()
    assert await first == "stored"
    assert await store.create(room, _passed()) == "refused"


async def test_the_place_of_a_job_that_was_not_stored_after_all_is_given_to_one_that_waits(
    goes_on: asyncio.Event,
) -> None:
    store = Store()
    room = Room(store.count, 1)
    first = asyncio.create_task(store.create(room, goes_on, fails=True))
    await settle()
    second = asyncio.create_task(store.create(room, _passed()))
    await settle()
    assert not second.done()
    goes_on.set()
    assert (await first, await second) == ("failed", "stored")


async def test_a_deleted_job_makes_room() -> None:
    store = Store(stored=1)
    room = Room(store.count, 1)
    assert await store.create(room, _passed()) == "refused"
    store.stored = 0
    assert await store.create(room, _passed()) == "stored"


async def test_far_from_the_limit_it_is_not_asked_for_each_job() -> None:
    store = Store()
    room = Room(store.count, FAR_AWAY + 100)
    for _ in range(50):
        assert await store.create(room, _passed()) == "stored"
    assert store.asked == 1


async def test_without_a_limit_it_is_never_asked() -> None:
    store = Store()
    room = Room(store.count, None)
    assert await store.create(room, _passed()) == "stored"
    assert store.asked == 0


def _passed() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
