"""The checks of MongoDB, RabbitMQ, Redis and the targets: are they there, and as the scheduler needs them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pymongo
import redis.asyncio

from scheduler_service.operations.diagnose import Check, failed, warning, well
from scheduler_service.statistics.broker import ask_depths, connected
from scheduler_service.targets.probes import Status, target_probe
from shared.messaging.queues import DEAD_LETTER
from shared.store.indexes import INDEXES
from shared.store.mongo import as_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.operations.diagnose import Finding
    from scheduler_service.statistics.broker import Depth
    from shared.targets import Targets

OLDEST_MONGODB: Final = (5, 0)
"""What is asked of it came with 4.2; what is older than this has long had no repairs."""
CLOCK_LIMIT: Final = timedelta(seconds=2)
"""As beat's, which logs `clock_skew`."""
NEARLY_FULL: Final = 0.9

_RESTART: Final = (
    "restart a scheduler-service, which makes them at its start (store_not_prepared in its log says why not)"
)


# MongoDB:


def mongodb_checks(database: AsyncDatabase[dict[str, Any]]) -> list[Check]:
    """Return the checks of MongoDB."""
    store = _MongoDB(database)
    there, look_there = (
        "mongodb.reachable",
        "start MongoDB, or correct MONGODB_URL; nothing is decided while it is away",
    )
    return [
        Check(there, store.reachable, look_there),
        Check("mongodb.version", store.version, look_there, there),
        Check("mongodb.topology", store.topology, look_there, there),
        Check("mongodb.durability", store.durability, "let the user of MONGODB_URL run serverStatus", there),
        Check("mongodb.indexes", store.indexes, _RESTART, there),
        Check("mongodb.clock", store.clock, look_there, there),
    ]


class _MongoDB:
    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._database = database

    async def _command(self, name: str, within: float) -> dict[str, Any]:
        with pymongo.timeout(within):
            return await self._database.command(name)

    async def reachable(self, within: float) -> Finding:
        await self._command("ping", within)
        return well(f"the database '{self._database.name}' answers")

    async def version(self, within: float) -> Finding:
        with pymongo.timeout(within):
            info = await self._database.client.server_info()
        if tuple(info["versionArray"][:2]) < OLDEST_MONGODB:
            oldest = ".".join(map(str, OLDEST_MONGODB))
            return warning(
                f"MongoDB {info['version']} is older than {oldest}", "upgrade it, one major release at a time"
            )
        return well(f"MongoDB {info['version']}")

    async def topology(self, within: float) -> Finding:
        hello = await self._command("hello", within)
        if "setName" not in hello:
            return well("a standalone server: all of it works, but while this server is away")
        members = len(hello.get("hosts", ()))
        said = f"the replica set {hello['setName']}, {members} members with data, the primary is {hello.get('primary')}"
        if members < 3:  # noqa: PLR2004 - of two, none can fail
            return warning(said, "add members: with fewer than three, the set has no primary when one is away")
        return well(said)

    async def durability(self, within: float) -> Finding:
        engine = (await self._command("serverStatus", within)).get("storageEngine", {})
        if not engine.get("persistent", True):
            said = f"the storage engine {engine.get('name')} keeps nothing over a restart"
            return failed(said, "run MongoDB with wiredTiger; a decision has to be on disk before it is acted on")
        concern = self._database.write_concern.document
        return well(f"writes wait for w={concern.get('w')} and the journal, on {engine.get('name', 'this engine')}")

    async def indexes(self, within: float) -> Finding:
        absent, other = [], []
        with pymongo.timeout(within):
            for collection, wanted in INDEXES.items():
                there = {index["name"]: index async for index in await self._database[collection].list_indexes()}
                for index in wanted:
                    name = str(index.document["name"])
                    if name not in there:
                        absent.append(f"{collection}.{name}")
                    elif _shape(there[name]) != _shape(index.document):
                        other.append(f"{collection}.{name}")
        if other:
            said = f"indexes are not as this release has them: {', '.join(other)}"
            return failed(said, f"drop them, and {_RESTART}; until then queries scan, or find nothing")
        if absent:
            return failed(f"indexes are missing: {', '.join(absent)}", f"{_RESTART}; until then queries scan")
        return well(f"all {sum(map(len, INDEXES.values()))} indexes are there")

    async def clock(self, within: float) -> Finding:
        asked = datetime.now(UTC)
        now = as_utc((await self._command("hello", within))["localTime"])
        answered = datetime.now(UTC)
        # Somewhere in between the server has looked at its clock.
        ahead = now - asked - (answered - asked) / 2
        seconds = ahead.total_seconds()
        said = f"the database's clock is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this server's"
        if abs(ahead) > CLOCK_LIMIT + (answered - asked) / 2:
            return warning(said, "synchronize both hosts' clocks (chrony, ntpd): schedules follow the database's")
        return well(said)


