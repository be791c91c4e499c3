"""Refusals: what the domain raises when it can't do what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Reason(StrEnum):
    """Why a call was refused, for programs: they never change, and docs/errors.md says what each means.

    More than one per status code where a program would do something else about it.
    """

    # INVALID_ARGUMENT
    INVALID_INPUT = "INVALID_INPUT"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    # NOT_FOUND
    NOT_FOUND = "NOT_FOUND"
    DELETED = "DELETED"
    # ALREADY_EXISTS
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ID_TAKEN = "ID_TAKEN"
    NOT_DELETED = "NOT_DELETED"
    # FAILED_PRECONDITION
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    JOB_COMPLETED = "JOB_COMPLETED"
    JOB_DELETED = "JOB_DELETED"
    JOB_MANAGED = "JOB_MANAGED"
    JOB_UNREADABLE = "JOB_UNREADABLE"
    STORED_BY_NEWER_RELEASE = "STORED_BY_NEWER_RELEASE"
    EXECUTION_UNREADABLE = "EXECUTION_UNREADABLE"
    EXECUTION_ENDED = "EXECUTION_ENDED"
    EXECUTION_NOT_RETRYABLE = "EXECUTION_NOT_RETRYABLE"
    EXECUTION_IS_DECISION = "EXECUTION_IS_DECISION"
    EXECUTION_IS_PART = "EXECUTION_IS_PART"
    RETRY_IN_PROGRESS = "RETRY_IN_PROGRESS"
    NO_DEAD_LETTER = "NO_DEAD_LETTER"
    DEAD_LETTER_DISCARDED = "DEAD_LETTER_DISCARDED"
    DEAD_LETTER_RETRIED = "DEAD_LETTER_RETRIED"
    TARGET_CONFIGURED = "TARGET_CONFIGURED"
    TARGET_CONTRACT_UNREADABLE = "TARGET_CONTRACT_UNREADABLE"
    TARGET_IN_USE = "TARGET_IN_USE"
    OCCURRENCE_DECIDED = "OCCURRENCE_DECIDED"
    OCCURRENCE_TAKEN = "OCCURRENCE_TAKEN"
    BACKFILL_ENDED = "BACKFILL_ENDED"
    # ABORTED
    ETAG_MISMATCH = "ETAG_MISMATCH"
    CONTENDED = "CONTENDED"
    # RESOURCE_EXHAUSTED
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    TOO_MANY_CHANGES = "TOO_MANY_CHANGES"
    READS_TOO_SLOWLY = "READS_TOO_SLOWLY"
    # OUT_OF_RANGE
    RESUME_TOKEN_TOO_OLD = "RESUME_TOKEN_TOO_OLD"  # noqa: S105 - a word, no secret
    # DEADLINE_EXCEEDED
    NOT_ENDED = "NOT_ENDED"
    # UNAVAILABLE
    UNAVAILABLE = "UNAVAILABLE"
    REQUEST_IN_PROGRESS = "REQUEST_IN_PROGRESS"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    TARGET_UNAVAILABLE = "TARGET_UNAVAILABLE"
    # INTERNAL
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one field; `description` is a sentence that says what was expected."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class SchedulerError(Exception):
    """Base of every refusal; its message is a sentence meant for the person who asked.

    reason: the same for programs. facts: what the sentence says that a program may want, as text by name.
    """

    usual: ClassVar[Reason] = Reason.INTERNAL
    """The reason where none is given."""

    def __init__(self, *said: object, reason: Reason | None = None, facts: Mapping[str, str] | None = None) -> None:
        self.reason = reason or self.usual
        self.facts: Mapping[str, str] = facts or {}
        super().__init__(*said)


class InvalidInput(SchedulerError):  # noqa: N818 - named after the outcome, as in google.rpc.Code
    """The request can't be right whatever the state of the system; `violations` names every field at fault."""

    usual = Reason.INVALID_INPUT

    def __init__(self, violations: Iterable[Violation], *, reason: Reason | None = None) -> None:
        self.violations: tuple[Violation, ...] = tuple(violations)
        super().__init__(self.violations, reason=reason)

    def __str__(self) -> str:
        return "; ".join(str(violation) for violation in self.violations)


class NotFound(SchedulerError):  # noqa: N818
    """What was named does not exist."""

    usual = Reason.NOT_FOUND


class AlreadyExists(SchedulerError):  # noqa: N818
    """The id is taken by something that differs from what was asked for."""

    usual = Reason.ALREADY_EXISTS


class FailedPrecondition(SchedulerError):  # noqa: N818
    """The request is right, but not in the present state of what it names."""

    usual = Reason.FAILED_PRECONDITION


class Unavailable(SchedulerError):  # noqa: N818
    """Something needed to answer is away for now; trying again later is right."""

    usual = Reason.UNAVAILABLE


class ResourceExhausted(SchedulerError):  # noqa: N818
    """A limit is reached; the message names it."""

    usual = Reason.LIMIT_EXCEEDED
