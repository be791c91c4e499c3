"""The checks of the scheduler's own processes, of the work that should have been done, and of the settings."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import closing
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo.uri_parser import parse_uri

from scheduler_service.operations.diagnose import Check, failed, warning, well
from shared.domain.zones import tzdata_version
from shared.release import release
from shared.store import calls, dead_letters, executions, jobs, partitions, processes
from shared.store.mongo import DEFAULT_CONNECT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.operations.diagnose import Finding
    from shared.settings import Settings

OVERDUE: Final = timedelta(seconds=60)
"""How long a job may be due without a beat having looked at it: a restart of all beats takes less."""
UNSENT: Final = timedelta(minutes=5)
"""How long an execution's message may be due: the relay waits up to a minute with some."""
MOST_COUNTED: Final = 10_000
MOST_NAMED: Final = 5
_ALL: Final = range(jobs.PARTITIONS)
_STORE: Final = "mongodb.reachable"
_ASK_AGAIN: Final = "see mongodb.reachable, and ask again"

USUAL_LEASE: Final = 15.0
"""Seconds for which the default timeouts of connections to MongoDB are made."""
LEASES_TO_CONNECT: Final = 3.0


def process_checks(database: AsyncDatabase[dict[str, Any]], queues: Iterable[str]) -> list[Check]:
    """Return the checks of beats and workers."""
    seen = _Processes(database, sorted(queues))
    return [
        Check("beat.alive", seen.beats, _ASK_AGAIN, _STORE),
        Check("beat.partitions", seen.partitions, _ASK_AGAIN, _STORE),
        Check("workers.alive", seen.workers, _ASK_AGAIN, _STORE),
        Check("processes.release", seen.releases, _ASK_AGAIN, _STORE),
        Check("processes.zones", seen.zones, _ASK_AGAIN, _STORE),
        Check("jobs.newer", seen.newer, _ASK_AGAIN, _STORE),
    ]


