"""Explain: reads what is known of one occurrence, and has the domain say what became of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scheduler_service.jobs.jobs import unreadable_job
from scheduler_service.jobs.zone_rules import ZoneRules
from scheduler_service.planning.fires import fire_message, year_violations
from scheduler_service.runs.entry import read_execution, shown_execution, unreadable_execution
from scheduler_service.transport.convert import timestamp, to_instant
from scheduler_service.transport.fields import refuse, required
from scheduler_service.transport.refusals import NoSuch
from scheduler_service.transport.unreadable import UNREADABLE
from shared.domain.clock import second_of, to_the_millisecond
from shared.domain.errors import FailedPrecondition, Reason, Violation
from shared.domain.evidence import Known, ask_instant, ask_wall, era_at, schedule_at
from shared.domain.execution import DECISIONS_NOT_TO_RUN, State
from shared.domain.explanation import explain
from shared.domain.plan import Mode
from shared.domain.remarks import no_names
from shared.domain.text import excerpt, writable
from shared.proto import planning_service_pb2 as pb
from shared.store import evidence, executions, jobs, processes, retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

    from shared.domain.evidence import Absence, Job, Question, Record
    from shared.domain.explanation import Explanation
    from shared.domain.remarks import NameDays
    from shared.domain.schedule import Schedule

_LOCAL: Final = re.compile(
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})?"
)

Ask: TypeAlias = "Callable[[Schedule], Question]"
"""Finds the instant that is asked for, by the schedule in force then."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. near: within days of the instant, by UTC; find: see Ask."""

    job_id: str
    near: datetime
    find: Ask


def read_question(request: pb.ExplainOccurrenceRequest) -> Asked:
    """Return what a request asks for. Raises InvalidInput with all that is wrong."""
    found = required("job_id", request.job_id)
    if request.HasField("nominal_time") == bool(request.local_time):
        given = "both are given" if request.local_time else "neither is given"
        said = f"{given}; expected nominal_time, or local_time, as 2026-11-25T08:00 in the job's time zone"
        found.append(Violation("nominal_time", said))
    field = "local_time" if request.local_time else "nominal_time"
    instant, local = None, False
    if request.local_time:
        instant, local = _read_local(request.local_time, found)
    elif request.HasField("nominal_time"):
        instant = to_instant(field, request.nominal_time, found)
    found += year_violations(field, instant)
    refuse(found)
    if instant is None:
        raise AssertionError  # refused before
    near = to_the_millisecond(instant)
    if local:
        return Asked(request.job_id, near, lambda schedule: ask_wall(second_of(near), schedule))
    return Asked(request.job_id, near, lambda schedule: ask_instant(near, schedule))


def _read_local(text: str, found: list[Violation]) -> tuple[datetime | None, bool]:
    """Return a time, and whether it is one of a wall clock, written as if that were UTC's."""
    match = _LOCAL.fullmatch(text.upper())
    if match is not None:
        try:
            time = datetime.fromisoformat(match[0])
            return (time.astimezone(UTC), False) if match["offset"] else (time.replace(tzinfo=UTC), True)
        except (ValueError, OverflowError):
            pass
    said = f"'{excerpt(text)}' is not a wall-clock time; expected one like 2026-11-25T08:00"
    found.append(Violation("local_time", said))
    return None, True


