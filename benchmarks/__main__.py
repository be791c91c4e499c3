"""Run the benchmarks of RESULTS.md: python -m benchmarks [NAME ...] [--quick] [--gate]. `make bench` runs all.

Each measures ours beside a peer or a limit within one run; results.json gets the figures of all rounds, RESULTS.md
tables of medians. With --quick each takes seconds, and measures what a ratio needs; with --gate nothing is written,
what has no ratio is left out, and the command fails when a ratio is more than a third worse than the committed one of
the same size. What is found worse is measured once more, and counts only if it is worse over both.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Final

from benchmarks.results import Results, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.comparison import Comparison

BENCHMARKS: Final = {
    "against_peers": "benchmarks.against_peers",
    "at_rest": "benchmarks.at_rest",
    "costs": "benchmarks.costs",
    "firing": "benchmarks.firing",
    "history": "benchmarks.history",
    "memory": "benchmarks.memory",
    "on_time": "benchmarks.on_time",
    "recurrence": "benchmarks.recurrence",
    "running": "benchmarks.running",
    "serving": "benchmarks.serving",
    "serving_processes": "benchmarks.serving_processes",
}
"""Modules by the names of their benchmarks. Each has a function measure(size) that returns comparisons, and a docstring
whose first line says what is measured."""

GATED: Final = ("firing", "recurrence", "running", "serving")
"""What the gate runs unless it is told: in minutes, with what this project installs, and with ratios that another
program on the machine moves little. The others need peers, or an hour, or tell milliseconds of a machine at rest."""

WORST: Final = 1.5
"""How many times worse a ratio may be than the committed one: it has dropped by a third then."""


def measuring(name: str) -> Callable[[Size], Sequence[Comparison]]:
    """Return the function of a benchmark. Imported only when it is asked for: some need a peer's environment."""
    measure: Callable[[Size], Sequence[Comparison]] = import_module(BENCHMARKS[name]).measure
    return measure


def run(name: str, size: Size) -> Sequence[Comparison]:
    """Run one benchmark and print what it found."""
    print(f"== {name} ({size.value})", flush=True)
    began = time.monotonic()
    found = measuring(name)(size)
    for each in found:
        print(f"   {each.summary()}")
    print(f"   took {time.monotonic() - began:.0f} s", flush=True)
    return found


def gate(name: str, size: Size, committed: Sequence[Comparison]) -> list[str]:
    """Run one benchmark, and return a sentence for each ratio that is worse than the committed one, or is gone."""
    before = {each.what: each for each in committed if each.ratio is not None}
    found = {each.what: each for each in run(name, size)}
    complaints = [f"{name}: {what} is in results.json, but was not measured" for what in before.keys() - found.keys()]
    complaints += [f"{name}: {what} has no committed result" for what in found.keys() - {c.what for c in committed}]
    if any(_is_worse(found[what], before[what]) for what in before.keys() & found.keys()):
        print("   worse than committed; once more", flush=True)
        again = {each.what: each for each in run(name, size)}
        found = {what: _both(each, again[what]) for what, each in found.items() if what in again}
    for what in sorted(before.keys() & found.keys()):
        if _is_worse(found[what], before[what]):
            complaints.append(f"{name}: {what}: ratio {found[what].ratio:.3g}, committed {before[what].ratio:.3g}")
    return complaints


def _is_worse(now: Comparison, before: Comparison) -> bool:
    times = now.worse_by(before)
    return times is None or times > WORST


def _both(first: Comparison, second: Comparison) -> Comparison:
    return replace(first, ours=first.ours + second.ours, theirs=first.theirs + second.theirs)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(BENCHMARKS)}; without, all; with --gate, {', '.join(GATED)}",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, which the gate is for")
    parser.add_argument("--gate", action="store_true", help="compare with the committed results instead of writing")
    given = parser.parse_args()
    if unknown := set(given.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    size = Size.QUICK if given.quick else Size.FULL
    results = Results.read()
    complaints = []
    for name in given.names or (GATED if given.gate else BENCHMARKS):
        if given.gate:
            complaints += gate(name, size, results.of(name, size))
        else:
            results.put(name, size, run(name, size))
            results.write()  # after each: a run of an hour may be cut short
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
