"""The server's operations on executions, each a named one; filters and updates are those of shared.store.executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from scheduler_service.jobs.listing import M, read_page
from scheduler_service.moves import run_move
from scheduler_service.runs.entry import read_execution
from scheduler_service.transport.fields import refuse, required
from scheduler_service.transport.refusals import NoSuch
from shared.domain.errors import FailedPrecondition, Reason
from shared.domain.execution import DECISIONS_NOT_TO_RUN, State
from shared.store import dead_letters, executions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

    from shared.store.dead_letters import Ending
    from shared.store.executions import StoredExecution
    from shared.store.jobs import StoredJob
    from shared.store.listing import Listing, Position


class Executions:
    """The executions in the store. All raise PyMongoError when it can't be reached."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._executions = database[executions.COLLECTION]

    async def insert_manual(
        self, document: dict[str, Any], *, validate_only: bool = False
    ) -> tuple[Mapping[str, Any], bool]:
        """Store a run by hand, or a retry; return it as stored, and whether it is new.

        One of the same id stands for it. validate_only: return what it would be.
        """
        if validate_only:
            return await self.made_before(document["_id"]) or document, False
        try:
            await self._executions.insert_one(document)
        except DuplicateKeyError:
            first = await self.made_before(document["_id"])
            if first is None:
                # Removed in between by a cleanup; only a request id of months ago can meet that.
                raise NoSuch("execution", document["_id"]) from None
            return first, False
        return document, True

    async def made_before(self, execution_id: str) -> Mapping[str, Any] | None:
        """Return the document of this id, which is made of a request's, if an earlier call has stored it."""
        return await self._executions.find_one({"_id": execution_id})

    async def refuse_another_retry(self, retry: Mapping[str, Any]) -> None:
        """Raise FailedPrecondition when another retry of the same execution has not ended; not for one that is there.

        Two that come at the same instant both pass: only the same request id makes them one.
        """
        chosen = executions.retries_filter(retry["retry_of"], retry["_id"])
        found = {row["_id"]: row["state"] async for row in self._executions.find(chosen, {"state": 1})}
        if found and retry["_id"] not in found:
            other, state = next(iter(found.items()))
            raise FailedPrecondition(
                f"the execution '{retry['retry_of']}' is retried already, by '{other}', which is {state}; wait for"
                " it to end, or cancel it",
                reason=Reason.RETRY_IN_PROGRESS,
                facts={"execution_id": str(other)},
            )

    async def read(self, execution_id: str) -> StoredExecution:
        """Return an execution. Raises NoSuch when there is none, and FailedPrecondition when it can't be read."""
        return read_execution(await self.document(execution_id))

    async def document(self, execution_id: str, hidden: Mapping[str, Any] = executions.NOT_SHOWN) -> Mapping[str, Any]:
        """Return an execution's document, without what is hidden. Raises NoSuch when there is none."""
        refuse(required("execution_id", execution_id))
        document = await self._executions.find_one({"_id": execution_id, **executions.SHOWN}, hidden)
        if document is None:
            raise NoSuch("execution", execution_id)
        return document

    async def page(
        self, listing: Listing, after: Position | None, size: int, convert: Callable[[Mapping[str, Any]], M]
    ) -> tuple[list[M], Position | None]:
        """Return a page of a list, and the position to go on from, if there is more."""
        return await read_page(self._executions, listing, after, size, convert, hidden=executions.NOT_SHOWN)

    async def end_open(self, job: StoredJob, by: str, reason: str, *, running: bool) -> int:
        """Cancel a deleted job's executions; those that run only if `running`, else they are tried no more.

        job: as it is since it was deleted; what runs after it is undeleted is spared.
        """
        last = job.epoch + job.waiting_changes - 1
        move = executions.end_open(job.uid, by, reason, running=running, epoch=last, until=job.deleted_at)
        return (await self._executions.update_many(move.filter, move.update)).modified_count

    async def end_unless_running(self, execution_id: str, by: str, reason: str) -> None:
        """Cancel an execution that no worker runs; one that runs is tried no more."""
        move = executions.cancel(execution_id, by, reason, running=False)
        await self._executions.update_one(move.filter, move.update)

    def dead_letters(self, uid: str | None, after: Position | None, limit: int) -> AsyncIterator[dict[str, Any]]:
        """Return the documents of dead letters from a position on, those of one job or all."""
        chosen = dead_letters.list_filter(uid, after)
        return self._executions.find(chosen, sort=dead_letters.NEWEST_FIRST, limit=limit)

    async def end_letter(self, execution_id: str, ending: Ending) -> bool:
        """Take an execution from the dead letters; return whether it was there, or, if it was retried, discarded."""
        move = dead_letters.end(execution_id, ending)
        return (await self._executions.update_one(move.filter, move.update)).matched_count > 0

    async def cancel(self, execution_id: str, by: str, reason: str, *, validate_only: bool = False) -> StoredExecution:
        """End an execution, or have its worker end it; one that was cancelled before stays as it is.

        validate_only: return what it would be. Raises NoSuch; FailedPrecondition when it has ended otherwise, or was
        never to run.
        """
        move = executions.cancel(execution_id, by, reason)
        after = await run_move(self._executions, move, validate_only=validate_only)
        if after is not None:
            return read_execution(after)
        found = await self.read(execution_id)
        if found.state is State.CANCELLED:
            return found
        if found.state in DECISIONS_NOT_TO_RUN:
            raise FailedPrecondition(
                f"'{execution_id}' is a decision not to run ({found.state}); it can't be cancelled",
                reason=Reason.EXECUTION_IS_DECISION,
            )
        raise FailedPrecondition(
            f"the execution '{execution_id}' has ended: it is {found.state}; it can't be cancelled",
            reason=Reason.EXECUTION_ENDED,
            facts={"state": found.state.value},
        )
