"""Connections to the broker for a question."""

from __future__ import annotations

import socket

import kombu.utils.functional
import pytest

from scheduler_service.statistics.broker import connected


def test_a_broker_that_refuses_is_known_to_be_away_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(kombu.utils.functional, "sleep", waits.append)
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError), connected(f"amqp://127.0.0.1:{bound.getsockname()[1]}", 5):
            pass
    assert sum(waits) == 0
