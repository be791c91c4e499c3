"""What somebody stops: a cancelled call ends at its target, and a stopped worker's calls are made by another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.test_main_job import State, ended, states

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System


def held_run(stub: SchedulerServiceStub, recorder: Recorder, label: str) -> str:
    """Start an execution whose call does not end by itself; return its id when the target has the call."""
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}, parameters={"hold": True}))
    execution_id = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id
    recorder.wait_for_calls(label, 1)
    return execution_id


def test_the_target_sees_that_its_call_was_cancelled(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    execution_id = held_run(stub, recorder, label)
    asked = stub.CancelExecution(pb.CancelExecutionRequest(execution_id=execution_id, reason="no use")).execution
    assert asked.cancel_requested
    (call,) = recorder.calls(label)
    assert call.ended.wait(60), "2 s are promised; the machine may be busy"
    execution = ended(stub, execution_id)
    assert (execution.state, execution.attempt) == (State.STATE_CANCELLED, 1)
    assert call.given_up
    retried = stub.RetryExecution(pb.RetryExecutionRequest(execution_id=execution_id)).execution
    recorder.wait_for_calls(label, 2)
    recorder.release(label)
    assert ended(stub, retried.execution_id).state == State.STATE_SUCCEEDED
    assert retried.retry_of == execution_id


def test_what_was_cancelled_is_not_tried_again_when_its_worker_dies(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    execution_id = held_run(stub, recorder, label)
    with running.without("celery-worker"):
        stub.CancelExecution(pb.CancelExecutionRequest(execution_id=execution_id))
        execution = ended(stub, execution_id)
    assert (execution.state, execution.workers_lost) == (State.STATE_CANCELLED, 1)
    assert len(recorder.calls(label)) == 1


def test_a_stopped_workers_calls_are_made_by_another_one_and_cost_no_attempt(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    execution_id = held_run(stub, recorder, label)
    with running.without("celery-worker", stopped=True):
        (call,) = recorder.calls(label)
        assert call.ended.wait(60)
    recorder.wait_for_calls(label, 2)
    recorder.release(label)
    execution = ended(stub, execution_id)
    assert execution.state == State.STATE_SUCCEEDED
    assert (execution.attempt, execution.max_attempts, execution.workers_lost) == (2, 5, 0)
    assert states(execution).count("RUNNING") == 2
    assert any(step.reason == "handed back: the worker stops" for step in execution.transitions)
