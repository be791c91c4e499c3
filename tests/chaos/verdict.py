"""The verdict on a run: what should have happened, worked out anew, held against the ledger and the target's record.

It shares as little as it can with the code that it judges: occurrences are counted by arithmetic of its own (cron's by
croniter), times are read from the documents as they stand. The table of states is taken from the domain.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, Final

from croniter import croniter

from shared.domain.execution import SUCCESSORS, TERMINAL, State
from tests.chaos.faults import Action
from tests.chaos.planned import judge_fills, judge_shifts, moved_to
from tests.chaos.striker import ALL_WORKERS
from tests.chaos.wholes import judge_wholes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.chaos.load import Acknowledged
    from tests.chaos.plans import Fill, Shift
    from tests.chaos.striker import Struck

RENEWED_EVERY: Final = 1 / 3
"""Of a lease: that much of it may have passed when a fault begins, and until a renewal that failed is tried again:
one that was under way when a longer fault began."""

LOOKED_FOR_EVERY: Final = 0.5
"""Seconds between two looks of PyMongo for a server that it has lost, while somebody waits for it."""

BUSY: Final = 0.5
"""Seconds that all else may take, on a machine with much else to do. With load averages between 10 and 50 on two cores
workers wrote at most 0.55 s after a fault's end, the look for the server included."""

BEGINS_WITH: Final = frozenset({State.PENDING, State.SKIPPED, State.COALESCED})


@dataclass(frozen=True)
class TargetCall:
    """A call as the target saw it. Times are seconds since the epoch; one that has not ended has infinity."""

    execution_id: str
    attempt: int
    began: float
    ended: float
    nominal: datetime | None = None
    """The nominal time that it was told."""

    def overlaps(self, other: TargetCall) -> bool:
        """Whether both went on at the same time."""
        return self.began < other.ended and other.began < self.ended


@dataclass(frozen=True)
class Case:
    """An attempt that was taken from its worker, or went on while the next one ran, and the fault behind it."""

    execution_id: str
    attempt: int
    worker: str
    began: float
    at: float
    """When it was taken, or ended. Times are seconds since the epoch."""
    overlap: float
    """Seconds for which two calls went on at the same time."""
    struck: Struck


@dataclass
class Verdict:
    """What was found. A run is good when there are no violations."""

    decisions: Counter[str] = field(default_factory=Counter)
    """Occurrences by what was decided: fired, SKIPPED, COALESCED."""
    expected: int = 0
    """Occurrences that had to be decided."""
    fires: int = 0
    calls: int = 0
    wholes: int = 0
    """Executions that had parts."""
    parts: int = 0
    shifts: Counter[str] = field(default_factory=Counter)
    """Occurrences by what was acknowledged of them last: skipped, moved, restored."""
    fills: Counter[str] = field(default_factory=Counter)
    """Backfills by how they ended."""
    filled: int = 0
    """Nominal times that they ran."""
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    illegal: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    """Attempts that were given away, or ran in two places, although no fault had silenced their worker."""
    calls_beyond: list[str] = field(default_factory=list)
    """Calls that no attempt explains."""
    broken_promises: list[str] = field(default_factory=list)
    """What the server acknowledged and the ledger does not have."""
    overlaps: list[str] = field(default_factory=list)
    """Executions of a job's schedule that ran at the same time, more than its policy allows."""
    cases: list[Case] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """All that must not be."""
        return [
            *(f"lost: {each}" for each in self.lost),
            *(f"decided twice: {each}" for each in self.twice),
            *(f"illegal: {each}" for each in self.illegal),
            *(f"no fault explains it: {each}" for each in self.unmatched),
            *(f"more at a time than the policy allows: {each}" for each in self.overlaps),
            *(f"beyond one call an attempt: {each}" for each in self.calls_beyond),
            *(f"promised and not kept: {each}" for each in self.broken_promises),
        ]

    @property
    def overlapping(self) -> list[Case]:
        """The cases in which the target saw two calls of one execution at the same time."""
        return [case for case in self.cases if case.overlap > 0]


