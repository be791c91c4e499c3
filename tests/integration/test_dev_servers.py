"""Private servers, and the command that runs the system on them."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amqp
import pytest
import redis
from pymongo import MongoClient

from dev import mongodb, rabbitmq
from dev import redis as dev_redis
from dev.apt import INSTALL
from dev.finding import Found, Unusable
from dev.mongodb import find_or_start_mongodb, start_mongodb
from dev.rabbitmq import CONSUMER_TIMEOUT, install_rabbitmq, server_script
from dev.redis import find_or_start_redis, start_redis
from dev.run import Process, check_ports, system, welcome, with_examples
from dev.server import HOST, Program, Server, ServerError, free_port
from dev.servers import Servers, private_servers, start_together
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Servers]]:
    """Two sets side by side, started at the same time, as two test runs would."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
        first, second = pool.map(stack.enter_context, [private_servers(folder) for folder in folders])
        yield first, second


@pytest.fixture
def servers(two: tuple[Servers, Servers]) -> Servers:
    return two[0]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """A zombie has ended; only its parent has not asked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_of(folder: Path) -> list[int]:
    """Those with the folder in their command line, environment, or working directory: brokers' children as well."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            cwd = str((process / "cwd").readlink())
        except OSError:
            continue
        if int(process.name) != os.getpid() and (os.fsencode(folder) in told or cwd.startswith(str(folder))):
            found.append(int(process.name))
    return [pid for pid in found if alive(pid)]


def script(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def folders(within: Path, *names: str) -> list[Path]:
    for name in names:
        (within / name).mkdir()
    return [within / name for name in names]


@contextmanager
def channel_of(broker: Server) -> Iterator[Any]:
    with amqp.Connection(f"{HOST}:{broker.port}", confirm_publish=True) as connection:
        yield connection.channel()


def message_in(broker: Server, queue: str) -> str | None:
    with channel_of(broker) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False)
        message = channel.basic_get(queue, no_ack=True)
        return message.body if message else None


def put(broker: Server, queue: str, body: str) -> None:
    with channel_of(broker) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False)
        # Confirmed: until then it may only be in the broker's memory, and a kill would take it.
        channel.basic_publish_confirm(amqp.Message(body, delivery_mode=2), routing_key=queue)


def test_two_sets_of_servers_side_by_side_never_meet(two: tuple[Servers, Servers]) -> None:
    for name, each in zip(("one", "other"), two, strict=True):
        with MongoClient[dict[str, Any]](each.mongodb.url) as client:
            client.get_default_database().things.insert_one({"_id": name})
        with redis.Redis.from_url(each.redis.url) as client:
            client.set(name, "here")
        put(each.rabbitmq, "things", name)
    for name, each in zip(("one", "other"), two, strict=True):
        with MongoClient[dict[str, Any]](each.mongodb.url) as client:
            assert [thing["_id"] for thing in client.get_default_database().things.find()] == [name]
        with redis.Redis.from_url(each.redis.url) as client:
            assert client.keys() == [name.encode()]
        assert message_in(each.rabbitmq, "things") == name
        assert message_in(each.rabbitmq, "things") is None


def test_every_server_listens_on_the_loopback_address_only(servers: Servers) -> None:
    ports = {each.port for each in (servers.mongodb, servers.rabbitmq, servers.redis)}
    ports |= set(servers.rabbitmq.program.ports.values())
    wanted = {f"{port:04X}" for port in ports}
    heard: dict[str, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if port in wanted and line.split()[3] == "0A":
                heard.setdefault(port, set()).add(address)
    assert heard.keys() == wanted
    assert set().union(*heard.values()) <= {"0100007F", "00000000000000000000000001000000"}


def test_what_a_server_drops_as_it_crashes_stays_in_its_folder(servers: Servers) -> None:
    """RabbitMQ writes MnesiaCore files to where it runs, for one, when it is killed while it starts."""
    for server in (servers.mongodb, servers.rabbitmq, servers.redis):
        assert Path(f"/proc/{server.pid}/cwd").readlink().is_relative_to(server.folder)


def test_rabbitmq_has_its_management_plugin_and_a_long_consumer_timeout(servers: Servers) -> None:
    port = servers.rabbitmq.program.ports["management"]
    request = urllib.request.Request(f"http://{HOST}:{port}/api/overview")
    request.add_header("Authorization", f"Basic {base64.b64encode(b'guest:guest').decode()}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b"rabbitmq_version" in answer.read()
    assert f"consumer_timeout = {CONSUMER_TIMEOUT}\n" in (servers.rabbitmq.folder / "rabbitmq.conf").read_text()


def test_killed_servers_come_back_on_the_same_port_with_what_was_durable(servers: Servers) -> None:
    with MongoClient[dict[str, Any]](servers.mongodb.url) as client:
        client.get_default_database().get_collection("kept").insert_one({"_id": 1})
        client.admin.command("fsync")
    with channel_of(servers.rabbitmq) as channel:
        channel.queue_declare("kept", durable=True, auto_delete=False)
    # RabbitMQ confirms messages, not queues: with one that was declared a moment ago a kill may take its messages.
    servers.rabbitmq.stop()
    servers.rabbitmq.restart()
    put(servers.rabbitmq, "kept", "kept")
    both = (servers.mongodb, servers.rabbitmq)
    pids = [server.pid for server in both]
    for server in both:
        server.kill()
        assert server.returncode == 128 + signal.SIGKILL
    assert not any(alive(pid) for pid in pids)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Server.restart, both))
    with MongoClient[dict[str, Any]](servers.mongodb.url) as client:
        assert client.get_default_database().kept.count_documents({}) == 1
    assert message_in(servers.rabbitmq, "kept") == "kept"


