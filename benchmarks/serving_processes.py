"""GetJobStatus from one, two and four server processes on one port, 64 callers over 16 connections.

All of it shares one machine: the callers, MongoDB and the servers. So the rates can only grow while there are cores
that do nothing; that the processor time of a call stays the same says that more processes cost nothing but their cores.

Three minutes; --quick measures two processes only, in half a minute.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.comparison import Better, Comparison, taking_turns
from benchmarks.explain import READY, serving
from benchmarks.full_store import HOUR, SHARE, fill
from benchmarks.processor import children_of, seconds_of
from benchmarks.results import Size
from benchmarks.serving import JOBS, ROWS, STATUS, requests
from benchmarks.serving_bare import SERVICE
from benchmarks.serving_load import ask
from dev.servers import private_servers
from shared.store import processes
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALLERS: Final = 64
COUNTS: Final = {Size.FULL: (1, 2, 4), Size.QUICK: (1, 2)}
SECONDS: Final = {Size.FULL: 4.0, Size.QUICK: 1.0}


def measure(size: Size) -> Sequence[Comparison]:
    """Return rates and processor time of a call, beside those of one process."""
    rows = ROWS[size]
    origin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - (rows // SHARE + 48) * HOUR
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers, ExitStack() as stack:
        database = connect(servers.mongodb.url)
        fill(database, JOBS, rows, origin)
        load = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        spent: dict[str, list[float]] = {}
        started: list[int] = []

        def wait_for(count: int) -> None:
            deadline = time.monotonic() + READY
            while database[processes.COLLECTION].count_documents({}) < count:
                if time.monotonic() > deadline:
                    sys.exit("the processes of the server did not get ready")
                time.sleep(0.1)

        def side(count: int) -> Callable[[], float]:
            environment = {**servers.environment, "SERVER_PROCESSES": str(count)}
            address, pid = stack.enter_context(serving(environment, subprocess.DEVNULL))
            pids = children_of(pid) if count > 1 else [pid]
            started.extend(pids)
            wait_for(len(started))

            def once() -> float:
                before = sum(map(seconds_of, pids))
                method, asked = f"/{SERVICE}/{STATUS}", requests()[STATUS]
                answered = load.submit(ask, address, method, asked, CALLERS, SECONDS[size]).result()
                spent.setdefault(str(count), []).append(1_000 * (sum(map(seconds_of, pids)) - before) / answered.calls)
                return answered.rate

            return once

        rates = taking_turns({str(count): side(count) for count in COUNTS[size]})
        return [
            comparison
            for count in map(str, COUNTS[size][1:])
            for comparison in (
                Comparison(
                    f"{STATUS}, {count} processes", "calls/s", Better.HIGHER, rates[count],
                    against="one process", theirs=rates["1"],
                    note=f"{os.cpu_count()} cores for the servers, MongoDB and the callers together",
                ),
                Comparison(
                    f"{STATUS}, {count} processes: processor time of the servers", "ms", Better.LOWER,
                    tuple(spent[count][1:]), against="one process", theirs=tuple(spent["1"][1:]),
                ),
            )
        ]  # fmt: skip
