"""The system under chaos: three stores, two beats, three workers, the server; each process with links of its own."""

from __future__ import annotations

import shutil
import socket
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Celery
from pymongo import MongoClient

from dev import ready
from dev.run import ROOT
from dev.server import NotReadyError, Program, Server, free_port
from dev.servers import private_servers, start_together
from tests.chaos.faults import BEATS, MONGODB, PROCESSES, RABBITMQ, REDIS, SERVER, STORES, WORKERS
from tests.chaos.proxy import Link, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dev.servers import Servers

EXECUTION_LEASE = 5.0
"""Seconds. Short, so that many faults outlast it; not shorter, since a busy machine must not look like a dead one."""

CONNECT_TIMEOUT = EXECUTION_LEASE / 3
"""Seconds that a connection to MongoDB may take to be made: the same part of a lease as by default. When PyMongo's
monitor has given a silent server up, connections that are just being made can hinder it for so long."""

PARTITION_LEASE = 2.0
READY_WITHIN = 120.0
"""Seconds that a process may take to get ready: it may be started while a store is away."""


@dataclass(frozen=True)
class Fleet:
    """All that runs. Stores and processes can be killed, paused, resumed and started by their names."""

    folder: Path
    stores: Servers
    members: Mapping[str, Server]
    links: Mapping[tuple[str, str], Link]
    """By process and store."""
    address: str
    """Of the server."""

    def holder(self, worker: str) -> str:
        """Return the name by which the ledger knows the worker that runs now."""
        return holder_name(self.members[worker].pid)

    def client(self) -> MongoClient[dict[str, Any]]:
        """Return a connection to MongoDB that no fault of a link touches."""
        return MongoClient(self.stores.mongodb.url, tz_aware=True)


def holder_name(pid: int) -> str:
    """Return the name that a worker gives itself."""
    return f"worker-{pid}@{socket.gethostname()}"


@contextmanager
def running_fleet(folder: Path, target_port: int) -> Iterator[Fleet]:
    """Start all on free ports and wait until all are ready; kill all at the end, whatever happened."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config"
    shutil.copytree(ROOT / "config", config, dirs_exist_ok=True)
    (config / "jobs.yaml").write_text("jobs: []\n")
    with (config / "targets.yaml").open("a") as targets:
        targets.write(f"  recorder:\n    address: localhost:{target_port}\n")
    with private_servers(folder) as stores, Proxy() as proxy, ExitStack() as stack:
        by_name = {MONGODB: stores.mongodb, RABBITMQ: stores.rabbitmq, REDIS: stores.redis}
        links = {(process, store): proxy.link(by_name[store].port) for process in PROCESSES for store in STORES}
        grpc_port = free_port()
        processes = {}
        for process in PROCESSES:
            environment = _environment(stores, {store: links[process, store] for store in STORES})
            environment |= {"CONFIG_DIR": str(config), "GRPC_PORT": str(grpc_port)}
            processes[process] = Server(_program(process, folder / process, environment, stores, grpc_port))
            stack.callback(processes[process].kill)
        # The server first: it makes sure of the indexes, and the others need not race for them.
        processes[SERVER].start()
        start_together([processes[process] for process in (*BEATS, *WORKERS)])
        yield Fleet(folder, stores, {**by_name, **processes}, links, f"localhost:{grpc_port}")


def _environment(stores: Servers, links: Mapping[str, Link]) -> dict[str, str]:
    urls = {
        "MONGODB_URL": (stores.mongodb, links[MONGODB]),
        "CELERY_BROKER_URL": (stores.rabbitmq, links[RABBITMQ]),
        "CELERY_RESULT_BACKEND": (stores.redis, links[REDIS]),
    }
    through = {name: store.url.replace(f":{store.port}", f":{link.port}") for name, (store, link) in urls.items()}
    through["MONGODB_URL"] += f"?connectTimeoutMS={CONNECT_TIMEOUT * 1000:.0f}"
    metrics = {f"{each}_METRICS_PORT": str(free_port()) for each in ("SERVER", "BEAT", "WORKER")}
    return {
        **through,
        **metrics,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": "json",
        "EXECUTION_LEASE": str(EXECUTION_LEASE),
        "PARTITION_LEASE": str(PARTITION_LEASE),
        "RETRY_INITIAL_BACKOFF": "0.5",
        "SHUTDOWN_GRACE": "2",
    }


def _program(process: str, folder: Path, environment: Mapping[str, str], stores: Servers, grpc_port: int) -> Program:
    module = "beat" if process in BEATS else "worker" if process in WORKERS else "scheduler_service"
    is_ready: Callable[[int], None] = lambda _: _must(ready.grpc_serving(grpc_port)(), "it does not serve")  # noqa: E731
    if process in BEATS:
        is_ready = lambda pid: _must(_leases(stores, pid), "it has no lease")  # noqa: E731
    elif process in WORKERS:
        is_ready = lambda pid: _must(_answers(stores, pid), "it answers no ping")  # noqa: E731
    return Program(
        name=process,
        url=f"localhost:{grpc_port}" if process == SERVER else "",
        port=grpc_port if process == SERVER else int(environment[f"{module.upper()}_METRICS_PORT"]),
        folder=folder,
        command=[sys.executable, "-m", module],
        environment=environment,
        is_ready=is_ready,
        ready_within=READY_WITHIN,
    )


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotReadyError(otherwise)


def _leases(stores: Servers, pid: int) -> bool:
    with MongoClient[dict[str, Any]](
        stores.mongodb.url, serverSelectionTimeoutMS=1000, socketTimeoutMS=1000, connectTimeoutMS=1000
    ) as client:
        beat = {"_id": f"beat@{socket.gethostname()}:{pid}", "$expr": {"$gt": ["$expires_at", "$$NOW"]}}
        return client.get_default_database()["beats"].find_one(beat) is not None


def _answers(stores: Servers, pid: int) -> bool:
    with Celery(broker=stores.rabbitmq.url, set_as_current=False) as app:
        app.conf.broker_connection_timeout = ready.PATIENCE
        return bool(app.control.ping(destination=[holder_name(pid)], timeout=1.0, limit=1))
