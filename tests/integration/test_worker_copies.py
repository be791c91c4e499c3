"""Copies of successes that no code waits for come to Redis soon, and together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult

from dev.run import ROOT
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.tasks.app import LedgeredCelery
from shared.tasks.results import ResultCopy
from worker import copies
from worker.copies import TOGETHER, Copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from dev.servers import Servers


@pytest.fixture
def app(servers: Servers) -> Iterator[Celery]:
    settings = Settings(celery_broker_url=servers.rabbitmq.url, celery_result_backend=servers.redis.url)
    with make_app(settings, load_queues(ROOT / "config"), LedgeredCelery) as made:
        yield made


@pytest.fixture
def taking(app: Celery) -> Iterator[Copies]:
    made = Copies(ResultCopy(app.backend))
    made.start()
    yield made
    made.stop()


def commands(app: Celery) -> int:
    """Return how many times Redis was told to keep copies."""
    backend: Any = app.backend
    stats = backend.client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def result(app: Celery, execution_id: str) -> Any:
    return AsyncResult(execution_id, app=app).result


def new_id() -> str:
    return f"copied-{uuid4().hex}"


def test_who_waits_for_it_is_told(app: Celery, taking: Copies) -> None:
    execution_id = new_id()
    assert taking.put(execution_id, {"price": 1})
    assert AsyncResult(execution_id, app=app).get(timeout=60) == {"price": 1}
    assert AsyncResult(execution_id, app=app).state == "SUCCESS"


def test_those_that_come_at_the_same_time_are_one_command_for_two_hundred(app: Celery) -> None:
    taking = Copies(ResultCopy(app.backend))
    taking.start()
    taking.put(new_id(), "the first, with which the script is loaded")
    taking.stop()
    before, executions = commands(app), [new_id() for _ in range(TOGETHER + 1)]
    taking = Copies(ResultCopy(app.backend))
    taking.start()
    assert all(taking.put(execution_id, number) for number, execution_id in enumerate(executions))
    taking.stop()
    assert [result(app, execution_id) for execution_id in executions] == list(range(TOGETHER + 1))
    assert commands(app) - before <= 3, "the last is behind the first two hundred; some may have gone before it came"


def test_what_waits_is_written_before_the_end_and_nothing_is_taken_before_and_after(app: Celery) -> None:
    early, waits, late = new_id(), new_id(), new_id()
    taking = Copies(ResultCopy(app.backend))
    assert not taking.put(early, 0)
    taking.start()
    assert taking.put(waits, 1)
    taking.stop()
    assert result(app, waits) == 1
    assert not taking.put(late, 2)


def test_more_than_is_good_to_hold_is_not_taken(taking: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "TOO_MUCH", 500)
    assert not taking.put(new_id(), "x" * 500)
    assert taking.put(new_id(), "x")


def test_a_redis_that_is_away_keeps_nobody_waiting_and_ends_nothing(servers: Servers) -> None:
    settings = Settings(celery_broker_url=servers.rabbitmq.url, celery_result_backend="redis://localhost:1/0")
    with make_app(settings, load_queues(ROOT / "config"), LedgeredCelery) as away:
        taking = Copies(ResultCopy(away.backend))
        taking.start()
        assert taking.put(new_id(), 1)
        assert taking.put(new_id(), 2)
        taking.stop()
    assert not taking.put(new_id(), 3)
