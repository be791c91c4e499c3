"""The bytes of messages: as py-amqp writes them, and stamped, which takes a small part of the time.

Messages of two executions differ in the execution's id and the job's name; and, in what py-amqp writes, in the lengths
of these texts and of what they are a part of. So for texts of the same lengths it writes a message once, and from then
on other texts are put in their places.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from amqp.spec import Basic

from shared.messaging.queues import EXECUTIONS_EXCHANGE

if TYPE_CHECKING:
    from amqp import Channel, Message

    from shared.messaging.messages import Messages, Outgoing

MOST_STAMPS: Final = 1_000
"""Kept, each some 500 bytes; more kinds of messages than these are written by py-amqp."""

_METHOD_FRAME: Final = 1

_VERBATIM: Final = re.compile(r"[A-Za-z0-9._:-]+")
"""Ids that stay as they are in JSON and in Python's repr. All that we make do."""


class _Capture:
    """Takes what is written, in place of a connection's transport."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes | memoryview) -> None:
        self.written += data


def publish_frames(channel: Channel, message: Message, exchange: str, routing_key: str) -> bytes:
    """Return the bytes that the channel's basic_publish would send, of a message that may not get lost unroutable."""
    capture = _Capture()
    arguments = dumps("Bssbb", (0, exchange, routing_key, True, False))
    frame_writer(channel.connection, capture)(_METHOD_FRAME, channel.channel_id, Basic.Publish, arguments, message)
    return capture.written


class Frames:
    """The bytes of executions' messages on one channel."""

    def __init__(self, channel: Channel, messages: Messages) -> None:
        self._channel = channel
        self._messages = messages
        self._stamps: dict[tuple[object, ...], bytes | None] = {}

    def of(self, outgoing: Outgoing) -> bytes:
        """Return the bytes that publish an execution's message: those that py-amqp would send."""
        execution_id, name = outgoing.execution_id.encode(), outgoing.job_name.encode()
        kind = (outgoing.queue, outgoing.priority, outgoing.time_limits, len(execution_id), len(name))
        if kind not in self._stamps and len(self._stamps) < MOST_STAMPS:
            self._stamps[kind] = self._stamp(outgoing, len(execution_id), len(name))
        stamp = self._stamps.get(kind)
        if stamp is None or not _VERBATIM.fullmatch(outgoing.execution_id):
            return self.written(outgoing)
        return stamp % {b"id": execution_id, b"name": name}

    def written(self, outgoing: Outgoing) -> bytes:
        """Return the same, written by py-amqp."""
        return publish_frames(self._channel, self._messages.of(outgoing), EXECUTIONS_EXCHANGE.name, outgoing.queue)

    def _stamp(self, outgoing: Outgoing, id_length: int, name_length: int) -> bytes | None:
        """Return a format that the two texts are put in; None if their places in what is written cannot be told.

        A length may be a byte like those that stand for the texts. So it is tried with other ones.
        """
        if not id_length or not name_length:
            return None
        found = self.written(replace(outgoing, execution_id="~" * id_length, job_name="^" * name_length))
        stamp = found.replace(b"%", b"%%").replace(b"~" * id_length, b"%(id)b").replace(b"^" * name_length, b"%(name)b")
        other = replace(outgoing, execution_id="i" * id_length, job_name="n" * name_length)
        made = stamp % {b"id": other.execution_id.encode(), b"name": other.job_name.encode()}
        return stamp if made == self.written(other) else None
