"""The demand of regions that are made up, day by day: a trend, a week, and some noise."""

from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Final

REGIONS: Final = ("north", "east", "south", "west")

_WEEK: Final = (1.0, 0.98, 0.97, 1.02, 1.15, 1.3, 0.7)
_FIRST_DAY: Final = date(2020, 1, 1)


class UnknownRegionError(LookupError):
    """There is no region of this name."""


def history(region: str, until: date, days: int) -> Sequence[float]:
    """Return the demand of the days before one, the oldest first. Raises UnknownRegionError."""
    return [_demand(region, until - timedelta(days=back)) for back in range(days, 0, -1)]


def _demand(region: str, day: date) -> float:
    try:
        size = 100 * (REGIONS.index(region) + 1)
    except ValueError:
        raise UnknownRegionError(f"there is no region {region} (known: {', '.join(REGIONS)})") from None
    trend = 1 + (day - _FIRST_DAY).days / 2000
    noise = sha256(f"{region}/{day}".encode()).digest()[0] / 255 - 0.5
    return size * trend * _WEEK[day.weekday()] * (1 + noise / 10)
