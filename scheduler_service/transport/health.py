"""Health, as grpc.health.v1 tells it: SERVING while the store answers and what has to be prepared in it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pymongo
from grpc_health.v1 import health, health_pb2

from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymongo.asynchronous.database import AsyncDatabase

log = get_logger()

INTERVAL: Final = 1.0
"""Seconds between two looks: how late a watcher hears."""
PATIENCE: Final = 1.0
"""Seconds that the store has for an answer; a store that is slower than that serves nobody."""
LAST_WORD: Final = 0.2
"""Seconds for telling the watchers that the server stops."""


class _Servicer(health.aio.HealthServicer):
    """Ends the streams of watchers when the server stops; else each would make the stop as long as its grace."""

    def __init__(self) -> None:
        super().__init__()
        self._closing = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Tell every change of a service's health, until the server stops."""
        telling = asyncio.create_task(super().Watch(request, context))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({telling, closing}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({telling}, timeout=LAST_WORD)
        finally:
            telling.cancel()
            closing.cancel()
            await asyncio.gather(telling, closing, return_exceptions=True)

    async def enter_graceful_shutdown(self) -> None:
        """Say NOT_SERVING for good, and let the watchers go."""
        await super().enter_graceful_shutdown()
        self._closing.set()


class Health:
    """Tells the health of the server as a whole (`""`) and of its services; NOT_SERVING until the first look."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], services: Iterable[str]) -> None:
        self.servicer = _Servicer()
        self._database = database
        self._services = ("", *services)
        self._serving: bool | None = None
        self.prepared = asyncio.Event()
        """To be set when indexes and preconfigured jobs are there."""

    async def start(self) -> None:
        """Say NOT_SERVING: the servicer says SERVING from its birth on."""
        await self._tell(serving=False)

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Ask the store once, and tell what came of it."""
        try:
            with pymongo.timeout(PATIENCE):
                await self._database.command("ping")
        except Exception as error:  # noqa: BLE001 - a look that fails in any way must not end the looking
            await self._tell(serving=False, why=f"{type(error).__name__}: {error}"[:300])
        else:
            await self._tell(serving=self.prepared.is_set())

    async def stop(self) -> None:
        """Say NOT_SERVING for good."""
        await self.servicer.enter_graceful_shutdown()

    async def _tell(self, *, serving: bool, why: str = "") -> None:
        if serving == self._serving:
            return
        self._serving = serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, status)
        log.info("health changed", action="health_changed", serving=serving, **({"error": why} if why else {}))
