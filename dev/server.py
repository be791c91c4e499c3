"""A private server: a program with a folder and ports of its own, that ends with its owner."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
KEEPER = Path(__file__).with_name("keeper.py")
POLL = 0.05  # seconds between looks at something awaited
LOG_LINES = 15  # of a server's log that an error quotes

# Below the range that the kernel gives to outgoing connections (from 32768 on Linux), so that none takes a port
# between our look at it and the server's start; and random, so that two test runs do not look at the same one.
FREE_PORTS = range(20000, 32000)


class ServerError(Exception):
    """A server cannot be had; the message is a sentence for people, then maybe the end of the server's log."""


class NotReadyError(Exception):
    """What answered, or did not, is not yet (or not at all) the server that was asked for."""


_given = set[int]()
"""Ports that this process was told of, and may not listen on yet."""


def free_port() -> int:
    """Return a TCP port on which nothing listens now, and that was not returned before."""
    while True:
        port = random.choice(FREE_PORTS)
        if port not in _given and is_free(port):
            _given.add(port)
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on the port on this machine, on any address."""
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            # As servers do: connections of a server that has ended, still in TIME_WAIT, do not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
            except OSError:
                if family == socket.AF_INET or _has_ipv6():
                    return False
    return True


def _has_ipv6() -> bool:
    try:
        with closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def listens(port: int) -> bool:
    """Whether something accepts connections on the port of the loopback address."""
    with suppress(OSError), closing(socket.create_connection((HOST, port), timeout=2)):
        return True
    return False


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a server is started, and how one knows that it is ready."""

    name: str
    url: str
    port: int
    folder: Path
    command: Sequence[str]
    is_ready: Callable[[int], None]
    """Is given the server's pid; raises NotReadyError, or the client library's error, while it is not ready."""
    environment: Mapping[str, str] = field(default_factory=dict)
    helper: str = ""
    """A command line that must run beside it, in the same process group (RabbitMQ's epmd)."""
    ready_within: float = 30
    """Seconds from its start; longer means that it hangs."""
    stop_within: float = 10
    """Seconds from SIGTERM; longer, and it is killed."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Further ports it listens on, by name."""


class Server:
    """A running private server. It dies with the process that made it, also when that one is killed."""

    def __init__(self, program: Program, *, lock: Path | None = None) -> None:
        self.program = program
        self.name = program.name
        self.url = program.url
        self.port = program.port
        self.folder = program.folder
        self.log = program.folder / f"{program.name.lower()}.log"
        self.pid = 0
        """Of the server's own process; 0 until it was started."""
        self._group = 0
        self._lock = lock
        self._keeper: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} on port {self.port}, pid {self.pid}, in {self.folder}>"

    @property
    def returncode(self) -> int | None:
        """None while it runs; its exit code, 128 + n for signal n, when it has ended."""
        return 0 if self._keeper is None else self._keeper.poll()

    @property
    def running(self) -> bool:
        """Whether its process is there (it may be paused)."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start it on its folder and return when it answers; nothing happens when it runs.

        Raises ServerError, with the end of its log, when it ends or does not answer in time.
        """
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        pid_file = self.folder.resolve() / "pid"
        pid_file.unlink(missing_ok=True)
        program = self.program
        command = [sys.executable, "-I", "-S", str(KEEPER), f"--owner={os.getpid()}", f"--pid-file={pid_file}"]
        command += [f"--grace={program.stop_within}"]
        command += [f"--lock={self._lock.resolve()}"] if self._lock else []
        command += [f"--helper={program.helper}"] if program.helper else []
        with self.log.open("ab") as log:
            begin = log.tell()
            self._keeper = subprocess.Popen(
                [*command, "--", *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **program.environment},
                # What it drops as it crashes, as RabbitMQ its MnesiaCore files, belongs to its folder.
                cwd=program.folder,
                # Out of the terminal's foreground group: Ctrl-C is for the owner, who stops servers in its order.
                start_new_session=True,
            )
        try:
            self._wait_until_ready(pid_file, begin)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, pid_file: Path, log_begin: int) -> None:
        deadline = time.monotonic() + self.program.ready_within
        why = "it said nothing"
        while time.monotonic() < deadline:
            # Looked at before asking: an answer must not come from another server that holds the port.
            if not self.running:
                raise ServerError(
                    f"{self.name} on port {self.port} ended while starting, with exit code {self.returncode}"
                    f"{self._port_taken()}. {self._log_end(log_begin)}"
                )
            try:
                if not self.pid or not self._group:
                    self.pid, self._group = (int(word) for word in pid_file.read_text().split())
                self.program.is_ready(self.pid)
            except FileNotFoundError:
                pass
            except Exception as error:  # noqa: BLE001  any error of a client means: not ready yet
                why = str(error) or type(error).__name__
            else:
                return
            time.sleep(POLL)
        raise ServerError(
            f"{self.name} on port {self.port} was not ready after {self.program.ready_within:g} s ({why}). "
            f"{self._log_end(log_begin)}"
        )

    def _port_taken(self) -> str:
        taken = [port for port in (self.port, *self.program.ports.values()) if listens(port)]
        return f"; port {taken[0]} is used by another process" if taken else ""

    def _log_end(self, begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(begin)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-LOG_LINES:]])

    def stop(self) -> None:
        """Ask it to end, wait, and kill it when it takes too long; nothing happens when it does not run."""
        if self._keeper is not None and self.running:
            self._keeper.terminate()
            self._keeper.wait()
        self.pid = self._group = 0

    def kill(self) -> None:
        """Kill it and all its processes with SIGKILL, as a crash would; returns when they are gone."""
        if self._keeper is not None and self.running:
            if self._group:
                self._signal(signal.SIGKILL)
                self._keeper.wait()
            else:  # the keeper has not said yet what it started: what it started dies with it
                self._keeper.kill()
                self._keeper.wait()
        self.pid = self._group = 0

    def pause(self) -> None:
        """Stop it in mid-air (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused one go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it, if it runs, and start it on the same folder and ports; raises as `start` does."""
        self.stop()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        if not self.running or not self._group:
            raise ServerError(f"{self.name} on port {self.port} does not run")
        with suppress(ProcessLookupError):
            os.killpg(self._group, number)
