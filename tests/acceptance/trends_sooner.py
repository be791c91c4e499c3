"""The part of examples/trends' schedule that is Celery's, sooner: named after its module in TASK_MODULES."""

from __future__ import annotations

from datetime import timedelta

import examples.trends.tasks  # noqa: F401 - its entries
from worker.app import celery_app

for name, seconds in {"reddit-every-15-minutes": 4, "queue-depths": 2}.items():
    celery_app.conf.beat_schedule[name]["schedule"] = timedelta(seconds=seconds)
