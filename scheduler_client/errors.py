"""What a call ends with when it does not go well: one exception a kind, with what the service said in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a request; field is its path, as `schedule_config.config.hour`."""

    field: str
    description: str


class SchedulerError(Exception):
    """The call did not go well; the text is the service's sentence."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Details) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.reason: Final = details.reason
        """Stable, for programs, as `JOB_COMPLETED`; empty when the service gave none."""
        self.metadata: Final = details.metadata
        """What belongs to the reason, as names and values."""
        self.retry_after: Final = details.retry_after
        """Seconds after which the call may be repeated; None when the service did not say."""
        self.violations: Final = details.violations
        """All that is wrong with the request; only for InvalidInput."""
        self.resource: Final = details.resource
        """What it was about, as ("job", "nightly"); None when the service did not say."""


class InvalidInput(SchedulerError):  # noqa: N818 - named after the outcome, here and below
    """Something about the request is wrong, and will be when it is repeated; violations has all of it."""


class NotFound(SchedulerError):  # noqa: N818
    """What was named does not exist."""


class AlreadyExists(SchedulerError):  # noqa: N818
    """The id is taken."""


class FailedPrecondition(SchedulerError):  # noqa: N818
    """The thing is not in a state for that."""


class Conflict(SchedulerError):  # noqa: N818
    """Somebody else changed it since it was read: read again."""


class LimitReached(SchedulerError):  # noqa: N818
    """A limit of the service: too many requests, too large a message, too slow a reader."""


class OutOfRange(SchedulerError):  # noqa: N818
    """A resume_token is older than what can still be told: watch anew."""


class Unavailable(SchedulerError):  # noqa: N818
    """The server, or what it needs, cannot be reached now; the call had been repeated already."""


class DeadlineExceeded(SchedulerError):  # noqa: N818
    """The time that the call was given is over. What it asked for may have been done, or be done yet."""


@dataclass(frozen=True, slots=True)
class Details:
    """What a status carries beside its code and sentence."""

    reason: str
    metadata: Mapping[str, str]
    retry_after: float | None
    violations: tuple[Violation, ...]
    resource: tuple[str, str] | None

    STATUS: ClassVar = "grpc-status-details-bin"

    @classmethod
    def of(cls, raw: bytes) -> Details:
        """Read a serialized google.rpc.Status; what it lacks, or cannot be read, is empty."""
        info, retry, bad, resource = ErrorInfo(), RetryInfo(), BadRequest(), ResourceInfo()
        delay: float | None = None
        try:
            for detail in Status.FromString(raw).details:
                for message in (info, bad, resource):
                    detail.Unpack(message)
                if detail.Unpack(retry):
                    delay = retry.retry_delay.ToTimedelta().total_seconds()
        except DecodeError:  # a proxy's, perhaps: the code and the sentence stand
            pass
        return cls(
            info.reason,
            dict(info.metadata),
            delay,
            tuple(Violation(each.field, each.description) for each in bad.field_violations),
            (resource.resource_type, resource.resource_name) if resource.resource_type else None,
        )


_KINDS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReached,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def error_of(failed: grpc.RpcError) -> SchedulerError:
    """Return our exception for grpc's, of a blocking or an asynchronous call."""
    call = cast("Any", failed)
    code: grpc.StatusCode = call.code()
    raw = next((value for key, value in call.trailing_metadata() or () if key == Details.STATUS), b"")
    message = call.details() or f"the call ended with {code.name}, and nobody said why"
    return _KINDS.get(code, SchedulerError)(code, message, Details.of(raw if isinstance(raw, bytes) else raw.encode()))
