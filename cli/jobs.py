"""`schedctl jobs`: what is defined, and what people do with it."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from rich.text import Text

from cli.arguments import (
    LARGEST,
    FileOption,
    FilterOption,
    JobArgument,
    JobOption,
    JobsArgument,
    LabelsOption,
    LimitOption,
    ReasonOption,
    SomeJobsArgument,
    ValidateOption,
    YesOption,
    labels_of,
    page_for,
)
from cli.documents import FIELDS, DocumentError, create_request, read_file, read_jobs, write_request
from cli.editing import edited, kept
from cli.executions import ENDED, EXECUTIONS, follow_to_the_end, state_of
from cli.exits import Exit, exit_of_code
from cli.form import ask_for
from cli.job_options import JOB_OPTIONS, JobOptions
from cli.output import View, by_the_clock, counted, labels, plain, sentences, shortened, span, state, time, time_of
from cli.schedules import in_words, show_preview, warn_when_far
from cli.session import Session, command, fail, group, on_terminal
from cli.times import span as read_span
from scheduler_client import DeadlineExceeded, SchedulerError, to_dict
from scheduler_client.calls.jobs import create as create_call
from scheduler_client.calls.jobs import update as update_call
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cli.output import Cell

app = group("List, create, change and run jobs.")

JOBS: Final = View[pb.ScheduledJob](
    name=lambda job: job.job_id,
    columns={
        "job": lambda job: plain(job.job_id),
        "state": lambda job: state(pb.ScheduledJob.State.Name(job.state)),
        "schedule": lambda job: shortened(in_words(job.schedule_config), 50),
        "target": lambda job: shortened(target(job), 60),
        "queue": lambda job: plain(job.queue),
        "labels": lambda job: shortened(labels(job.labels), 40),
        "name": lambda job: shortened(job.name, 40),
    },
)


def target(job: pb.ScheduledJob) -> str:
    """Return what a job calls."""
    if job.HasField("workflow"):
        return f"workflow of {counted(len(job.workflow.steps), 'step')}"
    return f"{job.target_service} {job.target_method}"


@command(app, "list")
def list_(
    session: Session,
    filter_: FilterOption = "",
    order_by: Annotated[str, typer.Option(help="As name, 'created_at desc', next_fire_time.")] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    limit: LimitOption = 100,
) -> None:
    """Show jobs, the newest first."""
    jobs = session.scheduler.jobs(filter_, order_by=order_by, show_deleted=deleted, page_size=page_for(limit))
    session.out.first(limit, jobs, JOBS, none="no jobs")


@command(app)
def get(session: Session, job_id: JobArgument) -> None:
    """Show a job, its next fires, and how it went of late."""
    found = session.scheduler.status(job_id)
    session.out.one(found.job, job_id, _facts(found))


def _facts(found: pb.GetJobStatusResponse) -> Iterator[tuple[str, Cell]]:
    job = found.job
    yield "job", plain(job.job_id)
    yield "name", plain(job.name)
    yield "description", plain(job.description)
    yield "state", state(pb.ScheduledJob.State.Name(job.state))
    yield "because", plain(job.status_message)
    schedule = job.schedule_config
    yield "schedule", in_words(schedule)
    yield "put off by up to", span(schedule.jitter) if schedule.HasField("jitter") else ""
    yield "ends after", counted(schedule.max_runs, "run") if schedule.max_runs else ""
    yield "not on holidays of", plain(", ".join(schedule.exclusions.holidays))
    zone = schedule.timezone
    yield "fires next", "\n".join(by_the_clock(at, zone) for at in found.next_fire_times)
    yield "skipped or moved", "\n".join(_changed(change, zone) for change in found.occurrence_changes)
    yield "target", plain(target(job))
    yield "parameters", plain(json.dumps(to_dict(job.parameters), ensure_ascii=False))
    yield "drift", sentences(job.drift)
    yield "queue", plain(job.queue)
    yield "timeout", span(job.timeout)
    yield "attempts", str(job.retry_policy.max_attempts or "")
    yield "expires", span(job.expires) if job.HasField("expires") else ""
    yield "priority", str(job.priority or "")
    yield from _policies(job.policies)
    yield "labels", labels(job.labels)
    yield "created", f"{time(job.created_at)} by {plain(job.created_by)}"
    yield "updated", f"{time(job.updated_at)} by {plain(job.updated_by)}"
    yield "managed by", plain(job.managed_by)
    if found.HasField("last_execution"):
        last = found.last_execution
        yield "last run", f"{time(last.nominal_time)} {pb.Execution.State.Name(last.state).removeprefix('STATE_')}"
        yield "", plain(last.error.message)
    counts = ", ".join(f"{number:,} {plain(name)}" for name, number in sorted(found.counts.items()))
    yield f"last {found.window.ToTimedelta().days} days", counts


def _policies(policies: pb.Policies) -> Iterator[tuple[str, Cell]]:
    late, overlap = policies.misfire, policies.overlap
    most = f", at most {policies.misfire_limit:,}" if late == pb.Policies.MISFIRE_FIRE_ALL else ""
    yield f"late by {span(policies.misfire_grace)}", _short(pb.Policies.Misfire.Name(late)) + most
    limits = {
        pb.Policies.OVERLAP_BUFFER_ALL: f", at most {policies.buffer_limit:,}",
        pb.Policies.OVERLAP_ALLOW: f", at most {policies.max_concurrent:,}",
    }
    yield "while one runs", _short(pb.Policies.Overlap.Name(overlap)) + limits.get(overlap, "")
    if policies.on_worker_lost == pb.Policies.WORKER_LOST_FAIL:
        yield "worker lost", "fail"
    if policies.pause_on_failure:
        yield "paused after", f"{counted(policies.pause_on_failure, 'failure')} in a row"
    if policies.delete_after_done:
        yield "deleted", "when its last execution has ended"


def _short(name: str) -> str:
    """Return an enum's value as the options take it: MISFIRE_FIRE_LATEST is fire_latest."""
    return name.partition("_")[2].lower()


