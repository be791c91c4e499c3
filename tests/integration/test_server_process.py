"""`python -m scheduler_service` as a process: start, taken ports, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree
from threading import Semaphore
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev.ready import servers_serving
from dev.server import HOST, free_port
from scheduler_service.port import check
from shared.proto import maintenance_service_pb2 as maintenance_pb
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import statistics_service_pb2 as statistics_pb
from shared.proto.maintenance_service_pb2_grpc import MaintenanceServiceStub
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from shared.proto.statistics_service_pb2_grpc import StatisticsServiceStub
from shared.release import release
from shared.store.mongo import connect
from tests.integration.test_server_harness import a_request, interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

    from dev.servers import Servers

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """The server on ports of its own, with its output in a file."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = int(environment.setdefault("GRPC_PORT", str(free_port())))
        environment.setdefault("SERVER_METRICS_PORT", str(free_port()))
        self.metrics_port = environment["SERVER_METRICS_PORT"]
        self.log = folder / f"log-{self.port}-{self.metrics_port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scheduler_service"],
                cwd=ROOT,
                env={**os.environ, "LOG_FORMAT": "json", **environment},
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self.log.read_text()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def health(self) -> str:
        with grpc.insecure_channel(f"{HOST}:{self.port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError as error:
                return str(error.code().name)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(environment: dict[str, str], **changes: str) -> Process:
        made.append(Process(tmp_path, {**environment, **changes}))
        return made[-1]

    yield make
    for process in made:
        process.process.kill()
        process.process.wait()


@pytest.fixture
def environment(servers: Servers, database_url: str) -> dict[str, str]:
    return {**servers.environment, "MONGODB_URL": database_url}


def test_the_server_starts_serves_and_stops_on_sigterm(
    start: Callable[..., Process], environment: dict[str, str], database_url: str
) -> None:
    process = start(environment)
    process.wait_until(lambda: process.health() == "SERVING")
    with grpc.insecure_channel(f"{HOST}:{process.port}") as channel:
        stub = SchedulerServiceStub(channel)
        assert len(stub.ListScheduledJobs(pb.ListScheduledJobsRequest()).jobs) == 5
        job = stub.CreateScheduledJob(a_request()).job
        execution = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job.job_id)).execution
        request = pb.GetExecutionRequest(execution_id=execution.execution_id)
        queued = pb.Execution.STATE_QUEUED
        process.wait_until(lambda: stub.GetExecution(request).execution.state == queued)
        statistics: Any = StatisticsServiceStub(channel)
        process.wait_until(lambda: bool(statistics.ListWorkers(statistics_pb.ListWorkersRequest()).processes))
        (server,) = statistics.ListWorkers(statistics_pb.ListWorkersRequest()).processes
        assert server.name.endswith(f":{process.process.pid}")
        assert (server.kind, server.version) == (statistics_pb.ListWorkersResponse.Process.KIND_SERVER, release())
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0, process.said()
    assert '"action": "server_stopped"' in process.said()
    database = connect(database_url)
    assert database.processes.count_documents({}) == 0
    database.client.close()
    assert "Traceback" not in process.said()


def test_without_a_store_the_server_starts_says_so_and_stops(
    start: Callable[..., Process], environment: dict[str, str]
) -> None:
    process = start(environment, MONGODB_URL=f"mongodb://user:secret@{HOST}:{free_port()}/none")
    process.wait_until(lambda: process.health() == "NOT_SERVING")
    process.wait_until(lambda: "store_not_prepared" in process.said())
    process.process.send_signal(signal.SIGINT)
    assert process.process.wait(60) == 0, process.said()
    assert "secret" not in process.said()


