"""The publisher says of each message whether the broker has it in a queue, whatever becomes of broker and queues."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from dev.server import free_port
from shared.messaging.app import RUN_EXECUTION, make_app
from shared.messaging.messages import Outgoing
from shared.messaging.publisher import BrokerAway, Publisher
from shared.messaging.queues import DEAD_LETTER, Queues
from shared.settings import Settings
from tests.builders import QUEUES, manage, own_vhost
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from dev.servers import Servers

ALL_QUEUES = Queues(frozenset({*QUEUES.values(), "manual"}), QUEUES)


@pytest.fixture
def app(servers: Servers) -> Celery:
    return make_app(Settings(celery_broker_url=own_vhost(servers.rabbitmq)), ALL_QUEUES)


@pytest.fixture
def publisher(app: Celery) -> Iterator[Publisher]:
    made = Publisher(app, ALL_QUEUES)
    yield made
    made.close()


@pytest.fixture
def channel(app: Celery) -> Iterator[Any]:
    with app.connection_for_write() as connection:
        yield connection.default_channel


def outgoing(*ids: str, queue: str = "manual") -> list[Outgoing]:
    return [Outgoing(each, queue, 5, "a job") for each in ids]


def take(channel: Any, queue: str = "manual") -> list[Any]:
    taken = []
    while (message := channel.basic_get(queue, no_ack=True)) is not None:
        taken.append(message)
    return taken


def test_all_of_a_batch_is_confirmed_and_lies_in_its_queue(publisher: Publisher, channel: Any) -> None:
    ids = [f"uid.0.{n}" for n in range(500)]
    messages = [Outgoing(each, sorted(ALL_QUEUES.names)[n % 6], n % 10, "a job") for n, each in enumerate(ids)]
    assert publisher.publish(messages) == set(ids)
    assert sum(publisher.ready_counts(sorted(ALL_QUEUES.names)).values()) == 500
    assert {m.properties["correlation_id"] for name in ALL_QUEUES.names for m in take(channel, name)} == set(ids)


def test_a_message_is_celerys_with_the_executions_id_and_nothing_that_matters(
    publisher: Publisher, channel: Any
) -> None:
    publisher.publish([Outgoing("uid.0.x", "manual", 7, "prices, daily")])
    (message,) = take(channel)
    headers = message.properties["application_headers"]
    assert (headers["task"], headers["id"], headers["shadow"]) == (RUN_EXECUTION, "uid.0.x", "prices, daily")
    assert json.loads(message.body)[:2] == [["uid.0.x"], {}]
    assert (message.properties["priority"], message.properties["delivery_mode"]) == (7, 2)


def test_higher_priorities_go_first(publisher: Publisher, channel: Any) -> None:
    publisher.publish([Outgoing(str(n), "manual", n, "a job") for n in (1, 9, 5)])
    assert [m.properties["correlation_id"] for m in take(channel)] == ["9", "5", "1"]


def test_what_goes_to_a_deleted_queue_is_not_confirmed_and_the_queue_is_there_again_for_the_next(
    publisher: Publisher, channel: Any
) -> None:
    publisher.publish(outgoing("a"))
    channel.queue_delete("manual")
    assert publisher.publish(outgoing("b") + outgoing("c", queue="scraping")) == {"c"}
    assert publisher.publish(outgoing("b")) == {"b"}


def test_a_queue_that_is_not_configured_takes_nothing_and_hurts_nobody(publisher: Publisher) -> None:
    for _ in range(3):
        assert publisher.publish(outgoing("lost", queue="nowhere") + outgoing("a")) == {"a"}


def test_a_count_of_a_deleted_queue_fails_once(publisher: Publisher, channel: Any) -> None:
    publisher.publish(outgoing("a"))
    channel.queue_delete("manual")
    with pytest.raises(BrokerAway, match="manual"):
        publisher.ready_counts(["manual"])
    assert publisher.ready_counts(["manual"]) == {"manual": 0}


def test_a_connection_that_the_broker_closed_while_idle_costs_no_message(
    publisher: Publisher, servers: Servers, app: Celery
) -> None:
    """An idle beat must not leave the first occurrence after a restart of the broker to the relay, seconds late."""
    assert publisher.publish(outgoing("a")) == {"a"}
    for connection in connections(servers, app):
        assert connection["timeout"] == 0, "it must not wait for heartbeats, which nobody sends"
        manage(servers.rabbitmq, "DELETE", f"connections/{quote(connection['name'])}")
    assert publisher.publish(outgoing("b")) == {"b"}
    assert publisher.ready_counts(["manual"]) == {"manual": 2}


Ask = Callable[[Publisher], object]
ASKED: dict[str, Ask] = {
    "confirms": lambda publisher: publisher.publish(outgoing("a")),
    "counts": lambda publisher: publisher.ready_counts(["manual"]),
    "a walk": lambda publisher: publisher.walk("manual"),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_broker_that_falls_silent_for_good_is_away(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    """The connection stays open, as to a machine that is gone behind a balancer: nothing but the time tells."""
    monkeypatch.setattr("shared.messaging.publisher.CONFIRM_TIMEOUT", timedelta(seconds=0.3))
    monkeypatch.setattr("shared.messaging.app.ANSWER_TIMEOUT", 0.3)
    with Proxy() as proxy, ThreadPoolExecutor() as threads:
        link = proxy.link(servers.rabbitmq.port)
        url = own_vhost(servers.rabbitmq).replace(f":{servers.rabbitmq.port}/", f":{link.port}/")
        publisher = Publisher(make_app(Settings(celery_broker_url=url), ALL_QUEUES), ALL_QUEUES)
        while True:  # a busy machine may not answer all in so short a time
            with suppress(BrokerAway):
                publisher.ready_counts(["manual"])
                break
        link.hold()
        try:
            assert isinstance(threads.submit(ask, publisher).exception(60), BrokerAway)
        finally:
            link.heal()
        publisher.close()


def vhost(app: Celery) -> str:
    return str(app.conf.broker_url).rpartition("/")[2]


def connections(servers: Servers, app: Celery) -> list[dict[str, Any]]:
    """Return what the broker says of the connections, which it does with a delay."""
    for _ in range(300):
        found: list[dict[str, Any]] = manage(servers.rabbitmq, "GET", f"vhosts/{vhost(app)}/connections")
        if found and all("timeout" in connection for connection in found):
            return found
        sleep(0.05)
    raise AssertionError("the broker knows of no connection")


def test_dead_letters_arrive_with_their_headers(publisher: Publisher, channel: Any) -> None:
    letters = {"uid.0.x": ({"x-error-message": "é" * 4096}, '{"a": 1}')}
    assert publisher.publish_dead_letters(letters) == {"uid.0.x"}
    (letter,) = take(channel, DEAD_LETTER)
    assert letter.properties["application_headers"]["x-error-message"] == "é" * 4096
    assert letter.body == '{"a": 1}'


def test_without_a_broker_it_says_so_and_closing_is_harmless() -> None:
    nowhere = make_app(Settings(celery_broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//"), ALL_QUEUES)
    publisher = Publisher(nowhere, ALL_QUEUES)
    with pytest.raises(BrokerAway):
        publisher.publish(outgoing("a"))
    publisher.close()
    publisher.close()
