"""The events that tell monitors, as Flower, that a worker lives: one that cannot be sent is not repeated.

The first one on a connection still waits for RabbitMQ's answer, for as long as any question does (ANSWER_TIMEOUT).
"""

from __future__ import annotations

from typing import Any

from celery.worker import heartbeat
from celery.worker.consumer import heart


class Pulse(heartbeat.Heart):
    """Tells that the worker lives, every two seconds, as far as the broker is there.

    Celery has the thread that takes messages wait until the broker took the event, and connects anew for it. That
    thread then neither sees that its own connection is lost, nor that the worker is to stop. And it never returns if
    something else has replaced the connection before, as the check of AMQP's heartbeats does with one on which a write
    failed: kombu (5.7) makes one connection after the other, and declares the events' exchange on a channel of the
    first, for as long as the process lives. What is not sent waits, as all events do, and the thread finds the lost
    connection when it reads.
    """

    def _send(self, event: str, retry: bool = True) -> Any:  # noqa: ARG002 - as Celery has it
        return super()._send(event, retry=False)  # type: ignore[misc]  # celery's stubs leave it out


class PulseStep(heart.Heart):
    """Starts it with each connection of a consumer."""

    def start(self, c: Any) -> None:
        """Tell that the worker is there, and go on telling it."""
        c.heart = Pulse(c.timer, c.event_dispatcher, vars(self)["heartbeat_interval"])
        c.heart.start()
