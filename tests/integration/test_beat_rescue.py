"""Rescue takes attempts only from workers whose lease has ended, and holds still when the store has just come back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pymongo.errors import WriteError

from beat.partitions import Partitions
from beat.rescue import Rescue, StoreReturns
from dev.mongodb import start_mongodb
from shared import metrics
from shared.domain.execution import State
from shared.store import executions
from shared.store.jobs import PARTITIONS
from shared.store.mongo import connect
from tests.builders import damages, fired, job_document

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

Db: TypeAlias = "Database[dict[str, Any]]"

LEASE = timedelta(seconds=15)


class Long(StoreReturns):
    """A store that has been there for long."""

    def __init__(self) -> None:
        super().__init__()
        self.last_return -= 3600


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(PARTITIONS))


def rescue(database: Db, returns: StoreReturns | None = None) -> Rescue:
    return Rescue(database, BelievesAll(database, "beat", LEASE), returns or Long(), LEASE, "beat")


def running(database: Db, number: int, ends: float, **changes: Any) -> str:
    """Insert a running attempt whose lease ends so many seconds from now."""
    now = datetime.now(UTC)
    lease = {
        "holder": "worker-1",
        "nonce": f"n{number}",
        "expires_at": now + timedelta(seconds=ends),
        "length": LEASE.total_seconds() * 1000,
    }
    row = fired(job_document(f"job-{number}"), now, state=State.RUNNING.value, attempt=1, lease=lease) | changes
    del row["send_at"]
    database.executions.insert_one(row)
    return str(row["_id"])


def row(database: Db, execution_id: str) -> dict[str, Any]:
    found = database.executions.find_one({"_id": execution_id})
    assert found is not None
    return found


def test_an_attempt_whose_worker_fell_silent_is_due_again_at_once(database: Db) -> None:
    lost, alive = running(database, 1, -1), running(database, 2, LEASE.total_seconds() - 1)
    assert rescue(database).run_once() == 1
    after = row(database, lost)
    assert (after["state"], after["attempt"], after["workers_lost"]) == ("PENDING", 1, 1)
    assert after["due_at"] == after["send_at"] <= after["transitions"][-1]["at"]
    assert "worker-1 fell silent" in after["transitions"][-1]["reason"]
    assert "lease" not in after
    assert row(database, alive)["state"] == "RUNNING"
    assert rescue(database).run_once() == 0


def test_after_the_last_attempt_it_fails_and_goes_to_the_dead_letters(database: Db) -> None:
    lost = running(database, 1, -1, attempt=4)
    rescue(database).run_once()
    after = row(database, lost)
    assert (after["state"], after["error"]["code"], after["dead_letter"]) == ("FAILED", "WORKER_LOST", True)
    assert "open" not in after


def test_of_many_rescuers_each_attempt_is_moved_by_one(database: Db) -> None:
    ids = [running(database, number, -1) for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(lambda _: rescue(database).run_once(), range(4)))
    assert sum(moved) == len(ids)
    assert all(len(row(database, each)["transitions"]) == 2 for each in ids)


def test_only_held_partitions_are_looked_after(database: Db) -> None:
    running(database, 1, -1)
    nothing = Partitions(database, "beat", LEASE)
    assert Rescue(database, nothing, Long(), LEASE, "beat").run_once() == 0


def test_it_holds_still_for_a_lease_after_its_start(database: Db) -> None:
    running(database, 1, -1)
    assert rescue(database, StoreReturns()).run_once() == 0


def test_it_holds_still_for_a_lease_after_its_own_leases_ended_in_an_outage_that_no_event_told(database: Db) -> None:
    running(database, 1, -1)
    partitions = Partitions(database, "beat", LEASE)
    partitions.prepare()
    beat = Rescue(database, partitions, Long(), LEASE, "beat")
    partitions.run_once()
    partitions.unbroken_since -= LEASE.total_seconds()
    partitions.run_once()
    partitions._held_until -= LEASE.total_seconds()  # the store did not answer for so long
    partitions.run_once()
    assert beat.run_once() == 0
    partitions.unbroken_since -= LEASE.total_seconds()
    assert beat.run_once() == 1


def test_what_a_dead_worker_held_when_the_clock_was_set_back_is_taken_though_the_clock_has_not_caught_up(
    database: Db,
) -> None:
    held_before, held_since = running(database, 1, 3600), running(database, 2, LEASE.total_seconds() - 1)
    of_old = running(database, 3, 3600)
    database.executions.update_one({"_id": of_old}, {"$unset": {"lease.length": ""}})
    assert rescue(database).run_once() == 1
    assert row(database, held_before)["state"] == "PENDING"
    assert {row(database, each)["state"] for each in (held_since, of_old)} == {"RUNNING"}


def test_a_step_back_of_the_clock_that_is_too_small_to_be_noticed_costs_no_live_worker_its_attempt(
    database: Db,
) -> None:
    """Its lease, renewed just before, ends so much later than one taken now would."""
    beat = rescue(database)
    step = beat._clock._tolerance
    live = running(database, 1, LEASE.total_seconds() + step)
    assert beat.run_once() == 0
    assert row(database, live)["state"] == "RUNNING"


@pytest.mark.parametrize("hours", [1, -1])
def test_it_holds_still_for_a_lease_after_the_databases_clock_was_set(
    database: Db, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Forwards, leases of live workers seem to have ended; backwards, to end too late: until they renew."""
    beat, started = rescue(database), monotonic()
    assert beat.run_once() == 0
    running(database, 1, 3600)
    running(database, 2, -1)
    # The database's clock cannot be set here; between the two clocks it is the same when ours is.
    set_at = started - 3600 * hours
    monkeypatch.setattr("beat.rescue.monotonic", lambda: set_at + monotonic() - started)
    beat._returns.last_return = beat._partitions.unbroken_since = set_at - 86400
    assert beat.run_once() == 0
    monkeypatch.setattr("beat.rescue.monotonic", lambda: set_at + monotonic() - started + LEASE.total_seconds())
    beat._clock._tolerance = 2 * LEASE.total_seconds()  # the lease that passes here takes the database no time
    assert beat.run_once() == 2