def _changed(change: pb.OccurrenceChange, zone: str) -> str:
    """Return what becomes of an occurrence that was skipped or moved, by whom and why."""
    new = f"runs at {by_the_clock(change.new_time, zone)}" if change.HasField("new_time") else "is left out"
    asked = f", by {plain(change.by)}" if change.by else ""
    because = f": {plain(change.reason)}" if change.reason else ""
    return f"{by_the_clock(change.nominal_time, zone)} {new}{asked}{because}"


def _clearable(text: str) -> str:
    name = text.replace("-", "_")
    if name not in FIELDS:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(FIELDS)}")
    return name


@command(app)
def create(
    session: Session,
    options: JobOptions,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="Made by the server if left out.")] = "",
    file: FileOption = None,
    validate_only: ValidateOption = False,
    yes: YesOption = False,
) -> None:
    """Create a job: by options, from a file, or by a form.

    Workflows, fan-outs, calendars, and whatever else has no option here, are written in a file; options given beside
    it go before what it says. Of a file with several jobs each is created or refused by itself. On a terminal, what is
    required and was not given is asked for, and the next fires are shown before it is saved.
    """
    request = pb.CreateScheduledJobRequest()
    if file is not None:
        documents = _requests(file)
        if len(documents) > 1:
            if job_id or options.say_anything:
                fail("the file holds several jobs, and options say something of one; write it into the file")
            _create_all(session, documents, validate_only=validate_only)
            return
        (request,) = documents
    options.put(request)
    request.job_id = job_id or request.job_id
    asked = file is None and on_terminal() and not yes and ask_for(session, request)
    request.job_type = request.job_type or pb.CUSTOM
    request.validate_only = validate_only
    session.options = JOB_OPTIONS if file is None else {}
    try:
        made = session.scheduler.call(create_call(request))
    except SchedulerError:
        if asked:
            answers = plain(str(kept(write_request(request))))
            typer.echo(f"your answers are in {answers}; `schedctl jobs create -f {answers}` takes them", err=True)
        raise
    session.warn(made.warnings)
    if validate_only and not request.job_id:
        made.job.ClearField("job_id")  # made for this answer; it will be another
    named = f"the job {plain(made.job.job_id)}" if made.job.job_id else "the job"
    said = "would be accepted" if validate_only else "is created"
    session.out.done(made.job, made.job.job_id, f"{named} {said}")
    with suppress(SchedulerError):  # the job is created all the same
        warn_when_far(session, session.scheduler.preview(made.job.schedule_config, count=1))


def _requests(file: Path) -> list[pb.CreateScheduledJobRequest]:
    try:
        return [create_request(document) for document in read_jobs(read_file(file))]
    except DocumentError as error:
        fail(plain(str(error)))


def _create_all(session: Session, requests: list[pb.CreateScheduledJobRequest], *, validate_only: bool) -> None:
    scheduler = session.scheduler_of_many
    results = scheduler.create_jobs(requests, validate_only=validate_only)
    _show_results(session, results)
    codes = {result.code for result in results}
    if codes != {""}:
        # All refused for the same reason ends as one job would; else it was not done wholly.
        raise typer.Exit(exit_of_code(codes.pop()) if len(codes) == 1 else Exit.FAILED)


