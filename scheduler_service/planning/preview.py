"""Preview and describe: what a schedule means, be it a job's, or one that nobody has stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from scheduler_service.jobs.definitions import schedule_warnings
from scheduler_service.jobs.drafts import changed_schedule, read_terms
from scheduler_service.planning.fires import fire_message, year_violations
from scheduler_service.planning.wording import describe
from scheduler_service.transport.convert import to_instant
from scheduler_service.transport.fields import refuse
from shared.domain.cron import uses_hash
from shared.domain.errors import InvalidInput, Violation
from shared.domain.job import JobState
from shared.domain.preview import MOST_FIRES, difference, preview
from shared.domain.schedule import CronSchedule
from shared.proto import planning_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import datetime

    from scheduler_service.jobs.jobs import Found, Jobs
    from shared.domain.exclusions import Resolve
    from shared.domain.remarks import NameDays
    from shared.domain.schedule import Schedule

USUAL_COUNT: Final = 10


@dataclass(frozen=True, slots=True)
class _Meant:
    """The schedule that a request is about, and the job, if it names one. wanted: whether the request gave one."""

    schedule: Schedule
    now: datetime
    found: Found | None
    wanted: bool


class Schedules:
    """Answers about schedules. Raises PyMongoError when the store can't be reached."""

    def __init__(self, jobs: Jobs, resolve: Resolve, name_days: NameDays) -> None:
        self._jobs = jobs
        self._resolve = resolve
        self._name_days = name_days

    async def preview(self, request: pb.PreviewScheduleRequest) -> pb.PreviewScheduleResponse:
        """Return the next fires of a schedule, and how they differ from those of a job. Raises InvalidInput, NoSuch."""
        found: list[Violation] = []
        if not 0 <= request.count <= MOST_FIRES:
            said = f"{request.count} is not a number of fires (1-{MOST_FIRES:,}, or 0 for {USUAL_COUNT})"
            found.append(Violation("count", said))
        after = to_instant("from_time", request.from_time, found) if request.HasField("from_time") else None
        found += year_violations("from_time", after)
        meant = await self._meant(request, found)
        # In a thread: a thousand rare fires take hundreds of milliseconds.
        return await asyncio.to_thread(self._previewed, meant, after, request.count or USUAL_COUNT)

    async def describe(self, request: pb.DescribeScheduleRequest) -> pb.DescribeScheduleResponse:
        """Say a schedule in plain words. Raises InvalidInput, NoSuch."""
        meant = await self._meant(request, [])
        description = await asyncio.to_thread(describe, meant.schedule)
        return pb.DescribeScheduleResponse(description=description)

    async def _meant(
        self, request: pb.PreviewScheduleRequest | pb.DescribeScheduleRequest, found: list[Violation]
    ) -> _Meant:
        given = request.HasField("schedule_config")
        if not given and not request.job_id:
            found.append(Violation("schedule_config", "a schedule_config or a job_id is required"))
            refuse(found)
        job = await self._jobs.read(request.job_id) if request.job_id else None
        now = await self._jobs.now() if job is None else job.now
        if not given and job is not None:
            refuse(found)
            return _Meant(job.job.definition.schedule, now, job, wanted=False)
        schedule = await asyncio.to_thread(self._parsed, request, job, now, found)
        refuse(found)
        if schedule is None:
            raise AssertionError  # refused before
        return _Meant(schedule, now, job, wanted=True)

    def _parsed(
        self,
        request: pb.PreviewScheduleRequest | pb.DescribeScheduleRequest,
        job: Found | None,
        now: datetime,
        found: list[Violation],
    ) -> Schedule | None:
        """Return the schedule as creating a job, or updating this one, would have it."""
        terms = read_terms(request.schedule_config, found)
        try:
            if job is not None:
                return changed_schedule(job.job.definition, terms, self._resolve, now, found)
            return terms.parse(now, "", resolve=self._resolve)
        except InvalidInput as refused:
            found += refused.violations
            return None

    def _previewed(self, meant: _Meant, after: datetime | None, count: int) -> pb.PreviewScheduleResponse:
        schedule, job = meant.schedule, None if meant.found is None else meant.found.job
        since = meant.now if after is None else after
        if after is None and (first := schedule.first_after(meant.now)) is not None and first <= since:
            # A `once` of just now still fires.
            since = first - timedelta(milliseconds=1)
        uid = "" if job is None else job.uid
        left = schedule.max_runs
        if left is not None:
            left -= job.fired if job is not None and schedule == job.definition.schedule else 0
            left -= schedule.count_between(meant.now, since) if since > meant.now else 0
        overrides = () if job is None or meant.wanted else job.overrides
        shown = preview(schedule, since, count, runs_left=left, uid=uid, name_days=self._name_days, overrides=overrides)
        response = pb.PreviewScheduleResponse(
            fires=[fire_message(fire) for fire in shown.fires],
            description=describe(schedule),
            ends=shown.ends,
            warnings=_warnings(meant),
        )
        if job is not None and meant.wanted:
            changes = difference(job.definition.schedule, schedule, since, count, uid, self._name_days)
            response.added.extend(fire_message(fire) for fire in changes.added)
            response.removed.extend(fire_message(fire) for fire in changes.removed)
            if changes.cut:
                response.warnings.append(f"removed: only the first {count:,} of those that fall away are shown")
        return response


def _warnings(meant: _Meant) -> list[str]:
    said = schedule_warnings(meant.schedule)
    job = None if meant.found is None else meant.found.job
    if job is None and isinstance(meant.schedule, CronSchedule) and any(map(uses_hash, meant.schedule.fields)):
        said.append("schedule_config: H is made from a job's id, so the times of a job are others; name one in job_id")
    if job is None and meant.schedule.jitter:
        said.append("schedule_config.jitter: when a fire goes out depends on the job, so due_time is not known")
    if job is not None and job.state is not JobState.ACTIVE:
        said.append(f"the job '{job.definition.job_id}' is {job.state}: nothing fires while it is")
    return said
