"""The least that a server can do for GetJobStatus and CreateScheduledJob, and less than that.

`echo`: grpc.aio on uvloop decodes the request, and encodes an answer that is always the same, as long as the real one.
`bare`: in between it does the same database operations on the same documents, by PyMongo's asynchronous client with
the same write concern: one read for the status (the job, its newest run and rows, and its roll-ups), two inserts for
a job (its entry in the history, then itself). It checks, limits, logs, counts and converts nothing.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from scheduler_service.jobs.counted import Counted
from scheduler_service.jobs.jobs import Jobs, runs_question
from shared.proto import scheduler_service_pb2 as pb
from shared.store import jobs
from shared.store.mongo import connect_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from google.protobuf.message import Message
    from pymongo.asynchronous.database import AsyncDatabase

SERVICE = "scheduler.v1.SchedulerService"
WINDOW = timedelta(days=30)


def serve(port: int, mongodb_url: str, answers: dict[str, bytes], *, with_database: bool) -> None:
    """Serve until SIGTERM. answers: of each method, as the real server has given it."""
    uvloop.run(_serve(port, mongodb_url, answers, with_database=with_database))


async def _serve(port: int, mongodb_url: str, answers: dict[str, bytes], *, with_database: bool) -> None:
    database = connect_async(mongodb_url)
    status = pb.GetJobStatusResponse.FromString(answers["GetJobStatus"])
    created = pb.CreateScheduledJobResponse.FromString(answers["CreateScheduledJob"])
    read = await _reading(database)
    write = await _writing(database, created.job_id)

    async def nothing(_request: Any) -> None:
        """Do as an echo does."""

    def answering(answer: Message, work: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[Message]]:
        async def answered(request: Any) -> Message:
            await work(request)
            return answer

        return answered

    handlers = {
        "GetJobStatus": handler(pb.GetJobStatusRequest, answering(status, read if with_database else nothing)),
        "CreateScheduledJob": handler(
            pb.CreateScheduledJobRequest, answering(created, write if with_database else nothing)
        ),
    }
    await serve_until_told(port, handlers)
    await database.client.close()


async def serve_until_told(port: int, handlers: Mapping[str, Any]) -> None:
    """Serve these methods of the scheduler's service until SIGTERM. handlers: by the method's name."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, dict(handlers))])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await server.stop(0)


def handler(kind: Any, answer: Callable[[Any], Awaitable[Message]]) -> Any:
    """Return what grpc.aio asks for a method; kind: the class of its requests."""

    async def handle(request: Any, _context: Any) -> Message:
        return await answer(request)

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=kind.FromString, response_serializer=lambda message: message.SerializeToString()
    )


async def _reading(database: AsyncDatabase[dict[str, Any]]) -> Callable[[Any], Awaitable[None]]:
    pieces, since = await Counted(database, Jobs(database).now).since(WINDOW)

    async def read(request: Any) -> None:
        collection, pipeline, options = runs_question(request.job_id, pieces, since)
        found = await database[collection].aggregate(pipeline, **options)
        await found.to_list()

    return read


async def _writing(database: AsyncDatabase[dict[str, Any]], job_id: str) -> Callable[[Any], Awaitable[None]]:
    job = await database[jobs.COLLECTION].find_one({"_id": job_id})
    revision = await database[jobs.REVISIONS].find_one({"_id": f"{job['uid']}.0"}) if job else None
    if job is None or revision is None:
        message = f"the job '{job_id}' is not stored"
        raise RuntimeError(message)
    uid, numbers = jobs.new_uid(), count()

    async def write(_request: Any) -> None:
        own = f"{uid}-{next(numbers)}"
        await database[jobs.REVISIONS].insert_one({**revision, "_id": f"{own}.0", "job_uid": own})
        await database[jobs.COLLECTION].insert_one({**job, "_id": f"job-{own}", "uid": own})

    return write
