"""Lists by filters: whatever is asked, an index answers it, a page costs no more than it may, and none is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scheduler_service.jobs.listing
from scheduler_service.jobs.listing import read_page
from shared.domain.execution import OPEN, State
from shared.domain.filters import (
    EXECUTION_FIELDS,
    EXECUTION_ORDERS,
    JOB_FIELDS,
    JOB_ORDERS,
    Order,
    parse_filter,
    parse_order,
)
from shared.proto import scheduler_service_pb2 as pb
from shared.store.layout import lay_out
from shared.store.listing import Among, Listing, Stretch, execution_listing, job_listing
from shared.store.mongo import connect, connect_async
from tests.builders import fired, job_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"
Document: TypeAlias = "dict[str, Any]"

NAME = "test_listing"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
JOBS = 400
TYPES = ("SCRAPING", "ANALYSIS", "MONITORING", "CUSTOM")
STATES = ("ACTIVE", "ACTIVE", "ACTIVE", "PAUSED", "COMPLETED", "ERROR", "DELETED")


def a_job(number: int) -> Document:
    """Return one of many jobs: a third have the same creation, one in a hundred a rare label, some fire at one time."""
    labels = {"team": ("pricing", "scraping", "ops")[number % 3], "region": "eu"} if number % 5 else {}
    labels |= {"rare": "yes"} if number % 100 == 7 else {}
    state = STATES[number % len(STATES)]
    document = job_document(
        f"job-{number:03}", name=f"{('Daily', 'Weekly', 'daily')[number % 3]} {number % 50}", labels=labels,
        job_type=TYPES[number % 4],
    )  # fmt: skip
    return document | {
        "state": state,
        "created_at": NOW - SECOND * (number // 3),
        "queue": f"queue-{number % 6}",
        "target_service": f"service-{number % 9}",
        "wake_at": NOW + SECOND * (number // 4) if state == "ACTIVE" else NOW if state == "PAUSED" else None,
    }


def an_execution(number: int) -> Document:
    """Return one of many rows: most have succeeded, by a schedule."""
    job = job_document(f"job-{number % 40:03}") | {"queue": f"queue-{number % 6}"}
    nominal = NOW - SECOND * (number // 4)
    kind = number % 50
    if kind in {10, 11, 12}:
        decided = {"run": False, "state": ("SKIPPED", "COALESCED", "CLOSED")[kind - 10], "finished_at": nominal}
        row = fired(job, nominal, _id=f"row-{number}") | decided
        for name in ("open", "send_at", "queue", *(["run"] if kind == 12 else [])):
            del row[name]
        return row
    state = {0: "FAILED", 1: "CANCELLED", 2: "RUNNING", 3: "PENDING", 4: "WAITING"}.get(kind, "SUCCEEDED")
    row = fired(job, nominal, _id=f"row-{number}", state=state)
    row |= {} if state == "PENDING" else {"started_at": nominal + SECOND}
    row |= {5: {"trigger": "MANUAL"}, 6: {"trigger": "RETRY"}, 7: {"trigger": "API", "group": "group-1"}}.get(kind, {})
    if State(state) not in OPEN:
        del row["open"]
        row["finished_at"] = nominal + SECOND * (number % 60)
    if kind in {20, 21}:
        del row["run"]
        row |= {"trigger": "PART", "parent": f"whole-{number % 3}", "part": True, "part_key": f"key-{kind}"}
    return row


@pytest.fixture(scope="module")
def filled(mongodb_url: str) -> Iterator[Db]:
    client = connect(mongodb_url).client
    database = client[NAME]
    lay_out(database)
    database.jobs.insert_many(a_job(number) for number in range(JOBS))
    database.executions.insert_many(an_execution(number) for number in range(3_000))
    yield database
    client.drop_database(NAME)
    client.close()


def jobs_listing(filter_text: str, order_text: str = "", *, show_deleted: bool = False) -> Listing:
    chosen = parse_filter(filter_text, JOB_FIELDS)
    return job_listing(chosen, parse_order(order_text, JOB_ORDERS, chosen), show_deleted=show_deleted)


def executions_listing(filter_text: str, order_text: str = "", **among: Any) -> Listing:
    chosen = parse_filter(filter_text, EXECUTION_FIELDS)
    return execution_listing(chosen, parse_order(order_text, EXECUTION_ORDERS, chosen), Among(**among))


# Indexes:


def explain(database: Db, collection: str, stretch: Stretch, **find: Any) -> tuple[set[str], Mapping[str, Any]]:
    """Return the stages of the plan, and what it took."""
    command = {"find": collection, "filter": stretch.query, "sort": dict(stretch.sort), **find}
    explained = database.command({"explain": command, "verbosity": "executionStats"})
    stages = set()
    waiting = [explained["queryPlanner"]["winningPlan"]]
    while waiting:
        stage = waiting.pop()
        stages.add(stage["stage"])
        waiting += [stage["inputStage"]] if "inputStage" in stage else []
        waiting += stage.get("inputStages", [])
    return stages, explained["executionStats"]


JOB_QUESTIONS = {
    "": ["job_state"],
    "state = ACTIVE": ["job_state"],
    "state = PAUSED OR state = ERROR": ["job_state"],
    "state != PAUSED": ["job_state"],
    "state = DELETED": ["job_state"],
    "job_type = SCRAPING": ["job_type", "job_state"],
    "job_type = SCRAPING OR job_type = CUSTOM": ["job_type", "job_state"],
    "target_service = service-1 AND target_method = Nothing": ["target_service", "job_state"],
    "queue = queue-1 AND state = ACTIVE": ["queue", "job_state"],
    "queue != queue-1": ["job_state"],
    "labels.rare = yes AND labels.team = pricing": ["labels", "labels", "job_state"],
    "labels.team = pricing OR labels.team = ops": ["labels", "job_state"],
    "labels.rare:* AND queue = queue-1": ["label_keys", "queue", "job_state"],
    "labels.team != pricing": ["job_state"],
    "created_at > 2026-03-02T11:59:00Z AND created_at <= 2026-03-02T11:59:30Z": ["job_state"],
    "labels.team = ops AND created_at > 2026-03-02T11:59:00Z": ["labels", "job_state"],
    'name = "Daily*"': ["name"],
    'name = "Daily 3" OR name = "Weekly 4"': ["name"],
    'name = "Daily*" AND labels.rare = yes': ["name"],
    "next_fire_time < 2026-03-02T12:00:30Z": ["wake_time"],
    "next_fire_time >= 2026-03-02T12:00:30Z AND queue = queue-1": ["wake_time"],
}

EXECUTION_QUESTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "": ({}, ["nominal_time"]),
    "state = SUCCEEDED": ({}, ["nominal_time"]),
    "state = FAILED": ({}, ["ended_badly"]),
    "state = FAILED OR state = CANCELLED": ({}, ["ended_badly"]),
    "state = RUNNING": ({}, ["open_time", "nominal_time"]),
    "state = FAILED AND trigger = MANUAL": ({}, ["ended_badly", "trigger", "nominal_time"]),
    "trigger = MANUAL OR trigger = RETRY": ({}, ["trigger"]),
    "trigger = SCHEDULE": ({}, ["nominal_time"]),
    "queue = queue-1 AND target_service = scraper-service": ({}, ["nominal_time"]),
    'group_id = "group-1"': ({}, ["group_time", "nominal_time"]),
    "state = SKIPPED": ({"decisions": True}, ["nominal_time"]),
    "nominal_time >= 2026-03-02T11:59:00Z": ({"uids": ("uid-job-001",)}, ["job"]),
    "state = RUNNING AND nominal_time < 2026-03-02T12:00:00Z": (
        {"uids": ("uid-job-002",)}, ["job", "open_time", "nominal_time"],
    ),
    "queue = queue-0 OR queue = queue-2": ({"uids": ("uid-job-002", "uid-job-004")}, ["job", "nominal_time"]),
    "finished_at > 2026-03-02T11:59:00Z": ({}, ["finished_at"]),
    "finished_at > 2026-03-02T11:59:00Z AND state = FAILED": ({}, ["finished_at"]),
    "started_at > 2026-03-02T11:59:00Z": ({}, ["nominal_time"]),
    "state = SUCCEEDED AND queue != queue-3": ({"parts_of": "whole-1"}, ["parts_time"]),
    "state != FAILED": ({"uids": ("uid-job-020",), "key": "key-20"}, ["part_key_time"]),
}  # fmt: skip


def check_ways(database: Db, collection: str, listing: Listing, indexes: list[str]) -> None:
    (everything,) = listing.found(listing.ways[-1], None, None)
    first = database[collection].find_one(everything.query, sort=listing.sort)
    # Where nothing fits, no page has a position.
    positions = [None] if first is None else [None, listing.position(first)]
    assert [way.index for way in listing.ways][: len(indexes)] == indexes
    for way, after in product(listing.ways, positions):
        for found in [*listing.found(way, after, None), *listing.found(way, None, after)]:
            stages, _ = explain(database, collection, found, hint=way.index, limit=2)
            assert not stages & {"COLLSCAN", "SORT"}, (way.index, stages, found)
        for entries in listing.entries(way, after):
            probe = {"projection": listing.position_fields, "skip": 20, "limit": 1}
            stages, stats = explain(database, collection, entries, hint=way.index, **probe)
            assert not stages & {"COLLSCAN", "SORT"}, (way.index, stages)
            assert stats["totalKeysExamined"] <= 21 + 2 * 64, (way.index, stats["totalKeysExamined"])
            # How far it reaches is read off the index, but where that is over labels, or several ranges are merged.
            assert stats["totalDocsExamined"] == 0 or way.index.startswith("label") or "SORT_MERGE" in stages


@pytest.mark.parametrize("filter_text", JOB_QUESTIONS)
@pytest.mark.parametrize("back", [False, True])
def test_a_filter_of_jobs_is_answered_by_indexes_in_their_order(filled: Db, filter_text: str, back: bool) -> None:
    chosen = parse_filter(filter_text, JOB_FIELDS)
    order = parse_order("", JOB_ORDERS, chosen)
    listing = job_listing(chosen, Order(order.field, descending=order.descending is not back))
    check_ways(filled, "jobs", listing, JOB_QUESTIONS[filter_text])


@pytest.mark.parametrize("filter_text", EXECUTION_QUESTIONS)
@pytest.mark.parametrize("back", [False, True])
def test_a_filter_of_executions_is_answered_by_indexes_in_their_order(filled: Db, filter_text: str, back: bool) -> None:
    among, indexes = EXECUTION_QUESTIONS[filter_text]
    chosen = parse_filter(filter_text, EXECUTION_FIELDS)
    order = parse_order("", EXECUTION_ORDERS, chosen)
    turned = Order(order.field, descending=order.descending is not back)
    check_ways(filled, "executions", execution_listing(chosen, turned, Among(**among)), indexes)


@pytest.mark.parametrize(
    ("text", "index"), [("labels.rare = yes", "labels"), ("labels.rare = yes AND labels.team:*", "labels")]
)
def test_a_label_that_is_rare_costs_no_more_than_what_has_it(filled: Db, text: str, index: str) -> None:
    listing = jobs_listing(text)
    (found,) = listing.found(listing.ways[0], None, None)
    _, stats = explain(filled, "jobs", found, hint=index, limit=51)
    assert stats["totalKeysExamined"] <= 5


@pytest.mark.parametrize("order", ["created_at desc", "name", "next_fire_time"])
def test_jobs_that_are_named_cost_no_more_than_they_are(filled: Db, order: str) -> None:
    listing = jobs_listing("(job_id = job-007 OR job_id = job-014 OR job_id = none) AND queue != queue-5", order)
    (way,) = listing.ways
    for found in listing.found(way, None, None):
        _, stats = explain(filled, "jobs", found, hint=way.index, limit=51)
        assert stats["totalDocsExamined"] <= 2


# Pages:


def job_values(job: Document) -> Document:
    return {
        **{name: job[name] for name in ("job_type", "state", "target_service", "target_method", "queue", "name")},
        "job_id": job["_id"],
        "labels": {label["key"]: label["value"] for label in job["labels"]},
        "created_at": job["created_at"],
        "next_fire_time": job["wake_at"] if job["state"] == "ACTIVE" else None,
    }


def execution_values(row: Document) -> Document:
    return {**row, "group_id": row.get("group")}


async def every_page(listing: Listing, collection: str, url: str, size: int) -> list[list[str]]:
    """Return the ids of all pages of a list."""
    database = connect_async(url).client[NAME]
    pages, after = [], None
    try:
        while True:
            page, after = await read_page(
                database[collection], listing, after, size, lambda document: pb.ScheduledJob(job_id=document["_id"])
            )
            pages.append([entry.job_id for entry in page])
            if after is None:
                return pages
    finally:
        await database.client.close()


def expected(database: Db, collection: str, listing: Listing, fits: Callable[[Document], bool]) -> list[str]:
    found = [document for document in database[collection].find() if fits(document)]
    return [document["_id"] for document in sorted(found, key=listing.position, reverse=listing.descending)]


A_JOB_CONDITION = st.sampled_from([
    "state = ACTIVE", "state != ACTIVE", "state = PAUSED OR state = DELETED", "job_type = CUSTOM", "job_type != CUSTOM",
    "target_service = service-1 OR target_service = service-2", "queue = queue-3", "queue != queue-3",
    "target_method = ScrapeCompetitorPrices", "labels.team = pricing", "labels.team = ops OR labels.team = scraping",
    "job_id = job-007 OR job_id = job-301 OR job_id = none", "job_id = job-014", "job_id != job-001",
    "labels.rare:*", "labels.region != eu", "labels.team != ops", "labels.rare = yes", "labels.nothing:*",
    'name = "Daily*"', 'name = "daily 5"', 'name != "daily 5"', 'name = "Weekly 1*"',
    "created_at > 2026-03-02T11:59:00Z", "created_at <= 2026-03-02T11:59:00Z",
    "next_fire_time < 2026-03-02T12:00:30Z", "next_fire_time >= 2026-03-02T12:00:10Z",
])  # fmt: skip
AN_EXECUTION_CONDITION = st.sampled_from([
    "state = FAILED", "state != SUCCEEDED", "state = RUNNING OR state = PENDING",
    "state = FAILED OR state = SUCCEEDED",
    "state = SKIPPED OR state = SUCCEEDED", "trigger = MANUAL", "trigger != SCHEDULE",
    "trigger = RETRY OR trigger = API",
    "queue = queue-1", "queue != queue-1", "target_service = scraper-service", "job_id = job-001 OR job_id = job-005",
    "job_id != job-001", "group_id = group-1", "group_id != group-1", "nominal_time > 2026-03-02T11:50:00Z",
    "nominal_time <= 2026-03-02T11:58:00Z", "started_at >= 2026-03-02T11:52:00Z", "finished_at < 2026-03-02T11:58:00Z",
    "finished_at >= 2026-03-02T11:50:00Z",
])  # fmt: skip
MORE = settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@MORE
@given(
    st.lists(A_JOB_CONDITION, max_size=3),
    st.sampled_from(["", "created_at", "created_at desc", "name", "name desc", "next_fire_time desc"]),
    st.booleans(),
    st.sampled_from([5, 40, 1_000]),
    st.sampled_from([7, 60, 5_000]),
)
async def test_the_pages_of_jobs_are_what_fits_in_order_each_once(
    filled: Db, monkeypatch: pytest.MonkeyPatch, mongodb_url: str, conditions: list[str], order_text: str,
    show_deleted: bool, size: int, examined: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(scheduler_service.jobs.listing, "MOST_EXAMINED", examined)
    monkeypatch.setattr(scheduler_service.jobs.listing, "LEAST_EXAMINED", 1)
    chosen = parse_filter(" AND ".join(f"({text})" for text in conditions), JOB_FIELDS)
    listing = jobs_listing(str(chosen), order_text, show_deleted=show_deleted)
    hidden = not show_deleted and not any("DELETED" in condition.values for condition in chosen.on("state"))

    def fits(job: Document) -> bool:
        values = job_values(job)
        if listing.path == "wake_at" and values["next_fire_time"] is None:
            return False
        return chosen.matches(values) and not (hidden and job["state"] == "DELETED")

    pages = await every_page(listing, "jobs", mongodb_url, size)
    assert [name for page in pages for name in page] == expected(filled, "jobs", listing, fits)
    assert all(len(page) <= size for page in pages)


@MORE
@given(
    st.lists(AN_EXECUTION_CONDITION, max_size=3),
    st.sampled_from(["", "nominal_time", "nominal_time desc", "finished_at", "finished_at desc"]),
    st.booleans(),
    st.sampled_from([20, 1_000]),
    st.sampled_from([50, 300, 5_000]),
)
async def test_the_pages_of_executions_are_what_fits_in_order_each_once(
    filled: Db, monkeypatch: pytest.MonkeyPatch, mongodb_url: str, conditions: list[str], order_text: str,
    decisions: bool, size: int, examined: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(scheduler_service.jobs.listing, "MOST_EXAMINED", examined)
    monkeypatch.setattr(scheduler_service.jobs.listing, "LEAST_EXAMINED", 1)
    chosen = parse_filter(" AND ".join(f"({text})" for text in conditions), EXECUTION_FIELDS)
    listing = executions_listing(str(chosen), order_text, decisions=decisions)

    def fits(row: Document) -> bool:
        shown = row.get("run") is True or (decisions and row.get("run") is False)
        return shown and chosen.matches(execution_values(row)) and (listing.path in row)

    pages = await every_page(listing, "executions", mongodb_url, size)
    assert [name for page in pages for name in page] == expected(filled, "executions", listing, fits)


@pytest.mark.usefixtures("filled")
async def test_a_page_ends_where_it_would_cost_more_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch, mongodb_url: str
) -> None:
    monkeypatch.setattr(scheduler_service.jobs.listing, "MOST_EXAMINED", 150)
    listing = jobs_listing('target_method = ScrapeCompetitorPrices AND name = "daily 5"', "created_at desc")
    pages = await every_page(listing, "jobs", mongodb_url, 50)
    assert len(pages) == 3
    assert [name for page in pages for name in page] == ["job-005", "job-155", "job-305"]


@pytest.mark.usefixtures("filled")
async def test_of_several_indexes_the_one_that_tells_most_is_read(
    monkeypatch: pytest.MonkeyPatch, mongodb_url: str
) -> None:
    monkeypatch.setattr(scheduler_service.jobs.listing, "MOST_EXAMINED", 30)
    pages = await every_page(jobs_listing("queue = queue-1 AND labels.rare = yes"), "jobs", mongodb_url, 50)
    assert len(pages) == 1