class _Processes:
    def __init__(self, database: AsyncDatabase[dict[str, Any]], queues: list[str]) -> None:
        self._beats = database[partitions.BEAT_COLLECTION]
        self._partitions = database[partitions.PARTITION_COLLECTION]
        self._processes = database[processes.COLLECTION]
        self._jobs = database[jobs.COLLECTION]
        self._queues = queues

    async def beats(self, within: float) -> Finding:
        with pymongo.timeout(within):
            names = [
                beat["_id"]
                async for beat in self._beats.find(partitions.alive_filter(), {"_id": 1}, hint=partitions.BY_ID)
            ]
        if not names:
            return failed("no beat is alive, so nothing fires", "start one: python -m beat")
        return well(f"alive: {', '.join(sorted(names))}")

    async def partitions(self, within: float) -> Finding:
        with pymongo.timeout(within):
            leased = await self._partitions.count_documents(partitions.leased_filter())
        if leased < jobs.PARTITIONS:
            said = (
                f"{jobs.PARTITIONS - leased} of the {jobs.PARTITIONS} partitions are no beat's: their jobs do not fire"
            )
            return failed(said, "start a beat, or wait for PARTITION_LEASE; if that does not help, see beats' logs")
        return well(f"all {leased} partitions are leased")

    async def workers(self, within: float) -> Finding:
        alive = [each for each in await self._alive(within) if each.about.kind is processes.Kind.WORKER]
        if not alive:
            return failed("no worker is alive, so nothing runs", "start one: python -m worker")
        consumed = {queue for worker in alive for queue in worker.about.queues}
        if lonely := [queue for queue in self._queues if queue not in consumed]:
            said = f"workers that are alive: {len(alive)}; queues that none of them consumes: {', '.join(lonely)}"
            return warning(said, f"start one: python -m worker -Q {','.join(lonely)}")
        if silent := [worker for worker in alive if worker.silent_for is not None]:
            names = ", ".join(worker.about.name for worker in silent[:MOST_NAMED])
            said = f"workers not heard of for more than {processes.MISSED_AFTER.seconds} s: {len(silent)}, as {names}"
            return warning(said, "look whether they are frozen, or cut off from MongoDB, and restart them if so")
        slots = sum(worker.about.concurrency for worker in alive)
        return well(f"alive: {len(alive)}; executions that they run at a time: {slots}")

    async def releases(self, within: float) -> Finding:
        remedy = "finish the upgrade: restart the processes of the older release"
        return await self._agree(within, "version", release(), "release", remedy)

    async def zones(self, within: float) -> Finding:
        remedy = "install the same tzdata everywhere and restart: schedules follow the newest that any beat has"
        return await self._agree(within, "tzdata_version", tzdata_version(), "zone data", remedy)

    async def newer(self, within: float) -> Finding:
        newer = jobs.newer_filter(_ALL)
        with pymongo.timeout(within):
            count = await self._jobs.count_documents(newer, limit=MOST_COUNTED)
            some = [each["_id"] async for each in self._jobs.find(newer, {"_id": 1}, limit=MOST_NAMED)]
        if not count:
            return well("no job was stored by a newer release")
        said = (
            f"jobs that beats of {release()} leave to a newer release: {_counted(count)}, among them {', '.join(some)}"
        )
        remedy = "upgrade all beats to the release that has stored them, and this server"
        versions = [each.about.version for each in await self._alive(within) if each.about.kind is processes.Kind.BEAT]
        if others := sum(version != release() for version in versions):
            # Whether it is a newer one is not told, nor what it can read.
            return warning(f"{said}; of another release are {others} of {len(versions)} beats", remedy)
        return failed(f"{said}; no beat that is alive has another release, so they do not fire", remedy)

    async def _agree(self, within: float, attribute: str, ours: str, what: str, remedy: str) -> Finding:
        who: dict[str, list[str]] = defaultdict(list)
        who[ours].append("this server")
        for process in await self._alive(within):
            if said := getattr(process.about, attribute):
                who[said].append(process.about.name)
        if len(who) == 1:
            return well(f"all have the {what} {ours}")
        said = "; ".join(
            f"{version}: {', '.join(sorted(names)[:MOST_NAMED])}" for version, names in sorted(who.items())
        )
        return warning(f"processes have different {what}: {said}", remedy)

    async def _alive(self, within: float) -> list[processes.Process]:
        with pymongo.timeout(within):
            async with await self._processes.aggregate(processes.alive_pipeline()) as found:
                return [processes.to_process(each) async for each in found]


def work_checks(database: AsyncDatabase[dict[str, Any]]) -> list[Check]:
    """Return the checks of work that should have been done."""
    work = _Work(database)
    return [
        Check("jobs.overdue", work.overdue, _ASK_AGAIN, _STORE),
        Check("jobs.drift", work.drift, _ASK_AGAIN, _STORE),
        Check("executions.unsent", work.unsent, _ASK_AGAIN, _STORE),
        Check("executions.dead_letters", work.letters, _ASK_AGAIN, _STORE),
    ]


class _Work:
    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._executions = database[executions.COLLECTION]

    async def overdue(self, within: float) -> Finding:
        late = jobs.overdue_filter(_ALL, OVERDUE)
        with pymongo.timeout(within):
            count = await self._jobs.count_documents(late, limit=MOST_COUNTED)
            first = await self._jobs.find_one(late, {"wake_at": 1}, sort=[("wake_at", 1)])
        if first is None:
            return well("no job waits for a beat")
        since = first["wake_at"].astimezone(UTC).isoformat(timespec="seconds")
        said = f"jobs due for more than a minute: {_counted(count)}, the first of them {first['_id']}, since {since}"
        remedy = "see beat.alive and beat.partitions; where those are well, start more beats, or see their logs"
        return failed(said, remedy)

    async def drift(self, within: float) -> Finding:
        with pymongo.timeout(within):
            count = await self._jobs.count_documents(calls.HAS_DRIFT, limit=MOST_COUNTED)
            some = [each["_id"] async for each in self._jobs.find(calls.HAS_DRIFT, {"_id": 1}, limit=MOST_NAMED)]
        if not count:
            return well("all jobs fit their targets, as the last health check has found")
        said = f"jobs that do not fit their targets: {_counted(count)}, among them {', '.join(some)}"
        return warning(said, "see the field drift of each, and update its parameters, or its target")

    async def unsent(self, within: float) -> Finding:
        with pymongo.timeout(within):
            count = await self._executions.count_documents(executions.send_filter(_ALL, UNSENT), limit=MOST_COUNTED)
        if not count:
            return well("no message waits to be sent")
        said = f"executions due for more than five minutes whose message was not sent: {_counted(count)}"
        return failed(said, "see rabbitmq.reachable and beat.alive: beats' relays send them")

    async def letters(self, within: float) -> Finding:
        with pymongo.timeout(within):
            count = await self._executions.count_documents(dead_letters.list_filter(None, None), limit=MOST_COUNTED)
        if not count:
            return well("there are none")
        said = f"executions that failed for good, and about which nobody has decided: {_counted(count)}"
        return warning(said, "schedctl dead-letters list, then retry or discard")


