"""What RabbitMQ says of queues, over a connection of its own for each question. Blocks.

By passive declarations: that takes no plugin and no further port, and no right but to use the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound
from kombu import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Depth:
    """What a broker says of a queue: messages that wait, and consumers."""

    messages: int
    consumers: int


def connection(url: str, within: float) -> Connection:
    """Return a connection to the broker at an address, which gets so many seconds for each answer."""
    options = {"read_timeout": within, "write_timeout": within}
    return Connection(url, connect_timeout=within, transport_options=options)


def ask_depths(url: str, names: Iterable[str], within: float) -> dict[str, Depth | None]:
    """Return the depths of queues, None of one that nobody has declared yet. Raises what kombu raises, or OSError."""
    depths: dict[str, Depth | None] = {}
    with connection(url, within) as broker:
        for name in names:
            channel: Any
            try:
                with broker.channel() as channel:
                    declared = channel.queue_declare(queue=name, passive=True)
            except NotFound:  # which costs the channel
                depths[name] = None
            else:
                depths[name] = Depth(declared.message_count, declared.consumer_count)
    return depths
