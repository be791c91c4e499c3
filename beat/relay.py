"""The relay: send the messages of executions that are due and have none, and again those that seem lost."""

from __future__ import annotations

import json
import math
from collections import deque
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from pymongo.errors import PyMongoError

from beat.look import Look, Sought
from beat.reminders import MOST, Reminders
from beat.withdrawal import Withdrawal
from shared import metrics
from shared.domain.execution import RESEND_FIRST, State, Trigger
from shared.domain.policies import Overlap
from shared.log import get_logger
from shared.messaging.dispatcher import BATCH, MOST_WAITING, Sender, take
from shared.messaging.publisher import BrokerAway, Publisher
from shared.store import dead_letters, executions
from shared.store.jobs import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pymongo.database import Database

    from beat.partitions import Partitions

log = get_logger()

INTERVAL: Final = 1.0
"""Seconds between two looks for what nobody sent; less when something that is known becomes due before."""

OVERDUE: Final = timedelta(seconds=4)
"""After so long whoever holds the partition seems to be cut off from the broker, and every beat sends its rows. More
delays those; less than INTERVAL and LATEST_NOTE together, and beats would send what its holder is about to send, or
has just sent and not noted yet."""

SHORTEST_PAUSE: Final = 0.05
"""Seconds. Rows that become due one after another are sent together."""

QUIET: Final = 0.5
"""Seconds after the last messages that fire handed over until it is noted that they were confirmed. Sooner, the store
would be busy with that while it is to insert what else is due; and what a worker has by then needs no note."""

LATEST_NOTE: Final = 2.5
"""Seconds after which it is noted whatever else there is to do: before the grace of a row that was sent at once is
over, and before others find one OVERDUE that was sent at the end of it, as in a burst."""

DEFICIT_INTERVAL: Final = 15.0
"""Seconds between two readings of the queues' lengths."""

BETWEEN_NAMINGS: Final = 60.0
"""Seconds between two looks for held rows of no job; each of them is named more seldom."""

DEAD_LETTER_BATCH: Final = 100

_ALL: Final = frozenset(range(PARTITIONS))

_WAITING_FIELDS: Final = ("_id", "trigger", "nominal_time", *executions.RELAY_FIELDS)
"""What is kept of a row that was handed over: in a burst ten thousand wait, and parameters may be long."""

HandOver: TypeAlias = "Callable[[Iterable[Mapping[str, Any]]], None]"
"""Takes rows over that were just inserted; see Relay.hand_over."""


class _Confirmed(NamedTuple):
    """Rows whose messages were confirmed, which is still to be noted, and the monotonic time at which they were."""

    at: float
    rows: Sequence[Mapping[str, Any]]


