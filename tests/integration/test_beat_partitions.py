"""Beats share the partitions, take over from the dead, and know when they have stalled. Leases are short, not faked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo.monitoring import CommandListener

from beat.partitions import Partitions
from shared.store.jobs import PARTITIONS
from shared.store.mongo import connect
from shared.store.pipeline import from_now

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

Db: TypeAlias = "Database[dict[str, Any]]"

ALL = frozenset(range(PARTITIONS))
LONG = timedelta(minutes=1)


def beat(database: Db, name: str, lease: timedelta = LONG) -> Partitions:
    partitions = Partitions(database, name, lease)
    partitions.prepare()
    return partitions


def end_leases(database: Db, name: str) -> None:
    """Let the database's clock go past the leases of a beat."""
    past = [{"$set": {"expires_at": from_now(timedelta(seconds=-1))}}]
    database.partitions.update_many({"holder": name}, past)
    database.beats.update_one({"_id": name}, past)


def live(database: Db, name: str) -> int:
    """Return how many partitions a beat holds by the database's clock."""
    return database.partitions.count_documents({"holder": name, "$expr": {"$gt": ["$expires_at", "$$NOW"]}})


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not come"
        sleep(0.01)


def test_a_beat_alone_holds_everything(database: Db) -> None:
    one = beat(database, "one")
    one.run_once()
    assert one.held == ALL


def test_two_beats_come_to_hold_half_each(database: Db) -> None:
    one, two = beat(database, "one"), beat(database, "two")
    one.run_once()
    two.run_once()
    one.run_once()
    two.run_once()
    assert one.held | two.held == ALL
    assert len(one.held) == len(two.held) == PARTITIONS // 2


def test_many_beats_starting_at_once_share_everything_without_overlap(database: Db) -> None:
    def start(number: int) -> Partitions:
        partitions = beat(database, f"beat-{number}")
        partitions.run_once()
        return partitions

    with ThreadPoolExecutor(5) as pool:
        beats = list(pool.map(start, range(5)))
    for _ in range(3):
        for each in beats:
            each.run_once()
    assert sorted(number for each in beats for number in each.held) == sorted(ALL)
    assert max(len(each.held) for each in beats) == 13


def test_what_another_beat_takes_at_the_same_time_is_not_taken_from_it(database: Db, database_url: str) -> None:
    class AtTheFirstTaking(CommandListener):
        done = False

        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == "update" and not self.done:
                self.done = True
                one.run_once()

        def succeeded(self, event: CommandSucceededEvent) -> None:
            pass

        def failed(self, event: CommandFailedEvent) -> None:
            pass

    one = beat(database, "one")
    watched = connect(database_url, event_listeners=[AtTheFirstTaking()])
    with watched.client:
        assert Partitions(watched, "two", LONG)._take(PARTITIONS) == set()
    assert live(database, "one") == PARTITIONS


def test_what_a_dead_beat_held_is_taken_over_when_its_lease_ends(database: Db) -> None:
    lease = timedelta(seconds=0.5)
    dead, other = beat(database, "dead", lease), beat(database, "other", lease)
    dead.run_once()
    ends = {row["_id"]: row["expires_at"] for row in database.partitions.find()}

    def all_taken() -> bool:
        other.run_once()
        return database.partitions.count_documents({"holder": "other"}) == PARTITIONS

    wait_until(all_taken)
    for row in database.partitions.find():
        assert row["taken_at"] >= ends[row["_id"]], "not while the lease lasted"


def test_a_stalled_holder_holds_nothing_by_its_own_clock(database: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = beat(database, "stalled")
    stalled.run_once()
    assert stalled.held == ALL
    after = monotonic() + LONG.total_seconds()
    monkeypatch.setattr("beat.partitions.monotonic", lambda: after)
    assert not stalled.held


def test_a_holder_that_stalled_and_lost_everything_takes_only_its_share_back(database: Db) -> None:
    stalled, other = beat(database, "stalled"), beat(database, "other")
    stalled.run_once()
    end_leases(database, "stalled")
    other.run_once()
    assert other.held == ALL
    stalled.run_once()
    assert not stalled.held
    other.run_once()
    stalled.run_once()
    assert stalled.held | other.held == ALL
    assert not stalled.held & other.held


def test_a_lone_beat_whose_leases_ended_leases_again_what_it_works_on(database: Db) -> None:
    """As after MongoDB was away for longer than a lease."""
    lone = beat(database, "lone")
    lone.run_once()
    end_leases(database, "lone")
    lone.run_once()
    assert lone.held == ALL
    assert live(database, "lone") == PARTITIONS


def test_a_beat_that_ends_gives_everything_back_at_once(database: Db) -> None:
    one, two = beat(database, "one"), beat(database, "two")
    one.run_once()
    one.close()
    one.close()
    two.run_once()
    assert not one.held
    assert two.held == ALL


def test_a_name_of_dollars_is_a_name(database: Db) -> None:
    odd = beat(database, "$_id")
    odd.run_once()
    assert odd.held == ALL


def test_a_dead_beat_is_forgotten(database: Db) -> None:
    """Each start has a name of its own: what the dead leave behind must not grow for ever."""
    beat(database, "dead").run_once()
    end_leases(database, "dead")
    beat(database, "other").run_once()
    assert [document["_id"] for document in database.beats.find()] == ["other"]


def test_what_a_beat_held_that_died_when_the_clock_was_set_back_is_free_though_the_clock_has_not_caught_up(
    database: Db,
) -> None:
    dead, live, other = beat(database, "dead"), beat(database, "live"), beat(database, "other")
    dead.run_once()
    live.run_once()
    an_hour_later = [{"$set": {"expires_at": from_now(LONG + timedelta(hours=1))}}]
    database.partitions.update_many({"holder": "dead"}, an_hour_later)
    database.beats.update_one({"_id": "dead"}, an_hour_later)
    other.run_once()
    live.run_once()
    assert live.held | other.held == ALL
    assert not live.held & other.held
    assert {document["_id"] for document in database.beats.find()} == {"live", "other"}
