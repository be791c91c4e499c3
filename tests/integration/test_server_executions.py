"""Executions over gRPC: runs by hand, lists, and how a job does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict

from scheduler_service.runs.executions import Executions
from scheduler_service.runs.runs import Runs
from shared.domain.execution import State, may_be_ahead
from shared.domain.plan import Row
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions as rows
from shared.store.jobs import to_chain
from tests.integration.test_server_harness import Running, cron, interval, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

PENDING = pb.Execution.STATE_PENDING
SUCCEEDED = pb.Execution.STATE_SUCCEEDED
SKIPPED = pb.Execution.STATE_SKIPPED


async def execute(server: Running, job_id: str = "mine", **fields: Any) -> pb.Execution:
    response: pb.ExecuteJobResponse = await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id=job_id, **fields))
    return response.execution


async def a_row(
    server: Running, at: datetime, decided: State = State.PENDING, job_id: str = "mine", **changes: Any
) -> str:
    """Insert a row of a job's chain."""
    job = await server.database.jobs.find_one({"_id": job_id})
    last = changes.pop("last", at)
    row = Row(decided, at, last, changes.pop("count", 1), changes.pop("reason", ""))
    document = rows.scheduled_document(job, row, at, "test") | changes
    await server.database.executions.insert_one(document)
    return str(document["_id"])


async def test_a_run_by_hand_is_stored_answered_and_handed_to_the_dispatcher(server: Running) -> None:
    job = await server.create(job_id="mine", priority=7)
    trace = "0af7651916cd43dd8448eb211c80319c"
    response = await server.stub.ExecuteJobNow(
        pb.ExecuteJobRequest(job_id="mine"),
        metadata=[("x-actor", "anna"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")],
    )
    execution = response.execution
    assert response.execution_id == execution.execution_id
    assert execution.execution_id.startswith(f"{job.uid}.m.")
    assert (execution.state, execution.trigger) == (PENDING, pb.Execution.TRIGGER_MANUAL)
    assert (execution.queue, execution.attempt, execution.max_attempts) == ("manual", 0, 4)
    assert (execution.target_service, execution.target_method) == ("scraper-service", "ScrapeCompetitorPrices")
    assert execution.trace_id == trace
    assert [(step.number, step.by, step.reason) for step in execution.transitions] == [(1, "anna", "executed by hand")]
    assert [document["_id"] for document in server.sent.documents] == [execution.execution_id]
    again = await server.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution.execution_id))
    # Only there, what it is called with: a page of a list might be full of it.
    assert MessageToDict(again.execution.parameters) == MessageToDict(job.parameters)
    assert "competitor_ids" in again.execution.parameters
    again.execution.ClearField("parameters")
    assert again.execution == execution


class StoredLast(Executions):
    """Stores a run when its message has been handed over."""

    def __init__(self, server: Running) -> None:
        super().__init__(server.database)
        self._sent = server.sent

    async def insert_manual(
        self, document: dict[str, Any], *, validate_only: bool = False
    ) -> tuple[Mapping[str, Any], bool]:
        await asyncio.sleep(0)
        assert validate_only or self._sent.documents
        return await super().insert_manual(document, validate_only=validate_only)


def runs(server: Running, executions: Executions) -> Runs:
    return Runs(server.jobs, executions, server.definitions, server.sent)


async def a_run(server: Running) -> dict[str, Any]:
    await server.create(job_id="mine")
    job = await server.database.jobs.find_one({"_id": "mine"})
    return rows.manual_document(job, "token", "manual", "", datetime.now(UTC), "test")


async def test_the_message_of_a_run_by_hand_does_not_wait_for_its_row_to_be_stored(server: Running) -> None:
    document = await a_run(server)
    stored = await runs(server, StoredLast(server)).start(document, None, is_first=True)
    assert [sent["_id"] for sent in server.sent.documents] == [stored["_id"]]
    assert may_be_ahead(stored["_id"]), "so that a worker waits for it"
    assert await server.database.executions.count_documents({"_id": stored["_id"]}) == 1


