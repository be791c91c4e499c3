"""How RabbitMQ counts the messages that a worker may hold: over all of its queues, or for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from amqp import Message
from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError

from shared.log import get_logger

if TYPE_CHECKING:
    from celery import Celery

log = get_logger()

PATIENCE: Final = 5.0
"""Seconds that the broker gets for each answer."""


def warn_unless_shared(app: Celery, *, ask: bool = True) -> None:
    """Say what to set where RabbitMQ counts for each queue. Takes as long as the broker does: call it in a thread."""
    if is_shared(app, ask=ask) is False:
        log.warning(
            "RabbitMQ hands this worker as many messages as it has slots from each of its queues, and what it has no "
            "slot for waits in it while other workers are free: set deprecated_features.permit.global_qos = true in "
            "rabbitmq.conf",
            action="prefetch_per_queue",
        )


def is_shared(app: Celery, *, ask: bool = True) -> bool | None:
    """Return whether one limit holds for what several queues deliver together; None when that cannot be told.

    Two queues of our own with a message each, and a limit of one: with the first message taken, the second stays.
    RabbitMQ 4.3 takes a request for such a limit and does not heed it. ask: False leaves the request out.

    It is tried on a connection of its own, with which all goes that was made: one on which something is published is
    read no more, heartbeats included, while the broker is out of memory or disk.
    """
    limits = {"read_timeout": PATIENCE, "write_timeout": PATIENCE}
    try:
        with app.connection_for_read(connect_timeout=PATIENCE, transport_options=limits) as connection:
            left = _left_of_two(connection.channel(), ask)
    except (AMQPError, OSError, OperationalError):  # as where a user may declare no queues but ours
        return None
    return {(0, 1): True, (0, 0): False}.get(left)


def _left_of_two(channel: Any, ask: bool) -> tuple[int, int]:
    """Consume two queues with a message each, under a limit of one, and return how many messages stay in either."""
    channel.basic_qos(0, 1, ask)
    first, second = (channel.queue_declare(exclusive=True, auto_delete=True).queue for _ in range(2))
    for queue in (first, second):
        channel.basic_publish(Message(), routing_key=queue)
    return _left_when_consumed(channel, first), _left_when_consumed(channel, second)


def _left_when_consumed(channel: Any, queue: str) -> int:
    """Consume a queue, and return how many messages were not delivered."""
    # It delivers what it may before it answers.
    channel.basic_consume(queue, callback=lambda _message: None)
    return int(channel.queue_declare(queue, passive=True).message_count)
