"""Policies over gRPC, with real processes: what a job does beside firing on time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder

State = pb.Execution.State


def job(stub: SchedulerServiceStub, label: str) -> pb.ScheduledJob | None:
    """Return a job; None when it is deleted."""
    try:
        return stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=label)).job
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


def executions(stub: SchedulerServiceStub, label: str, *states: State) -> list[pb.Execution]:
    return list(stub.ListExecutions(pb.ListExecutionsRequest(job_id=label, states=states)).executions)


def test_a_job_runs_as_often_as_it_may_also_across_a_pause_and_is_completed(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    request = recording_job(label, {"seconds": "1"})
    request.schedule_config.max_runs = 3
    stub.CreateScheduledJob(request)
    recorder.wait_for_calls(label, 1)
    stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=label))
    stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=label))
    completed = pb.ScheduledJob.STATE_COMPLETED
    wait_until(lambda: (found := job(stub, label)) and found.state == completed, "the job is completed")
    recorder.wait_for_calls(label, 3)
    assert len(executions(stub, label)) == len(recorder.calls(label)) == 3


def test_a_job_may_be_deleted_when_it_is_done(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    request = recording_job(label, {"seconds": "1"}, policies=pb.Policies(delete_after_done=True))
    request.schedule_config.max_runs = 2
    stub.CreateScheduledJob(request)
    wait_until(lambda: job(stub, label) is None, "the job is deleted")
    assert len(recorder.calls(label)) == 2


def test_a_job_that_fails_again_and_again_is_paused_and_says_why(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    policies = pb.Policies(pause_on_failure=2)
    stub.CreateScheduledJob(
        recording_job(label, {"seconds": "1"}, policies=policies, parameters={"fail_code": "INTERNAL", "fail_times": 9})
    )
    paused = pb.ScheduledJob.STATE_PAUSED
    wait_until(lambda: (found := job(stub, label)) and found.state == paused, "the job is paused")
    found = job(stub, label)
    assert found
    assert "2 executions in a row failed" in found.status_message
    assert len(recorder.calls(label)) >= 2


@pytest.mark.parametrize("overlap", ["OVERLAP_BUFFER_ONE", "OVERLAP_CANCEL_PREVIOUS"])
def test_what_is_held_starts_when_the_one_before_it_has_ended(
    stub: SchedulerServiceStub, recorder: Recorder, label: str, overlap: str
):
    policies = ParseDict({"overlap": overlap}, pb.Policies())
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}, policies=policies, parameters={"hold": True}))
    (first, *_) = recorder.wait_for_calls(label, 1)
    if overlap == "OVERLAP_BUFFER_ONE":
        held = wait_until(lambda: [e for e in executions(stub, label, State.STATE_PENDING) if e.held], "one is held")
        wait_until(lambda: executions(stub, label, State.STATE_SKIPPED), "further ones are skipped")
        assert len(recorder.calls(label)) == 1
        recorder.release(label)
        second = recorder.wait_for_calls(label, 2)[1]
        assert second.metadata["x-execution-id"] == held[0].execution_id
    else:
        assert first.ended.wait(60), "nobody released it: the next one has it cancelled"
        assert first.given_up
        wait_until(lambda: executions(stub, label, State.STATE_CANCELLED), "it is cancelled")
        recorder.wait_for_calls(label, 2)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label, cancel_running=True))
    recorder.release(label)
