"""Changes of single occurrences that are still to come: they are left out, run at another time, or go as usual again.

Each is an edit that a beat installs, as every other: the chain decides all through its cutoff as before, and the change
is accepted only if what it concerns comes later. So either it is in force when the occurrence's time comes, or the
caller is told that it came too late.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from scheduler_service.jobs.jobs import Decided
from scheduler_service.transport.caller import current
from shared.domain.errors import FailedPrecondition, InvalidInput, NotFound, Reason, ResourceExhausted, Violation
from shared.domain.execution import rfc3339
from shared.domain.job import JobState
from shared.domain.occurrences import names
from shared.domain.overrides import MOST_OVERRIDES, Override
from shared.domain.text import because
from shared.store.jobs import Queued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from scheduler_service.jobs.jobs import DecideOccurrence, Found, Jobs
    from shared.store.jobs import StoredJob

FURTHEST: Final = timedelta(days=366)
"""How far ahead an occurrence may be that is changed, and how far from its time it may be moved."""

_SECOND: Final = timedelta(seconds=1)


class OccurrenceChanges:
    """All raise FailedPrecondition, NotFound, InvalidInput, ResourceExhausted, and PyMongoError.

    Each takes validate_only, with which nothing is stored.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def skip(self, job_id: str, nominal: datetime, reason: str, *, validate_only: bool = False) -> Override:
        """Leave an occurrence out."""

        def decide(found: Found) -> Decided:
            before = _concerned(found, nominal)
            if before is not None and before.moved_to is None:
                return Decided(None, before, before.first)
            override = Override(nominal, None, current.get().by, reason, found.now)
            return _queue(found, before, override)

        return await self._change(job_id, decide, _done(nominal, None, reason), validate_only=validate_only)

    async def move(
        self, job_id: str, nominal: datetime, new_time: datetime, reason: str, *, validate_only: bool = False
    ) -> Override:
        """Have an occurrence run at another time."""

        def decide(found: Found) -> Decided:
            before = _concerned(found, nominal)
            if before is not None and before.moved_to == new_time:
                return Decided(None, before, before.first)
            if new_time <= found.through:
                said = f"{rfc3339(new_time)} has passed; it is {rfc3339(found.now)}; give a time to come"
                raise InvalidInput([Violation("new_time", said)])
            _refuse_taken(found, nominal, new_time)
            override = Override(nominal, new_time, current.get().by, reason, found.now)
            return _queue(found, before, override)

        return await self._change(job_id, decide, _done(nominal, new_time, reason), validate_only=validate_only)

    async def restore(self, job_id: str, nominal: datetime, reason: str, *, validate_only: bool = False) -> Override:
        """Let an occurrence go as its schedule says; return what was taken back."""

        def decide(found: Found) -> Decided:
            before = _concerned(found, nominal)
            if before is None:
                raise NotFound(
                    f"the occurrence {rfc3339(nominal)} of the job '{found.job.definition.job_id}' is neither skipped"
                    " nor moved"
                )
            by = current.get().by
            said = because(f"the occurrence {rfc3339(nominal)} was restored", reason)
            return Decided(Queued(found.job.definition.schedule, by, said, restored=nominal), before, before.first)

        return await self._change(job_id, decide, _done(nominal, None, reason), validate_only=validate_only)

    async def _change(
        self, job_id: str, decide: DecideOccurrence, done: Callable[[StoredJob], Override], *, validate_only: bool
    ) -> Override:
        if validate_only:
            return decide(await self._jobs.read(job_id)).override
        return await self._jobs.change_occurrence(job_id, current.get().by, decide, done)


def move_violations(nominal: datetime, new_time: datetime) -> list[Violation]:
    """Return what is wrong with the time to which an occurrence is to be moved, whatever the time is now."""
    if new_time == nominal:
        return [Violation("new_time", "is the nominal time itself; RestoreOccurrence takes a move back")]
    if abs(new_time - nominal) > FURTHEST:
        return [Violation("new_time", f"is more than {FURTHEST.days} days from nominal_time")]
    if (new_time - nominal) % _SECOND:
        # The ids of an epoch's rows sort by time only if all have the same fraction of a second.
        return [Violation("new_time", "is not whole seconds before or after nominal_time")]
    return []


