"""How every process talks to MongoDB: durable writes, UTC-aware times, bounded waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)
from pymongo.uri_parser import parse_uri

import shared.store.driver  # noqa: F401 - for what it mends

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.client_session import ClientSession
    from pymongo.database import Database

_GUARANTEES: Final[Mapping[str, Any]] = {
    "tz_aware": True,
    # A time that was stored by hand and is none of Python's would else fail each query that finds its document.
    "datetime_conversion": "DATETIME_CLAMP",
    # A decision is durable before anything follows from it: in the journal and, on a replica set, with the majority.
    "w": "majority",
    "journal": True,
    # On a replica set, reads see what no failover can undo as soon as it is there.
    "readConcernLevel": "majority",
}
"""What the design rests on, whatever the URL says."""

DEFAULT_CONNECT_TIMEOUT: Final = 5_000
"""Milliseconds; of all processes but the server, which tells its clients sooner."""

_DEFAULTS: Final[Mapping[str, Any]] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": DEFAULT_CONNECT_TIMEOUT,
    "socketTimeoutMS": 30_000,
    "appname": "grpc-scheduler",
}
"""What holds unless the URL says otherwise."""

DEFAULT_DATABASE = "scheduler"

FIRST_INSTANT: Final = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT: Final = datetime.max.replace(tzinfo=UTC, microsecond=999_000)
"""Between which documents are read, whatever is stored."""


def connect(url: str, **options: Any) -> Database[dict[str, Any]]:
    """Return the database that the URL names. Connects on first use; make it after a fork, not before."""
    client: MongoClient[dict[str, Any]] = MongoClient(url, **_options(url, options))
    return client[_database(url)]


def connect_async(url: str, **options: Any) -> AsyncDatabase[dict[str, Any]]:
    """Return the database that the URL names, for use in a running event loop."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **_options(url, options))
    return client[_database(url)]


def database_time(database: Database[dict[str, Any]]) -> datetime:
    """Return the database's time. Raises PyMongoError."""
    return as_utc(database.command("hello")["localTime"])


def in_order(client: MongoClient[dict[str, Any]]) -> AbstractContextManager[ClientSession]:
    """Have what this thread reads by the client in a block never be older than what it has read there before.

    Else it may be, from a primary that was just elected: who concludes from two reads would conclude what never was.
    No other client may be used in the block.
    """
    return client.start_session(causal_consistency=True).bind()


def as_utc(instant: datetime) -> datetime:
    """Return an instant of a command's answer, which does not say that it is UTC's: Python would take it for local."""
    return instant.replace(tzinfo=UTC)


def require_durable(answer: Mapping[str, Any]) -> None:
    """Raise WriteConcernError if what a command did is not known to be durable.

    Its answer says so, and PyMongo looks there only for what has a method of its own.
    """
    if error := answer.get("writeConcernError"):
        raise WriteConcernError(error.get("errmsg", ""), error.get("code"), error)


def _options(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    said = {name.lower() for name in parse_uri(url, validate=False)["options"]}
    preferred = {name: value for name, value in {**_DEFAULTS, **options}.items() if name.lower() not in said}
    return {**preferred, **_GUARANTEES}


def _database(url: str) -> str:
    return parse_uri(url, validate=False)["database"] or DEFAULT_DATABASE


_DUPLICATE_KEY: Final = 11_000


def already_there(error: BulkWriteError) -> list[Mapping[str, Any]]:
    """Return the failures of a bulk write of which each is a taken id; raise the error if there was any other.

    One of them is that the write is not known to be durable: nothing may follow from it yet.
    """
    details: Mapping[str, Any] = error.details or {}
    failures: list[Mapping[str, Any]] = details.get("writeErrors", [])
    if details.get("writeConcernErrors") or any(failure["code"] != _DUPLICATE_KEY for failure in failures):
        raise error
    return failures


_ILLEGAL_OPERATION: Final = 20
_PASSING: Final = frozenset({11601, 262, 134})
"""Interrupted, ExceededTimeLimit, ReadConcernMajorityNotAvailableYet (a new primary's first moments). Codes are those
of MongoDB's error_codes.yml."""


def is_away(error: PyMongoError) -> bool:
    """Return whether an error says that the store cannot be reached for now, so that trying again is right."""
    return (
        isinstance(error, ConnectionFailure)
        # NotPrimary and its kin come as other classes on some paths; they carry a label.
        or error.has_error_label("RetryableWriteError")
        # PyMongo 4.20 tries a write again whose connection broke while it was made, with a number that only members of
        # replica sets take: a standalone server refuses the second try, and the first never reached it.
        or (isinstance(error, OperationFailure) and error.code in {_ILLEGAL_OPERATION, *_PASSING})
        # Written, but not known to be durable: to write it again is what makes sure.
        or isinstance(error, WriteConcernError)
    )


def is_damage(error: Exception) -> bool:
    """Return whether an error is one document's, it seems: one that we cannot read, or that an update fails at.

    For what is left alone for a while only: that it is nothing else, as a query that was ended, is not certain.
    """
    return not isinstance(error, PyMongoError) or (isinstance(error, WriteError) and not is_away(error))
