"""What one job takes of beat until its row stands: `python -m benchmarks.planning`.

On a private MongoDB, 1,000 jobs that are due, half of them cron in several zones, half intervals: first step by step,
each for the whole batch, as beat.fire goes through them; then by beat's own Fire, which besides inserts the rows, moves
the pointers, counts, and logs; and by Fire once more, when it had the time to make them ready. What is measured is the
processor time of this process, of which Fire uses two threads; mongod's is not in it. Printed are medians of rounds, in
microseconds for each job. A minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import bson

from beat.ahead import AHEAD
from beat.fire import BATCH, Fire
from beat.partitions import Partitions
from beat.rows import documents
from benchmarks.due_jobs import DueJobs
from dev.mongodb import start_mongodb
from shared import garbage
from shared.domain.plan import must_follow, plan
from shared.log import configure
from shared.store import executions, jobs, zone_rules
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymongo.database import Database

ROUNDS: Final = 10
LEASE: Final = timedelta(hours=1)
BY: Final = "beat@here:1"


class Planning:
    """A store with jobs that are made due, and the part of a beat that fires them."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._due = DueJobs(database, 0, BATCH)
        self._jobs = database[jobs.COLLECTION]
        self._rows = database[executions.COLLECTION]
        self._zone_rules = database[zone_rules.COLLECTION]
        self._database = database
        self._partitions = Partitions(database, BY, LEASE)
        self._partitions.prepare()
        while len(self._partitions.held) < jobs.PARTITIONS:
            self._partitions.run_once()
        self._sent: list[Mapping[str, Any]] = []
        self.spent: dict[str, list[float]] = defaultdict(list)
        """Microseconds for each job, of each round, by what they were spent on."""

    def round(self) -> None:
        """Measure everything once."""
        self._make_due(timedelta())
        with garbage.none_meanwhile():
            self._step_by_step()
        # A new one each time, as one that has just looked for what comes next does not look again for seconds.
        fire = Fire(self._database, self._partitions, self._sent.extend, BY)
        with self._spent_on("fire: all of this, insert, move the pointers"):
            fire.run_once()
        self._check()
        at = self._make_due(AHEAD)
        with self._spent_on("make ready ahead"):
            while not fire.run_once():
                pass
        if self._sent:
            # On a busy machine they were due before all were ready.
            self.spent["make ready ahead"].pop()
            return
        time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))
        with self._spent_on("fire what is ready"):
            fire.run_once()
        self._check()

    def _step_by_step(self) -> None:
        with self._spent_on("find the jobs, read them from BSON"):
            found = self._jobs.find(jobs.due_filter(range(jobs.PARTITIONS)), {**jobs.PLANNING_FIELDS, "now": "$$NOW"})
            due = list(found.sort("wake_at", 1).limit(BATCH))
        with self._spent_on("look for zone rules that are not known"):
            zone_rules.load(self._zone_rules, due)
        with self._spent_on("as chains"):
            chains = [jobs.to_chain(job) for job in due]
        with self._spent_on("whether to read what stands"):
            follow = [must_follow(chain, job["now"]) for chain, job in zip(chains, due, strict=True)]
        with self._spent_on("what is in flight"):
            chosen = executions.in_flight_filter(chain.uid for chain in chains)
            list(self._rows.find(chosen, executions.IN_FLIGHT_FIELDS))
        with self._spent_on("plan"):
            plans = [
                plan(chain, {}, [], job["now"], jobs.to_policies(job)) for chain, job in zip(chains, due, strict=True)
            ]
        with self._spent_on("the rows' documents"):
            rows = [
                documents(job, chain, decided, job["now"], BY)
                for job, chain, decided in zip(due, chains, plans, strict=True)
            ]
        with self._spent_on("the rows as BSON"):
            for (row,) in rows:
                bson.encode(row)
        if len(rows) < BATCH or any(follow):
            sys.exit("error: each job was to have one occurrence that is due")

    def _make_due(self, ahead: timedelta) -> datetime:
        """Let all jobs be due so far ahead, and return the instant."""
        self._rows.delete_many({})
        self._sent.clear()
        at = datetime.now(UTC).replace(microsecond=0) + ahead
        self._due.make_due(BATCH, at)
        return at

    def _check(self) -> None:
        if len(self._sent) < BATCH:
            sys.exit(f"error: {len(self._sent)} of {BATCH} jobs have fired")

    @contextmanager
    def _spent_on(self, what: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.spent[what].append((time.process_time() - began) / BATCH * 1e6)


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}, each of some five seconds")
    rounds = parser.parse_args().rounds
    configure("benchmark", "WARNING")
    with TemporaryDirectory() as temporary:
        server = start_mongodb(Path(temporary))
        try:
            planning = Planning(connect(server.url))
            garbage.spare_what_is_there()
            planning.round()  # to warm up
            planning.spent.clear()
            for _ in range(rounds):
                planning.round()
        finally:
            server.kill()
    for what, spent in planning.spent.items():
        if spent:
            print(f"{what:50} {median(spent):6.1f} µs {min(spent):6.1f} at the least")


if __name__ == "__main__":
    main()