class Explain:
    """Answers from the store. Raises PyMongoError when it can't be reached."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], name_days: NameDays = no_names) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._revisions = database[jobs.REVISIONS]
        self._executions = database[executions.COLLECTION]
        self._retention = database[retention.COLLECTION]
        self._presence = database[processes.PRESENCE]
        self._zone_rules = ZoneRules(database)
        self._name_days = name_days

    async def answer(self, asked: Asked) -> pb.ExplainOccurrenceResponse:
        """Say what became of an occurrence.

        Raises NoSuch for a job that never was; FailedPrecondition when it, or an execution, can't be read.
        """
        document = await self._job(asked.job_id)
        try:
            known, row = await self._known(document, asked)
            # In a thread: the nearest times of a schedule may lie decades away.
            return _message(await asyncio.to_thread(explain, known), row)
        except UNREADABLE as error:
            raise unreadable_job(document, error) from error

    async def _known(self, document: Mapping[str, Any], asked: Asked) -> tuple[Known, Mapping[str, Any] | None]:
        now: datetime = document["read_at"]
        job = await self._standing(document, asked.near)
        near = schedule_at(job, asked.near)
        question = asked.find(near)
        era = era_at(job, question.instant)
        if era is not None and era.spec.schedule != near:
            question = asked.find(era.spec.schedule)
            era = era_at(job, question.instant)
        uid, instant = job.uid, question.instant
        row = None if era is None else await self._row(uid, era.number, instant)
        paused = era is not None and era.spec.mode is not Mode.ACTIVE
        others, removed_through, instead, (before, no_beat, no_worker) = await asyncio.gather(
            self._others(job, instant, row),
            self._removed(row),
            self._instead(row),
            self._delays(row, now, paused=paused),
        )
        known = Known(
            now=now,
            job=job,
            question=question,
            row=None if row is None else _record(row),
            instead=instead,
            before=before,
            others=others,
            no_beat=no_beat,
            no_worker=no_worker,
            removed_through=removed_through,
            name_days=self._name_days,
        )
        return known, row

    async def _job(self, job_id: str) -> Mapping[str, Any]:
        async with await self._jobs.aggregate(evidence.job_pipeline(job_id)) as found:
            async for document in found:
                await self._zone_rules.load([document])
                return document
        raise NoSuch("job", job_id)

    async def _standing(self, document: Mapping[str, Any], near: datetime) -> Job:
        uid = document["uid"]
        before = self._revisions.find(evidence.begun_before(uid, near), sort=evidence.LATEST_FIRST)
        since = self._revisions.find(evidence.begun_since(uid, near), sort=evidence.EARLIEST_FIRST)
        found = await asyncio.gather(
            before.limit(evidence.NEIGHBOURS + 1).to_list(), since.limit(evidence.NEIGHBOURS).to_list()
        )
        entries = [entry for page in found for entry in page]
        await self._zone_rules.load(entries)
        try:
            return evidence.to_job(document, entries)
        except UNREADABLE as refused:
            said = f"the history of the job '{document['_id']}' can't be read by this server"
            why = f"as of a newer release, or changed by hand: {type(refused).__name__}: {refused}"
            raise FailedPrecondition(f"{said}, {why}", reason=Reason.JOB_UNREADABLE) from refused

    async def _row(self, uid: str, epoch: int, instant: datetime) -> Mapping[str, Any] | None:
        found = await self._executions.find_one(
            evidence.at_or_before(uid, epoch, instant), evidence.ROW_FIELDS, sort=[("_id", -1)]
        )
        if found is None:
            return None
        try:
            if not evidence.covers(found, instant):
                return None
        except UNREADABLE as error:
            raise unreadable_execution(found, error) from error
        read_execution(found)  # all of it, as what follows takes fields of it
        return found

    async def _others(self, job: Job, instant: datetime, row: Mapping[str, Any] | None) -> tuple[Record, ...]:
        """Return further executions for a nominal time: those by hand, and that of an occurrence which was moved."""
        found: list[Mapping[str, Any]] = []
        era = era_at(job, instant)
        for override in era.spec.overrides if era is not None else ():
            if override.nominal == instant and override.moved_to is not None:
                later = era_at(job, override.moved_to)
                moved = None if later is None else await self._row(job.uid, later.number, override.moved_to)
                found += [moved] if moved is not None and moved.get("run") else []
        cursors = [
            self._executions.find(chosen, evidence.ROW_FIELDS, hint=evidence.OTHERS_INDEX).limit(evidence.MOST_OTHERS)
            for chosen in evidence.others_filters(job.uid, instant)
        ]
        for page in await asyncio.gather(*(cursor.to_list() for cursor in cursors)):
            found += page
        own = None if row is None else row["_id"]
        records = [_record(other) for other in found if other["_id"] != own]
        return tuple(sorted(records, key=lambda record: record.decided_at))

    async def _removed(self, row: Mapping[str, Any] | None) -> datetime | None:
        """Return until when rows have been removed, which is only asked where there is none."""
        if row is not None:
            return None
        return retention.removed_through(await self._retention.find_one(retention.EXECUTIONS_FILTER))

    async def _delays(
        self, row: Mapping[str, Any] | None, now: datetime, *, paused: bool
    ) -> tuple[tuple[Record, ...], tuple[Absence, ...], dict[str, tuple[Absence, ...]]]:
        """Return what was before a row, when no beat was alive, and when no worker of any of their queues was."""
        before = await self._before(row, paused=paused)
        queues = {(row or {}).get("queue", ""), *(record.queue for record in before)} - {""}
        return before, *await self._absences(queues, now)

    async def _absences(
        self, queues: Iterable[str], now: datetime
    ) -> tuple[tuple[Absence, ...], dict[str, tuple[Absence, ...]]]:
        """Return when no beat was alive, and no worker of each queue; without the queues that never had any."""
        roles = {processes.role_of_queue(queue): queue for queue in queues}
        found = self._presence.find({"_id": {"$in": [processes.BEATS, *roles]}})
        absences = {each["_id"]: processes.absences(each, now) async for each in found}
        beats = absences.pop(processes.BEATS, ())
        return beats, {roles[role]: known for role, known in absences.items()}

    async def _instead(self, row: Mapping[str, Any] | None) -> Record | None:
        """Return the execution after a coalesced row, which did its work."""
        if row is None or row["state"] != State.COALESCED.value:
            return None
        after = await self._executions.find_one(evidence.following(row), evidence.ROW_FIELDS, sort=[("_id", 1)])
        return None if after is None or not after.get("run") else _record(after)

    async def _before(self, row: Mapping[str, Any] | None, *, paused: bool) -> tuple[Record, ...]:
        """Return what was fired before a row that was skipped, or is held, the latest first."""
        skipped = row is not None and State(row["state"]) in DECISIONS_NOT_TO_RUN and not paused
        if row is None or not (skipped or "held" in row):
            return ()
        chain = self._executions.find(evidence.preceding(row), evidence.ROW_FIELDS, sort=[("_id", -1)])
        found = {each["_id"]: each for each in await chain.limit(evidence.LOOKED_BACK).to_list()}
        # It may lie further back, or have been fired in the epoch before.
        async for named in self._executions.find(evidence.named_in_reason(row), evidence.ROW_FIELDS):
            found[named["_id"]] = named
        records = [_record(each) for each in found.values() if each.get("run")]
        return tuple(sorted(records, key=lambda record: record.nominal_time, reverse=True))


def _record(row: Mapping[str, Any]) -> Record:
    try:
        return evidence.to_record(row)
    except UNREADABLE as error:
        raise unreadable_execution(row, error) from error


def _message(explanation: Explanation, row: Mapping[str, Any] | None) -> pb.ExplainOccurrenceResponse:
    return pb.ExplainOccurrenceResponse(
        verdict=f"VERDICT_{explanation.verdict}",
        sentence=writable(explanation.sentence),
        facts=[
            pb.ExplainOccurrenceResponse.Fact(
                kind=fact.kind.value,
                detail=writable(fact.detail),
                since=timestamp(fact.since),
                until=timestamp(fact.until),
                by=writable(fact.by),
                execution_id=fact.execution_id,
            )
            for fact in explanation.facts
        ],
        execution=None if row is None else shown_execution(row),
        local_time=explanation.local,
        previous=None if explanation.previous is None else fire_message(explanation.previous),
        next=None if explanation.next is None else fire_message(explanation.next),
    )
