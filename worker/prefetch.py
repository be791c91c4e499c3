"""How RabbitMQ counts the messages that a worker may hold: over all of its queues, or for each of them."""

from __future__ import annotations

from typing import Any, Final

from amqp import ChannelError, Message

SENTENCE: Final = (
    "RabbitMQ hands this worker as many messages as it has slots from each of its queues, and what it has no slot for "
    "waits in it while other workers are free: set deprecated_features.permit.global_qos = true in rabbitmq.conf"
)


def is_shared(connection: Any, *, ask: bool = True) -> bool | None:
    """Return whether one limit holds for what several queues deliver together; None when the broker won't let us try.

    Two queues of our own with a message each, and a limit of one: with the first message taken, the second stays.
    RabbitMQ 4.3 takes a request for such a limit and does not heed it. ask: False leaves the request out.
    """
    channel = connection.channel()
    try:
        channel.basic_qos(0, 1, ask)
        queues = [channel.queue_declare(exclusive=True, auto_delete=True).queue for _ in range(2)]
        for queue in queues:
            channel.basic_publish(Message(), routing_key=queue)
        return [_left_when_consumed(channel, queue) for queue in queues] == [0, 1]
    except ChannelError:  # as where a user may declare no queues but ours
        return None
    finally:
        channel.close()


def _left_when_consumed(channel: Any, queue: str) -> int:
    """Consume a queue, and return how many messages were not delivered."""
    # It delivers what it may before it answers.
    channel.basic_consume(queue, callback=lambda _message: None)
    return int(channel.queue_declare(queue, passive=True).message_count)
