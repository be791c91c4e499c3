"""The client that the platform published long ago runs unchanged; published_client.py is kept verbatim."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from dev.run import ROOT
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub
    from tests.acceptance.system import System

# The test's server has a port of its own, the client names the standard one: only that is put right, from outside.
RUN = """
import sys, grpc
connect = grpc.insecure_channel
def redirected(address, *args, **kwargs):
    assert address == "localhost:50054", address
    return connect(sys.argv[1], *args, **kwargs)
grpc.insecure_channel = redirected
source = open("tests/acceptance/published_client.py").read()
names = {}
exec(compile(source, "published_client.py", "exec"), names)
print(names["response"].execution_id, names["status"].job.job_id, len(names["jobs"].jobs))
"""


def run_client(running: System) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, running.address], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_published_client_runs_unchanged(running: System, stub: SchedulerServiceStub):
    missing = run_client(running)
    assert missing.returncode != 0
    assert "StatusCode.NOT_FOUND" in missing.stderr
    assert "job-123" in missing.stderr.split("details = ")[1].splitlines()[0]

    (created, *_) = stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=1)).jobs
    assert (created.name, created.job_type, created.queue) == ("Custom Scraping Job", pb.SCRAPING, "scraping")
    assert dict(created.schedule_config.config) == {"hour": "10", "minute": "0"}
    assert MessageToDict(created.parameters) == {"competitor_ids": ["amazon"]}

    stub.CreateScheduledJob(
        pb.CreateScheduledJobRequest(
            job_id="job-123",
            name="The one that the client names",
            job_type="SCRAPING",
            target_service="scraper-service",
            target_method="ScrapeCompetitorPrices",
            schedule_config=pb.ScheduleConfig(type="cron", config={"hour": "10", "minute": "0"}),
        )
    )
    found = run_client(running)
    assert found.returncode == 0, found.stderr
    execution_id, job_id, listed = found.stdout.split()
    assert job_id == "job-123"
    assert int(listed) >= 3
    assert stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id)).execution.job_id == "job-123"
