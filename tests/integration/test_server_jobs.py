"""Jobs over gRPC: what is stored, what is refused and how, what an edit does to the stored document."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from scheduler_service.jobs.jobs import Found, Jobs
from shared.domain.plan import plan
from shared.domain.policies import Policies
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions as rows
from shared.store import jobs as stored
from shared.store.jobs import MOST_CHANGES, SCHEMA
from tests.integration.test_server_harness import Refusal, Running, a_request, cron, interval, once, refusal

ACTIVE = pb.ScheduledJob.STATE_ACTIVE
PAUSED = pb.ScheduledJob.STATE_PAUSED
COMPLETED = pb.ScheduledJob.STATE_COMPLETED
DELETED = pb.ScheduledJob.STATE_DELETED


async def document(server: Running, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = await server.database.jobs.find_one({"_id": job_id})
    assert found is not None
    return found


async def install(server: Running, job_id: str) -> dict[str, Any]:
    """Do what a beat does with the first change that waits; return the job's document after it."""
    before = await document(server, job_id)
    now = await server.jobs.now()
    decided = plan(stored.to_chain(before), {}, (), now, Policies())
    assert decided.install is not None
    if decided.rows:
        await server.database.executions.insert_many(
            [rows.scheduled_document(before, row, now, "test") for row in decided.rows]
        )
    more = len(before["changes"]) > 1
    await server.database.jobs.update_one({"_id": job_id}, stored.install(decided.install, more_changes=more))
    return await document(server, job_id)


def reads_first(server: Running, found: Found) -> None:
    """Have the next read of a job find it as it was: as just after an election, by what a majority had before."""
    read = server.jobs.read

    async def read_before(_job_id: str, **_how: Any) -> Found:
        server.jobs.read = read  # type: ignore[method-assign]
        return found

    server.jobs.read = read_before  # type: ignore[method-assign,assignment]


def iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


# Create


async def test_a_created_job_is_returned_as_it_is_stored_with_the_defaults(server: Running) -> None:
    response = await server.stub.CreateScheduledJob(a_request(), metadata=[("x-actor", "anna")])
    job = response.job
    assert response.job_id == job.job_id == f"job-{job.uid}"
    assert (job.state, job.queue, job.priority, job.timeout.seconds) == (ACTIVE, "scraping", 5, 1800)
    assert (job.retry_policy.max_attempts, job.retry_policy.initial_backoff.seconds) == (4, 60)
    assert (job.schedule_config.timezone, dict(job.schedule_config.config)) == ("UTC", {"hour": "10", "minute": "0"})
    assert (job.created_by, job.revision, list(response.warnings)) == ("anna", 1, [])
    assert job.parameters["competitor_ids"] == ["amazon"]
    again = await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=job.job_id))
    assert again.job == job


async def test_without_an_actor_the_peer_is_named(server: Running) -> None:
    assert (await server.create()).created_by.startswith("127.0.0.1:")


async def test_every_epoch_has_its_entry_in_the_history_from_the_creation_on(server: Running) -> None:
    job = await server.create(job_id="mine")
    entry = await server.database.job_revisions.find_one({"_id": f"{job.uid}.0"})
    assert (entry["reason"], entry["schedule"]["type"], entry["mode"]) == ("created", "cron", "ACTIVE")


async def test_all_that_a_client_decides_comes_back_as_it_was_sent(server: Running) -> None:
    job = await server.create(
        job_id="all-of-it",
        description="Größe & Preis 価格",
        queue="analysis",
        priority=0,
        timeout=Duration(seconds=90, nanos=500_000_000),
        retry_policy=pb.RetryPolicy(max_attempts=1, initial_backoff=Duration(seconds=1), multiplier=1.5),
        labels={"team.name": "prices", "$odd": ""},
        annotations={"tool.io/state": '{"$a.b": 1}\n', "$set": "ä" * 10_000},
        schedule_config=pb.ScheduleConfig(
            type="cron",
            config={"expression": "0 8 * * MON-FRI"},
            timezone="America/New_York",
            start_time=Timestamp(seconds=1_900_000_000),
            end_time=Timestamp(seconds=2_000_000_000),
            jitter=Duration(seconds=90, nanos=250_000_000),
            max_runs=1_000_000_000_000,
        ),
        parameters={"product_ids": ["a.b", "$c"], "max_products": 7},
    )
    assert (job.description, job.queue, job.priority) == ("Größe & Preis 価格", "analysis", 0)
    assert (job.timeout.seconds, job.timeout.nanos) == (90, 500_000_000)
    assert (job.retry_policy.max_attempts, job.retry_policy.multiplier) == (1, 1.5)
    assert dict(job.labels) == {"team.name": "prices", "$odd": ""}
    assert dict(job.annotations) == {"tool.io/state": '{"$a.b": 1}\n', "$set": "ä" * 10_000}
    assert job.schedule_config.timezone == "America/New_York"
    assert job.schedule_config.start_time.seconds == 1_900_000_000
    assert job.schedule_config.jitter == Duration(seconds=90, nanos=250_000_000)
    assert job.schedule_config.max_runs == 1_000_000_000_000
    assert job.parameters["product_ids"] == ["a.b", "$c"]
    assert job.parameters["max_products"] == 7


POLICIES = pb.Policies(
    misfire=pb.Policies.MISFIRE_FIRE_ALL,
    misfire_grace=Duration(seconds=5),
    misfire_limit=7,
    overlap=pb.Policies.OVERLAP_BUFFER_ALL,
    buffer_limit=8,
    max_concurrent=9,
    on_worker_lost=pb.Policies.WORKER_LOST_FAIL,
    pause_on_failure=3,
    delete_after_done=True,
)


async def test_policies_come_back_as_they_were_sent_and_an_update_replaces_them_as_a_whole(server: Running) -> None:
    job = await server.create(job_id="mine", policies=POLICIES)
    assert job.policies == POLICIES
    job = (await update(server, "mine", policies=pb.Policies(overlap=pb.Policies.OVERLAP_ALLOW))).job
    assert (job.policies.overlap, job.policies.misfire_limit) == (pb.Policies.OVERLAP_ALLOW, 100)
    assert not job.policies.delete_after_done
    job = (await update(server, "mine", name="renamed")).job
    assert job.policies.overlap == pb.Policies.OVERLAP_ALLOW


