"""A long history: the rows that jobs would have left, millions a minute, and the roll-ups that beat would have made.

Each row is one that `benchmarks.full_store` makes, at another time: its instants, and the times in its ids, are written
over in its bytes. What all copies of a row add to the statistics is the same, so a roll-up is a sum of multiples.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern

from benchmarks.full_store import FAILING, HOUR, fill, rows_of
from shared.domain.execution import basic_iso
from shared.domain.rollup import Level, Progress, floor
from shared.domain.tally import Spans, Tally
from shared.store import executions, jobs, rollups
from shared.store.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

BATCH: Final = 10_000
BURST: Final = timedelta(seconds=30)
"""How long a job fires in an hour. Short enough for what it starts to end in the same minute as well."""
PERIOD: Final = 10
"""What became of a job's occurrences repeats after so many."""
MINUTES_KEPT: Final = timedelta(hours=26)
"""Roll-ups of minutes are there for so long before the end: no question reads earlier ones."""
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MARK: Final = datetime(2001, 2, 3, microsecond=1_000, tzinfo=UTC)
"""Where the rows lie that are copied. Their ids have milliseconds then, as those of the copies."""
_INSTANT: Final = struct.Struct("<q")
"""How BSON writes an instant: milliseconds since 1970."""


def fill_history(database: Any, job_count: int, hours: int, times: int, start: datetime, end: datetime) -> None:
    """Store jobs that fire so many times in one minute of each hour, with their rows and roll-ups between two instants.

    In no minute do two jobs fire, of at most 60; what becomes of one time becomes of all in that minute.
    """
    fill(database, job_count, 0, start, index=False)
    stored = enumerate(database[jobs.COLLECTION].find())
    plans = [
        _Plan(job, _patterns(job, number), start + number * HOUR // job_count, hours, times) for number, job in stored
    ]
    _insert(database, executions.COLLECTION, (row for plan in plans for row in _copies(plan)))
    _insert(database, rollups.COLLECTION, _rollups(plans, end))
    reached = floor(end, timedelta(minutes=1))
    progress = Progress(reached, reached, floor(end, HOUR), floor(end, timedelta(days=1)))
    database[rollups.PROGRESS].insert_one(rollups.begin(progress))
    lay_out(database)


@dataclass(frozen=True)
class _Plan:
    """A job, the rows that are copied, by turns for an hour each, and when the copies lie."""

    job: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    first: datetime
    hours: int
    times: int

    @property
    def within_an_hour(self) -> Sequence[timedelta]:
        """When the job fires, from the first time in an hour on."""
        return [n * BURST // self.times for n in range(self.times)]


def _insert(database: Any, name: str, documents: Iterator[Any]) -> None:
    """Insert while the next ones are made; not journaled one batch at a time, as nobody relies on them."""
    collection = database[name].with_options(write_concern=WriteConcern(w=1, j=False))
    under_way: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(2) as pool:
        batch: list[Any] = []
        for document in documents:
            batch.append(document)
            if len(batch) == BATCH:
                under_way.append(pool.submit(collection.insert_many, batch, ordered=False))
                batch = []
                if len(under_way) > 3:
                    under_way.popleft().result()
        if batch:
            under_way.append(pool.submit(collection.insert_many, batch, ordered=False))
        for each in under_way:
            each.result()


def _patterns(job: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """Return the rows of a job that are copied, an hour apart. The first job is one that fails now and then."""
    rows = list(rows_of(dict(job), number or FAILING - 1, PERIOD, _MARK))
    for row in rows:
        row["changed"] = row["finished_at"]
    return rows


class _Pattern:
    """A row of which copies are made."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._at = _milliseconds(row["nominal_time"])
        self._raw = bson.encode(row)
        self._instants = [(_INSTANT.pack(at), at) for at in sorted(map(_milliseconds, {*_instants_of(row)}))]
        self._stamps = [basic_iso(row["nominal_time"]).encode(), _before(row["nominal_time"])]

    def at(self, instant: datetime, stamp: bytes, before: bytes) -> RawBSONDocument:
        """Return the row as it were at another nominal time. stamp, before: as in ids, its own and the one before."""
        shift, raw = _milliseconds(instant) - self._at, self._raw
        for old, milliseconds in self._instants:
            raw = raw.replace(old, _INSTANT.pack(milliseconds + shift))
        own, earlier = self._stamps
        return RawBSONDocument(raw.replace(own, stamp).replace(earlier, before))


def _instants_of(value: Any) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _instants_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _instants_of(inner)


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _before(instant: datetime) -> bytes:
    """Return what the reason of a decision says of the occurrence before it."""
    return f"{instant - HOUR:%Y%m%dT%H%M%SZ}".encode()


def _copies(plan: _Plan) -> Iterator[RawBSONDocument]:
    patterns = list(map(_Pattern, plan.rows))
    for hour in range(plan.hours):
        pattern, first = patterns[hour % PERIOD], plan.first + hour * HOUR
        before = _before(first)
        for later in plan.within_an_hour:
            instant = first + later
            stamp = f"{instant:%Y%m%dT%H%M%S}.{instant.microsecond // 1_000:03}Z"
            yield pattern.at(instant, stamp.encode(), before)


def _rollups(plans: Sequence[_Plan], end: datetime) -> Iterator[dict[str, Any]]:
    everybody: dict[tuple[Level, datetime, rollups.Group], tuple[Tally, int]] = {}
    for plan in plans:
        tallies = [rollups.to_tally_of_one(row) for row in plan.rows]
        groups = [rollups.group_of(row) for row in plan.rows]
        job = plan.job
        of_job = rollups.Group(rollups.Kind.SINGLE, job["queue"], job["target_service"], job["_id"])
        for (level, at), counts in _windows(plan, end).items():
            own = Tally()
            for number, times in counts.items():
                part = _multiple(tallies[number], times)
                own.merge(part)
                if (group := groups[number]) is not None:
                    tally, rows = everybody.setdefault((level, at, group), (Tally(), 0))
                    tally.merge(part)
                    everybody[level, at, group] = tally, rows + times
            yield _document(level, at, of_job, own, sum(counts.values()))
    for (level, at, group), (tally, rows) in everybody.items():
        yield _document(level, at, group, tally, rows)


def _windows(plan: _Plan, end: datetime) -> dict[tuple[Level, datetime], Counter[int]]:
    """Return how many copies of which row ended in each minute, hour and day."""
    found: dict[tuple[Level, datetime], Counter[int]] = defaultdict(Counter)
    for hour in range(plan.hours):
        row = plan.rows[hour % PERIOD]
        ended = plan.first + hour * HOUR + (row["finished_at"] - row["nominal_time"])
        for level in Level:
            at = floor(ended, level.width)
            if level is not Level.MINUTE or at > end - MINUTES_KEPT:
                found[level, at][hour % PERIOD] += plan.times
    return found


def _multiple(tally: Tally, times: int) -> Tally:
    def spans(of: Spans) -> Spans:
        buckets = Counter({bucket: times * count for bucket, count in of.buckets.items()})
        return replace(of, count=times * of.count, total=times * of.total, buckets=buckets)

    counts = Counter({state: times * count for state, count in tally.counts.items()})
    return Tally(counts, times * tally.retries, spans(tally.lateness), spans(tally.duration))


def _document(level: Level, at: datetime, group: rollups.Group, tally: Tally, rows: int) -> dict[str, Any]:
    key, update = rollups.put(level, at, group, tally, rows, 1)
    return {"_id": key["_id"], **update["$set"]}
