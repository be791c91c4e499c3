"""What a worker does with connections to RabbitMQ of which one was lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery.worker.consumer.events import Events
from kombu import Connection
from structlog.testing import capture_logs

from dev.server import free_port
from shared.messaging.app import make_app
from shared.messaging.queues import Queues
from shared.settings import Settings
from tests.builders import QUEUES, manage, own_vhost
from tests.chaos.proxy import Proxy
from worker.consumer import BETWEEN_TRIES, Consumer

if TYPE_CHECKING:
    import pytest

    from dev.servers import Servers


def test_a_worker_does_not_wait_for_the_farewell_of_a_broker_that_is_gone_without_a_word(servers: Servers) -> None:
    """It connects anew, which ends the old connection of its events: that one seems open, and nobody answers on it."""
    with Proxy() as proxy, ThreadPoolExecutor() as threads:
        link = proxy.link(servers.rabbitmq.port)
        url = own_vhost(servers.rabbitmq).replace(f":{servers.rabbitmq.port}/", f":{link.port}/")
        app = make_app(Settings(celery_broker_url=url), Queues(frozenset(QUEUES.values()), QUEUES))
        consumer: Any = Consumer.__new__(Consumer)
        consumer.app, consumer.hub, consumer.hostname, consumer.amqheartbeat = app, None, "a worker", None
        consumer.on_send_event_buffered = None
        events = Events(consumer)
        consumer.connection = consumer.connect()
        events.start(consumer)
        lost = consumer.event_dispatcher
        link.hold()
        consumer.on_connection_error_after_connected(ConnectionResetError())
        given_up = not lost.connection.connected
        ended = threads.submit(events.shutdown, consumer)
        try:
            ended.result(60)
        finally:
            link.heal()
        assert given_up
        assert consumer.event_dispatcher is None


def test_a_worker_waits_for_a_broker_that_does_not_know_its_virtual_host_yet(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_vhost(servers.rabbitmq)
    vhost = url.rpartition("/")[2]
    manage(servers.rabbitmq, "DELETE", f"vhosts/{vhost}")
    waited: list[float] = []

    def pass_time(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            manage(servers.rabbitmq, "PUT", f"vhosts/{vhost}")

    monkeypatch.setattr("worker.consumer.sleep", pass_time)
    consumer: Any = Consumer.__new__(Consumer)
    with Connection(url) as connection, capture_logs() as lines:
        assert consumer.ensure_connected(connection).connected
    assert waited == [BETWEEN_TRIES] * 2
    assert [line["action"] for line in lines] == ["broker_away", "broker_back"]


def test_no_outage_is_told_of_while_another_broker_of_the_url_can_be_reached(servers: Servers) -> None:
    consumer: Any = Consumer.__new__(Consumer)
    urls = f"amqp://127.0.0.1:{free_port()}//;{servers.rabbitmq.url}"
    with Connection(urls) as connection, capture_logs() as lines:
        assert consumer.ensure_connected(connection).connected
    assert lines == []
