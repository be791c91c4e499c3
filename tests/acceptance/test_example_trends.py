"""examples/trends on the real stack, its jobs every few seconds, on a worker that runs one thing at a time."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict

from examples.trends.plugins import PLUGINS
from shared.proto import scheduler_service_pb2 as pb
from tests.acceptance.example import Example, State, platform
from tests.acceptance.system import wait_until
from tests.acceptance.test_terminal import BUILDING, grpcurl  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.servers import Servers

WAITING = 20
PAGES = 100


class Webhook:
    """Takes alerts, as a pager would."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        alerts = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                alerts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    @contextmanager
    def open(self) -> Iterator[Webhook]:
        Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with Webhook().open() as opened:
        yield opened


@pytest.fixture(scope="module")
def trends(tmp_path_factory: pytest.TempPathFactory, servers: Servers, webhook: Webhook) -> Iterator[Example]:
    sooner = {"hourly-trends": 5, "hackernews-every-15-minutes": 4, "breaking-news": 4}
    with platform(
        "trends",
        tmp_path_factory.mktemp("trends"),
        servers,
        sooner,
        TASK_MODULES="examples.trends.tasks,tests.acceptance.trends_sooner",
        WORKER_CONCURRENCY="1",
        TRENDS_QUEUE_LIMIT=str(WAITING // 2),
        TRENDS_ALERT_WEBHOOK=webhook.url,
    ) as running:
        yield running


def task(name: str, code: str) -> str:
    return f"from examples.trends.tasks import {name}\nprint({code})"


def queued(trends: Example) -> set[str]:
    return {execution.execution_id for execution in trends.list(states=[State.STATE_QUEUED])}


def test_all_plugins_are_collected_in_parallel_and_ranked_together(trends: Example):
    whole = trends.fired("hourly-trends")
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    steps = trends.parts(whole.execution_id)
    collected = trends.parts(steps["collect"].execution_id)
    assert collected.keys() == set(PLUGINS)
    assert {MessageToDict(part.result)["plugin"] for part in collected.values()} == set(PLUGINS)
    assert len(MessageToDict(steps["rank"].result)["value"]) == 3
    assert steps["rank"].queue == "process"


def test_a_source_that_is_busy_is_asked_again_after_a_wait_that_varies(trends: Example):
    execution = trends.ended(trends.python(task("collect", "collect.delay('mastodon').id")))
    assert State.Name(execution.state) == "STATE_SUCCEEDED", execution
    assert execution.attempt == 2
    (wait,) = [step.reason for step in execution.transitions if "again in" in step.reason]
    seconds = re.search(r"the task asked for a retry; trying again in (\d+\.\d) s", wait)
    assert seconds, wait
    assert float(seconds[1]) <= 2


def test_a_workflow_hands_what_was_collected_to_what_processes_it(trends: Example):
    whole = trends.fired("hackernews-every-15-minutes")
    assert State.Name(whole.state) == "STATE_SUCCEEDED", whole
    collect, process = (trends.parts(whole.execution_id)[name] for name in ("collect", "process"))
    posts = MessageToDict(collect.result)["posts"]
    topics = MessageToDict(process.result)["topics"]
    assert sum(topics.values()) == 2 * len(posts)


def test_a_chain_of_celerys_on_a_beat_schedule_is_two_executions_of_which_the_second_names_the_first(trends: Example):
    job = trends.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="reddit-every-15-minutes")).job
    assert job.managed_by == "beat_schedule"
    followed = trends.fired("reddit-every-15-minutes")
    process_id = MessageToDict(followed.result)["value"]
    # It is made when what is before it has ended.
    wait_until(lambda: process_id in {each.execution_id for each in trends.list()}, "the chain has got to its end")
    process = trends.ended(process_id)
    assert MessageToDict(process.result)["plugin"] == "reddit"
    assert process.target_method == "examples.trends.tasks.process"
    collect = trends.get(process.parent_execution_id)
    assert collect.target_method == "examples.trends.tasks.collect"


def begin_backfill(trends: Example, plugin: str) -> pb.Execution:
    """Begin to process an archive; return the execution when it has some of the pages."""
    code = task("backfill", f"backfill.delay({plugin!r}, {PAGES}, pause_seconds=0.1).id")
    execution_id = trends.python(code)
    return wait_until(
        lambda: found if (found := trends.get(execution_id)).HasField("progress") else None, "some pages are there"
    )


def check_backfill(trends: Example, begun: pb.Execution) -> pb.Execution:
    """Wait for the end of a backfill that lost its worker, and see that no page was lost, and none fetched twice."""
    execution = trends.ended(begun.execution_id, timeout=120)
    assert State.Name(execution.state) == "STATE_SUCCEEDED", execution
    assert (execution.attempt, execution.workers_lost) == (2, 1)
    result = MessageToDict(execution.result)
    assert result["pages"] == PAGES
    assert 0 < result["fetched_by_this_attempt"] <= PAGES - begun.progress.done
    return execution


def test_what_a_killed_worker_was_doing_is_gone_on_with_by_another(trends: Example):
    begun = begin_backfill(trends, "lemmy")
    with trends.system.without("celery-worker"):
        pass
    assert check_backfill(trends, begun).worker != begun.worker


def test_what_a_killed_process_of_a_pool_was_doing_is_gone_on_with_by_the_next_one(trends: Example):
    with trends.system.without("celery-worker"):
        pool = trends.system.start_worker("pool", "-Q", "collect", "--pool", "prefork", "--concurrency", "1")
        begun = begin_backfill(trends, "reddit")
        for child in Path(f"/proc/{pool}/task/{pool}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        check_backfill(trends, begun)
        trends.system.end("pool")


def test_what_is_urgent_overtakes_what_waits_and_somebody_is_told_of_the_queue(trends: Example, webhook: Webhook):
    code = f"[collect.apply_async(('lemmy',), priority=1).id for _ in range({WAITING})]"
    trends.system.start_worker("watchman", "-Q", "monitoring,default")
    with trends.system.without("celery-worker"):
        waiting = trends.python(task("collect", f"*{code}")).split()
        urgent = trends.run("breaking-news", queue="collect")
        enqueued = {*waiting, urgent}
        wait_until(lambda: enqueued <= queued(trends), "all are in the queue")
        alert = wait_until(
            lambda: next((alert for alert in webhook.alerts if alert["messages"] > WAITING), None), "an alert comes"
        )
        assert (alert["queue"], alert["consumers"]) == ("collect", 0)
    first = trends.ended(urgent)
    others = [trends.ended(execution_id) for execution_id in waiting]
    assert all(first.started_at.ToNanoseconds() < each.started_at.ToNanoseconds() for each in others)
    watched = MessageToDict(trends.fired("queue-depths").result)
    assert watched.keys() == {"collect", "process", "monitoring", "default", "manual"}
    trends.system.end("watchman")


@pytest.mark.timeout(BUILDING)
def test_the_commands_of_its_readme_do_what_it_says(trends: Example, grpcurl: Path):  # noqa: F811
    hourly, depths, chain, group = trends.readme(grpcurl).values()
    assert trends.ended(json.loads(hourly)["execution_id"]).state == State.STATE_SUCCEEDED
    assert all("collect" in execution["result"] for execution in json.loads(depths)["executions"])
    assert chain.startswith("reddit talks about ")
    assert group == f"{len(PLUGINS)} plugins"
