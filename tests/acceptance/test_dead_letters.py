"""What a real worker could not do is in the list and in the queue, until the command line has decided about it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from kombu import Connection

from dev.run import ROOT
from shared.messaging.queues import DEAD_LETTER
from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until
from tests.acceptance.test_main_job import FAST_RETRY, first_run, soon

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System


def schedctl(running: System, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "cli", "dead-letters", *arguments, "--json", "--server", running.address]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    return [json.loads(line) for line in said.stdout.splitlines()]


def copies(running: System, job_id: str) -> list[dict[str, str]]:
    """Return the headers of a job's copies in the queue, and leave it as it is."""
    found = []
    with Connection(running.environment["CELERY_BROKER_URL"]) as connection:
        channel: Any = connection.default_channel
        while (message := channel.basic_get(DEAD_LETTER)) is not None:
            if message.headers and message.headers.get("x-job-id") == job_id:
                found.append(dict(message.headers))
    return found


def test_what_failed_for_good_is_retried_and_discarded_from_the_command_line(
    stub: SchedulerServiceStub, running: System, recorder: Recorder, label: str
):
    failing = {"fail_code": "RESOURCE_EXHAUSTED", "fail_times": 4}
    stub.CreateScheduledJob(recording_job(label, soon(1), parameters=failing, retry_policy=FAST_RETRY))
    dead = first_run(stub, label)
    assert (dead.state, dead.attempt) == (pb.Execution.STATE_FAILED, 3)

    (line,) = schedctl(running, "list", "--job", label)
    letter = line["dead_letter"]
    assert (letter["execution_id"], letter["attempt"]) == (dead.execution_id, 3)
    assert letter["error"]["code"] == "RESOURCE_EXHAUSTED"
    (headers,) = wait_until(lambda: copies(running, label), "its copy is in the queue")
    assert headers == {
        "x-execution-id": dead.execution_id,
        "x-job-id": label,
        "x-attempts": "3",
        "x-error-code": "RESOURCE_EXHAUSTED",
        "x-error-message": "failed on purpose, call 3",
    }

    # The fourth call fails once more, the fifth does not.
    (line,) = schedctl(running, "retry", dead.execution_id)
    retry = line["retry"]["retry_execution_id"]
    ended = wait_until(lambda: _ended(stub, retry), "the retry has ended")
    assert (ended.state, ended.attempt, ended.retry_of) == (pb.Execution.STATE_SUCCEEDED, 2, dead.execution_id)
    assert len(recorder.calls(label)) == 5
    assert schedctl(running, "list", "--job", label) == []
    wait_until(lambda: not copies(running, label), "its copy is gone")


def test_a_dead_letter_that_is_discarded_stays_a_failure_and_is_gone_from_the_queue(
    stub: SchedulerServiceStub, running: System, label: str
):
    failing = {"fail_code": "PERMISSION_DENIED"}
    stub.CreateScheduledJob(recording_job(label, soon(1), parameters=failing))
    dead = first_run(stub, label)
    wait_until(lambda: copies(running, label), "its copy is in the queue")
    (line,) = schedctl(running, "discard", "--all", "--job", label, "--yes", "--reason", "tried out")
    assert line["discarded"]["execution_id"] == dead.execution_id
    wait_until(lambda: not copies(running, label), "its copy is gone")
    after = stub.GetExecution(pb.GetExecutionRequest(execution_id=dead.execution_id)).execution
    assert after.state == pb.Execution.STATE_FAILED


def _ended(stub: SchedulerServiceStub, execution_id: str) -> pb.Execution | None:
    execution = stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution
    return execution if execution.HasField("finished_at") else None
