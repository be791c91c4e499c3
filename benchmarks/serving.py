"""GetJobStatus and CreateScheduledJob of the real server, beside the least that any server has to do for them.

A store with 1,000 jobs and 50,000 executions (--quick: 10,000); 1, 16 and 128 callers at a time in a process of their
own. The server writes a line a call, as it does where it is deployed. The other side is a grpc.aio server on uvloop
that does the same database operations as a status or a new job needs, and nothing else (benchmarks.serving_bare): the
echo and the operations in sequence, which is the bare limit of one process. An echo, of messages as long, is measured
in the same rounds. The milliseconds at half load are those of calls that come evenly, half as many as our server has
just answered with 16 callers, from when each was to be made; the bare server is asked as often.

About nine minutes; --quick measures 16 callers only, in a minute.
"""

from __future__ import annotations

import multiprocessing
import random
import subprocess
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import grpc

from benchmarks.comparison import Better, Comparison, taking_turns
from benchmarks.explain import serving
from benchmarks.full_store import HOUR, SHARE, fill, roll_up
from benchmarks.processor import seconds_of
from benchmarks.results import Size
from benchmarks.serving_bare import SERVICE, serve
from benchmarks.serving_load import Asked, ask, ask_at
from dev.server import free_port
from dev.servers import private_servers
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

JOBS = 1_000
ROWS: Final = {Size.FULL: 50_000, Size.QUICK: 10_000}
STATUS, CREATE = "GetJobStatus", "CreateScheduledJob"
GOALS: Final = {STATUS: 0.6, CREATE: 0.5}
AT_HALF_LOAD: Final = 10.0
"""Milliseconds within which 99 of 100 calls shall be answered."""
CALLERS: Final = {Size.FULL: (1, 16, 128), Size.QUICK: (16,)}
SECONDS: Final = {Size.FULL: 3.0, Size.QUICK: 0.7}
"""Of one side in one round."""
SECONDS_AT_HALF_LOAD: Final = {Size.FULL: 8.0, Size.QUICK: 1.5}
"""Likewise: of a hundred calls the 99th percentile is just the worst but one."""
USUAL: Final = 16
"""Callers whose rate says what half of the load is."""
NOT_COUNTED: Final = "the server's and mongod's processor time tells more where callers share the cores"


@dataclass(frozen=True)
class Side:
    """A server that is called."""

    address: str
    pid: int


def job(job_id: str = "") -> pb.CreateScheduledJobRequest:
    """Return a request for a job like those that are stored."""
    return pb.CreateScheduledJobRequest(
        job_id=job_id,
        name="Benchmark",
        job_type="SCRAPING",
        target_service="scraper-service",
        target_method="ScrapeCompetitorPrices",
        schedule_config=pb.ScheduleConfig(
            type="cron", config={"expression": "0 8 * * MON-FRI"}, timezone="America/New_York"
        ),
        parameters={"competitor_ids": ["amazon", "walmart", "target"], "max_products": 20},
        labels={"team": "team-1"},
    )


def requests() -> dict[str, Sequence[bytes]]:
    """Return what is sent, by method."""
    chance = random.Random(7)
    asked = [pb.GetJobStatusRequest(job_id=f"job-{chance.randrange(JOBS)}").SerializeToString() for _ in range(JOBS)]
    return {STATUS: asked, CREATE: [job().SerializeToString()]}


