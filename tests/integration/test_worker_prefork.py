"""Tasks in Python on the prefork pool: limits that kill for real, processes that die, and those that are replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dev.run import ROOT
from shared.domain.execution import State
from tests.acceptance.system import wait_until
from tests.integration.test_worker_ledger import execution, stored
from tests.integration.test_worker_process import QUEUE, Site, make_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dev.servers import Servers
    from shared.store.executions import StoredExecution

TASKS = "tests.integration.tasks_that_burn"


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Callable[[], Site]]:
    """Open sites whose leases do not end while these tests run."""
    sites: list[Site] = []

    def open_one() -> Site:
        folder = tmp_path_factory.mktemp("prefork")
        sites.append(make_site(folder, servers, f"prefork{len(sites)}", EXECUTION_LEASE="3600", TASK_MODULES=TASKS))
        return sites[-1]

    yield open_one
    for site in sites:
        site.close()


@pytest.fixture(scope="module")
def site(open_site: Callable[[], Site]) -> Site:
    """One with a worker whose pool has two processes, for all tests that need nothing else."""
    opened = open_site()
    opened.start("--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", "4")
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "marks"
    made.mkdir()
    return made


def call(site: Site, *calls: str) -> list[str]:
    """Make calls such as `add.delay(1)`, from a process that has the tasks; return the ids of the executions."""
    ids = ", ".join(f"tasks.{each}.id" for each in calls)
    done = subprocess.run(
        [sys.executable, "-c", f"import json, {TASKS} as tasks\nprint(json.dumps([{ids}]))"],
        cwd=ROOT,
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def ended(site: Site, execution_id: str) -> StoredExecution:
    site.ended(execution_id)
    return stored(site.database, execution_id)


def test_a_soft_limit_is_raised_in_the_function_which_may_save_what_it_has(site: Site):
    (execution_id,) = call(site, "save_what_there_is.delay()")
    row = ended(site, execution_id)
    assert (row.state, row.result) == (State.SUCCEEDED, {"value": [True, False]})


def test_a_soft_limit_counts_from_when_the_function_begins(site: Site):
    (execution_id,) = call(site, "save_what_there_is_then.delay()")
    row = ended(site, execution_id)
    assert (row.state, row.result) == (State.SUCCEEDED, {"value": True})


def test_a_soft_limit_wakes_a_function_that_sleeps(site: Site):
    (execution_id,) = call(site, "sleep_for_ever.delay()")
    row = ended(site, execution_id)
    assert row.state is State.FAILED
    assert row.error is not None
    assert (row.error.code, row.error.message) == (
        "DEADLINE_EXCEEDED",
        "it did not end within its soft_time_limit of 0.5 s",
    )


def test_a_function_that_hears_of_no_limit_is_killed_and_has_failed(site: Site, folder: Path):
    (execution_id,) = call(site, f"end_never.delay({str(folder)!r})")
    row = ended(site, execution_id)
    assert (row.state, row.attempt, row.workers_lost) == (State.FAILED, 1, 0)
    assert row.error is not None
    assert (row.error.code, row.error.message) == (
        "DEADLINE_EXCEEDED",
        "it did not end within 1 s, and its process was killed",
    )
    (pid,) = (mark.name for mark in folder.iterdir())
    wait_until(lambda: not is_alive(int(pid)), "the process is gone")
    wait_until(lambda: site.result(execution_id).state == "FAILURE", "Redis has it")


def test_a_job_that_tries_again_after_a_deadline_does_so_after_a_kill_and_its_timeout_is_a_limit(
    site: Site, folder: Path
):
    execution_id = execution(
        site.database,
        due_in=-1,
        state="PENDING",
        queue=QUEUE,
        target_service="task",
        target_method=f"{TASKS}.end_never",
        parameters=json.dumps({"folder": str(folder)}),
        timeout=0.5,
    )
    site.send(execution_id)
    wait_until(
        lambda: len(stored(site.database, execution_id).transitions) > 2, f"it was killed:\n{site.logs()[-3000:]}"
    )
    wait_until(lambda: stored(site.database, execution_id).state is State.PENDING, "it is to be tried again")
    row = stored(site.database, execution_id)
    assert row.error is not None
    assert row.error.message == "it did not end within 0.5 s, and its process was killed"
    assert row.due_at is not None
    assert row.due_at > row.transitions[-1].at


@pytest.mark.parametrize(("name", "state"), [("wait_softly", State.SUCCEEDED), ("wait_for_ever", State.FAILED)])
def test_limits_of_a_coroutine_end_it_and_spare_its_process(site: Site, name: str, state: State):
    (execution_id,) = call(site, f"{name}.delay()")
    row = ended(site, execution_id)
    assert row.state is state
    if state is State.FAILED:
        assert row.error is not None
        assert row.error.message == "it did not end within its time_limit of 0.3 s"
    assert not [line for line in site.workers[0].lines("attempt_orphaned") if execution_id in line]


@pytest.mark.parametrize(
    ("times", "state", "lost"), [(2, State.SUCCEEDED, 2), (100, State.FAILED, 4)], ids=["twice", "each time"]
)
def test_a_task_whose_process_is_killed_runs_again_as_long_as_there_are_attempts(
    site: Site, folder: Path, times: int, state: State, lost: int
):
    (execution_id,) = call(site, f"die.delay({str(folder)!r}, {times})")

    def look() -> bool:
        row = stored(site.database, execution_id)
        if row.state is State.PENDING:
            site.send(execution_id)
        return row.state is state

    wait_until(look, f"it has ended so; log:\n{site.logs()[-3000:]}")
    row = stored(site.database, execution_id)
    assert (row.workers_lost, len(list(folder.iterdir()))) == (lost, lost)
    assert (row.error is not None and row.error.code) == "WORKER_LOST"


def test_processes_are_replaced_after_their_number_of_tasks_of_either_kind(site: Site):
    ids = call(site, *(f"which_process{kind}.delay()" for kind in ("", "_waited") for _ in range(10)))
    pids: Counter[Any] = Counter()
    for execution_id in ids:
        row = ended(site, execution_id)
        assert row.state is State.SUCCEEDED
        assert row.result is not None
        pids[row.result["value"]] += 1
    assert pids.total() == 20
    assert len(pids) >= 5
    assert max(pids.values()) <= 4


@pytest.mark.parametrize("name", ["burn", "wait_for_cancel"])
def test_a_worker_that_stops_hands_back_what_runs_on_whether_that_listens_or_not(
    open_site: Callable[[], Site], folder: Path, name: str
):
    site = open_site()
    worker = site.start("--pool", "prefork", "--concurrency", "1", SHUTDOWN_GRACE="0.5")
    (execution_id,) = call(site, f"{name}.delay({str(folder)!r})")
    wait_until(lambda: list(folder.iterdir()), "it runs")
    worker.process.terminate()
    assert worker.wait(60) == 0, worker.log
    row = stored(site.database, execution_id)
    assert (row.state, row.attempt, row.workers_lost) == (State.PENDING, 1, 0), worker.log
    assert row.transitions[-1].reason.startswith("handed back: the worker stops")
    (pid,) = (mark.name for mark in folder.iterdir())
    assert not is_alive(int(pid))
    assert "Traceback" not in worker.log


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
