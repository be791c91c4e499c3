"""Create jobs over gRPC; those that are there already stay as they are, so that an import can be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import grpc
from google.protobuf import json_format

from importers.app import SourceError
from importers.form import form
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importers.entries import Job

CONNECT_TIMEOUT: Final = 5.0
"""Seconds that a server may take to accept the connection."""
CALL_TIMEOUT: Final = 30.0


def create(jobs: Iterable[Job], server: str, actor: str) -> Iterator[tuple[Job, str, bool]]:
    """Create the jobs one by one; return for each what became of it, and whether that is well.

    Raises SourceError when no server answers.
    """
    metadata = (("x-actor", actor),)
    with grpc.insecure_channel(server) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT)
        except grpc.FutureTimeoutError:
            raise SourceError(f"no server answers at {server}") from None
        stub = SchedulerServiceStub(channel)
        for job in jobs:
            try:
                request = json_format.ParseDict(form(job.draft), pb.CreateScheduledJobRequest())
                stub.CreateScheduledJob(request, timeout=CALL_TIMEOUT, metadata=metadata)
                if job.paused:
                    paused = pb.PauseScheduledJobRequest(job_id=request.job_id, reason="disabled where it comes from")
                    stub.PauseScheduledJob(paused, timeout=CALL_TIMEOUT, metadata=metadata)
            except json_format.ParseError as error:
                yield job, f"refused: {' '.join(str(error).split())}", False
            except grpc.RpcError as error:
                call = cast("grpc.Call", error)
                if call.code() is grpc.StatusCode.ALREADY_EXISTS:
                    yield job, "is there already", True
                elif call.code() is grpc.StatusCode.UNAVAILABLE:
                    raise SourceError(f"{server} went away: {call.details()}; run it again to go on") from error
                else:
                    yield job, f"refused: {call.details()}", False
            else:
                yield job, "created, and paused" if job.paused else "created", True
