"""Import and export: jobs become what a document says, or nothing is changed; what was exported changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scheduler_service.jobs.imports import JOBS_IN_PAGE
from shared.proto import scheduler_service_pb2 as pb
from tests.integration.test_beat_fire import fire
from tests.integration.test_server_harness import Running, cron, eventually, interval, refusal
from tests.integration.test_server_jobs import complete

if TYPE_CHECKING:
    from pymongo.database import Database

Change = pb.ImportScheduledJobsResponse.Change
CREATE, UPDATE, NONE = Change.ACTION_CREATE, Change.ACTION_UPDATE, Change.ACTION_NONE
DELETE, UNDELETE = Change.ACTION_DELETE, Change.ACTION_UNDELETE
PAUSED, ACTIVE = pb.ScheduledJob.STATE_PAUSED, pb.ScheduledJob.STATE_ACTIVE

ANOTHER = """
- job_id: another
  name: Another
  job_type: ANALYSIS
  target_service: pricing-service
  target_method: ComprehensivePriceAnalysis
  schedule_config: {type: interval, config: {hours: 1}}
"""


def a_document(*entries: str, **fields: Any) -> str:
    """Return a document with a job, some of its fields given otherwise, and further entries."""
    usual = {
        "job_id": "mine",
        "name": "Mine",
        "job_type": "SCRAPING",
        "target_service": "scraper-service",
        "target_method": "ScrapeCompetitorPrices",
        "parameters": {"competitor_ids": ["amazon"]},
        "schedule_config": {"type": "cron", "config": {"hour": 8, "minute": 0}},
    } | fields
    text: str = yaml.safe_dump({"jobs": [usual]}, sort_keys=False)
    return "".join((text, *entries))


async def imported(server: Running, text: str, **fields: Any) -> dict[str, Any]:
    """Import a document; return what became of each job."""
    response = await server.stub.ImportScheduledJobs(pb.ImportScheduledJobsRequest(yaml=text, **fields))
    assert not [change.error for change in response.changes if change.error]
    return {change.job_id: change for change in response.changes}


async def actions(server: Running, text: str, **fields: Any) -> dict[str, int]:
    return {job_id: change.action for job_id, change in (await imported(server, text, **fields)).items()}


async def exported(server: Running, chosen: str = "") -> str:
    text, token = "", ""
    while True:
        request = pb.ExportScheduledJobsRequest(filter=chosen, page_token=token)
        page: pb.ExportScheduledJobsResponse = await server.stub.ExportScheduledJobs(request)
        text += page.yaml
        token = page.next_page_token
        if not token:
            return text


async def the_job(server: Running, job_id: str = "mine") -> pb.ScheduledJob:
    job: pb.ScheduledJob = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=job_id))).job
    return job


async def test_jobs_are_created_and_a_repeat_changes_nothing(server: Running) -> None:
    text = a_document(ANOTHER)
    assert await actions(server, text) == {"mine": CREATE, "another": CREATE}
    job = await the_job(server)
    assert (job.name, job.state, job.queue) == ("Mine", ACTIVE, "scraping")
    assert await actions(server, text) == {"mine": NONE, "another": NONE}
    assert (await the_job(server)).etag == job.etag


async def test_only_what_differs_is_changed_and_told_field_by_field(server: Running) -> None:
    await imported(server, a_document(labels={"team": "pricing"}, priority=3))
    schedule = {"type": "cron", "config": {"hour": 9, "minute": 0}}
    changed = (await imported(server, a_document(schedule_config=schedule, priority=3, description="new")))["mine"]
    assert changed.action == UPDATE
    assert {(each.field, each.before, each.after) for each in changed.differences} == {
        ("schedule_config.config.hour", '"8"', '"9"'),
        ("labels.team", '"pricing"', ""),
        ("description", "", '"new"'),
    }
    job = await the_job(server)
    assert (dict(job.labels), job.description, job.priority) == ({}, "new", 3)
    assert job.schedule_config.config["hour"] == "9"


async def test_true_is_another_value_than_1(server: Running) -> None:
    def each(given: Any) -> str:
        items = [{"name": "amazon", "given": [given]}]
        return a_document(parameters={"competitor_ids": ["${item.name}"]}, fan_out={"items": items})

    await imported(server, each(1))
    (changed,) = (await imported(server, each(True))).values()
    (difference,) = changed.differences
    assert (difference.field, difference.after) == ("fan_out.items", '[{"given": [true], "name": "amazon"}]')
    assert await actions(server, each(True)) == {"mine": NONE}


async def test_a_true_that_its_target_takes_no_better_than_a_1_is_held_against_it(server: Running) -> None:
    await imported(server, a_document(parameters={"competitor_ids": ["amazon"], "max_products": 1}))
    text = a_document(parameters={"competitor_ids": ["amazon"], "max_products": True})
    request = pb.ImportScheduledJobsRequest(yaml=text, validate_only=True)
    refused = await refusal(server.stub.ImportScheduledJobs(request))
    assert [field for field, _ in refused.violations] == ["yaml.mine.parameters.max_products"]


async def test_what_a_document_leaves_out_has_the_defaults_again(server: Running) -> None:
    await imported(server, a_document(queue="analysis", retry_policy={"max_attempts": 9}))
    assert await actions(server, a_document()) == {"mine": UPDATE}
    job = await the_job(server)
    assert (job.queue, job.retry_policy.max_attempts) == ("scraping", 4)


async def test_paused_is_a_part_of_the_document(server: Running) -> None:
    assert await actions(server, a_document(paused=True)) == {"mine": CREATE}
    assert (await the_job(server)).state == PAUSED
    assert await actions(server, a_document(paused=True)) == {"mine": NONE}
    changed = (await imported(server, a_document(name="Other")))["mine"]
    assert {each.field for each in changed.differences} == {"name", "paused"}
    job = await the_job(server)
    assert (job.state, job.name) == (ACTIVE, "Other")


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_job_that_is_to_be_paused_does_not_fire_by_what_else_changes(
    server: Running, monkeypatch: pytest.MonkeyPatch, *, deleted: bool
) -> None:
    await imported(server, a_document())
    if deleted:
        await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    states: list[int] = []
    update = server.jobs.update

    async def looks(*given: Any, **how: Any) -> Any:
        states.append((await the_job(server)).state)
        return await update(*given, **how)

    monkeypatch.setattr(server.jobs, "update", looks)
    each_second = {"type": "interval", "config": {"seconds": 1}}
    await imported(server, a_document(paused=True, schedule_config=each_second))
    assert states == [PAUSED]
    job = await the_job(server)
    assert (job.state, job.schedule_config.type) == (PAUSED, "interval")


async def test_a_completed_job_that_is_to_be_paused_is_by_a_schedule_by_which_it_would_fire_again(
    server: Running,
) -> None:
    await imported(server, a_document())
    await complete(server, "mine")
    assert await actions(server, a_document(paused=True)) == {"mine": NONE}
    another = {"type": "interval", "config": {"hours": 1}}
    text = a_document(paused=True, schedule_config=another)
    assert await actions(server, text) == {"mine": UPDATE}
    assert (await the_job(server)).state == PAUSED
    assert await actions(server, text) == {"mine": NONE}


async def test_validate_only_says_what_would_be_done_and_does_nothing(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    await server.create(job_id="mine")
    await server.create(job_id="old", labels={"by": "file"})
    before = list(database.jobs.find())
    fields = {"prune": True, "prune_filter": "labels.by = file", "validate_only": True}
    assert await actions(server, a_document(ANOTHER), **fields) == {"mine": UPDATE, "another": CREATE, "old": DELETE}
    assert list(database.jobs.find()) == before


async def test_nothing_is_changed_unless_all_is_valid_and_all_that_is_wrong_is_named_with_its_line(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    wrong = """
- {job_id: two, name: Two, job_type: SCRAPING, target_service: scraper-service, target_method: ScrapeCompetitorPrices}
- job_id: three
  name: Three
  colour: red