def test_of_calls_among_which_the_server_was_killed_each_is_done_once_when_all_are_repeated(
    start: Callable[..., Process], environment: dict[str, str], database: Database[dict[str, Any]]
) -> None:
    def creation(number: int) -> pb.CreateScheduledJobRequest:
        return a_request(name=f"Made {number}", request_id=f"create-{number}")

    def update(number: int) -> pb.UpdateScheduledJobRequest:
        changed = pb.ScheduledJob(schedule_config=interval(seconds=str(100 + number)))
        return pb.UpdateScheduledJobRequest(job_id="edited", job=changed, request_id=f"update-{number}")

    first = start(environment)
    first.wait_until(lambda: first.health() == "SERVING")
    with grpc.insecure_channel(f"{HOST}:{first.port}") as channel:
        stub = SchedulerServiceStub(channel)
        stub.CreateScheduledJob(a_request(job_id="edited"))
        calls: list[tuple[str, Any]] = [("CreateScheduledJob", creation(number)) for number in range(45)]
        calls[1:31:2] = [("UpdateScheduledJob", update(number)) for number in range(15)]
        futures = [getattr(stub, method).future(request, timeout=60) for method, request in calls]
        some = Semaphore(0)
        for future in futures:
            future.add_done_callback(lambda _: some.release())
        assert all(some.acquire(timeout=60) for _ in range(8))
        first.process.kill()
        answered = [(future.result() if future.exception() is None else None) for future in futures]
    first.process.wait()
    assert None in answered

    second = start(environment)
    second.wait_until(lambda: second.health() == "SERVING")
    with grpc.insecure_channel(f"{HOST}:{second.port}") as channel:
        stub = SchedulerServiceStub(channel)
        for (method, request), before in zip(calls, answered, strict=True):
            again = getattr(stub, method)(request, timeout=60)
            assert before is None or again == before
    made = sorted(job["name"] for job in database.jobs.find({"name": {"$regex": "^Made"}}))
    assert made == sorted(request.name for _, request in calls if isinstance(request, pb.CreateScheduledJobRequest))
    edited = database.jobs.find_one({"_id": "edited"})
    assert edited is not None
    assert edited["edits"] == 1 + 15


@pytest.mark.parametrize("variable", ["GRPC_PORT", "SERVER_METRICS_PORT"])
def test_a_taken_port_is_one_sentence_and_exit_code_1(
    start: Callable[..., Process], environment: dict[str, str], variable: str
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(environment, **{variable: port})
        assert process.process.wait(60) == 1
    assert f"port {port}" in process.said()
    assert "taken" in process.said()
    assert "Traceback" not in process.said()


def test_a_second_server_does_not_share_the_port(start: Callable[..., Process], environment: dict[str, str]) -> None:
    first = start(environment)
    first.wait_until(lambda: first.health() == "SERVING")
    second = start(environment, GRPC_PORT=str(first.port))
    assert second.process.wait(60) == 1
    assert first.health() == "SERVING"


def servers_of(process: Process) -> set[int]:
    """Return the pids of the servers that say they are alive."""
    with grpc.insecure_channel(f"{HOST}:{process.port}") as channel:
        stub: Any = StatisticsServiceStub(channel)
        found = stub.ListWorkers(statistics_pb.ListWorkersRequest()).processes
        return {int(each.name.rpartition(":")[2]) for each in found}


def answered(metrics: str) -> float:
    """Return how many lists of workers a server has answered, as its metrics tell."""
    with urlopen(metrics, timeout=60) as page:
        lines = page.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("scheduler_server_requests_total") and "ListWorkers" in line
    )


def test_processes_share_a_port_and_stop_together_on_sigterm(
    start: Callable[..., Process], environment: dict[str, str], database: Database[dict[str, Any]]
) -> None:
    port = free_port()
    two, three = (servers_serving(port, environment["MONGODB_URL"], count) for count in (2, 3))
    process = start(environment, SERVER_PROCESSES="2", GRPC_PORT=str(port))
    process.wait_until(two)
    assert not three()
    assert len(servers_of(process)) == 2
    assert process.process.pid not in servers_of(process)
    said = [json.loads(line) for line in process.said().splitlines()]
    pages = {line["address"] for line in said if line["action"] == "metrics_serving"}
    assert len(pages) == 2
    assert sorted(line["process_number"] for line in said if line["action"] == "server_started") == [1, 2]
    # Each asks over a connection of its own, and the kernel chooses.
    process.wait_until(lambda: bool(servers_of(process)) and all(map(answered, pages)))
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0, process.said()
    assert process.said().count('"action": "server_stopped"') == 2
    assert database.processes.count_documents({}) == 0
    check(HOST, process.port)


def test_a_process_that_dies_takes_the_others_with_it(
    start: Callable[..., Process], environment: dict[str, str]
) -> None:
    process = start(environment, SERVER_PROCESSES="2")
    process.wait_until(lambda: process.health() == "SERVING" and len(servers_of(process)) == 2)
    os.kill(min(servers_of(process)), signal.SIGKILL)
    assert process.process.wait(60) == 1
    assert '"action": "server_process_died"' in process.said()
    assert process.said().count('"action": "server_stopped"') == 1
    check(HOST, process.port)


