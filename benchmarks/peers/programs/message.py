"""The message that every peer sends: a task without arguments, persistent, to a queue that nobody consumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import Celery

if TYPE_CHECKING:
    from benchmarks.peers.programs.terms import Terms

TASK: Final = "benchmark.nothing"


def celery_app(terms: Terms, **settings: Any) -> Celery:
    """Return an app that sends to the queue that a peer was given, with what its scheduler needs beside that."""
    app = Celery("peer", broker=terms.broker)
    app.conf.update(
        task_default_queue=terms.queue,
        task_ignore_result=True,
        result_expires=None,  # or there would be one more entry, which cleans up
        broker_heartbeat=0,  # a peer that is paused while others are measured keeps its connection
        beat_max_loop_interval=terms.look,
        **settings,
    )
    app.task(name=TASK)(nothing)
    return app


def nothing() -> None:
    """Do nothing: no worker runs it."""
