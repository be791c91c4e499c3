"""Memory of server, worker and beat under a steady load, and whether it grows.

An hour, or as many minutes as MEMORY_MINUTES says; on private servers. Jobs fire every second, and a target answers at
once; four callers each go once a second through what clients ask: a job's status, lists, statistics, an explanation, a
preview, what is refused, a run by hand, and a job that is created, changed, paused, resumed and deleted. Somebody
watches all executions. All processes are as users start them, with their settings as they are.

Before it, a sixth of that time is for warming up, at the pace of a busy hour: the same calls without a pause. Caches,
Python's arenas and what the C library keeps of freed memory for each thread fill by calls, and the more slowly the
fuller they are; at the pace of the hour itself they take more than the hour. A leak grows with each call, after it too.

What is resident is read every few seconds. Each fifth of the hour's last third is held against each fifth of its first
third, by their medians. The growth is the slope of a straight line through the hour, by least squares. Its standard
error takes into account that a sample is close to the one before (Bayley and Hammersley's effective number of samples,
of the first order). A line through a curve that levels off still rises, so what an hour tells is more than what the
hours after it will.

The full size prints both curves, by minutes. With --quick, 20 seconds: only what is resident, since a growth of so
short a time says nothing.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import sqrt
from statistics import correlation, fmean, linear_regression, median
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.comparison import ROUNDS, Better, Comparison
from benchmarks.processor import resident_megabytes
from benchmarks.results import Size
from benchmarks.running import process, site, wait_for
from benchmarks.timed_target import AT_ONCE
from dev import ready
from shared.domain.execution import State
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import statistics_service_pb2 as statistics
from shared.proto.planning_service_pb2_grpc import PlanningServiceStub
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceStub
from shared.store import executions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.running import Site

SERVER, WORKER, BEAT = "scheduler_service", "worker", "beat"
FIRES: Final = 20
"""Jobs that fire every second."""
CALLERS: Final = 4
MINUTES: Final = float(os.environ.get("MEMORY_MINUTES", "60"))
SECONDS: Final = {Size.FULL: MINUTES * 60, Size.QUICK: 20.0}
WARMING: Final = 1 / 6
"""Of these seconds, before them."""
PAUSE: Final = 1.0
"""Seconds of a caller between two turns, once all is warm."""
EVERY: Final = {Size.FULL: 5.0, Size.QUICK: 1.0}
"""Seconds between two samples."""
HOUR: Final = 3600
MOST: Final = 120.0
"""Megabytes of a process."""
GROWN: Final = 1.02
GROWING: Final = 1.0
"""Megabytes an hour that can't be told from none: what an allocator's pages vary by."""


# The load


@dataclass
class Caller(Thread):
    """Goes through all that clients ask, until it is told to stop."""

    address: str
    number: int
    stopping: Event
    pause: float = 0.0
    """Seconds between two turns."""
    calls: int = 0
    error: str = ""

    def __post_init__(self) -> None:
        super().__init__(name=f"caller-{self.number}", daemon=True)

    __hash__ = Thread.__hash__

    def run(self) -> None:
        """Call. What goes wrong ends it, and is kept."""
        try:
            with grpc.insecure_channel(self.address) as channel:
                turn = 0
                while not self.stopping.wait(self.pause):
                    self.calls += self._change(SchedulerServiceStub(channel), turn) + _read(channel, turn)
                    turn += 1
        except grpc.RpcError as error:
            self.error = str(error)

    def _change(self, stub: SchedulerServiceStub, turn: int) -> int:
        """Create, change and delete a job of its own; return how many calls that were."""
        own = f"by-{self.number}-{turn}"
        # As many different ones as there are turns while all warms up: parsed ones are kept, up to a bound.
        stub.CreateScheduledJob(job(own, {"expression": f"{turn % 60} {turn // 60 % 4} 1 1 *"}, kind="cron"))
        renamed = pb.ScheduledJob(name=f"Renamed {turn}", description="x" * (turn % 1000))
        mask = FieldMask(paths=["name", "description"])
        stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id=own, job=renamed, update_mask=mask))
        stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=own, reason="benchmark"))
        stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=own))
        asked = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=own, request_id=own))
        stub.WaitExecution(pb.WaitExecutionRequest(execution_id=asked.execution_id))
        stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=50, filter=f'labels.caller = "{own}"'))
        stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=own))
        _refused(stub, own)
        return 9


def _read(channel: grpc.Channel, turn: int) -> int:
    """Ask what lists, pages and dashboards do; return how many calls that were."""
    fires = f"fires-{turn % FIRES}"
    stub = SchedulerServiceStub(channel)
    stub.GetJobStatus(pb.GetJobStatusRequest(job_id=fires))
    stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=50))
    stub.ListExecutions(pb.ListExecutionsRequest(page_size=50))
    stub.ListExecutions(pb.ListExecutionsRequest(job_id=fires, page_size=50, include_decisions=True))
    PlanningServiceStub(channel).PreviewSchedule(planning.PreviewScheduleRequest(job_id=fires, count=10))
    nominal = Timestamp(seconds=int(time.time()) - 5)
    PlanningServiceStub(channel).ExplainOccurrence(
        planning.ExplainOccurrenceRequest(job_id=fires, nominal_time=nominal)
    )
    StatisticsServiceStub(channel).GetStatistics(statistics.GetStatisticsRequest())
    return 7


def job(job_id: str, config: Mapping[str, str], *, kind: str) -> pb.CreateScheduledJobRequest:
    """Return a request for a job that calls the target."""
    return pb.CreateScheduledJobRequest(
        job_id=job_id,
        name=f"Job {job_id}",
        job_type="CUSTOM",
        target_service="benchmark",
        target_method=AT_ONCE,
        schedule_config=pb.ScheduleConfig(type=kind, config=config),
        labels={"caller": job_id},
    )


def _refused(stub: SchedulerServiceStub, deleted: str) -> None:
    try:
        stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=deleted))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise


def _watch(address: str) -> None:
    """Read what is told about executions until the server ends."""
    with grpc.insecure_channel(address) as channel:
        try:
            for _ in SchedulerServiceStub(channel).WatchExecutions(pb.WatchExecutionsRequest()):
                pass
        except grpc.RpcError:
            return


# What it takes


@dataclass
class Memory:
    """What was resident in one process."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def fifths(self, *, last: bool) -> tuple[float, ...]:
        """Return medians of the parts of the first, or the last, third."""
        third = len(self.megabytes) // 3
        taken = self.megabytes[-third:] if last else self.megabytes[:third]
        length = third / ROUNDS
        return tuple(median(taken[int(n * length) : int((n + 1) * length)]) for n in range(ROUNDS))

    def growth(self) -> tuple[float, float]:
        """Return the megabytes an hour by which it grows, and the standard error of that."""
        hours = [second / HOUR for second in self.seconds]
        slope, intercept = linear_regression(hours, self.megabytes)
        off = [y - (intercept + slope * x) for x, y in zip(hours, self.megabytes, strict=True)]
        spread = sum(each * each for each in off)
        if not spread:
            return slope, 0.0
        after_another = correlation(*zip(*pairwise(off), strict=True))
        alike = min(max(after_another, 0.0), 1 - 1 / len(off))
        middle = fmean(hours)
        error = sqrt(spread / (len(off) - 2) / sum((x - middle) ** 2 for x in hours))
        return slope, error * sqrt((1 + alike) / (1 - alike))


