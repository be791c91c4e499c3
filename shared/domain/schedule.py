"""Schedules: when a job fires, as values that can't be built wrong.

A schedule is parsed once, where a client's words come in (parse_schedule), and kept as a document from then on.
All instants, given and returned, are datetimes with a zone; those returned are UTC. Times that a schedule keeps are
cut to milliseconds, which is what the store keeps. The rules, by number, are those of docs/schedules.md.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar

from shared.domain import exclusions as excluding
from shared.domain.clock import to_the_millisecond
from shared.domain.cron import (
    FIELDS,
    LONGEST_EXPRESSION,
    Cron,
    Gap,
    Repeat,
    expression_fields,
    map_fields,
    uses_hash,
)
from shared.domain.elapsed import Elapsed, elapsed
from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import no_calendars
from shared.domain.text import excerpt
from shared.domain.union import MOST_EXPRESSIONS, Union
from shared.domain.zones import DAY, EPOCH, Zone, package_rules, tzdata_version, zone, zone_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.domain.exclusions import Exclusions, ExclusionTerms, Resolve

Terms: TypeAlias = tuple[tuple[str, str], ...]
"""A schedule's config as pairs, sorted: hashable, and equal however a client ordered it."""

Policy = TypeVar("Policy", Gap, Repeat)

ONCE_GRACE: Final = timedelta(minutes=1)
"""How long ago the time of a `once` may be when it is given: the client's clock may be off, and the call took time."""
LONGEST_INTERVAL: Final = timedelta(days=36_525)
LONGEST_TERM: Final = LONGEST_EXPRESSION
"""Characters of any text in a schedule; megabytes of them would take seconds to read, each time."""
LONGEST_JITTER: Final = timedelta(days=1)
MOST_TERMS: Final = 20
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECOND: Final = timedelta(seconds=1)
_NOTHING: Final = timedelta()
_END_OF_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)

