"""What beat concludes from two reads: the second is never older than the first, also of a primary just elected."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pymongo.monitoring import CommandListener

from beat.advance import Advance
from beat.backfill import Backfills
from beat.consequences import Consequences
from beat.follow import Follow
from dev.mongodb import start_mongodb
from shared.store.layout import lay_out
from shared.store.mongo import connect
from shared.tasks.app import celery_app
from shared.tasks.results import ResultCopy
from tests.builders import fired, job_document
from tests.integration.test_beat_fire import BelievesAll, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

Db: TypeAlias = "Database[dict[str, Any]]"

NOW = datetime.now(UTC)


class Reads(CommandListener):
    """Of each read in turn, the time that the store is to have reached at least, if any."""

    def __init__(self) -> None:
        self.reached: list[Any] = []
        self.failed_with: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "aggregate"}:
            self.reached.append(event.command.get("readConcern", {}).get("afterClusterTime"))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing is to be noted of it."""

    def failed(self, event: CommandFailedEvent) -> None:
        self.failed_with.append(event.failure)


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_mongodb(tmp_path_factory.mktemp("replica-set"), replica_set="rs0")
    with closing(connect(server.url).client) as client:
        lay_out(client.get_default_database("scheduler"))
    yield server.url
    server.kill()


def held(database: Db) -> BelievesAll:
    return BelievesAll(database, "beat", timedelta(seconds=60))


def advancing(database: Db) -> Callable[[], object]:
    return Advance(database, held(database), Sent(), "beat").run_once


def deleting(database: Db) -> Callable[[], object]:
    return Consequences(database, held(database), "beat").delete_done


def pausing(database: Db) -> Callable[[], object]:
    document = job_document("failing", policies={"pause_on_failure": 3})
    database.jobs.insert_one(document)
    error = {"code": "UNAVAILABLE", "message": "", "retryable": True}
    failed = fired(document, NOW, state="FAILED", may_pause=True, finished_at=NOW, error=error)
    database.executions.insert_one(failed)
    return Consequences(database, held(database), "beat")._pause_failing


def backfilling(database: Db) -> Callable[[], object]:
    database.backfills.insert_one({"_id": "damaged", "active": True, "partition": 1, "schema": 1})
    return Backfills(database, held(database), Sent(), "beat").run_once


def following(database: Db) -> Callable[[], object]:
    then = json.dumps({"links": [], "errbacks": [], "chain": [], "body": {"task": "sum"}})
    ended = fired(job_document("job-1"), NOW, state="SUCCEEDED", result="1", canvas=then, follow=True, group="group")
    database.executions.insert_one(ended)
    database.groups.insert_one({"_id": "group", "size": 2})
    return Follow(database, held(database), celery_app, ResultCopy(celery_app.backend)).run_once


@pytest.mark.parametrize("duty", [advancing, deleting, pausing, backfilling, following])
def test_a_later_read_is_of_what_the_first_one_saw_or_later(replica_set: str, duty: Callable[[Db], Any]) -> None:
    reads = Reads()
    database = connect(replica_set, event_listeners=[reads])
    with closing(database.client):
        run_once = duty(database)
        reads.reached.clear()
        run_once()
    first, *later = reads.reached
    assert not reads.failed_with
    assert later, "it concludes from one read"
    assert all(reached is not None for reached in later), f"of {later} one need not follow {first}"
