"""What RabbitMQ says of queues, over a connection of its own for each question. Blocks.

By passive declarations: that takes no plugin and no further port, and no right but to use the queue.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound
from kombu import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Depth:
    """What a broker says of a queue: messages that wait, and consumers."""

    messages: int
    consumers: int


@contextmanager
def connected(url: str, within: float) -> Iterator[Connection]:
    """Connect to the broker at an address, which gets so many seconds for each answer; close the connection afterwards.

    One that refuses is asked once more at once: by itself kombu would wait two seconds before, and whoever asks how all
    is wants to know that it is away. Raises what kombu raises, or OSError.
    """
    options = {"read_timeout": within, "write_timeout": within}
    with Connection(url, connect_timeout=within, transport_options=options) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
        yield broker


def ask_depths(url: str, names: Iterable[str], within: float) -> dict[str, Depth | None]:
    """Return the depths of queues, None of one that nobody has declared yet. Raises what kombu raises, or OSError."""
    depths: dict[str, Depth | None] = {}
    with connected(url, within) as broker:
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
