"""Tallies: how many executions ended how, how late they began and how long they took, as values that add up.

The tally of an hour is the sum of those of its minutes, percentiles included: spans of time are kept as a histogram
whose buckets grow by a constant factor (the DDSketch of Masson, Rim and Lee, VLDB 2019). Two of those add up bucket by
bucket, and any percentile of the sum is within ACCURACY of the true one, whatever was added in which order.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCURACY: Final = 0.02
"""How far a percentile may be from the true one, as a share of it. Smaller makes tallies larger, in proportion."""

_GROWTH: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GROWTH: Final = math.log(_GROWTH)
LONGEST: Final = 400 * 86_400_000
"""Milliseconds. What is longer counts as this long, so that there are at most 620 buckets."""


@dataclass(slots=True)
class Spans:
    """Spans of time, in milliseconds."""

    count: int = 0
    total: int = 0
    longest: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    """How many spans, by bucket: 0 has those that are none, n > 0 those up to _GROWTH ** (n - 1) milliseconds."""

    def add(self, milliseconds: int) -> None:
        """Add one; a negative one, as of a clock that was set back, counts as none."""
        span = min(max(milliseconds, 0), LONGEST)
        self.count += 1
        self.total += span
        self.longest = max(self.longest, span)
        self.buckets[_bucket(span)] += 1

    def merge(self, other: Spans) -> None:
        """Add all of another's."""
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        self.buckets.update(other.buckets)

    @property
    def mean(self) -> float:
        """Milliseconds; 0 when there are none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> float:
        """Return the span that this share of them (0 to 1) is no longer than, in milliseconds; 0 when there are none.

        Within ACCURACY of the one that stands at this place when they are put in order.
        """
        (span,) = self.percentiles(share)
        return span

    def percentiles(self, *shares: float) -> list[float]:
        """Return the spans of several shares, the smallest share first, in one walk through the buckets."""
        places = [max(1, math.ceil(share * self.count)) for share in shares]
        found: list[float] = []
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            while len(found) < len(places) and seen >= places[len(found)]:
                found.append(min(_middle(bucket), float(self.longest)))
            if len(found) == len(places):
                return found
        return found + [0.0] * (len(places) - len(found))


def _bucket(span: int) -> int:
    return 0 if span == 0 else 1 + max(0, math.ceil(math.log(span) / _LOG_GROWTH - 1e-9))


def _middle(bucket: int) -> float:
    """Return what is at most ACCURACY away from all that is in a bucket."""
    return 0.0 if bucket == 0 else 2 * _GROWTH ** (bucket - 1) / (_GROWTH + 1)


@dataclass(slots=True)
class Tally:
    """Executions that ended, and occurrences that were decided not to run."""

    counts: Counter[str] = field(default_factory=Counter)
    """By the name of their state."""
    retries: int = 0
    lateness: Spans = field(default_factory=Spans)
    duration: Spans = field(default_factory=Spans)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def merge(self, other: Tally) -> None:
        """Add all of another's."""
        self.counts.update(other.counts)
        self.retries += other.retries
        self.lateness.merge(other.lateness)
        self.duration.merge(other.duration)


def success_rate(counts: Mapping[str, int]) -> float | None:
    """Return the share of what succeeded among what succeeded or failed; None when there is neither."""
    succeeded, failed = counts.get("SUCCEEDED", 0), counts.get("FAILED", 0)
    return succeeded / (succeeded + failed) if succeeded + failed else None
