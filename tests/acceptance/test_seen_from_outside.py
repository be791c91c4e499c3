"""What operators see: one story in the logs, metrics, Flower, Celery's inspect, RabbitMQ's queues."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
from celery.result import AsyncResult
from google.protobuf.duration_pb2 import Duration
from prometheus_client.parser import text_string_to_metric_families

from dev.run import ROOT
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.proto import scheduler_service_pb2 as pb
from shared.settings import Settings
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until
from tests.acceptance.test_main_job import State, ended, refused
from tests.builders import manage

if TYPE_CHECKING:
    from celery import Celery

    from dev.servers import Servers
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def celery_app(running: System) -> Celery:
    settings = Settings(
        celery_broker_url=running.environment["CELERY_BROKER_URL"],
        celery_result_backend=running.environment["CELERY_RESULT_BACKEND"],
    )
    return make_app(settings, load_queues(settings.config_dir))


def http_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def metric(running: System, variable: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    url = f"http://127.0.0.1:{running.environment[variable]}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    assert samples, f"{name} is not served at {url}"
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def told_of(running: System, trace: str, actions: set[str]) -> list[dict[str, Any]]:
    """Return the lines that a trace has in all logs, once all of these actions are among them."""
    lines = [json.loads(line) for line in running.logs().splitlines() if trace in line]
    return lines if actions <= {line["action"] for line in lines} else []


def test_one_grep_for_the_trace_id_tells_an_executions_whole_story(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    response = stub.ExecuteJobNow(
        pb.ExecuteJobRequest(job_id=label), metadata=(("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
    )
    execution = ended(stub, response.execution_id)
    assert execution.trace_id == TRACE
    (call,) = recorder.calls(label)
    assert call.metadata["traceparent"].split("-")[1] == TRACE

    story = ("execution_queued", "attempt_started", "attempt_ended")
    # Each says its part when it has done it: the server that it sent the message, maybe after the worker has ended.
    lines = wait_until(lambda: told_of(running, TRACE, set(story)), "the whole story is in the logs")
    # Beat's are among them where the server took so long to send the message that beat did, too.
    assert {line["process"] for line in lines} - {"celery-beat"} == {"scheduler-service", "celery-worker"}
    told = {line["action"]: line for line in lines}
    for action in story:
        assert told[action]["execution_id"] == execution.execution_id
        assert told[action]["job_id"] == label
        assert told[action]["attempt"] == 1


def test_a_scheduled_executions_story_goes_from_beat_to_worker(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 1)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))
    execution_id = recorder.calls(label)[0].metadata["x-execution-id"]
    execution = ended(stub, execution_id)
    story = {"occurrence_fired", "execution_queued", "attempt_started"}
    lines = wait_until(lambda: told_of(running, execution.trace_id, story), "the whole story is in the logs")
    actions = [(line["process"], line["action"]) for line in lines]
    assert ("celery-beat", "occurrence_fired") in actions
    assert ("celery-beat", "execution_queued") in actions
    assert ("celery-worker", "attempt_started") in actions


def test_no_password_is_in_any_log(running: System):
    assert "guest:guest" not in running.logs()


def test_metrics_count_what_was_done(running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str):
    def ended_attempts() -> float:
        return metric(
            running, "WORKER_METRICS_PORT", "scheduler_worker_attempts_total", target="recorder", outcome="SUCCEEDED"
        )

    def fires() -> float:
        return metric(running, "BEAT_METRICS_PORT", "scheduler_beat_lateness_seconds_count")

    method = "/scheduler.v1.SchedulerService/GetScheduledJob"
    before = ended_attempts(), fires()
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 2)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))
    assert refused(lambda: stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=label)))[0] is (
        grpc.StatusCode.NOT_FOUND
    )
    wait_until(lambda: ended_attempts() >= before[0] + 2, "the worker has counted two attempts")
    wait_until(lambda: fires() >= before[1] + 2, "beat has counted two fires")
    assert (
        metric(running, "SERVER_METRICS_PORT", "scheduler_server_requests_total", method=method, code="NOT_FOUND") >= 1
    )
    assert metric(running, "BEAT_METRICS_PORT", "scheduler_beat_partitions") == 64


def test_flower_shows_executions_under_the_jobs_name_with_their_real_outcome(
    running: System, stub: SchedulerServiceStub, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    stub.CreateScheduledJob(
        recording_job(f"{label}-bad", {"hours": "1"}, parameters={"fail_code": "PERMISSION_DENIED"})
    )
    outcomes = {
        ended(stub, stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id)).execution_id).execution_id: expected
        for job_id, expected in {label: "SUCCESS", f"{label}-bad": "FAILURE"}.items()
    }
    url = f"http://127.0.0.1:{running.environment['FLOWER_PORT']}/api/tasks"

    def shown() -> dict[str, Any]:
        tasks = http_json(url)
        found = {key: tasks[key] for key in outcomes if key in tasks}
        return found if all(t["state"] in {"SUCCESS", "FAILURE"} for t in found.values()) and len(found) == 2 else {}

    tasks = wait_until(shown, "Flower shows both executions as ended")
    assert {key: task["state"] for key, task in tasks.items()} == outcomes
    assert {task["name"] for task in tasks.values()} == {f"Job {label}", f"Job {label}-bad"}


def test_celery_knows_the_results_by_the_execution_id(running: System, stub: SchedulerServiceStub, label: str):
    app = celery_app(running)
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    execution_id = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id
    assert AsyncResult(execution_id, app=app).get(timeout=60) == {"label": label, "calls": 1}


def test_celerys_inspect_finds_the_worker_and_what_it_runs(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}, parameters={"hold": True}))
    execution_id = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id
    recorder.wait_for_calls(label, 1)
    worker = stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution.worker
    # Of one that is named, Celery waits for the answer and no longer.
    ask = [sys.executable, "-m", "celery", "-A", "worker.app", "inspect", "--destination", worker, "--timeout", "30"]
    said = {
        command: subprocess.run(
            [*ask, command],
            env=running.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for command in ("ping", "active", "registered")
    }
    recorder.release(label)
    assert "pong" in said["ping"]
    assert execution_id in said["active"]
    assert "scheduler.run_execution" in said["registered"]


def test_rabbitmqs_management_shows_the_queues_as_configured(running: System, servers: Servers):
    virtual_host = running.environment["CELERY_BROKER_URL"].rpartition("/")[2]
    queues = {queue["name"]: queue for queue in manage(servers.rabbitmq, "GET", f"queues/{virtual_host}")}
    for name in ("scraping", "analysis", "monitoring", "maintenance", "manual", "default_queue"):
        assert queues[name]["durable"]
        assert queues[name]["type"] == "classic"
        assert queues[name]["arguments"] == {
            "x-queue-type": "classic", "x-max-priority": 9, "x-dead-letter-exchange": "dead_letter"
        }  # fmt: skip
    assert queues["dead_letter"]["durable"]
    assert queues["dead_letter"]["type"] == "classic"


def test_what_failed_for_good_is_copied_to_the_dead_letter_queue(
    running: System, stub: SchedulerServiceStub, label: str
):
    stub.CreateScheduledJob(
        recording_job(
            label,
            {"hours": "1"},
            parameters={"fail_code": "UNAVAILABLE"},
            retry_policy=pb.RetryPolicy(max_attempts=2, initial_backoff=Duration(nanos=1000)),
        )
    )
    execution_id = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id
    assert ended(stub, execution_id).state == State.STATE_FAILED
    with celery_app(running).connection_for_read() as connection:
        channel: Any = connection.default_channel

        def letter() -> Any:
            message = channel.basic_get("dead_letter", no_ack=True)
            return message if message and message.headers["x-execution-id"] == execution_id else None

        found = wait_until(letter, "the dead letter has arrived")
    assert found.headers["x-job-id"] == label
    assert found.headers["x-attempts"] == "2"
    assert found.headers["x-error-code"] == "UNAVAILABLE"
    assert json.loads(found.body)["parameters"]["label"] == label
