"""When a task is tried again, as Celery has it: `self.retry`, and `autoretry_for` of coroutines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from celery.exceptions import Ignore, Reject, Retry
from celery.utils.time import get_exponential_backoff_interval

if TYPE_CHECKING:
    from shared.tasks.task import LedgeredTask

LONGEST_WAIT: Final = timedelta(days=366)
"""What lies further ahead is a mistake, and MongoDB's dates end as well."""


@dataclass(frozen=True, slots=True)
class Again:
    """What a retry asks for: when, and what is to be different. parameters: in JSON, what the task is called with."""

    due: timedelta | datetime
    parameters: dict[str, Any] | None = None
    queue: str | None = None
    priority: int | None = None


class AskedAgain(Retry):
    """Celery's Retry, with what the runner needs: the runner writes it, no message is sent."""

    def __init__(self, again: Again, exc: Exception | None) -> None:
        when: Any = again.due.total_seconds() if isinstance(again.due, timedelta) else again.due
        super().__init__(exc=exc, when=when)
        self.again = again


def due_of(countdown: float | None, eta: datetime | None) -> timedelta | datetime:
    """Return when a retry is due: after a span, or at an instant (UTC); one without a zone is UTC, as the app's is.

    Raises ValueError for what is no time, or too far ahead.
    """
    if eta is not None:
        if not isinstance(eta, datetime):
            raise ValueError(f"eta: {eta!r} is not a datetime")
        return eta.astimezone(UTC) if eta.tzinfo else eta.replace(tzinfo=UTC)
    try:
        wait = max(timedelta(0), timedelta(seconds=float(countdown or 0)))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"countdown: {countdown!r} is not a number of seconds") from None
    if wait > LONGEST_WAIT:
        raise ValueError(f"countdown: {wait.total_seconds():g} s is more than a year")
    return wait


def autoretry(task: LedgeredTask, error: Exception) -> None:
    """Ask for a retry when the task's options say so for this exception; else do nothing.

    What Celery wraps around a plain function; around a coroutine function it would see no exception. Raises what
    Task.retry does.
    """
    final = (Ignore, Reject, Retry, *_option(task, "dont_autoretry_for"))
    if isinstance(error, final) or not isinstance(error, _option(task, "autoretry_for")):
        return
    asked = dict(getattr(task, "retry_kwargs", None) or {})
    if backoff := float(getattr(task, "retry_backoff", False)):
        asked["countdown"] = get_exponential_backoff_interval(
            factor=int(max(1.0, backoff)),
            retries=task.request.retries,
            maximum=int(getattr(task, "retry_backoff_max", 600)),
            full_jitter=getattr(task, "retry_jitter", True),
        )
    raise task.retry(exc=error, **asked)


def _option(task: LedgeredTask, name: str) -> tuple[type[BaseException], ...]:
    return tuple(getattr(task, name, None) or ())
