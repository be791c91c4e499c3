"""Fires of schedules as messages of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_service.transport.convert import timestamp
from shared.domain.errors import Violation
from shared.proto import planning_service_pb2 as pb

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.remarks import Fire

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2500
"""Of instants that are asked about. When the clocks of a zone change has to be found out until then, once for each
process: a fifth of a second for these, seconds for the year 9999."""


def fire_message(fire: Fire) -> pb.FireTime:
    """Write an instant at which a schedule fires."""
    return pb.FireTime(
        time=timestamp(fire.time), local_time=fire.local, due_time=timestamp(fire.due), remarks=fire.remarks
    )


def year_violations(field: str, instant: datetime | None) -> list[Violation]:
    """Say that an instant is too far away to be asked about, if it is."""
    if instant is None or FIRST_YEAR <= instant.year <= LAST_YEAR:
        return []
    return [Violation(field, f"{instant.year} is not a year from {FIRST_YEAR} to {LAST_YEAR}")]
