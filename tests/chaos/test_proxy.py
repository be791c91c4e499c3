"""The proxy does to a connection what it says, and to no other."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dev.server import HOST
from tests.chaos.proxy import Link, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        with closing(connection):
            while data := connection.recv(1024):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link(echo: int) -> Iterator[Link]:
    with Proxy() as proxy:
        yield proxy.link(echo)


def connect(link: Link) -> socket.socket:
    return socket.create_connection((HOST, link.port), timeout=5)


def answer(connection: socket.socket, text: bytes = b"hello") -> bytes:
    connection.sendall(text)
    return connection.recv(1024)


def ends(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection, or does so at the next word."""
    try:
        return answer(connection) == b""
    except ConnectionError:
        return True


def test_it_passes_on_what_is_said_in_both_directions(link: Link):
    with connect(link) as connection:
        assert answer(connection) == b"hello"


def test_a_delayed_answer_comes_after_both_delays(link: Link):
    with connect(link) as connection:
        answer(connection)
        link.delay(0.1)
        began = time.monotonic()
        assert answer(connection) == b"hello"
        assert time.monotonic() - began >= 0.2


def test_what_is_held_arrives_when_it_is_healed(link: Link):
    with connect(link) as connection:
        answer(connection)
        link.hold()
        connection.sendall(b"held")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1024)
        link.heal()
        connection.settimeout(5)
        assert connection.recv(1024) == b"held"


def test_a_cut_resets_the_connection_and_every_new_one_until_healed(link: Link):
    with connect(link) as connection:
        answer(connection)
        link.cut()
        assert ends(connection)
    with connect(link) as connection:
        assert ends(connection)
    link.heal()
    with connect(link) as connection:
        assert answer(connection) == b"hello"


def test_a_severed_connection_is_reset_and_a_new_one_is_welcome(link: Link):
    with connect(link) as connection:
        answer(connection)
        link.sever()
        assert ends(connection)
    with connect(link) as connection:
        assert answer(connection) == b"hello"


def test_a_link_whose_store_is_away_resets_and_serves_again_when_it_is_back(link: Link, echo: int):
    upstream, link.upstream = link.upstream, 1
    with connect(link) as connection:
        assert ends(connection)
    link.upstream = upstream
    with connect(link) as connection:
        assert answer(connection) == b"hello"
    assert upstream == echo
