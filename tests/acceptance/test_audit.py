"""`schedctl audit` finds a real system's ledger clean, and each fault that is put into it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from shared.proto import scheduler_service_pb2 as pb
from shared.store.mongo import connect
from tests.acceptance.conftest import audit, recording_job
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System

Row: TypeAlias = "dict[str, Any]"


@pytest.fixture
def ledger(running: System) -> Iterator[Database[Row]]:
    """The system's database: nobody but a test of the audit writes to it past the API."""
    found = connect(running.environment["MONGODB_URL"])
    yield found
    found.client.close()


def lived_through_much(stub: SchedulerServiceStub, recorder: Recorder, label: str) -> None:
    """Let a job fire every second, fail and be retried, run by hand, pause, resume, change its schedule, be deleted."""
    retries = pb.RetryPolicy(max_attempts=2, initial_backoff=Duration(nanos=200_000_000), multiplier=1)
    stub.CreateScheduledJob(recording_job(label, {"seconds": "1"}, retry_policy=retries))
    recorder.wait_for_calls(label, 3)
    stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label))
    stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=label))
    by_hand = stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=label)).execution_id
    wait_until(lambda: _state(stub, by_hand) == pb.Execution.STATE_SUCCEEDED, "the run by hand has ended")
    stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id=label))
    before = len(recorder.calls(label))
    recorder.wait_for_calls(label, before + 2)
    stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(
            job_id=label,
            job=pb.ScheduledJob(schedule_config=pb.ScheduleConfig(type="interval", config={"seconds": "2"})),
            update_mask=FieldMask(paths=["schedule_config"]),
        )
    )
    recorder.wait_for_calls(label, before + 4)
    stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=label))


def _state(stub: SchedulerServiceStub, execution_id: str) -> int:
    return int(stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution.state)


def test_what_the_whole_system_did_is_proved_and_each_fault_is_found(
    stub: SchedulerServiceStub, running: System, recorder: Recorder, ledger: Database[Row], label: str
):
    lived_through_much(stub, recorder, label)
    job = ledger.jobs.find_one({"_id": label})
    assert job is not None
    wait_until(lambda: ledger.jobs.find_one({"_id": label, "changes": []}), "the deletion is in force")
    wait_until(lambda: not ledger.executions.count_documents({"job_id": label, "open": True}), "all has ended")

    code, findings, summary = audit(running, "--job", label)
    assert (code, findings) == (0, [])
    assert int(summary["epochs"]) == 5
    assert int(summary["executions"]) >= 8

    rows = list(ledger.executions.find({"job_id": label}).sort("_id", 1))
    fires = [row for row in rows if row["trigger"] == "SCHEDULE" and row.get("run") and row["epoch"] == 0]
    for name, (kind, damage) in FAULTS.items():
        damaged = deepcopy(rows)
        fault = damage(damaged, deepcopy(fires[1]))
        _replace(ledger, label, damaged)
        code, findings, _ = audit(running, "--job", label)
        kinds = {finding["kind"].removeprefix("KIND_") for finding in findings}
        assert (code, kinds) == (1, {kind}), name
        assert any(fault in {finding["execution_id"], finding["first_time"]} for finding in findings), name

    _replace(ledger, label, rows)
    assert audit(running, "--job", label)[0] == 0


def _replace(ledger: Database[Row], label: str, rows: list[Row]) -> None:
    ledger.executions.delete_many({"job_id": label})
    ledger.executions.insert_many(rows)


# Each takes all rows and a copy of one that fired, damages the rows, and returns what the finding has to name.


def take_away(rows: list[Row], fired: Row) -> str:
    rows[:] = [row for row in rows if row["_id"] != fired["_id"]]
    return f"{fired['nominal_time']:%Y-%m-%dT%H:%M:%S}.{fired['nominal_time'].microsecond // 1000:03}Z".replace(
        ".000Z", "Z"
    )


def double(rows: list[Row], fired: Row) -> str:
    fired["_id"] += "-again"
    rows.append(fired)
    return str(fired["_id"])


def decide_in_the_next_epoch_too(rows: list[Row], fired: Row) -> str:
    fired["_id"] = fired["_id"].replace(".0.", ".1.")
    fired["epoch"] = 1
    rows.append(fired)
    return str(fired["_id"])


def make_the_path_illegal(rows: list[Row], fired: Row) -> str:
    changed = next(row for row in rows if row["_id"] == fired["_id"])
    changed["transitions"][-1]["state"] = changed["state"] = "SKIPPED"
    return str(fired["_id"])


def run_on_after_the_end(rows: list[Row], fired: Row) -> str:
    changed = next(row for row in rows if row["_id"] == fired["_id"])
    changed["transitions"].append(changed["transitions"][-1] | {"number": len(changed["transitions"]) + 1})
    return str(fired["_id"])


def lose_a_transition(rows: list[Row], fired: Row) -> str:
    changed = next(row for row in rows if row["trigger"] == "MANUAL")
    del changed["transitions"][0]
    return str(changed["_id"] if fired else "")


def miscount(rows: list[Row], fired: Row) -> str:
    changed = next(row for row in rows if row["_id"] == fired["_id"])
    changed["count"] = 2
    return str(fired["_id"])


def take_the_closing_row_away(rows: list[Row], fired: Row) -> str:
    closing = next(row for row in rows if row["state"] == "CLOSED" and row["epoch"] == fired["epoch"])
    rows.remove(closing)
    return f"{closing['last'].isoformat(timespec='milliseconds').replace('+00:00', 'Z')}".replace(".000Z", "Z")


FAULTS: dict[str, tuple[str, Callable[[list[Row], Row], str]]] = {
    "a row that is gone": ("MISSING", take_away),
    "an occurrence with a second row": ("DOUBLED", double),
    "an occurrence that two schedules decide": ("DOUBLED", decide_in_the_next_epoch_too),
    "a state that may not follow": ("ILLEGAL_PATH", make_the_path_illegal),
    "a step after the last one": ("ILLEGAL_PATH", run_on_after_the_end),
    "a run by hand without its first step": ("ILLEGAL_PATH", lose_a_transition),
    "a row that says it covers two": ("WRONG_COUNT", miscount),
    "a closing row that is gone": ("BROKEN_CHAIN", take_the_closing_row_away),
}
