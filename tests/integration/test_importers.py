"""The importers on real stores: a beat's file, tables of django-celery-beat, keys of redbeat, and a real server."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import yaml
from redis import Redis

from dev.server import free_port
from importers.entries import job_id
from scheduler_service.jobs.seed import read_seed
from scheduler_service.transport.refusals import TookTooLong
from shared.proto import scheduler_service_pb2 as pb
from shared.tasks.registry import Tasks
from shared.tasks.task import LedgeredTask
from tests.integration.test_server_harness import Running, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pymongo.database import Database

    from dev.servers import Servers

Db: TypeAlias = "Database[dict[str, Any]]"

ROOT = Path(__file__).resolve().parents[2]

APP = """
from celery import Celery
from celery.schedules import crontab

app = Celery("proj", broker="memory://")
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "Nightly report": {
        "task": "app.tasks.report",
        "schedule": crontab(hour=3, minute=0, day_of_week="mon-fri"),
        "args": ("eu",),
        "options": {"queue": "manual", "expires": 900},
    },
    "often": {"task": "app.tasks.report", "schedule": 30.0, "kwargs": {"region": "us", "days": 2}},
    "too often": {"task": "app.tasks.report", "schedule": 0.1, "args": ("eu",)},
    "wrong": {"task": "app.tasks.report", "schedule": 60, "args": (), "arguments": ()},
}

@app.task(name="app.tasks.report")
def report(region, days=1): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(APP)
    return tmp_path


@pytest.fixture
def kept(project: Path) -> str:
    return keep(project)


def keep(project: Path, **settings: Any) -> str:
    """Have Celery's own beat make a file of the project's entries, but for the one it can't read; return its name."""
    name = "celerybeat-schedule"
    make = "import proj; from celery.beat import PersistentScheduler; del proj.app.conf.beat_schedule['wrong'];"
    make += f" proj.app.conf.update({settings}); PersistentScheduler(proj.app, schedule_filename='{name}').close()"
    subprocess.run([sys.executable, "-c", make], cwd=project, check=True, timeout=60)
    return name


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the importers in a folder, as from a project's root."""
    return subprocess.run(
        [sys.executable, "-m", "importers", *map(str, arguments)],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def jobs_in(ended: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Return the printed jobs by their ids."""
    return {job["job_id"]: job for job in yaml.safe_load(ended.stdout)["jobs"]}


def left_in(ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return what was left out, and why, by name."""
    lines = [line.removeprefix("left out: ").partition(": ") for line in ended.stderr.splitlines()]
    return {name: why for name, _, why in lines}


def schedule_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["schedule_config"])


class TestCelery:
    def test_an_app_s_entries_are_printed_as_preconfigured_jobs(self, project: Path) -> None:
        ended = run("celery", "--app", "proj:app", folder=project)
        assert jobs_in(ended) == {
            "nightly-report": {
                "job_id": "nightly-report",
                "name": "Nightly report",
                "job_type": "CUSTOM",
                "target_service": "task",
                "target_method": "app.tasks.report",
                "parameters": {"region": "eu"},
                "schedule_config": {
                    "type": "cron",
                    "config": {"expression": "0 3 * * MON-FRI"},
                    "timezone": "Europe/Berlin",
                },
                "queue": "manual",
                "expires": "900s",
            },
            "often": {
                "job_id": "often",
                "name": "often",
                "job_type": "CUSTOM",
                "target_service": "task",
                "target_method": "app.tasks.report",
                "parameters": {"region": "us", "days": 2},
                "schedule_config": {"type": "interval", "config": {"every": "30s"}},
            },
        }
        left = left_in(ended)
        assert left["too often"] == "schedule: every 0.1 s: an interval is of whole seconds, at least one"
        assert left["wrong"].startswith("Celery itself can't read it")
        assert ended.returncode == 1

    def test_the_file_of_a_beat_is_read_and_the_app_names_its_arguments(self, project: Path, kept: str) -> None:
        ended = run("celery", "--file", kept, "--app", "proj:app", folder=project)
        assert list(jobs_in(ended)) == ["nightly-report", "often"]
        assert schedule_of(jobs_in(ended)["nightly-report"])["timezone"] == "Europe/Berlin"
        assert jobs_in(ended)["nightly-report"]["parameters"] == {"region": "eu"}
        alone = run("celery", "--file", kept, folder=project)
        assert list(jobs_in(alone)) == ["often"]
        assert "only the task knows their names; give the app that has it, by --app" in left_in(alone)["Nightly report"]

    def test_the_file_of_a_beat_that_goes_by_its_host_s_clock_is_refused_as_its_app_is(self, project: Path) -> None:
        keep(project, timezone=None, enable_utc=False)
        ended = run("celery", "--file", "celerybeat-schedule", "--app", "proj:app", folder=project)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "enable_utc=False and no timezone, so its times are those of whatever host it runs on" in ended.stderr

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "give --app, or --file, or both"),
            (["--app", "nowhere:app"], "--app nowhere:app: ModuleNotFoundError: No module named 'nowhere'"),
            (["--file", "nowhere"], "nowhere: it can't be read as a schedule of Celery's beat"),
        ],
    )
    def test_what_cannot_be_read_is_said_in_one_sentence(
        self, project: Path, arguments: list[str], sentence: str
    ) -> None:
        ended = run("celery", *arguments, folder=project)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(sentence)
        assert "Traceback" not in ended.stderr