class Relay(Thread):
    """A thread that owns beat's connection to the broker: it sends what fire hands over, and what nobody sent."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        partitions: Partitions,
        sender: Sender,
        publisher: Publisher,
        queues: Sequence[str],
        by: str,
        **along: Sought,
    ) -> None:
        """along: what others look for, which this asks for with what it looks for itself."""
        super().__init__(name="relay", daemon=True)
        self._executions = database[executions.COLLECTION]
        self._partitions = partitions
        self._sender = sender
        self._publisher = publisher
        self._queues = queues
        self._by = by
        self._handed_over: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._their_turn_comes: set[str] = set()
        """Ids of what was handed over and is still to be sent or noted: under load that takes longer than its grace."""
        self._confirmed: deque[_Confirmed] = deque()
        self._noting: Thread | None = None
        self._noted: SimpleQueue[str] = SimpleQueue()
        """Ids whose turn is over, which the relay's own thread takes out of those above; not between reading rows and
        asking which of them it knows, or it would send again what was noted meanwhile."""
        self._stopping = Event()
        self._broker_away = False
        self._deficits: dict[str, int] = {}
        self._released_through = ""
        self._damaged = Reminders()
        self._next_naming = -math.inf
        """When, by the monotonic clock, rows that are held and of no job are named again."""
        self._withdrawal = Withdrawal(database, publisher)
        marks = executions.held_filter, dead_letters.unsent_letters_filter, dead_letters.withdraw_filter
        self.look = Look(
            database,
            partitions,
            unsent=Sought(executions.COLLECTION, (executions.unsent_filter,), first_by="send_at"),
            marked=Sought(executions.COLLECTION, marks),
            **along,
        )
        self.pause = INTERVAL
        """Seconds from the last look to the next one."""

    def hand_over(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Send these rows, which were just inserted, soon. Never blocks; beyond a bound they are found in the store."""
        for document in documents:
            if self._handed_over.qsize() < MOST_WAITING:
                self._their_turn_comes.add(document["_id"])
                self._handed_over.put({name: document[name] for name in _WAITING_FIELDS if name in document})

    def stop(self, timeout: float) -> None:
        """Send what was handed over, for at most timeout seconds, and end."""
        self._stopping.set()
        self.join(timeout)

    def run(self) -> None:
        """Work until stopped. An outage of the broker or the store is waited out."""
        next_look = next_reading = monotonic()
        while not (self._stopping.is_set() and self._handed_over.empty() and not self._confirmed):
            try:
                wait = 0.0 if self._withdrawal.walking else max(0.0, min(next_look, self._next_note()) - monotonic())
                batch = take(self._handed_over, BATCH, timeout=0.05 if self._stopping.is_set() else wait)
                try:
                    self._send_handed_over(batch)
                finally:  # a broker that is away keeps nobody from noting what it confirmed before
                    self._note_confirmed()
                if monotonic() >= next_look:
                    next_look = monotonic() + INTERVAL
                    self.run_once()
                    next_look = monotonic() + self.pause
                elif self._withdrawal.walking:
                    self._withdrawal.run_once(self._partitions.held)
                if monotonic() >= next_reading:
                    next_reading = monotonic() + DEFICIT_INTERVAL
                    self.resend_lost()
                if self._broker_away:  # there may have been nothing to send, which says nothing of the broker
                    self._publisher.connect()
                self._note_broker(away=False)
            except BrokerAway as error:
                self._note_broker(away=True, error=str(error))
                if self._stopping.wait(INTERVAL):
                    break
            except PyMongoError as error:
                log.warning("the store cannot be reached", action="relay_failed", error=str(error))
                self._stopping.wait(INTERVAL)
            except Exception:  # a thread that ended unnoticed would leave retries unsent
                log.exception("relay failed", action="relay_failed")
                self._stopping.wait(INTERVAL)
        self._finish_noting()
        self._publisher.close()

    def run_once(self) -> int:
        """Send what is due and has no confirmed message, or one that stays unanswered; return how many.

        Raises BrokerAway, PyMongoError.
        """
        found = self.look.found()
        marked, first = "marked" in found, found.get("unsent")
        released = self.release_held() if marked else 0
        sent = 0
        if released or (first is not None and first["send_at"] <= first["now"]):  # what was released is due at once
            sent = self._send_due()
        # A beat that reaches the store but not the broker keeps its partitions, and goes on deciding.
        if others := _ALL - self._partitions.held:
            sent += self._send(self._to_send(others, OVERDUE), "relayed")
        if marked:
            self._send_dead_letters(self._partitions.held)
            self._withdrawal.run_once(self._partitions.held)
        # What was released may be due soon, and was not asked for with the first that is.
        self.pause = SHORTEST_PAUSE if sent or released else self._until_due(first)
        return sent

    def _send_due(self) -> int:
        sent = 0
        while held := self._partitions.held:
            rows = self._to_send(held, timedelta(0))
            sent += self._send(rows, "relayed")
            if len(rows) < BATCH:
                break
        return sent

    def _until_due(self, first: Mapping[str, Any] | None) -> float:
        """Return the seconds until a row becomes due, the first that is known, at most INTERVAL."""
        if first is None:
            return INTERVAL
        wait: float = (first["send_at"] - first["now"]).total_seconds()
        if wait <= 0 and first["_id"] in self._their_turn_comes:
            # It may stay the first for long. One that is not due yet is noted by then, and another the first.
            return INTERVAL
        return min(INTERVAL, max(SHORTEST_PAUSE, wait))

    def _to_send(self, partitions: frozenset[int], overdue: timedelta) -> list[dict[str, Any]]:
        self._forget_noted()
        found = self._executions.find(executions.send_filter(partitions, overdue), executions.RELAY_FIELDS)
        rows = found.sort("send_at", 1).limit(BATCH)
        return [row for row in rows if row["_id"] not in self._their_turn_comes]

    def release_held(self) -> int:
        """Let those go that were held until others of their job had ended; return how many.

        A row goes only when no row of its job's schedule with an earlier nominal time is open, so of two that are held,
        any number of relays let the same one go. Looks at a bounded number, and goes on from there the next time.
        """
        self._name_held_of_no_job()
        held = self._executions.find(
            executions.held_of_jobs_filter(self._partitions.held, self._released_through), executions.HELD_FIELDS
        )
        waiting = list(held.sort("job_uid", 1).limit(BATCH))
        self._released_through = waiting[-1]["job_uid"] if len(waiting) == BATCH else ""
        for row in waiting:
            try:
                replaces = row["policies"]["overlap"] == Overlap.CANCEL_PREVIOUS
                cancel = executions.cancel_previous(row, self._by) if replaces else None
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                # It cancels nothing, and goes when the others have ended; the worker that claims it looks closer.
                self._damaged.name(row, repr(error))
                continue
            if cancel is not None:
                self._executions.update_many(cancel.filter, cancel.update)
        earliest: dict[str, tuple[datetime, Mapping[str, Any]]] = {}
        in_flight = executions.in_flight_filter({row["job_uid"] for row in waiting})
        for row in self._damaged.of_a_job(self._executions.find(in_flight, executions.IN_FLIGHT_FIELDS)):
            # One that has no such time keeps none waiting, and goes when the others have ended.
            uid, nominal = row["job_uid"], self._damaged.nominal_time(row)
            if uid not in earliest or nominal < earliest[uid][0]:
                earliest[uid] = nominal, row
        releases = [executions.release(row["_id"]) for _, row in earliest.values() if row.get("held")]
        return sum(self._executions.update_one(move.filter, move.update).modified_count for move in releases)

    def _name_held_of_no_job(self) -> None:
        """Name rows that wait for ever, as it can't be told for what; those of newer releases wait for such beats."""
        if monotonic() < self._next_naming:
            return
        nobodys = executions.held_of_no_job_filter(self._partitions.held)
        self._damaged.of_a_job(self._executions.find(nobodys, executions.HELD_FIELDS).limit(MOST))
        self._next_naming = monotonic() + BETWEEN_NAMINGS

    def resend_lost(self) -> None:
        """Send again what should wait in a queue but does not: its messages were purged, or the broker was wiped.

        Two readings in a row must miss messages, since one may fall between a worker's taking a message and its claim.
        One beat does this for all: a queue's length says nothing about partitions.
        """
        if 0 not in self._partitions.held:
            self._deficits.clear()
            return
        ready = self._publisher.ready_counts(self._queues)
        for queue in self._queues:
            waiting = executions.waiting_filter(queue, RESEND_FIRST)
            deficit = self._executions.count_documents(waiting) - ready[queue]
            missing = min(deficit, self._deficits.get(queue, 0))
            self._deficits[queue] = max(0, deficit)
            if missing > 0:
                log.warning("messages are missing in a queue", action="messages_missing", queue=queue, count=missing)
                rows = self._executions.find(waiting, executions.RELAY_FIELDS).sort("queued_at", 1).limit(missing)
                self._send(list(rows), "missing")
                self._deficits[queue] = 0

    def _send_handed_over(self, batch: Sequence[Mapping[str, Any]]) -> None:
        if not batch:
            return
        confirmed: Sequence[Mapping[str, Any]] = ()
        try:
            confirmed = self._publish(batch, "fired")
        finally:  # what was not sent is found in the store
            self._their_turn_comes.difference_update({row["_id"] for row in batch} - {row["_id"] for row in confirmed})
        if confirmed:
            self._confirmed.append(_Confirmed(monotonic(), confirmed))

    def _next_note(self) -> float:
        """Return the monotonic time at which it is to be noted what was confirmed."""
        if not self._confirmed:
            return math.inf
        if self._stopping.is_set():
            return 0.0
        return min(self._confirmed[-1].at + QUIET, self._confirmed[0].at + LATEST_NOTE)

    def _note_confirmed(self) -> None:
        """Let a thread note what was confirmed, the oldest first, if it is time to: more is sent meanwhile."""
        if monotonic() < self._next_note():
            return
        self._finish_noting()
        rows: list[Mapping[str, Any]] = []
        while self._confirmed and len(rows) < BATCH:
            rows += self._confirmed.popleft().rows
        self._noting = Thread(target=self._mark, args=(rows,), name="noting", daemon=True)
        self._noting.start()

    def _finish_noting(self) -> None:
        if self._noting is not None:
            self._noting.join()
        self._forget_noted()

    def _forget_noted(self) -> None:
        while not self._noted.empty():
            self._their_turn_comes.discard(self._noted.get_nowait())

    def _mark(self, rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._sender.mark(rows)
        except PyMongoError as error:
            log.warning("the store cannot be reached", action="relay_failed", error=str(error))
        except Exception:  # nobody asks what became of it
            log.exception("relay failed", action="relay_failed")
        finally:  # what was not marked is sent again
            for row in rows:
                self._noted.put(row["_id"])

    def _send(self, rows: Sequence[Mapping[str, Any]], why: str) -> int:
        if not rows:
            return 0
        confirmed = self._publish(rows, why)
        self._sender.mark(confirmed)
        return len(confirmed)

    def _publish(self, rows: Sequence[Mapping[str, Any]], why: str) -> Sequence[Mapping[str, Any]]:
        """Send the messages of rows, and return those that were confirmed; the others wait for their next turn."""
        confirmed = self._sender.publish(rows)
        now = datetime.now(UTC)
        for row in confirmed:
            if why == "fired":
                # A part has its whole's nominal time, and a backfill's execution one of the past: they are not late.
                if row.get("trigger") == Trigger.SCHEDULE.value:
                    metrics.BEAT_LATENESS.observe(max(0.0, (now - row["nominal_time"]).total_seconds()))
            else:
                metrics.BEAT_RELAYED.labels("retry_or_lost" if row["state"] == State.PENDING.value else why).inc()
        if len(confirmed) < len(rows):
            # So that rows which cannot be sent, as for a queue that is gone, do not stand before all others.
            ids = {row["_id"] for row in rows} - {row["_id"] for row in confirmed}
            postponed = executions.postpone_sending(ids, timedelta(seconds=10))
            self._executions.update_many(postponed.filter, postponed.update)
            log.warning("messages were not confirmed", action="messages_unconfirmed", count=len(ids))
        return confirmed

    def _send_dead_letters(self, held: frozenset[int]) -> None:
        found = self._executions.find(dead_letters.unsent_letters_filter(held))
        letters, settled = {}, set()
        for row in found.limit(DEAD_LETTER_BATCH):
            try:
                letters[row["_id"]] = _dead_letter(row)
            except Exception:  # whatever is wrong with it, it must not stand before the others for ever
                log.exception("a dead letter cannot be written", action="dead_letter_failed", execution_id=row["_id"])
                settled.add(row["_id"])
        if letters:
            settled |= self._publisher.publish_dead_letters(letters)
        if settled:
            self._executions.update_many(
                {"_id": {"$in": sorted(settled)}, **dead_letters.DEAD_LETTER_FILTER}, dead_letters.DEAD_LETTER_SENT
            )

    def _note_broker(self, *, away: bool, error: str = "") -> None:
        """Log the beginning and the end of an outage, not every second of it."""
        if away and not self._broker_away:
            log.warning("the broker cannot be reached", action="broker_away", error=error)
        elif self._broker_away and not away:
            log.info("the broker is back", action="broker_back")
        self._broker_away = away


def _dead_letter(row: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return the headers and the body of the copy that people and their tools find in the dead-letter queue."""
    execution = executions.to_execution(row)
    error = execution.error
    headers = {
        "x-execution-id": execution.execution_id,
        "x-job-id": execution.job_id,
        "x-attempts": str(execution.attempt),
        "x-error-code": error.code if error else "",
        "x-error-message": error.message if error else "",
    }
    body = {
        "execution_id": execution.execution_id,
        "job_id": execution.job_id,
        "job_name": execution.job_name,
        "target_service": execution.target_service,
        "target_method": execution.target_method,
        "parameters": json.loads(row["parameters"]),
        "attempts": execution.attempt,
        "error": {"code": headers["x-error-code"], "message": headers["x-error-message"]},
        "nominal_time": execution.nominal_time.isoformat(),
        "finished_at": execution.finished_at.isoformat() if execution.finished_at else None,
    }
    return headers, json.dumps(body, ensure_ascii=False)
