"""A TCP proxy between one process and one store: it can delay, hold and cut what passes, while all else stays well."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from dev.server import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CHUNK = 64 * 1024
WAITING = 256
"""Chunks that may wait in one direction of a connection; then the sender has to wait, as on a full line."""


@dataclass(eq=False)
class Link:
    """One way to a store. Its methods may be called from any thread; each takes effect on open connections as well."""

    upstream: int
    _loop: asyncio.AbstractEventLoop
    port: int = 0
    _delay: float = 0.0
    _cut: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    def heal(self) -> None:
        """Let everything pass; what was held goes on."""
        self._do(self._heal)

    def delay(self, seconds: float) -> None:
        """Let every byte arrive that much later, in each direction."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def hold(self) -> None:
        """Let nothing pass, while connections stay open and new ones are accepted: the other side just falls silent."""
        self._do(self._open.clear)

    def cut(self) -> None:
        """Reset all connections, and every new one, until healed."""
        self._do(self._cut_off)

    def sever(self) -> None:
        """Reset all connections; new ones are welcome."""
        self._do(self._reset)

    async def listen(self) -> asyncio.Server:
        """Accept connections on a free port."""
        self._open.set()
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _do(self, change: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def do() -> None:
            change()
            done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result(10)

    def _heal(self) -> None:
        self._delay, self._cut = 0.0, False
        self._open.set()

    def _cut_off(self) -> None:
        self._cut = True
        self._reset()

    def _reset(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        ours = {writer}
        try:
            await self._open.wait()
            if not self._cut:
                upstream_reader, upstream = await asyncio.open_connection(HOST, self.upstream)
                ours.add(upstream)
                self._connections.add(upstream)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, upstream))
                    both.create_task(self._pump(upstream_reader, writer))
        except (OSError, ExceptionGroup):
            pass  # the store is away, or one side has gone: the other one is told by the reset
        finally:
            self._connections -= ours
            for each in ours:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what is read until the sender ends, each chunk when its time has come; then end the connection."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(reader, waiting))
            both.create_task(self._write(waiting, writer))

    async def _read(self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            chunk = await reader.read(CHUNK)
            await waiting.put((self._loop.time() + self._delay, chunk))
            if not chunk:
                return

    async def _write(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._open.wait()
            if not chunk:
                raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()


class Proxy:
    """A thread that serves any number of links."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, upstream: int) -> Link:
        """Return a new way to the port `upstream` of this machine."""
        link = Link(upstream, self._loop)
        self._run(link.listen())
        return link

    def _run(self, coroutine: Coroutine[None, None, object]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)
