"""Our next fire against cronsim's and croniter's, for random pairs of an expression and an instant.

    .venv/bin/python -m benchmarks.compare_recurrence --seeds 1-200 --results compared.jsonl

Each seed stands for 10,000 pairs, and is a line of the results; seeds that are there are not compared again, so a run
can be cut short and taken up, and several can share the work by their seeds. The zones are all of tzdata's, the
instants lie in 1970-2098, one in seven within two days of a change of offset, or two hours.

Where a library says something else, the slow oracle of the tests decides, which walks through the wall clock and shares
no code with the engine; the rule is named by which it says so. The rules, by number, are those of docs/schedules.md.
A difference without an explanation is a fault of ours, or of the oracle, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError

from shared.domain.errors import InvalidInput
from shared.domain.schedule import CronSchedule
from shared.domain.zones import tzdata_version
from tests.recurrence_oracle import (
    ANY_DAY,
    DAY,
    SECOND,
    ZONES,
    Day,
    Expression,
    Time,
    before_last,
    changes,
    changes_between,
    dates_between,
    dates_stepping,
    every,
    first_fire,
    in_month,
    last_workday,
    listed,
    months_between,
    nth_weekday,
    offset,
    on_date,
    on_dates,
    on_weekday,
    on_weekdays,
    ranging,
    stepping,
    stepping_from,
    weekdays_between,
    weekdays_stepping,
    zone_info,
)

PAIRS_PER_SEED = 10_000
INSTANTS_PER_EXPRESSION = 10
NEAR_A_CHANGE = 0.15
FIRST_YEAR, LAST_YEAR = 1970, 2098

Ask = Callable[[datetime], datetime]


@dataclass(frozen=True)
class Difference:
    """What a library says of a pair, where it is not what we say. explanation: None when no rule has one."""

    library: str
    expression: str
    timezone: str
    after: datetime
    ours: datetime | None
    theirs: datetime
    explanation: str | None


class EndlessError(Exception):
    """A library went on without an answer."""


class Bounded(CronSim):
    """cronsim, ended where it would not: in seed 59 it steps from minute to minute without ever finding one."""

    ticks = 0

    def tick(self, seconds: int = 1) -> None:
        """Step as cronsim does, a million times at most."""
        self.ticks += 1
        if self.ticks > 1_000_000:
            raise EndlessError
        super().tick(seconds)


def compare(pairs: int, seed: int) -> tuple[Counter[str], list[Difference]]:
    """Compare so many pairs; return how many each library could be asked about, and the differences."""
    rng = random.Random(seed)
    compared: Counter[str] = Counter()
    differing: list[Difference] = []
    left = pairs
    while left > 0:
        e, name = random_expression(rng), rng.choice(ZONES)
        try:
            schedule = CronSchedule(terms=(("expression", e.text),), timezone=name)
        except InvalidInput:
            continue  # a day that no month has
        libraries = dict(ways_to_ask(e, name))
        for after in random_instants(rng, name, min(left, INSTANTS_PER_EXPRESSION)):
            left -= 1
            compared["pairs"] += 1
            ours = schedule.next_after(after)
            for library, ask in libraries.items():
                try:
                    theirs = ask(after)
                except (CroniterError, EndlessError):
                    # croniter looks 50 years ahead and no further; cronsim may step on for ever.
                    compared[f"{library} gave no answer"] += 1
                    continue
                compared[library] += 1
                if theirs != ours:
                    explanation = explain(e, name, after, ours, theirs)
                    differing.append(Difference(library, e.text, name, after, ours, theirs, explanation))
    return compared, differing


def ways_to_ask(e: Expression, name: str) -> Iterator[tuple[str, Ask]]:
    """Return how each library that reads an expression is asked for the fire after an instant."""
    zone = zone_info(name)
    now = datetime(2026, 1, 1, tzinfo=zone)
    try:
        CronSim(e.text, now)
    except CronSimError:
        pass
    else:
        yield "cronsim", lambda after: next(Bounded(e.text, after.astimezone(zone))).astimezone(UTC)
    try:
        iterator = croniter(e.text, now, second_at_beginning=True)
    except CroniterError:
        pass
    else:
        yield "croniter", lambda after: iterator.get_next(datetime, after.astimezone(zone)).astimezone(UTC)


def random_instants(rng: random.Random, name: str, n: int) -> Iterator[datetime]:
    """Return instants of the years to compare, some of them where the zone's offset changes."""
    for _ in range(n):
        year = rng.randint(FIRST_YEAR, LAST_YEAR)
        if rng.random() < NEAR_A_CHANGE and (near := changes(name, year)):
            reach = rng.choice([2 * 3_600, 2 * 86_400])
            yield rng.choice(near) + rng.randrange(-reach, reach) * SECOND
        else:
            yield datetime(year, 1, 1, tzinfo=UTC) + rng.randrange(365 * 86_400) * SECOND