# As the migrations of django-celery-beat 2.9.0 make them.
TABLES = """
CREATE TABLE "django_celery_beat_intervalschedule" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "every" integer NOT NULL, "period" varchar(24) NOT NULL);
CREATE TABLE "django_celery_beat_solarschedule" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "event" varchar(24) NOT NULL, "latitude" decimal NOT NULL, "longitude" decimal NOT NULL);
CREATE TABLE "django_celery_beat_clockedschedule" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "clocked_time" datetime NOT NULL);
CREATE TABLE "django_celery_beat_crontabschedule" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "minute" varchar(240) NOT NULL, "hour" varchar(96) NOT NULL, "day_of_week" varchar(64) NOT NULL,
  "day_of_month" varchar(124) NOT NULL, "month_of_year" varchar(64) NOT NULL, "timezone" varchar(63) NOT NULL);
CREATE TABLE "django_celery_beat_periodictask" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  "name" varchar(200) NOT NULL UNIQUE, "task" varchar(200) NOT NULL, "args" text NOT NULL, "kwargs" text NOT NULL,
  "queue" varchar(200) NULL, "exchange" varchar(200) NULL, "routing_key" varchar(200) NULL, "expires" datetime NULL,
  "enabled" bool NOT NULL, "last_run_at" datetime NULL, "total_run_count" integer unsigned NOT NULL,
  "date_changed" datetime NOT NULL, "description" text NOT NULL,
  "crontab_id" integer NULL REFERENCES "django_celery_beat_crontabschedule" ("id"),
  "interval_id" integer NULL REFERENCES "django_celery_beat_intervalschedule" ("id"),
  "solar_id" integer NULL REFERENCES "django_celery_beat_solarschedule" ("id"),
  "one_off" bool NOT NULL, "start_time" datetime NULL, "priority" integer unsigned NULL, "headers" text NOT NULL,
  "clocked_id" integer NULL REFERENCES "django_celery_beat_clockedschedule" ("id"),
  "expire_seconds" integer unsigned NULL);
INSERT INTO "django_celery_beat_intervalschedule" VALUES (1, 90, 'minutes'), (2, 500, 'microseconds');
INSERT INTO "django_celery_beat_solarschedule" VALUES (1, 'sunset', 1, 2);
INSERT INTO "django_celery_beat_clockedschedule" VALUES (1, '2090-01-31 08:00:00'), (2, '2020-01-31 08:00:00');
INSERT INTO "django_celery_beat_crontabschedule" VALUES (1, '30', '8, 20', 'mon-fri', '*', '*', 'Europe/Berlin');
"""
PERIODIC: dict[str, dict[str, Any]] = {
    "Nightly report": {
        "crontab": 1,
        "kwargs": '{"region": "eu", "days": 7}',
        "queue": "manual",
        "priority": 4,
        "expire_seconds": 900,
        "description": "What happened yesterday.",
    },
    "often": {"interval": 1, "args": '["eu", 3]'},
    "begins": {"interval": 1, "start_time": "2090-01-01 00:00:00"},
    "ends": {"interval": 1, "expires": "2090-01-01 00:00:00"},
    "then": {"clocked": 1, "one_off": 1},
    "first time only": {"crontab": 1, "one_off": 1},
    "off": {"interval": 1, "enabled": 0, "kwargs": '{"region": "us"}'},
    "Often!": {"interval": 1},
    "at sunset": {"solar": 1},
    "too fast": {"interval": 2},
    "routed": {"interval": 1, "exchange": "x", "headers": '{"a": 1}'},
    "urgent": {"interval": 1, "priority": 200},
    "torn": {"interval": 1, "kwargs": "{"},
    "gone": {"interval": 77},
    "long ago": {"clocked": 2, "one_off": 1},
    "has run": {"crontab": 1, "one_off": 1, "total_run_count": 1},
    "ended": {"interval": 1, "expires": "2020-01-01 00:00:00"},
    "celery.backend_cleanup": {"crontab": 1, "task": "celery.backend_cleanup"},
}
USUAL: dict[str, Any] = {
    "task": "app.tasks.report",
    "args": "[]",
    "kwargs": "{}",
    "headers": "{}",
    "description": "",
    "enabled": 1,
    "one_off": 0,
    "total_run_count": 0,
    "date_changed": "2026-01-01 00:00:00",
}
SCHEDULES = ("interval", "crontab", "solar", "clocked")


