"""What is forecast: each weekday's demand by exponential smoothing, and how well that would have done in the past."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WEEK: Final = 7
_TRIED_ON: Final = 28
"""The latest days, by which a smoothing is judged."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A region's demand of the days to come. error: how far the same would have been off in the past, in percent."""

    days: list[float]
    error: float

    @property
    def total(self) -> float:
        """The sum over the days."""
        return sum(self.days)


def outlook(past: Sequence[float], days: int, smoothing: float) -> Outlook:
    """Return what is to be expected of the days that follow; smoothing is between 0 and 1."""
    week = _week_after(past, smoothing)
    return Outlook([round(week[day % WEEK], 1) for day in range(days)], round(error(past, smoothing), 2))


def error(past: Sequence[float], smoothing: float) -> float:
    """Return how far the forecasts of the latest days, each from those before it, were off: the mean, in percent."""
    said = [_week_after(past[:-back], smoothing)[0] for back in range(_TRIED_ON, 0, -1)]
    seen = past[-_TRIED_ON:]
    return 100 / _TRIED_ON * sum(abs(was - would) / was for was, would in zip(seen, said, strict=True))


def _week_after(past: Sequence[float], smoothing: float) -> list[float]:
    """Return the week that follows: of each weekday its past, in which the older counts the less."""
    levels = list(past[:WEEK])
    for place, seen in enumerate(past[WEEK:]):
        levels[place % WEEK] += smoothing * (seen - levels[place % WEEK])
    first = len(past) % WEEK
    return levels[first:] + levels[:first]
