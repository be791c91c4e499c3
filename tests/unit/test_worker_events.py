"""The events that a worker has for monitors, as Flower: sent together, and sent at all."""

from __future__ import annotations

from typing import Any

from celery.worker import loops
from kombu.asynchronous import Hub

from worker.consumer import EVENTS_TOGETHER, Consumer


class Dispatcher:
    """Stands for Celery's, which would send what it has gathered."""

    buffer_limit = 1

    def __init__(self) -> None:
        """messages: how many it has sent."""
        self.messages = 0

    def flush(self) -> None:
        self.messages += 1


def consumer_of(dispatcher: Dispatcher | None) -> tuple[Consumer, Hub]:
    consumer: Any = Consumer.__new__(Consumer)
    consumer.hub, consumer.event_dispatcher = Hub(), dispatcher
    return consumer, consumer.hub


def pass_time(hub: Hub) -> None:
    """Have the hub do what it is to do later."""
    due, hub.timer._queue[:] = list(hub.timer.queue), []
    for scheduled in due:
        if not scheduled.entry.canceled:
            scheduled.entry()


def test_events_that_come_together_are_one_message() -> None:
    dispatcher = Dispatcher()
    consumer, hub = consumer_of(dispatcher)
    for _ in range(3):
        consumer.on_send_event_buffered()
    assert (dispatcher.messages, dispatcher.buffer_limit) == (0, EVENTS_TOGETHER)
    pass_time(hub)
    assert dispatcher.messages == 1
    consumer.on_send_event_buffered()
    pass_time(hub)
    assert dispatcher.messages == 2


def test_events_are_sent_by_the_next_connection_though_the_first_was_lost_while_some_waited() -> None:
    consumer, hub = consumer_of(Dispatcher())
    consumer.on_send_event_buffered()
    celery: Any = loops
    celery._cancel_timer_entries(hub.timer, celery._timer_entries(hub.timer))  # as with a connection that failed
    vars(consumer)["event_dispatcher"] = None
    consumer.on_send_event_buffered()  # of a task that ends meanwhile
    after = vars(consumer)["event_dispatcher"] = Dispatcher()
    consumer.on_send_event_buffered()
    assert after.buffer_limit == EVENTS_TOGETHER
    pass_time(hub)
    assert after.messages == 1
