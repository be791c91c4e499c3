"""TASK_MODULES: what is wrong with one ends every process at its start, with one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.run import ROOT
from shared.messaging.queues import load_queues

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "from worker.app import celery_app, AsyncTask\n"
DECLARED = ", ".join(sorted(load_queues(ROOT / "config").names))
SENTENCES = {
    "": "TASK_MODULES: app can't be imported: ModuleNotFoundError: No module named 'app'\n",
    "1 / 0": "TASK_MODULES: app can't be imported: ZeroDivisionError: division by zero ({file}, line 2)",
    "@celery_app.task\ndef f(x: 'Nowhere'): ...": "the task app.f: its annotations can't be resolved: ",
    "@celery_app.task\ndef f(x: AsyncTask): ...": "the task app.f: the annotation of x has no form in JSON: ",
    "@celery_app.task(autoretry_for=(OSError,))\ndef f(): yield 1": (
        "the task app.f: it is a generator (it has a yield), which nobody would go through; return a list"
    ),
    "@celery_app.task\nasync def f(): yield 1": (
        "the task app.f: it is a generator (it has a yield), which nobody would go through; return a list"
    ),
    "@celery_app.task(queue='x')\ndef f(): ...": (
        f"the task app.f: the queue 'x' is not declared, in queues.yaml or by EXTRA_QUEUES (declared: {DECLARED})"
    ),
    "@celery_app.task(rate_limit='fast')\ndef f(): ...": (
        "the task app.f: rate_limit: 'fast' is not a rate, as '10/s', '10/m' or '10/h'"
    ),
    "@celery_app.task(soft_time_limit=9, time_limit=3)\ndef f(): ...": (
        "the task app.f: soft_time_limit: it has to be less than time_limit"
    ),
    "from celery import Task\n@celery_app.task(base=Task)\ndef f(): ...": (
        "the task app.f: its base is not worker.app.AsyncTask, and nothing would run it"
    ),
    "@celery_app.task\ndef f(): ...\ncelery_app.conf.beat_schedule = {'now': "
    "{'task': 'app.f', 'schedule': 5, 'options': {'queue': 'x'}}}": (
        f"beat_schedule['now']: the queue 'x' is not declared, in queues.yaml or by EXTRA_QUEUES (declared: {DECLARED})"
    ),
}


def start(process: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", process],
        cwd=ROOT,
        env={**os.environ, "TASK_MODULES": "app", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("code", SENTENCES)
def test_a_mistake_ends_beat_with_one_sentence(tmp_path: Path, code: str):
    file = tmp_path / "app.py"
    if code:
        file.write_text(f"{HEAD}{code}\n")
    ended = start("beat", tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: " + SENTENCES[code].format(file=file)), ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("process", ["scheduler_service", "worker"])
def test_so_it_does_with_the_other_processes(tmp_path: Path, process: str):
    (tmp_path / "app.py").write_text("1 / 0")
    ended = start(process, tmp_path)
    assert ended.returncode == 1
    assert "error: TASK_MODULES: app can't be imported: ZeroDivisionError" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["amq.foo", "dead_letter", "a b"])
def test_a_queue_that_the_broker_would_refuse_is_refused_at_start(name: str):
    with pytest.raises(SystemExit, match=f"EXTRA_QUEUES: '{name}' is not a name for a queue"):
        load_queues(ROOT / "config", [name])
