"""What a request says about a job, as a draft: of a new job, or of the changes to one that there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scheduler_service.jobs.flow_drafts import FLOWS, read_flow
from scheduler_service.jobs.policy_drafts import read_choice, read_retry
from scheduler_service.transport.convert import to_instant, to_mapping, to_span
from shared.domain.clock import to_the_millisecond
from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import ExclusionTerms, OnExcluded
from shared.domain.flow import FanOut
from shared.domain.job import JobDraft, ScheduleTerms
from shared.domain.policies import Misfire, Overlap, WorkerLost
from shared.domain.schedule import CronSchedule, IntervalSchedule, Schedule
from shared.domain.text import excerpt
from shared.proto import scheduler_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from enum import StrEnum

    from shared.domain.exclusions import Resolve
    from shared.domain.job import JobDefaults, JobDefinition

MUTABLE: Final = (
    "name",
    "description",
    "job_type",
    "target_service",
    "target_method",
    "parameters",
    "schedule_config",
    "queue",
    "priority",
    "timeout",
    "retry_policy",
    "labels",
    "annotations",
    "policies",
    "fan_out",
    "workflow",
    "expires",
)
"""The fields that a client decides; create requests have them under the same names as jobs."""

_MOST_PATHS: Final = 20
"""Named of those that can't be changed; a request has room for a million."""

Fields: TypeAlias = pb.CreateScheduledJobRequest | pb.ScheduledJob


def new_draft(
    request: pb.CreateScheduledJobRequest, job_id: str, defaults: JobDefaults, found: list[Violation]
) -> JobDraft:
    """Return the draft of a new job."""
    return JobDraft(job_id=job_id, **_read(request, MUTABLE, defaults, found))


def changed_paths(request: pb.UpdateScheduledJobRequest, found: list[Violation]) -> frozenset[str]:
    """Return the fields that an update is about: those of the mask, or without one those that are set."""
    if request.job.job_id not in {"", request.job_id}:
        said = f"'{excerpt(request.job.job_id)}' is not the job that is updated, and a job_id can't be changed"
        found.append(Violation("job.job_id", said))
    if not request.update_mask.paths:
        paths = frozenset(descriptor.name for descriptor, _ in request.job.ListFields()) & frozenset(MUTABLE)
        if not paths:
            said = f"nothing to change: no field is set that can be ({', '.join(MUTABLE)})"
            found.append(Violation("job", said))
        return paths
    known = pb.ScheduledJob.DESCRIPTOR.fields_by_name
    wrong = sorted(set(request.update_mask.paths) - set(MUTABLE))
    for path in wrong[:_MOST_PATHS]:
        if path in known:
            said = f"'{path}' can't be changed"
        elif path.partition(".")[0] in MUTABLE:
            said = f"'{excerpt(path)}' is a part of a field; fields are changed as a whole"
        else:
            said = f"'{excerpt(path)}' is not a field of a job"
        found.append(Violation("update_mask", f"{said} ({', '.join(MUTABLE)})"))
    if len(wrong) > _MOST_PATHS:
        found.append(Violation("update_mask", f"{len(wrong) - _MOST_PATHS:,} more paths can't be changed either"))
    return frozenset(request.update_mask.paths) & frozenset(MUTABLE)


def changed_draft(
    present: JobDefinition,
    job: Fields,
    paths: frozenset[str],
    defaults: JobDefaults,
    now: datetime,
    found: list[Violation],
) -> JobDraft:
    """Return a job's definition with the fields of these paths changed, as a draft.

    A schedule of the same terms stays the very one that it was: also a `once` whose time has passed, and an interval
    with what it is counted from. An interval that keeps its period goes on counting from there too.
    """
    values = _read(job, paths, defaults, found)
    if present.flow is not None and values.get("flow", present.flow) is None:
        kind = "fan_out" if isinstance(present.flow, FanOut) else "workflow"
        if kind not in paths:
            del values["flow"]  # that there is none of the other kind is no change
    terms = values.get("schedule")
    if isinstance(terms, ScheduleTerms):
        values["schedule"] = changed_schedule(present, terms, defaults.resolve, now, found)
    if "job_type" in values and "queue" not in values and present.queue == defaults.queue_by_type[present.job_type]:
        # It has the queue of its type because it named none: it goes on following the type.
        values["queue"] = None
    return replace(present.draft(), **values)


def changed_schedule(
    present: JobDefinition, terms: ScheduleTerms, resolve: Resolve, now: datetime, found: list[Violation]
) -> Schedule:
    """Return the schedule of these terms; the present one if they are no others, or not right."""
    schedule = present.schedule
    if terms_of(schedule) == _as_kept(terms):
        return schedule
    anchor = None
    if isinstance(schedule, IntervalSchedule) and (terms.type, terms.config) == (schedule.type, schedule.config):
        anchor = schedule.anchor
    try:
        return terms.parse(now, present.job_id, anchor, resolve)
    except InvalidInput as refused:
        found += refused.violations
        return schedule


