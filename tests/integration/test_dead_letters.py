"""Dead letters: what failed for good stays one until somebody decides, in MongoDB and in the broker's queue."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest

from beat import withdrawal
from beat.withdrawal import Withdrawal
from scheduler_service.runs.executions import Executions
from scheduler_service.services.admin import AdminService
from shared.domain.execution import AfterFailure, Failure, State
from shared.messaging.app import make_app
from shared.messaging.publisher import BrokerAway, Publisher
from shared.messaging.queues import DEAD_LETTER, DEAD_LETTER_EXCHANGE
from shared.proto import admin_service_pb2 as pb
from shared.proto import scheduler_service_pb2 as jobs_pb
from shared.settings import Settings
from shared.store import executions
from shared.store.dead_letters import NEWEST_FIRST, Ending, Outcome, end, list_filter
from shared.store.jobs import PARTITIONS
from tests.builders import fired, job_document, own_vhost
from tests.integration.test_audit import schedctl
from tests.integration.test_beat_relay import ALL_QUEUES, make_relay, ready, taken, wait_until
from tests.integration.test_server_harness import Running, refusal
from tests.integration.test_server_requests import DiedError, died

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from pymongo.database import Database

    from beat.relay import Relay
    from dev.servers import Servers
    from shared.messaging.publisher import Walk

Db: TypeAlias = "Database[dict[str, Any]]"

EVERYWHERE = frozenset(range(PARTITIONS))
ERROR = Failure("NOT_FOUND", "no such competitor", retryable=False)


@pytest.fixture
def app(servers: Servers) -> Celery:
    return make_app(Settings(celery_broker_url=own_vhost(servers.rabbitmq)), ALL_QUEUES)


@pytest.fixture
def publisher(app: Celery) -> Iterator[Publisher]:
    made = Publisher(app, ALL_QUEUES)
    yield made
    made.close()


@pytest.fixture
def relay(database: Db, publisher: Publisher) -> Relay:
    return make_relay(database, publisher)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which walks are spread, a list of one: it stands still but for the test."""
    now = [100.0]
    monkeypatch.setattr("beat.withdrawal.monotonic", lambda: now[0])
    return now


def failed(database: Db, count: int = 1, job_id: str = "job-1", *, minutes_ago: float = 5) -> list[str]:
    """Let runs of a job fail for good by the very write that a worker makes; return their ids, the oldest first."""
    job = job_document(job_id)
    database.jobs.update_one({"_id": job_id}, {"$setOnInsert": job}, upsert=True)
    ids = []
    for number in range(count):
        when = datetime.now(UTC) - timedelta(minutes=minutes_ago) + timedelta(seconds=number)
        lease = {"holder": "w", "nonce": "n", "expires_at": when}
        row = fired(job, when.replace(microsecond=0), state="RUNNING", lease=lease, attempt=3, queue="scraping")
        row["transitions"].append({"number": 2, "state": "RUNNING", "at": when, "by": "w", "reason": "attempt 3"})
        database.executions.insert_one(row)
        move = executions.fail(row["_id"], "n", "w", ERROR, AfterFailure(State.FAILED, None, "for good"))
        assert database.executions.update_one(move.filter, move.update).modified_count == 1
        database.executions.update_one({"_id": row["_id"]}, {"$set": {"finished_at": when}})
        ids.append(row["_id"])
    return ids


def copies(app: Celery, queue: str = DEAD_LETTER) -> list[str]:
    """Return the executions whose copies lie in the queue, in its order, and leave it as it is."""
    with in_hand(app, queue) as found:
        return found


@contextmanager
def in_hand(app: Celery, queue: str = DEAD_LETTER) -> Iterator[list[str]]:
    """Hold all messages of the queue, and put them back."""
    with app.connection_for_write() as connection:
        channel, found = cast("Any", connection.default_channel), []
        while (message := channel.basic_get(queue)) is not None:
            found.append((message.headers or {}).get("x-execution-id", ""))
        yield found  # the connection's end puts all back


