"""The methods of TargetService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.targets.registry import Source, Wanted
from scheduler_service.targets.shapes import fitting, shapes_of_contract, shapes_of_tasks
from scheduler_service.transport.caller import current
from scheduler_service.transport.convert import duration, timestamp
from scheduler_service.transport.fields import read_timeout, refuse
from scheduler_service.transport.pages import page_size, read_token, write_token
from scheduler_service.transport.refusals import LONGEST_MESSAGE, shortened
from shared.domain.errors import FailedPrecondition, Unavailable, Violation
from shared.proto import target_service_pb2 as pb
from shared.proto.target_service_pb2_grpc import TargetServiceServicer

if TYPE_CHECKING:
    from datetime import datetime

    from scheduler_service.targets.registry import Listed, TargetRegistry
    from scheduler_service.targets.tests import TargetTests
    from shared.targets import Targets
    from shared.tasks.registry import Tasks

_LISTING: Final = "targets"


class TargetService(TargetServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, registry: TargetRegistry, tests: TargetTests, targets: Targets, tasks: Tasks) -> None:
        self._registry = registry
        self._tests = tests
        self._targets = targets
        self._tasks = tasks

    async def RegisterTarget(self, request: pb.RegisterTargetRequest, context: Any) -> pb.RegisterTargetResponse:
        """Add a target, or change one that was registered."""
        wanted = Wanted(request.name, request.address, tuple(request.services), request.description, request.etag)
        listed, warnings = await self._registry.register(wanted, current.get().by, validate_only=request.validate_only)
        message = target_message(listed)
        if listed.registration is None:
            message.description = request.description
        return pb.RegisterTargetResponse(
            target=message, warnings=[shortened(warning, LONGEST_MESSAGE) for warning in warnings]
        )

    async def UnregisterTarget(self, request: pb.UnregisterTargetRequest, context: Any) -> pb.UnregisterTargetResponse:
        """Remove a registered target."""
        await self._registry.unregister(
            request.name, request.etag, current.get().by, validate_only=request.validate_only
        )
        return pb.UnregisterTargetResponse()

    async def ListTargets(self, request: pb.ListTargetsRequest, context: Any) -> pb.ListTargetsResponse:
        """Return a page of targets, by name."""
        found: list[Violation] = []
        size = page_size(request.page_size, found)
        after = read_token(_LISTING, request.page_token, found)
        refuse(found)
        read_at = await self._registry.contracts_read_at()
        listed = [each for each in await self._registry.all() if after is None or each.target.name > after[1]]
        targets, all_of_them = fitting(target_message(each, read_at.get(each.target.name)) for each in listed[:size])
        more = len(listed) > size or not all_of_them
        # Ordered by name alone, where other lists have a time in front.
        token = write_token(_LISTING, ("", targets[-1].name) if more else None)
        return pb.ListTargetsResponse(targets=targets, next_page_token=token)

    async def DescribeTarget(self, request: pb.DescribeTargetRequest, context: Any) -> pb.DescribeTargetResponse:
        """Return a target's methods, the shape of their requests, and an example of each."""
        listed = await self._registry.get(request.name)
        response = pb.DescribeTargetResponse(target=await self._with_jobs(listed))
        try:
            methods, all_of_them = await asyncio.to_thread(self._shapes, listed, request.method)
        except (Unavailable, FailedPrecondition) as away:
            response.warning = shortened(str(away), LONGEST_MESSAGE)
            return response
        response.methods.extend(methods)
        if not all_of_them:
            response.warning = "there are more methods than one answer has room for; name one as `method`"
        elif not methods and listed.source is Source.TASKS:
            response.warning = "there are no tasks: TASK_MODULES names no module that has any"
        return response

    async def TestTarget(self, request: pb.TestTargetRequest, context: Any) -> pb.TestTargetResponse:
        """Ask a target for its health, and check the jobs that use it."""
        seconds = read_timeout(request)
        listed = await self._registry.get(request.name)
        tested = await self._tests.run(listed.target, seconds)
        return pb.TestTargetResponse(
            status=f"STATUS_{tested.health.status}",
            latency=duration(tested.health.latency),
            message=shortened(tested.message, LONGEST_MESSAGE),
            contract_read=tested.contract_read,
            jobs_checked=tested.jobs_checked,
            misfits=[pb.TestTargetResponse.Misfit(job_id=job_id, problems=said) for job_id, said in tested.misfits],
            misfits_total=tested.misfits_total,
        )

    async def _with_jobs(self, listed: Listed) -> pb.Target:
        read_at, jobs = await asyncio.gather(
            self._registry.contracts_read_at(), self._registry.jobs(listed.target.name)
        )
        message = target_message(listed, read_at.get(listed.target.name))
        message.jobs = jobs
        return message

    def _shapes(self, listed: Listed, method: str) -> tuple[list[pb.DescribeTargetResponse.Method], bool]:
        if listed.source is Source.TASKS:
            return fitting(shapes_of_tasks(self._tasks, method))
        return fitting(shapes_of_contract(self._targets.contract(listed.target.name), method))


def target_message(listed: Listed, contract_read_at: datetime | None = None) -> pb.Target:
    """Write a target as its clients see it."""
    message = pb.Target(
        name=listed.target.name,
        address=listed.target.address,
        services=listed.target.services,
        source=f"SOURCE_{listed.source}",
        contract_read_at=timestamp(contract_read_at),
    )
    if (registration := listed.registration) is not None:
        message.MergeFrom(
            pb.Target(
                description=registration.description,
                etag=registration.etag,
                created_at=timestamp(registration.created_at),
                updated_at=timestamp(registration.updated_at),
                updated_by=registration.updated_by,
            )
        )
    return message
