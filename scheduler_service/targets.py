"""The methods of TargetService: a request's message in, an operation, a response's message out."""

from __future__ import annotations

from shared.proto.target_service_pb2_grpc import TargetServiceServicer


class TargetService(TargetServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""
