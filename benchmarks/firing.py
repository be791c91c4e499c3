"""How fast one beat fires, beside how fast it could at best, and how much what else is stored matters.

On private servers: the real `python -m beat`, with its settings as they are, its log in a file. What is counted are
rows that are QUEUED in the store: decided there, journaled, their messages confirmed by the broker, and that marked.
Nobody consumes the queues; they are purged, and the rows removed, after each round, so that they hold one round at
most.

A round lets some jobs of the store become due, of which each has one occurrence: each second more of them than beat can
fire, so that it cannot rest before it has fired them all; and none is found so late that its policy says anything else
than to fire it. Half of these jobs are cron, in several zones, half intervals, of several lengths; each has another
number of runs behind it, and they lie spread through the whole store. A job fires once a second at most, so that they
are as many with a small store as with a large one: "1,000 at rest" means that hardly anything else but them is stored.
The rate is taken from when the first are due until all are marked, as the clock of the store has it. Two things are not
what they would be if it went on for ever, and about as large: beat makes up to 10,000 jobs ready while nothing is due,
which saves a tenth of what these take; and it marks the last rows when it has handed nothing over for half a second.

The limits are loops in this process, for the same jobs and by the same batches, from what was made ready before: one
publishes frames that py-amqp has written, and waits for the confirms; one finds due jobs, inserts rows, and moves the
jobs on by compare-and-set. "In sequence" is how fast one would fire who does nothing but these two, one after the
other; beat marks each row besides.

The burst is 10,000 jobs due at one second, which a running beat waits for; late is how long after that second a message
lay in its queue, where a worker can take it. Beat marks rows, and moves jobs on, when all are out.

A quarter of an hour with 1,000,000 jobs. With --quick only the rate beside its limit is measured, with 10,000 stored,
which takes a minute and a half.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import UpdateMany

from beat.ahead import AHEAD as MAKING_READY
from beat.fire import BATCH as FIND_BATCH
from benchmarks.comparison import ROUNDS, Better, Comparison, taking_turns
from benchmarks.due_jobs import DueJobs
from benchmarks.processor import seconds_of
from benchmarks.results import Size
from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.domain.plan import plan
from shared.messaging.app import make_app
from shared.messaging.dispatcher import BATCH as SEND_BATCH
from shared.messaging.frames import Frames
from shared.messaging.messages import Messages, Outgoing
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.store import executions, jobs
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dev.servers import Servers

GOAL: Final = 4_000
"""Fires a second, with a million jobs at rest."""
AT_REST: Final = 1_000
"""Jobs of the small store, beside those that are due."""
CACHE: Final = "3G"
"""Of MongoDB: a server of its own for a million jobs would have at least that."""
A_SECOND: Final = 10_000
"""Jobs that become due each second of a round: more than beat can fire."""
AHEAD: Final = MAKING_READY.total_seconds() + 2
"""Seconds from before the jobs of a round are stored until the first of them are due; more by what it takes to store
them. As most jobs are stored long before they are due, beat has all the time that it makes them ready in."""
STORED: Final = 5_000
"""Jobs stored in a second."""
PRIORITIES: Final = 10
PATIENCE: Final = 120.0
"""Seconds until beat is ready, or has fired all that is due."""
LOOK: Final = 0.05
"""Seconds between two looks, so how exactly it is known when messages came."""
SELDOM: Final = 0.5
"""Seconds between two looks that take the time of what is measured, where it does not matter when messages came."""
DECIDING: Final = ("beat", "MongoDB", "RabbitMQ")


class Sizes(NamedTuple):
    """How much is measured. burst: jobs due at one second; 0 for none, and no store to compare with either."""

    stored: int
    fires: int
    burst: int
    rounds: int


SIZES: Final = {Size.FULL: Sizes(1_000_000, 60_000, 10_000, ROUNDS), Size.QUICK: Sizes(10_000, 20_000, 0, 3)}


@dataclass(frozen=True, slots=True)
class Fired:
    """What one round found."""

    rate: float
    """Fires a second."""
    lateness: list[float]
    """Seconds from when the last are due to when its message was in a queue, of each fire, in their order. As exact as
    LOOK in a burst, and SELDOM otherwise."""
    processor: dict[str, float]
    """Microseconds for each fire, by process."""


class Firing:
    """A store of its own on private servers, the beat that is started on it for each round, and the bare limits."""

    def __init__(self, servers: Servers, folder: Path, name: str, at_rest: int, most_due: int) -> None:
        self._servers = servers
        self._log = folder / f"{name}.log"
        self._url = f"{servers.mongodb.url.rpartition('/')[0]}/{name}"
        self._database = connect(self._url)
        self._database.client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={CACHE}")
        self._jobs, self._rows = self._database[jobs.COLLECTION], self._database[executions.COLLECTION]
        self._due = DueJobs(self._database, at_rest, most_due)
        queues = load_queues(ROOT / "config")
        self._queues = sorted(queues.names)
        self._app = make_app(Settings(celery_broker_url=servers.rabbitmq.url), queues)
        self._broker = self._app.connection_for_write()
        self._channel: Any = self._broker.default_channel
        for queue in queues.declarations():
            queue(self._channel).declare()

    def close(self) -> None:
        """Close the connections."""
        self._broker.collect()
        self._database.client.close()

    def round(self, fires: int, *, burst: bool = False) -> Fired:
        """Start beat, let that many jobs become due, and return how it fired them. burst: all at one second."""
        with self._beat() as pid:
            processes = dict(zip(DECIDING, (pid, self._servers.mongodb.pid, self._servers.rabbitmq.pid), strict=True))
            seconds = 1 if burst else max(1, fires // A_SECOND)
            first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD + fires // STORED)
            last = first + timedelta(seconds=seconds - 1)
            self._due.make_due(fires, last, seconds)
            before = {name: seconds_of(each) for name, each in processes.items()}
            lateness = self._arrivals(fires, last, look=LOOK if burst else SELDOM)
            # Seldom: to count them, MongoDB reads all rows. When the last was marked, the rows tell.
            _wait_until(lambda: self._rows.count_documents({"open": True, "state": "QUEUED"}) == fires, look=SELDOM)
            used = {name: (seconds_of(each) - before[name]) / fires * 1e6 for name, each in processes.items()}
        all_marked = max(row["queued_at"] for row in self._rows.find({}, {"queued_at": 1}))
        self._clear()
        return Fired(fires / (all_marked - first).total_seconds(), lateness, used)

    def storing(self, fires: int) -> float:
        """Return how many rows a second are decided in the store when nothing else is done."""
        rows = self._decided(fires)
        due = jobs.due_filter(range(jobs.PARTITIONS))
        began = time.monotonic()
        while found := list(self._jobs.find(due, jobs.PLANNING_FIELDS).sort("wake_at", 1).limit(FIND_BATCH)):
            self._rows.insert_many([rows[job["_id"]].document for job in found], ordered=False)
            groups: dict[tuple[datetime, datetime], list[str]] = defaultdict(list)
            for job in found:
                groups[job["next_nominal"], rows[job["_id"]].following].append(job["_id"])
            self._jobs.bulk_write(
                [
                    UpdateMany(
                        jobs.advance_filter(ids, 1, at),
                        {
                            "$set": {"covered": at, "next_nominal": following, "wake_at": following},
                            "$inc": {"fired": 1},
                        },
                    )
                    for (at, following), ids in groups.items()
                ],
                ordered=False,
            )
        rate = fires / (time.monotonic() - began)
        self._clear()
        return rate

    def publishing(self, fires: int) -> float:
        """Return how many messages a second are confirmed when nothing else is done."""
        channel = self._broker.connection.channel()
        frames = Frames(channel, Messages(self._app))
        written = [
            frames.written(
                Outgoing(
                    f"01k{number:023}.0.20261126T080000Z",
                    self._queues[number % len(self._queues)],
                    number % PRIORITIES,
                    f"Prices of shop {number}",
                )
            )
            for number in range(fires)
        ]
        awaited: set[int] = set()

        def confirm(tag: int, multiple: bool) -> None:
            awaited.difference_update([each for each in awaited if each <= tag] if multiple else [tag])

        channel.confirm_select()
        channel.events["basic_ack"].add(confirm)
        began = time.monotonic()
        for begin in range(0, fires, SEND_BATCH):
            batch = written[begin : begin + SEND_BATCH]
            awaited.update(range(begin + 1, begin + len(batch) + 1))
            channel.connection.transport.write(b"".join(batch))
            while awaited:
                channel.connection.drain_events(timeout=PATIENCE)
        rate = fires / (time.monotonic() - began)
        channel.close()
        self._clear()
        return rate

    def _decided(self, fires: int) -> dict[str, Decided]:
        """Let that many jobs be due now, and return what beat would decide of each, by its id."""
        self._due.make_due(fires, datetime.now(UTC).replace(microsecond=0), max(1, fires // A_SECOND))
        found = {}
        due = jobs.due_filter(range(jobs.PARTITIONS))
        for job in self._jobs.find(due, {**jobs.PLANNING_FIELDS, "now": "$$NOW"}):
            decided = plan(jobs.to_chain(job), {}, [], job["now"], jobs.to_policies(job))
            document = executions.scheduled_document(job, decided.rows[0], job["now"], "benchmark")
            if decided.pointer is None:
                raise RuntimeError(f"{job['_id']} is to fire again an hour later")
            found[job["_id"]] = Decided(document, decided.pointer)
        return found

    def _arrivals(self, fires: int, since: datetime, look: float) -> list[float]:
        """Wait until so many messages are in the queues; return how many seconds after an instant each of them came."""
        came: list[float] = []

        def all_came() -> bool:
            new = self._in_queues() - len(came)
            came.extend([(datetime.now(UTC) - since).total_seconds()] * new)
            return len(came) >= fires

        _wait_until(all_came, look)
        return came

    def _in_queues(self) -> int:
        return sum(int(self._channel.queue_declare(queue=queue, passive=True).message_count) for queue in self._queues)

    def _clear(self) -> None:
        for queue in self._queues:
            self._channel.queue_purge(queue)
        self._rows.delete_many({})

    @contextmanager
    def _beat(self) -> Iterator[int]:
        """Run a beat, and give its process id."""
        environment = {
            **os.environ, **self._servers.environment, "MONGODB_URL": self._url, "BEAT_METRICS_PORT": str(free_port())
        }  # fmt: skip
        leasing = ready.beat_leasing(self._url)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "beat"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait_until(lambda: process.poll() is not None or leasing())
            yield process.pid
        finally:
            process.terminate()
            process.wait()


class Decided(NamedTuple):
    """What beat would decide of a job that is due: its row, and when the job is due again."""

    document: dict[str, Any]
    following: datetime


def _wait_until(condition: Callable[[], bool], look: float = LOOK) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"beat was not done within {PATIENCE:g} s; its log is lost with the servers")
        time.sleep(look)


@contextmanager
def firing(stored: Sequence[int], most_due: int) -> Iterator[list[Firing]]:
    """Start private servers, and fill a store for each number of jobs at rest."""
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        stores = [Firing(servers, Path(temporary), f"jobs_{count}", count, most_due) for count in stored]
        try:
            yield stores
        finally:
            for store in stores:
                store.close()


def measure(size: Size) -> Sequence[Comparison]:
    """Return the rate beside the limit, and of a full store beside a nearly empty one what a fire takes; the burst."""
    sizes = SIZES[size]
    stored = (sizes.stored, AT_REST) if sizes.burst else (sizes.stored,)
    kept: dict[int, list[Fired]] = {count: [] for count in stored}

    def rate(store: Firing, at_rest: int) -> float:
        kept[at_rest].append(store.round(sizes.fires))
        return kept[at_rest][-1].rate

    with firing(stored, sizes.fires) as stores:
        full = stores[0]
        sides = {f"{count}": partial(rate, store, count) for count, store in zip(kept, stores, strict=True)}
        sides["store"] = partial(full.storing, sizes.fires)
        sides["broker"] = partial(full.publishing, sizes.fires)
        found = taking_turns(sides, sizes.rounds, warm=size is Size.FULL)
        bursts = [full.round(sizes.burst, burst=True) for _ in range(sizes.rounds)] if sizes.burst else []
    counted = {count: rounds[-sizes.rounds :] for count, rounds in kept.items()}
    ours = found[f"{sizes.stored}"]
    in_sequence = tuple(1 / (1 / a + 1 / b) for a, b in zip(found["store"], found["broker"], strict=True))
    alone = ", ".join(f"{side} {median(found[side]):,.0f}/s" for side in ("store", "broker"))
    comparisons = [
        Comparison(
            "sustained", "fires/s", Better.HIGHER, ours, "store and broker in sequence", in_sequence,
            goal=GOAL if sizes.burst else None, ratio_goal=0.85,
            note=f"{sizes.stored:,} jobs at rest; the limits alone: {alone}",
        )
    ]  # fmt: skip
    if not sizes.burst:
        return comparisons
    little = f"with {AT_REST:,} jobs at rest"
    costs = {count: tuple(sum(each.processor.values()) for each in rounds) for count, rounds in counted.items()}
    shares = {name: median(each.processor[name] for each in counted[sizes.stored]) for name in DECIDING}
    return [
        *comparisons,
        Comparison(
            "sustained, by what is stored", "fires/s", Better.HIGHER, ours, little, found[f"{AT_REST}"], ratio_goal=0.9,
        ),
        Comparison(
            "processor time of a fire", "µs", Better.LOWER, costs[sizes.stored], little, costs[AT_REST],
            note=", ".join(f"{name} {share:.0f}" for name, share in shares.items()),
        ),
        Comparison(
            f"{sizes.burst:,} at one second: the last is out after", "s", Better.LOWER,
            tuple(each.lateness[-1] for each in bursts), goal=2.5,
        ),
        Comparison(
            f"{sizes.burst:,} at one second: median lateness", "s", Better.LOWER,
            tuple(median(each.lateness) for each in bursts), goal=1.2,
        ),
    ]  # fmt: skip