async def listed(server: Running, **fields: Any) -> list[str]:
    response = await server.admin.ListDeadLetters(pb.ListDeadLettersRequest(**fields))
    return [execution.execution_id for execution in response.executions]


async def retry(server: Running, *ids: str, queue: str = "") -> Any:
    request = pb.RetryDeadLettersRequest(execution_ids=ids, queue=queue)
    return await server.admin.RetryDeadLetters(request, metadata=[("x-actor", "anna")])


async def discard(server: Running, *ids: str, reason: str = "") -> Any:
    request = pb.DiscardDeadLettersRequest(execution_ids=ids, reason=reason)
    return await server.admin.DiscardDeadLetters(request, metadata=[("x-actor", "anna")])


class TestList:
    async def test_what_failed_for_good_is_listed_the_latest_first_with_why_and_after_how_many_attempts(
        self, server: Running, database: Db
    ) -> None:
        ids = failed(database, 3)
        response = await server.admin.ListDeadLetters(pb.ListDeadLettersRequest())
        assert [execution.execution_id for execution in response.executions] == ids[::-1]
        newest = response.executions[0]
        assert (newest.state, newest.attempt, newest.error.code) == (jobs_pb.Execution.STATE_FAILED, 3, "NOT_FOUND")
        assert newest.error.message == "no such competitor"

    async def test_the_pages_of_one_job_are_its_list(self, server: Running, database: Db) -> None:
        mine, others = failed(database, 7), failed(database, 2, "job-2")
        paged, token = [], ""
        while True:
            request = pb.ListDeadLettersRequest(job_id="job-1", page_size=3, page_token=token)
            page = await server.admin.ListDeadLetters(request)
            paged += [execution.execution_id for execution in page.executions]
            if not (token := page.next_page_token):
                break
        assert paged == mine[::-1]
        assert sorted(await listed(server)) == sorted(mine + others)
        assert (await refusal(listed(server, job_id="nobody"))).code == "NOT_FOUND"

    async def test_what_is_retried_by_itself_or_cancelled_is_no_dead_letter(
        self, server: Running, database: Db
    ) -> None:
        database.executions.insert_many(
            [fired(job_document(f"job-{n}"), datetime.now(UTC), state=state) for n, state in enumerate(State)]
        )
        assert await listed(server) == []

    async def test_the_list_is_read_from_its_index(self, database: Db) -> None:
        failed(database, 5)
        command = {
            "find": "executions",
            "filter": list_filter(None, None),
            "sort": dict(NEWEST_FIRST),
        }
        plan = str(database.command({"explain": command})["queryPlanner"]["winningPlan"])
        assert "'indexName': 'failed_letter'" in plan
        assert "'SORT'" not in plan


