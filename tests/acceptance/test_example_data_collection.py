"""examples/data_collection on the real stack, its job every few seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToDict

from examples.data_collection.provider import customers
from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.example import Example, State, platform
from tests.acceptance.system import wait_until
from tests.acceptance.test_terminal import BUILDING, grpcurl  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.servers import Servers

JOB = "collect-costs"
CUSTOMERS = set(customers("cloud-one"))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Example]:
    with platform("data_collection", tmp_path_factory.mktemp("collection"), servers, {JOB: 4}) as running:
        yield running


def test_by_schedule_each_customer_is_collected_once(collection: Example):
    whole = collection.fired(JOB)
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    parts = collection.parts(whole.execution_id)
    assert parts.keys() == CUSTOMERS
    for customer, part in parts.items():
        result = MessageToDict(part.result)
        assert result["customer_id"] == customer
        assert result["until"] == f"{whole.nominal_time.ToDatetime():%Y-%m-%dT%H:%M:%S}+00:00"


def test_a_customer_whose_bill_is_not_ready_is_tried_again_and_the_others_are_not(collection: Example):
    whole = collection.ended(collection.run(JOB))
    attempts = {customer: part.attempt for customer, part in collection.parts(whole.execution_id).items()}
    assert attempts == {**dict.fromkeys(CUSTOMERS, 1), "globex": 3}
    globex = collection.parts(whole.execution_id)["globex"]
    assert globex.max_attempts == 4
    waits = [step.reason for step in globex.transitions if "again in" in step.reason]
    assert len(waits) == 2
    assert all("TASK_FAILED" in wait and "0.6 s" in wait for wait in waits), waits


def test_run_now_answers_at_once_and_can_be_waited_for_by_asking(collection: Example):
    first = collection.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=JOB, request_id="twice"))
    again = collection.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=JOB, request_id="twice"))
    assert again.execution_id == first.execution_id
    assert State.Name(first.execution.state) == "STATE_PENDING"
    whole = collection.ended(first.execution_id)
    assert MessageToDict(whole.result) == {"total": 4, "succeeded": 4, "failed": 0, "cancelled": 0}


def test_the_history_of_a_customer_is_that_of_all_runs(collection: Example):
    wholes = {collection.ended(collection.run(JOB)).execution_id for _ in range(2)}

    def history() -> list[pb.Execution]:
        return collection.list(job_id=JOB, part_key="umbrella")

    assert wholes <= {part.parent_execution_id for part in history()}
    assert {part.part_key for part in history()} == {"umbrella"}
    times = [part.nominal_time.ToNanoseconds() for part in history()]
    assert times == sorted(times, reverse=True), "the newest first"


def test_code_can_wait_for_the_result_of_one_customer(collection: Example):
    code = """if True:
        from examples.data_collection.tasks import collect_costs
        called = collect_costs.delay("initech")
        print(called.id, called.get(timeout=60)["total"])
    """
    execution_id, total = collection.python(code).split()
    execution = collection.ended(execution_id)
    assert execution.trigger == pb.Execution.TRIGGER_API
    assert MessageToDict(execution.result)["total"] == total


@pytest.mark.timeout(BUILDING)
def test_the_commands_of_its_readme_do_what_it_says(collection: Example, grpcurl: Path):  # noqa: F811
    run, status, python, history = collection.readme(grpcurl).values()
    execution_id = json.loads(run)["execution_id"]
    assert json.loads(status)["job"]["job_id"] == JOB
    assert python.startswith("acme ")
    assert {part["part_key"] for part in json.loads(history)["executions"]} == {"globex"}
    wait_until(lambda: collection.get(execution_id).state == State.STATE_SUCCEEDED, "the run by hand has succeeded", 60)
