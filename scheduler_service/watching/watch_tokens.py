"""How far a watcher has been told, as an opaque token that only fits what it watches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.transport.refusals import TooFarBack
from scheduler_service.transport.tokens import from_milliseconds, read_parts, to_milliseconds, write_parts
from shared.domain.clock import utc_text
from shared.domain.errors import Violation
from shared.store import tail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

LONGEST_BACK: Final = timedelta(hours=24)
"""How old a token may be: what has changed since is looked through before anything new is told."""
AHEAD: Final = timedelta(seconds=2)
"""How far a token may lie ahead of the database's clock, which may have been set."""


@dataclass(frozen=True, slots=True)
class Told:
    """What has been told: all steps by an instant, and of those after it, by another, the steps of some rows.

    The rows are told in the order of (the instant of their last such step, id), the last of them is `row`. So what was
    told of a row follows from the row, and a token is as long for a million rows as for one.
    """

    since: datetime
    through: datetime
    row: tuple[datetime, str] | None = None

    @classmethod
    def all_by(cls, instant: datetime) -> Told:
        """Return that everything by an instant has been told."""
        return cls(instant, instant)

    def at_least(self, instant: datetime) -> Told:
        """Return the same, and that everything by an instant has been told: another server was further than this."""
        return Told(max(self.since, instant), max(self.through, instant), self.row)

    def steps_of(self, row_id: str, instants: list[datetime]) -> int:
        """Return how many steps of a row have been told."""
        before, by_then = tail.by(instants, self.since), tail.by(instants, self.through)
        if by_then > before and (self.row is None or (instants[by_then - 1], row_id) > self.row):
            return before
        return by_then


def write_token(watched: str, told: Told) -> str:
    """Return the token of what was told. watched: what is watched, in any form."""
    parts: list[Any] = [to_milliseconds(told.since), to_milliseconds(told.through)]
    if told.row is not None:
        parts += [to_milliseconds(told.row[0]), told.row[1]]
    return write_parts(watched, parts)


def read_token(watched: str, token: str, found: list[Violation]) -> Told | None:
    """Return what a token says was told; None for an empty one."""
    if not token:
        return None
    try:
        since, through, *row = read_parts(watched, token)
        if not row:
            return Told(from_milliseconds(since), from_milliseconds(through))
        instant, name = row
        if isinstance(name, str):
            return Told(from_milliseconds(since), from_milliseconds(through), (from_milliseconds(instant), name))
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    found.append(Violation("resume_token", "not a token of this stream; send its last one, and watch the same"))
    return None


def check_age(told: Told, now: datetime, longest: timedelta | None = LONGEST_BACK) -> None:
    """Raise TooFarBack for what was told so long ago that the rest can't be told any more. now: the database's time."""
    if longest is not None and told.since < now - longest:
        hours = longest.total_seconds() / 3600
        raise TooFarBack(
            f"the resume_token is from {utc_text(told.since)}, and only the last {hours:g} h can be told; list"
            " what there is, and watch without a token"
        )
    if told.through > now + AHEAD:
        raise TooFarBack(
            f"the resume_token is from {utc_text(told.through)}, which the database's clock has not"
            " reached: it was set back; list what there is, and watch without a token"
        )


def watched(kind: str, labels: Mapping[str, str], **chosen: str | bool) -> str:
    """Return what is watched, as text that is the same for the same choice."""
    return kind + json.dumps({**chosen, "labels": dict(labels)}, sort_keys=True)
