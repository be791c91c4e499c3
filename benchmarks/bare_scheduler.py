"""The least that a durable run by hand can be: the limit of ExecuteJobNow in benchmarks.running.

A grpc.aio server on uvloop, and a task of Celery's. The server reads the job, sends a message, inserts the row
meanwhile, and answers; the worker that has the message claims the row, and calls the target. The documents, the
indexes, the updates and the write concern are the real ones: what was answered can't be lost, and what was called can't
be called by another. It checks, limits, logs, confirms, counts, renews and finishes nothing, and looks neither for a
deletion of the job nor whether a row is due.

Asked for no job, it keeps nothing at all: the server sends a message, and the worker calls. These are the ways that a
run by hand has to go whatever is kept of it: client, server, broker, worker, target.

`python -m benchmarks.bare_scheduler` serves on BARE_PORT; the worker is that of benchmarks.bare_celery, with
`--include benchmarks.bare_scheduler`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import uvloop
from pymongo import ReturnDocument
from ulid import ULID

from benchmarks import bare_celery
from benchmarks.serving_bare import handler, serve_until_told
from benchmarks.timed_target import AT_ONCE, SERVICE
from shared.proto import scheduler_service_pb2 as pb
from shared.store import executions, jobs
from shared.store.mongo import connect, connect_async

if TYPE_CHECKING:
    from pymongo.collection import Collection

PORT: Final = "BARE_PORT"
"""The variable that has the server's port."""
PATIENCE: Final = 1.0
"""Seconds that a message may be ahead of its row."""
LEASE: Final = timedelta(seconds=60)


async def _serve() -> None:
    database = connect_async(os.environ["MONGODB_URL"])
    with bare_celery.app.producer_pool.acquire(block=True) as producer:

        async def execute(request: pb.ExecuteJobRequest) -> pb.ExecuteJobResponse:
            if not request.job_id:
                bare_celery.call.apply_async((f"/{SERVICE}/{AT_ONCE}",), producer=producer, ignore_result=True)
                return pb.ExecuteJobResponse()
            job = await database[jobs.COLLECTION].find_one({"_id": request.job_id})
            if job is None:
                message = f"the job '{request.job_id}' is not stored"
                raise LookupError(message)
            now = datetime.now(UTC)
            row = executions.manual_document(job, str(ULID()), bare_celery.QUEUE, "", now, "benchmark")
            run.apply_async((row["_id"],), producer=producer)
            await database[executions.COLLECTION].insert_one(row)
            return pb.ExecuteJobResponse(execution_id=row["_id"])

        await serve_until_told(int(os.environ[PORT]), {"ExecuteJobNow": handler(pb.ExecuteJobRequest, execute)})
    await database.client.close()


@cache
def _rows() -> Collection[dict[str, Any]]:
    return connect(os.environ["MONGODB_URL"])[executions.COLLECTION]


@bare_celery.app.task(name="bare.run", ignore_result=True)  # the module that serves is __main__
def run(execution_id: str) -> None:
    """Claim a row, which may come after its message, and call; then remove it, since nobody else would end it."""
    nonce = uuid4().hex
    move = executions.claim(execution_id, "bare", nonce, LEASE)
    row, until = None, monotonic() + PATIENCE
    while row is None and monotonic() < until:
        row = _rows().find_one_and_update(move.filter, move.update, return_document=ReturnDocument.AFTER)
    if row is not None and executions.is_held(row, (nonce,)):
        bare_celery.call(f"/{SERVICE}/{AT_ONCE}")
    _rows().delete_one({"_id": execution_id})


if __name__ == "__main__":
    uvloop.run(_serve())
