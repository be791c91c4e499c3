"""The tasks that there are: those that the modules in TASK_MODULES register, checked once at start."""

from __future__ import annotations

import importlib
import inspect
import traceback
from typing import TYPE_CHECKING, Any, Final

from celery.utils.time import rate

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import closest, excerpt
from shared.messaging.app import OURS
from shared.settings import stop
from shared.tasks.options import read_options
from shared.tasks.signature import SignatureError
from shared.tasks.task import LedgeredTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celery import Celery

    from shared.messaging.queues import Queues

_MOST_NAMED: Final = 20


class Tasks:
    """All tasks by name."""

    def __init__(self, tasks: Mapping[str, LedgeredTask]) -> None:
        self._tasks = dict(tasks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tasks, sorted."""
        return tuple(sorted(self._tasks))

    def get(self, name: str) -> LedgeredTask:
        """Return a task; raises InvalidInput on `target_method` when there is none of this name."""
        if name in self._tasks:
            return self._tasks[name]
        close = closest(name, self.names)
        meant = f"; did you mean {close}?" if close else ""
        more = f", and {len(self.names) - _MOST_NAMED} more" if len(self.names) > _MOST_NAMED else ""
        known = f"known: {', '.join(self.names[:_MOST_NAMED])}{more}; " if self.names else ""
        sentence = f"{excerpt(name)!r} is not a task{meant} ({known}TASK_MODULES names the modules)"
        raise InvalidInput([Violation("target_method", sentence)])

    def queue(self, name: str) -> str | None:
        """Return the queue that a task, or task_routes, names for it; None when there is none, or no such task."""
        if (task := self._tasks.get(name)) is None:
            return None
        queue = vars(type(task)).get("queue") or task.routed.get("queue")
        return None if queue is None else str(getattr(queue, "name", queue))

    def check(self, name: str, parameters: Mapping[str, Any] | None) -> None:
        """Check that a call fits the task's signature; without parameters, that there is the task.

        The parameters may have placeholders, which fit everywhere.

        Raises InvalidInput with all violations, on `target_method` or fields of `parameters`.
        """
        task = self.get(name)
        if parameters is not None:
            task.accepts.check(parameters)

    def bind(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters, in JSON, of a call with these arguments. Raises InvalidInput as check does."""
        return self.get(name).accepts.bind(args, kwargs)


def load_tasks(app: Celery, modules: Sequence[str], queues: Queues) -> Tasks:
    """Import the modules, and return what they have registered; or end the process with a sentence on all mistakes."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a user's module raises
            stop(f"TASK_MODULES: {module} can't be imported: {_said(error)}")
    registered: dict[str, Any] = {name: task for name, task in app.tasks.items() if not name.startswith(OURS)}
    if wrong := [*_mistakes(registered, queues), *_unknown_queues(app.conf.beat_schedule, queues)]:
        stop("; ".join(wrong))
    return Tasks(registered)


def _said(error: Exception) -> str:
    machinery = ("<frozen", importlib.__file__)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(machinery)]
    # The first is ours; without another one, the module was not found at all.
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _mistakes(tasks: Mapping[str, Any], queues: Queues) -> Iterable[str]:
    for name, task in tasks.items():
        if not isinstance(task, LedgeredTask):
            yield f"the task {name}: its base is not worker.app.AsyncTask, and nothing would run it"
            continue
        try:
            task.accepts  # noqa: B018 - reads the signature, once
        except SignatureError as error:
            yield f"the task {name}: {error}"
        function = getattr(task, "_orig_run", task.run)  # without what autoretry_for wraps around it
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            yield f"the task {name}: it is a generator (it has a yield), which nobody would go through; return a list"
        yield from (f"the task {name}: {wrong}" for wrong in _wrong_options(task, queues))


def _wrong_options(task: LedgeredTask, queues: Queues) -> Iterable[str]:
    options = dict(task._get_exec_options())  # noqa: SLF001 - Celery's name for them
    queue = options.pop("queue") or task.routed.get("queue")
    if queue is not None and str(getattr(queue, "name", queue)) not in queues.names:
        yield _undeclared(queue, queues)
    try:
        read_options(options, queues.names)
    except InvalidInput as refused:
        yield str(refused)
    try:
        rate(task.rate_limit)
    except (ValueError, KeyError):
        yield f"rate_limit: {task.rate_limit!r} is not a rate, as '10/s', '10/m' or '10/h'"


def _unknown_queues(schedule: Mapping[str, Mapping[str, Any]], queues: Queues) -> Iterable[str]:
    for name, entry in schedule.items():
        queue = (entry.get("options") or {}).get("queue")
        if queue is not None and queue not in queues.names:
            yield f"beat_schedule['{name}']: {_undeclared(queue, queues)}"


def _undeclared(queue: object, queues: Queues) -> str:
    known = ", ".join(sorted(queues.names))
    return f"the queue '{queue}' is not declared, in queues.yaml or by EXTRA_QUEUES (declared: {known})"
