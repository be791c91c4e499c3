"""The collections `rollups` and `rolling_up`: tallies of minutes, hours and days, and how far they have got."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from operator import index
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import State
from shared.domain.rollup import Level, Progress
from shared.domain.tally import Spans, Tally
from shared.store.pipeline import NOW, from_now, has_ended, literal, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.domain.rollup import Piece

COLLECTION: Final = "rollups"
PROGRESS: Final = "rolling_up"
_ID: Final = "executions"
_MILLISECOND: Final = timedelta(milliseconds=1)


class Kind(StrEnum):
    """What a row is to those who count.

    A fan-out or a workflow is one run, but calls nothing; its parts make the calls, and are runs of nobody's schedule.
    """

    SINGLE = "single"
    WHOLE = "whole"
    PART = "part"


RUNS: Final = (Kind.SINGLE, Kind.WHOLE)
"""What counts by job, and in all."""
CALLS: Final = (Kind.SINGLE, Kind.PART)
"""What counts by queue and by target."""


class By(StrEnum):
    """What roll-ups are of: each job's share apart, or of all jobs together."""

    JOB = "job"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Group:
    """What a roll-up is of. job: empty for all together."""

    kind: Kind
    queue: str
    target: str
    job: str = ""

    @property
    def by(self) -> By:
        """Whether it is one job's."""
        return By.JOB if self.job else By.ALL


# Rows:

ROW_FIELDS: Final = {
    **dict.fromkeys(("state", "count", "job_id", "queue", "target_service", "part", "attempt", "finished_at"), 1),
    **dict.fromkeys(("started_at", "first_started_at", "due_at", "late_by", "schema"), 1),
    "flow": {"$cond": [{"$gt": ["$flow", None]}, True, "$$REMOVE"]},
}
"""What it takes to count a row."""


def ended_between(start: datetime, end: datetime) -> dict[str, Any]:
    """Find the rows that ended from an instant on, and before another."""
    return {"finished_at": {"$type": "date", "$gte": start, "$lt": end}}


def group_of(row: Mapping[str, Any]) -> Group | None:
    """Return what a row counts for in all; None when for nothing: it closes an epoch, or is a fan-out within a whole.

    What was decided not to run never came to a queue, and has neither that nor a target. Raises KeyError, TypeError or
    ValueError for a row that can't be read, as all here do.
    """
    is_part, has_parts = "part" in row, bool(row.get("flow"))
    if row["state"] == State.CLOSED.value or (is_part and has_parts):
        return None
    kind = Kind.PART if is_part else Kind.WHOLE if has_parts else Kind.SINGLE
    return Group(kind, _text(row.get("queue", "")), _text(row.get("target_service", "")))