class TestDjango:
    @pytest.fixture
    def sqlite(self, tmp_path: Path) -> Path:
        path = tmp_path / "db.sqlite3"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(TABLES)
            for name, given in PERIODIC.items():
                row = USUAL | {"name": name} | given
                columns = [f"{key}_id" if key in SCHEDULES else key for key in row]
                marks = ", ".join("?" * len(row))
                insert = f"INSERT INTO django_celery_beat_periodictask ({', '.join(columns)}) VALUES ({marks})"
                connection.execute(insert, list(row.values()))
        return path

    def test_the_tables_of_an_sqlite_file_are_jobs(self, sqlite: Path) -> None:
        ended = run("django", "--sqlite", sqlite, folder=sqlite.parent)
        jobs = jobs_in(ended)
        report = jobs.pop("nightly-report")
        assert (report["queue"], report["priority"], report["expires"]) == ("manual", 4, "900s")
        assert (report["parameters"], report["description"]) == (
            {"region": "eu", "days": 7},
            "What happened yesterday.",
        )
        assert {job_id: schedule_of(job) for job_id, job in jobs.items()} == {
            "begins": {"type": "interval", "config": {"every": "1h30m"}, "start_time": "2089-12-31T22:30:00Z"},
            "ends": {"type": "interval", "config": {"every": "1h30m"}, "end_time": "2090-01-01T00:00:00Z"},
            "then": {"type": "once", "config": {"at": "2090-01-31T08:00:00Z"}},
            "first-time-only": schedule_of(report) | {"max_runs": 1},
            job_id("Often!", ["often"]): {"type": "interval", "config": {"every": "1h30m"}},
        }
        assert schedule_of(report) == {
            "type": "cron",
            "config": {"expression": "30 8,20 * * MON-FRI"},
            "timezone": "Europe/Berlin",
        }
        assert ended.returncode == 1

    def test_what_becomes_no_job_is_said_with_the_reason(self, sqlite: Path) -> None:
        left = left_in(run("django", "--sqlite", sqlite, folder=sqlite.parent))
        assert {name: why[:48] for name, why in left.items()} == {
            "off": "it is disabled; --apply creates it paused",
            "often": "args: they are positional, and only the task kno",
            "at sunset": "schedule: solar schedules are not supported: 'su",
            "too fast": "schedule: every 0.0005 s: an interval is of whol",
            "routed": "options.exchange: name a queue instead; options.",
            "urgent": "priority: 200 is not a priority (0-9)",
            "torn": "it can't be read: Expecting property name enclos",
            "gone": "its schedule, interval 77, is not there; dump th",
            "long ago": "its time, 2020-01-31 08:00:00, has passed",
            "has run": "it was to run once, and has",
            "ended": "it ended at 2020-01-01T00:00:00Z",
            "celery.backend_cleanup": "celery.backend_cleanup is a task of Celery's own"[:48],
        }

    def test_a_dump_in_json_says_the_same_as_the_tables(self, sqlite: Path) -> None:
        dump = sqlite.with_name("dump.json")
        with closing(sqlite3.connect(sqlite)) as connection:
            connection.row_factory = sqlite3.Row
            rows = []
            for table in ("periodictask", *(f"{name}schedule" for name in SCHEDULES)):
                for row in connection.execute(f"SELECT * FROM django_celery_beat_{table}"):
                    fields = {key.removesuffix("_id"): row[key] for key in row.keys() if key != "id"}  # noqa: SIM118
                    fields |= {key: fields[key].replace(" ", "T") + "Z" for key in TIMES if fields.get(key)}
                    rows.append({"model": f"django_celery_beat.{table}", "pk": row["id"], "fields": fields})
        rows.append({"model": "auth.user", "pk": 1, "fields": {}})
        dump.write_text(json.dumps(rows))
        from_dump, from_tables = (
            run("django", *source, folder=sqlite.parent) for source in (("--dump", dump), ("--sqlite", sqlite))
        )
        assert from_dump.stdout == from_tables.stdout
        assert left_in(from_dump).keys() == left_in(from_tables).keys()

    def test_tables_of_an_old_release_lack_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "old.sqlite3"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(
                "CREATE TABLE django_celery_beat_crontabschedule (id integer, minute text, hour text,"
                " day_of_week text, day_of_month text, month_of_year text);"
                "CREATE TABLE django_celery_beat_periodictask (id integer, name text, task text, args text,"
                " kwargs text, crontab_id integer, interval_id integer, enabled bool);"
                "INSERT INTO django_celery_beat_crontabschedule VALUES (1, '0', '3', '*', '*', '*');"
                "INSERT INTO django_celery_beat_periodictask VALUES (1, 'old', 't', '[]', '{}', 1, NULL, 1);"
            )
        ended = run("django", "--sqlite", path, folder=tmp_path)
        assert schedule_of(jobs_in(ended)["old"])["config"] == {"expression": "0 3 * * *"}
        assert ended.returncode == 0

    def test_what_cannot_be_read_is_said_in_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("{}")
        for arguments, sentence in (
            ([], "give either --sqlite or --dump"),
            (["--sqlite", "nowhere"], "nowhere: there is no such file"),
            (["--sqlite", "other"], "other: it can't be read as an SQLite file"),
            (["--dump", "nowhere"], "nowhere: it can't be read as JSON of dumpdata: FileNotFoundError"),
        ):
            ended = run("django", *arguments, folder=tmp_path)
            assert ended.returncode == 2
            assert ended.stderr.startswith(sentence)


