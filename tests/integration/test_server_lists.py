"""Lists over the wire: filters, orders and tokens as clients send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId, Timestamp
from google.protobuf.field_mask_pb2 import FieldMask
from pymongo.errors import WriteError
from structlog.testing import capture_logs

import scheduler_service.jobs.listing
from scheduler_service.prepare import create_collections
from shared.proto import admin_service_pb2 as admin_pb
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.store import backfills
from shared.store.executions import SCHEMA
from shared.store.indexes import INDEXES, OBSOLETE
from tests.builders import damages
from tests.integration.test_server_harness import ANSWERED, Running, code_of, cron, interval, refusal, stamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pymongo.database import Database


async def jobs(server: Running, text: str = "", order: str = "", **fields: Any) -> list[str]:
    """Return the ids of a list of jobs, of all its pages."""
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListScheduledJobsRequest(filter=text, order_by=order, page_token=token, **fields)
        page = await server.stub.ListScheduledJobs(request)
        found += [job.job_id for job in page.jobs]
        token = page.next_page_token
        if not token:
            return found


async def executions(server: Running, text: str = "", **fields: Any) -> list[str]:
    page = await server.stub.ListExecutions(pb.ListExecutionsRequest(filter=text, **fields))
    return [execution.job_id for execution in page.executions]


async def test_jobs_are_found_by_what_clients_know_of_them(server: Running) -> None:
    await server.create(job_id="one", name="Daily *", labels={"team": "pricing", "a.b/c": "x"})
    await server.create(job_id="two", name="Daily 2", queue="analysis")
    await server.create(job_id="three", name="Hourly", schedule_config=interval(hours="1"))
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="three"))
    assert await jobs(server, "state = STATE_PAUSED OR state = ERROR") == ["three"]
    assert await jobs(server, 'labels.team = "pricing" AND labels.a.b/c:*') == ["one"]
    assert await jobs(server, 'name = "Daily*"') == ["one", "two"]
    assert await jobs(server, r'name = "Daily \*"') == ["one"]
    assert await jobs(server, "queue = analysis", "name desc") == ["two"]
    assert await jobs(server, "create_time > 2026-01-01T00:00:00Z", "created_at") == ["one", "two", "three"]
    assert await jobs(server, "next_fire_time < 2999-01-01T00:00:00Z state = ACTIVE") == ["one", "two"]
    assert await jobs(server, order="name desc", page_size=1) == ["three", "two", "one"]


async def test_jobs_are_found_by_their_ids_in_any_order(server: Running) -> None:
    for job_id, name in (("one", "c"), ("two", "a"), ("three", "b")):
        await server.create(job_id=job_id, name=name)
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="three"))
    either = "job_id = one OR job_id = three OR job_id = nothing"
    assert await jobs(server, either, page_size=1) == ["three", "one"]
    assert await jobs(server, either, "name") == ["three", "one"]
    assert await jobs(server, either, "next_fire_time") == ["one"]
    assert await jobs(server, f"({either}) AND state = PAUSED") == ["three"]
    assert await jobs(server, "job_id != two", "name desc") == ["one", "three"]


async def test_a_job_that_cannot_be_read_is_shown_with_why_and_hides_no_other(server: Running) -> None:
    await server.create(job_id="whole")
    await server.create(job_id="broken", policies=pb.Policies(overlap=pb.Policies.OVERLAP_SKIP))
    document = await server.database.jobs.find_one({"_id": "broken"})
    assert document is not None
    for field in sorted(document.keys() - {"_id", "schema", "created_at"}):
        for broken in ({"$set": {field: {"by": "hand"}}}, {"$set": {field: -7}}, {"$unset": {field: ""}}):
            await server.database.jobs.update_one({"_id": "broken"}, broken)
            page = (await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(show_deleted=True))).jobs
            assert "whole" in [job.job_id for job in page], (field, broken)
            exported = await server.stub.ExportScheduledJobs(pb.ExportScheduledJobsRequest())
            assert "job_id: whole" in exported.yaml
            await server.database.jobs.replace_one({"_id": "broken"}, document)

    await server.database.jobs.update_one({"_id": "broken"}, {"$set": {"priority": 99}})
    with capture_logs() as logged:
        shown, _ = (await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())).jobs
    assert (shown.job_id, shown.name, shown.state) == ("broken", document["name"], pb.ScheduledJob.STATE_ERROR)
    assert "was changed by hand" in shown.status_message
    assert "priority" in shown.status_message
    assert [line["job_id"] for line in logged if line["action"] == "job_unreadable"] == ["broken"]
    await server.database.jobs.update_one({"_id": "broken"}, {"$set": {"schema": "four"}})
    assert (await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())).jobs[0] == shown
    refused = await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="broken")))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "JOB_UNREADABLE")
    batch = pb.BatchPauseScheduledJobsRequest(filter="state = ACTIVE", reason="all")
    paused = await server.stub.BatchPauseScheduledJobs(batch)
    assert {result.job_id: result.reason for result in paused.results} == {"broken": "JOB_UNREADABLE", "whole": ""}


@pytest.mark.parametrize(
    "damage",
    [
        {"_id": ObjectId("6b07a39b3fb3ead4499cd1a2")},
        {"_id": 7},
        {"_id": None},
        {"created_at": None},
        {"created_at": "yesterday"},
        {"name": None},
        {"name": {"by": "hand"}},
        None,
    ],
    ids=str,
)
async def test_what_was_put_among_the_jobs_by_hand_hides_no_job_whatever_its_id_and_time(
    server: Running, damage: dict[str, Any] | None
) -> None:
    """None: an empty document."""
    await server.create(job_id="whole")
    stored = await server.database.jobs.find_one({"_id": "whole"})
    await server.database.jobs.insert_one({} if damage is None else {**stored, "_id": "odd", "uid": "odd", **damage})
    for order in ("", "name", "name desc", "created_at", "created_at desc", "next_fire_time"):
        for fields in ({}, {"page_size": 1}, {"show_deleted": True}, {"show_deleted": True, "page_size": 1}):
            assert "whole" in await jobs(server, order=order, **fields), (order, fields)
    exported = await server.stub.ExportScheduledJobs(pb.ExportScheduledJobsRequest())
    assert "job_id: whole" in exported.yaml


async def test_what_is_asked_of_a_damaged_job_is_answered_or_refused_with_why(server: Running) -> None:
    await server.create(job_id="broken")
    document = await server.database.jobs.find_one({"_id": "broken"})
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="broken")),
        lambda: server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="broken")),
        lambda: server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="broken")),
        lambda: server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="broken")),
        lambda: server.stub.UpdateScheduledJob(_renaming("broken")),
        lambda: server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="broken")),
    ]
    for broken in damages(document, {"_id"}):
        for call in calls:
            await server.database.jobs.replace_one({"_id": "broken"}, document)
            try:
                await server.database.jobs.update_one({"_id": "broken"}, broken)
            except WriteError:  # an index does not take it
                continue
            assert await code_of(call()) in ANSWERED, broken


async def test_what_is_asked_of_a_damaged_execution_is_answered_or_refused_with_why(server: Running) -> None:
    await server.create(job_id="broken")
    run = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="broken"))).execution_id
    failed = {"error": {"code": "INTERNAL", "message": "no", "retryable": False}, "worker": "w"}
    ended = {"state": "FAILED", "letter": True, "dead_letter": True, "finished_at": datetime.now(UTC)}
    await server.database.executions.update_one({"_id": run}, {"$set": ended | failed, "$unset": {"open": ""}})
    document = await server.database.executions.find_one({"_id": run})
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: server.stub.GetExecution(pb.GetExecutionRequest(execution_id=run)),
        lambda: server.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=run)),
        lambda: server.stub.RetryExecution(pb.RetryExecutionRequest(execution_id=run)),
        lambda: server.stub.WaitExecution(pb.WaitExecutionRequest(execution_id=run)),
    ]
    for broken in damages(document, {"_id"}):
        for call in calls:
            await server.database.executions.delete_many({"_id": {"$ne": run}})
            await server.database.executions.replace_one({"_id": run}, document)
            await server.database.executions.update_one({"_id": run}, broken)
            assert await code_of(call()) in ANSWERED, broken

    await server.database.executions.update_one({"_id": run}, {"$set": {"attempt": "first"}})
    refused = await refusal(server.stub.GetExecution(pb.GetExecutionRequest(execution_id=run)))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "EXECUTION_UNREADABLE")
    assert "was changed by hand" in refused.message


def _renaming(job_id: str) -> pb.UpdateScheduledJobRequest:
    mask = FieldMask(paths=["name"])
    return pb.UpdateScheduledJobRequest(job_id=job_id, job=pb.ScheduledJob(name="new"), update_mask=mask)


async def test_an_execution_that_cannot_be_read_is_shown_with_why_and_hides_no_other(server: Running) -> None:
    await server.create(job_id="whole")
    await server.create(job_id="broken")
    for job_id in ("whole", "broken"):
        run = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id))).execution_id
        failed = {"error": {"code": "INTERNAL", "message": "no", "retryable": False}, "worker": "w"}
        ended = {"state": "FAILED", "letter": True, "dead_letter": True, "finished_at": datetime.now(UTC)}
        await server.database.executions.update_one({"_id": run}, {"$set": ended | failed, "$unset": {"open": ""}})
    document = await server.database.executions.find_one({"_id": run})
    for broken in damages(document, {"_id"}):
        await server.database.executions.update_one({"_id": run}, broken)
        assert "whole" in await executions(server), broken
        letters = (await server.admin.ListDeadLetters(admin_pb.ListDeadLettersRequest())).executions
        assert "whole" in [letter.job_id for letter in letters], broken
        await server.database.executions.replace_one({"_id": run}, document)

    await server.database.executions.update_one({"_id": run}, {"$set": {"attempt": "first"}})
    with capture_logs() as logged:
        shown, _ = (await server.stub.ListExecutions(pb.ListExecutionsRequest())).executions
    assert (shown.execution_id, shown.job_id, shown.state) == (run, "broken", pb.Execution.STATE_FAILED)
    assert "was changed by hand" in shown.reason
    assert [line["execution_id"] for line in logged if line["action"] == "execution_unreadable"] == [run]
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="broken"))
    assert (status.job.job_id, status.last_execution) == ("broken", shown)

    await server.database.executions.update_one({"_id": run}, {"$set": {"schema": SCHEMA + 1}})
    shown, _ = (await server.stub.ListExecutions(pb.ListExecutionsRequest())).executions
    assert shown.reason == (
        f"the execution '{run}' was stored by a newer release (schema {SCHEMA + 1}; this server knows {SCHEMA}): ask a"
        " server of that release"
    )

    too_deep = {"attempt": 0, "result": "[" * 100_000}
    await server.database.executions.update_one({"_id": run}, {"$set": too_deep})
    assert "whole" in await executions(server)


async def test_a_damaged_date_of_a_dead_letter_takes_no_other_from_the_pages(server: Running) -> None:
    await server.create(job_id="mine")
    runs = []
    for minute in range(4):
        runs.append((await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution_id)
        finished_at = datetime.now(UTC) + timedelta(minutes=minute)
        ended = {"state": "FAILED", "letter": True, "finished_at": finished_at}
        await server.database.executions.update_one({"_id": runs[-1]}, {"$set": ended, "$unset": {"open": ""}})
    for damaged in (Timestamp(1, 1), "soon", None):
        await server.database.executions.update_one({"_id": runs[1]}, {"$set": {"finished_at": damaged}})
        listed: list[str] = []
        token = ""
        while token or not listed:
            request = admin_pb.ListDeadLettersRequest(page_size=1, page_token=token)
            page = await server.admin.ListDeadLetters(request)
            listed += [letter.execution_id for letter in page.executions]
            token = page.next_page_token
        assert listed == [runs[3], runs[2], runs[0]], damaged


async def test_a_backfill_that_cannot_be_read_is_shown_with_why_and_hides_no_other(server: Running) -> None:
    await server.create(job_id="hourly", schedule_config=cron(minute="0"))
    ends = datetime.now(UTC) - timedelta(hours=2)
    for _ in range(2):
        request = planning.CreateBackfillRequest(
            job_id="hourly", from_time=stamp(ends - timedelta(hours=5)), to_time=stamp(ends)
        )
        broken_id = (await server.planning.CreateBackfill(request)).backfill.backfill_id
    document = await server.database.backfills.find_one({"_id": broken_id})
    for broken in damages(document, {"_id"}):
        await server.database.backfills.update_one({"_id": broken_id}, broken)
        shown = (await server.planning.ListBackfills(planning.ListBackfillsRequest())).backfills
        assert [each.state for each in shown if each.backfill_id != broken_id] == [planning.Backfill.STATE_RUNNING]
        await server.database.backfills.replace_one({"_id": broken_id}, document)

    await server.database.backfills.update_one({"_id": broken_id}, {"$set": {"total": "some"}})
    with capture_logs() as logged:
        shown = (await server.planning.ListBackfills(planning.ListBackfillsRequest())).backfills
    assert "was changed by hand" in shown[0].status_message
    assert [line["backfill_id"] for line in logged if line["action"] == "backfill_unreadable"] == [broken_id]
    await server.database.backfills.update_one({"_id": broken_id}, {"$set": {"schema": backfills.SCHEMA + 1}})
    shown = (await server.planning.ListBackfills(planning.ListBackfillsRequest())).backfills
    assert "was stored by a newer release" in shown[0].status_message

    for damaged in (True, "soon", None):
        await server.database.backfills.update_one({"_id": broken_id}, {"$set": {"created_at": damaged}})
        page = await server.planning.ListBackfills(planning.ListBackfillsRequest(page_size=1))
        assert [each.state for each in page.backfills] == [planning.Backfill.STATE_RUNNING]
        assert not page.next_page_token


async def test_deleted_jobs_are_found_where_the_filter_names_that_state(server: Running) -> None:
    for job_id in ("kept", "gone"):
        await server.create(job_id=job_id)
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="gone"))
    assert await jobs(server, "job_type = SCRAPING") == ["kept"]
    assert await jobs(server, "state = DELETED") == ["gone"]
    assert await jobs(server, "job_type = SCRAPING", show_deleted=True) == ["gone", "kept"]


async def test_executions_are_found_by_what_clients_know_of_them(server: Running) -> None:
    for job_id in ("one", "two"):
        await server.create(job_id=job_id)
        await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id))
    assert await executions(server, "state = PENDING AND trigger = MANUAL") == ["two", "one"]
    assert await executions(server, "job_id = one OR job_id = never-was") == ["one"]
    assert await executions(server, "job_id != one AND queue = manual") == ["two"]
    assert await executions(server, "job_id = one", job_id="two") == []
    assert await executions(server, "state = FAILED", states=[pb.Execution.STATE_PENDING]) == []
    assert await executions(server, "nominal_time > 2026-01-01T00:00:00Z", order_by="nominal_time") == ["one", "two"]
    assert await executions(server, "finished_at > 2026-01-01T00:00:00Z") == []


async def test_a_token_belongs_to_its_filter_and_order_however_they_are_written(server: Running) -> None:
    for job_id in ("one", "two"):
        await server.create(job_id=job_id)
    asked: dict[str, Any] = {"filter": "job_type = SCRAPING", "order_by": "name", "page_size": 1}
    token = (await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(**asked))).next_page_token
    same = asked | {"filter": '(job_type="SCRAPING")', "order_by": "name asc", "page_size": 5, "page_token": token}
    assert len((await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(**same))).jobs) == 1
    for other in ({"filter": ""}, {"order_by": "name desc"}, {"show_deleted": True}):
        request = pb.ListScheduledJobsRequest(**(same | other))
        refused = await refusal(server.stub.ListScheduledJobs(request))
        assert [field for field, _ in refused.violations] == ["page_token"]


async def test_a_page_may_be_empty_and_the_list_goes_on(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_service.jobs.listing, "MOST_EXAMINED", 2)
    for number in range(6):
        await server.create(job_id=f"job-{number}", name="rare" if number == 0 else "usual")
    first = await server.stub.ListScheduledJobs(
        pb.ListScheduledJobsRequest(filter="name = rare", order_by="created_at desc")
    )
    assert list(first.jobs) == []
    assert first.next_page_token
    assert await jobs(server, "name = rare", "created_at desc") == ["job-0"]


@pytest.mark.parametrize("method", ["ListScheduledJobs", "ListExecutions"])
async def test_all_that_is_wrong_with_a_question_is_said_at_once(server: Running, method: str) -> None:
    request = getattr(pb, f"{method}Request")(filter="a = b AND c = d", order_by="x", page_size=-1, page_token="?")
    refused = await refusal(getattr(server.stub, method)(request))
    assert refused.code == "INVALID_ARGUMENT"
    assert [field for field, _ in refused.violations] == ["filter", "filter", "order_by", "page_size", "page_token"]


async def test_a_list_whose_index_is_not_there_yet_says_so(server: Running, database: Database[dict[str, Any]]) -> None:
    database.jobs.drop_index("queue")
    refused = await refusal(server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(filter="queue = scraping")))
    assert (refused.code, refused.retry) == ("UNAVAILABLE", True)
    assert refused.message == "an index that lists need is still being made; try again later"


async def test_indexes_of_earlier_releases_are_dropped(server: Running, database: Database[dict[str, Any]]) -> None:
    for collection, names in OBSOLETE.items():
        for name in names:
            database[collection].create_index(f"old {name}", name=name)
    await create_collections(server.database)
    for collection, names in OBSOLETE.items():
        there = database[collection].index_information()
        assert not there.keys() & set(names)
        assert {index.document["name"] for index in INDEXES[collection]} <= there.keys()