class TestRetry:
    async def test_a_retry_is_a_new_execution_and_takes_the_letter_from_the_list(
        self, server: Running, database: Db
    ) -> None:
        first, second = failed(database, 2)
        response = await retry(server, first)
        (made,) = response.retries
        assert (made.execution_id, list(response.refusals)) == (first, [])
        request = jobs_pb.GetExecutionRequest(execution_id=made.retry_execution_id)
        execution = (await server.stub.GetExecution(request)).execution
        assert (execution.retry_of, execution.trigger) == (first, jobs_pb.Execution.TRIGGER_RETRY)
        assert [document["_id"] for document in server.sent.documents] == [made.retry_execution_id]
        assert await listed(server) == [second]
        row = database.executions.find_one({"_id": first})
        assert row is not None
        assert row["state"] == "FAILED"
        said = row["letter_end"]
        assert (said["outcome"], said["by"], said["retry"]) == ("RETRIED", "anna", made.retry_execution_id)

    async def test_repeating_it_runs_nothing_twice(self, server: Running, database: Db) -> None:
        (dead,) = failed(database)
        first = (await retry(server, dead)).retries[0].retry_execution_id
        assert (await retry(server, dead, dead)).retries[0].retry_execution_id == first
        assert database.executions.count_documents({"retry_of": dead}) == 1

    async def test_a_crash_between_the_new_execution_and_the_mark_loses_no_letter_and_runs_nothing_twice(
        self, server: Running, database: Db
    ) -> None:
        (dead,) = failed(database)
        first = (await retry(server, dead)).retries[0].retry_execution_id
        database.executions.update_one({"_id": dead}, {"$set": {"letter": True}, "$unset": {"letter_end": ""}})
        assert await listed(server) == [dead]
        assert (await retry(server, dead)).retries[0].retry_execution_id == first
        assert await listed(server) == []

    async def test_after_such_a_crash_the_first_retry_is_found_though_the_job_was_deleted_since(
        self, server: Running, database: Db
    ) -> None:
        (dead,) = failed(database)
        first = (await retry(server, dead)).retries[0].retry_execution_id
        database.executions.update_one({"_id": dead}, {"$set": {"letter": True}, "$unset": {"letter_end": ""}})
        await server.stub.DeleteScheduledJob(jobs_pb.DeleteScheduledJobRequest(job_id="job-1"))
        assert (await retry(server, dead)).retries[0].retry_execution_id == first
        assert await listed(server) == []

    async def test_what_cannot_be_retried_is_said_one_by_one_and_stays(self, server: Running, database: Db) -> None:
        (dead,) = failed(database)
        (of_deleted,) = failed(database, job_id="job-2")
        database.jobs.update_one({"_id": "job-2"}, {"$set": {"state": "DELETED"}})
        database.executions.insert_one(fired(job_document("job-3"), datetime.now(UTC), _id="open"))
        response = await retry(server, of_deleted, "nothing", "open", dead)
        assert [made.execution_id for made in response.retries] == [dead]
        assert [(refused.execution_id, refused.message.partition("'")[0]) for refused in response.refusals] == [
            (of_deleted, "the execution "), ("nothing", "there is no execution "), ("open", "the execution "),
        ]  # fmt: skip
        assert "was deleted" in response.refusals[0].message
        assert await listed(server) == [of_deleted]

    async def test_retry_execution_takes_the_letter_from_the_list_too(self, server: Running, database: Db) -> None:
        (dead,) = failed(database)
        await server.stub.RetryExecution(jobs_pb.RetryExecutionRequest(execution_id=dead))
        assert await listed(server) == []

    async def test_one_that_runs_again_already_is_refused_and_stays(self, server: Running, database: Db) -> None:
        (dead,) = failed(database)
        again = await server.stub.RetryExecution(jobs_pb.RetryExecutionRequest(execution_id=dead))
        # as after a crash before the mark
        database.executions.update_one({"_id": dead}, {"$set": {"letter": True}, "$unset": {"letter_end": ""}})
        (refused,) = (await retry(server, dead)).refusals
        assert f"is retried already, by '{again.execution_id}'" in refused.message
        assert await listed(server) == [dead]

    async def test_what_is_wrong_with_the_request_is_said_at_once(self, server: Running) -> None:
        assert (await refusal(retry(server))).violations[0][0] == "execution_ids"
        assert (await refusal(retry(server, *("x" for _ in range(1001))))).violations[0][0] == "execution_ids"
        assert [field for field, _ in (await refusal(retry(server, "a", "", queue="no"))).violations] == [
            "execution_ids[1]", "queue",
        ]  # fmt: skip
        assert (await refusal(discard(server, "a", reason="x" * 501))).violations[0][0] == "reason"


class TestDiscard:
    async def test_a_discard_says_by_whom_and_why(self, server: Running, database: Db) -> None:
        first, second = failed(database, 2)
        response = await discard(server, first, reason="the shop is gone")
        assert (list(response.execution_ids), list(response.refusals)) == ([first], [])
        assert await listed(server) == [second]
        row = database.executions.find_one({"_id": first})
        assert row is not None
        assert (row["state"], row["letter_end"]["outcome"]) == ("FAILED", "DISCARDED")
        assert (row["letter_end"]["by"], row["letter_end"]["reason"]) == ("anna", "the shop is gone")
        assert list((await discard(server, first)).execution_ids) == [first], "again changes nothing"

    async def test_what_was_decided_is_not_decided_otherwise(self, server: Running, database: Db) -> None:
        retried, discarded = failed(database, 2)
        await retry(server, retried)
        await discard(server, discarded)
        assert "was retried by anna" in (await discard(server, retried)).refusals[0].message
        assert "was discarded by anna" in (await retry(server, discarded)).refusals[0].message
        assert database.executions.count_documents({"retry_of": discarded}) == 0


