"""From a draft to a definition: what the server fills in that the domain does not know."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from scheduler_service.jobs.definitions import Definitions
from shared.calendars import load_calendars
from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import ExclusionTerms
from shared.domain.flow import Step, Workflow
from shared.domain.job import ScheduleTerms
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.targets import load_targets
from shared.tasks.registry import Tasks
from shared.tasks.task import LedgeredTask
from tests.builders import ORIGIN, draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def nothing() -> None: ...


@pytest.fixture
def definitions() -> Definitions:
    app: Any = Celery(set_as_current=False, task_cls=LedgeredTask)
    app.task(name="app.burn", shared=False, queue="cpu")(nothing)
    app.task(name="app.wait", shared=False)(nothing)
    app.task(name="app.route", shared=False)(nothing)
    app.conf.task_routes = {"app.route": {"queue": "cpu"}}
    tasks = Tasks({name: app.tasks[name] for name in ("app.burn", "app.wait", "app.route")})
    settings = Settings()
    folder = settings.config_dir
    return Definitions(settings, load_queues(folder), load_targets(settings), load_calendars(folder), tasks)


async def test_a_task_that_names_a_queue_goes_there_unless_the_job_names_another(definitions: Definitions) -> None:
    async def queue(method: str, given: str | None) -> str:
        job = draft(target_service="task", target_method=method, job_type="CUSTOM", queue=given)
        return (await definitions.define(job, ORIGIN)).queue

    assert await queue("app.burn", None) == "cpu"
    assert await queue("app.burn", "manual") == "manual"
    assert await queue("app.wait", None) == "default_queue"
    assert await queue("app.route", None) == "cpu"


async def test_so_does_a_step_that_calls_one(definitions: Definitions) -> None:
    steps = (
        Step(name="burn", target_service="task", target_method="app.burn"),
        Step(name="there", target_service="task", target_method="app.burn", queue="manual"),
        Step(name="wait", target_service="task", target_method="app.wait"),
    )
    job = draft(target_service="", target_method="", flow=Workflow(steps))
    flow = (await definitions.define(job, ORIGIN)).flow
    assert isinstance(flow, Workflow)
    assert [step.queue for step in flow.steps] == ["cpu", "manual", ""]


@pytest.mark.parametrize(
    ("schedule", "is_handed_over"),
    [
        (ScheduleTerms("cron", {"minute": "0"}), False),
        (ScheduleTerms("interval", {"hours": "1"}, start_time=ORIGIN + timedelta(days=365)), False),
        (ScheduleTerms("interval", {"hours": "1"}, start_time=ORIGIN + timedelta(days=365 * 300)), True),
        (ScheduleTerms("cron", {"expression": "30 2 L 3 0", "gap": "skip"}, timezone="Europe/Berlin"), True),
        (ScheduleTerms("cron", expressions=("0 0 29 2 *", "0 1 29 2 *")), True),
        (ScheduleTerms("cron", {"minute": "0"}, exclusions=ExclusionTerms(holidays=("US",))), True),
    ],
)
async def test_others_do_not_wait_for_a_small_job_whose_schedule_takes_long(
    definitions: Definitions, schedule: ScheduleTerms, is_handed_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over = []

    async def to_thread(call: Callable[..., object], *given: Any, **named: Any) -> object:
        handed_over.append(call)
        return call(*given, **named)

    monkeypatch.setattr("asyncio.to_thread", to_thread)
    await definitions.define(draft(schedule=schedule), ORIGIN, is_small=True)
    assert bool(handed_over) == is_handed_over


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target_service": "task", "target_method": "app.burn", "job_type": "CUSTOM"},
        {"target_service": "task", "target_method": "app.burn", "parameters": {"unknown": 1}},
        {"target_service": "nowhere", "priority": 11},
        {"target_method": "Scrape", "name": ""},
        {"parameters": {"max_products": "many"}, "timeout": timedelta(days=3)},
        {"schedule": ScheduleTerms("cron", {"minute": "61"})},
        {"schedule": ScheduleTerms("cron", {"minute": "0"}, exclusions=ExclusionTerms(holidays=("US",)))},
        {"schedule": ScheduleTerms("cron", {"minute": "0"}, exclusions=ExclusionTerms(calendars=("none",)))},
        {
            "target_service": "",
            "target_method": "",
            "flow": Workflow((Step(name="a", target_service="nowhere", target_method="Do"),)),
        },
    ],
)
async def test_what_is_small_becomes_the_same_or_is_refused_for_the_same_reasons(
    definitions: Definitions, changes: dict[str, Any]
) -> None:
    async def came_to(*, is_small: bool, found: Sequence[Violation] = ()) -> object:
        try:
            return await definitions.define(draft(**changes), ORIGIN, found, is_small=is_small)
        except InvalidInput as refused:
            return refused.violations

    assert await came_to(is_small=True) == await came_to(is_small=False)
    before = [Violation("labels", "found before")]
    said = await came_to(is_small=True, found=before)
    assert said == await came_to(is_small=False, found=before)
    assert isinstance(said, tuple)
    assert before[0] in said
