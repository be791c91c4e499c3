"""A peer: another scheduler, with its entries stored, as a process of its own that can be started and measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kombu import Connection

from benchmarks.peers.environment import python, version
from benchmarks.peers.postgresql import private_postgresql
from benchmarks.peers.programs.terms import Terms
from benchmarks.processor import seconds_of_all
from dev.run import ROOT
from dev.server import Program, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dev.servers import Servers

PROGRAMS: Final = "benchmarks.peers.programs"
PATIENCE: Final = 300.0
"""Seconds that filling a peer's store may take, and that its first message may be waited for."""
POLL: Final = 0.01
FEWEST: Final = 5
"""Messages that a rate is taken of, at least, unless they take longer than LONGEST."""
LONGEST: Final = 30.0


class Store(Enum):
    """Where a peer keeps its entries."""

    FILE = "a file"
    MONGODB = "MongoDB"
    POSTGRESQL = "PostgreSQL"
    REDIS = "Redis"


@dataclass(frozen=True)
class Peer:
    """A scheduler that is measured beside ours.

    distribution: its name on PyPI. promise: what is known of a fire besides its message, for people. fill, run: the
    arguments of its environment's interpreter that store its entries, and that start it; fill is empty when its entries
    are its settings.
    """

    name: str
    distribution: str
    store: Store
    promise: str
    fill: Sequence[str]
    run: Sequence[str]

    @property
    def title(self) -> str:
        """Its name, version and store, for people."""
        return f"{self.name} {version(self.distribution)} on {self.store.value}"


def _beat(program: str, *arguments: str) -> Sequence[str]:
    return ("-m", "celery", "-A", f"{PROGRAMS}.{program}", "beat", "-l", "WARNING", "--pidfile=", *arguments)


STOCK: Final = Peer(
    "celery beat",
    "celery",
    Store.FILE,
    "the file is written every three minutes",
    fill=(),
    run=_beat("stock"),
)
REDBEAT: Final = Peer(
    "celery-redbeat",
    "celery-redbeat",
    Store.REDIS,
    "Redis knows of it, and saves when it is stopped",
    fill=("-m", f"{PROGRAMS}.redbeat"),
    run=_beat("redbeat", "-S", "redbeat.RedBeatScheduler"),
)
APSCHEDULER: Final = Peer(
    "APScheduler",
    "apscheduler",
    Store.MONGODB,
    "the job is stored after its run was handed to a thread, and the journal not waited for",
    fill=("-m", f"{PROGRAMS}.apscheduler", "fill"),
    run=("-m", f"{PROGRAMS}.apscheduler"),
)
DJANGO: Final = Peer(
    "django-celery-beat",
    "django-celery-beat",
    Store.POSTGRESQL,
    "the database is told every three minutes",
    fill=("-m", f"{PROGRAMS}.django"),
    run=_beat("django", "-S", "django_celery_beat.schedulers:DatabaseScheduler"),
)


class Rate(NamedTuple):
    """How fast a peer fires, in messages a second, and what a message takes, in microseconds of all processors.

    Its servers' share is in that; what its store does while nothing is measured is not.
    """

    fires: float
    processor: float


class Running:
    """A peer whose entries are stored, and its queue, which nobody consumes. `server` is yet to be started.

    queue: its name. stored: how many entries there was time to store.
    """

    def __init__(self, server: Server, stored: int, queue: str, broker: Server, store: Server | None) -> None:
        self.server = server
        self.stored = stored
        self.queue = queue
        self._connection = Connection(broker.url, heartbeat=0)
        channel: Any = self._connection.default_channel  # the stubs know none of its methods
        self._channel = channel
        self._channel.queue_declare(queue, durable=True, auto_delete=False)
        self._working = (server, broker) if store is None else (server, broker, store)

    def start(self) -> float:
        """Start it; return the seconds until its first message was in the queue."""
        began = time.monotonic()
        self.server.start()
        while not self.sent():
            if not self.server.running or time.monotonic() > began + PATIENCE:
                sys.exit(f"error: {self.server.name} sends nothing:\n{self.server.log.read_text()}")
            time.sleep(POLL)
        return time.monotonic() - began

    def sent(self) -> int:
        """Return how many messages are in the queue, which the broker counts as they come."""
        return int(self._channel.queue_declare(self.queue, passive=True).message_count)

    def purge(self) -> None:
        """Empty the queue."""
        self._channel.queue_purge(self.queue)

    def rate(self, warm_up: float, seconds: float) -> Rate:
        """Let it run, if it was paused, for the seconds given; return how it did, the seconds of the warm-up left out.

        One that is slow runs longer, for a few messages; one that sends none within half a minute gets the rate of one
        that did. It is paused afterwards, so that others can be measured.
        """
        self.purge()
        self.server.resume()
        time.sleep(warm_up)
        before, used, began = self.sent(), self._used(), time.monotonic()
        time.sleep(seconds)
        while (sent := self.sent() - before) < FEWEST and time.monotonic() < began + LONGEST:
            time.sleep(POLL)
        used, took = self._used() - used, time.monotonic() - began
        self.server.pause()
        return Rate(max(sent, 1) / took, used / max(sent, 1) * 1e6)

    def _used(self) -> float:
        return sum(seconds_of_all(server.pid) for server in self._working)

    def close(self) -> None:
        """Kill it."""
        self.server.kill()
        self._connection.release()


@contextmanager
def loaded(
    peer: Peer,
    servers: Servers,
    folder: Path,
    *,
    due: int = 0,
    every: float = 1.0,
    resting: int = 0,
    look: float = 0.5,
) -> Iterator[Running]:
    """Store a peer's entries, in a database and queue of its own, and kill it at the end.

    due: entries that fire every `every` seconds. resting: those that fire once a day. look: the most seconds that it
    sleeps between two looks at its store.
    """
    folder.mkdir(parents=True)
    queue = f"peer-{folder.name}"
    with ExitStack() as stack:
        store: Server | None = None
        address = str(folder / "schedule")
        match peer.store:
            case Store.MONGODB:
                store, address = servers.mongodb, f"{servers.mongodb.url.rpartition('/')[0]}/{queue}"
            case Store.REDIS:
                store, address = servers.redis, servers.redis.url
            case Store.POSTGRESQL:
                store = stack.enter_context(private_postgresql())
                address = store.url
        terms = Terms(
            broker=servers.rabbitmq.url,
            queue=queue,
            store=address,
            due=due,
            every=every,
            resting=resting,
            look=look,
            patience=PATIENCE,
        )
        environment = {**terms.environment, "PYTHONPATH": str(ROOT)}
        stored = due + resting
        if peer.fill:
            fill = subprocess.run(
                [python(), *peer.fill], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if fill.returncode:
                sys.exit(f"error: {peer.title} cannot store its entries:\n{fill.stderr}")
            stored = int(fill.stdout.split()[-1])
        server = Server(
            Program(
                name=peer.name,
                url=servers.rabbitmq.url,
                port=0,  # it listens on none
                folder=folder,
                command=[str(python()), *peer.run],
                environment=environment,
                is_ready=lambda _pid: None,
            )
        )
        running = Running(server, stored, queue, servers.rabbitmq, store)
        stack.callback(running.close)
        yield running
