"""Copies of successes that no code waits for come to Redis soon, and together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from structlog.testing import capture_logs

from dev.run import ROOT
from shared.messaging.app import make_app
from shared.messaging.queues import load_queues
from shared.settings import Settings
from shared.tasks.app import LedgeredCelery
from shared.tasks.results import ResultCopy
from tests.acceptance.system import wait_until
from worker import copies
from worker.copies import TOGETHER, Copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def result(app: Celery, execution_id: str) -> Any:
    return AsyncResult(execution_id, app=app).result


def new_id() -> str:
    return f"copied-{uuid4().hex}"


def test_who_waits_for_it_is_told(app: Celery, taking: Copies) -> None:
    execution_id = new_id()
    assert taking.put(execution_id, {"price": 1})
    assert AsyncResult(execution_id, app=app).get(timeout=60) == {"price": 1}
    assert AsyncResult(execution_id, app=app).state == "SUCCESS"


class Recording(ResultCopy):
    """Keeps how many copies each command has."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self.sizes: list[int] = []

    def write_together(self, copies: Sequence[tuple[Any, str]]) -> bool:
        self.sizes.append(len(copies))
        return super().write_together(copies)


def test_those_that_come_at_the_same_time_are_one_command_for_two_hundred(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "GATHERING", 3600)
    results, executions = Recording(app.backend), [new_id() for _ in range(TOGETHER + 1)]
    taking = Copies(results)
    taking.start()
    assert all(taking.put(execution_id, number) for number, execution_id in enumerate(executions))
    taking.stop()
    assert results.sizes == [TOGETHER, 1]
    assert [result(app, execution_id) for execution_id in executions] == list(range(TOGETHER + 1))


def test_much_does_not_wait_for_company(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "GATHERING", 3600)
    monkeypatch.setattr(copies, "ENOUGH", 500)
    taking, large = Copies(ResultCopy(app.backend)), new_id()
    taking.start()
    assert taking.put(large, "x" * 500)
    assert AsyncResult(large, app=app).get(timeout=60) == "x" * 500
    taking.stop()


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


def test_a_redis_that_is_away_ends_nothing(servers: Servers) -> None:
    settings = Settings(celery_broker_url=servers.rabbitmq.url, celery_result_backend="redis://localhost:1/0")
    with capture_logs() as lines, make_app(settings, load_queues(ROOT / "config"), LedgeredCelery) as away:
        taking = Copies(ResultCopy(away.backend))
        taking.start()
        assert taking.put(new_id(), 1)
        wait_until(lambda: [line for line in lines if line["action"] == "results_away"], "it was said")
        assert taking.put(new_id(), 2)
        taking.stop()


class Failing(ResultCopy):
    """Makes a mistake."""

    def write_together(self, copies: Sequence[tuple[Any, str]]) -> bool:
        raise ZeroDivisionError(len(copies))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_a_mistake_takes_nothing_any_more(app: Celery) -> None:
    taking = Copies(Failing(app.backend))
    taking.start()
    assert taking.put(new_id(), 1)
    wait_until(lambda: not taking.put(new_id(), 2), "nothing is taken")
