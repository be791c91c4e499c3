"""How a worker stays connected to RabbitMQ, and what it lets in: messages that are ours.

Others could end the worker, or keep one of its slots.
"""

from __future__ import annotations

import math
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from celery.utils.threads import bound_open_broker_sockets  # type: ignore[attr-defined]  # celery's stubs lack it
from celery.worker import consumer as celery_consumer
from celery.worker import state

from shared import metrics
from shared.domain.text import excerpt
from shared.log import get_logger
from shared.messaging.app import RUN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu import Connection, Message

log = get_logger()

EVENTS_WAIT: Final = 0.1
"""Seconds that an event for monitors may wait for others."""
EVENTS_TOGETHER: Final = 500
"""How many of them make a message at most."""

BETWEEN_TRIES: Final = 1
"""Seconds between tries to reach a broker that is away, however long it has been."""

LAST_ANSWER: Final = 3.0
"""Seconds that the broker gets to answer a worker that stops. Less costs a loaded one a few deliveries for nothing."""
NO_ANSWER: Final = 0.1
"""Seconds for each further answer of one that gave none: Celery asks for up to nine."""

_CONTENT_TYPE: Final = "application/json"

_INSTEAD: Final = {"celery.worker.consumer.heart:Heart": "worker.pulse:PulseStep"}
"""Steps of a consumer, by Celery's that they stand for."""


class Consumer(celery_consumer.Consumer):
    """Takes as many messages as there are slots, in all, and rejects what is not ours.

    The broker then parks that in the dead-letter queue, and never delivers it again.
    """

    class Blueprint(celery_consumer.Consumer.Blueprint):  # type: ignore[misc, valid-type]  # celery's stubs have a variable
        """What a consumer starts, with each connection."""

        default_steps = tuple(_INSTEAD.get(step, step) for step in celery_consumer.Consumer.Blueprint.default_steps)

    _flushing: Any = None
    """The dispatcher whose events are about to be sent, which may be one of before the connection was lost."""
    _unanswered = False
    """Whether this worker stops, and the broker did not answer."""

    def connect(self) -> Any:
        """Return a connection to RabbitMQ on which one limit holds for what all queues deliver together.

        From RabbitMQ 4 on, kombu would have it hold for each of them: what a worker has no slot for would wait in it
        while others are free.
        """
        connection: Any = super().connect()
        connection.transport.qos_semantics_matches_spec = _matches_spec
        return connection

    def ensure_connected(self, conn: Connection) -> Connection:
        """Wait until the broker can be reached, and lets us in, and return the connection.

        By itself Celery waits two seconds longer after each try, up to half a minute: so long a worker is of no use
        when the broker has come back. And it logs each of them as an error. One that is there before its users and
        virtual hosts are, it would try as often as it can.
        """
        away = False

        def note(error: BaseException, interval: float) -> None:
            nonlocal away
            if interval and not away:  # else another broker of the URL is tried at once
                log.warning(
                    "the broker cannot be reached", action="broker_away", broker=conn.as_uri(), error=str(error)
                )
                away = True

        while True:
            try:
                conn.ensure_connection(
                    note, interval_start=BETWEEN_TRIES, interval_step=0, callback=state.maybe_shutdown
                )
                break
            except (*conn.connection_errors, *conn.channel_errors) as refused:
                note(refused, BETWEEN_TRIES)
                state.maybe_shutdown()
                sleep(BETWEEN_TRIES)
        if away:
            log.info("the broker is back", action="broker_back", broker=conn.as_uri())
        self.first_connection_attempt = False
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Give up the connection that was lost, and with it that of the events for monitors, without a farewell.

        Celery takes leave of the second when it has connected anew, and waits for the answer: as long as that
        connection seems open, though nobody may be there, the worker would take no message.
        """
        super().on_connection_error_after_connected(exc)
        if dispatcher := vars(self)["event_dispatcher"]:
            with suppress(Exception):  # of what is broken anyway: the worker would end
                dispatcher.connection.collect()

    def stop(self) -> None:
        """Take no more messages; what runs goes on."""
        self._wait_no_longer_if_unanswered()
        super().stop()

    def shutdown(self) -> None:
        """Take leave of the broker, when nothing runs any more."""
        self._wait_no_longer_if_unanswered()
        super().shutdown()

    def _wait_no_longer_if_unanswered(self) -> None:
        """Let a broker that stands still keep the worker from its end for seconds only.

        Celery takes leave step by step, and waits for each answer as long as for any. The connections stay: what is
        acknowledged meanwhile arrives if the broker goes on.
        """
        if self._unanswered:
            return
        connection, dispatcher = self.connection, vars(self)["event_dispatcher"]
        both = connection, dispatcher and dispatcher.connection
        connections = [each for each in both if each is not None and each.connected]
        try:
            for each in connections:
                bound_open_broker_sockets(each, LAST_ANSWER)
                each.connection.channel()
        except (*vars(self)["connection_errors"], *vars(self)["channel_errors"]) as error:
            log.warning("the broker does not answer", action="broker_away", error=repr(error))
            self._unanswered = True
            for each in connections:
                bound_open_broker_sockets(each, NO_ANSWER)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # celery's stubs have a property
        """Send the events for monitors, as Flower, together: Celery sends a message for nearly each of them."""
        hub, dispatcher = vars(self)["hub"], vars(self)["event_dispatcher"]
        # With the connection Celery may drop what the hub is to do later: that it was to be done for an earlier
        # dispatcher says nothing of this one. There is none while the connection is made anew.
        if hub and dispatcher and self._flushing is not dispatcher:
            self._flushing = dispatcher
            dispatcher.buffer_limit = EVENTS_TOGETHER
            hub.call_later(EVENTS_WAIT, self._flush_all)

    def _flush_all(self) -> None:
        self._flushing = None  # before: what comes from now on is not sure to be in this message
        if dispatcher := vars(self)["event_dispatcher"]:
            dispatcher.flush()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Return what is called with each message."""
        take = super().create_task_handler(*args, **kwargs)
        away: tuple[type[Exception], ...] = vars(self)["connection_errors"]

        def handle(message: Message) -> None:
            wrong = what_is_wrong(message)
            if wrong is None:
                try:
                    take(message)
                except away:
                    raise
                except Exception as error:  # noqa: BLE001 - Celery would end the worker, the next one too, and so on
                    wrong = f"Celery can't take it: {error!r}"
                else:
                    return
            metrics.WORKER_POISON.inc()
            log.error(
                "a message is not ours",
                action="message_poison",
                reason=wrong,
                headers=excerpt(repr(message.headers)),
                body=excerpt(repr(message.body)),
            )
            if not message.acknowledged:
                message.reject_log_error(log, away)

        return handle