_UNITS: Final = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
_LETTERS: Final = {unit[0]: seconds for unit, seconds in _UNITS.items()}
_NUMBER: Final = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
_TOO_LONG: Final = re.compile(r"[0-9]{13,}(?:\.[0-9]*)?\s*[dhms]?")
"""A span or a number of more digits than any interval has."""
_PART: Final = re.compile(rf"\s*({_NUMBER})\s*([dhms])\s*")
_KEYS: Final = {
    "cron": ("expression", *FIELDS, "gap", "repeat"),
    "interval": ("every", *_UNITS),
    "once": ("at",),
}
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule(ABC):
    """What all schedules have: the client's words, and the questions that a planner asks.

    rules: the fingerprint of the zone's rules that it goes by, whatever the package tzdata says by now; empty when its
      times do not depend on any, and in documents from before this was kept, which go by the package's.
    tzdata: the version of the package at which it got its rules, or was made.
    jitter: the longest that a fire may be put off, in whole milliseconds; see due_time.
    max_runs: after how many runs it ends, None for no limit. Only kept here: occurrences know nothing of runs.
    exclusions: days on which it does not fire; start_time and end_time bound the times that it then has.
    """

    type: ClassVar[str]
    terms: Terms
    timezone: str = "UTC"
    rules: str = ""
    tzdata: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    jitter: timedelta = timedelta()
    max_runs: int | None = None
    exclusions: Exclusions | None = None

    @property
    def config(self) -> dict[str, str]:
        """The terms as the client gave them, in a dict of the caller's own."""
        return dict(self.terms)

    @property
    @abstractmethod
    def follows_zone(self) -> bool:
        """Whether its instants depend on the rules of its zone."""

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence strictly after an instant; None when there is none before the year 10000."""

    @abstractmethod
    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last occurrence in (after, through], or None."""

    @abstractmethod
    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many occurrences lie in (after, through], without going through them."""

    def first_after(self, now: datetime) -> datetime | None:
        """Return what a schedule that is given at `now` fires first: its next time, a `once` of just now included."""
        return self.next_after(now)

    def due_time(self, nominal: datetime, key: str) -> datetime:
        """Return when an occurrence is to go out: its nominal time and a part of the jitter, in milliseconds.

        The part is a hash of nominal time and key (the job's uid), so it is the same whenever and wherever it is
        computed; it is taken of the time to the next occurrence where that is shorter, and never reaches it.
        """
        if not self.jitter:
            return nominal
        room = min(self.jitter, (self.next_after(nominal) or _END_OF_TIME) - nominal) // _MILLISECOND
        if room < 1:
            return nominal
        digest = blake2b(f"{key}:{nominal.astimezone(UTC).isoformat()}".encode(), digest_size=8).digest()
        return nominal + int.from_bytes(digest) % room * _MILLISECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule(_Schedule):
    """Local wall-clock times of a zone (rule 1), in whole seconds.

    expressions: those that it is the union of, instead of the one in the terms. An excluded day is one that an
      expression names, so a time that a gap shifts past midnight belongs to the day before it.
    hash_key: what `H` is computed from, the job's id; empty when no `H` is used, so that equal expressions share
    their parsed form.

    Raises InvalidInput, with fields relative to the schedule's (`config.hour`), when the terms can't be right.
    """

    type: ClassVar[str] = "cron"
    expressions: tuple[str, ...] = ()
    hash_key: str = ""
    _cron: Cron | Union = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_bounds(self)
        # By what it goes by in any case, so that one made before its rules were known shares the form that it keeps.
        rules = self.rules or _rules_of(self.timezone)
        parts = self.terms, self.expressions, self.timezone, self.hash_key, rules, self.exclusions
        object.__setattr__(self, "_cron", _cron_of(*parts))

    @property
    def follows_zone(self) -> bool:
        """Always: its times are the zone's clock's."""
        return True

    @property
    def fields(self) -> tuple[tuple[str, ...], ...]:
        """The six fields, in the order of cron.FIELDS, of each of its expressions."""
        config = self.config
        if self.expressions:
            return tuple(map(expression_fields, self.expressions))
        if "expression" in config:
            return (expression_fields(config["expression"]),)
        return (_map_fields({key: value for key, value in config.items() if key in FIELDS}),)

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence after an instant; microseconds of work, bounded as in rule 13."""
        found = self._cron.next_after(self._since(instant))
        if found is None:
            return None
        try:
            following = EPOCH + timedelta(seconds=found)
        except OverflowError:
            return None
        return None if self.end_time is not None and following > self.end_time else following

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last occurrence in (after, through], or None."""
        found = self._cron.last_between(self._since(after), self._until(through))
        return None if found is None else EPOCH + timedelta(seconds=found)

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many occurrences lie in (after, through]; the cost grows with the years between, not with them."""
        return self._cron.count_between(self._since(after), self._until(through))

    def _since(self, after: datetime) -> int:
        """Return the last whole second that is ruled out."""
        floor = _whole_seconds(after)
        if self.start_time is None:
            return floor
        start = _whole_seconds(self.start_time)
        return max(floor, start if self.start_time.microsecond else start - 1)

    def _until(self, through: datetime) -> int:
        return _whole_seconds(through if self.end_time is None else min(through, self.end_time))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule(_Schedule):
    """Every so many elapsed seconds, counted from an anchor that is no occurrence itself (rule 7).

    Raises InvalidInput, with fields relative to the schedule's (`config.hours`), when the terms can't be right.
    """

    type: ClassVar[str] = "interval"
    anchor: datetime
    period: timedelta = field(init=False, repr=False, compare=False)
    _elapsed: Elapsed | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_bounds(self)
        _check_time("anchor", self.anchor)
        period = _period_of(self.terms)
        object.__setattr__(self, "period", period)
        excluding: Elapsed | None = None
        if self.exclusions is not None:
            parts = _whole_seconds(self.anchor), period // _SECOND, self.timezone, self.rules, self.exclusions
            excluding = elapsed(*parts)
        object.__setattr__(self, "_elapsed", excluding)

    @property
    def follows_zone(self) -> bool:
        """Only with exclusions, whose days are the zone's: else it counts elapsed seconds (rule 7)."""
        return self.exclusions is not None

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first occurrence after an instant, by arithmetic."""
        try:
            if self._elapsed is not None:
                following = self._instant(self._elapsed.next_after(self._since(instant)))
            else:
                following = self.anchor + self._number_after(instant) * self.period
        except OverflowError:
            return None
        return None if self.end_time is not None and following > self.end_time else following

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the last occurrence in (after, through], by arithmetic."""
        if self._elapsed is not None:
            found = self._elapsed.last_between(self._since(after), self._until(through))
            return None if found is None else self._instant(found)
        number = self._number_at(through)
        return self.anchor + number * self.period if number >= self._number_after(after) else None

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return how many occurrences lie in (after, through], by arithmetic."""
        if self._elapsed is not None:
            return self._elapsed.count_between(self._since(after), self._until(through))
        return max(0, self._number_at(through) - self._number_after(after) + 1)

    def _since(self, after: datetime) -> int:
        """Return the last second of the anchor's that is ruled out: all instants share its part of a second."""
        floor = _whole_seconds(after - self._fraction)
        if self.start_time is None:
            return floor
        return max(floor, _whole_seconds(self.start_time - self._fraction - _MILLISECOND))

    def _until(self, through: datetime) -> int:
        until = through if self.end_time is None else min(through, self.end_time)
        return _whole_seconds(until - self._fraction)

    def _instant(self, second: int) -> datetime:
        return EPOCH + timedelta(seconds=second) + self._fraction

    @property
    def _fraction(self) -> timedelta:
        return timedelta(microseconds=self.anchor.microsecond)

    def _number_after(self, instant: datetime) -> int:
        """Return the number of the first occurrence after an instant and not before start_time, counted from 1."""
        number = max(1, (instant - self.anchor) // self.period + 1)
        if self.start_time is not None:
            number = max(number, -((self.anchor - self.start_time) // self.period))
        return number

    def _number_at(self, instant: datetime) -> int:
        """Return the number of the last occurrence that is neither after an instant nor after end_time."""
        until = instant if self.end_time is None else min(instant, self.end_time)
        return (until - self.anchor) // self.period


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceSchedule(_Schedule):
    """One instant. Raises InvalidInput when a time has no zone or is finer than a millisecond."""

    type: ClassVar[str] = "once"
    at: datetime
    _fires_at: datetime | None = field(init=False, repr=False, compare=False)
    """Where exclusions put it; None when it does not fire."""

    def __post_init__(self) -> None:
        _check_bounds(self)
        _check_time("at", self.at)
        instant = (
            self.at if self.exclusions is None else _moved(self.at, self.exclusions, zone(self.timezone, self.rules))
        )
        if instant is not None and (
            (self.start_time is not None and instant < self.start_time)
            or (self.end_time is not None and instant > self.end_time)
        ):
            instant = None
        object.__setattr__(self, "_fires_at", instant)

    @property
    def follows_zone(self) -> bool:
        """If the client gave a wall-clock time, without an offset, or exclusions."""
        return self.exclusions is not None or _is_local(self.config.get("at", ""))

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the instant itself, if it is after the one given."""
        return self._fires_at if self._fires_at is not None and self._fires_at > instant else None

    def last_between(self, after: datetime, through: datetime) -> datetime | None:
        """Return the instant itself, if it is in (after, through]."""
        return self._fires_at if self.count_between(after, through) else None

    def count_between(self, after: datetime, through: datetime) -> int:
        """Return 1 if the instant is in (after, through], else 0."""
        return int(self._fires_at is not None and after < self._fires_at <= through)

    def first_after(self, now: datetime) -> datetime | None:
        """Return the instant itself, also when it was up to a minute before `now`."""
        return self.next_after(now - ONCE_GRACE - _MILLISECOND)


def _moved(instant: datetime, exclusions: Exclusions, where: Zone) -> datetime | None:
    """Return where exclusions put one instant: to the same wall-clock time of another day, or nowhere."""
    wall = where.wall(_whole_seconds(instant))
    day, time = divmod(wall, DAY)
    if not exclusions.excludes(day):
        return instant
    for target, runs in exclusions.moves:
        if any(first <= day <= last for first, last in runs):
            second = where.instant(target * DAY + time)
            exact = where.wall(second) == target * DAY + time
            return EPOCH + timedelta(seconds=second, microseconds=instant.microsecond if exact else 0)
    return None


Schedule: TypeAlias = CronSchedule | IntervalSchedule | OnceSchedule


def parse_schedule(
    *,
    type: str,  # noqa: A002 - the field's name in the API
    config: Mapping[str, str],
    timezone: str = "",
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    jitter: timedelta = timedelta(),
    max_runs: int | None = None,
    expressions: Sequence[str] = (),
    exclusions: ExclusionTerms | None = None,
    resolve: Resolve = no_calendars,
    now: datetime,
    hash_key: str,
    field: str = "schedule_config",
    anchor: datetime | None = None,
) -> Schedule:
    """Return the schedule that a client describes.

    cron: `expression`, or `minute`, `hour`, `day_of_month`, `month_of_year`, `day_of_week`, `second` (rule 11); also
      `gap` and `repeat` (rule 6). interval: `seconds`, `minutes`, `hours`, `days` added up, or `every` (`1h30m`).
      once: `at`, RFC 3339; without an offset it is the wall-clock time of `timezone`, which then has to be given.
    expressions: cron's, instead of those keys, but for gap and repeat, which hold for all: it is their union.
    timezone: IANA name; empty means UTC. start_time, end_time: both may be occurrences themselves.
    jitter: cut to milliseconds; at most a day. max_runs: at least 1.
    resolve: finds the days of the calendars and holidays that the exclusions name.
    now: UTC; there has to be an occurrence after it. hash_key: the job's id, for `H`.
    anchor: what an interval that goes on unchanged was counted from so far; start_time, when given, comes first, and
      with neither it is the whole second of `now`.
    field: the path of the schedule in the request, which the paths of the violations begin with.

    Raises InvalidInput with all violations at once; only those, when any text is too long to be looked at.
    """
    found = _too_long(type, config, timezone, expressions)
    if found:
        raise InvalidInput(replace(wrong, field=f"{field}.{wrong.field}") for wrong in found)
    common = _parse_bounds(start_time, end_time, jitter, max_runs, found)
    common["timezone"] = name = timezone or "UTC"
    common["exclusions"] = exclusions and _parse_exclusions(exclusions, resolve, found)
    terms = tuple(sorted(config.items()))
    known = _KEYS.get(type)
    if known is None:
        said = f"'{excerpt(type)}' is not a schedule type" if type else "a type is required"
        found.append(Violation("type", f"{said} ({', '.join(_KEYS)})"))
    else:
        found += _unknown_keys(type, terms, expressions)
        terms = tuple((key, value) for key, value in terms if key in known)
    schedule: Schedule | None = None
    try:
        if type == "cron":
            # Without an H the key must not tell jobs apart: they share one parsed form.
            texts = [value for key, value in terms if key not in {"gap", "repeat"}]
            key = hash_key if uses_hash([*expressions, *texts]) else ""
            schedule = CronSchedule(terms=terms, expressions=tuple(expressions), hash_key=key, **common)
        else:
            zone_known = _zone_problem(name, found)
            common["exclusions"] = common["exclusions"] if zone_known else None
            if type == "interval":
                base = common["start_time"] or anchor or now.replace(microsecond=0)
                schedule = IntervalSchedule(terms=terms, anchor=to_the_millisecond(base.astimezone(UTC)), **common)
            elif type == "once":
                at = _parse_at(dict(terms).get("at", ""), timezone if zone_known else None, now)
                schedule = OnceSchedule(terms=terms, at=at, **common)
    except InvalidInput as refused:
        found += refused.violations
    if schedule is not None and not found:
        schedule = with_package_rules(schedule)
        found += _never_fires(schedule, now)
    if schedule is None or found:
        raise InvalidInput(replace(wrong, field=f"{field}.{wrong.field}".rstrip(".")) for wrong in found)
    return schedule


def with_package_rules(schedule: Schedule) -> Schedule:
    """Return a schedule as it is under the rules of this process's package tzdata, which it then names.

    A `once` of a wall-clock time comes when the clock shows that time by these rules, unless it was put elsewhere.

    Raises InvalidInput when the package does not have the zone; UnknownRules.
    """
    rules = package_rules(schedule.timezone) if schedule.follows_zone else ""
    local = isinstance(schedule, OnceSchedule) and _is_local(schedule.config["at"])
    if isinstance(schedule, OnceSchedule) and local and schedule.rules and schedule.rules != rules:
        time = datetime.fromisoformat(schedule.config["at"].strip().upper())
        if schedule.at == to_the_millisecond(_local(time, schedule.timezone, schedule.rules)):
            schedule = replace(schedule, at=to_the_millisecond(_local(time, schedule.timezone, rules)))
    return replace(schedule, rules=rules, tzdata=tzdata_version())


def _too_long(kind: str, config: Mapping[str, str], timezone: str, expressions: Sequence[str]) -> list[Violation]:
    """Refuse what is too much to be parsed, or only compared, by its length alone."""
    if len(config) > MOST_TERMS:
        return [Violation("config", f"{len(config):,} keys are too many (at most {MOST_TERMS})")]
    if len(expressions) > MOST_EXPRESSIONS:
        return [Violation("expressions", f"{len(expressions):,} are too many (at most {MOST_EXPRESSIONS})")]
    texts = [("type", kind), ("timezone", timezone)]
    texts += [(f"expressions[{n}]", text) for n, text in enumerate(expressions)]
    for key, value in config.items():
        texts += [(f"config.{excerpt(key)}", key), (f"config.{excerpt(key)}", value)]
    return [
        Violation(name, f"'{excerpt(text)}' has {len(text):,} characters; at most {LONGEST_TERM:,} are read")
        for name, text in texts
        if len(text) > LONGEST_TERM
    ]


def to_document(schedule: Schedule) -> dict[str, object]:
    """Return the schedule as plain values that JSON and BSON have, datetimes as they are (UTC, milliseconds)."""
    document: dict[str, object] = {
        "type": schedule.type,
        "config": schedule.config,
        "timezone": schedule.timezone,
        "start_time": schedule.start_time,
        "end_time": schedule.end_time,
        "jitter": schedule.jitter.total_seconds(),
        "max_runs": schedule.max_runs,
        "exclusions": excluding.to_document(schedule.exclusions),
        "rules": schedule.rules,
        "tzdata": schedule.tzdata,
    }
    match schedule:
        case CronSchedule(expressions=expressions, hash_key=hash_key):
            document["expressions"] = list(expressions)
            document["hash_key"] = hash_key
        case IntervalSchedule(anchor=anchor):
            document["anchor"] = anchor
        case OnceSchedule(at=at):
            document["at"] = at
    return document


def from_document(document: Mapping[str, Any]) -> Schedule:
    """Return the schedule that to_document gave; it is not judged again by today's clock.

    Raises InvalidInput when the document can't be a schedule; UnknownRules when it follows rules of a zone that have to
    be registered first.
    """
    terms = tuple(sorted(document["config"].items()))
    common = {
        "terms": terms,
        "timezone": document["timezone"],
        "start_time": document["start_time"],
        "end_time": document["end_time"],
        "jitter": timedelta(seconds=jitter) if (jitter := document.get("jitter", 0)) else _NOTHING,
        "max_runs": document.get("max_runs"),
        "exclusions": excluding.from_document(document.get("exclusions")),
        "rules": document.get("rules", ""),
        "tzdata": document.get("tzdata", ""),
    }
    match document["type"]:
        case "cron":
            expressions = tuple(document.get("expressions", ()))
            return CronSchedule(**common, expressions=expressions, hash_key=document["hash_key"])
        case "interval":
            return IntervalSchedule(**common, anchor=document["anchor"])
        case "once":
            return OnceSchedule(**common, at=document["at"])
        case other:
            raise InvalidInput([Violation("type", f"'{other}' is not a schedule type ({', '.join(_KEYS)})")])


def _parse_exclusions(terms: ExclusionTerms, resolve: Resolve, found: list[Violation]) -> Exclusions | None:
    try:
        return terms.parse(resolve)
    except InvalidInput as refused:
        found += [replace(wrong, field=f"exclusions.{wrong.field}".rstrip(".")) for wrong in refused.violations]
        return None


def _parse_bounds(
    start_time: datetime | None,
    end_time: datetime | None,
    jitter: timedelta,
    max_runs: int | None,
    found: list[Violation],
) -> dict[str, Any]:
    """Return these fields as a schedule keeps them; one that can't be right is left out, and its violation added."""
    given: dict[str, Any] = {
        "start_time": _to_milliseconds("start_time", start_time, found),
        "end_time": _to_milliseconds("end_time", end_time, found),
        "jitter": jitter // _MILLISECOND * _MILLISECOND,
        "max_runs": max_runs,
    }
    wrong = _bound_violations(**given)
    found += wrong
    names = {violation.field for violation in wrong}
    return {name: value for name, value in given.items() if name not in names}


def _rules_of(timezone: str) -> str:
    """Return the package's rules of a zone; empty for what is no zone, which whoever parses the rest says with it."""
    return package_rules(timezone) if timezone in zone_names() else ""


@lru_cache(maxsize=2048)
def _cron_of(
    terms: Terms,
    expressions: tuple[str, ...],
    timezone: str,
    hash_key: str,
    rules: str,
    exclusions: Exclusions | None,
) -> Cron | Union:
    """Return the parsed form of a cron schedule's terms; schedules are read far more often than they differ.

    A form takes about a kilobyte. Of one expression for each minute of a day all are kept; to read one anew takes
    some 30 µs.
    """
    found = _unknown_keys("cron", terms)
    given = {key: value for key, value in terms if key in FIELDS}
    config = dict(terms)
    gap = _choice(Gap, "gap", config, found)
    repeat = _choice(Repeat, "repeat", config, found)
    expression = config.get("expression")
    if expression is not None and given:
        said = f"give either expression or the fields, not both ({', '.join(given)})"
        found.append(Violation("config.expression", said))
    if expressions and (expression is not None or given):
        said = f"give either expressions or what config has, not both ({', '.join([*config])})"
        found.append(Violation("expressions", said))
    by_path: dict[str, Callable[[], tuple[str, ...]]] = {
        f"expressions[{n}]": partial(expression_fields, text) for n, text in enumerate(expressions)
    }
    if expression is not None:
        by_path["config.expression"] = partial(expression_fields, expression)
    elif given or not by_path:
        by_path["config"] = partial(_map_fields, given)
    crons: list[Cron] = []
    for path, read in by_path.items():
        fields = _NO_FIELDS
        try:
            fields = read()
        except InvalidInput as refused:
            found += [_under(path, wrong) for wrong in refused.violations]
            if path == "config":
                fields = tuple(given.get(name, "*") for name in FIELDS)
        try:
            crons.append(Cron(fields, timezone, gap, repeat, hash_key, rules, exclusions))
        except InvalidInput as refused:
            found += [_under(path, wrong) for wrong in refused.violations]
    if found:
        # The same zone may be wrong for each of several expressions.
        raise InvalidInput(dict.fromkeys(found))
    return crons[0] if len(crons) == 1 else Union(crons)


_NO_FIELDS: Final[tuple[str, ...]] = ("0", "*", "*", "*", "*", "*")
"""Stand for an expression that can't be read, so that a wrong zone is said all the same."""


def _map_fields(given: Mapping[str, str]) -> tuple[str, ...]:
    if not given:
        raise _refused("", f"a cron schedule takes expression, or at least one of {', '.join(FIELDS)}")
    return map_fields(given)


def _under(path: str, wrong: Violation) -> Violation:
    """Return a violation of a field as one of what the client wrote: a key of the map form, or an expression."""
    if wrong.field == "timezone":
        return wrong
    return replace(wrong, field=f"{path}.{wrong.field}".rstrip(".") if path == "config" else path)


@lru_cache(maxsize=2048)
def _period_of(terms: Terms) -> timedelta:
    """Return the interval that the terms add up to. Raises InvalidInput unless it is of whole seconds, at least one."""
    found = _unknown_keys("interval", terms)
    config = dict(terms)
    every = config.pop("every", None)
    total = Fraction(0)
    where = "config"
    if every is not None:
        where = "config.every"
        parts = list(_PART.finditer(every))
        if config:
            found.append(Violation(where, f"give either every or its parts, not both ({excerpt(', '.join(config))})"))
        if not parts or "".join(part[0] for part in parts) != every:
            found.append(_not_read(where, every, "a sum of spans like 1h30m (units d, h, m, s)"))
        total = sum((Fraction(part[1]) * _LETTERS[part[2]] for part in parts), total)
    elif not config:
        found.append(Violation(where, f"an interval takes every, or at least one of {', '.join(_UNITS)}"))
    for unit, text in config.items():
        if unit not in _UNITS:
            continue
        if re.fullmatch(_NUMBER, text.strip()):
            total += Fraction(text.strip()) * _UNITS[unit]
        else:
            found.append(_not_read(f"config.{unit}", text, f"a number of {unit}"))
    if not found and (total < 1 or total.denominator != 1 or total > LONGEST_INTERVAL // _SECOND):
        given = every if every is not None else " + ".join(f"{text} {unit}" for unit, text in config.items())
        expected = f"expected whole seconds, from 1 s to {LONGEST_INTERVAL.days} days"
        said = f"'{excerpt(given)}' is {float(total):g} s; {expected}"
        found.append(Violation(where, said))
    if found:
        raise InvalidInput(found)
    return timedelta(seconds=int(total))


def _not_read(where: str, text: str, expected: str) -> Violation:
    if _TOO_LONG.fullmatch(text.strip()):
        return Violation(where, f"'{excerpt(text)}' is too large; an interval is at most {LONGEST_INTERVAL.days} days")
    return Violation(where, f"'{excerpt(text)}' is not {expected}")


def _parse_at(text: str, timezone: str | None, now: datetime) -> datetime:
    """Return the instant that a `once` names. timezone: empty when none was given, None when it is unknown."""
    upper = text.strip().upper()
    match = _TIME.fullmatch(upper)
    if match is None:
        said = f"'{excerpt(text)}' is not a time" if text else "a time is required"
        raise _refused("config.at", f"{said}; expected RFC 3339, for example 2030-01-31T08:00:00Z")
    try:
        time = datetime.fromisoformat(upper)
        if match["offset"]:
            at = to_the_millisecond(time.astimezone(UTC))
        elif timezone == "":
            said = "has neither an offset (Z or +01:00) nor a timezone to be read in; give one of them"
            raise _refused("config.at", f"'{excerpt(text)}' {said}")
        else:
            at = to_the_millisecond(_local(time, timezone or "UTC"))
    except (ValueError, OverflowError) as error:
        raise _refused("config.at", f"'{excerpt(text)}' is not a time: {error}") from error
    if timezone is not None and at < now - ONCE_GRACE:
        raise _refused(
            "config.at",
            f"'{excerpt(text)}' is {_shown(at)}, more than a minute before now, {_shown(now)}; give a time to come",
        )
    return at


def _is_local(text: str) -> bool:
    """Return whether a time is given without an offset."""
    match = _TIME.fullmatch(text.strip().upper())
    return match is not None and not match["offset"]


def _local(time: datetime, timezone: str, rules: str = "") -> datetime:
    """Return when a wall-clock time comes, by the rules for fixed times: after a gap, or in the first pass (2, 4)."""
    wall = _whole_seconds(time.replace(tzinfo=UTC))
    where = zone(timezone, rules)
    instant = where.instant(wall)
    fraction = time.microsecond if where.wall(instant) == wall else 0
    return EPOCH + timedelta(seconds=instant, microseconds=fraction)


def _never_fires(schedule: Schedule, now: datetime) -> list[Violation]:
    if schedule.first_after(now) is not None:
        return []
    endless = replace(schedule, end_time=None).first_after(now)
    if schedule.end_time is not None and endless is not None:
        said = f"its next time, {_shown(endless)}, is after end_time {_shown(schedule.end_time)}"
        return [Violation("end_time", f"never fires after {_shown(now)}: {said}")]
    if isinstance(schedule, OnceSchedule) and schedule.start_time is not None:
        said = f"{_shown(schedule.at)} is before start_time {_shown(schedule.start_time)}"
        return [Violation("config.at", f"never fires after {_shown(now)}: {said}")]
    if schedule.exclusions is not None and replace(schedule, exclusions=None).first_after(now) is not None:
        return [Violation("exclusions", f"never fires after {_shown(now)}: they leave no occurrence")]
    said = "no such time comes before the year 10000"
    if isinstance(schedule, CronSchedule):
        said += f"; the clocks of {schedule.timezone} skip each of them, or its days are over"
    return [Violation("config", f"never fires after {_shown(now)}: {said}")]


def _unknown_keys(kind: str, terms: Terms, expressions: Sequence[str] = ()) -> list[Violation]:
    found = [
        Violation(f"config.{excerpt(key)}", f"'{excerpt(key)}' is not a key of {kind} ({', '.join(_KEYS[kind])})")
        for key, _ in terms
        if key not in _KEYS[kind]
    ]
    if expressions and kind != "cron":
        found.append(Violation("expressions", f"only a cron schedule has expressions, not one of type {kind}"))
    return found


def _choice(kind: type[Policy], key: str, config: Mapping[str, str], found: list[Violation]) -> Policy | None:
    """Return the policy that config names, None when it leaves it to the rules."""
    text = config.get(key)
    if text is None:
        return None
    try:
        return kind(text.strip().upper())
    except ValueError:
        found.append(Violation(f"config.{key}", f"'{excerpt(text)}' is not a policy for {key} ({', '.join(kind)})"))
        return None


def _zone_problem(name: str, found: list[Violation]) -> bool:
    """Return whether a zone is known; if not, add the violation."""
    try:
        zone(name)
    except InvalidInput as refused:
        found += refused.violations
        return False
    return True


def _check_bounds(schedule: _Schedule) -> None:
    start, end, jitter = schedule.start_time, schedule.end_time, schedule.jitter
    if start is not None:
        _check_time("start_time", start)
    if end is not None:
        _check_time("end_time", end)
    if wrong := _bound_violations(start, end, jitter, schedule.max_runs):
        raise InvalidInput(wrong)
    if jitter and jitter % _MILLISECOND:
        raise _refused("jitter", f"{jitter.total_seconds()} s is not whole milliseconds")


def _bound_violations(
    start_time: datetime | None, end_time: datetime | None, jitter: timedelta, max_runs: int | None
) -> list[Violation]:
    found = []
    if start_time is not None and end_time is not None and end_time <= start_time:
        found.append(Violation("end_time", f"{_shown(end_time)} is not after start_time {_shown(start_time)}"))
    if not _NOTHING <= jitter <= LONGEST_JITTER:
        found.append(Violation("jitter", f"{jitter.total_seconds():g} s is not a jitter (0 s to a day)"))
    if max_runs is not None and max_runs < 1:
        found.append(Violation("max_runs", f"{max_runs} is not a number of runs (at least 1; none means no limit)"))
    return found


def _check_time(name: str, time: datetime) -> None:
    if time.utcoffset() != _NOTHING or time.microsecond % 1000:
        raise _refused(name, f"{time.isoformat()} is not a time in UTC of whole milliseconds")


def _to_milliseconds(name: str, time: datetime | None, found: list[Violation]) -> datetime | None:
    if time is None:
        return None
    if time.tzinfo is None:
        found.append(Violation(name, f"{time.isoformat()} has no zone; expected a time in UTC"))
        return None
    return to_the_millisecond(time.astimezone(UTC))


def _whole_seconds(instant: datetime) -> int:
    """Return an instant as seconds since 1970, rounded down."""
    since = instant - EPOCH
    return since.days * 86_400 + since.seconds


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "Z")


def _refused(path: str, sentence: str) -> InvalidInput:
    return InvalidInput([Violation(path, sentence)])
