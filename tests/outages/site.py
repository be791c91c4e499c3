"""The system with two beats, and ways to take from it, or from one beat, what it works with; its ledger, read back.

Everything is asked over gRPC, as clients do; during an outage a client that was told UNAVAILABLE tries again.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dev.server import Server
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.recorder import Recorder
    from tests.acceptance.system import System
    from tests.chaos.proxy import Link

State = pb.Execution.State
BEAT, OTHER = "celery-beat", "other-beat"
WORKER, SERVER = "celery-worker", "scheduler-service"
PATIENCE = 90.0
"""Seconds in which also a busy machine gets over an outage."""

_T = TypeVar("_T")


def beat_name(pid: int) -> str:
    """Return the name by which the ledger knows a beat."""
    return f"beat@{socket.gethostname()}:{pid}"


def told_to_try_again(error: grpc.RpcError) -> bool:
    """Whether a refusal is UNAVAILABLE and says after how long to try again."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    hint = RetryInfo()
    status: Any = rpc_status.from_call(cast("Any", error))
    return status is not None and any(each.Unpack(hint) for each in status.details) and hint.retry_delay.seconds > 0


@dataclass(frozen=True)
class Jobs:
    """Jobs that fire each second, and what became of their occurrences."""

    ids: Sequence[str]
    stub: SchedulerServiceStub
    recorder: Recorder

    def patiently(self, call: Callable[[], _T]) -> _T:
        """Make a call as a client should: again after UNAVAILABLE with a hint, and after nothing else."""

        def look() -> tuple[_T] | None:
            try:
                return (call(),)
            except grpc.RpcError as error:
                if not told_to_try_again(error):
                    raise
                return None

        return wait_until(look, "the call is answered", PATIENCE)[0]

    def rows(self, job_id: str) -> list[pb.Execution]:
        """Return the decisions on a job's occurrences, runs and others, the newest first."""
        request = pb.ListExecutionsRequest(job_id=job_id, include_decisions=True, page_size=1000)
        return [
            row
            for row in self.patiently(lambda: self.stub.ListExecutions(request)).executions
            if row.trigger == pb.Execution.TRIGGER_SCHEDULE
        ]

    def decider(self, job_id: str) -> str:
        """Return the beat that made the newest decision on a job."""
        return next((row.transitions[0].by for row in self.rows(job_id)), "")

    def wait_for_more_calls(self, count: int = 2) -> None:
        """Wait until each job's target has been called so many times more than until now."""
        before = {job_id: len(self.recorder.calls(job_id)) for job_id in self.ids}
        for job_id in self.ids:
            self.recorder.wait_for_calls(job_id, before[job_id] + count, PATIENCE)

    def settle(self) -> Mapping[str, list[pb.Execution]]:
        """Pause the jobs, wait for the ends of their runs, and return their rows; nothing may be missing or twice."""
        found = {}
        for job_id in self.ids:
            paused = self.patiently(
                lambda job_id=job_id: self.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id=job_id))  # type: ignore[misc]
            ).job
            first, last = paused.created_at.seconds + 1, paused.updated_at.seconds

            def ended(job_id: str = job_id, last: int = last) -> list[pb.Execution] | None:
                rows = self.rows(job_id)
                going = {State.STATE_PENDING, State.STATE_QUEUED, State.STATE_RUNNING}
                return rows if _last(rows[0]) >= last and not any(row.state in going for row in rows) else None

            rows = wait_until(ended, f"{job_id} has come to rest", PATIENCE)
            decided = [second for row in rows for second in range(_first(row), _last(row) + 1)]
            assert sorted(decided) == list(range(first, max(decided) + 1)), "an occurrence has no or two decisions"
            runs = [row for row in rows if not row.occurrence_count]
            assert {row.state for row in runs} <= {State.STATE_SUCCEEDED, State.STATE_SKIPPED}, "a run was lost"
            called = [(c.metadata["x-execution-id"], c.metadata["x-attempt"]) for c in self.recorder.calls(job_id)]
            assert len(called) == len(set(called)), "an attempt was called twice"
            assert {i for i, _ in called} == {r.execution_id for r in runs if r.state == State.STATE_SUCCEEDED}
            found[job_id] = rows
        for job_id in self.ids:
            self.patiently(
                lambda job_id=job_id: self.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id=job_id))  # type: ignore[misc]
            )
        return found


def _first(row: pb.Execution) -> int:
    return row.first_time.seconds if row.occurrence_count else row.nominal_time.seconds


def _last(row: pb.Execution) -> int:
    return row.last_time.seconds if row.occurrence_count else row.nominal_time.seconds


@dataclass(frozen=True)
class Site:
    """What the tests of outages share."""

    system: System
    stub: SchedulerServiceStub
    recorder: Recorder
    mongodb: Server
    rabbitmq: Server
    virtual_host: str
    broker: Link
    """The way of all processes but BEAT to RabbitMQ."""
    beats_broker: Link
    """BEAT's way to RabbitMQ."""
    beats_store: Link
    """BEAT's way to MongoDB."""
    beat: str
    """By which name the ledger knows BEAT; other: likewise."""
    other: str

    def every_second(self, label: str, count: int, **fields: Any) -> Jobs:
        """Create jobs that fire every second, and wait until each has been called."""
        jobs = Jobs([f"{label}-{number}" for number in range(count)], self.stub, self.recorder)
        for job_id in jobs.ids:
            self.stub.CreateScheduledJob(recording_job(job_id, {"seconds": "1"}, **fields))
        jobs.wait_for_more_calls(1)
        return jobs