def to_come(overrides: tuple[Override, ...], now: datetime) -> list[Override]:
    """Return the overrides of which something is still to come, in the order of their nominal times."""
    return sorted((each for each in overrides if each.last > now), key=lambda each: each.nominal)


def void_warnings(before: Iterable[Override], after: tuple[Override, ...]) -> list[str]:
    """Say which overrides a new schedule has made void."""
    kept = {each.nominal for each in after}
    return [
        f"{rfc3339(each.nominal)} was {each.left_out}; that is void, as the new schedule has no such occurrence"
        for each in before
        if each.nominal not in kept
    ]


def _done(nominal: datetime, moved_to: datetime | None, reason: str) -> Callable[[StoredJob], Override]:
    """Return what a call answers that has changed a job when its answer was lost: what stands by now, or did then."""
    by = current.get().by

    def answer(job: StoredJob) -> Override:
        standing = (each for each in job.overrides if each.nominal == nominal)
        return next(standing, Override(nominal, moved_to, by, reason, job.updated_at))

    return answer


def _concerned(found: Found, nominal: datetime) -> Override | None:
    """Return how an occurrence is overridden so far. Raises when it is none, or comes too late to be changed."""
    job = found.job
    job_id, shown = job.definition.job_id, rfc3339(nominal)
    if job.state is JobState.COMPLETED:
        said = f"the job '{job_id}' is completed: no occurrence is to come"
        raise FailedPrecondition(said, reason=Reason.JOB_COMPLETED)
    if job.state is JobState.ERROR:
        raise FailedPrecondition(f"the job '{job_id}' is set aside ({job.status_message}); resume it first")
    if nominal > found.now + FURTHEST:
        said = f"{shown} is too far ahead (at most {FURTHEST.days} days from now, {rfc3339(found.now)})"
        raise InvalidInput([Violation("nominal_time", said)])
    before = next((each for each in job.overrides if each.nominal == nominal), None)
    # Further back nothing is looked for, and what is that old is decided, if it ever was one.
    if nominal >= found.now - FURTHEST and not names(job.definition.schedule, nominal):
        raise NotFound(f"the schedule of the job '{job_id}' has no occurrence at {shown}{_nearest(found, nominal)}")
    if nominal <= found.through:
        raise FailedPrecondition(
            f"the occurrence {shown} of the job '{job_id}' is due or decided already; ExplainOccurrence says what"
            " became of it",
            reason=Reason.OCCURRENCE_DECIDED,
        )
    if before is not None and before.first <= found.through:
        raise FailedPrecondition(
            f"the occurrence {shown} of the job '{job_id}' was {before.left_out}, which has run, or is due: it stands",
            reason=Reason.OCCURRENCE_DECIDED,
        )
    return before


def _nearest(found: Found, nominal: datetime) -> str:
    schedule = found.job.definition.schedule
    since = found.now if nominal > found.now else nominal - FURTHEST
    near = [schedule.last_between(since, nominal), schedule.next_after(nominal)]
    return f"; the nearest are {' and '.join(rfc3339(each) for each in near if each)}" if any(near) else ""


def _refuse_taken(found: Found, nominal: datetime, new_time: datetime) -> None:
    """Refuse a second occurrence at an instant: both would be one run."""
    job = found.job
    others = tuple(each for each in job.overrides if each.nominal != nominal)
    if names(replace(job.spec, overrides=others).occurrences, new_time):
        raise FailedPrecondition(
            f"the job '{job.definition.job_id}' has an occurrence at {rfc3339(new_time)} already; choose another second"
            " for this one",
            reason=Reason.OCCURRENCE_TAKEN,
        )


def _queue(found: Found, before: Override | None, override: Override) -> Decided:
    job = found.job
    if before is None and len(to_come(job.overrides, found.now)) >= MOST_OVERRIDES:
        raise ResourceExhausted(
            f"{MOST_OVERRIDES} occurrences of the job '{job.definition.job_id}' are skipped or moved already; a job can"
            " have no more of these at a time"
        )
    # What it was moved to before must not be due either.
    first = override.first if before is None else min(override.first, before.first)
    said = f"the occurrence {rfc3339(override.nominal)} was {override.left_out}"
    return Decided(Queued(job.definition.schedule, override.by, said, override=override), override, first)
