"""The way to the server: what both clients' channels have."""

from __future__ import annotations

import json
from typing import Any, Final

from scheduler_client.call import PACKAGE

DEFAULT_SERVER: Final = "localhost:50054"
DEFAULT_TIMEOUT: Final = 30.0
"""Seconds for a call, its retries included."""

ATTEMPTS: Final = 5
"""Of a call that the server, or the way to it, is not there for; gRPC allows no more."""

SERVICES: Final = ("SchedulerService", "PlanningService", "TargetService", "StatisticsService", "AdminService")

SERVICE_CONFIG: Final[dict[str, Any]] = {
    "methodConfig": [
        {
            # All methods of these: what reads may be repeated, and what writes has a request_id, which the client
            # makes, so that it is done once.
            "name": [{"service": f"{PACKAGE}.{service}"} for service in SERVICES],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2.5,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

OPTIONS: Final = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # The service answers lists of up to its own message size.
    ("grpc.max_receive_message_length", 16 * 2**20),
    # A server that is away is looked for again soon: people and tests restart servers.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A connection that died unseen ends a stream, also one without a deadline. gRPC's servers take no pings more often
    # than every five minutes.
    ("grpc.keepalive_time_ms", 330_000),
)


def metadata_of(actor: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that say who calls. Raises ValueError for a name that cannot travel as a header."""
    if not (actor.isascii() and actor.isprintable()):
        raise ValueError(f"an actor has printable ASCII characters only; {actor!r} has others")
    return (("x-actor", actor),) if actor else ()
