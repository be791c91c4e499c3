"""The server and zone rules that its own package tzdata does not have, or no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from scheduler_service.jobs.jobs import Jobs
from shared.domain.schedule import parse_schedule
from shared.domain.zones import package_rules, zone_names
from shared.proto import scheduler_service_pb2 as pb
from shared.store.mongo import connect_async
from tests.builders import ORIGIN, definition
from tests.integration.test_server_harness import cron, refusal, serving
from tests.tzdata import fixed, install, installed

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

ZONE = "Europe/Berlin"


def hour_of(status: Any) -> int:
    hour: int = status.next_fire_times[0].ToDatetime().hour
    return hour


async def test_the_rules_of_the_package_are_kept_before_a_job_is(
    database: Database[dict[str, Any]], database_url: str
) -> None:
    """Also by a server that has not prepared the store yet: it answers calls meanwhile."""
    client = connect_async(database_url)
    schedule = parse_schedule(
        type="cron", config={"expression": "0 8 * * *"}, timezone=ZONE, now=ORIGIN, hash_key="job-1"
    )
    try:
        await Jobs(client).create(definition(schedule=schedule), "uid-1", ORIGIN, "tester")
    finally:
        await client.client.close()
    assert database.job_revisions.distinct("schedule.rules") == [package_rules(ZONE)]
    assert database.zone_rules.count_documents({"_id": package_rules(ZONE), "zone": ZONE}) == 1
    assert database.zone_rules.count_documents({}) == len(zone_names())


async def test_jobs_are_shown_by_the_rules_that_they_follow_until_they_are_changed(
    database: Database[dict[str, Any]],  # noqa: ARG001 - with its indexes
    database_url: str,
    tmp_path: Path,
) -> None:
    with installed(install(tmp_path / "old", "2030.1", {ZONE: fixed(3 * 3600)})):
        async with serving(database_url) as server:
            await server.create(job_id="prices", schedule_config=cron(ZONE, hour="8", minute="0"))
    with installed(install(tmp_path / "gone", "2030.2", {ZONE: None})):
        async with serving(database_url) as server:
            assert hour_of(await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="prices"))) == 5
            listed = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
            assert "prices" in [job.job_id for job in listed.jobs]
            same = pb.ScheduledJob(description="same times", schedule_config=cron(ZONE, hour="8", minute="0"))
            await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="prices", job=same))
            assert hour_of(await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="prices"))) == 5
            other = pb.ScheduledJob(schedule_config=cron(ZONE, hour="9", minute="0"))
            request = pb.UpdateScheduledJobRequest(
                job_id="prices", job=other, update_mask=FieldMask(paths=["schedule_config"])
            )
            refused = await refusal(server.stub.UpdateScheduledJob(request))
            assert refused.violations[0][0] == "job.schedule_config.timezone"
            other.schedule_config.timezone = "Europe/Paris"
            request.job.CopyFrom(other)
            await server.stub.UpdateScheduledJob(request)
            assert hour_of(await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="prices"))) in {7, 8}
