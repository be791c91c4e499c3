"""Make executions of calls of tasks: the row first, durable, then its message, in a thread. And cancel them."""

from __future__ import annotations

import atexit
import json
import os
import socket
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from shared.domain.errors import InvalidInput, Unavailable, Violation
from shared.domain.job import LARGEST_PARAMETERS, JobDefaults, JobType
from shared.domain.retry import RetryPolicy
from shared.log import get_logger
from shared.messaging.dispatcher import Dispatcher, Sender
from shared.messaging.publisher import Publisher
from shared.store import executions
from shared.store.canvas import GROUPS, size_of
from shared.store.mongo import connect, database_time
from shared.store.submitted import submitted_document
from shared.tasks.execution import running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from celery import Celery

    from shared.messaging.queues import Queues
    from shared.settings import Settings
    from shared.tasks.options import Options

log = get_logger()

FLUSH: Final = 5.0
"""Seconds that messages which were handed over get when the process ends; what is left is the relay's."""

_PATIENCE: Final = {"serverSelectionTimeoutMS": 5_000}

_PRIORITY: Final = JobDefaults(frozenset(), {}).priority
_LIMIT_IS_FINAL: Final = frozenset({"DEADLINE_EXCEEDED"})
"""As Celery has it, what exceeds its limit has failed; jobs may say otherwise."""


class Submitter:
    """What submitting takes, for one process. Safe to use from any number of threads."""

    def __init__(self, settings: Settings, queues: Queues, app: Celery) -> None:
        self._settings = settings
        self._default_queue = queues.by_type[JobType.CUSTOM]
        self._by = f"{socket.gethostname()}:{os.getpid()}"
        # Nothing is connected to before it is used.
        self._database = connect(settings.mongodb_url, appname="grpc-scheduler tasks", **_PATIENCE)
        self._executions = self._database[executions.COLLECTION]
        publisher = Publisher(app, queues)
        self._dispatcher = Dispatcher(Sender(self._database, publisher, self._by), publisher)
        self._dispatcher.start()

    def submit(
        self, execution_id: str, task: str, parameters: Mapping[str, Any], options: Options, canvas: str | None = None
    ) -> None:
        """Make an execution that calls a task; one of the same id that is there already stands for it.

        It is durable when this returns. Raises Unavailable when MongoDB can't be reached, and InvalidInput for
        parameters that are too large. That RabbitMQ is away changes nothing: beat's relay sends the message later.
        canvas: JSON of what follows it.
        """
        text = json.dumps(parameters, ensure_ascii=False, allow_nan=False)
        if (size := len(text.encode())) > LARGEST_PARAMETERS:
            sentence = f"{size:,} bytes of JSON are too many (at most {LARGEST_PARAMETERS:,})"
            raise InvalidInput([Violation("parameters", sentence)])
        try:
            now = database_time(self._database)
            document = self._document(execution_id, task, text, options, now, canvas)
            try:
                self._executions.insert_one(document)
            except DuplicateKeyError:
                return
        except PyMongoError as error:
            raise Unavailable(f"{task} was not called: the ledger (MongoDB) can't be reached: {error}") from error
        if document["due_at"] <= now:
            self._dispatcher.submit([document])

    def cancel(self, execution_id: str) -> None:
        """Cancel an execution: at once if no worker runs it; else its worker is told to end the call.

        What has ended, or is not there, stays as it is. Raises Unavailable when MongoDB can't be reached.
        """
        move = executions.cancel(execution_id, self._by, "its result was revoked")
        try:
            self._executions.update_one(move.filter, move.update)
        except PyMongoError as error:
            said = f"{execution_id} was not cancelled for sure: the ledger (MongoDB) can't be reached: {error}"
            raise Unavailable(said) from error

    def note_group(self, group: str, size: int) -> None:
        """Note how many executions the header of a chord has. Raises Unavailable when MongoDB can't be reached."""
        chosen, noted = size_of(group, size)
        try:
            self._database[GROUPS].update_one(chosen, noted, upsert=True)
        except PyMongoError as error:
            raise Unavailable(f"a chord was not called: the ledger (MongoDB) can't be reached: {error}") from error

    def _document(
        self, execution_id: str, task: str, text: str, options: Options, now: datetime, canvas: str | None
    ) -> dict[str, Any]:
        caller = running.get(None)
        call = {
            "time_limit": options.time_limit,
            "soft_time_limit": options.soft_time_limit,
            "ignore_result": options.ignore_result,
            "headers": options.headers,
            "parent_id": options.parent_id or (caller.execution_id if caller else None),
            "root_id": options.root_id or (caller.root_id if caller else execution_id),
            "canvas": canvas,
        }
        expires = options.expires
        defaults = self._settings.retry_policy
        policy = RetryPolicy(
            defaults.max_attempts,
            defaults.initial_backoff,
            defaults.max_backoff,
            defaults.multiplier,
            defaults.jitter,
            non_retryable_codes=_LIMIT_IS_FINAL,
        )
        return submitted_document(
            execution_id,
            task,
            text,
            now,
            self._by,
            due_at=now + options.due if isinstance(options.due, timedelta) else options.due,
            queue=options.queue or self._default_queue,
            priority=_PRIORITY if options.priority is None else options.priority,
            timeout=timedelta(seconds=options.time_limit or self._settings.job_timeout),
            retry=policy,
            shown_as=options.shadow or "",
            trace_id=caller.trace_id if caller else "",
            expires_at=now + expires if isinstance(expires, timedelta) else expires,
            call={name: value for name, value in call.items() if value is not None},
            group=options.group,
            broken=options.broken,
        )

    def close(self) -> None:
        """Send what waits, for a moment, and close what was opened."""
        self._dispatcher.stop(FLUSH)
        self._database.client.close()


class ThisProcess:
    """Has one submitter, made when it is first needed. A fork begins without one: clients do not survive it."""

    def __init__(self, make: Callable[[], Submitter]) -> None:
        self._make = make
        self._lock = Lock()
        self._submitter: Submitter | None = None
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def submitter(self) -> Submitter:
        """Return it."""
        with self._lock:
            if self._submitter is None:
                self._submitter = self._make()
            return self._submitter

    def close(self) -> None:
        """Send what waits, for a moment, and close what was opened."""
        with self._lock:
            ours, self._submitter = self._submitter, None
        if ours is not None:
            ours.close()

    def _forget(self) -> None:
        self._lock, self._submitter = Lock(), None
