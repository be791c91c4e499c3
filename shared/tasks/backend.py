"""Celery's result backend: Redis, but for chords, which the ledger completes, and by fewer commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.backends.redis import RedisBackend
from celery.states import SUCCESS

from shared.grouped import Grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Redis: Any = RedisBackend  # celery's stubs know too little of it


class LedgerBackend(_Redis):  # type: ignore[misc]
    """Redis with Celery's copies of results. That a chord's header is complete beat finds in the ledger."""

    def __init__(self, *args: Any, note_group: Callable[[str, int], None], **kwargs: Any) -> None:
        """note_group: keeps the size of a chord's header."""
        super().__init__(*args, **kwargs)
        self._note_group = note_group
        self._sets: Grouped[tuple[str, Any, float | None], None] = Grouped(self._set_together)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **named: Any
    ) -> Any:
        if state != SUCCESS:
            return super()._store_result(task_id, result, state, traceback, request, **named)
        # Celery would look first for an earlier success, which must stay: an execution succeeds once. And it would try
        # again for seconds while Redis is away, and say so each time: what has no copy is marked instead.
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        self._set(self.get_key_for_task(task_id), self.encode(meta | {"task_id": task_id}))
        return result

    def _set(self, key: str, value: Any, expires: float | None = None) -> None:
        self._sets.ask((key, value, self.expires if expires is None else expires))

    def _set_together(self, group: Sequence[tuple[str, Any, float | None]]) -> list[None]:
        """Do what Celery does for each, in one round trip for all that threads write at about the same time."""
        with self.client.pipeline() as pipe:
            for key, value, expires in group:
                if expires:
                    pipe.setex(key, expires, value)
                else:
                    pipe.set(key, value)
                pipe.publish(key, value)
            pipe.execute()
        return [None] * len(group)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Do nothing: what Celery keeps of a chord's header in Redis, the ledger has."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many executions the header of a chord has; called before the last of them is made."""
        self._note_group(group_id, chord_size)
