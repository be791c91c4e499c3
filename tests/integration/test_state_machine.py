"""Any interleaving of what beats, workers, messages and clients do, against the real store, with a model alongside.

Hypothesis chooses the steps, and prints them when something fails. Time passes by moving every instant in the store
back; that keeps the database's clock, which judges, and needs no waiting. After each step the store must agree with
the model. STATE_MACHINE_EXAMPLES=500 make test ARGS="tests/integration/test_state_machine.py" tries more, at random,
and shrinks what fails to few steps.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from beat.fire import Fire, Moves
from beat.partitions import Partitions
from beat.relay import Relay
from beat.rescue import Rescue, StoreReturns
from scheduler_service.jobs.jobs import Jobs
from scheduler_service.planning.occurrences import OccurrenceChanges
from scheduler_service.runs.executions import Executions
from scheduler_service.transport.caller import Caller, current
from shared.domain.errors import FailedPrecondition, InvalidInput
from shared.domain.execution import SUCCESSORS, TERMINAL, Failure, State, after_failure
from shared.domain.occurrences import upcoming
from shared.domain.plan import Mode
from shared.domain.policies import Misfire, Overlap, WorkerLost
from shared.messaging.dispatcher import Sender
from shared.store import executions, jobs
from shared.store.mongo import connect_async
from tests.builders import definition, every
from worker.ledger import Ledger
from worker.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

    from shared.domain.occurrences import Occurrences
    from shared.domain.schedule import Schedule
    from shared.messaging.messages import Outgoing
    from shared.messaging.publisher import Publisher
    from shared.store.executions import Claimed

Db: TypeAlias = "Database[dict[str, Any]]"
F = TypeVar("F", bound="Callable[..., None]")
AsyncDb: TypeAlias = "AsyncDatabase[dict[str, Any]]"

USUAL = 20
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", USUAL))
LEASE = timedelta(seconds=30)
PERIODS = st.sampled_from([45, 60])
SPANS = st.sampled_from([20, 35, 70, 200])
"""Seconds: within a period, beyond a lease, beyond a backoff, and several periods."""
PICKS = st.integers(0, 3)
COLLECTIONS = (jobs.COLLECTION, jobs.REVISIONS, executions.COLLECTION)


class DiedError(Exception):
    """A beat was killed."""


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(jobs.PARTITIONS))


class Long(StoreReturns):
    """A store that has been there for long."""

    def __init__(self) -> None:
        super().__init__()
        self.last_return -= 3600


class Beat(Fire):
    """Fire that can be killed between its writes, and that can act on what it read long ago."""

    dies = False

    def read(self) -> list[dict[str, Any]]:
        return list(self._jobs.find(jobs.due_filter(self._partitions.held), {**jobs.PLANNING_FIELDS, "now": "$$NOW"}))

    def act_on(self, due: list[dict[str, Any]]) -> None:
        with self._client.start_session(causal_consistency=True) as session:
            moves = Moves()
            self._decide(self._plan(due, session), moves, session)
        self._advance(moves)

    def _advance(self, moves: Moves) -> None:
        if self.dies:
            raise DiedError
        super()._advance(moves)


class Broker:
    """Holds messages as RabbitMQ does, and loses, doubles and delays them when told to."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.confirms = True
        self.tasks: dict[str, Any] = {}

    def publish(self, messages: Iterable[Outgoing]) -> set[str]:
        ids = [message.execution_id for message in messages]
        self.messages += ids
        return set(ids) if self.confirms else set()

    def publish_dead_letters(self, letters: Mapping[str, Any]) -> set[str]:
        return set(letters)


@dataclass
class Run:
    """What the model knows of an execution."""

    state: State
    attempt: int = 0
    nonce: str = ""
    handed_back: int = 0
    stop: str = ""
    """asked: its worker is to end the call, and the execution is CANCELLED unless it succeeds; given up: its attempt is
    the last. Only of one that runs."""

    def fail(self, *, final: bool) -> None:
        if self.stop == "asked" or (self.stop and not final):
            self.state = State.CANCELLED
        else:
            self.state = State.FAILED if final else State.PENDING


