"""Each question that is asked all the time is answered by its index: no scan of a collection, no sort in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from shared.domain.backfill import BackfillState, Existing
from shared.domain.execution import State
from shared.domain.policies import Overlap
from shared.store import backfills, calls, canvas, dead_letters, evidence, executions, jobs, parts, submitted
from shared.store.executions import NEWEST_FIRST
from shared.store.indexes import INDEXES
from shared.store.layout import lay_out
from shared.store.mongo import connect
from tests.builders import every, fired, job_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

ALL = range(jobs.PARTITIONS)
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
JOBS = 300
DUE = 20


def row(number: int) -> dict[str, Any]:
    """Return one of a mixture of rows: most have ended, some wait, are queued, run, are dead letters."""
    job = job_document(f"job-{number % JOBS}")
    kind = number % 20
    nominal = NOW - timedelta(seconds=number)
    ended = fired(job, nominal) | {"state": State.SUCCEEDED.value, "finished_at": NOW}
    del ended["open"], ended["send_at"]
    if kind == 0:
        return fired(job, nominal, send_at=NOW - HOUR) | ({"expires_at": NOW + HOUR} if number % 40 == 0 else {})
    if kind == 12:
        return fired(job, nominal, trigger="RETRY", retry_of=f"ended-{number % 7}")
    if kind == 1:
        return fired(job, nominal, state="QUEUED", queued_at=NOW - HOUR, send_at=NOW + HOUR)
    if kind == 2:
        lease = {"holder": "w", "nonce": "n", "expires_at": NOW - HOUR if number % 40 == 2 else NOW + HOUR}
        running = fired(job, nominal, state="RUNNING", lease=lease)
        del running["send_at"]
        return running
    if kind == 4:
        return fired(job, nominal, held=True)
    if kind == 5:
        return ended | {"state": "FAILED", "withdraw": True}
    if kind == 11:
        made = {"trigger": "BACKFILL", "backfill": f"backfill-{number // 20 % 40}"}
        return ended | (made if number % 40 == 11 else {"moved_from": nominal - HOUR})
    if kind == 6:
        return fired(job, nominal, state="WAITING") | ({"advance_at": NOW} if number % 40 == 6 else {})
    if kind in {7, 8, 9, 10}:
        return part(ended if kind == 7 else fired(job, nominal), number)
    failed = {"state": "FAILED", "dead_letter": True, "letter": True, "may_pause": True}
    return ended | (failed if kind == 3 else {})


def part(document: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a part of one of five wholes: most have ended, of some nobody has been told, some wait for a slot."""
    del document["run"]
    of = {"trigger": "PART", "job_uid": "uid-job-8", "part": True, "parent": f"whole-{number // 20 % 5}"}
    fields = {**of, "number": number, "part_key": f"customer-{number % 7}"}
    if "finished_at" in document:
        return document | fields | ({"settle": True} if number % 40 == 7 else {})
    return document | fields | ({"held": parts.SLOT} if number % 20 == 10 else {})


def backfill(number: int) -> dict[str, Any]:
    """Return one of many backfills, of which a few have not ended."""
    job = job_document(f"job-{number % 40}")
    created = {"created_at": NOW - timedelta(seconds=number), "job_uid": job["uid"], "partition": job["partition"]}
    open_or_not = {"active": True} if number % 10 == 0 else {"finished_at": NOW}
    return {"_id": f"backfill-{number}", "schema": 1, **created, **open_or_not}


