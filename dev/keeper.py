"""Run one program for an owner and end it, with all that it started, when the owner is gone, however it died.

    python keeper.py --owner PID [--grace SECONDS] [--pid-file F] [--lock F] [--helper COMMAND] -- PROGRAM ARGUMENT...

It is a process of its own, because a process killed with SIGKILL can clean up nothing, and a thread's
PR_SET_PDEATHSIG fires when the thread ends. Only the standard library is imported: one keeper stands beside every
server and process, and it should start in milliseconds. It exits as its program did (128 + n for signal n).
"""

import argparse
import ctypes
import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL = 0.2  # seconds between looks at the owner where there is no pidfd (macOS, old kernels)


def main() -> int:
    """Start the program, wait for it or for the owner's end, and return the program's exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--owner", type=int, required=True)
    parser.add_argument("--grace", type=float, default=10)
    parser.add_argument("--pid-file", type=Path)
    parser.add_argument("--lock", type=Path)
    parser.add_argument("--helper")
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    if arguments.lock:  # held, shared, for as long as the keeper lives: whoever gets it exclusively knows all are gone
        fcntl.flock(os.open(arguments.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC), fcntl.LOCK_SH)

    # The first starts the process group, the other joins it, so that one kill ends all.
    helper = _start(shlex.split(arguments.helper), 0) if arguments.helper else None
    program = _start(arguments.program, helper.pid if helper else 0)
    group = helper.pid if helper else program.pid
    if arguments.pid_file:
        # The group comes second: signals for all go there. Renamed, so that nobody reads half of it.
        half = arguments.pid_file.with_suffix(".new")
        half.write_text(f"{program.pid} {group}\n")
        half.rename(arguments.pid_file)

    def stop(*_: object) -> None:
        for asked in (signal.SIGTERM, signal.SIGCONT):  # a stopped program would not see the first without the second
            _signal(program, asked)
        signal.setitimer(signal.ITIMER_REAL, arguments.grace)

    def kill(_signum: int, _frame: FrameType | None) -> None:
        _kill_group(group)

    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if _owner_outlives(program, arguments.owner):
        stop()
    code = program.wait()
    _kill_group(group)
    if helper:
        helper.wait()
    return code if code >= 0 else 128 - code


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process with SIGKILL when its parent ends (Linux only; elsewhere nothing happens).

    The parent's thread that forked it counts as the parent, so it must be one that lives as long as the process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def _start(command: list[str], group: int) -> subprocess.Popen[bytes]:
    keeper = os.getpid()
    return subprocess.Popen(command, process_group=group, preexec_fn=lambda: die_with_parent(keeper))  # noqa: PLW1509


def _owner_outlives(program: subprocess.Popen[bytes], owner: int) -> bool:
    """Wait for the end of either; True when the owner's came first."""
    try:
        ends = {os.pidfd_open(owner): True, os.pidfd_open(program.pid): False}
    except ProcessLookupError:
        return program.poll() is None
    except (AttributeError, OSError):
        return _poll_owner(program, owner)
    ready, _, _ = select.select(list(ends), [], [])
    return all(ends[fd] for fd in ready)


def _poll_owner(program: subprocess.Popen[bytes], owner: int) -> bool:
    while program.poll() is None:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            return True
        time.sleep(POLL)
    return False


def _signal(program: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if program.returncode is None:
        try:
            os.kill(program.pid, number)
        except ProcessLookupError:
            return


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return


if __name__ == "__main__":
    sys.exit(main())
