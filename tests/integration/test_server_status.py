"""A status counts what its job's rows say, however far beat has rolled them up, and does not read them all for that."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from beat.rollup import Rollup
from scheduler_service.services.scheduler import COUNTS_WINDOW
from shared.domain.rollup import DAY, HOUR, MINUTE, SETTLED_AFTER, Level, Piece, floor
from shared.domain.rollup import counted as rolled_up
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions, jobs, rollups
from tests.builders import fired, job_document
from tests.integration.test_rollup import decided, ended, now, roll_up
from tests.integration.test_server_harness import refusal, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pymongo.database import Database

    from tests.integration.test_server_harness import Running

Db: TypeAlias = "Database[dict[str, Any]]"
JOB = "job-1"


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question of a test is of how far beat has got by then."""
    monkeypatch.setattr("scheduler_service.jobs.counted.KEPT", -1.0)


@pytest.fixture(autouse=True)
def a_job(database: Db) -> None:
    database[jobs.COLLECTION].insert_one(job_document(JOB))


async def status(running: Running) -> dict[str, int]:
    return dict((await running.stub.GetJobStatus(pb.GetJobStatusRequest(job_id=JOB))).counts)


def counted(database: Db, begin: datetime) -> dict[str, int]:
    """Count the rows themselves: what is in flight, and what has ended since an instant."""
    expected: Counter[str] = Counter()
    for row in database[executions.COLLECTION].find({"job_id": JOB, "part": {"$exists": False}}):
        if row["state"] != "CLOSED" and ("finished_at" not in row or row["finished_at"] >= begin):
            expected[row["state"]] += row.get("count", 1)
    return dict(expected)


async def agree(database: Db, running: Running, window: timedelta = COUNTS_WINDOW) -> dict[str, int]:
    """Return what the status says, which has to be what the rows say."""
    while True:
        begin = floor(now() - window, HOUR)
        said, expected = await status(running), counted(database, begin)
        if begin == floor(now() - window, HOUR):  # the hour did not end in between
            assert said == expected
            return said


