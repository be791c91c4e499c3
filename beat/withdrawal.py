"""Withdrawal: take the copies of dead letters that were retried or discarded out of the broker's queue."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from shared.domain.zones import EPOCH
from shared.log import get_logger
from shared.messaging.publisher import BrokerAway
from shared.messaging.queues import DEAD_LETTER
from shared.store import dead_letters, executions
from shared.store.pipeline import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pymongo.database import Database

    from shared.messaging.publisher import Publisher, Walk

log = get_logger()

STEP: Final = 50
"""Messages looked at in one go, a few tens of milliseconds: what fires meanwhile waits so long."""

MARKS: Final = 1_000
"""Rows that a walk is begun for, or that are given up in one go, at most. A walk removes the copies of others too."""

AGAIN: Final = 5.0
"""Seconds after a walk until the next one for nothing but copies that it has not found."""

GIVEN_UP_AFTER: Final = 30.0
"""Seconds between the first and the last walk for a copy that none finds. Less, and one that somebody holds for long
stays in the queue; more, and a long queue is read more often for copies that are gone."""


class Withdrawal:
    """A part of the relay, whose connection to the broker it uses.

    A queue can only be read from its head. So a walk takes message after message, keeps those that have to stay in hand
    until it has seen as many as there were, and then lets go of them all at once, which puts them back where they were.
    When it breaks off, for whatever reason, the broker does the same by itself, and the next one begins anew.

    A walk does not see what somebody else has in hand, as another beat on its walk, or a person who looks at messages
    on the management page. So a copy that it has not found may be there all the same, and is looked for again a few
    times. By the monotonic clock, as what matters is the time between walks: the decision may have been made long
    before the first. One that is held until the last goes with any later walk, whatever that is begun for.
    """

    def __init__(self, database: Database[dict[str, Any]], publisher: Publisher) -> None:
        self._executions = database[executions.COLLECTION]
        self._publisher = publisher
        self._walk: Walk | None = None
        self._began = 0.0
        self._began_at = EPOCH
        """The same by the database's clock: what was decided by then is looked for, however much it is."""
        self._marked: set[str] = set()
        self._removed: list[str] = []
        """Rows whose copies were removed, which the broker may not have read yet."""
        self._count = 0
        self._missed: dict[str, tuple[float, datetime]] = {}
        """Rows whose copies were not found: when the first walk began that did not find it, by both clocks."""
        self._again_at = 0.0
        """When there is a walk for none but these."""
        self._given_up: datetime | None = None
        """All that was decided by then is given up; None when no row of that has its mark any more."""

    @property
    def walking(self) -> bool:
        """Whether there is more to do at once."""
        return self._walk is not None

    def run_once(self, held: frozenset[int]) -> None:
        """Begin a walk if any row of these partitions asks for it, or go a step on. Raises BrokerAway, PyMongoError."""
        if self._walk is None and self._give_up(held):
            return
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
        self._note_removed()
        self._note_missed()
        if self._count:
            log.info("copies of ended dead letters removed", action="dead_letters_withdrawn", count=self._count)

    def _begin(self, held: frozenset[int]) -> Walk | None:
        found = list(self._executions.find(dead_letters.withdraw_filter(held), {"_id": 1, "now": NOW}).limit(MARKS))
        self._marked, self._began = {row["_id"] for row in found}, monotonic()
        if not self._marked or (self._marked <= self._missed.keys() and self._began < self._again_at):
            return None
        self._began_at = found[0]["now"]
        self._removed, self._count = [], 0
        return self._publisher.walk(DEAD_LETTER)

    def _step(self, walk: Walk) -> bool:
        """Look at the next messages; return whether there were any."""
        letters = walk.take(STEP)
        if letters:  # The broker reads in order what it is told: what was removed before these were asked for is gone.
            self._note_removed()
        ids = [letter.execution_id for letter in letters if letter.execution_id]
        stay = {row["_id"] for row in self._executions.find(dead_letters.undecided_filter(ids), {"_id": 1})}
        for letter in letters:
            # What is no copy of an execution, as a message that another queue gave up, is not ours to remove.
            if letter.execution_id and letter.execution_id not in stay:
                walk.remove(letter)
                self._removed.append(letter.execution_id)
                self._count += 1
        return bool(letters)

    def _note_removed(self) -> None:
        if self._removed:
            self._take_mark_off(self._removed)
            self._marked.difference_update(self._removed)
            self._removed = []

    def _note_missed(self) -> None:
        """Give up the copies that no walk has found for long; the others are looked for again."""
        missed = {each: self._missed.get(each, (self._began, self._began_at)) for each in self._marked}
        gone = {each: at for each, (first, at) in missed.items() if self._began - first >= GIVEN_UP_AFTER}
        if gone:
            self._take_mark_off(list(gone))
            # Those beyond MARKS have been missed by the same walks: somebody has purged the queue, as a rule.
            self._given_up = max(gone.values())
        self._missed = {each: first for each, first in missed.items() if each not in gone}
        self._again_at = monotonic() + AGAIN

    def _give_up(self, held: frozenset[int]) -> bool:
        """Take the mark off some of what is given up: what fires waits meanwhile. Return whether there were any."""
        if self._given_up is None:
            return False
        chosen = dead_letters.withdraw_filter(held, decided_by=self._given_up)
        found = [row["_id"] for row in self._executions.find(chosen, {"_id": 1}).limit(MARKS)]
        if not found:
            self._given_up = None
            return False
        self._take_mark_off(found)
        return True

    def _take_mark_off(self, execution_ids: Sequence[str]) -> None:
        self._executions.update_many(dead_letters.withdrawn_filter(execution_ids), dead_letters.WITHDRAWN)
