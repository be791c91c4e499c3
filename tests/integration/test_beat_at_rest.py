"""At rest beat asks little of the store; whatever there is to do, it finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from pymongo.errors import AutoReconnect, PyMongoError
from pymongo.monitoring import CommandListener

from beat.fire import COMING, LONGEST_SLEEP, TRUSTED, Fire
from beat.look import Look, Sought
from beat.partitions import Partitions
from beat.relay import INTERVAL, Relay
from shared.domain.policies import Overlap
from shared.store import backfills, canvas, dead_letters, executions, parts, submitted
from shared.store.jobs import PARTITIONS
from shared.store.mongo import connect
from shared.store.pipeline import from_now
from tests.builders import every, fired, job_document
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from dev.servers import Servers
    from tests.chaos.proxy import Link

Db: TypeAlias = "Database[dict[str, Any]]"

LEASE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


class Asked(CommandListener):
    """Notes what is asked of the store."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []
        """The commands, and the collections that they are about."""

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append((event.command_name, event.command[event.command_name]))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def taken(self) -> list[tuple[str, str]]:
        """Return what was asked since this was last called."""
        taken, self.commands = self.commands, []
        return taken


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(PARTITIONS))


class Lends(Partitions):
    lent: frozenset[int] = frozenset()

    @property
    def held(self) -> frozenset[int]:
        return self.lent


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def watched(database_url: str, asked: Asked) -> Iterator[Db]:
    watched = connect(database_url, event_listeners=[asked])
    with watched.client:
        yield watched


def test_firing_asks_one_question_a_look_and_none_twice_of_a_job_that_comes_then(
    database: Db, watched: Db, asked: Asked
) -> None:
    database.jobs.insert_one(job_document("later", every(86_400, anchor=NOW), created=NOW))
    fire = Fire(watched, BelievesAll(watched, "beat", LEASE), lambda _: None, "beat")
    assert fire.run_once() == LONGEST_SLEEP
    asked.taken()
    for _ in range(3):
        assert fire.run_once() == LONGEST_SLEEP
        assert asked.taken() == [("aggregate", "jobs")]
    database.jobs.insert_one(job_document("new", every(), created=NOW - timedelta(seconds=2)))
    fire.run_once()
    assert database.executions.count_documents({"job_id": "new", "run": True}) > 0


def test_firing_asks_nothing_at_rest_that_another_thread_has_just_asked(
    database: Db, watched: Db, asked: Asked
) -> None:
    database.jobs.insert_one(job_document("later", every(86_400, anchor=NOW), created=NOW))
    held = BelievesAll(watched, "beat", LEASE)
    look = Look(watched, held, ended=Sought(executions.COLLECTION, (parts.settled_filter,)), coming=COMING)
    fire = Fire(watched, held, lambda _: None, "beat", look)
    assert fire.run_once() == LONGEST_SLEEP
    assert "coming" in look.found()
    asked.taken()
    rests = fire.run_once()
    assert asked.taken() == []
    assert rests + TRUSTED <= LONGEST_SLEEP, "what was stored just after that look would take effect too late"


def test_firing_looks_for_itself_when_the_other_thread_is_busy(database: Db) -> None:
    held = BelievesAll(database, "beat", LEASE)
    fire = Fire(database, held, lambda _: None, "beat", Look(database, held, coming=COMING))
    assert fire.run_once() == LONGEST_SLEEP
    database.jobs.insert_one(job_document("new", every(), created=NOW - timedelta(seconds=2)))
    fire.run_once()
    assert database.executions.count_documents({"job_id": "new", "run": True}) > 0


def relay_of(watched: Db, **along: Sought) -> Relay:
    nobody = cast("Any", None)
    return Relay(watched, BelievesAll(watched, "beat", LEASE), nobody, nobody, (), "beat", **along)


def test_the_relay_asks_one_question_a_look_whatever_it_asks_along_for_others(watched: Db, asked: Asked) -> None:
    relay = relay_of(watched, backfills=Sought(backfills.COLLECTION, (backfills.due_filter,)))
    for _ in range(3):
        assert relay.run_once() == 0
        assert relay.pause == INTERVAL
        assert asked.taken() == [("aggregate", "executions")]


