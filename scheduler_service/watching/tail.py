"""One reader of a collection's tail for all who watch it: what has changed, and by which instant all was seen."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.store import tail
from shared.store.mongo import as_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pymongo.asynchronous.collection import AsyncCollection

SETTLED: Final = 1.0
"""Seconds after which what was written is taken to be visible. A write carries the time at which it began; one of many
rows becomes visible bit by bit, so these are counted anew as long as rows of an instant still appear, and only while
the store answers. Longer makes every watcher later; shorter makes a slow store's writes late, see Look.late."""

LOOKED_BACK: Final = timedelta(seconds=10)
"""How far behind what is settled the reader still looks for what has appeared nevertheless."""
LOOK_BACK_EVERY: Final = 8
"""Of so many looks one goes so far back."""

_BATCH: Final = 1_000
_SET_BACK: Final = timedelta(seconds=2)
"""A database's clock that is behind what was seen before by more was set back."""
_TICK: Final = timedelta(milliseconds=1)
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ClockSetBack(Exception):  # noqa: N818 - named after what has happened
    """The database's clock was set back; until it has caught up, what changes can't be told from what was told."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found.

    documents: those that have changed since they were read last, as they are now. late: the ids of those of them that
    appeared only when their instant counted as settled. settled: all that has changed by then has been read.
    """

    documents: list[Mapping[str, Any]]
    late: frozenset[str]
    since: datetime
    """Until where the look before had settled."""
    settled: datetime
    now: datetime
    """The database's time when the look began."""
    ready: bool
    """Whether settled is more than a guess: there was time to see what had begun before the first look."""


class Tail:
    """Looks at a collection by the index `tail`. What a look costs follows from what has changed, not from who asks."""

    def __init__(
        self,
        collection: AsyncCollection[dict[str, Any]],
        hidden: Mapping[str, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collection = collection
        self._hidden = hidden
        self._clock = clock
        self._seen: dict[str, tail.Changed] = {}
        self._looks: deque[tuple[float, datetime]] = deque()
        self._appeared: deque[tuple[float, datetime]] = deque()
        self._settled = _NEVER
        self._ready = False
        self._count = 0

    @property
    def looked_back(self) -> datetime:
        """The instant after which the reader knows what was told."""
        return self._settled - LOOKED_BACK

    def knows(self, document_id: str) -> bool:
        """Return whether a document has changed so lately that the reader still looks for late changes beside it."""
        return document_id in self._seen

    async def look(self) -> Look:
        """Read what has changed. Raises PyMongoError, after which the next look goes on; ClockSetBack."""
        began = self._clock()
        now, visible = await database_now(self._collection)
        first = self._count == 0
        if first:
            self._settled = visible
        since = self._settled
        if now < since - _SET_BACK:
            raise ClockSetBack(str(since - now))
        looks_back = first or self._count % LOOK_BACK_EVERY == 0
        keys = await self._keys(self.looked_back if looks_back else since)
        changed = {key: at for key, at in keys.items() if self._seen.get(key) != at}
        if first:
            # What was there already is not told, but what appears beside it is.
            self._seen = {key: at for key, at in changed.items() if tail.instant_of(at) <= since - tail.SECOND}
            changed = {key: at for key, at in changed.items() if key not in self._seen}
        late = frozenset(key for key, at in changed.items() if not first and tail.instant_of(at) <= since)
        documents = await self._read(changed)
        # Only now: a look that failed half-way is made again.
        self._count += 1
        self._seen.update({document["_id"]: document["changed"] for document in documents})
        self._settle(began, visible, [tail.instant_of(at) for key, at in changed.items() if key not in late])
        if looks_back:
            floor = self.looked_back
            self._seen = {key: at for key, at in self._seen.items() if tail.instant_of(at) > floor}
        return Look(documents, late, since, self._settled, now, self._ready)

    async def _keys(self, since: datetime) -> dict[str, tail.Changed]:
        found = self._collection.find(tail.after(since), tail.KEYS, hint="tail", batch_size=10_000)
        return {key["_id"]: key["changed"] async for key in found}

    async def _read(self, ids: Iterable[str]) -> list[Mapping[str, Any]]:
        wanted = list(ids)
        documents: list[Mapping[str, Any]] = []
        for begin in range(0, len(wanted), _BATCH):
            chosen = {"_id": {"$in": wanted[begin : begin + _BATCH]}}
            documents += await self._collection.find(chosen, self._hidden, batch_size=_BATCH).to_list()
        return documents

    def _settle(self, began: float, visible: datetime, appeared: list[datetime]) -> None:
        """Move the settled instant on: behind it nothing has appeared for SETTLED seconds of looking."""
        self._looks.append((began, visible))
        if appeared:
            self._appeared.append((began, min(appeared)))
        settled_before = began - SETTLED
        reached: datetime | None = None
        while self._looks and self._looks[0][0] <= settled_before:
            reached = self._looks.popleft()[1]
        while self._appeared and self._appeared[0][0] <= settled_before:
            self._appeared.popleft()
        if reached is None:
            return
        self._ready = True
        quiet = min((instant for _, instant in self._appeared), default=None)
        if quiet is not None:
            reached = min(reached, quiet - _TICK)
        self._settled = max(self._settled, reached)


async def database_now(collection: AsyncCollection[dict[str, Any]]) -> tuple[datetime, datetime]:
    """Return the database's time, and that up to which reads see what was written.

    On a replica set the latter is the majority's. While something is on its way there that is the time of the write
    before, which may be any while ago.
    """
    hello = await collection.database.command("hello")
    last = hello.get("lastWrite", {})
    behind = last.get("opTime") != last.get("majorityOpTime")
    now = as_utc(hello["localTime"])
    return now, as_utc(last["majorityWriteDate"]) if behind else now
