"""Start a worker: `python -m worker [options of celery worker]`, as `--concurrency 8` or `-Q scraping,analysis`."""

from __future__ import annotations

import argparse
import os
import sys

from celery.exceptions import ImproperlyConfigured

from shared.settings import stop
from worker.app import celery_app, settings


def main() -> None:
    """Run Celery's worker until it is stopped."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-P", "--pool")
    parser.add_argument("-n", "--hostname")
    given, _ = parser.parse_known_args()
    arguments = ["worker", f"--loglevel={settings.log_level}", "--without-gossip", "--without-mingle"]
    if not given.hostname:
        # Several workers on one host need names that differ, or remote control takes them for one.
        arguments.append(f"--hostname=worker-{os.getpid()}@%h")
    if given.pool:
        # Celery cannot tell `--pool prefork` from its own default, and would prefer the configured pool.
        celery_app.conf.worker_pool = given.pool
    try:
        celery_app.worker_main([*arguments, *sys.argv[1:]])
    except ImproperlyConfigured as wrong:
        stop(" ".join(str(wrong).partition("\n\n")[0].split()))


if __name__ == "__main__":
    main()
