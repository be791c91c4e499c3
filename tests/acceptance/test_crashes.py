"""Processes that die at a bad moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until
from tests.acceptance.test_main_job import State, ended, first_run, runs, soon, states

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System


def test_a_beat_that_was_killed_fires_the_missed_occurrence_once_when_it_is_back(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    with running.without("celery-beat"):
        schedule = soon(1)
        stub.CreateScheduledJob(recording_job(label, schedule))
        nominal_time = datetime.fromisoformat(schedule["at"])
        wait_until(lambda: datetime.now(UTC) > nominal_time + timedelta(seconds=1), "its time has passed")
        assert runs(stub, label) == []
    execution = first_run(stub, label)
    assert execution.state == State.STATE_SUCCEEDED
    assert execution.nominal_time.ToDatetime(UTC) == nominal_time
    assert len(runs(stub, label)) == 1
    assert len(recorder.calls(label)) == 1


def test_the_occurrences_of_a_beats_absence_are_each_decided_once(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}))
    recorder.wait_for_calls(label, 1)
    with running.without("celery-beat"):
        killed_at = datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC) > killed_at + timedelta(seconds=3), "occurrences have been missed")
    before = len(recorder.calls(label))
    recorder.wait_for_calls(label, before + 2)
    stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=label))
    # Deciding goes on through the pause's cutoff; the resume shows that the pause has been installed.
    stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=label))
    recorder.wait_for_calls(label, len(recorder.calls(label)) + 1)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))

    covered = []
    page = pb.ListExecutionsResponse(next_page_token="first")
    rows: list[pb.Execution] = []
    while page.next_page_token:
        token = "" if page.next_page_token == "first" else page.next_page_token
        page = stub.ListExecutions(pb.ListExecutionsRequest(include_decisions=True, page_size=1000, page_token=token))
        rows += [row for row in page.executions if row.job_id == label]
    for row in rows:
        if row.occurrence_count:
            covered += list(range(row.first_time.seconds, row.last_time.seconds + 1))
        else:
            covered.append(row.nominal_time.seconds)
    assert sorted(covered) == list(range(min(covered), max(covered) + 1)), "an occurrence has no or two decisions"
    called = [call.metadata["x-execution-id"] for call in recorder.calls(label)]
    assert len(called) == len(set(called)), "an execution was called twice"


def test_a_worker_killed_during_a_call_leaves_one_execution_with_one_end(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(
        recording_job(
            label,
            soon(1),
            parameters={"hold": True},
            retry_policy=pb.RetryPolicy(max_attempts=2, initial_backoff=Duration(nanos=100_000_000)),
        )
    )
    (first,) = recorder.wait_for_calls(label, 1)
    with running.without("celery-worker"):
        assert first.ended.wait(60)
        assert first.given_up
    recorder.wait_for_calls(label, 2)
    recorder.release(label)
    execution = first_run(stub, label)
    assert execution.state == State.STATE_SUCCEEDED
    assert execution.workers_lost == 1
    assert execution.attempt == 2
    assert states(execution).count("SUCCEEDED") == 1
    assert any("fell silent" in transition.reason for transition in execution.transitions)
    assert [call.metadata["x-attempt"] for call in recorder.calls(label)] == ["1", "2"]


def test_a_worker_killed_in_the_last_attempt_fails_the_execution(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(
        recording_job(label, soon(1), parameters={"hold": True}, retry_policy=pb.RetryPolicy(max_attempts=1))
    )
    recorder.wait_for_calls(label, 1)
    with running.without("celery-worker"):
        execution = first_run(stub, label)
    assert execution.state == State.STATE_FAILED
    assert execution.error.code == "WORKER_LOST"
    assert len(recorder.calls(label)) == 1


def test_a_server_that_was_killed_answers_a_repeated_request_with_the_first_execution(
    running: System, stub: SchedulerServiceStub, recorder: Recorder, label: str
):
    stub.CreateScheduledJob(recording_job(label, {"hours": "1"}))
    request = pb.ExecuteJobRequest(job_id=label, request_id="once only")
    first = stub.ExecuteJobNow(request).execution_id
    with running.without("scheduler-service"):
        pass
    assert stub.ExecuteJobNow(request, wait_for_ready=True).execution_id == first
    assert ended(stub, first).state == State.STATE_SUCCEEDED
    assert len(recorder.calls(label)) == 1
