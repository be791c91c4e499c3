# mypy: disable-error-code="untyped-decorator"
"""Tasks as users write them, for the tests of the workers that run them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import Any

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from worker.app import AsyncTask, current_execution
from worker.app import celery_app as _typed

celery_app: Any = _typed  # celery's stubs lack some of its options


@celery_app.task
def add(x: int, y: int = 1) -> int:
    return x + y


@celery_app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@celery_app.task
def read(path: str) -> int:
    return int(Path(path).read_text())


@celery_app.task
def note(given: Any, what: str) -> dict[str, str]:
    return {"about": f"{what} {given}"}


@celery_app.task(bind=True, base=AsyncTask)
async def describe(self: AsyncTask, label: str, when: datetime | None = None, *rest: int, **extra: bool) -> Any:
    """Answer what a task can know."""
    execution = current_execution()
    await asyncio.sleep(0)
    execution.log.info("described", label=label)
    return {
        "label": label,
        "when": when.year if when else None,
        "rest": list(rest),
        "extra": extra,
        "request": {
            "id": self.request.id,
            "retries": self.request.retries,
            "args": self.request.args,
            "hostname": self.request.hostname,
            "root_id": self.request.root_id,
            "parent_id": self.request.parent_id,
            "called_directly": self.request.called_directly,
            "is_eager": self.request.is_eager,
        },
        "execution": {
            "execution_id": execution.execution_id,
            "job_id": execution.job_id,
            "trigger": execution.trigger,
            "attempt": execution.attempt,
            "retries": execution.retries,
            "remaining": execution.remaining(),
            "cancelled": execution.cancelled,
        },
        "thread": threading.current_thread().name,
    }


@celery_app.task
async def meet(folder: str, number: int) -> int:
    """End when as many are in this together."""
    (Path(folder) / f"{os.getpid()}-{current_execution().execution_id}").touch()
    while len(found := os.listdir(folder)) < number:  # noqa: ASYNC110, PTH208 - of other calls, maybe processes
        await asyncio.sleep(0.5)
    return len({name.partition("-")[0] for name in found})


@celery_app.task(bind=True, max_retries=2)
async def again(self: AsyncTask, fail_times: int, countdown: float = 0.1) -> int:
    try:
        if self.request.retries < fail_times:
            raise ValueError(f"failed {self.request.retries + 1} times")  # noqa: TRY301
    except ValueError as error:
        raise self.retry(exc=error, countdown=countdown) from error
    return int(self.request.retries)


@celery_app.task(bind=True, autoretry_for=(KeyError,), dont_autoretry_for=(IndexError,), retry_backoff=1, max_retries=3)
async def auto(self: AsyncTask, fail_times: int, kind: str = "key") -> int:
    if self.request.retries < fail_times:
        raise {"key": KeyError, "index": IndexError, "other": ZeroDivisionError}[kind](kind)
    return int(self.request.retries)


@celery_app.task(bind=True, autoretry_for=(KeyError,), retry_kwargs={"countdown": 0, "max_retries": 1})
def auto_plain(self: AsyncTask, fail_times: int) -> int:
    if self.request.retries < fail_times:
        raise KeyError("plain")
    return int(self.request.retries)


@celery_app.task(bind=True)
def changed(self: AsyncTask, first: int, second: int = 0) -> list[int]:
    if not self.request.retries:
        raise self.retry(kwargs={"second": first + 1}, countdown=0)
    return [first, second]


@celery_app.task(throws=(LookupError,))
async def fail(kind: str) -> None:
    if kind == "ignore":
        raise Ignore("nothing to be done")
    if kind == "reject":
        raise Reject("no good", requeue=False)
    if kind == "requeue":
        raise Reject("not yet", requeue=True)
    if kind == "exit":
        raise SystemExit(3)
    if kind == "expected":
        raise LookupError("looked for")
    if kind == "name":
        raise ValueError("no such file: \udcff" + "x" * 10_000_000)
    if kind == "ignored name":
        raise Ignore("no such file: \udcff")
    raise ValueError(kind)


@celery_app.task
def returns(kind: str) -> Any:
    return {
        "object": object(),
        "nan": {"a": [1.0, float("nan")]},
        "key": {1: 2},
        "digits": 10**5000,
        "generator": (number for number in range(3)),
    }[kind]


@celery_app.task(bind=True)
def moved(self: AsyncTask, **options: Any) -> None:
    raise self.retry(countdown=0, **options)


@celery_app.task
def fills(bytes_of_json: int) -> str:
    return "x" * (bytes_of_json - 2)


@celery_app.task(ignore_result=True)
def unheard(folder: str) -> str:
    (Path(folder) / current_execution().execution_id).touch()
    return "nobody wants to know"


@celery_app.task(ignore_result=True)
def quiet(number: int) -> int:
    return number


@celery_app.task
async def wait_for_cancel(folder: str) -> None:
    """Wait for ever; leave a file when it begins and when it is cancelled."""
    name = Path(folder) / current_execution().execution_id
    name.touch()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        name.with_suffix(".cancelled").touch()
        raise


@celery_app.task
def ask_for_cancel(folder: str) -> None:
    name = Path(folder) / current_execution().execution_id
    name.touch()
    while not current_execution().cancelled:
        time.sleep(0.05)
    name.with_suffix(".cancelled").touch()
    raise RuntimeError("cancelled")


@celery_app.task(soft_time_limit=0.3, time_limit=30)
async def soft_async() -> str:
    try:
        await asyncio.Event().wait()
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "in time"
    return "never"


@celery_app.task(soft_time_limit=0.3, time_limit=30)
def soft_plain(catch: bool = True) -> str:
    try:
        while True:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        if not catch:
            raise
        return "in time"


@celery_app.task(time_limit=0.3)
async def hard_async() -> None:
    await asyncio.Event().wait()


@celery_app.task(time_limit=0.3)
def hard_plain() -> str:
    while not current_execution().cancelled:
        time.sleep(0.01)
    return "too late"


@celery_app.task(rate_limit="2/s")
def limited(folder: str) -> float:
    (Path(folder) / current_execution().execution_id).touch()
    return time.time()


@celery_app.task(rate_limit="12/m")
def slow_limited() -> None: ...


@celery_app.task
async def says(folder: str) -> None:
    execution = current_execution()
    execution.progress(1, 10, "begun")
    while not (Path(folder) / "go").exists():  # noqa: ASYNC110 - made by the test
        await asyncio.sleep(0.05)
    execution.progress(10, 10, "all done")


@celery_app.task(bind=True)
async def nested(self: AsyncTask, depth: int) -> int:
    """Call itself as a function."""
    return 1 + await self(depth - 1) if depth else 0


@celery_app.task
def outer() -> str:
    inner = add.delay(1)
    return str(inner.id)


@celery_app.task
def sleep(folder: str) -> None:
    (Path(folder) / current_execution().execution_id).touch()
    time.sleep(3600)
