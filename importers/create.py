"""Create jobs over gRPC; those that are there already stay as they are, so that an import can be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.protobuf import json_format

from importers.app import SourceError
from importers.form import form
from shared.proto import scheduler_service_pb2 as pb
from shared.proto.scheduler_service_pb2_grpc import SchedulerServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from importers.entries import Job

CONNECT_TIMEOUT: Final = 5.0
"""Seconds that a server may take to accept the connection."""
CALL_TIMEOUT: Final = 30.0

_UNANSWERED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""After these nobody knows what was done; it was not refused."""

DISABLED: Final = {"importers": "disabled"}
"""Annotates jobs that are created to be paused: to create and to pause are two calls, and there may be no second."""


def create(jobs: Iterable[Job], server: str, actor: str) -> Iterator[tuple[Job, str, bool]]:
    """Create the jobs one by one; return for each what became of it, and whether that is well.

    Raises SourceError when no server answers.
    """
    options = {"timeout": CALL_TIMEOUT, "metadata": (("x-actor", actor),)}
    with grpc.insecure_channel(server) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_TIMEOUT)
        except grpc.FutureTimeoutError:
            raise SourceError(f"no server answers at {server}") from None
        stub = SchedulerServiceStub(channel)
        for job in jobs:
            try:
                request = json_format.ParseDict(form(job.draft), pb.CreateScheduledJobRequest())
                became, well = _made(stub, request, options, paused=job.paused)
            except json_format.ParseError as error:
                yield job, f"refused: {' '.join(str(error).split())}", False
            except grpc.RpcError as error:
                call = cast("grpc.Call", error)
                if call.code() in _UNANSWERED:
                    raise SourceError(f"{server} went away: {call.details()}; run it again to go on") from error
                yield job, f"refused: {call.details()}", False
            else:
                yield job, became, well


def _made(
    stub: Any, request: pb.CreateScheduledJobRequest, options: Mapping[str, Any], *, paused: bool
) -> tuple[str, bool]:
    """Create a job, and pause it if it shall be; return what became of it, and whether that is well.

    One that is there already is paused where an import that broke off was to do it, and nobody has changed it since.
    """
    if paused:
        request.annotations.update(DISABLED)
    became, etag = "created", ""
    try:
        stub.CreateScheduledJob(request, **options)
    except grpc.RpcError as error:
        if cast("grpc.Call", error).code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        became = "is there already"
        there = stub.GetScheduledJob(pb.GetScheduledJobRequest(job_id=request.job_id, show_deleted=True), **options).job
        paused = paused and _is_to_be_paused(there)
        etag = there.etag
    if not paused:
        return became, True
    pause = pb.PauseScheduledJobRequest(job_id=request.job_id, reason="disabled where it comes from", etag=etag)
    try:
        stub.PauseScheduledJob(pause, **options)
    except grpc.RpcError as error:
        call = cast("grpc.Call", error)
        if call.code() in _UNANSWERED:
            raise
        if call.code() is grpc.StatusCode.ABORTED:  # somebody has changed it since it was read
            return became, True
        return f"{became}, but not paused: {call.details()}", False
    return f"{became}, and paused", True


def _is_to_be_paused(job: pb.ScheduledJob) -> bool:
    untouched = job.state == pb.ScheduledJob.STATE_ACTIVE and job.updated_at == job.created_at
    return untouched and DISABLED.items() <= dict(job.annotations).items()