@command(app)
def update(
    session: Session,
    options: JobOptions,
    job_id: JobArgument,
    clear: Annotated[
        list[str],
        typer.Option(
            "--clear", parser=_clearable, metavar="FIELD", help="Back to the default, as expires; may be repeated."
        ),
    ] = [],  # noqa: B006 - typer copies it
    validate_only: ValidateOption = False,
) -> None:
    """Change what the options say of a job; all else stays as it is.

    Of labels, and of what is said of late, overlapping and failed runs, only those named; of a schedule when it fires,
    and what else is named. What somebody else changes meanwhile is not overwritten: then it ends with 5.
    """
    job = session.scheduler.get_job(job_id)
    names = options.put(job)
    if both := sorted({*names} & {*clear}):
        fail(f"what is to become of {', '.join(both)} is said twice: by --clear, and by another option")
    if not names and not clear:
        fail("say by options what to change; `schedctl jobs edit` opens the whole job in an editor")
    for name in clear:
        job.ClearField(name)
    session.options = {f"job.{field}": option for field, option in JOB_OPTIONS.items()}
    mask = FieldMask(paths=[*names, *clear])
    request = pb.UpdateScheduledJobRequest(job_id=job_id, job=job, update_mask=mask, validate_only=validate_only)
    changed = session.scheduler.call(update_call(request))
    session.warn(changed.warnings)
    said = "would be changed" if validate_only else "is changed"
    session.out.done(changed.job, job_id, f"the job {plain(job_id)} {said}")


@command(app)
def edit(session: Session, job_id: JobArgument) -> None:
    """Change a job in your editor ($VISUAL or $EDITOR).

    What somebody else changes meanwhile is not overwritten: then it ends with 5, and the text is kept.
    """
    job = session.scheduler.get_job(job_id)
    changed = edited(session, job)
    if changed is None:
        typer.echo("nothing was changed", err=True)
        return
    session.warn(changed.warnings)
    session.out.done(changed.job, job_id, f"the job {plain(job_id)} is changed")


@command(app)
def pause(
    session: Session,
    job_ids: SomeJobsArgument = None,
    filter_: FilterOption = "",
    reason: ReasonOption = "",
    yes: YesOption = False,
) -> None:
    """Stop firing jobs until they are resumed.

    Those named, or, after asking, all that fit a filter.
    """
    if filter_:
        _all_that_fit(session, session.scheduler_of_many.pause_jobs, "Pause", job_ids, filter_, reason, yes=yes)
    else:
        _each(session, session.scheduler.pause_job, "is paused", job_ids, reason)


@command(app)
def resume(
    session: Session,
    job_ids: SomeJobsArgument = None,
    filter_: FilterOption = "",
    reason: ReasonOption = "",
    yes: YesOption = False,
) -> None:
    """Fire paused jobs again, from now on.

    Those named, or, after asking, all that fit a filter.
    """
    if filter_:
        _all_that_fit(session, session.scheduler_of_many.resume_jobs, "Resume", job_ids, filter_, reason, yes=yes)
    else:
        _each(session, session.scheduler.resume_job, "is active", job_ids, reason)


def _each(
    session: Session, ask: Callable[..., pb.ScheduledJob], said: str, job_ids: list[str] | None, reason: str
) -> None:
    """Do it to the jobs that were named, one after the other."""

    def do(job_id: str) -> None:
        job = ask(job_id, reason=reason)
        session.out.done(job, job_id, f"the job {plain(job_id)} {said}")

    session.for_each(job_ids or fail("name the jobs, or give --filter"), do)


def _all_that_fit(
    session: Session,
    ask: Callable[..., pb.BatchPauseScheduledJobsResponse | pb.BatchResumeScheduledJobsResponse],
    what: str,
    job_ids: list[str] | None,
    filter_: str,
    reason: str,
    *,
    yes: bool,
) -> None:
    """Do it to all jobs that fit a filter, after saying how many these are."""
    if job_ids:
        fail("name the jobs, or give --filter; not both")
    if not yes:
        matched = ask(filter=filter_, validate_only=True).matched
        session.confirm(f"{what} {counted(matched, 'job')}?", yes=not matched)
    found = ask(filter=filter_, reason=reason)
    _show_results(session, found.results)
    session.out.tell(f"{found.matched:,} fit, {found.changed:,} changed, {found.refused:,} refused")
    if found.refused:
        raise typer.Exit(Exit.FAILED)


def _show_results(session: Session, results: Iterable[pb.BatchResult]) -> None:
    """Print what became of each job of a batch; what was refused goes to standard error."""
    for result in results:
        if not session.out.for_people:
            session.out.raw(result, result.job_id)
        elif result.code:
            typer.echo(f"{plain(result.job_id)}: {result.code}: {plain(result.message)}", err=True)
        else:
            session.warn(f"{result.job_id}: {warning}" for warning in result.warnings)
            session.out.tell(plain(result.job_id))