async def test_a_retry_policy_comes_back_as_it_was_sent_and_has_the_defaults_elsewhere(server: Running) -> None:
    sent = pb.RetryPolicy(
        jitter=pb.RetryPolicy.JITTER_FULL,
        retryable_codes=["ABORTED", "INTERNAL"],
        non_retryable_codes=["TARGET_UNKNOWN"],
        retry_window=pb.RetryPolicy.RETRY_WINDOW_UNTIL_NEXT,
    )
    retry = (await server.create(job_id="mine", retry_policy=sent)).retry_policy
    assert (retry.jitter, retry.retry_window) == (sent.jitter, sent.retry_window)
    assert list(retry.retryable_codes) == ["ABORTED", "INTERNAL"]
    assert list(retry.non_retryable_codes) == ["TARGET_UNKNOWN"]
    assert (await update(server, "mine", name="Other")).job.retry_policy == retry
    retry = (await update(server, "mine", retry_policy=pb.RetryPolicy(max_attempts=2))).job.retry_policy
    assert (retry.jitter, retry.retry_window) == (
        pb.RetryPolicy.JITTER_PROPORTIONAL,
        pb.RetryPolicy.RETRY_WINDOW_UNLIMITED,
    )
    assert not retry.retryable_codes


async def test_a_wrong_retry_policy_is_refused_with_all_violations(server: Running) -> None:
    wrong = pb.RetryPolicy(jitter=9, retry_window=7, retryable_codes=["GONE"], non_retryable_codes=["OK"])  # type: ignore[arg-type]
    refused = await refusal(server.create(retry_policy=wrong))
    assert [field for field, _ in refused.violations] == [
        "retry_policy.jitter",
        "retry_policy.retry_window",
        "retry_policy.retryable_codes",
        "retry_policy.non_retryable_codes",
    ]


async def test_a_job_of_a_newer_release_is_not_edited(server: Running) -> None:
    await server.create(job_id="mine")
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"schema": SCHEMA + 1}})
    before = await document(server, "mine")
    calls = [
        server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine")),
        server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine")),
        server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine")),
        update(server, "mine", name="Other"),
    ]
    for call in calls:
        refused = await refusal(call)
        assert refused.code == "FAILED_PRECONDITION"
        assert f"stored by a newer release (schema {SCHEMA + 1}; this server knows {SCHEMA})" in refused.message
    assert await document(server, "mine") == before
    assert (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job.job_id == "mine"
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"schedule": {"type": "unheard of"}}})
    refused = await refusal(server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")))
    assert refused.code == "FAILED_PRECONDITION"


async def test_a_job_that_a_newer_release_edits_in_between_is_not_edited(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create(job_id="mine")
    read, newer = Jobs.read, {"$set": {"schema": SCHEMA + 1}}

    async def edited_after(self: Jobs, job_id: str, **how: Any) -> Found:
        found = await read(self, job_id, **how)
        await server.database.jobs.update_one({"_id": job_id}, newer)
        return found

    monkeypatch.setattr(Jobs, "read", edited_after)
    before = await document(server, "mine") | newer["$set"]
    refused = await refusal(server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine")))
    assert refused.code == "FAILED_PRECONDITION"
    assert await document(server, "mine") == before


async def test_a_job_of_an_older_release_is_migrated_by_the_next_edit(server: Running) -> None:
    await server.create(job_id="mine", retry_policy=pb.RetryPolicy(max_attempts=2))
    now = await document(server, "mine")
    later = ("jitter", "retryable_codes", "non_retryable_codes", "retry_window")
    older = {"policies": "", "fired": "", "failures_since": "", **{f"retry.{name}": "" for name in later}}
    await server.database.jobs.update_one({"_id": "mine"}, {"$unset": older, "$set": {"schema": 1}})
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))
    after = await document(server, "mine")
    assert {field: after[field] for field in ("schema", "policies", "retry", "fired")} == {
        field: now[field] for field in ("schema", "policies", "retry", "fired")
    }
    assert after["failures_since"] >= now["failures_since"]


async def test_when_an_execution_expires_is_set_changed_and_taken_back(server: Running) -> None:
    job = await server.create(job_id="mine", expires={"seconds": 90})
    assert (job.expires.seconds, job.managed_by) == (90, "")
    assert (await update(server, "mine", description="other")).job.expires.seconds == 90
    assert (await update(server, "mine", expires={"seconds": 5})).job.expires.seconds == 5
    request = pb.UpdateScheduledJobRequest(job_id="mine", job={}, update_mask={"paths": ["expires"]})
    assert not (await server.stub.UpdateScheduledJob(request)).job.HasField("expires")
    refused = await refusal(server.create(job_id="other", expires={"seconds": 0}))
    assert refused.violations == [("expires", "0 s is not a time to expire after (more than 0 s, at most 366 days)")]


async def test_a_job_from_before_there_were_such_policies_has_their_defaults(server: Running) -> None:
    await server.create(job_id="mine")
    gone = {f"retry.{name}": "" for name in ("jitter", "retryable_codes", "non_retryable_codes", "retry_window")}
    await server.database.jobs.update_one({"_id": "mine"}, {"$unset": gone})
    retry = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job.retry_policy
    assert retry == (await server.create(job_id="other")).retry_policy


async def test_a_job_that_says_nothing_has_the_default_policies(server: Running) -> None:
    policies = (await server.create()).policies
    assert (policies.misfire, policies.misfire_grace.seconds) == (pb.Policies.MISFIRE_FIRE_LATEST, 60)
    assert (policies.overlap, policies.on_worker_lost) == (pb.Policies.OVERLAP_SKIP, pb.Policies.WORKER_LOST_RETRY)
    assert (policies.pause_on_failure, policies.delete_after_done) == (0, False)


async def test_a_document_from_before_there_were_policies_is_read_and_an_edit_writes_the_present_schema(
    server: Running,
) -> None:
    await server.create(job_id="mine")
    lacking = {"$set": {"schema": 1}, "$unset": dict.fromkeys(("policies", "fired", "failures_since"), "")}
    await server.database.jobs.update_one({"_id": "mine"}, lacking)
    found = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job
    assert found.policies.overlap == pb.Policies.OVERLAP_SKIP
    await update(server, "mine", name="renamed")
    after = await document(server, "mine")
    assert (after["schema"], after["policies"]["overlap"]) == (SCHEMA, "SKIP")


async def test_the_next_fire_times_are_no_more_than_the_runs_that_are_left(server: Running) -> None:
    minutely = pb.ScheduleConfig(type="interval", config={"minutes": "1"}, max_runs=3)
    await server.create(job_id="mine", schedule_config=minutely)
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"fired": 1}})
    status = pb.GetJobStatusRequest(job_id="mine")
    assert len((await server.stub.GetJobStatus(status)).next_fire_times) == 2
    longer = pb.ScheduleConfig(type="interval", config={"minutes": "1"}, max_runs=4)
    await update(server, "mine", schedule_config=longer)
    assert len((await server.stub.GetJobStatus(status)).next_fire_times) == 4, "a new schedule counts anew"


