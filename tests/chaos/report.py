"""What a run says to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tests.chaos.recovery import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.chaos.run import Report
    from tests.chaos.verdict import Case

MOST_SHOWN: Final = 100
"""Violations that are printed one by one."""


def lines(report: Report) -> list[str]:
    """Return the figures, the cases with their faults, the recovery times, the violations, and the seed."""
    verdict = report.verdict
    return [
        "",
        f"{verdict.fires:,} fires in {report.seconds / 60:.1f} minutes",
        f"{len(report.struck)} faults; at rest {report.drained_after:.0f} s after the last one",
        f"{report.purged:,} messages purged",
        f"{verdict.expected:,} occurrences were due: {_counted(verdict.decisions)}",
        f"{verdict.calls:,} calls",
        f"{verdict.wholes:,} fan-outs and workflows with {verdict.parts:,} parts",
        f"{_counted(verdict.shifts)} occurrences; {report.too_late} such changes came too late",
        f"{_counted(verdict.fills)} backfills, which ran {verdict.filled:,} nominal times",
        f"{report.repeated:,} requests made again after their answer",
        f"{len(verdict.lost)} lost",
        f"{len(verdict.twice)} decided twice",
        f"{len(verdict.illegal)} illegal paths or rows",
        f"{len(verdict.overlaps)} times more executions of a job at a time than its policy allows",
        f"{len(verdict.calls_beyond)} calls beyond one an attempt",
        f"{len(verdict.broken_promises)} promises to clients that were not kept",
        f"{len(verdict.cases)} attempts taken from workers that a fault had silenced past their lease:",
        *(f"  {_case(case)}" for case in sorted(verdict.cases, key=lambda case: case.at)),
        f"{len(verdict.overlapping)} of them still ran when the next one began",
        f"{len(verdict.unmatched)} such attempts that no fault explains",
        "",
        *table(report.recoveries),
        "(from the beginning when a beat or a worker was killed, restarted or stopped, so that others had to step in;",
        "else from the fault's end, or the start of what had been killed; until every job of one a second that was",
        "well has been called again, or the server answers)",
        "",
        *(f"VIOLATION {each}" for each in report.violations[:MOST_SHOWN]),
        f"{'FAILED' if report.violations else 'passed'}: {len(report.violations)} violations; seed {report.seed}",
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())) or "no"


def _case(case: Case) -> str:
    both = f", both ran for {case.overlap:.2f} s" if case.overlap > 0 else ""
    return (
        f"{_clock(case.at)} {case.execution_id} attempt {case.attempt} of {case.worker}{both}: "
        f"{case.struck.fault}, {_clock(case.struck.began)} to {_clock(case.struck.ended)}"
    )


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}" if at != float("inf") else "the end"
