"""The layout of the store: its collections and indexes, made by commands that change nothing when given again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import pymongo
from pymongo.errors import OperationFailure

from shared.store import pages
from shared.store.indexes import BUILD_PATIENCE, INDEXES, OBSOLETE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database
    from pymongo.write_concern import WriteConcern

_INDEX_NOT_FOUND: Final = 27


class Step(NamedTuple):
    """A command, and what becomes of its refusal."""

    command: dict[str, Any]
    """To be copied: PyMongo writes into it."""
    refused: Callable[[OperationFailure], None]
    """Raises the error, if there is no going on without what was refused."""
    patience: float | None = None
    """Seconds that it may take; None: as any command."""


def steps(durable: WriteConcern) -> Iterator[Step]:
    """Return what makes what is missing, and drops what is needed no more, in its order."""
    # First, since with the patience below a store that is away would be waited for as well.
    for command in pages.CREATE_COMMANDS:
        yield Step(command, pages.tolerate)
    as_any_write = {"writeConcern": durable.document}
    for collection, indexes in INDEXES.items():
        wanted = [index.document for index in indexes]
        yield Step({"createIndexes": collection, "indexes": wanted, **as_any_write}, _refuse, BUILD_PATIENCE)
    for collection, names in OBSOLETE.items():
        for name in names:
            yield Step({"dropIndexes": collection, "index": name, **as_any_write}, _tolerate_none_there)


def lay_out(database: Database[dict[str, Any]]) -> None:
    """Take all steps. Raises PyMongoError."""
    for step in steps(database.write_concern):
        with pymongo.timeout(step.patience):
            try:
                database.command(dict(step.command))
            except OperationFailure as error:
                step.refused(error)


def _refuse(error: OperationFailure) -> NoReturn:
    raise error


def _tolerate_none_there(error: OperationFailure) -> None:
    """Let it pass that there is no such index: there never was, or another process has just dropped it."""
    if error.code != _INDEX_NOT_FOUND:
        raise error