async def test_a_union_with_exclusions_comes_back_as_it_was_sent_and_fires_on_other_days(server: Running) -> None:
    terms = pb.ScheduleConfig(
        type="cron",
        config={"gap": "SKIP"},
        expressions=["0 8 * * *", "30 8 * * *"],
        timezone="Europe/Berlin",
        start_time=Timestamp(seconds=int(datetime(2040, 12, 24, tzinfo=UTC).timestamp())),
        exclusions=pb.Exclusions(
            dates=["2040-12-25"],
            ranges=[pb.Exclusions.DateRange(first="2040-12-26", last="2040-12-30")],
            on_excluded="ON_EXCLUDED_NEXT_BUSINESS_DAY",
            weekend=["SUN"],
        ),
    )
    job = await server.create(job_id="mine", schedule_config=terms)
    assert job.schedule_config == terms
    status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine"))
    nexts = [time.ToDatetime(UTC) for time in status.next_fire_times]
    assert nexts[:4] == [datetime(2040, 12, day, 7, minute, tzinfo=UTC) for day in (24, 31) for minute in (0, 30)]
    # a job of the same terms is left as it is, also when some are said that are the default
    await update(server, "mine", schedule_config=terms)
    assert (await document(server, "mine"))["changes"] == []
    terms.exclusions.dates.append("2041-01-01")
    await update(server, "mine", schedule_config=terms)
    (change,) = (await document(server, "mine"))["changes"]
    assert change["schedule"]["exclusions"]["dates"] == ["2040-12-25", "2041-01-01"]


async def test_a_taken_job_id_is_refused_also_when_its_job_is_deleted(server: Running) -> None:
    await server.create(job_id="mine")
    refused = await refusal(server.stub.CreateScheduledJob(a_request(job_id="mine")))
    assert (refused.code, refused.resource) == ("ALREADY_EXISTS", ("job", "mine"))
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    refused = await refusal(server.stub.CreateScheduledJob(a_request(job_id="mine")))
    assert refused.code == "ALREADY_EXISTS"
    assert await server.database.job_revisions.count_documents({}) == 1


async def test_names_need_not_be_unique(server: Running) -> None:
    assert (await server.create()).job_id != (await server.create()).job_id


async def test_fire_all_where_nothing_may_overlap_is_warned_about(server: Running) -> None:
    policies = pb.Policies(misfire=pb.Policies.MISFIRE_FIRE_ALL)
    response = await server.stub.CreateScheduledJob(a_request(policies=policies))
    assert [warning.partition(":")[0] for warning in response.warnings] == ["policies.misfire"]


async def test_what_may_surprise_is_warned_about(server: Running) -> None:
    response = await server.stub.CreateScheduledJob(
        a_request(
            timeout=Duration(seconds=80_000),
            schedule_config=cron(day_of_month="1", day_of_week="MON", hour="1", minute="0"),
        )
    )
    timeout, days = response.warnings
    assert timeout.startswith("timeout: 80000 s is longer than RabbitMQ's consumer_timeout")
    assert "day_of_month and day_of_week are both restricted" in days


async def test_a_once_of_just_now_is_due_at_once(server: Running) -> None:
    at = datetime.now(UTC) - timedelta(seconds=30)
    job = await server.create(schedule_config=once(iso(at)))
    found = await document(server, job.job_id)
    assert found["wake_at"] == found["next_nominal"] <= found["created_at"]


NAN = Struct(fields={"max_products": Value(number_value=float("nan"))})
NOTHING = Struct(fields={"competitor_ids": Value(list_value=ListValue(values=[Value()]))})


def schedule(**more: Any) -> pb.ScheduleConfig:
    return pb.ScheduleConfig(type="cron", config={"minute": "5"}, **more)


