"""What MongoDB takes for the steps of a row that a schedule fires and that succeeds: `python -m benchmarks.rows`.

On a private MongoDB, with the real indexes, rows and moves; one database for each ledger, which take turns: one that
was empty before, with --stored one that has so many rows already, with --without one that lacks these indexes. A row is
inserted, marked QUEUED, claimed and ended, many of one kind by one command as beat and workers do. What is measured is
the processor time of the threads that serve connections, and of all of mongod for the checkpoints after the insertions
and after the outcomes, with the bytes that the first one writes; for each row. Some five minutes; with --stored 1500000
a quarter of an hour.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import sample
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pymongo import ReturnDocument, UpdateMany

from benchmarks.full_store import HOUR, fill
from benchmarks.processor import connections_seconds_of, seconds_of
from dev.mongodb import mongodb
from shared.domain.execution import State, row_id
from shared.domain.plan import Row
from shared.store import executions, jobs
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymongo.database import Database

BEAT, WORKER = "beat@here:1", "worker@here:2"
RESULT: Final = '{"observations": 20, "failed": []}'
LEASE: Final = timedelta(seconds=30)
INSERTED, MARKED, CLAIMED = 1_000, 500, 8
"""How many rows one command inserts, marks, and claims or ends: the last as a worker with 32 slots does."""
ALONE: Final = 10
"""One in so many rows is claimed alone, as by a worker with little to do; not counted among the steps."""
STEPS: Final = ("insertion", "mark", "claim", "outcome")
JOBS, ROWS, ROUNDS = 20_000, 5_000, 9
QUICK: Final = 5


class Ledger:
    """One database, whose jobs have had some rows already. Each round fires for some jobs anew, wherever they lie."""

    def __init__(self, url: str, mongod: int, job_count: int, stored: int, without: Sequence[str]) -> None:
        self._database: Database[dict[str, Any]] = connect(url)
        self._mongod = mongod
        # In the past, or what fires would not be due, and no worker could claim it.
        self._next = datetime.now(UTC).replace(microsecond=0) - HOUR
        fill(self._database, job_count, stored, self._next - (stored // job_count + 2) * HOUR)
        self._jobs = list(self._database[jobs.COLLECTION].find())
        self._rows = self._database[executions.COLLECTION]
        for name in without:
            self._rows.drop_index(name)
        self.checkpoint()

    def round(self, count: int) -> dict[str, float]:
        """Let so many jobs fire, and their rows succeed; return microseconds of processor time by step, for each row.

        And for a checkpoint, `written`: the bytes that it writes.
        """
        at = self._next = self._next + timedelta(seconds=1)
        chosen = sample(self._jobs, count)
        new = [executions.scheduled_document(job, Row(State.PENDING, at, at), at, BEAT) for job in chosen]
        ids = [row_id(job["uid"], job["epoch"], at) for job in chosen]
        took = {"insertion": self._took(count, connections_seconds_of, lambda: self._insert(new))}
        written = self._written()
        took["checkpoint"] = self._took(count, seconds_of, self.checkpoint)
        took["written"] = (self._written() - written) / count
        took["mark"] = self._took(count, connections_seconds_of, lambda: self._mark(ids))
        alone, together = ids[: count // ALONE], ids[count // ALONE :]
        took["claim alone"] = self._took(len(alone), connections_seconds_of, lambda: self._claim_alone(alone))
        took["claim"] = self._took(len(together), connections_seconds_of, lambda: self._claim(together))
        outcomes = self._outcomes(ids)
        took["outcome"] = self._took(count, connections_seconds_of, lambda: self._end(outcomes))
        took["last checkpoint"] = self._took(count, seconds_of, self.checkpoint)
        succeeded = {"_id": {"$in": ids}, "state": State.SUCCEEDED.value}
        if (ended := self._rows.count_documents(succeeded)) != count:
            raise RuntimeError(f"{ended} of {count} rows have succeeded: what was measured are not their steps")
        return took

    def checkpoint(self) -> None:
        """Have all that was written put where it stays."""
        self._database.client.admin.command("fsync")

    def close(self) -> None:
        """Close the connections."""
        self._database.client.close()

    def _took(self, count: int, seconds: Callable[[int], float], step: Callable[[], None]) -> float:
        before = seconds(self._mongod)
        step()
        return (seconds(self._mongod) - before) / count * 1e6

    def _written(self) -> int:
        status: dict[str, Any] = self._database.client.admin.command("serverStatus")["wiredTiger"]
        return int(status["block-manager"]["bytes written"])

    def _insert(self, new: Sequence[dict[str, Any]]) -> None:
        for begin in range(0, len(new), INSERTED):
            self._rows.insert_many(new[begin : begin + INSERTED], ordered=False)

    def _mark(self, ids: Sequence[str]) -> None:
        for begin in range(0, len(ids), MARKED):
            self._do(executions.mark_queued(ids[begin : begin + MARKED], 0, BEAT))

    def _claim(self, ids: Sequence[str]) -> None:
        for begin in range(0, len(ids), CLAIMED):
            self._do(executions.claim_together(ids[begin : begin + CLAIMED], WORKER, uuid4().hex, LEASE, 1))

    def _claim_alone(self, ids: Sequence[str]) -> None:
        for execution_id in ids:
            move = executions.claim(execution_id, WORKER, uuid4().hex, LEASE, 1)
            self._rows.find_one_and_update(move.filter, move.update, return_document=ReturnDocument.AFTER)

    def _outcomes(self, ids: Sequence[str]) -> list[list[executions.Move]]:
        """Return what ends these attempts well, by commands."""
        claimed = {row["_id"]: executions.to_claimed(row) for row in self._rows.find({"_id": {"$in": list(ids)}})}
        ends = [
            (each, executions.succeed(each.execution_id, each.nonce, WORKER, RESULT, truncated=False))
            for each in (claimed[execution_id] for execution_id in ids)
        ]
        return [executions.alike_together(ends[begin : begin + CLAIMED]) for begin in range(0, len(ends), CLAIMED)]

    def _end(self, outcomes: Sequence[Sequence[executions.Move]]) -> None:
        for moves in outcomes:
            self._do(*moves)

    def _do(self, *moves: executions.Move) -> None:
        self._rows.bulk_write([UpdateMany(move.filter, move.update) for move in moves], ordered=False)


def main() -> None:
    """Print a line for each ledger."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many there are ({JOBS:,})")
    parser.add_argument("--stored", type=int, help="also with so many rows stored before")
    parser.add_argument("--without", nargs="+", metavar="INDEX", help="also without these indexes of the ledger")
    parser.add_argument("--quick", action="store_true", help="a fifth of the jobs, of the rows stored, and of a round")
    asked = parser.parse_args()
    share = QUICK if asked.quick else 1
    job_count, rows = asked.jobs // share, ROWS // share
    kinds: dict[str, tuple[int, Sequence[str]]] = {"an empty ledger": (0, ())}
    if asked.stored:
        kinds[f"{asked.stored // share:,} rows before"] = asked.stored // share, ()
    if asked.without:
        kinds[f"without {', '.join(asked.without)}"] = 0, asked.without
    with TemporaryDirectory() as temporary:
        server = mongodb(Path(temporary))
        try:
            server.start()
            ledgers = {
                name: Ledger(f"{server.url.rpartition('/')[0]}/rows_{number}", server.pid, job_count, stored, without)
                for number, (name, (stored, without)) in enumerate(kinds.items())
            }
            for ledger in ledgers.values():  # the first time nothing is in the caches
                ledger.round(rows)
            rounds = [{name: ledger.round(rows) for name, ledger in ledgers.items()} for _ in range(ROUNDS)]
            for name, ledger in ledgers.items():
                print(f"{name}: {described([each[name] for each in rounds])}")
                ledger.close()
        finally:
            server.kill()


def described(rounds: Sequence[dict[str, float]]) -> str:
    """Return what a row took, by medians."""
    took = {step: median(each[step] for each in rounds) for step in rounds[0]}
    steps = ", ".join(f"{step} {took[step]:.1f}" for step in STEPS)
    together = median(sum(each[step] for step in STEPS) for each in rounds)
    checkpoints = f"checkpoints {took['checkpoint']:.0f} and {took['last checkpoint']:.0f}"
    alone = f"a claim alone {took['claim alone']:.0f} µs"
    return f"{steps}, together {together:.1f} µs; {alone}; {checkpoints} µs, {took['written']:,.0f} bytes by the first"


if __name__ == "__main__":
    main()
