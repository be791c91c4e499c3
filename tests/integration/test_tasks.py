"""Tasks in Python on real workers: called by code, by jobs and by each other; seen in the ledger and in Redis."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from dev.run import ROOT
from dev.server import free_port
from shared.domain.execution import MOST_ATTEMPTS, State, Trigger
from shared.store import executions
from tests.acceptance.system import wait_until
from tests.integration.test_worker_ledger import stored
from tests.integration.test_worker_process import Site, make_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dev.servers import Servers

TASKS = "tests.integration.tasks_to_run"


class Office:
    """A site with a beat, whose other processes call tasks."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self._folder = folder
        self.start_beat()

    def start_beat(self, **changes: str) -> None:
        with (self._folder / "beat.log").open("ab") as log:
            environment = {**os.environ, **self.site.environment, "BEAT_METRICS_PORT": str(free_port()), **changes}
            self._beat = subprocess.Popen(
                [sys.executable, "-m", "beat"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def kill_beat(self) -> None:
        self._beat.kill()
        self._beat.wait()

    def run(self, code: str, **environment: str) -> str:
        """Run code that has the tasks, in a process of its own; return what it prints."""
        done = self.begin(code, **environment)
        output, error = done.communicate(timeout=150)
        assert done.returncode == 0, error
        return output.strip()

    def begin(self, code: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", f"import {TASKS} as tasks\n{code}"],
            cwd=ROOT,
            env={**os.environ, **self.site.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, call: str) -> str:
        """Make a call such as `add.delay(1)`; return the id of the execution."""
        return self.run(f"print(tasks.{call}.id)")

    def ended(self, execution_id: str) -> executions.StoredExecution:
        self.site.ended(execution_id)
        return stored(self.site.database, execution_id)

    def result(self, execution_id: str) -> AsyncResult[Any]:
        return AsyncResult(execution_id, app=self.site.app)

    @contextmanager
    def watching(self) -> Iterator[Any]:
        """Give the state of all tasks as Flower has it, kept while the block runs."""
        state: Any = self.site.app.events.State()
        with self.site.app.connection_for_read() as connection:
            receiver: Any = self.site.app.events.Receiver(connection, handlers={"*": state.event})
            thread = threading.Thread(target=receiver.capture)
            thread.start()
            try:
                wait_until(lambda: state.workers, "events come")
                yield state
            finally:
                receiver.should_stop = True
                thread.join()

    def raw(self, execution_id: str) -> dict[str, Any]:
        row: dict[str, Any] | None = self.site.database.executions.find_one({"_id": execution_id})
        assert row is not None
        return row

    def close(self) -> None:
        self.kill_beat()
        self.site.close()


@pytest.fixture(scope="module")
def open_office(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Callable[[], Office]]:
    offices: list[Office] = []

    def open_one() -> Office:
        folder = tmp_path_factory.mktemp("office")
        leases = {"EXECUTION_LEASE": "2", "PARTITION_LEASE": "0.5"}
        site = make_site(folder, servers, f"tasks{len(offices)}", TASK_MODULES=TASKS, **leases)
        offices.append(Office(site, folder))
        return offices[-1]

    yield open_one
    for office in offices:
        office.close()


@pytest.fixture(scope="module")
def office(open_office: Callable[[], Office]) -> Office:
    """One with a worker of threads, for all tests that need nothing else."""
    opened = open_office()
    opened.site.start("--concurrency", "8")
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "marks"
    made.mkdir()
    return made


def test_a_call_is_an_execution_whose_result_is_the_raw_value(office: Office):
    execution_id = office.call("add.delay(1, y=2)")
    assert office.result(execution_id).get(timeout=60) == 3
    row = office.ended(execution_id)
    assert (row.state, row.trigger, row.job_id, row.job_name) == (State.SUCCEEDED, Trigger.API, "", f"{TASKS}.add")
    assert row.result == {"value": 3}, "the API's results are objects"


def test_a_coroutine_knows_its_execution(office: Office):
    execution_id = office.call("describe.delay('x', '2026-01-31T08:00:00Z', 1, 2, more=True)")
    row = office.ended(execution_id)
    assert row.result is not None, row
    assert row.result["thread"] == "tasks"
    assert (row.result["when"], row.result["rest"], row.result["extra"]) == (2026, [1, 2], {"more": True})
    request, execution = row.result["request"], row.result["execution"]
    assert request["id"] == request["root_id"] == execution["execution_id"] == execution_id
    assert (request["called_directly"], request["is_eager"], request["parent_id"]) == (False, False, None)
    assert (execution["trigger"], execution["attempt"], execution["retries"]) == ("API", 1, 0)
    assert 0 < execution["remaining"] <= 1800
    (line,) = [json.loads(line) for line in office.site.workers[0].lines("task_said") if execution_id in line]
    assert (line["label"], line["trace_id"]) == ("x", row.trace_id)


def test_many_coroutines_run_at_a_time_in_one_process(open_office: Callable[[], Office], folder: Path):
    office = open_office()
    office.site.start("--concurrency", "300")
    code = f"for each in [tasks.meet.delay({str(folder)!r}, 200) for _ in range(200)]: print(each.get(timeout=120))"
    assert office.run(code).split() == ["1"] * 200


def test_a_retry_waits_in_the_ledger_and_counts_for_the_task(office: Office):
    execution_id = office.call("again.delay(2)")
    assert office.result(execution_id).get(timeout=60) == 2
    row = office.ended(execution_id)
    assert (row.attempt, office.raw(execution_id)["retries"]) == (3, 2)
    assert [step.state for step in row.transitions if step.state is State.PENDING][1:] == [State.PENDING] * 2
    assert any("the task asked for a retry" in step.reason for step in row.transitions)


def test_after_max_retries_the_exception_is_what_get_raises(office: Office):
    execution_id = office.call("again.delay(9)")
    with pytest.raises(ValueError, match="failed 3 times"):
        office.result(execution_id).get(timeout=60)
    row = office.ended(execution_id)
    assert row.error is not None
    assert (row.state, row.error.code, row.error.message) == (State.FAILED, "TASK_FAILED", "ValueError: failed 3 times")


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("again.apply_async((9,), countdown=3600)", "TASK_FAILED", "ValueError: failed 1 times"),
        ("fail.apply_async(('requeue',), countdown=3600)", "RESOURCE_EXHAUSTED", "put it back: Reject: not yet"),
    ],
)
def test_what_a_task_begins_again_for_ever_ends_before_its_document_is_full(
    office: Office, call: str, code: str, said: str
):
    execution_id = office.call(call)
    begun = {"attempt": MOST_ATTEMPTS - 1, "handed_back": MOST_ATTEMPTS - 1}
    now = datetime.now(UTC)
    office.site.database.executions.update_one(
        {"_id": execution_id}, {"$set": {**begun, "due_at": now, "send_at": now}}
    )
    row = office.ended(execution_id)
    assert (row.state, row.attempt) == (State.FAILED, MOST_ATTEMPTS)
    assert row.transitions[-1].reason.endswith("as it was begun 10,000 times, which is the most")
    assert row.error is not None
    assert row.error.code == code
    assert said in row.error.message


@pytest.mark.parametrize(
    ("call", "state", "retries"),
    [
        ("auto.delay(1)", State.SUCCEEDED, 1),
        ("auto.delay(1, 'index')", State.FAILED, 0),
        ("auto.delay(1, 'other')", State.FAILED, 0),
        ("auto_plain.delay(1)", State.SUCCEEDED, 1),
        ("auto_plain.delay(2)", State.FAILED, 1),
    ],
)
def test_exceptions_are_retried_as_the_options_say(office: Office, call: str, state: State, retries: int):
    execution_id = office.call(call)
    assert office.ended(execution_id).state is state
    assert office.raw(execution_id).get("retries", 0) == retries


def test_a_retry_may_change_the_arguments(office: Office):
    assert office.result(office.call("changed.delay(4, 0)")).get(timeout=60) == [4, 5]


@pytest.mark.parametrize(
    ("kind", "state", "said"),
    [
        ("ignore", State.CANCELLED, ""),
        ("reject", State.FAILED, "TASK_FAILED: Reject: no good"),
        ("exit", State.FAILED, "TASK_FAILED: SystemExit: 3"),
        ("other", State.FAILED, "TASK_FAILED: ValueError: other"),
    ],
)
def test_what_a_task_raises_ends_its_execution(office: Office, kind: str, state: State, said: str):
    row = office.ended(office.call(f"fail.delay({kind!r})"))
    assert row.state is state
    assert (f"{row.error.code}: {row.error.message}" if row.error else "") == said
    if kind == "ignore":
        assert row.transitions[-1].reason == "the task raised Ignore: nothing to be done"


def test_what_a_task_says_when_it_fails_is_kept_as_far_as_a_document_can_hold_it(office: Office):
    failed, ignored = (office.ended(office.call(f"fail.delay({kind!r})")) for kind in ("name", "ignored name"))
    assert failed.error is not None
    assert failed.error.message.startswith("ValueError: no such file: \\udcffxxx")
    assert (ignored.state, ignored.transitions[-1].reason) == (
        State.CANCELLED,
        "the task raised Ignore: no such file: \\udcff",
    )
    assert (failed.attempt, ignored.attempt) == (1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("queue='nowhere'", "TASK_FAILED: InvalidInput: queue: 'nowhere' is not"),
        ("priority=300", "TASK_FAILED: InvalidInput: priority: 300 is not a priority (0-9)"),
        ("priority='high'", "TASK_FAILED: InvalidInput: priority: 'high' is not a priority (0-9)"),
    ],
)
def test_a_retry_that_nobody_could_send_fails_the_task(office: Office, options: str, said: str):
    row = office.ended(office.call(f"moved.delay({options})"))
    assert row.error is not None
    assert f"{row.error.code}: {row.error.message}".startswith(said)


