"""The preconfigured jobs: what is in config/jobs.yaml is created once, and what is wrong there stops the start."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dev.server import HOST, free_port
from scheduler_service.jobs.definitions import Definitions
from scheduler_service.jobs.jobs import Jobs
from scheduler_service.jobs.seed import plant, read_seed
from shared.calendars import load_calendars
from shared.domain.errors import InvalidInput
from shared.domain.exclusions import ExclusionTerms
from shared.domain.job import ScheduleTerms
from shared.messaging.queues import load_queues
from shared.proto import scheduler_service_pb2 as pb
from shared.settings import Settings
from shared.store.mongo import connect_async
from shared.targets import load_targets
from tests.integration.test_server_harness import serving

if TYPE_CHECKING:
    from pymongo.database import Database

CONFIG = Path(__file__).resolve().parents[2] / "config"


def definitions_of(folder: Path = CONFIG) -> Definitions:
    settings = Settings(config_dir=CONFIG)
    if (folder / "targets.yaml").exists():
        settings = Settings(config_dir=folder)
    return Definitions(settings, load_queues(CONFIG), load_targets(settings), load_calendars(CONFIG))


def an_entry(**fields: Any) -> dict[str, Any]:
    values = {
        "job_id": "mine",
        "name": "Mine",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "schedule_config": {"type": "cron", "config": {"hour": 8, "minute": 0}},
    } | fields
    return {name: value for name, value in values.items() if value is not None}


def a_folder(folder: Path, *entries: dict[str, Any]) -> Path:
    (folder / "jobs.yaml").write_text(yaml.safe_dump({"jobs": list(entries)}))
    return folder


async def test_the_preconfigured_jobs_are_created_once_and_what_a_user_changed_is_kept(database_url: str) -> None:
    drafts = await read_seed(CONFIG, definitions_of())
    async with serving(database_url, drafts) as server:
        page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
        assert {job.job_id: job.queue for job in page.jobs} == {
            "daily-competitor-scraping": "scraping",
            "quick-price-check": "scraping",
            "weekly-price-analysis": "analysis",
            "health-check-services": "monitoring",
            "cleanup-old-execution-records": "maintenance",
        }
        assert {job.created_by for job in page.jobs} == {"config/jobs.yaml"}
        await server.stub.UpdateScheduledJob(
            pb.UpdateScheduledJobRequest(job_id="quick-price-check", job=pb.ScheduledJob(name="Changed"))
        )
        await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="weekly-price-analysis"))
    async with serving(database_url, drafts) as server:
        page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
        assert len(page.jobs) == 4
        assert "Changed" in {job.name for job in page.jobs}


async def test_servers_that_start_at_once_create_each_job_once(
    database: Database[dict[str, Any]], database_url: str
) -> None:
    definitions = definitions_of()
    drafts = await read_seed(CONFIG, definitions)
    stores = [connect_async(database_url) for _ in range(5)]
    planted = await asyncio.gather(*(plant(drafts, Jobs(store), definitions) for store in stores))
    assert sum(planted) == len(drafts)
    assert database.jobs.count_documents({}) == database.job_revisions.count_documents({}) == len(drafts)
    for store in stores:
        await store.client.close()


async def test_all_that_is_wrong_is_said_at_once_with_entry_and_field(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path,
        an_entry(job_id="one", colour="red", schedule_config={"type": "cron", "config": {}, "zone": "UTC"}),
        an_entry(job_id="two", queue="nowhere", target_method="Nothing", priority=12),
        an_entry(job_id="three", timeout="soon"),
        an_entry(job_id=None),
        an_entry(job_id="five", schedule_config={"type": "cron", "config": {"hour": 25, "minute": 0}}),
        an_entry(job_id="six"),
        an_entry(job_id="six"),
    )
    with pytest.raises(InvalidInput) as refused:
        await read_seed(folder, definitions_of())
    fields = [violation.field for violation in refused.value.violations]
    assert fields == [
        "jobs.yaml: one.colour",
        "jobs.yaml: one.schedule_config.zone",
        "jobs.yaml: one.schedule_config.config",
        "jobs.yaml: two.queue",
        "jobs.yaml: two.priority",
        "jobs.yaml: two.target_method",
        "jobs.yaml: three.timeout",
        "jobs.yaml: jobs[3].job_id",
        "jobs.yaml: jobs[3].job_id",
        "jobs.yaml: five.schedule_config.config.hour",
        "jobs.yaml: six.job_id",
    ]


async def test_an_entry_says_a_schedule_with_all_of_it_as_a_request_does(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, an_entry(schedule_config="HERE"))
    terms = """
      type: cron
      expressions: [0 8 * * *, "@weekly"]
      timezone: Europe/Berlin
      jitter: 90s
      max_runs: 12
      exclusions:
        dates: [2030-12-25]
        ranges: [{first: 2030-12-27, last: 2031-01-01}]
        on_excluded: ON_EXCLUDED_NEXT_BUSINESS_DAY
        weekend: [SUN]
    """
    (folder / "jobs.yaml").write_text((folder / "jobs.yaml").read_text().replace("HERE", terms))
    (draft,) = await read_seed(folder, definitions_of())
    assert draft.schedule == ScheduleTerms(
        "cron",
        timezone="Europe/Berlin",
        jitter=timedelta(seconds=90),
        max_runs=12,
        expressions=("0 8 * * *", "@weekly"),
        exclusions=ExclusionTerms(
            ("2030-12-25",), (("2030-12-27", "2031-01-01"),), on_excluded="NEXT_BUSINESS_DAY", weekend=("SUN",)
        ),
    )


@pytest.mark.parametrize("text", ["", "jobs: 5", "jobs: [a, b]", "jobs: [", "- x"])
async def test_a_file_that_is_no_list_of_jobs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "jobs.yaml").write_text(text)
    with pytest.raises(InvalidInput):
        await read_seed(tmp_path, definitions_of())


async def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        await read_seed(tmp_path, definitions_of())


async def test_a_target_that_is_away_does_not_stop_the_start(tmp_path: Path) -> None:
    targets = {"targets": {"elsewhere": {"address": f"{HOST}:{free_port()}"}}}
    (tmp_path / "targets.yaml").write_text(yaml.safe_dump(targets))
    folder = a_folder(tmp_path, an_entry(target_service="elsewhere", target_method="Anything"))
    (draft,) = await read_seed(folder, definitions_of(folder))
    assert draft.target_service == "elsewhere"


async def test_an_entry_whose_time_has_passed_does_not_stop_a_later_start(
    tmp_path: Path, database: Database[dict[str, Any]], database_url: str
) -> None:
    folder = a_folder(tmp_path, an_entry(schedule_config={"type": "once", "config": {"at": "2021-01-01T00:00:00Z"}}))
    text = (folder / "jobs.yaml").read_text()
    (folder / "jobs.yaml").write_text(text.replace("'2021-01-01T00:00:00Z'", "2021-01-01T00:00:00Z"))
    definitions = definitions_of()
    drafts = await read_seed(folder, definitions)
    store = connect_async(database_url)
    assert await plant(drafts, Jobs(store), definitions) == 0
    assert database.jobs.count_documents({}) == 0
    await store.client.close()


async def test_an_interval_is_counted_from_the_creation(
    tmp_path: Path, database: Database[dict[str, Any]], database_url: str
) -> None:
    folder = a_folder(tmp_path, an_entry(schedule_config={"type": "interval", "config": {"hours": 1}}))
    definitions = definitions_of()
    store = connect_async(database_url)
    await plant(await read_seed(folder, definitions), Jobs(store), definitions)
    await store.client.close()
    job = database.jobs.find_one({"_id": "mine"})
    assert job is not None
    created: datetime = job["created_at"]
    assert job["next_nominal"] == created.replace(microsecond=0) + timedelta(hours=1)
