"""When the jobs of the platforms in examples/ fire: the acceptance tests run them sooner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dev.run import ROOT
from shared.domain.occurrences import upcoming
from shared.domain.schedule import parse_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

SATURDAY = datetime(2026, 1, 3, 12, tzinfo=UTC)


def job(platform: str, job_id: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "examples" / platform / "jobs.yaml").read_text())
    (found,) = (job for job in document["jobs"] if job["job_id"] == job_id)
    return dict(found)


def fires(platform: str, job_id: str) -> list[datetime]:
    """Return all fires of a day and a half, from a Saturday at noon (UTC) on."""
    config = {key: str(value) for key, value in job(platform, job_id)["schedule_config"]["config"].items()}
    schedule = parse_schedule(type="cron", config=config, timezone="UTC", now=SATURDAY, hash_key=job_id)
    return [at for at in upcoming(schedule, SATURDAY, 1000) if at < SATURDAY + timedelta(days=1.5)]


def every(minutes: int) -> Callable[[datetime], bool]:
    return lambda at: (at.hour * 60 + at.minute) % minutes == 0


@pytest.mark.parametrize(
    ("platform", "job_id", "expected"),
    [
        ("data_collection", "collect-costs", every(15)),
        ("forecasting", "forecast", lambda at: every(120)(at) and at.hour != 8),
        ("forecasting", "daily-summary", lambda at: (at.hour, at.minute) == (8, 0)),
        ("forecasting", "cleanup", lambda at: at == datetime(2026, 1, 4, tzinfo=UTC)),
        ("trends", "hourly-trends", every(60)),
        ("trends", "hackernews-every-15-minutes", every(15)),
        ("trends", "breaking-news", every(5)),
    ],
)
def test_it_fires_when_the_readme_says(platform: str, job_id: str, expected: Callable[[datetime], bool]):
    minutes = (SATURDAY + timedelta(minutes=minute) for minute in range(1, 36 * 60))
    assert fires(platform, job_id) == [at for at in minutes if expected(at)]


@pytest.mark.parametrize(
    ("platform", "job_id", "wait"), [("data_collection", "collect-costs", "60s"), ("forecasting", "forecast", "300s")]
)
def test_its_three_retries_are_that_far_apart(platform: str, job_id: str, wait: str):
    policy = job(platform, job_id)["retry_policy"]
    assert (policy["max_attempts"], policy["multiplier"], policy["jitter"]) == (4, 1, "JITTER_NONE")
    assert policy["initial_backoff"] == policy["max_backoff"] == wait
