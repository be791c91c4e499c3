"""Zones: what the clocks of a place are ahead of UTC, and since when.

A zone's rules are those of the package tzdata, or ones that the caller has kept and registered: they change from one
version of the package to the next, and a schedule goes on by the rules that it was made under until it is given others
(docs/decisions/0007). Rules are told apart by a fingerprint of their zone's name and data.

Instants are whole seconds since 1970-01-01T00:00:00Z; wall-clock times are seconds since 1970-01-01T00:00:00 on that
clock.
"""

from __future__ import annotations

import importlib
import struct
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from importlib.resources import files
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from shared.domain.errors import InvalidInput, SchedulerError, Unavailable, Violation
from shared.domain.text import closest, excerpt

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY: Final = 86_400
FOREVER: Final = 1 << 62
"""A second that is after all others; an offset added to it is still far from any date."""

_FIRST_PROBE: Final = -62_000_000_000
"""In the year 5. Some zone files begin with the Big Bang, which no datetime holds."""
_LAST_PROBE: Final = 253_402_300_799 - 2 * DAY
"""Two days before datetimes end, so that local times still exist there."""
_HORIZON: Final = 30 * 366 * DAY


class UnknownRules(SchedulerError):  # noqa: N818 - named after the outcome, as the others are
    """A schedule follows rules that neither the package has nor anybody registered."""

    def __init__(self, name: str, rules: str) -> None:
        super().__init__(f"the zone rules {rules} of {excerpt(name)} are not known here")


_registered: dict[str, bytes] = {}
"""Data of rules that the package does not have, or no longer, by their fingerprints."""


def _zone_files() -> Traversable:
    # The package's files, not ZoneInfo(name): that prefers the host's files, whose rules may be older or missing.
    try:
        return files("tzdata")
    except ModuleNotFoundError as error:
        raise Unavailable("time zone data is missing: install the package tzdata") from error


@lru_cache(maxsize=1)
def tzdata_version() -> str:
    """Return the version of the package tzdata, for example `2026.1` for what IANA calls 2026a.

    Raises Unavailable when the package is not installed.
    """
    _zone_files()
    return str(importlib.import_module("tzdata").__version__)


def is_older(version: str, other: str) -> bool:
    """Return whether one version of tzdata comes before another; none at all, as an empty text, before all."""
    return _numbers(version) < _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return the names of all zones and of their retired aliases. Raises Unavailable when there is no zone data."""
    return frozenset((_zone_files() / "zones").read_text(encoding="utf-8").split())


def zone_data(name: str) -> bytes:
    """Return a zone's rules as the package has them, in the format TZif; raises as zone() does."""
    names = zone_names()
    if name not in names:
        near = next((known for known in names if known.lower() == name.lower()), None) or closest(name, names)
        hint = f"; did you mean '{near}'?" if near else ", for example Europe/Berlin"
        raise InvalidInput([Violation("timezone", f"'{excerpt(name)}' is not an IANA time zone{hint}")])
    return (_zone_files() / "zoneinfo").joinpath(*name.split("/")).read_bytes()


@lru_cache(maxsize=1024)
def package_rules(name: str) -> str:
    """Return the fingerprint of a zone's rules as the package has them; raises as zone() does."""
    return fingerprint(name, zone_data(name))


def fingerprint(name: str, data: bytes) -> str:
    """Return what tells a zone's rules apart. With the name in it: zones that agree today may differ tomorrow."""
    return blake2b(data, digest_size=8, person=blake2b(name.encode(), digest_size=16).digest()).hexdigest()


def knows_rules(name: str, rules: str) -> bool:
    """Return whether zone(name, rules) has rules to go by; empty ones stand for the package's."""
    return not rules or rules in _registered or (name in zone_names() and rules == package_rules(name))


def register_rules(name: str, rules: str, data: bytes) -> None:
    """Make rules known, for zone() to return. Raises ValueError when the data is not what the fingerprint says."""
    if fingerprint(name, data) != rules:
        message = f"the data of the zone rules {rules} of {name} is damaged"
        raise ValueError(message)
    _registered[rules] = data


@lru_cache(maxsize=2048)
def zone(name: str, rules: str = "") -> Zone:
    """Return a zone by its IANA name; a retired alias is the zone that it links to (rule 14).

    rules: the fingerprint of those to go by; empty means the package's.

    Raises InvalidInput, on the field `timezone`, for a name that IANA does not have; UnknownRules for rules that
    nobody registered; Unavailable when there is no zone data at all.
    """
    if not rules:
        return zone(name, package_rules(name))
    if (kept := _registered.get(rules)) is not None:
        return Zone(name, kept)
    if not knows_rules(name, rules):
        raise UnknownRules(name, rules)
    return Zone(name, zone_data(name))


