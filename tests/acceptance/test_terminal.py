"""The README's commands run as they stand there, and every method can be called by reflection alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dev.run import ROOT
from tests.acceptance.system import wait_until
from tests.acceptance.test_main_job import refused

if TYPE_CHECKING:
    from tests.acceptance.system import System

GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
STANDARD_ADDRESS = "localhost:50054"
BUILDING = 900
"""Seconds in which also a busy machine has fetched and compiled grpcurl, or a client."""


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """grpcurl, installed by Go if it is not there; without Go these tests say that they could not run."""
    if found := shutil.which("grpcurl"):
        return Path(found)
    installed = ROOT / ".local" / "bin" / "grpcurl"
    if not installed.exists():
        if not shutil.which("go"):
            pytest.skip("neither grpcurl nor Go is installed; what reflection can call is called by another test")
        installed.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(installed.parent)}
        subprocess.run(["go", "install", GRPCURL], env=environment, check=True, timeout=BUILDING - 60)
    return installed


def commands_of(page: str, kind: str = "sh") -> list[str]:
    """Return a page's fenced blocks of a kind that call grpcurl, as they stand."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "grpcurl -plaintext" in block]


def run(command: str, grpcurl: Path, running: System) -> subprocess.CompletedProcess[str]:
    assert STANDARD_ADDRESS in command
    return subprocess.run(
        ["bash", "-c", command.replace(STANDARD_ADDRESS, running.address)],
        env={**running.environment, "PATH": f"{grpcurl.parent}:{running.environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(BUILDING)
def test_the_readmes_commands_run_in_their_order(running: System, grpcurl: Path):
    commands = commands_of("README.md")
    assert len(commands) >= 10
    for command in commands:
        answer = run(command, grpcurl, running)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
        assert answer.stdout.strip(), command


@pytest.mark.timeout(BUILDING)
def test_the_readmes_example_of_a_refusal_is_what_is_answered(running: System, grpcurl: Path):
    (example,) = [block for block in commands_of("README.md", "console") if "ERROR:" in block]
    command, _, expected = example.removeprefix("$ ").partition("\n")
    answer = run(command, grpcurl, running)
    assert answer.returncode != 0
    assert (answer.stdout + answer.stderr).startswith(expected.rstrip())


@pytest.mark.timeout(BUILDING)
def test_the_commands_about_operations_are_answered(running: System, grpcurl: Path):
    commands = commands_of("docs/operations.md")
    assert commands
    for command in commands:
        answer = run(command, grpcurl, running)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"


@pytest.mark.timeout(BUILDING)
def test_the_commands_about_fan_outs_and_workflows_run_and_both_succeed(running: System, grpcurl: Path):
    for command in commands_of("docs/flows.md"):
        answer = run(command, grpcurl, running)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
    with grpc.insecure_channel(running.address) as channel:
        client = Reflected(channel)
        for job_id, parts in {"prices-by-shop": 3, "scrape-then-analyse": 3}.items():
            (whole,) = wait_until(partial(ended, client, job_id), f"{job_id} has ended", timeout=60)
            assert whole["state"] == "STATE_SUCCEEDED", whole
            assert whole["parts"] == {"total": str(parts), "states": {"SUCCEEDED": str(parts)}}


@pytest.mark.timeout(BUILDING)
def test_the_commands_about_watching_run_and_tell_something(running: System, grpcurl: Path):
    answers = [run(command, grpcurl, running).stdout for command in commands_of("docs/watching.md")]
    assert [answer.count("{") > 0 for answer in answers] == [True, True, True]
    assert "STATE_SUCCEEDED" in answers[0]
    assert "resume_token" in answers[1]
    assert '"initial": true' in answers[2]


@pytest.mark.timeout(BUILDING)
def test_the_commands_about_backfills_run_and_all_of_its_times_do(running: System, grpcurl: Path):
    *commands, clean_up = commands_of("docs/backfill.md")
    for command in commands:
        answer = run(command, grpcurl, running)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
        assert answer.stdout.strip(), command
    with grpc.insecure_channel(running.address) as channel:
        client = Reflected(channel)

        def completed() -> list[dict[str, Any]]:
            found = client.call("scheduler.v1.PlanningService", "ListBackfills", {"job_id": "backfilled"})
            return [each for each in found["backfills"] if each["state"] == "STATE_COMPLETED"]

        (backfill,) = wait_until(completed, "the backfill has ended", timeout=60)
    assert backfill["states"] == {"SUCCEEDED": backfill["total"]}
    answer = run(clean_up, grpcurl, running)
    assert answer.returncode == 0, f"{clean_up}\n{answer.stdout}{answer.stderr}"


def ended(client: Reflected, job_id: str) -> list[dict[str, Any]]:
    """Return the runs of a job by hand that have ended."""
    found = client.call("scheduler.v1.SchedulerService", "ListExecutions", {"job_id": job_id}).get("executions", [])
    done = ("STATE_SUCCEEDED", "STATE_FAILED", "STATE_CANCELLED")
    return [each for each in found if each["trigger"] == "TRIGGER_MANUAL" and each["state"] in done]


class Reflected:
    """A client that knows nothing but the address."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = descriptor_pool.DescriptorPool(self._database)

    def services(self) -> set[str]:
        return set(self._database.get_services())

    def methods(self, service: str) -> set[str]:
        return set(self._pool.FindServiceByName(service).methods_by_name)

    def call(self, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        described = self._pool.FindServiceByName(service).methods_by_name[method]
        asked, answered = (message_factory.GetMessageClass(t) for t in (described.input_type, described.output_type))
        message = json_format.ParseDict(request, asked(), descriptor_pool=self._pool)
        unary = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        return json_format.MessageToDict(
            unary(message, timeout=20), preserving_proto_field_name=True, descriptor_pool=self._pool
        )


def is_cancelled(client: Reflected, service: str, by_execution: dict[str, str]) -> bool:
    execution = client.call(service, "GetExecution", by_execution)["execution"]
    return bool(execution["state"] == "STATE_CANCELLED")


def test_the_methods_of_a_jobs_life_can_be_called_by_reflection(running: System, label: str):
    service = "scheduler.v1.SchedulerService"
    job = {
        "job_id": label,
        "name": "By reflection",
        "job_type": "CUSTOM",
        "target_service": "recorder",
        "target_method": "recorder.v1.Recorder/Record",
        "parameters": {"label": label, "hold": True},
        "schedule_config": {"type": "cron", "config": {"expression": "0 8 * * MON-FRI"}, "timezone": "Europe/Berlin"},
        "labels": {"team": "pricing"},
    }
    with grpc.insecure_channel(running.address) as channel:
        client = Reflected(channel)
        names = ("Maintenance", "Admin", "Planning", "Target", "Statistics")
        others = {f"scheduler.v1.{name}Service" for name in names}
        assert client.services() >= {service, *others, "grpc.health.v1.Health"}
        by_id, by_execution = {"job_id": label}, {"execution_id": ""}
        requests: dict[str, dict[str, Any]] = {
            "CreateScheduledJob": job,
            "GetScheduledJob": by_id,
            "ListScheduledJobs": {"page_size": 10},
            "UpdateScheduledJob": by_id | {"job": {"description": "changed"}, "update_mask": "description"},
            "PauseScheduledJob": by_id,
            "ResumeScheduledJob": by_id,
            "ExecuteJobNow": by_id,
            "GetJobStatus": by_id,
            "CancelExecution": by_execution,
            "GetExecution": by_execution,
            "RetryExecution": by_execution,
            "ListExecutions": by_id,
            "DeleteScheduledJob": by_id | {"cancel_running": True},
        }
        assert client.methods(service) >= set(requests)
        answers = {}
        for method, request in requests.items():
            if method == "RetryExecution":
                wait_until(partial(is_cancelled, client, service, by_execution), "the execution is cancelled")
            answers[method] = client.call(service, method, request)
            if method == "ExecuteJobNow":
                by_execution["execution_id"] = answers[method]["execution_id"]
    assert answers["UpdateScheduledJob"]["job"]["description"] == "changed"
    assert len(answers["GetJobStatus"]["next_fire_times"]) == 5
    assert answers["GetExecution"]["execution"]["job_id"] == label
    assert answers["DeleteScheduledJob"]["job"]["state"] == "STATE_DELETED"


def test_every_service_is_healthy_and_an_unknown_one_is_not_found(running: System):
    with grpc.insecure_channel(running.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "scheduler.v1.SchedulerService", "scheduler.v1.MaintenanceService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        code, _ = refused(lambda: health.Check(health_pb2.HealthCheckRequest(service="nobody")))
        assert code is grpc.StatusCode.NOT_FOUND
