"""The states of an execution, and what may follow what: the only place that says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import md5
from typing import TYPE_CHECKING, Final

from shared.domain.clock import utc_text
from shared.domain.policies import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.retry import RetryPolicy


class State(StrEnum):
    """How far an execution has got. SKIPPED and COALESCED are decisions not to run; CLOSED ends an epoch's chain.

    WAITING: it was started, and ends when its parts have: the items of a fan-out, the steps of a workflow.
    """

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    COALESCED = "COALESCED"
    CLOSED = "CLOSED"


SUCCESSORS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.QUEUED, State.RUNNING, State.CANCELLED, State.SKIPPED}),
    State.QUEUED: frozenset({State.RUNNING, State.PENDING, State.CANCELLED, State.SKIPPED}),
    State.RUNNING: frozenset({State.WAITING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PENDING}),
    State.WAITING: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.SKIPPED: frozenset(),
    State.COALESCED: frozenset(),
    State.CLOSED: frozenset(),
}
"""What may follow each state. A row may begin in any state but those only a run leads to."""

OPEN: Final = frozenset(state for state, after in SUCCESSORS.items() if after)
"""In flight: decided and not terminal."""

TERMINAL: Final = frozenset(SUCCESSORS) - OPEN

DECISIONS_NOT_TO_RUN: Final = frozenset({State.SKIPPED, State.COALESCED})

SHOWN_STATES: Final = tuple(state for state in State if state is not State.CLOSED)
"""What readers are shown, of rows: runs, parts, decisions not to run; one that closes a chain is nobody's business."""


def predecessors(state: State) -> frozenset[State]:
    """Return the states that may become the given one: what a compare-and-set into it must ask for."""
    return frozenset(before for before, after in SUCCESSORS.items() if state in after)


WAITING_FOR_WORKER: Final = predecessors(State.RUNNING)
"""In which a message is sent, and a worker may claim an execution."""


class Trigger(StrEnum):
    """What made an execution."""

    SCHEDULE = "SCHEDULE"
    MANUAL = "MANUAL"
    RETRY = "RETRY"
    BACKFILL = "BACKFILL"
    API = "API"
    """Code that calls a task: `delay`, `apply_async`, Celery's canvas."""
    PART = "PART"
    """Another execution, of which it is a part: an item of a fan-out, a step of a workflow."""


def basic_iso(instant: datetime) -> str:
    """Write an instant as UTC basic ISO 8601, with milliseconds only where there are any.

    All instants of one epoch have the same fraction, so that the ids of its rows sort by time.
    """
    utc = instant.astimezone(UTC)
    fraction = f".{utc.microsecond // 1000:03}" if utc.microsecond else ""
    # strftime takes three times as long, which is a tenth of a row's document.
    return utc.isoformat()[: len("2026-11-26T08:00:00")].replace("-", "").replace(":", "") + fraction + "Z"


def rfc3339(instant: datetime) -> str:
    """Write an instant as RFC 3339, UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def row_id(uid: str, epoch: int, first: datetime | None) -> str:
    """Return the id of the row whose first occurrence this is; None is the end of a chain without a further one."""
    return f"{uid}.{epoch}.{basic_iso(first) if first else 'end'}"


def manual_id(uid: str, token: str) -> str:
    """Return the id of a run by hand. The token is a ULID, or made from the request id."""
    return f"{uid}.m.{token}"


def retry_id(uid: str, token: str) -> str:
    """Return the id of a retry of an execution that had ended; the token as of a run by hand."""
    return f"{uid}.r.{token}"


def may_be_ahead(execution_id: str) -> bool:
    """Return whether the message of an execution may come before its row: of a run by hand, and of a retry."""
    return execution_id.partition(".")[2].startswith(("m.", "r."))


def backfill_execution_id(uid: str, backfill_id: str, nominal: datetime) -> str:
    """Return the id of the execution of one of a backfill's nominal times: there is never a second one."""
    return f"{uid}.b.{backfill_id}.{basic_iso(nominal)}"