class TestRetriedAndDiscardedAtOnce:
    """A letter that runs again says so: what a retry has stored counts, whichever of the two said last what it did."""

    async def test_what_a_retry_has_stored_is_not_discarded(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dead,) = failed(database)
        discards: list[Any] = []

        async def after(*given: Any, **how: Any) -> Any:
            stored = await inserts(*given, **how)
            monkeypatch.undo()
            discards.append(await discard(server, dead))
            return stored

        inserts = stepping_in(monkeypatch, "insert_manual", after)
        (made,) = (await retry(server, dead)).retries
        assert (list(discards[0].execution_ids), len(discards[0].refusals)) == ([], 1)
        assert f"was retried by anna, as '{made.retry_execution_id}'" in discards[0].refusals[0].message
        assert ending(database, dead) == ("RETRIED", made.retry_execution_id)

    @pytest.mark.parametrize("method", ["RetryDeadLetters", "RetryExecution"])
    async def test_one_that_is_discarded_before_its_retry_is_stored_says_that_it_was_retried(
        self, server: Running, database: Db, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dead,) = failed(database)

        async def before(*given: Any, **how: Any) -> Any:
            monkeypatch.undo()
            assert list((await discard(server, dead)).execution_ids) == [dead]
            return await inserts(*given, **how)

        inserts = stepping_in(monkeypatch, "insert_manual", before)
        if method == "RetryDeadLetters":
            made = (await retry(server, dead)).retries[0].retry_execution_id
            assert (await retry(server, dead)).retries[0].retry_execution_id == made
        else:
            made = (await server.stub.RetryExecution(jobs_pb.RetryExecutionRequest(execution_id=dead))).execution_id
        assert ending(database, dead) == ("RETRIED", made)
        assert [row["_id"] for row in database.executions.find({"retry_of": dead})] == [made]
        assert "was retried by" in (await discard(server, dead)).refusals[0].message

    async def test_a_retry_that_died_before_it_said_so_is_found_by_a_discard(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dead,) = failed(database)
        with monkeypatch.context() as patch:
            stepping_in(patch, "end_letter", dies)
            await died(retry(server, dead))
        (made,) = database.executions.find({"retry_of": dead})
        tried = pb.DiscardDeadLettersRequest(execution_ids=[dead], validate_only=True)
        assert len((await server.admin.DiscardDeadLetters(tried)).refusals) == 1
        assert ending(database, dead) is None
        assert f"was retried by anna, as '{made['_id']}'" in (await discard(server, dead)).refusals[0].message
        assert ending(database, dead) == ("RETRIED", made["_id"])

    async def test_a_retry_that_was_overtaken_by_a_discard_and_died_is_told_when_it_is_repeated(
        self, server: Running, database: Db, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dead,) = failed(database)

        async def before(*given: Any, **how: Any) -> Any:
            monkeypatch.undo()
            await discard(server, dead)
            stepping_in(monkeypatch, "end_letter", dies)
            return await inserts(*given, **how)

        inserts = stepping_in(monkeypatch, "insert_manual", before)
        await died(retry(server, dead))
        monkeypatch.undo()
        (made,) = database.executions.find({"retry_of": dead})
        assert ending(database, dead) == ("DISCARDED", "")
        assert [each.retry_execution_id for each in (await retry(server, dead)).retries] == [made["_id"]]
        assert ending(database, dead) == ("RETRIED", made["_id"])


