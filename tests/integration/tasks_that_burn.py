# mypy: disable-error-code="untyped-decorator"
"""Tasks that keep a core busy, do not end in time, or end their process, for the tests of the prefork pool."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from worker.app import AsyncTask, current_execution
from worker.app import celery_app as _typed

celery_app: Any = _typed  # celery's stubs lack some of its options


@celery_app.task(soft_time_limit=0.5, time_limit=60)
def save_what_there_is() -> list[bool]:
    """Count for ever, in Python alone, and return what there is when the soft limit says so."""
    count = 0
    try:
        while True:
            count += 1
    except SoftTimeLimitExceeded:
        return [count > 0, current_execution().cancelled]


class Prepares(celery_app.Task):  # type: ignore[misc]  # it is Any
    """Takes longer to get ready than the function has."""

    def before_start(self, *_: Any) -> None:
        time.sleep(1)


@celery_app.task(base=Prepares, soft_time_limit=0.5, time_limit=60)
def save_what_there_is_then() -> bool:
    try:
        time.sleep(3600)
    except SoftTimeLimitExceeded:
        return True
    raise AssertionError


@celery_app.task(soft_time_limit=0.5, time_limit=60)
def sleep_for_ever() -> None:
    time.sleep(3600)


@celery_app.task(soft_time_limit=0.5, time_limit=1)
def end_never(folder: str) -> None:
    """Hear of no limit: neither by a signal, nor by an exception."""
    (Path(folder) / str(os.getpid())).touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    while True:
        try:
            time.sleep(3600)
        except BaseException:  # noqa: BLE001 - as such tasks do
            continue


@celery_app.task(soft_time_limit=0.3, time_limit=30)
async def wait_softly() -> str:
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        return "ended by itself"
    raise AssertionError


@celery_app.task(time_limit=0.3)
async def wait_for_ever() -> None:
    await asyncio.Event().wait()


@celery_app.task(bind=True)
def die(self: AsyncTask, folder: str, times: int) -> int:
    """Be killed as by the kernel when there is no memory left, so many times; then return how often that was."""
    marks = Path(folder)
    before = len(list(marks.iterdir()))
    if before < times:
        (marks / f"{self.request.id}-{before}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return before


@celery_app.task
def which_process() -> int:
    return os.getpid()


@celery_app.task
async def which_process_waited() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@celery_app.task
def burn(folder: str) -> None:
    """Keep a core busy for ever, whatever is asked of it."""
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass


@celery_app.task
async def wait_for_cancel(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    await asyncio.Event().wait()
