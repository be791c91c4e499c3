"""Documents that cannot be read: what reading them raises, and what is said of them, to the log and to clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from scheduler_service.transport.refusals import LONGEST_SENTENCE, shortened
from shared.domain.errors import InvalidInput
from shared.domain.zones import UnknownRules
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

log = get_logger()

UNREADABLE: Final = (
    InvalidInput, UnknownRules, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What reading a document raises that somebody has changed by hand, or that a newer release has stored."""


def of_newer_release(kind: str, document: Mapping[str, Any], known: int) -> str:
    """Return the sentence about a document of a newer release; empty for any other. known: this server's schema."""
    schema = document.get("schema")
    if not isinstance(schema, int) or schema <= known:
        return ""
    return (
        f"the {kind} '{document['_id']}' was stored by a newer release (schema {schema}; this server knows {known}):"
        " ask a server of that release"
    )


def why_unreadable(kind: str, document: Mapping[str, Any], known: int, error: Exception, *, action: str) -> str:
    """Return why a document can't be read, for clients; logged, unless a newer release has stored it."""
    if said := of_newer_release(kind, document, known):
        return said
    name, cause = document["_id"], shortened(f"{type(error).__name__}: {error}", LONGEST_SENTENCE)
    log.warning("a document can't be read", **{"action": action, f"{kind}_id": name, "error": cause})
    return f"the {kind} '{name}' can't be read, since its document was changed by hand: {cause}; mend it in MongoDB"
