"""Entries of a Celery app's `beat_schedule` as drafts of jobs; what can't become one is refused with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from shared.celery_schedules import to_terms
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JOB_ID, TASK, JobDraft, JobType, ScheduleTerms
from shared.domain.text import excerpt

Bind: TypeAlias = Callable[[str, Sequence[Any], Mapping[str, Any]], dict[str, Any]]
"""Returns the parameters of a task, by its name, for positional and named arguments; raises InvalidInput."""

_KEYS: Final = ("task", "schedule", "args", "kwargs", "options", "relative")
_KEPT_BY_CELERY: Final = ("name", "app", "last_run_at", "total_run_count")
"""What an entry has once a beat of Celery's has it: where it is in its life, which is no part of a definition."""

_OPTIONS: Final = ("queue", "priority", "expires", "time_limit")
_OF_MESSAGES: Final = frozenset({"serializer", "compression", "delivery_mode", "retry", "retry_policy", "producer"})
"""Options on how a message travels. It carries an execution's id and nothing else here, so they change nothing."""
_INSTEAD: Final = {
    "countdown": "put the delay into the schedule",
    "eta": "put the time into the schedule",
    "exchange": "name a queue instead",
    "routing_key": "name a queue instead",
    "soft_time_limit": "set it on the task",
    "ignore_result": "set it on the task",
    "task_id": "an execution's id is made from the job and its time",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an entry has, however it is kept: as a dict, or as Celery's ScheduleEntry."""

    name: str
    values: Mapping[str, Any]

    @property
    def options(self) -> Mapping[str, Any]:
        return self.values.get("options") or {}


def read_entry(
    name: str,
    given: object,
    timezone: str,
    bind: Bind,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    job_id: str = "",
) -> JobDraft:
    """Return an entry as the draft of a job. Raises InvalidInput with all that is wrong, in the entry's own words.

    timezone: the one of the app's crontabs. defaults: options that hold where the entry has none. job_id: left out, it
    is made of the name.
    """
    entry = _Entry(name, given if isinstance(given, Mapping) else dict(vars(given)))
    found = [
        Violation(str(key), f"it is not a key of an entry ({', '.join(_KEYS)})")
        for key in entry.values
        if key not in (*_KEYS, *_KEPT_BY_CELERY)
    ]
    options = {
        **{key: value for key, value in defaults.items() if value is not None},
        **{key: value for key, value in entry.options.items() if value is not None},
    }
    draft = JobDraft(
        job_id=job_id or _job_id(name, found),
        name=name,
        job_type=JobType.CUSTOM.value,
        target_service=TASK,
        target_method=_task(entry, found),
        schedule=_schedule(entry, timezone, found),
        parameters=_parameters(entry, bind, found),
        queue=_queue(options.get("queue"), found),
        priority=_priority(options.get("priority"), found),
        expires=_span("expires", options.get("expires"), found),
        timeout=_span("time_limit", options.get("time_limit"), found),
    )
    for key in sorted(options.keys() - {*_OPTIONS, *_OF_MESSAGES}):
        said = _INSTEAD.get(key, f"it is not an option of a job ({', '.join(_OPTIONS)})")
        found.append(Violation(f"options.{key}", said))
    if found:
        raise InvalidInput(found)
    return draft


def slug(name: str) -> str:
    """Return the job id that is made from a name: what is neither a letter nor a digit becomes a dash."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _job_id(name: str, found: list[Violation]) -> str:
    job_id = slug(name)
    if not JOB_ID.fullmatch(job_id):
        said = f"'{excerpt(job_id)}', made of the name, is not a job id (a-z, 0-9 and dashes, 1 to 63 characters)"
        found.append(Violation("", f"{said}; give the entry another name"))
    return job_id


def _task(entry: _Entry, found: list[Violation]) -> str:
    task = entry.values.get("task")
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str) or not name:
        found.append(Violation("task", "the name of a task is required"))
        return ""
    return name


def _schedule(entry: _Entry, timezone: str, found: list[Violation]) -> ScheduleTerms | None:
    given = entry.values.get("schedule")
    if isinstance(given, ScheduleTerms):
        return given
    try:
        return to_terms(given, timezone, relative=bool(entry.values.get("relative")))
    except InvalidInput as refused:
        found += refused.violations
        return None


def _parameters(entry: _Entry, bind: Bind, found: list[Violation]) -> Mapping[str, Any]:
    args, kwargs = entry.values.get("args") or (), entry.values.get("kwargs") or {}
    if isinstance(args, str) or not isinstance(args, Sequence):
        found.append(Violation("args", f"{excerpt(repr(args))} is not a list or tuple of arguments"))
    elif not isinstance(kwargs, Mapping):
        found.append(Violation("kwargs", f"{excerpt(repr(kwargs))} is not a dict of arguments"))
    elif task := _task(entry, []):
        try:
            return bind(task, args, kwargs)
        except InvalidInput as refused:
            found += [
                replace(wrong, field="task") if wrong.field == "target_method" else wrong
                for wrong in refused.violations
            ]
    return {}


def _queue(given: object, found: list[Violation]) -> str | None:
    name = getattr(given, "name", given)
    if name is not None and not isinstance(name, str):
        found.append(Violation("options.queue", f"{excerpt(repr(given))} is not the name of a queue"))
        return None
    return name


def _priority(given: object, found: list[Violation]) -> int | None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        found.append(Violation("options.priority", f"{excerpt(repr(given))} is not a priority (0-9)"))
        return None
    return given


def _span(option: str, given: object, found: list[Violation]) -> timedelta | None:
    expected = "not a span: expected seconds or a timedelta"
    match given:
        case None | timedelta():
            return given
        case int() | float() if not isinstance(given, bool):
            try:
                return timedelta(seconds=given)
            except (OverflowError, ValueError):
                pass
        case datetime():
            expected = "an instant, at which every later run has expired; expected seconds or a timedelta"
    found.append(Violation(f"options.{option}", f"{given!s:.80} is {expected}"))
    return None
