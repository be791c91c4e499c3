"""The server and zone rules that its own package tzdata does not have, or no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from shared.domain.zones import package_rules, zone_names
from shared.proto import scheduler_service_pb2 as pb
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
    async with serving(database_url) as server:
        job = await server.create(schedule_config=cron(ZONE, hour="8", minute="0"))
        stored = await server.database.jobs.find_one({"_id": job.job_id})
        kept = await server.database.zone_rules.find_one({"_id": stored["schedule"]["rules"]})
        assert kept["zone"] == ZONE
        assert await server.database.zone_rules.count_documents({}) == len(zone_names())
    assert database.job_revisions.distinct("schedule.rules") == [package_rules(ZONE)]


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
