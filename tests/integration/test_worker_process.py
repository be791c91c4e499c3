"""The worker as it is deployed: processes on a real broker, seen by what they call, store, log and answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from kombu import Queue
from redis import Redis

from dev.redis import start_redis
from dev.run import ROOT
from dev.server import free_port
from shared.domain.execution import State
from shared.messaging.app import make_app
from shared.messaging.dispatcher import Sender
from shared.messaging.messages import Outgoing
from shared.messaging.publisher import Publisher
from shared.messaging.queues import DEAD_LETTER, MANUAL, load_queues
from shared.settings import Settings
from shared.store.layout import lay_out
from shared.store.mongo import connect
from tests.acceptance.recorder import Recorder
from tests.acceptance.system import READY, wait_until
from tests.builders import manage, own_vhost
from tests.chaos import proxy as chaos
from tests.integration.test_worker_ledger import Proxy, execution, rescue, states, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from celery import Celery

    from dev.server import Server
    from dev.servers import Servers
    from tests.integration.test_worker_ledger import Documents

QUEUE = "default_queue"
ONCE = {"max_attempts": 1, "initial_backoff": 1, "max_backoff": 1, "multiplier": 1}
"""A retry policy, as a row has it."""


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal was sent to a process that has not begun to handle it (Linux only; elsewhere False)."""
    status = Path(f"/proc/{pid}/status")
    try:
        masks = re.findall(r"^S(?:ig|hd)Pnd:\s*([0-9a-f]+)", status.read_text(), re.MULTILINE)
    except FileNotFoundError:
        return False
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


class Worker:
    """One worker process with a log of its own."""

    def __init__(
        self, folder: Path, environment: dict[str, str], *arguments: str, program: Sequence[str] = ("worker",)
    ) -> None:
        self._log = folder / f"worker-{uuid4().hex[:6]}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.name = f"worker-{self.process.pid}"
        self.node = f"{self.name}@{socket.gethostname()}"
        """Its name for Celery."""

    @property
    def log(self) -> str:
        return self._log.read_text()

    def lines(self, action: str) -> list[str]:
        return [line for line in self.log.splitlines() if f'"action": "{action}"' in line]

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, and wait until it is being handled: another one could be merged with it."""
        self.process.send_signal(number)
        wait_until(lambda: not is_pending(self.process.pid, number), f"{self.name} has taken {number.name}")

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Site:
    """A database, a virtual host of the broker, and the workers that a test starts on them."""

    folder: Path
    environment: dict[str, str]
    database: Documents
    app: Celery
    publisher: Publisher
    workers: list[Worker]

    def close(self) -> None:
        """End the workers, and close what was opened."""
        for worker in self.workers:
            worker.kill()
        self.publisher.close()
        self.app.close()
        self.database.client.close()

    def start(self, *arguments: str, **environment: str) -> Worker:
        worker = Worker(self.folder, {**self.environment, **environment}, *arguments)
        self.workers.append(worker)

        def ready() -> bool:
            assert worker.process.poll() is None, worker.log
            return bool(self.app.control.ping(destination=[worker.node], timeout=1))

        wait_until(ready, f"{worker.name} answers; its log:\n{worker.log}", READY)
        return worker

    def enqueue(
        self,
        label: str,
        *,
        hold: bool = False,
        fail: str = "",
        seconds: float = 0,
        priority: int = 5,
        queue: str = QUEUE,
        time_limits: tuple[float | None, float | None] | None = None,
        **changes: Any,
    ) -> str:
        """Insert an execution that calls the recorder, send its message, and return its id.

        time_limits: of the message, which those of calls lack.
        """
        parameters = json.dumps({"label": label, "hold": hold, "fail_code": fail, "seconds": seconds})
        execution_id = execution(
            self.database,
            due_in=-1,
            state="PENDING",
            parameters=parameters,
            priority=priority,
            queue=queue,
            job_name=f"Job {label}",
            **changes,
        )
        if time_limits is None:
            self.send(execution_id)
        else:
            assert self.publisher.publish([Outgoing(execution_id, queue, priority, label, time_limits)])
        return execution_id

    def send(self, execution_id: str) -> None:
        row = self.database.executions.find_one({"_id": execution_id})
        assert row is not None
        # However far it has got: as a copy of a message that was sent while it waited.
        assert Sender(self.database, self.publisher, "tester").send([row | {"state": State.PENDING.value}])

    def ended(self, execution_id: str) -> State:
        def look() -> State | None:
            state = stored(self.database, execution_id).state
            return state if state in {State.SUCCEEDED, State.FAILED, State.CANCELLED} else None

        return wait_until(look, f"{execution_id} has ended; logs:\n{self.logs()[-5000:]}")

    def result(self, execution_id: str) -> AsyncResult[Any]:
        return AsyncResult(execution_id, app=self.app)

    def logs(self) -> str:
        return "".join(worker.log for worker in self.workers)

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", "worker.app", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def make_site(folder: Path, servers: Servers, name: str, **environment: str) -> Site:
    """Return a site with a database of this name, whose workers have these variables beside those of all sites."""
    environment = {
        "MONGODB_URL": servers.mongodb.url.replace("/scheduler", f"/{name}"),
        "CELERY_BROKER_URL": own_vhost(servers.rabbitmq),
        "CELERY_RESULT_BACKEND": servers.redis.url,
        "LOG_FORMAT": "json",
        "WORKER_METRICS_PORT": str(free_port()),
        **environment,
    }
    settings = Settings(
        mongodb_url=environment["MONGODB_URL"],
        celery_broker_url=environment["CELERY_BROKER_URL"],
        celery_result_backend=environment["CELERY_RESULT_BACKEND"],
    )
    database = connect(settings.mongodb_url)
    lay_out(database)
    queues = load_queues(Path(environment.get("CONFIG_DIR", ROOT / "config")))
    app = make_app(settings, queues)
    return Site(folder, environment, database, app, Publisher(app, queues), [])


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis of this module's own, to kill."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def open_site(
    tmp_path_factory: pytest.TempPathFactory, servers: Servers, redis: Server, recorder: Recorder
) -> Iterator[Callable[[], Site]]:
    folder = tmp_path_factory.mktemp("workers")
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    with (config / "targets.yaml").open("a") as targets:
        targets.write(f"  recorder:\n    address: localhost:{recorder.port}\n")
    sites: list[Site] = []

    def open_one() -> Site:
        sites.append(
            make_site(
                folder,
                servers,
                f"workers{len(sites)}",
                CELERY_RESULT_BACKEND=redis.url,
                CONFIG_DIR=str(config),
                EXECUTION_LEASE="2",
            )
        )
        return sites[-1]

    yield open_one
    for site in sites:
        site.close()


@pytest.fixture(scope="module")
def busy(open_site: Callable[[], Site]) -> Site:
    """A site with one worker of two slots, for all tests that need nothing else."""
    site = open_site()
    site.start("--concurrency", "2")
    return site


@pytest.fixture
def site(open_site: Callable[[], Site]) -> Iterator[Site]:
    """A site of the test's own, without workers."""
    opened = open_site()
    yield opened
    for worker in opened.workers:
        worker.kill()


