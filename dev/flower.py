"""Start Flower when a worker answers: `python -m dev.flower [options of celery flower]`.

Flower asks the workers at its start, and would warn that every question failed when it is up before them.
"""

import os
import sys
import time

from dev.ready import worker_answering

PATIENCE = 30  # seconds for the worker; then Flower may as well warn
POLL = 0.2


def main() -> None:
    """Wait, then become Flower."""
    answering = worker_answering(os.environ["CELERY_BROKER_URL"])
    deadline = time.monotonic() + PATIENCE
    while not answering() and time.monotonic() < deadline:
        time.sleep(POLL)
    os.execv(sys.executable, [sys.executable, "-m", "celery", "-A", "worker.app", "flower", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
