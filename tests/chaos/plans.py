"""Clients that plan: they skip, move and restore single occurrences to come, and make up for past ones by backfills."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from shared.proto import planning_service_pb2 as planning
from shared.proto import planning_service_pb2_grpc as planning_grpc
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

EVERY: Final = 3
"""Seconds between two occurrences of a job of which single ones are changed: those divisible by it."""

SHIFTED: Final = {
    f"shifted-{number}": ({"expression": f"*/{EVERY} * * * * *"}, 0.2, policies)
    for number, policies in enumerate(
        [
            pb.Policies(
                misfire=pb.Policies.MISFIRE_FIRE_ALL,
                misfire_limit=1000,
                overlap=pb.Policies.OVERLAP_ALLOW,
                max_concurrent=200,
            )
        ]
        * 3
    )
}
"""Jobs of which single occurrences are changed. All that is due runs, however late, so that each can be judged."""

FILLED: Final = {f"filled-{number}": ({"expression": "0 * * * * *"}, 0.3, None) for number in range(3)}
"""Jobs of which backfills are made: schedule, seconds of a call, policies, as of the load's other jobs."""

_LONGEST_AGO: Final = timedelta(days=20)
"""Where the first range is that a backfill is made of: before all that the jobs do themselves."""

_TOO_LATE: Final = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT})
"""How a change is refused that comes too late, or whose new time has passed."""


@dataclass(frozen=True)
class Shift:
    """An occurrence that the server has acknowledged to go otherwise than the schedule says, or as it says again."""

    job_id: str
    nominal: datetime
    what: str
    """skipped, moved, restored."""
    to: datetime | None = None


@dataclass
class Fill:
    """A backfill that the server has acknowledged."""

    job_id: str
    backfill_id: str
    begins: datetime
    ends: datetime
    max_parallel: int
    paused: bool = False
    cancelled_at: float | None = None
    """When its cancellation was acknowledged, in seconds since the epoch."""


class Plans:
    """Asks by `ask`, which repeats a request until it is answered, with the same request id."""

    def __init__(self, channel: grpc.Channel, ask: Callable[..., Any], random: Random) -> None:
        self.shifts: list[Shift] = []
        self.fills: list[Fill] = []
        self.too_late = 0
        """Changes that were refused since their time had come: what was acknowledged before holds."""
        self._stub = planning_grpc.PlanningServiceStub(channel)
        self._ask = ask
        self.random = random
        self._to_follow: list[tuple[Fill, str]] = []
        self._asked = 0
        self._range_begins = (datetime.now(UTC) - _LONGEST_AGO).replace(second=0, microsecond=0)

    def shift(self) -> None:
        """Skip, move or restore an occurrence a few seconds ahead: one that goes as usual, or one changed before."""
        job_id = self.random.choice(sorted(SHIFTED))
        now = datetime.now(UTC)
        last = {each.nominal: each for each in self.shifts if each.job_id == job_id and each.nominal > now}
        changed = [nominal for nominal, each in last.items() if each.what != "restored"]
        if changed and self.random.random() < 0.4:
            nominal = self.random.choice(changed)
            what = self.random.choice(("skipped", "moved", "restored"))
        else:
            ahead = int(now.timestamp()) // EVERY + self.random.randint(1, 5)
            nominal = datetime.fromtimestamp(ahead * EVERY, UTC)
            what = self.random.choice(("skipped", "moved", "moved"))
        to = None
        method: Any
        request: Callable[..., Any]
        if what == "skipped":
            method, request = self._stub.SkipOccurrence, planning.SkipOccurrenceRequest
        elif what == "restored":
            method, request = self._stub.RestoreOccurrence, planning.RestoreOccurrenceRequest
        else:
            to = nominal + timedelta(seconds=self.random.choice((-4, -2, -1, 1, 2, 4, 5, 8, 13)))
            method = self._stub.MoveOccurrence
            request = partial(planning.MoveOccurrenceRequest, new_time=_stamp(to))
        if self._ask(method, request(job_id=job_id, nominal_time=_stamp(nominal)), _TOO_LATE) is None:
            self.too_late += 1
        else:
            self.shifts.append(Shift(job_id, nominal, what, to))

    def fill(self) -> None:
        """Create a backfill, or go on with one: of each three one is paused and resumed, and one cancelled."""
        if self._to_follow and self.random.random() < 0.6:
            self._follow(*self._to_follow.pop(0))
            return
        job_id = f"filled-{self._asked % len(FILLED)}"
        ends = self._range_begins + timedelta(minutes=self.random.randint(4, 12))
        request = planning.CreateBackfillRequest(
            job_id=job_id,
            from_time=_stamp(self._range_begins),
            to_time=_stamp(ends),
            max_parallel=self.random.randint(1, 4),
        )
        # A job has at most 20 at a time; those of an outage may add up.
        answer = self._ask(self._stub.CreateBackfill, request, {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self._asked += 1
        if answer is None:
            return
        fill = Fill(job_id, answer.backfill.backfill_id, self._range_begins, ends, request.max_parallel)
        self._range_begins = ends
        self.fills.append(fill)
        follow_up = ("pause", "cancel", "")[len(self.fills) % 3]
        if follow_up:
            self._to_follow.append((fill, follow_up))

    def let_go_on(self) -> None:
        """Resume what is paused, so that all comes to its end."""
        for fill in self.fills:
            if fill.paused:
                self._follow(fill, "resume")

    def _follow(self, fill: Fill, what: str) -> None:
        ended = {grpc.StatusCode.FAILED_PRECONDITION}
        if what == "pause":
            request = planning.PauseBackfillRequest(backfill_id=fill.backfill_id, reason="as clients do")
            if self._ask(self._stub.PauseBackfill, request, ended) is not None:
                fill.paused = True
                self._to_follow.append((fill, "resume"))
        elif what == "resume":
            self._ask(self._stub.ResumeBackfill, planning.ResumeBackfillRequest(backfill_id=fill.backfill_id))
            fill.paused = False
        else:
            running = self.random.random() < 0.5
            cancel = planning.CancelBackfillRequest(backfill_id=fill.backfill_id, cancel_running=running)
            if self._ask(self._stub.CancelBackfill, cancel, ended) is not None:
                fill.cancelled_at = time.time()


def _stamp(instant: datetime) -> Timestamp:
    written = Timestamp()
    written.FromDatetime(instant)
    return written
