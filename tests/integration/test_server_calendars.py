"""Named calendars and public holidays over gRPC: found out when a job is created, refused when they are not known."""

from __future__ import annotations

from datetime import UTC, datetime
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pytest

from shared.proto import scheduler_service_pb2 as pb
from shared.settings import Settings
from tests.integration.test_server_harness import Running, a_request, refusal, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pymongo.database import Database


@pytest.fixture
async def server(
    database: Database[dict[str, Any]],  # noqa: ARG001 - with its indexes
    database_url: str,
    tmp_path: Path,
) -> AsyncIterator[Running]:
    folder = tmp_path / "config"
    copytree(Settings().config_dir, folder)
    (folder / "calendars" / "inventory.yaml").write_text("- 01-02\n")
    async with serving(database_url, config_dir=folder) as running:
        yield running


def new_years_days(**exclusions: Any) -> pb.ScheduleConfig:
    """Return a schedule of the first three days of each January, at noon in Berlin, with some left out."""
    return pb.ScheduleConfig(
        type="cron", config={"expression": "0 12 1-3 1 *"}, timezone="Europe/Berlin",
        exclusions=pb.Exclusions(**exclusions),
    )  # fmt: skip


async def fires(server: Running, job_id: str) -> list[str]:
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id=job_id))
    return [f"{time.ToDatetime():%Y-%m-%d}" for time in status.next_fire_times]


async def test_the_days_of_calendars_and_holidays_are_left_out(server: Running) -> None:
    now = datetime.now(UTC)
    third = now.replace(month=1, day=3, hour=11, minute=0, second=0, microsecond=0)  # noon in Berlin
    coming = now.year if now < third else now.year + 1
    job = await server.create(schedule_config=new_years_days(calendars=["inventory"], holidays=["DE-BY"]))
    assert (await fires(server, job.job_id))[:2] == [f"{coming}-01-03", f"{coming + 1}-01-03"]
    assert list(job.schedule_config.exclusions.calendars) == ["inventory"]
    stored = await server.database.jobs.find_one({"_id": job.job_id})
    assert stored["schedule"]["exclusions"]["source"].startswith(f"{now.year - 1}-{now.year + 10} ")


async def test_unknown_names_are_refused_at_their_place(server: Running) -> None:
    request = a_request(schedule_config=new_years_days(calendars=["inventry"], holidays=["US", "DE-XX"]))
    refused = await refusal(server.stub.CreateScheduledJob(request))
    assert [field for field, _ in refused.violations] == [
        "schedule_config.exclusions.calendars[0]",
        "schedule_config.exclusions.holidays[1]",
    ]
    assert "did you mean 'inventory'?" in refused.violations[0][1]