- name: Four
"""
    text = a_document(wrong, a_document().partition("\n")[2], priority=12)
    refused = await refusal(server.stub.ImportScheduledJobs(pb.ImportScheduledJobsRequest(yaml=text)))
    assert refused.code == "INVALID_ARGUMENT"
    said = dict(refused.violations)
    assert said["yaml.mine.priority"] == "line 15: 12 is not a priority (0-9)"
    assert said["yaml.two.schedule_config"].startswith("line 17: a schedule is required")
    assert said["yaml.three.colour"] == "line 20: no such field in a job's entry"
    assert "yaml.three.schedule_config" in said, "an unknown field hides nothing else"
    assert "yaml.jobs[3].job_id" in said
    assert said["yaml.mine.job_id"] == "line 22: 'mine' is there twice"
    assert database.jobs.count_documents({}) == 0


async def test_a_value_that_cannot_be_read_hides_nothing_else_that_is_wrong(
    server: Running, database: Database[dict[str, Any]]
) -> None:
    wrong = """jobs:
- job_id: mine
  name: Mine
  job_type: SCRAPPING
  target_service: scraper
  priority: 99
  timeout: soon
  policies: {overlap: SKIPP}
  schedule_config: {type: cron, config: {hour: 99, minute: 0}}
- job_id: mine
  name: Mine
  job_type: SCRAPPING