@pytest.fixture
def label() -> str:
    return f"w-{uuid4().hex[:12]}"


def test_two_run_at_a_time_and_the_third_waits(busy: Site, recorder: Recorder, label: str):
    ids = [busy.enqueue(f"{label}-{number}", hold=True) for number in range(3)]
    for number in range(2):
        recorder.wait_for_calls(f"{label}-{number}", 1)
    assert stored(busy.database, ids[2]).state is State.QUEUED
    assert not recorder.calls(f"{label}-2")
    recorder.release(f"{label}-0")
    recorder.wait_for_calls(f"{label}-2", 1)
    for number in (1, 2):
        recorder.release(f"{label}-{number}")
    assert {busy.ended(each) for each in ids} == {State.SUCCEEDED}


def test_a_worker_takes_no_more_than_it_has_slots_however_many_queues_it_consumes(
    site: Site, recorder: Recorder, label: str
):
    site.start("--concurrency", "1")
    ids = [site.enqueue(f"{label}-runs", hold=True)]
    recorder.wait_for_calls(f"{label}-runs", 1)
    ids += [site.enqueue(f"{label}-{queue}", queue=queue) for queue in ("scraping", "analysis", MANUAL)]
    site.start("--concurrency", "1")
    assert {site.ended(each) for each in ids[1:]} == {State.SUCCEEDED}  # by the second: the first is still busy
    recorder.release(f"{label}-runs")
    assert site.ended(ids[0]) is State.SUCCEEDED


def test_a_worker_of_one_slot_leaves_what_it_cannot_run_in_the_queue(site: Site, recorder: Recorder, label: str):
    """Whose pool runs what it is given in the worker's own thread, however many others would."""
    site.start("--pool", "solo")
    ids = [site.enqueue(f"{label}-0", hold=True)]
    recorder.wait_for_calls(f"{label}-0", 1)
    ids += [site.enqueue(f"{label}-{number}") for number in (1, 2)]
    assert site.publisher.ready_counts([QUEUE])[QUEUE] == 2
    recorder.release(f"{label}-0")
    assert {site.ended(each) for each in ids} == {State.SUCCEEDED}


def test_higher_priorities_go_first(busy: Site, recorder: Recorder, label: str):
    slots = [busy.enqueue(f"{label}-slot-{number}", hold=True) for number in range(2)]
    for number in range(2):
        recorder.wait_for_calls(f"{label}-slot-{number}", 1)
    low = [busy.enqueue(f"{label}-low-{number}", priority=0) for number in range(2)]
    high = [busy.enqueue(f"{label}-high-{number}", hold=True, priority=9) for number in range(2)]
    for number in range(2):
        recorder.release(f"{label}-slot-{number}")
    for number in range(2):
        recorder.wait_for_calls(f"{label}-high-{number}", 1)
        assert not recorder.calls(f"{label}-low-{number}")
    for number in range(2):
        recorder.release(f"{label}-high-{number}")
    assert {busy.ended(each) for each in (*slots, *low, *high)} == {State.SUCCEEDED}


def test_a_success_is_in_redis_as_celery_knows_it(busy: Site, label: str):
    execution_id = busy.enqueue(label)
    assert busy.result(execution_id).get(timeout=60) == {"label": label, "calls": 1}
    assert busy.result(execution_id).state == "SUCCESS"
    assert busy.ended(execution_id) is State.SUCCEEDED


def test_a_failure_is_in_redis_with_its_reason(busy: Site, label: str):
    result = busy.result(busy.enqueue(label, fail="INVALID_ARGUMENT"))
    wait_until(lambda: result.state == "FAILURE", "Redis has the failure")
    assert str(result.result).startswith("INVALID_ARGUMENT: failed on purpose")


def test_a_retry_is_in_redis_as_one_and_its_success_afterwards(busy: Site, recorder: Recorder, label: str):
    execution_id = busy.enqueue(label, fail="UNAVAILABLE")
    result = busy.result(execution_id)
    wait_until(lambda: result.state == "RETRY", "Redis has the retry")
    assert "trying again in" in str(result.result)
    row = stored(busy.database, execution_id)
    assert row.state is State.PENDING
    assert row.due_at is not None
    assert row.due_at > row.transitions[-1].at
    due_now = {"due_at": row.transitions[-1].at, "parameters": f'{{"label": "{label}"}}'}
    busy.database.executions.update_one({"_id": execution_id}, {"$set": due_now})
    busy.send(execution_id)
    assert result.get(timeout=60, propagate=False) == {"label": label, "calls": 2}
    assert [call.metadata["x-attempt"] for call in recorder.calls(label)] == ["1", "2"]


