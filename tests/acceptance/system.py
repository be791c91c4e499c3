"""The system as `make run` starts it, on private servers and ports, with processes that a test can kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dev.run import ROOT, Process, system, with_examples
from dev.server import free_port
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

READY = 120.0
"""Seconds that a process may take to get ready on a busy machine."""

_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T | None], what: str, timeout: float = 60) -> _T:
    """Return the first true value of the condition; fail the test when there is none in time."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.05)
    return found


class System:
    """All processes but those that a test has killed, each with a log file of its own.

    names: of the processes, when not all that `make run` starts are wanted.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], names: Collection[str] = ()) -> None:
        ports = {
            name: str(free_port())
            for name in (
                "GRPC_PORT", "SERVER_METRICS_PORT", "BEAT_METRICS_PORT", "WORKER_METRICS_PORT", "FLOWER_PORT",
                "SCRAPER_PORT", "PRICING_PORT",
            )
        }  # fmt: skip
        self.environment = {**os.environ, **environment, **ports, "PYTHONUNBUFFERED": "1"}
        settings = Settings(grpc_port=int(ports["GRPC_PORT"]), server_metrics_port=int(ports["SERVER_METRICS_PORT"]))
        self.grpc_port = settings.grpc_port
        self.address = f"localhost:{self.grpc_port}"
        self._table: dict[str, Process] = {
            process.name: process
            for process in system(settings, self.environment)
            if not names or process.name in names
        }
        self.environment = with_examples(self.environment)
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all, and wait until all are ready."""
        checks = {name: process.ready(self.environment) for name, process in self._table.items()}
        for name in self._table:
            self._spawn(name)
        for name, check in checks.items():
            self._await(name, check)

    def stop(self) -> None:
        """End all that still runs, with the signal that an operator's stop sends."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_beat(self, name: str, *command: str, **environment: str) -> int:
        """Start a further beat, wait until it is ready, and return its process id.

        command: what starts it, if not what starts the others. environment: what it has of its own.
        """
        command = command or (sys.executable, "-m", "beat")
        self._table[name] = Process(name, command, lambda _: lambda: '"action": "beat_ready"' in self.log(name))
        self._spawn(name, environment)
        self._await(name, self._table[name].ready({}))
        return self._running[name].pid

    def start_worker(self, name: str, *options: str, **environment: str) -> int:
        """Start a further worker, wait until it takes messages, and return its process id."""
        command = (sys.executable, "-m", "worker", *options)
        self._table[name] = Process(name, command, lambda _: lambda: " ready." in self.log(name))
        self._spawn(name, {"WORKER_METRICS_PORT": str(free_port()), **environment})
        self._await(name, self._table[name].ready({}))
        return self._running[name].pid

    def end(self, name: str) -> None:
        """End a process, and all that it started, with SIGKILL."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Stop a process in mid-air (SIGSTOP) for as long as the block takes."""
        process = self._running[name]
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGCONT)

    @property
    def ended_by_themselves(self) -> list[str]:
        """The names of processes that no test has ended, and that do not run."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    @contextmanager
    def without(self, name: str, *, stopped: bool = False) -> Iterator[None]:
        """End a process, and all that it started, with SIGKILL; start it again after the block, and wait for it.

        stopped: end it by the signal that an operator's stop sends, and wait as long as it takes.
        """
        if stopped:
            process = self._running.pop(name)
            process.terminate()
            process.wait(READY)
        else:
            self.end(name)
        try:
            yield
        finally:
            check = self._table[name].ready(self.environment)
            self._spawn(name)
            self._await(name, check)

    def log(self, name: str) -> str:
        """Return what a process has logged so far."""
        path = self._folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def logs(self) -> str:
        """Return what all processes have logged so far."""
        return "".join(self.log(name) for name in self._table)

    def _await(self, name: str, check: Callable[[], bool]) -> None:
        def ready() -> bool:
            assert self._running[name].poll() is None, f"{name} has ended:\n{self.log(name)[-3000:]}"
            return check()

        wait_until(ready, f"{name} is ready", READY)

    def _spawn(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._table[name].command,
                env={**self.environment, **(environment or {})},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
