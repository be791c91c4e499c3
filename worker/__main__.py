"""Start a worker: `python -m worker [options of celery worker]`, as `--concurrency 8` or `-Q scraping,analysis`."""

from __future__ import annotations

import os
import sys

from worker.app import celery_app, settings


def main() -> None:
    """Run Celery's worker until it is stopped."""
    given = sys.argv[1:]
    arguments = ["worker", f"--loglevel={settings.log_level}", "--without-gossip", "--without-mingle"]
    if not any(option in ("-n", "--hostname") or option.startswith("--hostname=") for option in given):
        # Several workers on one host need names that differ, or remote control takes them for one.
        arguments.append(f"--hostname=worker-{os.getpid()}@%h")
    celery_app.worker_main([*arguments, *given])


if __name__ == "__main__":
    main()