def test_copies_of_a_message_call_the_target_once_and_change_no_result(busy: Site, recorder: Recorder, label: str):
    execution_id = busy.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    strays = len(busy.workers[0].lines("message_stray"))
    busy.send(execution_id)  # while it runs
    wait_until(lambda: len(busy.workers[0].lines("message_stray")) > strays, "a stray was seen")
    assert busy.result(execution_id).state == "PENDING", "Celery's word for: nothing is known"
    recorder.release(label)
    assert busy.result(execution_id).get(timeout=60) == {"label": label, "calls": 1}
    busy.send(execution_id)  # when it has ended
    wait_until(lambda: len(busy.workers[0].lines("message_stray")) > strays + 1, "another stray was seen")
    assert busy.result(execution_id).result == {"label": label, "calls": 1}
    assert busy.result(execution_id).state == "SUCCESS"
    assert len(recorder.calls(label)) == 1


def test_poison_messages_harm_nothing(busy: Site, servers: Servers, recorder: Recorder, label: str):
    waiting = execution(busy.database, due_in=-1, state="PENDING", parameters=f'{{"label": "{label}"}}')
    with busy.app.connection_for_write() as connection, connection.Producer() as producer:

        def publish(body: object, **properties: Any) -> None:
            producer.publish(body, exchange="executions", routing_key=QUEUE, **properties)

        publish(b"\x00garbage", content_type="application/json", content_encoding="utf-8")
        publish(b"\x80\x04.", content_type="application/x-python-serialize", content_encoding="binary")
        publish({"not": "a task"}, serializer="json")
        headers = {"task": "no.such.task", "id": f"{label}-unknown-task", "lang": "py"}
        publish(([], {}, {}), serializer="json", headers=headers)
        ours = {"task": "scheduler.run_execution", "id": f"{label}-body", "lang": "py"}
        for body in (b"\x00garbage", b"", b"null", b"{}", b"[]", b"[[],{}]", b"[1,2,3]", b'"text"', b"[[[]],{},{}]"):
            publish(body, content_type="application/json", content_encoding="utf-8", headers=ours)
        publish(b"\x80\x04.", content_type="application/x-python-serialize", content_encoding="binary", headers=ours)
        publish(b"[[],{},{}]", content_type="text/strange", content_encoding="odd", headers=ours)
        publish(b"[[],{},{}]", content_type="application/json", content_encoding="utf-8", headers={**ours, "id": 7})
        oddities: list[dict[str, Any]] = [
            {"eta": "tomorrow"},
            {"timelimit": "x"},
            {"timelimit": [1, "x"]},
            {"timelimit": [-1, None]},
            {"retries": "x"},
            {"stamps": 1},
            {"group": {}},
            {"id": {}},
        ]
        for odd in oddities:
            named = {**ours, **odd}
            publish(([named["id"]], {}, {}), serializer="json", headers=named)
        publish((["gone"], {}, {}), serializer="json", headers={**ours, "id": "gone"})
        publish(([], {"execution_id": label}, {}), serializer="json", headers=ours)
        for number, arguments in enumerate((["no such execution"], [], [None], [{"$ne": None}], ["a", "b"], [7])):
            headers = {"task": "scheduler.run_execution", "id": f"{label}-{number}", "lang": "py"}
            publish((arguments, {}, {}), serializer="json", headers=headers)
    assert busy.ended(busy.enqueue(label)) is State.SUCCEEDED
    wait_until(lambda: busy.publisher.ready_counts([QUEUE])[QUEUE] == 0, "all messages were taken")
    vhost = busy.environment["CELERY_BROKER_URL"].rpartition("/")[2]
    wait_until(
        lambda: manage(servers.rabbitmq, "GET", f"queues/{vhost}/{QUEUE}").get("messages", 1) == 0,
        "all were acknowledged",
    )
    worker = busy.workers[0]
    assert worker.process.poll() is None
    assert [line for line in worker.lines("message_stray") if '"execution_id": "gone"' in line]
    (port,) = metrics_ports(worker)
    assert f"scheduler_worker_poison_messages_total {len(worker.lines('message_poison'))}.0" in metrics(port)
    assert "Traceback" not in worker.log
    assert {busy.ended(busy.enqueue(f"{label}-after-{n}")) for n in range(4)} == {State.SUCCEEDED}, "no slot is lost"
    assert len(recorder.calls(label)) == 1
    assert stored(busy.database, waiting).attempt == 0, "no message but its own starts an execution"
    assert not any(busy.result(f"{label}-{number}").result for number in range(6))


def test_the_usual_questions_are_answered(busy: Site, recorder: Recorder, label: str):
    execution_id = busy.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    # Of one that is named, Celery waits for the answer and no longer.
    ask = ("inspect", "--destination", busy.workers[0].node, "--timeout", "30")
    answers = {what: busy.celery(*ask, what).stdout for what in ("ping", "active", "registered")}
    recorder.release(label)
    assert "pong" in answers["ping"]
    assert busy.workers[0].name in answers["ping"]
    assert execution_id in answers["active"]
    assert "scheduler.run_execution" in answers["registered"]
    assert busy.ended(execution_id) is State.SUCCEEDED


def test_no_queue_is_of_a_kind_that_rabbitmq_refuses_from_4_3_on(busy: Site, servers: Servers):
    """Neither durable nor one connection's own; they are those of Celery's questions and of Flower's events."""
    vhost = busy.environment["CELERY_BROKER_URL"].rpartition("/")[2]
    assert busy.app.control.ping(destination=[busy.workers[0].node], timeout=30)
    with busy.app.connection_for_read() as connection:
        busy.app.events.Receiver(connection).queue(connection.default_channel).declare()
        queues = manage(servers.rabbitmq, "GET", f"queues/{vhost}")
    kinds = {kind for queue in queues for kind in ("pidbox", "reply", "celeryev") if kind in queue["name"]}
    assert kinds == {"pidbox", "reply", "celeryev"}
    assert [queue["name"] for queue in queues if not queue["durable"] and not queue["exclusive"]] == []


def test_a_worker_answers_whatever_queue_another_of_its_name_has_left(site: Site):
    """Such as one of an earlier release, which RabbitMQ does not let it declare as another."""
    node = f"again@{socket.gethostname()}"
    with site.app.connection_for_write() as connection:
        Queue(f"{node}.celery.pidbox", channel=connection.default_channel).declare()  # one that does not expire
    site.workers.append(Worker(site.folder, site.environment, "--hostname", node))
    wait_until(lambda: site.app.control.ping(destination=[node], timeout=1), "it answers", READY)


