"""The class of tasks whose runs are executions of the ledger: `worker.app.AsyncTask`, and the app's default."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery.app.task import Task

from shared.tasks import eager
from shared.tasks.canvas import refuse_celerys
from shared.tasks.execution import running
from shared.tasks.options import BROKEN
from shared.tasks.request import RequestStack
from shared.tasks.retry import Again, AskedAgain, due_of
from shared.tasks.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from celery import Celery
    from celery.result import AsyncResult


_Task: Any = Task  # celery's stubs know too little of it


class LedgeredTask(_Task):  # type: ignore[misc]
    """A task, of a plain function or a coroutine function.

    `delay` and `apply_async` make executions; `apply` and a plain call run the function here and now, as with Celery.
    """

    abstract = True

    @cached_property
    def accepts(self) -> Signature:
        """What the function can be called with. Raises SignatureError when that can't be told."""
        return Signature(self.run)

    @property
    def routed(self) -> dict[str, Any]:
        """The queue and the priority that `task_routes` of the app has for this task, if any."""
        return routed(self.app, self.name)

    @classmethod
    def on_bound(cls, app: Celery) -> None:  # noqa: ARG003 - Celery's hook
        """Keep the requests apart of coroutines that run in one thread."""
        if not isinstance(cls.request_stack, RequestStack):
            cls.request_stack = RequestStack()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; a coroutine function's coroutine is the caller's to await, but for `apply`."""
        request = self.request_stack.top
        if request is None or not request.is_eager or request._protected:  # noqa: SLF001 - Celery's mark
            return super().__call__(*args, **kwargs)
        # What apply() calls, once: what the function calls in its turn is a plain call again.
        request._protected = 1  # noqa: SLF001
        returned = self.run(*args, **kwargs)
        return eager.ended(self, returned) if inspect.iscoroutine(returned) else returned

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Make an execution that calls this task; it is in the ledger when this returns, and its message on its way.

        docs/tasks.md lists the options. One of the same task_id that is there already stands for it. Raises
        InvalidInput when the arguments do not fit the function's signature or an option is wrong, Unavailable when
        MongoDB can't be reached. Blocks for a few milliseconds.
        """
        refuse_celerys(self.name)
        args, kwargs = args or (), kwargs or {}
        given = {"task_id": task_id, "link": link, "link_error": link_error} | options
        if self.app.conf.task_always_eager:
            local: AsyncResult[Any]
            local = super().apply_async(args, kwargs, task_id, producer, link, link_error, shadow, **options)
            return local
        own = self.routed | {name: value for name, value in self._get_exec_options().items() if value is not None}
        given["shadow"] = shadow or self.shadow_name(args, kwargs, options)
        parameters = {} if given.get(BROKEN) else self.accepts.bind(args, kwargs)
        submitted: AsyncResult[Any] = self.app.submit(self.name, parameters, own | _given(given))
        ignored = given.get("ignore_result")
        # Nobody is to wait for what never comes.
        submitted.ignored = self.ignore_result if ignored is None else ignored
        return submitted

    def replace(self, sig: Any) -> Any:
        """Refuse: an execution is what it was decided to be. Call the other task, and return its id."""
        raise NotImplementedError(f"{self.name}: replace() is not supported; make a chain, a group or a chord")

    add_to_chord = replace

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: Exception | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> AskedAgain:
        """Ask to be called again, as Celery's Task.retry; `raise self.retry(...)` makes plain that nothing follows.

        The wait, default_retry_delay (180 s) if neither countdown nor eta is given, is kept in MongoDB: it survives
        restarts and holds no worker. After max_retries retries it raises exc, or MaxRetriesExceededError. Raises
        InvalidInput for a queue that is not declared, or what is no priority: nobody could send its message.
        """
        if running.get(None) is None or self.request.called_directly or self.request.is_eager:
            again: AskedAgain = super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
            return again
        most = self.max_retries if max_retries is None else max_retries
        if most is not None and self.request.retries >= most:
            if exc is not None:
                raise exc
            raise self.MaxRetriesExceededError(f"{self.name} was retried {most} times, and failed again")
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        read = self.app.read_options({name: options.get(name) for name in ("queue", "priority")})
        asked = AskedAgain(
            Again(due_of(countdown, eta), self._parameters_of_retry(args, kwargs), read.queue, read.priority), exc
        )
        running.get().asked_again.append(asked)
        if throw:
            raise asked
        return asked

    def _parameters_of_retry(
        self, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
    ) -> dict[str, Any] | None:
        """Return what the retry is called with, None for the same. What is not given anew stays as it was."""
        if args is None and kwargs is None:
            return None
        if args is not None and kwargs is not None:
            return self.accepts.bind(args, kwargs)
        return self.accepts.bind(args or (), kwargs or {}, running.get().parameters)


def routed(app: Celery, task: str) -> dict[str, Any]:
    """Return the queue and the priority that `task_routes` of an app has for a task, if any."""
    router: Any = app.amqp.router
    route = router.lookup_route(task, (), {}) or {}
    return {name: route[name] for name in ("queue", "priority") if route.get(name) is not None}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