def test_a_process_that_hangs_does_not_keep_the_others_from_ending(
    start: Callable[..., Process], environment: dict[str, str]
) -> None:
    process = start(environment, SERVER_PROCESSES="2", SHUTDOWN_GRACE="0.1")
    process.wait_until(lambda: process.health() == "SERVING" and len(servers_of(process)) == 2)
    os.kill(min(servers_of(process)), signal.SIGSTOP)
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 1
    assert process.said().count('"action": "server_process_killed"') == 1
    assert process.said().count('"action": "server_stopped"') == 1
    check(HOST, process.port)


def test_servers_whose_starter_was_killed_stop(
    start: Callable[..., Process], environment: dict[str, str], database: Database[dict[str, Any]]
) -> None:
    process = start(environment, SERVER_PROCESSES="2")
    process.wait_until(lambda: process.health() == "SERVING" and len(servers_of(process)) == 2)
    process.process.kill()
    process.process.wait()
    deadline = time.monotonic() + 60
    while process.said().count('"action": "server_stopped"') < 2:
        assert time.monotonic() < deadline, process.said()
        time.sleep(0.05)
    assert database.processes.count_documents({}) == 0
    check(HOST, process.port)


@pytest.mark.parametrize(("first", "second"), [("1", "2"), ("2", "1"), ("2", "2")])
def test_processes_share_a_port_with_no_other_server(
    start: Callable[..., Process], environment: dict[str, str], first: str, second: str
) -> None:
    holder = start(environment, SERVER_PROCESSES=first)
    holder.wait_until(lambda: holder.health() == "SERVING")
    late = start(environment, GRPC_PORT=str(holder.port), SERVER_PROCESSES=second)
    deadline = time.monotonic() + 60
    while late.process.poll() is None:
        assert '"action": "server_started"' not in late.said()
        assert time.monotonic() < deadline, late.said()
        time.sleep(0.05)
    assert late.process.returncode == 1
    assert f"port {holder.port} on {HOST} is taken" in late.said()
    assert "Traceback" not in late.said()
    assert holder.health() == "SERVING"


def test_wrong_preconfigured_jobs_stop_the_start_with_a_sentence(
    start: Callable[..., Process], environment: dict[str, str], tmp_path: Path
) -> None:
    for name in ("queues.yaml", "targets.yaml"):
        (tmp_path / name).write_text((ROOT / "config" / name).read_text())
    (tmp_path / "jobs.yaml").write_text("jobs:\n  - {job_id: mine, name: Mine}\n")
    process = start(environment, CONFIG_DIR=str(tmp_path))
    assert process.process.wait(60) == 1
    assert "jobs.yaml: mine.schedule_config: line 2: a schedule is required" in process.said()
    assert "Traceback" not in process.said()


def test_a_wrong_calendar_stops_the_start_with_a_sentence(
    start: Callable[..., Process], environment: dict[str, str], tmp_path: Path
) -> None:
    copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config" / "calendars" / "ours.yaml").write_text("- 2030-02-30\n")
    process = start(environment, CONFIG_DIR=str(tmp_path / "config"))
    assert process.process.wait(60) == 1
    assert "ours.yaml: ours: '2030-02-30' is neither a date (2030-12-25)" in process.said()
    assert "Traceback" not in process.said()


def test_a_second_signal_ends_the_process_at_once(start: Callable[..., Process], environment: dict[str, str]) -> None:
    with socket.create_server((HOST, 0)) as silent:
        target = f"{HOST}:{silent.getsockname()[1]}"
        process = start(environment, SHUTDOWN_GRACE="600", SCRAPER_SERVICE_URL=target)
        process.wait_until(lambda: process.health() == "SERVING")
        with grpc.insecure_channel(f"{HOST}:{process.port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            request = maintenance_pb.HealthCheckServicesRequest(timeout=Duration(seconds=60))
            waiting = MaintenanceServiceStub(channel).HealthCheckServices.future(request)
            silent.accept()[0].close()  # the call is in progress: it asks this target
            process.process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            process.process.send_signal(signal.SIGTERM)
            assert process.process.wait(60) == -signal.SIGTERM
            waiting.cancel()
