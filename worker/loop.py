"""The asyncio loop of a worker's process: one, so that clients with pools of connections live as long as it does."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from worker.target import Cancellation


@dataclass(frozen=True, slots=True)
class Ended:
    """How a coroutine has ended: with a value, or an error. overran: it was cancelled since its time was over."""

    value: Any = None
    error: BaseException | None = None
    overran: bool = False


class TaskLoop:
    """Starts its thread with the first coroutine, so that it can be made before a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(
        self, coroutine: Coroutine[Any, Any, Any], soft: float | None, hard: float, cancelled: Cancellation
    ) -> Ended:
        """Run a coroutine to its end, in the context of the caller, which waits for it.

        After `soft` seconds it gets SoftTimeLimitExceeded where it waits; after `hard` ones, and when it is cancelled,
        CancelledError. What it makes of them is its own: this returns when it has ended.
        """
        call = _Call(coroutine, soft, hard)
        loop = self._started()
        # Both in this order, in the loop's thread. The context is this thread's, of this moment.
        loop.call_soon_threadsafe(call.start)
        cancelled.watch(lambda: loop.call_soon_threadsafe(call.cancel))
        return call.wait()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="tasks", daemon=True).start()
            return self._loop


class _Call:
    """One coroutine's run. All but wait() in the loop's thread."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], soft: float | None, hard: float) -> None:
        self._softly = _Softly(coroutine)
        self._soft = soft
        self._hard = hard
        self._overran = False
        self._timers: list[asyncio.TimerHandle] = []
        self._ended: Future[Ended] = Future()
        self._task: asyncio.Task[Ended] | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(self._end)
        if self._soft is not None:
            self._timers.append(loop.call_later(self._soft, self._interrupt))
        self._timers.append(loop.call_later(self._hard, self._overrun))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> Ended:
        while True:
            try:
                return self._ended.result()
            except SoftTimeLimitExceeded:
                # The prefork pool's signal, in the thread that waits here; the coroutine has an alarm of its own.
                continue

    async def _run(self) -> Ended:
        try:
            return Ended(await self._softly)
        except BaseException as error:  # noqa: BLE001 - also what would end the loop: SystemExit, KeyboardInterrupt
            return Ended(error=error)

    def _end(self, task: asyncio.Task[Ended]) -> None:
        for timer in self._timers:
            timer.cancel()
        if task.cancelled():  # before its first step
            self._softly.close()
            ended = Ended(error=asyncio.CancelledError())
        else:
            ended = task.result()
        self._ended.set_result(Ended(ended.value, ended.error, self._overran))

    def _interrupt(self) -> None:
        if self._task is not None:
            self._softly.interrupt(self._task)

    def _overrun(self) -> None:
        self._overran = True
        self.cancel()


class _Softly:
    """Awaits a coroutine; the cancellation that `interrupt` makes reaches it as SoftTimeLimitExceeded."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._interrupting = False

    def interrupt(self, task: asyncio.Task[Any]) -> None:
        self._interrupting = True
        task.cancel()

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            value = error = None
            try:
                value = yield step
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - whatever it is, it is for the coroutine
                error = self._translated(thrown)

    def _translated(self, thrown: BaseException) -> BaseException:
        if not self._interrupting or not isinstance(thrown, asyncio.CancelledError):
            return thrown
        self._interrupting = False
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        return SoftTimeLimitExceeded()
