"""Explain: what became of one occurrence of a job, and why: a pure function from what is known to an answer.

What can't be known is not claimed: a fact is either recorded, or follows from the schedule that was in force.
docs/explain.md lists all verdicts and kinds of facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shared.domain.clock import instant_of, repeated_at, second_of, time_text, wall_text
from shared.domain.evidence import Step, era_at, schedule_at
from shared.domain.execution import DECISIONS_NOT_TO_RUN, WORKER_LOST, State, Trigger
from shared.domain.job import JobState
from shared.domain.occurrences import names
from shared.domain.plan import FOUND_LATE, Mode
from shared.domain.remarks import excluded_at, fire_of, zone_of
from shared.domain.schedule import CronSchedule, IntervalSchedule, OnceSchedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.evidence import Absence, Era, Known, Record
    from shared.domain.execution import Failure
    from shared.domain.overrides import Override
    from shared.domain.remarks import Fire
    from shared.domain.schedule import Schedule

LATE: Final = timedelta(seconds=5)
"""From when on a delay is a fact worth telling: a beat decides, and a worker begins, in well under a second."""
LOOKS_BACK: Final = timedelta(days=366 * 10)
"""How far before an instant the occurrence before it is looked for."""
MOST_OF_A_KIND: Final = 5
"""Facts of one kind that are told: attempts, executions in the way."""
_MOMENT: Final = timedelta(milliseconds=1)
_LONGEST_QUOTED: Final = 300


class Verdict(StrEnum):
    """What was decided; see ExplainOccurrenceResponse.Verdict of the API."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    SKIPPED = "SKIPPED"
    COALESCED = "COALESCED"
    UPCOMING = "UPCOMING"
    OVERDUE = "OVERDUE"
    NO_OCCURRENCE = "NO_OCCURRENCE"
    NOT_ACTIVE = "NOT_ACTIVE"
    UNKNOWN = "UNKNOWN"


class Kind(StrEnum):
    """What a fact is about; docs/explain.md says what each means."""

    RAN = "RAN"
    FAILED = "FAILED"
    WORKER_LOST = "WORKER_LOST"
    ATTEMPT_FAILED = "ATTEMPT_FAILED"
    RETRYING = "RETRYING"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    RUNNING = "RUNNING"
    PARTS = "PARTS"
    IN_QUEUE = "IN_QUEUE"
    NO_WORKER = "NO_WORKER"
    JITTER = "JITTER"
    OVERLAP = "OVERLAP"
    MISFIRE = "MISFIRE"
    DECIDED_LATE = "DECIDED_LATE"
    BEAT_DOWN = "BEAT_DOWN"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    DELETED = "DELETED"
    NOT_CREATED = "NOT_CREATED"
    PARKED = "PARKED"
    OVERRIDE = "OVERRIDE"
    EXCLUDED = "EXCLUDED"
    CLOCK = "CLOCK"
    BOUNDS = "BOUNDS"
    NOT_NAMED = "NOT_NAMED"
    SCHEDULE_CHANGED = "SCHEDULE_CHANGED"
    RUN_AGAIN = "RUN_AGAIN"
    RETENTION = "RETENTION"
    UNRECORDED = "UNRECORDED"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known. since, until: when it began and ended, where it has times; None while it lasts."""

    kind: Kind
    detail: str
    since: datetime | None = None
    until: datetime | None = None
    by: str = ""
    execution_id: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: a verdict, one sentence, and the facts behind it, the most important first."""

    verdict: Verdict
    sentence: str
    facts: tuple[Fact, ...]
    local: str
    previous: Fire | None
    next: Fire | None


def explain(known: Known) -> Explanation:
    """Say what became of the occurrence."""
    return _Explaining(known).explanation()


