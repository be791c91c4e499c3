"""How long an attempt of a task may take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shared.tasks.limits import limits, limits_of_message


@pytest.mark.parametrize(
    ("task", "timeout", "given", "hard", "soft", "which"),
    [
        (None, 30, (None, None), 30, None, "its timeout of 30 s"),
        (SimpleNamespace(time_limit=None, soft_time_limit=None), 30, (None, None), 30, None, "its timeout of 30 s"),
        (SimpleNamespace(time_limit=20, soft_time_limit=10), 30, (None, None), 20, 10, "its time_limit of 20 s"),
        (SimpleNamespace(time_limit=20, soft_time_limit=10), 30, (5, 4), 5, 4, "its time_limit of 5 s"),
        (SimpleNamespace(time_limit=20, soft_time_limit=10), 30, (25, None), 25, 10, "its time_limit of 25 s"),
        (SimpleNamespace(time_limit=20, soft_time_limit=10), 2.5, (None, None), 2.5, 10, "its timeout of 2.5 s"),
    ],
)
def test_the_caller_says_it_else_the_task_and_no_attempt_takes_longer_than_its_timeout(
    task: Any, timeout: float, given: tuple[float | None, float | None], hard: float, soft: float | None, which: str
) -> None:
    found = limits(task, timeout, *given)
    assert (found.hard, found.soft, found.which) == (hard, soft, which)


def test_a_message_carries_the_limits_of_a_task_and_none_for_a_target() -> None:
    tasks = {"app.count": SimpleNamespace(time_limit=20, soft_time_limit=10)}
    row = {"target_service": "task", "target_method": "app.count", "timeout": 30.0}
    assert limits_of_message(row, tasks) == (20, 10)
    assert limits_of_message({**row, "time_limit": 5, "soft_time_limit": 4}, tasks) == (5, 4)
    assert limits_of_message({**row, "target_method": "app.not_known_here"}, tasks) == (30, None)
    assert limits_of_message({**row, "target_service": "shop-service"}, tasks) == (None, None)
