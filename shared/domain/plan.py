"""Decide what becomes of the occurrences of a job: a pure function from its chain and the time to rows.

Every row's id is its first occurrence, a plan's later row needs the one before it, edits are installed behind a closing
row: these rules keep every occurrence decided exactly once, by any number of planners with snapshots of any age.
tests/unit/test_plan_interleavings.py tries them in every order of a small world; docs/decisions/0006 says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.domain.execution import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.schedule import Schedule

_INSTANT = timedelta(microseconds=1)


class Mode(StrEnum):
    """Whether the occurrences of a schedule are fired."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Spec:
    """What an epoch of a chain follows."""

    schedule: Schedule
    mode: Mode


@dataclass(frozen=True, slots=True)
class Change:
    """An edit that waits for a beat: the spec to install, and the instant through which the old one still holds.

    cancel_running: of a deletion, whether what runs is cancelled.
    """

    spec: Spec
    cutoff: datetime
    by: str
    reason: str
    cancel_running: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """The planner's view of a job. No row is known to cover an occurrence after `covered`; `pointer` is the first such.

    pointer is None when the schedule has no further occurrence.
    """

    uid: str
    epoch: int
    covered: datetime
    pointer: datetime | None
    spec: Spec
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A decision on the contiguous occurrences first..last; PENDING is one that fires.

    A CLOSED row stands at the first occurrence that its epoch does not cover (None: it has no further one), and
    `last` is the instant that the epoch reached.
    """

    state: State
    first: datetime | None
    last: datetime
    count: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Install:
    """A queued change that takes effect: the next epoch begins after `reached`."""

    change: Change
    epoch: int
    reached: datetime
    pointer: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows to insert, in their order, and where the job then stands.

    stale: the chain is closed, but this snapshot does not know the change that closed it; do nothing.
    """

    rows: tuple[Row, ...]
    covered: datetime
    pointer: datetime | None
    install: Install | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Policies:
    """How late occurrences and overlaps are treated: FIRE_LATEST beyond the grace, and SKIP."""

    misfire_grace: timedelta = timedelta(seconds=60)


def must_follow(chain: Chain, now: datetime) -> bool:
    """Return whether the rows from the pointer on have to be read before planning.

    Not for the common case, one occurrence due and no change: there a row of somebody else's shows as a duplicate key.
    """
    if chain.changes:
        return True
    after_pointer = chain.spec.schedule.next_after(chain.pointer) if chain.pointer else None
    return after_pointer is not None and after_pointer <= now


def plan(
    chain: Chain, standing: Mapping[datetime | None, Row], blocker: str | None, now: datetime, policies: Policies
) -> Plan:
    """Decide the occurrences that are due at `now` (the database's clock, UTC) and undecided.

    standing: rows of the present epoch from the pointer on, by their first occurrence (the closing row of an ended
    schedule has None). blocker: the id of an execution of this job that is in flight, if there is one.
    """
    end, closing = _follow(chain, standing)
    change = chain.changes[0] if chain.changes else None
    if closing is None:
        rows = _decide(chain.spec, end, change.cutoff if change else now, blocker, now, policies)
        end = rows[-1].last if rows else end
        if change is None:
            return Plan(tuple(rows), end, _next(chain.spec, end))
        reached = max(end, change.cutoff)
        rows.append(Row(State.CLOSED, _next(chain.spec, reached), reached, count=0))
    elif change is None:
        return Plan((), chain.covered, chain.pointer, stale=True)
    else:
        rows, reached = [], closing.last
    pointer = _next(change.spec, reached)
    return Plan(tuple(rows), reached, pointer, Install(change, chain.epoch + 1, reached, pointer))


def _follow(chain: Chain, standing: Mapping[datetime | None, Row]) -> tuple[datetime, Row | None]:
    """Walk the rows that stand; return the last occurrence that they cover, and the closing row if there is one."""
    end = chain.covered
    while (row := standing.get(_next(chain.spec, end))) is not None:
        if row.state is State.CLOSED:
            return end, row
        end = row.last
    return end, None


def _next(spec: Spec, after: datetime) -> datetime | None:
    return None if spec.mode is Mode.DELETED else spec.schedule.next_after(after)


def _decide(
    spec: Spec, after: datetime, through: datetime, blocker: str | None, now: datetime, policies: Policies
) -> list[Row]:
    """Decide the occurrences in (after, through]."""
    first = _next(spec, after)
    if first is None or first > through:
        return []
    if spec.mode is Mode.PAUSED:
        return [_gap(State.SKIPPED, spec.schedule, after, first, through, "the job was paused")]
    rows = []
    if now - first > policies.misfire_grace:
        last = _latest(spec.schedule, after, through)
        if last > first:
            reason = f"found late; the latest occurrence, {last:%Y-%m-%dT%H:%M:%SZ}, stands for it"
            rows.append(_gap(State.COALESCED, spec.schedule, after, first, last - _INSTANT, reason))
            after = last - _INSTANT
        first = last
    if blocker is None:
        rows.append(Row(State.PENDING, first, first))
        after, blocker = first, "of the occurrence before"
    following = spec.schedule.next_after(after)
    if following is not None and following <= through:
        reason = f"the execution {blocker} is still in flight"
        rows.append(_gap(State.SKIPPED, spec.schedule, after, following, through, reason))
    return rows


def _gap(state: State, schedule: Schedule, after: datetime, first: datetime, through: datetime, reason: str) -> Row:
    last = _latest(schedule, after, through)
    return Row(state, first, last, schedule.count_between(after, through), reason)


def _latest(schedule: Schedule, after: datetime, through: datetime) -> datetime:
    """Return the last occurrence in (after, through]; the caller knows that there is one."""
    last = schedule.last_between(after, through)
    if last is None:
        message = f"no occurrence in ({after}, {through}], although one was found there"
        raise AssertionError(message)
    return last