TIMES = ("start_time", "expires", "clocked_time")

# As redbeat 2.4.2 writes them; an rrule with all its keys.
RRULE = {
    "__type__": "rrule", "freq": 5, "interval": 1, "wkst": None, "count": None, "bysetpos": None, "bymonth": None,
    "bymonthday": None, "byyearday": None, "byeaster": None, "byweekno": None, "byweekday": None, "byhour": None,
    "byminute": None, "bysecond": None, "dtstart": 1577867400, "dtstart_tz": 0,
}  # fmt: skip
INTERVAL = {"__type__": "interval", "every": 60.0, "relative": False}
INSTANT = {
    "__type__": "datetime", "year": 2090, "month": 1, "day": 1, "hour": 8, "minute": 0, "second": 0, "microsecond": 0,
    "timezone": 3600.0,
}  # fmt: skip
CRONTAB = {
    "__type__": "crontab", "minute": 0, "hour": [3, 4], "day_of_week": "mon-fri", "day_of_month": "*",
    "month_of_year": "*",
}  # fmt: skip
REDBEAT: dict[str, dict[str, Any]] = {
    "every minute": {"schedule": INTERVAL, "kwargs": {"region": "eu"}, "options": {"queue": "manual", "expires": 30}},
    "nightly": {"schedule": CRONTAB, "kwargs": {"region": INSTANT}},
    "relative": {"schedule": INTERVAL | {"relative": True}},
    "span": {"schedule": RRULE | {"freq": 4, "interval": 6, "until": 3786940800, "until_tz": 0}},
    "once": {"schedule": RRULE | {"count": 1, "dtstart": 3786940800}},
    "off": {"schedule": INTERVAL, "enabled": False},
    "past": {"schedule": RRULE | {"count": 1}},
    "weekdays": {"schedule": RRULE | {"freq": 3, "byweekday": [0, 2]}},
    "counted": {"schedule": RRULE | {"count": 5}},
    "monthly": {"schedule": RRULE | {"freq": 1}},
    "expiring": {"schedule": INTERVAL, "options": {"expires": INSTANT}},
    "moody": {"schedule": {"__type__": "lunar"}},
}


