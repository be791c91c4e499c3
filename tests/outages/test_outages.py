"""A store is away: clients are told to try again, nothing is lost, and everything goes on by itself when it is back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymongo import MongoClient

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until
from tests.builders import manage
from tests.outages.site import PATIENCE, WORKER, State, told_to_try_again

if TYPE_CHECKING:
    from tests.outages.site import Site


def test_without_mongodb_clients_are_told_to_try_again_and_an_outcome_is_kept_until_it_can_be_written(
    site: Site, label: str
):
    jobs = site.every_second(label, 4)
    held = f"{label}-held"
    site.stub.CreateScheduledJob(recording_job(held, {"hours": "1"}, parameters={"hold": True}))
    execution_id = site.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=held)).execution_id
    site.recorder.wait_for_calls(held, 1)
    waited = site.system.log(WORKER).count('"action": "store_away"')
    site.mongodb.kill()
    for call in (
        lambda: site.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)),
        lambda: site.stub.CreateScheduledJob(recording_job(f"{label}-refused", {"hours": "1"})),
        lambda: site.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=held)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert told_to_try_again(refused.value)
    site.recorder.release(held)
    wait_until(
        lambda: site.system.log(WORKER).count('"action": "store_away"') > waited, "the outcome cannot be written", 30
    )
    site.mongodb.start()
    jobs.wait_for_more_calls()

    def ended() -> pb.Execution | None:
        execution = site.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution
        return execution if execution.state == State.STATE_SUCCEEDED else None

    assert wait_until(lambda: jobs.patiently(ended), "the outcome is written", PATIENCE).attempt == 1
    assert len(site.recorder.calls(held)) == 1
    jobs.settle()
    assert site.system.ended_by_themselves == []


def test_without_rabbitmq_what_is_decided_waits_and_nothing_is_lost(site: Site, label: str):
    jobs = site.every_second(label, 4)
    by_hand = f"{label}-by-hand"
    site.stub.CreateScheduledJob(recording_job(by_hand, {"hours": "1"}))
    links = (site.broker, site.beats_broker)
    for link in links:
        link.cut()
    try:
        began = datetime.now(UTC)
        site.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=by_hand))

        def waits(job_id: str) -> bool:
            newest = jobs.rows(job_id)[0]
            return newest.nominal_time.ToDatetime(UTC) > began + timedelta(seconds=2)

        for job_id in jobs.ids:
            wait_until(lambda job_id=job_id: waits(job_id), f"{job_id} goes on being decided", PATIENCE)  # type: ignore[misc]
            going = {row.state for row in jobs.rows(job_id) if row.nominal_time.ToDatetime(UTC) > began}
            assert State.STATE_PENDING in going
    finally:
        for link in links:
            link.heal()
    jobs.wait_for_more_calls()
    jobs.settle()
    assert len(site.recorder.wait_for_calls(by_hand, 1, PATIENCE)) == 1
    assert site.system.ended_by_themselves == []


def test_a_rabbitmq_that_was_wiped_is_filled_again(site: Site, label: str):
    """The messages of executions that waited in it are sent again: after a minute, which has passed here."""
    jobs = site.every_second(label, 2)
    ids = [f"{label}-waiting-{number}" for number in range(4)]
    for job_id in ids:
        site.stub.CreateScheduledJob(recording_job(job_id, {"hours": "1"}))
    with site.system.paused(WORKER):
        waiting = [site.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id)).execution_id for job_id in ids]

        def state(execution_id: str) -> State:
            return site.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution.state

        wait_until(lambda: {state(i) for i in waiting} == {State.STATE_QUEUED}, "all were sent", PATIENCE)
        for link in (site.broker, site.beats_broker):
            link.cut()
        for method in ("DELETE", "PUT"):
            manage(site.rabbitmq, method, f"vhosts/{site.virtual_host}")
        for link in (site.broker, site.beats_broker):
            link.heal()
        with MongoClient[dict[str, Any]](site.mongodb.url) as client:
            client.get_default_database().executions.update_many(
                {"_id": {"$in": waiting}}, {"$set": {"send_at": datetime.now(UTC)}}
            )
    for execution_id in waiting:
        wait_until(
            lambda execution_id=execution_id: state(execution_id) == State.STATE_SUCCEEDED,  # type: ignore[misc]
            f"{execution_id} has been run",
            PATIENCE,
        )
    assert [len(site.recorder.calls(job_id)) for job_id in ids] == [1] * 4
    jobs.wait_for_more_calls()
    jobs.settle()
    assert site.system.ended_by_themselves == []
