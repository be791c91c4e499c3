"""The methods of PlanningService: a request's message in, an operation, a response's message out."""

# ruff: noqa: N802, ARG002 - methods and their arguments are the generated base class's
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.convert import change_message
from scheduler_service.occurrence_requests import read_move, read_occurrence
from shared.proto import planning_service_pb2 as pb
from shared.proto.planning_service_pb2_grpc import PlanningServiceServicer

if TYPE_CHECKING:
    from scheduler_service.occurrences import OccurrenceChanges


class PlanningService(PlanningServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""

    def __init__(self, occurrences: OccurrenceChanges) -> None:
        self._occurrences = occurrences

    async def SkipOccurrence(self, request: pb.SkipOccurrenceRequest, context: Any) -> pb.SkipOccurrenceResponse:
        """Leave an occurrence out."""
        nominal = read_occurrence(request)
        override = await self._occurrences.skip(
            request.job_id, nominal, request.reason, only_check=request.validate_only
        )
        return pb.SkipOccurrenceResponse(change=change_message(override))

    async def MoveOccurrence(self, request: pb.MoveOccurrenceRequest, context: Any) -> pb.MoveOccurrenceResponse:
        """Have an occurrence run at another time."""
        nominal, new_time = read_move(request)
        override = await self._occurrences.move(
            request.job_id, nominal, new_time, request.reason, only_check=request.validate_only
        )
        return pb.MoveOccurrenceResponse(change=change_message(override))

    async def RestoreOccurrence(
        self, request: pb.RestoreOccurrenceRequest, context: Any
    ) -> pb.RestoreOccurrenceResponse:
        """Let an occurrence go as its schedule says."""
        nominal = read_occurrence(request)
        override = await self._occurrences.restore(
            request.job_id, nominal, request.reason, only_check=request.validate_only
        )
        return pb.RestoreOccurrenceResponse(change=change_message(override))
