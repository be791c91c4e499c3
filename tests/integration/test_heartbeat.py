"""Who is alive: what processes say of themselves, and what is kept of the times when nobody was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo import MongoClient

from dev.server import free_port
from shared.heartbeat import Heartbeat
from shared.store import processes
from shared.store.pipeline import NOW
from shared.store.processes import About, Kind
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from datetime import timedelta

    from pymongo.database import Database

    from shared.domain.evidence import Absence

Db: TypeAlias = "Database[dict[str, Any]]"

WORKER = About(name="worker-1@here", kind=Kind.WORKER, version="1.2", queues=("scraping",), pool="solo", concurrency=1)
BEAT = About(name="beat@here:1", kind=Kind.BEAT, partitions=64)
LONG = processes.SILENT_AFTER * 4


def alive(database: Db) -> list[processes.Process]:
    return [processes.to_process(entry) for entry in database[processes.COLLECTION].find(processes.ALIVE)]


def age(database: Db, collection: str, by: timedelta) -> None:
    """Let all heartbeats of a collection be so much older."""
    older = {"$subtract": ["$heard_at", int(by.total_seconds() * 1000)]}
    database[collection].update_many({}, [{"$set": {"heard_at": older, "started_at": older}}])


def absences(database: Db, role: str) -> list[Absence]:
    (found,) = database[processes.PRESENCE].aggregate([{"$match": {"_id": role}}, {"$set": {"now": NOW}}])
    return list(processes.absences(found, found["now"]))


def test_a_process_is_alive_from_its_first_word_to_its_end(database: Db) -> None:
    heartbeat = Heartbeat(database, lambda: WORKER)
    heartbeat.start()
    wait_until(lambda: alive(database), "a heartbeat")
    (process,) = alive(database)
    assert process.about == WORKER
    assert process.started_at == process.heard_at
    heartbeat.stop()
    assert alive(database) == []
    assert not heartbeat.is_alive()


def test_a_process_that_falls_silent_is_not_alive_for_long(database: Db) -> None:
    Heartbeat(database, lambda: WORKER).run_once()
    age(database, processes.COLLECTION, processes.SILENT_AFTER)
    assert alive(database) == []


def test_a_process_that_takes_the_name_of_another_started_when_it_did(database: Db) -> None:
    Heartbeat(database, lambda: WORKER).run_once()
    age(database, processes.COLLECTION, LONG)
    second = Heartbeat(database, lambda: WORKER)
    second.run_once()
    (process,) = alive(database)
    assert process.started_at == process.heard_at
    second.run_once()
    (again,) = alive(database)
    assert again.started_at == process.started_at


def test_a_process_that_ends_late_does_not_take_the_entry_of_its_successor(database: Db) -> None:
    first, second = Heartbeat(database, lambda: WORKER), Heartbeat(database, lambda: WORKER)
    first.run_once()
    second.run_once()
    first.stop()
    assert [process.about.name for process in alive(database)] == [WORKER.name]


def test_a_store_that_is_away_ends_neither_the_process_nor_its_heartbeat() -> None:
    url = f"mongodb://127.0.0.1:{free_port()}/"
    client: MongoClient[dict[str, Any]] = MongoClient(url, serverSelectionTimeoutMS=50)
    heartbeat = Heartbeat(client["away"], lambda: WORKER)
    heartbeat.start()
    wait_until(lambda: heartbeat.failing, "a heartbeat that fails")
    assert heartbeat.is_alive()
    heartbeat.stop()
    assert not heartbeat.is_alive()
    client.close()


def test_the_time_without_a_beat_is_kept_and_told_while_it_lasts(database: Db) -> None:
    beat = Heartbeat(database, lambda: BEAT)
    beat.run_once()
    assert absences(database, processes.BEATS) == []
    age(database, processes.PRESENCE, LONG)
    (lasting,) = absences(database, processes.BEATS)
    assert lasting.until is None
    Heartbeat(database, lambda: BEAT).run_once()
    (past,) = absences(database, processes.BEATS)
    assert past.since == lasting.since
    assert past.until is not None
    assert past.until - past.since >= LONG


def test_of_several_workers_the_queue_is_absent_only_when_all_are(database: Db) -> None:
    Heartbeat(database, lambda: WORKER).run_once()
    age(database, processes.PRESENCE, processes.HEARD_EVERY)
    Heartbeat(database, lambda: WORKER).run_once()
    assert absences(database, processes.role_of_queue("scraping")) == []


def test_a_clock_that_is_set_back_makes_no_absence(database: Db) -> None:
    Heartbeat(database, lambda: BEAT).run_once()
    age(database, processes.PRESENCE, -LONG)
    Heartbeat(database, lambda: BEAT).run_once()
    assert absences(database, processes.BEATS) == []


def test_only_the_latest_absences_are_kept(database: Db) -> None:
    for _ in range(processes.MOST_ABSENCES + 2):
        Heartbeat(database, lambda: BEAT).run_once()
        age(database, processes.PRESENCE, LONG)
    (document,) = database[processes.PRESENCE].find()
    assert len(document["absences"]) == processes.MOST_ABSENCES