BAD_CREATES = [
    ({"name": ""}, "name", "a name is required"),
    ({"name": "n" * 201}, "name", "201 characters are too many"),
    ({"job_type": None}, "job_type", "a job type is required"),
    ({"job_type": 77}, "job_type", "'77' is not a job type"),
    ({"job_id": "Not/An Id"}, "job_id", "is not a job id"),
    ({"job_id": "a" * 64}, "job_id", "is not a job id"),
    ({"description": "d" * 2001}, "description", "too many"),
    ({"target_service": ""}, "target_service", "a target is required"),
    ({"target_method": ""}, "target_method", "a method is required"),
    ({"target_service": "nobody"}, "target_service", "nobody"),
    ({"target_method": "NoSuchMethod"}, "target_method", "NoSuchMethod"),
    ({"parameters": {"competitors": ["amazon"]}}, "parameters.competitors", "competitor"),
    ({"parameters": {"max_products": "many"}}, "parameters.max_products", "many"),
    ({"parameters": NAN}, "parameters.max_products", "nan is not a number that JSON has"),
    ({"parameters": NOTHING}, "parameters.competitor_ids[0]", "has no value"),
    ({"schedule_config": None}, "schedule_config", "a schedule is required"),
    ({"schedule_config": pb.ScheduleConfig()}, "schedule_config.type", "a type is required"),
    ({"schedule_config": cron(hour="25", minute="0")}, "schedule_config.config.hour", "'25' is not an hour (0-23)"),
    ({"schedule_config": cron(hours="2", minute="0")}, "schedule_config.config.hours", "is not a key of cron"),
    ({"schedule_config": schedule(max_runs=-1)}, "schedule_config.max_runs", "-1 is not a number of runs"),
    ({"schedule_config": schedule(jitter=Duration(seconds=-1))}, "schedule_config.jitter", "-1 s is negative"),
    ({"schedule_config": schedule(jitter=Duration(seconds=86_401))}, "schedule_config.jitter", "is not a jitter"),
    ({"schedule_config": schedule(expressions=["@daily"])}, "schedule_config.expressions", "not both (minute)"),
    (
        {"schedule_config": schedule(exclusions=pb.Exclusions(dates=["2030-12-25", "Easter"]))},
        "schedule_config.exclusions.dates[1]",
        "'Easter' is not a date",
    ),
    (
        {"schedule_config": schedule(exclusions=pb.Exclusions(on_excluded=9))},  # type: ignore[arg-type]
        "schedule_config.exclusions.on_excluded",
        "'9' is not what can become of an occurrence",
    ),
    ({"schedule_config": cron(expression="* * *")}, "schedule_config.config.expression", "3 fields"),
    ({"schedule_config": cron(expression="0 0 30 2 *")}, "schedule_config.config.expression", "never fires"),
    ({"schedule_config": cron("Mars/Olympus", minute="0")}, "schedule_config.timezone", "Mars/Olympus"),
    ({"schedule_config": interval(seconds="0")}, "schedule_config.config", "whole seconds"),
    ({"schedule_config": interval(every="soon")}, "schedule_config.config.every", "'soon'"),
    ({"schedule_config": once("tomorrow")}, "schedule_config.config.at", "'tomorrow'"),
    ({"schedule_config": once("2020-01-01T00:00:00Z")}, "schedule_config.config.at", "more than a minute before now"),
    (
        {"schedule_config": pb.ScheduleConfig(type="cron", config={"minute": "0"}, end_time=Timestamp(seconds=2**62))},
        "schedule_config.end_time",
        "is not an instant in the years 1 to 9999",
    ),
    (
        {"schedule_config": pb.ScheduleConfig(type="cron", config={"minute": "0"}, start_time=Timestamp(nanos=-1))},
        "schedule_config.start_time",
        "is not an instant",
    ),
    (
        {"schedule_config": pb.ScheduleConfig(type="cron", config={"minute": "0"}, end_time=Timestamp(seconds=1))},
        "schedule_config.end_time",
        "never fires",
    ),
    ({"queue": "fast-lane"}, "queue", "'fast-lane' is not a configured queue"),
    ({"priority": 10}, "priority", "10 is not a priority (0-9)"),
    ({"priority": -1}, "priority", "-1 is not a priority (0-9)"),
    ({"timeout": Duration()}, "timeout", "0 s is not a timeout"),
    ({"timeout": Duration(seconds=-5)}, "timeout", "-5 s is negative"),
    ({"timeout": Duration(seconds=1, nanos=-1)}, "timeout", "is not a span"),
    ({"timeout": Duration(seconds=2**62)}, "timeout", "is not a span"),
    ({"timeout": Duration(seconds=86_401)}, "timeout", "86401 s is not a timeout"),
    ({"retry_policy": pb.RetryPolicy(max_attempts=-1)}, "retry_policy.max_attempts", "-1 is not a number of attempts"),
    ({"retry_policy": pb.RetryPolicy(max_attempts=101)}, "retry_policy.max_attempts", "101"),
    ({"retry_policy": pb.RetryPolicy(multiplier=0.5)}, "retry_policy.multiplier", "0.5 is not a multiplier"),
    ({"retry_policy": pb.RetryPolicy(multiplier=float("nan"))}, "retry_policy.multiplier", "nan is not a multiplier"),
    (
        {"retry_policy": pb.RetryPolicy(max_backoff=Duration(seconds=-1))},
        "retry_policy.max_backoff",
        "-1 s is negative",
    ),
    ({"policies": pb.Policies(misfire=cast("Any", 99))}, "policies.misfire", "99 is not the number of a policy (MIS"),
    ({"policies": pb.Policies(overlap=cast("Any", -1))}, "policies.overlap", "-1 is not the number of a policy (OV"),
    ({"policies": pb.Policies(buffer_limit=-1)}, "policies.buffer_limit", "-1 is not between 1 and 1,000"),
    ({"policies": pb.Policies(max_concurrent=1001)}, "policies.max_concurrent", "1001 is not between 1 and 1,000"),
    ({"policies": pb.Policies(pause_on_failure=-1)}, "policies.pause_on_failure", "-1 is not a number of failures"),
    (
        {"policies": pb.Policies(misfire_grace=Duration(seconds=-1))},
        "policies.misfire_grace",
        "-1 s is negative",
    ),
    (
        {"policies": pb.Policies(misfire_grace=Duration(seconds=2**30))},
        "policies.misfire_grace",
        "is not between 0 s and 366 days",
    ),
    ({"labels": {"": "x"}}, "labels", "the key at least one"),
    ({"labels": {str(n): "x" for n in range(65)}}, "labels", "65 labels are too many"),
    ({"annotations": {"": "x"}}, "annotations", "a key needs 1 to 255 characters"),
    ({"annotations": {"k" * 256: "x"}}, "annotations", "a key needs 1 to 255 characters"),
    ({"annotations": {"k": "x" * (64 * 1024)}}, "annotations", "65,537 bytes of keys and values are too many"),
    ({"annotations": {"k": "a\x00b"}}, "annotations", "annotation 'k': "),
]


@pytest.mark.parametrize(("fields", "field", "sentence"), BAD_CREATES)
async def test_bad_input_is_refused_by_field_in_the_details_and_in_the_message(
    server: Running, fields: dict[str, Any], field: str, sentence: str
) -> None:
    refused = await refusal(server.stub.CreateScheduledJob(a_request(**fields)))
    assert refused.code == "INVALID_ARGUMENT"
    assert [name for name, _ in refused.violations] == [field]
    assert sentence in refused.violations[0][1]
    assert f"{field}: {refused.violations[0][1]}" in refused.message
    assert await server.database.jobs.count_documents({}) == 0


async def test_all_violations_come_at_once(server: Running) -> None:
    refused = await refusal(
        server.stub.CreateScheduledJob(
            pb.CreateScheduledJobRequest(
                job_type=99,  # type: ignore[arg-type]
                job_id="-",
                target_service="scraper-service",
                target_method="NoSuchMethod",
                schedule_config=pb.ScheduleConfig(
                    type="cron", config={"hour": "25", "minute": "61"}, start_time=Timestamp(nanos=-1)
                ),
                priority=11,
                queue="nowhere",
                timeout=Duration(seconds=-1),
            )
        )
    )
    assert {field for field, _ in refused.violations} == {
        "job_type",
        "job_id",
        "name",
        "target_method",
        "schedule_config.config.hour",
        "schedule_config.config.minute",
        "schedule_config.start_time",
        "priority",
        "queue",
        "timeout",
    }


