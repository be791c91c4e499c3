"""How a worker waits for a broker that is away."""

from __future__ import annotations

from socketserver import BaseRequestHandler, TCPServer
from threading import Thread
from typing import Any

import pytest
from celery.worker import state
from kombu import Connection
from kombu.utils import functional
from structlog.testing import capture_logs

from dev.server import free_port
from worker.consumer import Consumer

SECONDS = 120


class Over(BaseException):
    """The time that a test gives is over."""


class Broker(TCPServer):
    """One that is about to start: it takes connections, and ends them."""

    tries = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.tries += 1
        super().process_request(request, client_address)


def test_a_broker_that_is_away_for_long_is_tried_each_second_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        if passed >= SECONDS:
            raise Over

    monkeypatch.setattr(functional, "sleep", pass_time)
    consumer: Any = Consumer.__new__(Consumer)
    with Broker(("127.0.0.1", 0), BaseRequestHandler) as broker:
        Thread(target=broker.serve_forever, daemon=True).start()
        connection = Connection(f"amqp://127.0.0.1:{broker.server_address[1]}//")
        try:
            with capture_logs() as lines, pytest.raises(Over):
                consumer.ensure_connected(connection)
        finally:
            broker.shutdown()
    assert broker.tries >= SECONDS
    assert [line["action"] for line in lines] == ["broker_away"]


def test_a_worker_that_is_told_to_stop_does_not_wait_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "should_stop", 0)
    consumer: Any = Consumer.__new__(Consumer)
    with Connection(f"amqp://127.0.0.1:{free_port()}//") as connection, pytest.raises(SystemExit):
        consumer.ensure_connected(connection)
