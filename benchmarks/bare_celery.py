"""A Celery app that calls the target of a benchmark, as one would write it without us: the peer of benchmarks.running.

Its worker is `celery -A benchmarks.bare_celery worker`. Messages are acknowledged late, and one is fetched for each
slot, as ours are. Results are kept in Redis, where ours has a copy.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any, Final

import grpc
from celery import Celery
from google.protobuf.empty_pb2 import Empty

QUEUE: Final = "bare"
TARGET: Final = "BENCHMARK_TARGET"
"""The variable that has the target's address."""

app = Celery("bare", broker=os.environ.get("CELERY_BROKER_URL"), backend=os.environ.get("CELERY_RESULT_BACKEND"))
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@cache
def _channel() -> grpc.Channel:
    return grpc.insecure_channel(os.environ[TARGET])


@cache
def _method(path: str) -> Any:
    return _channel().unary_unary(
        path, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
    )


@app.task
def call(path: str) -> dict[str, Any]:
    """Call a method that takes and gives nothing."""
    _method(path)(Empty(), timeout=1800)
    return {}


@app.task
def started() -> float:
    """Return when the task started, by the monotonic clock."""
    return time.monotonic()