async def test_any_number_of_violations_in_any_script_still_reach_the_client(server: Running) -> None:
    parameters = {f"鍵{n}-" + "値" * 40: "x" for n in range(90)}
    refused = await refusal(server.stub.CreateScheduledJob(a_request(parameters=parameters)))
    assert refused.code == "INVALID_ARGUMENT"
    assert "鍵" in refused.message
    left_out = refused.violations[-1][1]
    assert left_out == f"and {90 - (len(refused.violations) - 1)} more"
    assert refused.message.endswith(left_out)


# Get, list


@pytest.mark.parametrize(
    "method", ["GetScheduledJob", "PauseScheduledJob", "ResumeScheduledJob", "DeleteScheduledJob", "GetJobStatus"]
)
async def test_an_unknown_job_is_not_found_and_an_empty_id_is_bad_input(server: Running, method: str) -> None:
    kind = getattr(pb, f"{method}Request")
    refused = await refusal(getattr(server.stub, method)(kind(job_id="job-123")))
    assert refused == Refusal("NOT_FOUND", "there is no job 'job-123'", [], False, ("job", "job-123"), "NOT_FOUND")
    refused = await refusal(getattr(server.stub, method)(kind()))
    assert (refused.code, refused.violations) == ("INVALID_ARGUMENT", [("job_id", "a job_id is required")])


async def list_all(server: Running, page_size: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=page_size, page_token=token))
        found += [job.job_id for job in page.jobs]
        token = page.next_page_token
        if not token:
            return found


async def test_jobs_are_listed_newest_first_in_pages_of_any_size(server: Running) -> None:
    made = [(await server.create(job_id=f"job-{n}")).job_id for n in range(5)]
    for page_size in (1, 2, 4, 5, 0):
        assert await list_all(server, page_size) == made[::-1]


async def test_pages_stay_stable_while_jobs_are_created(server: Running) -> None:
    made = [(await server.create(job_id=f"job-{n}")).job_id for n in range(4)]
    first = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=2))
    await server.create(job_id="late")
    second = await server.stub.ListScheduledJobs(
        pb.ListScheduledJobsRequest(page_size=2, page_token=first.next_page_token)
    )
    assert [job.job_id for job in (*first.jobs, *second.jobs)] == made[::-1]
    assert second.next_page_token == ""


async def test_a_page_of_large_jobs_stays_below_what_clients_take(server: Running) -> None:
    for n in range(16):
        await server.create(job_id=f"job-{n:02}", parameters={"product_ids": ["x" * 240_000]})
    first = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
    assert 0 < len(first.jobs) < 16
    assert first.next_page_token
    assert await list_all(server, 0) == [f"job-{n:02}" for n in range(16)][::-1]


async def test_deleted_jobs_are_listed_only_where_asked_for(server: Running) -> None:
    await server.create(job_id="gone")
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="gone"))
    assert await list_all(server, 0) == []
    page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(show_deleted=True))
    assert [(job.job_id, job.state) for job in page.jobs] == [("gone", DELETED)]


@pytest.mark.parametrize("page_size", [-1, 1001])
async def test_a_page_size_out_of_bounds_is_refused(server: Running, page_size: int) -> None:
    refused = await refusal(server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=page_size)))
    assert [field for field, _ in refused.violations] == ["page_size"]


async def test_a_garbled_token_and_one_of_another_list_are_refused(server: Running) -> None:
    for n in range(2):
        await server.create(job_id=f"job-{n}")
    page = await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_size=1))
    token = page.next_page_token
    changed = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    for bad in ("x", "ünicode", "////", token[:-4], changed):
        refused = await refusal(server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest(page_token=bad)))
        assert [field for field, _ in refused.violations] == ["page_token"], bad
    other = pb.ListScheduledJobsRequest(page_token=token, show_deleted=True)
    assert (await refusal(server.stub.ListScheduledJobs(other))).code == "INVALID_ARGUMENT"


# Update


async def update(server: Running, job: str, /, mask: list[str] | None = None, etag: str = "", **fields: Any) -> Any:
    return await server.stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(
            job_id=job,
            job=pb.ScheduledJob(etag=etag, **fields),
            update_mask=None if mask is None else FieldMask(paths=mask),
        )
    )


async def test_a_masked_update_changes_what_the_mask_names_and_nothing_else(server: Running) -> None:
    before = await server.create(description="old", queue="analysis", labels={"a": "b"}, priority=9)
    response = await update(
        server,
        before.job_id,
        ["name", "description", "queue", "priority", "labels"],
        name="New",
        timeout=Duration(seconds=5),
    )
    job = response.job
    assert (job.name, job.description, job.queue, job.priority, dict(job.labels)) == ("New", "", "scraping", 5, {})
    assert (job.timeout, job.schedule_config, job.parameters) == (
        before.timeout,
        before.schedule_config,
        before.parameters,
    )
    assert (job.revision, job.etag != before.etag) == (before.revision + 1, True)


async def test_without_a_mask_every_field_that_is_set_is_changed(server: Running) -> None:
    before = await server.create(description="old", labels={"a": "b"})
    job = (await update(server, before.job_id, name="New", priority=0)).job
    assert (job.name, job.priority, job.description, dict(job.labels)) == ("New", 0, "old", {"a": "b"})


async def test_annotations_are_replaced_as_a_whole_and_a_job_from_before_there_were_any_has_none(
    server: Running,
) -> None:
    await server.create(job_id="mine", annotations={"a": "1", "b": "2"})
    assert dict((await update(server, "mine", annotations={"c": "3"})).job.annotations) == {"c": "3"}
    assert dict((await update(server, "mine", ["annotations"])).job.annotations) == {}
    await server.database.jobs.update_one({"_id": "mine"}, {"$unset": {"annotations": ""}})
    job = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))).job
    assert dict(job.annotations) == {}
    assert dict((await update(server, "mine", annotations={"d": "4"})).job.annotations) == {"d": "4"}


