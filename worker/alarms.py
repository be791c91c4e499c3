"""Alarms: call something at a time, from one thread a process, and interrupt a function that runs in another."""

from __future__ import annotations

import ctypes
import heapq
import threading
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from celery.exceptions import SoftTimeLimitExceeded

from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = get_logger()

_FEW: Final = 64


class Alarm:
    """Something to be called; off once it has been, or was cancelled."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    @property
    def off(self) -> bool:
        """Whether nothing is to be called any more."""
        return self._action is None

    def cancel(self) -> None:
        """Call nothing; one that goes off this moment may still."""
        self._action = None

    def go_off(self) -> None:
        """Call it."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Alarms:
    """Starts its thread with the first alarm, so that it can be made before a fork."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Alarm]] = []
        self._look_at = _FEW
        """How many may wait before those that are cancelled are removed."""
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], object]) -> Alarm:
        """Call `action` after a time; it is to be short, and not to raise."""
        alarm = Alarm(action)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
                self._thread.start()
            if len(self._waiting) >= self._look_at:
                # Most are cancelled long before their time: those of half an hour would be thousands.
                self._waiting = [waiting for waiting in self._waiting if not waiting[2].off]
                heapq.heapify(self._waiting)
                self._look_at = max(_FEW, 2 * len(self._waiting))
            heapq.heappush(self._waiting, (monotonic() + seconds, next(self._numbers), alarm))
            self._changed.notify()
        return alarm

    @contextmanager
    def during(self, seconds: float | None, action: Callable[[], object]) -> Iterator[None]:
        """Call `action` if the block takes longer than so many seconds."""
        alarm = None if seconds is None else self.after(seconds, action)
        try:
            yield
        finally:
            if alarm is not None:
                alarm.cancel()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > monotonic():
                    self._changed.wait(self._waiting[0][0] - monotonic() if self._waiting else None)
                _, _, alarm = heapq.heappop(self._waiting)
            try:
                alarm.go_off()
            except Exception:  # the thread has to go on for the others
                log.exception("an alarm failed", action="alarm_failed")


class Interruption:
    """Raises SoftTimeLimitExceeded in the thread that runs the block, at its next step of Python.

    A step that waits in C, for a socket or a lock, is not interrupted: the exception comes when it has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        return self

    def __exit__(self, *_raised: object) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                # One that was asked for and has not come yet would hit whoever runs in this thread next.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def interrupt(self) -> None:
        """Raise it, if the block still runs."""
        with self._lock:
            if self._thread is not None:
                raised = ctypes.py_object(SoftTimeLimitExceeded)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), raised)