class TestRedbeat:
    @pytest.fixture
    def redis_url(self, servers: Servers) -> Iterator[str]:
        """A database of its own, with what redbeat and others have in it."""
        url = f"{servers.redis.url.rsplit('/', 1)[0]}/9"
        with Redis.from_url(url) as redis:
            redis.flushdb()
            for name, given in REDBEAT.items():
                definition: dict[str, Any] = {"name": name, "task": "app.tasks.report", "args": None, "kwargs": {}}
                definition |= {"options": {}, "enabled": True} | given
                redis.hset(f"redbeat:{name}", mapping={"definition": json.dumps(definition), "meta": "{}"})
                redis.zadd("redbeat::schedule", {f"redbeat:{name}": 1})
            redis.set("redbeat::lock", "x")
            redis.hset("redbeat:torn", "definition", "{")
            redis.hset("redbeat:other", "field", "x")
            redis.hset("elsewhere:x", "definition", "{}")
            yield url
            redis.flushdb()

    def test_its_keys_are_jobs(self, redis_url: str, tmp_path: Path) -> None:
        ended = run("redbeat", "--url", redis_url, "--timezone", "Europe/Berlin", folder=tmp_path)
        jobs = jobs_in(ended)
        assert {job_id: schedule_of(job) for job_id, job in jobs.items()} == {
            "every-minute": {"type": "interval", "config": {"every": "1m"}},
            "nightly": {"type": "cron", "config": {"expression": "0 3,4 * * MON-FRI"}, "timezone": "Europe/Berlin"},
            "relative": {"type": "cron", "config": {"expression": "* * * * *"}, "timezone": "Europe/Berlin"},
            "span": {
                "type": "interval",
                "config": {"every": "6h"},
                "start_time": "2020-01-01T02:30:00Z",
                "end_time": "2090-01-01T08:00:00Z",
            },
            "once": {"type": "once", "config": {"at": "2090-01-01T08:00:00Z"}},
        }
        assert (jobs["every-minute"]["queue"], jobs["every-minute"]["expires"]) == ("manual", "30s")
        assert jobs["nightly"]["parameters"] == {"region": "2090-01-01T08:00:00+01:00"}
        assert {name: why[:40] for name, why in left_in(ended).items()} == {
            "off": "it is disabled; --apply creates it pause",
            "past": "its time, 2020-01-01T08:30:00+00:00, has",
            "weekdays": "an rrule with byweekday: only a span tha",
            "counted": "an rrule with count: only a span that go",
            "monthly": "an rrule with freq=1: only a span that g",
            "expiring": "options.expires: 2090-01-01 08:00:00+01:",
            "moody": "'lunar' is not a kind of schedule that r",
            "torn": "its definition can't be read: JSONDecode",
        }

    def test_the_prefix_is_taken_literally(self, redis_url: str, tmp_path: Path) -> None:
        assert jobs_in(run("redbeat", "--url", redis_url, "--prefix", "red*:", folder=tmp_path)) == {}

    def test_redis_that_is_away_is_said(self, tmp_path: Path) -> None:
        ended = run("redbeat", "--url", f"redis://127.0.0.1:{free_port()}", folder=tmp_path)
        assert ended.returncode == 2
        assert ended.stderr.startswith("Redis can't be read")


