"""One running system for all acceptance tests; they share it, so each names its jobs and calls by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest

from dev.run import ROOT
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import scheduler_service_pb2_grpc as pb_grpc
from tests.acceptance.profiler import PROCESSES, Profiler, dear
from tests.acceptance.recorder import Recorder
from tests.acceptance.system import System
from tests.builders import own_vhost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.servers import Servers


@pytest.fixture(scope="session")
def broker_url(servers: Servers) -> str:
    """The broker's part for this system: its queues must not be another test's."""
    return own_vhost(servers.rabbitmq)


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture(scope="session")
def running(
    tmp_path_factory: pytest.TempPathFactory, servers: Servers, broker_url: str, recorder: Recorder
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("acceptance")
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    with (config / "targets.yaml").open("a") as targets:
        targets.write(f"  recorder:\n    address: localhost:{recorder.port}\n")
    system = System(
        folder,
        {
            **servers.environment,
            "CELERY_BROKER_URL": broker_url,
            "CONFIG_DIR": str(config),
            "LOG_FORMAT": "json",
            # Short, so that the tests see what happens when a process falls silent.
            "EXECUTION_LEASE": "3",
            "PARTITION_LEASE": "1",
            "FLOWER_UNAUTHENTICATED_API": "true",
        },
    )
    profiler = Profiler(servers.mongodb.url)
    profiler.start()
    try:
        system.start()
        yield system
        # Whatever the tests did, kills included, each occurrence of each of their jobs was decided once.
        code, findings, _ = audit(system)
        assert (code, findings) == (0, [])
        # And no process has asked the store for anything that no index answers.
        noted = profiler.stop()
        assert {operation["appName"] for operation in noted} == PROCESSES
        assert dear(noted) == []
    finally:
        system.stop()


def audit(system: System, *arguments: str) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Run `schedctl audit`; return its exit code, its findings and its summary."""
    command = [sys.executable, "-m", "cli", "audit", "--json", "--server", system.address, *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert said.stderr == ""
    *findings, summary = (json.loads(line) for line in said.stdout.splitlines())
    return said.returncode, [line["finding"] for line in findings], summary["summary"]


@pytest.fixture
def stub(running: System) -> Iterator[pb_grpc.SchedulerServiceStub]:
    with grpc.insecure_channel(running.address) as channel:
        yield pb_grpc.SchedulerServiceStub(channel)


@pytest.fixture
def label() -> str:
    """What tells this test's calls and jobs from those of others."""
    return f"t-{uuid4().hex[:12]}"


def recording_job(label: str, schedule: dict[str, str], **fields: object) -> pb.CreateScheduledJobRequest:
    """A job that calls the recorder, with its label as id."""
    kind = "once" if "at" in schedule else "cron" if "expression" in schedule else "interval"
    parameters = {"label": label, **fields.pop("parameters", {})}  # type: ignore[dict-item]
    return pb.CreateScheduledJobRequest(
        job_id=label,
        name=f"Job {label}",
        job_type="CUSTOM",
        target_service="recorder",
        target_method="Record",
        parameters=parameters,
        schedule_config=pb.ScheduleConfig(type=kind, config=schedule),
        **fields,  # type: ignore[arg-type]
    )