async def test_a_run_that_took_longer_to_store_than_a_worker_waits_for_it_is_sent_once_more(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await a_run(server)
    monkeypatch.setattr("scheduler_service.runs.runs.AHEAD", 0)
    stored = await runs(server, StoredLast(server)).start(document, None, is_first=True)
    assert [sent["_id"] for sent in server.sent.documents] == [stored["_id"]] * 2


async def test_a_repeated_request_that_names_another_queue_sends_no_message_there(server: Running) -> None:
    await server.create(job_id="mine")
    await execute(server, request_id="once")
    refused = await refusal(execute(server, request_id="once", queue="scraping"))
    assert refused.code == "INVALID_ARGUMENT"
    assert [sent["queue"] for sent in server.sent.documents] == ["manual"]


async def test_the_same_request_id_gives_the_first_execution_however_many_ask_at_once(server: Running) -> None:
    await server.create(job_id="mine")
    await server.create(job_id="other")
    executions = await asyncio.gather(*(execute(server, request_id="böse/id with spaces") for _ in range(20)))
    assert len({execution.execution_id for execution in executions}) == 1
    assert len(server.sent.documents) == 1
    assert not set(executions[0].execution_id) & set("/ ")
    await server.database.executions.update_one({}, {"$set": {"state": "RUNNING", "attempt": 1}})
    repeated = await execute(server, request_id="böse/id with spaces")
    assert (repeated.state, repeated.attempt, repeated.queue) == (pb.Execution.STATE_RUNNING, 1, "manual")
    assert (await execute(server, "other", request_id="böse/id with spaces")).job_id == "other"
    assert await server.database.executions.count_documents({}) == 2


async def test_the_same_request_id_gives_the_first_execution_though_its_job_was_deleted_since(server: Running) -> None:
    await server.create(job_id="mine")
    first = await execute(server, request_id="r1")
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    repeated = await execute(server, request_id="r1")
    assert (repeated.execution_id, repeated.state) == (first.execution_id, pb.Execution.STATE_CANCELLED)
    assert (await refusal(execute(server, request_id="r1", queue="scraping"))).reason == "REQUEST_ID_REUSED"
    for request_id in ("", "r2"):
        refused = await refusal(execute(server, request_id=request_id))
        assert (refused.code, refused.reason) == ("NOT_FOUND", "DELETED")
    assert (await refusal(execute(server, "never", request_id="r1"))).reason == "NOT_FOUND"
    assert await server.database.executions.count_documents({}) == 1
    assert len(server.sent.documents) == 1


async def test_without_a_request_id_every_call_is_a_run(server: Running) -> None:
    await server.create(job_id="mine")
    assert (await execute(server)).execution_id != (await execute(server)).execution_id


async def test_a_named_queue_is_used_and_an_unknown_one_refused(server: Running) -> None:
    await server.create(job_id="mine")
    assert (await execute(server, queue="analysis")).queue == "analysis"
    refused = await refusal(execute(server, "", queue="nowhere", request_id="r" * 129))
    assert [field for field, _ in refused.violations] == ["queue", "request_id", "job_id"]


@pytest.mark.parametrize("state", ["PAUSED", "COMPLETED", "ERROR"])
async def test_a_job_that_does_not_fire_can_still_be_executed(server: Running, state: str) -> None:
    await server.create(job_id="mine")
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"state": state}})
    assert (await execute(server)).state == PENDING


async def test_an_unknown_execution_is_not_found_and_an_empty_id_is_bad_input(server: Running) -> None:
    refused = await refusal(server.stub.GetExecution(pb.GetExecutionRequest(execution_id="none")))
    assert (refused.code, refused.resource) == ("NOT_FOUND", ("execution", "none"))
    refused = await refusal(server.stub.GetExecution(pb.GetExecutionRequest()))
    assert [field for field, _ in refused.violations] == ["execution_id"]


