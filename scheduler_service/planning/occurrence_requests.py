"""Requests that change single occurrences: what they name, or all that is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scheduler_service.planning.occurrences import move_violations
from scheduler_service.transport.convert import to_instant
from scheduler_service.transport.fields import reason_violations, refuse, required
from shared.domain.errors import InvalidInput, Violation
from shared.proto import planning_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import datetime

Request: TypeAlias = pb.SkipOccurrenceRequest | pb.MoveOccurrenceRequest | pb.RestoreOccurrenceRequest


def read_occurrence(request: Request) -> datetime:
    """Return the nominal time that a request names. Raises InvalidInput."""
    found: list[Violation] = []
    return _checked(_nominal(request, found), found)


def read_move(request: pb.MoveOccurrenceRequest) -> tuple[datetime, datetime]:
    """Return the nominal time and the new one. Raises InvalidInput."""
    found: list[Violation] = []
    nominal = _nominal(request, found)
    new_time = None
    if not request.HasField("new_time"):
        found.append(Violation("new_time", "a new_time is required; SkipOccurrence leaves an occurrence out"))
    else:
        new_time = to_instant("new_time", request.new_time, found)
    if nominal is not None and new_time is not None:
        found += move_violations(nominal, new_time)
    return _checked(nominal, found), _checked(new_time, found)


def _nominal(request: Request, found: list[Violation]) -> datetime | None:
    found += [*required("job_id", request.job_id), *reason_violations(request.reason)]
    if not request.HasField("nominal_time"):
        found.append(Violation("nominal_time", "the nominal_time of the occurrence is required"))
        return None
    return to_instant("nominal_time", request.nominal_time, found)


def _checked(instant: datetime | None, found: list[Violation]) -> datetime:
    refuse(found)
    if instant is None:
        raise InvalidInput(found)  # there is a violation for each that is None
    return instant
