"""Calls about many jobs: each job by itself, so many at a time, told one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scheduler_service.jobs.listing import read_question
from scheduler_service.transport.fields import reason_violations, refuse
from scheduler_service.transport.refusals import code_of, shortened
from scheduler_service.transport.requests import become_part
from shared.domain.errors import SchedulerError, Violation
from shared.domain.filters import JOB_FIELDS, JOB_ORDERS
from shared.proto import scheduler_service_pb2 as pb
from shared.store.listing import job_listing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from scheduler_service.jobs.jobs import Jobs
    from shared.domain.filters import Filter

MOST_JOBS: Final = 1_000
"""That a request may name, and a response tells of."""
AT_ONCE: Final = 16
"""Jobs that one call works on at a time: others are served between them."""
PAGE: Final = 500
LONGEST_MESSAGE: Final = 1_000

Change: TypeAlias = "Callable[[str], Awaitable[pb.ScheduledJob]]"
"""Changes the job of this id, or raises a refusal; returns it as it is then."""
Of: TypeAlias = "pb.BatchPauseScheduledJobsRequest | pb.BatchResumeScheduledJobsRequest"


async def create_all(
    request: pb.BatchCreateScheduledJobsRequest,
    create: Callable[[pb.CreateScheduledJobRequest], Awaitable[pb.CreateScheduledJobResponse]],
) -> pb.BatchCreateScheduledJobsResponse:
    """Create jobs by a function that creates one. Raises InvalidInput for a batch of none, or of too many."""
    if not 1 <= len(request.requests) <= MOST_JOBS:
        refuse([Violation("requests", f"{len(request.requests):,} requests are not a batch (1 to {MOST_JOBS:,})")])

    async def create_one(numbered: tuple[int, pb.CreateScheduledJobRequest]) -> pb.BatchResult:
        number, item = numbered
        # Each has a mark of its own, as if it had been asked for by itself.
        become_part(str(number))
        one = pb.CreateScheduledJobRequest()
        one.CopyFrom(item)
        one.request_id, one.validate_only = "", request.validate_only
        try:
            created = await create(one)
        except SchedulerError as refused:
            return refused_result(item.job_id, refused)
        return pb.BatchResult(job_id=created.job_id, changed=True, warnings=created.warnings)

    return pb.BatchCreateScheduledJobsResponse(results=await each(enumerate(request.requests), create_one))


async def change_all(request: Of, jobs: Jobs, change: Change) -> tuple[list[pb.BatchResult], int, int, int]:
    """Change the jobs that a request names, or that fit its filter, by a function that changes one.

    Returns what became of them, how many fit, were changed and refused: of those that are named, of each; of those that
    fit a filter, of the first that changed or were refused. A caller that goes away leaves what was done; asked again,
    it goes on.
    """
    chosen = _chosen(request)
    results: list[pb.BatchResult] = []
    matched = changed = refused = 0
    async for job_ids in _several(request.job_ids, chosen, jobs):
        for result in await each(job_ids, lambda job_id: change_one(job_id, jobs, change)):
            matched += 1
            changed += result.changed
            refused += bool(result.code)
            if len(results) < MOST_JOBS and (chosen is None or result.changed or result.code):
                results.append(result)
    return results, matched, changed, refused


def _chosen(request: Of) -> Filter | None:
    """Return a request's filter, if it has one."""
    found: list[Violation] = []
    chosen, _ = read_question(request.filter, "", JOB_FIELDS, JOB_ORDERS, found)
    if bool(request.job_ids) is bool(request.filter.strip()):
        said = "exactly one of job_ids and filter is required; all jobs that there are fit the filter state != DELETED"
        found.append(Violation("filter", said))
    if len(request.job_ids) > MOST_JOBS:
        said = f"{len(request.job_ids):,} are too many (at most {MOST_JOBS:,}); use a filter"
        found.append(Violation("job_ids", said))
    # Said once, and not of each job.
    found += reason_violations(request.reason)
    refuse(found)
    return chosen if request.filter.strip() else None


async def _several(job_ids: Iterable[str], chosen: Filter | None, jobs: Jobs) -> AsyncIterator[list[str]]:
    """Return the ids of a request, each once, some at a time."""
    if chosen is None:
        yield list(dict.fromkeys(job_ids))
        return
    # By creation, which no change moves: none is passed over while those before it are changed.
    listing, after = job_listing(chosen, JOB_ORDERS[0]), None
    while True:
        page, after = await jobs.page(listing, after, PAGE)
        yield [job.job_id for job in page]
        if after is None:
            return


async def change_one(job_id: str, jobs: Jobs, change: Change) -> pb.BatchResult:
    """Change a job; return what became of it."""
    try:
        before = (await jobs.read(job_id)).job
        after = await change(job_id)
    except SchedulerError as refused:
        return refused_result(job_id, refused)
    return pb.BatchResult(job_id=job_id, changed=after.etag != before.etag)


def refused_result(job_id: str, refused: SchedulerError) -> pb.BatchResult:
    """Return the result of a job that was refused."""
    return pb.BatchResult(
        job_id=job_id,
        code=code_of(refused).name,
        message=shortened(str(refused), LONGEST_MESSAGE),
        reason=refused.reason.value,
    )


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """Do something for each, so many at a time; return what came of it, in their order.

    What is raised ends the rest.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> Any:
        async with room:
            return await work(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
