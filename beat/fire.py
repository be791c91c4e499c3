"""Fire: decide the occurrences that are due, durably, and hand over what runs. The policies live in shared.domain."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from pymongo import UpdateMany
from pymongo.errors import PyMongoError

from beat import ahead
from beat.ahead import Ahead
from beat.insert import insert_missing
from beat.look import Look, Sought
from beat.newer import OfNewerRelease, is_newer
from beat.reminders import Reminders
from beat.rows import documents
from beat.zone_rules import ZoneRules
from shared import garbage, metrics
from shared.domain.execution import State
from shared.domain.plan import Chain, InFlight, Mode, Plan, Row, must_follow, plan
from shared.domain.policies import Overlap
from shared.log import MOST_LINES, get_logger
from shared.store import backfills, executions, jobs
from shared.store.executions import OWN_PUBLISHER_GRACE
from shared.store.partitions import BY_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from pymongo.client_session import ClientSession
    from pymongo.database import Database

    from beat.partitions import Partitions
    from beat.relay import HandOver

log = get_logger()

_Document: TypeAlias = "dict[str, Any]"

BATCH: Final = 1000
"""Jobs looked at in one go. More makes the first of them wait for the last one's plan; fewer costs round trips."""

MOST_OUT: Final = 10_000
"""Jobs whose rows stand before the pointer of the first of them moves. What a beat that dies then leaves is as many
jobs to plan again, for nothing."""

NO_JOB: Final = {"_id": ""}
"""Finds none."""
IDLE: Final = 0.05
"""Seconds without anything to do, in which some of what comes next is made ready. Less, and it could come late."""

LONGEST_OUT: Final = OWN_PUBLISHER_GRACE.total_seconds()
"""Seconds for which the pointers of what has fired may wait for what is still to fire. Later the grace of a row, which
begins with the instant that all these decisions are made for, would be over before the row is there."""

LONGEST_SLEEP: Final = 0.5
"""Seconds. A job that is created or edited takes effect no later than this."""

TRUSTED: Final = 0.2
"""Seconds for which fire, at rest, trusts a look that another thread has made; it sleeps so much shorter then."""

LEFT_TO_NEWER: Final = timedelta(seconds=5)
"""For so long a job that has a row of a newer release is left alone. It is due again then for any beat, so more would
make one of that release fire it late; less would have this one read such jobs again and again, for nothing."""

COMING: Final = Sought(jobs.COLLECTION, (jobs.sleeping_filter,), first_by="wake_at")
"""The next wake time, as `coming`."""

_SKEW_LIMIT: Final = 2.0
_SKEW_REMINDER: Final = 600.0
_NEWER_REMINDER: Final = 600.0


@dataclass(slots=True)
class _Planned:
    """A job of the batch, and how far its plan has been carried out."""

    job: Mapping[str, Any]
    chain: Chain
    plan: Plan
    documents: list[dict[str, Any]]
    """Of the plan's rows."""
    inserted: list[dict[str, Any]] = field(default_factory=list)


class _Move(NamedTuple):
    """Where a job's pointer goes, as jobs.advance takes it."""

    covered: datetime
    pointer: datetime | None
    fires: int
    mode: Mode


class Moves:
    """The pointers that are to be moved, of jobs whose rows stand."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, datetime | None, _Move], list[str]] = defaultdict(list)

    def note(self, planned: Iterable[_Planned]) -> None:
        """Note where these jobs' pointers go; one update does for all that go from the same place to the same one."""
        for each in planned:
            fires = each.plan.fired - each.chain.fired
            move = _Move(each.plan.covered, each.plan.pointer, fires, each.chain.spec.mode)
            self._ids[each.job["revision"], each.chain.pointer, move].append(each.job["_id"])

    def take(self) -> list[UpdateMany]:
        """Forget them, and return the updates that move them.

        What has been moved already, or edited, these leave alone: there is nothing to undo.
        """
        noted, self._ids = self._ids, defaultdict(list)
        return [
            UpdateMany(jobs.advance_filter(ids, revision, pointer), jobs.advance(*move))
            for (revision, pointer, move), ids in noted.items()
        ]