def test_what_is_held_for_long_has_the_relay_look_for_nothing_that_is_due(
    database: Db, watched: Db, asked: Asked
) -> None:
    job = job_document("job-1", policies={"overlap": Overlap.BUFFER_ALL})
    running, waiting = fired(job, NOW - HOUR, state="RUNNING"), fired(job, NOW, held=True)
    del running["send_at"]
    database.executions.insert_many([running, waiting])
    relay = relay_of(watched)
    assert relay.run_once() == 0
    assert asked.taken()  # and what is held for nothing, once in ten minutes
    assert relay.run_once() == 0
    looks = ["held", "in flight", "dead letters", "withdrawn letters"]
    assert asked.taken() == [("aggregate", "executions"), *[("find", "executions") for _ in looks]]


def test_who_trusts_a_recent_look_asks_none_of_its_own(database: Db, watched: Db, asked: Asked) -> None:
    relay = relay_of(watched, backfills=Sought(backfills.COLLECTION, (backfills.due_filter,)))
    began = monotonic()
    relay.run_once()
    asked.taken()
    database.backfills.insert_one({"_id": "runs", "schema": 1, "partition": 3, "active": True})
    assert "backfills" not in relay.look.found(since=began)
    assert asked.taken() == []
    assert "backfills" in relay.look.found(since=monotonic()), "it was asked before that"
    assert len(asked.taken()) == 1


def test_renewing_the_partitions_reads_none_of_them(watched: Db, asked: Asked) -> None:
    partitions = Partitions(watched, "beat", LEASE)
    partitions.prepare()
    partitions.run_once()
    asked.taken()
    partitions.run_once()
    assert asked.taken() == [("update", "beats"), ("find", "beats"), ("update", "partitions")]
    assert len(partitions.held) == PARTITIONS


def test_a_beat_that_failed_while_it_took_partitions_reads_what_it_has(database: Db) -> None:
    """As many as it knew of, but others: one was taken by somebody else, and it does not know of one that it took."""

    class LosesAReply(Partitions):
        loses = False

        def _take(self, most: int) -> set[int]:
            taken = super()._take(most)
            if self.loses:
                raise PyMongoError("the reply was lost")
            return taken

    partitions = LosesAReply(database, "beat", LEASE)
    partitions.prepare()
    lent = [{"$set": {"holder": "other", "expires_at": from_now(LEASE)}}]
    last = PARTITIONS - 1
    database.partitions.update_one({"_id": last}, lent)
    partitions.run_once()
    assert partitions.held == set(range(last))
    database.partitions.update_one({"_id": last}, {"$unset": {"holder": "", "expires_at": ""}})
    partitions.loses = True
    with pytest.raises(PyMongoError):
        partitions.run_once()
    partitions.loses = False
    database.partitions.update_one({"_id": 0}, lent)
    partitions.run_once()
    assert partitions.held == set(range(1, PARTITIONS))


WAITING: dict[str, tuple[Any, dict[str, Any]]] = {
    "a part has ended": (parts.settled_filter, {"trigger": "PART", "settle": True}),
    "a whole has to be looked at": (parts.advance_filter, {"state": "WAITING", "advance_at": NOW}),
    "something may follow": (canvas.followed_filter, {"follow": True}),
    "a copy is missing": (executions.uncopied_filter, {"trigger": "API", "uncopied": True}),
    "a row is held": (executions.held_filter, {"held": True}),
    "a dead letter was not sent": (dead_letters.unsent_letters_filter, {"state": "FAILED", "dead_letter": True}),
    "a copy is to be removed": (dead_letters.withdraw_filter, {"state": "FAILED", "withdraw": True}),
    "a lease has ended": (
        executions.expired_filter, {"state": "RUNNING", "lease": {"expires_at": NOW - HOUR, "length": 1000}},
    ),
    "the clock was set back": (
        partial(executions.ahead_filter, lease=timedelta(seconds=15)),
        {"state": "RUNNING", "lease": {"expires_at": NOW + 24 * HOUR, "length": 15_000}},
    ),
    "an execution has expired": (submitted.expired_filter, {"open": True, "attempt": 0, "expires_at": NOW - HOUR}),
    "a failure may pause its job": (executions.may_pause_filter, {"state": "FAILED", "may_pause": True}),
}  # fmt: skip
"""What each duty's question finds."""


