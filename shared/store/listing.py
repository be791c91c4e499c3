"""Lists by filters: the indexes that hold one in its order, and what is left to look at in each document.

Whatever is asked, a page costs at most MOST_EXAMINED entries of one index. Where that is not enough to fill it, it has
fewer, and says where the next one begins (AIP-158).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.domain.execution import DECISIONS_NOT_TO_RUN, OPEN, SHOWN_STATES, State, Trigger
from shared.domain.filters import Condition, Operator
from shared.domain.job import JobState
from shared.store.jobs import PARTITIONS
from shared.store.mongo import FIRST_INSTANT
from shared.store.parts import parts_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from enum import StrEnum

    from shared.domain.filters import Filter, Order

MOST_EXAMINED: Final = 3_000
"""Entries of an index, and documents if they fit as far as that index tells. Some tens of milliseconds."""

Position: TypeAlias = tuple[datetime | str, str]
"""Where a document stands in a list: its value of the field that orders it, and its id. The next page begins after that
of the page's last one, whatever was added before."""

Query: TypeAlias = "dict[str, Any]"

_HAS_ID: Final[Query] = {"_id": {"$gte": ""}}
"""What was put into the store by hand may have an id that is no text, and that no request could name."""


@dataclass(frozen=True, slots=True)
class Way:
    """An index, by name, that holds a list in its order: what it answers by itself, and what it leaves."""

    index: str
    chosen: Query
    rest: tuple[Query, ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a list that is one range of an index, or one of each of several that are merged."""

    query: Query
    sort: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list. path: of the field that it is ordered by. ways: at least one."""

    path: str
    descending: bool
    ways: tuple[Way, ...]

    @property
    def sort(self) -> list[tuple[str, int]]:
        """The order; what is equal in the field is ordered by id."""
        direction = -1 if self.descending else 1
        return [(self.path, direction), ("_id", direction)]

    @property
    def position_fields(self) -> Query:
        """What a document's position takes; all of it is in the index, but for one over labels."""
        return {"_id": 1, self.path: 1}

    def position(self, document: Mapping[str, Any]) -> Position:
        """Return where a document stands in the list; if its id is no text, between those that have one."""
        return document[self.path], str(document["_id"])

    def entries(self, way: Way, after: Position | None) -> list[Stretch]:
        """Find what a way's index answers by itself, behind a position: these, one after the other."""
        return [replace(each, query={"$and": [way.chosen, each.query]}) for each in self._stretches(after, None)]

    def found(self, way: Way, after: Position | None, through: Position | None) -> list[Stretch]:
        """Find what is asked for, behind a position and up to another one: these, one after the other."""
        return [
            replace(each, query={"$and": [way.chosen, each.query, _HAS_ID, *way.rest]})
            for each in self._stretches(after, through)
        ]

    def furthest(self, positions: Iterable[tuple[Position, Way]]) -> tuple[Position, Way]:
        """Return the position that comes last in the list."""
        return (max, min)[self.descending](positions, key=lambda each: each[0])

    def _stretches(self, after: Position | None, through: Position | None) -> list[Stretch]:
        """Return a part of the list: what has the value of its beginning, what lies between, what has that of its end.

        As one query of alternatives it would be sorted in memory, or looked at document by document: at eight o'clock
        thousands have the same time. Each is a comparison, which leaves out what has no such value, or one of another
        type: it was changed by hand, and no token could stand for its place.
        """
        behind, ahead = ("$lt", "$gt") if self.descending else ("$gt", "$lt")
        beginning = {behind: after[1]} if after else {}
        end = {f"{ahead}e": through[1]} if through else {}
        if after and through and after[0] == through[0]:
            return [self._same(after[0], beginning | end)]
        between = ({behind: after[0]} if after else {}) | ({ahead: through[0]} if through else {})
        # What somebody has put in the place of a date is of another type, and has no place in a list.
        least = "" if self.path == "name" else FIRST_INSTANT
        return [
            *([self._same(after[0], beginning)] if after else []),
            Stretch({self.path: between or {"$gte": least}}, self.sort),
            *([self._same(through[0], end)] if through else []),
        ]

    def _same(self, value: datetime | str, ids: Query) -> Stretch:
        return Stretch({self.path: value, "_id": ids}, self.sort[1:])


IS_DATE: Final = {"$type": "date"}
"""What lets a partial index be used that holds only what has such a time."""

_OPERATORS: Final[Mapping[Operator, str]] = {
    Operator.LESS: "$lt",
    Operator.AT_MOST: "$lte",
    Operator.MORE: "$gt",
    Operator.AT_LEAST: "$gte",
}


def condition_query(path: str, condition: Condition) -> Query:
    """Find documents for which a condition holds; path: of its field."""
    if condition.instant is not None:
        return {path: {_OPERATORS[condition.operator]: condition.instant}}
    match condition.operator:
        case Operator.PREFIX:
            beginning = condition.values[0]
            after = _after_all(beginning)
            return {path: {"$gte": beginning, "$lt": after} if after else {"$gte": beginning}}
        case Operator.NOT_EQUAL:
            return {path: {"$nin": [*condition.values, None]}}
        case _:
            return {path: _one_of(condition.values)}


def _one_of(values: Sequence[str]) -> str | Query:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _after_all(beginning: str) -> str:
    """Return the least text after all that begin so, in the order of code points, which the store's is; or nothing."""
    for length in range(len(beginning), 0, -1):
        following = ord(beginning[length - 1]) + 1
        if following <= _LAST_CODE_POINT:
            return beginning[: length - 1] + chr(_AFTER_SURROGATES if following == _FIRST_SURROGATE else following)
    return ""


_LAST_CODE_POINT: Final = 0x10FFFF
_FIRST_SURROGATE: Final = 0xD800
_AFTER_SURROGATES: Final = 0xE000


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that is asked of a list. queries: by names to call them. bounds: on the field that it is ordered by."""

    queries: dict[str, Query]
    bounds: Sequence[Query]

    def way(self, index: str, *names: str, only: Query | None = None, by: Query | None = None) -> Way:
        """Return a way by an index that answers what has these names; or, in its own words, what `by` says.

        only: the condition of a partial index, which the server does not always see in what is asked.
        """
        mine = [by] if by is not None else [self.queries[name] for name in names if name in self.queries]
        mine += [only] if only is not None else []
        rest = [query for name, query in self.queries.items() if name not in names]
        return Way(index, {"$and": [*mine, *self.bounds]} if mine or self.bounds else {}, tuple(rest))


# Jobs:

_JOB_PATHS: Final = {"created_at": "created_at", "name": "name", "next_fire_time": "wake_at", "job_id": "_id"}
"""Of the fields of jobs that are called otherwise, or that a list can be ordered by."""
_BY_FIELD: Final = ("target_service", "queue", "job_type")
"""Fields of jobs with an index of their name, which has `created_at` behind them."""
_WAKES: Final[Query] = {"partition": {"$in": list(range(PARTITIONS))}, "wake_at": IS_DATE}


def job_listing(chosen: Filter, order: Order, *, show_deleted: bool = False) -> Listing:
    """Return the list of the jobs that a filter asks for; deleted ones are left out unless it names them.

    Ordered by next_fire_time it has only jobs that have one.
    """
    states = _job_states(chosen, show_deleted=show_deleted)
    queries = {
        str(condition): _labels_query(condition) if condition.field == "labels" else _job_query(condition)
        for condition in chosen.conditions
        if condition.field not in {"state", order.field}
    }
    if len(states) < len(JobState):
        queries["state"] = {"state": _one_of(states)}
    path = _JOB_PATHS[order.field]
    # Without the state that goes with a next_fire_time: it is not in the index, and is among the queries below.
    asked = _Asked(queries, [condition_query(path, condition) for condition in chosen.on(order.field)])
    if path == "wake_at":
        asked.queries["fires"] = {"state": JobState.ACTIVE.value}
    named = next((str(each) for each in chosen.on("job_id") if each.operator is Operator.EQUAL), None)
    if named is not None:
        # Not in the list's order: a filter names a few jobs at most, which the store sorts when it has found them.
        ways = [asked.way("_id_", named, only={path: IS_DATE} if path == "wake_at" else None)]
    elif path == "wake_at":
        ways = [asked.way("wake_time", by=_WAKES)]
    elif path == "name":
        ways = [asked.way("name")]
    else:
        ways = _job_ways(chosen, asked)
    return Listing(path, order.descending, tuple(ways))


def _job_ways(chosen: Filter, asked: _Asked) -> list[Way]:
    """Return the ways to read the newest jobs first, what is probably rare in front."""
    ways = []
    for condition in chosen.conditions:
        if condition.field == "labels" and condition.operator is not Operator.NOT_EQUAL:
            index = "label_keys" if condition.operator is Operator.PRESENT else "labels"
            ways.append(asked.way(index, str(condition), by=_label_entries(condition)))
        elif condition.field in _BY_FIELD and condition.operator is Operator.EQUAL:
            ways.append(asked.way(condition.field, str(condition)))
    return [*ways, asked.way("job_state", "state") if "state" in asked.queries else asked.way("created")]


def _job_states(chosen: Filter, *, show_deleted: bool) -> list[str]:
    conditions = chosen.on("state")
    named = any(JobState.DELETED in c.values for c in conditions if c.operator is Operator.EQUAL)
    return [
        state.value
        for state in JobState
        if all(condition.holds(state.value) for condition in conditions)
        and (state is not JobState.DELETED or show_deleted or named)
    ]


def _job_query(condition: Condition) -> Query:
    query = condition_query(_JOB_PATHS.get(condition.field, condition.field), condition)
    # What does not fire, and was paused or deleted a moment ago, has a wake time all the same: that of its change.
    return query | {"state": JobState.ACTIVE.value} if condition.field == "next_fire_time" else query


def _label_entries(condition: Condition) -> Query:
    """Find what has a label, so that an index answers it."""
    if condition.operator is Operator.PRESENT:
        return {"labels.key": condition.key}
    return {"labels": {"$elemMatch": {"key": condition.key, "value": _one_of(condition.values)}}}


def _labels_query(condition: Condition) -> Query:
    """Find what has a label, or one other than that, by a look at the document.

    An index that is read for another label must not be read for this one instead, which may be that of all jobs.
    """
    if condition.operator is Operator.PRESENT:
        return {"$expr": {"$in": [{"$literal": condition.key}, "$labels.key"]}}
    found = {"$in": ["$$label.value", {"$literal": list(condition.values)}]}
    fits = {"$not": [found]} if condition.operator is Operator.NOT_EQUAL else found
    same = {"$eq": ["$$label.key", {"$literal": condition.key}]}
    having = {"$filter": {"input": "$labels", "as": "label", "cond": {"$and": [same, fits]}}}
    return {"$expr": {"$gt": [{"$size": having}, 0]}}


# Executions:

_EXECUTION_PATHS: Final = {"group_id": "group"}
_BAD_ENDS: Final = frozenset({State.CANCELLED.value, State.FAILED.value})
_RARE_TRIGGERS: Final = frozenset({Trigger.BACKFILL.value, Trigger.MANUAL.value, Trigger.RETRY.value})

OPEN_RUN: Final[Query] = {"run": True, "open": True}
ENDED_BADLY: Final[Query] = {"run": True, "state": {"$in": sorted(_BAD_ENDS)}}
RARELY_TRIGGERED: Final[Query] = {"run": True, "trigger": {"$in": sorted(_RARE_TRIGGERS)}}
IN_GROUP: Final[Query] = {"group": {"$type": "string"}}
"""What the indexes hold that have only a few of many executions."""


@dataclass(frozen=True, slots=True)
class Among:
    """Which rows of the ledger a list is about. uids: of jobs; None: of all, and of none.

    decisions: also those that are no runs. parts_of, key: the parts of an execution, or the items of one key.
    """

    uids: tuple[str, ...] | None = None
    decisions: bool = False
    parts_of: str = ""
    key: str = ""


def execution_listing(chosen: Filter, order: Order, among: Among) -> Listing:
    """Return the list of the executions that a filter asks for."""
    states, triggers = _fitting(SHOWN_STATES, chosen.on("state")), _fitting(Trigger, chosen.on("trigger"))
    queries = {
        str(condition): _execution_query(condition)
        for condition in chosen.conditions
        if condition.field not in {"state", "trigger", order.field}
        # Of those that have to be equal, the uids are known.
        and not (condition.field == "job_id" and condition.operator is Operator.EQUAL and among.uids is not None)
    }
    if len(states) < len(SHOWN_STATES):
        queries["state"] = {"state": _one_of(states)}
    if len(triggers) < len(Trigger):
        queries["trigger"] = {"trigger": _one_of(triggers)}
    if among.uids is not None:
        queries["job"] = {"job_uid": _one_of(among.uids)}
    if among.parts_of:
        queries["parent"] = parts_filter(among.parts_of)
    elif among.key:
        queries["key"] = {"trigger": Trigger.PART.value, "part_key": among.key}
    else:
        # What is no run is SKIPPED or COALESCED, and the schedule's doing.
        decisions = among.decisions and DECISIONS_NOT_TO_RUN & set(states) and Trigger.SCHEDULE in triggers
        queries["run"] = {"run": {"$in": [True, False]}} if decisions else {"run": True}
    asked = _Asked(queries, [_execution_query(condition) for condition in chosen.on(order.field)])
    if order.field == "finished_at":
        return Listing("finished_at", order.descending, (asked.way("finished_at", only={"finished_at": IS_DATE}),))
    ways = _execution_ways(chosen, asked, set(states), set(triggers))
    return Listing("nominal_time", order.descending, tuple(ways))


def _execution_ways(chosen: Filter, asked: _Asked, states: set[str], triggers: set[str]) -> list[Way]:
    """Return the ways to read the newest nominal times first, what is probably rare in front."""
    if "parent" in asked.queries:
        return [asked.way("parts_time", "parent")]
    if "key" in asked.queries:
        return [asked.way("part_key_time", "job", "key")]
    groups = [condition for condition in chosen.on("group_id") if condition.operator is Operator.EQUAL]
    ways = [asked.way("group_time", str(condition), only=IN_GROUP) for condition in groups]
    if "job" in asked.queries:
        ways.append(asked.way("job", "job", "run"))
    if asked.queries["run"] == {"run": True}:
        if states <= _BAD_ENDS:
            ways.append(asked.way("ended_badly", "run", "state", only=ENDED_BADLY))
        if states <= OPEN:
            ways.append(asked.way("open_time", "run", only=OPEN_RUN))
        if triggers <= _RARE_TRIGGERS:
            ways.append(asked.way("trigger", "run", "trigger", only=RARELY_TRIGGERED))
    return [*ways, asked.way("nominal_time", "run")]


def _fitting(words: Iterable[StrEnum], conditions: Iterable[Condition]) -> list[str]:
    return [word.value for word in words if all(condition.holds(word.value) for condition in conditions)]


def _execution_query(condition: Condition) -> Query:
    return condition_query(_EXECUTION_PATHS.get(condition.field, condition.field), condition)
