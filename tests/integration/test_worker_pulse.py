"""Telling monitors that a worker lives, on a connection to RabbitMQ that has broken: the worker goes on."""

from __future__ import annotations

from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.worker.consumer import heart
from kombu.asynchronous.timer import Timer

from tests.acceptance.system import wait_until
from tests.chaos.proxy import Link, Proxy
from worker.consumer import Consumer
from worker.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery.events import EventDispatcher

    from dev.servers import Servers


@pytest.fixture
def link(servers: Servers) -> Iterator[Link]:
    with Proxy() as proxy:
        yield proxy.link(servers.rabbitmq.port)


@pytest.fixture
def dispatcher(servers: Servers, link: Link) -> Iterator[EventDispatcher]:
    """What sends a worker's events, on a connection of its own; made as Celery's consumer makes it."""
    url = servers.rabbitmq.url.replace(f":{servers.rabbitmq.port}", f":{link.port}")
    with (
        Celery(broker=url, set_as_current=False) as app,
        app.connection_for_write(heartbeat=10) as connection,
    ):
        yield app.events.Dispatcher(connection, hostname="worker", buffer_group=["task"])


def replace_connection(dispatcher: EventDispatcher, link: Link) -> None:
    """Break the connection, and have it made anew behind the dispatcher's back, as it goes in a worker."""
    connection: Any = dispatcher.connection

    def write_fails() -> bool:
        dispatcher.send("task-started", uuid="an execution")
        dispatcher.flush(errors=False)
        return not connection.connected

    link.sever()
    wait_until(write_fails, "a write on the broken connection has failed", 60)
    connection.heartbeat_check()
    assert connection.connected


@pytest.mark.timeout(180)
def test_a_pulse_on_a_connection_that_was_replaced_does_not_keep_a_worker_from_its_messages(
    dispatcher: EventDispatcher, link: Link
):
    pulse = Pulse(Timer(), dispatcher)
    pulse.start()
    replace_connection(dispatcher, link)
    beats = Thread(target=pulse._send, args=("worker-heartbeat",), daemon=True)
    beats.start()
    beats.join(30)
    assert not beats.is_alive()


def test_a_worker_has_that_pulse_and_not_celerys(dispatcher: EventDispatcher):
    steps = Consumer.Blueprint().claim_steps().values()
    (step,) = (step for step in steps if issubclass(step, heart.Heart))
    consumer = SimpleNamespace(timer=Timer(), event_dispatcher=dispatcher)
    step(consumer).start(consumer)
    assert isinstance(consumer.heart, Pulse)
