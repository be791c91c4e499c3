"""How late jobs fire on this machine: python -m benchmarks.lateness [--seconds 30] [--jobs 5].

On private servers, with one beat, one worker and a target that notes when it is called. Half of the jobs fire by an
interval of one second, each at a fraction of its own, half by cron with seconds. Lateness is counted from the nominal
time, as the stored transitions have it: to QUEUED (the broker has confirmed the message; this is "fire"), to RUNNING (a
worker has claimed it), and to the target's own clock. Occurrences of the first seconds, while the processes warm up,
are left out. Then a job is paused and resumed a number of times, and how long it took until beat had that in force.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2
from grpc_reflection.v1alpha import reflection

from dev import ready
from dev.run import ROOT
from dev.server import free_port
from dev.servers import private_servers
from shared.domain.job import JobDefaults, JobDraft, JobState, ScheduleTerms, define
from shared.messaging.queues import load_queues
from shared.store import executions, jobs
from shared.store.layout import lay_out
from shared.store.mongo import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICE = "benchmark.v1.Target"
WARM_UP = timedelta(seconds=3)
READY = 60.0
CHANGES = 20


class Target:
    """Notes when it was called, by execution id."""

    def __init__(self) -> None:
        self.called_at: dict[str, datetime] = {}
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_unary_rpc_method_handler(
            self._call,
            request_deserializer=empty_pb2.Empty.FromString,
            response_serializer=empty_pb2.Empty.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Call": handler}),))
        reflection.enable_server_reflection((SERVICE,), self._server, pool=_contract())
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """End at once."""
        self._server.stop(None).wait()

    def _call(self, _request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        now = datetime.now(UTC)
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.called_at.setdefault(metadata["x-execution-id"], now)
        return empty_pb2.Empty()


def _contract() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmark.proto", package="benchmark.v1", syntax="proto3", dependency=[empty_pb2.DESCRIPTOR.name]
    )
    method = file.service.add(name="Target").method.add(name="Call")
    method.input_type = method.output_type = ".google.protobuf.Empty"
    pool.Add(file)
    return pool


@contextmanager
def processes(environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Run one beat and one worker; end them, and wait for their end, afterwards."""
    checks = {
        "worker": ready.worker_answering(environment["CELERY_BROKER_URL"]),
        "beat": ready.beat_leasing(environment["MONGODB_URL"]),
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in checks:
            with (folder / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", name]
                running.append(
                    subprocess.Popen(
                        command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
                    )
                )
        deadline = time.monotonic() + READY
        for name, check in checks.items():
            while not check():
                if time.monotonic() > deadline:
                    sys.exit(
                        f"error: the {name} is not ready after {READY:g} s:\n{(folder / f'{name}.log').read_text()}"
                    )
                time.sleep(0.1)
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def create_jobs(database: Any, count: int, config: Path, now: datetime) -> None:
    """Insert jobs as the server stores them."""
    queues = load_queues(config)
    defaults = JobDefaults(queues=queues.names, queue_by_type=queues.by_type)
    for number in range(count):
        if number % 2:
            terms = ScheduleTerms("cron", {"expression": "* * * * * *"})
        else:
            anchor = now.replace(microsecond=0) + timedelta(milliseconds=1000 * number // count + 37)
            terms = ScheduleTerms("interval", {"seconds": "1"}, start_time=anchor)
        draft = JobDraft(
            job_id=f"job-{number}",
            name=f"Job {number}",
            job_type="CUSTOM",
            target_service="benchmark",
            target_method="Call",
            schedule=terms,
        )
        document = jobs.new_document(define(draft, defaults, now), f"uid-{number}", now, "benchmark")
        database[jobs.COLLECTION].insert_one(document)


def changes(database: Any, count: int) -> list[float]:
    """Pause and resume a job in turns, as the server does; return how long each took to be in force, in ms."""
    found = []
    collection = database[jobs.COLLECTION]
    for number in range(count):
        document = collection.find_one({"_id": "job-0"})
        state = JobState.ACTIVE if document["state"] == JobState.PAUSED else JobState.PAUSED
        change = jobs.Queued(jobs.to_job(document).definition.schedule, "benchmark", "")
        # At moments that have nothing to do with beat's own rhythm.
        time.sleep(0.5 + 0.037 * (number % 13))
        started = time.monotonic()
        collection.update_one({"_id": "job-0"}, jobs.edit({}, state, change))
        while collection.find_one({"_id": "job-0"}, {"epoch": 1})["epoch"] == document["epoch"]:
            time.sleep(0.002)
        found.append((time.monotonic() - started) * 1000)
    return found


def lateness(database: Any, target: Target, since: datetime) -> dict[str, list[float]]:
    """Return the lateness of each step in milliseconds."""
    found: dict[str, list[float]] = {"fire": [], "attempt": [], "call": []}
    for row in database[executions.COLLECTION].find({"run": True, "nominal_time": {"$gte": since}}):
        nominal = row["nominal_time"]
        entered = {step["state"]: step["at"] for step in reversed(row["transitions"])}
        # A worker may be faster than the mark of the confirm; there is no QUEUED then, and the claim came even later
        # than the confirm.
        for step, at in (
            ("fire", entered.get("QUEUED") or entered.get("RUNNING")),
            ("attempt", entered.get("RUNNING")),
            ("call", target.called_at.get(row["_id"])),
        ):
            if at is not None:
                found[step].append((at - nominal) / timedelta(milliseconds=1))
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure (default 30)")
    parser.add_argument("--jobs", type=int, default=5, help="jobs, each of which fires every second (default 5)")
    given = parser.parse_args()
    target = Target()
    with TemporaryDirectory() as temporary, private_servers(Path(temporary)) as servers:
        folder = Path(temporary)
        shutil.copytree(ROOT / "config", folder / "config")
        with (folder / "config" / "targets.yaml").open("a") as targets:
            targets.write(f"  benchmark:\n    address: localhost:{target.port}\n")
        environment = {
            **servers.environment,
            "CONFIG_DIR": str(folder / "config"),
            "BEAT_METRICS_PORT": str(free_port()),
            "WORKER_METRICS_PORT": str(free_port()),
            "LOG_LEVEL": "WARNING",
        }
        database = connect(servers.mongodb.url)
        lay_out(database)
        with processes(environment, folder):
            now = datetime.now(UTC)
            create_jobs(database, given.jobs, folder / "config", now)
            time.sleep(WARM_UP.total_seconds() + given.seconds)
            found = lateness(database, target, now + WARM_UP)
            found["change"] = changes(database, CHANGES)
        database.client.close()
    target.stop()
    print(f"lateness in ms, {given.jobs} jobs for {given.seconds:g} s ({len(found['fire'])} fires):")
    print(f"{'':<34}{'median':>8}{'p95':>8}{'max':>8}")
    for step, meaning in (
        ("fire", "message confirmed"),
        ("attempt", "attempt starts"),
        ("call", "target called"),
        ("change", "pause or resume in force"),
    ):
        values = found[step]
        p95 = quantiles(values, n=20, method="inclusive")[-1]
        print(f"{f'{step} ({meaning})':<34}{median(values):8.1f}{p95:8.1f}{max(values):8.1f}")


if __name__ == "__main__":
    main()