async def test_an_outcome_is_read_back_whole(server: Running) -> None:
    await server.create(job_id="mine")
    at = datetime(2026, 3, 1, 10, tzinfo=UTC)
    execution_id = await a_row(
        server,
        at,
        attempt=2,
        worker="w1",
        started_at=at,
        finished_at=at + timedelta(seconds=3),
        state="FAILED",
        error={"code": "UNAVAILABLE", "message": "gone \ud83d".encode("utf-8", "replace").decode(), "retryable": True},
        result='{"prices": [1.5, 2], "none": null, "big": 1' + "0" * 400 + ', "odd": "\\ud83d"}',
        workers_lost=1,
    )
    execution = (await server.stub.GetExecution(pb.GetExecutionRequest(execution_id=execution_id))).execution
    assert (execution.attempt, execution.worker, execution.workers_lost) == (2, "w1", 1)
    assert (execution.error.code, execution.error.retryable) == ("UNAVAILABLE", True)
    assert list(execution.result["prices"]) == [1.5, 2]
    assert execution.result["none"] is None
    assert execution.result["odd"] == "?"
    assert execution.finished_at.ToDatetime(UTC) == at + timedelta(seconds=3)
    assert not execution.HasField("first_time")


# Cancelling


async def cancel(server: Running, execution_id: str, reason: str = "", actor: str = "anna") -> pb.Execution:
    request = pb.CancelExecutionRequest(execution_id=execution_id, reason=reason)
    response: pb.CancelExecutionResponse = await server.stub.CancelExecution(request, metadata=[("x-actor", actor)])
    return response.execution


@pytest.mark.parametrize("state", ["PENDING", "QUEUED"])
async def test_what_no_worker_runs_is_cancelled_at_once(server: Running, state: str) -> None:
    await server.create(job_id="mine")
    execution_id = (await execute(server)).execution_id
    await server.database.executions.update_one({}, {"$set": {"state": state}})
    cancelled = await cancel(server, execution_id, "no use")
    assert (cancelled.state, cancelled.cancel_requested) == (pb.Execution.STATE_CANCELLED, True)
    assert cancelled.HasField("finished_at")
    assert (cancelled.transitions[-1].by, cancelled.transitions[-1].reason) == ("anna", "no use")
    assert await cancel(server, execution_id, "again", "ben") == cancelled


async def test_what_runs_is_marked_once_and_goes_on_until_its_worker_has_ended_the_call(server: Running) -> None:
    await server.create(job_id="mine")
    execution_id = (await execute(server)).execution_id
    await server.database.executions.update_one({}, {"$set": {"state": "RUNNING", "attempt": 1}})
    asked = await cancel(server, execution_id, "no use")
    assert (asked.state, asked.cancel_requested) == (pb.Execution.STATE_RUNNING, True)
    assert await cancel(server, execution_id, "again", "ben") == asked
    row = await server.database.executions.find_one({})
    assert (row["cancel"]["by"], row["cancel"]["reason"]) == ("anna", "no use")


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "SKIPPED", "COALESCED"])
async def test_what_has_ended_otherwise_or_was_never_to_run_cannot_be_cancelled(server: Running, state: str) -> None:
    await server.create(job_id="mine")
    decided = State(state) if state in {"SKIPPED", "COALESCED"} else State.PENDING
    execution_id = await a_row(server, START, decided, state=state, cancel={"call": True})
    before = await server.database.executions.find_one({})
    refused = await refusal(cancel(server, execution_id))
    assert refused.code == "FAILED_PRECONDITION"
    assert state in refused.message
    assert execution_id in refused.message
    assert await server.database.executions.find_one({}) == before


async def test_a_cancel_of_nothing_is_refused(server: Running) -> None:
    refused = await refusal(cancel(server, "none"))
    assert (refused.code, refused.resource) == ("NOT_FOUND", ("execution", "none"))
    refused = await refusal(cancel(server, ""))
    assert [field for field, _ in refused.violations] == ["execution_id"]
    refused = await refusal(cancel(server, "none", "\x1b[1m"))
    assert [field for field, _ in refused.violations] == ["reason"]


async def test_a_delete_cancels_what_runs_when_asked_and_beat_is_told(server: Running) -> None:
    await server.create(job_id="mine")
    await execute(server)
    await server.database.executions.update_one({}, {"$set": {"state": "RUNNING"}})
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine", cancel_running=True))
    assert (await server.database.executions.find_one({}))["cancel"]["call"] is True
    job = await server.database.jobs.find_one({"_id": "mine"})
    assert to_chain(job).changes[0].cancel_running is True