@dataclass(frozen=True)
class Evidence:
    """What is judged: documents as MongoDB has them, the target's record, the faults, and the clients' memory."""

    jobs: Sequence[Mapping[str, Any]]
    revisions: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    calls: Sequence[TargetCall]
    struck: Sequence[Struck]
    acknowledged: Sequence[Acknowledged]
    lease: float
    """Seconds."""
    backfills: Sequence[Mapping[str, Any]] = ()
    shifts: Sequence[Shift] = ()
    """Changes of single occurrences that were acknowledged, in their order."""
    fills: Sequence[Fill] = ()
    """Backfills that were acknowledged."""


def judge(evidence: Evidence) -> Verdict:
    """Hold all evidence against itself."""
    verdict = Verdict()
    _judge_decisions(evidence, verdict)
    for row in evidence.rows:
        _judge_path(row, verdict)
    _judge_calls(evidence, verdict)
    _judge_overlaps(evidence, verdict)
    judge_wholes(evidence.rows, verdict)
    _judge_slots(evidence, verdict)
    _judge_promises(evidence, verdict)
    judge_shifts(evidence, verdict)
    judge_fills(evidence, occurrences, verdict)
    return verdict


# One occurrence, one decision:


def occurrences(schedule: Mapping[str, Any], after: datetime, through: datetime) -> Iterator[datetime]:
    """Yield the occurrences in (after, through] of a schedule as it is stored."""
    if schedule["start_time"] or schedule["end_time"] or schedule["timezone"] not in {"", "UTC"}:
        raise NotImplementedError(schedule)
    if schedule["type"] == "interval":
        units = {"seconds": 1, "minutes": 60, "hours": 3600}
        period = timedelta(seconds=sum(int(number) * units[unit] for unit, number in schedule["config"].items()))
        instant = schedule["anchor"] + max(1, (after - schedule["anchor"]) // period + 1) * period
        while instant <= through:
            yield instant
            instant += period
    else:
        found = croniter(schedule["config"]["expression"], after, second_at_beginning=True)
        while (instant := found.get_next(datetime)) <= through:
            yield instant


def _judge_decisions(evidence: Evidence, verdict: Verdict) -> None:
    chains: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in evidence.rows:
        if row["trigger"] == "SCHEDULE":
            chains[row["job_uid"], row["epoch"]].append(row)
    moved = moved_to(evidence)
    history: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for revision in sorted(evidence.revisions, key=lambda each: each["epoch"]):
        history[revision["job_uid"]].append(revision)
    for uid, epochs in history.items():
        if [each["epoch"] for each in epochs] != list(range(len(epochs))):
            verdict.illegal.append(f"{uid}: its history has the epochs {[each['epoch'] for each in epochs]}")
            continue
        for epoch, following in pairwise([*epochs, None]):
            assert epoch is not None
            rows = chains.pop((uid, epoch["epoch"]), [])
            _judge_epoch(epoch, following, rows, moved.get(uid, ()), verdict)
    for uid, number in chains:
        verdict.illegal.append(f"{uid}.{number}: rows of an epoch that its history does not have")


def _judge_epoch(
    epoch: Mapping[str, Any],
    following: Mapping[str, Any] | None,
    rows: Sequence[Mapping[str, Any]],
    moved: Sequence[datetime],
    verdict: Verdict,
) -> None:
    closing = [row for row in rows if row["state"] == State.CLOSED]
    covering = sorted((row for row in rows if row["state"] != State.CLOSED), key=lambda row: row["nominal_time"])
    if following is None:
        if epoch["mode"] == "ACTIVE":
            verdict.illegal.append(f"{epoch['_id']}: is still active, so it cannot be judged")
        for row in covering:
            verdict.twice.append(f"{row['_id']}: decided in an epoch that has not ended")
        return
    reached = following["began"]
    if len(closing) != 1 or closing[0]["last"] != reached:
        verdict.illegal.append(f"{epoch['_id']}: closed by {[row['_id'] for row in closing]}, not once at {reached}")
    expected: list[datetime] = []
    if epoch["mode"] != "DELETED":
        named = occurrences(epoch["schedule"], epoch["began"], reached)
        expected = sorted({*named, *(each for each in moved if epoch["began"] < each <= reached)})
    verdict.expected += len(expected)
    _cover(epoch["_id"], expected, covering, verdict)
    for row in covering:
        if row["run"] and epoch["mode"] != "ACTIVE":
            verdict.illegal.append(f"{row['_id']}: fired while the job was {epoch['mode']}")


def _cover(chain: str, expected: Sequence[datetime], rows: Sequence[Mapping[str, Any]], verdict: Verdict) -> None:
    """Walk the occurrences and the rows side by side, both in the order of time."""
    position = 0
    for row in rows:
        first, last = row["nominal_time"], row["last"]
        while position < len(expected) and expected[position] < first:
            verdict.lost.append(f"{chain} at {expected[position].isoformat()}")
            position += 1
        covered = expected[position : bisect_right(expected, last, position)]
        position += len(covered)
        if not covered or covered[0] != first or covered[-1] != last:
            verdict.twice.append(f"{row['_id']}: {first.isoformat()} to {last.isoformat()}, decided before or not due")
        elif len(covered) != row["count"]:
            verdict.illegal.append(f"{row['_id']}: counts {row['count']} occurrences, not {len(covered)}")
        verdict.fires += bool(row["run"])
        verdict.decisions["fired" if row["run"] else row["state"]] += len(covered)
    verdict.lost += [f"{chain} at {instant.isoformat()}" for instant in expected[position:]]


# One path:


def _judge_path(row: Mapping[str, Any], verdict: Verdict) -> None:
    state = State(row["state"])
    if state is State.CLOSED:
        return
    steps = row["transitions"]
    states = [State(step["state"]) for step in steps]

    def illegal(what: str) -> None:
        verdict.illegal.append(f"{row['_id']}: {what}: {' '.join(states)}")

    if state not in TERMINAL:
        verdict.lost.append(f"{row['_id']} never ended: it is {state}")
    if not states or states[0] not in BEGINS_WITH or states[-1] is not state:
        illegal(f"is {state}")
    if any(after not in SUCCESSORS[before] for before, after in pairwise(states)):
        illegal("an illegal step")
    if [step["number"] for step in steps] != list(range(1, len(steps) + 1)):
        illegal("numbers are missing")
    if any(after["at"] < before["at"] for before, after in pairwise(steps)):
        illegal("a step before the one before it")
    if row.get("attempt", 0) != states.count(State.RUNNING):
        illegal(f"counts {row['attempt']} attempts")


# One call an attempt, one place at a time:


def _judge_calls(evidence: Evidence, verdict: Verdict) -> None:
    verdict.calls = len(evidence.calls)
    rows = {row["_id"]: row for row in evidence.rows}
    by_execution: dict[str, list[TargetCall]] = defaultdict(list)
    for call in evidence.calls:
        by_execution[call.execution_id].append(call)
    for execution_id, calls in by_execution.items():
        row = rows.get(execution_id)
        if row is None or not _runs(row):
            verdict.calls_beyond.append(f"{execution_id}: called {len(calls)} times, and it is no execution")
            continue
        for attempt, count in Counter(call.attempt for call in calls).items():
            if count > 1 or attempt > row["attempt"]:
                verdict.calls_beyond.append(f"{execution_id}: {count} calls of attempt {attempt} of {row['attempt']}")
    for row in evidence.rows:
        if _runs(row):
            calls = by_execution.get(row["_id"], [])
            if "flow" in row:  # its parts are called
                verdict.calls_beyond += [f"{row['_id']}: called, and it has parts"] if calls else []
            elif row["state"] == State.SUCCEEDED and not calls:
                verdict.lost.append(f"{row['_id']} succeeded without a call")
            _judge_places(row, calls, evidence, verdict)


def _runs(row: Mapping[str, Any]) -> bool:
    return bool(row.get("run", row.get("part")))


def _judge_places(row: Mapping[str, Any], calls: Sequence[TargetCall], evidence: Evidence, verdict: Verdict) -> None:
    """Match every attempt that was taken away, and all calls that went on at the same time, with a fault."""
    ends = _attempts(row)
    overlaps: dict[int, float] = {}
    for one, other in combinations(sorted(calls, key=lambda call: (call.attempt, call.began)), 2):
        if one.overlaps(other):
            seconds = min(one.ended, other.ended) - other.began
            overlaps[one.attempt] = max(seconds, overlaps.get(one.attempt, 0.0))
    taken = {number for number, attempt in ends.items() if attempt.taken}
    if taken and row.get("policies", {}).get("on_worker_lost") == "FAIL" and max(ends) > min(taken):
        verdict.illegal.append(f"{row['_id']}: tried again after its worker was lost, against its policy")
    for number in sorted(taken | set(overlaps)):
        attempt = ends.get(number)
        if attempt is None:
            verdict.unmatched.append(f"{row['_id']}: attempt {number} is not in its row")
            continue
        fault = culprit(attempt, evidence.struck, evidence.lease)
        if fault is None:
            how = f"ran in two places for {overlaps[number]:.3f} s" if number in overlaps else "was taken away"
            verdict.unmatched.append(
                f"{row['_id']}: attempt {number} of {attempt.worker} {how}, from {_clock(attempt.began)} to "
                f"{_clock(attempt.ended)}"
            )
        else:
            overlap = overlaps.get(number, 0.0)
            case = Case(row["_id"], number, attempt.worker, attempt.began, attempt.ended, overlap, fault)
            verdict.cases.append(case)


@dataclass(frozen=True)
class Attempt:
    """An attempt as the ledger has it. Times are seconds since the epoch."""

    worker: str
    began: float
    ended: float
    taken: bool
    """Whether somebody else than its worker ended it."""


def _attempts(row: Mapping[str, Any]) -> dict[int, Attempt]:
    found: dict[int, Attempt] = {}
    for step, following in pairwise([*row["transitions"], None]):
        if step is not None and step["state"] == State.RUNNING:
            ended = following["at"].timestamp() if following else float("inf")
            taken = following is not None and following["by"] != step["by"]
            found[len(found) + 1] = Attempt(step["by"], step["at"].timestamp(), ended, taken)
    return found


def culprit(attempt: Attempt, struck: Iterable[Struck], lease: float) -> Struck | None:
    """Return the fault that silenced the attempt's worker for so long, before it was ended, that its lease could end.

    Faults that follow each other so closely that the worker had no time to renew in between count as one silence; the
    longest of them is named. A worker that came back before the end of its attempt has renewed soon after, or written
    its outcome.
    """
    back_within = lease * RENEWED_EVERY + LOOKED_FOR_EVERY + BUSY
    silences: list[list[Struck]] = []
    until = float("-inf")
    for each in sorted(struck, key=lambda each: each.began):
        if not each.silenced & {attempt.worker, ALL_WORKERS} or each.began > attempt.ended:
            continue
        if each.began > until + back_within:
            silences.append([])
        silences[-1].append(each)
        until = max(until, _end(each, attempt))
    if not silences or until + back_within < attempt.ended:
        return None
    begins = max(attempt.began, silences[-1][0].began)
    if min(until, attempt.ended) - begins < lease * (1 - RENEWED_EVERY) - _SLACK:
        return None
    return max(silences[-1], key=lambda each: _end(each, attempt) - each.began)


_SLACK: Final = 0.1
"""Seconds by which the driver's record of a fault may be late."""


def _end(struck: Struck, attempt: Attempt) -> float:
    # A worker that has ended never speaks again; what is started in its place has another name.
    ended = struck.fault.action in {Action.KILL, Action.RESTART} and attempt.worker in struck.silenced
    return float("inf") if ended else struck.ended


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}"[:-3]