def test_a_killed_broker_leaves_no_process_behind(two: tuple[Servers, Servers]) -> None:
    broker = two[1].rabbitmq
    assert len(processes_of(broker.folder)) > 2  # the broker, its children, its epmd, its keeper
    broker.kill()
    wait_for(lambda: not processes_of(broker.folder))


def test_redis_keeps_its_data_when_it_is_stopped_and_started(tmp_path: Path) -> None:
    server = start_redis(tmp_path)
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", 1)
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"1"
    finally:
        server.stop()
    assert server.returncode == 0


def test_a_paused_server_is_silent_until_it_is_resumed(servers: Servers) -> None:
    with redis.Redis.from_url(servers.redis.url, socket_timeout=0.3, retry=None) as client:
        servers.redis.pause()
        try:
            with pytest.raises(redis.TimeoutError):
                client.ping()
        finally:
            servers.redis.resume()
    with redis.Redis.from_url(servers.redis.url) as client:
        assert client.ping()


def test_mongodb_can_be_a_replica_set(tmp_path: Path) -> None:
    server = start_mongodb(tmp_path, replica_set="rs0")
    try:
        with MongoClient[dict[str, Any]](server.url) as client:
            assert client.admin.command("hello")["setName"] == "rs0"
            client.get_default_database(write_concern=None).things.insert_one({})
        server.restart()
        with MongoClient[dict[str, Any]](server.url) as client:
            assert client.get_default_database().things.count_documents({}) == 1
    finally:
        server.kill()


def test_servers_die_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", PRIVATE_SERVERS_FOREVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    with owner, owner.stdout as said:
        assert said.readline() == "started\n"
        owner.kill()
        owner.wait()
    wait_for(lambda: not processes_of(tmp_path))


PRIVATE_SERVERS_FOREVER = """
import signal, sys
from pathlib import Path
from dev.servers import private_servers
with private_servers(Path(sys.argv[1])):
    print("started", flush=True)
    signal.pause()
"""


def test_a_server_that_cannot_have_its_port_says_so_with_the_end_of_its_log(servers: Servers, tmp_path: Path) -> None:
    port = servers.redis.port
    with pytest.raises(ServerError, match=f"Redis on port {port} ended while starting.*port {port} is used by another"):
        start_redis(tmp_path, port=port)
    assert redis.Redis.from_url(servers.redis.url).ping()  # and it was the other that answered


def test_a_server_that_never_answers_is_ended_and_named(tmp_path: Path) -> None:
    def is_ready(_pid: int) -> None:
        raise ConnectionRefusedError("nobody there")

    server = Server(
        Program(
            name="Silent",
            url="",
            port=free_port(),
            folder=tmp_path,
            command=["sh", "-c", "echo last words; sleep 60"],
            is_ready=is_ready,
            ready_within=5,
        )
    )
    with pytest.raises(ServerError, match=r"(?s)Silent.*not ready after 5 s \(nobody there\).*last words"):
        server.start()
    assert not server.running
    wait_for(lambda: not processes_of(tmp_path))


