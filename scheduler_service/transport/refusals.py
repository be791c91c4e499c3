"""Refusals as gRPC statuses: a code, sentences for people, and the same as google.rpc details for programs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from shared.domain.clock import utc_text
from shared.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Reason,
    ResourceExhausted,
    SchedulerError,
    Unavailable,
    Violation,
)
from shared.store.mongo import is_away

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from google.protobuf.message import Message
    from pymongo.errors import PyMongoError

MOST_HEADER_BYTES: Final = 6_000
"""Of the message and the details together, as they travel. grpcio loses calls whose headers exceed about 8 KiB."""
LONGEST_FIELD: Final = 200
LONGEST_SENTENCE: Final = 600
"""Header bytes of one violation: a field's name and a value quoted in a sentence come from the client."""
LONGEST_MESSAGE: Final = 1_500
"""Header bytes of any other sentence."""
RETRY_AFTER: Final = Duration(seconds=1)
DOMAIN: Final = "scheduler.v1"
"""Of all reasons in ErrorInfo: they are this API's."""

_ESCAPED: Final = bytes({*range(256)} - {*range(0x20, 0x7F)} | {ord("%")})
"""What gRPC writes into a header as three bytes."""

_ROOM_FOR_REST: Final = 200
"""Bytes kept for saying how many violations are left out."""


class NoSuch(NotFound):
    """What was named does not exist; kind (`job`) and name say what was asked for.

    deleted: when it was, for what there was once; until: when it can be undeleted no longer, if it can be now.
    """

    def __init__(self, kind: str, name: str, *, deleted: datetime | None = None, until: datetime | None = None) -> None:
        self.kind = kind
        self.name = shortened(name, LONGEST_FIELD)
        if deleted is None:
            super().__init__(f"there is no {kind} '{self.name}'")
            return
        facts = {"deleted_at": utc_text(deleted)}
        said = f"the {kind} '{self.name}' was deleted at {facts['deleted_at']}; its id stays taken"
        if until is not None:
            facts["purge_time"] = utc_text(until)
            said += f", and it can be undeleted until {facts['purge_time']}"
        super().__init__(said, reason=Reason.DELETED, facts=facts)


class Taken(AlreadyExists):
    """The id is in use; it stays so, also when what has it is deleted."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        said = f"there is a {kind} '{name}', or there was one: ids are not used again; choose another"
        super().__init__(said, reason=Reason.ID_TAKEN)


class NotDeleted(AlreadyExists):
    """What is to be undeleted is not deleted."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"the {kind} '{name}' is not deleted", reason=Reason.NOT_DELETED)


class Conflict(SchedulerError):  # noqa: N818 - named after the outcome
    """Somebody else was faster; reading again and repeating the call is right."""

    usual = Reason.CONTENDED


class LimitReached(ResourceExhausted):
    """A limit of this server is reached, which is the setting of that name.

    who: the caller whose limit it is, if it is one's own. wait: seconds after which the call may be repeated, where
    that is known.
    """

    def __init__(self, setting: str, sentence: str, *, who: str = "", wait: float | None = None) -> None:
        self.setting = setting
        self.who = shortened(who, LONGEST_FIELD)
        self.wait = wait
        super().__init__(f"{sentence} ({setting})", facts={"limit": setting})


class TooFarBack(SchedulerError):  # noqa: N818 - named after the outcome
    """What followed on a token can't be told any more; the client has to begin anew."""

    usual = Reason.RESUME_TOKEN_TOO_OLD


class TookTooLong(SchedulerError):  # noqa: N818 - named after the outcome
    """What was waited for has not come in time; it may still come."""

    usual = Reason.NOT_ENDED


_CODES: Final[Sequence[tuple[type[SchedulerError], grpc.StatusCode]]] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Conflict, grpc.StatusCode.ABORTED),
    (TooFarBack, grpc.StatusCode.OUT_OF_RANGE),
    (TookTooLong, grpc.StatusCode.DEADLINE_EXCEEDED),
)


def code_of(refused: SchedulerError) -> grpc.StatusCode:
    """Return the status code of a refusal."""
    return next((code for kind, code in _CODES if isinstance(refused, kind)), grpc.StatusCode.UNKNOWN)