# The overlap policy:


def _judge_overlaps(evidence: Evidence, verdict: Verdict) -> None:
    """See how many executions of one job's schedule the target had at the same time.

    The call of a worker that had fallen silent does not count from then on: nobody could end it.
    """
    jobs = {job["uid"]: job for job in evidence.jobs}
    rows = {row["_id"]: row for row in evidence.rows if row["trigger"] == "SCHEDULE" and row.get("run")}
    attempts = {execution_id: _attempts(row) for execution_id, row in rows.items()}
    by_job: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for call in evidence.calls:
        if call.execution_id in rows:
            attempt = attempts[call.execution_id].get(call.attempt)
            ended = min(call.ended, attempt.ended) if attempt is not None and attempt.taken else call.ended
            by_job[rows[call.execution_id]["job_uid"]].append((call.began, ended, call.execution_id))
    for uid, calls in by_job.items():
        policies = jobs[uid].get("policies", {})
        allowed = policies["max_concurrent"] if policies.get("overlap") == "ALLOW" else 1
        running: list[tuple[float, str]] = []
        for began, ended, execution_id in sorted(calls):
            running = [(until, other) for until, other in running if until > began and other != execution_id]
            running.append((ended, execution_id))
            if len(running) > allowed:
                verdict.overlaps.append(f"{' and '.join(other for _, other in running)} at {_clock(began)}")


