"""Several servers together: started, stopped, or lent to a test, at the same time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.mongodb import mongodb
from dev.rabbitmq import install_rabbitmq, rabbitmq, server_script
from dev.redis import redis_server
from dev.server import POLL, Server


@dataclass(frozen=True)
class Servers:
    """Three running private servers."""

    mongodb: Server
    rabbitmq: Server
    redis: Server

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead our processes to them."""
        return {
            "MONGODB_URL": self.mongodb.url,
            "CELERY_BROKER_URL": self.rabbitmq.url,
            "CELERY_RESULT_BACKEND": self.redis.url,
        }


@contextmanager
def private_servers(folder: Path, *, replica_set: str = "") -> Iterator[Servers]:
    """Start all three at the same time, on free ports, with their data below `folder`; kill them at the end.

    Killed, since nobody reads the data of private servers after them, and RabbitMQ takes seconds to stop.
    RabbitMQ is installed first where it is missing and can be. Raises ServerError, after killing the others, when one
    does not come up.
    """
    if server_script() is None:
        install_rabbitmq()
    servers = Servers(
        mongodb(folder / "mongodb", replica_set=replica_set),
        rabbitmq(folder / "rabbitmq"),
        redis_server(folder / "redis"),
    )
    everyone = (servers.mongodb, servers.rabbitmq, servers.redis)
    try:
        start_together(everyone)
        yield servers
    finally:
        for server in everyone:
            server.kill()


def start_together(servers: Sequence[Server]) -> None:
    """Start all at the same time; on any error, Ctrl-C among them, kill what was started, and raise it."""
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        starts = [pool.submit(server.start) for server in servers]
        try:
            for start in starts:
                start.result()
        except BaseException:
            starting = set(starts)
            while starting:  # as a thread may only now begin to start one
                starting = wait(starts, timeout=POLL).not_done
                for server in servers:  # those still starting notice it, so that the pool ends at once
                    server.kill()
            raise


def stop_together(servers: Sequence[Server]) -> None:
    """Stop all at the same time; returns when they are gone."""
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        list(pool.map(Server.stop, servers))
