"""What running executions say of their progress: kept until it is written, and told to Flower."""

from __future__ import annotations

from contextlib import suppress
from queue import Full, Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from amqp.exceptions import AMQPError
from celery.events import EventDispatcher
from kombu.exceptions import OperationalError

from shared.log import get_logger

if TYPE_CHECKING:
    from celery import Celery

    from shared.tasks.execution import Progress

log = get_logger()

EVENT: Final = "task-progress"
"""Monitors of Celery show a task with it as in the state PROGRESS, with its fields."""

_MOST_WAITING: Final = 1_000


class Said:
    """What one attempt said last. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: Progress | None = None
        self._new = False

    def put(self, progress: Progress) -> None:
        """Say it; what was said before and not taken yet is forgotten."""
        with self._lock:
            self._last, self._new = progress, True

    def take(self) -> Progress | None:
        """Return what was said since it was last taken."""
        with self._lock:
            new, self._new = self._new, False
            return self._last if new else None


class ProgressEvents:
    """Sends events in a thread of its own, which starts with the first: the broker may be away, or slow."""

    def __init__(self, app: Celery, worker: str) -> None:
        self._app = app
        self._worker = worker
        self._waiting: Queue[tuple[str, Progress]] = Queue(_MOST_WAITING)
        self._thread: Thread | None = None

    def send(self, execution_id: str, progress: Progress) -> None:
        """Hand an event over; never blocks, and may lose it. Called by one thread."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()
        with suppress(Full):
            self._waiting.put_nowait((execution_id, progress))

    def _run(self) -> None:
        away = False
        while True:
            event = self._waiting.get()
            try:
                with (
                    self._app.connection_for_write() as connection,
                    EventDispatcher(connection, self._worker, app=self._app) as dispatcher,
                ):
                    away = False
                    while True:
                        self._send(dispatcher, *event)
                        event = self._waiting.get()
            except (AMQPError, OperationalError, OSError) as error:
                if not away:
                    log.warning("progress is not told to monitors", action="progress_untold", error=str(error))
                away = True

    def _send(self, dispatcher: Any, execution_id: str, progress: Progress) -> None:
        said = {"done": progress.done, "total": progress.total, "message": progress.message}
        dispatcher.send(EVENT, uuid=execution_id, **said)
