"""Start one beat: `python -m beat`. Any number may run at once."""

from __future__ import annotations

from shared import log
from shared.tasks.app import celery_app, queues, settings
from shared.tasks.registry import load_tasks


def main() -> None:
    """Run Celery's beat with our scheduler until it is stopped."""
    log.configure("celery-beat", settings.log_level, settings.log_format)
    load_tasks(celery_app, settings.task_modules, queues)
    celery_app.Beat(scheduler=celery_app.conf.beat_scheduler, quiet=True, loglevel=settings.log_level).run()


if __name__ == "__main__":
    main()
