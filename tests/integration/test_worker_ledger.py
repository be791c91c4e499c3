"""The worker's writes to the ledger: one holder an attempt, and no outcome lost or written twice, whatever breaks."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import pytest
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.monitoring import CommandListener
from pymongo.write_concern import WriteConcern

from dev.mongodb import start_mongodb
from shared import metrics
from shared.domain.execution import TERMINAL, AfterFailure, Failure, State, manual_id, retry_id, row_id
from shared.domain.job import JobState
from shared.domain.retry import RetryPolicy
from shared.messaging.messages import AHEAD
from shared.store import executions
from shared.store.mongo import connect
from tests.acceptance.system import wait_until
from tests.builders import at, every, fired, job_document
from tests.integration.test_beat_fire import edit, fire
from worker.ledger import Ledger, Recorded, StoppingError, _Wanted
from worker.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from dev.server import Server
    from shared.store.executions import Claimed, Move, StoredExecution
    from worker.ledger import Lease

    Documents = Database[dict[str, Any]]

LONG = timedelta(seconds=60)
UNAVAILABLE = Failure("UNAVAILABLE", "down", retryable=True)
_numbers = count()


def execution(database: Documents, *, due_in: float = 0, state: str = "QUEUED", **changes: Any) -> str:
    """Insert an execution, due that many seconds from now (negative: ago), and return its id."""
    job = job_document(
        f"job-{next(_numbers)}", target_service="recorder", target_method="Record", **changes.pop("job", {})
    )
    due_at = datetime.now(UTC) + timedelta(seconds=due_in)
    document = fired(job, at(0), state=state, due_at=due_at, **changes)
    database.executions.insert_one(document)
    return str(document["_id"])


def stored(database: Documents, execution_id: str) -> StoredExecution:
    document = database.executions.find_one({"_id": execution_id})
    assert document is not None
    return executions.to_execution(document)


def states(database: Documents, execution_id: str) -> list[str]:
    return [transition.state.value for transition in stored(database, execution_id).transitions]


def ledger(
    database: Documents,
    worker: str = "worker-1",
    lease: timedelta = LONG,
    stopping: Stopping | None = None,
) -> Ledger:
    return Ledger(database, worker, lease, stopping or Stopping(60))


def stopped(grace: float) -> Stopping:
    """A worker that was told to stop just now."""
    stopping = Stopping(grace)
    stopping.begin()
    return stopping


class Asked(Stopping):
    """Whether the worker stops: it does not; but the test learns that it was asked, which is after a failed try."""

    def __init__(self) -> None:
        super().__init__(60)
        self.event = threading.Event()

    def asked(self) -> bool:
        self.event.set()
        return False

    grace_over = asked


def claim(of: Ledger, execution_id: str) -> Lease:
    lease = of.claim(execution_id)
    assert lease is not None
    return lease


def success(claimed: Claimed, result: Any = None, by: str = "worker-1") -> Move:
    text, truncated = executions.cut_result(result or {"fine": True})
    return executions.succeed(claimed.execution_id, claimed.nonce, by, text, truncated=truncated)


def retry(claimed: Claimed, failure: Failure = UNAVAILABLE, by: str = "worker-1") -> Move:
    after = AfterFailure(State.PENDING, datetime.now(UTC), "trying again")
    return executions.fail(claimed.execution_id, claimed.nonce, by, failure, after)


def end(claimed: Claimed, failure: Failure, by: str = "worker-1") -> Move:
    after = AfterFailure(State.FAILED, None, "not retried")
    return executions.fail(claimed.execution_id, claimed.nonce, by, failure, after)


def rescue(database: Documents, execution_id: str) -> bool:
    """Do what beat's rescue does, as soon as the lease has ended; return whether there was an attempt to take."""
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    if row["state"] != "RUNNING":
        return False
    after = AfterFailure(State.PENDING, datetime.now(UTC), "fell silent")
    lost = Failure("WORKER_LOST", "fell silent", retryable=True)
    move = executions.rescue(execution_id, row["lease"]["nonce"], "beat", lost, after)
    return bool(
        wait_until(lambda: database.executions.update_one(move.filter, move.update).modified_count, "the lease ended")
    )


