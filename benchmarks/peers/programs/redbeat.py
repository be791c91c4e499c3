"""Celery's beat with celery-redbeat's scheduler, which keeps its entries in Redis. As a program, it stores them."""

from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

from benchmarks.peers.programs.message import TASK, celery_app
from benchmarks.peers.programs.terms import Terms, in_time

terms = Terms.given()
# Without its lock, which several beats need, and which costs a round trip for each look.
app = celery_app(terms, redbeat_redis_url=terms.store, redbeat_key_prefix=f"{terms.queue}:", redbeat_lock_key=None)


def main() -> None:
    """Store the entries, and print how many there was time for."""
    stored = 0
    for name, every in in_time(terms.entries(), terms.patience):
        RedBeatSchedulerEntry(name, TASK, schedule(every, app=app), app=app).save()
        stored += 1
    print(stored)


if __name__ == "__main__":
    main()