@pytest.mark.parametrize("name", WAITING)
def test_a_look_finds_what_any_of_its_duties_has_to_do(database: Db, name: str) -> None:
    together = Sought(executions.COLLECTION, tuple(question for question, _ in WAITING.values()))
    alone = {f"look {number}": Sought(executions.COLLECTION, (question,)) for number, (question, _) in numbered()}
    held = BelievesAll(database, "beat", LEASE)
    look = Look(database, held, all=together, **alone)
    resting = fired(job_document("job-1"), NOW - HOUR, state="SUCCEEDED")
    database.executions.insert_one(resting)
    assert not look.found()
    database.executions.insert_one(fired(job_document("job-2"), NOW - HOUR) | WAITING[name][1])
    assert look.found().keys() == {"all", f"look {list(WAITING).index(name)}"}
    nobody = Look(database, Partitions(database, "nobody", LEASE), all=together)
    assert not nobody.found(), "it holds no partition"


def numbered() -> Iterator[tuple[int, tuple[Any, dict[str, Any]]]]:
    return enumerate(WAITING.values())


def test_a_look_finds_a_backfill_that_has_not_ended_beside_something_else(database: Db) -> None:
    ended = Sought(executions.COLLECTION, (parts.settled_filter,))
    started = Sought(backfills.COLLECTION, (backfills.due_filter,))
    look = Look(database, BelievesAll(database, "beat", LEASE), ended=ended, backfills=started)
    database.backfills.insert_one({"_id": "ended", "schema": 1, "partition": 3})
    assert not look.found()
    database.backfills.insert_one({"_id": "runs", "schema": 1, "partition": 3, "active": True})
    assert look.found().keys() == {"backfills"}


def test_a_look_tells_the_first_by_a_field_and_the_databases_time(database: Db) -> None:
    for number, seconds in enumerate((30, 10, 20)):
        row = fired(job_document(f"job-{number}"), NOW) | {"send_at": NOW + timedelta(seconds=seconds)}
        database.executions.insert_one(row)
    unsent = Sought(executions.COLLECTION, (executions.unsent_filter,), first_by="send_at")
    began = monotonic()
    found = Look(database, BelievesAll(database, "beat", LEASE), unsent=unsent).found()["unsent"]
    assert began <= found["asked_at"] <= found["came_at"] <= monotonic()
    assert found["send_at"] == NOW + timedelta(seconds=10)
    assert NOW <= found["now"] <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_look_asks_about_the_partitions_that_are_held_now(database: Db) -> None:
    held = Lends(database, "beat", LEASE)
    look = Look(database, held, ended=Sought(executions.COLLECTION, (parts.settled_filter,)))
    database.executions.insert_one(fired(job_document("job-1"), NOW, trigger="PART", settle=True, partition=5))
    held.lent = frozenset({4})
    assert not look.found()
    held.lent = frozenset({5})
    assert look.found()


class Severing(Asked):
    """Breaks the connection as often as it is told to, each time when something has been asked."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link, self.left = link, 0

    def started(self, event: CommandStartedEvent) -> None:
        super().started(event)
        if self.left:
            self.left -= 1
            self.link.sever()


def test_a_look_whose_connection_breaks_asks_once_more_and_not_twice(
    servers: Servers, database: Db, database_url: str
) -> None:
    database.executions.insert_one(fired(job_document("job-1"), NOW, trigger="PART", settle=True))
    with Proxy() as proxy:
        link = proxy.link(servers.mongodb.port)
        breaking = Severing(link)
        url = database_url.replace(f":{servers.mongodb.port}", f":{link.port}")
        behind = connect(url, event_listeners=[breaking])
        with behind.client:
            ended = Sought(executions.COLLECTION, (parts.settled_filter,))
            look = Look(behind, BelievesAll(behind, "beat", LEASE), ended=ended)
            assert look.found(), "the connection is made"
            breaking.taken()
            breaking.left = 1
            assert look.found()
            assert breaking.taken() == [("aggregate", "executions")] * 2
            breaking.left = 2
            with pytest.raises(AutoReconnect):
                look.found()
            assert breaking.taken() == [("aggregate", "executions")] * 2