def test_every_line_of_an_execution_carries_its_ids(busy: Site, label: str):
    execution_id = busy.enqueue(label)
    busy.ended(execution_id)
    worker = busy.workers[0]
    wait_until(lambda: [line for line in worker.lines("attempt_ended") if execution_id in line], "the end was logged")
    for action in ("attempt_started", "attempt_ended"):
        (line,) = (line for line in worker.lines(action) if execution_id in line)
        row = stored(busy.database, execution_id)
        assert f'"job_id": "{row.job_id}"' in line
        assert f'"trace_id": "{row.trace_id}"' in line
        assert '"attempt": 1' in line


@pytest.mark.parametrize(
    ("code", "state", "level"), [("INVALID_ARGUMENT", "FAILED", "error"), ("UNAVAILABLE", "PENDING", "warning")]
)
def test_only_what_failed_for_good_is_logged_as_an_error(busy: Site, label: str, code: str, state: str, level: str):
    execution_id = busy.enqueue(label, fail=code)
    worker = busy.workers[0]

    def ends() -> list[str]:
        return [line for line in worker.lines("attempt_ended") if execution_id in line]

    (line,) = wait_until(ends, "the end was logged")
    assert f'"state": "{state}"' in line
    assert f'"level": "{level}"' in line


def test_redis_away_is_said_once_and_changes_nothing_else(site: Site, redis: Server, label: str):
    worker = site.start("--concurrency", "2")
    redis.kill()
    try:
        ids = [site.enqueue(f"{label}-{number}") for number in range(3)]
        assert {site.ended(each) for each in ids} == {State.SUCCEEDED}
        wait_until(lambda: worker.lines("results_away"), "it was said")
    finally:
        redis.start()
    for number in count():
        execution_id = site.enqueue(f"{label}-after-{number}")
        assert site.ended(execution_id) is State.SUCCEEDED
        if worker.lines("results_back"):
            break
    # The last of them may have ended just before; one more is copied in any case.
    execution_id = site.enqueue(f"{label}-copied")
    assert site.result(execution_id).get(timeout=60) == {"label": f"{label}-copied", "calls": 1}
    assert len(worker.lines("results_away")) == 1
    assert "Retry limit exceeded" not in worker.log
    assert "Connection to Redis lost" not in worker.log
    assert "Traceback" not in worker.log


def test_a_copy_that_code_waits_for_and_redis_did_not_take_is_left_to_beat(site: Site, redis: Server, label: str):
    site.start("--concurrency", "2")
    redis.kill()
    try:
        execution_id = site.enqueue(label, trigger="API")
        lacking = {"_id": execution_id, "state": "SUCCEEDED", "uncopied": True}
        wait_until(lambda: site.database.executions.count_documents(lacking), "it is marked")
    finally:
        redis.start()


def test_messages_for_unknown_tasks_hold_up_no_other_while_redis_does_not_answer(site: Site, redis: Server, label: str):
    worker = site.start("--concurrency", "1")
    site.publisher.publish([])  # declares the dead letters' queue, as every beat does
    redis.pause()
    try:
        with site.app.connection_for_write() as connection, connection.Producer() as producer:
            for number in range(20):
                headers = {"task": "no.such.task", "id": f"{label}-{number}", "lang": "py"}
                producer.publish(
                    ([], {}, {}),
                    serializer="json",
                    headers=headers,
                    exchange="executions",
                    routing_key=QUEUE,
                    priority=9,  # before ours
                )
        assert site.ended(site.enqueue(label)) is State.SUCCEEDED
        assert len(worker.lines("message_poison")) == 20
    finally:
        redis.resume()
    wait_until(lambda: site.publisher.ready_counts([DEAD_LETTER])[DEAD_LETTER] == 20, "all are dead letters")


def test_a_stopped_worker_finishes_what_runs_and_another_takes_the_rest(site: Site, recorder: Recorder, label: str):
    # What runs may go on for as long as another worker takes to start, which on a busy machine is long.
    first = site.start("--concurrency", "1", SHUTDOWN_GRACE="3600")
    running = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    waiting = site.enqueue(f"{label}-waiting")
    first.process.terminate()
    second = site.start("--concurrency", "1")
    assert site.ended(waiting) is State.SUCCEEDED
    recorder.release(label)
    assert first.wait() == 0, first.log
    row = stored(site.database, running)
    assert row.state is State.SUCCEEDED
    assert row.worker.startswith(f"{first.name}@")
    assert stored(site.database, waiting).worker.startswith(f"{second.name}@")
    assert len(recorder.calls(label)) == 1
    assert states(site.database, running)[-2:] == ["RUNNING", "SUCCEEDED"]


def test_a_stopped_worker_leaves_a_copy_of_all_that_it_has_ended(
    site: Site, recorder: Recorder, label: str, tmp_path: Path
):
    # As if it ended within the tenth of a second for which a copy waits.
    (tmp_path / "patient.py").write_text("from worker import copies\n\ncopies.GATHERING = 3600\n")
    worker = site.start("--concurrency", "2", SHUTDOWN_GRACE="3600", TASK_MODULES="patient", PYTHONPATH=str(tmp_path))
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    worker.process.terminate()
    wait_until(lambda: worker.lines("worker_stopping"), "it is stopping")
    recorder.release(label)
    assert worker.wait(60) == 0, worker.log
    assert site.result(execution_id).state == "SUCCESS"


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGQUIT]])
def test_a_stopped_worker_hands_back_what_outlasts_its_grace_and_another_runs_it(
    site: Site, recorder: Recorder, label: str, pool: str, signals: list[signal.Signals]
):
    grace = "1" if len(signals) == 1 and signals[0] is signal.SIGTERM else "3600"
    first = site.start("--concurrency", "2", "--pool", pool, SHUTDOWN_GRACE=grace, EXECUTION_LEASE="600")
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    for number in signals:
        first.signal(number)
        # Python runs its handler a little later, and once for two signals that came before that.
        wait_until(lambda: first.lines("worker_stopping"), "it is stopping")
    assert first.wait(60) == 0, first.log
    (call,) = recorder.calls(label)
    assert call.ended.wait(60)
    row = stored(site.database, execution_id)
    assert (row.state, row.attempt, row.max_attempts) == (State.PENDING, 1, 5), first.log
    assert row.transitions[-1].reason == "handed back: the worker stops"
    assert first.lines("attempt_handed_back")
    assert first.lines("worker_stopping")
    assert "Traceback" not in first.log
    second = site.start("--concurrency", "1")
    site.send(execution_id)
    recorder.wait_for_calls(label, 2)
    recorder.release(label)
    assert site.ended(execution_id) is State.SUCCEEDED
    row = stored(site.database, execution_id)
    assert row.worker.startswith(f"{second.name}@")
    assert (row.attempt, row.workers_lost) == (2, 0)