def stepping_in(patch: pytest.MonkeyPatch, name: str, instead: Callable[..., Any]) -> Callable[..., Any]:
    """Have the server do something else for an operation on executions; return the operation."""
    operation = getattr(Executions, name)
    patch.setattr(Executions, name, instead)
    return cast("Callable[..., Any]", operation)


async def dies(*_: Any, **__: Any) -> None:
    raise DiedError


def ending(database: Db, execution_id: str) -> tuple[str, str] | None:
    """Return what became of a dead letter, and the retry that is named."""
    row = database.executions.find_one({"_id": execution_id})
    assert row is not None
    said = row.get("letter_end")
    return None if said is None else (said["outcome"], said["retry"])


async def test_what_is_only_checked_stays_a_dead_letter_and_runs_nothing(server: Running, database: Db) -> None:
    letter, discarded = failed(database, 2)
    await discard(server, discarded)
    before = list(database.executions.find().sort("_id", 1))
    retried = await server.admin.RetryDeadLetters(
        pb.RetryDeadLettersRequest(execution_ids=[letter, discarded], validate_only=True)
    )
    given_up = await server.admin.DiscardDeadLetters(
        pb.DiscardDeadLettersRequest(execution_ids=[letter, discarded, "none"], validate_only=True)
    )
    assert [each.execution_id for each in retried.retries] == [letter]
    assert [each.execution_id for each in retried.refusals] == [discarded]
    assert list(given_up.execution_ids) == [letter, discarded]
    assert [each.execution_id for each in given_up.refusals] == ["none"]
    assert list(database.executions.find().sort("_id", 1)) == before
    assert server.sent.documents == []


