"""Moves on one document of the store: made, or only tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.asynchronous.collection import AsyncCollection

    from shared.store.executions import Move


async def run_move(
    collection: AsyncCollection[dict[str, Any]], move: Move, *, validate_only: bool = False
) -> Mapping[str, Any] | None:
    """Make a move on one document; return it as it is then, or None where the move fits none.

    validate_only: return what it would be. An update is a pipeline, which need not store. Raises PyMongoError.
    """
    if validate_only:
        async with await collection.aggregate([{"$match": move.filter}, *move.update]) as found:
            return await anext(found, None)
    return await collection.find_one_and_update(move.filter, move.update, return_document=ReturnDocument.AFTER)