def moved(value: Any, by: timedelta) -> Any:
    """Return a document with every instant in it earlier, those in ids too."""
    if isinstance(value, datetime):
        return value - by
    if isinstance(value, str):
        return moved_id(value, by)
    if isinstance(value, dict):
        return {key: moved(inner, by) for key, inner in value.items()}
    return [moved(inner, by) for inner in value] if isinstance(value, list) else value


def moved_id(text: str, by: timedelta) -> str:
    if not (found := re.fullmatch(r"(uid-\w+\.\d+\.)(\d{8}T\d{6})(.*)", text)):
        return text
    instant = datetime.strptime(found[2], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) - by
    return f"{found[1]}{instant:%Y%m%dT%H%M%S}{found[3]}"


class Step(NamedTuple):
    when: Callable[[Any], bool]
    weight: int
    drawn: dict[str, st.SearchStrategy[Any]]


STEPS: dict[str, Step] = {}


def step(
    when: Callable[[Any], bool] = lambda _: True, weight: int = 1, **drawn: st.SearchStrategy[Any]
) -> Callable[[F], F]:
    """Let a method be one of the things that may happen.

    Not by hypothesis' rules: of these each example leaves out many, and what takes several of ours would hardly happen.
    """

    def register(method: F) -> F:
        STEPS[method.__name__] = Step(when, weight, drawn)
        return method

    return register


