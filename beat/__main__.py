"""Start one beat: `python -m beat`. Any number may run at once."""

from __future__ import annotations

from shared import log
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import load_settings


def main() -> None:
    """Run Celery's beat with our scheduler until it is stopped."""
    settings = load_settings()
    log.configure("celery-beat", settings.log_level, settings.log_format)
    app = make_app(settings, load_queues(settings.config_dir))
    app.Beat(scheduler=app.conf.beat_scheduler, quiet=True, loglevel=settings.log_level).run()


if __name__ == "__main__":
    main()