@pytest.mark.parametrize(("number", "grace"), [(signal.SIGTERM, "1"), (signal.SIGINT, "1"), (signal.SIGQUIT, "3600")])
def test_a_worker_of_the_solo_pool_hears_that_it_is_to_stop_while_it_runs_what_outlasts_its_grace(
    site: Site, recorder: Recorder, label: str, number: signal.Signals, grace: str
):
    worker = site.start("--pool", "solo", SHUTDOWN_GRACE=grace, EXECUTION_LEASE="600")
    assert site.ended(site.enqueue(f"{label}-before")) is State.SUCCEEDED
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    worker.signal(number)
    assert worker.wait(60) == 0, worker.log
    row = stored(site.database, execution_id)
    assert (row.state, row.attempt) == (State.PENDING, 1), worker.log
    assert row.transitions[-1].reason == "handed back: the worker stops"


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_tells_what_it_is_there_for_until_it_ends(site: Site, pool: str):
    worker = site.start("-Q", f"{QUEUE},manual", "--pool", pool, "--concurrency", "2")
    entry = wait_until(lambda: site.database.processes.find_one({"kind": "WORKER"}), "its entry")
    assert worker.name in entry["_id"]
    assert (entry["queues"], entry["pool"], entry["concurrency"]) == ([QUEUE, "manual"], pool, 2)
    roles = {role["_id"] for role in site.database.presence.find()}
    assert roles == {f"queue {QUEUE}", "queue manual"}
    worker.process.terminate()
    assert worker.process.wait(60) == 0, worker.log
    assert site.database.processes.count_documents({}) == 0


@pytest.mark.parametrize(
    ("arguments", "at_a_time"),
    [
        ((), 32),
        (("--pool", "prefork"), 8),
        (("--pool", "processes"), 8),
        (("--pool", "processes", "--autoscale", "3,2"), 2),
    ],
)
def test_a_worker_that_is_not_told_how_many_runs_more_in_threads_than_in_processes(
    site: Site, arguments: tuple[str, ...], at_a_time: int
):
    site.start(*arguments)
    entry = wait_until(lambda: site.database.processes.find_one({"kind": "WORKER"}), "its entry")
    assert entry["concurrency"] == at_a_time


@pytest.mark.parametrize(
    ("arguments", "configured", "at_a_time"),
    [
        (("--pool", "processes"), "threads", 8),
        (("--pool", "threads"), "prefork", 32),
        (("--pool", "processes", "--concurrency", "3"), "threads", 3),
    ],
)
def test_so_does_one_that_celerys_own_command_starts(
    site: Site, arguments: tuple[str, ...], configured: str, at_a_time: int
):
    environment = {**site.environment, "WORKER_POOL": configured}
    site.workers.append(Worker(site.folder, environment, *arguments, program=("celery", "-A", "worker.app", "worker")))
    entry = wait_until(lambda: site.database.processes.find_one({"kind": "WORKER"}), "its entry")
    assert entry["concurrency"] == at_a_time


def test_a_worker_that_stops_while_the_store_is_away_loses_no_message(site: Site, servers: Servers, label: str):
    """Here by the pool whose processes do not see the signal that stops the worker."""
    with Proxy(servers.mongodb.port) as proxy:
        url = site.environment["MONGODB_URL"].replace(str(servers.mongodb.port), str(proxy.port))
        worker = site.start("--concurrency", "1", "--pool", "prefork", MONGODB_URL=f"{url}?directConnection=true")
        proxy.refuse()
        execution_id = site.enqueue(label)
        wait_until(lambda: worker.lines("store_away"), "the worker took the message")
        worker.process.terminate()
        assert worker.wait(60) == 0, worker.log
    assert stored(site.database, execution_id).state is State.QUEUED
    wait_until(lambda: site.publisher.ready_counts([QUEUE])[QUEUE] == 1, "the message is back in its queue")


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_that_a_lost_connection_takes_no_acknowledgement_is_said_without_a_trace(
    site: Site, servers: Servers, recorder: Recorder, label: str, pool: str
):
    with chaos.Proxy() as proxy:
        link = proxy.link(servers.rabbitmq.port)
        url = site.environment["CELERY_BROKER_URL"].replace(str(servers.rabbitmq.port), str(link.port))
        worker = site.start("--pool", pool, "--concurrency", "1", CELERY_BROKER_URL=url)
        execution_id = site.enqueue(label, hold=True)
        recorder.wait_for_calls(label, 1)
        link.sever()
        wait_until(lambda: "Connection to broker lost" in worker.log, "it has noticed")
        recorder.release(label)
        assert site.ended(execution_id) is State.SUCCEEDED
        wait_until(lambda: worker.lines("message_unacknowledged"), "it is said")
        assert len(worker.lines("message_unacknowledged")) == 1
        assert [word for word in ("Traceback", '"critical"') if word in worker.log] == []
        worker.kill()  # before the proxy, to which it would connect
    assert len(recorder.calls(label)) == 1


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
@pytest.mark.parametrize("when", ["before", "in its grace"])
def test_a_worker_that_stops_waits_for_no_broker_that_does_not_answer(
    site: Site, servers: Servers, recorder: Recorder, label: str, tmp_path: Path, pool: str, when: str
):
    """One that stands still: its connections stay open."""
    (tmp_path / "patient.py").write_text(
        "from shared.tasks.app import celery_app\n\n"
        "celery_app.conf.update(broker_heartbeat=0, broker_transport_options={})  # it would wait without end\n"
    )
    with chaos.Proxy() as proxy:
        link = proxy.link(servers.rabbitmq.port)
        worker = site.start(
            *("--pool", pool, "--concurrency", "1"),
            CELERY_BROKER_URL=site.environment["CELERY_BROKER_URL"].replace(str(servers.rabbitmq.port), str(link.port)),
            SHUTDOWN_GRACE="1" if when == "before" else "3600",
            EXECUTION_LEASE="600",
            TASK_MODULES="patient",
            PYTHONPATH=str(tmp_path),
        )
        execution_id = site.enqueue(label, hold=True)
        recorder.wait_for_calls(label, 1)
        if when == "before":
            link.hold()
            worker.process.terminate()
        else:
            worker.signal(signal.SIGTERM)
            wait_until(lambda: pool == "solo" or worker.lines("worker_stopping"), "it is stopping")
            link.hold()
            recorder.release(label)
        assert worker.wait(60) == 0, worker.log
    assert stored(site.database, execution_id).state is (State.PENDING if when == "before" else State.SUCCEEDED)
    assert len(worker.lines("broker_away")) == 1, worker.log
    assert "Traceback" not in worker.log


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def metrics_ports(worker: Worker) -> set[int]:
    return {int(port) for line in worker.lines("metrics_serving") for port in re.findall(r":(\d+)/metrics", line)}


