"""What was just inserted is sent, and marked where no worker has it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from shared.messaging.app import make_app
from shared.messaging.dispatcher import Dispatcher, Sender
from shared.messaging.publisher import Publisher
from shared.messaging.queues import Queues
from shared.settings import Settings
from shared.store import executions
from tests.acceptance.system import wait_until
from tests.builders import QUEUES, at, fired, job_document, own_vhost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymongo.database import Database

    from dev.servers import Servers
    from shared.messaging.messages import Outgoing

    Db = Database[dict[str, Any]]

ALL_QUEUES = Queues(frozenset({*QUEUES.values(), "manual"}), QUEUES)


@pytest.fixture
def publisher(servers: Servers) -> Iterator[Publisher]:
    app = make_app(Settings(celery_broker_url=own_vhost(servers.rabbitmq)), ALL_QUEUES)
    made = Publisher(app, ALL_QUEUES)
    yield made
    made.close()


def inserted(database: Db) -> dict[str, Any]:
    row = fired(job_document(f"job-{uuid4().hex}", queue="manual"), at(0), due_at=datetime.now(UTC))
    database.executions.insert_one(row)
    return row


def states(database: Db, row: dict[str, Any]) -> list[str]:
    stored = database.executions.find_one({"_id": row["_id"]}) or {}
    return [step["state"] for step in stored["transitions"]]


class Taken(Publisher):
    """A publisher whose message some worker has taken as soon as it is there."""

    def __init__(self, publisher: Publisher, database: Db, row: dict[str, Any]) -> None:
        self._publisher, self._database, self._row = publisher, database, row

    @property
    def tasks(self) -> Mapping[str, Any]:
        return self._publisher.tasks

    def publish(self, messages: Sequence[Outgoing]) -> set[str]:
        confirmed = self._publisher.publish(messages)
        move = executions.claim(self._row["_id"], "worker", "nonce", timedelta(seconds=60))
        assert self._database.executions.update_one(move.filter, move.update).modified_count
        return confirmed


def test_what_no_worker_takes_at_once_is_marked(database: Db, publisher: Publisher) -> None:
    row, dispatcher = inserted(database), Dispatcher(Sender(database, publisher, "tester"), publisher)
    dispatcher.start()
    dispatcher.submit([row])
    wait_until(lambda: states(database, row) == ["PENDING", "QUEUED"], "it is marked")
    dispatcher.stop()


def test_what_a_worker_has_taken_by_then_is_left_alone(database: Db, publisher: Publisher) -> None:
    taken, left = inserted(database), inserted(database)
    dispatcher = Dispatcher(Sender(database, Taken(publisher, database, taken), "tester"), publisher)
    dispatcher.start()
    dispatcher.submit([taken, left])
    wait_until(lambda: states(database, left) == ["PENDING", "QUEUED"], "the other is marked")
    assert states(database, taken) == ["PENDING", "RUNNING"]
    dispatcher.stop()


def test_what_was_confirmed_is_marked_before_it_ends(database: Db, publisher: Publisher) -> None:
    rows, dispatcher = [inserted(database)], Dispatcher(Sender(database, publisher, "tester"), publisher)
    dispatcher.submit(rows)
    dispatcher.start()
    dispatcher.stop()
    assert states(database, rows[0]) == ["PENDING", "QUEUED"]