@command(app)
def watch(
    session: Session,
    job_id: JobOption = "",
    label: LabelsOption = [],  # noqa: B006 - typer copies it
    initial: Annotated[bool, typer.Option("--initial", help="Begin with the jobs there are.")] = False,
    resume: Annotated[str, typer.Option("--resume", metavar="TOKEN", help="Go on after a resume_token.")] = "",
) -> None:
    """Print jobs as they change, until Ctrl-C. A line each, also for those created and deleted."""
    told = session.scheduler.watch_jobs(job_id=job_id, labels=labels_of(label), initial=initial, resume_token=resume)
    for message in told:
        job = message.job
        session.out.done(message, job.job_id, _line(job))


def _line(job: pb.ScheduledJob) -> Text:
    changed = f"{time(job.updated_at)} {plain(job.job_id)} "
    return Text.assemble(changed, state(pb.ScheduledJob.State.Name(job.state)), f" by {plain(job.updated_by)}")


@command(app)
def delete(
    session: Session,
    job_ids: JobsArgument,
    reason: ReasonOption = "",
    cancel_running: Annotated[bool, typer.Option("--cancel-running", help="Cancel what runs, too.")] = False,
    yes: YesOption = False,
) -> None:
    """Delete jobs; what has not started is cancelled. Until its purge_time undelete takes it back."""
    these = f"the job {plain(job_ids[0])}" if len(job_ids) == 1 else counted(len(job_ids), "job")
    session.confirm(f"Delete {these}?", yes=yes)

    def do(job_id: str) -> None:
        job = session.scheduler.delete_job(job_id, reason=reason, cancel_running=cancel_running)
        session.out.done(job, job_id, f"the job {plain(job_id)} is deleted")

    session.for_each(job_ids, do)


@command(app)
def undelete(session: Session, job_ids: JobsArgument, reason: ReasonOption = "") -> None:
    """Take back deletions."""
    _each(session, session.scheduler.undelete_job, "is back", job_ids, reason)


@command(app)
def run(
    session: Session,
    job_id: JobArgument,
    queue: Annotated[str, typer.Option(help="The queue, instead of `manual`.")] = "",
    request_id: Annotated[str, typer.Option(help="Repeating it with the same id runs nothing twice.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended; ends with 1 unless it succeeded.")] = False,
    timeout: Annotated[
        timedelta | None,
        typer.Option("--timeout", parser=read_span, metavar="SPAN", help="As --wait, but for at most so long, as 10m."),
    ] = None,
    validate_only: ValidateOption = False,
) -> None:
    """Run a job once, now, also while it is paused."""
    if validate_only:
        tried = session.scheduler.run(job_id, queue=queue, request_id=request_id, validate_only=True)
        session.out.done(tried, job_id, f"{plain(job_id)} would run on the queue {plain(tried.queue)}")
        return
    try:
        execution = session.scheduler.run(job_id, queue=queue, request_id=request_id)
    except DeadlineExceeded:
        fail(perhaps_started(job_id, request_id), Exit.TIMEOUT)
    if wait or timeout is not None:
        follow_to_the_end(session, execution.execution_id, timeout)
        return
    if request_id:  # of a repeated call the answer is the first one's, of a run that may have ended since
        with suppress(SchedulerError):
            execution = session.scheduler.get_execution(execution.execution_id)
    name, said = state_of(execution), "is on its way"
    if name in ENDED:
        said = f"has ended: {name} at {time_of(execution, 'finished_at')}"
    session.out.done(execution, execution.execution_id, f"{plain(execution.execution_id)} {said}")


def perhaps_started(job_id: str, request_id: str) -> str:
    """Return what to do when nobody knows whether a run was started."""
    look = f"`schedctl jobs history {plain(job_id)}` shows whether it was started"
    if not request_id:
        return f"the server did not answer in time; {look}"
    return f"the server did not answer in time; {look}, and the same --request-id again runs nothing twice"


@command(app)
def history(
    session: Session,
    job_id: JobArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    decisions: Annotated[bool, typer.Option("--decisions", help="Also what was decided not to run.")] = False,
    limit: LimitOption = 20,
) -> None:
    """Show a job's executions, the newest first."""
    found = session.scheduler.executions(
        job_id=job_id,
        states=["STATE_FAILED"] if failed else [],
        include_decisions=decisions,
        page_size=page_for(limit),
    )
    session.out.first(limit, found, EXECUTIONS, none="no executions")


@command(app, "next")
def next_(
    session: Session,
    job_id: JobArgument,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=LARGEST, help="How many.")] = 10,
) -> None:
    """Show when a job fires next."""
    found = session.scheduler.preview(job_id=job_id, count=count)
    show_preview(session, found)
