"""The prefork pool, which notices a dead process at once, and does not wait for ever for one that does not end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from celery.concurrency.asynpool import AsynPool

if TYPE_CHECKING:
    from billiard.process import BaseProcess
    from kombu.asynchronous import Hub

    from worker.stopping import Stopping

AGAIN: Final = 0.05
"""Seconds between two looks at a process that is ending."""
LAST: Final = 8.0
"""Seconds after the grace of a stopping worker until its processes are killed.

Their own keepers end them earlier (OVERSTAY), but one whose function never lets another thread run.
"""


class Pool(AsynPool):
    """Celery's, but for the time between the end of a process and the pool's knowledge of it."""

    def _event_process_exit(self, hub: Hub, proc: BaseProcess) -> None:
        """Be told that a process has closed its files: that is before it can be reaped, the more so with threads.

        Celery looks once, mostly too soon, and then not until its next round of the pool, every five seconds.
        """
        ending: Any = super()
        ending._event_process_exit(hub, proc)  # noqa: SLF001 - overridden here
        if proc.exitcode is None:
            hub.call_later(AGAIN, self._event_process_exit, hub, proc)

    def kill_after_grace(self, stopping: Stopping) -> None:
        """Kill the processes that have still not ended when the grace of their stopping worker is long over.

        In a thread: meanwhile the main one waits for them.
        """
        Thread(name="pool-grace", target=self._kill_after, args=(stopping,), daemon=True).start()

    def _kill_after(self, stopping: Stopping) -> None:
        while (ends_at := stopping.ends_at) is None or monotonic() < ends_at + LAST:
            sleep(AGAIN)
        for process in list(vars(self)["_pool"]):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
