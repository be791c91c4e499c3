"""Calls about targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.call import Call, Pages, call, new_request_id, pages
from scheduler_client.values import duration
from shared.proto import target_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICE: Final = "TargetService"
MARGIN: Final = 5.0
"""Seconds beyond those that the target itself is given."""


def register_target(
    name: str,
    address: str,
    *,
    services: Iterable[str] = (),
    description: str = "",
    etag: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.RegisterTargetResponse]:
    """Add a target, or change one that was registered; return it, and warnings, as that it does not answer.

    services: those of it that jobs may call; all if left out. Raises InvalidInput, FailedPrecondition for one of the
    configuration, Conflict.
    """
    request = pb.RegisterTargetRequest(
        name=name,
        address=address,
        services=services,
        description=description,
        etag=etag,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/RegisterTarget", request, pb.RegisterTargetResponse, lambda answer: answer)


def unregister_target(name: str, *, request_id: str = "", validate_only: bool = False) -> Call[None]:
    """Remove a registered target. Raises NotFound, and FailedPrecondition while jobs use it."""
    request = pb.UnregisterTargetRequest(name=name, request_id=new_request_id(request_id), validate_only=validate_only)
    return call(f"{SERVICE}/UnregisterTarget", request, pb.UnregisterTargetResponse, lambda _: None)


def targets(*, page_size: int = 0) -> Pages[pb.Target]:
    """Return the targets one after another, by name."""
    request = pb.ListTargetsRequest(page_size=page_size)
    return pages(f"{SERVICE}/ListTargets", request, pb.ListTargetsResponse, lambda page: page.targets)


def describe_target(name: str, *, method: str = "") -> Call[pb.DescribeTargetResponse]:
    """Return a target's methods, the shape of their requests, and an example of each. Raises NotFound."""
    request = pb.DescribeTargetRequest(name=name, method=method)
    return call(f"{SERVICE}/DescribeTarget", request, pb.DescribeTargetResponse, lambda answer: answer)


def test_target(name: str, *, timeout: float = 5.0) -> Call[pb.TestTargetResponse]:  # noqa: PT028 - no test
    """Return a target's health, how fast it answers, and which jobs no longer fit it. Raises NotFound.

    timeout: seconds that the target is given.
    """
    request = pb.TestTargetRequest(name=name, timeout=duration(timeout))
    return call(
        f"{SERVICE}/TestTarget", request, pb.TestTargetResponse, lambda answer: answer, timeout=timeout + MARGIN
    )
