"""Hold the ledger against the schedules: a pure function from a job's history and its rows to what is wrong.

The nominal times are computed anew from what the history says was in force, never from what the rows say of each other.
Rows are taken in the order of their ids, one at a time, so that a job's millions need no memory; stretches of
occurrences without rows are counted, not gone through.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from shared.domain.execution import DECISIONS_NOT_TO_RUN, SUCCESSORS, State, backfill_execution_id, row_id
from shared.domain.occurrences import INSTANT, names
from shared.domain.plan import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.domain.plan import Spec


class Fault(StrEnum):
    """What can be wrong; see AuditFinding.Kind of the API."""

    MISSING = "MISSING"
    DOUBLED = "DOUBLED"
    NO_OCCURRENCE = "NO_OCCURRENCE"
    WRONG_COUNT = "WRONG_COUNT"
    ILLEGAL_PATH = "ILLEGAL_PATH"
    BROKEN_CHAIN = "BROKEN_CHAIN"
    NO_HISTORY = "NO_HISTORY"
    UNREADABLE = "UNREADABLE"
    OVERRIDDEN = "OVERRIDDEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: with a row, or with occurrences that have none (execution_id is empty)."""

    fault: Fault
    detail: str
    execution_id: str = ""
    first: datetime | None = None
    last: datetime | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a part of a chain followed: its occurrences are those after `began`, through `ended` (None: it goes on).

    spec is None when it cannot be read any more; why is then said in problem. fired: how many of the runs that max_runs
    allows were made before it.
    """

    number: int
    spec: Spec | None
    began: datetime
    ended: datetime | None
    problem: str = ""
    fired: int = 0


class Entry(NamedTuple):
    """An entry of a job's history; see Epoch."""

    number: int
    began: datetime
    spec: Spec | None
    problem: str = ""
    fired: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What is judged: occurrences in (begins, ends]. begins is None when nothing was removed and all is wanted."""

    begins: datetime | None
    ends: datetime

    def after(self, instant: datetime) -> datetime:
        """Return the later of an instant and the beginning of the view."""
        return instant if self.begins is None else max(instant, self.begins)

    def reaches(self, epoch: Epoch) -> bool:
        """Return whether an epoch ended within the view, or later."""
        return self.begins is None or epoch.ended is None or epoch.ended > self.begins


class Step(NamedTuple):
    """A transition of an execution."""

    number: int
    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row as the audit sees it. epoch is None outside the chain; first and last are what it says that it covers.

    run: whether it is an execution; None for the row that closes an epoch.
    """

    execution_id: str
    epoch: int | None
    state: State
    run: bool | None
    first: datetime | None
    last: datetime | None
    count: int
    decided_at: datetime
    steps: tuple[Step, ...]
    backfill: str = ""
    """The backfill that made it, if one did."""


def path_fault(row: LedgerRow) -> str | None:
    """Return what is wrong with the way in which a row came to its state, or None."""
    if row.run is None:
        return None if row.state is State.CLOSED else f"it is {row.state}, but neither a run nor a decision not to run"
    if not row.steps:
        return "it has no transitions"
    begin = row.steps[0].state
    if begin not in ({State.PENDING} if row.run else DECISIONS_NOT_TO_RUN):
        return f"it began as {begin}, which {'an execution' if row.run else 'a decision not to run'} does not"
    for number, step in enumerate(row.steps, start=1):
        if step.number != number:
            return f"transition {number} has the number {step.number}"
    for before, after in pairwise(row.steps):
        if after.state not in SUCCESSORS[before.state]:
            return f"{before.state} became {after.state} in transition {after.number}"
        if after.at < before.at:
            return f"transition {after.number} is older than the one before it"
    if row.steps[-1].state is not row.state:
        return f"it is {row.state}, but its last transition led to {row.steps[-1].state}"
    return None


