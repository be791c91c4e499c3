"""The relay: RabbitMQ holds nothing that MongoDB cannot rebuild, and nothing is sent for nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from beat.partitions import Partitions
from beat.relay import INTERVAL, OVERDUE, SHORTEST_PAUSE, Relay
from dev.rabbitmq import start_rabbitmq
from dev.server import free_port
from shared.domain.execution import State
from shared.domain.policies import Overlap
from shared.messaging.app import make_app
from shared.messaging.dispatcher import MOST_WAITING, Sender
from shared.messaging.messages import Outgoing
from shared.messaging.publisher import BrokerAway, Publisher
from shared.messaging.queues import DEAD_LETTER, Queues
from shared.settings import Settings
from shared.store import executions, parts
from shared.store.jobs import PARTITIONS
from tests.builders import QUEUES, fired, job_document, own_vhost
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celery import Celery
    from pymongo.database import Database

    from dev.servers import Servers

Db: TypeAlias = "Database[dict[str, Any]]"

ALL_QUEUES = Queues(frozenset({*QUEUES.values(), "manual"}), QUEUES)


class BelievesAll(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset(range(PARTITIONS))


class HoldsNothing(Partitions):
    @property
    def held(self) -> frozenset[int]:
        return frozenset()


@pytest.fixture
def app(servers: Servers) -> Celery:
    return make_app(Settings(celery_broker_url=own_vhost(servers.rabbitmq)), ALL_QUEUES)


@pytest.fixture
def publisher(app: Celery) -> Iterator[Publisher]:
    made = Publisher(app, ALL_QUEUES)
    yield made
    made.close()


def make_relay(database: Db, publisher: Publisher, held: type[Partitions] = BelievesAll) -> Relay:
    sender = Sender(database, publisher, "beat")
    partitions = held(database, "beat", timedelta(seconds=60))
    return Relay(database, partitions, sender, publisher, sorted(ALL_QUEUES.names), "beat")


@pytest.fixture
def relay(database: Db, publisher: Publisher) -> Relay:
    return make_relay(database, publisher)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def put(database: Db, count: int = 1, prefix: str = "job", **changes: Any) -> list[str]:
    """Insert rows that are due and that nobody has sent."""
    rows = [
        fired(job_document(f"{prefix}-{n}"), ago(10)) | {"queue": "scraping", "send_at": ago(5)} | changes
        for n in range(count)
    ]
    database.executions.insert_many(rows)
    return [row["_id"] for row in rows]


def put_waiting(database: Db, count: int, **changes: Any) -> list[str]:
    """Insert rows whose messages were confirmed more than a minute ago."""
    waiting: dict[str, Any] = {"state": "QUEUED", "queued_at": ago(70), "sent": 1, "send_at": ago(-600)}
    return put(database, count, **(waiting | changes))


def states(database: Db, ids: list[str]) -> set[str]:
    return {row["state"] for row in database.executions.find({"_id": {"$in": ids}})}


def ready(publisher: Publisher, queue: str = "scraping") -> int:
    return publisher.ready_counts([queue])[queue]


def taken(app: Celery, queue: str = "scraping") -> list[Any]:
    with app.connection_for_write() as connection:
        messages, channel = [], cast("Any", connection.default_channel)
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            messages.append(message)
    return messages


def purge(app: Celery, queue: str = "scraping") -> None:
    with app.connection_for_write() as connection:
        cast("Any", connection.default_channel).queue_purge(queue)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "what was waited for did not come"
        sleep(0.02)


class TestSending:
    def test_what_was_handed_over_and_waits_for_longer_than_its_grace_is_sent_once(
        self, database: Db, relay: Relay, publisher: Publisher
    ) -> None:
        waiting, left = put(database, 3), put(database, 2, prefix="left")
        relay.hand_over(database.executions.find({"_id": {"$in": waiting}}))
        assert relay.run_once() == 2
        assert (states(database, waiting), states(database, left)) == ({"PENDING"}, {"QUEUED"})
        relay.start()
        wait_until(lambda: states(database, waiting) == {"QUEUED"})
        relay.stop(5)
        assert ready(publisher) == 5
        assert {row["sent"] for row in database.executions.find()} == {1}

    def test_what_was_confirmed_is_noted_later_and_not_sent_again_meanwhile(
        self, database: Db, relay: Relay, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.relay.QUIET", 1e9)
        monkeypatch.setattr("beat.relay.LATEST_NOTE", 1e9)
        sent = put(database, 3)
        claimed, *waiting = sent
        relay.hand_over(database.executions.find({"_id": {"$in": sent}}))
        relay.start()
        wait_until(lambda: len(relay._confirmed) > 0 and relay._handed_over.empty())
        assert states(database, sent) == {"PENDING"}
        assert relay._to_send(frozenset(range(PARTITIONS)), timedelta(0)) == []
        claim = executions.claim(claimed, "worker", "nonce", timedelta(seconds=60))
        assert database.executions.update_one(claim.filter, claim.update).modified_count
        relay.stop(30)
        assert (states(database, [claimed]), states(database, waiting)) == ({"RUNNING"}, {"QUEUED"})
        assert {row["sent"] for row in database.executions.find({"_id": {"$in": waiting}})} == {1}
        assert ready(publisher) == 3

    def test_what_was_confirmed_is_noted_in_time_however_much_there_is_to_send(
        self, database: Db, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.relay.QUIET", 1e9)
        monkeypatch.setattr("beat.relay.LATEST_NOTE", 0.0)
        sent = put(database, 3)
        relay.hand_over(database.executions.find({"_id": {"$in": sent}}))
        relay.start()
        wait_until(lambda: states(database, sent) == {"QUEUED"})
        relay.stop(5)

    def test_what_was_confirmed_is_noted_also_while_the_broker_is_away(
        self, database: Db, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(rows: Any) -> Any:
            relay.hand_over(rows)  # there is always more
            raise BrokerAway

        confirmed, waiting = put(database, 2), put(database, 1, prefix="waiting")
        monkeypatch.setattr("beat.relay.LATEST_NOTE", 0.0)
        relay._send_handed_over(list(database.executions.find({"_id": {"$in": confirmed}})))
        monkeypatch.setattr(relay._sender, "publish", away)
        relay.hand_over(database.executions.find({"_id": {"$in": waiting}}))
        relay.start()
        wait_until(lambda: states(database, confirmed) == {"QUEUED"})
        relay.stop(5)
        assert states(database, waiting) == {"PENDING"}

    def test_what_is_noted_after_it_was_read_is_not_sent_again(self, database: Db, relay: Relay) -> None:
        class NotedMeanwhile(set[str]):
            def __contains__(self, execution_id: object) -> bool:
                relay._mark(confirmed)
                return super().__contains__(execution_id)

        sent = put(database, 3)
        relay.hand_over(database.executions.find({"_id": {"$in": sent}}))
        relay._send_handed_over([relay._handed_over.get_nowait() for _ in sent])
        ((_, confirmed),) = relay._confirmed
        relay._their_turn_comes = NotedMeanwhile(relay._their_turn_comes)
        everywhere = frozenset(range(PARTITIONS))
        assert (relay._to_send(everywhere, timedelta(0)), states(database, sent)) == ([], {"QUEUED"})
        relay._forget_noted()
        assert not relay._their_turn_comes

    @pytest.mark.parametrize("error", [AutoReconnect("the store is away"), RuntimeError("a bug")])
    def test_what_could_not_be_noted_is_sent_again_and_noted_then(
        self, database: Db, relay: Relay, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def failing_once(rows: Any) -> None:
            if errors:
                raise errors.pop()
            mark(rows)

        errors, mark = [error], relay._sender.mark
        monkeypatch.setattr("beat.relay.LATEST_NOTE", 0.0)
        monkeypatch.setattr(relay._sender, "mark", failing_once)
        sent = put(database, 3)
        relay.hand_over(database.executions.find({"_id": {"$in": sent}}))
        relay.start()
        wait_until(lambda: states(database, sent) == {"QUEUED"})
        relay.stop(5)
        assert ready(publisher) == 6

    def test_items_that_are_given_slots_are_sent_at_once_and_count_for_no_lateness(
        self, database: Db, relay: Relay, publisher: Publisher
    ) -> None:
        def counted() -> float:
            return REGISTRY.get_sample_value("scheduler_beat_lateness_seconds_count") or 0.0

        ids, before = put(database, 2, trigger="PART"), counted()
        relay._send_handed_over(list(database.executions.find({"_id": {"$in": ids}}, parts.SLOT_FIELDS)))
        assert [row["_id"] for row in relay._confirmed[0].rows] == ids
        assert (ready(publisher), counted()) == (2, before)
        relay.hand_over(database.executions.find({"_id": {"$in": put(database, 1, prefix="fired")}}))
        relay._send_handed_over([relay._handed_over.get_nowait()])
        assert counted() == before + 1

    def test_what_is_due_and_was_not_sent_is_sent_once(self, database: Db, relay: Relay, publisher: Publisher) -> None:
        ids = put(database, 700)
        assert relay.run_once() == 700
        assert states(database, ids) == {"QUEUED"}
        assert relay.run_once() == 0
        assert ready(publisher) == 700

    @pytest.mark.parametrize(
        "changes",
        [
            {"send_at": datetime.now(UTC) + timedelta(days=1)},  # from when the tests were collected
            {"state": State.RUNNING.value, "send_at": None},
            {"state": State.SUCCEEDED.value, "send_at": None},
        ],
    )
    def test_what_waits_runs_or_has_ended_is_not_sent(
        self, database: Db, relay: Relay, changes: dict[str, Any]
    ) -> None:
        put(database, 1, **changes)
        assert relay.run_once() == 0

    def test_rows_of_partitions_that_others_hold_are_left_to_them(
        self, database: Db, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(database)
        monkeypatch.setattr("beat.relay.OVERDUE", timedelta(hours=1))
        assert make_relay(database, publisher, HoldsNothing).run_once() == 0

    def test_rows_that_their_partitions_holder_does_not_send_are_sent_by_the_others(
        self, database: Db, publisher: Publisher
    ) -> None:
        """It may be cut off from the broker, while it reaches the store and keeps its partitions."""
        put(database, 3, send_at=ago(OVERDUE.total_seconds() + 1))
        assert make_relay(database, publisher, HoldsNothing).run_once() == 3
        assert ready(publisher) == 3

    def test_rows_that_cannot_be_routed_do_not_starve_others(
        self, database: Db, relay: Relay, publisher: Publisher
    ) -> None:
        lost = put(database, 600, "lost", queue="nowhere", send_at=ago(60))
        good = put(database, 5)
        assert relay.run_once() == 5
        assert (states(database, good), states(database, lost)) == ({"QUEUED"}, {"PENDING"})
        assert relay.run_once() == 0, "they wait before they are tried again"
        assert ready(publisher) == 5

    @pytest.mark.parametrize(
        "damage",
        [
            {"priority": "high"},
            {"priority": 300},
            {"queue": "x" * 300},
            {"job_name": 7},
            {"attempt": None},
            {"state": "GONE"},
            {"state": None},
        ],
    )
    def test_a_row_that_no_message_can_be_made_of_keeps_no_other_from_being_sent(
        self, database: Db, relay: Relay, publisher: Publisher, damage: dict[str, Any]
    ) -> None:
        damaged = put(database, 1, "damaged", send_at=ago(60), **damage)
        good = put(database, 5)
        assert relay.run_once() == 5
        assert states(database, good) == {"QUEUED"}
        assert states(database, damaged) == {damage.get("state", "PENDING")}
        assert relay.run_once() == 0, "it waits before it is looked at again"
        assert ready(publisher) == 5

    @pytest.mark.parametrize(
        "damage",
        [
            {"transitions": "none"},
            {"transitions": {"at": 1}},
            {"transitions": None},
            {"sent": "often"},
            {"sent": True},
            {"sent": float("nan")},
        ],
        ids=str,
    )
    def test_a_row_whose_record_is_damaged_keeps_no_other_from_being_noted(
        self, database: Db, relay: Relay, publisher: Publisher, damage: dict[str, Any]
    ) -> None:
        put(database, 1, "damaged", send_at=ago(60), **damage)
        good = put(database, 5)
        assert relay.run_once() == 6
        assert states(database, good) == {"QUEUED"}
        assert relay.run_once() == 0
        assert ready(publisher) == 6

    def test_without_a_broker_rows_stay_as_they_are(self, database: Db) -> None:
        ids = put(database, 3)
        nowhere = make_app(Settings(celery_broker_url=f"amqp://guest:guest@127.0.0.1:{free_port()}//"), ALL_QUEUES)
        with pytest.raises(BrokerAway):
            make_relay(database, Publisher(nowhere, ALL_QUEUES)).run_once()
        assert states(database, ids) == {"PENDING"}


class TestLostMessages:
    def test_after_a_purge_every_execution_is_sent_again(
        self, database: Db, relay: Relay, publisher: Publisher, app: Celery
    ) -> None:
        ids = put(database, 50)
        relay.run_once()
        purge(app)
        relay.resend_lost()
        assert ready(publisher) == 0, "a message is not missing before it had a minute to be taken"
        database.executions.update_many({}, {"$set": {"queued_at": ago(61)}})
        relay.resend_lost()
        assert ready(publisher) == 0, "one reading may fall between a worker's taking a message and its claim"
        relay.resend_lost()
        assert sorted(m.properties["correlation_id"] for m in taken(app)) == sorted(ids)

    def test_only_as_many_as_are_missing_and_the_oldest_first(
        self, database: Db, relay: Relay, publisher: Publisher, app: Celery
    ) -> None:
        old = put_waiting(database, 3, queued_at=ago(300))
        put(database, 7, "young", state="QUEUED", queued_at=ago(100), sent=1, send_at=ago(-600))
        publisher.publish([Outgoing(f"in the queue {n}", "scraping", 5, "") for n in range(7)])
        relay.resend_lost()
        relay.resend_lost()
        sent = [m.properties["correlation_id"] for m in taken(app)]
        assert sorted(sent[7:]) == sorted(old)

    def test_a_long_backlog_is_not_filled_with_copies(self, database: Db, relay: Relay, publisher: Publisher) -> None:
        put(database, 30)
        relay.run_once()
        database.executions.update_many({}, {"$set": {"queued_at": ago(3600)}})
        for _ in range(4):
            relay.resend_lost()
        assert ready(publisher) == 30

    def test_a_message_that_stays_unanswered_is_sent_again_when_its_wait_is_over(
        self, database: Db, relay: Relay
    ) -> None:
        put_waiting(database, 5, send_at=ago(1))
        assert relay.run_once() == 5
        assert relay.run_once() == 0

    def test_only_the_holder_of_the_first_partition_looks(self, database: Db, publisher: Publisher) -> None:
        put_waiting(database, 3)
        relay = make_relay(database, publisher, HoldsNothing)
        relay.resend_lost()
        relay.resend_lost()
        assert ready(publisher) == 0

    def test_a_deleted_queue_is_declared_and_filled_again(
        self, database: Db, relay: Relay, publisher: Publisher, app: Celery
    ) -> None:
        put_waiting(database, 3)
        publisher.publish([])
        with app.connection_for_write() as connection:
            cast("Any", connection.default_channel).queue_delete("scraping")
        with pytest.raises(BrokerAway):
            relay.resend_lost()
        relay.resend_lost()
        relay.resend_lost()
        assert ready(publisher) == 3


class TestDeadLetters:
    def test_a_failure_for_good_arrives_once_with_what_people_need(
        self, database: Db, relay: Relay, app: Celery
    ) -> None:
        error = {"code": "NOT_FOUND", "message": "no such competitor: ünknown", "retryable": False}
        (execution_id,) = put(
            database,
            state="FAILED", dead_letter=True, error=error, attempt=3, finished_at=ago(1), send_at=None,
            parameters='{"competitor_ids": ["x"]}',
        )  # fmt: skip
        relay.run_once()
        relay.run_once()
        (letter,) = taken(app, DEAD_LETTER)
        assert letter.properties["application_headers"] == {
            "x-execution-id": execution_id,
            "x-job-id": "job-0",
            "x-attempts": "3",
            "x-error-code": "NOT_FOUND",
            "x-error-message": "no such competitor: ünknown",
        }
        body = json.loads(letter.body)
        assert (body["parameters"], body["target_method"]) == ({"competitor_ids": ["x"]}, "ScrapeCompetitorPrices")
        found = database.executions.find_one({"_id": execution_id})
        assert found is not None
        assert "dead_letter" not in found

    @pytest.mark.parametrize("damage", [{"$unset": {"parameters": ""}}, {"$set": {"parameters": "{"}}])
    def test_one_that_cannot_be_read_keeps_no_other_from_arriving_and_is_not_tried_for_ever(
        self, database: Db, relay: Relay, app: Celery, monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any]
    ) -> None:
        monkeypatch.setattr("beat.relay.DEAD_LETTER_BATCH", 1)
        failed: dict[str, Any] = {"state": "FAILED", "dead_letter": True, "attempt": 3, "send_at": None}
        damaged, good = put(database, 2, **failed)
        database.executions.update_one({"_id": damaged}, damage)
        for _ in range(2):
            relay.run_once()
        assert [letter.properties["correlation_id"] for letter in taken(app, DEAD_LETTER)] == [good]
        assert database.executions.count_documents({"dead_letter": True}) == 0


class TestThread:
    def test_what_is_handed_over_is_sent_before_it_ends(self, database: Db, relay: Relay, app: Celery) -> None:
        ids = put(database, 20, send_at=ago(-60))
        relay.hand_over(list(database.executions.find()))
        relay.start()
        relay.stop(20)
        assert states(database, ids) == {"QUEUED"}
        assert len(taken(app)) == 20

    def test_while_the_broker_is_slow_no_more_is_kept_than_fits(self, relay: Relay) -> None:
        """The rest is in the store, where the relay finds it."""
        row = fired(job_document(), ago(1))
        relay.hand_over(row for _ in range(MOST_WAITING + 100))
        assert relay._handed_over.qsize() == MOST_WAITING


def test_a_broker_that_is_killed_takes_nothing_with_it(database: Db, tmp_path: Path) -> None:
    """Killed amid a batch: what was confirmed is there after its restart, and the relay sends the rest."""
    broker = start_rabbitmq(tmp_path)
    app = make_app(Settings(celery_broker_url=broker.url), ALL_QUEUES)
    publisher, relay_publisher, counter = (Publisher(app, ALL_QUEUES) for _ in range(3))
    relay = make_relay(database, relay_publisher)
    try:
        ready(counter)
        ids = [f"uid.0.{n}" for n in range(20_000)]
        with ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(publisher.publish, [Outgoing(each, "manual", 5, "a job") for each in ids])
            wait_until(lambda: ready(counter, "manual") > 100)
            broker.kill()
            try:
                confirmed = publishing.result(timeout=30)
            except BrokerAway:
                confirmed = set()
        assert len(confirmed) < len(ids)
        with pytest.raises(BrokerAway):
            publisher.publish([Outgoing("away", "manual", 5, "a job")])
        relay.start()
        waiting = put(database, 10)
        relay.hand_over(list(database.executions.find()))
        broker.start()
        wait_until(lambda: states(database, waiting) == {"QUEUED"})
        assert confirmed <= {m.properties["correlation_id"] for m in taken(app, "manual")}
        assert set(waiting) == {m.properties["correlation_id"] for m in taken(app)}
        assert publisher.publish([Outgoing("back", "manual", 5, "a job")]) == {"back"}
    finally:
        relay.stop(10)
        for each in (publisher, counter):
            each.close()
        broker.kill()


def test_the_broker_is_not_said_to_be_back_by_a_relay_that_had_nothing_to_send(database: Db, servers: Servers) -> None:
    with Proxy() as proxy, capture_logs() as lines:
        link = proxy.link(servers.rabbitmq.port)
        url = own_vhost(servers.rabbitmq).replace(f":{servers.rabbitmq.port}/", f":{link.port}/")
        app = make_app(Settings(celery_broker_url=url), ALL_QUEUES)
        relay = make_relay(database, Publisher(app, ALL_QUEUES))

        def told() -> list[str]:
            return [line["action"] for line in lines]

        def look() -> None:
            """Wait for a look at which nothing is sent: it lets a row go that is held, and not due for long."""
            number = database.executions.count_documents({})
            put(database, prefix=f"held-{number}", held=True, due_at=ago(-86_400))
            wait_until(lambda: not database.executions.count_documents({"held": True}))

        link.cut()
        unsent = put(database)
        relay.start()
        try:
            wait_until(lambda: "broker_away" in told())
            database.executions.delete_one({"_id": unsent[0]})
            for _ in range(3):  # it has ended the second of them when the third one is over
                look()
            assert told() == ["broker_away"]
            link.heal()
            wait_until(lambda: told() == ["broker_away", "broker_back"])
        finally:
            relay.stop(20)


class TestWhenToLook:
    def test_it_looks_again_when_the_next_row_is_due(self, database: Db, relay: Relay) -> None:
        relay.run_once()
        assert relay.pause == INTERVAL
        put(database, send_at=ago(-0.5))
        relay.run_once()
        assert SHORTEST_PAUSE <= relay.pause <= 0.5

    def test_but_not_more_often_than_makes_sense(self, database: Db, relay: Relay) -> None:
        put(database)
        assert relay.run_once() == 1
        assert relay.pause == SHORTEST_PAUSE

    @pytest.mark.parametrize(("due_in", "pause"), [(0.4, 0.4), (0.0, INTERVAL), (-3.0, INTERVAL)])
    def test_what_is_handed_over_and_not_due_yet_hides_nothing_that_is_due_soon_after_it(
        self, relay: Relay, due_in: float, pause: float
    ) -> None:
        now = datetime.now(UTC)
        relay._their_turn_comes.add("handed over")
        first = {"_id": "handed over", "send_at": now + timedelta(seconds=due_in), "now": now}
        assert relay._until_due(first) == pytest.approx(pause)


class TestHeld:
    """Rows that wait, by their job's overlap policy, until others of it have ended."""

    def put(self, database: Db, overlap: str, *held: bool) -> list[str]:
        """Insert in-flight rows of one job, a second apart."""
        document = job_document("job-1", policies={"overlap": Overlap(overlap)})
        rows = [fired(document, ago(60 - number), held=each) for number, each in enumerate(held)]
        database.executions.insert_many(rows)
        return [row["_id"] for row in rows]

    def end(self, database: Db, execution_id: str) -> None:
        ended = {"$set": {"state": "SUCCEEDED"}, "$unset": {"open": "", "send_at": ""}}
        database.executions.update_one({"_id": execution_id}, ended)

    def held(self, database: Db) -> list[str]:
        return [row["_id"] for row in database.executions.find({"held": True}).sort("nominal_time", 1)]

    def test_what_is_held_is_not_sent_and_cannot_be_claimed(self, database: Db, relay: Relay) -> None:
        _, second = self.put(database, "BUFFER_ALL", False, True)
        relay.run_once()
        assert self.held(database) == [second]
        move = executions.claim(second, "worker", "nonce", timedelta(seconds=15))
        assert not database.executions.update_one(move.filter, move.update).modified_count

    def test_what_is_let_go_before_it_is_due_is_looked_for_at_once(self, database: Db, relay: Relay) -> None:
        (held,) = self.put(database, "BUFFER_ALL", True)
        database.executions.update_one({"_id": held}, {"$set": {"due_at": ago(-86_400)}})
        assert (relay.run_once(), self.held(database)) == (0, [])
        assert relay.pause == SHORTEST_PAUSE
        assert relay.run_once() == 0
        assert relay.pause == INTERVAL

    def test_it_is_sent_when_those_before_it_have_ended_one_after_another(
        self, database: Db, relay: Relay, publisher: Publisher
    ) -> None:
        first, second, third = self.put(database, "BUFFER_ALL", False, True, True)
        relay.run_once()
        self.end(database, first)
        relay.run_once()
        assert self.held(database) == [third]
        assert states(database, [second]) == {"QUEUED"}
        relay.run_once()
        assert self.held(database) == [third], "the second one has not ended"
        self.end(database, second)
        relay.run_once()
        assert self.held(database) == []
        assert ready(publisher) == 3

    def test_of_any_number_of_relays_none_lets_two_go_at_once(self, database: Db, relay: Relay) -> None:
        first, *_ = self.put(database, "BUFFER_ALL", False, *[True] * 20)
        self.end(database, first)
        with ThreadPoolExecutor(8) as threads:
            released = sum(threads.map(lambda _: relay.release_held(), range(32)))
        assert released == 1
        assert len(self.held(database)) == 19

    def test_a_thousand_jobs_that_wait_do_not_starve_the_last_one(
        self, database: Db, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beat.relay.BATCH", 10)
        for number in range(35):
            document = job_document(f"job-{number:02}", policies={"overlap": Overlap.BUFFER_ONE})
            database.executions.insert_one(fired(document, ago(60), held=number == 34))
            database.executions.insert_one(fired(document, ago(50), held=True))
        for _ in range(4):
            relay.release_held()
        assert database.executions.count_documents({"job_uid": "uid-job-34", "held": True}) == 1

    @pytest.mark.parametrize(
        "damage",
        [{"$unset": {field: ""}} for field in ("policies", "policies.overlap", "nominal_time")]
        + [{"$set": {"nominal_time": "soon"}}],
        ids=str,
    )
    def test_one_that_cannot_be_read_keeps_none_of_another_job_waiting(
        self, database: Db, relay: Relay, damage: dict[str, Any]
    ) -> None:
        damaged = job_document("job-0", policies={"overlap": Overlap.CANCEL_PREVIOUS})
        database.executions.insert_many([fired(damaged, ago(60)), fired(damaged, ago(50), held=True, due_at=ago(50))])
        database.executions.update_one({"held": True}, damage)
        first, second = self.put(database, "BUFFER_ALL", False, True)
        self.end(database, first)
        assert relay.release_held() == 1
        assert states(database, [second]) == {"PENDING"}
        assert second not in self.held(database)

    @pytest.mark.parametrize("damage", [{"$unset": {"nominal_time": ""}}, {"$set": {"nominal_time": "soon"}}])
    def test_one_in_flight_whose_time_cannot_be_read_is_named_once_and_keeps_none_waiting(
        self, database: Db, relay: Relay, damage: dict[str, Any]
    ) -> None:
        damaged, _, last = self.put(database, "BUFFER_ALL", False, True, True)
        database.executions.update_one({"_id": damaged}, damage)
        with capture_logs() as logs:
            for _ in range(3):
                relay.release_held()
        assert self.held(database) == [last]
        assert [(line["action"], line["execution_id"]) for line in logs] == [("held_unreadable", damaged)]

    @pytest.mark.parametrize("held", [False, True])
    def test_one_that_has_a_list_of_jobs_is_named_once_and_keeps_none_of_them_waiting(
        self, database: Db, relay: Relay, *, held: bool
    ) -> None:
        damaged, _, last = self.put(database, "BUFFER_ALL", held, True, True)
        uid = database.executions.find_one({"_id": damaged}, {"job_uid": 1})["job_uid"]  # type: ignore[index]
        database.executions.update_one({"_id": damaged}, {"$set": {"job_uid": [uid, "uid-other"]}})
        with capture_logs() as logs:
            for _ in range(3):
                relay.release_held()
        assert self.held(database) == ([damaged, last] if held else [last])
        assert [(line["action"], line["execution_id"]) for line in logs] == [("held_unreadable", damaged)]

    @pytest.mark.parametrize("uid", [["uid-job-9"], [0, "uid-job-9"], ["zz"], 7, None])
    def test_any_number_that_are_of_no_job_do_not_starve_the_others_and_are_named(
        self, database: Db, relay: Relay, monkeypatch: pytest.MonkeyPatch, uid: object
    ) -> None:
        monkeypatch.setattr("beat.relay.BATCH", 10)
        document = job_document("job-0", policies={"overlap": Overlap.BUFFER_ALL})
        damaged = [fired(document, ago(60 + n), held=True) | {"job_uid": uid} for n in range(35)]
        database.executions.insert_many(damaged)
        (first, second) = self.put(database, "BUFFER_ALL", False, True)
        self.end(database, first)
        assert "marked" in relay.look.found()
        with capture_logs() as logs:
            assert [relay.release_held() for _ in range(2)] == [1, 0]
        assert second not in self.held(database)
        assert {line["execution_id"] for line in logs} == {row["_id"] for row in damaged}
        assert len(logs) == len(damaged)
        assert "marked" in relay.look.found(), "they are named again in a while"

    def test_one_that_waits_and_whose_time_cannot_be_read_goes_when_the_others_have_ended(
        self, database: Db, relay: Relay
    ) -> None:
        first, damaged, third = self.put(database, "BUFFER_ALL", False, True, True)
        database.executions.update_one({"_id": damaged}, {"$unset": {"nominal_time": ""}})
        left = []
        for each in (first, third):
            self.end(database, each)
            relay.release_held()
            left.append(self.held(database))
        assert left == [[damaged], []]

    def test_what_replaces_others_has_them_cancelled(self, database: Db, relay: Relay) -> None:
        first, second, third = self.put(database, "CANCEL_PREVIOUS", False, True, True)
        relay.run_once()
        assert states(database, [first, second]) == {"CANCELLED"}
        relay.run_once()
        assert states(database, [third]) == {"QUEUED"}
