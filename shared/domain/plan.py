"""Decide what becomes of the occurrences of a job: a pure function from its chain and the time to rows.

Every row's id is its first occurrence, a plan's later row needs the one before it, edits are installed behind a closing
row: these rules keep every occurrence decided exactly once, by any number of planners with snapshots of any age.
tests/unit/test_plan_interleavings.py tries them in every order of a small world; docs/decisions/0006 says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from shared.domain.clock import utc_text
from shared.domain.execution import State
from shared.domain.occurrences import INSTANT
from shared.domain.overrides import Overridden, Running, overridden, standing
from shared.domain.policies import Misfire, Overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from shared.domain.occurrences import Occurrences
    from shared.domain.overrides import Override
    from shared.domain.policies import Policies
    from shared.domain.schedule import Schedule

MOST_ROWS: Final = 200
"""Of one plan, beside a closing row. What is due beyond that is left to the next one, which follows at once."""

FOUND_LATE: Final = "found late"
"""Begins the reasons of decisions that the misfire policy made; others read them by that."""


class Mode(StrEnum):
    """Whether the occurrences of a schedule are fired."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DELETED = "DELETED"


@lru_cache(maxsize=256)
def _every(schedule: Schedule, overrides: tuple[Override, ...]) -> Overridden:
    """Return what an epoch with overrides decides; kept, since a planner asks again at each of its steps."""
    return Overridden(schedule, overrides)


@dataclass(frozen=True, slots=True)
class Spec:
    """What an epoch of a chain follows. overrides: of single occurrences that do not go as the schedule says."""

    schedule: Schedule
    mode: Mode
    overrides: tuple[Override, ...] = ()

    @property
    def occurrences(self) -> Occurrences:
        """All instants that the epoch decides."""
        return _every(self.schedule, self.overrides) if self.overrides else self.schedule

    @property
    def runs(self) -> Occurrences:
        """Those of them at which something is to run."""
        return Running(_every(self.schedule, self.overrides)) if self.overrides else self.schedule


@dataclass(frozen=True, slots=True)
class Change:
    """An edit that waits for a beat: the spec to install, and the instant through which the old one still holds.

    The overrides of the epoch before are taken over; override: with this one; restored: without that of this
    occurrence. counts_anew: whether the runs that a schedule's max_runs allows are counted from the start again.
    cancel_running: for a deletion, whether what runs is cancelled too.
    """

    spec: Spec
    cutoff: datetime
    by: str
    reason: str
    counts_anew: bool = False
    cancel_running: bool = False
    override: Override | None = None
    restored: datetime | None = None

    def spec_after(self, before: Spec, reached: datetime) -> Spec:
        """Return what the next epoch follows, when the one of `before` has decided all through an instant."""
        changed = overridden(before.overrides, self.override, self.restored, reached)
        return replace(self.spec, overrides=standing(changed, self.spec.schedule, reached))


@dataclass(frozen=True, slots=True)
class Chain:
    """The planner's view of a job. No row is known to cover an occurrence after `covered`; `pointer` is the first such.

    pointer is None when the schedule has no further occurrence. fired: how many runs the rows through `covered` have
    made of what max_runs allows.
    """

    uid: str
    epoch: int
    covered: datetime
    pointer: datetime | None
    spec: Spec
    changes: tuple[Change, ...] = ()
    fired: int = 0


@dataclass(frozen=True, slots=True)
class InFlight:
    """An execution of the job's schedule that was decided and has not ended."""

    execution_id: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A decision on the contiguous occurrences first..last; PENDING is one that fires, at due_at.

    held: it fires, but not before the executions in flight have ended.

    A CLOSED row stands at the first occurrence that its epoch does not cover (None: it has no further one), and
    `last` is the instant that the epoch reached. moved_from: the occurrence that it runs for, if it was moved here.
    """

    state: State
    first: datetime | None
    last: datetime
    count: int = 1
    reason: str = ""
    held: bool = False
    due_at: datetime | None = None
    moved_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Install:
    """A queued change that takes effect: the next epoch follows `spec`, and begins after `reached`.

    fired: how many runs were made by then of those that max_runs allows.
    """

    change: Change
    spec: Spec
    epoch: int
    reached: datetime
    pointer: datetime | None
    fired: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows to insert, in their order, and where the job then stands.

    stale: the chain is closed, but this snapshot does not know the change that closed it; do nothing.
    """

    rows: tuple[Row, ...]
    covered: datetime
    pointer: datetime | None
    fired: int = 0
    install: Install | None = None
    stale: bool = False


