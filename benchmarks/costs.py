"""What one execution costs, and what one job takes: the constants of docs/capacity.md.

On private servers with one beat and one worker, with their settings as they are. In each round some jobs that rested
become due at once, and what is counted is what all of it took until each has SUCCEEDED: from the decision by a message
to the call of a target that answers at once, and its outcome. Bytes and operations are what mongod says of itself
(serverStatus, collStats); an update of many documents is one operation there, and findAndModify a command. Processor
time is that of the whole processes, shared by the number of executions; so it includes what they do at rest meanwhile.
Jobs that become due at once are decided in large batches; those that come one by one cost beat and mongod more each,
while there is plenty of both.

What is stored is measured after a checkpoint: bytes of a document as BSON, on the disk as MongoDB has compressed them,
and of the indexes. Jobs are those of benchmarks.full_store, executions those of the rounds. Both are much alike, so on
the disk they take less than others would.

Three minutes; three quarters of one with --quick. There is no other side: these figures are for planning.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.comparison import ROUNDS, Better, Comparison
from benchmarks.full_store import fill
from benchmarks.processor import seconds_of
from benchmarks.results import Size
from benchmarks.running import process, site, wait_for
from benchmarks.timed_target import AT_ONCE
from dev import ready
from dev.run import ROOT
from shared.domain.execution import State
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.messaging.queues import load_queues
from shared.store import executions, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.running import Site

AN_HOUR: Final = timedelta(hours=1)
A_MINUTE: Final = timedelta(minutes=1)
OPERATIONS: Final = ("insert", "update", "query", "getmore", "command")
FULL: Final = "a_full_store"


class Amounts(NamedTuple):
    """How much a size measures."""

    fires: int
    """In each round."""
    soon: timedelta
    """From before the jobs of a round are stored until they are due; to store them is not counted."""
    stored: int
    """Jobs of which the bytes are counted."""


AMOUNTS: Final = {
    Size.FULL: Amounts(2_000, timedelta(seconds=10), 50_000),
    Size.QUICK: Amounts(200, timedelta(seconds=3), 2_000),
}


class Said(NamedTuple):
    """What processes have taken, and what mongod has done, since they started."""

    processor: dict[str, float]
    operations: dict[str, int]
    journal: int
    """Bytes."""

    @classmethod
    def now(cls, at: Site, processes: Mapping[str, int]) -> Said:
        """Ask."""
        status: dict[str, Any] = at.database.command("serverStatus")
        return cls(
            {name: seconds_of(pid) for name, pid in processes.items()},
            {name: status["opcounters"][name] for name in OPERATIONS},
            status["wiredTiger"]["log"]["log bytes written"],
        )


def due_jobs(count: int, number: int, at: datetime) -> list[dict[str, Any]]:
    """Return jobs of a round that are due at an instant, and then an hour later."""
    queues = load_queues(ROOT / "config")
    draft = JobDraft(
        job_id="due", name="Prices of a shop", job_type="CUSTOM", target_service="benchmark", target_method=AT_ONCE,
        schedule=ScheduleTerms("interval", {"hours": "1"}, start_time=at - AN_HOUR),
    )  # fmt: skip
    definition = define(draft, JobDefaults(queues.names, queues.by_type), at - AN_HOUR)
    # Its id and uid are as long as those that the server makes.
    return [
        jobs.new_document(definition, f"01k{number:03}{n:020}", at - A_MINUTE, "benchmark")
        | {"_id": f"job-01k{number:03}{n:020}"}
        for n in range(count)
    ]


def round_of(at: Site, processes: Mapping[str, int], amounts: Amounts, number: int) -> dict[str, float]:
    """Let jobs fire, wait until all have ended, and return what each execution took, by what it is and its unit."""
    at.database[jobs.COLLECTION].delete_many({})
    at.target.forget()
    fires, nominal = amounts.fires, datetime.now(UTC).replace(microsecond=0) + amounts.soon
    at.database[jobs.COLLECTION].insert_many(due_jobs(fires, number, nominal))
    before = Said.now(at, processes)
    if datetime.now(UTC) > nominal:
        sys.exit(f"error: jobs were stored for longer than the {amounts.soon.seconds} s until they are due")
    # The target is asked first, in this process: looking into the store is work for mongod, and would be counted.
    wait_for(lambda: len(at.target.calls) >= fires, "all were called")
    ended = {"nominal_time": nominal, "state": State.SUCCEEDED}
    wait_for(lambda: at.database[executions.COLLECTION].count_documents(ended) == fires, "all have succeeded")
    after = Said.now(at, processes)
    spent = {
        f"processor time of {name}": 1000 * (after.processor[name] - before.processor[name]) / fires
        for name in processes
    }
    done = {f"{each} of mongod": (after.operations[each] - before.operations[each]) / fires for each in OPERATIONS}
    return {**spent, **done, "journal": (after.journal - before.journal) / fires}


def stored(database: Any, collection: str) -> dict[str, float]:
    """Return the bytes of a document: as it is, on the disk, and in the indexes."""
    found = database.command("collStats", collection)
    count = found["count"]
    return {
        "": found["size"] / count,
        ", on the disk": found["storageSize"] / count,
        ", in indexes on the disk": found["totalIndexSize"] / count,
    }


def measure(size: Size) -> list[Comparison]:
    """Return what one execution took in each round, and what documents take."""
    amounts = AMOUNTS[size]
    with site() as at, ExitStack() as stack:
        full = at.database.client[FULL]
        fill(full, amounts.stored, amounts.stored, datetime.now(UTC) - AN_HOUR)
        leasing = ready.beat_leasing(at.servers.mongodb.url)
        processes = {name: stack.enter_context(process(at, name, name)).pid for name in ("beat", "worker")}
        wait_for(leasing, "beat holds its lease")
        wait_for(ready.worker_answering(at.servers.rabbitmq.url), "the worker answers")
        servers = {"mongod": at.servers.mongodb, "rabbitmq": at.servers.rabbitmq, "redis": at.servers.redis}
        processes |= {name: server.pid for name, server in servers.items()}
        # The first is to warm up: connections, and the target's contract.
        rounds = [round_of(at, processes, amounts, number) for number in range(ROUNDS + 1)][1:]
        at.database.client.admin.command("fsync")
        documents = {
            "a job": stored(full, jobs.COLLECTION),
            "a revision of a job": stored(full, jobs.REVISIONS),
            "an ended execution": stored(at.database, executions.COLLECTION),
        }
    return [*_of_an_execution(rounds), *_of_documents(documents)]


def _of_an_execution(rounds: list[dict[str, float]]) -> Iterator[Comparison]:
    for what in rounds[0]:
        unit = "ms" if what.startswith("processor") else "B" if what == "journal" else ""
        yield Comparison(f"one execution: {what}", unit, Better.LOWER, tuple(found[what] for found in rounds))


def _of_documents(documents: Mapping[str, Mapping[str, float]]) -> Iterator[Comparison]:
    for what, parts in documents.items():
        for part, found in parts.items():
            yield Comparison(f"{what}{part}", "B", Better.LOWER, (found,))
