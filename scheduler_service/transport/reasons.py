"""The reasons that callers give for what they do, which the history keeps."""

from __future__ import annotations

from shared.domain.errors import Violation
from shared.domain.job import LONGEST_REASON
from shared.domain.text import unprintable


def reason_violations(reason: str) -> list[Violation]:
    """Return what is wrong with a reason; none at all is right."""
    if len(reason) > LONGEST_REASON:
        return [Violation("reason", f"{len(reason):,} characters are too many (at most {LONGEST_REASON})")]
    said = unprintable(reason, lines=True)
    return [Violation("reason", said)] if said else []
