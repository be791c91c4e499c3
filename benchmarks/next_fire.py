"""Time to find the next fire, ours beside cronsim's and croniter's: python -m benchmarks.next_fire.

All are asked in turn, instant by instant (seeded, 2026-2045, in New York), so that a slow moment of the host falls on
each alike. The libraries parse whenever they are asked from a new instant; ours is shown as the planner uses it (the
document is read through the cache), and parsing anew as they do.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from benchmarks.compare_recurrence import random_expression
from shared.domain.cron import Cron, expression_fields
from shared.domain.errors import InvalidInput
from shared.domain.exclusions import ExclusionTerms, OnExcluded
from shared.domain.schedule import CronSchedule, from_document, parse_schedule, to_document
from shared.domain.zones import EPOCH, tzdata_version
from tests.recurrence_oracle import ZONES

ZONE = "America/New_York"
START = datetime(2026, 1, 1, tzinfo=UTC)
DATES = tuple(str(START.date() + timedelta(days=29 * n)) for n in range(250))
COMMON = (
    "* * * * *",
    "*/5 * * * *",
    "*/15 9-17 * * MON-FRI",
    "0 * * * *",
    "0 8 * * *",
    "30 2 * * *",
    "0 0 * * 0",
    "0 9 1 * *",
    "15 10 L * *",
    "0 12 1,15 * *",
)
RARE = (
    "0 0 29 2 *",
    "0 0 29 2 */7",  # 29 February on a Sunday: up to 40 years
    "0 0 * 2 MON#5",  # 29 February on a Monday, likewise
    "0 0 31 12 SUN#5",
    "59 23 28-31/3 */11 5#5",
)
OURS_ONLY = ("0 0 L-28 2 ?", "0 0 29W 2 ?", "59 59 23 L-3,LW,1W 2,4 FRIL,MON#5", "* * * * * *", "H H L-2 */3 ?")

UNIONS: dict[str, dict[str, Any]] = {
    "union of 3": {"expressions": ["0 8 * * MON-FRI", "30 9 * * SAT", "0 12 L * *"]},
    "union of 20, each rare": {"expressions": [f"{n} 0 29 2 */7" for n in range(20)]},
    "250 days left out": {"config": {"expression": "0 8 * * *"}, "exclusions": ExclusionTerms(DATES)},
    "250 days that move": {
        "config": {"expression": "0 8 * * *"},
        "exclusions": ExclusionTerms(DATES, on_excluded=OnExcluded.NEXT_BUSINESS_DAY.value),
    },
    "10 years in a row left out": {
        "config": {"expression": "0 8 * * *"},
        "exclusions": ExclusionTerms(ranges=(("2030-01-01", "2039-12-31"),)),
    },
    "the same of 20, that move": {
        "expressions": [f"*/{n} {n} L * *" for n in range(1, 21)],
        "exclusions": ExclusionTerms(
            ranges=(("2030-01-01", "2039-12-31"),), on_excluded=OnExcluded.PREVIOUS_BUSINESS_DAY.value
        ),
    },
    "every 7 s, 250 days that move": {
        "type": "interval",
        "config": {"seconds": "7"},
        "exclusions": ExclusionTerms(DATES, on_excluded=OnExcluded.NEXT_BUSINESS_DAY.value),
    },
}
"""Schedules that no library has."""

Ask = Callable[[datetime], object]


def rivals(expression: str) -> dict[str, Ask]:
    """Return the ways to find the fire after an instant, by name; `ours` is the one to compare with."""
    first = parse_schedule(type="cron", config={"expression": expression}, timezone=ZONE, now=START, hash_key="job-1")
    stored, zone, keep = to_document(first), ZoneInfo(ZONE), first.next_after
    asked: dict[str, Ask] = {
        "ours": keep,
        "reading": lambda after: from_document(stored).next_after(after),
        "parsing": lambda after: Cron(expression_fields(expression), ZONE).next_after(
            (after - EPOCH) // timedelta(seconds=1)
        ),
    }
    if expression not in OURS_ONLY:
        asked["cronsim"] = lambda after: next(CronSim(expression, after.astimezone(zone)))
        asked["croniter"] = lambda after: croniter(expression, after.astimezone(zone)).get_next(datetime)
    return asked


def of_schedule(terms: dict[str, Any]) -> dict[str, Ask]:
    """Return the ways to find the next fire of a schedule that only we have."""
    schedule = parse_schedule(**({"type": "cron", "config": {}} | terms), timezone=ZONE, now=START, hash_key="job-1")
    stored = to_document(schedule)
    return {"ours": schedule.next_after, "reading": lambda after: from_document(stored).next_after(after)}


def measure(asked: dict[str, Ask], n: int, rng: random.Random) -> dict[str, list[float]]:
    """Return the microseconds that each rival took for each of n instants."""
    for ask in asked.values():
        ask(START + timedelta(days=20 * 365))
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(n):
        after = START + timedelta(seconds=rng.randrange(20 * 365 * 86_400))
        for name, ask in asked.items():
            begin = perf_counter_ns()
            ask(after)
            taken[name].append((perf_counter_ns() - begin) / 1000)
    return taken


def row(expression: str, taken: dict[str, list[float]]) -> str:
    """Return a line of medians in microseconds, and how many times ours the libraries take."""
    middle = {name: median(times) for name, times in taken.items()}
    worst = quantiles(taken["ours"], n=100)[-1]
    line = f"{expression:36}{middle['ours']:9.1f}{worst:9.1f}{middle['reading']:9.1f}"
    line += f"{middle['parsing']:9.1f}" if "parsing" in middle else f"{'-':>9}"
    for name in ("cronsim", "croniter"):
        line += f"{middle[name]:11.1f}{middle[name] / middle['ours']:8.0f}x" if name in middle else f"{'-':>11}{'-':>9}"
    return line


def slow_ones(n: int, rng: random.Random) -> Iterator[tuple[float, str]]:
    """Return for random expressions and policies what one next fire takes, in microseconds."""
    for _ in range(n):
        text, name = random_expression(rng).text, rng.choice(ZONES)
        policies = rng.choice([{}, {"gap": "SKIP"}, {"gap": "SHIFT", "repeat": "SECOND"}])
        try:
            schedule = CronSchedule(terms=tuple(sorted({"expression": text, **policies}.items())), timezone=name)
        except InvalidInput:
            continue
        schedule.next_after(datetime(2099, 1, 1, tzinfo=UTC))
        taken = []
        for _ in range(5):
            after = START + timedelta(seconds=rng.randrange(20 * 365 * 86_400))
            begin = perf_counter_ns()
            schedule.next_after(after)
            taken.append((perf_counter_ns() - begin) / 1000)
        yield median(taken), f"{text} in {name}, {policies}"


def main() -> None:
    """Print one line for each expression, and the medians over the common ones."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--instants", type=int, default=400, help="instants for each expression")
    arguments.add_argument("--search", type=int, default=2_000, help="random expressions, to find slow ones")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    rng = random.Random(given.seed)
    print(
        f"seed {given.seed}, {given.instants} instants, zone {ZONE}, tzdata {tzdata_version()}; microseconds, medians"
    )
    print(f"{'':36}{'ours':>9}{'p99':>9}{'reading':>9}{'parsing':>9}{'cronsim':>11}{'':9}{'croniter':>11}")
    pooled: dict[str, list[float]] = {}
    slowest = 0.0
    for expression in COMMON + RARE + OURS_ONLY:
        n = given.instants if expression in COMMON else given.instants // 4
        taken = measure(rivals(expression), n, rng)
        print(row(expression, taken))
        slowest = max(slowest, median(taken["ours"]))
        if expression in COMMON:
            for name, times in taken.items():
                pooled.setdefault(name, []).extend(times)
    print(row("all common ones", pooled))
    for name, terms in UNIONS.items():
        taken = measure(of_schedule(terms), given.instants // 4, rng)
        print(row(name, taken))
        slowest = max(slowest, median(taken["ours"]))
    print(f"slowest of these: {slowest:.1f} us")
    found, expression = max(slow_ones(given.search, rng))
    print(f"slowest of {given.search:,} random expressions in random zones, median of 5 instants: {found:.1f} us")
    print(f"  {expression}")


if __name__ == "__main__":
    main()