def _matches_spec(_connection: object) -> bool:
    """Return whether a limit asked for without `global` is one of the channel, as AMQP has it.

    RabbitMQ's is one of each consumer, since 3.3. So Celery asks for one with `global`.
    """
    return False


def what_is_wrong(message: Message) -> str | None:
    """Return why a message can't be one that the publisher made; None for one that can.

    It may name an execution that is not there: that the claim tells.
    """
    headers: Any = message.headers or {}
    if headers.get("task") != RUN_EXECUTION:
        return f"its task is {excerpt(repr(headers.get('task')))}"
    if message.content_type != _CONTENT_TYPE:
        return f"its content type is {excerpt(repr(message.content_type))}"
    if headers.get("eta") is not None or headers.get("expires") is not None:
        return "it has a time of its own"
    if not _are_time_limits(headers.get("timelimit")):
        return f"its time limits are {excerpt(repr(headers.get('timelimit')))}"
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises for what anybody may have sent
        return f"its body can't be read: {excerpt(str(error))}"
    match body:
        case [[str(execution_id)], {**named}, {**_embedded}] if not named and headers.get("id") == execution_id:
            return None
        case _:
            return "its body does not name the execution that its headers name"


def _are_time_limits(value: Any) -> bool:
    """Return whether the prefork pool can go by them; it would end the worker over others when it sets its timers."""
    match value:
        case None:
            return True
        case [_, _]:
            return all(each is None or (type(each) in {int, float} and 0 < each < math.inf) for each in value)
        case _:
            return False
