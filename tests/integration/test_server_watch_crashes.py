"""Watchers that come and go, at servers of which one is killed, while many write: nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc

from dev.server import HOST
from shared.domain.execution import AfterFailure, Failure, State
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.store import executions
from shared.store.mongo import connect
from tests.builders import fired, job_document

# The fixtures of a server as a process.
from tests.integration.test_server_process import environment, start  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.test_server_process import Process

WRITERS = 6
RUNS = 60
"""Of each writer."""
WATCHERS = 4
LEASE = timedelta(seconds=60)
FAILURE = Failure("UNAVAILABLE", "away", retryable=True)


class Writer(threading.Thread):
    """Takes executions through their lives, several steps of some in one moment, others after a while."""

    def __init__(self, database_url: str, number: int, until: threading.Event) -> None:
        super().__init__(name=f"writer-{number}")
        self._database = connect(database_url)
        self._number = number
        self._until = until
        self._random = random.Random(number)

    def run(self) -> None:
        written = 0
        while written < RUNS or not self._until.is_set():
            name = f"run-{self._number}-{written}"
            self._live(name)
            written += 1
        self._together()
        self._database.client.close()

    def _pause(self) -> None:
        time.sleep(self._random.choice([0, 0, 0.001, 0.02, 0.1]))

    def _live(self, name: str) -> None:
        # Decided long ago by the clock of a process that was stopped before it stored the row.
        decided = datetime.now(UTC) - timedelta(seconds=self._random.choice([0, 5, 60]))
        self._database.executions.insert_one(fired(job_document("mine"), decided, _id=name))
        self._pause()
        self._do(executions.mark_queued([name], 0, "relay"))
        for attempt in range(self._random.choice([1, 1, 3])):
            if attempt:
                again = AfterFailure(State.PENDING, datetime.now(UTC) - timedelta(seconds=1), "again")
                self._do(executions.fail(name, f"n{attempt - 1}", "worker", FAILURE, again))
                self._pause()
            self._do(executions.claim(name, "worker", f"n{attempt}", LEASE))
            self._pause()
        self._do(executions.succeed(name, f"n{attempt}", "worker", "{}", truncated=False))

    def _together(self) -> None:
        """Make a step of many rows in one write, whose time is that of its beginning."""
        names = [f"many-{self._number}-{n}" for n in range(500)]
        rows = self._database.executions
        rows.insert_many([fired(job_document("mine"), datetime.now(UTC), _id=name) for name in names])
        self._do(executions.stop({"_id": {"$in": names}}, "anna", "", calls=True))

    def _do(self, move: executions.Move) -> None:
        assert self._database.executions.update_many(move.filter, move.update).modified_count


class Watcher:
    """Watches for a while, at a server of its choice, goes away, and comes back with its token."""

    def __init__(self, addresses: list[str], number: int) -> None:
        self.told: dict[str, list[int]] = defaultdict(list)
        self.visits = 0
        self._addresses = addresses
        self._random = random.Random(number)
        self._token = ""

    async def watch(self, is_complete: Callable[[dict[str, list[int]]], bool], began: asyncio.Event) -> None:
        while not is_complete(self.told):
            self.visits += 1
            try:
                await asyncio.wait_for(self._visit(began), self._random.choice([1.5, 3, 6]))
            except (TimeoutError, grpc.aio.AioRpcError):
                continue

    async def _visit(self, began: asyncio.Event) -> None:
        async with grpc.aio.insecure_channel(self._random.choice(self._addresses)) as channel:
            stub: Any = SchedulerServiceStub(channel)
            most = self._random.choice([1, 50, 10_000])
            async for message in stub.WatchExecutions(pb.WatchExecutionsRequest(resume_token=self._token)):
                self.told[message.execution.execution_id] += [step.number for step in message.transitions]
                self._token = message.resume_token
                began.set()
                most -= 1
                if not most:
                    return


async def test_every_step_is_told_once_and_in_order_whoever_dies_or_leaves(
    start: Callable[..., Process],  # noqa: F811
    environment: dict[str, str],  # noqa: F811
    database_url: str,
) -> None:
    servers = [start(dict(environment)), start(dict(environment))]
    for server in servers:
        await asyncio.to_thread(_wait_until_it_serves, server)
    addresses = [f"{HOST}:{server.port}" for server in servers]
    until = threading.Event()
    writers = [Writer(database_url, number, until) for number in range(WRITERS)]
    database = connect(database_url)
    expected: dict[str, list[int]] = {}

    def is_complete(told: dict[str, list[int]]) -> bool:
        return bool(expected) and sum(map(len, told.values())) >= sum(map(len, expected.values()))

    watchers = [Watcher(addresses, number) for number in range(WATCHERS)]
    began = [asyncio.Event() for _ in watchers]
    watching = [asyncio.create_task(w.watch(is_complete, b)) for w, b in zip(watchers, began, strict=True)]
    async with asyncio.timeout(120):
        # Each has a token before anything is written.
        await asyncio.gather(*(b.wait() for b in began))
        for writer in writers:
            writer.start()
        await asyncio.to_thread(_wait_for_rows, database, 100)
        servers[0].process.kill()
        servers[0].process.wait()
        again = start({**environment, "GRPC_PORT": str(servers[0].port)})
        await asyncio.to_thread(_wait_until_it_serves, again)
        until.set()
        for writer in writers:
            await asyncio.to_thread(writer.join)
        rows = database.executions.find({}, {"transitions.number": 1})
        expected.update({row["_id"]: [step["number"] for step in row["transitions"]] for row in rows})
        await asyncio.gather(*watching)
    database.client.close()
    for watcher in watchers:
        watcher.told.pop("", None)
        assert dict(watcher.told) == expected
        assert watcher.visits > 1


def _wait_until_it_serves(server: Process) -> None:
    server.wait_until(lambda: server.health() == "SERVING")


def _wait_for_rows(database: Any, count: int) -> None:
    while database.executions.count_documents({}) < count:
        time.sleep(0.05)