class _Explaining:
    """One answer in the making. Each method for a case returns its verdict and sentence, and adds the facts."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._job = known.job
        self._at = known.question.instant
        self._era = era_at(known.job, self._at)
        self._schedule = schedule_at(known.job, self._at)
        self._zone = zone_of(self._schedule)
        self._facts: list[Fact] = []

    def explanation(self) -> Explanation:
        verdict, sentence = self._decide()
        self._tell_surroundings(verdict)
        return Explanation(
            verdict,
            sentence[0].upper() + sentence[1:],
            tuple(self._facts),
            fire_of(self._schedule, self._at, None).local,
            self._previous(),
            self._next(),
        )

    def _previous(self) -> Fire | None:
        """Return the last time before, by whichever schedule was in force at it; None where none is known."""
        for era, until in reversed(self._stretches()):
            through = self._at - _MOMENT if until is None else min(until, self._at - _MOMENT)
            if era.began >= through:
                continue
            after = era.began if through - era.began < LOOKS_BACK else through - LOOKS_BACK
            if (found := era.spec.schedule.last_between(after, through)) is not None:
                return self._fire(era, found)
        return None

    def _next(self) -> Fire | None:
        """Return the first time after, by whichever schedule is in force at it; None where none is known."""
        for era, until in self._stretches():
            if until is not None and until <= self._at:
                continue
            found = era.spec.schedule.next_after(max(self._at, era.began))
            if found is not None and (until is None or found <= until):
                return self._fire(era, found)
        return None

    def _stretches(self) -> list[tuple[Era, datetime | None]]:
        """Return the eras that have occurrences, each with the last instant that is its own; None while it lasts."""
        stretches: list[tuple[Era, datetime | None]] = []
        for era, following in zip(self._job.eras, (*self._job.eras[1:], None), strict=True):
            # Of those that were read not all that followed may have been: then it is not known how long one lasted.
            ends = era.number >= self._job.epoch if following is None else following.number == era.number + 1
            if ends and era.spec.mode is not Mode.DELETED:
                stretches.append((era, None if following is None else following.began))
        return stretches

    def _fire(self, era: Era, instant: datetime) -> Fire:
        return fire_of(era.spec.schedule, instant, None, self._job.uid, self._known.name_days)

    def _decide(self) -> tuple[Verdict, str]:
        era, row = self._era, self._known.row
        if era is None:
            return self._before_the_history()
        if row is not None and row.state not in DECISIONS_NOT_TO_RUN:
            return self._execution(row)
        if era.spec.mode is Mode.DELETED:
            return self._deleted(era)
        if not self._named():
            return self._no_occurrence()
        if era.spec.mode is Mode.PAUSED:
            return self._paused(era)
        if (override := self._override(era)) is not None and (row is None or row.reason == override.left_out):
            return self._overridden(override)
        if row is not None:
            return self._not_run(row)
        if self._at > self._known.now:
            return self._upcoming()
        return self._without_row(era)

    def _named(self) -> bool:
        question = self._known.question
        if question.missing and not question.stands:
            return False
        return names(self._schedule, self._at) or self._moved_here() is not None

    def _moved_here(self) -> Override | None:
        """Return what was moved to the instant, in the epoch that it is of."""
        overrides = () if self._era is None else self._era.spec.overrides
        return next((each for each in overrides if each.moved_to == self._at), None)

    def _override(self, era: Era) -> Override | None:
        """Return how the occurrence is overridden in the epoch that it is of."""
        return next((each for each in era.spec.overrides if each.nominal == self._at), None)

    def _overridden(self, override: Override) -> tuple[Verdict, str]:
        self._add(Kind.OVERRIDE, override.left_out, override.at, by=override.by)
        if override.moved_to is None:
            return Verdict.SKIPPED, f"{self._subject} {self._did}: it was {override.left_out}."
        when, why = self._shown(override.moved_to), _because(override.reason)
        return Verdict.SKIPPED, f"{self._subject} {self._did} then: it was moved to {when} by {override.by}{why}."

    # Executions:

    def _execution(self, row: Record) -> tuple[Verdict, str]:
        match row.state:
            case State.SUCCEEDED:
                return self._succeeded(row)
            case State.FAILED:
                return self._failed(row)
            case State.CANCELLED:
                return self._cancelled(row)
            case State.RUNNING:
                said = f"attempt {row.attempt} of {row.max_attempts} runs on {row.worker}"
                self._add(Kind.RUNNING, said, row.started_at, execution_id=row.execution_id, by=row.worker)
                self._tell_run(row)
                return Verdict.RUNNING, f"{self._subject} is running since {self._shown(row.started_at)} ({said})."
            case State.WAITING:
                self._add(Kind.PARTS, "it was started, and waits for its parts to end", row.started_at)
                self._tell_run(row)
                return Verdict.RUNNING, f"{self._subject} was started and waits for its parts to end."
            case _:
                return self._waiting(row)

    def _succeeded(self, row: Record) -> tuple[Verdict, str]:
        took = "" if row.started_at is None or row.finished_at is None else span_text(row.finished_at - row.started_at)
        said = f"attempt {row.attempt} of {row.max_attempts} succeeded{f' after {took}' if took else ''}"
        self._add(Kind.RAN, said, row.started_at, row.finished_at, by=row.worker, execution_id=row.execution_id)
        self._tell_run(row)
        first = "" if row.attempt == 1 else f" in attempt {row.attempt} of {row.max_attempts}"
        return Verdict.SUCCEEDED, f"{self._subject} ran and succeeded{first}{self._late_clause(row)}."

    def _failed(self, row: Record) -> tuple[Verdict, str]:
        error = "for a reason that was not recorded" if row.error is None else _error_text(row.error)
        last = row.steps[-1].reason if row.steps else ""
        kind = Kind.WORKER_LOST if row.error is not None and row.error.code == WORKER_LOST else Kind.FAILED
        said = f"{error}{f' ({last})' if last else ''}"
        self._add(kind, said, row.started_at, row.finished_at, by=row.worker, execution_id=row.execution_id)
        self._tell_run(row)
        times = f"in attempt {row.attempt} of {row.max_attempts}"
        return Verdict.FAILED, f"{self._subject} ran and failed {times}{self._late_clause(row)}: {error}."

    def _cancelled(self, row: Record) -> tuple[Verdict, str]:
        step = row.steps[-1] if row.steps else Step(row.state, row.finished_at or row.decided_at, "", row.reason)
        if row.expired:
            self._add(Kind.EXPIRED, step.reason, row.due_at, row.finished_at, by=step.by, execution_id=row.execution_id)
            why = f"was cancelled, as {step.reason}"
        else:
            by = row.stop.by if row.stop is not None else step.by
            reason = row.stop.reason if row.stop is not None else step.reason
            because = _because(reason)
            self._add(
                Kind.CANCELLED, f"cancelled by {by}{because}", step.at, step.at, by=by, execution_id=row.execution_id
            )
            began = "while it ran " if row.started_at is not None else "before it was started "
            why = f"was cancelled {began}by {by} at {self._shown(step.at)}{because}"
        self._tell_run(row)
        return Verdict.CANCELLED, f"{self._subject} {why}."

    def _waiting(self, row: Record) -> tuple[Verdict, str]:
        now, queue = self._known.now, row.queue
        due = row.due_at or row.nominal_time
        if row.held:
            in_the_way = self._tell_in_the_way(row, now)
            self._tell_run(row)
            return Verdict.WAITING, f"{self._subject} waits until what the job ran before has ended{in_the_way}."
        if row.error is not None and row.attempt:
            self._add(
                Kind.RETRYING,
                f"attempt {row.attempt} of {row.max_attempts} failed: {_error_text(row.error)};"
                f" the next one is due at {self._shown(due)}",
                due, execution_id=row.execution_id,
            )  # fmt: skip
            if due > now:
                self._tell_run(row)
                said = f"waits for its next attempt at {self._shown(due)}, as attempt {row.attempt} failed"
                return Verdict.WAITING, f"{self._subject} {said}: {_error_text(row.error)}."
        elif due > now:
            self._add(Kind.JITTER, f"jitter puts it off to {self._shown(due)}", row.nominal_time, due)
            self._tell_run(row)
            return Verdict.WAITING, f"{self._subject} is put off by its jitter to {self._shown(due)}."
        queued = [step.at for step in row.steps if step.state is State.QUEUED]
        since = queued[-1] if queued and row.state is State.QUEUED else due
        where = f"in the queue {queue}" if row.state is State.QUEUED else f"to be sent to the queue {queue}"
        nobody = self._tell_no_worker(queue, since, now)
        self._add(Kind.IN_QUEUE, f"its message waits {where}", since, execution_id=row.execution_id)
        self._tell_run(row)
        return Verdict.WAITING, f"{self._subject} waits {where} since {self._shown(since)}{nobody}."

    def _tell_run(self, row: Record) -> None:
        """Add what delayed an execution, and what went wrong before the state that it is in."""
        failed = [
            (before, after)
            for before, after in pairwise(row.steps)
            if before.state is State.RUNNING and after.state is State.PENDING
        ]
        for before, after in failed[-MOST_OF_A_KIND:]:
            self._add(
                Kind.ATTEMPT_FAILED, after.reason or "the attempt ended", before.at, after.at,
                by=before.by, execution_id=row.execution_id,
            )  # fmt: skip
        self._tell_late(row)
        for since, taken in _in_queue(row):
            if taken is not None and taken.state is State.RUNNING and taken.at - since > LATE:
                waited = span_text(taken.at - since)
                said = f"its message waited {waited} in the queue {row.queue}, until {taken.by} took it"
                self._add(Kind.IN_QUEUE, said, since, taken.at, execution_id=row.execution_id)
                self._tell_no_worker(row.queue, since, taken.at)

    def _tell_late(self, row: Record) -> None:
        late = row.decided_at - self._at
        if late <= LATE:
            return
        by = row.steps[0].by if row.steps else ""
        said = f"it was decided {span_text(late)} after its time"
        self._add(Kind.DECIDED_LATE, said, self._at, row.decided_at, by=by)
        self._tell_no_beat(row.decided_at)

    def _tell_no_beat(self, through: datetime) -> str:
        """Add when no beat was alive between the occurrence and an instant; return what is so still, as a clause."""
        clause = ""
        for absence in _within(self._known.no_beat, self._at, through):
            said = f"no beat was alive {self._stretch(absence)}"
            self._add(Kind.BEAT_DOWN, said, absence.since, absence.until)
            clause = "" if absence.until else f"; no beat has been alive since about {self._shown(absence.since)}"
        return clause

    def _tell_no_worker(self, queue: str, since: datetime, until: datetime) -> str:
        """Add when no worker served a queue between two instants; return what is so still, as a clause."""
        if (absences := self._known.no_worker.get(queue)) is None:
            self._add(Kind.NO_WORKER, f"no worker that serves the queue {queue} is known")
            return ", and no worker that serves it is known"
        clause = ""
        for absence in _within(absences, since, until):
            said = f"no worker that serves the queue {queue} was alive {self._stretch(absence)}"
            self._add(Kind.NO_WORKER, said, absence.since, absence.until)
            shown = self._shown(absence.since)
            clause = "" if absence.until else f", and no worker that serves it has been alive since about {shown}"
        return clause

    def _stretch(self, absence: Absence) -> str:
        # Processes are heard of every few seconds, so that is how well it is known.
        since = f"about {self._shown(absence.since)}"
        return f"from {since} to {self._shown(absence.until)}" if absence.until else f"since {since}"

    def _late_clause(self, row: Record) -> str:
        late = row.decided_at - self._at
        if late > LATE:
            down = next((fact for fact in self._facts if fact.kind is Kind.BEAT_DOWN), None)
            why = "" if down is None else f", as {down.detail}"
            return f", {span_text(late)} late{why}"
        due = row.due_at if row.attempt == 1 and row.due_at is not None else self._at
        if row.attempt == 1 and row.started_at is not None and row.started_at - due > LATE:
            return f", started {span_text(row.started_at - due)} after it was due"
        return ""

    def _tell_in_the_way(self, row: Record, at: datetime) -> str:
        """Add the executions of the schedule that had not ended at an instant; return the first of them as a clause."""
        found = [
            one
            for one in self._known.before
            if one.decided_at <= at and (one.finished_at is None or one.finished_at > at) and one is not row
        ][::-1]
        for one in found[:MOST_OF_A_KIND]:
            self._add(
                Kind.OVERLAP, f"the execution of {self._shown(one.nominal_time)} {self._went(one)}",
                one.started_at or one.decided_at, one.finished_at, by=one.worker, execution_id=one.execution_id,
            )  # fmt: skip
        if not found:
            self._add(Kind.OVERLAP, row.reason, row.decided_at)
            return ""
        first = found[0]
        waited, *_ = [self._tell_its_wait(one, at) for one in found[:MOST_OF_A_KIND]]
        if first.started_at is None:
            return f": that of {self._shown(first.nominal_time)} {waited or 'had not ended'}"
        started = self._shown(first.started_at)
        if first.started_at > at:  # it waited then; or it ran, and what is known is when it was tried once more
            said = (
                f"waited to be started until {started}"
                if first.attempt <= 1
                else f"began its latest attempt at {started}"
            )
            return f": that of {self._shown(first.nominal_time)} {said}"
        return f": that of {self._shown(first.nominal_time)} was going since {started}"

    def _went(self, one: Record) -> str:
        started, ended = self._shown(one.started_at), self._shown(one.finished_at)
        if one.finished_at is None:
            return f"runs since {started}" if one.started_at else "has not been started"
        return f"{f'ran from {started}' if one.started_at else 'was never started'} and ended at {ended}"

    def _tell_its_wait(self, one: Record, at: datetime) -> str:
        """Add when what was in the way at an instant waited in its queue; return the wait of then, as a clause."""
        clause, of = "", f"the message of the execution of {self._shown(one.nominal_time)}"
        for since, after in _in_queue(one)[-MOST_OF_A_KIND:]:
            until = self._known.now if after is None else after.at
            if since >= at or until - since <= LATE:
                continue
            if after is None:
                said = f"{of} waits in the queue {one.queue}"
            else:
                taken = f", until {after.by} took it" if after.state is State.RUNNING else ""
                said = f"{of} waited {span_text(until - since)} in the queue {one.queue}{taken}"
            self._add(Kind.IN_QUEUE, said, since, None if after is None else until, execution_id=one.execution_id)
            nobody = self._tell_no_worker(one.queue, since, until)
            if until > at:
                clause = f"was in the queue {one.queue} since {self._shown(since)}{nobody}"
        return clause

    # Decisions not to run:

    def _not_run(self, row: Record) -> tuple[Verdict, str]:
        if row.state is State.COALESCED:
            return self._coalesced(row)
        late = span_text(row.decided_at - self._at)
        if row.reason.startswith(FOUND_LATE):
            self._add(Kind.MISFIRE, row.reason, self._at, row.decided_at, execution_id=row.execution_id)
            self._tell_late(row)
            return Verdict.SKIPPED, f"{self._subject} was skipped, as it was {row.reason}: {late} after its time."
        in_the_way = self._tell_in_the_way(row, row.decided_at)
        self._tell_late(row)
        why = "an earlier execution of the job had not ended" if in_the_way else row.reason
        return Verdict.SKIPPED, f"{self._subject} was skipped, as {why}{in_the_way}."

    def _coalesced(self, row: Record) -> tuple[Verdict, str]:
        late = f"it was found {span_text(row.decided_at - self._at)} late"
        if (instead := self._known.instead) is None:
            self._add(Kind.MISFIRE, row.reason, self._at, row.decided_at, execution_id=row.execution_id)
            other = "a later one did its work"
        else:
            which = self._shown(instead.nominal_time)
            said = f"the occurrence of {which} stands for it, whose execution is {instead.state}"
            self._add(Kind.MISFIRE, said, self._at, row.decided_at, execution_id=instead.execution_id)
            other = f"that of {which} did its work"
        self._tell_late(row)
        return Verdict.COALESCED, f"{self._subject} did not run by itself: {late}, and {other}."

    # Without a row:

    def _before_the_history(self) -> tuple[Verdict, str]:
        job = self._job
        if self._at > job.created_at:
            said = "the history of the job does not reach back so far"
            self._add(Kind.UNRECORDED, said)
            return Verdict.UNKNOWN, f"What became of {self._subject} is not known: {said}."
        when = self._shown(job.created_at)
        created = Fact(Kind.NOT_CREATED, f"created by {job.created_by} at {when}", job.created_at, by=job.created_by)
        # Where a bound alone leaves it out, that the job was not there yet says more.
        always = replace(self._schedule, start_time=None, end_time=None)
        if self._named() or (not self._known.question.missing and names(always, self._at)):
            self._facts.append(created)
            return Verdict.NOT_ACTIVE, f"{self._subject} did not run, as the job was created only at {when}."
        verdict, sentence = self._no_occurrence()
        self._facts.append(created)
        return verdict, f"{sentence.removesuffix('.')}; nor was there the job then, which was created only at {when}."

    def _deleted(self, era: Era) -> tuple[Verdict, str]:
        reason = "" if era.reason == "deleted" else _because(era.reason)
        said = f"deleted by {era.by} at {self._shown(era.began)}{reason}"
        self._add(Kind.DELETED, said, era.began, self._ended(era, Mode.DELETED), by=era.by)
        return Verdict.NOT_ACTIVE, f"{self._subject} {self._did}, as the job was {said}."

    def _paused(self, era: Era) -> tuple[Verdict, str]:
        began = self._first_of(era, Mode.PAUSED)
        ended = self._ended(era, Mode.PAUSED)
        if began is self._job.eras[0] and began.number:
            # Who paused it lies further back than was read.
            said, by = f"paused, since {self._shown(began.began)} or before", ""
        else:
            reason = "" if began.reason == "paused" else _because(began.reason)
            said, by = f"paused by {began.by} at {self._shown(began.began)}{reason}", began.by
        self._add(Kind.PAUSED, said, began.began, ended, by=by)
        if self._at > self._known.now:
            return Verdict.NOT_ACTIVE, f"{self._subject} will not run unless the job is resumed before: it is {said}."
        return Verdict.NOT_ACTIVE, f"{self._subject} did not run, as the job was {said}."

    def _first_of(self, era: Era, mode: Mode) -> Era:
        """Return the era with which the mode that an era has began: an edit of a paused job leaves it paused."""
        first = era
        for earlier in reversed([each for each in self._job.eras if each.began <= era.began and each is not era]):
            if earlier.number > era.number or earlier.spec.mode is not mode:
                break
            first = earlier
        return first

    def _ended(self, era: Era, mode: Mode) -> datetime | None:
        later = self._job.eras[self._job.eras.index(era) + 1 :]
        return next((each.began for each in later if each.spec.mode is not mode), None)

    def _upcoming(self) -> tuple[Verdict, str]:
        if (stopped := self._stopped("will not run")) is not None:
            return stopped
        if (moved := self._moved_here()) is not None:
            self._add(Kind.OVERRIDE, moved.moved_here, moved.at, by=moved.by)
            was, why = self._shown(moved.nominal), _because(moved.reason)
            return Verdict.UPCOMING, f"{self._subject} is still to come, moved from {was} by {moved.by}{why}."
        due = self._schedule.due_time(self._at, self._job.uid)
        if due != self._at:
            self._add(Kind.JITTER, f"jitter puts it off to {self._shown(due)}", self._at, due)
        later = f", put off by its jitter to {self._shown(due)}" if due != self._at else ""
        if (most := self._schedule.max_runs) is not None:
            self._add(Kind.BOUNDS, f"the job is completed after {most:,} runs, which may be before")
            return Verdict.UPCOMING, f"{self._subject} is still to come{later}, unless max_runs ends the job before."
        return Verdict.UPCOMING, f"{self._subject} is still to come{later}."

    def _stopped(self, did: str) -> tuple[Verdict, str] | None:
        """Return the answer for a job that is set aside or completed, if it is, in the era that the instant is of."""
        job = self._job
        if self._era is None or self._era.number < job.epoch:
            return None
        if job.state is JobState.ERROR:
            said = f"the job is set aside (ERROR){_because(job.status_message)}"
            self._add(Kind.PARKED, said)
            return Verdict.NOT_ACTIVE, f"{self._subject} {did}, as {said}."
        if job.state is JobState.COMPLETED and self._at > job.covered:
            return self._completed(did)
        return None

    def _completed(self, did: str) -> tuple[Verdict, str]:
        most = self._schedule.max_runs
        said = f"after the {most:,} runs that max_runs allows" if most is not None else "with its last occurrence"
        self._add(Kind.COMPLETED, f"the job was completed {said}")
        return Verdict.NOT_ACTIVE, f"{self._subject} {did}, as the job was completed {said}."

    def _without_row(self, era: Era) -> tuple[Verdict, str]:
        job, now = self._job, self._known.now
        decided = era.number < job.epoch or (era.number == job.epoch and self._at <= job.covered)
        if decided:
            removed = self._known.removed_through
            if removed is not None and self._at <= removed:
                said = f"records of what ended before {self._shown(removed)} have been removed"
                self._add(Kind.RETENTION, said, until=removed)
                return Verdict.UNKNOWN, f"What became of {self._subject} is not known any more: {said}."
            if era.spec.schedule.max_runs is not None:
                return self._completed("did not run")
            said = "the ledger has no record of it, though it should; an audit will tell more"
            self._add(Kind.UNRECORDED, said)
            return Verdict.UNKNOWN, f"What became of {self._subject} is not known: {said}."
        if (stopped := self._stopped("did not run")) is not None:
            return stopped
        waited = span_text(now - self._at)
        self._add(Kind.DECIDED_LATE, f"it was due {waited} ago, and no beat has decided it yet", self._at)
        nobody = self._tell_no_beat(now)
        return Verdict.OVERDUE, f"{self._subject} was due {waited} ago and no beat has decided it yet{nobody}."

    def _no_occurrence(self) -> tuple[Verdict, str]:
        schedule, at = self._schedule, self._at
        missing = self._known.question.missing
        will = "does not fire" if at > self._known.now else "did not fire"
        if missing:
            self._add(Kind.CLOCK, missing)
            return Verdict.NO_OCCURRENCE, f"The job {will} then, as {missing}."
        if (excluded := excluded_at(schedule, at, self._known.name_days)) is not None:
            moved = f"; it is moved to {self._shown(excluded.moved_to)}" if excluded.moved_to is not None else ""
            self._add(Kind.EXCLUDED, f"{excluded.reason}{moved}")
            day = wall_text(self._zone.wall(second_of(at)))[:10]
            why = f"as its schedule leaves out {day} ({excluded.reason}){moved}"
            return Verdict.NO_OCCURRENCE, f"The job {will} at {self._when}, {why}."
        if (twice := repeated_at(self._zone, second_of(at))) is not None:
            other = twice.first if second_of(at) == twice.second else twice.second
            if names(schedule, instant_of(other)):
                pass_ = "first" if other == twice.first else "second"
                shown = time_text(self._zone.wall(other))
                said = f"{twice.change}: {shown} comes twice, and the schedule fires the {pass_} time only"
                self._add(Kind.CLOCK, said)
                return Verdict.NO_OCCURRENCE, f"The job {will} at {self._when}, as {said}."
        unbounded = replace(schedule, start_time=None, end_time=None)
        if names(unbounded, at):
            early = schedule.start_time is not None and at < schedule.start_time
            bound = schedule.start_time if early else schedule.end_time
            said = (
                f"before its start_time, {self._shown(bound)}" if early else f"after its end_time, {self._shown(bound)}"
            )
            self._add(Kind.BOUNDS, f"it is {said}")
            return Verdict.NO_OCCURRENCE, f"The job {will} at {self._when}, which is {said}."
        said = f"the schedule, {schedule_text(schedule)}, does not name that time"
        self._add(Kind.NOT_NAMED, said)
        return Verdict.NO_OCCURRENCE, f"The job {will} at {self._when}, as {said}."

    # Around it:

    def _tell_surroundings(self, verdict: Verdict) -> None:
        question = self._known.question
        if question.stands:
            self._add(Kind.CLOCK, f"{question.missing}; the schedule fires at the first instant after that")
        elif not question.missing and names(self._schedule, self._at):
            for remark in fire_of(self._schedule, self._at, None, name_days=self._known.name_days).remarks:
                self._add(Kind.CLOCK if remark.startswith("clocks") else Kind.EXCLUDED, remark)
        if (moved := self._moved_here()) is not None and verdict is not Verdict.UPCOMING:
            self._add(Kind.OVERRIDE, moved.moved_here, moved.at, by=moved.by)
        for other in self._known.others[:MOST_OF_A_KIND]:
            how = _AGAIN.get(other.trigger, "ran once more")
            said = f"{how}, as an execution of its own, which is {other.state}"
            since = other.started_at or other.decided_at
            self._add(Kind.RUN_AGAIN, said, since, other.finished_at, execution_id=other.execution_id)
        if self._era is not None and verdict is not Verdict.UPCOMING:
            self._tell_change(self._era)

    def _tell_change(self, era: Era) -> None:
        """Say that the job has another schedule by now, and by whom."""
        then = era.spec.schedule
        if _same_terms(then, self._job.schedule):
            return
        said = f"the schedule was {schedule_text(then)} then, and is {schedule_text(self._job.schedule)} now"
        for later in self._job.eras[self._job.eras.index(era) + 1 :]:
            if not _same_terms(later.spec.schedule, then):
                said += f"; {later.by} changed it at {self._shown(later.began)}"
                self._add(Kind.SCHEDULE_CHANGED, said, later.began, by=later.by)
                return
        self._add(Kind.SCHEDULE_CHANGED, said)

    def _add(
        self,
        kind: Kind,
        detail: str,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        by: str = "",
        execution_id: str = "",
    ) -> None:
        fact = Fact(kind, detail, since, until, by, execution_id)
        # Several executions may have waited while no worker was alive: that is said once.
        if fact not in self._facts:
            self._facts.append(fact)

    @property
    def _did(self) -> str:
        return "will not run" if self._at > self._known.now else "did not run"

    @property
    def _when(self) -> str:
        return f"{self._shown(self._at)} ({self._schedule.timezone})"

    @property
    def _subject(self) -> str:
        return f"the occurrence of {self._when}"

    def _shown(self, instant: datetime | None) -> str:
        """Write an instant by the wall clock of the schedule; one that comes twice with its offset."""
        if instant is None:
            return "an unknown time"
        second = second_of(instant)
        if repeated_at(self._zone, second) is not None:
            return fire_of(replace(self._schedule, jitter=timedelta()), instant, None).local
        return wall_text(self._zone.wall(second))


_AGAIN: Final = {
    Trigger.SCHEDULE: "run at the time that it was moved to",
    Trigger.RETRY: "retried by hand",
    Trigger.BACKFILL: "backfilled",
    Trigger.MANUAL: "executed by hand",
}


def span_text(span: timedelta) -> str:
    """Write a span in words, in the one or two units that matter: 12.3 s, 43 min 5 s, 2 h 5 min, 3 d 4 h."""
    seconds = span.total_seconds()
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{max(0.0, seconds):.1f} s".replace(".0 s", " s")
    whole = int(seconds)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    largest = next(n for n, (_, size) in enumerate(units) if whole >= size)
    (name, size), (smaller, part) = units[largest], units[largest + 1]
    rest = whole % size // part
    return f"{whole // size:,} {name}" + (f" {rest} {smaller}" if rest else "")


def schedule_text(schedule: Schedule) -> str:
    """Write a schedule's terms in short, as `0 9 * * *` (UTC)."""
    config = schedule.config
    match schedule:
        case CronSchedule(expressions=expressions):
            fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            seconds = [config["second"]] if config.get("second", "0") != "0" else []
            mapped = " ".join([*seconds, *(config.get(name, "*") for name in fields)])
            texts = expressions or (config.get("expression", mapped),)
            return f"{' or '.join(f'`{text.strip()}`' for text in texts)} ({schedule.timezone})"
        case IntervalSchedule(period=period):
            return f"every {span_text(period)}"
        case OnceSchedule():
            return f"once at {config.get('at', '')}"


