"""How late beat fires 100 jobs a second, beside stock celery beat with as many entries; and an hour, simulated.

On private servers: the real `python -m beat`, with its settings as they are, and 100 jobs that fire every second, each
at a hundredth of its own. Late is how long after its nominal time a consumer had the message of an execution. No worker
runs: rows that are QUEUED are removed some times a second, as if workers kept up.

Stock celery beat has 100 entries of one second, and a message of its is what has reached a consumer. Such an entry has
no nominal times: it is due a second after its own last run, so that a fire that is late makes all those after it later.
That is forgiven here: late is how much more than a second ago the message of the same entry came before. Ours is held
to the clock, and has stored a decision before; stock beat has not.

Both run all the time, and take turns: stock beat is paused meanwhile (SIGSTOP), our jobs sleep. The first two seconds
of a turn are not counted. In the full size ours runs for five minutes in all.

The hour is simulated: the planner of beat (shared.domain.plan, and how its outcome is stored) and celery.beat's own
entries are driven by a clock that is a number. A look of ours takes 3 to 12 ms and 0.3 to 1 ms more for each fire, at
random, seeded; stock beat takes the latter alone. Ten times an hour the host hangs for 300 ms, twice for 5 s. What this
can tell is whether lateness adds up, and whether anything is lost: how many fires there are for each occurrence that is
nominal within the hour, and how late they are in its last tenth beside its first.

Some nine minutes; half a minute with --quick, which simulates two minutes.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule
from kombu import Connection, Consumer, Queue

from benchmarks.beats import job_document, running
from benchmarks.comparison import ROUNDS, Better, Comparison, taking_turns
from benchmarks.peers.peer import STOCK, loaded
from benchmarks.results import Size
from dev.run import ROOT
from dev.servers import private_servers
from shared.domain.execution import State
from shared.domain.job import ScheduleTerms
from shared.domain.plan import plan
from shared.domain.policies import LARGEST_LIMIT, Overlap
from shared.messaging.queues import load_queues
from shared.store import executions, jobs
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kombu import Message

    from benchmarks.peers.peer import Running
    from dev.servers import Servers

JOBS: Final = 100
WARM_UP: Final = 2.0
COLLECTED_EVERY: Final = 0.2
SECOND: Final = timedelta(seconds=1)
MILLISECOND: Final = timedelta(milliseconds=1)
HOUR: Final = 3600
HANGS: Final = {0.3: 10, 5.0: 2}
"""How long the simulated host hangs, in seconds, and how often an hour."""
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Of what is simulated."""


class Sizes(NamedTuple):
    """How many seconds are measured in a round of each, and simulated."""

    ours: float
    stock: float
    simulated: int


SIZES: Final = {Size.FULL: Sizes(60, 20, HOUR), Size.QUICK: Sizes(1.5, 2.5, 120)}


class Late(NamedTuple):
    """How late the fires of one round were, in milliseconds."""

    middle: float
    p99: float
    worst: float

    @classmethod
    def of(cls, found: Sequence[float]) -> Late:
        """Return that of fires."""
        return cls(median(found), quantiles(found, n=100, method="inclusive")[-1], max(found))


class Consuming(Thread):
    """Takes all messages of some queues, and tells each as it comes."""

    def __init__(self, url: str, queues: Sequence[Queue], arrived: Callable[[Message], None]) -> None:
        super().__init__()
        self._url = url
        self._queues = queues
        self._arrived = arrived
        self._stopping = Event()

    def stop(self) -> None:
        """Stop, and wait for it."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Consume until stopped."""
        with (
            Connection(self._url, heartbeat=0) as connection,
            Consumer(connection, self._queues, on_message=self._arrived, no_ack=True),
        ):
            while not self._stopping.is_set():
                try:
                    connection.drain_events(timeout=COLLECTED_EVERY)
                except TimeoutError:
                    continue


# Ours