class Late(Server):
    """One whose start begins only when it has been killed, as when the threads have not got to it yet."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.killed = threading.Event()
        self.said = ""

    def start(self) -> None:
        assert self.killed.wait(60)
        try:
            super().start()
        except ServerError as error:
            self.said = str(error)
            raise

    def kill(self) -> None:
        super().kill()
        self.killed.set()


def test_of_servers_that_are_started_together_none_goes_on_starting_when_another_has_failed(tmp_path: Path) -> None:
    def is_ready(_pid: int) -> None:
        raise ConnectionRefusedError("nobody there")

    def program(name: str, *command: str) -> Program:
        folder = tmp_path / name
        return Program(name=name, url="", port=0, folder=folder, command=command, is_ready=is_ready, ready_within=20)

    late = Late(program("Late", "sleep", "60"))
    with pytest.raises(ServerError, match=r"Failing .* ended while starting"):
        start_together([Server(program("Failing", "false")), late])
    assert "ended while starting" in late.said, "it was not waited for until it was ready"
    assert not processes_of(tmp_path)


def test_an_address_in_the_environment_comes_first(servers: Servers, tmp_path: Path) -> None:
    found = find_or_start_mongodb(tmp_path, {"MONGODB_URL": servers.mongodb.url})
    assert (found.url, found.server) == (servers.mongodb.url, None)


def test_an_address_in_the_environment_that_does_not_work_is_refused_without_its_password(tmp_path: Path) -> None:
    url = f"redis://:secret@{HOST}:{free_port()}/0"
    with pytest.raises(ServerError, match=r"CELERY_RESULT_BACKEND.*cannot be used") as refused:
        find_or_start_redis(tmp_path, {"CELERY_RESULT_BACKEND": url})
    assert "secret" not in str(refused.value)


def test_a_server_that_listens_on_the_default_port_is_used(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb, "PORT", servers.mongodb.port)
    monkeypatch.setattr(dev_redis, "PORT", servers.redis.port)
    assert find_or_start_mongodb(tmp_path, {}).server is None
    assert find_or_start_redis(tmp_path, {}).server is None


def test_a_system_apart_has_servers_of_its_own_whatever_listens(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb, "PORT", servers.mongodb.port)
    found = find_or_start_mongodb(tmp_path, {"LOCAL_DIR": str(tmp_path)})
    assert found.server is not None
    assert found.server.port != servers.mongodb.port
    named = find_or_start_mongodb(tmp_path, {"LOCAL_DIR": str(tmp_path), "MONGODB_URL": servers.mongodb.url})
    assert named.url == servers.mongodb.url


def test_something_else_on_the_default_port_is_passed_over_with_a_remark(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev_redis, "PORT", servers.rabbitmq.port)
    monkeypatch.setattr(dev_redis, "PATIENCE", 0.5)
    found = find_or_start_redis(tmp_path, {})
    assert found.server
    assert found.server.port != servers.rabbitmq.port
    assert f"what listens on port {servers.rabbitmq.port} cannot be used" in found.remark


def test_a_rabbitmq_that_refuses_guest_is_not_usable(servers: Servers) -> None:
    with pytest.raises(Unusable, match="it refuses the user guest"):
        rabbitmq.check(f"amqp://guest:wrong@{HOST}:{servers.rabbitmq.port}//")
    assert rabbitmq.check(servers.rabbitmq.url)


def test_without_rabbitmq_apt_and_root_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ServerError, match=r"apt-get install rabbitmq-server.*CELERY_BROKER_URL.*docker compose up"):
        install_rabbitmq()


def test_the_rabbitmq_on_the_path_is_started_in_place_of_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = script(tmp_path / "rabbitmq-server")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert server_script() == str(other)


def test_a_link_to_a_program_of_another_name_is_started_as_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version manager's, which learns from its name what it is to start."""
    shims, programs = folders(tmp_path, "shims", "bin")
    (shims / "rabbitmq-server").symlink_to(script(programs / "version-manager"))
    monkeypatch.setenv("PATH", f"{shims}:{os.environ['PATH']}")
    monkeypatch.setattr(rabbitmq, "WRAPPERS", (programs,))
    assert server_script() == str(shims / "rabbitmq-server")


@pytest.mark.parametrize("packaged", ["as a file", "as a link"])
def test_of_a_package_the_script_that_anybody_may_run_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged: str
) -> None:
    wrappers, inner = folders(tmp_path, "sbin", "lib")
    if packaged == "as a file":
        script(wrappers / "rabbitmq-server")
    else:
        (wrappers / "rabbitmq-server").symlink_to(script(inner / "rabbitmq-script-wrapper"))
    started = script(inner / "rabbitmq-server")
    monkeypatch.setattr(rabbitmq, "WRAPPERS", (wrappers,))
    monkeypatch.setattr(rabbitmq, "INNER_SCRIPT", str(started))
    linked = tmp_path / "linked"  # as /sbin is to /usr/sbin
    linked.symlink_to(wrappers)
    for folder in (wrappers, linked):
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        assert server_script() == str(started)


