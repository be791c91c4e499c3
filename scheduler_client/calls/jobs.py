"""Calls about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from scheduler_client.call import Call, Pages, Stream, call, new_request_id, pages, watch
from scheduler_client.values import Span, duration
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE: Final = "SchedulerService"


class JobFields(TypedDict, total=False):
    """What a job has; see ScheduledJob in the API. What is left out has the service's default."""

    name: str
    description: str
    job_type: str
    """SCRAPING, ANALYSIS, MONITORING, MAINTENANCE or CUSTOM."""
    target: str
    """A name in the service's list of targets, or `task`."""
    method: str
    """Of the target, by its short name where that is unique; a task's name."""
    parameters: Mapping[str, Any]
    """The request of the method, as JSON has it."""
    schedule: pb.ScheduleConfig
    """By `cron`, `every` or `once`."""
    queue: str
    priority: int
    timeout: Span
    """Of one attempt."""
    retry_policy: pb.RetryPolicy
    policies: pb.Policies
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    fan_out: pb.FanOut
    workflow: pb.Workflow
    expires: Span


_NAMES: Final = {"target": "target_service", "method": "target_method", "schedule": "schedule_config"}
_SPANS: Final = {"timeout", "expires"}


def _messages(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields under the API's names, with the API's values."""
    unknown = fields.keys() - JobFields.__annotations__.keys()
    if unknown:
        raise TypeError(f"a job has no {', '.join(sorted(unknown))}; it has {', '.join(JobFields.__annotations__)}")
    return {
        _NAMES.get(name, name): duration(value) if name in _SPANS else value
        for name, value in fields.items()
        if value is not None
    }


def create_job(
    *, job_id: str = "", request_id: str = "", validate_only: bool = False, **fields: Unpack[JobFields]
) -> Call[pb.CreateScheduledJobResponse]:
    """Store a job; return its job_id, the job as stored, and warnings on what may surprise.

    job_id: made by the service if left out. validate_only: only check; nothing is stored.
    Raises InvalidInput with all violations, and AlreadyExists.
    """
    wanted = {"job_type": "CUSTOM"} | _messages(fields)
    request = pb.CreateScheduledJobRequest(job_id=job_id, request_id=request_id, validate_only=validate_only, **wanted)
    return create(request)


def create(request: pb.CreateScheduledJobRequest) -> Call[pb.CreateScheduledJobResponse]:
    """Store a job by a request that is made already, and is given a request_id if it has none; as create_job."""
    request.request_id = new_request_id(request.request_id)
    return call(f"{SERVICE}/CreateScheduledJob", request, pb.CreateScheduledJobResponse, lambda answer: answer)


def get_job(job_id: str, *, show_deleted: bool = False) -> Call[pb.ScheduledJob]:
    """Return a job; with show_deleted also a deleted one, else this is NotFound. Raises NotFound."""
    request = pb.GetScheduledJobRequest(job_id=job_id, show_deleted=show_deleted)
    return call(f"{SERVICE}/GetScheduledJob", request, pb.GetScheduledJobResponse, lambda answer: answer.job)


def jobs(
    filter: str = "",  # noqa: A002 - the API's name
    *,
    order_by: str = "",
    show_deleted: bool = False,
    page_size: int = 0,
) -> Pages[pb.ScheduledJob]:
    """Return the jobs one after another, the newest first, page by page as they are needed.

    filter: as `state = ACTIVE AND labels.team = "pricing"`.
    """
    request = pb.ListScheduledJobsRequest(
        filter=filter, order_by=order_by, show_deleted=show_deleted, page_size=page_size
    )
    return pages(f"{SERVICE}/ListScheduledJobs", request, pb.ListScheduledJobsResponse, lambda page: page.jobs)


def update_job(
    job_id: str,
    *,
    clear: Iterable[str] = (),
    etag: str = "",
    request_id: str = "",
    validate_only: bool = False,
    **fields: Unpack[JobFields],
) -> Call[pb.UpdateScheduledJobResponse]:
    """Change what is given, each as a whole; return the job as stored, and warnings.

    clear: fields that go back to their defaults. etag: of the job as it was read; Conflict is raised when somebody
    else has changed it since. Raises NotFound and InvalidInput too.
    """
    values = _messages(fields)
    cleared = [_NAMES.get(name, name) for name in clear]
    request = pb.UpdateScheduledJobRequest(
        job_id=job_id,
        job=pb.ScheduledJob(etag=etag, **values),
        update_mask=FieldMask(paths=[*values, *cleared]),
        request_id=request_id,
        validate_only=validate_only,
    )
    return update(request)


def update(request: pb.UpdateScheduledJobRequest) -> Call[pb.UpdateScheduledJobResponse]:
    """Change a job by a request that is made already, and is given a request_id if it has none; as update_job."""
    request.request_id = new_request_id(request.request_id)
    return call(f"{SERVICE}/UpdateScheduledJob", request, pb.UpdateScheduledJobResponse, lambda answer: answer)


def pause_job(
    job_id: str, *, reason: str = "", etag: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.ScheduledJob]:
    """Stop firing a job until it is resumed. Raises NotFound, and FailedPrecondition for one that is completed."""
    request = pb.PauseScheduledJobRequest(
        job_id=job_id, reason=reason, etag=etag, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(f"{SERVICE}/PauseScheduledJob", request, pb.PauseScheduledJobResponse, lambda answer: answer.job)


def resume_job(
    job_id: str, *, reason: str = "", etag: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.ScheduledJob]:
    """Fire a paused job again, from now on. Raises NotFound, and FailedPrecondition for one that is completed."""
    request = pb.ResumeScheduledJobRequest(
        job_id=job_id, reason=reason, etag=etag, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(f"{SERVICE}/ResumeScheduledJob", request, pb.ResumeScheduledJobResponse, lambda answer: answer.job)


def delete_job(
    job_id: str,
    *,
    reason: str = "",
    cancel_running: bool = False,
    etag: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.ScheduledJob]:
    """Delete a job, and cancel its executions that have not started. Its id stays taken. Raises NotFound."""
    request = pb.DeleteScheduledJobRequest(
        job_id=job_id,
        reason=reason,
        cancel_running=cancel_running,
        etag=etag,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(f"{SERVICE}/DeleteScheduledJob", request, pb.DeleteScheduledJobResponse, lambda answer: answer.job)


def undelete_job(
    job_id: str, *, reason: str = "", request_id: str = "", validate_only: bool = False
) -> Call[pb.ScheduledJob]:
    """Take back a deletion within 30 days. Raises NotFound."""
    request = pb.UndeleteScheduledJobRequest(
        job_id=job_id, reason=reason, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(f"{SERVICE}/UndeleteScheduledJob", request, pb.UndeleteScheduledJobResponse, lambda answer: answer.job)


def status(job_id: str) -> Call[pb.GetJobStatusResponse]:
    """Return a job, when it fires next, how it last went, and how often it went how. Raises NotFound."""
    request = pb.GetJobStatusRequest(job_id=job_id)
    return call(f"{SERVICE}/GetJobStatus", request, pb.GetJobStatusResponse, lambda answer: answer)


def create_jobs(
    requests: Iterable[pb.CreateScheduledJobRequest], *, request_id: str = "", validate_only: bool = False
) -> Call[list[pb.BatchResult]]:
    """Store up to 1,000 jobs, each by itself; return what became of each, in their order."""
    request = pb.BatchCreateScheduledJobsRequest(
        requests=requests, request_id=new_request_id(request_id), validate_only=validate_only
    )
    return call(
        f"{SERVICE}/BatchCreateScheduledJobs",
        request,
        pb.BatchCreateScheduledJobsResponse,
        lambda answer: list(answer.results),
    )


def pause_jobs(
    job_ids: Iterable[str] = (),
    *,
    filter: str = "",  # noqa: A002 - the API's name
    reason: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.BatchPauseScheduledJobsResponse]:
    """Pause the jobs that are named, or all that fit a filter; return what became of each."""
    request = pb.BatchPauseScheduledJobsRequest(
        job_ids=job_ids,
        filter=filter,
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(
        f"{SERVICE}/BatchPauseScheduledJobs", request, pb.BatchPauseScheduledJobsResponse, lambda answer: answer
    )


def resume_jobs(
    job_ids: Iterable[str] = (),
    *,
    filter: str = "",  # noqa: A002 - the API's name
    reason: str = "",
    request_id: str = "",
    validate_only: bool = False,
) -> Call[pb.BatchResumeScheduledJobsResponse]:
    """Resume the jobs that are named, or all that fit a filter; return what became of each."""
    request = pb.BatchResumeScheduledJobsRequest(
        job_ids=job_ids,
        filter=filter,
        reason=reason,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(
        f"{SERVICE}/BatchResumeScheduledJobs", request, pb.BatchResumeScheduledJobsResponse, lambda answer: answer
    )


def import_jobs(
    yaml: str, *, prune: bool = False, prune_filter: str = "", request_id: str = "", validate_only: bool = False
) -> Call[list[pb.ImportScheduledJobsResponse.Change]]:
    """Make the jobs be as a YAML document of the form of config/jobs.yaml says; return what was done, or would be.

    prune: delete those that fit prune_filter and are not in it. Raises InvalidInput unless all of it is valid.
    """
    request = pb.ImportScheduledJobsRequest(
        yaml=yaml,
        prune=prune,
        prune_filter=prune_filter,
        request_id=new_request_id(request_id),
        validate_only=validate_only,
    )
    return call(
        f"{SERVICE}/ImportScheduledJobs",
        request,
        pb.ImportScheduledJobsResponse,
        lambda answer: list(answer.changes),
    )


def export_jobs(filter: str = "") -> Pages[str]:  # noqa: A002 - the API's name
    """Return jobs as YAML documents that import_jobs takes."""
    request = pb.ExportScheduledJobsRequest(filter=filter)
    return pages(f"{SERVICE}/ExportScheduledJobs", request, pb.ExportScheduledJobsResponse, lambda page: [page.yaml])


def watch_jobs(
    *, job_id: str = "", labels: Mapping[str, str] | None = None, initial: bool = False, resume_token: str = ""
) -> Stream[pb.WatchJobsResponse]:
    """Return jobs as they change, without an end; after a break it goes on where it was.

    initial: begin with the jobs there are, which a break among them begins anew. resume_token: of a message, to go on
    after it. Raises OutOfRange when that is too old.
    """
    request = pb.WatchJobsRequest(job_id=job_id, labels=labels, initial=initial, resume_token=resume_token)
    return watch(
        f"{SERVICE}/WatchJobs", request, pb.WatchJobsResponse, lambda told: told.HasField("job"), lists=initial
    )
