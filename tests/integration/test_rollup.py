"""Statistics by roll-ups say what the rows say, whatever happens to those who make them, and in which order."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from beat.rollup import LEASE, TURN, Rollup, Sum, Sums
from beat.scheduler import BETWEEN_ROLLUPS, _RollingUp
from scheduler_service.statistics.tallies import GroupBy, Question, Tallies
from shared.domain.rollup import DAY, GRACE, HOUR, KEPT, MINUTE, Level, floor
from shared.domain.tally import ACCURACY
from shared.store import executions, live, rollups
from tests.builders import fired, job_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"
Rows: TypeAlias = "Sequence[Mapping[str, Any]]"

STATES = ("SUCCEEDED", "FAILED", "CANCELLED")


def now() -> datetime:
    return datetime.now(UTC)


def ended(number: int, at: datetime, **changes: Any) -> dict[str, Any]:
    """The row of an execution that ended at an instant, as its worker left it."""
    job = job_document(changes.pop("job_id", "job-1"))
    started = at - timedelta(milliseconds=changes.pop("took", 1_000))
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    row = fired(job, started.replace(microsecond=0))
    for name in ("open", "send_at"):
        del row[name]
    usual = {
        "_id": f"row-{number}",
        "state": "SUCCEEDED",
        "attempt": 1,
        "started_at": started,
        "first_started_at": started,
        "late_by": 20,
        "finished_at": at,
    }
    return row | usual | changes


def decided(number: int, at: datetime, count: int) -> dict[str, Any]:
    """The row of a decision not to run a range of occurrences."""
    row = ended(number, at, state="SKIPPED", count=count)
    run_only = ("queue", "target_service", "started_at", "first_started_at", "late_by", "due_at", "attempt")
    return {name: value for name, value in row.items() if name not in run_only} | {"run": False}


def roll_up(database: Db, name: str = "beat") -> None:
    go_on(Rollup(database, name))


def go_on(beat: Rollup) -> None:
    while beat.run_once():
        pass


def ask(
    database: Db, group_by: GroupBy = GroupBy.ALL, level: Level = Level.DAY, **asked: Any
) -> dict[str, Counter[str]]:
    start = floor(asked.pop("start", now() - 60 * DAY), level.width)
    end = floor(now(), level.width) + level.width
    question = Question(group_by, level, start, end, end - start, asked.pop("most", 100), **asked)
    found, _ = Tallies(database).read(question)
    return {each.group: each.tally.counts for each in found}


def counted(rows: Rows, key: Callable[[Mapping[str, Any]], str | None]) -> dict[str, Counter[str]]:
    """Count rows themselves."""
    expected: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if (group := key(row)) is not None:
            expected[group][row["state"]] += row.get("count", 1)
    return dict(expected)


def of_runs(row: Mapping[str, Any]) -> bool:
    return "part" not in row


def of_calls(row: Mapping[str, Any]) -> bool:
    return "flow" not in row


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ago": st.integers(0, 3 * 86_400) | st.integers(0, 40 * 86_400),
            "job_id": st.sampled_from(["job-1", "job-2", "job-3"]),
            "queue": st.sampled_from(["scraping", "analysis"]),
            "target_service": st.sampled_from(["scraper-service", "pricing-service"]),
            "state": st.sampled_from(STATES),
            "attempt": st.integers(1, 4),
            "took": st.integers(0, 10_000_000),
            "late_by": st.integers(-5, 1_000_000),
        },
        optional={"part": st.just(True), "flow": st.just({"kind": "fan_out"})},
    ),
    max_size=60,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.sampled_from([1, 10, TURN]))
def test_statistics_are_those_of_the_rows(database: Db, made: list[dict[str, Any]], turn: int) -> None:
    """turn: how much is rolled up at a time."""
    for name in (executions.COLLECTION, rollups.COLLECTION, rollups.PROGRESS):
        database[name].delete_many({})
    through = floor(now() - GRACE, MINUTE)
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(made):
        fields = dict(each)
        rows.append(ended(number, through - timedelta(seconds=1 + fields.pop("ago")), **fields))
    if rows:
        rows.append(decided(len(rows), through - MINUTE, count=86_400))
        database[executions.COLLECTION].insert_many(rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("beat.rollup.TURN", turn)
        roll_up(database)

    runs = [row for row in rows if of_runs(row)]
    calls = [row for row in rows if of_calls(row) and "queue" in row]
    for level in (Level.DAY, Level.HOUR):
        assert ask(database, GroupBy.ALL, level) == counted(runs, lambda _: "")
        lately = now() - 2 * DAY - HOUR
        since = [row for row in runs if row["finished_at"] >= floor(lately, level.width)]
        assert ask(database, GroupBy.ALL, level, start=lately) == counted(since, lambda _: "")
        assert ask(database, GroupBy.JOB, level) == counted(runs, lambda row: row["job_id"])
        assert ask(database, GroupBy.QUEUE, level) == counted(calls, lambda row: row["queue"])
        assert ask(database, GroupBy.TARGET, level) == counted(calls, lambda row: row["target_service"])
        one = [row for row in calls if row["job_id"] == "job-1" and row["queue"] == "scraping"]
        of_one = ask(database, GroupBy.TARGET, level, job="job-1", queue="scraping")
        assert of_one == counted(one, lambda row: row["target_service"])


def test_percentiles_are_those_of_the_rows_within_the_accuracy(database: Db) -> None:
    chance = random.Random(7)
    through = floor(now() - HOUR, HOUR)  # long enough ago to have been rolled up
    spans = [int(chance.lognormvariate(7, 2)) for _ in range(2_000)]
    rows = [ended(n, through - timedelta(seconds=1 + n), took=span, late_by=span) for n, span in enumerate(spans)]
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    start, end = floor(through - DAY, DAY), floor(now(), DAY) + DAY
    (all_of_it,), _ = Tallies(database).read(Question(GroupBy.ALL, Level.DAY, start, end, end - start, 1))
    for found in (all_of_it.tally.lateness, all_of_it.tally.duration):
        assert found.count == len(spans)
        assert found.longest == max(spans)
        assert found.mean == pytest.approx(sum(spans) / len(spans))
        for share in (0.5, 0.95, 0.99):
            true = sorted(spans)[math.ceil(share * len(spans)) - 1]
            assert found.percentile(share) == pytest.approx(true, rel=ACCURACY + 1e-9)


def test_a_minute_in_which_much_ended_is_added_up_one_job_after_another(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred thousand jobs, the sums of all at once would be more than a beat may take."""
    monkeypatch.setattr("beat.rollup.TURN", 5)
    monkeypatch.setattr("beat.rollup.BATCH", 1)
    monkeypatch.setattr("beat.rollup.AT_ONCE", 1)
    minute = floor(now() - HOUR, MINUTE)
    rows = [ended(n, minute - MINUTE + n * timedelta(seconds=20), job_id="job-0") for n in range(3)]
    rows += [ended(n, minute + timedelta(seconds=n), job_id=f"job-{n % 10}") for n in range(3, 43)]
    database[executions.COLLECTION].insert_many(rows)
    held = list[int]()

    class Watched(Sums):
        def __iter__(self) -> Iterator[Sum]:
            held.append(len(self._tallies))
            return super().__iter__()

    monkeypatch.setattr("beat.rollup.Sums", Watched)
    roll_up(database)
    assert max(held) <= 2 * 5
    assert ask(database, GroupBy.JOB) == counted(rows, lambda row: row["job_id"])
    assert ask(database, GroupBy.QUEUE) == counted(rows, lambda row: row["queue"])