class Ours:
    """Our 100 jobs, in a database on which a beat runs."""

    def __init__(self, servers: Servers, url: str) -> None:
        self._database = connect(url)
        self._jobs, self._rows = self._database[jobs.COLLECTION], self._database[executions.COLLECTION]
        lay_out(self._database)
        self._arrived: dict[str, datetime] = {}
        self._consuming = Consuming(servers.rabbitmq.url, load_queues(ROOT / "config").declarations(), self._note)
        self._consuming.start()

    def _note(self, message: Message) -> None:
        self._arrived[message.properties["correlation_id"]] = datetime.now(UTC)

    def close(self) -> None:
        """Stop consuming, and close the connection."""
        self._consuming.stop()
        self._database.client.close()

    def late(self, seconds: float) -> Late:
        """Let the jobs fire for so long, and return how late they did."""
        begin = datetime.now(UTC)
        counted = begin + timedelta(seconds=WARM_UP)
        end = counted + timedelta(seconds=seconds)
        self._jobs.delete_many({})
        self._jobs.insert_many(documents(begin))
        found: list[float] = []
        undecided = {"next_nominal": {"$lt": end}}
        while datetime.now(UTC) < end or self._jobs.count_documents(undecided) or self._rows.count_documents({}):
            time.sleep(COLLECTED_EVERY)
            found += self._collected(counted, end)
            if datetime.now(UTC) > end:
                self._jobs.update_many({"next_nominal": {"$gte": end}}, {"$set": {"wake_at": None}})
        return Late.of(found)

    def _collected(self, begin: datetime, end: datetime) -> Iterator[float]:
        """Remove what is QUEUED; give how late its messages came, of what was nominal from begin until end."""
        queued = list(self._rows.find({"open": True, "state": State.QUEUED}, {"nominal_time": 1}))
        self._rows.delete_many({"_id": {"$in": [row["_id"] for row in queued]}})
        for row in queued:
            came = self._arrived.pop(row["_id"])
            if begin <= row["nominal_time"] < end:
                yield (came - row["nominal_time"]) / MILLISECOND


def documents(begin: datetime) -> list[dict[str, Any]]:
    """Return jobs that fire every second, a hundredth apart, not before a second has gone."""
    begin = begin.replace(microsecond=0)
    # Of the occurrences that wait to be counted and removed none is to keep a later one from firing.
    policies = {"overlap": Overlap.ALLOW, "max_concurrent": LARGEST_LIMIT}
    spread = [begin + number * SECOND / JOBS for number in range(JOBS)]
    return [
        job_document(f"job-{n}", ScheduleTerms("interval", {"seconds": "1"}, start_time=at), begin, **policies)
        for n, at in enumerate(spread)
    ]


# Stock beat


class Stock:
    """Stock beat, running but while it is paused, and a consumer of its messages."""

    def __init__(self, running: Running, url: str) -> None:
        self._running = running
        self._arrivals: list[float] = []
        queue = Queue(running.queue, durable=True, auto_delete=False, no_declare=True)
        self._consuming = Consuming(url, [queue], lambda _: self._arrivals.append(time.monotonic()))
        running.start()
        running.server.pause()
        running.purge()
        self._consuming.start()

    def close(self) -> None:
        """Stop consuming."""
        self._consuming.stop()

    def late(self, seconds: float) -> Late:
        """Let it fire for so long, and return how late it did."""
        self._running.server.resume()
        time.sleep(WARM_UP)
        self._arrivals.clear()
        time.sleep(seconds)
        self._running.server.pause()
        # Its entries have one length and keep their order: the same one's last message is as many messages ago.
        pairs = zip(self._arrivals, self._arrivals[JOBS:], strict=False)
        return Late.of([max(0.0, after - before - 1) * 1000 for before, after in pairs])


# The hour


class Host:
    """What work takes on a host that hangs now and then, at the same instants for all; in seconds since a beginning."""

    def __init__(self, seconds: int, seed: int) -> None:
        rng = random.Random(seed)
        hours = seconds / HOUR
        lengths = [length for length, often in HANGS.items() for _ in range(math.ceil(often * hours))]
        # Not in the first and the last tenth, which are compared.
        self._hangs = sorted((rng.uniform(seconds / 10, seconds * 0.85), length) for length in lengths)
        self._rng = rng

    def reach(self, at: float) -> float:
        """Return when it gets to what is to be done at an instant. Those asked for do not go back."""
        while self._hangs and self._hangs[0][0] <= at:
            began, length = self._hangs.pop(0)
            at = max(at, began + length)
        return at

    def look(self, due: int) -> float:
        """Return what a look of ours takes, with what is done about what is due."""
        return self._rng.uniform(0.003, 0.012) + due * self.fire()

    def fire(self) -> float:
        """Return what one more fire takes."""
        return self._rng.uniform(0.0003, 0.001)


def simulated(seconds: int, host: Host) -> list[tuple[float, float]]:
    """Let a beat of ours go through time as fast as it can be computed; return each fire's nominal time and lateness.

    In seconds since the beginning.
    """
    stored = documents(BEGINNING)
    waiting = [(_since(job["wake_at"]), number) for number, job in enumerate(stored)]
    heapify(waiting)
    fired: list[tuple[float, float]] = []
    now = 0.0
    while waiting[0][0] < seconds:
        now = host.reach(max(now, waiting[0][0]))
        due = []
        while waiting and waiting[0][0] <= now:
            due.append(heappop(waiting)[1])
        done = host.reach(now + host.look(len(due)))
        for number in due:
            job = stored[number]
            chain = jobs.to_chain(job)
            decided = plan(chain, {}, [], BEGINNING + timedelta(seconds=now), jobs.to_policies(job))
            nominal = [_since(row.last) for row in decided.rows if row.state is State.PENDING]
            fired += [(at, done - at) for at in nominal if at < seconds]
            moved = jobs.advance(decided.covered, decided.pointer, decided.fired - chain.fired, chain.spec.mode)
            job |= moved["$set"] | {"fired": decided.fired}
            heappush(waiting, (_since(job["wake_at"]), number))
        now = done
    return fired


