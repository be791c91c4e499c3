"""From a draft to a definition: what the server fills in that the domain does not know."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from scheduler_service.jobs.definitions import Definitions
from shared.calendars import load_calendars
from shared.domain.flow import Step, Workflow
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.targets import load_targets
from shared.tasks.registry import Tasks
from shared.tasks.task import LedgeredTask
from tests.builders import ORIGIN, draft


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
