"""The keys of redbeat in Redis: a hash an entry, whose `definition` is JSON in the form of its RedBeatJSONEncoder."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from celery.schedules import crontab, schedule
from redis import Redis, RedisError

from importers.app import SourceError
from importers.entries import Entry, Left, NotKeptError
from shared.domain.job import ScheduleTerms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TYPE: Final = "__type__"
PREFIX: Final = "redbeat:"
"""What keys begin with, unless redbeat_key_prefix says otherwise."""

_PERIODS: Final = {
    2: timedelta(weeks=1),
    3: timedelta(days=1),
    4: timedelta(hours=1),
    5: timedelta(minutes=1),
    6: timedelta(seconds=1),
}
"""Of the frequencies of an rrule that are spans, by dateutil's numbers; months and years are none."""
_TIMES: Final = ("dtstart", "dtstart_tz", "until", "until_tz", "freq", "interval", "count", "wkst", TYPE)


def entries_of(url: str, prefix: str, timezone_of_app: str) -> Iterator[Entry | Left]:
    """Return the entries, by their names. timezone_of_app: that of its crontabs. Raises SourceError."""
    try:
        with Redis.from_url(url, decode_responses=True) as redis:
            keys = sorted(redis.scan_iter(match=_literally(prefix) + "*", count=1000, _type="HASH"))
            definitions = {key: redis.hget(key, "definition") for key in keys}
    except (RedisError, ValueError) as error:
        raise SourceError(f"Redis can't be read: {error}") from error
    for key, definition in definitions.items():
        if definition is None:
            continue
        name = key.removeprefix(prefix)
        try:
            yield _entry(json.loads(definition), name, timezone_of_app)
        except NotKeptError as refused:
            yield Left(name, str(refused), lost=refused.lost)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            yield Left(name, f"its definition can't be read: {type(error).__name__}: {error}")


def _literally(prefix: str) -> str:
    """Return a pattern of Redis that matches a text and nothing else."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)


def _entry(definition: Mapping[str, Any], name: str, zone: str) -> Entry:
    given = definition["schedule"]
    start: datetime | None = None
    until: datetime | None = None
    when: object
    match given.get(TYPE):
        case "interval":
            when = schedule(given["every"], relative=given.get("relative", False))
        case "crontab":
            when = crontab(**{key: value for key, value in given.items() if key != TYPE})
        case "rrule":
            when, start, until = _rrule(given)
        case other:
            raise NotKeptError(f"{other or given!r} is not a kind of schedule that redbeat has")
    return Entry(
        definition.get("name") or name,
        definition["task"],
        when,
        zone,
        _plain(definition.get("args") or ()),
        _plain(definition.get("kwargs") or {}),
        {key: _decoded(value) for key, value in (definition.get("options") or {}).items() if value is not None},
        enabled=definition.get("enabled", True),
        start_time=start,
        end_time=until,
    )


def _rrule(given: Mapping[str, Any]) -> tuple[object, datetime | None, datetime | None]:
    """Return the schedule of an rrule that is one instant, or a span between instants, and its bounds."""
    restricted = [key for key, value in given.items() if key not in _TIMES and value is not None]
    period = _PERIODS.get(given["freq"])
    start, until = _instant(given.get("dtstart")), _instant(given.get("until"))
    count, interval = given.get("count"), given.get("interval") or 1
    if start is not None and not restricted and (count == 1 or start == until):
        if start <= datetime.now(UTC):
            raise NotKeptError(f"its time, {start.isoformat()}, has passed", lost=False)
        return ScheduleTerms("once", {"at": start.isoformat().replace("+00:00", "Z")}), None, None
    if restricted or period is None or start is None or count is not None:
        what = ", ".join([*restricted, *(["count"] if count is not None else [])]) or f"freq={given['freq']}"
        raise NotKeptError(
            f"an rrule with {what}: only a span that goes on (freq of weeks to seconds, interval, dtstart, until) and a"
            " single time (count=1) can be kept; say it as a crontab"
        )
    span = period * interval
    # An interval fires for the first time one span after what it counts from; an rrule, at its dtstart.
    return span, start - span, until


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _decoded(value: Any) -> Any:
    """Return an option with its instants as what they were."""
    if isinstance(value, dict) and value.get(TYPE) == "datetime":
        fields = {key: part for key, part in value.items() if key not in {TYPE, "timezone"}}
        zone = value.get("timezone", "UTC")
        known = ZoneInfo(zone) if isinstance(zone, str) else timezone(timedelta(seconds=zone))
        return datetime(**fields, tzinfo=known)
    return value


def _plain(value: Any) -> Any:
    """Return arguments as JSON, in which an instant is a text."""
    match _decoded(value):
        case datetime() as instant:
            return instant.isoformat()
        case list() as items:
            return [_plain(item) for item in items]
        case dict() as items:
            return {key: _plain(item) for key, item in items.items()}
        case other:
            return other
