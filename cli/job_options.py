"""The options that say what a job is: those of `schedctl jobs create` and `jobs update`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta  # noqa: TC003 - typer reads the types
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from google.protobuf.struct_pb2 import Struct  # noqa: TC002 - typer reads the types

from cli.arguments import LARGEST, labels_of, one_of
from cli.documents import json_object
from cli.schedule_options import OPTIONS, ScheduleOptions, put
from cli.times import span
from scheduler_client.values import duration
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

JOB_OPTIONS: Final = {
    **OPTIONS,
    "target_service": "--target",
    "target_method": "--method",
    "job_type": "--type",
    "retry_policy.max_attempts": "--attempts",
    "retry_policy.initial_backoff": "--backoff",
    **{name: f"--{name}" for name in ("name", "description", "parameters", "queue", "priority", "timeout", "expires")},
    "labels": "--label",
}
"""Where a job is given by options: what its fields are called there."""


@dataclass(frozen=True, kw_only=True)
class JobOptions(ScheduleOptions):
    """What was said of a job; what was not is None, or nothing."""

    name: Annotated[str | None, typer.Option(help="For people.")] = None
    description: Annotated[str | None, typer.Option(help="For people.")] = None
    job_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            parser=one_of(pb.JobType),
            metavar="TYPE",
            help="scraping, analysis, monitoring, maintenance or custom.",
        ),
    ] = None
    target_service: Annotated[
        str | None, typer.Option("--target", help="The service to call, by its name as a target.")
    ] = None
    target_method: Annotated[str | None, typer.Option("--method", help="The method to call.")] = None
    parameters: Annotated[
        Struct | None, typer.Option(parser=json_object, metavar="JSON", help="The method's request.")
    ] = None
    queue: Annotated[str | None, typer.Option(help="The queue, instead of the type's.")] = None
    priority: Annotated[
        int | None, typer.Option(min=0, max=LARGEST, help="Of those that wait in a queue, 9 runs before 0.")
    ] = None
    timeout: Annotated[timedelta | None, typer.Option(parser=span, metavar="SPAN", help="For one attempt, as 30m.")] = (
        None
    )
    expires: Annotated[
        timedelta | None,
        typer.Option(parser=span, metavar="SPAN", help="Not started any more so long after it was due, as 2h."),
    ] = None
    attempts: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="In all, the first included: 1 is no retry.")
    ] = None
    backoff: Annotated[
        timedelta | None, typer.Option(parser=span, metavar="SPAN", help="Wait before the second attempt, as 30s.")
    ] = None
    misfire: Annotated[
        str | None,
        typer.Option(
            parser=one_of(pb.Policies.Misfire), metavar="WHAT", help="What is late: fire_latest, fire_all or skip."
        ),
    ] = None
    overlap: Annotated[
        str | None,
        typer.Option(
            parser=one_of(pb.Policies.Overlap),
            metavar="WHAT",
            help="While one runs: skip, buffer_one, buffer_all, cancel_previous or allow.",
        ),
    ] = None
    labels: Annotated[list[str], typer.Option("--label", metavar="KEY=VALUE", help="A mark.")] = field(
        default_factory=list
    )

    @property
    def say_anything(self) -> bool:
        """Whether any was given."""
        return self._say_any_of(JobOptions)

    def put(self, job: pb.CreateScheduledJobRequest | pb.ScheduledJob) -> list[str]:
        """Put what they say over what a job is so far; return the fields of the job that they say something of.

        A field is put in the place of what it was. Of policies, a retry policy and labels, only what is named is; of a
        schedule, if it is one of the same type, all that says when it fires. Ends the command where they contradict.
        """
        whole: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "job_type": self.job_type,
            "target_service": self.target_service,
            "target_method": self.target_method,
            "parameters": self.parameters,
            "queue": self.queue,
            "priority": self.priority,
            "timeout": duration(self.timeout),
            "expires": duration(self.expires),
        }
        whole = {name: value for name, value in whole.items() if value is not None}
        said: Any = type(job)(**whole)
        for name in whole:
            job.ClearField(name)
        job.MergeFrom(said)
        names = list(whole)
        if self.say_a_schedule:
            self.put_schedule(job.schedule_config)
            names.append("schedule_config")
        retry: Message = pb.RetryPolicy(max_attempts=self.attempts, initial_backoff=duration(self.backoff))
        policies: Message = pb.Policies(misfire=self.misfire, overlap=self.overlap)
        for name, single in (("retry_policy", retry), ("policies", policies)):
            if single.ListFields():
                put(getattr(job, name), single)
                names.append(name)
        if self.labels:
            job.labels.update(labels_of(self.labels))
            names.append("labels")
        return names