def must_follow(chain: Chain, now: datetime) -> bool:
    """Return whether the rows from the pointer on have to be read before planning.

    Not for the common case, one occurrence due and no change: there a row of somebody else's shows as a duplicate key.
    """
    if chain.changes:
        return True
    after_pointer = chain.spec.occurrences.next_after(chain.pointer) if chain.pointer else None
    return after_pointer is not None and after_pointer <= now


def plan(
    chain: Chain,
    standing: Mapping[datetime | None, Row],
    in_flight: Sequence[InFlight],
    now: datetime,
    policies: Policies,
) -> Plan:
    """Decide the occurrences that are due at `now` (the database's clock, UTC) and undecided.

    standing: rows of the present epoch from the pointer on, by their first occurrence (the closing row of an ended
    schedule has None). in_flight: this job's, in the order of their nominal times; read after the chain and the
    standing rows, so that whatever these made is seen unless it has ended.
    """
    end, fired, closing = _follow(chain, standing)
    change = chain.changes[0] if chain.changes else None
    if closing is None:
        through = change.cutoff if change else now
        deciding = _Deciding(chain.uid, chain.spec, end, fired, through, now, policies, in_flight)
        rows = list(islice(deciding.rows(), MOST_ROWS))
        end, fired, pointer = deciding.after, deciding.fired, deciding.pointer
        if change is None or (pointer is not None and pointer <= through):
            return Plan(tuple(rows), end, pointer, fired)
        reached = max(end, change.cutoff)
        rows.append(Row(State.CLOSED, _next(chain.spec, reached, fired), reached, count=0))
    elif change is None:
        return Plan((), chain.covered, chain.pointer, chain.fired, stale=True)
    else:
        rows, reached = [], closing.last
    fired = 0 if change.counts_anew else fired
    spec = change.spec_after(chain.spec, reached)
    pointer = _next(spec, reached, fired)
    return Plan(tuple(rows), reached, pointer, fired, Install(change, spec, chain.epoch + 1, reached, pointer, fired))


def _follow(chain: Chain, standing: Mapping[datetime | None, Row]) -> tuple[datetime, int, Row | None]:
    """Walk the rows that stand: the last occurrence that they cover, the runs so far, and the closing row, if any."""
    end, fired = chain.covered, chain.fired
    while standing and (row := standing.get(_next(chain.spec, end, fired))) is not None:
        if row.state is State.CLOSED:
            return end, fired, row
        end, fired = row.last, fired + (row.state is State.PENDING)
    return end, fired, None


def _next(spec: Spec, after: datetime, fired: int) -> datetime | None:
    """Return the first occurrence after an instant, unless there is none, or the runs that are allowed were made."""
    most = spec.schedule.max_runs
    if spec.mode is Mode.DELETED or (most is not None and fired >= most):
        return None
    return spec.occurrences.next_after(after)