class System(RuleBasedStateMachine):
    """A job, and all who work on it."""

    def __init__(self, database: Db, for_server: AsyncDb, runner: asyncio.Runner) -> None:
        super().__init__()
        self.database, self.runner = database, runner
        self.server_jobs, self.server_executions = Jobs(for_server), Executions(for_server)
        for name in COLLECTIONS:
            self.database[name].delete_many({})
        self.broker = Broker()
        held = BelievesAll(self.database, "beat", timedelta(seconds=60))
        self.fire = Beat(self.database, held, lambda _: None, "beat")
        publisher = cast("Publisher", self.broker)
        self.relay = Relay(self.database, held, Sender(self.database, publisher, "beat"), publisher, [], "beat")
        self.rescue = Rescue(self.database, held, Long(), LEASE, "beat")
        self.ledger = Ledger(self.database, "worker", LEASE, Stopping(0))
        self.attempts: list[Claimed] = []
        """Of all workers, those that lost their lease too."""
        self.stale: list[list[dict[str, Any]]] = []
        """What beats have read, and not acted on yet."""
        self.runs: dict[str, Run] = {}
        self.overlap = Overlap.SKIP
        self.lost = WorkerLost.RETRY
        self.ended: dict[str, dict[str, Any]] = {}
        self.occurrences = OccurrenceChanges(self.server_jobs)
        self.promised: dict[datetime, datetime | None] = {}
        """Occurrences that clients were told are skipped, or run at another time."""
        self.dying = False
        """Whether the job was deleted, and a beat may still put that in force, though it was undeleted since."""
        self.reborn: set[str] = set()
        """Runs that were asked for since, which that must not end."""
        self.made = 0
        """By clients, of what would soon end every run: edits, cancels, runs by hand."""

    # Help:

    @property
    def executions(self) -> Any:
        return self.database[executions.COLLECTION]

    @property
    def now(self) -> datetime:
        now: datetime = self.database.command("hello")["localTime"]
        return now.replace(tzinfo=UTC)

    def job(self) -> dict[str, Any]:
        job = self.database[jobs.COLLECTION].find_one()
        assert job is not None
        return job

    def row(self, execution_id: str) -> dict[str, Any]:
        row = self.executions.find_one({"_id": execution_id})
        assert row is not None
        return cast("dict[str, Any]", row)

    def ask(self, operation: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return self.runner.run(operation())

    def schedule(self, seconds: int) -> Schedule:
        return every(seconds, anchor=self.now.replace(microsecond=0) - timedelta(seconds=10))

    @property
    def deleted(self) -> bool:
        return bool(self.job()["state"] == "DELETED")

    def learn(self) -> None:
        """Take over what a beat decided; of what was there it ends only what a deletion or a policy gives up."""
        gives_up = self.dying or self.overlap is Overlap.CANCEL_PREVIOUS
        for row in self.executions.find({"run": True}):
            state, run = State(row["state"]), self.runs.get(row["_id"])
            if run is None:
                assert state is State.PENDING or gives_up, row
                self.runs[row["_id"]] = Run(state)
            elif row["_id"] in self.reborn:
                pass
            elif gives_up and run.state in {State.PENDING, State.QUEUED} and state is State.CANCELLED:
                run.state = state
            elif gives_up and run.state is State.RUNNING and run.stop != "asked" and "cancel" in row:
                run.stop = "asked" if row["cancel"]["call"] else "given up"
        self.dying = self.deleted or any(change["mode"] == Mode.DELETED for change in self.job()["changes"])

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        possible = [name for name, each in STEPS.items() for _ in range(each.weight) if each.when(self)]
        name = data.draw(st.sampled_from(possible), label="step")
        drawn = {key: data.draw(strategy, label=key) for key, strategy in STEPS[name].drawn.items()}
        getattr(self, name)(**drawn)

    # Beats:

    @initialize(
        seconds=PERIODS,
        most=st.integers(1, 3),
        misfire=st.sampled_from(Misfire),
        overlap=st.sampled_from(Overlap),
        lost=st.sampled_from(WorkerLost),
    )
    def a_job_is_created(self, seconds: int, most: int, misfire: Misfire, overlap: Overlap, lost: WorkerLost) -> None:
        self.overlap, self.lost = overlap, lost
        policies = {"misfire": misfire, "overlap": overlap, "on_worker_lost": lost, "max_concurrent": 2}
        schedule = self.schedule(seconds)
        defined = definition(schedule=schedule, max_attempts=most, policies={**policies, "misfire_limit": 3})
        self.ask(lambda: self.server_jobs.create(defined, "uid-1", self.now, "client"))
        self.time_passes(70)

    @step(weight=4)
    def all_goes_well_until_an_attempt_begins(self) -> None:
        """So that there is something that can go wrong."""
        self.time_passes(70)
        self.a_beat_looks()
        self.a_relay_sends(confirms=True)
        if self.broker.messages:
            self.a_worker_takes_a_message(-1)

    @step(when=lambda self: any(map(self.holds, self.attempts)), weight=3)
    def a_worker_falls_silent_and_another_gets_its_attempt(self) -> None:
        self.time_passes(70)
        self.a_beat_rescues()
        self.a_relay_sends(confirms=True)
        if self.broker.messages:
            self.a_worker_takes_a_message(-1)

    @step(weight=2)
    def a_beat_looks(self) -> None:
        self.fire.run_once()
        self.learn()

    @step()
    def a_beat_dies_before_it_advances(self) -> None:
        self.fire.dies = True
        try:
            self.fire.run_once()
        except DiedError:
            pass
        finally:
            self.fire.dies = False
        self.learn()

    @step(when=lambda self: len(self.stale) < 2)
    def a_beat_reads_and_stalls(self) -> None:
        if due := self.fire.read():
            self.stale.append(due)

    @step(when=lambda self: self.stale, pick=PICKS, weight=2)
    def a_stalled_beat_goes_on(self, pick: int) -> None:
        self.fire.act_on(self.stale.pop(pick % len(self.stale)))
        self.learn()

    @step(confirms=st.sampled_from([True, True, False]), weight=2)
    def a_relay_sends(self, confirms: bool) -> None:
        self.broker.confirms = confirms
        before = len(self.broker.messages)
        self.relay.run_once()
        self.learn()
        for execution_id in self.broker.messages[before:] if confirms else ():
            run = self.runs[execution_id]
            assert run.state in {State.PENDING, State.QUEUED}
            run.state = State.QUEUED

    @step()
    def a_beat_rescues(self) -> None:
        expired = [row for row in self.executions.find({"state": "RUNNING"}) if row["lease"]["expires_at"] <= self.now]
        self.rescue.run_once()
        for row in expired:
            run = self.runs[row["_id"]]
            tries = run.attempt - run.handed_back
            run.fail(final=self.lost is WorkerLost.FAIL or tries >= row["retry"]["max_attempts"])

    # The broker:

    @step(when=lambda self: self.broker.messages, pick=PICKS)
    def a_message_is_lost(self, pick: int) -> None:
        self.broker.messages.pop(pick % len(self.broker.messages))

    @step(when=lambda self: self.broker.messages, pick=PICKS)
    def a_message_is_doubled(self, pick: int) -> None:
        self.broker.messages.append(self.broker.messages[pick % len(self.broker.messages)])

    # Workers:

    @step(when=lambda self: self.broker.messages, pick=PICKS, weight=2)
    def a_worker_takes_a_message(self, pick: int) -> None:
        execution_id = self.broker.messages.pop(pick % len(self.broker.messages))
        run = self.runs[execution_id]
        row = self.row(execution_id)
        due = row["due_at"] <= self.now and "held" not in row
        lease = self.ledger.claim(execution_id)
        if run.state in {State.PENDING, State.QUEUED} and due and self.deleted:
            # Decided before the deletion is in force, by a beat that first has other changes to put in force.
            assert lease is None
            run.attempt += 1
            run.state = State.CANCELLED
        elif run.state in {State.PENDING, State.QUEUED} and due:
            assert lease is not None
            run.attempt += 1
            run.state, run.nonce = State.RUNNING, lease.claimed.nonce
            assert lease.claimed.attempt == run.attempt
            self.attempts.append(lease.claimed)
        else:
            assert lease is None
            if run.state is State.QUEUED:
                run.state = State.PENDING

    @step(when=lambda self: self.attempts, pick=PICKS, weight=2)
    def a_worker_renews(self, pick: int) -> None:
        claimed = self.attempts[pick % len(self.attempts)]
        ours = self.ledger.renew({claimed.execution_id: claimed.nonce}, within=10)
        assert (claimed.execution_id in ours) == self.holds(claimed)

    def holds(self, claimed: Claimed) -> bool:
        run = self.runs[claimed.execution_id]
        return run.state is State.RUNNING and run.nonce == claimed.nonce

    @step(when=lambda self: self.attempts, pick=PICKS, weight=3)
    def a_worker_succeeds(self, pick: int) -> None:
        """A lease that has ended or was lost makes no difference to its worker, who does not know."""
        claimed = self.attempts.pop(pick % len(self.attempts))
        move = executions.succeed(claimed.execution_id, claimed.nonce, "worker", "{}", truncated=False)
        held = self.holds(claimed)
        assert (self.ledger.record(claimed, move) is not None) == held
        if held:
            self.runs[claimed.execution_id].state = State.SUCCEEDED

    @step(when=lambda self: self.attempts, pick=PICKS, retryable=st.booleans(), answered=st.booleans(), weight=3)
    def a_worker_fails(self, pick: int, retryable: bool, answered: bool) -> None:
        """answered: whether it gets the answer to its write; if not it stays to write it again."""
        claimed = self.attempts.pop(pick % len(self.attempts))
        failure = Failure("UNAVAILABLE", "away", retryable)
        after = after_failure(failure, claimed.tries, claimed.retry, self.now, chance=0.5)
        move = executions.fail(claimed.execution_id, claimed.nonce, "worker", failure, after)
        held, run = self.holds(claimed), self.runs[claimed.execution_id]
        assert (self.ledger.record(claimed, move) is not None) == held
        if held:
            run.fail(final=after.due_at is None)
        if not answered:
            self.attempts.append(claimed)

    @step(when=lambda self: self.attempts, pick=PICKS, weight=2)
    def a_worker_that_stops_hands_back(self, pick: int) -> None:
        claimed = self.attempts.pop(pick % len(self.attempts))
        move = executions.hand_back(claimed.execution_id, claimed.nonce, "worker", "the worker stops")
        held, run = self.holds(claimed), self.runs[claimed.execution_id]
        assert (self.ledger.record(claimed, move) is not None) == held
        if held:
            run.state, run.handed_back = State.CANCELLED if run.stop else State.PENDING, run.handed_back + 1

    @step(when=lambda self: self.attempts, pick=PICKS)
    def a_worker_dies(self, pick: int) -> None:
        self.attempts.pop(pick % len(self.attempts))

    # Clients:

    @property
    def begun(self) -> int:
        return sum(run.attempt for run in self.runs.values())

    @step(when=lambda self: not self.deleted and self.made <= self.begun, seconds=PERIODS)
    def a_client_edits_the_schedule(self, seconds: int) -> None:
        self.made += 1

        async def redefine(job: jobs.StoredJob, _: datetime) -> Any:
            return replace(job.definition, schedule=schedule)

        schedule = self.schedule(seconds)
        self.ask(lambda: self.server_jobs.update("job-1", "", redefine, "client"))
        # Which of them the new schedule names, the unit tests look at.
        self.promised.clear()

    @step(when=lambda self: not self.deleted and len(self.promised) < 4, pick=PICKS, to=st.sampled_from([None, -7, 7]))
    def a_client_skips_or_moves_an_occurrence(self, pick: int, to: int | None) -> None:
        nominal = upcoming(jobs.to_job(self.job()).definition.schedule, self.now, 4)[pick]
        new_time = nominal + timedelta(seconds=to) if to else None

        async def change() -> None:
            current.set(Caller("client", "", "client"))
            if new_time is None:
                await self.occurrences.skip("job-1", nominal, "")
            else:
                await self.occurrences.move("job-1", nominal, new_time, "")

        with suppress(FailedPrecondition, InvalidInput):  # it, or what it was moved to, is due already
            self.ask(change)
            self.promised[nominal] = new_time

    @step(when=lambda self: not self.deleted and self.promised, pick=PICKS)
    def a_client_restores_an_occurrence(self, pick: int) -> None:
        nominal = sorted(self.promised)[pick % len(self.promised)]

        async def restore() -> None:
            current.set(Caller("client", "", "client"))
            await self.occurrences.restore("job-1", nominal, "")

        with suppress(FailedPrecondition):
            self.ask(restore)
            del self.promised[nominal]

    @step(when=lambda self: not self.deleted and self.begun)
    def a_client_pauses(self) -> None:
        self.ask(lambda: self.server_jobs.pause("job-1", "client", ""))

    @step(when=lambda self: self.job()["state"] == "PAUSED", weight=3)
    def a_client_resumes(self) -> None:
        self.ask(lambda: self.server_jobs.resume("job-1", "client", ""))

    @step(when=lambda self: not self.deleted and self.made <= self.begun)
    def a_client_executes_by_hand(self) -> None:
        self.made += 1
        row = executions.manual_document(self.job(), f"token-{self.made}", "manual", "", self.now, "client")
        _, new = self.ask(lambda: self.server_executions.insert_manual(row))
        assert new
        self.runs[row["_id"]] = Run(State.PENDING)
        self.reborn.add(row["_id"])

    @step(when=lambda self: not self.deleted and any(run.state is State.FAILED for run in self.runs.values()))
    def a_client_retries_what_failed(self) -> None:
        self.made += 1
        failed = next(key for key, run in self.runs.items() if run.state is State.FAILED)
        row = executions.retry_document(self.row(failed), f"token-{self.made}", "manual", "", self.now, "client")
        _, new = self.ask(lambda: self.server_executions.insert_manual(row))
        assert new
        self.runs[row["_id"]] = Run(State.PENDING)

    @step(when=lambda self: self.runs and self.made <= self.begun, pick=PICKS)
    def a_client_cancels(self, pick: int) -> None:
        self.made += 1
        execution_id = sorted(self.runs)[-1 - pick % len(self.runs)]
        run = self.runs[execution_id]
        if run.state in TERMINAL - {State.CANCELLED}:
            with pytest.raises(FailedPrecondition):
                self.ask(lambda: self.server_executions.cancel(execution_id, "client", ""))
            return
        shown = self.ask(lambda: self.server_executions.cancel(execution_id, "client", ""))
        self.stopped(run, "asked")
        assert shown.state is run.state

    def stopped(self, run: Run, stop: str) -> None:
        if run.state in {State.PENDING, State.QUEUED}:
            run.state = State.CANCELLED
        elif run.state is State.RUNNING and run.stop != "asked":
            run.stop = run.stop if stop == "given up" and run.stop else stop

    @step(when=lambda self: not self.deleted and self.begun > 2, running=st.booleans())
    def a_client_deletes(self, running: bool) -> None:
        deleted = self.ask(lambda: self.server_jobs.delete("job-1", "client", "", cancel_running=running))
        self.ask(lambda: self.server_executions.end_open(deleted, "client", "deleted", running=running))
        for run in self.runs.values():
            self.stopped(run, "asked" if running else "given up")
        self.dying = True
        self.reborn.clear()

    @step(when=lambda self: self.deleted, weight=2)
    def a_client_undeletes(self) -> None:
        self.ask(lambda: self.server_jobs.undelete("job-1", "client", ""))

    # Time:

    @step(seconds=SPANS)
    def time_passes(self, seconds: int) -> None:
        by = timedelta(seconds=seconds)
        for name in COLLECTIONS:
            found = list(self.database[name].find())
            self.database[name].delete_many({})
            if found:
                self.database[name].insert_many(moved(document, by) for document in found)
        self.stale = moved(self.stale, by)
        self.broker.messages = moved(self.broker.messages, by)
        self.runs = {moved_id(key, by): run for key, run in self.runs.items()}
        self.reborn = {moved_id(key, by) for key in self.reborn}
        self.ended = {moved_id(key, by): moved(row, by) for key, row in self.ended.items()}
        self.promised = {moved(key, by): to and moved(to, by) for key, to in self.promised.items()}
        self.attempts = [replace(each, execution_id=moved_id(each.execution_id, by)) for each in self.attempts]

    # What must hold after each step:

    @invariant()
    def the_store_is_as_it_must_be(self) -> None:
        rows = list(self.executions.find())
        runs = [row for row in rows if row.get("run")]
        stored = {row["_id"]: (State(row["state"]), row["attempt"]) for row in runs}
        assert stored == {key: (run.state, run.attempt) for key, run in self.runs.items()}
        loose = [row for row in runs if row["trigger"] == "SCHEDULE" and row.get("open") and "held" not in row]
        assert len(loose) <= (2 if self.overlap is Overlap.ALLOW else 1)
        for row in runs:
            lives_legally(row)
        scheduled = [row for row in runs if row["trigger"] == "SCHEDULE"]
        for nominal in self.promised:
            assert nominal not in {row["nominal_time"] for row in scheduled}, "it was skipped, or moved"
        of_moved = [row["moved_from"] for row in scheduled if "moved_from" in row]
        assert len(of_moved) == len(set(of_moved)), "it was moved, and runs twice"
        for row in rows:
            if row["state"] in TERMINAL:
                row.pop("dead_letter", None)  # which the relay takes off
                assert self.ended.setdefault(row["_id"], row) == row
        if job := self.database[jobs.COLLECTION].find_one():
            epochs = list(self.database[jobs.REVISIONS].find({"epoch": {"$lte": job["epoch"]}}).sort("epoch", 1))
            each_occurrence_is_decided_once_and_none_is_passed(job, epochs, rows)

    def teardown(self) -> None:
        """When faults stop everything ends: no worker renews any more, and the job fires no further."""
        if self.database[jobs.COLLECTION].find_one() is None:
            return
        if not self.deleted:
            with suppress(FailedPrecondition):  # completed
                self.a_client_pauses()
        rounds = 0
        while self.job()["changes"] or any(run.state not in TERMINAL for run in self.runs.values()):
            # Of what waits for the one before it, which may be much, one ends in each round.
            rounds += 1
            assert rounds <= 40 + len(self.runs), self.runs
            self.time_passes(4000)
            for _ in range(len(self.job()["changes"]) + 1):
                self.a_beat_looks()
            self.a_beat_rescues()
            self.a_relay_sends(confirms=True)
            while self.broker.messages:
                self.a_worker_takes_a_message(0)
            while self.attempts:
                self.a_worker_succeeds(0)
            self.the_store_is_as_it_must_be()


MARKED: Final = {
    "lease": ("state", "RUNNING"),
    "advance_at": ("state", "WAITING"),
    **dict.fromkeys(("may_pause", "dead_letter", "letter", "withdraw"), ("state", "FAILED")),
    **dict.fromkeys(("settle", "parent", "part_key"), ("trigger", "PART")),
    "uncopied": ("trigger", "API"),
    "retry_of": ("trigger", "RETRY"),
}
"""Which rows may have a mark: its index holds no others, so that nobody would find them."""


def lives_legally(row: Mapping[str, Any]) -> None:
    for mark, (field, only) in MARKED.items():
        assert mark not in row or row[field] == only, f"nobody finds it by its {mark}"
    steps = row["transitions"]
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    for before, after in pairwise(steps):
        assert State(after["state"]) in SUCCESSORS[State(before["state"])]
        assert before["at"] <= after["at"]
    assert steps[-1]["state"] == row["state"]
    assert [step["state"] for step in steps].count("RUNNING") == row["attempt"]
    assert row["attempt"] - row.get("handed_back", 0) <= row["retry"]["max_attempts"]


def each_occurrence_is_decided_once_and_none_is_passed(
    job: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> None:
    assert [epoch["epoch"] for epoch in epochs] == list(range(job["epoch"] + 1))
    ends = [epoch["began"] for epoch in epochs[1:]] + [job["covered"]]
    for followed, end in zip(epochs, ends, strict=True):
        schedule, number = jobs.to_spec(followed).occurrences, followed["epoch"]
        expected = [] if followed["mode"] == Mode.DELETED else list(occurrences(schedule, followed["began"], end))
        decided = sorted(
            each
            for row in rows
            if row.get("epoch") == number and row["state"] != "CLOSED"
            for each in occurrences(schedule, row["nominal_time"] - timedelta(milliseconds=1), row["last"])
        )
        # Ahead of the pointer there may be rows of a beat that died, and nowhere else.
        assert decided[: len(expected)] == expected
        assert len(set(decided)) == len(decided)
        assert number == job["epoch"] or len(decided) == len(expected)


def occurrences(schedule: Occurrences, after: datetime, through: datetime) -> Iterable[datetime]:
    while (following := schedule.next_after(after)) is not None and following <= through:
        yield (after := following)


@pytest.fixture
def new_system(database: Db, database_url: str) -> Iterator[Callable[[], System]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner() as runner:

        async def connected() -> AsyncDb:
            return connect_async(database_url)

        for_server = runner.run(connected())
        yield lambda: System(database, for_server, runner)
        runner.run(for_server.client.close())


@pytest.mark.timeout(300 if EXAMPLES == USUAL else 0)
def test_whatever_happens_in_whatever_order_the_store_does_as_the_model(new_system: Callable[[], System]) -> None:
    run_state_machine_as_test(
        cast("Any", new_system),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=EXAMPLES == USUAL,
            # To make a failure small takes minutes.
            phases=[Phase.generate] if EXAMPLES == USUAL else list(Phase),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_however_many_wait_for_the_one_before_each_runs_when_the_faults_stop(new_system: Callable[[], System]) -> None:
    system = new_system()
    system.a_job_is_created(45, 2, Misfire.SKIP, Overlap.BUFFER_ALL, WorkerLost.RETRY)
    while len(system.runs) <= 41:
        system.all_goes_well_until_an_attempt_begins()
    assert all(run.state not in TERMINAL for run in system.runs.values())
    system.teardown()
    assert {run.state for run in system.runs.values()} == {State.SUCCEEDED}