def test_workers_on_one_host_have_names_and_metrics_of_their_own(site: Site):
    first, second = site.start("--concurrency", "1"), site.start("--concurrency", "1")
    names = [name for answer in site.app.control.ping(timeout=30, limit=2) or [] for name in answer]
    assert sorted(names) == sorted([first.node, second.node])
    (one,), (other,) = metrics_ports(first), metrics_ports(second)
    assert one == int(site.environment["WORKER_METRICS_PORT"])
    assert other > one
    for port in (one, other):
        assert "scheduler_worker_running 0.0" in metrics(port)


def runs_in(site: Site, execution_id: str) -> int:
    """Return the process that runs an execution: of a worker with several, the lease names it."""
    row = site.database.executions.find_one({"_id": execution_id}, {"lease": 1})
    assert row is not None
    return int(row["lease"]["pid"])


def is_state(site: Site, execution_id: str, state: State) -> Callable[[], bool]:
    return lambda: stored(site.database, execution_id).state is state


def wait_for_loss(site: Site, execution_id: str, times: int = 1) -> None:
    """Wait until an attempt was taken from a dead process, and send its message as beat does.

    The broker has sent it again: the copy came before, or it has begun the next attempt.
    """
    wait_until(
        lambda: stored(site.database, execution_id).workers_lost == times, f"it was taken; logs:\n{site.logs()[-5000:]}"
    )
    if stored(site.database, execution_id).state is State.PENDING:
        site.send(execution_id)


def test_an_attempt_whose_process_dies_is_due_again_at_once_and_no_other_is_touched(
    site: Site, recorder: Recorder, label: str
):
    worker = site.start("--pool", "prefork", "--concurrency", "2", EXECUTION_LEASE="3600")
    assert "(prefork)" in worker.log
    ids = [site.enqueue(f"{label}-{number}", hold=True) for number in range(2)]
    for number in range(2):
        recorder.wait_for_calls(f"{label}-{number}", 1)
    assert len(metrics_ports(worker)) == 2, "each process serves its own"
    assert sorted("scheduler_worker_running 1.0" in metrics(port) for port in metrics_ports(worker)) == [True, True]

    lost, survivor = ids
    victim = runs_in(site, lost)
    assert runs_in(site, survivor) != victim
    os.kill(victim, signal.SIGKILL)
    wait_for_loss(site, lost)
    row = stored(site.database, lost)
    why = f"process {victim} of worker {stored(site.database, survivor).worker} died by signal 9 (SIGKILL)"
    (taken,) = (step for step in row.transitions if step.reason == why)
    assert taken.state is State.PENDING
    assert row.due_at is not None
    assert row.due_at <= taken.at
    wait_until(lambda: site.result(lost).state == "RETRY", "Redis has it")
    wait_until(lambda: worker.lines("attempt_orphaned"), "it was logged")
    recorder.wait_for_calls(f"{label}-0", 2)
    for number in range(2):
        recorder.release(f"{label}-{number}")
    assert {site.ended(each) for each in ids} == {State.SUCCEEDED}
    assert [call.metadata["x-attempt"] for call in recorder.calls(f"{label}-0")] == ["1", "2"]
    assert stored(site.database, lost).workers_lost == 1
    assert len(recorder.calls(f"{label}-1")) == 1
    worker.process.terminate()
    assert worker.wait() == 0, worker.log
    assert "Traceback" not in worker.log


def test_an_attempt_whose_process_dies_ends_for_good_where_its_job_asks_for_that(
    site: Site, recorder: Recorder, label: str
):
    site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600")
    execution_id = site.enqueue(label, hold=True, policies={"on_worker_lost": "FAIL"})
    recorder.wait_for_calls(label, 1)
    os.kill(runs_in(site, execution_id), signal.SIGKILL)
    assert site.ended(execution_id) is State.FAILED
    error = stored(site.database, execution_id).error
    assert error is not None
    assert error.code == "WORKER_LOST"
    wait_until(lambda: site.result(execution_id).state == "FAILURE", "Redis has it")
    assert site.ended(site.enqueue(f"{label}-next")) is State.SUCCEEDED, "the slot is free"