def report(region: str, days: int = 1) -> None: ...


@pytest.fixture
async def server(database: Db, database_url: str) -> AsyncIterator[Running]:  # noqa: ARG001
    class Report(LedgeredTask):
        name = "app.tasks.report"
        run = staticmethod(report)

    async with serving(database_url) as running:
        tasks = Tasks({"app.tasks.report": Report()})
        running.definitions._tasks = running.definitions._target_checks._tasks = tasks
        yield running


def documented() -> list[list[str]]:
    """The commands of docs/migration.md, without the interpreter."""
    page = (ROOT / "docs" / "migration.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[3:] for block in blocks for line in block.splitlines()]


class TestRoutes:
    def test_entries_that_name_no_queue_get_that_of_task_routes(self, project: Path) -> None:
        (project / "routed.py").write_text(
            "from proj import app\napp.conf.task_routes = {'app.tasks.*': {'queue': 'analysis', 'priority': 7}}\n"
        )
        jobs = jobs_in(run("celery", "--app", "routed:app", folder=project))
        assert {name: (job["queue"], job["priority"]) for name, job in jobs.items()} == {
            "nightly-report": ("manual", 7),
            "often": ("analysis", 7),
        }


class TestDocumentation:
    async def test_the_commands_of_the_migration_notes_work(
        self, server: Running, servers: Servers, project: Path, kept: str
    ) -> None:
        assert kept == "celerybeat-schedule"
        (project / "beat.json").write_text("[]")
        with closing(sqlite3.connect(project / "db.sqlite3")) as connection, connection:
            connection.executescript(TABLES)
        places = {"localhost:50054": server.address, "redis://localhost:6379/1": servers.redis.url}
        commands = documented()
        assert len(commands) == 6
        for command in commands:
            ended = await asyncio.to_thread(run, *(places.get(word, word) for word in command), folder=project)
            assert ended.returncode in {0, 1}, (command, ended.stderr)
            assert "Traceback" not in ended.stderr
        found = server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())
        assert {job.job_id for job in (await found).jobs} == {"nightly-report", "often"}


def dump(project: Path, *periodic: dict[str, Any]) -> None:
    """Write hourly tasks as dump.json."""
    usual = USUAL | {"interval": 1, "kwargs": '{"region": "eu"}'}
    rows = [
        {"model": "django_celery_beat.periodictask", "pk": pk, "fields": usual | fields}
        for pk, fields in enumerate(periodic)
    ]
    hourly = {"every": 1, "period": "hours"}
    rows.append({"model": "django_celery_beat.intervalschedule", "pk": 1, "fields": hourly})
    (project / "dump.json").write_text(json.dumps(rows))


