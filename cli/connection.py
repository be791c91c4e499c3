"""The way to the server: the options that all commands have, and what goes wrong on the way as one sentence."""

from __future__ import annotations

import getpass
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, TypeAlias, cast

import grpc
import typer

from cli.output import plain
from shared.proto.admin_service_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT: Final = 5.0
"""Seconds that a server may take to accept the connection."""

FAILED: Final = 2

ServerOption: TypeAlias = Annotated[
    str, typer.Option("--server", envvar="SCHEDCTL_SERVER", help="Address of the scheduler's gRPC server.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
DEFAULT_SERVER: Final = "localhost:50054"


def fail(sentence: str) -> NoReturn:
    """Say why the command could not be carried out, and end with the exit code for that."""
    typer.echo(sentence, err=True)
    raise typer.Exit(FAILED)


def actor() -> tuple[tuple[str, str], ...]:
    """Return the metadata that say who asks: whoever runs the command, as this system calls them."""
    try:
        name = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user without a name, as in a container
        return ()
    return (("x-actor", name),) if name.isascii() and name.isprintable() else ()


@contextmanager
def connected(server: str) -> Iterator[AdminServiceStub]:
    """Give the service's stub. When the server, or the way to it, fails inside, the command ends with a sentence."""
    with grpc.insecure_channel(server) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT)
        except grpc.FutureTimeoutError:
            fail(f"no server answers at {plain(server)}; start it, or name another with --server or SCHEDCTL_SERVER")
        try:
            yield AdminServiceStub(channel)
        except grpc.RpcError as error:
            call = cast("grpc.Call", error)
            fail(f"{call.code().name}: {plain(call.details() or 'the server did not say why')}")
