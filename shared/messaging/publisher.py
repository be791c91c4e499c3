"""Send messages in batches and learn which of them the broker confirmed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from amqp.exceptions import AMQPError, ChannelError
from kombu.exceptions import OperationalError

from shared.messaging.frames import Frames, publish_frames
from shared.messaging.messages import Messages, persistent
from shared.messaging.queues import DEAD_LETTER_EXCHANGE, DEAD_LETTER_QUEUE, Queues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from amqp import Message
    from celery import Celery

    from shared.messaging.messages import Outgoing

CONFIRM_TIMEOUT: Final = timedelta(seconds=10)
"""After this long without a confirm the connection is given up; what was not confirmed is sent again later."""


class BrokerAway(Exception):  # noqa: N818 - a state of the broker, not a fault here
    """RabbitMQ cannot be reached, or does not answer."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message at the head of the dead-letter queue; execution_id is empty when it is no copy of an execution."""

    execution_id: str
    tag: int


class Walk:
    """One walk through a queue, by a channel of its own: what it has taken and not removed goes back when it ends."""

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._left = int(channel.queue_declare(queue=queue, passive=True).message_count)

    def take(self, limit: int) -> list[Letter]:
        """Return the next messages, none when it has seen as many as there were. Raises BrokerAway."""
        taken: list[Letter] = []
        with _broker_errors():
            while self._left and len(taken) < limit and (message := self._channel.basic_get(self._queue)) is not None:
                self._left -= 1
                headers = message.headers or {}
                taken.append(Letter(str(headers.get("x-execution-id", "")), message.delivery_tag))
        return taken

    def remove(self, letter: Letter) -> None:
        """Remove a message that was taken. Raises BrokerAway."""
        with _broker_errors():
            self._channel.basic_ack(letter.tag)

    def end(self) -> None:
        """Put back what was not removed. Raises BrokerAway."""
        with _broker_errors():
            self._channel.close()


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except (AMQPError, OSError, OperationalError) as error:
        raise BrokerAway(str(error) or type(error).__name__) from error


class Publisher:
    """One connection, used by one thread. Connects when it is needed, and again after an error.

    py-amqp by itself waits for each confirm before it sends the next message; the events of its channel let a whole
    batch be on its way at once.
    """

    def __init__(self, app: Celery, queues: Queues) -> None:
        self._app = app
        self._queues = queues
        self._connection: Any = None
        self._channel: Any = None
        self._messages = Messages(app)
        self._frames: Any = None
        self._sent = 0
        self._settled = 0
        self._awaited: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._returned: set[str] = set()

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks that this process knows, by name."""
        tasks: Mapping[str, Any] = self._app.tasks
        return tasks

    def publish(self, messages: Sequence[Outgoing]) -> set[str]:
        """Send messages; return the ids of those that the broker has in a queue.

        Raises BrokerAway when none was sent. A message missing in the answer may or may not have arrived.
        """
        return self._batch([m.execution_id for m in messages], lambda frames: map(frames.of, messages))

    def publish_dead_letters(self, letters: Mapping[str, tuple[dict[str, str], str]]) -> set[str]:
        """Send copies of failed executions, id to (headers, JSON), to the dead-letter queue; return as publish does."""
        messages = [persistent(body, headers, execution_id) for execution_id, (headers, body) in letters.items()]
        return self._batch(
            list(letters),
            lambda _: (publish_frames(self._channel, each, DEAD_LETTER_EXCHANGE.name, "") for each in messages),
        )

    def ready_counts(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many messages wait in each queue, not counting those that workers hold. Raises BrokerAway."""
        self.connect()
        with self._closing_when_away():
            return {queue: self._channel.queue_declare(queue=queue, passive=True).message_count for queue in queues}

    def walk(self, queue: str) -> Walk:
        """Begin a walk through a queue; it breaks off when the connection is closed. Raises BrokerAway."""
        self.connect()
        with self._closing_when_away():
            return Walk(self._connection.channel(), queue)

    def close(self) -> None:
        """Close the connection, or drop it if the broker does not answer within a second. Safe to call at any time."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPError, OSError, OperationalError):  # it was broken: that is why it is dropped
                connection.collect(socket_timeout=1)

    @contextmanager
    def _closing_when_away(self) -> Iterator[None]:
        try:
            with _broker_errors():
                yield
        except BrokerAway:
            self.close()
            raise

    def _batch(self, ids: Sequence[str], write: Callable[[Frames], Iterable[bytes]]) -> set[str]:
        """Publish what `write` makes for the ids, in their order, on whichever connection it is that stands."""
        idle = self._connection is not None
        try:
            return self._try_batch(ids, write)
        except BrokerAway as away:
            # A write that takes too long ends with the second of these.
            if not idle or isinstance(away.__cause__, (TimeoutError, BlockingIOError)):
                raise
        # The broker closed the connection since it was last used, as when it was restarted, and it shows only now.
        return self._try_batch(ids, write)

    def _try_batch(self, ids: Sequence[str], write: Callable[[Frames], Iterable[bytes]]) -> set[str]:
        self.connect()
        self._confirmed.clear()
        self._returned.clear()
        try:
            frames = b"".join(write(self._frames))
            self._awaited = dict(enumerate(ids, start=self._sent + 1))
            self._sent += len(ids)
            self._channel.connection.transport.write(frames)
            deadline = monotonic() + CONFIRM_TIMEOUT.total_seconds()
            while self._awaited:
                self._connection.drain_events(timeout=max(0.001, deadline - monotonic()))
        except (AMQPError, OSError, OperationalError) as error:
            self.close()
            if not self._confirmed:
                raise BrokerAway(str(error) or type(error).__name__) from error
        if self._returned:
            # A queue is gone, as after the broker was wiped: the next connection declares it again.
            self.close()
        return self._confirmed - self._returned

    def connect(self) -> None:
        """Connect, unless a connection seems to stand. Raises BrokerAway."""
        if self._connection is not None and self._connection.connected and self._channel.is_open:
            return
        self.close()
        with self._closing_when_away():
            connection = self._app.connection_for_write()
            connection.connect()
            self._connection = connection
            channel: Any = connection.default_channel
            for queue in [*self._queues.declarations(), DEAD_LETTER_QUEUE]:
                queue(channel).declare()
            channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel, self._frames = channel, Frames(channel, self._messages)
        self._sent = self._settled = 0

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed.update(self._settle(tag, multiple))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple)

    def _settle(self, tag: int, multiple: bool) -> list[str]:
        tags = range(self._settled + 1, tag + 1) if multiple else (tag,)
        if multiple:
            self._settled = tag
        return [self._awaited.pop(each) for each in tags if each in self._awaited]

    def _on_return(self, _error: ChannelError, _exchange: str, _key: str, message: Message) -> None:
        # The return of an unroutable message comes before its confirm.
        self._returned.add(message.properties["correlation_id"])
