"""What a job of APScheduler does: it sends the message that the entries of Celery's beats stand for."""

from benchmarks.peers.programs.message import TASK, celery_app
from benchmarks.peers.programs.terms import Terms

app = celery_app(Terms.given())


def send() -> None:
    """Send it."""
    app.tasks[TASK].apply_async()
