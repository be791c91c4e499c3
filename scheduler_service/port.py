"""The port that the server listens on: had by one process alone, or by the processes of one server together."""

from __future__ import annotations

import errno
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class PortTakenError(Exception):
    """The port can't be had; the message is a sentence."""

    @classmethod
    def of(cls, host: str, port: int, error: Exception) -> PortTakenError:
        """Return what an attempt to listen that failed has told."""
        if isinstance(error, OSError) and error.errno not in {errno.EADDRINUSE, None}:
            return cls(f"cannot listen on {host}:{port}: {error.strerror}; set BIND_HOST or GRPC_PORT")
        return cls(f"port {port} on {host} is taken: end what listens there, or set GRPC_PORT")


def check(host: str, port: int) -> None:
    """Raise PortTakenError when the address can't be listened on by us alone."""
    try:
        with closing(_socket(host, port)) as probe:
            probe.listen(1)
    except OSError as error:
        raise PortTakenError.of(host, port, error) from None


@contextmanager
def held(host: str, port: int) -> Iterator[None]:
    """Keep the port for processes that share it meanwhile: no other server can take it. Raises PortTakenError.

    By a socket that is bound and does not listen, so that it gets none of the connections. Who does not share can't
    bind the port beside it, and those who would share it elsewhere look first, as this does, whether they could have
    it alone.
    """
    check(host, port)
    try:
        holder = _socket(host, port, shared=True)
    except OSError as error:
        raise PortTakenError.of(host, port, error) from None
    with closing(holder):
        yield


def _socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
