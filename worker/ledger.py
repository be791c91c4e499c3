"""What a worker writes to the ledger, and how it learns the outcome of a write whose answer was lost."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import ConnectionFailure, PyMongoError

from shared.domain.execution import TERMINAL
from shared.log import get_logger
from shared.store import executions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from pymongo.database import Database

    from shared.store.executions import Claimed, Move

log = get_logger()

_T = TypeVar("_T")

RETRY_WAIT: Final = 0.5
"""Seconds between two tries of a write while the store is away."""


class StoppingError(Exception):
    """The worker is asked to stop while the store is away."""


class Ledger:
    """The executions collection, as a worker uses it. Safe for use by many threads.

    Every operation waits while MongoDB is away, unless the worker is stopping: then it raises StoppingError.
    """

    def __init__(
        self, database: Database[dict[str, Any]], worker: str, lease: timedelta, stopping: Callable[[], bool]
    ) -> None:
        self._executions = database[executions.COLLECTION]
        self._worker = worker
        self._lease = lease
        self._stopping = stopping

    def claim(self, execution_id: str) -> Claimed | None:
        """Start an attempt, and hold its lease; None when there is nothing to start: done, running, or not due yet."""
        nonce = uuid4().hex
        move = executions.claim(execution_id, self._worker, nonce, self._lease)

        def claim_once() -> Mapping[str, Any] | None:
            return self._executions.find_one_and_update(move.filter, move.update, return_document=ReturnDocument.AFTER)

        def was_claimed() -> Mapping[str, Any] | None:
            # The answer was lost: the nonce, which nobody else can have written, tells.
            return self._executions.find_one({"_id": execution_id, "lease.nonce": nonce})

        document = self._persist(lambda tried: (was_claimed() if tried else None) or claim_once())
        if document is not None:
            return executions.to_claimed(document)
        early = executions.return_early(execution_id, self._worker)
        self._persist(lambda _: self._executions.update_one(early.filter, early.update))
        return None

    def why_unclaimable(self, execution_id: str) -> str:
        """Return, for the log, why an execution could not be claimed."""
        document = self._executions.find_one({"_id": execution_id}, {"state": 1})
        return f"it is {document['state']}" if document else "there is no such execution"

    def record(self, claimed: Claimed, move: Move) -> Mapping[str, Any] | None:
        """Write the outcome of an attempt; return the row, or None if the lease was lost and the outcome is refused."""

        def write(*, tried: bool) -> Mapping[str, Any] | None:
            written = self._executions.find_one_and_update(
                move.filter, move.update, return_document=ReturnDocument.AFTER
            )
            if written is None and tried:
                return self._own_outcome(claimed)
            return written

        return self._persist(lambda tried: write(tried=tried))

    def renew(self, held: Mapping[str, str]) -> set[str]:
        """Prolong the leases of attempts, given as execution id to nonce; return the ids of those that still are ours.

        Raises PyMongoError at once: the caller's clock decides how long that may go on.
        """
        move = executions.renew(held, self._lease)
        self._executions.update_many(move.filter, move.update)
        return {row["_id"] for row in self._executions.find(move.filter, {"_id": 1})}

    def _own_outcome(self, claimed: Claimed) -> Mapping[str, Any] | None:
        """Return the row if the write whose answer was lost had been done: this attempt ended by this worker's hand."""
        row = self._executions.find_one({"_id": claimed.execution_id, "attempt": claimed.attempt})
        if row is None or row["state"] not in {*TERMINAL, "PENDING", "QUEUED"}:
            return None
        ends = [t for t in row["transitions"] if t["by"] == self._worker and t["state"] != "RUNNING"]
        return row if ends else None

    def _persist(self, operation: Callable[[bool], _T]) -> _T:
        """Do an operation until the store answers. It is told whether an earlier try may have taken effect."""
        tried = False
        while True:
            try:
                return operation(tried)
            except ConnectionFailure as error:
                if not tried:
                    log.warning("the store cannot be reached", action="store_away", error=str(error))
                tried = True
                if self._stopping():
                    raise StoppingError(str(error)) from error
                sleep(RETRY_WAIT)
            except PyMongoError as error:
                # NotPrimary and its kin come as other classes on some paths; they carry a label.
                if not error.has_error_label("RetryableWriteError"):
                    raise
                tried = True
                sleep(RETRY_WAIT)
