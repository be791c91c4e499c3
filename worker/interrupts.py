"""What signals do to a process that runs attempts in its main thread: none cuts one off half-way.

The pool's own handlers raise wherever the process stands: while it claims, or writes an outcome. Whoever stops a whole
group of processes (systemd, a terminal) signals them as well, and it is for the worker to say what they hand back. In
the solo pool this process is the worker, which goes on hearing that it is to stop.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from billiard.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ENDING: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
_SOFT_LIMIT: Final = signal.SIGUSR1
"""As the pool sends it, where it was started with a soft limit for all."""


@dataclass(slots=True)
class _Process:
    """The signals of this process, if attempts run in its main thread."""

    pid: int | None = None
    is_worker: bool = False
    running: bool = False
    heeds_soft_limit: bool = False
    before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = field(default_factory=dict)


_process = _Process()


def run_in_main_thread(*, is_worker: bool) -> None:
    """Say that attempts run in this process's main thread: it is of the prefork pool, or a worker with a solo one."""
    _process.pid, _process.is_worker = os.getpid(), is_worker
    _process.running = _process.heeds_soft_limit = False
    _process.before.clear()


def in_main_thread() -> bool:
    """Return whether attempts run in this process's main thread."""
    return _process.pid == os.getpid()


@contextmanager
def attempt() -> Iterator[None]:
    """Let no signal but SIGKILL end the process while the block runs; does nothing in other processes.

    A signal to end is forgotten: whoever wants the process to end, and is not its worker, sends another. A worker's own
    is not: its handlers only note that it is to stop.
    """
    if not in_main_thread():
        yield
        return
    if not _process.before:  # not earlier: the pool sets its own after the process was initialized
        for number in () if _process.is_worker else _ENDING:
            _process.before[number] = signal.signal(number, _end_unless_running)
        _process.before[_SOFT_LIMIT] = signal.signal(_SOFT_LIMIT, _raise_where_it_is_heeded)
    _process.running = True
    try:
        yield
    finally:
        _process.running = False


@contextmanager
def heeding_soft_limit() -> Iterator[None]:
    """Let a soft time limit raise SoftTimeLimitExceeded in the block, once; in pool processes nowhere else.

    Only for the main thread, where Python handles signals.
    """
    _process.heeds_soft_limit = True
    try:
        yield
    finally:
        _process.heeds_soft_limit = False


def reach_soft_limit() -> None:
    """Raise SoftTimeLimitExceeded in the block that heeds it, if there is one, also while that waits in C.

    Called by any thread. Not left to the pool, which counts from when it gave the message away: a limit that came while
    the attempt was claimed, or waited for its turn, would be lost.
    """
    main = threading.main_thread().ident
    if _process.heeds_soft_limit and main is not None:
        signal.pthread_kill(main, _SOFT_LIMIT)


def _end_unless_running(number: int, frame: FrameType | None) -> None:
    before = _process.before.get(number)
    if not _process.running and callable(before):
        before(number, frame)


def _raise_where_it_is_heeded(_number: int, _frame: FrameType | None) -> None:
    if _process.heeds_soft_limit:
        _process.heeds_soft_limit = False
        raise SoftTimeLimitExceeded
