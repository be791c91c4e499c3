"""Letters: take the copies of dead letters that were retried or discarded out of the broker's queue."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from shared.log import get_logger
from shared.messaging.publisher import BrokerAway
from shared.messaging.queues import DEAD_LETTER
from shared.store import dead_letters, executions

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.messaging.publisher import Publisher, Walk

log = get_logger()

STEP: Final = 50
"""Messages looked at in one go, a few tens of milliseconds: what fires meanwhile waits so long."""

MARKS: Final = 1_000
"""Rows that one walk takes the mark off; the next walk follows at once."""


class Letters:
    """A part of the relay, whose connection to the broker it uses.

    A queue can only be read from its head. So a walk takes message after message, keeps those that have to stay in hand
    until it has seen as many as there were, and then lets go of them all at once, which puts them back where they were.
    When it breaks off, for whatever reason, the broker does the same by itself, and the next one begins anew.
    """

    def __init__(self, database: Database[dict[str, Any]], publisher: Publisher) -> None:
        self._executions = database[executions.COLLECTION]
        self._publisher = publisher
        self._walk: Walk | None = None
        self._marked: list[str] = []
        self._removed = 0

    @property
    def walking(self) -> bool:
        """Whether there is more to do at once."""
        return self._walk is not None

    def run_once(self, held: frozenset[int]) -> None:
        """Begin a walk if any row of these partitions asks for it, or go a step on. Raises BrokerAway, PyMongoError."""
        walk = self._walk = self._walk or self._begin(held)
        if walk is None:
            return
        try:
            if self._step(walk):
                return
        except BaseException:
            self._walk = None
            # Else the messages in hand would stay there for as long as the connection lasts.
            with suppress(BrokerAway):
                walk.end()
            raise
        self._walk = None
        walk.end()
        self._executions.update_many(dead_letters.withdrawn_filter(self._marked), dead_letters.WITHDRAWN)
        log.info("copies of ended dead letters removed", action="dead_letters_withdrawn", count=self._removed)

    def _begin(self, held: frozenset[int]) -> Walk | None:
        marked = self._executions.find(dead_letters.withdraw_filter(held), {"_id": 1}).limit(MARKS)
        self._marked = [row["_id"] for row in marked]
        self._removed = 0
        return self._publisher.walk(DEAD_LETTER) if self._marked else None

    def _step(self, walk: Walk) -> bool:
        """Look at the next messages; return whether there were any."""
        letters = walk.take(STEP)
        ids = [letter.execution_id for letter in letters if letter.execution_id]
        stay = {row["_id"] for row in self._executions.find(dead_letters.undecided_filter(ids), {"_id": 1})}
        for letter in letters:
            # What is no copy of an execution, as a message that another queue gave up, is not ours to remove.
            if letter.execution_id and letter.execution_id not in stay:
                walk.remove(letter)
                self._removed += 1
        return bool(letters)
