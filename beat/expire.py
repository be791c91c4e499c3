"""Expire: cancel executions that were not started in time, so that they neither run late nor stand in others' way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.log import get_logger
from shared.store import executions, submitted

if TYPE_CHECKING:
    from pymongo.database import Database

    from beat.partitions import Partitions

log = get_logger()


class Expire:
    """One duty of beat."""

    def __init__(self, database: Database[dict[str, Any]], partitions: Partitions, by: str) -> None:
        self._executions = database[executions.COLLECTION]
        self._partitions = partitions
        self._by = by

    def run_once(self) -> int:
        """Cancel what has expired, by the database's clock; return how many.

        Safe to run in any number of processes at once: a worker that starts one of them at this moment is faster, or
        finds nothing to start.
        """
        move = submitted.expire_all(self._partitions.held, self._by)
        expired = self._executions.update_many(move.filter, move.update).modified_count
        if expired:
            log.info("executions were not started in time", action="executions_expired", count=expired)
        return expired