def _same_terms(one: Schedule, other: Schedule) -> bool:
    def terms(schedule: Schedule) -> tuple[object, ...]:
        own = schedule.expressions if isinstance(schedule, CronSchedule) else ()
        days = schedule.exclusions.terms if schedule.exclusions is not None else None
        return schedule.type, schedule.terms, own, schedule.timezone, schedule.start_time, schedule.end_time, days

    return terms(one) == terms(other)


def _in_queue(row: Record) -> list[tuple[datetime, Step | None]]:
    """Return when an execution's message came to its queue, and the step after that; None while it waits there."""
    following = [*row.steps[1:], None]
    return [(step.at, after) for step, after in zip(row.steps, following, strict=False) if step.state is State.QUEUED]


def _within(absences: Iterable[Absence], since: datetime, until: datetime) -> list[Absence]:
    """Return those that were between two instants, the latest few."""
    return [each for each in absences if each.since < until and (each.until is None or each.until > since)][
        -MOST_OF_A_KIND:
    ]


def _error_text(error: Failure) -> str:
    return f"{error.code}{_because(error.message)}"


def _because(text: str) -> str:
    """Return what somebody wrote as the end of a sentence: on one line, cut, without a full stop; empty for nothing."""
    line = " ".join(text.split()).rstrip(".")
    cut = line if len(line) <= _LONGEST_QUOTED else line[:_LONGEST_QUOTED] + "..."
    return f": {cut}" if cut else ""