class Zone:
    """A zone's offsets from UTC: stretch i lasts from starts[i] to starts[i + 1] (UTC) and adds offsets[i] seconds.

    The file's transitions are read at once; those that its closing rule goes on to make (RFC 9636, section 3.3) are
    added when they are asked for. What a stretch's offset is, ZoneInfo says.
    """

    __slots__ = ("_info", "_lock", "name", "offsets", "rule_start", "starts")

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self._info = ZoneInfo.from_file(BytesIO(data), key=name)
        self._lock = Lock()
        instants, goes_on = _transitions(data)
        self.rule_start = instants[-1] if instants else 0
        """The last transition listed in the file: from then on the zone's rule repeats with the calendar's cycle."""
        self.starts = [-FOREVER]
        self.offsets = [self._offset(instants[0] - 1 if instants else 0)]
        for instant in instants:
            self._add(instant)
        # The last start has to be one whose stretch is not asked for: see index().
        if goes_on:
            self._extend()
        else:
            self._close()

    def index(self, instant: int) -> int:
        """Return the stretch that an instant lies in; the one after it is known too."""
        while instant >= self.starts[-1]:
            self._extend()
        return bisect_right(self.starts, instant) - 1

    def wall(self, instant: int) -> int:
        """Return what the zone's clock shows at an instant."""
        return instant + self.offsets[self.index(instant)]

    def instant(self, wall: int) -> int:
        """Return when the zone's clock shows a time: in a gap the first instant after it, of two passes the first."""
        at = self.index(wall - 2 * DAY)
        while self.starts[at + 1] + self.offsets[at] <= wall:
            at = self.index(self.starts[at + 1])
        return max(wall - self.offsets[at], self.starts[at])

    def first_difference(self, other: Zone, since: int) -> int | None:
        """Return the first instant from `since` on at which the two clocks show different times; None if never.

        Closing rules that agree for 30 years agree for good: they name days by month, week and weekday.
        """
        at, horizon = since, max(since, self.rule_start, other.rule_start) + _HORIZON
        while at < horizon:
            here, there = self.index(at), other.index(at)
            if self.offsets[here] != other.offsets[there]:
                return at
            at = min(self.starts[here + 1], other.starts[there + 1])
        return None

    def _extend(self) -> None:
        """Add the next changes that the closing rule makes: at most two a year, so two weeks never hide a pair."""
        with self._lock:
            last = max(self.starts[-1], self.rule_start)
            wanted = len(self.starts) + 16
            while len(self.starts) < wanted and last < _LAST_PROBE:
                before, last = last, min(last + 14 * DAY, _LAST_PROBE)
                if self._offset(last) == self.offsets[-1]:
                    continue
                after = last
                while after - before > 1:
                    middle = (before + after) // 2
                    if self._offset(middle) == self.offsets[-1]:
                        before = middle
                    else:
                        after = middle
                self._add(after)
            if last == _LAST_PROBE:
                self._close()

    def _add(self, instant: int) -> None:
        offset = self._offset(instant)
        if offset != self.offsets[-1]:
            # Readers take no lock and look at starts first, so its offset has to be there already.
            self.offsets.append(offset)
            self.starts.append(instant)

    def _close(self) -> None:
        self.offsets.append(self.offsets[-1])
        self.starts.append(FOREVER)

    def _offset(self, instant: int) -> int:
        ahead = (EPOCH + timedelta(seconds=instant)).astimezone(self._info).utcoffset() or timedelta()
        return ahead.days * DAY + ahead.seconds


def _transitions(data: bytes) -> tuple[list[int], bool]:
    """Return a TZif file's instants of change, and whether its closing rule makes more of them (RFC 9636)."""
    first, isutc, isstd, leaps, times, types, chars = _header(data, 0)
    second = first + times * 5 + types * 6 + chars + leaps * 8 + isstd + isutc
    start, isutc, isstd, leaps, times, types, chars = _header(data, second)
    end = start + times * 9 + types * 6 + chars + leaps * 12 + isstd + isutc
    instants = struct.unpack_from(f">{times}q", data, start)
    return [instant for instant in instants if instant > _FIRST_PROBE], b"," in data[end:]


def _header(data: bytes, at: int) -> tuple[int, ...]:
    return (at + 44, *struct.unpack_from(">6l", data, at + 20))