def test_an_attempt_whose_process_dies_while_the_store_is_away_is_taken_from_it_when_it_is_back(
    site: Site, servers: Servers, recorder: Recorder, label: str
):
    with Proxy(servers.mongodb.port) as proxy:
        url = site.environment["MONGODB_URL"].replace(str(servers.mongodb.port), str(proxy.port))
        waits = "serverSelectionTimeoutMS=500&connectTimeoutMS=500&socketTimeoutMS=500"
        worker = site.start(
            *("--pool", "prefork", "--concurrency", "1"),
            MONGODB_URL=f"{url}?directConnection=true&{waits}",
            EXECUTION_LEASE="3600",
        )
        execution_id = site.enqueue(label, hold=True)
        recorder.wait_for_calls(label, 1)
        victim = runs_in(site, execution_id)
        proxy.stall()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: worker.lines("store_away"), "the worker has tried")
        assert stored(site.database, execution_id).state is State.RUNNING
        assert site.app.control.ping(timeout=20, limit=1), "and is not held up by it"
        proxy.flow()
        wait_for_loss(site, execution_id)
        recorder.wait_for_calls(label, 2)
        recorder.release(label)
        assert site.ended(execution_id) is State.SUCCEEDED


def test_a_process_that_begins_while_its_worker_tells_redis_of_a_dead_one_runs_one_execution_after_the_other(
    site: Site, redis: Server, recorder: Recorder, label: str
):
    site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600")
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    with Redis.from_url(redis.url) as client:
        client.client_pause(3_600_000, all=False)  # what writes is not answered
        try:
            os.kill(runs_in(site, execution_id), signal.SIGKILL)
            wait_until(lambda: any(each["cmd"] == "evalsha" for each in client.client_list()), "Redis is told")
            wait_for_loss(site, execution_id)
            recorder.wait_for_calls(label, 2)
            os.kill(runs_in(site, execution_id), signal.SIGKILL)
            wait_for_loss(site, execution_id, 2)
            recorder.wait_for_calls(label, 3)
        finally:
            client.client_unpause()
    recorder.release(label)
    assert [site.ended(each) for each in (execution_id, site.enqueue(f"{label}-next"))] == [State.SUCCEEDED] * 2