class JobAudit:
    """Judges one job: take() its rows in the order of their ids, then finish(). Both return what they find wrong.

    epochs: all that the history knows, in order, as read at `read_at` (the database's time). due_through: until when
    the newest epoch's occurrences have to be decided by now; None: they need not be, as of a job that is set aside.
    settled: whether the newest epoch is in force, and no change waits that could have closed it.
    """

    def __init__(
        self,
        uid: str,
        epochs: Sequence[Epoch],
        view: View,
        *,
        due_through: datetime | None,
        read_at: datetime,
        settled: bool = False,
    ) -> None:
        self._uid = uid
        self._view = view
        self._read_at = read_at
        self._waiting = {epoch.number: EpochAudit(uid, epoch, view) for epoch in epochs[:-1]}
        if epochs:
            newest = EpochAudit(uid, epochs[-1], view, due_through, open_at=read_at if settled else None)
            self._waiting[newest.number] = newest
        self._present: EpochAudit | None = None

    def take(self, row: LedgerRow) -> list[Finding]:
        """Judge a row. Rows of one epoch come together."""
        found = []
        if fault := path_fault(row):
            found.append(Finding(Fault.ILLEGAL_PATH, fault, row.execution_id, row.first, row.last, row.count))
        if row.backfill and row.first and row.execution_id != backfill_execution_id(self._uid, row.backfill, row.first):
            # A time of a backfill could run a second time.
            found.append(_of(row, Fault.BROKEN_CHAIN, "its id is not made of its job, its backfill and its time"))
        if row.epoch is None:
            return found
        if self._present is None or self._present.number != row.epoch:
            found += self._end_present()
            self._present = self._waiting.pop(row.epoch, None)
        if self._present is not None:
            return found + self._present.take(row)
        if row.decided_at < self._read_at:  # a later one may belong to what was installed since
            said = f"the history has no entry for epoch {row.epoch} of the job"
            found.append(Finding(Fault.NO_HISTORY, said, row.execution_id, row.first, row.last, row.count))
        return found

    def finish(self) -> list[Finding]:
        """Judge what has no rows."""
        found = self._end_present()
        for audit in self._waiting.values():
            found += audit.finish()
        return found

    def _end_present(self) -> list[Finding]:
        present, self._present = self._present, None
        return present.finish() if present is not None else []