@pytest.mark.parametrize("turn", [1, TURN])
@pytest.mark.parametrize(
    "damage",
    [
        {"$unset": {"state": ""}},
        {"$set": {"state": None}},
        {"$set": {"state": "GONE"}},
        {"$unset": {"job_id": ""}},
        {"$set": {"job_id": 7}},
        {"$set": {"queue": ["scraping"]}},
        {"$set": {"target_service": None}},
        {"$set": {"count": "many"}},
        {"$set": {"attempt": "first"}},
        {"$set": {"first_started_at": "soon"}},
        {"$set": {"late_by": None}},
        {"$set": {"late_by": math.nan}},
        {"$set": {"late_by": None, "schema": "newest"}},
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_keeps_no_other_from_being_counted(
    database: Db, monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any], turn: int
) -> None:
    monkeypatch.setattr("beat.rollup.TURN", turn)
    minute = floor(now() - HOUR, MINUTE)
    rows = [ended(n, minute + timedelta(seconds=n)) for n in range(3)]
    database[executions.COLLECTION].insert_many(rows)
    database[executions.COLLECTION].update_one({"_id": "row-1"}, damage)
    with capture_logs() as logs:
        roll_up(database)
    assert ask(database, GroupBy.ALL) == {"": Counter(SUCCEEDED=2)}
    assert {(line["action"], line["execution_id"]) for line in logs} == {("row_not_counted", "row-1")}


class UntilLong(Event):
    """Ends a thread of beat when it is to wait for long, without waiting itself."""

    last = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.last = timeout or 0.0
        return self.last >= BETWEEN_ROLLUPS


def test_a_row_of_a_newer_release_that_cannot_be_read_is_left_to_a_beat_of_that_release(
    database: Db,
) -> None:
    minute = floor(now() - HOUR, MINUTE)
    rows = [ended(n, minute + timedelta(seconds=n)) for n in range(3)]
    database[executions.COLLECTION].insert_many(rows)
    newer = {"$set": {"state": "GIVEN_UP", "schema": executions.SCHEMA + 1}}
    database[executions.COLLECTION].update_one({"_id": "row-1"}, newer)
    old, pauses = _RollingUp(Rollup(database, "old")), UntilLong()
    old._stopping = pauses
    with capture_logs() as logs:
        old.run()
    assert [(line["action"], line["log_level"], "exc_info" in line) for line in logs] == [
        ("rollup_left_to_newer", "warning", False)
    ]
    assert "row-1 is for a beat of a newer release" in logs[0]["error"]
    # Also where the turn could not be given up, another one takes it first.
    assert pauses.last > (LEASE + timedelta(seconds=BETWEEN_ROLLUPS)).total_seconds()
    # As that one reads it.
    database[executions.COLLECTION].update_one({"_id": "row-1"}, {"$set": {"state": "CANCELLED"}})
    roll_up(database, "new")
    assert ask(database, GroupBy.ALL) == {"": Counter(SUCCEEDED=2, CANCELLED=1)}


class Crashing:
    """A beat whose connection breaks at its nth write of roll-ups."""

    def __init__(self, rollup: Rollup, writes: int) -> None:
        self.rollup, self._left, self._write = rollup, writes, rollup._write
        vars(rollup)["_write"] = self._fail

    def _fail(self, writes: list[Any]) -> None:
        self._left -= 1
        if self._left < 0:
            self._write(writes[: len(writes) // 2])
            raise AutoReconnect("the connection broke")
        self._write(writes)


@pytest.mark.parametrize("writes", range(5))
def test_a_crash_in_the_middle_of_a_roll_up_neither_loses_nor_doubles(
    database: Db, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beat.rollup.TURN", 1)
    rows = [ended(n, now() - n * timedelta(minutes=20) - HOUR, job_id=f"job-{n % 3}") for n in range(12)]
    database[executions.COLLECTION].insert_many(rows)
    crashing = Crashing(Rollup(database, "beat"), writes)
    with pytest.raises(AutoReconnect):
        go_on(crashing.rollup)
    crashing.rollup.close()
    roll_up(database, "another beat")
    assert ask(database, GroupBy.JOB) == counted(rows, lambda row: row["job_id"])


def test_while_one_beat_rolls_up_another_leaves_it_alone_and_takes_over_when_it_ends(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ended(n, now() - n * HOUR - HOUR) for n in range(5)]
    database[executions.COLLECTION].insert_many(rows)
    monkeypatch.setattr("beat.rollup.TURN", 1)
    first, second = Rollup(database, "first"), Rollup(database, "second")
    assert first.run_once()
    assert not second.run_once()
    first.close()
    assert second.run_once()
    assert not first.run_once()


def test_a_beat_keeps_its_turn_for_a_step_that_takes_longer_than_its_lease(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ended(n, floor(now(), HOUR) - HOUR, job_id=f"job-{n}") for n in range(3)]
    database[executions.COLLECTION].insert_many(rows)
    monkeypatch.setattr("beat.rollup.AT_ONCE", 1)
    monkeypatch.setattr("beat.rollup.RENEWED_AFTER", -1.0)
    slow, other, overtaken = Rollup(database, "slow"), Rollup(database, "other"), list[bool]()
    put = slow._put

    def put_slowly(level: Level, *sums: Any) -> None:
        overtaken.append(other.run_once())
        put(level, *sums)
        database[rollups.PROGRESS].update_one({}, {"$set": {"expires_at": now() - DAY}})

    vars(slow)["_put"] = put_slowly
    go_on(slow)
    assert len(overtaken) > 3
    assert not any(overtaken)
    assert ask(database, GroupBy.JOB) == counted(rows, lambda row: row["job_id"])


def test_a_beat_that_was_overtaken_leaves_its_step_to_the_other(database: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ended(n, floor(now(), HOUR) - HOUR, job_id=f"job-{n}") for n in range(3)]
    database[executions.COLLECTION].insert_many(rows)
    monkeypatch.setattr("beat.rollup.AT_ONCE", 1)
    monkeypatch.setattr("beat.rollup.RENEWED_AFTER", -1.0)
    slow, written = Rollup(database, "slow"), list[int]()
    write = slow._write

    def overtaken(writes: list[Any]) -> None:
        written.append(len(writes))
        write(writes)
        database[rollups.PROGRESS].update_one({}, {"$inc": {"turn": 1}})

    vars(slow)["_write"] = overtaken
    assert slow.run_once()
    assert written == [1]
    standing = database[rollups.PROGRESS].find_one()
    assert standing is not None
    assert standing["minutes"] == floor(rows[0]["finished_at"], DAY), "as it was when it began"
    vars(slow)["_write"] = write
    go_on(slow)
    assert ask(database, GroupBy.JOB) == counted(rows, lambda row: row["job_id"])


def test_a_beat_that_was_overtaken_does_not_put_back_what_it_saw_before(database: Db) -> None:
    """It claimed, read the rows, and stood still; another beat took over, and saw one more row."""
    minute = floor(now() - HOUR, MINUTE)
    database[executions.COLLECTION].insert_one(ended(1, minute + timedelta(seconds=1)))
    slow = Rollup(database, "slow")
    write = slow._write

    def stand_still(writes: list[Any]) -> None:
        vars(slow)["_write"] = write
        database[rollups.PROGRESS].update_one(*rollups.give_up_turn("slow"))
        database[executions.COLLECTION].insert_one(ended(2, minute + timedelta(seconds=2)))
        roll_up(database, "quick")
        write(writes)

    vars(slow)["_write"] = stand_still
    assert slow.run_once()
    assert ask(database, level=Level.MINUTE, start=minute) == {"": Counter(SUCCEEDED=2)}
    slow.close()
    roll_up(database)
    assert ask(database) == {"": Counter(SUCCEEDED=2)}


def test_a_row_that_is_seen_only_after_its_minute_was_rolled_up_is_counted_all_the_same(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that ended it took a minute: its time is when the write began."""
    minute = floor(now() - 2 * MINUTE - GRACE, MINUTE)
    database[executions.COLLECTION].insert_one(ended(1, minute))
    roll_up(database)
    database[executions.COLLECTION].insert_one(ended(2, minute + timedelta(seconds=1)))
    roll_up(database)
    assert ask(database) == {"": Counter(SUCCEEDED=1)}
    monkeypatch.setattr("shared.domain.rollup.SETTLED_AFTER", MINUTE)  # as if four more had gone by
    roll_up(database)
    assert ask(database) == {"": Counter(SUCCEEDED=2)}


def test_a_clock_that_was_set_back_loses_nothing_that_ends_in_the_hour_it_goes_through_again(database: Db) -> None:
    at = floor(now(), MINUTE) - 3 * HOUR
    database[executions.COLLECTION].insert_one(ended(1, at))
    roll_up(database)
    # All was rolled up to an hour from now, and then the clock was set back.
    ahead = floor(now(), HOUR) + 2 * HOUR
    database[rollups.PROGRESS].update_one({}, {"$set": {"minutes": ahead, "settled": ahead, "hours": ahead}})
    roll_up(database)
    standing = database[rollups.PROGRESS].find_one()
    assert standing is not None
    progress = rollups.to_progress(standing)
    assert max(progress.minutes, progress.settled, progress.hours) <= now()
    assert ask(database) == {"": Counter(SUCCEEDED=1)}


def test_old_roll_ups_go_but_none_that_the_next_level_was_not_made_of(database: Db) -> None:
    rows = [ended(n, now() - n * DAY - HOUR) for n in range(12)]
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    left = {
        level: min(document["at"] for document in database[rollups.COLLECTION].find({"level": level.value}))
        for level in (Level.MINUTE, Level.HOUR)
    }
    assert left[Level.MINUTE] >= now() - KEPT[Level.MINUTE] - DAY
    assert left[Level.HOUR] <= now() - 11 * DAY
    assert ask(database) == {"": Counter(SUCCEEDED=12)}


def test_all_that_is_said_to_be_counted_is_while_beat_catches_up_with_more_than_a_week(database: Db) -> None:
    """Minutes of that age go as soon as their hour is made, also between the two questions of who reads statistics."""
    rows = [ended(n, now() - 8 * DAY + n * MINUTE) for n in range(0, 600, 20)]
    database[executions.COLLECTION].insert_many(rows)
    beat, tallies = Rollup(database, "beat"), Tallies(database)
    assert beat.run_once(), "all minutes, and no hour yet"
    find = tallies._rollups.find

    def find_later(*asked: Any, **how: Any) -> Any:
        go_on(beat)
        return find(*asked, **how)

    vars(tallies)["_rollups"] = SimpleNamespace(find=find_later)
    end = floor(now(), DAY) + DAY
    found, through = tallies.read(Question(GroupBy.ALL, Level.DAY, end - 30 * DAY, end, 30 * DAY, 1))
    assert through is not None
    assert sum(each.tally.total for each in found) == sum(row["finished_at"] < through for row in rows)
    assert ask(database) == {"": Counter(SUCCEEDED=len(rows))}


def test_of_what_is_made_again_only_what_has_changed_is_written(database: Db) -> None:
    minute = floor(now() - HOUR, MINUTE)
    rows = [ended(n, minute, job_id=f"job-{n}") for n in range(3)]
    database[executions.COLLECTION].insert_many(rows)
    roll_up(database)
    turns = {document["_id"]: document["turn"] for document in database[rollups.COLLECTION].find()}
    begins = {"minutes": minute, "settled": minute}
    database[rollups.PROGRESS].update_one({}, {"$set": begins})
    roll_up(database)
    assert turns == {document["_id"]: document["turn"] for document in database[rollups.COLLECTION].find()}


def stages(plan: Any) -> set[str]:
    """Return the names of the stages of a plan, and of its indexes."""
    if isinstance(plan, dict):
        own = {str(plan[name]) for name in ("stage", "indexName") if name in plan}
        return own.union(*map(stages, plan.values()))
    return set().union(*map(stages, plan)) if isinstance(plan, list) else set()


@pytest.mark.parametrize(
    ("collection", "chosen", "index"),
    [
        (executions.COLLECTION, rollups.ended_between(now() - MINUTE, now()), "finished_at"),
        (executions.COLLECTION, live.RUNNING, "running_lease"),
        (executions.COLLECTION, live.waiting_in("scraping"), "waiting"),
        (rollups.COLLECTION, rollups.between(Level.HOUR, now() - DAY, now(), rollups.By.ALL), "level"),
        (rollups.COLLECTION, rollups.between(Level.HOUR, now() - DAY, now()), "level"),
        (rollups.COLLECTION, rollups.before(Level.MINUTE, now()), "level"),
        (rollups.COLLECTION, {"by": "all", "$or": [rollups.within(Level.HOUR, now() - DAY, now())]}, "level"),
    ],
)
def test_what_is_read_for_statistics_is_read_by_an_index(
    database: Db, collection: str, chosen: dict[str, Any], index: str
) -> None:
    database[executions.COLLECTION].insert_many([ended(n, now() - n * MINUTE, job_id=f"job-{n}") for n in range(60)])
    roll_up(database)
    found = stages(database[collection].find(chosen).explain()["queryPlanner"]["winningPlan"])
    assert index in found
    assert "COLLSCAN" not in found


def test_what_is_told_of_one_job_reads_its_own_roll_ups_only(database: Db) -> None:
    database[executions.COLLECTION].insert_many([ended(n, now() - n * MINUTE, job_id=f"job-{n}") for n in range(60)])
    roll_up(database)
    database.command("profile", 2)
    assert ask(database, GroupBy.ALL, job="job-7") == {"": Counter(SUCCEEDED=1)}
    database.command("profile", 0)
    (read,) = database["system.profile"].find({"op": "query", "ns": f"{database.name}.{rollups.COLLECTION}"})
    assert read["docsExamined"] <= 3
