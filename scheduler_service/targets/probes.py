"""Probes: is a target or a store there, does it serve, and how fast does it answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import pymongo
import redis.asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from scheduler_service.statistics.broker import connected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pymongo.asynchronous.database import AsyncDatabase

LONGEST_MESSAGE: Final = 300
_AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


class Status(StrEnum):
    """What a probe found."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one dependency; latency is how long the answer, or the failure, took."""

    name: str
    status: Status
    latency: timedelta
    message: str = ""


Probe: TypeAlias = "Callable[[float], Awaitable[tuple[Status, str]]]"
"""Is given the seconds it may take; returns what it found and a sentence, or raises when nothing answers."""


async def look(name: str, probe: Probe, within: float) -> Health:
    """Run a probe; never raises, and takes no longer than so many seconds."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(within):
            status, message = await probe(within)
    except TimeoutError:
        status, message = Status.UNREACHABLE, f"no answer within {within:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a client library raises means: it is not there
        status, message = Status.UNREACHABLE, f"{type(error).__name__}: {' '.join(str(error).split())}"
    latency = timedelta(seconds=time.perf_counter() - began)
    return Health(name, status, latency, message[:LONGEST_MESSAGE])


def target_probe(address: str) -> Probe:
    """Return a probe of a gRPC server, by its health service; one without it serves if it answers at all."""

    async def probe(within: float) -> tuple[Status, str]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=within)
            except grpc.aio.AioRpcError as error:
                return _of_code(error.code(), error.details() or "")
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return Status.SERVING, ""
        said = health_pb2.HealthCheckResponse.ServingStatus.DESCRIPTOR.values_by_number.get(answer.status)
        return Status.NOT_SERVING, f"it says {said.name if said else answer.status}"

    return probe


def _of_code(code: grpc.StatusCode, details: str) -> tuple[Status, str]:
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Status.SERVING, "it answers, but has no health service"
    return Status.UNREACHABLE if code in _AWAY else Status.NOT_SERVING, f"{code.name}: {details}"


def mongodb_probe(database: AsyncDatabase[dict[str, Any]]) -> Probe:
    """Return a probe of MongoDB."""

    async def probe(within: float) -> tuple[Status, str]:
        with pymongo.timeout(within):
            await database.command("ping")
        return Status.SERVING, ""

    return probe


def rabbitmq_probe(url: str) -> Probe:
    """Return a probe of RabbitMQ: the whole AMQP handshake, since a port that is open says little."""

    def shake_hands(within: float) -> None:
        with connected(url, within):
            pass

    async def probe(within: float) -> tuple[Status, str]:
        await asyncio.to_thread(shake_hands, within)
        return Status.SERVING, ""

    return probe


def redis_probe(url: str) -> Probe:
    """Return a probe of Redis."""

    async def probe(within: float) -> tuple[Status, str]:
        client = redis.asyncio.from_url(url, socket_connect_timeout=within, socket_timeout=within)
        try:
            await client.ping()
        finally:
            await client.aclose()
        return Status.SERVING, ""

    return probe
