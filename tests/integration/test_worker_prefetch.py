"""How a worker learns whether RabbitMQ counts what it may hold over all of its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection, Queue

from tests.acceptance.system import wait_until
from tests.builders import manage, own_vhost
from worker.prefetch import is_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.servers import Servers


@pytest.fixture
def url(servers: Servers) -> str:
    return own_vhost(servers.rabbitmq)


@pytest.fixture
def connection(url: str) -> Iterator[Any]:
    with Connection(url) as opened:
        yield opened


def test_one_limit_holds_for_all_queues_where_the_broker_is_asked_for_it(connection: Any):
    assert is_shared(connection) is True


def test_where_it_is_not_heeded_each_queue_delivers_as_many(connection: Any):
    assert is_shared(connection, ask=False) is False


def test_nothing_is_left_of_a_look(connection: Any, url: str, servers: Servers):
    is_shared(connection)
    vhost = url.rpartition("/")[2]
    wait_until(lambda: manage(servers.rabbitmq, "GET", f"queues/{vhost}") == [], "its queues are gone")
    assert connection.connected


def test_a_user_who_may_declare_our_queues_only_cannot_tell_and_works_on(url: str, servers: Servers):
    vhost = url.rpartition("/")[2]
    manage(servers.rabbitmq, "PUT", f"users/{vhost}", password="secret", tags="")
    manage(servers.rabbitmq, "PUT", f"permissions/{vhost}/{vhost}", configure="^scraping$", write=".*", read=".*")
    with Connection(url.replace("guest:guest", f"{vhost}:secret")) as restricted:
        assert is_shared(restricted) is None
        Queue("scraping", channel=restricted.default_channel).declare()
    manage(servers.rabbitmq, "DELETE", f"users/{vhost}")
