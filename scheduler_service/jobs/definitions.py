"""From a draft to a definition that can be stored: the domain's checks, and the target's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from scheduler_service.jobs.target_checks import TargetChecks
from shared.defaults import job_defaults
from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable, Violation
from shared.domain.flow import Workflow
from shared.domain.job import TASK, ScheduleTerms, define
from shared.domain.policies import Misfire, Overlap
from shared.domain.schedule import CronSchedule
from shared.tasks.registry import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from shared.calendars import Calendars
    from shared.domain.job import JobDefinition, JobDraft
    from shared.domain.schedule import Schedule
    from shared.messaging.queues import Queues
    from shared.settings import Settings
    from shared.targets import Targets

FAR: Final = timedelta(days=3653)
"""Until then changes of clocks are cheap to know; those of later years a process computes once for each zone."""


class Definitions:
    """What a draft is checked against, and filled in with."""

    def __init__(
        self, settings: Settings, queues: Queues, targets: Targets, calendars: Calendars, tasks: Tasks | None = None
    ) -> None:
        """Take what there is; without tasks, a job that names one is refused."""
        self.defaults = job_defaults(settings, queues, calendars)
        self._tasks = tasks or Tasks({})
        self._target_checks = TargetChecks(targets, self._tasks)
        self._consumer_timeout = timedelta(seconds=settings.consumer_timeout)

    async def define(
        self,
        draft: JobDraft,
        now: datetime,
        found: Iterable[Violation] = (),
        *,
        with_target: bool = True,
        is_small: bool = False,
    ) -> JobDefinition:
        """Return the draft's definition. found: violations of the request that were found before.

        is_small: whether its request was, so that what has to be computed of it takes no time that others would notice.
        Raises InvalidInput with all violations at once; Unavailable or FailedPrecondition when nothing else is wrong
        but the target's contract can't be read.
        """
        found = list(found)
        if is_small and not found and not _may_take_long(draft, now) and self._target_checks.is_known_to_fit(draft):
            # To hand it over takes as long, and on a busy server each way waits for Python's lock.
            return self._define(draft, now, found, with_target=False)
        # In a thread: a contract that is not compiled in is read over the network, and megabytes of JSON are written to
        # be measured.
        return await asyncio.to_thread(self._define, draft, now, found, with_target=with_target)

    def _define(
        self, draft: JobDraft, now: datetime, found: Sequence[Violation], *, with_target: bool
    ) -> JobDefinition:
        violations = list(found)
        draft = self._on_queues_of_tasks(draft)
        definition: JobDefinition | None = None
        away: Unavailable | FailedPrecondition | None = None
        try:
            definition = define(draft, self.defaults, now)
        except InvalidInput as refused:
            violations += _without_missing_target(found, refused.violations)
        if with_target:
            # Parameters that are refused as they are, as for their size, may be too many to be looked through.
            with_parameters = not any(map(_of_parameters, violations))
            try:
                self._target_checks.check(draft, with_parameters=with_parameters)
            except InvalidInput as refused:
                # What is wrong with a field by itself is said once; that the target can't take it either adds nothing.
                known = {violation.field for violation in violations}
                violations += [violation for violation in refused.violations if violation.field not in known]
            except (Unavailable, FailedPrecondition) as error:
                away = error
        if violations or definition is None:
            raise InvalidInput(violations)
        if away is not None:
            raise away
        return definition

    def _on_queues_of_tasks(self, draft: JobDraft) -> JobDraft:
        """Return a draft in which calls of tasks that name a queue of their own go there, if they name no other."""
        if isinstance(draft.flow, Workflow):
            steps = tuple(
                replace(step, queue=self._tasks.queue(step.target_method) or "")
                if step.target_service == TASK and not step.queue
                else step
                for step in draft.flow.steps
            )
            return replace(draft, flow=replace(draft.flow, steps=steps))
        if draft.target_service == TASK and not draft.queue:
            return replace(draft, queue=self._tasks.queue(draft.target_method))
        return draft

    def warnings(self, definition: JobDefinition) -> list[str]:
        """Return sentences on what is right, but may surprise."""
        said = []
        if definition.timeout > self._consumer_timeout:
            said.append(
                f"timeout: {definition.timeout.total_seconds():g} s is longer than RabbitMQ's consumer_timeout as it is"
                f" configured here ({self._consumer_timeout.total_seconds():g} s); the broker then hands the message"
                " to another worker while this one still runs"
            )
        said += schedule_warnings(definition.schedule)
        policies = definition.policies
        if policies.misfire is Misfire.FIRE_ALL and policies.overlap is Overlap.SKIP:
            said.append(
                "policies.misfire: with overlap SKIP the first of the late occurrences that FIRE_ALL fires makes the"
                " others skip; BUFFER_ALL runs them one after another"
            )
        return said


def _may_take_long(draft: JobDraft, now: datetime) -> bool:
    """Return whether it may take more than some milliseconds to find out when a schedule fires.

    Days that are left out are computed for years; what skips changes of clocks may be looked for in vain for centuries,
    for each of several expressions; and changes of clocks are computed until the schedule begins.
    """
    terms = draft.schedule
    return isinstance(terms, ScheduleTerms) and (
        terms.exclusions is not None
        or len(terms.expressions) > 1
        or "gap" in terms.config
        or (terms.start_time is not None and terms.start_time > now + FAR)
    )


def schedule_warnings(schedule: Schedule) -> list[str]:
    """Return sentences on what is right in a schedule, but may surprise."""
    if isinstance(schedule, CronSchedule) and _both_days_restricted(schedule):
        either = "so a day that matches either of them fires, as in cron"
        return [f"schedule_config.config: day_of_month and day_of_week are both restricted, {either}"]
    return []


def _without_missing_target(found: Iterable[Violation], violations: Iterable[Violation]) -> list[Violation]:
    """Leave out that the target is missing where the workflow itself is refused: a workflow has no target."""
    if any(wrong.field == "workflow" for wrong in found):
        return [wrong for wrong in violations if wrong.field not in {"target_service", "target_method"}]
    return list(violations)


def _of_parameters(violation: Violation) -> bool:
    return violation.field == "parameters" or violation.field.startswith(("parameters.", "parameters["))


def _both_days_restricted(schedule: CronSchedule) -> bool:
    return any(
        all(not day.strip().startswith(("*", "?")) for day in (fields[3], fields[5])) for fields in schedule.fields
    )