# Retrying


async def retry(server: Running, execution_id: str, **fields: Any) -> pb.Execution:
    request = pb.RetryExecutionRequest(execution_id=execution_id, **fields)
    response: pb.RetryExecutionResponse = await server.stub.RetryExecution(request, metadata=[("x-actor", "anna")])
    assert response.execution_id == response.execution.execution_id
    return response.execution


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
async def test_a_retry_is_a_new_execution_of_the_same_work_that_names_the_old_one(server: Running, state: str) -> None:
    await server.create(job_id="mine", priority=7, parameters={"competitor_ids": ["amazon"]})
    ended = await a_row(server, START, state=state, attempt=4, error={"code": "X", "message": "", "retryable": True})
    await server.stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(name="Other", parameters={}, priority=1))
    )
    before = await server.database.executions.find_one({"_id": ended})
    retried = await retry(server, ended)
    assert (retried.trigger, retried.retry_of) == (pb.Execution.TRIGGER_RETRY, ended)
    assert (retried.state, retried.attempt, retried.max_attempts) == (PENDING, 0, 4)
    assert retried.nominal_time.ToDatetime(UTC) == START
    assert retried.due_time.ToDatetime(UTC) > START
    assert not retried.HasField("error")
    assert (retried.transitions[0].by, retried.transitions[0].reason) == ("anna", f"a retry of {ended}")
    row = await server.database.executions.find_one({"_id": retried.execution_id})
    same = ("job_id", "job_uid", "job_name", "parameters", "priority", "timeout", "retry", "queue", "partition")
    assert {field: row[field] for field in same} == {field: before[field] for field in same}
    assert await server.database.executions.find_one({"_id": ended}) == before
    assert [document["_id"] for document in server.sent.documents] == [retried.execution_id]


async def test_a_repeated_retry_is_the_first_one_for_each_execution(server: Running) -> None:
    await server.create(job_id="mine")
    one, other = [await a_row(server, START + timedelta(hours=n), state="FAILED") for n in range(2)]
    retries = await asyncio.gather(*(retry(server, one, request_id="r1") for _ in range(10)))
    assert len({each.execution_id for each in retries}) == 1
    assert len(server.sent.documents) == 1
    assert (await retry(server, other, request_id="r1")).retry_of == other
    assert (await execute(server, request_id=f"{one} r1")).trigger == pb.Execution.TRIGGER_MANUAL


async def test_a_repeated_retry_is_the_first_one_though_its_job_was_deleted_since(server: Running) -> None:
    await server.create(job_id="mine")
    ended = await a_row(server, START, state="FAILED")
    first = await retry(server, ended, request_id="r1")
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    repeated = await retry(server, ended, request_id="r1")
    assert (repeated.execution_id, repeated.state) == (first.execution_id, pb.Execution.STATE_CANCELLED)
    for request_id in ("", "r2"):
        assert (await refusal(retry(server, ended, request_id=request_id))).reason == "JOB_DELETED"
    assert await server.database.executions.count_documents({}) == 2
    assert len(server.sent.documents) == 1


async def test_an_execution_is_not_retried_while_a_retry_of_it_has_not_ended(server: Running) -> None:
    await server.create(job_id="mine")
    ended = await a_row(server, START, state="FAILED")
    first = (await retry(server, ended, request_id="r1")).execution_id
    for request_id in ("", "r2"):
        refused = await refusal(retry(server, ended, request_id=request_id))
        assert refused.code == "FAILED_PRECONDITION"
        assert refused.message == (
            f"the execution '{ended}' is retried already, by '{first}', which is PENDING; wait for it to end, or cancel"
            " it"
        )
    assert (await retry(server, ended, request_id="r1")).execution_id == first
    await server.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=first))
    second = (await retry(server, ended)).execution_id
    assert second != first
    assert (await retry(server, ended, request_id="r1")).execution_id == first, "also while another one runs"
    assert [document["_id"] for document in server.sent.documents] == [first, second]


