"""Celery's remote control of workers, as `celery inspect` and Flower use it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from celery.app import control
from kombu import pidbox

if TYPE_CHECKING:
    from kombu import Queue


class Mailbox(pidbox.Mailbox):
    """Has a worker take questions from a queue of a new name each time that it connects.

    One of a fixed name may be refused for ever: 404 while the node of a cluster that has it is gone, 406 when a worker
    of the same name and another release made it otherwise. Nobody needs the name: each question goes to every queue of
    the exchange, and says which workers it is for. The queue of before expires.
    """

    def get_queue(self, hostname: str) -> Queue:
        """Return the queue from which a worker takes questions, for it to declare."""
        return super().get_queue(f"{hostname}.{uuid4().hex}")


class Control(control.Control):
    """What asks the workers, and with which a worker listens."""

    Mailbox = Mailbox
