"""Faults of PyMongo that an outage shows, mended for the whole process by importing this."""

from __future__ import annotations

import asyncio
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pymongo.asynchronous.topology
import pymongo.lock
import pymongo.synchronous.topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

_HANDLED: Final = "_handled_by_topology"


async def _wait_for(awaitable: Awaitable[_T], timeout: float | None) -> _T:  # noqa: ASYNC109 - as asyncio's own
    async with asyncio.timeout(timeout):
        return await awaitable


if sys.version_info < (3, 12):
    # PyMongo waits on its condition variables by asyncio.wait_for, which before Python 3.12 runs the waiting in a task
    # of its own. Cancelled after its time is up, it leaves that task behind, which then takes the topology's lock for
    # good: one call cancelled during an outage, and every later one of the client hangs. 3.12 waits as this does.
    pymongo.lock.wait_for = _wait_for  # type: ignore[assignment, attr-defined]


def _is_news(error: BaseException) -> bool:
    """Return whether no topology has been told of this error yet; one has from now on."""
    if getattr(error, _HANDLED, False):
        return False
    setattr(error, _HANDLED, True)
    return True


# A server that is no replica set's takes no retried writes. PyMongo (4.20) finds that out when it has checked out a
# connection for the retry, raises the first attempt's error again, and takes that for an error of this connection: it
# closes all that there are, and waits up to half a second for the next heartbeat. Whoever asks at that moment fails
# with "connection pool paused", retries, and so does the same to the connections after these. With forty threads that
# goes on for minutes after an outage of seconds. An error tells of the connection that it came of, once.


def _once(handle: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    @wraps(handle)
    def handle_error(topology: Any, address: Any, context: Any) -> None:
        if _is_news(context.error):
            handle(topology, address, context)

    return handle_error


def _once_async(handle: Callable[[Any, Any, Any], Awaitable[None]]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    @wraps(handle)
    async def handle_error(topology: Any, address: Any, context: Any) -> None:
        if _is_news(context.error):
            await handle(topology, address, context)

    return handle_error


_Topology, _AsyncTopology = pymongo.synchronous.topology.Topology, pymongo.asynchronous.topology.Topology
_Topology.handle_error = _once(_Topology.handle_error)  # type: ignore[assignment, method-assign]
_AsyncTopology.handle_error = _once_async(_AsyncTopology.handle_error)  # type: ignore[assignment, method-assign]