class TestCopies:
    """The queue `dead_letter` has copies for people; the relay keeps it in step with what was decided."""

    def test_copies_of_what_was_decided_go_and_the_others_stay_in_their_order(
        self, database: Db, relay: Relay, app: Celery
    ) -> None:
        ids = failed(database, 120)
        for _ in range(2):
            relay.run_once()
        assert copies(app) == ids
        decided = [*ids[3:5], ids[60], ids[-1]]
        for execution_id in decided:
            decide(database, execution_id)
        while database.executions.count_documents({"withdraw": True}):
            relay.run_once()
        assert copies(app) == [execution_id for execution_id in ids if execution_id not in decided]
        assert not relay._withdrawal.walking

    def test_a_message_that_is_no_copy_of_ours_stays(self, database: Db, relay: Relay, app: Celery) -> None:
        (dead,) = failed(database)
        relay.run_once()
        with app.connection_for_write() as connection:
            producer = connection.Producer(serializer="json")
            producer.publish("a message that a queue gave up", exchange=DEAD_LETTER_EXCHANGE.name)
        decide(database, dead)
        walk_on(database, relay)
        assert copies(app) == [""]

    def test_a_copy_whose_row_was_cleaned_up_goes_with_the_next_walk(
        self, database: Db, relay: Relay, app: Celery
    ) -> None:
        gone, decided, stays = failed(database, 3)
        relay.run_once()
        database.executions.delete_one({"_id": gone})
        decide(database, decided)
        walk_on(database, relay)
        assert copies(app) == [stays]

    def test_what_is_decided_before_its_copy_was_sent_never_gets_one(
        self, database: Db, relay: Relay, app: Celery, clock: list[float]
    ) -> None:
        (dead,) = failed(database)
        decide(database, dead)
        while database.executions.count_documents({"withdraw": True}):
            relay.run_once()
            clock[0] += withdrawal.AGAIN
        assert copies(app) == []

    def test_a_copy_that_somebody_holds_while_a_walk_is_on_goes_with_a_later_one(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery, clock: list[float]
    ) -> None:
        ids = failed(database, 3)
        relay.run_once()
        decide(database, ids[1])
        with in_hand(app) as held:
            assert held == ids
            relay.run_once()
            assert not relay._withdrawal.walking
        wait_until(lambda: ready(publisher, DEAD_LETTER) == 3)
        clock[0] += withdrawal.AGAIN
        walk_on(database, relay)
        assert copies(app) == [ids[0], ids[2]]

    def test_a_copy_that_is_not_there_is_looked_for_a_few_times_with_time_between(
        self, database: Db, publisher: Publisher, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (gone,) = failed(database)
        decide(database, gone)
        walk, walks = publisher.walk, list[float]()

        def counted(queue: str) -> Walk:
            walks.append(clock[0])
            return walk(queue)

        monkeypatch.setattr(publisher, "walk", counted)
        looking = Withdrawal(database, publisher)
        for second in range(120):
            clock[0] = second
            looking.run_once(EVERYWHERE)
        assert walks == [0, 5, 10, 15, 20, 25, 30]
        assert database.executions.count_documents({"withdraw": True}) == 0

    def test_copies_of_a_queue_that_was_purged_are_given_up_by_the_same_walk_and_some_at_a_time(
        self, database: Db, publisher: Publisher, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(withdrawal, "MARKS", 3)
        decide(database, *failed(database, 10))
        looking = Withdrawal(database, publisher)
        for second in range(0, 30, 5):
            clock[0] = second
            walk_through(looking)
        decide(database, *failed(database, 2, "job-2"))
        clock[0] = 30
        walk_through(looking)
        left = []
        for _ in range(4):
            left.append(database.executions.count_documents({"withdraw": True}))
            looking.run_once(EVERYWHERE)
        assert left == [9, 6, 3, 2], "so that firing never waits for it"
        assert database.executions.distinct("job_id", {"withdraw": True}) == ["job-2"], "these were looked for once"

    @pytest.mark.usefixtures("clock")
    def test_what_is_decided_while_another_copy_is_missing_goes_at_once(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery
    ) -> None:
        missed, new, stays = failed(database, 3)
        relay.run_once()
        walking = Withdrawal(database, publisher)
        decide(database, missed)
        with in_hand(app):
            walk_through(walking)
        wait_until(lambda: ready(publisher, DEAD_LETTER) == 3)
        walk_through(walking)
        assert database.executions.distinct("_id", {"withdraw": True}) == [missed], "it is not its time yet"
        decide(database, new)
        walk_through(walking)
        assert copies(app) == [stays]
        assert database.executions.count_documents({"withdraw": True}) == 0

    def test_however_many_are_decided_the_walk_that_removes_their_copies_is_the_last(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = failed(database, 12)
        relay.run_once()
        monkeypatch.setattr(withdrawal, "MARKS", 3)
        monkeypatch.setattr(withdrawal, "STEP", 5)
        decide(database, *ids[1:])
        walking = Withdrawal(database, publisher)
        walk_through(walking)
        assert copies(app) == ids[:1]
        assert database.executions.count_documents({"withdraw": True}) == 0

    def test_a_walk_goes_in_small_steps_so_that_firing_never_waits_for_it(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = failed(database, 25)
        relay.run_once()
        monkeypatch.setattr(withdrawal, "STEP", 10)
        decide(database, ids[-1])
        walking = Withdrawal(database, publisher)
        seen = []
        for _ in range(3):
            walking.run_once(EVERYWHERE)
            seen.append(publisher.ready_counts([DEAD_LETTER])[DEAD_LETTER])
        assert seen == [15, 5, 0]
        walking.run_once(EVERYWHERE)
        assert not walking.walking
        assert copies(app) == ids[:-1]

    def test_when_the_connection_breaks_all_copies_are_back_and_the_next_walk_ends_it(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = failed(database, 20)
        relay.run_once()
        monkeypatch.setattr(withdrawal, "STEP", 5)
        decide(database, ids[10])
        walking = Withdrawal(database, publisher)
        walking.run_once(EVERYWHERE)
        publisher.close()
        with pytest.raises(BrokerAway):
            walking.run_once(EVERYWHERE)
        wait_until(lambda: publisher.ready_counts([DEAD_LETTER])[DEAD_LETTER] == 20)
        walk_through(walking)
        assert copies(app) == [*ids[:10], *ids[11:]]
        assert database.executions.count_documents({"withdraw": True}) == 0

    def test_while_a_walk_is_on_what_is_handed_over_is_sent(
        self, database: Db, publisher: Publisher, relay: Relay, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = failed(database, 60)
        relay.run_once()
        monkeypatch.setattr(withdrawal, "STEP", 1)
        decide(database, ids[-1])
        row = fired(job_document("job-2"), datetime.now(UTC), queue="scraping")
        database.executions.insert_one(row)
        step, sent_at_steps = Withdrawal._step, list[int]()

        def watched(self: Withdrawal, walk: Any) -> bool:
            if not sent_at_steps:
                relay.hand_over([row])
            sent_at_steps.append(ready(publisher))  # by the relay's own thread, whose connection it is
            return step(self, walk)

        monkeypatch.setattr(Withdrawal, "_step", watched)
        relay.start()
        try:
            wait_until(lambda: not database.executions.count_documents({"withdraw": True}))
        finally:
            relay.stop(20)
        assert sent_at_steps == [0, *(1 for _ in range(60))]
        assert [message.properties["correlation_id"] for message in taken(app)] == [row["_id"]]
        assert copies(app) == ids[:-1]

    def test_rows_of_partitions_that_others_hold_are_left_to_them(self, database: Db, publisher: Publisher) -> None:
        decide(database, *failed(database))
        Withdrawal(database, publisher).run_once(frozenset())
        assert database.executions.count_documents({"withdraw": True}) == 1


def decide(database: Db, *execution_ids: str) -> None:
    for execution_id in execution_ids:
        move = end(execution_id, Ending(Outcome.DISCARDED, "anna"))
        assert database.executions.update_one(move.filter, move.update).modified_count == 1


def walk_through(walking: Withdrawal) -> None:
    """Let it make one walk, to its end."""
    walking.run_once(EVERYWHERE)
    while walking.walking:
        walking.run_once(EVERYWHERE)


def walk_on(database: Db, relay: Relay) -> None:
    while database.executions.count_documents({"withdraw": True}):
        relay.run_once()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """About how many letters each call was that a server, started after this, has got."""
    sizes: list[int] = []
    for method in ("RetryDeadLetters", "DiscardDeadLetters"):
        answer = getattr(AdminService, method)

        async def counted(self: Any, request: Any, context: Any, answer: Any = answer) -> Any:
            sizes.append(len(request.execution_ids))
            return await answer(self, request, context)

        monkeypatch.setattr(AdminService, method, counted)
    return sizes


class TestCommand:
    async def test_list_shows_a_table_or_json(self, server: Running, database: Db) -> None:
        assert (await schedctl("dead-letters", "list", server=server.address)).code == 0
        ids = failed(database, 3)
        database.executions.update_one({"_id": ids[0]}, {"$set": {"error.message": "a\x1b[31m trick " + "x" * 200}})
        said = await schedctl("dead-letters", "list", server=server.address)
        heading, *lines = said.out.splitlines()
        assert heading.split() == ["failed", "at", "execution", "job", "attempts", "error", "message"]
        assert [line.split()[1] for line in lines] == ids[::-1]
        assert "3 of 4" in lines[0]
        assert "\x1b" not in said.out
        said = await schedctl("dead-letters", "list", "--json", "--limit", "2", server=server.address)
        letters = [json.loads(line)["dead_letter"] for line in said.out.splitlines()]
        assert [letter["execution_id"] for letter in letters] == ids[:0:-1]
        said = await schedctl("dead-letters", "list", "--limit", "2", server=server.address)
        assert said.err == "and more: --limit shows more than 2\n"

    async def test_named_letters_are_retried_or_discarded_at_once(self, server: Running, database: Db) -> None:
        first, second, third = failed(database, 3)
        said = await schedctl("dead-letters", "retry", first, server=server.address)
        assert (said.code, said.out.startswith(f"{first} runs again as ")) == (0, True)
        said = await schedctl("dead-letters", "discard", second, "--reason", "old", server=server.address)
        assert (said.code, said.out) == (0, f"{second} is discarded\n")
        row = database.executions.find_one({"_id": second})
        assert row is not None
        assert row["letter_end"]["by"] == f"{getpass.getuser()}@{socket.gethostname()}"
        assert await listed(server) == [third]

    async def test_programs_get_the_names_of_what_became_of_letters(self, server: Running, database: Db) -> None:
        first, second = failed(database, 2)
        said = await schedctl("dead-letters", "retry", first, "-o", "name", server=server.address)
        again = database.executions.find_one({"retry_of": first})
        assert again is not None
        assert said.out == f"{again['_id']}\n"
        said = await schedctl("dead-letters", "discard", second, "-o", "yaml", server=server.address)
        assert said.out == f"execution_id: {second}\n"

    async def test_what_is_refused_is_said_and_ends_it_with_2(self, server: Running, database: Db) -> None:
        (dead,) = failed(database)
        said = await schedctl("dead-letters", "discard", "nothing", dead, server=server.address)
        assert (said.code, said.err) == (2, "nothing: there is no execution 'nothing'\n")
        said = await schedctl("dead-letters", "retry", "--json", dead, server=server.address)
        assert (said.code, json.loads(said.out)["refusal"]["execution_id"]) == (2, dead)

    @pytest.mark.parametrize("what", ["retry", "discard"])
    async def test_what_there_is_not_ends_it_with_3(self, server: Running, database: Db, what: str) -> None:
        (dead,) = failed(database)
        said = await schedctl("dead-letters", what, "nothing", "nobody", server=server.address)
        assert (said.code, len(said.err.splitlines())) == (3, 2)
        assert (await schedctl("dead-letters", "discard", dead, server=server.address)).code == 0
        said = await schedctl("dead-letters", what, "nothing", dead, server=server.address)
        assert said.code == 2, "one of them exists, and is no dead letter any more"

    async def test_all_of_a_job_is_done_only_when_it_is_confirmed(self, server: Running, database: Db) -> None:
        mine, others = failed(database, 3), failed(database, 1, "job-2")
        arguments = ("dead-letters", "discard", "--all", "--job", "job-1")
        said = await schedctl(*arguments, server=server.address)
        assert (said.code, "nothing was done" in said.err) == (2, True)
        assert "Discard 3 dead letters of the job job-1?" in said.err
        assert len(await listed(server)) == 4
        said = await schedctl(*arguments, "--yes", server=server.address)
        assert (said.code, len(said.out.splitlines())) == (0, 3)
        assert await listed(server) == others
        assert database.executions.count_documents({"_id": {"$in": mine}, "letter_end.outcome": "DISCARDED"}) == 3

    async def test_it_has_to_be_said_which(self, server: Running) -> None:
        for arguments in (("retry",), ("retry", "x", "--all"), ("discard", "x", "--job", "y")):
            said = await schedctl("dead-letters", *arguments, server=server.address)
            assert (said.code, len(said.err.splitlines())) == (2, 1)

    async def test_all_is_done_however_many_pages_there_are(self, server: Running, database: Db) -> None:
        await asyncio.to_thread(failed, database, 510)
        said = await schedctl("dead-letters", "retry", "--all", "--yes", server=server.address)
        assert (said.code, len(said.out.splitlines())) == (0, 510)
        assert await listed(server) == []

    @pytest.mark.parametrize("what", ["retry", "discard"])
    async def test_each_call_is_about_so_few_that_a_busy_server_is_done_in_time(
        self, asked: list[int], server: Running, database: Db, what: str
    ) -> None:
        ids = await asyncio.to_thread(failed, database, 120)
        said = await schedctl("dead-letters", what, *ids[:60], server=server.address)
        assert (said.code, len(said.out.splitlines())) == (0, 60)
        said = await schedctl("dead-letters", what, "--all", "--yes", server=server.address)
        assert (said.code, len(said.out.splitlines())) == (0, 60)
        assert asked == [50, 10, 50, 10]