async def test_what_was_read_can_be_sent_back_as_it_is(server: Running) -> None:
    before = await server.create(
        schedule_config=once(iso(datetime.now(UTC) - timedelta(seconds=50))),
        retry_policy=pb.RetryPolicy(max_attempts=2),
    )
    # its time is now too long ago for a new job: a job of the same terms is none
    await server.database.jobs.update_one(
        {"_id": before.job_id},
        {"$set": {"schedule.config.at": "2020-01-01T00:00:00Z", "schedule.at": datetime(2020, 1, 1, tzinfo=UTC)}},
    )
    before = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=before.job_id))).job
    response = await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id=before.job_id, job=before))
    after = response.job
    assert (await document(server, before.job_id))["changes"] == []
    for volatile in ("revision", "etag", "updated_at"):
        after.ClearField(volatile)
        before.ClearField(volatile)
    assert after == before


BAD_UPDATES = [
    (["job_id"], {}, "update_mask", "'job_id' can't be changed (name, description, job_type"),
    (["state"], {}, "update_mask", "'state' can't be changed"),
    (["colour"], {}, "update_mask", "'colour' is not a field of a job (name, description"),
    (["*"], {}, "update_mask", "'*' is not a field of a job"),
    (["schedule_config.timezone"], {}, "update_mask", "fields are changed as a whole"),
    (["schedule_config"], {}, "job.schedule_config", "a schedule is required"),
    (["name"], {}, "job.name", "a name is required"),
    (["job_type"], {"job_type": 42}, "job.job_type", "'42' is not a job type"),
    (None, {}, "job", "nothing to change"),
    (None, {"uid": "x", "revision": 7}, "job", "nothing to change"),
    (None, {"name": "x", "job_id": "another"}, "job.job_id", "can't be changed"),
    (None, {"schedule_config": cron(hour="25", minute="0")}, "job.schedule_config.config.hour", "'25'"),
    (None, {"timeout": Duration(seconds=-1)}, "job.timeout", "negative"),
    (None, {"parameters": {"colour": "red"}}, "job.parameters.colour", "has no such field"),
    (None, {"target_method": "Nothing"}, "job.target_method", "Nothing"),
    (None, {"queue": "nowhere"}, "job.queue", "'nowhere' is not a configured queue"),
]


@pytest.mark.parametrize(("mask", "fields", "field", "sentence"), BAD_UPDATES)
async def test_a_bad_update_is_refused_by_field_and_changes_nothing(
    server: Running, mask: list[str] | None, fields: dict[str, Any], field: str, sentence: str
) -> None:
    job = await server.create(job_id="mine")
    refused = await refusal(update(server, job.job_id, mask, **fields))
    assert refused.code == "INVALID_ARGUMENT"
    assert [name for name, _ in refused.violations] == [field]
    assert sentence in refused.violations[0][1]
    assert (await document(server, "mine"))["revision"] == 1


async def test_an_etag_of_before_somebody_elses_change_is_refused(server: Running) -> None:
    job = await server.create()
    await update(server, job.job_id, etag=job.etag, name="First")
    refused = await refusal(update(server, job.job_id, etag=job.etag, name="Second"))
    assert refused.code == "ABORTED"
    assert "read it again" in refused.message


async def test_an_update_that_leaves_the_schedule_alone_queues_no_change(server: Running) -> None:
    job = await server.create(job_id="mine")
    before = await document(server, "mine")
    await update(server, job.job_id, name="Other", schedule_config=cron(minute="0", hour="10"))
    after = await document(server, "mine")
    assert (after["changes"], after["revision"], after["edits"]) == ([], 2, 2)
    assert (after["wake_at"], after["installed"]) == (before["wake_at"], before["installed"])


async def test_a_schedule_of_the_same_terms_stays_the_very_one_in_each_of_its_fields(server: Running) -> None:
    def terms(**more: Any) -> pb.ScheduleConfig:
        return pb.ScheduleConfig(type="interval", config={"hours": "1"}, **more)

    job = await server.create(job_id="mine", schedule_config=terms(jitter=Duration(nanos=7_000_000), max_runs=3))
    # what is finer than a schedule keeps is no difference
    await update(server, job.job_id, schedule_config=terms(jitter=Duration(nanos=7_999_999), max_runs=3))
    assert (await document(server, "mine"))["changes"] == []
    await update(server, job.job_id, schedule_config=terms(jitter=Duration(nanos=8_000_000), max_runs=3))
    await update(server, job.job_id, schedule_config=terms(max_runs=4))
    first, second = (await document(server, "mine"))["changes"]
    assert (first["schedule"]["jitter"], first["schedule"]["max_runs"]) == (0.008, 3)
    assert (second["schedule"]["jitter"], second["schedule"]["max_runs"]) == (0, 4)
    assert first["schedule"]["anchor"] == second["schedule"]["anchor"]


async def test_a_changed_schedule_waits_as_a_change_and_is_shown_at_once(server: Running) -> None:
    job = await server.create(job_id="mine")
    before = await document(server, "mine")
    low = await server.jobs.now()
    response = await server.stub.UpdateScheduledJob(
        pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(schedule_config=cron(minute="5"))),
        metadata=[("x-actor", "anna")],
    )
    high = await server.jobs.now()
    assert dict(response.job.schedule_config.config) == {"minute": "5"}
    after = await document(server, "mine")
    (change,) = after["changes"]
    assert low <= change["cutoff"] <= high
    assert (change["by"], change["reason"], change["mode"]) == ("anna", "updated", "ACTIVE")
    assert change["schedule"] == after["schedule"] != before["schedule"]
    assert low <= after["wake_at"] <= high
    assert (after["epoch"], after["installed"], after["next_nominal"]) == (
        0,
        before["installed"],
        before["next_nominal"],
    )
    assert after["revision"] == job.revision + 1


async def test_cutoffs_never_run_backwards(server: Running) -> None:
    await server.create(job_id="mine")
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"covered": ahead}})
    for minute in ("5", "6"):
        await update(server, "mine", schedule_config=cron(minute=minute))
    cutoffs = [change["cutoff"] for change in (await document(server, "mine"))["changes"]]
    assert cutoffs == [ahead, ahead]


async def test_an_interval_that_keeps_its_period_goes_on_counting_from_where_it_did(server: Running) -> None:
    await server.create(job_id="mine", schedule_config=interval(hours="1"))
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"schedule.anchor": anchor}})
    end = Timestamp(seconds=2_000_000_000)
    await update(
        server, "mine", schedule_config=pb.ScheduleConfig(type="interval", config={"hours": "1"}, end_time=end)
    )
    assert (await document(server, "mine"))["schedule"]["anchor"] == anchor
    await update(server, "mine", schedule_config=interval(hours="2"))
    assert (await document(server, "mine"))["schedule"]["anchor"] > anchor