def test_exceptions_are_logged_with_a_traceback_unless_they_are_expected(office: Office):
    unexpected, expected = office.call("fail.delay('other')"), office.call("fail.delay('expected')")
    for execution_id in (unexpected, expected):
        office.ended(execution_id)
    lines = [json.loads(line) for line in office.site.workers[0].lines("task_raised")]
    (line,) = [line for line in lines if line["execution_id"] == unexpected]
    assert "raise ValueError(kind)" in line["exception"]
    (line,) = [line for line in lines if line["execution_id"] == expected]
    assert (line["level"], "exception" in line) == ("info", False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("object", "the result is of the type object, which JSON does not have"),
        ("nan", "the result.a[1] is nan, and JSON has finite numbers only"),
        ("key", "the result has the key 1, and JSON's keys are strings"),
        ("digits", "the result is a number of more digits than can be written"),
        ("generator", "the result is of the type generator, which JSON does not have"),
    ],
)
def test_a_result_that_is_not_json_is_a_failure_that_says_where(office: Office, kind: str, said: str):
    row = office.ended(office.call(f"returns.delay({kind!r})"))
    assert row.error is not None
    assert (row.state, row.error.code, row.error.message) == (State.FAILED, "INVALID_RESULT", said)


def test_a_result_that_is_ignored_is_kept_nowhere(office: Office, folder: Path):
    execution_id = office.call(f"unheard.delay({str(folder)!r})")
    row = office.ended(execution_id)
    assert (row.state, row.result) == (State.SUCCEEDED, None)
    assert office.result(execution_id).state == "PENDING", "Celery's word for: nothing is known"
    assert office.run(f"print(tasks.unheard.delay({str(folder)!r}).get(timeout=60))") == "None", "nobody waits"
    kept = office.call(f"unheard.apply_async(({str(folder)!r},), ignore_result=False)")
    assert office.result(kept).get(timeout=60) == "nobody wants to know"


