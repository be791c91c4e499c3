"""Start a worker: `python -m worker [options of celery worker]`, as `--concurrency 8` or `-Q scraping,analysis`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from celery.exceptions import ImproperlyConfigured
from celery.utils.text import str_to_list

from shared.settings import pool_name, stop
from shared.tasks.app import settings
from worker.app import celery_app

ABOUT: Final = """\
A worker of the scheduler, configured by the environment. It takes the options of `celery worker`, whose help follows;
those that there is a setting for, as WORKER_POOL, win over it.

"""


def main() -> None:
    """Run Celery's worker until it is stopped."""
    if "--help" in sys.argv[1:]:
        sys.stdout.write(ABOUT)
        sys.stdout.flush()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-P", "--pool", type=pool_name)
    parser.add_argument("-n", "--hostname")
    parser.add_argument("-c", "--concurrency")
    parser.add_argument("--autoscale")
    parser.add_argument("-Q", "--queues", type=str_to_list, default=[])
    parser.add_argument("-X", "--exclude-queues", type=str_to_list, default=[])
    given, _ = parser.parse_known_args()
    configured = sorted(queue.name for queue in celery_app.conf.task_queues)
    for option, named in (("-Q", given.queues), ("-X", given.exclude_queues)):
        if unknown := sorted(set(named) - set(configured)):
            are = "is not a configured queue" if len(unknown) == 1 else "are not configured queues"
            stop(f"{option}: {', '.join(unknown)} {are} (queues.yaml in CONFIG_DIR has {', '.join(configured)})")
    pool = given.pool or settings.worker_pool
    if given.autoscale and pool != "prefork":
        stop(f"--autoscale: only the prefork pool grows and shrinks, and this is {pool}; add --pool prefork")
    if pool == "solo" and given.concurrency not in {None, "1"}:
        # Celery would take as many messages, which then wait here while other workers are free.
        stop(f"--concurrency: the solo pool runs one at a time, not {given.concurrency}")
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
