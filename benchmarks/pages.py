"""What the size of the pages in which MongoDB keeps jobs does to what a fire takes of it: `python -m benchmarks.pages`.

On a private MongoDB, one database for each way, which take turns. What is measured is moving the pointers of jobs that
lie anywhere, a thousand by one command as beat does, and then a checkpoint: processor time of mongod and bytes that it
writes, for each move. The cache holds a part of the jobs only as large as is usual with many more. Some ten minutes;
with --quick one.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import sample
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateMany

from benchmarks.due_jobs import DueJobs
from benchmarks.processor import seconds_of
from dev.servers import private_servers
from shared.store import jobs
from shared.store.mongo import connect

if TYPE_CHECKING:
    from pymongo.database import Database

WAYS: Final = (
    "leaf_page_max=32KB",
    "leaf_page_max=16KB",
    "leaf_page_max=8KB",
    "leaf_page_max=4KB",
    "allocation_size=512B,leaf_page_max=8KB",
    "allocation_size=512B,leaf_page_max=4KB",
)
"""WiredTiger's own words for how a collection is kept; the first is its default."""
BATCH: Final = 1_000
ROUNDS: Final = 4


def _written(database: Database[dict[str, Any]]) -> int:
    status: dict[str, Any] = database.client.admin.command("serverStatus")["wiredTiger"]
    return int(status["block-manager"]["bytes written"])


def _move(database: Database[dict[str, Any]], mongod: int, stored: int, moves: int) -> tuple[float, float]:
    """Move that many jobs on; return microseconds of mongod's processor time and bytes written, for each."""
    chosen = [f"job-{number}" for number in sample(range(stored), moves)]
    used, written = seconds_of(mongod), _written(database)
    for begin in range(0, moves, BATCH):
        at = datetime.now(UTC) + timedelta(seconds=begin)
        update = {"$set": {"covered": at, "next_nominal": at, "wake_at": at + timedelta(hours=1)}, "$inc": {"fired": 1}}
        database[jobs.COLLECTION].bulk_write([UpdateMany({"_id": {"$in": chosen[begin : begin + BATCH]}}, update)])
    database.client.admin.command("fsync")
    return (seconds_of(mongod) - used) / moves * 1e6, (_written(database) - written) / moves


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the jobs, the moves and the cache")
    share = 5 if parser.parse_args().quick else 1
    stored, moves, cache = 250_000 // share, 15_000 // share, 1_000 // share
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        mongod, stores = servers.mongodb.pid, {}
        for number, way in enumerate(WAYS):
            database = connect(f"{servers.mongodb.url.rpartition('/')[0]}/pages_{number}")
            database.client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={cache}M")
            database.create_collection(jobs.COLLECTION, storageEngine={"wiredTiger": {"configString": way}})
            DueJobs(database, stored - BATCH, BATCH)
            database.client.admin.command("fsync")
            stores[way] = database
        rounds = [{way: _move(each, mongod, stored, moves) for way, each in stores.items()} for _ in range(ROUNDS)]
        for way, database in stores.items():
            took, written = (median(found) for found in zip(*(each[way] for each in rounds), strict=True))
            disk = database.command("collStats", jobs.COLLECTION, scale=1_000_000)["storageSize"]
            print(f"{way:40} {took:6.0f} µs {written:8,.0f} bytes {disk:6,} MB of jobs")
            database.client.close()


if __name__ == "__main__":
    main()
