"""Roll up: count what has ended by minute, hour and day, so that statistics cost the same however long the history is.

Each roll-up is made anew from all that it is made of, and replaces the one before; so it does not matter how often, or
by how many beats at once. What has to hold is that the one that stands in the end was made from all rows. Beats take
turns, which are numbered; each begins with a journaled write, so that it sees all that was written before; and a
roll-up is never replaced by one of an earlier turn, which may have seen less.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from datetime import timedelta
from itertools import groupby, islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from beat.newer import OfNewerRelease, is_newer
from shared.domain.rollup import KEPT, MINUTE, Level, Progress, after, floor, next_step
from shared.domain.tally import Tally
from shared.log import get_logger
from shared.store import executions, rollups
from shared.store.mongo import already_there, database_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from shared.domain.rollup import Step
    from shared.store.rollups import Group

log = get_logger()

LEASE: Final = timedelta(seconds=60)
"""Much longer than most steps take, and a longer one renews it; when a beat dies, the statistics of the others stand
still for so long."""
RENEWED_AFTER: Final = LEASE.total_seconds() / 4
"""Seconds. An hour in which a hundred thousand jobs ran each minute takes minutes to add up: of two beats that took it
from each other after a lease, neither would ever be done."""
BATCH: Final = 500
"""Rows read in one go."""
AT_ONCE: Final = 100
"""Roll-ups made and written in one go. A process hardly gives back what they take: of an hour in which thousands of
jobs ran, 1 MB, where 500 take 4.5 for a sixth less of its processor time."""
TURN: Final = 20_000
"""Rows that are added up in one turn, as long as no minute has more: less than some seconds' work and 30 MB."""

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
        """Make the next roll-up; return whether there was one to make. Raises PyMongoError and OfNewerRelease."""
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
        if through is None:
            return True
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

    def _roll_up(self, step: Step, turn: int) -> datetime | None:
        """Make the roll-ups of a step, or the first of them, as far as a turn goes; return through which instant.

        None: it is another one's turn by now, who makes them anew.
        """
        renewed_at = monotonic()
        sums, through = self._sums_of_rows(step) if step.level is Level.MINUTE else self._sums_of_parts(step)
        while batch := list(islice(sums, AT_ONCE)):
            self._put(step.level, batch, turn)
            if monotonic() - renewed_at > RENEWED_AFTER:
                renewed_at = monotonic()
                if not self._progress.update_one(*rollups.keep_turn(turn, LEASE)).matched_count:
                    return None
        return through

    def _sums_of_rows(self, step: Step) -> tuple[Iterator[Sum], datetime]:
        """Count rows by minute and group, whole minutes only; also return through which instant.

        As many as TURN at once; a minute that has more, by itself.
        """
        through = self._first_minutes(step)
        if through == step.start:
            return self._sums_of_minute(step.start), step.start + MINUTE
        sums = Sums()
        chosen = rollups.ended_between(step.start, through)
        for share in _shares(self._executions.find(chosen, rollups.ROW_FIELDS, batch_size=BATCH)):
            sums.add(share)
        return iter(sums), through

    def _first_minutes(self, step: Step) -> datetime:
        """Return the end of the first minutes of a step in which no more than TURN rows ended: its start, if none."""
        beyond = self._executions.find_one(
            rollups.ended_between(step.start, step.end), {"_id": 0, "finished_at": 1}, sort=_BY_END, skip=TURN
        )
        return step.end if beyond is None else floor(beyond["finished_at"], MINUTE)

    def _sums_of_minute(self, minute: datetime) -> Iterator[Sum]:
        """Count the rows of one minute by group, one job after another, for the reason told at _sums_of_parts."""
        of_all = Sums()
        chosen = rollups.ended_between(minute, minute + MINUTE)
        by_job = [{"$match": chosen}, {"$project": rollups.ROW_FIELDS}, {"$sort": {"job_id": 1}}]
        rows = self._executions.aggregate(by_job, batchSize=BATCH, allowDiskUse=True)
        for _, alike in groupby(rows, lambda row: row.get("job_id")):
            of_job = Sums()
            for share in _shares(alike):
                (of_job if share.group.job else of_all).add(share)
            yield from of_job
        yield from of_all

    def _sums_of_parts(self, step: Step) -> tuple[Iterator[Sum], datetime]:
        """Add up what the first hour, or the first day, of a step is made of; also return through which instant.

        One group after another, sorted by the store: of an hour in which a hundred thousand jobs ran, all sums at once
        would be a hundred megabytes that a process hardly gives back.
        """
        end = step.start + step.level.width
        chosen = rollups.between(_PARTS[step.level], step.start, end)
        parts = self._rollups.find(chosen, sort=rollups.BY_GROUP, batch_size=AT_ONCE, allow_disk_use=True)
        return (_sum(step.start, group, alike) for group, alike in groupby(parts, rollups.to_group)), end

    def _put(self, level: Level, sums: Sequence[Sum], turn: int) -> None:
        """Put roll-ups in the place of those before."""
        ids = [rollups.rollup_id(level, each.at, each.group) for each in sums]
        # Most of what is made once more is as it was.
        present = self._rollups.find({"_id": {"$in": ids}}, {"rows": 1})
        standing = {document["_id"]: document["rows"] for document in present}
        self._write(
            [
                UpdateOne(*rollups.put(level, each.at, each.group, each.tally, each.rows, turn), upsert=True)
                for rollup_id, each in zip(ids, sums, strict=True)
                if standing.get(rollup_id) != each.rows
            ]
        )

    def _write(self, writes: Sequence[UpdateOne]) -> None:
        if not writes:
            return
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


class Sum(NamedTuple):
    """A roll-up to be: of which time and group, and of how many rows it is made."""

    at: datetime
    group: Group
    tally: Tally
    rows: int


class Share(NamedTuple):
    """What a row adds to the roll-up of a minute and a group."""

    minute: datetime
    group: Group
    one: Tally


class Sums:
    """Tallies of rows by minute and group."""

    def __init__(self) -> None:
        self._tallies: defaultdict[tuple[datetime, Group], Tally] = defaultdict(Tally)
        self._rows: Counter[tuple[datetime, Group]] = Counter()

    def add(self, share: Share) -> None:
        """Add a row's."""
        key = share.minute, share.group
        self._tallies[key].merge(share.one)
        self._rows[key] += 1

    def __iter__(self) -> Iterator[Sum]:
        """Go through what they are."""
        return (Sum(*key, found, self._rows[key]) for key, found in self._tallies.items())


def _sum(at: datetime, group: Group, parts: Iterable[Mapping[str, Any]]) -> Sum:
    total, rows = Tally(), 0
    for part in parts:
        rollups.add_to(total, part)
        rows += part["rows"]
    return Sum(at, group, total, rows)


def _shares(rows: Iterable[Mapping[str, Any]]) -> Iterator[Share]:
    """Return what each of some rows counts for; one that can't be read keeps no other from being counted.

    But one of a newer release does: it would be in no statistics for good, and a beat of that release can read it.
    """
    for row in rows:
        try:
            groups, one = rollups.groups_of(row), rollups.to_tally_of_one(row)
        except (KeyError, TypeError, ValueError) as error:
            if is_newer(row):
                raise OfNewerRelease(row) from error
            log.warning("a row is not counted", action="row_not_counted", execution_id=row["_id"], error=repr(error))
            continue
        minute = floor(row["finished_at"], MINUTE)
        yield from (Share(minute, group, one) for group in groups)
