"""What the stores of other beats hold, however they hold it; and the jobs that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.beat_schedule import read_entry, slug
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JOB_ID, LONGEST_DESCRIPTION, JobDefaults, JobType, ScheduleTerms, define
from shared.json_numbers import inexact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shared.beat_schedule import Bind
    from shared.domain.job import JobDraft

Options: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Returns the options of a task, by its name, that hold where an entry names none."""

OF_CELERY: Final = "celery."
"""How the names of Celery's own tasks begin."""

_LONGEST_ID: Final = 63
_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a store.

    schedule: one of Celery's, or the terms of one of ours. options: those of the message. start_time and end_time:
    bounds of the schedule, in UTC. runs: after how many runs it ends.
    """

    name: str
    task: str
    schedule: object
    timezone: str = "UTC"
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    enabled: bool = True
    start_time: datetime | None = None
    end_time: datetime | None = None
    runs: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """An entry that becomes no job, and why. lost: it would have run, so somebody has to do something about it."""

    name: str
    why: str
    lost: bool = True


class NotKeptError(Exception):
    """An entry becomes no job; the message says why."""

    def __init__(self, why: str, *, lost: bool = True) -> None:
        super().__init__(why)
        self.lost = lost


@dataclass(frozen=True, slots=True)
class Job:
    """A job to create."""

    draft: JobDraft
    paused: bool = False


@dataclass(slots=True)
class Found:
    """All that a store holds."""

    jobs: list[Job] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def collect(entries: Iterable[Entry | Left], bind: Bind, now: datetime, options: Options = lambda _: {}) -> Found:
    """Return the jobs that entries make at `now` (UTC), and what is left, with reasons."""
    found = Found()
    taken: set[str] = set()
    for entry in entries:
        # Of whatever becomes no job too: else what looks like its name would have its id until it becomes one.
        taken.add(identity := job_id(entry.name, taken))
        if isinstance(entry, Left):
            found.left.append(entry)
            continue
        if (why := _over(entry, now)) is not None:
            found.left.append(Left(entry.name, why, lost=False))
            continue
        try:
            draft = _draft(entry, bind, options, now, identity)
        except InvalidInput as refused:
            found.left.append(Left(entry.name, str(refused)))
            continue
        found.jobs.append(Job(draft, paused=not entry.enabled))
    return found


def job_id(name: str, taken: Iterable[str] = ()) -> str:
    """Return the id of a job that is made from a name: its slug, with a hash of the name where that is no id, or taken.

    The same names in the same order make the same ids, so that an import can be repeated.
    """
    made = slug(name)
    if JOB_ID.fullmatch(made) and made not in taken:
        return made
    digest = sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{made[: _LONGEST_ID - _DIGITS - 1].strip('-') or 'job'}-{digest}"


def _over(entry: Entry, now: datetime) -> str | None:
    """Return why an entry will never run again, if it will not."""
    if entry.task.startswith(OF_CELERY):
        return f"{entry.task} is a task of Celery's own; what it cleans up, Redis does by itself"
    if entry.end_time is not None and entry.end_time <= now:
        return f"it ended at {_shown(entry.end_time)}"
    return None


def _draft(entry: Entry, bind: Bind, options: Options, now: datetime, identity: str) -> JobDraft:
    values = {
        "task": entry.task,
        "schedule": entry.schedule,
        "args": entry.args,
        "kwargs": entry.kwargs,
        "options": entry.options,
    }
    draft = read_entry(entry.name, values, entry.timezone, bind, options(entry.task), identity)
    takes = "which a parameter annotated `int` takes"
    if found := [Violation(path, f"{said}, {takes}") for path, said in inexact(draft.parameters, "parameters")]:
        raise InvalidInput(found)
    terms = draft.schedule
    if not isinstance(terms, ScheduleTerms):
        raise InvalidInput([Violation("schedule", "a schedule is required")])
    terms = replace(
        terms,
        start_time=entry.start_time or terms.start_time,
        end_time=entry.end_time or terms.end_time,
        max_runs=entry.runs or terms.max_runs,
    )
    # Lines that were written in a browser, as in Django's admin, end with CRLF, and no job's description has a CR.
    description = entry.description.replace("\r\n", "\n").strip()[:LONGEST_DESCRIPTION]
    draft = replace(draft, schedule=terms, description=description)
    # Which queues there are, only the service knows.
    queue = draft.queue or "default"
    define(draft, JobDefaults(frozenset({queue}), {JobType.CUSTOM: queue}), now)
    return draft


def _shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
