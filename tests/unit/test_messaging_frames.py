"""What is stamped is, byte for byte, what py-amqp's basic_publish sends."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.method_framing import frame_writer
from hypothesis import example, given
from hypothesis import strategies as st

from shared.messaging.app import make_app
from shared.messaging.frames import MOST_STAMPS, Frames
from shared.messaging.messages import Messages, Outgoing
from shared.messaging.queues import EXECUTIONS_EXCHANGE, Queues
from shared.settings import Settings
from tests.builders import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = Messages(make_app(Settings(), Queues(frozenset({*QUEUES.values(), "manual"}), QUEUES)))


class Socket:
    """Where a connection writes to."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    @contextmanager
    def having_timeout(self, _timeout: float | None) -> Iterator[None]:
        yield


def channel(frame_max: int = 131_072, number: int = 1) -> Any:
    """Return a channel of a connection that was made already, and writes to a socket of ours."""
    connection: Any = amqp.Connection(frame_max=frame_max)
    connection.transport = Socket()
    connection.frame_writer = frame_writer(connection, connection.transport)
    return amqp.Channel(connection, number)


def sent(outgoing: Outgoing, on: Any) -> bytes:
    """Return what py-amqp sends."""
    on.connection.transport.sent = b""
    on.basic_publish(
        MESSAGES.of(outgoing), exchange=EXECUTIONS_EXCHANGE.name, routing_key=outgoing.queue, mandatory=True
    )
    return bytes(on.connection.transport.sent)


IDS = st.one_of(
    st.text("abcxyz0189._:-", min_size=1, max_size=60),
    st.sampled_from(["", "~", "~" * 126, "a" * 126, "%", "%(id)b", 'quoted "id"', "it's", "é", "tab\t", "a\\b", "^"]),
)
NAMES = st.one_of(
    st.text(max_size=100),
    st.sampled_from(["", "^", "^" * 94, "n" * 94, "100 %", "%(name)b %s", "~" * 30, "Prices, daily"]),
)
LIMITS = st.sampled_from([(None, None), (30.0, None), (30.5, 20), (1, 0.5)])


@given(
    outgoing=st.lists(
        st.builds(Outgoing, IDS, st.sampled_from(["manual", "x" * 63]), st.integers(0, 9), NAMES, LIMITS)
    ),
    frame_max=st.sampled_from([4_096, 131_072]),
    number=st.integers(1, 300),
)
@example(outgoing=[Outgoing('quoted "id"', "manual", 5, "a job")], frame_max=131_072, number=1)
def test_whatever_the_texts_the_bytes_are_those_that_py_amqp_sends(
    outgoing: list[Outgoing], frame_max: int, number: int
) -> None:
    on = channel(frame_max, number)
    frames = Frames(on, MESSAGES)
    for each in [*outgoing, *outgoing]:
        assert frames.of(each) == sent(each, on)


@pytest.mark.parametrize("id_length", [1, 2, 46, 126, 255])
@pytest.mark.parametrize("name_length", [1, 2, 30, 94, 255])
def test_whatever_the_lengths_the_bytes_are_those_that_py_amqp_sends(id_length: int, name_length: int) -> None:
    on = channel()
    frames = Frames(on, MESSAGES)
    for letters in ("ab", "~^", "^~", "x%"):
        outgoing = Outgoing(letters[0] * id_length, "manual", 5, letters[1] * name_length)
        assert frames.of(outgoing) == sent(outgoing, on)


def test_a_name_too_long_for_one_frame_is_sent_in_several() -> None:
    on = channel(frame_max=4_096)
    frames = Frames(on, MESSAGES)
    for _ in range(2):
        outgoing = Outgoing("uid.0.20260302T120000Z", "manual", 5, "n" * 10_000)
        assert frames.of(outgoing) == sent(outgoing, on)


def test_more_kinds_of_messages_than_are_kept_are_right_too() -> None:
    on = channel()
    frames = Frames(on, MESSAGES)
    for number in range(MOST_STAMPS + 50):
        outgoing = Outgoing("uid.0.20260302T120000Z", f"queue-{number}", 5, "a job")
        if number % 100 == 0 or number > MOST_STAMPS:
            assert frames.of(outgoing) == sent(outgoing, on)
        else:
            frames.of(outgoing)


def test_a_message_of_a_kind_that_is_known_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames(channel(), MESSAGES)
    frames.of(Outgoing("uid.0.20260302T120000Z", "manual", 5, "a job"))
    monkeypatch.setattr(frames, "written", lambda _outgoing: b"")
    assert b"uid.0.20260302T120500Z" in frames.of(Outgoing("uid.0.20260302T120500Z", "manual", 5, "my job"[:5]))
