"""What a call of a target or a task can come to, beside a plain Failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.domain.execution import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from shared.tasks.retry import Again

INVALID_RESULT: Final = "INVALID_RESULT"
"""The code of an attempt whose task returned what is not JSON, or whose fan-out found what is not a list of items."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The target answered, or the task returned. result is JSON.

    not kept: there is no copy in Redis, and the ledger has it only where others take from it.
    """

    result: Any
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Raised(Failure):
    """A task raised an exception: Celery's copy of the outcome has it."""

    exception: BaseException | None = field(default=None, compare=False)
    traceback: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A task asked to be tried again; failure is what people see until then."""

    failure: Failure
    again: Again


@dataclass(frozen=True, slots=True)
class NotYet:
    """The attempt is to be made later: after a span, or at an instant. slot: the turn that it then has."""

    reason: str
    due: timedelta | datetime
    slot: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A task asked that nothing is made of it."""

    reason: str


Answer = Succeeded | Failure | TryAgain | NotYet | Ignored
