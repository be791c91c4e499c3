"""Retries of tasks: when they are due, which exceptions ask for one, how long it waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared.domain.errors import InvalidInput
from shared.tasks.options import read_options
from shared.tasks.retry import Again, AskedAgain, autoretry, due_of

QUEUES = frozenset({"default_queue", "custom"})


class Task:
    """The options of a task, and what it was asked for."""

    def __init__(self, retries: int = 0, **options: Any) -> None:
        self.request = SimpleNamespace(retries=retries)
        self.asked: dict[str, Any] = {}
        vars(self).update(options)

    def retry(self, **asked: Any) -> AskedAgain:
        self.asked = asked
        return AskedAgain(Again(timedelta(seconds=asked.get("countdown", 180))), asked["exc"])


def asked(task: Task, error: Exception) -> dict[str, Any] | None:
    try:
        autoretry(task, error)  # type: ignore[arg-type]
    except AskedAgain:
        return task.asked
    return None


def test_only_exceptions_that_the_options_name_ask_for_a_retry():
    task = Task(autoretry_for=(LookupError,), dont_autoretry_for=(IndexError,), retry_kwargs={"max_retries": 5})
    error = KeyError("x")
    assert asked(task, error) == {"exc": error, "max_retries": 5}
    assert asked(task, IndexError()) is None
    assert asked(task, ValueError()) is None
    assert asked(Task(), ValueError()) is None


@pytest.mark.parametrize(("retries", "wait"), [(0, 3), (1, 6), (2, 12), (5, 60)])
def test_the_backoff_doubles_up_to_its_longest(retries: int, wait: int):
    task = Task(retries, autoretry_for=(Exception,), retry_backoff=3, retry_backoff_max=60, retry_jitter=False)
    given = asked(task, ValueError())
    assert given is not None
    assert given["countdown"] == wait


def test_the_jitter_is_anything_up_to_the_backoff():
    task = Task(3, autoretry_for=(Exception,), retry_backoff=True)
    waits = set()
    for _ in range(200):
        given = asked(task, ValueError())
        assert given is not None
        waits.add(given["countdown"])
    assert waits <= set(range(9))
    assert len(waits) > 3


def test_a_retry_is_due_after_a_span_or_at_an_instant():
    assert due_of(60, None) == timedelta(seconds=60)
    assert due_of(-5, None) == timedelta(0)
    assert due_of(None, datetime(2026, 3, 1, 12)) == datetime(2026, 3, 1, 12, tzinfo=UTC)  # noqa: DTZ001
    for wrong in ("soon", float("nan"), 1e300, 400 * 86400):
        with pytest.raises(ValueError, match="countdown"):
            due_of(wrong, None)  # type: ignore[arg-type]


def test_options_are_read_as_celery_means_them():
    options = read_options(
        {"countdown": 5, "expires": 60, "queue": "custom", "priority": 9, "time_limit": 10, "retry": True}, QUEUES
    )
    assert options.due == timedelta(seconds=5)
    assert options.expires == timedelta(seconds=60)
    assert (options.queue, options.priority, options.time_limit) == ("custom", 9, 10)


def test_all_that_is_wrong_with_options_is_said_at_once():
    with pytest.raises(InvalidInput) as refused:
        read_options(
            {"exchange": "x", "queue": "no", "priority": "high", "time_limit": 0, "serializer": "pickle", "eta": 3},
            QUEUES,
        )
    assert [violation.field for violation in refused.value.violations] == [
        "exchange", "priority", "time_limit", "serializer", "queue", "",
    ]  # fmt: skip
