"""At rest beat asks little of the store; whatever there is to do, it finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from pymongo.errors import PyMongoError
from pymongo.monitoring import CommandListener

from beat.fire import LONGEST_SLEEP, Fire
from beat.look import Look
from beat.partitions import Partitions
from beat.relay import Relay
from shared.store import backfills, canvas, dead_letters, executions, parts, submitted
from shared.store.jobs import PARTITIONS
from shared.store.mongo import connect
from shared.store.pipeline import from_now
from tests.builders import every, fired, job_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

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
        assert asked.taken() == [("find", "jobs")]
    database.jobs.insert_one(job_document("new", every(), created=NOW - timedelta(seconds=2)))
    fire.run_once()
    assert database.executions.count_documents({"job_id": "new", "run": True}) > 0


def test_the_relay_asks_three_questions_a_look(watched: Db, asked: Asked) -> None:
    nobody = cast("Any", None)
    relay = Relay(watched, BelievesAll(watched, "beat", LEASE), nobody, nobody, (), "beat")
    assert relay.run_once() == 0
    assert len(asked.taken()) <= 2
    relay._until_next()
    assert asked.taken() == [("find", "executions")]


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
    "a part has ended": (parts.settled_filter, {"settle": True}),
    "a whole has to be looked at": (parts.advance_filter, {"state": "WAITING", "advance_at": NOW}),
    "something may follow": (canvas.followed_filter, {"follow": True}),
    "a copy is missing": (executions.uncopied_filter, {"uncopied": True}),
    "a row is held": (executions.held_filter, {"held": True}),
    "a dead letter was not sent": (executions.unsent_letters_filter, {"dead_letter": True}),
    "a copy is to be removed": (dead_letters.withdraw_filter, {"withdraw": True}),
    "a lease has ended": (
        executions.expired_filter, {"state": "RUNNING", "lease": {"expires_at": NOW - HOUR, "length": 1000}},
    ),
    "the clock was set back": (
        partial(executions.ahead_filter, lease=timedelta(seconds=15)),
        {"state": "RUNNING", "lease": {"expires_at": NOW + 24 * HOUR, "length": 15_000}},
    ),
    "an execution has expired": (submitted.expired_filter, {"open": True, "attempt": 0, "expires_at": NOW - HOUR}),
    "a failure may pause its job": (executions.may_pause_filter, {"may_pause": True}),
}  # fmt: skip
"""What each duty's question finds."""


@pytest.mark.parametrize("name", WAITING)
def test_a_look_finds_what_any_of_its_duties_has_to_do(database: Db, name: str) -> None:
    questions = [question for question, _ in WAITING.values()]
    look = Look(database.executions, BelievesAll(database, "beat", LEASE), *questions)
    resting = fired(job_document("job-1"), NOW - HOUR, state="SUCCEEDED")
    database.executions.insert_one(resting)
    assert not look.finds()
    database.executions.insert_one(fired(job_document("job-2"), NOW - HOUR) | WAITING[name][1])
    assert look.finds()
    alone = Look(database.executions, BelievesAll(database, "beat", LEASE), WAITING[name][0])
    assert alone.finds()
    nobody = Look(database.executions, Partitions(database, "nobody", LEASE), *questions)
    assert not nobody.finds(), "it holds no partition"


def test_a_look_finds_a_backfill_that_has_not_ended(database: Db) -> None:
    look = Look(database.backfills, BelievesAll(database, "beat", LEASE), backfills.due_filter)
    database.backfills.insert_one({"_id": "ended", "schema": 1, "partition": 3})
    assert not look.finds()
    database.backfills.insert_one({"_id": "runs", "schema": 1, "partition": 3, "active": True})
    assert look.finds()