def test_the_message_of_a_dead_process_that_comes_again_does_no_harm(site: Site, recorder: Recorder, label: str):
    """It comes before the attempt was taken from the process, or after: here both workers may get it."""
    workers = [site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600") for _ in range(2)]
    execution_id = site.enqueue(label, hold=True)
    for attempt in range(1, 4):
        recorder.wait_for_calls(label, attempt)
        os.kill(runs_in(site, execution_id), signal.SIGKILL)
        wait_for_loss(site, execution_id, attempt)
    recorder.wait_for_calls(label, 4)
    recorder.release(label)
    assert site.ended(execution_id) is State.SUCCEEDED
    assert [call.metadata["x-attempt"] for call in recorder.calls(label)] == ["1", "2", "3", "4"]
    assert not any("Traceback" in worker.log for worker in workers)


def test_a_process_that_outlasts_its_time_limit_is_killed_and_its_attempt_has_failed(
    site: Site, recorder: Recorder, label: str
):
    worker = site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600")
    execution_id = site.enqueue(label, hold=True, time_limits=(5, None))  # for us to look at it as long as it runs
    recorder.wait_for_calls(label, 1)
    victim = runs_in(site, execution_id)
    wait_until(is_state(site, execution_id, State.PENDING), f"the attempt has failed; log:\n{worker.log}")
    row = stored(site.database, execution_id)
    assert (row.attempt, row.workers_lost) == (1, 0)
    assert row.error is not None
    assert (row.error.code, row.error.retryable) == ("DEADLINE_EXCEEDED", True)
    assert row.error.message == "it did not end within 5 s, and its process was killed"
    assert row.due_at is not None
    assert row.due_at > row.transitions[-1].at, "it waits as after any failure"
    assert recorder.calls(label)[0].ended.wait(60), "nobody waits for the answer any more"
    wait_until(lambda: not Path(f"/proc/{victim}").exists(), "the process is gone")
    for_good = site.enqueue(f"{label}-for-good", hold=True, time_limits=(1, None), retry=ONCE)
    assert site.ended(for_good) is State.FAILED
    wait_until(lambda: site.result(for_good).state == "FAILURE", "Redis has it")
    assert site.ended(site.enqueue(f"{label}-next", time_limits=(600, 300))) is State.SUCCEEDED
    assert "Traceback" not in worker.log


def test_the_threads_pool_heeds_no_time_limit_in_a_message(busy: Site, recorder: Recorder, label: str):
    limited = busy.enqueue(label, hold=True, time_limits=(0.5, 0.1))
    recorder.wait_for_calls(label, 1)
    later = busy.enqueue(f"{label}-later", seconds=1.5)
    assert busy.ended(later) is State.SUCCEEDED
    assert stored(busy.database, limited).state is State.RUNNING
    recorder.release(label)
    assert busy.ended(limited) is State.SUCCEEDED


def test_a_process_is_replaced_after_its_number_of_attempts_and_nothing_is_lost(
    site: Site, recorder: Recorder, label: str
):
    worker = site.start(
        *("--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", "3"),
        WORKER_MAX_TASKS_PER_CHILD="2",
        EXECUTION_LEASE="3600",
    )
    ids = [site.enqueue(f"{label}-{number}") for number in range(20)]
    assert {site.ended(each) for each in ids} == {State.SUCCEEDED}
    for number in range(20):
        assert len(recorder.calls(f"{label}-{number}")) == 1
    processes = len(worker.lines("metrics_serving"))
    assert 20 // 3 <= processes <= 20 // 3 + 3, "the command line wins"
    assert not worker.lines("attempt_orphaned")
    worker.process.terminate()
    assert worker.wait() == 0, worker.log
    assert "Traceback" not in worker.log


def test_the_pool_grows_with_the_work_and_shrinks_without_ending_what_runs(site: Site, recorder: Recorder, label: str):
    worker = site.start("--pool", "prefork", "--autoscale", "4,1", AUTOSCALE_KEEPALIVE="1", EXECUTION_LEASE="3600")

    def processes() -> int:
        (stats,) = (site.app.control.inspect(timeout=30, limit=1).stats() or {}).values()
        return len(stats["pool"]["processes"])

    assert processes() == 1
    ids = [site.enqueue(f"{label}-{number}", hold=True) for number in range(6)]
    for number in range(4):
        recorder.wait_for_calls(f"{label}-{number}", 1)
    assert processes() == 4
    assert site.publisher.ready_counts([QUEUE])[QUEUE] == 2, "it takes no more than it can run"
    for number in (0, 1, 2, 4, 5):
        recorder.release(f"{label}-{number}")
    assert {site.ended(ids[number]) for number in (0, 1, 2, 4, 5)} == {State.SUCCEEDED}
    wait_until(lambda: processes() < 3, f"the pool has shrunk; log:\n{worker.log}")
    assert stored(site.database, ids[3]).state is State.RUNNING
    more = [site.enqueue(f"{label}-more-{number}") for number in range(10)]
    assert {site.ended(each) for each in more} == {State.SUCCEEDED}
    recorder.release(f"{label}-3")
    assert site.ended(ids[3]) is State.SUCCEEDED
    wait_until(lambda: processes() == 1, f"the pool is as small as at first; log:\n{worker.log}")
    assert sum(stored(site.database, each).workers_lost for each in (*ids, *more)) == 0
    assert {len(recorder.calls(f"{label}-{number}")) for number in range(6)} == {1}
    worker.process.terminate()
    assert worker.wait() == 0, worker.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_a_signal_that_reaches_a_pool_process_as_well_cuts_no_attempt_off(
    site: Site, recorder: Recorder, label: str, number: signal.Signals
):
    site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600")
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    process = runs_in(site, execution_id)
    os.kill(process, number)
    wait_until(lambda: not is_pending(process, number), "the process has taken it")
    recorder.release(label)
    assert site.ended(execution_id) is State.SUCCEEDED
    assert len(recorder.calls(label)) == 1


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_an_execution_that_is_revoked_before_it_runs_is_cancelled(
    site: Site, recorder: Recorder, label: str, pool: str
):
    worker = site.start("--pool", pool, "--concurrency", "1")
    first = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    second = site.enqueue(f"{label}-revoked")
    assert site.app.control.revoke(second, reply=True, timeout=30, limit=1)
    recorder.release(label)
    assert site.ended(second) is State.CANCELLED
    assert site.ended(first) is State.SUCCEEDED
    assert stored(site.database, second).transitions[-1].reason == "it was revoked"
    assert not recorder.calls(f"{label}-revoked")
    assert "Traceback" not in worker.log


def test_an_execution_that_is_revoked_with_its_process_is_cancelled(site: Site, recorder: Recorder, label: str):
    worker = site.start("--pool", "prefork", "--concurrency", "1", EXECUTION_LEASE="3600")
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    site.app.control.revoke(execution_id, terminate=True)
    assert site.ended(execution_id) is State.CANCELLED
    assert recorder.calls(label)[0].ended.wait(60)
    assert site.ended(site.enqueue(f"{label}-next")) is State.SUCCEEDED
    wait_until(lambda: str(site.result(execution_id).state) == "REVOKED", "Redis has it")
    assert "Traceback" not in worker.log


def test_a_killed_worker_never_runs_an_attempt_twice_at_once(site: Site, recorder: Recorder, label: str):
    first = site.start("--concurrency", "1")
    second = site.start("--concurrency", "1")
    execution_id = site.enqueue(label, hold=True)
    recorder.wait_for_calls(label, 1)
    holder, other = (first, second) if first.name in stored(site.database, execution_id).worker else (second, first)
    holder.kill()
    wait_until(lambda: other.lines("message_stray"), "the broker handed the message to the other")
    assert stored(site.database, execution_id).attempt == 1
    assert rescue(site.database, execution_id)
    site.send(execution_id)
    recorder.wait_for_calls(label, 2)
    recorder.release(label)
    assert site.ended(execution_id) is State.SUCCEEDED
    row = stored(site.database, execution_id)
    assert (row.attempt, row.workers_lost) == (2, 1)
    assert row.worker.startswith(other.name)


@pytest.mark.parametrize("option", ["-Q", "-X"])
def test_a_queue_that_is_not_configured_is_named_at_start_with_those_that_are(site: Site, option: str):
    worker = Worker(site.folder, site.environment, option, "scrapping,manual")
    assert worker.wait() == 1
    assert worker.log == (
        f"error: {option}: scrapping is not a configured queue (queues.yaml in CONFIG_DIR has analysis, cpu, "
        "default_queue, maintenance, manual, monitoring, scraping)\n"
    )


def test_help_says_what_a_worker_is_before_celerys_own_help(site: Site):
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "--help"],
        cwd=ROOT,
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("A worker of the scheduler")
    assert "--concurrency" in ended.stdout


def test_only_a_pool_that_can_grow_takes_autoscale(site: Site):
    worker = Worker(site.folder, site.environment, "--autoscale=10,3")
    assert worker.wait() == 1
    assert worker.log == (
        "error: --autoscale: only the prefork pool grows and shrinks, and this is threads; add --pool prefork\n"
    )


def test_the_solo_pool_is_not_told_to_run_several_at_a_time(site: Site):
    worker = Worker(site.folder, site.environment, "--pool", "solo", "-c", "4")
    assert worker.wait() == 1
    assert worker.log == "error: --concurrency: the solo pool runs one at a time, not 4\n"


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("targets.yaml", "targets: [", "targets.yaml"),
        ("targets.yaml", "targets:\n  shop:\n    adress: x:1\n", "adress"),
        ("queues.yaml", "queues: {}", "queues.yaml"),
    ],
)
def test_wrong_configuration_ends_the_worker_with_one_sentence(
    site: Site, tmp_path: Path, file: str, text: str, named: str
):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config" / file).write_text(text)
    worker = Worker(tmp_path, {**site.environment, "CONFIG_DIR": str(tmp_path / "config")})
    assert worker.wait() != 0
    assert named in worker.log
    assert worker.log.startswith("error: ")
    assert "Traceback" not in worker.log
