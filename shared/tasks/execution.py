"""What a task can know of the execution that it is run for, and what it can tell."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from shared.domain.text import writable
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from shared.tasks.retry import AskedAgain


class NoExecutionError(RuntimeError):
    """current_execution() was called where no execution runs."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution says it has got: done of total, in whatever it counts; total 0 is not known."""

    done: float
    total: float = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class CurrentExecution:
    """The execution that a task is run for.

    nominal_time and deadline are UTC; attempt counts from 1, and retries is how often the task has asked for a retry.
    """

    execution_id: str
    job_id: str
    trigger: str
    nominal_time: datetime
    attempt: int
    retries: int
    deadline: datetime
    root_id: str = ""
    """The execution that it was called in, directly or through others; its own when there is none."""
    trace_id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What it was called with, in JSON."""
    log: FilteringBoundLogger = field(default_factory=get_logger, repr=False)
    """Bound to the ids."""
    asked_again: list[AskedAgain] = field(default_factory=list, repr=False)
    """The retries that the task has asked for; the last one counts, whatever the function returns."""
    _ends_at: float = field(default=0.0, repr=False)
    """The deadline, by the monotonic clock."""
    _is_cancelled: Callable[[], bool] = field(default=lambda: False, repr=False)
    _report: Callable[[Progress], None] = field(default=lambda _: None, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is to end: it was cancelled, its time is over, or it is another worker's by now.

        A coroutine need not ask: it gets CancelledError.
        """
        return self._is_cancelled()

    def remaining(self) -> float:
        """Return the seconds until the deadline; not less than 0."""
        return max(0.0, self._ends_at - monotonic())

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Say how far the work has got, as often as is convenient: what is shown is renewed about once a second.

        Raises TypeError, ValueError or OverflowError for what are no numbers.
        """
        self._report(Progress(float(done), float(total), writable(str(message))))


running: ContextVar[CurrentExecution] = ContextVar("running")
"""Set by the worker around each call of a task; threads that a task starts itself do not have it."""


def current_execution() -> CurrentExecution:
    """Return the execution that the calling task is run for. Raises NoExecutionError outside of one."""
    try:
        return running.get()
    except LookupError:
        raise NoExecutionError(
            "there is no current execution: only a task that a worker runs has one, not one that is called directly"
        ) from None
