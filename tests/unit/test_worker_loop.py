"""The loop of coroutines: the caller's context, soft and hard limits, and cancels, where the coroutine waits."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from worker.loop import TaskLoop
from worker.target import Cancellation

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.fixture(scope="module")
def loop() -> TaskLoop:
    return TaskLoop()


def run(loop: TaskLoop, coroutine: Any, soft: float | None = None, hard: float = 30, cancelled: Any = None) -> Any:
    return loop.run(coroutine, soft, hard, cancelled or Cancellation())


def test_it_runs_in_the_context_of_the_caller_in_one_thread(loop: TaskLoop):
    async def look() -> tuple[str, str]:
        await asyncio.sleep(0)
        return colour.get(), threading.current_thread().name

    token = colour.set("blue")
    assert run(loop, look()).value == ("blue", "tasks")
    colour.reset(token)
    assert run(loop, look()).value == ("none", "tasks")


def test_errors_are_the_callers_even_those_that_end_loops(loop: TaskLoop):
    async def fail(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt()):
        assert run(loop, fail(error)).error is error
    assert run(loop, asyncio.sleep(0, "still there")).value == "still there"


def test_a_soft_limit_can_be_caught_and_the_coroutine_goes_on(loop: TaskLoop):
    async def careful() -> tuple[str, int]:
        try:
            await asyncio.Event().wait()
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0.01)
        task = asyncio.current_task()
        assert task is not None
        return "tidied up", task.cancelling()

    assert run(loop, careful(), soft=0.02).value == ("tidied up", 0)


def test_a_soft_limit_reaches_through_groups_and_timeouts(loop: TaskLoop):
    async def nested() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            await asyncio.sleep(60)

    error = run(loop, nested(), soft=0.02).error
    assert isinstance(error, BaseExceptionGroup | SoftTimeLimitExceeded)
    assert "SoftTimeLimitExceeded" in repr(error)


def test_a_hard_limit_cancels_whatever_is_made_of_it(loop: TaskLoop):
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "too late"
        return "never"

    ended = run(loop, stubborn(), hard=0.02)
    assert (ended.value, ended.overran) == ("too late", True)
    ended = run(loop, asyncio.Event().wait(), hard=0.02)
    assert isinstance(ended.error, asyncio.CancelledError)
    assert ended.overran


def test_a_cancel_reaches_it_before_and_while_it_runs(loop: TaskLoop):
    cancelled = Cancellation()
    cancelled.cancel("before it began")
    assert isinstance(run(loop, asyncio.Event().wait(), cancelled=cancelled).error, asyncio.CancelledError)

    cancelled = Cancellation()

    async def cancel_me() -> None:
        threading.Thread(target=cancelled.cancel, args=("while it runs",)).start()
        await asyncio.Event().wait()

    ended = run(loop, cancel_me(), cancelled=cancelled)
    assert isinstance(ended.error, asyncio.CancelledError)
    assert not ended.overran
