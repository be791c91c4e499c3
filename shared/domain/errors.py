"""Refusals: what the domain raises when it can't do what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one field; `description` is a sentence that says what was expected."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class SchedulerError(Exception):
    """Base of every refusal; its message is a sentence meant for the person who asked."""


class InvalidInput(SchedulerError):  # noqa: N818 - named after the outcome, as in google.rpc.Code
    """The request can't be right whatever the state of the system; `violations` names every field at fault."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations: tuple[Violation, ...] = tuple(violations)
        super().__init__(self.violations)

    def __str__(self) -> str:
        return "; ".join(str(violation) for violation in self.violations)


class NotFound(SchedulerError):  # noqa: N818
    """What was named does not exist."""


class AlreadyExists(SchedulerError):  # noqa: N818
    """The id is taken by something that differs from what was asked for."""


class FailedPrecondition(SchedulerError):  # noqa: N818
    """The request is right, but not in the present state of what it names."""


class Unavailable(SchedulerError):  # noqa: N818
    """Something needed to answer is away for now; trying again later is right."""


class ResourceExhausted(SchedulerError):  # noqa: N818
    """A limit is reached; the message names it."""
