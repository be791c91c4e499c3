"""The layout of the store: its collections and indexes, made by commands that change nothing when given again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import pymongo
from pymongo.errors import OperationFailure

from shared.log import get_logger
from shared.store import pages
from shared.store.indexes import BUILD_PATIENCE, INDEXES, OBSOLETE
from shared.store.mongo import require_durable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from pymongo.database import Database
    from pymongo.write_concern import WriteConcern

log = get_logger()

_INDEX_NOT_FOUND: Final = 27
_INDEX_BUILD_IN_PROGRESS: Final = 12587


class Step(NamedTuple):
    """A command, and what becomes of its refusal."""

    command: dict[str, Any]
    """To be copied: PyMongo writes into it."""
    refused: Callable[[OperationFailure], None]
    """Raises the error, if there is no going on without what was refused."""
    patience: float | None = None
    """Seconds that it may take; None: as any command."""


def collections() -> Iterator[Step]:
    """Return what makes collections, where that must not be left to what is stored in them first."""
    for command in pages.CREATE_COMMANDS:
        yield Step(command, pages.tolerate)


def indexes(concern: WriteConcern) -> Iterator[Step]:
    """Return what makes the indexes that are missing, and the collections that they are of.

    After the collections also since with the patience of these a store that is away would be waited for as well.
    """
    for collection, models in INDEXES.items():
        wanted = [model.document for model in models]
        command = {"createIndexes": collection, "indexes": wanted, "writeConcern": concern.document}
        yield Step(command, _refuse, BUILD_PATIENCE)


def obsolete(collection: str, there: Container[str], concern: WriteConcern) -> Iterator[Step]:
    """Return what drops the indexes that are needed no more, of those that are there, when all others are.

    To drop one locks the collection for all others, and waits for all of them, also where it comes to nothing.
    """
    for name in OBSOLETE.get(collection, ()):
        if name in there:
            command = {"dropIndexes": collection, "index": name, "writeConcern": concern.document}
            yield Step(command, partial(_leave, collection, name))


def lay_out(database: Database[dict[str, Any]]) -> None:
    """Take all steps. Raises PyMongoError."""
    concern = database.write_concern
    take(database, collections())
    take(database, indexes(concern))
    for collection in OBSOLETE:
        take(database, obsolete(collection, database[collection].index_information(), concern))


def take(database: Database[dict[str, Any]], steps: Iterable[Step]) -> None:
    """Take some steps. Raises PyMongoError."""
    for step in steps:
        with pymongo.timeout(step.patience):
            try:
                require_durable(database.command(dict(step.command)))
            except OperationFailure as error:
                step.refused(error)


def _refuse(error: OperationFailure) -> NoReturn:
    raise error


def _leave(collection: str, index: str, error: OperationFailure) -> None:
    """Let it pass that an index is there no more, as another process has just dropped it; or that it stays for now.

    Some servers refuse to drop it while another of its collection is built; MongoDB 6.0 does not. It costs space only,
    until a process starts again.
    """
    if error.code == _INDEX_BUILD_IN_PROGRESS:
        log.info("an index stays that is needed no more", action="index_stays", collection=collection, index=index)
    elif error.code != _INDEX_NOT_FOUND:
        raise error