def history(chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Rows of four days, most of them of the last hours: what ended in all ways, and what has not."""
    for number in range(count):
        ago = timedelta(seconds=chance.choice([600, 7_200, 86_400, 4 * 86_400]) * chance.random())
        state = chance.choice(["SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED"])
        queue = chance.choice(["scraping", "analysis"])
        match number % 10:
            case 0:
                yield decided(number, now() - ago, count=chance.randint(1, 5_000))
            case 1:
                state = chance.choice(["PENDING", "QUEUED", "RUNNING", "WAITING"])
                yield fired(job_document(JOB), now() - ago, _id=f"row-{number}", state=state)
            case 2:
                row = ended(number, now() - ago, state=state, part=True, parent="row-3")
                del row["run"]
                yield row
            case 3:
                yield ended(number, now() - ago, state=state, flow={"kind": "fan_out"})
            case 4:
                yield ended(number, now() - ago, state=state, job_id="job-2")
            case 5:
                row = ended(number, now() - ago, state="CLOSED")
                del row["run"]
                yield row
            case _:
                yield ended(number, now() - ago, state=state, queue=queue)


@pytest.mark.parametrize("seed", range(3))
async def test_a_status_counts_what_the_rows_say_however_far_beat_has_got(
    database: Db, database_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beat.rollup.TURN", 25)
    window = 3 * DAY  # of thirty, beat would take a step for each of 700 hours
    monkeypatch.setattr("scheduler_service.services.scheduler.COUNTS_WINDOW", window)
    database[executions.COLLECTION].insert_many(history(random.Random(seed), 400))
    async with serving(database_url) as running:
        said = await agree(database, running, window)
        assert {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED", "RUNNING", "WAITING"} <= said.keys()
        beat = Rollup(database, "beat")
        while beat.run_once():
            await agree(database, running, window)
        later = [ended(1_000 + n, now(), state="FAILED") for n in range(3)]
        database[executions.COLLECTION].insert_many(later)
        await agree(database, running, window)


async def test_what_is_stored_after_its_minute_was_rolled_up_first_is_counted_at_once(
    database: Db, database_url: str
) -> None:
    """The write that ended it took a minute: its time is when the write began."""
    minute = floor(now() - 2 * MINUTE, MINUTE)
    database[executions.COLLECTION].insert_one(ended(1, minute))
    roll_up(database)
    database[executions.COLLECTION].insert_one(ended(2, minute + timedelta(seconds=1)))
    async with serving(database_url) as running:
        assert await agree(database, running) == {"SUCCEEDED": 2}


async def test_a_status_counts_what_the_rows_say_while_beat_catches_up_with_more_than_a_week(
    database: Db, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes of that age go as soon as their hour is made; how far beat had got, the server may know from before."""
    monkeypatch.setattr("scheduler_service.jobs.counted.KEPT", 3600.0)
    rows = [ended(n, now() - 8 * DAY + n * MINUTE) for n in range(0, 600, 20)]
    database[executions.COLLECTION].insert_many(rows)
    beat = Rollup(database, "beat")
    assert beat.run_once(), "all minutes, and no hour yet"
    async with serving(database_url) as running:
        assert await status(running) == {"SUCCEEDED": 30}
        while beat.run_once():
            pass
        assert database[rollups.COLLECTION].count_documents({"level": "minute"}) == 0
        assert await status(running) == {"SUCCEEDED": 30}


async def test_counts_outlive_the_records_that_they_are_of(database: Db, database_url: str) -> None:
    rows = [ended(n, now() - n * DAY - HOUR) for n in range(29)]
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    database[executions.COLLECTION].delete_many(executions.ended_filter(now() - 7 * DAY))
    async with serving(database_url) as running:
        assert await status(running) == {"SUCCEEDED": 29}


async def test_a_clock_that_was_set_back_while_no_beat_runs_hides_nothing_that_ends_now(
    database: Db, database_url: str
) -> None:
    database[executions.COLLECTION].insert_one(ended(1, now() - 3 * HOUR))
    roll_up(database)
    ahead = floor(now(), HOUR) + 2 * HOUR
    database[rollups.PROGRESS].update_one({}, {"$set": {"minutes": ahead, "settled": ahead, "hours": ahead}})
    async with serving(database_url) as running:
        database[executions.COLLECTION].insert_one(ended(2, floor(now(), MINUTE) + MINUTE))
        assert await agree(database, running) == {"SUCCEEDED": 2}


def test_what_ends_while_it_is_counted_is_counted_once(database: Db) -> None:
    """By the index in which it moves on when it ends, while so much is read that MongoDB lets writes in between."""
    rows = database[executions.COLLECTION]
    count = 10_000
    in_flight = [fired(job_document(JOB), now(), _id=f"row-{n}") for n in range(count)]
    rows.insert_many(in_flight)
    *_, counts = executions.with_runs(now() - HOUR)
    question = [{"$match": {"job_uid": in_flight[0]["job_uid"]}}, *counts["$lookup"]["pipeline"]]
    ends = {"$set": {"state": "SUCCEEDED", "finished_at": "$$NOW"}}
    with ThreadPoolExecutor(1) as pool:
        for batch in range(5):
            some = [f"row-{n}" for n in range(batch * 500, batch * 500 + 500)]
            ending = pool.submit(rows.update_many, {"_id": {"$in": some}}, [ends])
            while True:
                all_ended = ending.done()
                assert sum(group["count"] for group in rows.aggregate(question, hint="job_end")) == count
                if all_ended:
                    break


async def test_a_status_that_names_no_job_is_refused_and_reads_no_roll_ups_of_all_jobs(
    database: Db, database_url: str
) -> None:
    database[executions.COLLECTION].insert_many([ended(n, now() - HOUR, job_id=f"job-{n}") for n in range(20)])
    roll_up(database)
    pieces = [Piece(level, now() - 2 * DAY, now()) for level in Level]
    asked = rollups.ended_pipeline("", pieces)
    assert list(database[rollups.COLLECTION].aggregate(asked, hint=rollups.JOB_INDEX)) == []
    async with serving(database_url) as running:
        refused = await refusal(running.stub.GetJobStatus(pb.GetJobStatusRequest()))
    assert (refused.code, "job_id" in refused.message) == ("INVALID_ARGUMENT", True)


async def test_a_status_reads_what_is_in_flight_or_ended_lately_and_not_the_history(
    database: Db, database_url: str
) -> None:
    """Ten executions a minute for five hours, and the open parts of a fan-out; and other jobs at the same times."""
    last = now() - SETTLED_AFTER - 2 * MINUTE
    rows = [ended(n, last - n * timedelta(seconds=6)) for n in range(3_000)]
    rows += [ended(10_000 + n, last - n % 20 * HOUR / 4, job_id=f"job-{2 + n // 20}") for n in range(600)]
    rows += [fired(job_document(JOB), now(), _id=f"row-{n}") for n in range(4_000, 4_003)]
    for number in range(5_000, 5_500):
        part = fired(job_document(JOB), now(), _id=f"row-{number}", part=True, parent="row-4000")
        del part["run"]
        rows.append(part)
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    async with serving(database_url) as running:
        assert await agree(database, running) == {"SUCCEEDED": 3_000, "PENDING": 3}
        database.command("profile", 2)
        await status(running)
        database.command("profile", 0)
    (asked,) = database["system.profile"].find({"command.aggregate": {"$exists": True}})
    standing = database[rollups.PROGRESS].find_one(rollups.PROGRESS_FILTER)
    assert standing is not None
    pieces, _ = rolled_up(rollups.to_progress(standing), floor(now() - COUNTS_WINDOW, HOUR), now())
    of_hours_and_minutes = database[rollups.COLLECTION].count_documents({"job": JOB, **rollups.any_of(pieces)})
    assert of_hours_and_minutes <= 24 + 5 + 65
    in_flight, itself_and_its_newest = 3, 2
    assert asked["docsExamined"] == in_flight + itself_and_its_newest + of_hours_and_minutes
