"""One running system for all acceptance tests; they share it, so each names its jobs and calls by itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest

from dev.run import ROOT
from dev.servers import Servers, private_servers
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import scheduler_service_pb2_grpc as pb_grpc
from tests.acceptance.recorder import Recorder
from tests.acceptance.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this system's own: its queues must not be another test's."""
    with private_servers(tmp_path_factory.mktemp("acceptance-servers")) as running:
        yield running


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, own_servers: Servers, recorder: Recorder) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("acceptance")
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    with (config / "targets.yaml").open("a") as targets:
        targets.write(f"  recorder:\n    address: localhost:{recorder.port}\n")
    system = System(
        folder,
        {
            **own_servers.environment,
            "CONFIG_DIR": str(config),
            "LOG_FORMAT": "json",
            # Short, so that the tests see what happens when a process falls silent.
            "EXECUTION_LEASE": "3",
            "PARTITION_LEASE": "1",
            "FLOWER_UNAUTHENTICATED_API": "true",
        },
    )
    try:
        system.start()
        yield system
    finally:
        system.stop()


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
