"""The messages of executions: Celery's, for the one task that there is, with an id and nothing that matters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from amqp import Message

from shared.domain.job import HIGHEST_PRIORITY
from shared.messaging.app import RUN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

PERSISTENT: Final = 2

AHEAD: Final = 0.3
"""Seconds by which a message may come before the row of its execution (docs/decisions/0023): for so long a worker looks
for the row before it drops the message, and a server that needed longer to store the row sends another."""

_LEFT_OUT: Final = frozenset(
    {
        *("eta", "expires", "group", "group_index", "parent_id", "retries", "timelimit"),
        *("replaced_task_nesting", "stamped_headers", "stamps"),
        "origin",  # which process sent it; the row tells
    }
)
"""Headers that say what a worker assumes where they are missing (celery.worker.request, celery.app.task.Context).
RabbitMQ reads all headers of a message, and takes a seventh less for it without these."""

_LONGEST_KEY: Final = 255
"""Bytes of a routing key."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for an execution: the task's id is the execution's id, its displayed name the job's.

    time_limits: seconds, hard and soft, that the pool's processes get; only prefork heeds them. Raises ValueError when
    AMQP has no place for a value: found later, while a batch is written, it would cost the whole batch.
    """

    execution_id: str
    queue: str
    priority: int
    job_name: str
    time_limits: tuple[float | None, float | None] = (None, None)

    def __post_init__(self) -> None:
        texts = (self.execution_id, self.queue, self.job_name)
        if not all(isinstance(text, str) for text in texts) or len(self.queue.encode()) > _LONGEST_KEY:
            raise ValueError(f"its id, queue and job's name are {texts!r}")
        if type(self.priority) is not int or not 0 <= self.priority <= HIGHEST_PRIORITY:
            raise ValueError(f"its priority is {self.priority!r}")


class Messages:
    """Makes the messages that an app's workers take."""

    def __init__(self, app: Celery) -> None:
        template = app.amqp.as_task_v2("", RUN_EXECUTION, args=("",), ignore_result=True)
        self._headers = {name: said for name, said in template.headers.items() if name not in _LEFT_OUT}

    def of(self, outgoing: Outgoing) -> Message:
        """Return the message of an execution."""
        execution_id = outgoing.execution_id
        headers = {
            **self._headers,
            "id": execution_id,
            "root_id": execution_id,
            "shadow": outgoing.job_name,
            "argsrepr": repr((execution_id,)),
        }
        if outgoing.time_limits != (None, None):
            headers["timelimit"] = list(outgoing.time_limits)
        body = json.dumps([[execution_id], {}, {}])
        return persistent(body, headers, execution_id, priority=outgoing.priority)


def persistent(body: str, headers: Mapping[str, Any], execution_id: str, **properties: Any) -> Message:
    """Return a message of JSON that outlives the broker; the execution's id is what a return of it is known by."""
    return Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=dict(headers),
        correlation_id=execution_id,
        delivery_mode=PERSISTENT,
        **properties,
    )
