"""Ahead of time: while nothing else is to be done, make ready what jobs that are due soon will need.

It is only what follows from a job's document: the plan, and the row. On the second the job is asked for again, but only
for what tells that its document is the one that these were made of. So an edit counts that was acknowledged before, and
what depends on the instant (how late it is, what is in flight) is decided at the instant.
"""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import bson
from bson.codec_options import CodecOptions

from beat.rows import documents
from shared.domain.execution import State
from shared.domain.plan import plan
from shared.store import executions, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from beat.zone_rules import ZoneRules
    from shared.domain.plan import Chain, Plan

AHEAD: Final = timedelta(seconds=5)
"""How long before its time a job is looked at. More makes room for a larger burst, and for more edits in between."""
AT_A_TIME: Final = 100
"""Jobs made ready in one go: some ten milliseconds, for which what comes due meanwhile waits."""
FEWEST: Final = AT_A_TIME
"""Fewer are out in a moment in any case; and to make a plan ready and look it up takes more than only to make it."""
MOST: Final = 10_000
MOST_BYTES: Final = 20_000_000
"""Of rows that are ready, all together. What is beyond these bounds is planned when it is due."""

FIELDS: Final = dict.fromkeys(("uid", "revision", "next_nominal"), 1)
"""What tells that a job's document is the same: each change of it raises the revision, or moves the pointer."""

_AWARE: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True)


class Ready(NamedTuple):
    """What a job needs at its next occurrence, if its document is the same then, and nothing of it in flight."""

    key: tuple[Any, ...]
    """The values of FIELDS."""
    at: datetime
    """When it is due."""
    job: Mapping[str, Any]
    chain: Chain
    plan: Plan
    row: bytes
    """As BSON: ten thousand documents as dicts would be a hundred megabytes."""
    until: datetime
    """The last instant at which it is decided in this way: later its policy for what is found late has a say."""

    def document(self, now: datetime) -> dict[str, Any]:
        """Return the row, decided at `now`."""
        return executions.decided_at(bson.decode(self.row, _AWARE), now)


class Ahead:
    """What is ready. It asks the store seldom, as at rest each question counts."""

    def __init__(self, database: Database[dict[str, Any]], zone_rules: ZoneRules, by: str) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._zone_rules = zone_rules
        self._by = by
        self._ready: dict[str, Ready] = {}
        self._bytes = 0
        self._coming: Iterator[Mapping[str, Any]] | None = None
        self._looked_through: datetime | None = None
        self._looked_at = -math.inf

    def __len__(self) -> int:
        return len(self._ready)

    def run_once(self, held: frozenset[int]) -> bool:
        """Make some jobs ready; return whether there are more. Raises PyMongoError."""
        since = monotonic() - self._looked_at
        # What an old look would still show is due by now.
        is_new = since > AHEAD.total_seconds() or (self._coming is None and since > AHEAD.total_seconds() / 2)
        if is_new:
            self._looked_at = monotonic()
            self._coming = self._look(held)
        if self._coming is None:
            return False
        found = list(islice(self._coming, AT_A_TIME))
        if found:
            self.forget_before(found[0]["now"] - AHEAD)
            self._looked_through = found[0]["now"] + AHEAD
        if not is_new or len(found) >= FEWEST:
            self._zone_rules.load(found)
            for job in found:
                self._make_ready(job)
        if len(found) < AT_A_TIME:
            self._coming = None
        return self._coming is not None

    def take(self, job: Mapping[str, Any]) -> Ready | None:
        """Return what is ready for a job that is due, as FIELDS and the time `now` show it; None if that is nothing."""
        ready = self._drop(job["_id"])
        if ready is None:
            return None
        is_same = ready.key == _key(job)
        return ready if is_same and ready.at <= job["now"] <= ready.until else None

    def forget_before(self, instant: datetime) -> None:
        """Forget what was due by then, and was not asked for: it was edited, or another beat has it."""
        for job_id in [job_id for job_id, ready in self._ready.items() if ready.at < instant]:
            self._drop(job_id)

    def _look(self, held: frozenset[int]) -> Iterator[Mapping[str, Any]]:
        soon = jobs.soon_filter(held, AHEAD, self._looked_through)
        fields = {**jobs.PLANNING_FIELDS, "now": "$$NOW"}
        return iter(self._jobs.find(soon, fields, batch_size=AT_A_TIME).sort("wake_at", 1).limit(MOST))

    def _make_ready(self, job: Mapping[str, Any]) -> None:
        self._drop(job["_id"])  # what was made of it as it was before
        if len(self._ready) >= MOST or self._bytes >= MOST_BYTES:
            return
        try:
            ready = _ready(job, self._by)
        except Exception:  # noqa: BLE001 - it is planned when it is due, and parked then
            return
        if ready is not None:
            self._bytes += len(ready.row)
            self._ready[job["_id"]] = ready

    def _drop(self, job_id: str) -> Ready | None:
        ready = self._ready.pop(job_id, None)
        if ready is not None:
            self._bytes -= len(ready.row)
        return ready


def _key(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(job.get(name) for name in FIELDS)


def _ready(job: Mapping[str, Any], by: str) -> Ready | None:
    """Return what is needed of a job when it is due; None if more has to be known then than that it is the same."""
    chain, policies = jobs.to_chain(job), jobs.to_policies(job)
    at = chain.pointer
    if at is None or chain.changes:
        return None
    decided = plan(chain, {}, [], at, policies)
    if [row.state for row in decided.rows] != [State.PENDING]:
        return None
    (row,) = documents(job, chain, decided, at, by)
    following = chain.spec.occurrences.next_after(at)
    until = at + policies.misfire_grace
    if following is not None:
        until = min(until, following - timedelta(milliseconds=1))
    kept = {name: job[name] for name in ("_id", "revision")}
    return Ready(_key(job), at, kept, chain, decided, bson.encode(row), until)