async def test_a_job_updated_to_a_once_of_just_now_fires_in_its_new_epoch(server: Running) -> None:
    await server.create(job_id="mine")
    at = iso(datetime.now(UTC) - timedelta(seconds=40))
    job = (await update(server, "mine", schedule_config=once(at))).job
    assert job.schedule_config.config["at"] == at
    (change,) = (await document(server, "mine"))["changes"]
    assert timedelta(0) < change["schedule"]["at"] - change["cutoff"] < timedelta(seconds=1)
    after = await install(server, "mine")
    assert (after["state"], after["wake_at"]) == ("ACTIVE", change["schedule"]["at"])


async def test_a_new_type_takes_its_queue_along_unless_a_queue_was_named(server: Running) -> None:
    named = await server.create(queue="default_queue")
    unnamed = await server.create()
    assert (await update(server, named.job_id, job_type="ANALYSIS")).job.queue == "default_queue"
    assert (await update(server, unnamed.job_id, job_type="ANALYSIS")).job.queue == "analysis"


async def test_concurrent_updates_all_take_effect(server: Running) -> None:
    await server.create(job_id="mine")
    changes = [update(server, "mine", schedule_config=cron(minute=str(n))) for n in range(5)]
    await asyncio.gather(*changes, update(server, "mine", name="Other"))
    after = await document(server, "mine")
    assert (len(after["changes"]), after["name"], after["edits"]) == (5, "Other", 7)
    cutoffs = [change["cutoff"] for change in after["changes"]]
    assert cutoffs == sorted(cutoffs)


async def complete(server: Running, job_id: str) -> None:
    fields = {"state": "COMPLETED", "status_message": "No further occurrence.", "next_nominal": None, "wake_at": None}
    await server.database.jobs.update_one({"_id": job_id}, {"$set": fields})


async def test_a_completed_job_becomes_active_by_a_new_schedule_only(server: Running) -> None:
    await server.create(job_id="mine")
    await complete(server, "mine")
    job = (await update(server, "mine", name="Other")).job
    assert (job.state, job.status_message) == (COMPLETED, "No further occurrence.")
    assert (await document(server, "mine"))["wake_at"] is None
    job = (await update(server, "mine", schedule_config=cron(minute="5"))).job
    assert (job.state, job.status_message) == (ACTIVE, "")
    assert (await document(server, "mine"))["wake_at"] is not None


