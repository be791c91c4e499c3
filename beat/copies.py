"""Copies: tell Celery's result backend what it has not heard: what was cancelled, expired, lost; or it was away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.exceptions import TaskRevokedError

from beat.aside import Aside
from shared.domain.execution import State
from shared.log import get_logger
from shared.store import executions
from shared.store.mongo import is_damage
from shared.tasks import canvas
from shared.tasks.results import ExecutionFailed, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery
    from pymongo.database import Database

    from beat.partitions import Partitions
    from shared.tasks.results import ResultCopy

log = get_logger()

BATCH: Final = 100

TOO_LARGE: Final = (
    "it has succeeded, but its result was too large to be kept: the ledger has its beginning, and Redis missed it"
)
"""A part of a value would be taken for the whole."""


class Copies:
    """One duty of beat: without it, code that waits for such an execution by AsyncResult would wait for ever."""

    def __init__(
        self, database: Database[dict[str, Any]], partitions: Partitions, app: Celery, results: ResultCopy
    ) -> None:
        self._executions = database[executions.COLLECTION]
        self._partitions = partitions
        self._app = app
        self._results = results
        self._aside = Aside()

    def run_once(self) -> bool:
        """Write the copies that are missing; return whether there was one. Those that Redis does not take wait."""
        missing = executions.uncopied_filter(self._partitions.held, but=self._aside.ids())
        copied = False
        for row in self._executions.find(missing, executions.UNCOPIED_FIELDS).limit(BATCH):
            try:
                if not self._copy(row):
                    break
            except Exception as error:  # whatever is wrong with one, the others go on; and it keeps its mark
                if not is_damage(error):
                    raise
                log.exception("a copy cannot be made", action="copy_failed", execution_id=row["_id"])
                self._aside.put(row["_id"])
            else:
                copied = True
        return copied

    def _copy(self, row: Mapping[str, Any]) -> bool:
        """Write what is missing of a row; return whether Redis has taken it."""
        if not self._results.write(row["_id"], *_copy_of(row)):
            return False
        following = row["state"] != State.SUCCEEDED and "canvas" in row
        if following and not break_off(row, self._app, self._results):
            return False
        done = executions.copied(row["_id"])
        self._executions.update_one(done.filter, done.update)
        return True


def break_off(row: Mapping[str, Any], app: Celery, results: ResultCopy) -> bool:
    """Write copies for the rest of a chain that will not be called, since this has not succeeded.

    Return whether they are there. A retry goes on with the rest, and writes over them.
    """
    why = ExecutionFailed(f"{row['_id']}, before it in its chain, is {row['state']}")
    rest = canvas.ids(canvas.read(row["canvas"]).chain, app)
    return all(results.write(task_id, states.FAILURE, why) for task_id in rest)


def _copy_of(row: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the state and the result or error, as Celery has them, of what has ended."""
    if row["state"] == State.SUCCEEDED:
        if row.get("result_truncated"):
            return states.FAILURE, ExecutionFailed(TOO_LARGE)
        return states.SUCCESS, json.loads(row["result"]) if "result" in row else None
    reason = row["transitions"][-1]["reason"]
    if row["state"] != State.FAILED:
        return states.REVOKED, TaskRevokedError(executions.asked_to_cancel(row) or reason)
    error = row.get("error")
    return states.FAILURE, ExecutionFailed(sentence(f"{error['code']}: {error['message']}" if error else "", reason))
