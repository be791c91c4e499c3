"""What happens after an attempt that failed: how often to try again, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from shared.domain.errors import InvalidInput, Violation

MOST_ATTEMPTS = 100
LONGEST_BACKOFF = timedelta(days=7)
JITTER = 0.2
"""Each wait varies by this share up or down, so that executions that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How an execution is retried. Raises InvalidInput when a value is out of bounds.

    max_attempts counts all tries, the first one included. The wait after the n-th attempt is
    initial_backoff x multiplier^(n-1), at most max_backoff.
    """

    max_attempts: int = 4
    initial_backoff: timedelta = timedelta(seconds=60)
    max_backoff: timedelta = timedelta(minutes=10)
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        if violations := list(self._violations()):
            raise InvalidInput(violations)

    def _violations(self) -> list[Violation]:
        found = []

        def refuse(field: str, sentence: str) -> None:
            found.append(Violation(f"retry_policy.{field}", sentence))

        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            refuse("max_attempts", f"{self.max_attempts} is not a number of attempts (1-{MOST_ATTEMPTS})")
        if not timedelta(0) <= self.initial_backoff <= LONGEST_BACKOFF:
            refuse("initial_backoff", f"{_seconds(self.initial_backoff)} is not between 0 s and 7 days")
        if not timedelta(0) <= self.max_backoff <= LONGEST_BACKOFF:
            refuse("max_backoff", f"{_seconds(self.max_backoff)} is not between 0 s and 7 days")
        elif self.max_backoff < self.initial_backoff:
            refuse(
                "max_backoff",
                f"{_seconds(self.max_backoff)} is less than initial_backoff ({_seconds(self.initial_backoff)})",
            )
        if not 1 <= self.multiplier <= 1000:  # noqa: PLR2004  (the sentence says what it is)
            refuse("multiplier", f"{self.multiplier:g} is not a multiplier (1-1000)")
        return found

    def backoff(self, attempt: int, chance: float) -> timedelta:
        """Return the wait after the given attempt (1 is the first).

        chance is uniform in [0, 1) and decides the jitter. The exponent is bounded, since a float to the power
        of a hundred overflows before max_backoff is applied.
        """
        longest = self.max_backoff.total_seconds()
        wait = self.initial_backoff.total_seconds()
        for _ in range(attempt - 1):
            wait *= self.multiplier
            if wait >= longest:
                break
        return timedelta(seconds=min(wait, longest) * (1 - JITTER + 2 * JITTER * chance))


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