class Proxy:
    """Stands between a client and its server, and loses what it is told to."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._replies_to_lose: list[bytes] = []
        self._requests_to_lose: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flowing.set()
        self.refuse()

    def lose_reply_to(self, command: str, times: int = 1) -> None:
        """Cut the connection when the server has answered the next such command, without passing on the answer."""
        self._replies_to_lose += [command.encode()] * times

    def lose(self, command: str) -> None:
        """Cut the connection when the next such command comes, before the server sees it."""
        self._requests_to_lose.append(command.encode())

    @property
    def has_lost_all(self) -> bool:
        return not self._replies_to_lose and not self._requests_to_lose

    def stall(self) -> None:
        """Pass on nothing, in silence, as a network that drops packets."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def refuse(self) -> None:
        """Accept no connections any more, as a server that has ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for one, which closing does not
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), closing(socket.create_connection(("127.0.0.1", self._server_port))) as server:
            with self._lock:
                self._open |= {client, server}
            losing = threading.Event()
            back = threading.Thread(target=self._answers, args=(server, client, losing), daemon=True)
            back.start()
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    self._flowing.wait()
                    if self._matches(data, self._requests_to_lose):
                        break
                    if self._matches(data, self._replies_to_lose):
                        losing.set()
                    server.sendall(data)
            for connection in (client, server):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _answers(self, server: socket.socket, client: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                self._flowing.wait()
                if losing.is_set():
                    break
                client.sendall(data)
        for connection in (client, server):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _matches(self, data: bytes, commands: list[bytes]) -> bool:
        with self._lock:
            for command in commands:
                if command in data:
                    commands.remove(command)
                    return True
        return False


@pytest.fixture
def proxy(database: Documents) -> Iterator[Proxy]:
    host = database.client.address
    assert host is not None
    with Proxy(host[1]) as running:
        yield running


@pytest.fixture
def through_proxy(proxy: Proxy, database: Documents) -> Iterator[Documents]:
    """The test's database, reached through the proxy."""
    found = connect(f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true")
    yield found
    found.client.close()


# Claiming:


def ahead_of_its_row(database: Documents) -> dict[str, Any]:
    """Return the row of a run by hand whose message is here already; the row is not."""
    by_hand = execution(database, _id=manual_id(f"uid-{next(_numbers)}", "token"))
    row = database.executions.find_one_and_delete({"_id": by_hand})
    assert row is not None
    return row


def test_a_message_that_is_ahead_of_its_row_waits_for_it(database: Documents, monkeypatch: pytest.MonkeyPatch):
    row = ahead_of_its_row(database)
    looks: Iterator[Callable[[], object]] = iter([lambda: None, lambda: database.executions.insert_one(row)])
    monkeypatch.setattr("worker.ledger.sleep", lambda _: next(looks)())
    assert claim(ledger(database), row["_id"]).claimed.attempt == 1


def test_a_row_that_comes_just_after_the_claim_is_claimed(database: Documents, monkeypatch: pytest.MonkeyPatch):
    row = ahead_of_its_row(database)

    class Late(Ledger):
        def _has_come(self, execution_id: str) -> bool:
            self._executions.insert_one(row)
            return super()._has_come(execution_id)

    monkeypatch.setattr("worker.ledger.sleep", lambda _: pytest.fail("it is there"))
    assert claim(Late(database, "worker-1", LONG, Stopping(60)), row["_id"]).claimed.attempt == 1


def test_a_message_whose_row_does_not_come_is_dropped_after_a_look_as_late_as_its_sender_counts_on(
    database: Documents, monkeypatch: pytest.MonkeyPatch
):
    row = ahead_of_its_row(database)
    clock = [0.0]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += AHEAD
        if len(waited) == 1:
            database.executions.insert_one(row)  # at the last moment

    monkeypatch.setattr("worker.ledger.sleep", wait)
    monkeypatch.setattr("worker.ledger.monotonic", lambda: clock[0])
    assert claim(ledger(database), row["_id"]).claimed.attempt == 1
    assert ledger(database).claim(retry_id("uid-gone", "token")) is None
    assert len(waited) == 2


def test_no_slot_waits_for_the_row_of_what_a_schedule_names(database: Documents, monkeypatch: pytest.MonkeyPatch):
    """Its message comes after it. Of messages that outlived the store's rows there may be as many as a queue holds."""
    monkeypatch.setattr("worker.ledger.sleep", lambda _: pytest.fail("it waits"))
    assert ledger(database).claim(row_id("uid-gone", 0, at(0))) is None


def test_of_many_who_claim_at_once_exactly_one_gets_it(database: Documents):
    ids = [execution(database) for _ in range(10)]
    threads = 12
    barrier = threading.Barrier(threads)

    def claim_all(number: int) -> list[tuple[str, str]]:
        mine = ledger(database, f"worker-{number}")
        barrier.wait()
        return [(each, f"worker-{number}") for each in ids if mine.claim(each)]

    with ThreadPoolExecutor(threads) as pool:
        got = [pair for pairs in pool.map(claim_all, range(threads)) for pair in pairs]
    assert sorted(execution_id for execution_id, _ in got) == sorted(ids)
    for execution_id, worker in got:
        row = stored(database, execution_id)
        assert (row.state, row.attempt, row.worker) == (State.RUNNING, 1, worker)
        assert [t.state for t in row.transitions].count(State.RUNNING) == 1


def test_a_claim_says_all_that_the_call_needs_and_when_the_lease_began(database: Documents):
    execution_id = execution(database, job={"parameters": '{"label": "x"}'})
    lease = claim(ledger(database), execution_id)
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    assert lease.claimed.execution_id == execution_id
    assert lease.claimed.attempt == 1
    assert (lease.claimed.target_service, lease.claimed.target_method) == ("recorder", "Record")
    assert lease.claimed.parameters == row["parameters"]
    assert lease.granted_at == row["started_at"]
    assert row["lease"]["expires_at"] - row["started_at"] == LONG


@pytest.mark.parametrize("state", ["PENDING", "QUEUED"])
def test_what_is_due_is_claimed_whether_its_message_was_marked_or_not(database: Documents, state: str):
    assert ledger(database).claim(execution(database, state=state)) is not None


def test_what_is_not_due_goes_back_to_the_relay(database: Documents):
    execution_id = execution(database, due_in=60)
    assert ledger(database).claim(execution_id) is None
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    assert row["state"] == "PENDING"
    assert row["send_at"] == row["due_at"]
    assert row["attempt"] == 0


class AtTheFirst(CommandListener):
    """Does something just before a command is sent for the first time."""

    def __init__(self, command: str, action: Callable[[], object]) -> None:
        self._command = command
        self._action: Callable[[], object] | None = action

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == self._command and (action := self._action):
            self._action = None
            action()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def test_what_becomes_due_while_it_is_found_not_due_is_run_and_not_forgotten(database: Documents, database_url: str):
    """Its only message is being handled: left QUEUED it would wait a minute for the relay."""
    execution_id = execution(database, due_in=60)

    def make_due() -> None:
        database.executions.update_one({"_id": execution_id}, [{"$set": {"due_at": "$$NOW"}}])

    watched = connect(database_url, event_listeners=[AtTheFirst("update", make_due)])
    with watched.client:
        lease = ledger(watched).claim(execution_id)
    assert lease is not None
    assert stored(database, execution_id).state is State.RUNNING


def test_what_runs_under_a_lease_is_not_claimed_again(database: Documents):
    execution_id = execution(database)
    claim(ledger(database, "worker-1"), execution_id)
    assert ledger(database, "worker-2").claim(execution_id) is None
    assert ledger(database).why_unclaimable(execution_id) == "it is RUNNING"
    row = stored(database, execution_id)
    assert (row.worker, row.attempt) == ("worker-1", 1)


def test_what_runs_under_an_ended_lease_is_left_to_rescue(database: Documents):
    execution_id = execution(database)
    claim(ledger(database, lease=timedelta(milliseconds=1)), execution_id)
    other = ledger(database, "worker-2")
    assert other.claim(execution_id) is None
    assert rescue(database, execution_id)
    assert claim(other, execution_id).claimed.attempt == 2


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_what_has_ended_is_not_run_again(database: Documents, state: State):
    execution_id = execution(database, state=state.value)
    before = database.executions.find_one({"_id": execution_id})
    assert ledger(database).claim(execution_id) is None
    assert database.executions.find_one({"_id": execution_id}) == before
    assert ledger(database).why_unclaimable(execution_id) == f"it is {state}"


def test_what_is_not_there_is_no_error(database: Documents):
    assert ledger(database).claim("no such id") is None
    assert ledger(database).why_unclaimable("no such id") == "there is no such execution"
    assert database.executions.count_documents({}) == 0


# Documents of other releases, and such as can't be read:


def test_what_a_newer_release_stored_is_left_to_newer_workers(database: Documents):
    execution_id = execution(database, schema=executions.SCHEMA + 1)
    before = database.executions.find_one({"_id": execution_id})
    assert ledger(database).claim(execution_id) is None
    assert database.executions.find_one({"_id": execution_id}) == before
    assert "its schema is 4, and this one knows 3" in ledger(database).why_unclaimable(execution_id)


def test_what_an_older_release_stored_is_run_with_defaults_and_migrated(database: Documents):
    execution_id = execution(database, schema=1)
    later = ("jitter", "retryable_codes", "non_retryable_codes", "retry_window")
    older = {"policies": "", **{f"retry.{name}": "" for name in later}}
    database.executions.update_one({"_id": execution_id}, {"$unset": older})
    lease = claim(ledger(database), execution_id)
    assert lease.claimed.retry == RetryPolicy()
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    assert (row["schema"], row["policies"]) == (executions.SCHEMA, {})
    assert set(row["retry"]) >= set(later)


@pytest.mark.parametrize(
    "broken",
    [
        {"retry": {"max_attempts": 0}},
        {"timeout": "soon"},
        {"timeout": 2**62},
        {"trigger": "MAGIC"},
        {"retry": None},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_ended_by_the_first_worker_that_claims_it(database: Documents, broken: dict[str, Any]):
    execution_id = execution(database)
    database.executions.update_one({"_id": execution_id}, {"$set": broken})
    parked = metrics.WORKER_PARKED._value.get()
    assert ledger(database).claim(execution_id) is None
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    assert row["state"] == "FAILED"
    assert "the execution's document can't be read" in row["error"]["message"]
    assert not {"open", "lease", "send_at", "dead_letter"} & set(row)
    assert metrics.WORKER_PARKED._value.get() == parked + 1


def test_code_that_waits_for_what_cannot_be_read_is_to_be_told(database: Documents):
    execution_id = execution(database)
    database.executions.update_one({"_id": execution_id}, {"$set": {"trigger": "API", "timeout": "soon"}})
    assert ledger(database).claim(execution_id) is None
    assert database.executions.count_documents({"_id": execution_id, "uncopied": True}) == 1


# Recording:


def test_an_outcome_is_recorded_once_and_refused_afterwards(database: Documents):
    execution_id = execution(database)
    mine = ledger(database)
    claimed = claim(mine, execution_id).claimed
    ended = mine.record(claimed, success(claimed))
    assert ended is not None
    assert ended.state is State.SUCCEEDED
    assert mine.record(claimed, end(claimed, UNAVAILABLE)) is None
    row = stored(database, execution_id)
    assert (row.state, row.result) == (State.SUCCEEDED, {"fine": True})
    assert states(database, execution_id) == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_the_outcome_of_an_attempt_that_was_taken_away_is_refused(database: Documents):
    execution_id = execution(database)
    slow = ledger(database, "worker-1", timedelta(milliseconds=1))
    late = claim(slow, execution_id).claimed
    rescue(database, execution_id)
    assert slow.record(late, success(late)) is None

    quick = ledger(database, "worker-2")
    again = claim(quick, execution_id).claimed
    assert slow.record(late, success(late)) is None
    assert quick.record(again, success(again, {"by": "the second"}, "worker-2"))
    assert stored(database, execution_id).result == {"by": "the second"}


def test_an_outcome_after_the_lease_ended_counts_if_nobody_took_the_attempt(database: Documents):
    execution_id = execution(database)
    mine = ledger(database, lease=timedelta(milliseconds=1))
    claimed = claim(mine, execution_id).claimed
    assert mine.record(claimed, success(claimed))
    assert stored(database, execution_id).state is State.SUCCEEDED


def test_a_retry_of_a_job_deleted_meanwhile_is_cancelled(database: Documents):
    execution_id = execution(database)
    mine = ledger(database)
    claimed = claim(mine, execution_id).claimed
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    given_up = executions.end_open(row["job_uid"], "beat", "the job was deleted")
    database.executions.update_many(given_up.filter, given_up.update)
    ended = mine.record(claimed, retry(claimed))
    assert ended is not None
    assert (ended.state, ended.reason) == (State.CANCELLED, "given up by beat: the job was deleted")


@pytest.mark.parametrize("trigger", ["MANUAL", "RETRY", "SCHEDULE"])
def test_a_run_that_a_deletion_could_not_see_is_cancelled_instead_of_called(database: Documents, trigger: str):
    """Inserted after the deletion had cancelled what it found: by hand, or by a beat that had not heard of it."""
    execution_id = execution(database, trigger=trigger)
    job_id = stored(database, execution_id).job_id
    database.jobs.insert_one(job_document(job_id) | {"state": "DELETED"})
    mine = ledger(database)
    assert mine.claim(execution_id) is None
    row = stored(database, execution_id)
    assert (row.state, row.transitions[-1].reason) == (State.CANCELLED, "the job was deleted")
    raw = database.executions.find_one({"_id": execution_id})
    assert raw is not None
    assert not {"open", "lease", "send_at"} & set(raw)


CHANGES = [{"mode": mode, "cutoff": at(number)} for number, mode in enumerate(["ACTIVE", "DELETED", "ACTIVE"])]
UNDELETED = {"state": "ACTIVE", "changes": CHANGES}


@pytest.mark.parametrize("together", [False, True])
def test_what_a_beat_decides_between_a_deletion_and_its_being_taken_back_is_not_called(
    database: Documents, database_url: str, *, together: bool
):
    """The job lives again, but no beat has yet ended what its former life had in flight.

    That is what a beat has decided, also later, and what was asked for until the deletion.
    """
    decided, before, after = (execution(database, decided_at=at(each)) for each in (3, 1, 2))
    for each in (decided, before, after):
        database.jobs.insert_one(job_document(stored(database, each).job_id) | UNDELETED)
    database.executions.update_many({"_id": {"$in": [before, after]}}, {"$unset": {"epoch": ""}})
    if together:
        leases, _ = start_together(database_url, [execution(database), decided, before, after])
        leases = leases[1:]
    else:
        leases = [ledger(database).claim(each) for each in (decided, before, after)]
    assert [lease and lease.claimed.execution_id for lease in leases] == [None, None, after]
    for each in (decided, before):
        assert stored(database, each).transitions[-1].reason == "the job was deleted"


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("state", "called"), [(JobState.DELETED, False), (JobState.PAUSED, True)])
def test_nor_is_it_when_a_beat_ends_that_life_between_its_claim_and_the_look_at_its_job(
    database: Documents, database_url: str, state: JobState, *, called: bool, together: bool
):
    """Which only marks what runs by then; after the other edits the job's rows are called as before."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=61)
    schedule = every(60, anchor=began)
    job = job_document("job", schedule, created=began)
    decided = fired(job, began + timedelta(seconds=60), state="QUEUED")
    database.jobs.insert_one(job)
    database.executions.insert_one(decided)
    assert edit(database, "job", schedule, state)
    assert edit(database, "job", schedule)

    def install() -> None:
        for _ in range(2):
            fire(database).run_once()

    others = [execution(database), execution(database)] if together else []
    ids = [*others[:1], decided["_id"], *others[1:]]
    leases, _ = start_together(database_url, ids, AtTheFirst("aggregate" if together else "find", install))
    assert database.jobs.count_documents({"_id": "job", "epoch": 2, "changes": []})
    expected = [each if called or each != decided["_id"] else None for each in ids]
    assert [lease and lease.claimed.execution_id for lease in leases] == expected
    row = stored(database, decided["_id"])
    if called:
        assert row.state is State.RUNNING
    else:
        assert (row.state, row.transitions[-1].reason) == (State.CANCELLED, "given up by beat: the job was deleted")


@pytest.mark.parametrize("changes", [3, None, {"mode": "DELETED"}, [3, [{"mode": "DELETED"}]]])
def test_changes_that_somebody_has_damaged_keep_no_run_from_its_call(database: Documents, changes: Any):
    execution_id = execution(database)
    database.jobs.insert_one(job_document(stored(database, execution_id).job_id) | {"changes": changes})
    claim(ledger(database), execution_id)


@pytest.mark.parametrize(("decided_at", "cutoff"), [("x", at(1)), (None, at(1)), (at(1), "x"), (at(1), None)])
def test_nor_do_times_that_somebody_has_damaged(database: Documents, decided_at: Any, cutoff: Any):
    execution_id = execution(database, decided_at=decided_at)
    job_id = stored(database, execution_id).job_id
    database.executions.update_one({"_id": execution_id}, {"$unset": {"epoch": ""}})
    database.jobs.insert_one(job_document(job_id) | {"changes": [{"mode": "DELETED", "cutoff": cutoff}]})
    claim(ledger(database), execution_id)


def test_what_waited_beyond_its_retry_window_is_not_tried_again(database: Documents):
    execution_id = execution(database, retry_until=datetime.now(UTC) - timedelta(seconds=1))
    mine = ledger(database)
    first = claim(mine, execution_id).claimed  # which is no retry, however late
    assert mine.record(first, retry(first))
    assert mine.claim(execution_id) is None
    row = stored(database, execution_id)
    assert row.state is State.FAILED
    assert "not tried again, as the next occurrence is that of" in row.transitions[-1].reason
    assert row.error is not None, "what the last try failed with"
    assert row.error.code == UNAVAILABLE.code


@pytest.mark.parametrize("trigger", ["MANUAL", "RETRY", "SCHEDULE"])
def test_a_run_of_a_job_that_is_not_deleted_runs(database: Documents, trigger: str):
    execution_id = execution(database, trigger=trigger)
    database.jobs.insert_one(job_document(stored(database, execution_id).job_id) | {"state": "PAUSED"})
    claim(ledger(database), execution_id)


DOLLARS = {"$set": {"state": "$state"}, "price": "$9.99", "deep": ["$$NOW", {"$literal": 1}]}


def test_what_looks_like_an_expression_stays_text(database: Documents):
    mine = ledger(database, "$$NOW")
    execution_id = execution(database)
    claimed = claim(mine, execution_id).claimed
    assert mine.record(claimed, success(claimed, DOLLARS, "$$NOW"))
    row = stored(database, execution_id)
    assert row.result == DOLLARS
    assert row.worker == row.transitions[-1].by == "$$NOW"

    execution_id = execution(database)
    claimed = claim(mine, execution_id).claimed
    assert mine.record(claimed, retry(claimed, Failure("UNKNOWN", "$state", retryable=True)))
    claimed = claim(mine, execution_id).claimed
    assert mine.record(claimed, end(claimed, Failure("UNKNOWN", "$$ROOT of all evil", retryable=False)))
    error = stored(database, execution_id).error
    assert error is not None
    assert error.message == "$$ROOT of all evil"


@pytest.mark.parametrize("character", ["x", '"', "é", "\u0001", "😀"])
def test_a_large_result_is_cut_and_says_so(database: Documents, character: str):
    mine = ledger(database)
    execution_id = execution(database)
    claimed = claim(mine, execution_id).claimed
    mine.record(claimed, success(claimed, {"text": character * 100_000}))
    row = stored(database, execution_id)
    assert row.state is State.SUCCEEDED
    assert row.result_truncated
    assert row.result is not None
    assert row.result["truncated"].startswith('{"text": ')


def test_a_result_of_just_64_kib_is_kept_whole(database: Documents):
    mine = ledger(database)
    execution_id = execution(database)
    claimed = claim(mine, execution_id).claimed
    result = {"text": "x" * (64 * 1024 - len(json.dumps({"text": ""})))}
    mine.record(claimed, success(claimed, result))
    row = stored(database, execution_id)
    assert row.result == result
    assert not row.result_truncated


def test_a_long_error_is_cut(database: Documents):
    mine = ledger(database)
    execution_id = execution(database)
    claimed = claim(mine, execution_id).claimed
    mine.record(claimed, end(claimed, Failure("INTERNAL", "long " * 10_000, retryable=False)))
    error = stored(database, execution_id).error
    assert error is not None
    assert error.message.startswith("long long ")
    assert len(error.message) == 4 * 1024


# Renewing:


def test_only_what_is_ours_is_renewed(database: Documents):
    mine, other = ledger(database, "worker-1"), ledger(database, "worker-2")
    kept, ended, foreign, taken = (execution(database) for _ in range(4))
    held = {each: claim(mine, each).claimed for each in (kept, ended)}
    mine.record(held[ended], success(held[ended]))
    claim(other, foreign)
    held[taken] = claim(ledger(database, "worker-1", timedelta(milliseconds=1)), taken).claimed
    rescue(database, taken)
    claim(other, taken)

    before: dict[str, Any] = {row["_id"]: row.get("lease") for row in database.executions.find()}
    nonces = {each: claimed.nonce for each, claimed in held.items()} | {foreign: "guessed"}
    assert mine.renew(nonces, within=10) == {kept: None}
    after: dict[str, Any] = {row["_id"]: row.get("lease") for row in database.executions.find()}
    assert after[kept]["expires_at"] > before[kept]["expires_at"]
    del before[kept], after[kept]
    assert after == before


# Answers that are lost:


def test_a_claim_whose_answer_was_lost_is_still_ours(database: Documents, through_proxy: Documents, proxy: Proxy):
    execution_id = execution(database)
    proxy.lose_reply_to("findAndModify")
    lease = claim(ledger(through_proxy), execution_id)
    assert proxy.has_lost_all
    row = stored(database, execution_id)
    assert (row.state, row.attempt) == (State.RUNNING, 1)
    assert states(database, execution_id) == ["PENDING", "RUNNING"]
    assert lease.claimed.attempt == 1
    assert ledger(through_proxy).record(lease.claimed, success(lease.claimed))


def test_a_claim_that_never_arrived_is_made_again(database: Documents, through_proxy: Documents, proxy: Proxy):
    execution_id = execution(database)
    proxy.lose("findAndModify")
    assert claim(ledger(through_proxy), execution_id).claimed.attempt == 1
    assert proxy.has_lost_all


def test_a_claim_that_arrives_late_gets_nothing_of_what_the_next_one_began(database: Documents, proxy: Proxy):
    """Found by tests/model: with the nonce of both the same, attempt 1's outcome, sent again, would end attempt 2."""
    execution_id, lost = execution(database), dict[str, Any]()

    class Sent(AtTheFirst):
        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == "findAndModify" and not lost:
                lost.update(query=dict(event.command["query"]), update=list(event.command["update"]))

    watched = connect(
        f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true",
        event_listeners=[Sent("", lambda: None)],
    )
    with watched.client:
        proxy.lose("findAndModify")
        mine = ledger(watched)
        first = claim(mine, execution_id).claimed
        failed = retry(first)
        assert mine.record(first, failed) is not None
        database.executions.find_one_and_update(lost["query"], lost["update"])
        assert mine.record(first, failed) is None
    row = stored(database, execution_id)
    assert (row.state, row.attempt) == (State.RUNNING, 2)


def test_a_lost_claim_that_somebody_else_made_is_not_ours(database: Documents, proxy: Proxy):
    """The first try never arrived, and before the second another worker was faster."""
    execution_id = execution(database)
    other = ledger(database, "worker-2")
    attempts = iter((lambda: None, lambda: claim(other, execution_id)))

    class BetweenTheTries(AtTheFirst):
        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == "findAndModify":
                next(attempts, lambda: None)()

    watched = connect(
        f"mongodb://127.0.0.1:{proxy.port}/{database.name}?directConnection=true",
        event_listeners=[BetweenTheTries("", lambda: None)],
    )
    proxy.lose("findAndModify")
    with watched.client:
        assert ledger(watched).claim(execution_id) is None
    assert stored(database, execution_id).worker == "worker-2"


@pytest.mark.parametrize(("move", "state"), [(success, State.SUCCEEDED), (retry, State.PENDING)])
def test_a_record_whose_answer_was_lost_is_known_as_our_own(
    database: Documents,
    through_proxy: Documents,
    proxy: Proxy,
    move: Callable[[Claimed], Move],
    state: State,
):
    execution_id = execution(database)
    mine = ledger(through_proxy)
    claimed = claim(mine, execution_id).claimed
    proxy.lose_reply_to("findAndModify")
    ended = mine.record(claimed, move(claimed))
    assert proxy.has_lost_all
    assert ended is not None
    assert ended.state is state
    assert states(database, execution_id) == ["PENDING", "RUNNING", state]


def test_a_record_is_our_own_also_when_the_next_attempt_runs_already(
    database: Documents, through_proxy: Documents, proxy: Proxy
):
    """The retry was due at once, and another worker was faster than our second look."""
    execution_id = execution(database)
    mine = ledger(through_proxy)
    claimed = claim(mine, execution_id).claimed

    # Our first write took effect; what is lost is the answer to it.
    move = retry(claimed)
    assert database.executions.find_one_and_update(move.filter, move.update)
    claim(ledger(database, "worker-2"), execution_id)
    proxy.lose_reply_to("findAndModify")
    ended = mine.record(claimed, move)
    assert ended is not None
    assert ended.state is State.PENDING
    row = stored(database, execution_id)
    assert (row.state, row.attempt, row.worker) == (State.RUNNING, 2, "worker-2")


def test_an_earlier_attempt_of_ours_does_not_make_a_lost_one_our_own(
    database: Documents, through_proxy: Documents, proxy: Proxy
):
    """The first attempt ended by our hand, the second was rescued while its record was on its way."""
    execution_id = execution(database)
    mine = ledger(through_proxy, lease=timedelta(milliseconds=1))
    first = claim(mine, execution_id).claimed
    mine.record(first, retry(first))
    second = claim(mine, execution_id).claimed
    rescue(database, execution_id)
    proxy.lose_reply_to("findAndModify")
    assert mine.record(second, success(second)) is None
    assert proxy.has_lost_all


def test_a_connection_that_breaks_while_it_is_made_is_waited_out(
    database: Documents, through_proxy: Documents, proxy: Proxy
):
    """PyMongo then tries again by itself, as it would with a replica set; a standalone server refuses that."""
    mine = ledger(through_proxy)
    for _ in range(5):
        execution_id = execution(database)
        proxy.cut()
        proxy.lose("helloOk")
        proxy.lose("helloOk")
        claimed = claim(mine, execution_id).claimed
        assert mine.record(claimed, success(claimed))


# The store away:


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, to kill."""
    server = start_mongodb(tmp_path_factory.mktemp("mongod"))
    yield server
    server.kill()


@pytest.fixture
def mortal(mongod: Server) -> Iterator[Documents]:
    mongod.start()
    found = connect(mongod.url, serverSelectionTimeoutMS=200)
    yield found
    found.client.close()


def test_what_was_claimed_outlives_the_store_also_when_its_row_was_not_in_the_journal_yet(
    mortal: Documents, mongod: Server
):
    execution(mortal)  # so that all there is to be made is there
    row = ahead_of_its_row(mortal)
    # As others see it while a server waits for the insertion to be acknowledged.
    mortal.executions.with_options(write_concern=WriteConcern(w=1, j=False)).insert_one(row)
    claimed = claim(ledger(mortal), row["_id"]).claimed
    mongod.kill()
    mongod.start()
    again = connect(mongod.url)
    with again.client:
        kept = again.executions.find_one({"_id": row["_id"]})
    assert kept is not None
    assert (kept["state"], kept["lease"]["nonce"]) == ("RUNNING", claimed.nonce)


def test_a_claim_and_a_record_wait_for_a_store_that_is_away(mortal: Documents, mongod: Server):
    asked = Asked()
    mine = ledger(mortal, stopping=asked)
    execution_id = execution(mortal)
    with ThreadPoolExecutor(1) as pool:
        mongod.kill()
        claiming = pool.submit(claim, mine, execution_id)
        assert asked.event.wait(60)
        assert not claiming.done()
        mongod.start()
        claimed = claiming.result(30).claimed

        mongod.kill()
        asked.event.clear()
        recording = pool.submit(mine.record, claimed, success(claimed))
        assert asked.event.wait(60)
        assert not recording.done()
        mongod.start()
        assert recording.result(30)
    assert states(mortal, execution_id) == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_the_lease_of_a_claim_that_waited_begins_when_it_was_made(mortal: Documents, mongod: Server):
    """Counted from before the outage it would be over before the call began."""
    asked = Asked()
    mine = ledger(mortal, stopping=asked)
    execution_id = execution(mortal)
    with ThreadPoolExecutor(1) as pool:
        mongod.kill()
        claiming = pool.submit(claim, mine, execution_id)
        assert asked.event.wait(60)
        failed_at = monotonic()
        mongod.start()
        lease = claiming.result(30)
    assert lease.asked_at >= failed_at


def test_a_worker_that_stops_does_not_wait_for_a_store_that_is_away(mortal: Documents, mongod: Server):
    execution_id = execution(mortal)
    claimed = claim(ledger(mortal), execution_id).claimed
    other_id = execution(mortal)
    stopping = ledger(mortal, stopping=stopped(0))
    mongod.kill()
    with pytest.raises(StoppingError):
        stopping.claim(other_id)
    with pytest.raises(StoppingError):
        stopping.record(claimed, success(claimed))
    mongod.start()
    assert stored(mortal, other_id).state is State.QUEUED
    assert stopping.record(claimed, success(claimed)), "stopping, it goes on as long as the store answers"


def test_a_worker_that_stops_tries_to_write_an_outcome_while_its_grace_lasts(mortal: Documents, mongod: Server):
    execution_id = execution(mortal)
    claimed = claim(ledger(mortal), execution_id).claimed
    stopping = stopped(60)
    mine = ledger(mortal, stopping=stopping)
    mongod.kill()
    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(mine.record, claimed, success(claimed))
        with pytest.raises(StoppingError):
            mine.claim(execution_id)
        assert not recording.done()
        mongod.start()
        assert recording.result(30)
    assert stored(mortal, execution_id).state is State.SUCCEEDED


def test_how_late_it_began_is_told_by_its_first_attempt(database: Documents) -> None:
    execution_id = execution(database, due_in=-5)
    worker = ledger(database)
    first = worker.claim(execution_id)
    assert first is not None
    began = database.executions.find_one({"_id": execution_id})
    assert began is not None
    assert 5_000 <= began["late_by"] < 60_000
    assert began["first_started_at"] == began["started_at"]
    worker.hand_back(first.claimed, "the worker stops")
    assert worker.claim(execution_id) is not None
    again = database.executions.find_one({"_id": execution_id})
    assert again is not None
    assert (again["late_by"], again["first_started_at"]) == (began["late_by"], began["first_started_at"])
    assert again["started_at"] > again["first_started_at"]


# Claims and outcomes that are written together:


class Held(AtTheFirst):
    """Keeps the first of some command waiting until so many others wait behind it; counts those that are sent."""

    def __init__(self, command: str, others: int) -> None:
        super().__init__(command, self._hold)
        self._others = others
        self.sent: list[str] = []
        self.waiting: Callable[[], int] = lambda: 0

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(event.command_name)
        super().started(event)

    def wait_for(self, others: int, first: Future[Any]) -> None:
        """Wait until so many wait behind the first, or it goes on."""
        wait_until(lambda: self.waiting() == others or first.done(), "it waits")

    def _hold(self) -> None:
        wait_until(lambda: self.waiting() == self._others, "the others wait")


def start_together(url: str, ids: list[str], *listeners: CommandListener) -> tuple[list[Lease | None], list[str]]:
    """Claim all at once: the first alone, the others, who come meanwhile, together. Return the commands as well."""
    held = Held("findAndModify", len(ids) - 1)
    watched = connect(url, event_listeners=[held, *listeners])
    with watched.client, ThreadPoolExecutor(len(ids)) as pool:
        mine = ledger(watched)
        held.waiting = lambda: len(mine._claims._waiting)
        first = pool.submit(mine.claim, ids[0])
        wait_until(lambda: "findAndModify" in held.sent, "the first is being claimed")
        others = []
        for execution_id in ids[1:]:
            others.append(pool.submit(mine.claim, execution_id))
            held.wait_for(len(others), first)
        return [each.result(30) for each in (first, *others)], held.sent


def test_claims_of_several_threads_are_written_together(database: Documents, database_url: str):
    ids = [execution(database) for _ in range(5)]
    leases, sent = start_together(database_url, ids)
    assert [lease and lease.claimed.execution_id for lease in leases] == ids
    assert len({lease.claimed.nonce for lease in leases if lease}) == 5
    for execution_id in ids:
        assert states(database, execution_id) == ["PENDING", "RUNNING"]
        assert stored(database, execution_id).attempt == 1
    assert [name for name in sent if name in {"findAndModify", "update"}] == ["findAndModify", "update"]


def test_of_claims_written_together_each_gets_its_own_verdict(database: Documents, database_url: str):
    first, free, deleted = (execution(database) for _ in range(3))
    early, running = execution(database, due_in=60), execution(database)
    claim(ledger(database, "worker-2"), running)
    database.jobs.insert_one(job_document(stored(database, deleted).job_id) | {"state": "DELETED"})
    leases, _ = start_together(database_url, [first, early, free, running, deleted, "no such execution"])
    assert [lease and lease.claimed.execution_id for lease in leases] == [first, None, free, None, None, None]
    assert stored(database, early).state is State.PENDING
    assert stored(database, running).worker == "worker-2"
    assert stored(database, deleted).transitions[-1].reason == "the job was deleted"


def test_of_two_messages_for_one_execution_that_are_taken_together_one_starts_it(
    database: Documents, database_url: str
):
    first, twice = execution(database), execution(database)
    leases, _ = start_together(database_url, [first, twice, twice])
    assert [lease is not None for lease in leases[1:]].count(True) == 1
    assert states(database, twice) == ["PENDING", "RUNNING"]


def test_a_row_that_cannot_be_written_takes_none_of_its_group_with_it(database: Documents, database_url: str):
    first, before, broken, after = (execution(database) for _ in range(4))
    database.executions.update_one({"_id": broken}, {"$set": {"attempt": "one"}})
    with pytest.raises(OperationFailure, match="only supports numeric"):
        ledger(database).claim(broken)
    held = Held("findAndModify", 3)
    watched = connect(database_url, event_listeners=[held])
    with watched.client, ThreadPoolExecutor(4) as pool:
        mine = ledger(watched)
        held.waiting = lambda: len(mine._claims._waiting)
        answers = [pool.submit(mine.claim, each) for each in (first, before, broken, after)]
        assert isinstance(answers[2].exception(30), OperationFailure)
        for execution_id, answer in ((first, answers[0]), (before, answers[1]), (after, answers[3])):
            lease = answer.result(30)
            assert lease is not None
            assert lease.claimed.execution_id == execution_id
            assert states(database, execution_id) == ["PENDING", "RUNNING"]


def test_claims_written_together_whose_answer_was_lost_are_still_ours(
    database: Documents, through_proxy: Documents, proxy: Proxy
):
    ids = [execution(database) for _ in range(4)]
    mine = ledger(through_proxy)
    wanted = [_Wanted(each) for each in ids]
    proxy.lose_reply_to("$concat")
    with pytest.raises(PyMongoError):
        mine._start_together(wanted)
    assert proxy.has_lost_all
    for each in wanted:
        started = mine._start(each)
        assert started is not None
        assert states(database, each.execution_id) == ["PENDING", "RUNNING"]


def record_together(mine: Ledger, held: Held, outcomes: list[tuple[Claimed, Move]]) -> list[Any]:
    """Record all at once, as start_together claims."""
    held.waiting = lambda: len(mine._successes._waiting)
    with ThreadPoolExecutor(len(outcomes)) as pool:
        first = pool.submit(mine.record, *outcomes[0])
        wait_until(lambda: "findAndModify" in held.sent, "the first is being recorded")
        others = [pool.submit(mine.record, *outcome) for outcome in outcomes[1:]]
        return [each.result(30) for each in (first, *others)]


def test_of_outcomes_written_together_each_is_accepted_or_refused_by_itself(database: Documents, database_url: str):
    short, long = ledger(database, lease=timedelta(milliseconds=1)), ledger(database)
    ids = [execution(database) for _ in range(4)]
    claimed = [claim(short if number == 2 else long, each).claimed for number, each in enumerate(ids)]
    rescue(database, ids[2])
    held = Held("findAndModify", 3)
    watched = connect(database_url, event_listeners=[held])
    with watched.client:
        outcomes = [(each, success(each, {"of": each.execution_id})) for each in claimed]
        ended = record_together(ledger(watched), held, outcomes)
    assert [each is not None for each in ended] == [True, True, False, True]
    assert [name for name in held.sent if name in {"findAndModify", "update"}] == ["findAndModify", "update"]
    for number, execution_id in enumerate(ids):
        row = stored(database, execution_id)
        if number == 2:
            assert (row.state, row.result) == (State.PENDING, None)
        else:
            assert (row.state, row.result) == (State.SUCCEEDED, {"of": execution_id})


def test_outcomes_that_are_alike_are_one_update_and_others_are_not(database: Documents):
    mine = ledger(database)
    results = [{"of": "two"}, {"of": "one"}, {"of": "two"}]
    claimed = [claim(mine, execution(database)).claimed for _ in results]
    outcomes = [(each, success(each, result)) for each, result in zip(claimed, results, strict=True)]
    assert [len(move.filter["_id"]["$in"]) for move in executions.alike_together(outcomes)] == [2, 1]
    assert all(mine._record_together(outcomes))
    assert [stored(database, each.execution_id).result for each, _ in outcomes] == results


@pytest.mark.parametrize("latest", [0, 1])
def test_of_two_attempts_of_one_execution_that_end_together_the_one_that_holds_it_is_heard(
    database: Documents, latest: int
):
    mine, execution_id = ledger(database, lease=timedelta(milliseconds=1)), execution(database)
    lost = claim(mine, execution_id).claimed
    rescue(database, execution_id)
    held = claim(mine, execution_id).claimed
    attempts = [held, lost] if latest == 0 else [lost, held]
    ended = mine._record_together([(each, success(each, {})) for each in attempts])
    assert (ended[latest], ended[1 - latest]) == (Recorded(State.SUCCEEDED, ""), None)
    assert states(database, execution_id)[-2:] == ["RUNNING", "SUCCEEDED"]


def test_outcomes_written_together_whose_answer_was_lost_are_known_as_our_own(
    database: Documents, through_proxy: Documents, proxy: Proxy
):
    ids = [execution(database) for _ in range(3)]
    mine = ledger(through_proxy)
    claimed = [claim(mine, each).claimed for each in ids]
    outcomes = [(each, success(each)) for each in claimed]
    proxy.lose_reply_to("SUCCEEDED")
    with pytest.raises(PyMongoError):
        mine._record_together(outcomes)
    assert proxy.has_lost_all
    for each, move in outcomes:
        ended = mine._record_alone(each, move, tried=True)
        assert ended is not None
        assert states(database, each.execution_id) == ["PENDING", "RUNNING", "SUCCEEDED"]
