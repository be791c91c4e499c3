"""What modules with tasks import: `from worker.app import celery_app, AsyncTask, current_execution`.

Also the app that Celery's own commands find, as `celery -A worker.app inspect ping`. Server and beat import it too,
through those modules: what makes a process a worker is loaded when Celery starts one, and no sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals
from celery.concurrency import get_implementation

from shared.tasks.app import celery_app, settings
from shared.tasks.execution import current_execution
from shared.tasks.task import LedgeredTask as AsyncTask

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AsyncTask", "app", "celery_app", "current_execution"]

app = celery_app


def name_of_pool(pool: type) -> str:
    """Return the name that `--pool` has for a class of Celery's."""
    return pool.__module__.rpartition(".")[2].replace("thread", "threads")


@signals.celeryd_init.connect
def _become_a_worker(conf: Any, options: Mapping[str, Any], **_: Any) -> None:
    # Not sooner: of what names a pool its option wins, but for `prefork`, which Celery can't tell from its default, and
    # Celery reads that only now. What its option for the number says wins over this.
    pool = get_implementation(options.get("pool") or conf.worker_pool)
    conf.worker_concurrency = settings.concurrency(name_of_pool(pool))
    import worker.process  # noqa: F401, PLC0415 - see above
