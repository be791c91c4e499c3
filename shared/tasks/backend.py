"""Celery's result backend: Redis, but for chords, which the ledger completes, and by fewer commands."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from celery.backends.redis import RedisBackend
from celery.states import SUCCESS

from shared.grouped import Grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEEP: Final = """
for number, key in ipairs(KEYS) do
    local value, seconds = ARGV[number], tonumber(ARGV[#KEYS + number])
    if seconds > 0 then redis.call('SET', key, value, 'EX', seconds) else redis.call('SET', key, value) end
    redis.call('PUBLISH', key, value)
end"""
"""Keeps values, and tells those who wait for them. Four commands for each, as Celery sends, take as long in a client as
a write to MongoDB does."""

_Redis: Any = RedisBackend  # celery's stubs know too little of it


class LedgerBackend(_Redis):  # type: ignore[misc]
    """Redis with Celery's copies of results. That a chord's header is complete beat finds in the ledger."""

    def __init__(self, *args: Any, note_group: Callable[[str, int], None], **kwargs: Any) -> None:
        """note_group: keeps the size of a chord's header."""
        super().__init__(*args, **kwargs)
        self._note_group = note_group
        self._sets: Grouped[tuple[str, Any, float | None], None] = Grouped(self._set_together)

    def prepare(self) -> None:
        """Make the client now: a thread that makes it holds a lock of the class, which a fork would take along."""
        _ = self._keep

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **named: Any
    ) -> Any:
        if state != SUCCESS:
            return super()._store_result(task_id, result, state, traceback, request, **named)
        # Celery would look first for an earlier success, which must stay: an execution succeeds once. And it would try
        # again for seconds while Redis is away, and say so each time: what has no copy is marked instead.
        self._set(*self.success(task_id, result, request))
        return result

    def success(self, task_id: str, result: Any, request: Any = None) -> tuple[Any, str]:
        """Return the key and the value of a success, as Celery has them."""
        meta = self._get_result_meta(result=result, state=SUCCESS, traceback=None, request=request)
        return self.get_key_for_task(task_id), self.encode(meta | {"task_id": task_id})

    def keep(self, copies: Sequence[tuple[Any, str]]) -> None:
        """Keep keys and values, all by one command. Raises what Redis' client does."""
        self._set_together([(key, value, self.expires) for key, value in copies])

    def _set(self, key: str, value: Any, expires: float | None = None) -> None:
        self._sets.ask((key, value, self.expires if expires is None else expires))

    def _set_together(self, group: Sequence[tuple[str, Any, float | None]]) -> list[None]:
        """Do what Celery does for each, by one command for all that threads write at about the same time."""
        keys, values = [key for key, _, _ in group], [value for _, value, _ in group]
        seconds = [int(expires or 0) for _, _, expires in group]
        self._keep(keys=keys, args=[*values, *seconds])
        return [None] * len(group)

    @cached_property
    def _keep(self) -> Any:
        return self.client.register_script(_KEEP)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Do nothing: what Celery keeps of a chord's header in Redis, the ledger has."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many executions the header of a chord has; called before the last of them is made."""
        self._note_group(group_id, chord_size)