def curve(found: Mapping[str, Memory]) -> str:
    """Return the median of each minute, which shows whether what grows comes to an end."""
    lines = [" ".join(("minute", *found))]
    seconds = next(iter(found.values())).seconds
    for minute, samples in groupby(range(len(seconds)), lambda n: int(seconds[n] // 60)):
        numbers = list(samples)
        medians = [median(memory.megabytes[n] for n in numbers) for memory in found.values()]
        lines.append(" ".join((str(minute), *(f"{each:.1f}" for each in medians))))
    return "\n".join(lines)


def sampled(pids: Mapping[str, int], seconds: float, every: float, callers: Sequence[Caller]) -> dict[str, Memory]:
    """Return what is resident in each process, over so many seconds."""
    found = {name: Memory() for name in pids}
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        for name, pid in pids.items():
            found[name].seconds.append(now)
            found[name].megabytes.append(resident_megabytes(pid))
        if errors := [caller.error for caller in callers if caller.error]:
            sys.exit(f"error: a call was answered: {errors[0]}")
        time.sleep(every)
    return found


@contextmanager
def loaded(at: Site) -> Iterator[tuple[dict[str, int], Sequence[Caller]]]:
    """Run the three processes under load; give their ids, and who calls."""
    with ExitStack() as stack:
        port = int(at.environment["GRPC_PORT"])
        leasing = ready.beat_leasing(at.servers.mongodb.url)
        pids = {name: stack.enter_context(process(at, name, name)).pid for name in (SERVER, BEAT, WORKER)}
        wait_for(ready.grpc_serving(port), "the server serves")
        wait_for(leasing, "beat holds its lease")
        wait_for(ready.worker_answering(at.servers.rabbitmq.url), "the worker answers")
        address = f"127.0.0.1:{port}"
        with grpc.insecure_channel(address) as channel:
            for number in range(FIRES):
                SchedulerServiceStub(channel).CreateScheduledJob(
                    job(f"fires-{number}", {"every": "1s"}, kind="interval")
                )
        Thread(target=_watch, args=(address,), name="watcher", daemon=True).start()
        stopping = Event()
        callers = [Caller(address, number, stopping) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield pids, callers
        finally:
            stopping.set()
            for caller in callers:
                caller.join()


def measure(size: Size) -> list[Comparison]:
    """Return what is resident in each process; in the full size, beside what was after warming up, and its growth."""
    with site() as at, loaded(at) as (pids, callers):
        warming = sampled(pids, SECONDS[size] * WARMING, EVERY[size], callers)
        warm = sum(caller.calls for caller in callers)
        for caller in callers:
            caller.pause = PAUSE
        found = sampled(pids, SECONDS[size], EVERY[size], callers)
        ended = at.database[executions.COLLECTION].count_documents({"state": State.SUCCEEDED})
        calls = sum(caller.calls for caller in callers)
    if size is Size.FULL:
        print(f"while warming up\n{curve(warming)}\nafterwards\n{curve(found)}", flush=True)
    load = f"{ended:,} executions and {calls:,} calls, of which {warm:,} while warming up"
    return [each for name, memory in found.items() for each in _compared(name, memory, load, size)]


def _compared(name: str, memory: Memory, load: str, size: Size) -> Iterator[Comparison]:
    at_the_end = memory.fifths(last=True)
    if size is Size.QUICK:
        yield Comparison(f"memory of {name}", "MB", Better.LOWER, at_the_end, goal=MOST, note=load)
        return
    yield Comparison(
        f"memory of {name} at the end", "MB", Better.LOWER, at_the_end, "after warming up", memory.fifths(last=False),
        goal=MOST, ratio_goal=GROWN, note=load,
    )  # fmt: skip
    growth, error = memory.growth()
    yield Comparison(
        f"growth of {name}", "MB/h", Better.LOWER, (growth,), goal=GROWING, note=f"standard error {error:.2g} MB/h"
    )  # fmt: skip