@pytest.mark.parametrize("exit_code", [0, 100])
def test_installing_forbids_the_package_to_start_its_service_and_takes_the_ban_back(
    tmp_path: Path, exit_code: int
) -> None:
    policy, calls = tmp_path / "policy-rc.d", tmp_path / "calls"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\nsh "$POLICY"; echo "$1 $?" >> "{calls}"\nexit {exit_code}\n')
    apt.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "POLICY": str(policy)}
    answer = subprocess.run(["sh", "-c", INSTALL, "sh", "a-server"], env=environment, capture_output=True, check=False)
    assert (answer.returncode == 0) == (exit_code == 0)
    assert calls.read_text().startswith("install 101\n")
    assert not policy.exists()


def test_installing_leaves_the_administrators_policy_alone(tmp_path: Path) -> None:
    policy, apt = tmp_path / "policy-rc.d", tmp_path / "apt-get"
    policy.write_text("theirs")
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "POLICY": str(policy)}
    subprocess.run(["sh", "-c", INSTALL, "sh", "a-server"], env=environment, capture_output=True, check=True)
    assert policy.read_text() == "theirs"


def test_a_taken_port_is_named_with_who_needs_it_who_has_it_and_what_changes_it() -> None:
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        process = Process("flower", ["flower"], lambda _: lambda: True, {port: "FLOWER_PORT"})
        with pytest.raises(ServerError, match=rf"^Port {port} is taken \(pid {os.getpid()}, .*flower.*FLOWER_PORT"):
            check_ports([process])


DEAF = "trap '' TERM; while :; do sleep 0.1; done"


ONE_CTRL_C = 3
"""Seconds in which two are one: long enough for a busy machine to send the second."""


class Run:
    """`make run` with processes that do nothing, on the module's servers, in a folder of its own."""

    def __init__(self, folder: Path, servers: Servers, grace: float = 1, **commands: str) -> None:
        self.folder = folder
        script = folder / "stand_ins.py"
        script.write_text(
            textwrap.dedent(f"""
                import os, sys
                from pathlib import Path
                import dev.redis, dev.run
                from dev.run import Process, ServerError, run
                dev.redis.PORT = {free_port()}  # the default one may be somebody's
                dev.run.ONE_CTRL_C = {ONE_CTRL_C}
                processes = [Process(n, ["sh", "-c", c], lambda _: lambda: True) for n, c in {commands!r}.items()]
                try:
                    run(processes, os.environ, lambda *_: "welcome", local=Path({str(folder)!r}), grace={grace})
                except ServerError as error:
                    sys.exit(f"error: {{error}}")
            """)
        )
        self.log = (folder / f"log-{time.monotonic_ns()}").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=ROOT,
            env={**os.environ, **servers.environment, "PYTHONPATH": str(ROOT)},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    @property
    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def wait_for(self, text: str) -> None:
        wait_for(lambda: re.search(text, self.output))

    def end(self, number: signal.Signals | None = None) -> int:
        if number:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_that_was_started_and_nothing_else(
    servers: Servers, tmp_path: Path, number: signal.Signals
) -> None:
    run = Run(tmp_path, servers, polite="sleep 100", deaf=DEAF)
    run.wait_for("ready in .*\nwelcome")
    assert run.end(number) == 0
    assert not processes_of(tmp_path)
    assert servers.redis.running


def test_ctrl_c_while_the_command_is_still_importing_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "honcho.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    command = subprocess.Popen(
        [sys.executable, "-m", "dev.run"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LOCAL_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "importing\n"
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=60)[0] == ""
    assert command.returncode == 0


def test_ctrl_c_says_what_is_being_stopped_and_a_second_one_cuts_calls_off(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "")
    given = Servers(servers.mongodb, servers.rabbitmq, Server(Program(**{**vars(servers.redis.program), "url": ""})))
    deaf = DEAF.replace("; ", "; echo hears nothing; ", 1)
    run = Run(tmp_path, given, grace=60, deaf=f"({deaf}) & {deaf}")
    run.wait_for("ready in")
    run.wait_for("(?s)hears nothing.*hears nothing")
    run.process.send_signal(signal.SIGINT)
    run.wait_for(r"stopping the processes \(calls in progress get up to 60 s; Ctrl-C again to cut them off\)\n")
    run.process.send_signal(signal.SIGINT)  # still the first
    time.sleep(ONE_CTRL_C + 0.1)
    assert run.process.poll() is None
    assert "killing" not in run.output
    assert run.end(signal.SIGINT) == 0
    assert re.search(r"killing the processes\n(.*\n)*stopping Redis\n$", run.output)
    assert not processes_of(tmp_path)
    assert "bye bye" in (tmp_path / "redis" / "redis.log").read_text(), "Redis's word for a clean stop"


