"""Calls about executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler_client.call import WAIT_AT_A_TIME, Call, Pages, Stream, call, new_request_id, pages, watch
from scheduler_client.values import Span, duration
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE: Final = "SchedulerService"
MARGIN: Final = 5.0
"""Seconds that an answer which was waited for may take on its way."""


def run(
    job_id: str, *, queue: str = "", wait: Span | None = None, request_id: str = "", validate_only: bool = False
) -> Call[pb.Execution]:
    """Run a job once, now, whatever its schedule and state; return the execution. Raises NotFound.

    wait: return it when it has ended, or as it is after so long; at most an hour. `wait()` waits without a bound.
    request_id: give one to have the same execution however often it is asked for, also by other processes.
    validate_only: only check; nothing runs.
    """
    waits = duration(wait)
    request = pb.ExecuteJobRequest(
        job_id=job_id,
        queue=queue,
        wait=waits,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(
        f"{SERVICE}/ExecuteJobNow",
        request,
        pb.ExecuteJobResponse,
        lambda answer: answer.execution,
        timeout=None if waits is None else waits.ToTimedelta().total_seconds() + MARGIN,
    )


def get_execution(execution_id: str) -> Call[pb.Execution]:
    """Return an execution. Raises NotFound."""
    request = pb.GetExecutionRequest(execution_id=execution_id)
    return call(f"{SERVICE}/GetExecution", request, pb.GetExecutionResponse, lambda answer: answer.execution)


def executions(
    filter: str = "",  # noqa: A002 - the API's name
    *,
    job_id: str = "",
    states: Iterable[str] = (),
    include_decisions: bool = False,
    parent_execution_id: str = "",
    part_key: str = "",
    order_by: str = "",
    page_size: int = 0,
) -> Pages[pb.Execution]:
    """Return executions one after another, the newest nominal time first, page by page as they are needed.

    states: as "STATE_FAILED". include_decisions: also the decisions not to run.
    """
    request = pb.ListExecutionsRequest(
        filter=filter,
        job_id=job_id,
        states=states,
        include_decisions=include_decisions,
        parent_execution_id=parent_execution_id,
        part_key=part_key,
        order_by=order_by,
        page_size=page_size,
    )
    return pages(f"{SERVICE}/ListExecutions", request, pb.ListExecutionsResponse, lambda page: page.executions)


def cancel(
    execution: pb.Execution | str, *, reason: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.Execution]:
    """Stop an execution for good. Raises NotFound, and FailedPrecondition for one that has ended."""
    request = pb.CancelExecutionRequest(
        execution_id=_id(execution),
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/CancelExecution", request, pb.CancelExecutionResponse, lambda answer: answer.execution)


def retry(
    execution: pb.Execution | str,
    *,
    queue: str = "",
    from_start: bool = False,
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.Execution]:
    """Run what failed or was cancelled once more; return the new execution. Raises NotFound, FailedPrecondition."""
    request = pb.RetryExecutionRequest(
        execution_id=_id(execution),
        queue=queue,
        from_start=from_start,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/RetryExecution", request, pb.RetryExecutionResponse, lambda answer: answer.execution)


def wait(execution: pb.Execution | str, timeout: float | None = None) -> Call[pb.Execution]:
    """Return an execution when it has ended: SUCCEEDED, FAILED or CANCELLED.

    timeout: seconds, after which DeadlineExceeded is raised; the execution goes on. Without one it waits for as long
    as it takes, also while the server is restarted. Raises NotFound.
    """
    return call(
        f"{SERVICE}/WaitExecution",
        pb.WaitExecutionRequest(execution_id=_id(execution)),
        pb.WaitExecutionResponse,
        lambda answer: answer.execution,
        timeout=WAIT_AT_A_TIME if timeout is None else timeout,
        endless=timeout is None,
    )


def watch_executions(
    *,
    job_id: str = "",
    labels: Mapping[str, str] | None = None,
    execution_id: str = "",
    include_decisions: bool = False,
    include_parts: bool = False,
    resume_token: str = "",
) -> Stream[pb.WatchExecutionsResponse]:
    """Return the transitions of executions as they happen, without an end; after a break it goes on where it was.

    execution_id: of this one alone, until it has ended.
    Each message has the execution as it is, and those of its transitions that were not told before. resume_token: of a
    message, to go on after it. Raises OutOfRange when that is too old.
    """
    request = pb.WatchExecutionsRequest(
        job_id=job_id,
        labels=labels,
        execution_id=execution_id,
        include_decisions=include_decisions,
        include_parts=include_parts,
        resume_token=resume_token,
    )
    return watch(
        f"{SERVICE}/WatchExecutions",
        request,
        pb.WatchExecutionsResponse,
        lambda told: told.HasField("execution"),
        ends=bool(execution_id),
    )


def _id(execution: pb.Execution | str) -> str:
    return execution if isinstance(execution, str) else execution.execution_id
