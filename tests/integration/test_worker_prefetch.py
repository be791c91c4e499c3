"""How a worker learns whether RabbitMQ counts what it may hold over all of its queues."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from kombu import Queue
from structlog.testing import capture_logs

from tests.acceptance.system import wait_until
from tests.builders import manage, own_vhost
from worker import prefetch
from worker.prefetch import is_shared, warn_unless_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.servers import Servers


@pytest.fixture
def url(servers: Servers) -> str:
    return own_vhost(servers.rabbitmq)


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    with Celery(broker=url, set_as_current=False) as opened:
        yield opened


def test_one_limit_holds_for_all_queues_where_the_broker_is_asked_for_it(app: Celery):
    assert is_shared(app) is True


def test_where_it_is_not_heeded_each_queue_delivers_as_many(app: Celery):
    assert is_shared(app, ask=False) is False


def test_only_a_limit_of_each_queue_is_warned_of(app: Celery):
    with capture_logs() as logged:
        warn_unless_shared(app)
        warn_unless_shared(app, ask=False)
    (warning,) = logged
    assert (warning["action"], warning["log_level"]) == ("prefetch_per_queue", "warning")


def test_nothing_is_left_of_a_look(app: Celery, url: str, servers: Servers):
    is_shared(app)
    vhost = url.rpartition("/")[2]
    wait_until(lambda: manage(servers.rabbitmq, "GET", f"queues/{vhost}") == [], "its queues are gone")


@pytest.mark.parametrize(
    "permissions",
    [
        pytest.param({"configure": "^scraping$", "write": ".*", "read": ".*"}, id="who may declare our queues only"),
        pytest.param({"configure": ".*", "write": ".*", "read": "^scraping$"}, id="who may read our queues only"),
        pytest.param({"configure": ".*", "write": "^executions$", "read": ".*"}, id="who may write to ours only"),
    ],
)
def test_a_user_cannot_tell_leaves_nothing_and_works_on(url: str, servers: Servers, permissions: dict[str, str]):
    vhost = url.rpartition("/")[2]
    manage(servers.rabbitmq, "PUT", f"users/{vhost}", password="secret", tags="")
    manage(servers.rabbitmq, "PUT", f"permissions/{vhost}/{vhost}", **permissions)
    with Celery(broker=url.replace("guest:guest", f"{vhost}:secret"), set_as_current=False) as restricted:
        assert is_shared(restricted) is None
        wait_until(lambda: manage(servers.rabbitmq, "GET", f"queues/{vhost}") == [], "its queues are gone")
        with restricted.connection_for_write() as connection:
            Queue("scraping", channel=connection.default_channel).declare()
    manage(servers.rabbitmq, "DELETE", f"users/{vhost}")


def test_of_a_broker_that_does_not_answer_nothing_can_be_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prefetch, "PATIENCE", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Celery(broker=f"amqp://127.0.0.1:{silent.getsockname()[1]}//", set_as_current=False) as app,
    ):
        assert is_shared(app) is None