def _judge_slots(evidence: Evidence, verdict: Verdict) -> None:
    """See how many items of one fan-out, or times of one backfill, the target had at the same time.

    As _judge_overlaps, of lost workers none.
    """
    groups = {row["_id"]: row.get("parent", row.get("backfill", "")) for row in evidence.rows}
    rows = {row["_id"]: row for row in evidence.rows}
    limits = {
        row["_id"]: most
        for row in evidence.rows
        if "flow" in row and (most := json.loads(row["flow"]["spec"]).get("max_parallel", 0))
    } | {fill.backfill_id: fill.max_parallel for fill in evidence.fills}
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for call in evidence.calls:
        if (group := groups.get(call.execution_id, "")) in limits:
            attempt = _attempts(rows[call.execution_id]).get(call.attempt)
            ended = min(call.ended, attempt.ended) if attempt is not None and attempt.taken else call.ended
            spans[group].append((call.began, ended, call.execution_id))
    for whole, calls in spans.items():
        running: list[tuple[float, str]] = []
        for began, ended, execution_id in sorted(calls):
            running = [(until, other) for until, other in running if until > began and other != execution_id]
            running.append((ended, execution_id))
            if len(running) > limits[whole]:
                verdict.overlaps.append(f"{' and '.join(other for _, other in running)} at {_clock(began)}")


