"""Send the messages of executions that were just inserted, in a thread, and mark them QUEUED when they are confirmed.

If anything fails here nothing is lost: the row is PENDING, and beat's relay sends it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from shared import metrics
from shared.domain.execution import WAITING_FOR_WORKER
from shared.log import MOST_LINES, get_logger
from shared.messaging.messages import Outgoing
from shared.messaging.publisher import BrokerAway, Publisher
from shared.store import executions
from shared.tasks.limits import limits_of_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pymongo.database import Database

log = get_logger()

BATCH: Final = 500
MOST_WAITING: Final = 50_000
"""Rows kept for sending while the broker is slow; those beyond are the relay's."""
MARK_AFTER: Final = 0.05
"""Seconds after which a Dispatcher notes that a message was confirmed. At once, the note would be written while the
worker that has the message claims the row, which then waits for it; and most are claimed by then, and need none."""


class Sender:
    """Publishes rows, one thread at a time, and marks them."""

    def __init__(self, database: Database[dict[str, Any]], publisher: Publisher, by: str) -> None:
        self._executions = database[executions.COLLECTION]
        self._publisher = publisher
        self._by = by

    def send(self, documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Publish the messages of these rows, note which were confirmed, and return those. Raises as both do."""
        confirmed = self.publish(documents)
        self.mark(confirmed)
        return confirmed

    def publish(self, documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Publish the messages of these rows, and return those that were confirmed. Raises BrokerAway.

        One that no message can be made of is left out, and counts as not confirmed: it must not stop the others.
        """
        messages, documents = self._messages(documents)
        try:
            confirmed_ids = self._publisher.publish(messages) if messages else set()
        except BrokerAway:
            _count(metrics.PUBLISH_FAILURES, documents)
            raise
        confirmed = [d for d in documents if d["_id"] in confirmed_ids]
        _count(metrics.PUBLISHED, confirmed)
        _count(metrics.PUBLISH_FAILURES, [d for d in documents if d["_id"] not in confirmed_ids])
        return confirmed

    def mark(self, confirmed: Sequence[Mapping[str, Any]]) -> None:
        """Note that the messages of these rows were confirmed, where no worker has them yet.

        Raises PyMongoError; a row that was confirmed but not marked is sent again, which is harmless.
        """
        by_attempt: dict[int, list[str]] = defaultdict(list)
        for document in confirmed:
            by_attempt[document["attempt"]].append(document["_id"])
        for attempt, ids in by_attempt.items():
            move = executions.mark_queued(ids, attempt, self._by)
            self._executions.update_many(move.filter, move.update)
        _report(confirmed)

    def _messages(self, documents: Sequence[Mapping[str, Any]]) -> tuple[list[Outgoing], Sequence[Mapping[str, Any]]]:
        """Return the messages of those rows that have all that theirs needs, and these rows."""
        messages, sendable = [], []
        for document in documents:
            try:
                message = self._message(document)
            except (KeyError, TypeError, ValueError) as error:
                log.warning(
                    "no message can be made of a row",
                    action="message_impossible",
                    execution_id=document["_id"],
                    error=repr(error),
                )
            else:
                messages.append(message)
                sendable.append(document)
        return messages, sendable

    def _message(self, row: Mapping[str, Any]) -> Outgoing:
        """Return a row's message. Raises KeyError, TypeError, ValueError when anything that it needs is missing.

        Or what is noted of it afterwards: without its note it would be sent at each look.
        """
        _ = row["attempt"] + 1, row["job_id"], row["trace_id"]
        if row["state"] not in WAITING_FOR_WORKER:
            raise ValueError(f"{row['state']!r} is no state in which a worker takes it")
        limits = limits_of_message(row, self._publisher.tasks)
        return Outgoing(row["_id"], row["queue"], row["priority"], row["job_name"], limits)


def _count(counter: Any, documents: Sequence[Mapping[str, Any]]) -> None:
    for queue, number in Counter(document["queue"] for document in documents).items():
        counter.labels(queue).inc(number)


def _report(confirmed: Sequence[Mapping[str, Any]]) -> None:
    """Log what was confirmed; of many messages a line says how many."""
    if len(confirmed) > MOST_LINES:
        log.info("messages confirmed", action="executions_queued", count=len(confirmed))
        return
    for document in confirmed:
        log.info(
            "message confirmed",
            action="execution_queued",
            execution_id=document["_id"],
            job_id=document["job_id"],
            attempt=document["attempt"] + 1,
            queue=document["queue"],
            trace_id=document["trace_id"],
        )


class Dispatcher(Thread):
    """A Sender with a thread and a queue of its own, for processes that only send what they insert."""

    def __init__(self, sender: Sender, publisher: Publisher) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._sender = sender
        self._publisher = publisher
        self._waiting: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._unmarked: list[Mapping[str, Any]] = []
        self._mark_at = 0.0
        self._stopping = Event()

    def submit(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Hand over rows that were just inserted and are due. Never blocks."""
        for document in documents:
            if self._waiting.qsize() < MOST_WAITING:
                self._waiting.put(document)

    def run(self) -> None:
        """Send until stopped."""
        while not (self._stopping.is_set() and self._waiting.empty()):
            idle = max(0.0, self._mark_at - monotonic()) if self._unmarked else 0.5
            batch = take(self._waiting, BATCH, timeout=idle)
            away = self._left_to_relay(self._publish, batch)
            if self._unmarked and (monotonic() >= self._mark_at or len(self._unmarked) >= BATCH):
                self._mark()
            if away and self._stopping.is_set():
                break
        self._mark()
        self._publisher.close()

    def _publish(self, batch: Sequence[Mapping[str, Any]]) -> None:
        confirmed = self._sender.publish(batch)
        if confirmed and not self._unmarked:
            self._mark_at = monotonic() + MARK_AFTER
        self._unmarked += confirmed

    def _mark(self) -> None:
        confirmed, self._unmarked = self._unmarked, []
        self._left_to_relay(self._sender.mark, confirmed)

    def _left_to_relay(
        self, send: Callable[[Sequence[Mapping[str, Any]]], object], rows: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Do this with the rows, or leave them to the relay; return whether broker or store are away."""
        if not rows:
            return False
        try:
            send(rows)
        except (BrokerAway, PyMongoError) as error:
            log.warning("messages left to the relay", action="dispatch_failed", count=len(rows), error=str(error))
            return True
        except Exception:  # a thread that ended unnoticed would leave every run by hand to the relay
            log.exception("messages left to the relay", action="dispatch_failed", count=len(rows))
        return False

    def stop(self, timeout: float = 5.0) -> None:
        """Send what waits, for at most timeout seconds, and end."""
        self._stopping.set()
        self.join(timeout)


def take(waiting: SimpleQueue[Mapping[str, Any]], most: int, timeout: float) -> list[Mapping[str, Any]]:
    """Wait up to timeout seconds for something to send, and return all that waits, at most `most`."""
    batch: list[Mapping[str, Any]] = []
    try:
        batch.append(waiting.get(timeout=timeout))
        while len(batch) < most:
            batch.append(waiting.get_nowait())
    except Empty:
        pass
    return batch
