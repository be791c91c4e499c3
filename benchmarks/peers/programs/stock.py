"""Celery's own beat: its entries are settings, and what it knows of their last runs is in a file, a shelve."""

from benchmarks.peers.programs.message import TASK, celery_app
from benchmarks.peers.programs.terms import Terms

terms = Terms.given()
app = celery_app(
    terms,
    beat_schedule={name: {"task": TASK, "schedule": every} for name, every in terms.entries()},
    beat_schedule_filename=terms.store,
)
