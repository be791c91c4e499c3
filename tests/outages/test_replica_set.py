"""MongoDB as a replica set of three: its primary steps down and is killed, and the system rides through it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest

from dev.mongodb import ReplicaSet
from dev.servers import start_together
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
from tests.acceptance.conftest import recording_job
from tests.acceptance.system import System
from tests.builders import own_vhost
from tests.outages.site import BEAT, SERVER, WORKER, Jobs, told_to_try_again

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.servers import Servers
    from tests.acceptance.recorder import Recorder


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    replica_set = ReplicaSet(tmp_path_factory.mktemp("replica-set"))
    try:
        start_together(replica_set.members)
        yield replica_set
    finally:
        for member in replica_set.members:
            member.kill()


@pytest.fixture(scope="module")
def on_replica_set(servers: Servers, replica_set: ReplicaSet, folder: Path, config: Path) -> Iterator[System]:
    environment = {
        "MONGODB_URL": replica_set.url,
        "CELERY_BROKER_URL": own_vhost(servers.rabbitmq),
        "CELERY_RESULT_BACKEND": servers.redis.url,
        "CONFIG_DIR": str(config),
        "LOG_FORMAT": "json",
    }
    system = System(folder, environment, [SERVER, WORKER, BEAT])
    try:
        system.start()
        yield system
    finally:
        system.stop()


class Client(threading.Thread):
    """Starts executions by hand all the time; when it is told to try again it does, with the same request id."""

    def __init__(self, stub: SchedulerServiceStub, job_id: str) -> None:
        super().__init__(daemon=True)
        self._stub = stub
        self._job_id = job_id
        self._stopping = threading.Event()
        self.executions: list[str] = []
        self.told_to_try_again = 0
        self.wrong: list[grpc.RpcError] = []

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            request = pb.ExecuteJobRequest(job_id=self._job_id, request_id=f"request-{len(self.executions)}")
            try:
                self.executions.append(self._stub.ExecuteJobNow(request).execution_id)
            except grpc.RpcError as error:
                if told_to_try_again(error):
                    self.told_to_try_again += 1
                else:
                    self.wrong.append(error)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def test_a_step_down_and_the_death_of_the_primary_are_ridden_through(
    on_replica_set: System, replica_set: ReplicaSet, recorder: Recorder, label: str
):
    with grpc.insecure_channel(on_replica_set.address) as channel:
        stub = SchedulerServiceStub(channel)
        jobs = Jobs([f"{label}-{number}" for number in range(8)], stub, recorder)
        for job_id in jobs.ids:
            stub.CreateScheduledJob(recording_job(job_id, {"seconds": "1"}))
        by_hand = f"{label}-by-hand"
        stub.CreateScheduledJob(recording_job(by_hand, {"hours": "1"}))
        jobs.wait_for_more_calls(1)
        client = Client(stub, by_hand)
        client.start()

        primary = replica_set.primary()
        replica_set.step_down()
        assert replica_set.primary() is not primary
        jobs.wait_for_more_calls()

        primary = replica_set.primary()
        primary.kill()
        assert replica_set.primary() is not primary
        jobs.wait_for_more_calls()
        primary.start()
        jobs.wait_for_more_calls(1)

        client.stop()
        assert client.wrong == []
        jobs.settle()
        assert len(set(client.executions)) == len(client.executions)
        recorder.wait_for_calls(by_hand, len(client.executions))
        called = [call.metadata["x-execution-id"] for call in recorder.calls(by_hand)]
        assert sorted(called) == sorted(client.executions)
    assert on_replica_set.ended_by_themselves == []
    print(f"{len(called)} executions by hand, {client.told_to_try_again} times told to try again")  # noqa: T201
