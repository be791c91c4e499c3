"""Start one beat: `python -m beat`. Any number may run at once."""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING

from celery import signals
from celery.apps.beat import Beat

from shared import garbage, log
from shared.tasks.app import celery_app, queues, settings
from shared.tasks.registry import load_tasks

if TYPE_CHECKING:
    from celery.beat import Service


def main() -> None:
    """Run Celery's beat with our scheduler until it is stopped."""
    argparse.ArgumentParser(
        prog="python -m beat", description="Plan what is due, until it is stopped. Configured by the environment."
    ).parse_args()
    log.configure("celery-beat", settings.log_level, settings.log_format)
    # Until the scheduler has handlers of its own, nothing has begun that would have to be ended. Not by the system's
    # default, which a container's first process lacks.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    load_tasks(celery_app, settings.task_modules, queues)
    _Beat(app=celery_app, scheduler=celery_app.conf.beat_scheduler, quiet=True, loglevel=settings.log_level).run()


@signals.beat_init.connect
def _spare_what_is_there(**_: object) -> None:
    """Before the first tick. A batch of jobs is tens of thousands of objects, which would be looked through at once."""
    garbage.spare_what_is_there()
    garbage.look_less_often()


class _Beat(Beat):
    """Celery's, but for its handlers of signals: while the scheduler is imported they would import it a second time."""

    def install_sync_handler(self, service: Service) -> None:
        """Leave them as they are."""


if __name__ == "__main__":
    main()
