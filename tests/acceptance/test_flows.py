"""Fan-outs and workflows over gRPC, with real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict, ParseDict

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System

State = pb.Execution.State
ENDED = {State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_CANCELLED}


def create(stub: SchedulerServiceStub, label: str, **fields: Any) -> None:
    """Create a job that runs only when it is asked to."""
    request = {
        "job_id": label,
        "name": f"Job {label}",
        "job_type": "CUSTOM",
        "schedule_config": {"type": "cron", "config": {"expression": "0 0 1 1 *"}},
        "retry_policy": {"max_attempts": 1},
        **fields,
    }
    stub.CreateScheduledJob(ParseDict(request, pb.CreateScheduledJobRequest()))


def fans_out(stub: SchedulerServiceStub, label: str, items: list[Any], **fan_out: Any) -> None:
    create(
        stub,
        label,
        target_service="recorder",
        target_method="Record",
        parameters={"label": f"{label}-${{item.name}}", "fail_code": "${item.fail || ''}"},
        fan_out={"items": items, "key": "${item.name}", **fan_out},
    )


def run(stub: SchedulerServiceStub, label: str) -> str:
    return stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id


def get(stub: SchedulerServiceStub, execution_id: str) -> pb.Execution:
    return stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution


def ended(stub: SchedulerServiceStub, execution_id: str) -> pb.Execution:
    def found() -> pb.Execution | None:
        execution = get(stub, execution_id)
        return execution if execution.state in ENDED else None

    return wait_until(found, f"{execution_id} has ended")


def parts(stub: SchedulerServiceStub, execution_id: str) -> dict[str, pb.Execution]:
    request = pb.ListExecutionsRequest(parent_execution_id=execution_id, page_size=1000)
    return {part.part_name: part for part in stub.ListExecutions(request).executions}


def test_a_fan_out_calls_its_target_once_for_each_item_and_ends_when_all_have(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    fans_out(stub, label, [{"name": "a"}, {"name": "b"}, {"name": "c"}])
    whole = ended(stub, run(stub, label))
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    assert MessageToDict(whole.result) == {"total": 3, "succeeded": 3, "failed": 0, "cancelled": 0}
    assert (whole.parts.total, dict(whole.parts.states)) == (3, {"SUCCEEDED": 3})
    assert [len(recorder.calls(f"{label}-{name}")) for name in "abc"] == [1, 1, 1]
    found = parts(stub, whole.execution_id)
    assert {name: part.part_key for name, part in found.items()} == {"0": "a", "1": "b", "2": "c"}
    assert {part.parent_execution_id for part in found.values()} == {whole.execution_id}
    # Asked for by hand it does not wait behind others, but its parts are no more urgent than ever.
    assert (whole.queue, {part.queue for part in found.values()}) == ("manual", {"default_queue"})


def test_a_retry_of_a_fan_out_runs_what_has_not_succeeded(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    fans_out(stub, label, [{"name": "a"}, {"name": "b", "fail": "INTERNAL"}])
    whole = ended(stub, run(stub, label))
    assert State.Name(whole.state) == "STATE_FAILED"
    assert whole.error.code == "PARTS_FAILED"
    retry = stub.RetryExecution(pb.RetryExecutionRequest(execution_id=whole.execution_id)).execution_id
    again = ended(stub, retry)
    assert (again.parts.total, dict(again.parts.states)) == (2, {"SUCCEEDED": 1, "FAILED": 1})
    assert len(recorder.calls(f"{label}-a")) == 1
    assert len(recorder.calls(f"{label}-b")) == 2


def test_no_more_items_run_at_a_time_than_may(stub: SchedulerServiceStub, recorder: Recorder, label: str):
    create(
        stub,
        label,
        target_service="recorder",
        target_method="Record",
        parameters={"label": label, "seconds": 0.1},
        fan_out={"items": [{} for _ in range(12)], "max_parallel": 3},
    )
    whole = ended(stub, run(stub, label))
    assert dict(whole.parts.states) == {"SUCCEEDED": 12}
    calls = recorder.calls(label)
    assert len(calls) == 12
    for call in calls:
        beside = [c for c in calls if c.began_at <= call.began_at and (c.ended_at or 0) > call.began_at]
        assert len(beside) <= 3


def test_a_workflow_runs_its_steps_in_their_order_with_what_earlier_ones_answered(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    recorded = {"target_service": "recorder", "target_method": "Record"}
    create(
        stub,
        label,
        workflow={
            "steps": [
                {"name": "collect", **recorded, "parameters": {"label": f"{label}-collect"}},
                {
                    "name": "process",
                    "after": ["collect"],
                    **recorded,
                    "parameters": {"label": "${steps.collect.result.label}-process"},
                },
                {
                    "name": "alarm",
                    "after": ["collect"],
                    **recorded,
                    "parameters": {"label": f"{label}-alarm"},
                    "when": "steps.collect.result.calls > `1`",
                },
            ]
        },
    )
    whole = ended(stub, run(stub, label))
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    (collect,), (process,) = recorder.calls(f"{label}-collect"), recorder.calls(f"{label}-collect-process")
    assert (collect.ended_at or 0) <= process.began_at
    assert not recorder.calls(f"{label}-alarm")
    assert State.Name(parts(stub, whole.execution_id)["alarm"].state) == "STATE_SKIPPED"
    assert "condition" in parts(stub, whole.execution_id)["alarm"].reason


def test_a_workflow_goes_on_after_kills_of_beat_and_worker_between_two_steps(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    recorded = {"target_service": "recorder", "target_method": "Record"}
    create(
        stub,
        label,
        workflow={
            "steps": [
                {"name": "one", **recorded, "parameters": {"label": f"{label}-one", "hold": True}},
                {"name": "two", "after": ["one"], **recorded, "parameters": {"label": f"{label}-two"}},
            ]
        },
    )
    execution_id = run(stub, label)
    recorder.wait_for_calls(f"{label}-one", 1)
    with running.without("celery-beat"):
        recorder.release(f"{label}-one")
        wait_until(lambda: parts(stub, execution_id)["one"].state == State.STATE_SUCCEEDED, "the first step has ended")
        with running.without("celery-worker"):
            assert set(parts(stub, execution_id)) == {"one"}
    whole = ended(stub, execution_id)
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    assert [len(recorder.calls(f"{label}-{name}")) for name in ("one", "two")] == [1, 1]


def test_a_cancel_of_a_fan_out_ends_the_calls_in_flight_and_starts_no_others(
    stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    create(
        stub,
        label,
        target_service="recorder",
        target_method="Record",
        parameters={"label": label, "hold": True},
        fan_out={"items": [{}, {}, {}], "max_parallel": 2},
    )
    execution_id = run(stub, label)
    recorder.wait_for_calls(label, 2)
    stub.CancelExecution(pb.CancelExecutionRequest(execution_id=execution_id))
    whole = ended(stub, execution_id)
    assert State.Name(whole.state) == "STATE_CANCELLED", whole
    assert dict(whole.parts.states) == {"CANCELLED": 3}
    calls = recorder.calls(label)
    assert len(calls) == 2
    assert all(call.given_up for call in calls)