def _counted(count: int) -> str:
    return f"{MOST_COUNTED:,} or more" if count >= MOST_COUNTED else f"{count:,}"


def setting_checks(settings: Settings) -> list[Check]:
    """Return the checks of settings that contradict each other, as this server has them, and of its own ports."""

    async def leases(_within: float) -> Finding:
        # In a thread: of mongodb+srv the name is looked up.
        return await asyncio.to_thread(judge_leases, settings.execution_lease, settings.mongodb_url)

    async def timeouts(_within: float) -> Finding:
        return judge_timeouts(settings)

    async def metrics(_within: float) -> Finding:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.bind_host, settings.bind_host)
        reader, writer = await asyncio.open_connection(host.strip("[]"), settings.server_metrics_port)
        with closing(writer):
            writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
            line = await reader.readline()  # whoever makes the checks has them end in time
        said = f"http://{host}:{settings.server_metrics_port}/metrics answers {line.decode(errors='replace').strip()}"
        return well(said) if b" 200" in line else failed(said, remedy)

    remedy = f"free port {settings.server_metrics_port} for this server, or set SERVER_METRICS_PORT, and restart it"
    correct = "correct the settings, and restart all processes"
    return [
        Check("settings.leases", leases, correct),
        Check("settings.timeouts", timeouts, correct),
        Check("server.metrics", metrics, remedy),
    ]


def judge_leases(lease: float, mongodb_url: str) -> Finding:
    """Judge whether a worker can renew a lease after MongoDB was silent: the driver may need a connection's timeout."""
    given: Mapping[str, Any] = parse_uri(mongodb_url, validate=False)["options"]
    connect = float(given.get("connectTimeoutMS", DEFAULT_CONNECT_TIMEOUT)) / 1000
    if lease < USUAL_LEASE and connect > lease / LEASES_TO_CONNECT:
        wanted = int(lease / LEASES_TO_CONNECT * 1000)
        return warning(
            f"EXECUTION_LEASE is {lease:g} s, and a connection to MongoDB may take {connect:g} s: after an outage,"
            " workers that live lose their attempts",
            f"write connectTimeoutMS={wanted} into MONGODB_URL of all processes, or raise EXECUTION_LEASE",
        )
    return well(f"EXECUTION_LEASE is {lease:g} s, a connection to MongoDB takes at most {connect:g} s")


def judge_timeouts(settings: Settings) -> Finding:
    """Judge whether RabbitMQ waits for as long as an attempt may take."""
    timeout, consumer = settings.job_timeout, settings.consumer_timeout
    if timeout > consumer:
        return warning(
            f"JOB_TIMEOUT is {timeout:g} s, longer than CONSUMER_TIMEOUT, {consumer:g} s: the broker gives a message to"
            " another worker while the first still runs",
            "raise consumer_timeout of RabbitMQ, and CONSUMER_TIMEOUT with it, or lower JOB_TIMEOUT",
        )
    return well(f"JOB_TIMEOUT is {timeout:g} s, CONSUMER_TIMEOUT {consumer:g} s")
