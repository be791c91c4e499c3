"""A coroutine function run here and now: `apply()` gives what it returns, as of a plain function."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from shared.tasks.retry import autoretry

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from shared.tasks.task import LedgeredTask


def ended(task: LedgeredTask, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a task's coroutine to its end, and return or raise what comes of it; autoretry_for is heeded.

    Where a loop runs, which would wait for itself, it has a thread and a loop of its own; the caller blocks.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_heeding(task, coroutine))
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(context.run, asyncio.run, _heeding(task, coroutine)).result()


async def _heeding(task: LedgeredTask, coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except Exception as error:
        autoretry(task, error)
        raise
