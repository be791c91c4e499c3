"""Roll up: count what has ended by minute, hour and day, so that statistics cost the same however long the history is.

Each roll-up is made anew from all that it is made of, and replaces the one before; so it does not matter how often, or
by how many beats at once. What has to hold is that the one that stands in the end was made from all rows. Beats take
turns, which are numbered; each begins with a journaled write, so that it sees all that was written before; and a
roll-up is never replaced by one of an earlier turn, which may have seen less.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from shared.domain.rollup import KEPT, Level, Progress, after, floor, next_step
from shared.domain.tally import Tally
from shared.store import executions, rollups
from shared.store.mongo import already_there, database_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from shared.domain.rollup import Step
    from shared.store.rollups import Group

LEASE: Final = timedelta(seconds=60)
"""Much longer than a step takes; when a beat dies, the statistics of the others stand still for so long."""
BATCH: Final = 500
TURN: Final = 20_000
"""About how much is added up in one turn: some seconds' work, much less than the lease."""

_PARTS: Final = {Level.HOUR: Level.MINUTE, Level.DAY: Level.HOUR}
"""What the roll-ups of a level are made of."""


class Rollup:
    """Rolls up step by step. Of several beats one does it, until it falls silent."""

    def __init__(self, database: Database[dict[str, Any]], name: str) -> None:
        self._executions = database[executions.COLLECTION]
        self._rollups = database[rollups.COLLECTION]
        self._progress = database[rollups.PROGRESS]
        self._name = name

    def run_once(self) -> bool:
        """Make the next roll-up; return whether there was one to make. Raises PyMongoError."""
        claimed = self._take_turn()
        if claimed is None:
            return False
        standing = rollups.to_progress(claimed)
        progress = standing.not_after(claimed["now"])
        if progress != standing:
            # At once, or the clock would run past what it goes through again, and nobody know.
            self._progress.update_one(*rollups.move_on(claimed["turn"], progress))
            return True
        step = next_step(progress, claimed["now"])
        if step is None:
            return False
        through = self._roll_up(step, claimed["turn"])
        reached = after(progress, step, through)
        moved = self._progress.update_one(*rollups.move_on(claimed["turn"], reached))
        if step.level is Level.HOUR and moved.matched_count:
            self._forget(claimed["now"], reached)
        return True

    def close(self) -> None:
        """Leave it to the others at once. Raises PyMongoError."""
        self._progress.update_one(*rollups.give_up_turn(self._name))

    def _take_turn(self) -> dict[str, Any] | None:
        """Return how far the roll-ups have got, with the turn's number and the database's time; None: another does."""
        chosen, update = rollups.take_turn(self._name, LEASE)
        taken = self._progress.find_one_and_update(chosen, update, return_document=ReturnDocument.AFTER)
        if taken is not None or self._progress.find_one(rollups.PROGRESS_FILTER) is not None:
            return taken
        first = self._executions.find_one({"finished_at": {"$type": "date"}}, {"finished_at": 1}, sort=_BY_END)
        began = Progress.beginning(
            first["finished_at"] if first is not None else database_time(self._progress.database)
        )
        with suppress(DuplicateKeyError):  # another beat has just begun
            self._progress.insert_one(rollups.begin(began))
        return self._progress.find_one_and_update(chosen, update, return_document=ReturnDocument.AFTER)

    def _roll_up(self, step: Step, turn: int) -> datetime:
        """Make the roll-ups of a step, or the first of them, as far as a turn goes; return through which instant."""
        level = step.level
        tallies, made_of, through = tally(level, self._read(step), step.end)
        # Most of what is made once more is as it was.
        present = self._rollups.find(rollups.between(level, step.start, through), {"rows": 1})
        standing = {document["_id"]: document["rows"] for document in present}
        writes = [
            UpdateOne(*rollups.put(level, at, group, found, made_of[at, group], turn), upsert=True)
            for (at, group), found in tallies.items()
            if standing.get(rollups.rollup_id(level, at, group)) != made_of[at, group]
        ]
        for first in range(0, len(writes), BATCH):
            self._write(writes[first : first + BATCH])
        return through

    def _read(self, step: Step) -> Iterator[Part]:
        """Go through what a step's roll-ups are made of, in the order of time."""
        if (part := _PARTS.get(step.level)) is not None:
            chosen = rollups.between(part, step.start, step.end)
            for document in self._rollups.find(chosen, sort=[("at", 1)]):
                yield document["at"], rollups.to_group(document), rollups.to_tally(document), document["rows"]
            return
        rows = self._executions.find(
            rollups.ended_between(step.start, step.end), rollups.ROW_FIELDS, sort=[("finished_at", 1)]
        )
        for row in rows:
            counted = rollups.to_tally_of_one(row)
            for group in _groups(row):
                yield row["finished_at"], group, counted, 1

    def _write(self, writes: list[UpdateOne]) -> None:
        try:
            self._rollups.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            already_there(error)  # a later turn has made these: what it has seen is no less

    def _forget(self, now: datetime, progress: Progress) -> None:
        """Remove what is kept no longer; never what the next level was not made of yet."""
        made = {Level.MINUTE: progress.hours, Level.HOUR: progress.days, Level.DAY: progress.days}
        for level, kept in KEPT.items():
            oldest = min(now - kept, made[level])
            self._rollups.delete_many(rollups.before(level, oldest))


_BY_END: Final = [("finished_at", 1)]

Part: TypeAlias = "tuple[datetime, Group, Tally, int]"
"""What a roll-up is made of: when it was, what it counts for, its own tally, and of how many rows."""


def tally(
    level: Level, parts: Iterable[Part], end: datetime
) -> tuple[dict[tuple[datetime, Group], Tally], Counter[tuple[datetime, Group]], datetime]:
    """Add parts up, by the times of a level and by group; also how many rows each sum is made of.

    Whole times only, until TURN parts have been read, or there are no more before `end`; also returned is through which
    instant.
    """
    tallies: dict[tuple[datetime, Group], Tally] = {}
    made_of: Counter[tuple[datetime, Group]] = Counter()
    read, last = 0, None
    for instant, group, part, rows in parts:
        at = floor(instant, level.width)
        if at != last and read >= TURN:
            return tallies, made_of, at
        tallies.setdefault((at, group), Tally()).merge(part)
        made_of[at, group] += rows
        read, last = read + 1, at
    return tallies, made_of, end


def _groups(row: Mapping[str, Any]) -> Iterator[Group]:
    """Return what a row counts for: all jobs together, and its own."""
    group = rollups.group_of(row)
    if group is None:
        return
    yield group
    if row["job_id"]:
        yield rollups.Group(group.kind, group.queue, group.target, row["job_id"])
