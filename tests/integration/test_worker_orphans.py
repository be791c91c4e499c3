"""The attempts of dead pool processes: ended at once, by what became of their process, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from shared.domain.execution import State
from shared.store import executions
from shared.store.mongo import connect
from shared.tasks.results import ResultCopy
from tests.integration.test_worker_ledger import LONG, Proxy, claim, execution, ledger, stopped, stored, success
from worker.orphans import Orphan, Orphans
from worker.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from dev.servers import Servers

    Documents = Database[dict[str, Any]]

WORKER = "worker-1"
PID = os.getpid()
"""The process that claims here; it is nobody's dead child, so nothing waits for its end."""
KILLED = "by signal 9 (SIGKILL)"
RETRYABLE = frozenset({"DEADLINE_EXCEEDED"})


@pytest.fixture
def results(servers: Servers) -> ResultCopy:
    return ResultCopy(Celery(backend=servers.redis.url).backend)


@pytest.fixture
def orphans(database_url: str, results: ResultCopy) -> Orphans:
    return Orphans(lambda: connect(database_url), WORKER, LONG, Stopping(60), results, RETRYABLE)


def await_threads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("orphan-"):
            thread.join(60)
            assert not thread.is_alive()


def running(database: Documents, since: float = 0, **changes: Any) -> str:
    """Insert an execution that this process runs, for that many seconds already, and return its id."""
    execution_id = execution(database, **changes)
    claim(ledger(database, WORKER), execution_id)
    ago = timedelta(seconds=since)
    database.executions.update_one(
        {"_id": execution_id},
        [{"$set": {"started_at": {"$subtract": ["$started_at", ago / timedelta(milliseconds=1)]}}}],
    )
    return execution_id


def test_the_attempt_of_a_dead_process_is_due_at_once_whatever_its_lease(database: Documents, orphans: Orphans):
    execution_id = running(database)
    orphans.died(Orphan(execution_id, PID), KILLED)
    await_threads()
    row = stored(database, execution_id)
    assert (row.state, row.attempt, row.workers_lost) == (State.PENDING, 1, 1)
    assert row.error is not None
    assert (row.error.code, row.error.retryable) == ("WORKER_LOST", True)
    assert row.error.message == f"process {PID} of worker {WORKER} died {KILLED} during attempt 1"
    assert row.due_at is not None
    assert row.due_at <= row.transitions[-1].at
    claim(ledger(database, "worker-2"), execution_id)


def test_attempts_whose_processes_die_again_and_again_come_to_an_end(database: Documents, orphans: Orphans):
    execution_id = running(database)
    for attempt in range(2, 5):
        orphans.died(Orphan(execution_id, PID), KILLED)
        await_threads()
        assert claim(ledger(database, WORKER), execution_id).claimed.attempt == attempt
    orphans.died(Orphan(execution_id, PID), KILLED)
    await_threads()
    row = stored(database, execution_id)
    assert (row.state, row.workers_lost) == (State.FAILED, 4)
    assert row.transitions[-1].reason.endswith("in the last of 4 attempts")


@pytest.mark.parametrize(
    "end",
    [
        lambda orphans, orphan: orphans.died(orphan, KILLED),
        lambda orphans, orphan: orphans.overdue(orphan, 1),
        lambda orphans, orphan: orphans.revoked(orphan),
    ],
    ids=["died", "overdue", "revoked"],
)
class TestNoOtherAttemptIsTouched:
    def test_of_another_process(
        self, database: Documents, orphans: Orphans, end: Callable[[Orphans, Orphan], None]
    ) -> None:
        execution_id = running(database)
        end(orphans, Orphan(execution_id, PID + 1))
        await_threads()
        assert stored(database, execution_id).state is State.RUNNING

    def test_of_another_worker(
        self, database: Documents, orphans: Orphans, end: Callable[[Orphans, Orphan], None]
    ) -> None:
        execution_id = execution(database)
        claim(ledger(database, "worker-2"), execution_id)
        end(orphans, Orphan(execution_id, PID))
        await_threads()
        assert stored(database, execution_id).state is State.RUNNING

    def test_whose_outcome_was_written_before_the_end(
        self, database: Documents, orphans: Orphans, end: Callable[[Orphans, Orphan], None]
    ) -> None:
        execution_id = execution(database)
        mine = ledger(database, WORKER)
        claimed = claim(mine, execution_id).claimed
        mine.record(claimed, success(claimed))
        end(orphans, Orphan(execution_id, PID))
        await_threads()
        assert stored(database, execution_id).state is State.SUCCEEDED

    def test_that_was_never_begun(
        self, database: Documents, orphans: Orphans, end: Callable[[Orphans, Orphan], None]
    ) -> None:
        execution_id = execution(database)
        end(orphans, Orphan(execution_id, PID))
        await_threads()
        assert stored(database, execution_id).state is State.QUEUED


