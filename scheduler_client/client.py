"""The blocking client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from scheduler_client.channel import DEFAULT_SERVER, DEFAULT_TIMEOUT, OPTIONS, metadata_of
from scheduler_client.errors import SchedulerError, error_of
from scheduler_client.methods import Blocking, Methods
from scheduler_client.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from scheduler_client.call import Call, Pages, Stream

T = TypeVar("T")


class SchedulerClient(Methods, Blocking):
    """Talks to the scheduler; each method returns when it is answered. Threads may share one.

    server: host:port. timeout: seconds that a call may take, its retries included, unless the method has its own.
    actor: who the service notes as having done it; the peer's address if left out. credentials: for TLS, as to a proxy
    in front of the service. channel: one's own instead of all that; its service config decides about retries.

    Methods raise SchedulerError, of the kinds that they name; any may raise Unavailable and DeadlineExceeded.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        actor: str = "",
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self.timeout = timeout
        self._metadata = (*metadata_of(actor), *metadata)
        if channel is not None:
            self._channel = channel
        elif credentials is not None:
            self._channel = grpc.secure_channel(server, credentials, OPTIONS)
        else:
            self._channel = grpc.insecure_channel(server, OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all that is under way, and the connection."""
        self._channel.close()

    def within(self, seconds: float) -> SchedulerClient:
        """Return the same client, on the same connection, whose calls may take so many seconds."""
        return SchedulerClient(timeout=seconds, metadata=self._metadata, channel=self._channel)

    def connect(self, timeout: float = 5.0) -> None:
        """Wait until there is a connection; raise TimeoutError after so many seconds. No call needs it."""
        try:
            grpc.channel_ready_future(self._channel).result(timeout)
        except grpc.FutureTimeoutError:
            raise TimeoutError(f"no server has answered within {timeout:g} s") from None

    def call(self, call: Call[T]) -> T:
        """Make a call; return its result."""
        ask = self._channel.unary_unary(call.path, **call.codec)
        patience = Patience(call, self.timeout, time.monotonic())
        while True:
            try:
                answer = ask(call.request, timeout=patience.left(time.monotonic()), metadata=self._metadata)
            except grpc.RpcError as failed:
                error = error_of(failed)
            else:
                return call.result(answer)
            time.sleep(patience.after(error, time.monotonic()))

    def entries(self, pages: Pages[T]) -> Iterator[T]:
        """Ask for page after page, as they are needed; return their entries."""
        token: str | None = ""
        while token is not None:
            page = self.call(pages.after(token))
            yield from pages.entries(page)
            token = page.next_page_token or None

    def stream(self, stream: Stream[T]) -> Iterator[T]:
        """Return the messages of a stream; one that resumes does so by itself."""
        ask = self._channel.unary_stream(stream.path, **stream.codec)
        patience = Patience(stream, None, time.monotonic())
        progress = stream.begin()
        while True:
            timeout = progress.next_timeout()
            told: Any = ask(progress.request, timeout=timeout, metadata=self._metadata)
            error: SchedulerError | None = None
            try:
                for message in told:
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
            time.sleep(patience.after(error, time.monotonic()))