@pytest.mark.parametrize("task", ["wait_for_cancel", "ask_for_cancel"])
def test_a_cancelled_task_is_told(office: Office, folder: Path, task: str):
    execution_id = office.call(f"{task}.delay({str(folder)!r})")
    wait_until((folder / execution_id).exists, "it runs")
    move = executions.cancel(execution_id, "tester", "no longer needed")
    office.site.database.executions.update_one(move.filter, move.update)
    row = office.ended(execution_id)
    assert (row.state, row.transitions[-1].reason) == (State.CANCELLED, "cancelled by tester: no longer needed")
    assert (folder / f"{execution_id}.cancelled").exists()
    with pytest.raises(TaskRevokedError, match=r"^cancelled by tester: no longer needed$"):
        office.result(execution_id).get(timeout=60)


def test_a_result_that_is_revoked_is_cancelled_in_the_ledger(office: Office, folder: Path):
    running = office.call(f"wait_for_cancel.delay({str(folder)!r})")
    wait_until((folder / running).exists, "it runs")
    code = (
        "from celery import group\n"
        f"tasks.celery_app.AsyncResult({running!r}).revoke(terminate=True)\n"
        "later = group(tasks.add.s(1), group(tasks.add.s(2), tasks.add.s(3))).apply_async(countdown=600)\n"
        "later.revoke()\n"
        "for each in later: print(each.id)\n"
    )
    waiting = office.run(code).split()
    assert len(waiting) == 3
    for execution_id in [running, *waiting]:
        row = office.ended(execution_id)
        last = row.transitions[-1]
        assert row.state is State.CANCELLED
        assert f"{socket.gethostname()}:" in f"{last.by} {last.reason}"
        assert "its result was revoked" in last.reason
    assert (folder / f"{running}.cancelled").exists()