def test_what_was_cancelled_meanwhile_stays_so(database: Documents, orphans: Orphans):
    execution_id = running(database)
    asked = executions.cancel(execution_id, "ann", "no longer needed")
    database.executions.update_one(asked.filter, asked.update)
    orphans.died(Orphan(execution_id, PID), KILLED)
    await_threads()
    row = stored(database, execution_id)
    assert (row.state, row.transitions[-1].reason) == (State.CANCELLED, "cancelled by ann: no longer needed")


def test_who_outlasts_a_time_limit_has_failed_and_the_retry_policy_says_what_follows(
    database: Documents, orphans: Orphans
):
    again, for_good = running(database, since=60), running(database, since=60)
    database.executions.update_one({"_id": for_good}, {"$set": {"retry.non_retryable_codes": ["DEADLINE_EXCEEDED"]}})
    for each in (again, for_good):
        orphans.overdue(Orphan(each, PID), 60)
    await_threads()
    row = stored(database, again)
    assert (row.state, row.attempt, row.workers_lost) == (State.PENDING, 1, 0)
    assert row.due_at is not None
    assert row.due_at > row.transitions[-1].at
    assert row.error is not None
    assert row.error.code == "DEADLINE_EXCEEDED"
    assert stored(database, for_good).state is State.FAILED


def test_code_that_waits_for_what_was_killed_is_to_be_told_also_when_this_process_ends_before_it_can(
    database: Documents, orphans: Orphans
):
    execution_id = running(database, since=60)
    final = {"trigger": "API", "retry.non_retryable_codes": ["DEADLINE_EXCEEDED"]}
    database.executions.update_one({"_id": execution_id}, {"$set": final})
    orphans.overdue(Orphan(execution_id, PID), 60)
    await_threads()
    assert database.executions.count_documents({"_id": execution_id, "state": "FAILED", "uncopied": True}) == 1


def test_who_waited_for_the_store_and_was_killed_before_its_time_is_handed_back(database: Documents, orphans: Orphans):
    execution_id = running(database, since=30)
    orphans.overdue(Orphan(execution_id, PID), 60)
    await_threads()
    row = stored(database, execution_id)
    assert (row.state, row.attempt, row.max_attempts, row.workers_lost) == (State.PENDING, 1, 5, 0)
    assert row.transitions[-1].reason == "its process was killed before it had its time"
    assert row.due_at is not None
    assert row.due_at <= row.transitions[-1].at


def test_an_attempt_is_not_given_away_before_its_process_has_ended(
    database: Documents, database_url: str, results: ResultCopy
):
    """One that is killed for its time limit may run on for a moment."""
    states: list[int | None] = []

    def connect_and_look() -> Documents:
        states.append(child.poll())
        return connect(database_url)

    orphans = Orphans(connect_and_look, WORKER, LONG, Stopping(60), results, RETRYABLE)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"]) as child:
        execution_id = running(database, since=60)
        database.executions.update_one({"_id": execution_id}, {"$set": {"lease.pid": child.pid}})
        orphans.overdue(Orphan(execution_id, child.pid), 60)
        await_threads()
    assert states == [0]
    assert stored(database, execution_id).state is State.PENDING


def test_a_document_that_cannot_be_read_stands_in_nobody_s_way(database: Documents, orphans: Orphans):
    execution_id = running(database)
    database.executions.update_one({"_id": execution_id}, {"$unset": {"retry": ""}})
    orphans.died(Orphan(execution_id, PID), KILLED)
    await_threads()
    raw = database.executions.find_one({"_id": execution_id})
    assert raw is not None
    assert (raw["state"], raw["transitions"][-1]["reason"]) == ("FAILED", "its document can't be read")


def test_a_worker_that_stops_leaves_to_rescue_what_it_cannot_write(
    servers: Servers, database: Documents, database_url: str, results: ResultCopy
):
    execution_id = running(database)
    with Proxy(servers.mongodb.port) as proxy:
        proxy.refuse()
        url = database_url.replace(str(servers.mongodb.port), str(proxy.port))
        away = f"{url}?directConnection=true&serverSelectionTimeoutMS=200"
        orphans = Orphans(lambda: connect(away), WORKER, LONG, stopped(0), results, RETRYABLE)
        orphans.died(Orphan(execution_id, PID), KILLED)
        await_threads()
    assert stored(database, execution_id).state is State.RUNNING
