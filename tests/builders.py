"""Test data: values that are right as they are, so that a test states only what it is about."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen
from uuid import uuid4

from shared.domain.execution import State
from shared.domain.job import JobDefaults, JobDefinition, JobDraft, JobType, ScheduleTerms, define
from shared.domain.plan import Mode, Row, Spec
from shared.domain.schedule import IntervalSchedule, OnceSchedule
from shared.store import executions, jobs

if TYPE_CHECKING:
    from dev.server import Server
    from shared.domain.schedule import Schedule

ORIGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUEUES = {
    JobType.SCRAPING: "scraping",
    JobType.ANALYSIS: "analysis",
    JobType.MONITORING: "monitoring",
    JobType.MAINTENANCE: "maintenance",
    JobType.CUSTOM: "default_queue",
}
DEFAULTS = JobDefaults(queues=frozenset({*QUEUES.values(), "manual"}), queue_by_type=QUEUES)


def at(seconds: float) -> datetime:
    """Return the instant so many seconds after the origin of all tests."""
    return ORIGIN + timedelta(seconds=seconds)


def every(seconds: int = 1, *, anchor: datetime = ORIGIN, end: datetime | None = None) -> IntervalSchedule:
    return IntervalSchedule(terms=(("seconds", str(seconds)),), anchor=anchor, end_time=end)


def once(instant: datetime) -> OnceSchedule:
    return OnceSchedule(terms=(("at", instant.isoformat()),), at=instant)


def draft(**changes: Any) -> JobDraft:
    usual = JobDraft(
        job_id="job-1",
        name="scrape",
        job_type="SCRAPING",
        target_service="scraper-service",
        target_method="ScrapeCompetitorPrices",
        schedule=ScheduleTerms("interval", {"hours": "1"}),
    )
    return replace(usual, **changes)


def definition(**changes: Any) -> JobDefinition:
    return define(draft(**changes), DEFAULTS, ORIGIN)


def job_document(
    job_id: str = "job-1", schedule: Schedule | None = None, *, created: datetime = ORIGIN, **changes: Any
) -> dict[str, Any]:
    """Return the document of a job that fires every second, created at the origin of all tests."""
    defined = definition(job_id=job_id, schedule=schedule or every(), **changes)
    return jobs.new_document(defined, f"uid-{job_id}", created, "tester")


def fired(
    job: dict[str, Any], nominal: datetime, now: datetime | None = None, *, held: bool = False, **changes: Any
) -> dict[str, Any]:
    """Return the document of an execution that a schedule fired."""
    row = Row(State.PENDING, nominal, nominal, held=held)
    return executions.scheduled_document(job, row, now or nominal, "beat") | changes


def spec(schedule: Schedule | None = None, mode: Mode = Mode.ACTIVE) -> Spec:
    return Spec(schedule or every(), mode)


def own_vhost(rabbitmq: Server) -> str:
    """Return the URL of a virtual host of its own on a broker, so that tests do not meet in its queues."""
    name = f"test-{uuid4().hex[:12]}"
    manage(rabbitmq, "PUT", f"vhosts/{name}")
    return f"{rabbitmq.url.rstrip('/')}/{name}"


def manage(rabbitmq: Server, method: str, path: str, **body: str) -> Any:
    """Ask the broker's management API."""
    request = Request(
        f"http://127.0.0.1:{rabbitmq.program.ports['management']}/api/{path}",
        method=method,
        data=json.dumps(body).encode() if method == "PUT" else None,
        headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q=", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def damages(document: dict[str, Any], kept: set[str]) -> list[dict[str, Any]]:
    """Ways to damage a document, one field each."""
    fields = sorted(document.keys() - kept)
    return [{"$set": {field: value}} for field in fields for value in ({"by": "hand"}, [None], -7.5, "x", None)] + [
        {"$unset": {field: ""}} for field in fields
    ]
