"""What modules with tasks import: `from worker.app import celery_app, AsyncTask, current_execution`.

Also the app that Celery's own commands find, as `celery -A worker.app inspect ping`. Server and beat import it too,
through those modules: what makes a process a worker is loaded when Celery starts one, and no sooner.
"""

from __future__ import annotations

from typing import Any

from celery import signals

from shared.tasks.app import celery_app
from shared.tasks.execution import current_execution
from shared.tasks.task import LedgeredTask as AsyncTask

__all__ = ["AsyncTask", "app", "celery_app", "current_execution"]

app = celery_app


@signals.celeryd_init.connect
def _become_a_worker(**_: Any) -> None:
    import worker.process  # noqa: F401, PLC0415 - see above