def groups_of(row: Mapping[str, Any]) -> list[Group]:
    """Return all that a row counts for: all jobs together, and its own, if it has one."""
    group, job = group_of(row), _text(row["job_id"])
    if group is None:
        return []
    return [group, Group(group.kind, group.queue, group.target, job)] if job else [group]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def to_tally_of_one(row: Mapping[str, Any]) -> Tally:
    """Return the tally of one row. What never started has neither lateness nor duration."""
    tally = Tally(Counter({State(row["state"]).value: index(row.get("count", 1))}))
    attempts = row.get("attempt", 0)
    tally.retries = max(0, attempts - 1)
    started = row.get("first_started_at") or row.get("started_at")
    if started is not None:
        tally.duration.add((row["finished_at"] - started) // _MILLISECOND)
        if "late_by" in row:
            tally.lateness.add(row["late_by"])
        elif attempts == 1:  # of before this was kept: the due time of a later attempt is that of its retry
            tally.lateness.add((started - row["due_at"]) // _MILLISECOND)
    return tally


# Roll-ups:


def rollup_id(level: Level, at: datetime, group: Group) -> str:
    """Return the id of a roll-up. Names of queues, targets and jobs have no space."""
    return f"{level} {at:%Y%m%dT%H%M} {group.kind} {group.queue} {group.target} {group.job}"


def put(level: Level, at: datetime, group: Group, tally: Tally, rows: int, turn: int) -> tuple[dict[str, Any], Any]:
    """Return the filter and the update, an upsert, that put a roll-up in the place of the one before.

    Not in the place of one that was made in a later turn, which has seen all that this one has: then its id is taken,
    and the upsert fails. rows: how many it is made of, which tells two apart, since rows that have ended do not change.
    """
    key = {"_id": rollup_id(level, at, group), "turn": {"$lt": turn}}
    return key, {
        "$set": {
            "turn": turn,
            "level": level.value,
            "at": at,
            "by": group.by.value,
            "kind": group.kind.value,
            "job": group.job,
            "queue": group.queue,
            "target": group.target,
            "rows": rows,
            "total": tally.total,
            "counts": dict(tally.counts),
            "retries": tally.retries,
            "lateness": _spans_document(tally.lateness),
            "duration": _spans_document(tally.duration),
        }
    }


def _spans_document(spans: Spans) -> dict[str, Any]:
    buckets = sorted(spans.buckets.items())
    return {
        "count": spans.count,
        "total": spans.total,
        "longest": spans.longest,
        "buckets": [bucket for bucket, _ in buckets],
        "counts": [number for _, number in buckets],
    }


def _spans(document: Mapping[str, Any]) -> Spans:
    buckets = Counter(dict(zip(document["buckets"], document["counts"], strict=True)))
    return Spans(document["count"], document["total"], document["longest"], buckets)


def to_group(document: Mapping[str, Any]) -> Group:
    """Read what a roll-up is of."""
    return Group(Kind(document["kind"]), document["queue"], document["target"], document["job"])


def to_tally(document: Mapping[str, Any]) -> Tally:
    """Read a roll-up."""
    lateness, duration = _spans(document["lateness"]), _spans(document["duration"])
    return Tally(Counter(document["counts"]), document["retries"], lateness, duration)


def add_to(tally: Tally, document: Mapping[str, Any]) -> None:
    """Add a roll-up to a tally: a question has thousands, of which to_tally would make four objects each."""
    counts = tally.counts
    for state, number in document["counts"].items():
        counts[state] += number
    tally.retries += document["retries"]
    _add_spans(tally.lateness, document["lateness"])
    _add_spans(tally.duration, document["duration"])


def _add_spans(spans: Spans, document: Mapping[str, Any]) -> None:
    spans.count += document["count"]
    spans.total += document["total"]
    spans.longest = max(spans.longest, document["longest"])
    buckets, known = spans.buckets, spans.buckets.get
    for bucket, number in zip(document["buckets"], document["counts"], strict=True):
        buckets[bucket] = known(bucket, 0) + number


READ_FIELDS: Final = {
    "_id": 0,
    **dict.fromkeys(("at", "job", "queue", "target", "counts", "retries", "lateness", "duration"), 1),
}
"""What answers need of a roll-up."""


def between(level: Level, start: datetime, end: datetime, *by: By) -> dict[str, Any]:
    """Find the roll-ups of a level, of times that begin from an instant on, and before another. by: any, if none."""
    return within(level, start, end) | {"by": _any_of(by or By)}


def within(level: Level, start: datetime, end: datetime) -> dict[str, Any]:
    """Find the same, where what they are of is said elsewhere in the filter."""
    return {"level": level.value, "at": {"$gte": start, "$lt": end}}


def any_of(pieces: Iterable[Piece]) -> dict[str, Any]:
    """Find the roll-ups that these are, of which there is at least one."""
    return {"$or": [within(piece.level, piece.start, piece.end) for piece in pieces]}


def before(level: Level, end: datetime) -> dict[str, Any]:
    """Find the roll-ups of a level, of times that begin before an instant."""
    return {"level": level.value, "by": _any_of(By), "at": {"$lt": end}}


def _any_of(values: Iterable[By]) -> dict[str, Any]:
    return {"$in": [by.value for by in values]}


BY_GROUP: Final = [("job", 1), ("kind", 1), ("queue", 1), ("target", 1)]
"""The order in which those of one group follow each other."""


def chosen(by: By, kinds: Iterable[Kind], *, job: str = "", queue: str = "", target: str = "") -> dict[str, Any]:
    """Find the roll-ups of what is asked for; empty: of all."""
    named = {"job": job, "queue": queue, "target": target}
    return {
        "by": by.value,
        "kind": {"$in": [kind.value for kind in kinds]},
        **{name: value for name, value in named.items() if value},
    }


JOB_INDEX: Final = "job"
"""The index of one job's roll-ups."""


def ended_pipeline(job: str, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Add up what a job's roll-ups count: for each state in which rows have ended, as `_id`, a `count`.

    To be asked with JOB_INDEX as a hint: for single pieces the planner may take all jobs' instead. Of a job that has no
    id, none: it is asked before anybody has said that there is no such job.
    """
    return [
        {"$match": {**chosen(By.JOB, RUNS), "job": job, **any_of(pieces)}},
        # Not by a sum for each state right after the match: that MongoDB 6 hands to its other engine, and to prepare
        # it there for each question takes as long as all the rest.
        {"$project": {"_id": 0, "ended": {"$objectToArray": "$counts"}}},
        {"$unwind": "$ended"},
        {"$group": {"_id": "$ended.k", "count": {"$sum": "$ended.v"}}},
    ]


# How far they have got, and whose turn it is:

PROGRESS_FILTER: Final = {"_id": _ID}
_PROGRESS_FIELDS: Final = ("minutes", "settled", "hours", "days")
PROGRESS_NOW: Final = {**dict.fromkeys(_PROGRESS_FIELDS, 1), "now": NOW}
"""What to read of it: how far they have got, and the database's time."""


def take_turn(holder: str, lease: timedelta) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the filter and the update that take, or keep, the lease on rolling up, as a turn of its own.

    The document is not made by this: see begin.
    """
    free = {"$or": [{"$eq": ["$holder", literal(holder)]}, {"$lte": ["$expires_at", None]}, _ENDED]}
    taken = {
        "holder": literal(holder),
        "turn": {"$add": ["$turn", 1]},
        "expires_at": from_now(lease),
        "length": milliseconds(lease),
        "now": NOW,
    }
    return {"_id": _ID, "$expr": free}, [{"$set": taken}]


_ENDED: Final = has_ended("expires_at", "length")


def begin(progress: Progress) -> dict[str, Any]:
    """Return the document that says where roll-ups begin."""
    return {"_id": _ID, "turn": 0, **_progress_document(progress)}


def move_on(turn: int, progress: Progress) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the filter and the update that note how far a turn has come, unless it is another one's by now."""
    return {"_id": _ID, "turn": turn}, {"$set": _progress_document(progress)}


def keep_turn(turn: int, lease: timedelta) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the filter and the update that renew the lease of a turn, unless it is another one's by now."""
    return {"_id": _ID, "turn": turn}, [{"$set": {"expires_at": from_now(lease), "length": milliseconds(lease)}}]


def give_up_turn(holder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the filter and the update that end the lease."""
    return {"_id": _ID, "holder": holder}, {"$unset": {"holder": "", "expires_at": ""}}


def _progress_document(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in _PROGRESS_FIELDS}


def to_progress(document: Mapping[str, Any]) -> Progress:
    """Read how far the roll-ups have got."""
    return Progress(document["minutes"], document["settled"], document["hours"], document["days"])