def random_expression(rng: random.Random) -> Expression:
    """Return an expression of forms that at least one library reads, with its meaning."""

    def time(size: int) -> Time:
        # Of two values: ranges of one value are read otherwise by both, see the cases kept in the tests.
        low, high = sorted(rng.sample(range(size), 2))
        return rng.choice(
            [
                partial(every, size),
                partial(stepping, size, rng.randint(2, size - 1)),
                partial(listed, low),
                partial(listed, high),
                partial(listed, low, high),
                partial(ranging, size, low, high),
                partial(ranging, size, low, high, rng.randint(1, max(1, high - low))),
                partial(stepping_from, size, low, rng.randint(1, size - 1)),
            ]
        )()

    def pick(*ways: Callable[[], Day]) -> Day:
        return ANY_DAY if rng.random() < 0.5 else rng.choice(ways)()

    return Expression(
        time(60),
        time(24),
        pick(
            lambda: on_date(rng.randint(1, 31)),
            lambda: on_dates(*sorted(rng.sample(range(1, 32), 2))),
            lambda: dates_between(*sorted(rng.sample(range(1, 32), 2))),
            lambda: dates_stepping(rng.randint(2, 15)),
            lambda: before_last(0),
            last_workday,
        ),
        pick(lambda: in_month(rng.randint(1, 12)), lambda: months_between(*sorted(rng.sample(range(1, 13), 2)))),
        pick(
            lambda: on_weekday(rng.randint(0, 6)),
            lambda: on_weekdays(*sorted(rng.sample(range(7), 3))),
            lambda: weekdays_between(*sorted(rng.sample(range(7), 2))),
            lambda: weekdays_stepping(rng.randint(2, 6)),
            lambda: nth_weekday(rng.randint(0, 6), rng.randint(1, 5)),
        ),
        listed(rng.randrange(60)) if rng.random() < 0.1 else None,
    )


def explain(e: Expression, name: str, after: datetime, ours: datetime | None, theirs: datetime) -> str | None:
    """Return by which rule the library is wrong, or None: then we are, or it is not known why they differ."""
    within = max(theirs, ours or theirs) - after + 3 * DAY
    if first_fire(e, name, after, within) != ours:
        return None
    earlier = min(theirs, ours or theirs)
    for explanation, reading in other_readings(e):
        if first_fire(reading, name, after, within) == theirs:
            return explanation
    near = changes_between(name, min(after, earlier) - 2 * DAY, max(theirs, ours or theirs) + 2 * DAY)
    if any(offset(name, instant).seconds % 60 for instant in (after, earlier)):
        return "rule 1: the zone's offset is not of whole minutes"
    if not near:
        return None
    change = min(near, key=lambda instant: abs(instant - earlier))
    forward = offset(name, change) > offset(name, change - SECOND)
    if e.interval_like:
        return "rule 3: interval-like, in or after a gap" if forward else "rule 5: interval-like, in a repeated hour"
    return "rule 2: fixed, in or after a gap" if forward else "rule 4: fixed, in a repeated hour"


def other_readings(e: Expression) -> Iterator[tuple[str, Expression]]:
    """Return what else a library may take an expression for, and the rule by which it is not."""
    if (e.day.starred and e.day is not ANY_DAY) or (e.weekday.starred and e.weekday is not ANY_DAY):
        day, weekday = (replace(part, starred=part is ANY_DAY) for part in (e.day, e.weekday))
        yield "rule 10: a day field that begins with a star restricts nothing", replace(e, day=day, weekday=weekday)
    if "#" in e.weekday.text and e.day is not ANY_DAY:
        yield "rule 10: the day of the month counts beside a weekday with #", replace(e, day=ANY_DAY)


def result(seed: int) -> dict[str, object]:
    """Compare a seed's pairs; return a line of the results."""
    compared, differing = compare(PAIRS_PER_SEED, seed)
    counts = Counter(f"{found.library} | {found.explanation}" for found in differing)
    return {
        "seed": seed,
        "versions": {name: version(name) for name in ("cronsim", "croniter")} | {"tzdata": tzdata_version()},
        "compared": compared,
        "differing": counts,
        "unexplained": [str(found) for found in differing if found.explanation is None][:20],
    }


def summary(lines: list[dict[str, dict[str, int]]]) -> str:
    """Return a table of how many pairs were compared, and how many differed by which explanation."""
    compared, differing = Counter[str](), Counter[str]()
    for line in lines:
        compared.update(line["compared"])
        differing.update(line["differing"])
    rows = [f"{n:>10,}  {what}" for what, n in (*compared.items(), *sorted(differing.items()))]
    return "\n".join(rows)


def main() -> int:
    """Compare the seeds that are not in the results yet; print how many pairs were compared, and what differed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", default="1-200", help="first-last; 10,000 pairs each")
    arguments.add_argument("--results", type=Path, required=True, help="a line of JSON for each seed; added to")
    given = arguments.parse_args()
    first, _, last = given.seeds.partition("-")
    lines = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    done = {line["seed"] for line in lines}
    for seed in range(int(first), int(last or first) + 1):
        if seed not in done:
            lines.append(json.loads(json.dumps(result(seed))))
            with given.results.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(summary(lines))
    unexplained = [text for line in lines for text in line["unexplained"]]
    print("\n".join(unexplained[:50]))
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
