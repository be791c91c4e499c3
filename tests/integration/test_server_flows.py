"""Jobs that fan out, and workflows, over gRPC: what is refused, and how their executions are listed and retried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict

from scheduler_service.jobs.seed import read_seed
from shared.domain.errors import InvalidInput
from shared.domain.execution import part_id
from shared.domain.flow import FanOut, Workflow
from shared.proto import scheduler_service_pb2 as pb
from shared.store import parts
from tests.integration.test_server_harness import Running, refusal, serving
from tests.integration.test_server_seed import a_folder, an_entry, definitions_of

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

State = pb.Execution.State
SCRAPE = {"target_service": "scraper-service", "target_method": "ScrapeCompetitorPrices"}
SHOPS = {"competitor_ids": ["amazon"]}
LIST = {"source": {**SCRAPE, "parameters": SHOPS, "path": "competitors"}}
FIELDS = (
    "already_stored_count, competitors, failed_page_count, incomplete_competitor_ids, observation_count, observed_at,"
    " unlisted_product_ids"
)


def request(**fields: Any) -> pb.CreateScheduledJobRequest:
    usual = {
        "job_id": "mine",
        "name": "Mine",
        "job_type": "CUSTOM",
        "schedule_config": {"type": "cron", "config": {"expression": "0 0 1 1 *"}},
    }
    return ParseDict(usual | fields, pb.CreateScheduledJobRequest())


def step(name: str, *after: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "after": list(after), **SCRAPE, "parameters": SHOPS, **fields}


async def create(server: Running, **fields: Any) -> pb.ScheduledJob:
    job: pb.ScheduledJob = (await server.stub.CreateScheduledJob(request(**fields))).job
    return job


async def fan_out(server: Running, **fields: Any) -> pb.ScheduledJob:
    items = [{"competitor_ids": ["amazon"]}, {"competitor_ids": ["ebay"]}]
    return await create(server, **SCRAPE, fan_out={"items": items, "key": "${item.competitor_ids[0]}"} | fields)


async def workflow(server: Running, *steps: dict[str, Any]) -> pb.ScheduledJob:
    return await create(server, workflow={"steps": list(steps)})


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "both kinds": (
        {**SCRAPE, "fan_out": {"items": [SHOPS]}, "workflow": {"steps": [step("a")]}},
        {"workflow": "a job has a fan_out or a workflow, not both; a step may fan out"},
    ),
    "items from a step, outside a workflow": (
        {**SCRAPE, "fan_out": {"items_from": "${steps.a.result}"}},
        {"fan_out.items_from": "only a step of a workflow can take its items from another one"},
    ),
    "no items at all": (
        {**SCRAPE, "fan_out": {}},
        {"fan_out": "nothing says what the items are; give one of items, source and, in a step, items_from"},
    ),
    "limits": (
        {
            **SCRAPE,
            "fan_out": {
                "items": [SHOPS], "max_parallel": -1, "failure_policy": "FAILURE_POLICY_SHARE", "min_share": 2,
            },
        },
        {
            "fan_out.max_parallel": "-1 is not a number of executions (0-10,000; 0 means no limit)",
            "fan_out.min_share": "2 is not a share (more than 0, at most 1), as SHARE needs it",
        },
    ),
    "items that are no objects, and are not mentioned": (
        {**SCRAPE, "fan_out": {"items": ["amazon"]}},
        {"fan_out.items[0]": "is a text, and no parameter mentions ${item}; only an object's fields are added"},
    ),
    "items that do not fit the request": (
        {**SCRAPE, "fan_out": {"items": [{"competitor_ids": "amazon"}, {"shops": ["amazon"]}]}},
        {
            "parameters.competitor_ids of fan_out.items[0]": '"amazon" is not a list (of which each is a string)',
            "parameters.shops of fan_out.items[1]": (
                "ScrapeCompetitorPricesRequest has no such field (its fields: competitor_ids, top_products_only,"
                " product_ids, max_products)"
            ),
        },
    ),
    "an item without what is taken from it": (
        {**SCRAPE, "parameters": {"competitor_ids": ["${item.shop}"]}, "fan_out": {"items": [{"shop": "amazon"}, {}]}},
        {
            "fan_out.items[1]": (
                "parameters.competitor_ids[0]: ${item.shop}: item has no shop (it has none); if null is meant, write"
                " ${item.shop || `null`}"
            )
        },
    ),
    "an expression that can't be parsed": (
        {**SCRAPE, "parameters": {"competitor_ids": ["${item"]}, "fan_out": {"items": [SHOPS]}},
        {
            "parameters.competitor_ids[0]": (
                "'${item' has no } that ends it; the characters ${ themselves are written as $${"
            )
        },
    ),
    "a path that the source's answer does not have": (
        {**SCRAPE, "fan_out": {"source": {**SCRAPE, "parameters": SHOPS, "path": "shops"}}},
        {
            "fan_out.source.path": (
                f"shops: ScrapeCompetitorPricesResponse has no field shops (its fields: {FIELDS})"
            )
        },
    ),
    "a source that does not exist": (
        {**SCRAPE, "fan_out": {"source": {**SCRAPE, "target_method": "Scrape"}}},
        {"fan_out.source.target_method": "'Scrape' is not a method of scraper-service (it has ScrapeCompetitorPrices)"},
    ),
    "a field that the source's items do not have": (
        {**SCRAPE, "parameters": {"competitor_ids": ["${item.shop}"]}, "fan_out": LIST},
        {
            "parameters.competitor_ids[0]": (
                "${item.shop}: CompetitorResult has no field shop (its fields: competitor_id, duration, error,"
                " failed_page_count, observation_count, outcome, page_failures)"
            )
        },
    ),
    "a workflow without steps": (
        {"workflow": {"steps": []}},
        {"workflow.steps": "a workflow needs at least one step"},
    ),
    "a workflow that calls something itself": (
        {**SCRAPE, "workflow": {"steps": [step("a")]}},
        {
            "target_service": "a job that is a workflow calls what its steps name; leave it out",
            "target_method": "a job that is a workflow calls what its steps name; leave it out",
        },
    ),
    "names, references and circles": (
        {"workflow": {"steps": [step("a", "b"), step("b", "a"), step("C", "nowhere")]}},
        {
            "workflow.steps[2].name": "'C' is not a name (a-z, 0-9 and _, a letter in front, at most 40)",
            "workflow.steps[2].after": "'nowhere' is not a step (there are C, a, b)",
            "workflow.steps": "they wait for each other in a circle: a after b after a",
        },
    ),
    "a step without a target": (
        {"workflow": {"steps": [{"name": "a"}]}},
        {
            "workflow.steps[0].target_service": (
                "a target and a method are required, as scraper-service and ScrapeCompetitorPrices"
            )
        },
    ),
    "a step's own queue and priority": (
        {"workflow": {"steps": [step("a", queue="nowhere", priority=99)]}},
        {
            "workflow.steps[0].queue": (
                "'nowhere' is not a configured queue (analysis, cpu, default_queue, maintenance, manual, monitoring,"
                " scraping)"
            ),
            "workflow.steps[0].priority": "99 is not a priority (0-9)",
        },
    ),
    "a step's own retry policy": (
        {"workflow": {"steps": [step("a", retry_policy={"max_attempts": 1000})]}},
        {"workflow.steps[0].retry_policy.max_attempts": "1000 is not a number of attempts (1-100)"},
    ),
    "a field that an earlier step's answer does not have": (
        {
            "workflow": {
                "steps": [step("a"), step("b", "a", parameters={"competitor_ids": ["${steps.a.result.shop}"]})],
            }
        },
        {
            "workflow.steps[1].parameters.competitor_ids[0]": (
                f"${{steps.a.result.shop}}: ScrapeCompetitorPricesResponse has no field shop (its fields: {FIELDS})"
            )
        },
    ),
    "an object where the target wants a number": (
        {
            "workflow": {
                "steps": [
                    step("a"),
                    step("b", "a", parameters={"max_products": "${steps.a.result.competitors[0]}"}),
                ]
            }
        },
        {
            "workflow.steps[1].parameters.max_products": (
                "${steps.a.result.competitors[0]} is an object, and not an int32"
            )
        },
    ),
    "a step that it does not come after": (
        {
            "workflow": {
                "steps": [
                    step("a"),
                    step("b", parameters={"max_products": "${steps.a.result.observation_count}"}),
                ]
            }
        },
        {"workflow.steps[1].after": "its expressions take from the step a, which it does not come after"},
    ),
    "a step that there is not": (
        {"workflow": {"steps": [step("a", when="steps.b.state == 'FAILED'")]}},
        {"workflow.steps[0].when": "steps.b.state == 'FAILED': there is no step b (known: none)"},
    ),
    "a step that fans out over what is no list": (
        {
            "workflow": {
                "steps": [step("a"), step("b", "a", fan_out={"items_from": "${steps.a.result.observation_count}"})],
            }
        },
        {"workflow.steps[1].fan_out.items_from": "it does not give a list"},
    ),
    "a step that fans out over an expression without its braces": (
        {"workflow": {"steps": [step("a"), step("b", "a", fan_out={"items_from": "steps.a.result.competitors"})]}},
        {
            "workflow.steps[1].fan_out.items_from": (
                "it does not give a list but is the text 'steps.a.result.competitors'; write an expression, as"
                " ${steps.a.result}"
            )
        },
    ),
    "what is wrong with a workflow, and what is wrong with its calls": (
        {
            "workflow": {
                "steps": [
                    step("a", timeout="-5s", priority=77, queue="nah"),
                    step("b", "aa", target_method="Scrap", when="steps.a.result >"),
                    step("c", "a", parameters={"shops": 1}, fan_out={"items": [SHOPS], "max_parallel": -1}),
                ]
            }
        },
        {
            "workflow.steps[0].timeout": "-5 s is negative",
            "workflow.steps[0].priority": "77 is not a priority (0-9)",
            "workflow.steps[0].queue": (
                "'nah' is not a configured queue (analysis, cpu, default_queue, maintenance, manual, monitoring,"
                " scraping)"
            ),
            "workflow.steps[1].after": "'aa' is not a step (there are a, b, c)",
            "workflow.steps[1].when": "steps.a.result > is not an expression of JMESPath: it ends too early",
            "workflow.steps[1].target_method": (
                "'Scrap' is not a method of scraper-service (it has ScrapeCompetitorPrices)"
            ),
            "workflow.steps[2].fan_out.max_parallel": "-1 is not a number of executions (0-10,000; 0 means no limit)",
            "workflow.steps[2].parameters.shops of fan_out.items[0]": (
                "ScrapeCompetitorPricesRequest has no such field (its fields: competitor_ids, top_products_only,"
                " product_ids, max_products)"
            ),
        },
    ),
    "a source that does not exist, a path and parameters that can't be parsed, and an unknown target": (
        {
            "target_service": "scraper-service",
            "target_method": "Scrap",
            "parameters": {"product_ids": ["${item"], "competitor_ids": ["${itm.id}"]},
            "fan_out": {"source": {**SCRAPE, "target_method": "Scrape", "path": "list["}, "key": "${item.}"},
        },
        {
            "target_method": "'Scrap' is not a method of scraper-service (it has ScrapeCompetitorPrices)",
            "parameters.product_ids[0]": (
                "'${item' has no } that ends it; the characters ${ themselves are written as $${"
            ),
            "parameters.competitor_ids[0]": (
                "${itm.id}: there is no value itm; did you mean item? (known: execution, index, item)"
            ),
            "fan_out.key": "${item.} is not an expression of JMESPath: it ends too early",
            "fan_out.source.target_method": (
                "'Scrape' is not a method of scraper-service (it has ScrapeCompetitorPrices)"
            ),
            "fan_out.source.path": "list[ is not an expression of JMESPath: it ends too early",
        },
    ),
    "a policy without a number that is one, and no more than that": (
        {
            **SCRAPE,
            "parameters": {"competitor_ids": ["${item.id}"], "max_products": "${item.count}"},
            "fan_out": {
                "items": [{"id": "amazon", "count": 1}], "failure_policy": "FAILURE_POLICY_SHARE", "min_share": 7,
            },
        },
        {"fan_out.min_share": "7 is not a share (more than 0, at most 1), as SHARE needs it"},
    ),
    "numbers that its policy does not look at": (
        {**SCRAPE, "fan_out": {"items": [SHOPS], "min_succeeded": 1, "min_share": 0.5}},
        {
            "fan_out.min_succeeded": (
                "only the failure_policy AT_LEAST looks at it, and that is ALL; leave it out"
            ),
            "fan_out.min_share": "only the failure_policy SHARE looks at it, and that is ALL; leave it out",
        },
    ),
    "a method that there is not, for all items": (
        {**SCRAPE, "target_method": "Scrap", "fan_out": {"items": [SHOPS, {"shops": 1}]}},
        {"target_method": "'Scrap' is not a method of scraper-service (it has ScrapeCompetitorPrices)"},
    ),
}  # fmt: skip


class TestWhatIsRefused:
    @pytest.mark.parametrize("name", REFUSED)
    async def test_what_can_not_be_right_is_refused_with_the_field_and_a_sentence(
        self, server: Running, name: str
    ) -> None:
        fields, expected = REFUSED[name]
        refused = await refusal(server.stub.CreateScheduledJob(request(**fields)))
        assert refused.code == "INVALID_ARGUMENT"
        assert dict(refused.violations) == expected
        assert len(refused.violations) == len(expected)
        assert await server.database.jobs.count_documents({}) == 0

    async def test_mistakes_of_one_text_are_all_said_and_each_once(self, server: Running) -> None:
        steps = [
            step("a"),
            step("b", "a", parameters={"competitor_ids": ["${stps.a} ${steps.a.reslt} ${lenght(steps)}"], "x": 1}),
            step("b", "b"),
        ]
        refused = await refusal(server.stub.CreateScheduledJob(request(workflow={"steps": steps})))
        said = [f"{field}: {sentence}" for field, sentence in refused.violations]
        assert len(set(said)) == len(said)
        assert [sentence.partition(":")[0] for field, sentence in refused.violations if "parameters.comp" in field] == [
            "${lenght(steps)} can't be evaluated",
            "${stps.a}",
            "${steps.a.reslt}",
        ]
        assert {field for field, _ in refused.violations} == {
            "workflow.steps[1].parameters.competitor_ids[0]",
            "workflow.steps[1].parameters.x",
            "workflow.steps[1].name",
            "workflow.steps[2].name",
            "workflow.steps",
        }

    async def test_of_many_items_that_are_wrong_the_first_few_are_named(self, server: Running) -> None:
        wrong = {**SCRAPE, "fan_out": {"items": [{"shops": 1}] * 100}}
        refused = await refusal(server.stub.CreateScheduledJob(request(**wrong)))
        assert [field for field, _ in refused.violations] == [
            *(f"parameters.shops of fan_out.items[{index}]" for index in range(5)),
            "fan_out.items",
        ]
        assert refused.violations[-1][1] == "those after 4 were not looked at"

    async def test_an_update_is_checked_in_the_same_way(self, server: Running) -> None:
        await fan_out(server)
        changed = ParseDict({"fan_out": {"items": ["amazon"]}}, pb.ScheduledJob())
        refused = await refusal(
            server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="mine", job=changed))
        )
        assert [field for field, _ in refused.violations] == ["job.fan_out.items[0]"]


class TestChanges:
    async def test_what_was_created_is_read_back(self, server: Running) -> None:
        fields = {
            **LIST, "max_parallel": 3, "failure_policy": "FAILURE_POLICY_SHARE", "min_share": 0.5,
            "key": "${item.competitor_id}",
        }  # fmt: skip
        parameters = {"competitor_ids": ["${item.competitor_id}"]}
        job = await create(server, **SCRAPE, parameters=parameters, fan_out=fields)
        assert MessageToDict(job.fan_out, preserving_proto_field_name=True) == fields
        read = await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="mine"))
        assert read.job.fan_out == job.fan_out

    async def test_a_workflow_is_read_back_with_what_its_steps_say_and_no_more(self, server: Running) -> None:
        steps = [
            step("a", timeout="7s", queue="analysis", priority=9),
            step(
                "b", "a", fan_out={"items_from": "${steps.a.result.competitors}"}, requires="REQUIRES_END",
                parameters={"competitor_ids": ["${item.competitor_id}"]},
            ),
        ]  # fmt: skip
        job = await workflow(server, *steps)
        said = MessageToDict(job.workflow, preserving_proto_field_name=True)["steps"]
        assert [each["name"] for each in said] == ["a", "b"]
        assert (said[0]["timeout"], said[0]["queue"], said[0]["priority"]) == ("7s", "analysis", 9)
        assert (said[1]["requires"], said[1]["after"]) == ("REQUIRES_END", ["a"])

    async def test_a_plain_job_becomes_a_fan_out_and_a_plain_one_again(self, server: Running) -> None:
        await create(server, **SCRAPE, parameters=SHOPS)
        change = pb.ScheduledJob()
        ParseDict({"fan_out": {"items": [{"max_products": 1}]}}, change)
        response = await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="mine", job=change))
        assert response.job.HasField("fan_out")
        mask = FieldMask(paths=["fan_out"])
        response = await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="mine", update_mask=mask))
        assert not response.job.HasField("fan_out")

    async def test_a_mask_that_names_the_other_kind_leaves_what_there_is(self, server: Running) -> None:
        await fan_out(server)
        mask = FieldMask(paths=["workflow", "description"])
        change = pb.ScheduledJob(description="as before")
        response = await server.stub.UpdateScheduledJob(
            pb.UpdateScheduledJobRequest(job_id="mine", job=change, update_mask=mask)
        )
        assert response.job.HasField("fan_out")

    async def test_a_fan_out_becomes_a_workflow_when_its_target_goes_as_well(self, server: Running) -> None:
        await fan_out(server)
        change = ParseDict({"workflow": {"steps": [step("a")]}}, pb.ScheduledJob())
        mask = FieldMask(paths=["workflow", "fan_out", "target_service", "target_method", "parameters"])
        response = await server.stub.UpdateScheduledJob(
            pb.UpdateScheduledJobRequest(job_id="mine", job=change, update_mask=mask)
        )
        assert [each.name for each in response.job.workflow.steps] == ["a"]
        assert not response.job.HasField("fan_out")

    async def test_an_execution_keeps_the_flow_that_it_was_decided_with(self, server: Running) -> None:
        await fan_out(server)
        execution = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution
        mask = FieldMask(paths=["fan_out"])
        change = pb.ScheduledJob()
        await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="mine", job=change, update_mask=mask))
        row = await server.database.executions.find_one({"_id": execution.execution_id})
        assert row["flow"]["kind"] == "FAN_OUT"


class TestSeeds:
    async def test_a_preconfigured_job_may_fan_out_or_be_a_workflow(
        self, database: Database[dict[str, Any]], database_url: str, tmp_path: Path
    ) -> None:
        steps = [
            {"name": "a", **SCRAPE, "parameters": SHOPS},
            {"name": "b", "after": ["a"], **SCRAPE, "parameters": SHOPS},
        ]
        folder = a_folder(
            tmp_path,
            an_entry(job_id="many", fan_out={"items": [SHOPS]}, parameters={}),
            an_entry(
                job_id="flow", target_service=None, target_method=None, parameters=None, workflow={"steps": steps}
            ),
        )
        drafts = await read_seed(folder, definitions_of())
        async with serving(database_url, drafts):
            assert {row["_id"]: row["flow"]["kind"] for row in database.jobs.find()} == {
                "many": "FAN_OUT",
                "flow": "WORKFLOW",
            }
        assert [type(draft.flow) for draft in drafts] == [FanOut, Workflow]

    async def test_what_is_wrong_in_one_is_said_with_the_entry_and_the_field(self, tmp_path: Path) -> None:
        folder = a_folder(tmp_path, an_entry(job_id="many", fan_out={"items": ["a"]}, parameters={}))
        with pytest.raises(InvalidInput) as refused:
            await read_seed(folder, definitions_of())
        assert [wrong.field for wrong in refused.value.violations] == ["jobs.yaml: many.fan_out.items[0]"]

    async def test_a_value_that_cannot_be_read_hides_nothing_else_that_is_wrong(self, tmp_path: Path) -> None:
        folder = a_folder(tmp_path, an_entry(job_type="SCRAPPING", priority=99), an_entry(job_type="SCRAPPING"))
        with pytest.raises(InvalidInput) as refused:
            await read_seed(folder, definitions_of())
        fields = [wrong.field.removeprefix("jobs.yaml: mine.") for wrong in refused.value.violations]
        assert sorted(fields) == ["job_id", "job_type", "job_type", "priority"]


async def ran(server: Running, state: str = "FAILED", items: int = 5) -> str:
    """Put a run of the job in the store that has its parts, the first of which failed; return its id."""
    execution = (await server.stub.ExecuteJobNow(pb.ExecuteJobRequest(job_id="mine"))).execution
    now = datetime.now(UTC)
    row = await server.database.executions.find_one({"_id": execution.execution_id})
    ended = {
        "state": state,
        "finished_at": now,
        "total": items,
        "expanded": items,
        "carried": {},
        "parts": {"FAILED": 1},
    }
    await server.database.executions.update_one({"_id": row["_id"]}, {"$set": ended, "$unset": {"open": 1}})
    rows = [
        parts.item_document(row | {"now": now}, parts.item(number, SHOPS, f"shop-{number % 2}"), "beat", held=False)
        | {"state": "SUCCEEDED" if number else "FAILED", "finished_at": now + timedelta(seconds=number)}
        for number in range(items)
    ]
    await server.database.executions.insert_many(rows)
    return str(execution.execution_id)


class TestExecutions:
    async def test_the_parts_of_one_execution_are_listed_by_pages(self, server: Running) -> None:
        await fan_out(server)
        whole, _other = await ran(server), await ran(server)
        found: list[pb.Execution] = []
        token = ""
        while True:
            page = await server.stub.ListExecutions(
                pb.ListExecutionsRequest(parent_execution_id=whole, page_size=2, page_token=token)
            )
            assert len(page.executions) <= 2
            found += page.executions
            if not (token := page.next_page_token):
                break
        assert {each.part_name for each in found} == {str(number) for number in range(5)}
        assert len(found) == 5
        assert {each.parent_execution_id for each in found} == {whole}
        assert {each.trigger for each in found} == {pb.Execution.TRIGGER_PART}
        failed = await server.stub.ListExecutions(
            pb.ListExecutionsRequest(parent_execution_id=whole, states=[State.STATE_FAILED])
        )
        assert [each.part_name for each in failed.executions] == ["0"]

    async def test_what_became_of_one_item_is_listed_by_its_key_over_all_executions(self, server: Running) -> None:
        await fan_out(server)
        wholes = {await ran(server), await ran(server)}
        page = await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine", part_key="shop-1"))
        assert len(page.executions) == 4
        assert {each.parent_execution_id for each in page.executions} == wholes
        assert {each.part_key for each in page.executions} == {"shop-1"}

    async def test_a_key_without_a_job_and_a_parent_that_there_is_not_are_refused(self, server: Running) -> None:
        refused = await refusal(server.stub.ListExecutions(pb.ListExecutionsRequest(part_key="a")))
        assert [field for field, _ in refused.violations] == ["part_key"]
        refused = await refusal(server.stub.ListExecutions(pb.ListExecutionsRequest(parent_execution_id="none")))
        assert (refused.code, refused.resource) == ("NOT_FOUND", ("execution", "none"))

    async def test_a_page_token_of_another_list_is_refused(self, server: Running) -> None:
        await fan_out(server)
        whole = await ran(server)
        page = await server.stub.ListExecutions(pb.ListExecutionsRequest(parent_execution_id=whole, page_size=2))
        refused = await refusal(
            server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine", page_token=page.next_page_token))
        )
        assert [field for field, _ in refused.violations] == ["page_token"]

    async def test_lists_and_counts_of_the_job_have_the_wholes_only(self, server: Running) -> None:
        await fan_out(server)
        whole = await ran(server)
        page = await server.stub.ListExecutions(pb.ListExecutionsRequest(job_id="mine", include_decisions=True))
        assert [each.execution_id for each in page.executions] == [whole]
        page = await server.stub.ListExecutions(pb.ListExecutionsRequest())
        assert [each.execution_id for each in page.executions] == [whole]
        status = await server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id="mine"))
        assert dict(status.counts) == {"FAILED": 1}
        assert status.last_execution.execution_id == whole
        assert (status.last_execution.parts.total, dict(status.last_execution.parts.states)) == (5, {"FAILED": 1})

    async def test_a_retry_of_a_whole_names_it_and_does_what_is_left_unless_all_is_asked_for(
        self, server: Running
    ) -> None:
        await fan_out(server)
        whole = await ran(server)
        left = await server.stub.RetryExecution(pb.RetryExecutionRequest(execution_id=whole))
        await server.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=left.execution_id))
        everything = await server.stub.RetryExecution(pb.RetryExecutionRequest(execution_id=whole, from_start=True))
        rows = {row["_id"]: row async for row in server.database.executions.find({"retry_of": whole})}
        assert rows[left.execution_id]["reuse"] == whole
        assert "reuse" not in rows[everything.execution_id]
        assert {row["flow"]["kind"] for row in rows.values()} == {"FAN_OUT"}

    async def test_a_part_is_not_retried_by_itself_and_it_says_what_to_do(self, server: Running) -> None:
        await fan_out(server)
        whole = await ran(server)
        part = part_id(whole, "00000")
        refused = await refusal(server.stub.RetryExecution(pb.RetryExecutionRequest(execution_id=part)))
        assert (refused.code, refused.message) == (
            "FAILED_PRECONDITION",
            f"the execution '{part}' is a part of '{whole}': retry that, which runs again what has not succeeded",
        )

    async def test_a_part_and_a_whole_that_waits_can_be_cancelled(self, server: Running) -> None:
        await fan_out(server)
        whole = await ran(server, "WAITING")
        for name in ("open", "signals"):
            await server.database.executions.update_one(
                {"_id": whole}, {"$set": {name: 1 if name == "signals" else True}}
            )
        cancelled = await server.stub.CancelExecution(pb.CancelExecutionRequest(execution_id=whole))
        assert (cancelled.execution.state, cancelled.execution.cancel_requested) == (State.STATE_WAITING, True)
        row = await server.database.executions.find_one({"_id": whole})
        assert row["signals"] == 2
        assert "advance_at" in row