async def test_a_retry_that_failed_can_be_retried(server: Running) -> None:
    await server.create(job_id="mine")
    first = (await retry(server, await a_row(server, START, state="FAILED"), queue="analysis")).execution_id
    await server.database.executions.update_one({"_id": first}, {"$set": {"state": "FAILED"}})
    second = await retry(server, first)
    assert (second.retry_of, second.queue) == (first, "analysis")


@pytest.mark.parametrize("state", ["PENDING", "QUEUED", "RUNNING", "SUCCEEDED", "SKIPPED", "COALESCED"])
async def test_only_what_has_failed_or_was_cancelled_can_be_retried(server: Running, state: str) -> None:
    await server.create(job_id="mine")
    decided = State(state) if state in {"SKIPPED", "COALESCED"} else State.PENDING
    refused = await refusal(retry(server, await a_row(server, START, decided, state=state)))
    assert refused.code == "FAILED_PRECONDITION"
    assert f"is {state}; only what has failed or was cancelled" in refused.message
    assert await server.database.executions.count_documents({}) == 1


async def test_what_a_deleted_job_ran_cannot_be_retried(server: Running) -> None:
    await server.create(job_id="mine")
    ended = await a_row(server, START, state="FAILED")
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    refused = await refusal(retry(server, ended))
    assert refused.code == "FAILED_PRECONDITION"
    assert "the job 'mine' was deleted at" in refused.message


async def test_what_a_newer_release_stored_cannot_be_retried_here(server: Running) -> None:
    await server.create(job_id="mine")
    refused = await refusal(retry(server, await a_row(server, START, state="FAILED", schema=rows.SCHEMA + 1)))
    assert refused.code == "FAILED_PRECONDITION"
    assert "stored by a newer release" in refused.message


async def test_a_bad_retry_is_refused_with_all_violations(server: Running) -> None:
    refused = await refusal(retry(server, "", queue="nowhere", request_id="r" * 129))
    assert [field for field, _ in refused.violations] == ["queue", "request_id", "execution_id"]
    assert (await refusal(retry(server, "none"))).code == "NOT_FOUND"
    await server.create(job_id="mine")
    refused = await refusal(retry(server, await a_row(server, START, state="FAILED", queue="gone")))
    assert [field for field, _ in refused.violations] == ["queue"]


# Lists


START = datetime(2026, 3, 1, tzinfo=UTC)


async def filled(server: Running) -> list[str]:
    """Six runs, a gap of a hundred skipped occurrences, and a closing row; the ids of the runs, the newest first."""
    await server.create(job_id="mine", schedule_config=interval(minutes="1"))
    made = [await a_row(server, START + timedelta(minutes=n)) for n in range(6)]
    gap = START + timedelta(minutes=10)
    await a_row(server, gap, State.SKIPPED, last=gap + timedelta(minutes=99), count=100, reason="the job was paused")
    await a_row(server, START + timedelta(minutes=200), State.CLOSED)
    return made[::-1]


async def list_all(server: Running, **fields: Any) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = await server.stub.ListExecutions(pb.ListExecutionsRequest(page_token=token, **fields))
        found += [execution.execution_id for execution in page.executions]
        token = page.next_page_token
        if not token:
            return found


async def test_runs_are_listed_newest_nominal_time_first_in_pages_of_any_size(server: Running) -> None:
    runs = await filled(server)
    for page_size in (1, 4, 5, 6, 0):
        assert await list_all(server, job_id="mine", page_size=page_size) == runs
        assert await list_all(server, page_size=page_size) == runs


async def test_pages_stay_stable_while_executions_are_added(server: Running) -> None:
    runs = await filled(server)
    first = await server.stub.ListExecutions(pb.ListExecutionsRequest(page_size=3))
    await execute(server)
    second = await server.stub.ListExecutions(pb.ListExecutionsRequest(page_size=3, page_token=first.next_page_token))
    assert [execution.execution_id for execution in (*first.executions, *second.executions)] == runs


