"""The asynchronous client."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio

from scheduler_client.channel import DEFAULT_SERVER, DEFAULT_TIMEOUT, OPTIONS, metadata_of
from scheduler_client.errors import SchedulerError, error_of
from scheduler_client.methods import Awaiting, Methods
from scheduler_client.patience import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from scheduler_client.call import Call, Pages, Stream

T = TypeVar("T")


class AsyncSchedulerClient(Methods, Awaiting):
    """Talks to the scheduler; methods are awaited, and lists and streams iterated with `async for`.

    Made, and used, in one event loop. All else is as SchedulerClient has it.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        actor: str = "",
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self.timeout = timeout
        self._metadata = (*metadata_of(actor), *metadata)
        if channel is not None:
            self._channel = channel
        elif credentials is not None:
            self._channel = grpc.aio.secure_channel(server, credentials, OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(server, OPTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all that is under way, and the connection."""
        await self._channel.close()

    def within(self, seconds: float) -> AsyncSchedulerClient:
        """Return the same client, on the same connection, whose calls may take so many seconds."""
        return AsyncSchedulerClient(timeout=seconds, metadata=self._metadata, channel=self._channel)

    async def connect(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - as the blocking client has it
        """Wait until there is a connection; raise TimeoutError after so many seconds. No call needs it."""
        try:
            async with asyncio.timeout(timeout):
                await self._channel.channel_ready()
        except TimeoutError:
            raise TimeoutError(f"no server has answered within {timeout:g} s") from None

    async def call(self, call: Call[T]) -> T:
        """Make a call; return its result."""
        ask: Any = self._channel.unary_unary(call.path, **call.codec)
        patience = Patience(call, self.timeout, time.monotonic())
        while True:
            try:
                answer = await ask(call.request, timeout=patience.left(time.monotonic()), metadata=self._metadata)
            except grpc.RpcError as failed:
                error = error_of(failed)
            else:
                return call.result(answer)
            await asyncio.sleep(patience.after(error, time.monotonic()))

    async def entries(self, pages: Pages[T]) -> AsyncIterator[T]:
        """Ask for page after page, as they are needed; return their entries."""
        token: str | None = ""
        while token is not None:
            page = await self.call(pages.after(token))
            for entry in pages.entries(page):
                yield entry
            token = page.next_page_token or None

    async def stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Return the messages of a stream; one that resumes does so by itself."""
        ask: Any = self._channel.unary_stream(stream.path, **stream.codec)
        patience = Patience(stream, None, time.monotonic())
        progress = stream.begin()
        while True:
            timeout = progress.next_timeout()
            told = ask(progress.request, timeout=timeout, metadata=self._metadata)
            error: SchedulerError | None = None
            try:
                async for message in told:
                    patience.went_well()
                    if progress.takes(message):
                        yield message
                    if timeout is None and progress.has_moved:
                        break
                else:
                    if stream.ends:
                        return
            except grpc.RpcError as failed:
                error = error_of(failed)
            finally:
                told.cancel()
            await asyncio.sleep(patience.after(error, time.monotonic()))
