"""The methods of StatisticsService: a request's message in, an operation, a response's message out."""

from __future__ import annotations

from shared.proto.statistics_service_pb2_grpc import StatisticsServiceServicer


class StatisticsService(StatisticsServiceServicer):
    """Refusals are raised as they are; the interceptor makes statuses of them."""