def test_a_store_that_was_away_is_noticed_when_it_returns(tmp_path: Path) -> None:
    server = start_mongodb(tmp_path)
    returns = Long()
    database = connect(server.url, event_listeners=[returns], serverSelectionTimeoutMS=20_000)
    try:
        running(database, 1, -1)
        returns.last_return -= 3600
        assert rescue(database, returns).run_once() == 1
        killed = monotonic()
        server.kill()
        server.start()
        running(database, 2, -1)
        assert returns.last_return > killed
        assert rescue(database, returns).run_once() == 0
        returns.last_return -= LEASE.total_seconds()
        assert rescue(database, returns).run_once() == 1
    finally:
        database.client.close()
        server.kill()


def test_what_may_have_been_done_is_not_done_again_where_the_job_says_so(database: Db) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    failing = running(database, 1, ends=-1, policies={"on_worker_lost": "FAIL"})
    too_late = running(database, 2, ends=-1, retry_until=late)
    retried = running(database, 3, ends=-1, policies={"on_worker_lost": "RETRY"}, retry_until=late + LEASE)
    handed_back = running(database, 4, ends=-1, attempt=4, handed_back=1)
    last = running(database, 5, ends=-1, attempt=4)
    assert rescue(database).run_once() == 5
    assert {each: row(database, each)["state"] for each in (failing, too_late, retried, handed_back, last)} == {
        failing: "FAILED",
        too_late: "FAILED",
        retried: "PENDING",
        handed_back: "PENDING",
        last: "FAILED",
    }
    assert row(database, failing)["error"]["retryable"] is False
    assert "on_worker_lost is FAIL" in row(database, failing)["transitions"][-1]["reason"]


@pytest.mark.parametrize("damage", [None, "none", {"at": 1}], ids=str)
def test_an_attempt_whose_record_is_damaged_is_taken_and_keeps_no_other_from_it(database: Db, damage: object) -> None:
    broken, good = running(database, 1, ends=-9), running(database, 2, ends=-1)
    database.executions.update_one({"_id": broken}, {"$set": {"transitions": damage, "workers_lost": damage}})
    assert rescue(database).run_once() == 2
    assert [row(database, each)["state"] for each in (broken, good)] == ["PENDING"] * 2


@pytest.mark.parametrize("field", ["retry", "retry.max_attempts", "lease.holder", "lease.nonce"])
def test_what_cannot_be_read_is_ended_and_what_is_newer_left_alone_and_neither_keeps_another_from_being_rescued(
    database: Db, field: str
) -> None:
    broken, live = running(database, 1, ends=-9), running(database, 4, ends=LEASE.total_seconds() - 1)
    database.executions.update_many({"_id": {"$in": [broken, live]}}, {"$unset": {field: ""}})
    newer = running(database, 2, ends=-8, schema=executions.SCHEMA + 1)
    good = running(database, 3, ends=-1)
    before = [row(database, each) for each in (live, newer)]
    failures = metrics.BEAT_RESCUE_FAILURES._value.get()
    assert rescue(database).run_once() == 1
    assert row(database, good)["state"] == "PENDING"
    assert [row(database, each) for each in (live, newer)] == before
    after = row(database, broken)
    assert (after["state"], after["error"]["code"], "finished_at" in after) == ("FAILED", "WORKER_LOST", True)
    assert not {"open", "lease", "dead_letter"} & set(after)
    assert rescue(database).run_once() == 0
    assert metrics.BEAT_RESCUE_FAILURES._value.get() == failures + 1


def test_nothing_that_somebody_has_damaged_keeps_another_from_being_rescued(database: Db) -> None:
    cancel = {"by": "somebody", "reason": "enough", "at": datetime.now(UTC)}
    broken = running(database, 1, ends=-9, cancel=cancel)
    document = row(database, broken)
    deeper = [{"$set": {f"cancel.{field}": value}} for field in cancel for value in (7, [None], None)]
    for number, damage in enumerate([*damages(document, {"_id"}), *deeper], start=2):
        database.executions.replace_one({"_id": broken}, document)
        try:
            database.executions.update_one({"_id": broken}, damage)
        except WriteError:  # an index does not take it
            continue
        good = running(database, number, ends=-1)
        rescue(database).run_once()
        assert row(database, good)["state"] == "PENDING", damage