@pytest.mark.parametrize("by", ["update", "resume"])
async def test_a_parked_job_is_taken_out_by_an_edit_or_a_resume(server: Running, by: str) -> None:
    await server.create(job_id="mine")
    await server.database.jobs.update_one({"_id": "mine"}, stored.park("it can't be planned"))
    if by == "update":
        job = (await update(server, "mine", name="Other")).job
    else:
        job = (await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine"))).job
    assert (job.state, job.status_message) == (ACTIVE, "")
    assert (await document(server, "mine"))["wake_at"] is not None


# Pause, resume, delete


async def test_a_pause_is_queued_shown_and_undone_by_a_resume(server: Running) -> None:
    await server.create(job_id="mine")
    job = (await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine", reason="stock-taking"))).job
    assert (job.state, job.status_message) == (PAUSED, "stock-taking")
    job = (await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine"))).job
    assert (job.state, job.status_message) == (ACTIVE, "")
    changes = (await document(server, "mine"))["changes"]
    assert [(change["mode"], change["reason"]) for change in changes] == [
        ("PAUSED", "stock-taking"),
        ("ACTIVE", "resumed"),
    ]
    await install(server, "mine")
    after = await install(server, "mine")
    assert (after["epoch"], after["changes"], after["wake_at"] is not None) == (2, [], True)


async def test_pausing_a_paused_and_resuming_an_active_job_changes_nothing(server: Running) -> None:
    first = await server.create(job_id="mine")
    assert (await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine"))).job == first
    paused = (await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))).job
    again = (await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine", reason="again"))).job
    assert again == paused


@pytest.mark.parametrize("change", ["pause", "resume"])
async def test_what_changes_nothing_by_a_read_from_before_an_acknowledged_change_is_done(
    server: Running, change: str
) -> None:
    await server.create(job_id="mine")
    calls = {
        "pause": lambda: server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine")),
        "resume": lambda: server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine")),
    }
    await calls["pause"]()
    if change == "resume":
        await calls["resume"]()
    before = await server.jobs.read("mine")
    await calls["resume" if change == "pause" else "pause"]()
    reads_first(server, before)
    job = (await calls[change]()).job
    assert job.state == (PAUSED if change == "pause" else ACTIVE)
    assert (await document(server, "mine"))["state"] == ("PAUSED" if change == "pause" else "ACTIVE")


async def test_a_completed_job_can_be_neither_paused_nor_resumed(server: Running) -> None:
    await server.create(job_id="mine")
    await complete(server, "mine")
    for call, request in (
        (server.stub.PauseScheduledJob, pb.PauseScheduledJobRequest(job_id="mine")),
        (server.stub.ResumeScheduledJob, pb.ResumeScheduledJobRequest(job_id="mine")),
    ):
        refused = await refusal(call(request))
        assert refused.code == "FAILED_PRECONDITION"
        assert "a new schedule makes it active again" in refused.message


async def test_an_update_keeps_a_paused_job_paused(server: Running) -> None:
    await server.create(job_id="mine")
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine", reason="why"))
    job = (await update(server, "mine", schedule_config=cron(minute="5"))).job
    assert (job.state, job.status_message) == (PAUSED, "why")
    assert [change["mode"] for change in (await document(server, "mine"))["changes"]] == ["PAUSED", "PAUSED"]


async def test_a_job_that_completes_meanwhile_is_not_made_active_by_an_edit(server: Running) -> None:
    await server.create(job_id="mine")
    read = server.jobs.read

    async def read_then_complete(job_id: str, **how: Any) -> Any:
        server.jobs.read = read  # type: ignore[method-assign]
        found = await read(job_id, **how)
        await complete(server, job_id)
        return found

    server.jobs.read = read_then_complete  # type: ignore[method-assign]
    assert (await update(server, "mine", name="Other")).job.state == COMPLETED


async def test_a_reason_that_is_too_long_is_refused(server: Running) -> None:
    await server.create(job_id="mine")
    refused = await refusal(server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine", reason="x" * 501)))
    assert [field for field, _ in refused.violations] == ["reason"]


async def test_after_a_delete_every_call_answers_not_found(server: Running) -> None:
    await server.create(job_id="mine")
    job = (await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine", reason="done"))).job
    assert (job.state, job.status_message) == (DELETED, "done")
    calls = [
        server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine")),
        update(server, "mine", name="x"),
        server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine")),
        server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine")),
        server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine")),
        server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine")),
        server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine")),
    ]
    assert {(await refusal(call)).code for call in calls} == {"NOT_FOUND"}


async def test_a_delete_cancels_what_waits_and_lets_what_runs_be_the_last(server: Running) -> None:
    await server.create(job_id="mine")
    waiting, running = [
        (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution_id for _ in range(2)
    ]
    await server.database.executions.update_one({"_id": running}, {"$set": {"state": "RUNNING"}})
    await server.stub.DeleteScheduledJob(
        pb.DeleteScheduledJobRequest(job_id="mine", reason="no use"), metadata=[("x-actor", "anna")]
    )
    execution = (await server.stub.GetExecution(pb.GetExecutionRequest(execution_id=waiting))).execution
    last = execution.transitions[-1]
    assert (execution.state, last.by, last.reason) == (
        pb.Execution.STATE_CANCELLED,
        "anna",
        "the job was deleted: no use",
    )
    row = await server.database.executions.find_one({"_id": running})
    assert (row["state"], row["cancel"]["reason"]) == ("RUNNING", "the job was deleted: no use")
    assert row["cancel"]["call"] is False


async def test_when_no_beat_installs_changes_clients_are_told(server: Running) -> None:
    await server.create(job_id="mine")
    change = {"cutoff": datetime.now(UTC), "by": "x", "reason": "x", "mode": "ACTIVE"}
    change["schedule"] = (await document(server, "mine"))["schedule"]
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"changes": [change] * MOST_CHANGES}})
    refused = await refusal(server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine")))
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert "no beat seems to run" in refused.message
    assert (await update(server, "mine", name="Other")).job.name == "Other"


async def test_parameters_that_are_refused_as_they_are_are_not_held_against_the_target(server: Running) -> None:
    many = {f"unknown_{n}": 1 for n in range(60_000)}
    refused = await refusal(server.stub.CreateScheduledJob(a_request(parameters=many)))
    assert [field for field, _ in refused.violations] == ["parameters"]
    refused = await refusal(server.stub.CreateScheduledJob(a_request(parameters=many, target_method="Gone")))
    assert [field for field, _ in refused.violations] == ["parameters", "target_method"]
    nothing = Struct(fields={f"unknown_{n}": Value() for n in range(60_000)})
    refused = await refusal(server.stub.CreateScheduledJob(a_request(parameters=nothing)))
    assert refused.violations[-1][1].startswith("and ")
    assert all("no such field" not in said for _, said in refused.violations)
    await server.create(job_id="mine")
    request = pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(parameters=nothing))
    refused = await refusal(server.stub.UpdateScheduledJob(request))
    assert all("has no value" in said for _, said in refused.violations[:-1])


async def test_a_job_names_who_changed_it_last(server: Running) -> None:
    created = (await server.stub.CreateScheduledJob(a_request(job_id="mine"), metadata=[("x-actor", "anna")])).job
    assert (created.created_by, created.updated_by) == ("anna", "anna")
    renamed = pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(name="Other"))
    assert (await server.stub.UpdateScheduledJob(renamed, metadata=[("x-actor", "ben")])).job.updated_by == "ben"
    for method, actor in (("Pause", "carl"), ("Resume", "$dora"), ("Delete", "emil")):
        kind = getattr(pb, f"{method}ScheduledJobRequest")
        call = getattr(server.stub, f"{method}ScheduledJob")
        job = (await call(kind(job_id="mine"), metadata=[("x-actor", actor)])).job
        assert (job.created_by, job.updated_by) == ("anna", actor)


async def test_a_document_of_before_changers_were_kept_is_read(server: Running) -> None:
    job = await server.create(job_id="mine")
    await server.database.jobs.update_one({"_id": "mine"}, {"$unset": {"updated_by": ""}})
    get = pb.GetScheduledJobRequest(job_id="mine")
    assert (await server.stub.GetScheduledJob(get)).job.updated_by == job.created_by
    await server.database.jobs.update_one({"_id": "mine"}, {"$set": {"edits": 2}})
    assert (await server.stub.GetScheduledJob(get)).job.updated_by == ""


@pytest.mark.parametrize(
    "call",
    [
        "GetScheduledJob", "UpdateScheduledJob", "PauseScheduledJob", "ResumeScheduledJob", "DeleteScheduledJob",
        "ExecuteJobNow", "GetJobStatus",
    ],
)  # fmt: skip
async def test_of_a_deleted_job_every_call_says_that_it_was_deleted_and_when(server: Running, call: str) -> None:
    await server.create(job_id="mine")
    job = (await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))).job
    kind = pb.ExecuteJobRequest if call == "ExecuteJobNow" else getattr(pb, f"{call}Request")
    refused = await refusal(getattr(server.stub, call)(kind(job_id="mine")))
    if call == "UpdateScheduledJob":
        named = pb.UpdateScheduledJobRequest(job_id="mine", job=pb.ScheduledJob(name="x"))
        refused = await refusal(server.stub.UpdateScheduledJob(named))
    when, until = (iso(at.ToDatetime(UTC).replace(microsecond=0)) for at in (job.deleted_at, job.purge_time))
    said = f"the job 'mine' was deleted at {when}; its id stays taken, and it can be undeleted until {until}"
    facts = {"deleted_at": when, "purge_time": until}
    assert refused == Refusal("NOT_FOUND", said, [], False, ("job", "mine"), "DELETED", facts)


async def test_reasons_and_request_ids_hide_nothing(server: Running) -> None:
    await server.create(job_id="mine")
    for method in ("Pause", "Resume", "Delete"):
        kind = getattr(pb, f"{method}ScheduledJobRequest")
        refused = await refusal(getattr(server.stub, f"{method}ScheduledJob")(kind(job_id="mine", reason="no\x00use")))
        assert [field for field, _ in refused.violations] == ["reason"]
    refused = await refusal(server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine", request_id="a\u2028b")))
    assert (refused.code, refused.violations[0][0]) == ("INVALID_ARGUMENT", "request_id")
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine", reason="two\nlines"))