class TestApply:
    async def apply(self, server: Running, project: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(run, *arguments, "--apply", server.address, folder=project)

    async def test_jobs_are_created_once_and_an_import_can_be_repeated(self, server: Running, project: Path) -> None:
        ended = await self.apply(server, project, "celery", "--app", "proj:app")
        assert ended.stdout.splitlines() == ["nightly-report: created", "often: created"]
        job = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="nightly-report"))).job
        assert (job.expires.seconds, job.queue, job.schedule_config.timezone) == (900, "manual", "Europe/Berlin")
        assert job.created_by.startswith("importers:")
        again = await self.apply(server, project, "celery", "--app", "proj:app")
        assert again.stdout.splitlines() == ["nightly-report: is there already", "often: is there already"]

    async def test_a_disabled_entry_is_paused_and_what_the_server_refuses_is_said(
        self, server: Running, project: Path
    ) -> None:
        dump(
            project,
            {"name": "off", "enabled": False, "args": '["eu"]', "kwargs": "{}"},
            {"name": "no such queue", "queue": "nowhere"},
            {"name": "other task", "task": "app.tasks.reprot"},
        )
        ended = await self.apply(server, project, "django", "--dump", "dump.json", "--app", "proj:app")
        assert ended.stdout.splitlines()[0] == "off: created, and paused"
        assert ended.stdout.splitlines()[1].startswith("no-such-queue: refused: queue: 'nowhere' is not a configured")
        assert left_in(ended) == {"other task": "task: 'app.tasks.reprot' is not a task of the app, and would not run"}
        assert ended.returncode == 1
        job = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="off"))).job
        assert (job.state, job.status_message) == (pb.ScheduledJob.STATE_PAUSED, "disabled where it comes from")

    async def test_a_repetition_pauses_what_an_import_that_broke_off_has_left_running_and_nothing_else(
        self, server: Running, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dumped(**enabled: bool) -> None:
            dump(project, *({"name": name, "enabled": on} for name, on in enabled.items()))

        async def imported() -> list[str]:
            return (await self.apply(server, project, "django", "--dump", "dump.json")).stdout.splitlines()

        async def breaks(*_: Any, **__: Any) -> Any:
            raise RuntimeError("the process is no more")

        dumped(off=False, awake=False, on=True)
        with monkeypatch.context() as patch:
            patch.setattr(server.jobs, "pause", breaks)
            running = "created, but not paused"
            assert [line.split(": ")[1] for line in await imported()] == [running, running, "created"]
        # What somebody has switched on since stays on, and what was on when it was imported.
        job = pb.ScheduledJob(description="needed after all")
        update = pb.UpdateScheduledJobRequest(job_id="awake", job=job, update_mask={"paths": ["description"]})
        await server.stub.UpdateScheduledJob(update)
        dumped(off=False, awake=False, on=False)
        again = ["off: is there already, and paused", "awake: is there already", "on: is there already"]
        assert await imported() == again
        found = (await server.stub.ListScheduledJobs(pb.ListScheduledJobsRequest())).jobs
        paused, active = pb.ScheduledJob.STATE_PAUSED, pb.ScheduledJob.STATE_ACTIVE
        assert {job.job_id: job.state for job in found} == {"off": paused, "awake": active, "on": active}
        await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="off"))
        assert (await imported())[0] == "off: is there already"

    async def test_what_was_not_answered_in_time_is_not_said_to_be_refused(
        self, server: Running, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        created = server.jobs.create

        async def lingers(*given: Any, **named: Any) -> Any:
            await created(*given, **named)
            raise TookTooLong("the time is over")

        with monkeypatch.context() as patch:
            patch.setattr(server.jobs, "create", lingers)
            ended = await self.apply(server, project, "celery", "--app", "proj:app")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"{server.address} went away: the time is over; run it again to go on\n"
        again = await self.apply(server, project, "celery", "--app", "proj:app")
        assert again.stdout.splitlines() == ["nightly-report: is there already", "often: created"]

    async def test_a_server_that_is_away_is_said(self, project: Path) -> None:
        where = f"127.0.0.1:{free_port()}"
        ended = await asyncio.to_thread(run, "celery", "--app", "proj:app", "--apply", where, folder=project)
        assert (ended.returncode, ended.stderr) == (2, f"no server answers at {where}\n")
        ended = await asyncio.to_thread(run, "celery", "--app", "proj:app", "--apply", "", folder=project)
        assert (ended.returncode, ended.stdout) == (2, "")

    async def test_what_is_printed_can_be_a_preconfigured_jobs_file(self, server: Running, project: Path) -> None:
        ended = await asyncio.to_thread(run, "celery", "--app", "proj:app", folder=project)
        (project / "jobs.yaml").write_text(ended.stdout)
        drafts = await read_seed(project, server.definitions)
        assert [draft.job_id for draft in drafts] == ["nightly-report", "often"]