def part_id(parent_id: str, name: str) -> str:
    """Return the id of a part of an execution: by the parent's and the part's name, so that it is inserted once.

    Not within the ids of a job's chain, whose second part is a number.
    """
    uid, _, rest = parent_id.partition(".")
    return f"{uid}.p.{rest}.{name}" if rest else f"{uid}.p.{name}"


def trace_id_of(execution_id: str) -> str:
    """Return the W3C trace id (32 hex digits) of an execution that no caller's trace began.

    Derived from the id, so that beat, relay and worker agree on it without asking each other.
    """
    return md5(execution_id.encode(), usedforsecurity=False).hexdigest()


WORKER_LOST: Final = "WORKER_LOST"
"""The code of an attempt whose worker died, or fell silent past its lease."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. code is a gRPC status code's name, or one of ours, as WORKER_LOST or TASK_FAILED."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class AfterFailure:
    """What a failed attempt leads to: PENDING until due_at, or FAILED (due_at is None)."""

    state: State
    due_at: datetime | None
    reason: str


def after_failure(
    failure: Failure,
    attempt: int,
    policy: RetryPolicy,
    now: datetime,
    chance: float,
    retry_until: datetime | None = None,
) -> AfterFailure:
    """Decide what follows when the given attempt (1 is the first) has failed at `now` (UTC).

    chance is uniform in [0, 1) and decides the jitter of the wait. retry_until: when the retry window ends, if it does.
    """
    if not failure.retryable:
        return AfterFailure(State.FAILED, None, f"{failure.code} is not retried")
    if attempt >= policy.max_attempts:
        return AfterFailure(State.FAILED, None, f"{failure.code} in the last of {policy.max_attempts} attempts")
    wait = policy.backoff(attempt, chance)
    if retry_until is not None and now + wait >= retry_until:
        return AfterFailure(State.FAILED, None, f"{failure.code}; {window_over(retry_until)}")
    return AfterFailure(State.PENDING, now + wait, f"{failure.code}; trying again in {wait.total_seconds():.1f} s")


def after_lost_worker(
    what: str,
    attempt: int,
    max_attempts: int,
    now: datetime,
    *,
    retry_until: datetime | None = None,
    on_worker_lost: WorkerLost = WorkerLost.RETRY,
) -> AfterFailure:
    """Decide what follows when an attempt has lost its worker; `what` says how, as `worker x fell silent`.

    The next attempt is due at once: the lease's length was wait enough, or the worker is known to be dead.
    """
    if on_worker_lost is WorkerLost.FAIL:
        return AfterFailure(State.FAILED, None, f"{what}, and on_worker_lost is FAIL")
    if attempt >= max_attempts:
        return AfterFailure(State.FAILED, None, f"{what} in the last of {max_attempts} attempts")
    if retry_until is not None and now >= retry_until:
        return AfterFailure(State.FAILED, None, f"{what}; {window_over(retry_until)}")
    return AfterFailure(State.PENDING, now, what)


MOST_ATTEMPTS: Final = 10_000
"""Attempts of one execution that a task may ask for, by retries without an end, or by being put back. Each leaves its
transitions, some 600 bytes, and a document of MongoDB has 16 MiB: one that is full can't be written any more."""

BEGUN_TOO_OFTEN: Final = f"not tried again, as it was begun {MOST_ATTEMPTS:,} times, which is the most"


def window_over(retry_until: datetime) -> str:
    """Return why an execution whose retry window has ended is not tried again."""
    return f"not tried again, as the next occurrence is that of {utc_text(retry_until)}"


RESEND_FIRST: Final = timedelta(minutes=1)
RESEND_LONGEST: Final = timedelta(hours=1)
"""A message that stays unanswered is sent again after a wait that doubles from the first to the longest.

It doubles, so that a long backlog does not fill the broker with copies.
"""
