"""The form by which `schedctl jobs create` asks for what it was not told."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from cli.arguments import one_of
from cli.documents import json_object
from cli.output import plain
from cli.schedules import show_preview
from cli.session import fail
from cli.times import instant
from scheduler_client import InvalidInput, NotFound, SchedulerError, cron, every, once, to_dict
from scheduler_client.calls.jobs import create
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.session import Session
    from scheduler_client import SchedulerClient
    from shared.proto.target_service_pb2 import DescribeTargetResponse

FIRES: Final = 5


def ask_for(session: Session, request: pb.CreateScheduledJobRequest) -> bool:
    """Complete a request by asking, show when it will fire, and have it confirmed.

    Asks nothing, and returns False, when all that is required was given. Each answer is checked by the server when it
    is given. Ends the command when it is not confirmed.
    """
    missing = not (
        request.name
        and request.HasField("schedule_config")
        and (request.HasField("workflow") or (request.target_service and request.target_method))
    )
    if not missing:
        return False
    try:
        _complete(session, request)
        agreed = typer.confirm("Create this job?", default=True, err=True)
    except typer.Abort as gone:
        if isinstance(gone.__context__, KeyboardInterrupt):  # what typer makes of Ctrl-C at a question
            raise KeyboardInterrupt from None
        agreed = False
    if not agreed:
        fail("nothing was done")
    return True


def _complete(session: Session, request: pb.CreateScheduledJobRequest) -> None:
    if not request.target_service:
        typer.echo("workflows, fan-outs and calendars are written in a file: `schedctl jobs create -f FILE`", err=True)
    scheduler = session.scheduler
    if not request.name:
        _ask_for_field(scheduler, request, "name", "Name")
    if not request.job_id:
        _ask_for_field(scheduler, request, "job_id", "Id (empty: made by the server)", default="")
    if not request.job_type:
        request.job_type = _ask_until("Type", lambda text: pb.JobType.Value(one_of(pb.JobType)(text)), default="CUSTOM")
    if not request.HasField("workflow"):
        _ask_for_call(scheduler, request)
    if not request.HasField("schedule_config"):
        request.schedule_config.CopyFrom(_ask_for_schedule(session))
    else:
        _preview(session, request.schedule_config)


def _ask(prompt: str, default: str | None = None) -> str:
    answer: str = typer.prompt(prompt, default=default, show_default=bool(default), err=True)
    return answer.strip()


def _ask_for_field(
    scheduler: SchedulerClient,
    request: pb.CreateScheduledJobRequest,
    field: str,
    prompt: str,
    default: str | None = None,
) -> None:
    _until_taken(scheduler, request, field, lambda: setattr(request, field, _ask(prompt, default)))


def _until_taken(
    scheduler: SchedulerClient, request: pb.CreateScheduledJobRequest, field: str, ask: Callable[[], None]
) -> None:
    """Ask for a field until the server has nothing against the answer; say what it has."""
    while True:
        ask()
        refusals = _refusals(scheduler, request, field)
        for said in refusals:
            typer.echo(plain(said), err=True)
        if not refusals:
            return


def _refusals(scheduler: SchedulerClient, request: pb.CreateScheduledJobRequest, field: str) -> list[str]:
    """Return what the server has against one field of a request whose others may be missing yet."""
    trial = pb.CreateScheduledJobRequest()
    trial.CopyFrom(request)
    trial.validate_only = True
    # Stand-ins: the server looks at a call once all that is required is there.
    trial.name = trial.name or "asked for next"
    trial.job_type = trial.job_type or pb.CUSTOM
    if not trial.HasField("schedule_config"):
        trial.schedule_config.CopyFrom(every("1h"))
    try:
        if field == "target_service":
            scheduler.describe_target(request.target_service)
        if field == "job_id":
            # A call that is refused for what is missing yet does not say whether the id is taken.
            with suppress(NotFound):
                if request.job_id:
                    scheduler.get_job(request.job_id, show_deleted=True)
                    return [f"the id '{request.job_id}' is taken"]
        scheduler.call(create(trial))
    except NotFound as missing:
        return [missing.message]
    except InvalidInput as refused:
        return [each.description for each in refused.violations if re.split(r"[.\[]", each.field)[0] == field]
    except SchedulerError:  # it will be told when the job is created
        return []
    return []


def _ask_until(prompt: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """Ask until the answer can be read; say why not."""
    while True:
        try:
            return read(_ask(prompt, default))
        except (ValueError, typer.BadParameter) as error:
            typer.echo(plain(str(error)), err=True)


def _ask_for_call(scheduler: SchedulerClient, request: pb.CreateScheduledJobRequest) -> None:
    if not request.target_service:
        known: list[str] = []
        with suppress(SchedulerError):
            known = [plain(target.name) for target in scheduler.targets()]
        prompt = f"Target ({', '.join(known)})" if known else "Target"
        _ask_for_field(scheduler, request, "target_service", prompt)
    described: DescribeTargetResponse | None = None
    with suppress(SchedulerError):
        described = scheduler.describe_target(request.target_service)
    if not request.target_method:
        methods = [plain(method.name) for method in described.methods if method.callable] if described else []
        only = methods[0] if len(methods) == 1 else None
        prompt = f"Method ({', '.join(methods)})" if methods else "Method"
        _ask_for_field(scheduler, request, "target_method", prompt, default=only)
    if not request.HasField("parameters"):
        for method in described.methods if described else ():
            if request.target_method in (method.name, method.full_name):
                example = json.dumps(to_dict(method.example), ensure_ascii=False)
                typer.echo(f"for example: {plain(example)}", err=True)
        _until_taken(
            scheduler,
            request,
            "parameters",
            lambda: request.parameters.CopyFrom(_ask_until("Parameters, as JSON", json_object, default="{}")),
        )


def _ask_for_schedule(session: Session) -> pb.ScheduleConfig:
    """Ask until there is a schedule that the server takes, and whose next fires are as wanted."""
    while True:
        schedule: pb.ScheduleConfig = _ask_until(
            "Schedule ('0 8 * * MON-FRI', 'every 1h30m', 'at 2030-01-31T08:00:00Z')", _schedule
        )
        if schedule.type == "cron":
            schedule.timezone = _ask("Time zone", default="UTC")
        if _preview(session, schedule):
            return schedule


def _schedule(text: str) -> pb.ScheduleConfig:
    kind, _, rest = text.partition(" ")
    match kind.lower():
        case "every":
            return every(rest.strip().replace(" ", ""))
        case "at" | "once":
            return once(instant(rest.strip()))
    return cron(text)


def _preview(session: Session, schedule: pb.ScheduleConfig) -> bool:
    """Show when a schedule fires; return whether the server takes it."""
    try:
        show_preview(session, session.scheduler.preview(schedule, count=FIRES))
    except InvalidInput as refused:
        typer.echo(plain(refused.message), err=True)
        return False
    except SchedulerError as error:  # an older server, perhaps; it will check the schedule when the job is created
        typer.echo(f"when it fires cannot be shown: {plain(error.message)}", err=True)
    return True
