"""Run the whole system on this machine: `python -m dev.run`, or `make run`.

Servers that are not there already are started privately, with their data in `.local/`; the processes are interleaved
by honcho. Ctrl-C (or SIGTERM) stops what was started, processes first, and nothing else; a second Ctrl-C kills the
processes at once.
"""

import os
import signal

if __name__ == "__main__":
    # Ctrl-C while all that follows is imported would be a traceback; nothing has been started so far.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))

import argparse
import fcntl
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import honcho.manager
import honcho.printer
import honcho.process

from dev import ready
from dev.finding import Found
from dev.keeper import die_with_parent
from dev.mongodb import find_or_start_mongodb
from dev.ports import listener
from dev.rabbitmq import find_or_start_rabbitmq
from dev.redis import find_or_start_redis
from dev.server import HOST, KEEPER, Server, ServerError, is_free
from dev.servers import start_together, stop_together
from shared.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
LOCAL = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()
CONFIGURATION = ("CONFIG_DIR", "TASK_MODULES", "EXTRA_QUEUES")  # what all processes of a system have to agree on
FLOWER_PORT = 5555
SCRAPER_PORT = 50053
PRICING_PORT = 50052
LEFTOVERS = 30  # seconds that what a killed run started gets to end
REMIND = 30  # seconds after which one is told what is still not ready
STOPPING = 12  # seconds beyond the processes' own grace, then they are killed; a worker ends itself up to 8 after it
ONE_CTRL_C = 0.5  # seconds in which several SIGINTs are one: `timeout` signals its child, then the group it is in


@dataclass(frozen=True)
class Process:
    """One process of the system."""

    name: str
    command: Sequence[str]
    ready: Callable[[Mapping[str, str]], ready.Check]
    """Is given the process's environment, before it starts."""
    ports: Mapping[int, str] = field(default_factory=dict)
    """Ports that it needs, each with the variable that changes it."""


def system(settings: Settings, environment: Mapping[str, str]) -> list[Process]:
    """Return the processes of the system, in the order in which they are started.

    An example target whose address is set is somebody's own service, and one that targets.yaml lacks is called by
    nobody: neither is started.
    """
    python = sys.executable
    flower = _port(environment, "FLOWER_PORT", FLOWER_PORT)
    processes = [
        Process(
            "scheduler-service",
            [python, "-m", "scheduler_service"],
            lambda its: ready.servers_serving(settings.grpc_port, its["MONGODB_URL"], settings.server_processes),
            {settings.grpc_port: "GRPC_PORT", settings.server_metrics_port: "SERVER_METRICS_PORT"},
        ),
        Process(
            "celery-worker",
            [python, "-m", "worker"],
            lambda its: ready.worker_answering(its["CELERY_BROKER_URL"]),
        ),
        Process("celery-beat", [python, "-m", "beat"], lambda its: ready.beat_leasing(its["MONGODB_URL"])),
        # Flower reads FLOWER_BASIC_AUTH itself: on its command line everybody could read the password.
        Process(
            "flower",
            [python, "-m", "dev.flower", f"--address={HOST}", f"--port={flower}"],
            lambda _: ready.http_answering(flower),
            {flower: "FLOWER_PORT"},
        ),
    ]
    if _is_target("SCRAPER_SERVICE_URL", settings) and not environment.get("SCRAPER_SERVICE_URL"):
        processes.append(_example("scraper", _port(environment, "SCRAPER_PORT", SCRAPER_PORT)))
    if _is_target("PRICING_SERVICE_URL", settings) and not environment.get("PRICING_SERVICE_URL"):
        processes.append(_example("pricing", _port(environment, "PRICING_PORT", PRICING_PORT)))
    return processes