class EpochAudit:
    """Judges the rows of one epoch, in the order of their ids.

    due_through: of JobAudit. open_at: an instant at which nothing could have closed it, if there is one.
    """

    def __init__(
        self,
        uid: str,
        epoch: Epoch,
        view: View,
        due_through: datetime | None = None,
        *,
        open_at: datetime | None = None,
    ) -> None:
        self.number = epoch.number
        self._uid = uid
        self._epoch = epoch
        self._view = view
        self._due_through = due_through
        self._open_at = open_at
        self._covered = epoch.began
        self._fired = epoch.fired
        self._latest: LedgerRow | None = None
        self._closing: LedgerRow | None = None

    def take(self, row: LedgerRow) -> list[Finding]:
        """Judge a row against the occurrences that the epoch's schedule has."""
        if self._epoch.spec is None or (row.first is not None and row.first > self._view.ends and row.run is not None):
            return []
        found = self._close(row) if row.state is State.CLOSED else self._decide(row)
        if not found and row.execution_id != row_id(self._uid, self.number, row.first):
            # A row of another id can be inserted a second time.
            found.append(_of(row, Fault.BROKEN_CHAIN, "its id is not made of its job, its epoch and its first time"))
        return found

    def finish(self) -> list[Finding]:
        """Judge the end of the epoch, and what is left without a row."""
        epoch, view = self._epoch, self._view
        if epoch.spec is None:
            said = f"what was in force from {_shown(epoch.began)} on cannot be read: {epoch.problem}"
            return [Finding(Fault.UNREADABLE, said)] if view.reaches(epoch) else []
        if epoch.ended is None:
            if self._closing is not None:
                if self._open_at is None or self._closing.decided_at >= self._open_at:
                    return []  # a change is being installed; what follows it is in nobody's history yet
                said = "it closes the schedule that is in force, but no change waits: the job would never fire again"
                return [_of(self._closing, Fault.BROKEN_CHAIN, said)]
            return self._left(self._due_through, "due, but not decided, and the job is active")
        found = self._left(epoch.ended, "without a decision, although the next schedule is in force")
        if view.reaches(epoch) and epoch.ended <= view.ends:
            if self._closing is None:
                said = f"epoch {self.number} ended at {_shown(epoch.ended)}, but no row closes it"
                found.append(Finding(Fault.BROKEN_CHAIN, said, first=epoch.ended, last=epoch.ended))
            elif self._closing.last != epoch.ended:
                reached = _shown(self._closing.last) if self._closing.last else "nothing"
                said = f"it says that its epoch reached {reached}, but the next one began after {_shown(epoch.ended)}"
                found.append(_of(self._closing, Fault.BROKEN_CHAIN, said))
        return found

    def _next(self, after: datetime) -> datetime | None:
        spec = self._epoch.spec
        if spec is None or spec.mode is Mode.DELETED or self._ran_out:
            return None
        return spec.occurrences.next_after(after)

    @property
    def _ran_out(self) -> bool:
        """Whether all runs were made that max_runs allows; not known to be so where rows of the epoch were removed."""
        most = self._most_runs
        return most is not None and self._fired >= most

    @property
    def _most_runs(self) -> int | None:
        return self._epoch.spec.schedule.max_runs if self._epoch.spec is not None else None

    @property
    def _is_cut(self) -> bool:
        """Whether the runs of the epoch cannot all be counted, as it began before the view."""
        return self._most_runs is not None and self._view.after(self._epoch.began) > self._epoch.began

    def _decide(self, row: LedgerRow) -> list[Finding]:
        if row.first is None or row.last is None or row.last < row.first:
            return [_of(row, Fault.NO_OCCURRENCE, "it does not say which occurrences it decides")]
        if self._closing is not None:
            return [_of(row, Fault.BROKEN_CHAIN, f"it stands behind the closing row {self._closing.execution_id}")]
        found = self._placed(row, row.first, row.last)
        if any(finding.fault is Fault.NO_OCCURRENCE for finding in found):
            return found  # it covers nothing
        if not any(finding.fault is Fault.DOUBLED for finding in found):
            found += self._counted(row, row.first, row.last)
        found += self._left_out(row, row.first)
        if self._latest is None or row.last > self._covered:
            self._latest = row
        self._fired += row.run is True
        self._covered = max(self._covered, row.last)
        return found

    def _placed(self, row: LedgerRow, first: datetime, last: datetime) -> list[Finding]:
        """Judge where a row begins and ends, against what the rows before it cover."""
        ended = self._epoch.ended
        if first <= self._covered:
            if self._latest is not None:
                said = f"{self._latest.execution_id} decides the same, up to {_shown(self._covered)}"
                return [self._twice(row, first, min(last, self._covered), said)]
            said = f"its epoch began after {_shown(self._epoch.began)}"
            fault = Fault.DOUBLED if self.number else Fault.NO_OCCURRENCE
            return [
                Finding(fault, f"{said}; what was due before is not its to decide", row.execution_id, first, last, 1)
            ]
        if ended is not None and last > ended:
            said = f"its epoch ended at {_shown(ended)}; what was due later is the next one's to decide"
            return [self._twice(row, max(first, ended + INSTANT), last, said)]
        if first == self._next(self._covered):
            return []
        expected = self._next(first - INSTANT)
        if first != expected:
            named = f"; the next one is at {_shown(expected)}" if expected else ""
            return [_of(row, Fault.NO_OCCURRENCE, f"the schedule has no occurrence at {_shown(first)}{named}")]
        return self._missing(first - INSTANT, "without a decision, although a later one has one")

    def _counted(self, row: LedgerRow, first: datetime, last: datetime) -> list[Finding]:
        """Judge a row's last occurrence, and how many it says that it covers."""
        spec = self._epoch.spec
        if first == last or spec is None:
            number = 1
        elif row.run:
            return [_of(row, Fault.WRONG_COUNT, "an execution runs for more than one occurrence")]
        elif self._next(last - INSTANT) != last:
            return [_of(row, Fault.NO_OCCURRENCE, f"the schedule has no occurrence at {_shown(last)}, where it ends")]
        else:
            number = spec.occurrences.count_between(first - INSTANT, last)
        if row.count != number:
            return [_of(row, Fault.WRONG_COUNT, f"it says {row.count:,} occurrences, and there are {number:,}")]
        return []

    def _left_out(self, row: LedgerRow, first: datetime) -> list[Finding]:
        """Judge whether something runs that was to be left out."""
        spec = self._epoch.spec
        if not row.run or spec is None or not spec.overrides or names(spec.runs, first):
            return []
        return [_of(row, Fault.OVERRIDDEN, f"it runs, but {_shown(first)} was skipped, or moved to another time")]

    def _close(self, row: LedgerRow) -> list[Finding]:
        if self._closing is not None:
            return [_of(row, Fault.BROKEN_CHAIN, f"{self._closing.execution_id} closes the same epoch")]
        self._closing = row
        reached = row.last
        if reached is None or reached < self._covered:
            said = f"it says that its epoch reached less than its rows cover, {_shown(self._covered)}"
            return [_of(row, Fault.BROKEN_CHAIN, said)]
        found = self._left(reached, "without a decision, although its epoch is closed")
        expected = self._next(reached)
        if row.first != expected and not (row.first is None and self._is_cut):
            said = f"it stands at {_shown(row.first)}, and the first occurrence not covered is {_shown(expected)}"
            found.append(_of(row, Fault.BROKEN_CHAIN, said))
        self._covered = reached
        return found

    def _left(self, through: datetime | None, why: str) -> list[Finding]:
        """Return what is missing at the end of the epoch, unless it may have had no more runs to make."""
        return [] if self._is_cut else self._missing(through, why)

    def _missing(self, through: datetime | None, why: str) -> list[Finding]:
        """Return the occurrences behind the covered ones, through an instant, within the view; as one finding."""
        after = self._view.after(self._covered)
        if through is None or self._epoch.spec is None:
            return []
        through = min(through, self._view.ends)
        first = self._next(after)
        if first is None or first > through:
            return []
        occurrences = self._epoch.spec.occurrences
        number = occurrences.count_between(after, through)
        last = occurrences.last_between(after, through)
        return [Finding(Fault.MISSING, why, first=first, last=last, count=number)]

    def _twice(self, row: LedgerRow, first: datetime, last: datetime, why: str) -> Finding:
        spec = self._epoch.spec
        number = spec.occurrences.count_between(first - INSTANT, last) if spec is not None else 0
        return Finding(Fault.DOUBLED, why, row.execution_id, first, last, number)


def within_history(findings: Iterable[Finding], removed_through: datetime | None) -> list[Finding]:
    """Return the findings without those that a removal of old records explains, through an instant."""
    explained = {Fault.MISSING, Fault.BROKEN_CHAIN}
    return [
        finding
        for finding in findings
        if removed_through is None
        or finding.fault not in explained
        or finding.first is None
        or finding.first > removed_through
    ]


def epochs_of(entries: Iterable[Entry]) -> list[Epoch]:
    """Return a job's epochs from the entries of its history."""
    ordered = sorted(entries, key=lambda entry: entry.number)
    ends: Mapping[int, datetime] = {entry.number: after.began for entry, after in pairwise(ordered)}
    return [
        Epoch(each.number, each.spec, each.began, ends.get(each.number), each.problem, each.fired) for each in ordered
    ]


def _of(row: LedgerRow, fault: Fault, said: str) -> Finding:
    return Finding(fault, said, row.execution_id, row.first, row.last, row.count)


def _shown(instant: datetime | None) -> str:
    return instant.isoformat().replace("+00:00", "Z") if instant is not None else "the end of the schedule"