@pytest.mark.parametrize("call", ["soft_async.delay()", "soft_plain.delay()"])
def test_a_soft_limit_is_an_exception_that_the_task_can_catch(office: Office, call: str):
    assert office.result(office.call(call)).get(timeout=60) == "in time"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("soft_plain.delay(False)", "it did not end within its soft_time_limit of 0.3 s"),
        ("hard_async.delay()", "it did not end within its time_limit of 0.3 s"),
        ("hard_plain.delay()", "it did not end within its time_limit of 0.3 s"),
        ("hard_plain.apply_async(time_limit=0.1)", "it did not end within its time_limit of 0.1 s"),
    ],
)
def test_what_exceeds_its_limit_has_failed(office: Office, call: str, said: str):
    row = office.ended(office.call(call))
    assert row.error is not None
    assert (row.state, row.error.code, row.error.message) == (State.FAILED, "DEADLINE_EXCEEDED", said)


def test_a_rate_limit_spaces_the_starts_and_costs_no_attempts(office: Office, folder: Path):
    code = f"calls = [tasks.limited.delay({str(folder)!r}) for _ in range(6)]\n"
    said = office.run(code + "for each in calls: print(each.id, each.get(timeout=60))").split()
    began = [office.ended(each).started_at for each in said[::2]]
    first = min(at.timestamp() for at in began if at is not None)
    assert max(map(float, said[1::2])) - first >= 2.5, "two a second: the sixth comes two and a half seconds later"
    slow = office.run("for each in [tasks.slow_limited.delay() for _ in range(2)]: print(each.id)").split()
    rows = [office.ended(each) for each in slow]
    assert sorted(row.attempt for row in rows) == [1, 2]
    (later,) = [row for row in rows if row.attempt == 2]
    assert office.raw(later.execution_id)["handed_back"] == 1
    assert any("the rate limit of" in step.reason for step in later.transitions)


def test_a_countdown_is_kept_in_the_ledger(office: Office):
    execution_id = office.call("add.apply_async((1,), countdown=1.5)")
    row = office.ended(execution_id)
    assert row.due_at is not None
    assert row.started_at is not None
    assert (row.due_at - row.transitions[0].at).total_seconds() == 1.5
    assert row.started_at >= row.due_at


def test_an_eta_is_kept_in_the_ledger(office: Office):
    code = "from datetime import UTC, datetime, timedelta\neta = datetime.now(UTC) + timedelta(seconds=1.5)\n"
    eta, execution_id = office.run(f"{code}print(eta.isoformat(), tasks.add.apply_async((1,), eta=eta).id)").split()
    row = office.ended(execution_id)
    assert row.due_at is not None
    assert row.started_at is not None
    assert abs((row.due_at - datetime.fromisoformat(eta)).total_seconds()) < 0.001
    assert row.started_at >= row.due_at


def test_what_expires_before_it_is_started_is_cancelled(office: Office):
    execution_id = office.call("add.apply_async((1,), countdown=60, expires=0.5)")
    row = office.ended(execution_id)
    assert row.state is State.CANCELLED
    assert row.transitions[-1].reason.startswith("it expired at ")
    assert row.started_at is None
    with pytest.raises(TaskRevokedError, match=r"^it expired at .*[^)]$"):
        office.result(execution_id).get(timeout=60)


def test_the_same_id_is_the_same_execution(office: Office):
    given = f"order-{uuid4().hex[:8]}:1"
    assert office.run(f"for _ in range(2): print(tasks.add.apply_async((1,), task_id={given!r}).get(timeout=60))") == (
        "2\n2"
    )
    assert office.ended(given).attempt == 1


