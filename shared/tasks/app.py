"""The process's one Celery app, on which users' modules register their tasks. Importing this connects to nothing."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from celery import Celery

from shared import log as logs
from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt, writable
from shared.messaging.app import OURS, make_app
from shared.messaging.queues import load_queues
from shared.settings import load_settings
from shared.tasks import results
from shared.tasks.backend import LedgerBackend
from shared.tasks.canvas import written
from shared.tasks.options import read_options
from shared.tasks.signature import plain
from shared.tasks.submit import Submitter, ThisProcess
from shared.tasks.task import LedgeredTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery.result import AsyncResult as Result

    from shared.tasks.options import Options


class LedgeredCelery(Celery):
    """A Celery app whose tasks are executions of the ledger, unless they say otherwise."""

    task_cls = LedgeredTask  # type: ignore[assignment]  # celery's stubs know the name of a class only

    def submit(self, task: str, parameters: Mapping[str, Any], options: Mapping[str, Any]) -> Result[Any]:
        """Make an execution that calls a task, with parameters in JSON that fit it, and apply_async's options.

        Raises as LedgeredTask.apply_async does.
        """
        read = self.read_options(options)
        execution_id = read.task_id or str(uuid4())
        _this_process.submitter().submit(execution_id, task, parameters, read, written(options, self))
        submitted: Result[Any] = self.AsyncResult(execution_id, task_name=task)
        return submitted

    def read_options(self, options: Mapping[str, Any]) -> Options:
        """Check and read options of a call. Raises InvalidInput with all that is wrong."""
        return read_options(options, queues.names)

    def send_task(  # type: ignore[override]  # the names of the options are apply_async's
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result[Any]:
        """Make an execution of a task by its name, as its apply_async does.

        What is unknown to this process can't be checked against its signature, so it takes keyword arguments only; a
        worker that does not know it either fails it.
        """
        if name.startswith(OURS):
            return super().send_task(name, args, dict(kwargs or {}), **options)
        task = self.tasks.get(name)
        if isinstance(task, LedgeredTask):
            return task.apply_async(args, kwargs, **options)
        if args:
            sentence = f"{name} is not known to this process, so it takes keyword arguments only"
            raise InvalidInput([Violation("args", sentence)])
        if writable(name) != name:
            raise InvalidInput([Violation("name", f"{excerpt(repr(name))} cannot be written as UTF-8")])
        return self.submit(name, plain(kwargs or {}, "kwargs"), options)

    def cancel(self, execution_id: str) -> None:
        """Cancel an execution, as CancelExecution does. Raises Unavailable when MongoDB can't be reached."""
        _this_process.submitter().cancel(execution_id)

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """The class of the results of calls."""
        return self.subclass_with_self(results.AsyncResult)

    @cached_property
    def GroupResult(self) -> Any:  # noqa: N802 - Celery's name
        """The class of the results of groups."""
        return self.subclass_with_self(results.GroupResult)

    def _get_backend(self) -> LedgerBackend:
        # What the settings name, with chords that the ledger completes.
        return _make_backend(self)


def own_backend() -> LedgerBackend:
    """Return a result backend that nothing else has, for any number of threads to write to."""
    made = _make_backend(celery_app)
    made.prepare()
    return made


def _make_backend(app: Celery) -> LedgerBackend:
    return LedgerBackend(app=app, url=app.conf.result_backend, note_group=_note_group)


def _note_group(group: str, size: int) -> None:
    _this_process.submitter().note_group(group, size)


logs.leave_to_host()
settings: Final = load_settings()
queues: Final = load_queues(settings.config_dir, settings.extra_queues)
celery_app: Final = make_app(settings, queues, LedgeredCelery)
# For every thread: a web application asks for results in others than the one that imported this.
celery_app.set_default()

_this_process: Final = ThisProcess(lambda: Submitter(settings, queues, celery_app))
