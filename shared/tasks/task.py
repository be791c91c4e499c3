"""The class of tasks whose runs are executions of the ledger: `worker.app.AsyncTask`, and the app's default."""

from __future__ import annotations

from functools import cached_property

from celery.app.task import Task

from shared.tasks.signature import Signature


class LedgeredTask(Task):  # type: ignore[type-arg]  # celery's stubs: what it takes and returns is the function's
    """A task, of a plain function or a coroutine function."""

    abstract = True

    @cached_property
    def accepts(self) -> Signature:
        """What the function can be called with. Raises SignatureError when that can't be told."""
        return Signature(self.run)
