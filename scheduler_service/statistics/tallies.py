"""Statistics, from the roll-ups that beat makes: what a question costs depends on its span and groups, not on rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import ExecutionTimeout

from shared.domain.errors import ResourceExhausted
from shared.domain.rollup import Level, Piece, cover
from shared.domain.tally import Tally
from shared.store import rollups
from shared.store.rollups import By

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from pymongo.database import Database

    from shared.domain.rollup import Progress

PATIENCE: Final = 10.0
"""Seconds that the store gets to find the roll-ups."""
BATCH: Final = 5_000
"""Roll-ups in one answer of the store: with a hundred, as the first has unless told otherwise, most time is waiting."""


class GroupBy(StrEnum):
    """What the numbers are told by."""

    ALL = "ALL"
    JOB = "JOB"
    QUEUE = "QUEUE"
    TARGET = "TARGET"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of the roll-ups of a level, those from start on, and before end, both whole times of that level.

    width: of each window. job, queue, target: only that one's, if not empty. most: groups, those with the most.
    """

    group_by: GroupBy
    level: Level
    start: datetime
    end: datetime
    width: timedelta
    most: int
    job: str = ""
    queue: str = ""
    target: str = ""

    @property
    def of_calls(self) -> bool:
        """Whether parts count, and not what they are parts of: queues and targets know only who calls."""
        return self.group_by in {GroupBy.QUEUE, GroupBy.TARGET} or bool(self.queue or self.target)

    @property
    def by(self) -> By:
        """Which roll-ups it takes."""
        return By.JOB if self.job or self.group_by is GroupBy.JOB else By.ALL

    def group(self, document: Mapping[str, Any]) -> str:
        """Return the group that a roll-up belongs to."""
        return "" if self.group_by is GroupBy.ALL else str(document[self.group_by.lower()])

    def window(self, at: datetime) -> datetime:
        """Return when the window begins that a roll-up belongs to."""
        return self.start + (at - self.start) // self.width * self.width


@dataclass(frozen=True, slots=True)
class Statistics:
    """The tally of one group in one window."""

    group: str
    time: datetime
    tally: Tally


class Tallies:
    """database: blocking, since adding up is work for a thread."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._rollups = database[rollups.COLLECTION]
        self._progress = database[rollups.PROGRESS]

    def read(self, question: Question) -> tuple[list[Statistics], datetime | None]:
        """Return the statistics, the largest group first, then by time; and through which instant all is counted.

        Windows without anything are left out. Raises PyMongoError; ResourceExhausted when too much would be read.
        """
        standing = self._progress.find_one(rollups.PROGRESS_FILTER, rollups.PROGRESS_NOW)
        if standing is None:
            return [], None
        progress = rollups.to_progress(standing).lasting(standing["now"])
        chosen = rollups.chosen(
            question.by,
            rollups.CALLS if question.of_calls else rollups.RUNS,
            job=question.job,
            queue=question.queue,
            target=question.target,
        )
        found = {**chosen, **_pieces(question, progress)}
        if question.group_by in {GroupBy.QUEUE, GroupBy.TARGET}:
            # Not what was decided not to run, which never came to either.
            found.setdefault(question.group_by.lower(), {"$gt": ""})
        try:
            if question.group_by is GroupBy.JOB and not question.job:
                found["job"] = {"$in": self._largest(found, question.most)}
            # Of one job there is little; the planner of the store may not see that.
            hint = rollups.JOB_INDEX if question.by is By.JOB else None
            with self._rollups.find(
                found, rollups.READ_FIELDS, max_time_ms=int(PATIENCE * 1000), hint=hint, batch_size=BATCH
            ) as documents:
                return _add_up(question, documents), progress.minutes
        except ExecutionTimeout:
            raise ResourceExhausted(
                f"more has ended in this span than can be looked through in {PATIENCE:g} s; ask for a shorter one, or"
                " for one job, queue or target"
            ) from None

    def _largest(self, found: Mapping[str, Any], most: int) -> list[str]:
        """Return the jobs of which the most has ended."""
        pipeline: list[dict[str, Any]] = [
            {"$match": found},
            {"$group": {"_id": "$job", "total": {"$sum": "$total"}}},
            {"$sort": {"total": -1, "_id": 1}},
            {"$limit": most},
        ]
        with self._rollups.aggregate(pipeline, allowDiskUse=True, maxTimeMS=int(PATIENCE * 1000)) as jobs:
            return [job["_id"] for job in jobs]


def _pieces(question: Question, progress: Progress) -> dict[str, Any]:
    """Find the roll-ups that cover a span: the coarsest that fit a window, finer ones at its ends."""
    levels = [Level.DAY, Level.HOUR, Level.MINUTE]
    if question.width == question.level.width:
        levels = levels[levels.index(question.level) :]
    pieces = cover(levels, question.start, question.end, progress)
    # Where nothing was counted yet: a filter that finds nothing.
    return rollups.any_of(pieces or [Piece(question.level, question.start, question.start)])


def _add_up(question: Question, documents: Iterable[Mapping[str, Any]]) -> list[Statistics]:
    windows: dict[str, dict[datetime, Tally]] = {}
    for document in documents:
        by_time = windows.setdefault(question.group(document), {})
        time = question.window(document["at"])
        if (tally := by_time.get(time)) is None:
            tally = by_time[time] = Tally()
        rollups.add_to(tally, document)
    size = {group: sum(tally.total for tally in by_time.values()) for group, by_time in windows.items()}
    largest = sorted(windows, key=lambda group: (-size[group], group))[: question.most]
    return [Statistics(group, time, tally) for group in largest for time, tally in sorted(windows[group].items())]
