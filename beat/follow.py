"""Follow: make the calls that follow others in Celery's canvas: the next of a chain, the body of a chord, callbacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from celery.canvas import maybe_signature
from celery.exceptions import NotRegistered
from pymongo.errors import PyMongoError

from beat.aside import Aside
from beat.copies import break_off
from shared import metrics
from shared.domain.errors import InvalidInput, Unavailable
from shared.domain.execution import State
from shared.domain.job import LARGEST_PARAMETERS
from shared.domain.text import because
from shared.log import get_logger
from shared.store import canvas as store
from shared.store import executions
from shared.tasks import canvas
from shared.tasks.options import BROKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery
    from pymongo.client_session import ClientSession
    from pymongo.database import Database

    from beat.partitions import Partitions
    from shared.tasks.results import ResultCopy

log = get_logger()

BATCH: Final = 100
_WITH_ERROR: Final = 3
"""Parameters of an error callback that is told of the request, the exception and its traceback, as Celery has it."""


class Follow:
    """One duty of beat. Any number may run at once: each call has its id since before the one that it follows."""

    def __init__(
        self, database: Database[dict[str, Any]], partitions: Partitions, app: Celery, results: ResultCopy
    ) -> None:
        self._client = database.client
        self._executions = database[executions.COLLECTION]
        self._groups = database[store.GROUPS]
        self._partitions = partitions
        self._app = app
        self._results = results
        self._aside = Aside()

    def run_once(self) -> bool:
        """Look at what has ended that something may follow; return whether there was any."""
        chosen = store.followed_filter(self._partitions.held, but=self._aside.ids())
        # What counts a header must not be older than what this finds of it, as from a primary that was just elected:
        # its last member would go, and the body would never be called.
        with self._client.start_session(causal_consistency=True) as session:
            found = list(
                self._executions.find(chosen, store.FOLLOWED_FIELDS, hint="follow", session=session).limit(BATCH)
            )
            self._follow_all(found, session)
        return bool(found)

    def _follow_all(self, found: Sequence[Mapping[str, Any]], session: ClientSession) -> None:
        made = []
        for row in found:
            try:
                self._follow(row, session)
            except (PyMongoError, Unavailable):
                raise
            except Exception:  # whatever is wrong with one, the others go on; and it keeps its mark
                metrics.BEAT_ADVANCE_FAILURES.inc()
                log.exception("what follows a call cannot be made", action="follow_failed", execution_id=row["_id"])
                self._aside.put(row["_id"])
            else:
                made.append(row["_id"])
        if made:
            # Last: after a crash in between the calls are made once more, and are there. And together: each durable
            # write takes milliseconds, and of a chord's header most members ask for no other.
            done = store.followed(made)
            self._executions.update_many(done.filter, done.update)

    def _follow(self, row: Mapping[str, Any], session: ClientSession) -> None:
        then = canvas.read(row["canvas"])
        if row["state"] == State.SUCCEEDED:
            result, broken = _result(row)
            for link in then.links:
                self._call(link, [result], row, broken)
            if then.chain:
                self._call(then.chain[-1], [result], row, broken, chain=then.chain[:-1])
        elif row["state"] == State.FAILED:
            for errback in then.errbacks:
                self._call(errback, self._told(errback, row), row)
        if then.chain and row["state"] != State.SUCCEEDED:
            self._break_off(then.chain, row)
        if then.body is not None and "group" in row:
            self._complete(row["group"], then.body, session)

    def _break_off(self, chain: Sequence[Any], row: Mapping[str, Any]) -> None:
        """Let those who wait for the rest of a chain know that it will not be called; a retry goes on with it."""
        why = f"{row['_id']}, before it in its chain, is {row['state']}"
        if not break_off(row, self._app, self._results):
            lacks = executions.lacks_copy(row["_id"])  # it may have its own; what follows it has none
            self._executions.update_one(lacks.filter, lacks.update)
        # The last of a chain in the header of a chord has its body: without it the header is never complete.
        last = canvas.last(chain[0], self._app)
        if (body := last.options.get("chord")) is not None:
            self._call(body, [], row, why)
            self._close(last.options.get("group_id"))

    def _signature(self, given: Any) -> Any:
        return maybe_signature(given, app=self._app)

    def _complete(self, group: str, body: Any, session: ClientSession) -> None:
        """Call the body of a chord if its header is complete; what of that has not succeeded, the body fails with."""
        known = self._groups.find_one({"_id": group}, session=session) or {}
        chosen = store.members_filter(group)
        if "size" not in known or self._executions.count_documents(chosen, session=session) < known["size"]:
            return
        members = self._executions.find(chosen, store.MEMBER_FIELDS, session=session).sort(store.BY_INDEX)
        broken, results, size = "", [], 0
        last: Mapping[str, Any] | None = None
        for member in members:
            last = member
            size += len(member.get("result", ""))
            if size > LARGEST_PARAMETERS:
                # The body could not be called with them; they may be gigabytes.
                broken = broken or f"the results of its header have more than {LARGEST_PARAMETERS:,} bytes of JSON"
                break
            result, said = _result(member)
            if member["state"] != State.SUCCEEDED:
                error = member.get("error", {}).get("message", "")
                said = because(f"{member['_id']}, a task of its header, is {member['state']}", error)
            broken = broken or said
            results.append(result)
        if last is not None:
            self._call(body, [results], last, broken)
            self._close(group)

    def _close(self, group: str) -> None:
        """Note that the body of a header is there, so that cleanup may remove its rows.

        Its size may be noted only later: whoever submits a header does so with its last call.
        """
        chosen, update = store.body_called(group)
        self._groups.update_one(chosen, update, upsert=True)

    def _call(self, follower: Any, args: list[Any], after: Mapping[str, Any], broken: str = "", **options: Any) -> None:
        """Make a call; one that can't be made is there as well, and fails with what is wrong."""
        signature = self._signature(follower)
        options |= {"parent_id": after["_id"], "root_id": after.get("root_id", after["_id"])}
        if not broken:
            try:
                signature.apply_async(args, **options)
            except (InvalidInput, NotRegistered) as wrong:
                broken = str(wrong)
            else:
                return
        if getattr(signature, "tasks", None) is None and signature.task not in self._app.tasks:
            # Without the task's own apply_async, as this beat does not have its module.
            self._app.send_task(signature.task, None, {}, **{**signature.options, **options, BROKEN: broken})
            return
        signature.apply_async((), **options, **{BROKEN: broken})

    def _told(self, errback: Any, row: Mapping[str, Any]) -> list[Any]:
        """Return what an error callback is called with: the id of what failed; if it takes so much, all about it."""
        task: Any = self._app.tasks.get(self._signature(errback).task)
        error = row.get("error", {})
        if task is None or task.accepts.positional < _WITH_ERROR:
            return [row["_id"]]
        request = {"id": row["_id"], "task": row["target_method"], "kwargs": json.loads(row["parameters"])}
        return [request, f"{error.get('code', row['state'])}: {error.get('message', '')}", ""]


def _result(row: Mapping[str, Any]) -> tuple[Any, str]:
    """Return what an execution gave, and what is wrong with it for those who are to get it."""
    if row.get("result_truncated"):
        most = f"{executions.LARGEST_HANDED_ON:,} bytes of JSON"
        return None, f"the result of {row['_id']} is too large to be handed on (more than {most})"
    return (json.loads(row["result"]) if "result" in row else None), ""