@contextmanager
def bare(mongodb_url: str, answers: dict[str, bytes], *, with_database: bool) -> Iterator[Side]:
    """Run the bare server, or the echo, meanwhile."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(port, mongodb_url, answers), kwargs={"with_database": with_database}
    )
    process.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(30)
        yield Side(f"127.0.0.1:{port}", process.pid or 0)
    finally:
        process.terminate()
        process.join()


def answers_of(address: str) -> dict[str, bytes]:
    """Return an answer of the real server to each method."""
    with grpc.insecure_channel(address) as channel:
        stub = SchedulerServiceStub(channel)
        return {
            STATUS: stub.GetJobStatus(pb.GetJobStatusRequest(job_id="job-500")).SerializeToString(),
            CREATE: stub.CreateScheduledJob(job("first")).SerializeToString(),
        }


class Rounds:
    """Measures the sides in turn: rates, and the processor time that a call takes."""

    def __init__(self, load: ProcessPoolExecutor, sides: Mapping[str, Side], mongod: int, size: Size) -> None:
        self._load = load
        self._sides = sides
        self._mongod = mongod
        self._seconds = SECONDS[size]
        self._seconds_at_half_load = SECONDS_AT_HALF_LOAD[size]
        self._requests = requests()

    def measure(self, method: str, callers: int) -> tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]:
        """Return each side's calls a second, and the milliseconds of processor time of a call, round by round."""
        spent: dict[str, list[float]] = {name: [] for name in self._sides}

        def side(name: str) -> Callable[[], float]:
            def once() -> float:
                pids = (self._sides[name].pid, self._mongod)
                before = sum(map(seconds_of, pids))
                asked = self._ask(name, method, callers)
                spent[name].append(1_000 * (sum(map(seconds_of, pids)) - before) / asked.calls)
                return asked.rate

            return once

        rates = taking_turns({name: side(name) for name in self._sides})
        return rates, {name: taken[1:] for name, taken in spent.items()}

    def _ask(self, name: str, method: str, callers: int) -> Asked:
        address = self._sides[name].address
        return self._load.submit(
            ask, address, f"/{SERVICE}/{method}", self._requests[method], callers, self._seconds
        ).result()

    def at_half_load(self, method: str, rate: float) -> Mapping[str, Sequence[float]]:
        """Return the 99th percentile of the milliseconds at half of a rate: ours, and the bare server's."""

        def side(name: str) -> Callable[[], float]:
            def once() -> float:
                address, path, asked = self._sides[name].address, f"/{SERVICE}/{method}", self._requests[method]
                seconds = self._seconds_at_half_load
                return self._load.submit(ask_at, address, path, asked, rate / 2, seconds).result().percentile(99)

            return once

        return taking_turns({name: side(name) for name in ("ours", "bare")}, warm=False)


def measure(size: Size) -> Sequence[Comparison]:
    """Return rates beside the bare server's and the echo's, processor time beside the bare server's, and p99."""
    rows = ROWS[size]
    origin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - (rows // SHARE + 48) * HOUR
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        database = connect(servers.mongodb.url)
        fill(database, JOBS, rows, origin)
        roll_up(database)
        deployed = {**servers.environment, "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
        with serving(deployed, subprocess.DEVNULL) as (address, pid), ExitStack() as stack:
            answers = answers_of(address)
            least = stack.enter_context(bare(servers.mongodb.url, answers, with_database=True))
            echo = stack.enter_context(bare(servers.mongodb.url, answers, with_database=False))
            load = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            sides = {"ours": Side(address, pid), "bare": least, "echo": echo}
            rounds = Rounds(load, sides, servers.mongodb.pid, size)
            return [found for method in GOALS for found in _compare(rounds, method, CALLERS[size])]


def _compare(rounds: Rounds, method: str, callers: Sequence[int]) -> Iterator[Comparison]:
    for number in callers:
        rates, spent = rounds.measure(method, number)
        ours, what = tuple(rates["ours"]), f"{method}, {number} callers"
        for other, goal in (("bare", GOALS[method]), ("echo", None)):
            yield Comparison(
                what if other == "bare" else f"{what}, beside an echo",
                "calls/s", Better.HIGHER, ours, against=other, theirs=tuple(rates[other]), ratio_goal=goal,
            )  # fmt: skip
        yield Comparison(
            f"{what}: processor time of server and mongod",
            "ms", Better.LOWER, tuple(spent["ours"]), against="bare", theirs=tuple(spent["bare"]), note=NOT_COUNTED,
        )  # fmt: skip
        if number == USUAL:
            late = rounds.at_half_load(method, median(ours))
            yield Comparison(
                f"{method} at half load, 99th percentile",
                "ms", Better.LOWER, tuple(late["ours"]), goal=AT_HALF_LOAD,
                # Not the other side: a ratio of such figures is nothing that a gate could hold to.
                note=f"the bare server, asked as often in the same rounds: {median(late['bare']):.3g} ms",
            )  # fmt: skip
