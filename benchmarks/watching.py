"""What the index that watchers read costs those who write: python -m benchmarks.watching [--rounds 12].

On a private MongoDB. Rows are inserted, marked QUEUED, claimed and ended, in turns in a collection that has all indexes
of `executions` and in one that lacks `tail`. Printed is the processor time of mongod for one row, which depends less on
what else the machine does than the time that passes.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pymongo import InsertOne

from benchmarks.processor import seconds_of
from dev.mongodb import start_mongodb
from shared.store import executions
from shared.store.indexes import INDEXES
from shared.store.mongo import connect
from tests.builders import fired, job_document

if TYPE_CHECKING:
    from pymongo.collection import Collection

ROWS = 2_000
BATCH = 500
LEASE = timedelta(seconds=15)


def one_round(rows: Collection[dict[str, Any]], number: int, pid: int) -> dict[str, float]:
    """Take rows through their lives; return the microseconds of mongod for one row, by step."""
    now = datetime.now(UTC)
    jobs = [job_document(f"job-{n}") for n in range(50)]
    documents = [fired(jobs[n % 50], now, _id=f"{number}-{n:05}") for n in range(ROWS)]
    names = [document["_id"] for document in documents]
    spent: dict[str, float] = {}

    def note(step: str, began: float, count: int) -> None:
        spent[step] = (seconds_of(pid) - began) / count * 1e6

    began = seconds_of(pid)
    for first in range(0, ROWS, BATCH):
        rows.bulk_write([InsertOne(each) for each in documents[first : first + BATCH]], ordered=False)
    note("insert", began, ROWS)
    began = seconds_of(pid)
    for first in range(0, ROWS, BATCH):
        move = executions.mark_queued(names[first : first + BATCH], 0, "relay")
        rows.update_many(move.filter, move.update)
    note("queued", began, ROWS)
    began = seconds_of(pid)
    for name in names[:BATCH]:
        move = executions.claim(name, "worker", "nonce", LEASE)
        rows.find_one_and_update(move.filter, move.update)
    note("claim", began, BATCH)
    began = seconds_of(pid)
    for name in names[:BATCH]:
        move = executions.succeed(name, "nonce", "worker", "{}", truncated=False)
        rows.update_one(move.filter, move.update)
    note("succeed", began, BATCH)
    return spent


def measure(rounds: int) -> None:
    """Print both, step by step. The first round of each is not counted."""
    with TemporaryDirectory() as folder:
        server = start_mongodb(Path(folder))
        try:
            database = connect(server.url)
            pid = int(database.command("serverStatus")["pid"])
            indexes = INDEXES[executions.COLLECTION]
            database["with"].create_indexes(indexes)
            database["without"].create_indexes([index for index in indexes if index.document["name"] != "tail"])
            found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
            for number in range(rounds + 1):
                for kind in sorted(found, reverse=bool(number % 2)):
                    found[kind].append(one_round(database[kind], number, pid))
            for step in found["with"][0]:
                without, with_it = (mean(each[step] for each in found[kind][1:]) for kind in ("without", "with"))
                print(f"{step}: {without:.0f} µs without the index, {with_it:.0f} µs with it")
            stats = database.command("collStats", "with")
            print(f"the index has {stats['indexSizes']['tail'] / stats['count']:.0f} bytes a row")
            database.client.close()
        finally:
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    measure(parser.parse_args().rounds)