# What clients were told:


def _judge_promises(evidence: Evidence, verdict: Verdict) -> None:
    jobs = {job["_id"]: job for job in evidence.jobs}
    rows = {row["_id"]: row for row in evidence.rows}
    history: dict[str, Counter[str]] = defaultdict(Counter)
    for revision in evidence.revisions:
        history[revision["job_uid"]][revision["reason"]] += 1
    rescheduled = Counter(each.job_id for each in evidence.acknowledged if each.what == "rescheduled")
    for each in evidence.acknowledged:
        job = jobs.get(each.job_id)
        if job is None:
            verdict.broken_promises.append(f"{each.job_id} was {each.what}, and is not there")
        elif each.what == "executed":
            if each.token not in rows:
                verdict.broken_promises.append(f"{each.token} was promised, and is not there")
        elif each.what == "cancelled":
            _judge_cancelled(each, rows.get(each.token), verdict)
        elif each.token and history[job["uid"]][each.token] != 1:
            times = history[job["uid"]][each.token]
            verdict.broken_promises.append(f"{each.job_id} was {each.what} ('{each.token}'), in force {times} times")
    for job_id, times in rescheduled.items():
        in_force = history[jobs[job_id]["uid"]]["updated"] if job_id in jobs else 0
        if in_force != times:
            verdict.broken_promises.append(f"{job_id} was rescheduled {times} times, in force {in_force} times")


def _judge_cancelled(promise: Acknowledged, row: Mapping[str, Any] | None, verdict: Verdict) -> None:
    """See that a cancelled execution was not tried again; the call that ran then may have been answered."""
    if row is None:
        verdict.broken_promises.append(f"{promise.token} was cancelled, and is not there")
        return
    answered = row["state"] == State.SUCCEEDED and row["attempt"] == promise.attempt
    again = promise.attempt and row["attempt"] > promise.attempt
    if again or not (row["state"] == State.CANCELLED or answered):
        verdict.broken_promises.append(
            f"{promise.token} was cancelled in attempt {promise.attempt or 'none'}; it is {row['state']} after "
            f"{row['attempt']} attempts"
        )