"""
    refused = await refusal(server.stub.ImportScheduledJobs(pb.ImportScheduledJobsRequest(yaml=wrong)))
    assert refused.code == "INVALID_ARGUMENT"
    fields = [field.removeprefix("yaml.mine.") for field, _ in refused.violations]
    first = ["job_type", "policies.overlap", "timeout", "priority", "schedule_config.config.hour", "target_method"]
    second = ["job_type", "job_id", "target_service", "target_method", "schedule_config"]
    assert sorted(fields) == sorted([*first, *second])
    types = [said for field, said in refused.violations if field.endswith("job_type")]
    assert types[0] == "line 4: 'SCRAPPING' is not one of SCRAPING, ANALYSIS, MONITORING, MAINTENANCE, CUSTOM"
    assert ("yaml.mine.job_id", "line 10: 'mine' is there twice") in refused.violations
    assert database.jobs.count_documents({}) == 0


async def test_prune_deletes_what_fits_its_filter_and_is_not_in_the_document(server: Running) -> None:
    for job_id, by in (("mine", "file"), ("old", "file"), ("other", "hand")):
        await server.create(job_id=job_id, labels={"by": by})
    text = a_document(labels={"by": "file"})
    changed = await actions(server, text, prune=True, prune_filter="labels.by = file")
    assert changed == {"mine": UPDATE, "old": DELETE}
    assert (await the_job(server, "other")).state == ACTIVE
    assert (await refusal(the_job(server, "old"))).code == "NOT_FOUND"
    assert await actions(server, text, prune=True, prune_filter="labels.by = file") == {"mine": NONE}


async def test_what_somebody_changes_before_it_is_pruned_stays_and_is_told(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job_id in ("kept", "old"):
        await server.create(job_id=job_id, labels={"by": "file"})
    create = server.jobs.create

    async def relabels(*given: Any, **how: Any) -> Any:
        relabelled = pb.ScheduledJob(labels={"by": "hand"})
        await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="kept", job=relabelled))
        return await create(*given, **how)

    monkeypatch.setattr(server.jobs, "create", relabels)
    request = pb.ImportScheduledJobsRequest(yaml=a_document(), prune=True, prune_filter="labels.by = file")
    changes = (await server.stub.ImportScheduledJobs(request)).changes
    assert [(each.job_id, each.action, bool(each.error)) for each in changes] == [
        ("mine", CREATE, False),
        ("kept", DELETE, True),
        ("old", DELETE, False),
    ]
    assert "has changed since" in changes[1].error
    assert dict((await the_job(server, "kept")).labels) == {"by": "hand"}
    assert (await refusal(the_job(server, "old"))).code == "NOT_FOUND"


async def test_what_has_fired_before_it_is_pruned_is_deleted(
    server: Running, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.create(job_id="old", schedule_config=interval(seconds="1"), labels={"by": "file"})
    create = server.jobs.create

    async def fires(*given: Any, **how: Any) -> Any:
        async def has_fired() -> bool:
            fire(database).run_once()
            return database.executions.count_documents({"job_id": "old"}) > 0

        await eventually(has_fired)
        return await create(*given, **how)

    monkeypatch.setattr(server.jobs, "create", fires)
    changed = await actions(server, a_document(), prune=True, prune_filter="labels.by = file")
    assert changed == {"mine": CREATE, "old": DELETE}
    assert (await refusal(the_job(server, "old"))).code == "NOT_FOUND"


@pytest.mark.parametrize("fields", [{"prune": True}, {"prune_filter": "state = ACTIVE"}])
async def test_prune_and_its_filter_need_each_other(server: Running, fields: dict[str, Any]) -> None:
    request = pb.ImportScheduledJobsRequest(yaml=a_document(), **fields)
    refused = await refusal(server.stub.ImportScheduledJobs(request))
    assert [field for field, _ in refused.violations] == ["prune_filter"]


async def test_a_deleted_job_of_a_document_is_taken_back(server: Running) -> None:
    await imported(server, a_document())
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    text = a_document(name="Back", paused=True)
    assert await actions(server, text, request_id="import-1") == {"mine": UNDELETE}
    job = await the_job(server)
    assert (job.name, job.state) == ("Back", PAUSED)
    assert await actions(server, text) == {"mine": NONE}


async def test_a_repeated_request_gives_the_first_answer(server: Running) -> None:
    request = pb.ImportScheduledJobsRequest(yaml=a_document(ANOTHER, paused=True), request_id="import-1")
    first = await server.stub.ImportScheduledJobs(request)
    assert await server.stub.ImportScheduledJobs(request) == first
    assert (await the_job(server)).state == PAUSED


async def test_a_call_that_goes_on_with_one_that_broke_off_between_two_changes_of_a_job_makes_the_second_too(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await imported(server, a_document())
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="mine"))
    text = a_document(description="changed", paused=True)

    async def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the process is no more")

    for change in ("pause", "update"):
        with monkeypatch.context() as patch:
            patch.setattr(server.jobs, change, breaks)
            assert (await refusal(imported(server, text, request_id="import-1"))).code == "INTERNAL"
    assert {name: change.action for name, change in (await imported(server, text, request_id="import-1")).items()} == {
        "mine": UPDATE
    }
    job = await the_job(server)
    assert (job.description, job.state) == ("changed", PAUSED)


async def test_what_was_exported_is_a_document_that_changes_nothing(server: Running) -> None:
    await server.create(job_id="plain")
    await server.create(job_id="counted", schedule_config=interval(every="90m"), labels={"team": "a", "n": "1"})
    await server.create(job_id="new-york", schedule_config=cron("America/New_York", expression="0 8 * * MON-FRI"))
    await server.create(
        job_id="each", fan_out={"items": [{"competitor_ids": ["amazon"]}]}, parameters={"max_products": 2}
    )
    await server.create(job_id="asleep", description="1\n2", annotations={"tool": "x: y"})
    await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="asleep"))
    await server.create(job_id="gone")
    await server.stub.DeleteScheduledJob(pb.DeleteScheduledJobRequest(job_id="gone"))
    text = await exported(server)
    assert [entry["job_id"] for entry in yaml.safe_load(text)["jobs"]] == [
        "plain", "counted", "new-york", "each", "asleep",
    ]  # fmt: skip
    assert set((await actions(server, text)).values()) == {NONE}


async def test_an_export_of_many_jobs_comes_in_pages_that_make_one_text(server: Running) -> None:
    requests = [
        pb.CreateScheduledJobRequest(
            job_id=f"job-{number:03}", name="Many", job_type="SCRAPING", target_service="scraper-service",
            target_method="ScrapeCompetitorPrices", schedule_config=cron(hour="8", minute="0"),
            labels={"half": str(number % 2)},
        )
        for number in range(JOBS_IN_PAGE * 2 + 20)
    ]  # fmt: skip
    await server.stub.BatchCreateScheduledJobs(pb.BatchCreateScheduledJobsRequest(requests=requests))
    text = await exported(server, "labels.half = 1")
    jobs = [entry["job_id"] for document in yaml.safe_load_all(text) for entry in document["jobs"]]
    assert sorted(jobs) == [f"job-{number:03}" for number in range(1, JOBS_IN_PAGE * 2 + 20, 2)]
    assert set((await actions(server, await exported(server))).values()) == {NONE}


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"filter": "colour = red"}, "filter"), ({"page_token": "abc"}, "page_token")],
)
async def test_an_export_that_is_asked_for_wrongly_is_refused(
    server: Running, fields: dict[str, Any], field: str
) -> None:
    refused = await refusal(server.stub.ExportScheduledJobs(pb.ExportScheduledJobsRequest(**fields)))
    assert (refused.code, [name for name, _ in refused.violations]) == ("INVALID_ARGUMENT", [field])