def refusal_status(refused: SchedulerError) -> Status:
    """Return the status of a refusal; it fits a response's headers, however much is wrong."""
    code = code_of(refused)
    info = _info(refused.reason, refused.facts)
    match refused:
        case InvalidInput(violations=violations):
            return _bad_request(violations, info)
        case NoSuch(kind=kind, name=name) | Taken(kind=kind, name=name) | NotDeleted(kind=kind, name=name):
            return _status(code, str(refused), ResourceInfo(resource_type=kind, resource_name=name), info)
        case FailedPrecondition():
            # Without the sentence: it is the status' message, and all shares one budget.
            violation = PreconditionFailure.Violation(type=refused.reason.value)
            return _status(code, str(refused), PreconditionFailure(violations=[violation]), info)
        case LimitReached(setting=setting, who=who, wait=wait):
            quota = QuotaFailure(violations=[QuotaFailure.Violation(subject=who, description=setting)])
            if wait is None:
                return _status(code, str(refused), quota, info)
            delay = Duration()
            delay.FromTimedelta(timedelta(seconds=wait))
            return _status(code, str(refused), quota, RetryInfo(retry_delay=delay), info)
        case Unavailable():
            return _status(code, str(refused), RetryInfo(retry_delay=RETRY_AFTER), info)
        case _:
            return _status(code, str(refused), info)


def store_status(error: PyMongoError) -> Status | None:
    """Return the status for a store that cannot be reached, or does not answer in time; None for other errors."""
    if not is_away(error) and not error.timeout:
        return None
    sentence = "the store cannot be reached now; try again"
    info = _info(Reason.STORE_UNAVAILABLE)
    return _status(grpc.StatusCode.UNAVAILABLE, sentence, RetryInfo(retry_delay=RETRY_AFTER), info)


def internal_status(error_id: str) -> Status:
    """Return the status of an error that is ours: nothing but an id that is also in the log."""
    sentence = f"internal error {error_id}; the server's log has the details"
    return _status(grpc.StatusCode.INTERNAL, sentence, _info(Reason.INTERNAL, {"error_id": error_id}))


def shortened(text: str, longest: int) -> str:
    """Return a text cut to so many header bytes, with dots where it goes on."""
    if len(text) <= longest and _encoded(text) <= longest:
        return text
    left = longest
    for index, character in enumerate(text):
        left -= _encoded(character)
        if left < 0:
            kept = text[:index]
            while kept and _encoded(kept) > longest - 3:
                kept = kept[:-1]
            return kept + "..."
    return text


def header_bytes(status: Status) -> int:
    """Return what a status takes in a response's headers: the message percent-encoded, all of it again in base64."""
    size: int = status.ByteSize()
    return _encoded(status.message) + -(-size // 3) * 4


def _encoded(text: str) -> int:
    """Return the length of a text as gRPC writes it into a header: all but printable ASCII is three bytes a byte."""
    raw = text.encode(errors="replace")
    return 3 * len(raw) - 2 * len(raw.translate(None, _ESCAPED))


def _info(reason: Reason, facts: Mapping[str, str] | None = None) -> ErrorInfo:
    """Return why, for programs; facts are cut as fields are, since some come from clients."""
    metadata = {name: shortened(fact, LONGEST_FIELD) for name, fact in (facts or {}).items()}
    return ErrorInfo(reason=reason.value, domain=DOMAIN, metadata=metadata)


def _status(code: grpc.StatusCode, message: str, *details: Message) -> Status:
    number: int = code.value[0]
    return Status(code=number, message=shortened(message, LONGEST_MESSAGE), details=_packed(details))


def _bad_request(violations: Sequence[Violation], info: ErrorInfo) -> Status:
    """Name as many violations as fit, and say how many more there are."""
    named: list[Violation] = []
    status = _naming(named, 0, info)
    for violation in violations:
        named.append(
            Violation(shortened(violation.field, LONGEST_FIELD), shortened(violation.description, LONGEST_SENTENCE))
        )
        longer = _naming(named, 0, info)
        # The first is always shown: cut as it is, it fits.
        if len(named) > 1 and header_bytes(longer) > MOST_HEADER_BYTES - _ROOM_FOR_REST:
            named.pop()
            return _naming(named, len(violations) - len(named), info)
        status = longer
    return status


def _naming(named: Sequence[Violation], left_out: int, info: ErrorInfo) -> Status:
    sentences = [str(violation) for violation in named]
    fields = [BadRequest.FieldViolation(field=v.field, description=v.description, reason=info.reason) for v in named]
    if left_out:
        rest = f"and {left_out:,} more"
        sentences.append(rest)
        fields.append(BadRequest.FieldViolation(description=rest, reason=info.reason))
    number: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    details = _packed([BadRequest(field_violations=fields), info])
    return Status(code=number, message="; ".join(sentences), details=details)


def _packed(details: Iterable[Message]) -> list[Any]:
    packed = []
    for detail in details:
        wrapped = Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return packed
