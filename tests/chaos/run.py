"""One run: start all, let it work, break it, let it come to rest, gather the evidence, judge."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from dev.run import ROOT
from tests.acceptance.recorder import Recorder
from tests.chaos.faults import strikes
from tests.chaos.fleet import EXECUTION_LEASE, Fleet, running_fleet
from tests.chaos.load import STEADY, Load
from tests.chaos.recovery import SteadyCall, recoveries, whole_at
from tests.chaos.striker import Striker
from tests.chaos.verdict import Case, Evidence, TargetCall, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.chaos.striker import Struck

WARM_UP: Final = 120.0
"""Seconds that the steady jobs may take until their first calls."""

LONGEST_PATIENCE: Final = 20.0
"""Seconds that the next strike waits for the system to be whole; then it hits one that is not."""

LONGEST_DRAIN: Final = 300.0
"""Seconds after the last fault until everything must have come to rest. Messages that were purged are missed after a
minute, and again a minute later if a second purge took the copies."""

OVERTIME: Final = 3.0
"""How many times its length a run may take to get its fires; then it has failed."""

HEADROOM: Final = 2.5
"""Occurrences are due at so many times the rate that is wanted: outages and overlaps leave many unfired."""


@dataclass(frozen=True)
class Report:
    """All that a run has found."""

    seed: int
    seconds: float
    """Between the first fault and the end of the last one."""
    wanted: int
    verdict: Verdict
    struck: Sequence[Struck]
    recoveries: dict[str, list[float]]
    drained_after: float
    """Seconds from the last fault until everything had come to rest."""
    purged: int
    """Messages that the purges destroyed."""
    too_late: int
    """Skips, moves and restorations that were refused as their time had come."""
    repeated: int
    """Requests that were made again after they had been answered."""

    @property
    def violations(self) -> list[str]:
        """All that must not be; of a run that fired too little, that as well."""
        few = []
        if self.verdict.fires < self.wanted:
            few = [f"too few: {self.verdict.fires:,} fires, {self.wanted:,} were wanted"]
        return [*self.verdict.violations, *few]


class Unsettled(Exception):  # noqa: N818 - it is a finding
    """The system did not come to rest after the last fault."""


def run(seed: int, minutes: float, fires: int, folder: Path, say: Callable[[str], None]) -> Report:
    """Run for at least `minutes` and `fires`; raises Unsettled, ServerError. Leaves no process behind."""
    stopping = Event()
    with Recorder() as recorder, running_fleet(folder, recorder.port) as fleet:
        load = Load(fleet.address, seed, HEADROOM * fires / (minutes * 60), EXECUTION_LEASE)
        say(f"all processes are ready; creating the jobs (logs: {folder})")
        load.create()
        _wait(lambda: len(_steady(recorder)) == STEADY, WARM_UP, "every steady job has been called")
        looks = Thread(target=_look, args=(load, stopping), daemon=True)
        looks.start()
        load.start()
        try:
            striker = Striker(fleet, stopping)
            seconds = _strike(fleet, striker, load, recorder, seed, minutes * 60, fires, say)
            load.stop()
            say("the faults are over; pausing all jobs, and waiting for the end of what is in flight")
            rested_from = time.monotonic()
            load.pause_all()
            load.plans.let_go_on()
            _drain(fleet)
            drained_after = time.monotonic() - rested_from
        finally:
            stopping.set()
            looks.join()
            load.hang_up()
        evidence = _evidence(fleet, recorder, striker, load)
        say("judging, and asking schedctl audit")
        verdict = judge(evidence)
        verdict.illegal += _audit(fleet)
        verdict.broken_promises += load.refused
        found = recoveries(striker.struck, _steady(recorder), load.answered)
        if verdict.cases:
            found["an attempt's worker falling silent"] = [case.at - _silent_from(case) for case in verdict.cases]
        return Report(
            seed,
            seconds,
            fires,
            verdict,
            striker.struck,
            found,
            drained_after,
            striker.purged,
            load.plans.too_late,
            load.repeated,
        )


def _strike(
    fleet: Fleet,
    striker: Striker,
    load: Load,
    recorder: Recorder,
    seed: int,
    seconds: float,
    fires: int,
    say: Callable[[str], None],
) -> float:
    began = time.monotonic()
    alone = True
    for number, strike in enumerate(strikes(seed, EXECUTION_LEASE), start=1):
        passed = time.monotonic() - began
        done = _fires(fleet)
        if (passed > seconds and done >= fires) or passed > seconds * OVERTIME:
            return passed
        say(
            f"{passed:5.0f} s, {done:,} fires, {len(load.acknowledged):,} changes; "
            f"strike {number}: {'; '.join(map(str, strike.faults))}"
        )
        struck = striker.strike(strike, alone=alone)

        def whole(struck: Sequence[Struck] = struck) -> bool:
            return all(whole_at(each, _steady(recorder), load.answered) for each in struck)

        alone = _within(whole, LONGEST_PATIENCE if strike.patient else 1.0)
    raise AssertionError  # strikes have no end


def _look(load: Load, stopping: Event) -> None:
    while not stopping.wait(0.2):
        load.look()


def _within(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    if not _within(condition, seconds):
        raise Unsettled(f"not within {seconds:g} s: {what}")


def _fires(fleet: Fleet) -> int:
    """Return how many occurrences have fired so far; 0 while nobody can say."""
    try:
        with fleet.client() as client:
            ledger = client.get_default_database()["executions"]
            return ledger.count_documents({"run": True, "trigger": "SCHEDULE"})
    except PyMongoError:
        return 0


def _drain(fleet: Fleet) -> None:
    with fleet.client() as client:
        database = client.get_default_database()

        def at_rest() -> bool:
            waiting = database["jobs"].count_documents({"changes": {"$ne": []}})
            backfills = database["backfills"].count_documents({"active": True})
            return not waiting and not backfills and not database["executions"].count_documents({"open": True})

        if not _within(at_rest, LONGEST_DRAIN):
            left = database["executions"].find({"open": True}, {"state": 1, "queue": 1, "sent": 1}).limit(20)
            jobs = database["jobs"].find({"changes": {"$ne": []}}, {"state": 1}).limit(20)
            backfills = database["backfills"].find({"active": True}, {"state": 1, "window": 1}).limit(20)
            raise Unsettled(f"after {LONGEST_DRAIN:g} s there are still {[*left, *jobs, *backfills]}")


def _steady(recorder: Recorder) -> dict[str, list[SteadyCall]]:
    return {
        label: [
            SteadyCall(datetime.fromisoformat(call.metadata["x-nominal-time"]).timestamp(), call.began_at)
            for call in recorder.calls(label)
        ]
        for label in recorder.labels()
        if label.startswith("steady-")
    }


def _audit(fleet: Fleet) -> list[str]:
    """Have the scheduler's own audit look as well, as an operator would; return what it finds."""
    command = [sys.executable, "-m", "cli", "audit", "--server", fleet.address]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return []
    return [f"schedctl audit ended with {answer.returncode}: {answer.stdout[-5000:]}{answer.stderr[-2000:]}"]


def _silent_from(case: Case) -> float:
    return max(case.began, case.struck.began)


def _evidence(fleet: Fleet, recorder: Recorder, striker: Striker, load: Load) -> Evidence:
    calls = [
        TargetCall(
            call.metadata.get("x-execution-id", ""),
            int(call.metadata.get("x-attempt", "0")),
            call.began_at,
            float("inf") if call.ended_at is None else call.ended_at,
            datetime.fromisoformat(call.metadata["x-nominal-time"]) if "x-nominal-time" in call.metadata else None,
        )
        for label in recorder.labels()
        for call in recorder.calls(label)
    ]
    with fleet.client() as client:
        found: dict[str, list[dict[str, Any]]] = {
            name: list(client.get_default_database()[name].find())
            for name in ("jobs", "job_revisions", "executions", "backfills")
        }
    return Evidence(
        found["jobs"],
        found["job_revisions"],
        found["executions"],
        calls,
        striker.struck,
        load.acknowledged,
        EXECUTION_LEASE,
        found["backfills"],
        load.plans.shifts,
        load.plans.fills,
    )
