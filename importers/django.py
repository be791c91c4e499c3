"""The tables of django-celery-beat, from an SQLite file or from the JSON of `manage.py dumpdata django_celery_beat`.

Their columns are those of its releases from 1.0 on: what an older one lacks has the default of a newer one.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from celery.schedules import crontab

from importers.app import SourceError
from importers.entries import Entry, Left, NotKeptError
from shared.celery_schedules import no_solar
from shared.domain.errors import InvalidInput
from shared.domain.job import ScheduleTerms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APP: Final = "django_celery_beat"
TASKS: Final = "periodictask"
SCHEDULES: Final = {
    "interval": "intervalschedule",
    "crontab": "crontabschedule",
    "solar": "solarschedule",
    "clocked": "clockedschedule",
}
"""The tables of schedules, by the field of a task that names a row of them."""
CRONTAB_FIELDS: Final = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")

Rows: TypeAlias = "dict[str, dict[int, Mapping[str, Any]]]"
"""Rows by table and primary key."""


def read_sqlite(path: str) -> Rows:
    """Return the tables of an SQLite file, which is only read. Raises SourceError."""
    if not Path(path).is_file():
        raise SourceError(f"{path}: there is no such file")
    rows: Rows = {table: {} for table in (TASKS, *SCHEDULES.values())}
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            there = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            for table in rows:
                if f"{APP}_{table}" in there:
                    for row in connection.execute(f"select * from {APP}_{table} order by id"):  # noqa: S608 - ours
                        rows[table][row["id"]] = dict(row)
    except sqlite3.Error as error:
        raise SourceError(f"{path}: it can't be read as an SQLite file: {error}") from error
    if f"{APP}_{TASKS}" not in there:
        raise SourceError(f"{path}: it has no table {APP}_{TASKS}")
    return rows


def read_dump(path: str) -> Rows:
    """Return the tables of a dump in JSON. Raises SourceError."""
    rows: Rows = {table: {} for table in (TASKS, *SCHEDULES.values())}
    try:
        for dumped in json.loads(Path(path).read_text(encoding="utf-8")):
            app, _, table = dumped["model"].partition(".")
            if app == APP and table in rows:
                rows[table][dumped["pk"]] = dumped["fields"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"it can't be read as JSON of dumpdata: {type(error).__name__}: {error}"
        raise SourceError(f"{path}: {said}") from error
    return rows


def entries_of(rows: Rows, now: datetime) -> Iterator[Entry | Left]:
    """Return the periodic tasks as they are at `now` (UTC), the oldest first."""
    for row in rows[TASKS].values():
        name = row["name"]
        try:
            yield _Task(row, rows, now).entry()
        except NotKeptError as refused:
            yield Left(name, str(refused), lost=refused.lost)
        except InvalidInput as refused:
            yield Left(name, str(refused))
        except (ValueError, TypeError) as error:
            yield Left(name, f"it can't be read: {error}")


@dataclass(frozen=True, slots=True)
class _Task:
    """A row of the table of periodic tasks."""

    row: Mapping[str, Any]
    rows: Rows
    now: datetime

    def entry(self) -> Entry:
        row = self.row
        schedule, timezone = self._schedule()
        one_off = bool(row.get("one_off"))
        if one_off and row.get("total_run_count"):
            raise NotKeptError("it was to run once, and has", lost=False)
        options = {key: row.get(key) or None for key in ("queue", "exchange", "routing_key")}
        options |= {"priority": row.get("priority"), "expires": row.get("expire_seconds")}
        options["headers"] = json.loads(row.get("headers") or "{}") or None
        once = isinstance(schedule, ScheduleTerms)
        return Entry(
            row["name"],
            row["task"],
            schedule,
            timezone,
            json.loads(row.get("args") or "[]"),
            json.loads(row.get("kwargs") or "{}"),
            {key: value for key, value in options.items() if value is not None},
            row.get("description") or "",
            enabled=bool(row["enabled"]),
            start_time=self._start(schedule),
            end_time=_instant(row.get("expires")),
            runs=1 if one_off and not once else None,
        )

    def _schedule(self) -> tuple[object, str]:
        """Return the schedule, and the zone in which it is meant."""
        given = {
            field: key for field in SCHEDULES if (key := self.row.get(field, self.row.get(f"{field}_id"))) is not None
        }
        if not given:
            raise NotKeptError("it has no schedule, so it never ran", lost=False)
        field, key = next(iter(given.items()))
        found = self.rows[SCHEDULES[field]].get(key)
        if found is None:
            raise NotKeptError(f"its schedule, {field} {key}, is not there; dump the whole app {APP}")
        match field:
            case "interval":
                return timedelta(**{found["period"]: found["every"]}), "UTC"
            case "crontab":
                fields = {name: str(found[name]).replace(" ", "") for name in CRONTAB_FIELDS}
                return crontab(**fields), found.get("timezone") or "UTC"
            case "solar":
                raise no_solar(found["event"])
            case _:
                return self._once(found["clocked_time"]), "UTC"

    def _start(self, schedule: object) -> datetime | None:
        """Return what a schedule counts from, or is bounded by, if that is still to come."""
        start = _instant(self.row.get("start_time"))
        if start is None or start <= self.now:
            return None
        # An interval of ours fires for the first time one span after what it counts from, one of Django's then.
        return start - schedule if isinstance(schedule, timedelta) else start

    def _once(self, time: object) -> ScheduleTerms:
        at = _instant(time)
        if at is None or at <= self.now:
            raise NotKeptError(f"its time, {time}, has passed", lost=False)
        return ScheduleTerms("once", {"at": at.isoformat().replace("+00:00", "Z")})


def _instant(given: object) -> datetime | None:
    """Read a time; without a zone it is UTC, as Django keeps it where it knows zones (USE_TZ)."""
    if not given:
        return None
    time = datetime.fromisoformat(str(given))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
