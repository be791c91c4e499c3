"""How every process talks to MongoDB: durable writes, UTC-aware times, bounded waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.uri_parser import parse_uri

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

_OPTIONS: dict[str, Any] = {
    "tz_aware": True,
    # A decision is durable before anything follows from it: in the journal and, on a replica set, with the majority.
    "w": "majority",
    "journal": True,
    # On a replica set, reads see what no failover can undo as soon as it is there.
    "readConcernLevel": "majority",
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
    "appname": "grpc-scheduler",
}

DEFAULT_DATABASE = "scheduler"


def connect(url: str, **options: Any) -> Database[dict[str, Any]]:
    """Return the database that the URL names. Connects on first use; make it after a fork, not before."""
    client: MongoClient[dict[str, Any]] = MongoClient(url, **{**_OPTIONS, **options})
    return client[_database(url)]


def connect_async(url: str, **options: Any) -> AsyncDatabase[dict[str, Any]]:
    """Return the database that the URL names, for use in a running event loop."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **{**_OPTIONS, **options})
    return client[_database(url)]


def _database(url: str) -> str:
    return parse_uri(url, validate=False)["database"] or DEFAULT_DATABASE
