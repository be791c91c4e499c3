"""Targets that are registered while the system runs, and what Diagnose says of a system that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from shared.proto import admin_service_pb2 as admin
from shared.proto import scheduler_service_pb2 as pb
from shared.proto import target_service_pb2 as targets
from shared.proto.admin_service_pb2_grpc import AdminServiceStub
from shared.proto.target_service_pb2_grpc import TargetServiceStub
from tests.acceptance.conftest import recording_job
from tests.acceptance.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.system import System

EVERY_SECOND = {"seconds": "1"}


@pytest.fixture
def channel(running: System) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(running.address) as channel:
        yield channel


def test_workers_call_a_target_that_was_registered_after_they_started_and_follow_it_to_another_address(
    stub: SchedulerServiceStub, channel: grpc.Channel, recorder: Recorder, label: str
) -> None:
    registry: Any = TargetServiceStub(channel)
    request = recording_job(label, EVERY_SECOND)
    request.target_service = f"target-{label}"
    with Recorder() as other:
        for place in (recorder, other):
            address = f"localhost:{place.port}"
            registry.RegisterTarget(targets.RegisterTargetRequest(name=request.target_service, address=address))
            if place is recorder:
                stub.CreateScheduledJob(request)
            place.wait_for_calls(label, 1)
        tested = registry.TestTarget(targets.TestTargetRequest(name=request.target_service))
        assert (tested.status, tested.jobs_checked) == (targets.TestTargetResponse.STATUS_SERVING, 1)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))
    registry.UnregisterTarget(targets.UnregisterTargetRequest(name=request.target_service))


def test_a_system_that_runs_is_healthy(channel: grpc.Channel) -> None:
    doctor: Any = AdminServiceStub(channel)
    response = doctor.Diagnose(admin.DiagnoseRequest(), timeout=30)
    unwell = {check.name: check.detail for check in response.checks if check.result != check.RESULT_OK}
    # The leases of this system are short, so that tests need not wait; and other tests leave dead letters.
    assert unwell.keys() <= {"settings.leases", "executions.dead_letters"}, unwell