def test_what_is_shown_when_ready_leads_a_process_started_by_hand_to_this_run_without_anybodys_password() -> None:
    found = [
        Found("MongoDB", "MONGODB_URL", "mongodb://me:secret@db/scheduler", "MONGODB_URL names it"),
        Found("RabbitMQ", "CELERY_BROKER_URL", "amqp://guest:guest@localhost:5672//", "it was listening"),
        Found("Redis", "CELERY_RESULT_BACKEND", "redis://localhost:6380/0?a=1&b=2", "started privately"),
    ]
    shell = {"MONGODB_URL": found[0].url, "PRICING_PORT": "7", "TASK_MODULES": "shop.tasks,shop.more"}
    text = welcome(Settings(grpc_port=5), shell)(with_examples(shell), found)
    assert "secret" not in text
    assert "in another terminal (MONGODB_URL as here):" in text
    (line,) = (line for line in text.splitlines() if line.startswith("  export "))
    said = subprocess.run(["sh", "-c", f"{line}; env"], env={}, capture_output=True, text=True, check=True).stdout
    assert set(said.splitlines()) >= {
        "CELERY_BROKER_URL=amqp://guest:guest@localhost:5672//",
        "CELERY_RESULT_BACKEND=redis://localhost:6380/0?a=1&b=2",
        "SCRAPER_SERVICE_URL=localhost:50053",
        "PRICING_SERVICE_URL=localhost:7",
        "TASK_MODULES=shop.tasks,shop.more",
        "GRPC_PORT=5",
    }


def test_an_example_target_is_started_unless_it_is_somebodys_own_or_no_target() -> None:
    def started(settings: Settings, **shell: str) -> set[str]:
        return {process.name for process in system(settings, shell)} & {"scraper-service", "pricing-service"}

    assert started(Settings()) == {"scraper-service", "pricing-service"}
    assert started(Settings(), SCRAPER_SERVICE_URL="shop:1") == {"pricing-service"}
    trends = Settings(config_dir=ROOT / "examples" / "trends")
    assert started(trends) == set()
    assert "scraper-service" not in welcome(trends, {})(with_examples({}), [])


def test_a_process_that_dies_ends_the_run_with_its_name_and_exit_code(servers: Servers, tmp_path: Path) -> None:
    run = Run(tmp_path, servers, lasting="sleep 100", failing="sleep 0.5; exit 3")
    assert run.end() == 1
    assert "error: failing ended by itself with exit code 3" in run.output
    assert not processes_of(tmp_path)


def test_a_second_run_in_the_same_checkout_says_that_one_is_running(servers: Servers, tmp_path: Path) -> None:
    first = Run(tmp_path, servers, lasting="sleep 100")
    first.wait_for("ready in")
    second = Run(tmp_path, servers, lasting="sleep 100")
    assert second.end() == 1
    assert second.output == f"error: make run is already running in this checkout (pid {first.process.pid}).\n"
    assert first.end(signal.SIGINT) == 0


def test_a_killed_run_leaves_no_orphans_and_the_next_one_starts(servers: Servers, tmp_path: Path) -> None:
    run = Run(tmp_path, servers, lasting="sleep 100", deaf=DEAF)
    run.wait_for("ready in")
    run.end(signal.SIGKILL)
    again = Run(tmp_path, servers, lasting="sleep 100")
    again.wait_for("ready in")
    assert again.end(signal.SIGINT) == 0
    assert not processes_of(tmp_path)


def test_a_server_of_ours_that_dies_ends_the_run(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "")
    given = Servers(servers.mongodb, servers.rabbitmq, Server(Program(**{**vars(servers.redis.program), "url": ""})))
    run = Run(tmp_path, given, lasting="sleep 100")
    run.wait_for("ready in")
    pid_file = tmp_path / "redis" / "pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    assert run.end() == 1
    assert "error: Redis ended by itself with exit code 137" in run.output
    assert not processes_of(tmp_path)
