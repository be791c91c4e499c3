"""Celery's copies, in Redis, of successes that no code waits for: those of a tenth of a second are written together."""

from __future__ import annotations

from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shared.tasks.results import ResultCopy

GATHERING: Final = 0.1
"""Seconds that a copy waits for others."""
ENOUGH: Final = 1_000_000
"""Characters of copies that are written at once."""
TOO_MUCH: Final = 16_000_000
"""Characters of copies that are held, for the seconds that a write takes to fail. No more are taken then."""
TOGETHER: Final = 200
"""Copies in one command, so that it holds up nobody else at Redis."""
ENDING: Final = 5.0
"""Seconds in which the last ones are written when the worker ends."""


class Copies:
    """Takes copies from the slots, and writes them in a thread of its own.

    It is for what anybody may look at and nobody waits for: what fires by schedule or is started by hand. A worker that
    dies takes what waits with it, and what Redis does not take is gone, a group of copies at a time. Of what code has
    called and waits for, the copy is written before the message is acknowledged.
    """

    def __init__(self, results: ResultCopy) -> None:
        self._results = results
        self._changed = Condition()
        self._waiting: list[tuple[Any, str]] = []
        self._size = 0
        """Characters of what waits and of what is being written."""
        self._stopped = False
        self._thread = Thread(target=self._run, name="copies", daemon=True)

    def start(self) -> None:
        """Begin to take and write; nothing is taken before."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end. Nothing is taken afterwards."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(ENDING)

    def put(self, execution_id: str, result: Any, request: Any = None) -> bool:
        """Take the success of an execution, with its result and its message's request; return whether it was taken."""
        if not self._takes():
            return False
        key, value = self._results.success(execution_id, result, request)
        with self._changed:
            if not self._takes(len(value)):
                return False
            self._waiting.append((key, value))
            self._size += len(value)
            if len(self._waiting) == 1 or self._size > ENOUGH:
                self._changed.notify()
        return True

    def _takes(self, size: int = 0) -> bool:
        # A thread that has ended by a mistake of ours takes nothing: then each slot writes for itself.
        return self._thread.is_alive() and not self._stopped and self._size + size <= TOO_MUCH

    def _run(self) -> None:
        stopped = False
        while not stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                self._changed.wait_for(lambda: self._size > ENOUGH or self._stopped, GATHERING)
                taken, self._waiting, stopped = self._waiting, [], self._stopped
            for begin in range(0, len(taken), TOGETHER):
                self._results.write_together(taken[begin : begin + TOGETHER])
            with self._changed:
                self._size -= sum(len(value) for _, value in taken)