def simulated_stock(seconds: int, host: Host) -> int:
    """Let entries of stock beat go through time in the same way; return how many fires there are."""
    now = 0.0
    app = Celery("simulated", set_as_current=False)
    every = schedule(SECOND, nowfun=lambda: BEGINNING + timedelta(seconds=now), app=app)
    entries = [
        ScheduleEntry(name=str(number), task="t", schedule=every, last_run_at=BEGINNING, app=app)
        for number in range(JOBS)
    ]
    # An entry takes the start of beat for its last run.
    waiting = [(1.0, number) for number in range(JOBS)]
    fires = 0
    while waiting[0][0] < seconds:
        at, number = heappop(waiting)
        now = host.reach(max(now, at))
        due, again = entries[number].is_due()
        if due:
            entries[number] = next(entries[number])
            fires += 1
            now += host.fire()
        heappush(waiting, (now + again, number))
    return fires


def _since(instant: datetime) -> float:
    return (instant - BEGINNING).total_seconds()


# All together


@contextmanager
def both(servers: Servers, folder: Path) -> Iterator[tuple[Ours, Stock]]:
    """Start ours and stock beat."""
    with ExitStack() as stack:
        ours = Ours(servers, servers.mongodb.url)
        stack.callback(ours.close)
        stack.enter_context(running(servers, servers.mongodb.url, folder / "beat.log"))
        stock = Stock(stack.enter_context(loaded(STOCK, servers, folder / "stock", due=JOBS)), servers.rabbitmq.url)
        stack.callback(stock.close)
        yield ours, stock


def measure(size: Size) -> Sequence[Comparison]:
    """Return lateness in rounds, and what the simulation found."""
    sizes = SIZES[size]
    kept: dict[str, list[Late]] = {"ours": [], "stock": []}

    def turn(name: str, late: Callable[[float], Late], seconds: float) -> float:
        kept[name].append(late(seconds))
        return kept[name][-1].middle

    with (
        TemporaryDirectory() as temporary,
        private_servers(Path(temporary)) as servers,
        both(servers, Path(temporary)) as (beat, stock_beat),
    ):
        taking_turns(
            {
                "ours": lambda: turn("ours", beat.late, sizes.ours),
                "stock": lambda: turn("stock", stock_beat.late, sizes.stock),
            },
        )
    ours, stock = (rounds[1:] for rounds in kept.values())  # the first ones were to warm up
    return [*_measured(ours, stock, final=size is Size.FULL), *_simulated(sizes.simulated)]


def _measured(ours: Sequence[Late], stock: Sequence[Late], *, final: bool) -> Iterator[Comparison]:
    note = "ours from the nominal time until a consumer has the message; stock beat from a second after its last run"
    for what, goal, place in (("median", 10, 0), ("99th percentile", 50, 1), ("worst", 250, 2)):
        yield Comparison(
            f"lateness at {JOBS} fires/s, {what}", "ms", Better.LOWER, tuple(late[place] for late in ours),
            STOCK.name, tuple(late[place] for late in stock), goal=goal if final else None,
            note="" if place else note,
        )  # fmt: skip


def _simulated(seconds: int) -> Iterator[Comparison]:
    """Return what became of the occurrences, of as many simulated hours as there are rounds."""
    shares, shares_of_stock, first, last = [], [], [], []
    nominal = (seconds - 1) * JOBS  # for both the first ones are a second after the beginning
    for number in range(ROUNDS):
        fired = simulated(seconds, Host(seconds, number))
        shares.append(len(fired) / nominal)
        shares_of_stock.append(simulated_stock(seconds, Host(seconds, number)) / nominal)
        tenth = seconds / 10
        first.append(median(late for at, late in fired if at < tenth) * 1000)
        last.append(median(late for at, late in fired if at >= seconds - tenth) * 1000)
    yield Comparison(
        "simulated: fires for each nominal time", "", Better.HIGHER, tuple(shares), STOCK.name, tuple(shares_of_stock),
        goal=1.0, note=f"{seconds:,} s, {nominal:,} occurrences, by a clock that is a number",
    )  # fmt: skip
    yield Comparison(
        "simulated: lateness in the last tenth", "ms", Better.LOWER, tuple(last), "in the first tenth", tuple(first),
        ratio_goal=1.1,
    )  # fmt: skip