class _Meanwhile:
    """A thread that carries out the plans of one batch, while the next one is read and planned."""

    def __init__(self, carry_out: Callable[[list[_Planned], Moves], list[_Planned]]) -> None:
        self._carry_out = carry_out
        self._thread = ThreadPoolExecutor(1, "fire")  # it starts with the first batch
        self._batch: Future[list[_Planned]] | None = None

    def begin(self, planned: list[_Planned], moves: Moves) -> None:
        """Let it carry out plans. Moves are its own until it is done."""
        self._batch = self._thread.submit(self._carry_out, planned, moves)

    def finish(self) -> list[_Planned]:
        """Wait until it is done, if it does anything; return what met other rows. Raises what it has met."""
        batch, self._batch = self._batch, None
        return [] if batch is None else batch.result()

    def wait(self) -> None:
        """Wait until it is done, whatever became of it."""
        batch, self._batch = self._batch, None
        if batch is not None:
            wait([batch])


def _is_due(row: Mapping[str, Any]) -> bool:
    """Return whether a row that was just decided is to be sent at once; one held or due later is the relay's."""
    return row["state"] == State.PENDING.value and "held" not in row and bool(row["due_at"] <= row["decided_at"])


def _decides(document: Mapping[str, Any], row: Row) -> bool:
    """Return whether a stored row decides the same as another one. What cannot be read does not.

    The job is planned once more then, from what stands, and parked or left for it.
    """
    try:
        return executions.same_decision(executions.to_row(document), row)
    except (KeyError, TypeError, ValueError):
        return False


