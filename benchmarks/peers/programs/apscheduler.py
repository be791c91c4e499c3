"""APScheduler 3 with its MongoDB store. With the argument `fill` it stores its jobs; without, it runs them."""

import sys
from urllib.parse import urlsplit

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.mongodb import MongoDBJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from benchmarks.peers.programs.terms import Terms, in_time

SEND = "benchmarks.peers.programs.sending:send"
THREADS = 10
"""Its default; one or four made no difference."""


def configured(scheduler: BaseScheduler, store: str) -> BaseScheduler:
    """Return a scheduler that drops no run: neither a late one, nor one whose job's last run has not ended.

    Runs of a job that are found late together are one, as for the other peers.
    """
    scheduler.configure(
        jobstores={"default": MongoDBJobStore(database=urlsplit(store).path.strip("/"), host=store)},
        executors={"default": ThreadPoolExecutor(THREADS)},
        job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1_000_000},
        timezone="UTC",
    )
    return scheduler


def fill(terms: Terms) -> int:
    """Store the jobs; return how many there was time for."""
    scheduler = configured(BackgroundScheduler(), terms.store)
    scheduler.start(paused=True)
    stored = 0
    for name, every in in_time(terms.entries(), terms.patience):
        scheduler.add_job(SEND, "interval", seconds=every, id=name)
        stored += 1
    scheduler.shutdown()
    return stored


def main() -> None:
    """Do what was asked for."""
    terms = Terms.given()
    if sys.argv[1:] == ["fill"]:
        print(fill(terms))
    else:
        configured(BlockingScheduler(), terms.store).start()


if __name__ == "__main__":
    main()
