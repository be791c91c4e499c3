"""docs/tasks.md, docs/canvas.md, the README's task: their code is run as it stands, on server, beat and worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.run import ROOT
from dev.server import free_port
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.store.mongo import connect
from tests.acceptance.system import READY, wait_until
from tests.builders import own_vhost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.servers import Servers

PAGE = (ROOT / "docs" / "tasks.md").read_text()
EXAMPLE, JOB, CALLS, REPORT = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
_, GREETINGS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
TRENDS, CANVAS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "canvas.md").read_text(), re.DOTALL)


class Shop:
    """A project with tasks, and the scheduler's processes that have them."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder = folder
        (folder / "app").mkdir()
        (folder / "app" / "__init__.py").touch()
        (folder / "app" / "tasks.py").write_text(EXAMPLE)
        (folder / "app" / "reports.py").write_text(REPORT)
        (folder / "app" / "trends.py").write_text(TRENDS)
        (folder / "shop").mkdir()
        (folder / "shop" / "greetings.py").write_text(GREETINGS)
        self.port = free_port()
        self.environment = {
            **os.environ,
            "MONGODB_URL": servers.mongodb.url.replace("/scheduler", "/tasks_page"),
            "CELERY_BROKER_URL": own_vhost(servers.rabbitmq),
            "CELERY_RESULT_BACKEND": servers.redis.url,
            "GRPC_PORT": str(self.port),
            "SERVER_METRICS_PORT": str(free_port()),
            "BEAT_METRICS_PORT": str(free_port()),
            "WORKER_METRICS_PORT": str(free_port()),
            "PYTHONPATH": f"{ROOT}:{folder}",
            "TASK_MODULES": "app.tasks,app.reports,app.trends,shop.greetings",
            "EXTRA_QUEUES": "custom",
            "LOG_FORMAT": "json",
        }
        self._processes = [self._start(name) for name in ("scheduler_service", "beat", "worker")]

    def _start(self, module: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, module: str) -> str:
        return (self.folder / f"{module}.log").read_text()

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        code = code.replace("localhost:50054", f"localhost:{self.port}")
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Shop]:
    opened = Shop(tmp_path_factory.mktemp("shop"), servers)
    try:
        wait_until(lambda: "server_ready" in opened.log("scheduler_service"), "the server is ready", READY)
        wait_until(lambda: "celery@" in opened.log("worker") or " ready." in opened.log("worker"), "a worker", READY)
        yield opened
    finally:
        opened.close()


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_example_is_a_job_after_beats_start(shop: Shop):
    database = connect(shop.environment["MONGODB_URL"])
    found = wait_until(lambda: database.jobs.find_one({"_id": "my-custom-schedule"}), "its job is there")
    assert (found["target_method"], found["queue"]) == ("app.tasks.my_custom_task", "custom")
    database.client.close()


def test_a_job_over_grpc_runs_a_task_and_wrong_parameters_are_refused(shop: Shop):
    run = """
run = stub.ExecuteJobNow(scheduler_service_pb2.ExecuteJobRequest(job_id="process-orders"))
print(run.execution_id)
"""
    execution_id = succeeded(shop.run(JOB + run))
    settings = Settings(celery_result_backend=shop.environment["CELERY_RESULT_BACKEND"])
    app = make_app(settings, load_queues(ROOT / "config"))
    assert app.AsyncResult(execution_id).get(timeout=60) == {"success": True, "data": "processed"}
    app.close()
    for right, wrong, said in (
        ('"param2": 42', '"param2": "forty-two"', "parameters.param2: 'forty-two' does not fit: expected a valid"),
        ("my_custom_task", "my_custom_tsk", "'app.tasks.my_custom_tsk' is not a task; did you mean app.tasks.my_"),
    ):
        refused = shop.run(JOB.replace("process-orders", "wrong").replace(right, wrong))
        assert refused.returncode == 1
        assert said in refused.stderr


def test_calls_give_results(shop: Shop):
    answer = "{'success': True, 'data': 'processed'}"
    assert succeeded(shop.run(CALLS)) == f"{answer}\norder-7:process {answer}"


def test_a_task_tells_what_it_does(shop: Shop):
    call = "from app.reports import write_report\nprint(write_report.delay(['a', 'b']).get(timeout=60))"
    assert succeeded(shop.run(call)) == "{'reports': 2, 'retries': 0}"
    assert '"action": "task_said"' in shop.log("worker")


def test_a_canvas_gives_results(shop: Shop):
    assert succeeded(shop.run(CANVAS)) == "60\n['reddit', 'github', 'news']\n320"
    database = connect(shop.environment["MONGODB_URL"])
    linked = {"target_method": "app.trends.process", "result": "180"}
    wait_until(lambda: database.executions.find_one(linked), "the callback was called with the result")
    database.client.close()


def test_the_task_of_the_readme_runs(shop: Shop):
    call = "from shop.greetings import greet\nprint(greet.delay('Ada').get(timeout=60))"
    assert succeeded(shop.run(call)) == "hello Ada"
