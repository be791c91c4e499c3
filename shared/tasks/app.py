"""The process's one Celery app, on which users' modules register their tasks. Importing this connects to nothing."""

from __future__ import annotations

from typing import Final

from celery import Celery

from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import load_settings
from shared.tasks.task import LedgeredTask


class LedgeredCelery(Celery):
    """A Celery app whose tasks are executions of the ledger, unless they say otherwise."""

    task_cls = LedgeredTask  # type: ignore[assignment]  # celery's stubs know the name of a class only


settings: Final = load_settings()
queues: Final = load_queues(settings.config_dir, settings.extra_queues)
celery_app: Final = make_app(settings, queues, LedgeredCelery)
# For every thread: a web application asks for results in others than the one that imported this.
celery_app.set_default()
