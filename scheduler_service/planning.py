"""The methods of PlanningService: a request's message in, an operation, a response's message out."""

from __future__ import annotations

from shared.proto.planning_service_pb2_grpc import PlanningServiceServicer


class PlanningService(PlanningServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""
