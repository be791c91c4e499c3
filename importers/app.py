"""A Celery app, by the name that `celery -A` takes: its beat_schedule, and the names of its tasks' parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from celery.beat import ScheduleEntry

from importers.entries import Entry, Left
from shared.celery_schedules import zone_of
from shared.domain.errors import InvalidInput, Violation
from shared.tasks.signature import Signature, SignatureError, plain
from shared.tasks.task import routed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery import Celery

    from importers.entries import Options
    from shared.beat_schedule import Bind


class SourceError(Exception):
    """What is to be imported from can't be read; the message says why."""


def load_app(name: str) -> Celery:
    """Return the app that `module:attribute` names, with the tasks of all its modules. Raises SourceError."""
    module, _, attribute = name.partition(":")
    try:
        app = getattr(importlib.import_module(module), attribute or "app")
        app.loader.import_default_modules()
        app.finalize()
    except Exception as error:
        raise SourceError(f"--app {name}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return cast("Celery", app)


def entries_of(app: Celery) -> Iterator[Entry | Left]:
    """Return the entries of an app's beat_schedule. Raises InvalidInput when its time zone has no name."""
    timezone = zone_of(app.conf.timezone, enable_utc=app.conf.enable_utc)
    for name, given in app.conf.beat_schedule.items():
        try:
            made = given if isinstance(given, ScheduleEntry) else ScheduleEntry(**dict(given, name=name, app=app))
        except (TypeError, AttributeError) as error:
            yield Left(name, f"Celery itself can't read it: {error}")
        else:
            yield to_entry(name, made, timezone)


def to_entry(name: str, made: Any, timezone: str) -> Entry:
    """Return an entry as Celery's ScheduleEntry has it."""
    options = {key: value for key, value in (made.options or {}).items() if value is not None}
    return Entry(name, made.task, made.schedule, timezone, made.args or (), made.kwargs or {}, options)


def binding(app: Celery | None) -> Bind:
    """Return what gives positional arguments their names: the signatures of an app's tasks, if there is an app."""

    def bind(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if app is None:
            if args:
                said = "they are positional, and only the task knows their names; give the app that has it, by --app"
                raise InvalidInput([Violation("args", said)])
            return plain(kwargs, "kwargs")
        if task not in app.tasks:
            raise InvalidInput([Violation("task", f"'{task}' is not a task of the app, and would not run")])
        try:
            return Signature(app.tasks[task].run).bind(args, kwargs)
        except SignatureError as error:
            raise InvalidInput([Violation("task", f"'{task}': {error}")]) from error

    return bind


def options_of(app: Celery | None) -> Options:
    """Return what gives entries the options that they lack: the `task_routes` of an app, if there is an app."""
    return lambda task: {} if app is None else routed(app, task)
