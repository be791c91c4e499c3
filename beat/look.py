"""Look: ask by one question whether any of several duties has something to do; at rest it is all that they ask."""

from __future__ import annotations

import math
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConnectionFailure, ServerSelectionTimeoutError

from shared.store.pipeline import NOW, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pymongo.database import Database

    from beat.partitions import Partitions


class Sought(NamedTuple):
    """What is looked for in one collection: a document that any of some filters finds in the partitions of a beat."""

    collection: str
    filters: tuple[Callable[[frozenset[int]], Mapping[str, Any]], ...]
    first_by: str = ""
    """Which one, if it matters: the first by this field."""

    def pipeline(self, name: str, held: frozenset[int]) -> list[dict[str, Any]]:
        """Return the stages that find it, under its name."""
        chosen = [of(held) for of in self.filters]
        # Without an $or there may be a sort, which is then one of the index.
        match = [{"$match": {"$or": chosen} if len(chosen) > 1 else chosen[0]}]
        order = [{"$sort": {self.first_by: 1}}] if self.first_by else []
        told = {self.first_by: 1, "now": NOW} if self.first_by else {}
        return [*match, *order, {"$limit": 1}, {"$project": {"name": literal(name), **told}}]


class Look:
    """One question for all that some duties look for, each by a name. Of threads that ask at once, one asks for all."""

    def __init__(self, database: Database[dict[str, Any]], partitions: Partitions, **sought: Sought) -> None:
        self._database = database
        self._partitions = partitions
        self._sought = sought
        self._question: tuple[frozenset[int], Sequence[RawBSONDocument]] = frozenset(), ()
        """As it goes to the store, and the partitions that it is about."""
        self._asked_at = -math.inf
        self._answer: dict[str, dict[str, Any]] = {}
        self._asking = Lock()

    def found(self, since: float = math.inf) -> dict[str, dict[str, Any]]:
        """Return what there is, by its name; with the database's time as `now`, if it is the first by a field.

        What has that time also has the monotonic times between which it was read, as `asked_at` and `came_at`. Asks,
        unless it was asked since then, by the monotonic clock. Each filter is answered by its own index, and of all
        that it finds one document is read. Raises PyMongoError.
        """
        with self._asking:
            if self._asked_at < since:
                asked_at = monotonic()
                answer, came_at = self._ask(), monotonic()
                for document in answer.values():
                    if "now" in document:
                        document |= {"asked_at": asked_at, "came_at": came_at}
                self._answer, self._asked_at = answer, asked_at
            return self._answer

    def _ask(self) -> dict[str, dict[str, Any]]:
        held = self._partitions.held
        if not held:
            return {}
        if held != self._question[0]:
            self._question = held, [RawBSONDocument(encode(stage)) for stage in self._stages(held)]
        try:
            answer = self._aggregate()
        except ServerSelectionTimeoutError:
            raise
        except ConnectionFailure:
            # A connection that broke, or another primary: PyMongo asks once more for whatever reads, but for commands.
            answer = self._aggregate()
        return {document["name"]: document for document in answer["cursor"]["firstBatch"]}

    def _aggregate(self) -> dict[str, Any]:
        # As a command: a cursor takes PyMongo a quarter as long again, and there is nothing behind the first batch.
        return self._database.command(
            "aggregate",
            next(iter(self._sought.values())).collection,
            pipeline=self._question[1],
            cursor={},
            readConcern=self._database.read_concern.document,
            codec_options=self._database.codec_options,
        )

    def _stages(self, held: frozenset[int]) -> list[dict[str, Any]]:
        stages: list[dict[str, Any]] = []
        for name, sought in self._sought.items():
            own = sought.pipeline(name, held)
            stages += [{"$unionWith": {"coll": sought.collection, "pipeline": own}}] if stages else own
        return stages
