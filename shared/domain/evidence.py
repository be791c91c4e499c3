"""Evidence: what is known of one occurrence of a job, and the question that it is to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.domain.clock import instant_of, instants_of, second_of
from shared.domain.occurrences import names
from shared.domain.remarks import missing_time, names_wall, no_names, zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.execution import Failure, State, Trigger
    from shared.domain.job import JobState
    from shared.domain.plan import Spec
    from shared.domain.remarks import NameDays
    from shared.domain.schedule import Schedule

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Era:
    """A stretch of a job's life under one schedule and mode: the occurrences after `began`, until the next one began.

    by, reason: who began it, and why. number: its epoch; of a change that still waits for a beat, the epoch to come.
    """

    number: int
    spec: Spec
    began: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """That somebody asked for the end of an execution."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A transition of an execution."""

    state: State
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the ledger, as far as it explains anything: an execution, or a decision on occurrences not to run."""

    execution_id: str
    trigger: Trigger
    state: State
    nominal_time: datetime
    last: datetime
    reason: str
    decided_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    max_attempts: int = 0
    queue: str = ""
    worker: str = ""
    error: Failure | None = None
    held: bool = False
    stop: Stop | None = None
    expired: bool = False
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Absence:
    """A time when no beat was alive, or no worker of a queue; until is None while it lasts."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Job:
    """Where a job stands. schedule: as its clients see it; covered: through when its occurrences are decided.

    epoch: the one in force. eras: those around the instant that is asked for, and the changes that wait, in order.
    """

    job_id: str
    uid: str
    state: JobState
    status_message: str
    created_at: datetime
    created_by: str
    schedule: Schedule
    epoch: int
    covered: datetime
    eras: tuple[Era, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """The instant that is asked for. missing: why the clock never showed the time that it was given as.

    stands: the schedule fires at this instant for the time that is missing.
    """

    instant: datetime
    missing: str = ""
    stands: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known, as read at `now`, the database's time.

    row: the decision on the occurrence. instead: the execution that did the work of a coalesced one. before: what the
    schedule fired before it, the latest first. others: further executions for the same nominal time. no_beat: when no
    beat was alive, in order; no_worker: when no worker of a queue was, of the queues of the row and of what was before,
    without those that never had any. removed_through: see shared.store.retention.
    """

    now: datetime
    job: Job
    question: Question
    row: Record | None = None
    instead: Record | None = None
    before: tuple[Record, ...] = ()
    others: tuple[Record, ...] = ()
    no_beat: tuple[Absence, ...] = ()
    no_worker: Mapping[str, tuple[Absence, ...]] = field(default_factory=dict)
    removed_through: datetime | None = None
    name_days: NameDays = no_names


def era_at(job: Job, instant: datetime) -> Era | None:
    """Return the era that an instant belongs to; None before the job was created."""
    return next((era for era in reversed(job.eras) if era.began < instant), None)


def schedule_at(job: Job, instant: datetime) -> Schedule:
    """Return the schedule that was in force at an instant; before all that is known, the first that is."""
    era = era_at(job, instant) or next(iter(job.eras), None)
    return job.schedule if era is None else era.spec.schedule


def ask_instant(instant: datetime, schedule: Schedule) -> Question:
    """Return the question for an instant; of one in whole seconds the occurrence within that second is meant."""
    if not instant.microsecond and not names(schedule, instant):
        following = schedule.next_after(instant)
        if following is not None and following < instant + _SECOND:
            return Question(following)
    return Question(instant)


def ask_wall(wall: int, schedule: Schedule) -> Question:
    """Return the question for a wall-clock time of the schedule's zone, in seconds since 1970 on that clock.

    Of two instants at which the clock shows it, the one that the schedule names is meant, and of two such the first.
    Raises OverflowError beyond the years 1 to 9999.
    """
    where = zone_of(schedule)
    instants = [instant_of(second) for second in instants_of(where, wall)]
    for instant in instants:
        question = ask_instant(instant, schedule)
        if names(schedule, question.instant):
            return question
    if instants:
        return Question(instants[0])
    after = instant_of(where.instant(wall))
    own = names_wall(schedule, where.wall(second_of(after)))
    stands = names_wall(schedule, wall) and names(schedule, after) and not own
    return Question(after, missing_time(schedule, wall), stands)
