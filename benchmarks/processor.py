"""What other processes take. Processor time tells less of what else the machine does than the time that passes."""

from __future__ import annotations

import os
from pathlib import Path


def seconds_of(pid: int) -> float:
    """Return the processor time that a process has used, to a hundredth of a second; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_of_all(pid: int) -> float:
    """Return the processor time of a process and of all below it that have not ended, as PostgreSQL has some."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        return seconds_of(pid) + sum(seconds_of_all(child) for child in children)
    except FileNotFoundError:  # it ended meanwhile
        return 0.0


def precise_seconds_of(pid: int) -> float:
    """Return the processor time that the threads of a process have used which are there now; see proc(5), schedstat.

    To a nanosecond; between two looks none of the threads may end.
    """
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def connections_seconds_of(mongod: int) -> float:
    """Return the processor time of those threads of mongod that serve connections: what is asked, no upkeep behind it.

    To a nanosecond; between two looks none of the connections may be closed.
    """
    serving = (
        task for task in Path(f"/proc/{mongod}/task").iterdir() if (task / "comm").read_text().startswith("conn")
    )
    return sum(int((task / "schedstat").read_text().split()[0]) for task in serving) / 1e9


def resident_megabytes(pid: int) -> float:
    """Return the memory that a process has in RAM, in MB; see proc(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, and that still run."""
    text = " ".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return sorted(map(int, text.split()))
