"""Celery's result backend: Redis, but for chords, which the ledger completes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.backends.redis import RedisBackend

if TYPE_CHECKING:
    from collections.abc import Callable

_Redis: Any = RedisBackend  # celery's stubs know too little of it


class LedgerBackend(_Redis):  # type: ignore[misc]
    """Redis with Celery's copies of results. That a chord's header is complete beat finds in the ledger."""

    def __init__(self, *args: Any, note_group: Callable[[str, int], None], **kwargs: Any) -> None:
        """note_group: keeps the size of a chord's header."""
        super().__init__(*args, **kwargs)
        self._note_group = note_group

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Do nothing: what Celery keeps of a chord's header in Redis, the ledger has."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many executions the header of a chord has; called before the last of them is made."""
        self._note_group(group_id, chord_size)