def with_examples(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the addresses of the examples that `system` starts, for those who call them."""
    examples = {"SCRAPER": SCRAPER_PORT, "PRICING": PRICING_PORT}
    addresses = {
        f"{name}_SERVICE_URL": f"localhost:{_port(environment, f'{name}_PORT', port)}"
        for name, port in examples.items()
    }
    return addresses | {name: value for name, value in environment.items() if value or name not in addresses}


def _is_target(variable: str, settings: Settings) -> bool:
    """Return whether the list of targets has the address of this variable. The processes say what is wrong with it."""
    path = settings.config_dir / "targets.yaml"
    return path.is_file() and f"${{{variable}" in path.read_text(errors="replace")


def _example(name: str, port: int) -> Process:
    return Process(
        f"{name}-service",
        [sys.executable, "-m", f"examples.{name}_service"],
        lambda _: ready.grpc_serving(port),
        {port: f"{name.upper()}_PORT"},
    )


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    given = environment.get(variable, "")
    if given and not (given.isdecimal() and 0 < int(given) < 2**16):
        raise ServerError(f"{variable}: {given!r} is not a port (1-65535).")
    return int(given) if given else default


def check_ports(processes: Sequence[Process]) -> None:
    """Raise ServerError, with a sentence for each, when ports that the processes need are taken."""
    taken = [
        f"Port {port} is taken{listener(port)}, and {process.name} needs it: free it, or set {variable} to another."
        for process in processes
        for port, variable in process.ports.items()
        if not is_free(port)
    ]
    if taken:
        raise ServerError("\n".join(taken))


def run(
    processes: Sequence[Process],
    environment: Mapping[str, str],
    welcome: Callable[[Mapping[str, str], Sequence[Found]], str],
    *,
    local: Path = LOCAL,
    grace: float = 10,
) -> None:
    """Run the processes until Ctrl-C or SIGTERM, on servers found or started with their data in `local`.

    `welcome` makes, from the processes' environment and the servers, the text that is shown when all are ready;
    `grace` is the time, in seconds, that the processes get to end. Raises ServerError, when everything has been
    stopped, with a sentence why it could not start or had to end.
    """
    started = time.monotonic()
    local.mkdir(parents=True, exist_ok=True)
    with _alone(local) as keepers_lock:
        check_ports(processes)
        found = [
            find_or_start_mongodb(local / "mongodb", environment, lock=keepers_lock),
            find_or_start_rabbitmq(local / "rabbitmq", environment, lock=keepers_lock),
            find_or_start_redis(local / "redis", environment, lock=keepers_lock),
        ]
        for each in found:
            _say(each.remark or f"{each.name}: {each.origin}")
        servers = [each.server for each in found if each.server]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            start_together(servers)
            given = {**environment, **{each.variable: each.url for each in found}, "PYTHONUNBUFFERED": "1"}
            manager = _Processes(processes, given, grace, keepers_lock)
            watch = _Watch(manager, servers, {process.name: process.ready(given) for process in processes})
            watch.when_ready = lambda: _say(f"ready in {time.monotonic() - started:.0f} s\n{welcome(given, found)}")
            watch.start()
            try:
                manager.loop()
            except BaseException:
                manager.terminate()
                raise
            finally:
                watch.done.set()
                watch.join()  # or it would take the servers' stop for their death
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not cut the servers' stop short
                signal.signal(number, signal.SIG_IGN)
            if running := [server.name for server in servers if server.running]:
                _say(f"stopping {', '.join(running)}")
            stop_together(servers)
        if manager.reason:
            raise ServerError(manager.reason)


class _Processes(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's manager, which also knows why it ended."""

    def __init__(
        self, processes: Sequence[Process], environment: Mapping[str, str], grace: float, keepers_lock: Path
    ) -> None:
        super().__init__(honcho.printer.Printer(sys.stdout))
        self.reason = ""
        self._grace = grace
        self._owner = os.getpid()
        self._stopped_at = 0.0
        self._process_ctor = _KeptProcess
        honcho.manager.KILL_WAIT = grace + STOPPING  # the keepers kill after the grace; this is for hanging keepers
        for process in processes:
            keeper = [sys.executable, "-I", "-S", str(KEEPER), f"--owner={os.getpid()}", f"--grace={grace:g}"]
            command = [*keeper, f"--lock={keepers_lock}", "--", *process.command]
            self.add_process(process.name, f"exec {shlex.join(command)}", env=dict(environment), cwd=str(ROOT))

    @property
    def started(self) -> bool:
        """Whether all have been started."""
        return bool(self._all_started())

    def end(self, reason: str) -> None:
        """End all, from any thread, for this reason."""
        self.reason = self.reason or reason
        os.kill(self._owner, signal.SIGTERM)

    def _start(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # honcho's own handler does not tell a second signal apart
            signal.signal(number, self._signalled)
        super()._start()

    def _signalled(self, number: int, _frame: object) -> None:
        if os.getpid() != self._owner:  # a child that was just forked
            return
        if not self._terminating:
            self.terminate()
        elif number == signal.SIGINT and time.monotonic() > self._stopped_at + ONE_CTRL_C:
            self._cut_off()

    def _cut_off(self) -> None:
        """Have the keepers kill now, with all that their programs started, what they would kill after the grace."""
        _say("killing the processes")
        for state in self._processes.values():
            if "returncode" not in state:
                with suppress(ProcessLookupError):
                    os.kill(state["pid"], signal.SIGALRM)

    def terminate(self) -> None:
        """Ask all to end. It is called on a signal, and when one has ended by itself: then that is the reason."""
        if not self.started:  # a signal in the first tenth of a second: honcho does not know all pids yet
            threading.Timer(0.05, self.terminate).start()
            return
        ended = {name: state["returncode"] for name, state in self._processes.items() if "returncode" in state}
        if not self._terminating and not self.reason and ended:
            names = " and ".join(f"{name} ended by itself with exit code {code}" for name, code in ended.items())
            self.reason = f"{names}; its last lines are above. Everything else was stopped."
        if not self._terminating:
            self._stopped_at = time.monotonic()
            _say(
                f"stopping the processes (calls in progress get up to {self._grace:g} s; Ctrl-C again to cut them off)"
            )
        super().terminate()


class _KeptProcess(honcho.process.Process):  # type: ignore[misc]
    """honcho's process; the child that passes its lines on must not outlive us, as it would hold the lock."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self._owner = os.getpid()

    def run(self, *arguments: object, **options: object) -> None:
        die_with_parent(self._owner)
        super().run(*arguments, **options)


class _Watch(threading.Thread):
    """Tells when all are ready, and ends all when a server of ours dies."""

    def __init__(self, manager: _Processes, servers: Sequence[Server], checks: Mapping[str, ready.Check]) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.when_ready: Callable[[], None] = lambda: None
        self._manager = manager
        self._servers = servers
        self._waiting = dict(checks)

    def run(self) -> None:
        remind_at = time.monotonic() + REMIND
        while not self.done.wait(0.2):
            for server in self._servers:
                if not server.running:
                    self._manager.end(
                        f"{server.name} ended by itself with exit code {server.returncode}; its log is {server.log}. "
                        "Everything else was stopped."
                    )
                    return
            # Only now threads may use gRPC: the manager forks, and gRPC must not be in use then.
            if self._waiting and self._manager.started:
                for name, check in list(self._waiting.items()):
                    if not self.done.is_set() and check():
                        del self._waiting[name]
                if not self._waiting:
                    self.when_ready()
                elif time.monotonic() > remind_at:
                    _say(f"still waiting for {', '.join(self._waiting)}")
                    remind_at += REMIND


@contextmanager
def _alone(local: Path) -> Iterator[Path]:
    """Hold the checkout's lock, and yield the file on which keepers hold a lock of their own while they live."""
    with (local / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(f"make run is already running in this checkout (pid {lock.read().strip()}).") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        keepers_lock = local / "keepers.lock"
        with keepers_lock.open("a") as keepers:
            _wait_for_leftovers(keepers)
        yield keepers_lock


def _wait_for_leftovers(keepers: TextIO) -> None:
    """Wait until what a killed run started has ended, as it does by itself: its servers must not be found."""
    deadline = time.monotonic() + LEFTOVERS
    while True:
        try:
            return fcntl.flock(keepers, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"Processes of a run that was killed have not ended within {LEFTOVERS} s: end those whose "
                    "command line holds keeper.py."
                ) from None
            time.sleep(0.1)


def _say(text: str) -> None:
    print(text, flush=True)


def exports(
    settings: Settings, environment: Mapping[str, str], found: Sequence[Found], shell: Mapping[str, str]
) -> list[str]:
    """Return the lines that lead a further process, started by hand, to this run.

    An address that the shell has set is only named: it may hold somebody's password.
    """
    own = [each.variable for each in found if shell.get(each.variable)]
    values = {each.variable: each.url for each in found if each.variable not in own}
    values |= {name: environment[name] for name in ("SCRAPER_SERVICE_URL", "PRICING_SERVICE_URL")}
    values["GRPC_PORT"] = str(settings.grpc_port)
    values |= {name: shell[name] for name in CONFIGURATION if shell.get(name)}
    beside = f" ({' and '.join(own)} as here)" if own else ""
    return [
        f"For a further worker or beat, in another terminal{beside}:",
        f"  export {' '.join(f'{name}={shlex.quote(value)}' for name, value in values.items())}",
    ]


def welcome(settings: Settings, shell: Mapping[str, str]) -> Callable[[Mapping[str, str], Sequence[Found]], str]:
    """Return what makes the text for people: the addresses, and what to try. `shell` is the caller's environment."""

    def text(environment: Mapping[str, str], found: Sequence[Found]) -> str:
        address = f"localhost:{settings.grpc_port}"
        flower = f"http://localhost:{_port(environment, 'FLOWER_PORT', FLOWER_PORT)}"
        lines = [
            f"  gRPC                 {address}",
            f"  Flower               {flower}{' (FLOWER_BASIC_AUTH)' if environment.get('FLOWER_BASIC_AUTH') else ''}",
        ]
        lines += [
            f"  RabbitMQ management  http://localhost:{each.server.program.ports['management']} (guest, guest)"
            for each in found
            if each.server and "management" in each.server.program.ports
        ]
        job = (
            '{"name": "try me", "job_type": "SCRAPING", "target_service": "scraper-service", '
            '"target_method": "ScrapeCompetitorPrices", "parameters": {"competitor_ids": ["amazon"]}, '
            '"schedule_config": {"type": "interval", "config": {"every": "10s"}}}'
        )
        service = "scheduler.v1.SchedulerService"
        creates = f"  grpcurl -plaintext -d '{job}' {address} {service}/CreateScheduledJob"
        return "\n".join(
            [
                *lines,
                "Commands to try:",
                f"  grpcurl -plaintext {address} list",
                *([creates] if _is_target("SCRAPER_SERVICE_URL", settings) else []),
                f"  grpcurl -plaintext -d '{{\"page_size\": 5}}' {address} {service}/ListExecutions",
                *exports(settings, environment, found, shell),
                "Ctrl-C stops everything.",
            ]
        )

    return text


def main() -> int:
    """Run the command line; 0 after Ctrl-C or SIGTERM, 1 with one sentence when something could not start, or died."""
    argparse.ArgumentParser(prog="python -m dev.run", description=__doc__).parse_args()
    settings = load_settings()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        processes = system(settings, os.environ)
        environment = with_examples(os.environ)
        run(processes, environment, welcome(settings, os.environ), grace=settings.shutdown_grace + STOPPING)
    except KeyboardInterrupt:
        return 0
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
