"""Look: ask by one question whether any of several duties has something to do; at rest it is all that they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.collection import Collection

    from beat.partitions import Partitions


class Look:
    """What some duties look for in one collection, as its store's functions ask for it in given partitions."""

    def __init__(
        self,
        collection: Collection[dict[str, Any]],
        partitions: Partitions,
        *questions: Callable[[frozenset[int]], Mapping[str, Any]],
    ) -> None:
        self._collection = collection
        self._partitions = partitions
        self._questions = questions

    def finds(self) -> bool:
        """Return whether there is anything. Each question is answered by its own index. Raises PyMongoError."""
        held = self._partitions.held
        if not held:
            return False
        asked = [question(held) for question in self._questions]
        return self._collection.find_one({"$or": asked}, {"_id": 1}) is not None
