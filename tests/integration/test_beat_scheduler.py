"""The scheduler class that Celery constructs: it connects when it has to, and nothing ends it but being asked to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from threading import Event
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest

from beat.look import Look, Sought
from beat.partitions import Partitions
from beat.scheduler import DatabaseScheduler, _Housekeeping
from dev.mongodb import start_mongodb
from dev.server import free_port
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import Settings, load_settings
from shared.store import executions
from shared.store.jobs import PARTITIONS, to_job
from shared.store.mongo import connect
from tests.builders import every, job_document, own_vhost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from pymongo.database import Database

    from dev.servers import Servers

Db: TypeAlias = "Database[dict[str, Any]]"

ROOT = Path(__file__).parents[2]

(EXAMPLE,) = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "beat-schedule.md").read_text(), re.MULTILINE | re.DOTALL
)
"""The module that the documentation shows."""
HOOK = """
@celery_app.on_after_finalize.connect
def add(sender, **_):
    sender.add_periodic_task(60.0, report.s("us"), name="added")
"""


@pytest.fixture
def environment(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lead the processes' settings to a broker's part of its own, and to free ports."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("CELERY_BROKER_URL", own_vhost(servers.rabbitmq))
    monkeypatch.setenv("CELERY_RESULT_BACKEND", servers.redis.url)
    monkeypatch.setenv("BEAT_METRICS_PORT", str(free_port()))
    monkeypatch.setenv("PARTITION_LEASE", "1")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield monkeypatch
    for number, handler in handlers.items():
        signal.signal(number, handler)


def make_celery() -> Celery:
    settings = load_settings()
    return make_app(settings, load_queues(settings.config_dir))


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not come"
        sleep(0.02)


def put_job(database: Db, job_id: str = "job-1") -> None:
    created = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=2)
    database.jobs.insert_one(job_document(job_id, every(anchor=created), created=created))


def fires(database: Db, job_id: str = "job-1") -> int:
    return database.executions.count_documents({"job_id": job_id, "run": True})


def test_a_wrong_calendar_stops_the_start_with_a_sentence(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config" / "calendars" / "ours.txt").write_text("2030-01-01\n")
    environment.setenv("CONFIG_DIR", str(tmp_path / "config"))
    environment.setenv("MONGODB_URL", f"mongodb://127.0.0.1:{free_port()}/x")
    ended = subprocess.run(
        [sys.executable, "-m", "beat"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "ours.txt: a calendar is a file *.yaml or *.ics" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_lazy_one_connects_to_nothing(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MONGODB_URL", f"mongodb://127.0.0.1:{free_port()}/x")
    app = make_celery()
    lazy = DatabaseScheduler(app, lazy=True)
    assert not hasattr(lazy, "_database")
    lazy.close()
    lazy.close()


def test_partitions_are_renewed_in_their_rhythm_however_long_the_rest_of_a_round_takes(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TakesLong:
        def run_once(self) -> None:
            clock.append(clock[-1] + 0.75)

    class Counting(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return len(waited) > 2

    clock, waited = [100.0], list[float | None]()
    partitions = Partitions(database, "beat", timedelta(seconds=3))
    look = Look(database, partitions, overdue=Sought(executions.COLLECTION, (executions.expired_filter,)))
    monkeypatch.setattr("beat.scheduler.monotonic", lambda: clock[-1])
    housekeeping = _Housekeeping(partitions, look, [], [TakesLong().run_once], interval=1.0)
    housekeeping._stopping = Counting()
    housekeeping.run()
    assert waited == [1.0, 0.25, 1.0]


@pytest.mark.parametrize("is_overdue", [False, True])
def test_the_housekeeping_looks_closer_only_where_there_is_something_to_find(database: Db, *, is_overdue: bool) -> None:
    class Duty:
        def run_once(self) -> None:
            done.append("looks closer")

    class Once(Event):
        def wait(self, timeout: float | None = None) -> bool:
            del timeout
            return bool(done)

    done = list[str]()
    if is_overdue:
        ended = {"expires_at": datetime.now(UTC) - timedelta(hours=1), "length": 1000}
        database.executions.insert_one({"_id": "lost", "schema": 1, "partition": 1, "state": "RUNNING", "lease": ended})
    partitions = Partitions(database, "beat", timedelta(minutes=1))
    partitions.prepare()
    look = Look(database, partitions, overdue=Sought(executions.COLLECTION, (executions.expired_filter,)))
    rests = [lambda: done.append("has its rhythm")]
    housekeeping = _Housekeeping(partitions, look, [cast("Any", Duty())], rests, interval=1.0)
    housekeeping._stopping = Once()
    housekeeping.run()
    assert done == (["looks closer"] if is_overdue else ["has its rhythm"])


def test_it_waits_for_a_store_that_is_away_and_survives_when_it_goes_again(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = start_mongodb(tmp_path)
    server.kill()
    environment.setenv("MONGODB_URL", f"{server.url}?serverSelectionTimeoutMS=300")
    beat = DatabaseScheduler(make_celery())
    try:
        assert beat.tick() > 0
        for job_id in ("before", "after"):
            server.start()
            database = connect(server.url)
            put_job(database, job_id)

            def fired(database: Db = database, job_id: str = job_id) -> bool:
                beat.tick()
                return fires(database, job_id) > 0

            wait_until(fired)
            database.client.close()
            server.kill()
            assert beat.tick() > 0
        server.start()
    finally:
        beat.close()
        beat.close()
        server.kill()


def test_a_tick_raises_nothing_whatever_the_store_holds(
    environment: pytest.MonkeyPatch, database: Db, database_url: str
) -> None:
    environment.setenv("MONGODB_URL", database_url)
    put_job(database, "good")
    database.jobs.insert_one({"_id": "alien", "partition": 0, "wake_at": datetime.now(UTC), "uid": "alien"})
    put_job(database, "incomplete")
    database.jobs.update_one({"_id": "incomplete"}, {"$unset": {"target_method": ""}})
    beat = DatabaseScheduler(make_celery())
    try:
        for _ in range(3):
            assert beat.tick() >= 0
    finally:
        beat.close()
    assert fires(database, "good")
    assert database.jobs.count_documents({"state": "ERROR", "wake_at": None}) == 2


def test_the_one_that_comes_first_makes_small_pages_for_jobs(
    environment: pytest.MonkeyPatch, database_url: str
) -> None:
    environment.setenv("MONGODB_URL", database_url)
    beat = DatabaseScheduler(make_celery())
    beat.tick()
    beat.close()
    client = connect(database_url).client
    made = client.get_default_database().command("collStats", "jobs")["wiredTiger"]["creationString"]
    client.close()
    assert "leaf_page_max=8KB" in made


def test_closed_it_has_sent_what_it_fired_and_given_its_partitions_back(
    environment: pytest.MonkeyPatch, database: Db, database_url: str
) -> None:
    environment.setenv("MONGODB_URL", database_url)
    put_job(database)
    beat = DatabaseScheduler(make_celery())

    def fired() -> bool:
        # A tick fires nothing when preparing took longer than the leases, until the housekeeping has renewed them.
        beat.tick()
        return fires(database) > 0

    wait_until(fired)
    beat.close()
    assert {row["state"] for row in database.executions.find({"run": True})} == {"QUEUED"}
    assert database.partitions.count_documents({"holder": {"$exists": True}}) == 0
    assert database.beats.count_documents({}) == 0
    beat.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_beat_fires_and_ends_well_when_it_is_asked_to(
    environment: pytest.MonkeyPatch, database: Db, database_url: str, number: signal.Signals
) -> None:
    environment.setenv("MONGODB_URL", database_url)
    put_job(database)
    beat = subprocess.Popen([sys.executable, "-m", "beat"], cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE)
    try:
        wait_until(lambda: fires(database) > 0)
        assert database.partitions.count_documents({"holder": {"$exists": True}}) == PARTITIONS
        wait_until(lambda: database.processes.count_documents({"kind": "BEAT"}) == 1)
        beat.send_signal(number)
        _, log = beat.communicate(timeout=60)
    finally:
        beat.kill()
        beat.wait()
    assert beat.returncode == 0, log.decode()
    assert "Traceback" not in log.decode()
    assert database.processes.count_documents({}) == 0
    assert database.rolling_up.count_documents({"holder": {"$exists": True}}) == 0
    assert database.partitions.count_documents({"holder": {"$exists": True}}) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--help"], 0, "usage: python -m beat"), (["--nonsense"], 2, "unrecognized arguments: --nonsense")],
)
def test_arguments_start_no_beat(
    environment: pytest.MonkeyPatch, arguments: list[str], code: int, said: str, database: Db, database_url: str
) -> None:
    environment.setenv("MONGODB_URL", database_url)
    ended = subprocess.run(
        [sys.executable, "-m", "beat", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code
    assert said in ended.stdout + ended.stderr
    assert database.beats.count_documents({}) == 0


INTERRUPTED = """
import os, runpy, sys

