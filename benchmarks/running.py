"""How fast one worker process runs executions, and how soon one that is asked for, beside a bare Celery task.

Seven minutes, on private servers and a machine at rest; quick: about one. Both sides have a worker in this
environment with Celery's pool of threads, as many slots as ours has by default, and then fewer, late acknowledgement,
one message fetched for each slot, and results in Redis; the peer's task is in benchmarks.bare_celery. Each round has
its messages ready in the queue before the worker is let at them, and a rate is counted at the target, from the call
after the first tenth to that before the last. Our worker claims each in MongoDB, journaled, keeps its lease, and writes
what came of it, journaled; the peer keeps nothing but the result. Ours also writes two lines of log for each, as
JSON, and tells monitors of it; the peer does neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from benchmarks import bare_celery, bare_scheduler
from benchmarks.comparison import ROUNDS, Better, Comparison, taking_turns
from benchmarks.processor import resident_megabytes, seconds_of
from benchmarks.results import Size
from benchmarks.timed_target import AFTER_A_SECOND, AT_ONCE, SERVICE, TimedTarget
from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared import log as logs
from shared.domain.job import JobDefaults, JobDraft, ScheduleTerms, define
from shared.messaging.app import make_app
from shared.messaging.dispatcher import Sender
from shared.messaging.publisher import Publisher
from shared.messaging.queues import load_queues
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import scheduler_service_pb2_grpc as pb_grpc
from shared.settings import Settings
from shared.store import executions, jobs
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celery import Celery

    from dev.servers import Servers

OURS, BARE, STEPS, WAYS = "ours", "bare", "steps", "ways"
QUEUE: Final = "manual"
"""Where runs by hand go."""
DEFAULT: Final = Settings.model_fields["worker_concurrency"].default
PATIENCE: Final = 180.0
"""Seconds for whatever is waited for; of many calls, for the next one. They are many more than it takes at rest: a busy
machine takes long, and only one that stands still is to end the benchmark."""
LOOK: Final = 0.02
"""Seconds between two looks whether it is there."""
MANY: Final = 100
"""Runs of which a 99th percentile can be told."""
_numbers = count()


class Amounts(NamedTuple):
    """How much a size measures."""

    calls: int
    """For each side in each round, of a target that answers at once."""
    few: int
    """Concurrency of the second pair of workers: where hardly anything comes together."""
    slow_slots: int
    slow_calls: int
    """Of a second each, by a worker with so many slots."""
    asked: int
    """Runs by hand in each round, one at a time."""
    in_all: int
    """Executions after which the worker's memory is looked at."""


AMOUNTS: Final = {
    Size.FULL: Amounts(1_000, 8, 100, 1_000, 100, 10_000),
    Size.QUICK: Amounts(300, 8, 0, 0, 20, 0),
}


@dataclass
class Site:
    """Servers, the target, and what messages are sent with."""

    folder: Path
    servers: Servers
    target: TimedTarget
    environment: Mapping[str, str]
    database: Any
    sender: Sender
    apps: Mapping[str, Celery]

    def job(self, method: str) -> dict[str, Any]:
        """Store a job that runs by hand only, as the server does."""
        queues = load_queues(ROOT / "config")
        name = f"job-{next(_numbers)}"
        draft = JobDraft(
            job_id=name, name=name, job_type="CUSTOM", target_service="benchmark", target_method=method,
            schedule=ScheduleTerms("cron", {"expression": "0 0 1 1 *"}),
        )  # fmt: skip
        now = datetime.now(UTC)
        definition = define(draft, JobDefaults(queues=queues.names, queue_by_type=queues.by_type), now)
        document = jobs.new_document(definition, f"uid-{name}", now, "benchmark")
        self.database[jobs.COLLECTION].insert_one(document)
        return document