async def test_decisions_not_to_run_are_listed_where_asked_for_and_closing_rows_never(server: Running) -> None:
    runs = await filled(server)
    page = await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine", include_decisions=True))
    assert len(page.executions) == len(runs) + 1
    gap = page.executions[0]
    assert (gap.state, gap.occurrence_count, gap.reason) == (SKIPPED, 100, "the job was paused")
    assert gap.last_time.seconds - gap.first_time.seconds == 99 * 60
    named = await server.stub.ListExecutions(pb.ListExecutionsRequest(states=[SKIPPED]))
    assert list(named.executions) == [gap]
    closing = await server.database.executions.find_one({"state": "CLOSED"})
    refused = await refusal(server.stub.GetExecution(pb.GetExecutionRequest(execution_id=closing["_id"])))
    assert refused.code == "NOT_FOUND"


async def test_a_list_shows_only_the_states_and_the_job_that_were_named(server: Running) -> None:
    runs = await filled(server)
    await server.create(job_id="other")
    await execute(server, "other")
    await server.database.executions.update_one({"_id": runs[0]}, {"$set": {"state": "SUCCEEDED"}})
    assert await list_all(server, states=[SUCCEEDED]) == runs[:1]
    assert await list_all(server, job_id="mine", states=[PENDING, SUCCEEDED]) == runs
    assert len(await list_all(server, job_id="other")) == 1


async def test_bad_lists_are_refused_with_all_violations(server: Running) -> None:
    request = pb.ListExecutionsRequest(states=[0, 2, 99], page_size=-2, page_token="?")  # type: ignore[list-item]
    refused = await refusal(server.stub.ListExecutions(request))
    assert [field for field, _ in refused.violations] == ["states[0]", "states[2]", "page_size", "page_token"]
    assert "99 is not the number of a state (PENDING, QUEUED" in refused.violations[1][1]
    assert (await refusal(server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="none")))).code == "NOT_FOUND"


async def test_a_token_is_valid_only_with_its_filter(server: Running) -> None:
    await filled(server)
    page = await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine", page_size=2))
    for other in ({}, {"job_id": "mine", "states": [PENDING]}, {"job_id": "mine", "include_decisions": True}):
        refused = await refusal(
            server.stub.ListExecutions(pb.ListExecutionsRequest(page_token=page.next_page_token, **other))
        )
        assert [field for field, _ in refused.violations] == ["page_token"]


# Status


async def test_a_status_tells_the_next_five_fires_the_last_run_and_the_counts(server: Running) -> None:
    now = (await server.jobs.now()).replace(second=0, microsecond=0)
    first = now + timedelta(minutes=30)  # not while this test runs
    job = await server.create(job_id="mine", schedule_config=cron(expression=f"{first.minute} * * * *"))
    await a_row(server, now - timedelta(days=31))
    ended = [{"$set": {"state": "SUCCEEDED", "finished_at": "$nominal_time"}}, {"$unset": ["open", "send_at"]}]
    await server.database.executions.update_many({}, ended)
    last = await a_row(server, now - timedelta(hours=2))
    gap = now - timedelta(hours=50)
    await a_row(server, gap, State.COALESCED, last=gap + timedelta(hours=9), count=10)
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine"))
    fires = [time.ToDatetime(UTC) for time in status.next_fire_times]
    assert fires == [first + timedelta(hours=n) for n in range(5)]
    assert list(status.job.next_fire_times) == list(status.next_fire_times)
    assert status.job.uid == job.uid
    assert status.last_execution.execution_id == last
    assert dict(status.counts) == {"PENDING": 1, "COALESCED": 10}
    assert status.window.seconds == 30 * 86_400


async def test_a_new_schedule_is_what_the_status_shows_before_any_beat_installs_it(server: Running) -> None:
    await server.create(job_id="mine")
    await server.stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(schedule_config=cron(minute="7")))
    )
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine"))
    assert {time.ToDatetime(UTC).minute for time in status.next_fire_times} == {7}


async def test_a_paused_job_has_no_next_fires_and_a_new_one_no_last_run(server: Running) -> None:
    await server.create(job_id="mine")
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine"))
    assert list(status.next_fire_times) == []
    assert not status.HasField("last_execution")
    assert dict(status.counts) == {}