class Interrupt:
    @staticmethod
    def find_spec(name, *_):
        if name == "beat.rescue":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Interrupt)
sys.argv[1:] = []
runpy.run_module("beat", run_name="__main__")
"""
"""A beat that gets a signal while it imports its scheduler."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("environment")
def test_a_beat_that_is_stopped_while_it_starts_ends_quietly(number: signal.Signals) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(number=int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert "beat starts" not in ended.stderr


class TestTaskModules:
    """With a module of a user's."""

    @pytest.fixture
    def module(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        (tmp_path / "app").mkdir()
        environment.setenv("PYTHONPATH", str(tmp_path))
        environment.setenv("TASK_MODULES", "app.tasks")
        return tmp_path / "app" / "tasks.py"

    def test_a_wrong_entry_stops_the_start_with_a_sentence_that_names_it(
        self, module: Path, environment: pytest.MonkeyPatch
    ) -> None:
        environment.setenv("MONGODB_URL", f"mongodb://127.0.0.1:{free_port()}/x")
        module.write_text(
            "from worker.app import celery_app\n"
            "celery_app.conf.beat_schedule = {'a': {'task': 'nowhere', 'schedule': 0.5}}\n"
        )
        ended = subprocess.run(
            [sys.executable, "-m", "beat"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 1
        assert "error: beat_schedule['a'].schedule: every 0.5 s: an interval is of whole seconds" in ended.stderr
        assert "beat_schedule['a'].task: 'nowhere' is not a task" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_its_entries_are_jobs_once_beat_is_there(
        self, module: Path, environment: pytest.MonkeyPatch, database: Db, database_url: str
    ) -> None:
        environment.setenv("MONGODB_URL", database_url)
        module.write_text(EXAMPLE + HOOK)
        with subprocess.Popen([sys.executable, "-m", "beat"], cwd=ROOT, stderr=subprocess.DEVNULL) as beat:
            try:
                wait_until(lambda: database.jobs.count_documents({}) == 2)
            finally:
                beat.terminate()
            assert beat.wait(60) == 0
        assert to_job(database.jobs.find_one({"_id": "added"}) or {}).definition.parameters == {"region": "us"}
        found = to_job(database.jobs.find_one({"_id": "nightly-report"}) or {})
        definition = found.definition
        assert (definition.name, definition.queue, definition.priority) == ("Nightly report", "maintenance", 8)
        assert definition.schedule.config == {"expression": "0 3 * * MON-FRI"}
        assert (definition.parameters, definition.expires) == ({"region": "eu", "days": 7}, timedelta(minutes=15))
