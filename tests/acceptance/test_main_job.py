"""A job created over gRPC fires on time, is called on a real target by a worker, and its outcome can be read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder

State = pb.Execution.State
ENDED = {State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_CANCELLED}
FAST_RETRY = pb.RetryPolicy(max_attempts=3, initial_backoff=Duration(nanos=200_000_000), multiplier=1)


def soon(seconds: float) -> dict[str, str]:
    """A schedule that fires once, that many seconds from now."""
    return {"at": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")}


def runs(stub: SchedulerServiceStub, job_id: str) -> list[pb.Execution]:
    return list(stub.ListExecutions(pb.ListExecutionsRequest(job_id=job_id)).executions)


def ended(stub: SchedulerServiceStub, execution_id: str) -> pb.Execution:
    """Wait for the end of an execution, and return it."""

    def look() -> pb.Execution | None:
        execution = stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution
        return execution if execution.state in ENDED else None

    return wait_until(look, f"{execution_id} has ended")


def first_run(stub: SchedulerServiceStub, job_id: str) -> pb.Execution:
    (execution,) = wait_until(lambda: runs(stub, job_id), f"{job_id} has fired")
    return ended(stub, execution.execution_id)


def states(execution: pb.Execution) -> list[str]:
    return [State.Name(t.state).removeprefix("STATE_") for t in execution.transitions]


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details() or ""


def test_a_job_fires_on_time_is_called_once_and_its_outcome_can_be_read(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    schedule = soon(2)
    created = stub.CreateScheduledJob(recording_job(label, schedule))
    assert created.job_id == label
    assert created.job.state == pb.ScheduledJob.STATE_ACTIVE

    execution = first_run(stub, label)
    assert execution.state == State.STATE_SUCCEEDED
    assert dict(execution.result) == {"label": label, "calls": 1}
    assert execution.trigger == pb.Execution.TRIGGER_SCHEDULE
    assert execution.nominal_time.ToDatetime(UTC) == datetime.fromisoformat(schedule["at"])
    assert execution.started_at.ToDatetime() >= execution.nominal_time.ToDatetime()
    assert [t.number for t in execution.transitions] == list(range(1, len(execution.transitions) + 1))
    assert states(execution)[0] == "PENDING"
    assert states(execution)[-2:] == ["RUNNING", "SUCCEEDED"]

    (call,) = recorder.calls(label)
    assert call.metadata["x-execution-id"] == execution.execution_id
    assert call.metadata["x-job-id"] == label
    assert call.metadata["x-attempt"] == "1"
    assert datetime.fromisoformat(call.metadata["x-nominal-time"]) == execution.nominal_time.ToDatetime(UTC)
    assert call.metadata["traceparent"].split("-")[1] == execution.trace_id
    assert call.seconds_allowed == pytest.approx(1800, abs=60)

    status = stub.GetJobStatus(pb.GetJobStatusRequest(job_id=label))
    assert status.job.state == pb.ScheduledJob.STATE_COMPLETED
    assert status.last_execution.execution_id == execution.execution_id
    assert dict(status.counts) == {"SUCCEEDED": 1}
    assert list(status.next_fire_times) == []
    assert status.window.ToTimedelta() == timedelta(days=30)


def test_an_interval_fires_again_and_again_on_its_own_grid(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 3)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))
    executions = {call.metadata["x-execution-id"] for call in recorder.calls(label)}
    assert len(executions) == len(recorder.calls(label)), "an execution was called twice"
    nominal = sorted(datetime.fromisoformat(call.metadata["x-nominal-time"]) for call in recorder.calls(label))
    assert {b - a for a, b in pairwise(nominal)} == {timedelta(seconds=1)}


def test_a_job_can_be_executed_now_also_while_it_is_paused(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    paused = stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=label, reason="testing")).job
    assert paused.state == pb.ScheduledJob.STATE_PAUSED
    request = pb.ExecuteJobRequest(job_id=label, request_id="a request")
    response = stub.ExecuteJobNow(request)
    assert response.execution.queue == "manual"
    assert response.execution.trigger == pb.Execution.TRIGGER_MANUAL
    assert stub.ExecuteJobNow(request).execution_id == response.execution_id
    assert ended(stub, response.execution_id).state == State.STATE_SUCCEEDED
    assert len(recorder.calls(label)) == 1


def test_a_paused_job_does_not_fire_and_a_resumed_one_does(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 1)
    stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=label))
    asked_at = datetime.now(UTC)
    assert list(stub.GetJobStatus(pb.GetJobStatusRequest(job_id=label)).next_fire_times) == []
    # A second job on the same beat shows that two of its seconds have passed.
    stub.CreateScheduledJob(recording_job(f"{label}-clock", {"seconds": "1"}))
    recorder.wait_for_calls(f"{label}-clock", 3)
    late = [
        call
        for call in recorder.calls(label)
        if datetime.fromisoformat(call.metadata["x-nominal-time"]) > asked_at + timedelta(milliseconds=500)
    ]
    assert late == []
    before = len(recorder.calls(label))

    stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=label))
    recorder.wait_for_calls(label, before + 1)
    decisions = stub.ListExecutions(pb.ListExecutionsRequest(job_id=label, include_decisions=True)).executions
    (gap,) = [d for d in decisions if d.state == State.STATE_SKIPPED and "paused" in d.reason]
    assert gap.occurrence_count >= 2
    assert gap.last_time.seconds - gap.first_time.seconds == gap.occurrence_count - 1
    for each in (label, f"{label}-clock"):
        stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=each))


def test_a_deleted_job_is_gone_and_its_id_stays_taken(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 1)
    deleted = stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label)).job
    assert deleted.state == pb.ScheduledJob.STATE_DELETED
    code, text = refused(lambda: stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=label)))
    assert code == grpc.StatusCode.NOT_FOUND
    assert label in text
    assert refused(lambda: stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)))[0] == grpc.StatusCode.NOT_FOUND
    taken, _ = refused(lambda: stub.CreateScheduledJob(recording_job(label, {"seconds": "1"})))
    assert taken == grpc.StatusCode.ALREADY_EXISTS


def test_an_update_takes_effect_in_a_running_beat(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    updated = stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(
            job_id=label,
            job=pb.ScheduledJob(
                schedule_config=pb.ScheduleConfig(type="interval", config={"seconds": "1"}),
                parameters={"label": f"{label}-new"},
            ),
            update_mask=FieldMask(paths=["schedule_config", "parameters"]),
        )
    ).job
    assert updated.name == f"Job {label}"
    recorder.wait_for_calls(f"{label}-new", 2)
    assert recorder.calls(label) == []
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))


def test_a_retryable_failure_is_tried_again_until_it_succeeds(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    failing = {"fail_code": "UNAVAILABLE", "fail_times": 2}
    stub.CreateScheduledJob(recording_job(label, soon(1), parameters=failing, retry_policy=FAST_RETRY))
    execution = first_run(stub, label)
    assert execution.state == State.STATE_SUCCEEDED
    assert (execution.attempt, execution.max_attempts) == (3, 3)
    assert states(execution).count("RUNNING") == 3
    calls = recorder.calls(label)
    assert [call.metadata["x-attempt"] for call in calls] == ["1", "2", "3"]
    assert {call.metadata["x-execution-id"] for call in calls} == {execution.execution_id}


def test_an_execution_fails_after_its_last_attempt(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    failing = {"fail_code": "RESOURCE_EXHAUSTED"}
    stub.CreateScheduledJob(recording_job(label, soon(1), parameters=failing, retry_policy=FAST_RETRY))
    execution = first_run(stub, label)
    assert execution.state == State.STATE_FAILED
    assert (execution.error.code, execution.error.retryable) == ("RESOURCE_EXHAUSTED", True)
    assert execution.error.message == "failed on purpose, call 3"
    assert len(recorder.calls(label)) == 3


def test_a_failure_that_cannot_heal_is_not_tried_again(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    failing = {"fail_code": "PERMISSION_DENIED"}
    stub.CreateScheduledJob(recording_job(label, soon(1), parameters=failing, retry_policy=FAST_RETRY))
    execution = first_run(stub, label)
    assert execution.state == State.STATE_FAILED
    assert (execution.error.code, execution.error.retryable) == ("PERMISSION_DENIED", False)
    assert len(recorder.calls(label)) == 1


def test_a_call_that_takes_too_long_is_ended_by_its_deadline(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(
        recording_job(
            label,
            soon(1),
            parameters={"hold": True},
            timeout=Duration(seconds=1),
            retry_policy=pb.RetryPolicy(max_attempts=1),
        )
    )
    execution = first_run(stub, label)
    assert execution.state == State.STATE_FAILED
    assert (execution.error.code, execution.error.retryable) == ("DEADLINE_EXCEEDED", True)
    (call,) = recorder.calls(label)
    assert call.ended.wait(60)
    assert call.given_up


def test_a_job_whose_previous_run_goes_on_is_skipped_and_says_so(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}, parameters={"hold": True}))
    recorder.wait_for_calls(label, 1)

    def skipped() -> list[pb.Execution]:
        request = pb.ListExecutionsRequest(job_id=label, states=[State.STATE_SKIPPED])
        return list(stub.ListExecutions(request).executions)

    first = wait_until(skipped, "an occurrence is skipped")[-1]
    assert "in flight" in first.reason
    assert len(recorder.calls(label)) == 1
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))
    recorder.release(label)
    (execution,) = [each for each in all_runs(stub) if each.job_id == label]
    assert ended(stub, execution.execution_id).state == State.STATE_SUCCEEDED, "what runs ends, deleted or not"


def all_runs(stub: SchedulerServiceStub) -> list[pb.Execution]:
    return list(stub.ListExecutions(pb.ListExecutionsRequest(page_size=1000)).executions)


def test_every_bad_input_is_refused_with_all_violations_at_once(stub: SchedulerServiceStub):
    request = pb.CreateScheduledJobRequest(
        job_id="Not An Id",
        job_type="CUSTOM",
        target_service="recorder",
        target_method="Record",
        parameters={"label": 3, "unknown": True},
        schedule_config=pb.ScheduleConfig(type="cron", config={"hour": "25", "minute": "0", "weekday": "1"}),
        queue="nowhere",
        priority=12,
    )
    code, text = refused(lambda: stub.CreateScheduledJob(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    for field in (
        "job_id", "name", "parameters.label", "parameters.unknown", "schedule_config.config.hour",
        "schedule_config.config.weekday", "queue", "priority",
    ):  # fmt: skip
        assert f"{field}: " in text


def test_lists_are_paged_and_stable_while_jobs_are_added(stub: SchedulerServiceStub, label: str):
    for number in range(5):
        stub.CreateScheduledJob(recording_job(f"{label}-{number}", {"hours": "1"}))
    page = stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=2))
    seen = [job.job_id for job in page.jobs]
    stub.CreateScheduledJob(recording_job(f"{label}-late", {"hours": "1"}))
    while page.next_page_token:
        page = stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=2, page_token=page.next_page_token))
        seen += [job.job_id for job in page.jobs]
    assert [job_id for job_id in seen if job_id.startswith(label)] == [f"{label}-{n}" for n in (4, 3, 2, 1, 0)]
    assert len(seen) == len(set(seen))


def test_the_preconfigured_jobs_are_there_and_housekeeping_works(stub: SchedulerServiceStub):
    jobs = {job.job_id: job for job in stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=1000)).jobs}
    queues = {
        "daily-competitor-scraping": "scraping",
        "quick-price-check": "scraping",
        "weekly-price-analysis": "analysis",
        "health-check-services": "monitoring",
        "cleanup-old-execution-records": "maintenance",
    }
    assert {name: jobs[name].queue for name in queues} == queues
    results: dict[str, dict[str, Any]] = {}
    for name in queues:
        response = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=name))
        execution = ended(stub, response.execution_id)
        assert execution.state == State.STATE_SUCCEEDED, execution.error
        results[name] = MessageToDict(execution.result)
    assert results["daily-competitor-scraping"]["observation_count"] > 0
    health = results["health-check-services"]
    assert health["all_serving"], health
    assert {s["name"] for s in health["services"]} >= {
        "scraper-service", "pricing-service", "scheduler-service", "mongodb", "rabbitmq", "redis",
    }  # fmt: skip
