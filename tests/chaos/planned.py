"""The verdict on what clients planned: skipped, moved and restored occurrences, and backfills.

What had to happen is told by what the server acknowledged, what did happen by the target's record. Of the ledger only
the history is used, which says when a job was paused, and the rows, which say what execution a call was of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.chaos.plans import Fill, Shift
    from tests.chaos.verdict import Evidence, TargetCall, Verdict

    Occurrences = Callable[[Mapping[str, Any], datetime, datetime], Iterator[datetime]]

_SLACK: Final = 0.1
"""Seconds by which two records of the same instant may differ."""


def standing(shifts: Iterable[Shift]) -> dict[tuple[str, datetime], Shift]:
    """Return what was acknowledged last of each occurrence, by job and nominal time."""
    return {(each.job_id, each.nominal): each for each in shifts}


def moved_to(evidence: Evidence) -> Mapping[str, Sequence[datetime]]:
    """Return, by the uids of jobs, the instants that have to be decided beside those of the schedule."""
    uids = {job["_id"]: job["uid"] for job in evidence.jobs}
    found: dict[str, list[datetime]] = defaultdict(list)
    for each in standing(evidence.shifts).values():
        if each.to is not None and each.job_id in uids:
            found[uids[each.job_id]].append(each.to)
    return found


def judge_shifts(evidence: Evidence, verdict: Verdict) -> None:
    """Hold each changed occurrence against the target's record: called once at its time, or not at all."""
    uids = {job["_id"]: job["uid"] for job in evidence.jobs}
    rows = {row["_id"]: row for row in evidence.rows if row["trigger"] == "SCHEDULE" and row.get("run")}
    calls: dict[tuple[str, datetime], list[TargetCall]] = defaultdict(list)
    for call in evidence.calls:
        if call.nominal is not None and call.execution_id in rows:
            calls[rows[call.execution_id]["job_uid"], call.nominal].append(call)
    ran = {(row["job_uid"], row["nominal_time"]) for row in rows.values()}
    for (job_id, nominal), shift in standing(evidence.shifts).items():
        name = f"{job_id} at {nominal.isoformat()}"
        if job_id not in uids:
            verdict.broken_promises.append(f"{name} was {shift.what}, and the job is not there")
            continue
        verdict.shifts[shift.what] += 1
        uid, at = uids[job_id], shift.to or nominal
        called = calls[uid, nominal]
        if shift.what != "restored" and (uid, nominal) in ran:
            verdict.broken_promises.append(f"{name} was {shift.what}, and was fired at its old time")
        if shift.what == "skipped" or not _active(evidence.revisions, uid, at):
            if called:
                verdict.broken_promises.append(f"{name} was {shift.what}, was not to run, and was called")
            continue
        executions = {call.execution_id for call in called}
        if len(executions) != 1:
            verdict.broken_promises.append(
                f"{name} was {shift.what}, and was to run once at {at.isoformat()}; {len(executions)} executions of it"
                " were called"
            )
        early = [call for call in called if call.began < at.timestamp() - _SLACK]
        if early or any(rows[each]["nominal_time"] != at for each in executions):
            verdict.broken_promises.append(f"{name} was {shift.what}, and was called at another time than {at}")


def _active(revisions: Iterable[Mapping[str, Any]], uid: str, at: datetime) -> bool:
    """Whether the job was active at an instant: an epoch begins behind the one that it is said to have begun at."""
    epochs = [each for each in revisions if each["job_uid"] == uid and each["began"] < at]
    return bool(epochs) and bool(max(epochs, key=lambda each: each["epoch"])["mode"] == "ACTIVE")


def judge_fills(evidence: Evidence, occurrences: Occurrences, verdict: Verdict) -> None:
    """Hold each backfill against its executions and the target's record. How many run at a time is judged elsewhere."""
    stored = {each["_id"]: each for each in evidence.backfills}
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in evidence.rows:
        if "backfill" in row:
            rows[row["backfill"]].append(row)
    calls: dict[str, list[TargetCall]] = defaultdict(list)
    for call in evidence.calls:
        calls[call.execution_id].append(call)
    schedules = {
        job["_id"]: epoch["schedule"]
        for job in evidence.jobs
        for epoch in evidence.revisions
        if epoch["job_uid"] == job["uid"] and epoch["epoch"] == 0
    }
    for fill in evidence.fills:
        if fill.backfill_id not in stored:
            verdict.broken_promises.append(f"the backfill {fill.backfill_id} is not there")
            continue
        state = stored[fill.backfill_id]["state"]
        wanted = "COMPLETED" if fill.cancelled_at is None else "CANCELLED"
        if state != wanted:
            verdict.broken_promises.append(f"the backfill {fill.backfill_id} is {state}, not {wanted}")
        verdict.fills[wanted] += 1
        before = timedelta(microseconds=1)
        times = set(occurrences(schedules[fill.job_id], fill.begins - before, fill.ends - before))
        _judge_fill(fill, times, rows.pop(fill.backfill_id, []), calls, verdict)
    unasked = (stored.keys() | rows.keys()) - {fill.backfill_id for fill in evidence.fills}
    verdict.twice += [f"the backfill {each}: no client was told of it" for each in sorted(unasked)]


def _judge_fill(
    fill: Fill,
    times: set[datetime],
    rows: Sequence[Mapping[str, Any]],
    calls: Mapping[str, Sequence[TargetCall]],
    verdict: Verdict,
) -> None:
    name = f"the backfill {fill.backfill_id}"
    found = Counter(row["nominal_time"] for row in rows)
    called = Counter(row["nominal_time"] for row in rows if calls.get(row["_id"]))
    verdict.filled += len(called)
    verdict.twice += [f"{name}: {time} is there {count} times" for time, count in found.items() if count > 1]
    verdict.twice += [f"{name}: has {time}, and should not" for time in sorted(found.keys() - times)]
    if fill.cancelled_at is None:
        verdict.lost += [f"{name}: {time} was not run" for time in sorted(times - called.keys())]
    for row in rows:
        if any(call.nominal != row["nominal_time"] for call in calls.get(row["_id"], ())):
            verdict.illegal.append(f"{row['_id']}: its target was told another nominal time")
        begun = [step["at"].timestamp() for step in row["transitions"] if step["state"] == "RUNNING"]
        if fill.cancelled_at is not None and any(at > fill.cancelled_at for at in begun):
            verdict.broken_promises.append(f"{row['_id']}: began after its backfill was cancelled")