class _Deciding:
    """Decides the occurrences in (after, through], in their order.

    `after`, `fired` and `pointer` move along: the last occurrence that is decided, the runs until then, and the first
    occurrence that is not decided, which is looked for once.
    """

    def __init__(
        self,
        uid: str,
        spec: Spec,
        after: datetime,
        fired: int,
        through: datetime,
        now: datetime,
        policies: Policies,
        in_flight: Sequence[InFlight],
    ) -> None:
        self._uid = uid
        self._spec = spec
        self._occurrences = spec.occurrences
        self._runs = spec.runs
        overrides = self._occurrences if isinstance(self._occurrences, Overridden) else None
        self._left_out: Mapping[datetime, Override] = overrides.left_out if overrides else {}
        self._moved_here: Mapping[datetime, Override] = overrides.moved_here if overrides else {}
        self.after = after
        self.fired = fired
        self.pointer = _next(spec, after, fired)
        self._through = through
        self._now = now
        self._policies = policies
        self._running = [each.execution_id for each in in_flight if not each.held]
        self._waiting = [each.execution_id for each in in_flight if each.held]

    def rows(self) -> Iterator[Row]:
        if self._spec.mode is Mode.PAUSED:
            yield from self._gap(State.SKIPPED, self._through, "the job was paused")
            return
        yield from self._leave_out()
        following = self._next()
        if following is not None and self._now - following > self._policies.misfire_grace:
            yield from self._late(following)
            yield from self._leave_out()
            following = self._next()
        while following is not None:
            yield from self._overlapping(following)
            yield from self._leave_out()
            following = self._next()

    def _next(self) -> datetime | None:
        return self.pointer if self.pointer is not None and self.pointer <= self._through else None

    def _decided(self, last: datetime, runs: int = 0) -> None:
        self.after = last
        self.fired += runs
        self.pointer = _next(self._spec, last, self.fired)

    def _leave_out(self) -> Iterator[Row]:
        """Decide what comes next as long as that is not to run."""
        if not self._left_out:
            return  # at once: this is asked for each occurrence of every job
        while (following := self._next()) is not None and following in self._left_out:
            self._decided(following)
            yield Row(State.SKIPPED, following, following, reason=self._left_out[following].left_out)

    def _late(self, first: datetime) -> Iterator[Row]:
        """Decide what is not fired of the occurrences found late."""
        runs, through, policies = self._runs, self._through, self._policies
        if policies.misfire is Misfire.FIRE_LATEST:
            latest = _latest(runs, self.after, through)
            if latest > first:
                reason = f"{FOUND_LATE}; the latest occurrence, {utc_text(latest)}, stands for it"
                yield from self._gap(State.COALESCED, latest - INSTANT, reason)
            return
        late = min(through, self._now - policies.misfire_grace - INSTANT)
        if policies.misfire is Misfire.SKIP:
            grace = f"{policies.misfire_grace.total_seconds():g} s"
            yield from self._gap(State.SKIPPED, late, f"{FOUND_LATE} by more than the grace of {grace}")
        elif runs.count_between(self.after, late) > policies.misfire_limit:
            kept = _latest(runs, self.after, late)
            for _ in range(policies.misfire_limit - 1):
                kept = _latest(runs, self.after, kept - INSTANT)
            reason = f"{FOUND_LATE}; only the latest {policies.misfire_limit}, from {utc_text(kept)} on, fire"
            yield from self._gap(State.COALESCED, kept - INSTANT, reason)

    def _overlapping(self, first: datetime) -> Iterator[Row]:
        """Decide the next occurrence, and with it those after it that come to the same, by what is in flight."""
        policies = self._policies
        if policies.overlap is Overlap.CANCEL_PREVIOUS:
            latest = _latest(self._runs, self.after, self._through)
            if latest > first:
                reason = f"the occurrence {utc_text(latest)} would have cancelled it at once"
                yield from self._gap(State.SKIPPED, latest - INSTANT, reason)
                return
            # However many still end or wait: they are cancelled.
            yield self._fire(first, held=bool(self._running or self._waiting))
        elif not self._waiting and len(self._running) < policies.most_running:
            yield self._fire(first, held=False)
        elif len(self._waiting) < policies.most_waiting:
            yield self._fire(first, held=True)
        else:
            yield from self._gap(State.SKIPPED, self._through, self._why_not())

    def _why_not(self) -> str:
        """Return why an occurrence neither fires nor waits."""
        if self._policies.most_waiting:
            return f"{len(self._waiting)} already wait for the execution {self._earliest} to end"
        if self._policies.most_running > 1:
            return f"{len(self._running) + len(self._waiting)} executions are in flight already"
        return f"the execution {self._earliest} is still in flight"

    @property
    def _earliest(self) -> str:
        return (self._running or self._waiting)[0]

    def _fire(self, first: datetime, *, held: bool) -> Row:
        moved = self._moved_here.get(first)
        reason = moved.moved_here if moved is not None else ""
        if held:
            waits = f"waits for the execution {self._earliest} to end"
            reason = f"{reason}; {waits}" if reason else waits
        (self._waiting if held else self._running).append("of the occurrence before")
        self._decided(first, runs=1)
        if moved is not None:
            # At the very instant that was asked for: who named it wants no jitter.
            return Row(State.PENDING, first, first, reason=reason, held=held, due_at=first, moved_from=moved.nominal)
        due_at = self._spec.schedule.due_time(first, self._uid)
        return Row(State.PENDING, first, first, reason=reason, held=held, due_at=due_at)

    def _gap(self, state: State, through: datetime, reason: str) -> Iterator[Row]:
        """Decide the occurrences through an instant: in one row, but for those that are left out, which have their own.

        While the job is paused these are no different from the others.
        """
        if self._spec.mode is not Mode.PAUSED:
            for instant in [each for each in self._left_out if self.after < each <= through]:
                yield from self._piece(state, instant - INSTANT, reason)
                yield from self._leave_out()
        yield from self._piece(state, through, reason)

    def _piece(self, state: State, through: datetime, reason: str) -> Iterator[Row]:
        after, occurrences = self.after, self._occurrences
        first = self._next()
        if first is None or first > through:
            return
        last = _latest(occurrences, after, through)
        self._decided(last)
        yield Row(state, first, last, occurrences.count_between(after, last), reason)


def _latest(occurrences: Occurrences, after: datetime, through: datetime) -> datetime:
    """Return the last occurrence in (after, through]; the caller knows that there is one."""
    last = occurrences.last_between(after, through)
    if last is None:
        message = f"no occurrence in ({after}, {through}], although one was found there"
        raise AssertionError(message)
    return last
