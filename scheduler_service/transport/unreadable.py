"""Documents that somebody has changed by hand: what reading them raises, and what is said of them."""

from __future__ import annotations

from typing import Final

from scheduler_service.transport.refusals import LONGEST_SENTENCE, shortened
from shared.domain.errors import InvalidInput
from shared.domain.zones import UnknownRules

UNREADABLE: Final = (
    InvalidInput, UnknownRules, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What reading a document raises that somebody has changed by hand."""


def why_unreadable(error: Exception) -> str:
    """Return the sentence for clients."""
    said = f"it can't be read, since its document was changed by hand: {type(error).__name__}: {error}"
    return shortened(said, LONGEST_SENTENCE)