ASKED = backfills.StoredBackfill(
    "backfill-1", "job-1", "uid-job-1", every(), NOW - HOUR, NOW, Existing.SKIP, Overlap.ALLOW, 1, "scraping",
    BackfillState.RUNNING, "", 9, 0, 0, None, None, NOW, "alice", None, False, 1, {},
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(mongodb_url: str) -> Iterator[Db]:
    client = connect(mongodb_url).client
    database = client["test_indexes"]
    lay_out(database)
    database.jobs.insert_many(
        job_document(f"job-{n}", policies={"delete_after_done": n % 50 == 0})
        | {"wake_at": NOW - HOUR if n < DUE else NOW + HOUR if n % 3 else None}
        | {"state": "COMPLETED" if n % 10 == 0 else "ACTIVE", "unchecked": n % 30 == 0}
        for n in range(JOBS)
    )
    database.executions.insert_many(row(n) for n in range(2000))
    database.backfills.insert_many(backfill(n) for n in range(300))
    yield database
    client.drop_database("test_indexes")
    client.close()


def explain(database: Db, collection: str, **find: Any) -> tuple[set[str], set[str], dict[str, Any]]:
    """Return the stages and indexes of the plan that wins, and what it took."""
    command = {"find": collection, **find}
    explained = database.command({"explain": command, "verbosity": "executionStats"})
    stages, indexes = set(), set()
    waiting = [explained["queryPlanner"]["winningPlan"]]
    while waiting:
        stage = waiting.pop()
        stages.add(stage["stage"])
        if "indexName" in stage:
            indexes.add(stage["indexName"])
        waiting += [stage["inputStage"]] if "inputStage" in stage else []
        waiting += stage.get("inputStages", [])
    return stages, indexes, explained["executionStats"]


QUESTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "jobs that are due": (
        "jobs", {"filter": jobs.due_filter(ALL), "sort": {"wake_at": 1}, "limit": 1000}, "wake_time",
    ),
    "jobs that are due, of some partitions": (
        "jobs", {"filter": jobs.due_filter(range(0, 64, 3)), "sort": {"wake_at": 1}, "limit": 1000}, "wake_time",
    ),
    "jobs that are due soon": (
        "jobs", {"filter": jobs.soon_filter(ALL, HOUR, NOW), "sort": {"wake_at": 1}, "limit": 1000}, "wake_time",
    ),
    "the next wake time": (
        "jobs", {"filter": jobs.sleeping_filter(ALL), "sort": {"wake_at": 1}, "limit": 1}, "wake_time",
    ),
    "jobs that follow rules of an older tzdata": ("jobs", {"filter": jobs.follows_filter("", "2025.1")}, "zone_rules"),
    "jobs that leave out days of calendars": ("jobs", {"filter": jobs.days_filter("2025-2036 0a")}, "calendars"),
    "unchecked jobs that call a target": (
        "jobs",
        {"filter": calls.unchecked_filter("scraper-service", "job-2")[0], "sort": {"_id": 1}, "limit": 500},
        "unchecked",
    ),
    "unchecked flows that call a target": (
        "jobs",
        {"filter": calls.unchecked_filter("scraper-service", "job-2")[1], "sort": {"_id": 1}, "limit": 500},
        "unchecked_flows",
    ),
    "flows from before their targets were kept": ("jobs", {"filter": calls.unlisted_flows_filter()}, "flow_targets"),
    "jobs that do not fit their targets": (
        "jobs", {"filter": calls.HAS_DRIFT, "sort": {"drift.since": 1}, "limit": 20}, "drift",
    ),
    "jobs that beat_schedule manages": ("jobs", {"filter": jobs.managed_filter("beat_schedule")}, "managed"),
    "jobs from before zone rules were named": ("jobs", {"filter": jobs.unmarked_filter()}, "zone_rules"),
    "backfills to go on with": (
        "backfills", {"filter": backfills.due_filter(ALL, ""), "sort": {"_id": 1}, "limit": 100}, "active",
    ),
    "backfills of one job, the newest first": (
        "backfills",
        {"filter": backfills.list_filter("uid-job-1", (NOW, "x")), "sort": dict(backfills.NEWEST_FIRST), "limit": 3},
        "job",
    ),
    "backfills, the newest first": (
        "backfills",
        {"filter": backfills.list_filter(None, (NOW, "x")), "sort": dict(backfills.NEWEST_FIRST), "limit": 3},
        "created",
    ),
    "backfills that ended long ago": ("backfills", {"filter": backfills.ended_filter(NOW - HOUR)}, "finished"),
    "executions of a backfill": (
        "executions", {"filter": backfills.open_pipeline(["backfill-1", "backfill-2"])[0]["$match"]}, "backfill",
    ),
    "what ran at some nominal times": (
        "executions", {"filter": backfills.ran_filters(ASKED, [NOW - HOUR, NOW])[0]}, "job",
    ),
    "what ran for occurrences that were moved": (
        "executions", {"filter": backfills.ran_filters(ASKED, [NOW - HOUR, NOW])[1]}, "moved",
    ),
    "rows to send": (
        "executions", {"filter": executions.send_filter(ALL), "sort": {"send_at": 1}, "limit": 500}, "send",
    ),
    "rows that nobody sends": (
        "executions",
        {"filter": executions.send_filter(ALL, timedelta(seconds=2)), "sort": {"send_at": 1}, "limit": 500},
        "send",
    ),
    "leases from before the clock was set back": (
        "executions", {"filter": executions.ahead_filter(ALL, timedelta(seconds=15)), "limit": 500}, "running_lease",
    ),
    "leases that have ended": ("executions", {"filter": executions.expired_filter(ALL), "limit": 500}, "running_lease"),
    "executions that have expired": ("executions", {"filter": submitted.expire_all(ALL, "").filter}, "expires"),
    "retries that do what another has left": ("executions", {"filter": executions.reusing_filter()}, "open_retry"),
    "retries that have not ended": ("executions", {"filter": executions.retries_filter("ended-1", "x")}, "open_retry"),
    "executions in flight": (
        "executions", {"filter": executions.in_flight_filter(["uid-job-0", "uid-job-20"])}, "open",
    ),
    "what of a job is in flight or has ended lately": (
        "executions",
        {
            "filter": {"job_uid": "uid-job-12", **executions.not_ended_before(NOW + HOUR)},
            "sort": executions.BY_END,
        },
        "job_end",
    ),
    "what waits in a queue": (
        "executions",
        {"filter": executions.waiting_filter("scraping", timedelta(minutes=1)), "sort": {"queued_at": 1}},
        "waiting",
    ),
    "rows that are held": (
        "executions",
        {"filter": executions.held_of_jobs_filter(ALL, "uid-job-1"), "sort": {"job_uid": 1}, "limit": 50},
        "held",
    ),
    "rows that are held, of no job": (
        "executions", {"filter": executions.held_of_no_job_filter(ALL), "limit": 50}, "held",
    ),
    "failures that may pause their job": (
        "executions", {"filter": executions.may_pause_filter(ALL), "limit": 500}, "failed_may_pause",
    ),
    "what a job ran last": (
        "executions",
        {
            "filter": executions.last_ended_filter("uid-job-1", NOW - HOUR), "sort": dict(NEWEST_FIRST), "limit": 3,
        },
        "job",
    ),
    "jobs that are done": ("jobs", {"filter": jobs.done_filter(ALL)}, "done"),
    "dead letters": (
        "executions", {"filter": dead_letters.unsent_letters_filter(ALL), "limit": 100}, "failed_dead_letter",
    ),
    "dead letters that nobody has decided about": (
        "executions",
        {"filter": dead_letters.list_filter(None, (NOW, "x")), "sort": dict(dead_letters.NEWEST_FIRST), "limit": 50},
        "failed_letter",
    ),
    "those of one job": (
        "executions",
        {"filter": dead_letters.list_filter("uid-job-3", None), "sort": dict(dead_letters.NEWEST_FIRST), "limit": 50},
        "failed_job_letter",
    ),
    "copies to remove": ("executions", {"filter": dead_letters.withdraw_filter(ALL), "limit": 1000}, "failed_withdraw"),
    "a chain": ("executions", {"filter": executions.chain_filter("uid-job-1", 0, NOW)}, "_id_"),
    "what to cancel": ("executions", {"filter": executions.end_open("uid-job-1", "", "").filter}, "open"),
    "what to cancel before an occurrence": (
        "executions", {"filter": executions.cancel_earlier("uid-job-1", NOW, "", "").filter}, "open",
    ),
    "what was cancelled of what a worker runs": ("executions", {"filter": executions.kept_filter({"a": "n"})}, "_id_"),
    "rows that ended long ago": ("executions", {"filter": executions.ended_filter(NOW - HOUR)}, "finished_at"),
    "what waits for its parts and has to be looked at": (
        "executions", {"filter": parts.advance_filter(ALL), "sort": {"advance_at": 1}, "limit": 100}, "waiting_advance",
    ),
    "parts whose parents have not been told": (
        "executions", {"filter": parts.settled_filter(ALL), "limit": 1000}, "part_settle",
    ),
    "the first items that have not ended": (
        "executions",
        {"filter": parts.open_filter("whole-1"), "sort": dict(parts.BY_NUMBER), "limit": 3},
        parts.PARENT_INDEX,
    ),
    "parts to stop": (
        "executions",
        {"filter": parts.stop_parts({"_id": "whole-1", "cancel": {"by": "", "call": True}}, "").filter},
        parts.PARENT_INDEX,
    ),
    "which epoch an instant belongs to": (
        "job_revisions",
        {"filter": evidence.begun_before("uid-job-1", NOW), "sort": dict(evidence.LATEST_FIRST), "limit": 1},
        "began",
    ),
    "the epochs that followed": (
        "job_revisions",
        {"filter": evidence.begun_since("uid-job-1", NOW), "sort": dict(evidence.EARLIEST_FIRST), "limit": 1},
        "began",
    ),
    "the row that covers an occurrence": (
        "executions",
        {"filter": evidence.at_or_before("uid-job-1", 0, NOW), "sort": {"_id": -1}, "limit": 1},
        "_id_",
    ),
    "further executions for a nominal time, without parts": (
        "executions",
        {"filter": evidence.others_filters("uid-job-1", NOW)[0], "limit": 10, "hint": evidence.OTHERS_INDEX},
        "job",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_by_its_index(filled: Db, name: str) -> None:
    collection, find, index = QUESTIONS[name]
    stages, indexes, _ = explain(filled, collection, **find)
    assert indexes == ({"_id_", index} if name == "retries that have not ended" else {index})
    assert not stages & {"COLLSCAN", "SORT"}


def test_a_look_for_several_duties_reads_the_index_of_each_and_no_more(filled: Db) -> None:
    advancing = (parts.settled_filter, parts.advance_filter, canvas.followed_filter, executions.uncopied_filter)
    relaying = (executions.held_filter, dead_letters.unsent_letters_filter, dead_letters.withdraw_filter)
    rescuing = (executions.expired_filter, partial(executions.ahead_filter, lease=timedelta(seconds=15)))
    keeping_house = (*rescuing, submitted.expired_filter, executions.may_pause_filter)
    for questions, expected in (
        (advancing, {"part_settle", "waiting_advance", "follow", "call_uncopied"}),
        (relaying, {"held", "failed_dead_letter", "failed_withdraw"}),
        (rescuing, {"running_lease"}),
        (keeping_house, {"running_lease", "expires", "failed_may_pause"}),
    ):
        # Of a partition that there is not: nothing is found, as at rest, so that each question has to be answered.
        stages, indexes, stats = explain(
            filled, "executions", filter={"$or": [question([99]) for question in questions]}, limit=1
        )
        assert indexes == expected
        assert not stages & {"COLLSCAN", "SORT"}
        assert stats["nReturned"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "jobs that are due",
        "rows to send",
        "leases that have ended",
        "executions in flight",
        "dead letters",
        "what waits for its parts and has to be looked at",
        "parts whose parents have not been told",
    ],
)
def test_beats_questions_cost_what_they_find(filled: Db, name: str) -> None:
    collection, find, _ = QUESTIONS[name]
    stats = explain(filled, collection, **find)[2]
    assert stats["nReturned"] > 0
    assert stats["totalKeysExamined"] <= stats["nReturned"] + 2 * jobs.PARTITIONS
    assert stats["totalDocsExamined"] == stats["nReturned"]


def test_slots_are_found_without_reading_what_has_ended(filled: Db) -> None:
    collection, find, _ = QUESTIONS["the first items that have not ended"]
    stats = explain(filled, collection, **find)[2]
    assert stats["nReturned"] == 3
    assert stats["totalDocsExamined"] <= 6


def test_jobs_that_call_a_target_are_found_by_the_indexes_of_jobs_and_of_flows(filled: Db) -> None:
    stages, indexes, _ = explain(filled, "jobs", filter=calls.uses_filter("scraper-service"))
    assert indexes == {"target_service", "flow_targets"}
    assert "COLLSCAN" not in stages


def test_a_job_that_will_not_wake_is_not_in_the_due_index(filled: Db) -> None:
    everything = {"partition": {"$in": list(ALL)}, "wake_at": {"$type": "date"}}
    assert filled.jobs.count_documents(everything, hint="wake_time") == filled.jobs.count_documents(
        {"wake_at": {"$ne": None}}
    )


@pytest.mark.parametrize(
    "chosen",
    [
        {"key": jobs.RULES},
        {"key": jobs.TZDATA, "query": {jobs.RULES: "rules-1"}},
        {"key": jobs.DAYS_SOURCE, "query": jobs.HAS_NAMED_DAYS},
    ],
)
def test_which_rules_versions_and_days_are_followed_is_read_off_the_index_in_steps(
    filled: Db, chosen: dict[str, Any]
) -> None:
    few = {"$substr": ["$_id", 4, 1]}
    fields = {jobs.RULES: {"$concat": ["rules-", few]}, "schedule.exclusions": {"source": few}}
    filled.jobs.update_many({}, [{"$set": fields}])
    explained = filled.command({"explain": {"distinct": "jobs", **chosen}, "verbosity": "executionStats"})
    assert "DISTINCT_SCAN" in str(explained["queryPlanner"]["winningPlan"])
    assert explained["executionStats"]["totalKeysExamined"] < 20
    assert explained["executionStats"]["totalDocsExamined"] == 0


def test_making_the_indexes_again_changes_nothing(filled: Db) -> None:
    before = {name: filled[name].index_information() for name in INDEXES}
    lay_out(filled)
    assert {name: filled[name].index_information() for name in INDEXES} == before
