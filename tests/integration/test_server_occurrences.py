"""Skipping, moving and restoring single occurrences: what clients are told holds, whatever beats do meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import MongoClient, ReturnDocument
from pymongo.read_concern import ReadConcern

from beat.fire import Fire
from dev.mongodb import ReplicaSet
from dev.servers import start_together
from scheduler_service.jobs.jobs import Found, Jobs
from scheduler_service.operations.audit import Audit, Question
from scheduler_service.planning.occurrences import OccurrenceChanges
from scheduler_service.transport.caller import Caller, current
from scheduler_service.transport.refusals import Conflict
from shared.domain.job import JobState
from shared.domain.overrides import MOST_OVERRIDES, Override
from shared.domain.policies import Overlap, Policies
from shared.proto import planning_service_pb2 as planning
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs
from shared.store.mongo import connect
from tests.builders import every
from tests.integration.test_beat_fire import (
    CrashError,
    Crashing,
    Stalling,
    database_now,
    edit,
    fire,
    job,
    late_job,
    put,
    rows,
    settle,
    wait_until,
)
from tests.integration.test_server_harness import Running, cron, eventually, interval, not_now, refusal, serving, stamp
from tests.integration.test_server_jobs import reads_first
from tests.integration.test_server_requests import died, leases_end, lose_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

HOUR = timedelta(hours=1)
ALLOW = jobs.policies_document(Policies(overlap=Overlap.ALLOW, max_concurrent=100))


def read(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)


class Client:
    """Calls about the occurrences of one job."""

    def __init__(self, server: Running, job_id: str) -> None:
        self._server = server
        self._job_id = job_id

    async def skip(self, nominal: datetime, reason: str = "", **fields: Any) -> pb.OccurrenceChange:
        request = planning.SkipOccurrenceRequest(
            job_id=self._job_id, nominal_time=stamp(nominal), reason=reason, **fields
        )
        response = await self._server.planning.SkipOccurrence(request, metadata=[("x-actor", "alice")])
        return cast("pb.OccurrenceChange", response.change)

    async def move(self, nominal: datetime, to: datetime, **fields: Any) -> pb.OccurrenceChange:
        request = planning.MoveOccurrenceRequest(
            job_id=self._job_id, nominal_time=stamp(nominal), new_time=stamp(to), **fields
        )
        response = await self._server.planning.MoveOccurrence(request, metadata=[("x-actor", "alice")])
        return cast("pb.OccurrenceChange", response.change)

    async def restore(self, nominal: datetime, **fields: Any) -> pb.OccurrenceChange:
        request = planning.RestoreOccurrenceRequest(job_id=self._job_id, nominal_time=stamp(nominal), **fields)
        response = await self._server.planning.RestoreOccurrence(request)
        return cast("pb.OccurrenceChange", response.change)

    async def upcoming(self) -> list[datetime]:
        return [read(each) for each in (await self._status()).next_fire_times]

    async def changes(self) -> list[tuple[datetime, datetime | None]]:
        return [
            (read(each.nominal_time), read(each.new_time) if each.HasField("new_time") else None)
            for each in (await self._status()).occurrence_changes
        ]

    async def _status(self) -> pb.GetJobStatusResponse:
        return cast(
            "pb.GetJobStatusResponse",
            await self._server.stub.GetJobStatus(pb.GetJobStatusRequest(job_id=self._job_id)),
        )


@pytest.fixture
async def daily(server: Running) -> tuple[Client, list[datetime]]:
    """A job of every day, and its next times."""
    await server.create(job_id="daily", schedule_config=cron(**not_now()))
    client = Client(server, "daily")
    return client, await client.upcoming()


class TestWhatClientsSee:
    async def test_a_skipped_occurrence_is_no_fire_to_come_and_is_listed_with_who_and_why(
        self, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        change = await client.skip(times[1], "shop closed")
        assert (read(change.nominal_time), change.by, change.reason) == (times[1], "alice", "shop closed")
        assert (await client.upcoming())[:3] == [times[0], times[2], times[3]]
        assert await client.changes() == [(times[1], None)]

    async def test_a_moved_one_is_to_come_at_its_new_time_and_can_be_moved_again(
        self, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        await client.move(times[1], times[1] + HOUR)
        assert (await client.upcoming())[:3] == [times[0], times[1] + HOUR, times[2]]
        await client.move(times[1], times[0] + HOUR)
        assert (await client.upcoming())[:3] == [times[0], times[0] + HOUR, times[2]]
        assert await client.changes() == [(times[1], times[0] + HOUR)]

    async def test_one_skipped_again_by_a_read_from_before_it_was_restored_is_skipped(
        self, server: Running, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        await client.skip(times[1])
        before = await server.jobs.read("daily")
        await client.restore(times[1])
        reads_first(server, before)
        await client.skip(times[1])
        assert await client.changes() == [(times[1], None)]

    async def test_one_restored_goes_as_the_schedule_says(self, daily: tuple[Client, list[datetime]]) -> None:
        client, times = daily
        await client.skip(times[0])
        assert read((await client.restore(times[0])).nominal_time) == times[0]
        assert (await client.upcoming(), await client.changes()) == (times, [])
        refused = await refusal(client.restore(times[0]))
        assert (refused.code, "neither skipped nor moved" in refused.message) == ("NOT_FOUND", True)

    async def test_validate_onlying_stores_nothing(self, daily: tuple[Client, list[datetime]], database: Db) -> None:
        client, times = daily
        before = job(database, "daily")
        await client.skip(times[0], validate_only=True)
        await client.move(times[0], times[0] + HOUR, validate_only=True)
        assert job(database, "daily") == before
        assert (await refusal(client.skip(times[0] + HOUR, validate_only=True))).code == "NOT_FOUND"

    async def test_asked_why_it_is_told(self, server: Running, daily: tuple[Client, list[datetime]]) -> None:
        client, times = daily
        await client.skip(times[0], "shop closed")
        await client.move(times[1], times[1] + HOUR)
        told = [await explained(server, at) for at in (times[0], times[1], times[1] + HOUR, times[2])]
        assert [verdict for verdict, _ in told] == ["SKIPPED", "SKIPPED", "UPCOMING", "UPCOMING"]
        assert "will not run: it was skipped by alice: shop closed" in told[0][1]
        assert f"moved to {times[1] + HOUR:%Y-%m-%d %H:%M}" in told[1][1]
        assert f"moved from {times[1]:%Y-%m-%d %H:%M}" in told[2][1]

    async def test_repeating_a_change_stores_nothing_more(
        self, daily: tuple[Client, list[datetime]], database: Db
    ) -> None:
        client, times = daily
        first = await client.skip(times[0], "first")
        stored = job(database, "daily")
        assert await client.skip(times[0], "second") == first
        assert job(database, "daily") == stored

    @pytest.mark.parametrize("what", ["skip", "move", "restore"])
    async def test_one_whose_answer_was_lost_is_not_made_again_nor_called_too_late(
        self, server: Running, daily: tuple[Client, list[datetime]], what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another has changed the occurrence since, and its time has come."""
        client, (first, *_) = daily
        calls: dict[str, Callable[[], Awaitable[pb.OccurrenceChange]]] = {
            "skip": lambda: client.skip(first, request_id="r"),
            "move": lambda: client.move(first, first + HOUR, request_id="r"),
            "restore": lambda: client.restore(first, request_id="r"),
        }
        if what == "restore":
            await client.skip(first)
        with monkeypatch.context() as patch:
            lose_answers(patch)
            await died(calls[what]())
        await leases_end(server)
        await (client.skip(first, "another's") if what == "restore" else client.restore(first))
        found = await server.database.jobs.find_one_and_update(
            {"_id": "daily"}, {"$set": {"covered": first}}, return_document=ReturnDocument.AFTER
        )
        assert read((await calls[what]()).nominal_time) == first
        assert await server.database.jobs.find_one({"_id": "daily"}) == found
        other = planning.SkipOccurrenceRequest(job_id="daily", nominal_time=stamp(first), request_id="other")
        assert (await refusal(server.planning.SkipOccurrence(other))).code == "FAILED_PRECONDITION"

    async def test_the_etag_stays_as_the_job_is_defined_as_before(
        self, server: Running, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        request = pb.GetScheduledJobRequest(job_id="daily")
        before = (await server.stub.GetScheduledJob(request)).job.etag
        await client.skip(times[0])
        assert (await server.stub.GetScheduledJob(request)).job.etag == before

    async def test_a_paused_job_keeps_its_message_and_what_was_changed_meanwhile(
        self, server: Running, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="daily", reason="holidays"))
        await client.skip(times[0])
        paused = (await server.stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id="daily"))).job
        assert (pb.ScheduledJob.State.Name(paused.state), paused.status_message) == ("STATE_PAUSED", "holidays")
        await server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="daily"))
        assert (await client.upcoming())[0] == times[1]

    async def test_a_new_schedule_says_which_changes_it_makes_void(
        self, server: Running, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        await client.skip(times[0])
        time, later = {"hour": str(times[0].hour), "minute": str(times[0].minute)}, str((times[0] + HOUR).hour)
        other = pb.ScheduledJob(schedule_config=cron(**time | {"hour": f"{time['hour']},{later}"}))
        response = await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="daily", job=other))
        assert not response.warnings
        assert await client.changes() == [(times[0], None)]
        other = pb.ScheduledJob(schedule_config=cron(**time | {"hour": later}))
        response = await server.stub.UpdateScheduledJob(pb.UpdateScheduledJobRequest(job_id="daily", job=other))
        assert "skipped by alice; that is void" in response.warnings[0]
        assert await client.changes() == []


