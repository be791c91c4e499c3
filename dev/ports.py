"""Who listens on a port, as far as this machine tells."""

import os
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"  # a socket's state in /proc/net/tcp


def listener(port: int) -> str:
    """Return ` (pid 123, python)` for the process that listens on the port, or nothing when that cannot be found out.

    Only Linux tells, and of other users' processes only root is told.
    """
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    if sockets:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended, or is not ours to look at
                if any(_target(fd) in sockets for fd in (process / "fd").iterdir()):
                    return f" (pid {process.name}, {(process / 'comm').read_text().strip()})"
    return ""


def _target(descriptor: Path) -> str:
    """Return what a process's descriptor stands for; nothing when it was closed meanwhile, which the others outlast."""
    try:
        return os.readlink(descriptor)  # noqa: PTH115  not a path
    except OSError:
        return ""
