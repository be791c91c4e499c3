"""The platforms of examples/ on a running system of their own: as they are, but for their schedules and waits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import yaml

from dev.run import ROOT
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from tests.acceptance.conftest import audit
from tests.acceptance.system import System, wait_until
from tests.acceptance.test_terminal import STANDARD_ADDRESS
from tests.builders import own_vhost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dev.servers import Servers

State = pb.Execution.State
ENDED = {State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_CANCELLED}


class Example:
    """A platform that runs."""

    def __init__(self, name: str, system: System, channel: grpc.Channel) -> None:
        self.name = name
        self.system = system
        self.stub = SchedulerServiceStub(channel)

    def run(self, job_id: str, queue: str = "", request_id: str = "") -> str:
        """Execute a job now; return the execution's id."""
        request = pb.ExecuteJobRequest(job_id=job_id, queue=queue, request_id=request_id)
        return self.stub.ExecuteJobNow(request).execution_id

    def get(self, execution_id: str) -> pb.Execution:
        return self.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution

    def ended(self, execution_id: str, timeout: float = 60) -> pb.Execution:
        def found() -> pb.Execution | None:
            execution = self.get(execution_id)
            return execution if execution.state in ENDED else None

        return wait_until(found, f"{execution_id} has ended", timeout)

    def list(self, **fields: Any) -> list[pb.Execution]:
        return list(self.stub.ListExecutions(pb.ListExecutionsRequest(page_size=1000, **fields)).executions)

    def parts(self, execution_id: str) -> dict[str, pb.Execution]:
        """Return the parts of an execution by their keys; those that have none by their names."""
        return {part.part_key or part.part_name: part for part in self.list(parent_execution_id=execution_id)}

    def fired(self, job_id: str) -> pb.Execution:
        """Wait until an execution that the schedule made has ended, and return it."""

        def found() -> pb.Execution | None:
            scheduled = [each for each in self.list(job_id=job_id) if each.trigger == pb.Execution.TRIGGER_SCHEDULE]
            return next((each for each in scheduled if each.state in ENDED), None)

        return wait_until(found, f"{job_id} has fired, and ended", 60)

    def python(self, code: str) -> str:
        """Run code in a process of its own, as a user would in another terminal; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=self.system.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        return done.stdout.strip()

    def readme(self, grpcurl: Path) -> dict[str, str]:
        """Run the commands of the README in their order; return what each has printed."""
        text = (ROOT / "examples" / self.name / "README.md").read_text()
        said = {}
        for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if kind == "python":
                said[block] = self.python(block)
                continue
            answer = subprocess.run(
                ["bash", "-c", block.replace(STANDARD_ADDRESS, self.system.address)],
                cwd=ROOT,
                env={**self.system.environment, "PATH": f"{grpcurl.parent}:{self.system.environment['PATH']}"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert answer.returncode == 0, f"{block}\n{answer.stdout}{answer.stderr}"
            said[block] = answer.stdout.strip()
        return said


@contextmanager
def platform(
    name: str, folder: Path, servers: Servers, sooner: Mapping[str, float], **environment: str
) -> Iterator[Example]:
    """Run a platform of examples/ with server, worker and beat of its own.

    sooner: for each of its jobs, the seconds from one fire to the next, instead of its schedule. Waits before retries
    are a hundredth of what the file says.
    """
    config = folder / "config"
    shutil.copytree(ROOT / "examples" / name, config)
    # By way of JSON, so that what YAML has once, and names again, is there as often as it is named.
    document = json.loads(json.dumps(yaml.safe_load((config / "jobs.yaml").read_text())))
    assert {job["job_id"] for job in document["jobs"]} == set(sooner)
    for job in document["jobs"]:
        job["schedule_config"] = {"type": "interval", "config": {"every": f"{sooner[job['job_id']]:g}s"}}
        _hurry(job)
    (config / "jobs.yaml").write_text(yaml.safe_dump(document))
    database = f"{name}_{uuid4().hex[:8]}"
    system = System(
        folder,
        {
            **servers.environment,
            "MONGODB_URL": servers.mongodb.url.replace("/scheduler", f"/{database}"),
            "CELERY_BROKER_URL": own_vhost(servers.rabbitmq),
            "CONFIG_DIR": str(config),
            "TASK_MODULES": f"examples.{name}.tasks",
            "LOG_FORMAT": "json",
            "EXECUTION_LEASE": "3",
            "PARTITION_LEASE": "1",
            **environment,
        },
        names=("scheduler-service", "celery-worker", "celery-beat"),
    )
    try:
        system.start()
        with grpc.insecure_channel(system.address) as channel:
            yield Example(name, system, channel)
        # Whatever the tests did, kills included, each occurrence of each job was decided once.
        code, findings, _ = audit(system)
        assert (code, findings) == (0, [])
    finally:
        system.stop()


def _hurry(entry: Any) -> None:
    """Shorten the waits of all retry policies in an entry."""
    match entry:
        case dict():
            for key, value in entry.items():
                if key in {"initial_backoff", "max_backoff"}:
                    entry[key] = f"{float(value.removesuffix('s')) / 100:g}s"
                else:
                    _hurry(value)
        case list():
            for value in entry:
                _hurry(value)
