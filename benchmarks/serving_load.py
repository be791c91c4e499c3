"""Callers of a gRPC server, in a process of their own: so many at a time, or so many calls a second."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import grpc
import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

MOST_CHANNELS: Final = 16
"""Connections that callers share; several servers on one port share them out among each other."""
PATIENCE: Final = 30.0
"""Seconds for one call."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was called: how many calls were answered within the seconds, and the milliseconds of each, sorted."""

    calls: int
    seconds: float
    milliseconds: Sequence[float]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    def percentile(self, percent: int) -> float:
        """Return the milliseconds within which so many of a hundred calls were answered."""
        return self.milliseconds[min(len(self.milliseconds) - 1, len(self.milliseconds) * percent // 100)]


def ask(address: str, method: str, requests: Sequence[bytes], callers: int, seconds: float) -> Asked:
    """Call for so long, each caller one call after another. Raises when one is refused."""
    return uvloop.run(_ask(address, method, requests, callers, _one_by_one(callers, seconds)))


def ask_at(address: str, method: str, requests: Sequence[bytes], rate: float, seconds: float) -> Asked:
    """Call at even distances, whether or not earlier calls are answered; each is timed from when it was to be made."""
    return uvloop.run(_ask(address, method, requests, MOST_CHANNELS, _evenly(rate, seconds)))


_Call = "Callable[[], Awaitable[None]]"
_Drive = "Callable[[Sequence[Callable[[], Awaitable[None]]]], Awaitable[Asked]]"


async def _ask(address: str, method: str, requests: Sequence[bytes], callers: int, drive: Any) -> Asked:
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(min(callers, MOST_CHANNELS))
    ]
    turns = cycle(requests)
    # Bytes as they travel: what a caller does with messages is no matter of the server.
    calls = [_calling(channel.unary_unary(method), turns) for channel in channels]
    try:
        for call in calls:
            await call()  # so that connecting is not counted
        asked: Asked = await drive(calls)
        return asked
    finally:
        for channel in channels:
            await channel.close()


def _calling(invoke: Any, requests: Iterator[bytes]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await invoke(next(requests), timeout=PATIENCE, wait_for_ready=True)

    return call


def _one_by_one(callers: int, seconds: float) -> Any:
    async def drive(calls: Sequence[Callable[[], Awaitable[None]]]) -> Asked:
        taken: list[float] = []
        began = time.perf_counter()
        until = began + seconds

        async def caller(number: int) -> None:
            call = calls[number % len(calls)]
            while (start := time.perf_counter()) < until:
                await call()
                taken.append(1_000 * (time.perf_counter() - start))

        await asyncio.gather(*map(caller, range(callers)))
        return Asked(len(taken), time.perf_counter() - began, sorted(taken))

    return drive


def _evenly(rate: float, seconds: float) -> Any:
    async def drive(calls: Sequence[Callable[[], Awaitable[None]]]) -> Asked:
        taken: list[float] = []
        began = time.perf_counter()

        async def one(number: int) -> None:
            start = began + number / rate
            await calls[number % len(calls)]()
            taken.append(1_000 * (time.perf_counter() - start))

        async with asyncio.TaskGroup() as group:
            for number in range(max(1, int(rate * seconds))):
                if (ahead := began + number / rate - time.perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(one(number))
        return Asked(len(taken), time.perf_counter() - began, sorted(taken))

    return drive
