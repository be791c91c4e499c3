"""WatchExecutions: each transition of an execution once and in its order, however often a watcher comes back."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pymongo.errors import PyMongoError

from scheduler_service.runs.entry import execution_entry, why_execution_unreadable
from scheduler_service.transport.convert import execution_message
from scheduler_service.transport.refusals import NoSuch, TooFarBack
from scheduler_service.transport.unreadable import UNREADABLE, of_newer_release
from scheduler_service.watching.feed import SIGN_OF_LIFE, Feed, Subscription
from scheduler_service.watching.watch_tokens import LONGEST_BACK, Told, check_age, watched, write_token
from shared.domain.errors import Unavailable
from shared.domain.execution import DECISIONS_NOT_TO_RUN, OPEN, State, Trigger
from shared.log import get_logger
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions, jobs, tail

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.watching.tail import Look

log = get_logger()

MOST_BEHIND: Final = 200_000
"""Executions whose steps are told to one that comes back; of more it is told to begin anew."""
FIRST_PAUSE: Final = 1.0
"""Seconds after which who waits for an end reads again; each time twice as many, so that long waits cost little."""

_STARTING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH: Final = 200
_INSTANTS: Final = {"transitions.at": 1, "born": 1, "job_uid": 1, "schema": 1}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a watcher is told of; what is empty does not matter."""

    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    execution_id: str = ""
    decisions: bool = False
    parts: bool = False

    @property
    def text(self) -> str:
        """The same text for the same choice."""
        return watched(
            "executions",
            uid=self.uid, labels=self.labels, execution_id=self.execution_id, decisions=self.decisions,
            parts=self.parts,
        )  # fmt: skip

    def filter(self) -> dict[str, Any]:
        """Find the rows; but for labels, which are the jobs'."""
        found: dict[str, Any] = dict(executions.SHOWN)
        if self.execution_id:
            return found | {"_id": self.execution_id}
        if self.uid:
            found["job_uid"] = self.uid
        if not self.decisions:
            found["state"] = {"$nin": sorted({State.CLOSED.value, *(state.value for state in DECISIONS_NOT_TO_RUN)})}
        if not self.parts:
            found["trigger"] = {"$ne": Trigger.PART.value}
        return found

    def takes(self, row: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
        """Return whether a row is one of those; labels: of its job, as they are now."""
        if self.execution_id:
            return bool(row["_id"] == self.execution_id)
        if self.uid and row["job_uid"] != self.uid:
            return False
        if not self.decisions and row["state"] in DECISIONS_NOT_TO_RUN:
            return False
        if not self.parts and row["trigger"] == Trigger.PART.value:
            return False
        return self.labels.items() <= labels.items()


@dataclass
class _Step:
    """News of a row: its transitions with the numbers from first + 1 to last; none when only its progress is news."""

    row: Mapping[str, Any]
    first: int
    last: int
    told: Told
    instants: Sequence[datetime]

    @cached_property
    def execution(self) -> pb.Execution:
        """The execution as its watchers see it, made once for all. Raises Unavailable as _leave_to_newer does."""
        try:
            return execution_message(executions.to_execution(self.row))
        except UNREADABLE:
            _leave_to_newer(self.row)
            return execution_entry(self.row)

    @property
    def ends(self) -> bool:
        """Whether nothing can follow."""
        return State(self.row["state"]) not in OPEN and self.last == len(self.row["transitions"])


class ExecutionFeed(Feed[tuple[_Step, int]]):
    """Tells of executions, and lets others wait for their ends."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._by_job: dict[str, set[_Watcher]] = defaultdict(set)
        self._by_execution: dict[str, set[_Watcher]] = defaultdict(set)
        self._others: set[_Watcher] = set()
        self._waiters: dict[str, set[asyncio.Future[Mapping[str, Any]]]] = defaultdict(set)
        super().__init__(database[executions.COLLECTION], executions.NOT_SHOWN)

    def forget(self) -> None:
        """Begin anew."""
        self._told: dict[str, int] = {}
        self._pending: dict[str, tuple[Mapping[str, Any], list[datetime]]] = {}

    def subscriptions(self) -> Iterator[Subscription[tuple[_Step, int]]]:
        """Return those of all watchers."""
        for watchers in [*self._by_job.values(), *self._by_execution.values(), self._others]:
            yield from list(watchers)

    async def tell(self, look: Look) -> None:
        """Tell of what has settled; those who only wait for an end are told at once."""
        for row in look.documents:
            if "transitions" not in row:
                continue
            begun = self._tail.looked_back if row["_id"] in look.late else look.since
            if (instants := _read(row, self._read_told)) is not None:
                self._told.setdefault(row["_id"], tail.by(instants, begun))
                self._pending[row["_id"]] = (row, instants)
        steps = list(self._steps(look))
        labels = await self._labels_of(steps)
        # From here on without a pause, so that whoever joins finds either all of it told, or none.
        self._look = look
        for step in steps:
            self._told[step.row["_id"]] = step.last
            for watcher in self._watchers_of(step.row):
                if watcher.chosen.takes(step.row, labels.get(step.row["job_uid"], {})):
                    watcher.tell(step)
        self._pending = {name: kept for name, kept in self._pending.items() if self._told[name] < len(kept[1])}
        self._told = {
            name: told for name, told in self._told.items() if name in self._pending or self._tail.knows(name)
        }

    def _steps(self, look: Look) -> Iterator[_Step]:
        """Return what is to be told: what came late, then what has settled, in the order of tokens, then progress."""
        # Not what the look before has settled, where the store went away before it was told.
        since = look.since if self._look is None else self.settled
        late, settled, noted = [], [], []
        for name, (row, instants) in self._pending.items():
            told, last = self._told[name], tail.by(instants, look.settled)
            if told < last:
                if instants[last - 1] <= since:
                    log.warning("a change became visible late", action="watch_told_late", execution_id=name)
                    late.append(_Step(row, told, last, Told.all_by(since), instants))
                else:
                    position = Told(since, look.settled, (instants[last - 1], name))
                    settled.append(_Step(row, told, last, position, instants))
            elif told == len(instants) and row.get("progress", {}).get("at") == row["changed"]:
                noted.append(_Step(row, told, told, Told.all_by(look.settled), instants))
        yield from late
        yield from sorted(settled, key=lambda step: step.told.row or ())
        yield from noted

    def _watchers_of(self, row: Mapping[str, Any]) -> Iterable[_Watcher]:
        # Not by the defaultdicts' own way, which would keep an entry for every row.
        return [
            *self._by_execution.get(row["_id"], ()),
            *self._by_job.get(row["job_uid"], ()),
            *self._others,
        ]

    async def _labels_of(self, steps: Iterable[_Step]) -> Mapping[str, Mapping[str, str]]:
        if not any(watcher.chosen.labels for watcher in self._others):
            return {}
        return await self.labels({step.row["job_uid"] for step in steps})

    async def labels(self, uids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the labels of jobs as they are now, by their uids."""
        chosen = {"uid": {"$in": list(uids)}}
        found = self._jobs.find(chosen, {"_id": 0, "uid": 1, "labels": 1})
        labels: dict[str, dict[str, str]] = {}
        async for job in found:
            with suppress(*UNREADABLE):  # one that was damaged has none
                labels[job["uid"]] = jobs.labels_of(job)
        return labels

    # Watching:

    async def watch(self, chosen: Chosen, told: Told | None) -> AsyncGenerator[pb.WatchExecutionsResponse]:
        """Return what is to be told, without an end but that of the only execution that is watched.

        told: what was told before; None: nothing, of one execution, else everything until now. Raises TooFarBack,
        ResourceExhausted when nobody reads what is told, Unavailable when the server stops, PyMongoError.
        """
        text = chosen.text
        with self.reading():
            await self.looked(ready=True)
            if told is None:
                told = Told.all_by(_STARTING if chosen.execution_id else self.settled)
            else:
                # Of one execution nothing has to be looked through.
                check_age(told, self.now, None if chosen.execution_id else LONGEST_BACK)
            yield pb.WatchExecutionsResponse(resume_token=write_token(text, told))
            # Twice: what is told first may take long, and that beside which the queue fills does not.
            begun = self.settled
            async for step in self._behind(chosen, told, begun):
                yield _response(text, step, step.first, step.told)
            told = Told.all_by(max(begun, told.through))
            with self._subscribed(chosen, told.through) as watcher:
                async for step in self._behind(chosen, told, watcher.joined):
                    yield _response(text, step, step.first, step.told)
                if chosen.execution_id and await self._has_ended(chosen.execution_id, watcher.joined):
                    return
                while True:
                    news = await watcher.take(SIGN_OF_LIFE)
                    if news is None:
                        settled = Told.all_by(self.settled).at_least(watcher.joined)
                        yield pb.WatchExecutionsResponse(resume_token=write_token(text, settled))
                        continue
                    step, first = news
                    yield _response(text, step, first, step.told.at_least(watcher.joined))
                    if chosen.execution_id and step.ends:
                        return

    @contextmanager
    def _subscribed(self, chosen: Chosen, told: datetime) -> Iterator[_Watcher]:
        # What another server has told may not have settled here yet.
        watcher = _Watcher(max(self.settled, told), chosen)
        among = self._others
        if chosen.execution_id:
            among = self._by_execution[chosen.execution_id]
        elif chosen.uid:
            among = self._by_job[chosen.uid]
        among.add(watcher)
        try:
            yield watcher
        finally:
            among.discard(watcher)
            if not self._by_execution.get(chosen.execution_id, True):
                del self._by_execution[chosen.execution_id]
            if not self._by_job.get(chosen.uid, True):
                del self._by_job[chosen.uid]

    async def _behind(self, chosen: Chosen, told: Told, through: datetime) -> AsyncIterator[_Step]:
        """Return what was not told before, by an instant: first the rest of what a token has left in the middle."""
        for end in (told.through, through):
            if end <= told.since or (end == told.through and told.row is None):
                continue
            positions = await self._untold(chosen, told, end)
            for begin in range(0, len(positions), _BATCH):
                batch = positions[begin : begin + _BATCH]
                found = self._collection.find({"_id": {"$in": [name for _, name in batch]}}, executions.NOT_SHOWN)
                rows = {row["_id"]: row async for row in found}
                for position in batch:
                    row = rows.get(position[1])
                    if row is not None and (instants := _read(row, tail.instants)) is not None:
                        first, last = told.steps_of(row["_id"], instants), tail.by(instants, end)
                        yield _Step(row, first, last, Told(told.since, end, position), instants)
            told = Told.all_by(end)

    async def _untold(self, chosen: Chosen, told: Told, end: datetime) -> list[tuple[datetime, str]]:
        """Return the rows with steps by an instant that were not told: the instant of the last, and id; in this order.

        Raises TooFarBack when there are too many.
        """
        found: dict[str, datetime] = {}
        async for row in self._changed(chosen, told.since):
            if (instants := _read(row, tail.instants)) is None:
                continue
            if told.steps_of(row["_id"], instants) < (last := tail.by(instants, end)):
                found[row["_id"]] = instants[last - 1]
            if len(found) > MOST_BEHIND:
                raise TooFarBack(
                    f"more than {MOST_BEHIND:,} executions have changed since the resume_token; list what there is, and"
                    " watch without a token"
                )
        return sorted((instant, name) for name, instant in found.items())

    async def _changed(self, chosen: Chosen, since: datetime) -> AsyncIterator[Mapping[str, Any]]:
        """Return the rows that have changed after an instant; one that changes meanwhile may come more than once."""
        kinds: list[dict[str, Any]] = [{}]
        if not chosen.execution_id:
            # New rows first: one that leaves them for the others while they are read is found among those.
            kinds = [{"changed": condition} for condition in tail.ranges(since)]
        for kind in kinds:
            rows: list[Mapping[str, Any]] = []
            hint = {"hint": "tail", "sort": [("changed", 1), ("_id", 1)]} if kind else {}
            async for row in self._collection.find({**chosen.filter(), **kind}, _INSTANTS, **hint):
                rows.append(row)
                if len(rows) >= _BATCH:
                    for taken in await self._with_labels(chosen, rows):
                        yield taken
                    rows = []
            for taken in await self._with_labels(chosen, rows):
                yield taken

    async def _with_labels(self, chosen: Chosen, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if not chosen.labels or not rows:
            return rows
        rows = [row for row in rows if isinstance(row.get("job_uid"), str)]
        labels = await self.labels({row["job_uid"] for row in rows})
        return [row for row in rows if chosen.labels.items() <= labels.get(row["job_uid"], {}).items()]

    async def _has_ended(self, execution_id: str, told: datetime) -> bool:
        row = await self._collection.find_one({"_id": execution_id}, {**_INSTANTS, "state": 1})
        if row is None:
            return True
        ended = _read(row, lambda row: State(row["state"]) not in OPEN and tail.instants(row)[-1] <= told)
        return ended is not False  # of one that was damaged nothing more can be told

    # Waiting for an end:

    async def wait(
        self, execution_id: str, seconds: float, row: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Return the document of an execution when it has ended; None when it has not after so many seconds.

        Also when the store is away meanwhile. row: as it was just stored, if it was. Raises Unavailable when the server
        stops; without a row also NoSuch, and PyMongoError when the store is away at the beginning.
        """
        ended: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds) as over:
                with self.reading(), self._waiting(execution_id, ended):
                    await self.looked(ready=False)
                    # Read after the first look, so that what ends from here on is seen by the next; and again, as a
                    # primary that was just elected may not show yet what a look at the one before has seen. When the
                    # time is over is asked as well: that cancels but once, which may get lost as in Feed._run.
                    pause = FIRST_PAUSE
                    while not (ended.done() or over.expired()):
                        try:
                            row = await self._shown(execution_id) or row
                        except PyMongoError:
                            if row is None:
                                raise
                        if row is None:
                            raise NoSuch("execution", execution_id)
                        if not _read(row, lambda row: State(row["state"]) in OPEN):
                            return row
                        await asyncio.wait([ended], timeout=pause)
                        pause *= 2
                    return ended.result() if ended.done() else None
        except TimeoutError:
            return None

    async def _shown(self, execution_id: str) -> Mapping[str, Any] | None:
        return await self._collection.find_one({"_id": execution_id, **executions.SHOWN}, executions.NOT_SHOWN)

    @contextmanager
    def _waiting(self, execution_id: str, ended: asyncio.Future[Mapping[str, Any]]) -> Iterator[None]:
        waiters = self._waiters[execution_id]
        waiters.add(ended)
        try:
            yield
        finally:
            waiters.discard(ended)
            if not waiters:
                self._waiters.pop(execution_id, None)

    def _read_told(self, row: Mapping[str, Any]) -> list[datetime]:
        """End the waits for a row that has ended, and return the instants of its steps.

        Raises one of UNREADABLE where it has not all that is told by.
        """
        self._end_waits(row)
        if not isinstance(row["job_uid"], str):
            raise TypeError(f"job_uid: {row['job_uid']!r}")
        _ = row["trigger"]
        if "progress" in row:
            _ = row["progress"]["at"], row["changed"]
        _ = [(step["number"], State(step["state"])) for step in row["transitions"]]
        return tail.instants(row)

    def _end_waits(self, row: Mapping[str, Any]) -> None:
        if State(row["state"]) not in OPEN:
            for ended in self._waiters.get(row["_id"], ()):
                if not ended.done():
                    ended.set_result(row)

    async def stop(self) -> None:
        """End all streams and waits: the server stops."""
        await super().stop()
        for ended in [ended for waiters in self._waiters.values() for ended in waiters if not ended.done()]:
            ended.set_exception(Unavailable("the server stops; ask any other"))


def _leave_to_newer(row: Mapping[str, Any]) -> None:
    """Raise Unavailable for a row of a newer release, of which a server of that tells who comes back with a token."""
    if said := of_newer_release("execution", row, executions.SCHEMA):
        raise Unavailable(f"{said}, with the last resume_token")


def _read(row: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> T | None:
    """Return what is read of a row; None where it was damaged by hand: it would end streams again and again.

    Raises Unavailable as _leave_to_newer does.
    """
    try:
        return read(row)
    except UNREADABLE as error:
        _leave_to_newer(row)
        why_execution_unreadable(row, error)
        return None


class _Watcher(Subscription[tuple[_Step, int]]):
    """A watcher of executions, and what it has chosen."""

    def __init__(self, joined: datetime, chosen: Chosen) -> None:
        super().__init__(joined)
        self.chosen = chosen

    def tell(self, step: _Step) -> None:
        """Add news of a row, but for steps that it was told of before it joined."""
        first = max(step.first, tail.by(step.instants, self.joined))
        if first < step.last or step.first == step.last:
            self.put((step, first))


def _response(text: str, step: _Step, first: int, told: Told) -> pb.WatchExecutionsResponse:
    execution = step.execution
    return pb.WatchExecutionsResponse(
        execution=execution,
        transitions=execution.transitions[first : step.last],
        resume_token=write_token(text, told),
    )
