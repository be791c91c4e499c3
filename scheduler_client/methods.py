"""The methods that both clients have: one table, for calls that block and for calls that are awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from scheduler_client import calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from scheduler_client.call import Call, Pages, Stream

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(ABC):
    """Makes calls, and returns when they are answered."""

    @abstractmethod
    def call(self, call: Call[T]) -> T:
        """Make a call; return its result."""

    @abstractmethod
    def entries(self, pages: Pages[T]) -> Iterator[T]:
        """Ask for page after page; return their entries."""

    @abstractmethod
    def stream(self, stream: Stream[T]) -> Iterator[T]:
        """Return the messages of a stream."""


class Awaiting(ABC):
    """Makes calls whose answers are awaited."""

    @abstractmethod
    async def call(self, call: Call[T]) -> T:
        """Make a call; return its result."""

    @abstractmethod
    def entries(self, pages: Pages[T]) -> AsyncIterator[T]:
        """Ask for page after page; return their entries."""

    @abstractmethod
    def stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Return the messages of a stream."""


class _Method(Generic[P]):
    """Is a method of whichever client it is asked of: makes the value that says what to ask, and has the client ask."""

    def __init__(self, build: Callable[P, Any], how: str) -> None:
        self._build = build
        self._how = how
        self.__doc__ = build.__doc__

    def _bound(self, client: Blocking | Awaiting) -> Any:
        ask = getattr(client, self._how)

        @wraps(self._build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return ask(self._build(*args, **kwargs))

        return method


class _One(_Method[P], Generic[P, T]):
    def __init__(self, build: Callable[P, Call[T]]) -> None:
        super().__init__(build, "call")

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> Any:
        return self if client is None else self._bound(client)


class _Many(_Method[P], Generic[P, T]):
    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> Any:
        return self if client is None else self._bound(client)


def _pages(build: Callable[P, Pages[T]]) -> _Many[P, T]:
    return _Many(build, "entries")


def _stream(build: Callable[P, Stream[T]]) -> _Many[P, T]:
    return _Many(build, "stream")


class Methods:
    """What can be asked of the scheduler."""

    create_job = _One(calls.jobs.create_job)
    get_job = _One(calls.jobs.get_job)
    jobs = _pages(calls.jobs.jobs)
    update_job = _One(calls.jobs.update_job)
    pause_job = _One(calls.jobs.pause_job)
    resume_job = _One(calls.jobs.resume_job)
    delete_job = _One(calls.jobs.delete_job)
    undelete_job = _One(calls.jobs.undelete_job)
    status = _One(calls.jobs.status)
    create_jobs = _One(calls.jobs.create_jobs)
    pause_jobs = _One(calls.jobs.pause_jobs)
    resume_jobs = _One(calls.jobs.resume_jobs)
    import_jobs = _One(calls.jobs.import_jobs)
    export_jobs = _pages(calls.jobs.export_jobs)
    watch_jobs = _stream(calls.jobs.watch_jobs)

    run = _One(calls.executions.run)
    get_execution = _One(calls.executions.get_execution)
    executions = _pages(calls.executions.executions)
    cancel = _One(calls.executions.cancel)
    retry = _One(calls.executions.retry)
    wait = _One(calls.executions.wait)
    watch_executions = _stream(calls.executions.watch_executions)

    preview = _One(calls.planning.preview)
    describe = _One(calls.planning.describe)
    explain = _One(calls.planning.explain)
    skip_occurrence = _One(calls.planning.skip_occurrence)
    move_occurrence = _One(calls.planning.move_occurrence)
    restore_occurrence = _One(calls.planning.restore_occurrence)
    create_backfill = _One(calls.planning.create_backfill)
    get_backfill = _One(calls.planning.get_backfill)
    backfills = _pages(calls.planning.backfills)
    pause_backfill = _One(calls.planning.pause_backfill)
    resume_backfill = _One(calls.planning.resume_backfill)
    cancel_backfill = _One(calls.planning.cancel_backfill)
    forecast = _One(calls.planning.forecast)

    register_target = _One(calls.targets.register_target)
    unregister_target = _One(calls.targets.unregister_target)
    targets = _pages(calls.targets.targets)
    describe_target = _One(calls.targets.describe_target)
    test_target = _One(calls.targets.test_target)

    statistics = _One(calls.statistics.statistics)
    queues = _One(calls.statistics.queues)
    workers = _One(calls.statistics.workers)

    audit = _stream(calls.operations.audit)
    dead_letters = _pages(calls.operations.dead_letters)
    retry_dead_letters = _One(calls.operations.retry_dead_letters)
    discard_dead_letters = _One(calls.operations.discard_dead_letters)
    diagnose = _One(calls.operations.diagnose)