def _shape(index: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = index["key"]
    return (
        list(keys.items()),
        bool(index.get("unique")),
        index.get("partialFilterExpression"),
        index.get("expireAfterSeconds"),
    )


# RabbitMQ:


def rabbitmq_checks(url: str, queues: Iterable[str]) -> list[Check]:
    """Return the checks of RabbitMQ, and of these queues and that of dead letters in it."""
    broker = _RabbitMQ(url, sorted(queues))
    there = "rabbitmq.reachable"
    remedy = "start RabbitMQ, or correct CELERY_BROKER_URL; what is decided meanwhile is sent when it is back"
    return [
        Check(there, broker.reachable, remedy),
        Check("rabbitmq.queues", broker.declared, remedy, there),
        Check("rabbitmq.consumers", broker.consumed, remedy, there),
    ]


class _RabbitMQ:
    def __init__(self, url: str, queues: Sequence[str]) -> None:
        self._url = url
        self._queues = queues

    async def reachable(self, within: float) -> Finding:
        properties = await asyncio.to_thread(self._properties, within)
        product, version = (properties.get(name, "?") for name in ("product", "version"))
        return well(f"{product} {version} takes our user and virtual host")

    async def declared(self, within: float) -> Finding:
        found = await self._depths(within)
        if absent := [name for name, queue in found.items() if queue is None]:
            said = f"queues are not declared: {', '.join(absent)}"
            return warning(said, "start a beat or a worker, which declare them when they connect")
        return well(f"all {len(found)} queues are declared")

    async def consumed(self, within: float) -> Finding:
        found = {name: queue for name, queue in (await self._depths(within)).items() if queue}
        found.pop(DEAD_LETTER, None)  # for people and their tools
        idle = [name for name, queue in found.items() if queue.consumers == 0]
        waiting = {name: found[name].messages for name in idle if found[name].messages}
        remedy = f"start a worker for them: python -m worker -Q {','.join(idle)}"
        if waiting:
            said = ", ".join(f"{name}: {count:,}" for name, count in waiting.items())
            return failed(f"messages wait in queues that no worker consumes ({said})", remedy)
        if idle:
            return warning(f"no worker consumes the queues {', '.join(idle)}", remedy)
        return well(f"consumers: {', '.join(f'{name} {queue.consumers}' for name, queue in found.items())}")

    def _properties(self, within: float) -> dict[str, Any]:
        with connected(self._url, within) as broker:
            return dict(broker.connection.server_properties)

    async def _depths(self, within: float) -> dict[str, Depth | None]:
        return await asyncio.to_thread(ask_depths, self._url, [*self._queues, DEAD_LETTER], within)


# Redis:


def redis_checks(url: str) -> list[Check]:
    """Return the checks of Redis."""
    cache = _Redis(url)
    remedy = "start Redis, or correct CELERY_RESULT_BACKEND; executions go on without it, AsyncResult and Flower do not"
    return [
        Check("redis.reachable", cache.reachable, remedy),
        Check("redis.memory", cache.memory, remedy, "redis.reachable"),
    ]


class _Redis:
    def __init__(self, url: str) -> None:
        self._url = url

    async def reachable(self, within: float) -> Finding:
        version = (await self._info("server", within)).get("redis_version", "?")
        return well(f"Redis {version} answers")

    async def memory(self, within: float) -> Finding:
        info = await self._info("memory", within)
        policy, limit, used = (info.get(name) for name in ("maxmemory_policy", "maxmemory", "used_memory"))
        if not limit:
            return well(f"{used:,} bytes are used, without a limit (maxmemory)")
        said = f"{used:,} of {limit:,} bytes are used, with maxmemory-policy {policy}"
        if policy != "noeviction" and not str(policy).startswith("volatile-"):
            remedy = "set maxmemory-policy to noeviction or volatile-ttl: results may go before RESULT_EXPIRES"
            return warning(said, remedy)
        if used > NEARLY_FULL * limit:
            return warning(said, "raise maxmemory, or lower RESULT_EXPIRES: when it is full, results are not copied")
        return well(said)

    async def _info(self, section: str, within: float) -> dict[str, Any]:
        client = redis.asyncio.from_url(self._url, socket_connect_timeout=within, socket_timeout=within)
        try:
            return dict(await client.info(section))
        finally:
            await client.aclose()


# Targets:

TARGET: Final = "target."
"""How the names of the checks of targets begin."""


def target_checks(targets: Targets) -> list[Check]:
    """Return a check of each target's health."""
    return [_target_check(name, targets.address(name)) for name in targets.names]


def _target_check(name: str, address: str) -> Check:
    probe = target_probe(address)
    remedy = f"see why {name} does not serve at {address}, or correct its address; its jobs' attempts fail meanwhile"

    async def look(within: float) -> Finding:
        status, message = await probe(within)
        if status is Status.SERVING:
            return well(message or f"it serves at {address}")
        return failed(message, remedy)

    return Check(f"{TARGET}{name}", look, remedy)
