"""Times and spans as people type them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

from scheduler_client.values import LONGEST_SPAN

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
SHORTEST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 86_400
"""Seconds; whoever waits for a check for longer than a day has mistyped."""
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def instant(text: str) -> datetime:
    """Read RFC 3339 (UTC when no offset), `now`, or a span from now as `-2h` or `+30m`."""
    found = instant_or_clock(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def instant_or_clock(text: str) -> datetime:
    """Read what `instant` does; without an offset it has none: whoever knows the zone says which instant it is."""
    if text == "now":
        return datetime.now(UTC)
    if text[:1] in "+-" and (distance := _span(text[1:])) is not None:
        try:
            return datetime.now(UTC) + (distance if text[0] == "+" else -distance)
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is too large; times are in the years 1 to 9999") from None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        expected = "RFC 3339, for example 2030-01-31T08:00:00Z, or a span from now, as -2h or +30m"
        raise typer.BadParameter(f"{text!r} is not a time; expected {expected}") from None


def is_past(text: str) -> bool:
    """Return whether it is a span back from now, as -2h."""
    return text.startswith("-") and _span(text[1:]) is not None


def span(text: str) -> timedelta:
    """Read a span, as `1h30m` or `90s`."""
    found = _span(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a span; expected for example 1h30m, 90s or 7d")
    if found > LONGEST_SPAN:
        raise typer.BadParameter(f"{text!r} is too large; a span is at most {LONGEST_SPAN.days}d")
    return found


def seconds(text: str) -> float:
    """Read a number of seconds that somebody waits, at least a tenth of one."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not SHORTEST_WAIT <= found <= LONGEST_WAIT:  # nor is NaN
        raise typer.BadParameter(f"{text!r} is no number of seconds from {SHORTEST_WAIT} to {LONGEST_WAIT:,}")
    return found


def _span(text: str) -> timedelta | None:
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        return timedelta.max