def terms_of(schedule: Schedule) -> ScheduleTerms:
    """Return a schedule as its client wrote it."""
    same = {name: getattr(schedule, name) for name in _SAME_IN_TERMS}
    return ScheduleTerms(
        **same,
        expressions=schedule.expressions if isinstance(schedule, CronSchedule) else (),
        exclusions=schedule.exclusions.terms if schedule.exclusions else None,
    )


_SAME_IN_TERMS: Final = ("type", "config", "timezone", "start_time", "end_time", "jitter", "max_runs")


def _as_kept(terms: ScheduleTerms) -> ScheduleTerms:
    """Return terms as a schedule keeps them: in a zone, to the millisecond."""
    return replace(
        terms,
        timezone=terms.timezone or "UTC",
        start_time=_cut(terms.start_time),
        end_time=_cut(terms.end_time),
        jitter=timedelta(milliseconds=terms.jitter // timedelta(milliseconds=1)),
    )


def _cut(instant: datetime | None) -> datetime | None:
    return instant and to_the_millisecond(instant)


def _read(message: Fields, paths: Iterable[str], defaults: JobDefaults, found: list[Violation]) -> dict[str, Any]:
    """Return the values of these fields, by the names that they have in a draft."""
    values: dict[str, Any] = {}
    if FLOWS & frozenset(paths):
        values["flow"] = read_flow(message, defaults.retry, found)
    for path in frozenset(paths) - FLOWS:
        if path == "retry_policy":
            values |= read_retry(message.retry_policy, found)
        elif path == "schedule_config":
            values["schedule"] = read_terms(message.schedule_config, found) if message.HasField(path) else None
        elif path in {"priority", "timeout", "expires"} and not message.HasField(path):
            values[path] = None
        else:
            read = _READERS.get(path)
            values[path] = getattr(message, path) if read is None else read(message, found)
    return values


_READERS: Final[Mapping[str, Callable[[Fields, list[Violation]], Any]]] = {
    "job_type": lambda message, _: _job_type(message.job_type),
    "parameters": lambda message, found: to_mapping("parameters", message.parameters, found),
    "queue": lambda message, _: message.queue or None,
    "timeout": lambda message, found: to_span("timeout", message.timeout, found),
    "expires": lambda message, found: to_span("expires", message.expires, found),
    "labels": lambda message, _: dict(message.labels),
    "annotations": lambda message, _: dict(message.annotations),
    "policies": lambda message, found: _policies(message.policies, found),
}
"""How the fields are read that are not taken as they are."""


def _policies(given: pb.Policies, found: list[Violation]) -> Mapping[str, Any]:
    """Return the policies as a whole, without what is not set: that has the defaults."""
    values: dict[str, Any] = {
        name: value for name in ("misfire_limit", "buffer_limit", "max_concurrent") if (value := getattr(given, name))
    }
    if given.HasField("misfire_grace"):
        values["misfire_grace"] = to_span("policies.misfire_grace", given.misfire_grace, found) or timedelta()
    if given.HasField("pause_on_failure"):
        values["pause_on_failure"] = given.pause_on_failure
    if given.HasField("delete_after_done"):
        values["delete_after_done"] = given.delete_after_done
    for name, kind in _POLICIES.items():
        if (chosen := read_choice(given, "policies", name, kind, found)) is not None:
            values[name] = chosen
    return values


_POLICIES: Final[Mapping[str, type[StrEnum]]] = {"misfire": Misfire, "overlap": Overlap, "on_worker_lost": WorkerLost}


def _job_type(number: int) -> str:
    """Return a type's name, or what the domain refuses: nothing, or a number that is not in the enum."""
    if number == pb.JOB_TYPE_UNSPECIFIED:
        return ""
    known = pb.JobType.DESCRIPTOR.values_by_number.get(number)
    return known.name if known is not None else str(number)


def read_terms(given: pb.ScheduleConfig, found: list[Violation]) -> ScheduleTerms:
    """Read a schedule as a client writes it."""
    times = {
        name: to_instant(f"schedule_config.{name}", getattr(given, name), found)
        for name in ("start_time", "end_time")
        if given.HasField(name)
    }
    return ScheduleTerms(
        type=given.type,
        config=dict(given.config),
        timezone=given.timezone,
        jitter=to_span("schedule_config.jitter", given.jitter, found) or timedelta(),
        max_runs=given.max_runs or None,
        expressions=tuple(given.expressions),
        exclusions=_exclusions(given.exclusions) if given.HasField("exclusions") else None,
        **times,
    )


def _exclusions(given: pb.Exclusions) -> ExclusionTerms:
    """Read exclusions; a number that is not in the enum becomes a name that the domain refuses."""
    known = pb.Exclusions.OnExcluded.DESCRIPTOR.values_by_number.get(given.on_excluded)
    name = known.name.removeprefix("ON_EXCLUDED_") if known else str(given.on_excluded)
    return ExclusionTerms(
        dates=tuple(given.dates),
        ranges=tuple((span.first, span.last) for span in given.ranges),
        calendars=tuple(given.calendars),
        holidays=tuple(given.holidays),
        on_excluded=name if given.on_excluded else OnExcluded.SKIP.value,
        weekend=tuple(given.weekend),
    )
