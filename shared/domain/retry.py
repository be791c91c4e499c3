"""What happens after an attempt that failed: how often to try again, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared.domain.errors import InvalidInput, Violation
from shared.domain.text import excerpt

MOST_ATTEMPTS = 100
LONGEST_BACKOFF = timedelta(days=7)
JITTER = 0.2
"""Each wait varies by this share up or down, so that executions that failed together do not come back together."""

GRPC_CODES: Final = (
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""The names of the statuses of gRPC that say that a call has failed, in the order of their numbers."""

TARGET_UNKNOWN: Final = "TARGET_UNKNOWN"
"""The code of an attempt whose worker's list of targets lacks the job's. Tried again unless a policy says otherwise.

In a rolling restart another worker, or this one a moment later, has the list that the job was created with.
"""

TASK_FAILED: Final = "TASK_FAILED"
"""The code of an attempt whose task raised an exception.

Tried again only where a policy names it: tasks have retries of their own.
"""

CODES: Final = (*GRPC_CODES, TARGET_UNKNOWN, TASK_FAILED)
"""What a policy's lists may name. A lost worker is not among them: that is the policy on_worker_lost."""


class Jitter(StrEnum):
    """How much a wait varies: by a fifth up or down, anything up to the whole of it, or not at all."""

    PROPORTIONAL = "PROPORTIONAL"
    FULL = "FULL"
    NONE = "NONE"


class RetryWindow(StrEnum):
    """Until when an execution is tried again: as long as there are attempts, or until its job's next nominal time."""

    UNLIMITED = "UNLIMITED"
    UNTIL_NEXT = "UNTIL_NEXT"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How an execution is retried. Raises InvalidInput when a value is out of bounds.

    max_attempts counts all tries, the first one included. The wait after the n-th attempt is
    initial_backoff x multiplier^(n-1), at most max_backoff, varied by the jitter. Without retryable_codes the service's
    list holds; non_retryable_codes take precedence over either.
    """

    max_attempts: int = 4
    initial_backoff: timedelta = timedelta(seconds=60)
    max_backoff: timedelta = timedelta(minutes=10)
    multiplier: float = 2.0
    jitter: Jitter = Jitter.PROPORTIONAL
    retryable_codes: frozenset[str] = frozenset()
    non_retryable_codes: frozenset[str] = frozenset()
    retry_window: RetryWindow = RetryWindow.UNLIMITED

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
        for field in ("retryable_codes", "non_retryable_codes"):
            if unknown := sorted(getattr(self, field) - set(CODES)):
                named = ", ".join(f"'{excerpt(code)}'" for code in unknown[:_MOST_NAMED])
                refuse(field, f"{named}: no such status code (known: {', '.join(CODES)})")
        if both := sorted(self.retryable_codes & self.non_retryable_codes):
            refuse("non_retryable_codes", f"{', '.join(both)} cannot be in both lists")
        return found

    def retries(self, code: str, usual: frozenset[str]) -> bool:
        """Return whether an attempt that failed with a code is tried again; usual: the codes of the service's list."""
        if code in self.non_retryable_codes:
            return False
        return code in (self.retryable_codes or usual) or code == TARGET_UNKNOWN

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
        match self.jitter:
            case Jitter.PROPORTIONAL:
                share = 1 - JITTER + 2 * JITTER * chance
            case Jitter.FULL:
                share = chance
            case Jitter.NONE:
                share = 1.0
        return timedelta(seconds=min(wait, longest) * share)


_MOST_NAMED: Final = 20
"""Unknown codes that are named; a request has room for a million."""


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