def test_a_task_that_calls_another_is_its_parent(office: Office):
    execution_id = office.call("outer.delay()")
    inner = office.result(execution_id).get(timeout=60)
    row = office.raw(inner)
    office.ended(inner)
    assert (row["parent_id"], row["root_id"]) == (execution_id, execution_id)
    assert row["trace_id"] == office.raw(execution_id)["trace_id"]


def test_progress_is_seen_while_it_runs_and_when_it_has_ended(office: Office, folder: Path):
    with office.watching() as monitor:
        execution_id = office.call(f"says.delay({str(folder)!r})")
        wait_until(lambda: getattr(monitor.tasks.get(execution_id), "state", "") == "PROGRESS", "Flower shows it")
        seen = monitor.tasks[execution_id]
    assert (seen.done, seen.total, seen.message) == (1, 10, "begun")
    progress = wait_until(lambda: stored(office.site.database, execution_id).progress, "its progress is noted")
    assert (progress.done, progress.total, progress.message) == (1, 10, "begun")
    (folder / "go").touch()
    last = office.ended(execution_id).progress
    assert last is not None
    assert (last.done, last.total, last.message) == (10, 10, "all done")


def test_a_task_that_is_not_known_here_can_be_sent_by_its_name(office: Office):
    code = "from worker.app import celery_app\nprint(celery_app.send_task({!r}, kwargs={{'x': 4}}).get(timeout=60))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(f"{TASKS}.add")],
        cwd=ROOT,
        env={**os.environ, **office.site.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "5"


def test_calls_are_durable_while_the_broker_is_away(office: Office):
    nowhere = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    execution_id = office.run("print(tasks.add.delay(1).id)", CELERY_BROKER_URL=nowhere)
    assert office.ended(execution_id).state is State.SUCCEEDED, "the relay sent it"


def test_a_call_says_that_the_ledger_is_away(office: Office):
    url = f"mongodb://127.0.0.1:{free_port()}/x?serverSelectionTimeoutMS=200"
    code = "try: tasks.add.delay(1)\nexcept Exception as error: print(type(error).__name__, error)"
    said = office.run(code, MONGODB_URL=url)
    assert said.startswith(f"Unavailable {TASKS}.add was not called: the ledger (MongoDB) can't be reached")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("add.delay('one')", "parameters.x: 'one' does not fit: expected a valid integer"),
        ("add.delay()", "parameters.x: it is required"),
        ("add.delay(1, 2, 3)", "parameters: too many positional arguments"),
        ("add.apply_async((1,), queue='nowhere')", "queue: 'nowhere' is not a configured queue (analysis, "),
        ("add.apply_async((1,), routing_key='x')", "routing_key: tasks are routed by their queue alone"),
        ("add.apply_async((1,), task_id='a.b')", "task_id: 'a.b' is not an id"),
        ("add.apply_async((1,), priority=10)", "priority: 10 is not a priority (0-9)"),
        ("add.apply_async((1,), countdwn=10)", "countdwn: there is no such option"),
        ("note.delay({'a': ['\\udcff']}, 'x')", "parameters.given.a[0]: it is a text that cannot be written as UTF-8"),
        ("note.delay({'\\udcff': 1}, 'x')", "parameters: they can't be written as JSON: "),
        (
            "note.delay([float('nan')], float('inf'))",
            "parameters.given[0]: it is nan, and JSON has finite numbers only;",
        ),
        ("add.apply_async((1,), headers={'a': {1}})", "headers.a: it is of the type set, which JSON does not have"),
        ("add.apply_async((1,), headers={'a': '\\udcff'})", "headers.a: it is a text that cannot be written as UTF-8"),
        ("add.apply_async((1,), headers={'a': 2**64})", "headers: they can't be kept: "),
        ("add.apply_async((1,), headers={'a\\0': 1})", "headers: they can't be kept: "),
        ("add.apply_async((1,), headers={'a': 'x' * 70_000})", "headers: 70,013 bytes are too many (at most 65,536)"),
        ("add.apply_async((1,), shadow='\\udcff')", "shadow: '\\udcff' cannot be written as UTF-8"),
        ("add.apply_async((1,), link=tasks.add.s({1}))", "what is to follow the call can't be written as JSON: "),
        (
            "celery_app.send_task('x', kwargs={'a': '\\udcff'})",
            "kwargs.a: it is a text that cannot be written as UTF-8",
        ),
        ("celery_app.send_task('x', kwargs={'a': object()})", "kwargs: they can't be written as JSON: "),
        ("celery_app.send_task('\\udcff')", "name: '\\udcff' cannot be written as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_call_is_said_to_the_caller(office: Office, call: str, said: str):
    code = f"try: tasks.{call}\nexcept Exception as error: print(error)"
    assert office.run(code).startswith(said)


def test_a_result_that_redis_missed_is_brought_to_it_by_beat(open_office: Callable[[], Office]):
    office = open_office()
    office.site.start("--concurrency", "2", CELERY_RESULT_BACKEND=f"redis://127.0.0.1:{free_port()}/0")
    right, wrong = office.call("add.delay(1)"), office.call("fail.delay('other')")
    assert office.result(right).get(timeout=60) == 2
    with pytest.raises(Exception, match="TASK_FAILED: ValueError: other"):
        office.result(wrong).get(timeout=60)


def test_a_large_result_is_whole_in_redis_and_cut_in_the_ledger(office: Office):
    execution_id = office.call("fills.delay(100_000)")
    assert office.result(execution_id).get(timeout=60) == "x" * 99_998
    row = office.ended(execution_id)
    assert row.result_truncated
    assert row.result is not None
    assert list(row.result) == ["truncated"]


def test_of_a_large_result_that_redis_missed_no_part_is_taken_for_the_whole(open_office: Callable[[], Office]):
    office = open_office()
    office.site.start("--concurrency", "2", CELERY_RESULT_BACKEND=f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Exception, match="its result was too large to be kept"):
        office.result(office.call("fills.delay(100_000)")).get(timeout=60)


def test_what_a_worker_that_died_has_not_copied_to_redis_is_brought_to_it_by_beat(
    open_office: Callable[[], Office],
):
    office = open_office()
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        address = f"redis://127.0.0.1:{hangs.getsockname()[1]}/0"
        worker = office.site.start("--concurrency", "2", CELERY_RESULT_BACKEND=address)
        execution_id = office.call("add.delay(1)")
        office.ended(execution_id)
        worker.kill()
    office.site.start("--concurrency", "2")
    assert office.result(execution_id).get(timeout=60) == 2


def test_the_prefork_pool_runs_them_too(open_office: Callable[[], Office]):
    office = open_office()
    office.site.start("--pool", "prefork", "--concurrency", "2")
    calls = ("add.delay(1)", "again.delay(1)", "auto.delay(1)", "auto_plain.delay(1)", "soft_async.delay()")
    results = [office.result(office.call(call)).get(timeout=60) for call in calls]
    assert results == [2, 1, 1, 1, "in time"]
    inner = office.result(office.call("outer.delay()")).get(timeout=60)
    assert office.ended(inner).state is State.SUCCEEDED, "a task of a child process calls another"


def test_a_worker_stops_although_a_function_does_not(open_office: Callable[[], Office], folder: Path):
    office = open_office()
    worker = office.site.start("--concurrency", "1", SHUTDOWN_GRACE="0.5", EXECUTION_LEASE="600")
    execution_id = office.call(f"sleep.delay({str(folder)!r})")
    wait_until((folder / execution_id).exists, "it runs")
    worker.process.terminate()
    assert worker.wait(60) == 0, worker.log
    row = stored(office.site.database, execution_id)
    assert "handed back: the worker stops, and the task did not" in [step.reason for step in row.transitions]
    assert row.state in {State.PENDING, State.QUEUED}


def test_apply_runs_a_coroutine_to_its_end_also_where_a_loop_runs(office: Office):
    assert office.run("print(tasks.auto.apply((2,)).get(), tasks.auto.apply((1, 'other')).state)") == "2 FAILURE"
    code = "import asyncio\nasync def main(): print({})\nasyncio.run(main())"
    assert office.run(code.format("tasks.auto.apply((2,)).get()")) == "2"
    assert office.run(code.format("await tasks.auto(0)")) == "0"
    assert office.run("print(tasks.nested.apply((2,)).get())") == "2"


def test_called_directly_it_is_a_function(office: Office):
    assert office.run("print(tasks.add(1, 2), tasks.add.apply((1,)).get())") == "3 2"
    said = office.run(
        "from worker.app import current_execution\ntry: current_execution()\nexcept RuntimeError as e: print(e)"
    )
    assert said.startswith("there is no current execution")
