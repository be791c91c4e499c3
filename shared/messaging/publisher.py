"""Send messages in batches and learn which of them the broker confirmed."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from amqp import Message
from amqp.exceptions import AMQPError, ChannelError
from kombu.exceptions import OperationalError

from shared.domain.job import HIGHEST_PRIORITY
from shared.messaging.app import RUN_EXECUTION
from shared.messaging.queues import DEAD_LETTER_EXCHANGE, DEAD_LETTER_QUEUE, EXECUTIONS_EXCHANGE, Queues

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery import Celery

CONFIRM_TIMEOUT: Final = timedelta(seconds=10)
"""After this long without a confirm the connection is given up; what was not confirmed is sent again later."""

PERSISTENT: Final = 2

_LONGEST_KEY: Final = 255
"""Bytes of a routing key."""


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


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for an execution: the task's id is the execution's id, its displayed name the job's.

    time_limits: seconds, hard and soft, that the pool's processes get; only prefork heeds them. Raises ValueError when
    AMQP has no place for a value: found later, while a batch is written, it would cost the whole batch.
    """

    execution_id: str
    queue: str
    priority: int
    job_name: str
    time_limits: tuple[float | None, float | None] = (None, None)

    def __post_init__(self) -> None:
        texts = (self.execution_id, self.queue, self.job_name)
        if not all(isinstance(text, str) for text in texts) or len(self.queue.encode()) > _LONGEST_KEY:
            raise ValueError(f"its id, queue and job's name are {texts!r}")
        if type(self.priority) is not int or not 0 <= self.priority <= HIGHEST_PRIORITY:
            raise ValueError(f"its priority is {self.priority!r}")


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
        self._sent = 0
        self._awaited: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._returned: set[str] = set()
        template = app.amqp.as_task_v2("", RUN_EXECUTION, args=("",), ignore_result=True)
        self._headers: dict[str, Any] = template.headers
        self._embed = template.body[2]

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks that this process knows, by name."""
        tasks: Mapping[str, Any] = self._app.tasks
        return tasks

    def publish(self, messages: Sequence[Outgoing]) -> set[str]:
        """Send messages; return the ids of those that the broker has in a queue.

        Raises BrokerAway when none was sent. A message missing in the answer may or may not have arrived.
        """
        return self._batch([(m.execution_id, self._message(m), EXECUTIONS_EXCHANGE.name, m.queue) for m in messages])

    def publish_dead_letters(self, letters: Mapping[str, tuple[dict[str, str], str]]) -> set[str]:
        """Send copies of failed executions, id to (headers, JSON), to the dead-letter queue; return as publish does."""
        return self._batch(
            [
                (execution_id, _message(body, headers, execution_id), DEAD_LETTER_EXCHANGE.name, "")
                for execution_id, (headers, body) in letters.items()
            ]
        )

    def ready_counts(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many messages wait in each queue, not counting those that workers hold. Raises BrokerAway."""
        self._connect()
        try:
            return {queue: self._channel.queue_declare(queue=queue, passive=True).message_count for queue in queues}
        except (AMQPError, OSError, OperationalError) as error:
            self.close()
            raise BrokerAway(str(error)) from error

    def walk(self, queue: str) -> Walk:
        """Begin a walk through a queue; it breaks off when the connection is closed. Raises BrokerAway."""
        self._connect()
        try:
            with _broker_errors():
                return Walk(self._connection.channel(), queue)
        except BrokerAway:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, or drop it if the broker does not answer within a second. Safe to call at any time."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPError, OSError, OperationalError):  # it was broken: that is why it is dropped
                connection.collect(socket_timeout=1)

    def _batch(self, sends: Sequence[tuple[str, Message, str, str]]) -> set[str]:
        idle = self._connection is not None
        try:
            return self._try_batch(sends)
        except BrokerAway as away:
            if not idle or isinstance(away.__cause__, TimeoutError):
                raise
        # The broker closed the connection since it was last used, as when it was restarted, and it shows only now.
        return self._try_batch(sends)

    def _try_batch(self, sends: Sequence[tuple[str, Message, str, str]]) -> set[str]:
        self._connect()
        self._awaited.clear()
        self._confirmed.clear()
        self._returned.clear()
        try:
            for execution_id, message, exchange, routing_key in sends:
                self._sent += 1
                self._awaited[self._sent] = execution_id
                self._channel.basic_publish(message, exchange=exchange, routing_key=routing_key, mandatory=True)
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

    def _message(self, outgoing: Outgoing) -> Message:
        execution_id = outgoing.execution_id
        headers = {
            **self._headers,
            "id": execution_id,
            "root_id": execution_id,
            "shadow": outgoing.job_name,
            "argsrepr": repr((execution_id,)),
            "timelimit": list(outgoing.time_limits),
        }
        body = json.dumps([[execution_id], {}, self._embed])
        return _message(body, headers, execution_id, priority=outgoing.priority)

    def _connect(self) -> None:
        if self._connection is not None and self._connection.connected:
            return
        self.close()
        try:
            connection = self._app.connection_for_write()
            connection.connect()
            self._connection = connection
            channel: Any = connection.default_channel
            for queue in [*self._queues.declarations(), DEAD_LETTER_QUEUE]:
                queue(channel).declare()
            channel.confirm_select()
        except (AMQPError, OSError, OperationalError) as error:
            self.close()
            raise BrokerAway(str(error) or type(error).__name__) from error
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel, self._sent = channel, 0

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed.update(self._settle(tag, multiple))

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple)

    def _settle(self, tag: int, multiple: bool) -> list[str]:
        tags = [t for t in self._awaited if t <= tag] if multiple else [tag]
        return [self._awaited.pop(t) for t in tags if t in self._awaited]

    def _on_return(self, _error: ChannelError, _exchange: str, _key: str, message: Message) -> None:
        # The return of an unroutable message comes before its confirm.
        self._returned.add(message.properties["correlation_id"])


def _message(body: str, headers: Mapping[str, Any], execution_id: str, **properties: Any) -> Message:
    return Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=dict(headers),
        correlation_id=execution_id,
        delivery_mode=PERSISTENT,
        **properties,
    )