@contextmanager
def site() -> Iterator[Site]:
    """Start the servers and the target; take all down afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        target = stack.enter_context(TimedTarget())
        servers = stack.enter_context(private_servers(folder))
        shutil.copytree(ROOT / "config", folder / "config")
        (folder / "config" / "jobs.yaml").write_text("jobs: []\n")
        with (folder / "config" / "targets.yaml").open("a") as targets:
            targets.write(f"  benchmark:\n    address: localhost:{target.port}\n")
        environment = {
            **servers.environment,
            "CONFIG_DIR": str(folder / "config"),
            "GRPC_PORT": str(free_port()),
            "SERVER_METRICS_PORT": str(free_port()),
            "BEAT_METRICS_PORT": str(free_port()),
            "WORKER_METRICS_PORT": str(free_port()),
            "LOG_FORMAT": "json",
            bare_celery.TARGET: f"localhost:{target.port}",
            bare_scheduler.PORT: str(free_port()),
        }
        logs.configure("benchmark", "WARNING")
        database = connect(servers.mongodb.url)
        stack.callback(database.client.close)
        lay_out(database)
        queues = load_queues(ROOT / "config")
        settings = Settings(celery_broker_url=servers.rabbitmq.url, celery_result_backend=servers.redis.url)
        app = stack.enter_context(make_app(settings, queues))
        bare = bare_celery.app
        bare.conf.update(
            broker_url=servers.rabbitmq.url,
            result_backend=servers.redis.url,
            # Here alone, as ours: a queue for answers is named by an address in memory, which both may have had.
            control_queue_exclusive=app.conf.control_queue_exclusive,
            control_queue_durable=app.conf.control_queue_durable,
        )
        stack.callback(bare.close)
        publisher = stack.enter_context(closing(Publisher(app, queues)))
        sender = Sender(database, publisher, "benchmark")
        yield Site(folder, servers, target, environment, database, sender, {OURS: app, BARE: bare})


def wait_for(condition: Callable[[], object], what: str, progress: Callable[[], object] = lambda: None) -> None:
    """Return once the condition holds; end the benchmark with a sentence when that takes too long.

    progress: while it changes, there is no end to patience.
    """
    seen, deadline = progress(), time.monotonic() + PATIENCE
    while not condition():
        if (now := progress()) != seen:
            seen, deadline = now, time.monotonic() + PATIENCE
        if time.monotonic() > deadline:
            so_far = f" (so far: {seen})" if seen is not None else ""
            sys.exit(f"error: {what}: not after {PATIENCE:g} s{so_far}")
        time.sleep(LOOK)


@contextmanager
def process(at: Site, name: str, *command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the processes with a log of its own; end it, and wait for its end, afterwards."""
    environment = {**os.environ, **at.environment, **variables}
    with (at.folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


class Worker:
    """A worker of either side that is let at its messages when they are all there."""

    def __init__(self, at: Site, side: str, running: subprocess.Popen[bytes], node: str) -> None:
        self._app = at.apps[side]
        self._node = node
        self._queue = QUEUE if side == OURS else bare_celery.QUEUE
        self.pid = running.pid

    def wait(self) -> None:
        """Wait until it is ready, and keep it from its messages."""
        wait_for(lambda: self._app.control.ping(destination=[self._node], timeout=0.5), f"{self._node} is ready")
        self._tell("cancel_consumer")

    @contextmanager
    def let_at_messages(self) -> Iterator[None]:
        """Let it consume while the block runs."""
        self._tell("add_consumer")
        yield
        self._tell("cancel_consumer")

    def _tell(self, what: str) -> None:
        queue, to = {"queue": self._queue}, [self._node]
        # On a connection of its own: of one that was used before, kombu believes that it still has its queue for
        # answers, which RabbitMQ removes after ten seconds, and the answer may come before it is there again.
        with self._app.connection_for_write() as connection:
            told = self._app.control.broadcast(
                what, queue, destination=to, reply=True, timeout=PATIENCE, limit=1, connection=connection
            )
        if not told or "ok" not in told[0][self._node]:
            sys.exit(f"error: {self._node} was told to {what}, and answered {told}")


@contextmanager
def workers(at: Site, concurrency: int) -> Iterator[Mapping[str, Worker]]:
    """Run a worker of each side with so many slots."""
    bare = ("celery", "-A", "benchmarks.bare_celery", "worker", "-P", "threads", "-Q", bare_celery.QUEUE)
    commands = {
        OURS: ("worker", "-Q", QUEUE),
        BARE: (*bare, "--without-gossip", "--without-mingle", "--include", "benchmarks.bare_scheduler"),
    }
    with ExitStack() as stack:
        found = {}
        for side, command in commands.items():
            node = f"{side}-{concurrency}@benchmark"
            options = (*command, "-n", node, "--concurrency", str(concurrency))
            found[side] = Worker(at, side, stack.enter_context(process(at, node, *options)), node)
        for worker in found.values():
            worker.wait()
        yield found


def fill(at: Site, side: str, calls: int, method: str) -> None:
    """Have so many messages wait in the side's queue, and of ours their executions in the ledger."""
    if side == BARE:
        with bare_celery.app.producer_pool.acquire(block=True) as producer:
            for _ in range(calls):
                bare_celery.call.apply_async((f"/{SERVICE}/{method}",), producer=producer)
        return
    job = at.job(method)
    for start in range(0, calls, 500):
        now = datetime.now(UTC)
        rows = [
            executions.manual_document(job, f"{number:06}", QUEUE, "", now, "benchmark")
            for number in range(start, min(calls, start + 500))
        ]
        at.database[executions.COLLECTION].insert_many(rows, ordered=False)
        if len(at.sender.send(rows)) < len(rows):
            sys.exit("error: the broker did not confirm a message")


def drain(at: Site, side: str, worker: Worker, calls: int, method: str) -> float:
    """Have so many calls made, and return the seconds of processor time that the worker took for each.

    The calls are then in the target's list, all of them at a side's worker that has nothing left to do.
    """
    fill(at, side, calls, method)
    at.target.forget()
    before = seconds_of(worker.pid)
    with worker.let_at_messages():
        made = at.target.calls
        wait_for(lambda: len(made) >= calls, f"{calls} calls of {side}", lambda: len(made))
        if side == OURS:
            rows = at.database[executions.COLLECTION]
            wait_for(lambda: not rows.find_one({"open": True}, {"_id": 1}), "all executions have ended")
    taken = seconds_of(worker.pid) - before
    if side == OURS and at.database[executions.COLLECTION].find_one({"state": {"$ne": "SUCCEEDED"}}):
        sys.exit("error: an execution has not succeeded")
    at.database[executions.COLLECTION].delete_many({})
    return taken / calls


def rate(at: Site, side: str, worker: Worker, calls: int, processor: dict[str, list[float]]) -> float:
    """Return the calls a second of a round, without its first and its last tenth."""
    processor[side].append(drain(at, side, worker, calls, AT_ONCE) * 1000)
    ended = sorted(call.began for call in at.target.calls)
    first, last = len(ended) // 10, len(ended) * 9 // 10
    return (last - first) / (ended[last] - ended[first])


def busy(at: Site, side: str, worker: Worker, calls: int, slots: int) -> float:
    """Return the share of the slots that had a call in flight, on average, over the middle three fifths, in percent."""
    drain(at, side, worker, calls, AFTER_A_SECOND)
    began, ended = min(c.began for c in at.target.calls), max(c.ended for c in at.target.calls)
    start, end = began + (ended - began) / 5, ended - (ended - began) / 5
    in_flight = sum(max(0.0, min(c.ended, end) - max(c.began, start)) for c in at.target.calls)
    return 100 * in_flight / (slots * (end - start))


def rates(at: Site, running: Mapping[str, Worker], slots: int, calls: int) -> list[Comparison]:
    """Compare rates and processor time."""
    processor: dict[str, list[float]] = {side: [] for side in running}
    figures = taking_turns(
        {side: partial(rate, at, side, worker, calls, processor) for side, worker in running.items()}
    )
    return [
        Comparison(
            f"executions a second, {slots} slots", "/s", Better.HIGHER, figures[OURS], "a bare Celery task",
            figures[BARE], ratio_goal=0.6, note="ours journals a claim and an outcome of each; the bare task leaves"
            " its result in Redis, and is lost with it",
        ),
        Comparison(
            f"processor time of an execution, {slots} slots", "ms", Better.LOWER, tuple(processor[OURS][1:]),
            "a bare Celery task", tuple(processor[BARE][1:]), note="of the worker",
        ),
    ]  # fmt: skip


def memory(at: Site, worker: Worker, calls: int, in_all: int) -> Comparison:
    """Compare the worker's memory in the rounds after so many executions with that after its first thousands."""
    at_first = resident_megabytes(worker.pid)
    for _ in range(in_all // calls):
        drain(at, OURS, worker, calls, AT_ONCE)
    after = []
    for _ in range(ROUNDS):
        drain(at, OURS, worker, calls // 10, AT_ONCE)
        after.append(resident_megabytes(worker.pid))
    return Comparison(
        f"memory of a worker after {in_all:,} more executions", "MB", Better.LOWER, tuple(after),
        "itself before", (at_first,) * ROUNDS, goal=120, ratio_goal=1.05,
    )  # fmt: skip


def slots_busy(at: Site, slots: int, calls: int) -> Comparison:
    """Compare how busy the slots are with calls of a second each."""
    with workers(at, slots) as running:
        for side, worker in running.items():  # warm: connections, and the contract
            drain(at, side, worker, slots, AT_ONCE)
        sides = {side: partial(busy, at, side, worker, calls, slots) for side, worker in running.items()}
        figures = taking_turns(sides, warm=False)
    return Comparison(
        f"slots busy, {slots} of them, calls of a second", "%", Better.HIGHER, figures[OURS], "a bare Celery task",
        figures[BARE], goal=95,
    )  # fmt: skip


def asked_for(at: Site, running: Mapping[str, Worker], runs: int) -> list[Comparison]:
    """Compare how long it takes from ExecuteJobNow to the call, and from `delay` to the task, one at a time.

    In the same rounds, the same steps with nothing around them, and the same ways with nothing kept:
    benchmarks.bare_scheduler.
    """
    bare_port = int(at.environment[bare_scheduler.PORT])
    ports = {OURS: int(at.environment["GRPC_PORT"]), STEPS: bare_port, WAYS: bare_port}
    with ExitStack() as stack:
        leasing = ready.beat_leasing(at.servers.mongodb.url)
        for name in ("scheduler_service", "beat", "benchmarks.bare_scheduler"):
            stack.enter_context(process(at, name, name))
        stubs = {}
        for side, port in ports.items():
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
            grpc.channel_ready_future(channel).result(PATIENCE)
            stubs[side] = pb_grpc.SchedulerServiceStub(channel)
        wait_for(ready.grpc_serving(ports[OURS]), "the server serves")
        wait_for(leasing, "beat holds its lease")
        for worker in running.values():
            stack.enter_context(worker.let_at_messages())
        waits: dict[str, list[list[float]]] = {side: [] for side in (OURS, STEPS, WAYS, BARE)}

        def several(side: str, once: Callable[[], float]) -> float:
            waits[side].append([once() for _ in range(runs)])
            return 0

        job = at.job(AT_ONCE)
        rows = at.database[executions.COLLECTION]

        def asking(side: str, job_id: str) -> float:
            at.target.forget()
            asked = time.monotonic()
            execution_id = stubs[side].ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id)).execution_id
            if execution_id:  # else nothing is stored
                wait_for(lambda: not rows.find_one({"_id": execution_id, "open": True}, {"_id": 1}), "it has ended")
            wait_for(lambda: at.target.calls, "the target is called")
            (call,) = at.target.calls
            return (call.began - asked) * 1000

        def theirs() -> float:
            asked = time.monotonic()
            result = bare_celery.started.delay()
            began: float = result.get(timeout=PATIENCE)
            time.sleep(LOOK)  # as ours
            return (began - asked) * 1000

        once: dict[str, Callable[[], float]] = {
            OURS: partial(asking, OURS, job["_id"]),
            STEPS: partial(asking, STEPS, job["_id"]),
            WAYS: partial(asking, WAYS, ""),
            BARE: theirs,
        }
        taking_turns({side: partial(several, side, each) for side, each in once.items()})
        rows.delete_many({})
    figures: list[tuple[str, Callable[[list[float]], float], float]] = [("median", median, 2.0)]
    if runs >= MANY:  # of a few runs the 99th percentile is the worst one, which says nothing
        figures.append(("99th percentile", _p99, 3.0))
    found = []
    for name, figure, goal in figures:
        ours, steps, ways, bare = (tuple(map(figure, waits[side][1:])) for side in (OURS, STEPS, WAYS, BARE))
        what, delay = "from ExecuteJobNow to the call", "from delay to the task's start"
        found += [
            Comparison(f"{what}, {name}", "ms", Better.LOWER, ours, delay, bare, ratio_goal=goal),
            Comparison(
                f"{what}, {name}, beside the same steps", "ms", Better.LOWER, ours, "the same steps, bare", steps,
            ),
            Comparison(
                f"{what}, {name}: the same steps, bare", "ms", Better.LOWER, steps, delay, bare,
                note="call, read, message, row, claim, call, as durable; it does nothing else",
            ),
            Comparison(
                f"{what}, {name}: the same ways, nothing kept", "ms", Better.LOWER, ways, delay, bare,
                note="call, message, call; without a store",
            ),
        ]  # fmt: skip
    return found


def _p99(waits: list[float]) -> float:
    return quantiles(waits, n=100, method="inclusive")[-1]


def measure(size: Size) -> list[Comparison]:
    """Measure all of it; with the quick size, neither memory nor slots that wait."""
    amounts = AMOUNTS[size]
    with site() as at:
        with workers(at, DEFAULT) as running:
            found = [*asked_for(at, running, amounts.asked), *rates(at, running, DEFAULT, amounts.calls)]
            if amounts.in_all:
                found.append(memory(at, running[OURS], amounts.calls, amounts.in_all))
        with workers(at, amounts.few) as running:
            found += rates(at, running, amounts.few, amounts.calls)
        if amounts.slow_calls:
            found.append(slots_busy(at, amounts.slow_slots, amounts.slow_calls))
    return found
