"""Why an occurrence did or did not run, asked over gRPC: of rows that a real beat decided, or as it writes them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo.errors import WriteError

from beat.fire import Fire
from shared.domain.execution import State
from shared.domain.plan import Row
from shared.proto import planning_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as jobs_pb
from shared.store import executions as rows
from tests.builders import damages
from tests.integration.test_beat_fire import BelievesAll
from tests.integration.test_server_harness import (
    ANSWERED,
    Running,
    code_of,
    cron,
    eventually,
    interval,
    not_now,
    refusal,
    stamp,
)

if TYPE_CHECKING:
    from pymongo.database import Database

Verdict = pb.ExplainOccurrenceResponse
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
DAILY = cron(hour="12", minute="0")


async def explain(server: Running, instant: datetime | str, job_id: str = "mine") -> pb.ExplainOccurrenceResponse:
    asked = {"local_time": instant} if isinstance(instant, str) else {"nominal_time": stamp(instant)}
    response: pb.ExplainOccurrenceResponse = await server.planning.ExplainOccurrence(
        pb.ExplainOccurrenceRequest(job_id=job_id, **asked)
    )
    return response


def kinds(response: pb.ExplainOccurrenceResponse) -> list[str]:
    return [fact.kind for fact in response.facts]


async def a_job(server: Running, *, days: int = 10, **fields: Any) -> dict[str, Any]:
    """Create a job, and have it so many days old."""
    await server.create(job_id="mine", **{"schedule_config": DAILY, **fields})
    created = NOON - timedelta(days=days)
    document: dict[str, Any] = await server.database.jobs.find_one_and_update(
        {"_id": "mine"}, {"$set": {"created_at": created, "covered": NOON}}, return_document=True
    )
    await server.database.job_revisions.update_one({"_id": f"{document['uid']}.0"}, {"$set": {"began": created}})
    return document


async def a_row(server: Running, job: dict[str, Any], row: Row, now: datetime, **changes: Any) -> str:
    document = rows.scheduled_document(job, row, now, "beat@here:1") | changes
    await server.database.executions.insert_one(document)
    return str(document["_id"])


async def test_an_occurrence_that_ran_is_told_with_its_execution(server: Running) -> None:
    job = await a_job(server)
    ended = {"state": "SUCCEEDED", "attempt": 1, "started_at": NOON, "finished_at": NOON + timedelta(seconds=12)}
    execution_id = await a_row(server, job, Row(State.PENDING, NOON, NOON), NOON, **ended, worker="worker@a:1")
    said = await explain(server, NOON)
    assert said.verdict == Verdict.VERDICT_SUCCEEDED
    assert said.sentence == f"The occurrence of {NOON:%Y-%m-%d} 12:00 (UTC) ran and succeeded."
    assert (said.execution.execution_id, kinds(said)) == (execution_id, ["RAN"])
    assert said.previous.time.ToDatetime(UTC) == NOON - timedelta(days=1)
    assert said.next.time.ToDatetime(UTC) == NOON + timedelta(days=1)
    assert said.local_time == f"{NOON:%Y-%m-%d}T12:00:00+00:00"


async def test_the_execution_in_the_way_of_a_skipped_occurrence_is_named(server: Running) -> None:
    job = await a_job(server)
    yesterday = NOON - timedelta(days=1)
    running = {"state": "RUNNING", "attempt": 1, "started_at": yesterday + timedelta(seconds=1), "worker": "worker@a:1"}
    earlier = await a_row(server, job, Row(State.PENDING, yesterday, yesterday), yesterday, **running)
    reason = f"the execution {earlier} is still in flight"
    await a_row(server, job, Row(State.SKIPPED, NOON, NOON, 1, reason), NOON)
    said = await explain(server, NOON)
    assert said.verdict == Verdict.VERDICT_SKIPPED
    assert said.sentence.endswith(
        f"was skipped, as an earlier execution of the job had not ended: that of {yesterday:%Y-%m-%d} 12:00 was going"
        f" since {yesterday:%Y-%m-%d} 12:00:01."
    )
    assert [(fact.kind, fact.execution_id) for fact in said.facts] == [("OVERLAP", earlier)]


async def test_what_was_in_the_way_is_told_with_its_wait_for_a_worker(server: Running) -> None:
    job = await a_job(server)
    yesterday, day = NOON - timedelta(days=1), f"{NOON - timedelta(days=1):%Y-%m-%d}"
    queue = f"queue {job['queue']}"
    silent = {"_id": queue, "heard_at": yesterday - timedelta(minutes=2), "absences": []}
    await server.database.presence.insert_one(silent)
    steps = [
        {"state": state, "at": yesterday + timedelta(seconds=second), "by": "beat@here:1", "reason": ""}
        for second, state in enumerate(("PENDING", "QUEUED"))
    ]
    waits = {"state": "QUEUED", "transitions": steps}
    earlier = await a_row(server, job, Row(State.PENDING, yesterday, yesterday), yesterday, **waits)
    reason = f"the execution {earlier} is still in flight"
    await a_row(server, job, Row(State.SKIPPED, NOON, NOON, 1, reason), NOON)
    said = await explain(server, NOON)
    assert said.sentence.endswith(
        f"that of {day} 12:00 was in the {queue} since {day} 12:00:01, and no worker that serves it has been alive"
        f" since about {day} 11:58."
    )
    assert [(fact.kind, fact.execution_id) for fact in said.facts] == [
        ("OVERLAP", earlier),
        ("IN_QUEUE", earlier),
        ("NO_WORKER", ""),
    ]


async def test_who_paused_a_job_and_until_when_is_told(server: Running) -> None:
    await a_job(server)
    metadata = [("x-actor", "alice")]
    pause = jobs_pb.PauseScheduledJobRequest(job_id="mine", reason="stock-taking")
    await server.stub.PauseScheduledJob(pause, metadata=metadata)
    said = await explain(server, NOON + timedelta(days=4))
    assert said.verdict == Verdict.VERDICT_NOT_ACTIVE
    assert "will not run unless the job is resumed before: it is paused by alice at" in said.sentence
    assert (said.facts[0].kind, said.facts[0].by) == ("PAUSED", "alice")


async def test_a_deleted_jobs_occurrences_are_explained_too(server: Running) -> None:
    await a_job(server)
    await server.stub.DeleteScheduledJob(
        jobs_pb.DeleteScheduledJobRequest(job_id="mine", reason="gone"), metadata=[("x-actor", "bob")]
    )
    said = await explain(server, NOON + timedelta(days=4))
    assert said.verdict == Verdict.VERDICT_NOT_ACTIVE
    assert "as the job was deleted by bob at" in said.sentence


async def test_an_instant_that_the_schedule_does_not_name_is_told_with_the_schedule_of_then(server: Running) -> None:
    await a_job(server)
    said = await explain(server, NOON + timedelta(minutes=5))
    assert said.verdict == Verdict.VERDICT_NO_OCCURRENCE
    assert "the schedule, `0 12 * * *` (UTC), does not name that time" in said.sentence
    assert said.previous.time.ToDatetime(UTC) == NOON
    assert (await explain(server, NOON - timedelta(days=30))).facts[0].kind == "NOT_CREATED"


async def test_a_changed_schedule_is_told_with_who_changed_it(server: Running) -> None:
    await a_job(server)
    await server.stub.UpdateScheduledJob(
        jobs_pb.UpdateScheduledJobRequest(
            job_id="mine", job=jobs_pb.ScheduledJob(schedule_config=cron(hour="9", minute="0"))
        ),
        metadata=[("x-actor", "carol")],
    )
    said = await explain(server, NOON)
    changed = next(fact for fact in said.facts if fact.kind == "SCHEDULE_CHANGED")
    assert changed.by == "carol"
    assert "was `0 12 * * *` (UTC) then, and is `0 9 * * *` (UTC) now; carol changed it at" in changed.detail


async def test_after_a_change_the_time_after_is_that_of_the_schedule_that_came(server: Running) -> None:
    await a_job(server)
    job = jobs_pb.ScheduledJob(schedule_config=cron(hour="9", minute="0"))
    await server.stub.UpdateScheduledJob(jobs_pb.UpdateScheduledJobRequest(job_id="mine", job=job))
    ahead = NOON + timedelta(days=5)
    said = await explain(server, NOON + timedelta(days=1))
    assert said.previous.time.ToDatetime(UTC) == NOON
    last = (await explain(server, ahead)).previous.time.ToDatetime(UTC)
    assert last == ahead - timedelta(hours=3)
    # Of the days of the change, neither schedule's times that the other had replaced are told.
    times, instant = [], NOON
    while instant < ahead - timedelta(days=1):
        instant = (await explain(server, instant)).next.time.ToDatetime(UTC)
        times.append(instant)
        assert (await explain(server, instant)).verdict != Verdict.VERDICT_NO_OCCURRENCE
    assert {time.hour for time in times} == {12, 9}


async def test_before_its_creation_a_time_that_the_schedule_does_not_name_is_no_occurrence(server: Running) -> None:
    await a_job(server)
    said = await explain(server, NOON - timedelta(days=30, hours=1))
    assert (said.verdict, kinds(said)) == (Verdict.VERDICT_NO_OCCURRENCE, ["NOT_NAMED", "NOT_CREATED"])
    assert "does not name that time; nor was there the job then, which was created only at" in said.sentence


async def test_wall_clock_times_that_do_not_exist_or_come_twice_are_told(server: Running) -> None:
    await a_job(server, days=1_000, schedule_config=cron("America/New_York", hour="2", minute="30"))
    said = await explain(server, "2025-03-09T02:30")
    assert said.local_time == "2025-03-09T03:00:00-04:00"
    clock = next(fact for fact in said.facts if fact.kind == "CLOCK")
    assert clock.detail.startswith(
        "2025-03-09 02:30 does not exist there: clocks go forward from 02:00 to 03:00 on 2025-03-09"
    )
    said = await explain(server, "2025-03-09T02:45")
    assert said.verdict == Verdict.VERDICT_NO_OCCURRENCE
    assert kinds(said) == ["CLOCK"]


async def test_what_is_due_and_undecided_is_overdue_and_what_was_removed_is_unknown(server: Running) -> None:
    await a_job(server)
    said = await explain(server, NOON + timedelta(days=1))
    assert said.verdict == Verdict.VERDICT_OVERDUE
    assert (await explain(server, NOON)).facts[0].kind == "UNRECORDED"
    await server.database.retention.update_one(
        {"_id": "executions"}, {"$set": {"removed_through": NOON + timedelta(hours=1)}}, upsert=True
    )
    said = await explain(server, NOON)
    assert (said.verdict, said.facts[0].kind) == (Verdict.VERDICT_UNKNOWN, "RETENTION")


async def test_the_beats_absence_is_told_of_what_was_decided_late(server: Running) -> None:
    job = await a_job(server)
    back = NOON + timedelta(minutes=43)
    await server.database.presence.insert_one(
        {
            "_id": "BEAT",
            "heard_at": datetime.now(UTC),
            "absences": [{"since": NOON - timedelta(minutes=1), "until": back}],
        }
    )
    await a_row(server, job, Row(State.PENDING, NOON, NOON), back, state="SUCCEEDED", attempt=1, finished_at=back)
    said = await explain(server, NOON)
    day = f"{NOON:%Y-%m-%d}"
    assert said.sentence == (
        f"The occurrence of {day} 12:00 (UTC) ran and succeeded, 43 min late, as no beat was alive from about {day}"
        f" 11:59 to {day} 12:43."
    )
    assert kinds(said) == ["RAN", "DECIDED_LATE", "BEAT_DOWN"]


async def decided(server: Running, beat: Fire, instant: datetime) -> pb.ExplainOccurrenceResponse:
    """Have a beat work until an occurrence is not to come any more; return what is then said of it."""
    said = pb.ExplainOccurrenceResponse()

    async def is_decided() -> bool:
        nonlocal said
        await asyncio.to_thread(beat.run_once)
        said = await explain(server, instant)
        return said.verdict not in {Verdict.VERDICT_UPCOMING, Verdict.VERDICT_OVERDUE}

    await eventually(is_decided)
    return said


async def test_what_a_beat_decides_is_explained_as_it_comes(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    beat = Fire(database, BelievesAll(database, "beat", timedelta(seconds=60)), lambda _: None, "beat@here:1")
    job = await server.create(job_id="mine", schedule_config=interval(seconds="1"))
    begin = job.created_at.ToDatetime(UTC).replace(microsecond=0)
    # The first one is never run here, so that it is in the way of all after it.
    first = await decided(server, beat, begin + timedelta(seconds=1))
    assert (first.verdict, kinds(first)[-1]) == (Verdict.VERDICT_WAITING, "IN_QUEUE")
    second = await decided(server, beat, begin + timedelta(seconds=2))
    assert (second.verdict, second.facts[0].kind) == (Verdict.VERDICT_SKIPPED, "OVERLAP")
    assert second.facts[0].execution_id == first.execution.execution_id

    pause = jobs_pb.PauseScheduledJobRequest(job_id="mine", reason="stock-taking")
    await server.stub.PauseScheduledJob(pause, metadata=[("x-actor", "alice")])
    paused = (await server.jobs.now()).replace(microsecond=0) + timedelta(seconds=1)

    async def is_past() -> bool:
        return await server.jobs.now() > paused

    await eventually(is_past)
    said = await explain(server, paused)
    assert (said.verdict, said.facts[0].kind, said.facts[0].by) == (Verdict.VERDICT_NOT_ACTIVE, "PAUSED", "alice")
    assert not said.facts[0].HasField("until")
    await server.stub.ResumeScheduledJob(jobs_pb.ResumeScheduledJobRequest(job_id="mine"))
    await asyncio.to_thread(beat.run_once)
    said = await explain(server, paused)
    assert (said.verdict, said.facts[0].kind, said.facts[0].by) == (Verdict.VERDICT_NOT_ACTIVE, "PAUSED", "alice")
    assert said.facts[0].until.ToDatetime(UTC) > paused


async def test_what_was_found_late_names_the_execution_that_did_its_work(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    daily = not_now()  # else the latest of its times may just have come, and be decided in time
    await a_job(server, schedule_config=cron(**daily))
    nominal = NOON.replace(hour=int(daily["hour"]), minute=int(daily["minute"]))
    behind = {"covered": nominal - timedelta(hours=1), "next_nominal": nominal, "wake_at": nominal}
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": behind})
    beat = Fire(database, BelievesAll(database, "beat", timedelta(seconds=60)), lambda _: None, "beat@here:1")
    said = await decided(server, beat, nominal)
    assert said.verdict == Verdict.VERDICT_COALESCED
    assert "did its work" in said.sentence
    misfire = said.facts[0]
    latest = await server.stub.GetExecution(jobs_pb.GetExecutionRequest(execution_id=misfire.execution_id))
    assert (misfire.kind, latest.execution.trigger) == ("MISFIRE", jobs_pb.Execution.TRIGGER_SCHEDULE)
    late = await explain(server, latest.execution.nominal_time.ToDatetime(UTC))
    assert (late.verdict, "DECIDED_LATE" in kinds(late)) == (Verdict.VERDICT_WAITING, True)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.ExplainOccurrenceRequest(), ["job_id", "nominal_time"]),
        (pb.ExplainOccurrenceRequest(job_id="mine", local_time="tomorrow"), ["local_time"]),
        (pb.ExplainOccurrenceRequest(job_id="mine", local_time="2026-02-30T08:00"), ["local_time"]),
        (pb.ExplainOccurrenceRequest(job_id="mine", local_time="9999-12-31T23:59:59"), ["local_time"]),
        (pb.ExplainOccurrenceRequest(job_id="mine", nominal_time=Timestamp(seconds=-(2**62))), ["nominal_time"]),
        (pb.ExplainOccurrenceRequest(job_id="mine", nominal_time=Timestamp(seconds=-1)), ["nominal_time"]),
        (
            pb.ExplainOccurrenceRequest(job_id="mine", nominal_time=Timestamp(), local_time="x"),
            ["nominal_time", "local_time"],
        ),
    ],
)
async def test_a_question_that_can_not_be_right_is_refused(
    server: Running, request_: pb.ExplainOccurrenceRequest, fields: list[str]
) -> None:
    refused = await refusal(server.planning.ExplainOccurrence(request_))
    assert (refused.code, [field for field, _ in refused.violations]) == ("INVALID_ARGUMENT", fields)


async def test_a_job_that_never_was_is_not_found(server: Running) -> None:
    refused = await refusal(
        server.planning.ExplainOccurrence(pb.ExplainOccurrenceRequest(job_id="none", nominal_time=stamp(NOON)))
    )
    assert (refused.code, refused.resource) == ("NOT_FOUND", ("job", "none"))


@pytest.mark.parametrize("collection", ["jobs", "job_revisions", "executions"])
async def test_what_somebody_has_damaged_is_explained_or_refused_with_why(server: Running, collection: str) -> None:
    job = await a_job(server)
    before = NOON - timedelta(days=1)
    ran = {"state": "SUCCEEDED", "attempt": 1, "started_at": before, "finished_at": NOON, "run": True}
    await a_row(server, job, Row(State.PENDING, before, before, 1), before, **ran)
    skipped = await a_row(server, job, Row(State.SKIPPED, NOON, NOON, 1, "one is running"), NOON)
    ids = {"jobs": "mine", "job_revisions": f"{job['uid']}.0", "executions": skipped}
    stored = server.database[collection]
    chosen = {"_id": ids[collection]}
    document = await stored.find_one(chosen)
    assert document is not None
    refused = 0
    for broken in damages(document, {"_id"}):
        await stored.replace_one(chosen, document)
        try:
            await stored.update_one(chosen, broken)
        except WriteError:  # an index does not take it
            continue
        for instant in (NOON, before, NOON + timedelta(days=30)):
            code = await code_of(explain(server, instant))
            assert code in ANSWERED, broken
            refused += code == "FAILED_PRECONDITION"
    assert refused

    await stored.replace_one(chosen, document)
    fields = {"jobs": "schedule", "job_revisions": "schedule", "executions": "transitions"}
    await stored.update_one(chosen, {"$set": {fields[collection]: [None]}})
    said = await refusal(explain(server, NOON))
    kind = "EXECUTION" if collection == "executions" else "JOB"
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", f"{kind}_UNREADABLE")