async def explained(server: Running, at: datetime) -> tuple[str, str]:
    request = planning.ExplainOccurrenceRequest(job_id="daily", nominal_time=stamp(at))
    response = await server.planning.ExplainOccurrence(request)
    return planning.ExplainOccurrenceResponse.Verdict.Name(response.verdict)[8:], response.sentence


class TestRefusals:
    async def test_all_that_is_wrong_with_a_request_is_said_at_once(self, server: Running) -> None:
        refused = await refusal(server.planning.MoveOccurrence(planning.MoveOccurrenceRequest(reason="x" * 501)))
        assert refused.code == "INVALID_ARGUMENT"
        assert [field for field, _ in refused.violations] == ["job_id", "reason", "nominal_time", "new_time"]

    async def test_instants_of_any_size_are_refused_and_break_nothing(
        self, server: Running, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        earliest, latest = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        calls: Sequence[Awaitable[Any]] = [
            call
            for instant in (earliest, latest, times[0] + timedelta(days=367))
            for call in (client.skip(instant), client.restore(instant), client.move(times[0], instant))
        ]
        codes = [(await refusal(call)).code for call in calls]
        assert set(codes) == {"INVALID_ARGUMENT", "FAILED_PRECONDITION"}
        beyond = planning.SkipOccurrenceRequest(job_id="daily", nominal_time=Timestamp(seconds=1 << 62))
        assert (await refusal(server.planning.SkipOccurrence(beyond))).code == "INVALID_ARGUMENT"

    async def test_an_instant_that_the_schedule_does_not_name_is_told_with_the_nearest_ones(
        self, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        refused = await refusal(client.skip(times[1] - HOUR))
        assert refused.code == "NOT_FOUND"
        assert all(f"{each:%Y-%m-%dT%H:%M:%SZ}" in refused.message for each in times[:2])

    async def test_a_past_instant_that_the_schedule_does_not_name_is_told_with_the_nearest_ones_too(
        self, daily: tuple[Client, list[datetime]]
    ) -> None:
        client, times = daily
        before = [times[0] - timedelta(days=days) for days in (3, 2)]
        for call in (client.skip, client.restore):
            refused = await refusal(call(before[1] - HOUR))
            assert refused.code == "NOT_FOUND"
            assert all(f"{each:%Y-%m-%dT%H:%M:%SZ}" in refused.message for each in before)

    async def test_what_is_past_cannot_be_changed(self, daily: tuple[Client, list[datetime]]) -> None:
        client, times = daily
        refused = await refusal(client.skip(times[0] - timedelta(days=1)))
        assert (refused.code, "due or decided already" in refused.message) == ("FAILED_PRECONDITION", True)

    async def test_two_occurrences_cannot_have_one_time(self, daily: tuple[Client, list[datetime]]) -> None:
        client, times = daily
        for taken in (times[1], times[0] + HOUR):
            await client.move(times[2], times[0] + HOUR)
            refused = await refusal(client.move(times[0], taken))
            assert (refused.code, "choose another second" in refused.message) == ("FAILED_PRECONDITION", True)

    @pytest.mark.parametrize("to", [timedelta(), timedelta(milliseconds=500), timedelta(days=367)])
    async def test_a_time_that_no_occurrence_can_have_is_refused(
        self, daily: tuple[Client, list[datetime]], to: timedelta
    ) -> None:
        client, times = daily
        refused = await refusal(client.move(times[0], times[0] + to))
        assert [field for field, _ in refused.violations] == ["new_time"]

    async def test_a_job_has_a_bounded_number_of_them(self, server: Running, database: Db) -> None:
        await server.create(job_id="minutely", schedule_config=cron(minute="*"))
        client = Client(server, "minutely")
        times = await client.upcoming()
        many = [
            Override(times[0] + timedelta(minutes=n), None, "bob", "", times[0]) for n in range(10, 10 + MOST_OVERRIDES)
        ]
        installed = jobs._spec_document(jobs.to_job(job(database, "minutely")).spec) | {
            "overrides": [{"nominal": m.nominal, "moved_to": None, "by": "bob", "reason": "", "at": m.at} for m in many]
        }
        database.jobs.update_one({"_id": "minutely"}, {"$set": {"installed": installed}})
        refused = await refusal(client.skip(times[4]))
        assert (refused.code, str(MOST_OVERRIDES) in refused.message) == ("RESOURCE_EXHAUSTED", True)
        await client.restore(many[0].nominal)
        await client.skip(times[4])

    async def test_a_completed_job_has_no_occurrence_to_come(self, server: Running, database: Db) -> None:
        await server.create(job_id="done", schedule_config=interval(hours="1"))
        client = Client(server, "done")
        times = await client.upcoming()
        database.jobs.update_one({"_id": "done"}, {"$set": {"state": "COMPLETED"}})
        refused = await refusal(client.skip(times[0]))
        assert (refused.code, "is completed" in refused.message) == ("FAILED_PRECONDITION", True)


def findings(database: Db) -> list[tuple[str, str]]:
    """What the audit finds: it computes all times anew from the history."""
    audit = Audit(database, Question(None, None, "", timedelta(seconds=10)))
    return [(each.finding.fault.value, each.finding.detail) for step in audit.steps() for each in step]


def every_other_second(database: Db, job_id: str, now: datetime, late: float = 1) -> None:
    """Store a job of every other second, as the server does, whose executions may overlap."""
    document = late_job(job_id, now, late, every(2, anchor=now.replace(microsecond=0) - timedelta(seconds=60)))
    del document["first"], document["first_covered"]
    put(database, document | {"policies": ALLOW})
    spec = jobs.to_chain(document).spec
    entry = jobs.revision_document(document["uid"], 0, spec, document["covered"], "tester", "created")
    database.job_revisions.insert_one(entry)


async def test_what_falls_due_between_the_look_at_the_job_and_the_change_of_it_is_refused(
    server: Running, database: Db
) -> None:
    now = await server.jobs.now()
    every_other_second(database, "job-1", now, 10)

    class Slow(Jobs):
        """Reads an hour before it writes."""

        async def read(self, job_id: str, *, show_deleted: bool = False) -> Found:
            found = await super().read(job_id, show_deleted=show_deleted)
            return replace(found, now=found.now - HOUR, document={**found.document, "covered": now - HOUR})

    before, due = job(database), job(database)["next_nominal"]
    changes = OccurrenceChanges(Slow(server.database))
    current.set(Caller("alice", "", "alice"))
    with pytest.raises(Conflict):
        await changes.skip("job-1", due, "")
    with pytest.raises(Conflict):
        await changes.move("job-1", now.replace(microsecond=0) + 2 * HOUR, due + timedelta(seconds=1), "")
    assert job(database) == before


class Hesitating:
    """Changes and restores each occurrence of a job until about its time: some come just in time, and some too late."""

    def __init__(self, client: Client, chance: Random) -> None:
        self._client = client
        self._chance = chance
        self.accepted: set[datetime] = set()
        self.refused: set[datetime] = set()
        self.unknown: set[datetime] = set()
        """What came due while a change was stored, and no stalled beat had decided within seconds."""

    async def run(self, nominal: datetime, until: datetime) -> None:
        while nominal < until:
            margin = timedelta(seconds=0.3 * self._chance.random() - 0.1)
            while await self._change(nominal):
                if datetime.now(UTC) > nominal - margin or not await self._restore(nominal):
                    break
                # A few a second, since a stalled beat installs no more.
                await asyncio.sleep(self._chance.random() / 3)
            if nominal in self.unknown:
                self.accepted.discard(nominal)
            elif nominal not in self.accepted:
                self.refused.add(nominal)
            nominal += timedelta(seconds=2)

    async def _change(self, nominal: datetime) -> bool:
        to = nominal + timedelta(days=1, seconds=1)
        changes = self._client.skip(nominal) if self._chance.random() < 0.5 else self._client.move(nominal, to)
        code = await self._outcome(changes, nominal)
        if code == "OK":
            self.accepted.add(nominal)
        return code == "OK"

    async def _restore(self, nominal: datetime) -> bool:
        code = await self._outcome(self._client.restore(nominal), nominal)
        if code == "OK":
            self.accepted.discard(nominal)
        return code == "OK"

    async def _outcome(self, call: Awaitable[Any], nominal: datetime) -> str:
        code = await outcome(call)
        assert code in {"OK", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED"}
        if code == "DEADLINE_EXCEEDED":
            self.unknown.add(nominal)
        return code


async def test_of_a_skip_and_a_beat_exactly_one_wins_and_the_caller_is_told_which(
    server: Running, database: Db, database_url: str
) -> None:
    """Clients skip and move what is due within the blink of an eye, while beats that stall decide it."""
    now = await server.jobs.now()
    for number in range(8):
        every_other_second(database, f"job-{number}", now)
    done = Event()

    def beat(number: int) -> None:
        own = connect(database_url)
        duty = fire(cast("Db", Stalling(own, number)), name=f"beat-{number}")
        while not done.is_set():
            duty.run_once()
        own.client.close()

    clients = [Hesitating(Client(server, f"job-{number}"), Random(number)) for number in range(8)]
    until = now.replace(microsecond=0) + timedelta(seconds=8)

    with ThreadPoolExecutor(2) as pool:
        beats = [pool.submit(beat, number) for number in range(2)]
        try:
            await asyncio.gather(
                *[each.run(now.replace(microsecond=0) + timedelta(seconds=2), until) for each in clients]
            )
        finally:
            done.set()
        for each in beats:
            await asyncio.to_thread(each.result)
    last = fire(database)
    await asyncio.to_thread(
        wait_until,
        lambda: (
            last.run_once() >= 0
            and database.command("hello")["localTime"].replace(tzinfo=UTC) > until
            and not database.jobs.count_documents({"wake_at": {"$lte": until}})
        ),
    )
    for number, client in enumerate(clients):
        ran = {row["nominal_time"] for row in database.executions.find({"job_id": f"job-{number}", "run": True})}
        assert not ran & client.accepted, "an occurrence fired whose skip or move was accepted"
        assert client.refused <= ran, "an occurrence did not fire whose skip or move was refused"
    assert any(client.accepted for client in clients)
    assert any(client.refused for client in clients)
    assert findings(database) == []


async def outcome(call: Awaitable[Any]) -> str:
    """Return the code of a call's status."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.mark.parametrize("halfway", [False, True])
def test_a_crash_between_any_two_steps_keeps_what_was_skipped_and_runs_what_was_moved_once(
    database: Db, halfway: bool
) -> None:
    crashes = 0
    while True:
        for collection in (database.jobs, database.executions, database.job_revisions):
            collection.delete_many({})
        now = datetime.now(UTC).replace(microsecond=0)
        for job_id in ("skipped", "moved", "restored"):
            every_other_second(database, job_id, now, 20)
        # As they were accepted ten seconds ago, which no beat has seen yet.
        ago = now - timedelta(seconds=10)
        override(database, "skipped", ago, Override(now - timedelta(seconds=6), None, "alice", "", ago))
        moved = Override(now - timedelta(seconds=6), now - timedelta(seconds=3), "alice", "", ago)
        override(database, "moved", ago, moved)
        override(database, "restored", ago, moved)
        override(database, "restored", ago, None, restored=moved.nominal)
        assert edit(database, "moved", every(4, anchor=now - timedelta(seconds=60)))

        try:
            fire(cast("Db", Crashing(database, crashes, halfway=halfway))).run_once()
        except CrashError:
            crashed = True
        else:
            crashed = False
        settle(database)
        assert findings(database) == [], crashes
        (skipped,) = [row for row in rows(database, "skipped") if "skipped by alice" in row.get("reason", "")]
        assert (skipped["state"], skipped["nominal_time"]) == ("SKIPPED", now - timedelta(seconds=6))
        of_moved = [row["_id"] for row in rows(database, "moved") if row.get("moved_from") == moved.nominal]
        assert len(of_moved) == 1, crashes
        assert not [row for row in rows(database, "restored") if "moved_from" in row]
        if not crashed:
            break
        crashes += 1
    assert crashes > 15


def override(
    database: Db, job_id: str, cutoff: datetime, given: Override | None, restored: datetime | None = None
) -> None:
    """Queue what the server would have, at an instant of the past."""
    found = jobs.to_job(job(database, job_id))
    change = jobs.Queued(found.definition.schedule, "alice", "because", override=given, restored=restored)
    update = jobs.edit({}, JobState.ACTIVE, change, edited=False)
    assert database.jobs.update_one(jobs.edit_filter(job_id, found.revision), update).modified_count
    last = len(job(database, job_id)["changes"]) - 1
    database.jobs.update_one({"_id": job_id}, {"$set": {f"changes.{last}.cutoff": cutoff}})


class HasRead(Fire):
    """Says when it has read the jobs that are due."""

    the_job = Event()

    def _in_flight(self, uids: Any, session: Any) -> Any:
        self.the_job.set()
        return super()._in_flight(uids, session)


def two_members(folder: Path, stack: ExitStack) -> tuple[ReplicaSet, MongoClient[dict[str, Any]]]:
    """Start a replica set of two; return it, and a client of the one that a majority needs, and that can be locked."""
    members = ReplicaSet(folder, size=2)
    for member in members.members:
        stack.callback(member.kill)
    start_together(members.members)
    port = next(member.port for member in members.members if member is not members.primary())
    return members, stack.enter_context(MongoClient[dict[str, Any]]("127.0.0.1", port, directConnection=True))


async def test_a_skip_that_a_majority_has_only_when_its_occurrence_has_fired_is_refused(tmp_path: Path) -> None:
    """A beat reads what a majority has: no skip yet; and that it is time."""
    with ExitStack() as stack:
        members, secondary = await asyncio.to_thread(two_members, tmp_path, stack)
        async with serving(members.url) as server:
            beside = pb.Policies(overlap="OVERLAP_ALLOW")
            await server.create(job_id="often", schedule_config=interval(seconds="5"), policies=beside)
            client = Client(server, "often")
            as_primary = connect(members.url).with_options(read_concern=ReadConcern("local"))
            stack.callback(as_primary.client.close)
            # Its first look at a primary waits for a majority, and would not read what is older.
            beat = fire(connect(members.url), kind=HasRead)
            await eventually(lambda: _holds(lambda: beat.run_once() is not None and beat._caught_up is not None))
            HasRead.the_job.clear()
            secondary.admin.command("fsync", lock=True)
            now = database_now(as_primary)
            skipped = next(each for each in await client.upcoming() if each > now + timedelta(seconds=1))
            skip = asyncio.create_task(refusal(client.skip(skipped)))
            await eventually(lambda: _holds(lambda: bool(job(as_primary, "often")["changes"])))
            assert not skip.done(), "a majority does not have it"
            await eventually(lambda: _holds(lambda: database_now(as_primary) >= skipped))
            deciding = stack.enter_context(ThreadPoolExecutor(1)).submit(beat.run_once)
            assert await asyncio.to_thread(HasRead.the_job.wait, 60)
            secondary.admin.command("fsyncUnlock")
            await asyncio.to_thread(deciding.result)
            assert skipped in [row["nominal_time"] for row in rows(as_primary, "often") if row["state"] == "PENDING"]
            while not skip.done():
                await asyncio.to_thread(beat.run_once)
            refused = await skip
            assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "OCCURRENCE_DECIDED")
            assert "came due while this was being stored, and was decided without it" in refused.message


async def test_a_pause_that_finds_its_job_paused_waits_for_what_a_majority_lacks(tmp_path: Path) -> None:
    """What it reads is older than a resume, as on a primary that was just elected."""
    with ExitStack() as stack:
        members, secondary = await asyncio.to_thread(two_members, tmp_path, stack)
        async with serving(members.url) as server:
            await server.create(job_id="mine")
            await server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))
            primary = connect(members.url).with_options(read_concern=ReadConcern("local"))
            stack.callback(primary.client.close)
            secondary.admin.command("fsync", lock=True)
            resume = server.stub.ResumeScheduledJob(pb.ResumeScheduledJobRequest(job_id="mine"))
            await eventually(lambda: _holds(lambda: job(primary, "mine")["state"] == "ACTIVE"))
            pause = server.stub.PauseScheduledJob(pb.PauseScheduledJobRequest(job_id="mine"))
            waits = {"currentOp": 1, "command.update": "jobs"}
            ask = primary.client.admin.command
            await eventually(lambda: _holds(lambda: pause.done() or bool(ask(waits)["inprog"])))
            assert not pause.done(), "a majority does not have the resume"
            secondary.admin.command("fsyncUnlock")
            await asyncio.gather(resume, pause)
            assert job(primary, "mine")["state"] == "PAUSED"


async def _holds(condition: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(condition)
