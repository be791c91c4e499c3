"""Lists, statistics and a status with 10,000,000 executions stored, beside the same with 10,000.

Both stores have the same 12 jobs, each of which has fired in one minute of each hour of the last 35 days: in one of
them once, in the other a thousand times. So both have the same roll-ups, as beat makes them, and in the same indexes
the same times; only that there are more executions in each. (Statistics depend on in how many minutes, hours and days
something ended, and of how many jobs: docs/performance.md tells how much.) Both are in one MongoDB, each with a server
of its own. A figure is the median time of 10 calls, one after another, over gRPC. Pages have 20 entries.

Filling takes most of it: eleven minutes in all, and 8 GB of disk. --quick compares 84,000 with 4,200, in 50 seconds.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.comparison import Better, Comparison, taking_turns
from benchmarks.explain import serving
from benchmarks.history_store import fill_history
from benchmarks.results import Size
from dev.servers import private_servers
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import statistics_service_pb2 as statistics_pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceStub
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JOBS: Final = {Size.FULL: 12, Size.QUICK: 5}
TIMES: Final = {Size.FULL: 1_000, Size.QUICK: 20}
"""How often each fires in an hour, where it fires often."""
CALLS: Final = {Size.FULL: 10, Size.QUICK: 5}
SPAN: Final = timedelta(days=35)
AT_MOST: Final = 2.0
"""How many times as long a question may take with so many times as many executions."""
PAGE: Final = 20
PATIENCE: Final = 1_800_000
"""Milliseconds: the indexes of ten million rows take minutes."""
SPANS: Final = {"an hour": timedelta(hours=1), "a day": timedelta(days=1), "30 days": timedelta(days=30)}
IN_GROUPS: Final = ("ALL", "QUEUE", "TARGET", "JOB")


def questions(address: str, job_count: int, end: datetime) -> Mapping[str, Callable[[random.Random], object]]:
    """Return what is asked, by name."""
    channel = grpc.insecure_channel(address)
    scheduler, statistics = SchedulerServiceStub(channel), StatisticsServiceStub(channel)

    def a_job(chance: random.Random) -> str:
        return f"job-{chance.randrange(job_count)}"

    def rows_by(text: str, **fields: Any) -> Callable[[random.Random], object]:
        request = pb.ListExecutionsRequest(filter=text, page_size=PAGE, **fields)
        return lambda _: scheduler.ListExecutions(request)

    def numbers(group: str, span: timedelta, **fields: Any) -> Callable[[random.Random], object]:
        began, ended = Timestamp(), Timestamp()
        began.FromDatetime(end - span)
        ended.FromDatetime(end)
        request = statistics_pb.GetStatisticsRequest(
            group_by=f"GROUP_BY_{group}" if group != "ALL" else None, from_time=began, to_time=ended, **fields
        )
        return lambda _: statistics.GetStatistics(request)

    by_hour = {"window": Duration(seconds=3600)}
    return {
        "GetJobStatus": lambda chance: scheduler.GetJobStatus(pb.GetJobStatusRequest(job_id=a_job(chance))),
        "ListExecutions": rows_by(""),
        "ListExecutions, of one job": lambda chance: scheduler.ListExecutions(
            pb.ListExecutionsRequest(job_id=a_job(chance), page_size=PAGE, include_decisions=True)
        ),
        "ListExecutions, state = FAILED": rows_by("state = FAILED"),
        "ListExecutions, state = SUCCEEDED AND queue": rows_by("state = SUCCEEDED AND queue = analysis"),
        "ListExecutions, finished_at": rows_by(
            "finished_at > 2020-01-01T00:00:00Z", order_by="finished_at desc"
        ),
        **{
            f"GetStatistics, {name}, by {group.lower()}": numbers(group, span)
            for name, span in SPANS.items()
            for group in IN_GROUPS
        },
        "GetStatistics, 30 days by hour, by queue": numbers("QUEUE", SPANS["30 days"], **by_hour),
    }  # fmt: skip


def measure(size: Size) -> Sequence[Comparison]:
    """Return the time of each question, beside that with a small part of the executions."""
    jobs, calls, hours = JOBS[size], CALLS[size], SPAN // timedelta(hours=1) - 1  # what the last one started has ended
    few = jobs * hours
    many = TIMES[size] * few
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers, ExitStack() as stack:
        asked: dict[int, Mapping[str, Callable[[random.Random], object]]] = {}
        for count in (few, many):
            url = f"{servers.mongodb.url}_{count}"
            began = time.monotonic()
            fill_history(connect(url, socketTimeoutMS=PATIENCE), jobs, hours, count // few, end - SPAN, end)
            print(f"   {count:,} executions stored in {time.monotonic() - began:.0f} s", flush=True)
            address, _ = stack.enter_context(serving({**servers.environment, "MONGODB_URL": url}))
            asked[count] = questions(address, jobs, end)

        def side(ask: Callable[[random.Random], object]) -> Callable[[], float]:
            def once() -> float:
                chance, taken = random.Random(7), []
                for _ in range(calls):
                    began = time.perf_counter()
                    ask(chance)
                    taken.append(1_000 * (time.perf_counter() - began))
                return median(taken)

            return once

        found = []
        for what in asked[many]:
            times = taking_turns({"ours": side(asked[many][what]), "theirs": side(asked[few][what])})
            found.append(
                Comparison(
                    what, "ms", Better.LOWER, times["ours"],
                    against=f"{few:,} executions", theirs=times["theirs"], ratio_goal=AT_MOST,
                )
            )  # fmt: skip
        return found
