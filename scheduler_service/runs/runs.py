"""Runs that somebody asks for: by hand, or once more."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from ulid import ULID

from scheduler_service.runs.entry import read_execution, unreadable_execution
from scheduler_service.transport.caller import current
from scheduler_service.transport.fields import refuse
from scheduler_service.transport.refusals import NoSuch
from scheduler_service.transport.unreadable import UNREADABLE, of_newer_release
from shared.domain.errors import FailedPrecondition, Reason, Violation
from shared.domain.execution import State, manual_id, retry_id
from shared.domain.job import unknown_queue
from shared.messaging.messages import AHEAD
from shared.store import executions as rows
from shared.store import jobs
from shared.store.dead_letters import Ending, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scheduler_service.jobs.definitions import Definitions
    from scheduler_service.jobs.jobs import Found, Jobs
    from scheduler_service.runs.executions import Executions
    from shared.store.jobs import StoredJob

RETRYABLE: Final = frozenset({State.FAILED, State.CANCELLED})
"""What an execution may have ended as that is run once more."""


class Dispatch(Protocol):
    """What sends the messages of executions that are inserted; see shared.messaging.dispatcher."""

    def submit(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take rows over; never blocks, and may lose them: the relay finds them."""


class Runs:
    """Starts them. All raise PyMongoError when the store can't be reached."""

    def __init__(self, jobs_: Jobs, executions: Executions, definitions: Definitions, dispatcher: Dispatch) -> None:
        self._jobs = jobs_
        self._executions = executions
        self._definitions = definitions
        self._dispatcher = dispatcher

    def queue_violations(self, queue: str) -> list[Violation]:
        """Return what is wrong with the name of a queue; an empty one is left to a default."""
        queues = self._definitions.defaults.queues
        return [unknown_queue("queue", queue[:80], queues)] if queue and queue not in queues else []

    async def job(self, job_id: str, token: str) -> Found:
        """Return the job of a run by hand; one that was deleted only if the run of this token is stored already.

        Then `start` finds it. Raises as Jobs.read does.
        """
        try:
            return await self._jobs.read(job_id)
        except NoSuch:
            deleted = await self._jobs.read(job_id, show_deleted=True)
            if await self._executions.made_before(manual_id(deleted.job.uid, token)) is None:
                raise
            return deleted

    async def start(
        self, document: dict[str, Any], job: StoredJob | None, *, is_first: bool, validate_only: bool = False
    ) -> Mapping[str, Any]:
        """Store a run, and send its message; of a repeated request, return the first. validate_only: do neither.

        job: as it was read for this; None for what is of none. Raises NoSuch when it is deleted before the run counts.
        is_first: whether the request cannot be a repeated one, which may not send a message: its queue may be another.
        Then the message goes out while the row is being stored (docs/decisions/0023).
        """
        began, ahead = monotonic(), is_first and not validate_only
        if ahead:
            # In the loop's next round, in which the command that stores the row is sent too, if it is not yet.
            asyncio.get_running_loop().call_soon(self._dispatcher.submit, [document])
        stored, is_new = await self._executions.insert_manual(document, validate_only=validate_only)
        if job is not None and job.definition.policies.delete_after_done and not validate_only:
            stored = await self._keep(job, stored, is_new=is_new)
        # A worker that found no row for so long may have dropped the message.
        if is_new and (not ahead or monotonic() - began > AHEAD):
            self._dispatcher.submit([stored])
        return stored

    async def _keep(self, job: StoredJob, stored: Mapping[str, Any], *, is_new: bool) -> Mapping[str, Any]:
        """Keep a job that is deleted when it is done for a run that is stored, and return the run.

        Also for a repeated request: who came first may have died before this. Raises NoSuch when the job was deleted
        since it was read, and be it undeleted, unless the run had begun before, or the request is a repeated one.
        """
        job_id = job.definition.job_id
        if await self._jobs.keep_done(job_id) or not is_new:
            return stored
        found = await self._jobs.read(job_id, show_deleted=True)
        if jobs.is_deleted(found.document, stored):
            await self._executions.end_unless_running(stored["_id"], current.get().by, "the job was deleted")
        elif found.job.epoch == job.epoch:
            return stored
        # Else beat may have put a deletion in force that was taken back.
        ended = await self._executions.made_before(stored["_id"])
        if ended is None or ended["state"] == State.CANCELLED:
            await self._jobs.read(job_id)  # which refuses, unless it was undeleted since
            raise NoSuch("job", job_id, deleted=found.job.deleted_at or found.now)
        return ended

    async def retry(
        self, execution_id: str, request_id: str, queue: str, *, from_start: bool = False, validate_only: bool = False
    ) -> Mapping[str, Any]:
        """Run an execution that failed or was cancelled once more; return the document of the new one.

        queue: empty for that of the execution. from_start: of one that has parts, run those too that have succeeded.
        validate_only: return what it would be. Raises NoSuch, FailedPrecondition, InvalidInput.
        """
        ended = await self._executions.document(execution_id, rows.NOT_RETRIED)
        if said := of_newer_release("execution", ended, rows.SCHEMA):
            raise FailedPrecondition(said, reason=Reason.STORED_BY_NEWER_RELEASE)
        state = read_execution(ended).state
        if state not in RETRYABLE:
            raise FailedPrecondition(
                f"the execution '{execution_id}' is {state}; only what has failed or was cancelled can be retried",
                reason=Reason.EXECUTION_NOT_RETRYABLE,
                facts={"state": state},
            )
        if "part" in ended:
            raise FailedPrecondition(
                f"the execution '{execution_id}' is a part of '{ended['parent']}': retry that, which runs again what"
                " has not succeeded",
                reason=Reason.EXECUTION_IS_PART,
                facts={"parent_execution_id": ended["parent"]},
            )
        caller = current.get()
        token = _retry_token(execution_id, request_id) if request_id else str(ULID())
        found = await self._found(ended, token)
        now = await self._jobs.now() if found is None else found.now
        try:
            document = rows.retry_document(
                ended,
                token,
                queue or ended["queue"],
                caller.trace_id,
                now,
                caller.by,
                reuse="flow" in ended and not from_start,
            )
        except UNREADABLE as error:
            raise unreadable_execution(ended, error) from error
        refuse(self.queue_violations(document["queue"]))
        await self._executions.refuse_another_retry(document)
        job = None if found is None else found.job
        try:
            stored = await self.start(document, job, is_first=not request_id, validate_only=validate_only)
        except NoSuch as gone:
            if gone.kind != "job":
                raise
            raise _job_deleted(execution_id, gone) from None
        if ended.get("letter") and not validate_only:
            # Last, so that a crash in between leaves a letter that was retried, and not one that is lost.
            await self._executions.end_letter(execution_id, Ending(Outcome.RETRIED, caller.by, retry=stored["_id"]))
        return stored

    async def stored_retry(self, ended: Mapping[str, Any], request_id: str) -> Mapping[str, Any] | None:
        """Return the retry of an execution that a request of this id has stored, if one has."""
        return await self._retry_of(ended, _retry_token(ended["_id"], request_id))

    async def _retry_of(self, ended: Mapping[str, Any], token: str) -> Mapping[str, Any] | None:
        return await self._executions.made_before(retry_id(ended.get("job_uid", ""), token))

    async def _found(self, ended: Mapping[str, Any], token: str) -> Found | None:
        """Return the job of a row, if it has one; raise FailedPrecondition when it is deleted.

        Not if the retry of this token is stored already: `start` finds it.
        """
        if not ended["job_id"]:
            return None
        try:
            return await self._jobs.read(ended["job_id"])
        except NoSuch as gone:
            if await self._retry_of(ended, token) is not None:
                return None
            raise _job_deleted(ended["_id"], gone) from None


def _job_deleted(execution_id: str, gone: NoSuch) -> FailedPrecondition:
    said = f"the execution '{execution_id}' can't be retried: {gone}"
    return FailedPrecondition(said, reason=Reason.JOB_DELETED)


def _retry_token(execution_id: str, request_id: str) -> str:
    return request_token(f"{execution_id} {request_id}")


def request_token(request_id: str) -> str:
    """Return the token that a request id stands for. It is longer than a ULID: the two never meet."""
    return sha256(request_id.encode()).hexdigest()[:32]