class Fire:
    """One duty of beat. Any number may run at once, on the same jobs too: the ledger's ids keep decisions unique."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        hand_over: HandOver,
        by: str,
        look_at_rest: Look | None = None,
    ) -> None:
        """look_at_rest: another thread's, which asks for COMING along; without it there is only this one's own."""
        self._client = database.client
        self._jobs = database[jobs.COLLECTION]
        self._revisions = database[jobs.REVISIONS]
        self._executions = database[executions.COLLECTION]
        self._backfills = database[backfills.COLLECTION]
        self._zone_rules = ZoneRules(database)
        self._ahead = Ahead(database, self._zone_rules, by)
        self._partitions = partitions
        self._hand_over = hand_over
        self._by = by
        self._damaged = Reminders()
        self._left = Reminders()
        """Of its own: a row that is named here must still be named there."""
        self._skew_reported_at: datetime | None = None
        self._next_look_for_newer = 0.0
        self._look = Look(database, partitions, coming=COMING)
        self._look_at_rest = self._look if look_at_rest is None else look_at_rest
        self._trusted = 0.0 if look_at_rest is None else TRUSTED
        self._meanwhile = _Meanwhile(self._carry_out_full)
        self._caught_up: tuple[object, object] | None = None
        """The primary which, when this had written to it, showed all that was acknowledged before; see _find."""
        self._is_behind = False
        """Whether the last look took as much as it may, so that more may be due."""
        self._is_at_rest = False
        """Whether nothing was due soon when this last looked; what comes then has to be looked for, and seldom does."""

    def run_once(self) -> float:
        """Decide what is due; return for how many seconds there is nothing to do, up to LONGEST_SLEEP."""
        held = self._partitions.held
        if not held:
            return LONGEST_SLEEP / 10
        self._watch_newer(held)
        longest = LONGEST_SLEEP
        wait = 0.0
        if self._is_at_rest:
            # What was stored just after that look is found by the next one.
            longest -= self._trusted
            wait = self._until_next(self._look_at_rest, monotonic() - self._trusted)
        if not wait:
            # Around the call, so that what it has made is gone when garbage is looked for again.
            with garbage.none_meanwhile():
                wait = self._decide_due(held)
        self._is_at_rest = wait >= LONGEST_SLEEP
        # Before the next wake time there is nothing to make ready, and at rest each question counts.
        if IDLE <= wait <= ahead.AHEAD.total_seconds():
            began = monotonic()
            # It takes some of the time that there is, and nothing is to come late by that.
            wait = 0.0 if self._ahead.run_once(held) else wait - (monotonic() - began)
        return min(longest, max(0.0, wait))

    def _decide_due(self, held: frozenset[int]) -> float:
        """Decide what is due, by batches, and then move the pointers; return the seconds until more is.

        All that is due goes out before any pointer moves; so no job is shown twice by one query, and MongoDB has the
        rest to do when nothing waits for it. If the last look was full, more may be due than one query takes: then each
        full batch's pointers move at once, behind its rows, as the time until the next query, in which nothing goes
        out, has to be short. A job that is due again by then may be shown again, as it is then.
        """
        began, looked_at, moves = monotonic(), 0, Moves()
        # What is read later must not be older, as it may be from a primary that was just elected.
        with self._client.start_session(causal_consistency=True) as session:
            is_ready = len(self._ahead) > 0
            fields = ahead.FIELDS if is_ready else jobs.PLANNING_FIELDS
            due = self._find(jobs.due_filter(held), fields, session, sort={"wake_at": 1}, limit=MOST_OUT)
            try:
                while batch := list(islice(due, BATCH)):
                    looked_at += len(batch)
                    planned = self._planned_ahead(batch, session) if is_ready else self._plan(batch, session)
                    self._decide_again(self._meanwhile.finish(), moves, session)
                    if len(batch) < BATCH:
                        self._decide(planned, moves, session)
                        break
                    self._meanwhile.begin(planned, moves)
                    if monotonic() - began > LONGEST_OUT:
                        break
                self._decide_again(self._meanwhile.finish(), moves, session)
            finally:
                self._meanwhile.wait()
                # Also when a batch cannot be carried out: those before it must not be planned again and again.
                self._advance(moves)
        self._is_behind = looked_at > 0 and looked_at % BATCH == 0
        if self._is_behind:
            return 0.0
        return self._until_next(self._look, math.inf)

    def _find(
        self, chosen: Mapping[str, Any], fields: Mapping[str, Any], session: ClientSession, **how: Any
    ) -> Iterator[_Document]:
        """Find jobs, with every edit that was acknowledged before their primary was elected. how: as PyMongo's find.

        Just after that it may still show what a majority had earlier, with a time at which an acknowledged pause, or
        skip, should hold. Behind a write, though it changes nothing, that a majority has, it shows all from before.
        """
        while True:
            found = self._jobs.find(chosen, {**fields, "now": "$$NOW"}, batch_size=BATCH, session=session, **how)
            if (first := next(found, None)) is None:
                return
            if (primary := self._elected(found.address)) == self._caught_up:
                break
            found.close()
            self._jobs.update_one(NO_JOB, {"$set": {"state": ""}}, session=session)
            self._caught_up = primary
        yield first
        yield from found

    def _elected(self, address: tuple[str, int | None] | None) -> tuple[object, object]:
        """Return a server's address with the election that made it primary, as far as the driver has heard."""
        known = self._client.topology_description.server_descriptions()
        server = known.get(address) if address is not None else None
        return address, server and server.election_id

    def _read(self, job_ids: Iterable[str], session: ClientSession) -> list[_Document]:
        """Read jobs whole, if they are due."""
        ids = list(job_ids)
        return list(self._find(jobs.still_due_filter(ids), jobs.PLANNING_FIELDS, session, hint=BY_ID)) if ids else []

    def _planned_ahead(self, due: Sequence[Mapping[str, Any]], session: ClientSession) -> list[_Planned]:
        """Return the plans of jobs, as far as they are ready; of the others, those that are made now."""
        ready = [(each, job["now"]) for job in due if (each := self._ahead.take(job)) is not None]
        self._ahead.forget_before(due[0]["now"] - ahead.AHEAD)
        # Read after the jobs, as for any plan.
        in_flight = self._in_flight((each.chain.uid for each, _ in ready), session) if ready else {}
        planned = [
            _Planned(each.job, each.chain, each.plan, [each.document(now)])
            for each, now in ready
            if each.chain.uid not in in_flight
        ]
        done = {each.job["_id"] for each in planned}
        others = self._read((job["_id"] for job in due if job["_id"] not in done), session)
        return planned + self._plan(others, session)

    def _decide(self, planned: list[_Planned], moves: Moves, session: ClientSession) -> None:
        """Carry plans out, and what met somebody else's rows once more."""
        self._decide_again(self._carry_out(planned, moves), moves, session)

    def _decide_again(self, contested: list[_Planned], moves: Moves, session: ClientSession) -> None:
        """Read and plan once more what met somebody else's rows, from those, and carry that out."""
        if contested:
            again = self._read((each.job["_id"] for each in contested), session)
            self._carry_out(self._plan(again, session, follow=True), moves)

    def _carry_out_full(self, planned: list[_Planned], moves: Moves) -> list[_Planned]:
        """Carry out the plans of a full batch, behind which more are due; return what met somebody else's rows."""
        contested = self._carry_out(planned, moves)
        if self._is_behind:
            self._advance(moves)
        return contested

    def _carry_out(self, planned: list[_Planned], moves: Moves) -> list[_Planned]:
        """Insert the rows of plans, and hand over; return those that met somebody else's rows, and decide nothing."""
        carried_out, contested = self._insert(planned)
        for each in carried_out:
            self._cancel_previous(each)
        advancing = [each for each in carried_out if each.plan.install is None]
        # Before the pointers move, so that messages are on their way meanwhile: the rows stand, whoever moves those.
        self._hand_over(row for each in advancing for row in each.inserted if _is_due(row))
        moves.note(advancing)
        for each in carried_out:
            if each.plan.install is not None:
                self._install(each)
                # After it, as a deletion cancels what was decided before it and is not running yet.
                self._hand_over(row for row in each.inserted if _is_due(row))
        self._report([row for each in carried_out for row in each.inserted])
        return contested

    def _plan(
        self, due: Sequence[Mapping[str, Any]], session: ClientSession, *, follow: bool = False
    ) -> list[_Planned]:
        """Plan jobs that were read whole. follow: from the rows that stand, else read only where they must be."""
        if not due:
            return []
        self._zone_rules.load(due)
        chains = []
        for job in due:
            try:
                chain = jobs.to_chain(job)
                standing = self._standing(chain, session) if follow or must_follow(chain, job["now"]) else {}
                chains.append((job, chain, standing))
            except Exception as error:  # noqa: BLE001 - see _park_or_leave
                self._park_or_leave(job, error)
        # Read after the chains: whoever fired an occurrence that they cover is seen here unless it has ended.
        in_flight = self._in_flight((job["uid"] for job, _, _ in chains), session)
        planned = []
        for job, chain, standing in chains:
            try:
                decided = plan(chain, standing, in_flight[chain.uid], job["now"], jobs.to_policies(job))
                if not decided.stale:
                    rows = documents(job, chain, decided, job["now"], self._by)
                    planned.append(_Planned(job, chain, decided, rows))
            except Exception as error:  # noqa: BLE001 - see _park_or_leave
                self._park_or_leave(job, error)
        return planned

    def _standing(self, chain: Chain, session: ClientSession) -> dict[datetime | None, Row]:
        found = self._executions.find(
            executions.chain_filter(chain.uid, chain.epoch, chain.pointer), executions.CHAIN_FIELDS, session=session
        )
        standing = {}
        for document in found:
            try:
                standing[document["nominal_time"]] = executions.to_row(document)
            except (KeyError, TypeError, ValueError) as error:
                if is_newer(document):
                    raise OfNewerRelease(document) from error
                raise
        return standing

    def _in_flight(self, uids: Iterable[str], session: ClientSession) -> defaultdict[str, list[InFlight]]:
        found: defaultdict[str, list[InFlight]] = defaultdict(list)
        chosen = executions.in_flight_filter(uids)
        rows = self._executions.find(chosen, executions.IN_FLIGHT_FIELDS, session=session)
        for row in sorted(self._damaged.of_a_job(rows), key=self._damaged.nominal_time):
            found[row["job_uid"]].append(InFlight(row["_id"], held=row.get("held", False)))
        return found

    def _insert(self, planned: list[_Planned]) -> tuple[list[_Planned], list[_Planned]]:
        """Insert the rows of all plans; return the plans that stand, and those that met another decision.

        In rounds: the first rows of all plans in one unordered bulk, then the second rows, and so on, since a
        plan's later row may only be inserted after the one before it.
        """
        standing, contested = planned, list[_Planned]()
        for number in count():
            round_ = [each for each in standing if number < len(each.plan.rows)]
            if not round_:
                return standing, contested
            documents = {each.documents[number]["_id"]: (each.documents[number], each) for each in round_}
            duplicates = insert_missing(self._executions, [document for document, _ in documents.values()])
            refused = self._differing({key: documents[key][1].plan.rows[number] for key in duplicates})
            for key, (document, each) in documents.items():
                if key not in duplicates:
                    each.inserted.append(document)
            lost = {id(documents[key][1]) for key in refused}
            contested += [each for each in round_ if id(each) in lost]
            standing = [each for each in standing if id(each) not in lost]
        raise AssertionError  # count() has no end

    def _differing(self, rows: Mapping[str, Row]) -> set[str]:
        """Return the ids whose stored row decides something else than the given one, or cannot be read."""
        if not rows:
            return set()
        stored = self._executions.find({"_id": {"$in": list(rows)}}, executions.CHAIN_FIELDS)
        same = {document["_id"] for document in stored if _decides(document, rows[document["_id"]])}
        return set(rows) - same

    def _cancel_previous(self, planned: _Planned) -> None:
        """Cancel what a new execution is to replace. If this beat dies here the relay does it."""
        for row in planned.inserted:
            if "held" in row and row["policies"]["overlap"] == Overlap.CANCEL_PREVIOUS:
                cancel = executions.cancel_previous(row, self._by)
                self._executions.update_many(cancel.filter, cancel.update)

    def _advance(self, moves: Moves) -> None:
        if updates := moves.take():
            self._jobs.bulk_write(updates, ordered=False)

    def _install(self, planned: _Planned) -> None:
        """Put the first queued change of a job in force, behind the closing row that was just inserted."""
        job, install = planned.job, planned.plan.install
        if install is None:
            return
        change = install.change
        if change.spec.mode is Mode.DELETED:
            # Before the change is in force, so that a crash in between repeats it. Behind the closing row no further
            # execution of this life of the job can come.
            end = executions.end_open(
                job["uid"],
                self._by,
                "the job was deleted",
                running=change.cancel_running,
                epoch=planned.chain.epoch,
                until=change.cutoff,
            )
            self._executions.update_many(end.filter, end.update)
            # Also those with which there is nothing to do, and though the job may have been undeleted since.
            end = backfills.end_with_job(job["uid"], change.cutoff, running=change.cancel_running)
            self._backfills.update_many(end.filter, end.update)
        history = jobs.revision_document(
            job["uid"], install.epoch, install.spec, install.reached, change.by, change.reason, install.fired
        )
        self._revisions.update_one({"_id": history["_id"]}, {"$setOnInsert": history}, upsert=True)
        result = self._jobs.update_one(
            jobs.advance_filter([job["_id"]], job["revision"], planned.chain.pointer),
            jobs.install(install, more_changes=len(planned.chain.changes) > 1),
        )
        if result.modified_count:
            log.info(
                "change in force",
                action="change_installed",
                job_id=job["_id"],
                epoch=install.epoch,
                mode=change.spec.mode.value,
                reached=install.reached.isoformat(),
                next_nominal=install.pointer.isoformat() if install.pointer else None,
            )

    def _park_or_leave(self, job: Mapping[str, Any], error: Exception) -> None:
        """Park a job whose plan raised, whatever it raised, so that the others are decided; an outage passes.

        So does what a newer release has decided of it: the job is left for LEFT_TO_NEWER, to a beat of that release.
        """
        if isinstance(error, PyMongoError):
            raise error
        if isinstance(error, OfNewerRelease):
            chosen = jobs.advance_filter([job["_id"]], job["revision"], job["next_nominal"])
            self._jobs.update_one(chosen, jobs.leave(LEFT_TO_NEWER))
            metrics.BEAT_LEFT.inc()
            self._left.name_newer(error.row, job["_id"], str(error))
            return
        reason = f"the job cannot be planned: {type(error).__name__}: {error}"
        self._jobs.update_one(jobs.edit_filter(job["_id"], job.get("revision")), jobs.park(reason))
        metrics.BEAT_PARKED.inc()
        log.error("job parked", action="job_parked", job_id=job["_id"], exc_info=error)

    def _report(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count and log what was decided; of many rows a line says how many."""
        decided = [row for row in rows if row["state"] != State.CLOSED]
        occurrences = Counter[str]()
        fires = Counter[str]()
        for row in decided:
            occurrences[row["state"]] += row["count"]
            if row["state"] == State.PENDING:
                fires[row["queue"]] += 1
        for state, number in occurrences.items():
            metrics.BEAT_DECISIONS.labels("FIRED" if state == State.PENDING else state).inc(number)
        for queue, number in fires.items():
            metrics.BEAT_FIRES.labels(queue).inc(number)
        if len(decided) <= MOST_LINES:
            for row in decided:
                _log_decision(row)
            return
        for state, number in occurrences.items():
            log.info(
                "occurrences fire" if state == State.PENDING else "occurrences decided not to run",
                action="occurrences_fired" if state == State.PENDING else f"occurrences_{state.lower()}",
                count=number,
            )

    def _until_next(self, look: Look, since: float) -> float:
        """Return the seconds until the next wake time that is known, by the database's clock; infinite without one.

        By a look that was made since then, by the monotonic clock, or by a new one.
        """
        next_job = look.found(since).get("coming")
        if next_job is None:
            return math.inf
        now = next_job["now"] + timedelta(seconds=monotonic() - next_job["came_at"])
        self._watch_clock(now, next_job["came_at"] - next_job["asked_at"])
        wait: float = (next_job["wake_at"] - now).total_seconds()
        return max(0.0, wait)

    def _watch_newer(self, held: frozenset[int]) -> None:
        """Say now and then that there are jobs which this beat leaves to newer ones: there may be no such beat."""
        if monotonic() < self._next_look_for_newer:
            return
        self._next_look_for_newer = monotonic() + _NEWER_REMINDER
        count = self._jobs.count_documents(jobs.newer_filter(held))
        metrics.BEAT_NEWER.set(count)
        if count:
            log.warning("jobs are left to a newer beat", action="jobs_newer", count=count, schema=jobs.SCHEMA)

    def _watch_clock(self, database_now: datetime, took: float) -> None:
        """Measure how far this host's clock is off. Nothing here depends on it; other software may.

        took: seconds from the question for the database's time to its answer, which are not the clock's fault.
        """
        now = datetime.now(UTC)
        skew = (now - database_now).total_seconds()
        skew = min(skew, max(0.0, skew - took))
        metrics.BEAT_CLOCK_SKEW.set(skew)
        reported = self._skew_reported_at
        if abs(skew) > _SKEW_LIMIT and (reported is None or (now - reported).total_seconds() > _SKEW_REMINDER):
            self._skew_reported_at = now
            log.warning("this host's clock is off", action="clock_skew", seconds=round(skew, 3))


def _log_decision(row: Mapping[str, Any]) -> None:
    fires = row["state"] == State.PENDING
    log.info(
        "occurrence fires" if fires else "occurrences decided not to run",
        action="occurrence_fired" if fires else f"occurrences_{row['state'].lower()}",
        job_id=row["job_id"],
        execution_id=row["_id"],
        trace_id=row.get("trace_id"),
        count=row["count"],
        reason=row["reason"] or None,
    )
