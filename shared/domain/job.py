"""A job: what to call, with which parameters, on what schedule, under which policies."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import InvalidInput, Violation
from shared.domain.exclusions import no_calendars
from shared.domain.flow import Workflow
from shared.domain.plan import Mode
from shared.domain.policies import Policies
from shared.domain.retry import Jitter, RetryPolicy, RetryWindow
from shared.domain.schedule import parse_schedule
from shared.domain.text import excerpt, unprintable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.domain.exclusions import ExclusionTerms, Resolve
    from shared.domain.flow import Flow
    from shared.domain.schedule import Schedule

JOB_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LONGEST_NAME: Final = 200
LONGEST_DESCRIPTION: Final = 2_000
LONGEST_REASON: Final = 500
MOST_LABELS: Final = 64
LONGEST_LABEL: Final = 255
LARGEST_ANNOTATIONS: Final = 64 * 1024
"""Bytes of UTF-8, keys and values of all of them."""
MOST_SAID: Final = 20
"""Violations of one kind; a request has room for many more."""
LARGEST_PARAMETERS: Final = 256 * 1024
"""Bytes of JSON; every execution carries a copy."""
LONGEST_TIMEOUT: Final = timedelta(days=1)
LONGEST_EXPIRES: Final = timedelta(days=366)
HIGHEST_PRIORITY: Final = 9
TASK: Final = "task"
"""The target_service of jobs that run a function, whose name is their target_method. No target may have this name."""


class JobType(StrEnum):
    """The kind of work, which decides the queue when none is named."""

    SCRAPING = "SCRAPING"
    ANALYSIS = "ANALYSIS"
    MONITORING = "MONITORING"
    MAINTENANCE = "MAINTENANCE"
    CUSTOM = "CUSTOM"


class JobState(StrEnum):
    """What a job is doing, as its clients see it."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    DELETED = "DELETED"

    @property
    def mode(self) -> Mode:
        """How the occurrences of a job in this state are treated."""
        if self is JobState.PAUSED:
            return Mode.PAUSED
        return Mode.DELETED if self is JobState.DELETED else Mode.ACTIVE


@dataclass(frozen=True, slots=True)
class ScheduleTerms:
    """A schedule as a client writes it; see parse_schedule for the keys of config."""

    type: str
    config: Mapping[str, str] = field(default_factory=dict)
    timezone: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    jitter: timedelta = timedelta()
    max_runs: int | None = None
    expressions: tuple[str, ...] = ()
    exclusions: ExclusionTerms | None = None

    def parse(
        self, now: datetime, job_id: str, anchor: datetime | None = None, resolve: Resolve = no_calendars
    ) -> Schedule:
        """Return the schedule that these terms mean at `now` (UTC); raise InvalidInput with all that is wrong.

        anchor: that of the interval which these terms change, if it is to go on counting from there.
        resolve: finds the days of the calendars and holidays that the exclusions name.
        """
        return parse_schedule(
            type=self.type,
            config=self.config,
            timezone=self.timezone,
            start_time=self.start_time,
            end_time=self.end_time,
            jitter=self.jitter,
            max_runs=self.max_runs,
            expressions=self.expressions,
            exclusions=self.exclusions,
            resolve=resolve,
            now=now,
            hash_key=job_id,
            anchor=anchor,
        )


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What a job has that does not say otherwise, and the queues and calendars that there are."""

    queues: frozenset[str]
    queue_by_type: Mapping[JobType, str]
    priority: int = 5
    timeout: timedelta = timedelta(minutes=30)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    policies: Policies = field(default_factory=Policies)
    resolve: Resolve = no_calendars
    """Finds the days of the calendars and holidays that a schedule's exclusions name."""
    longest_name: int = LONGEST_NAME
    largest_parameters: int = LARGEST_PARAMETERS
    """What an operator allows of new definitions, where it is less than a job can have."""


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """What a client decides about a job. Raises InvalidInput, with all violations, when it can't be right."""

    job_id: str
    name: str
    description: str
    job_type: JobType
    target_service: str
    target_method: str
    parameters: Mapping[str, object]
    schedule: Schedule
    queue: str
    priority: int
    timeout: timedelta
    retry: RetryPolicy
    policies: Policies
    labels: Mapping[str, str]
    flow: Flow | None = None
    expires: timedelta | None = None
    """How long after it was due an execution may still be started; None: at any time."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Marks of tools, which nothing here looks at."""

    def __post_init__(self) -> None:
        if violations := _violations(self):
            raise InvalidInput(violations)

    def draft(self) -> JobDraft:
        """Return this definition as a draft, for an update to change some of its fields."""
        return JobDraft(
            **{name: getattr(self, name) for name in _SAME_IN_DRAFT},
            **{name: getattr(self.retry, name) for name in _RETRY_FIELDS},
            policies={name.name: getattr(self.policies, name.name) for name in fields(Policies)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """What a client sent: nothing checked, None for what it left to the defaults."""

    job_id: str
    name: str
    job_type: str
    target_service: str
    target_method: str
    schedule: ScheduleTerms | Schedule | None
    parameters: Mapping[str, object] = field(default_factory=dict)
    description: str = ""
    queue: str | None = None
    priority: int | None = None
    timeout: timedelta | None = None
    max_attempts: int | None = None
    initial_backoff: timedelta | None = None
    max_backoff: timedelta | None = None
    multiplier: float | None = None
    jitter: Jitter | None = None
    retryable_codes: frozenset[str] | None = None
    non_retryable_codes: frozenset[str] | None = None
    retry_window: RetryWindow | None = None
    policies: Mapping[str, Any] = field(default_factory=dict)
    """The fields of Policies that the client gave."""
    labels: Mapping[str, str] = field(default_factory=dict)
    flow: Flow | None = None
    expires: timedelta | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


_SAME_IN_DRAFT: Final = {f.name for f in fields(JobDefinition)} & {f.name for f in fields(JobDraft)} - {"policies"}


def define(draft: JobDraft, defaults: JobDefaults, now: datetime) -> JobDefinition:
    """Check a draft and fill in the defaults; raise InvalidInput with every violation at once.

    now (UTC) is what a new schedule must fire after, and the anchor of an interval without a start.
    """
    found: list[Violation] = []
    job_type = _job_type(draft.job_type, found)
    draft = replace(
        draft,
        name=draft.name.strip(),
        queue=draft.queue or defaults.queue_by_type[job_type or JobType.CUSTOM],
        priority=defaults.priority if draft.priority is None else draft.priority,
        timeout=defaults.timeout if draft.timeout is None else draft.timeout,
    )
    if draft.queue not in defaults.queues:
        found.append(unknown_queue("queue", draft.queue or "", defaults.queues))
    found += _violations(draft)
    found += _flow_violations(draft, defaults.queues)
    found += _limit_violations(draft, defaults)
    found += _unprintables(draft)
    schedule = _schedule(draft, defaults.resolve, now, found)
    retry = _retry(draft, defaults.retry, found)
    policies = _policies(draft, defaults.policies, found)
    if found or job_type is None or schedule is None or retry is None or policies is None:
        raise InvalidInput(found)
    same = {name: getattr(draft, name) for name in _SAME_IN_DRAFT - {"job_type", "schedule"}}
    return JobDefinition(**same, job_type=job_type, schedule=schedule, retry=retry, policies=policies)


def unknown_queue(field: str, queue: str, queues: frozenset[str]) -> Violation:
    """Say that a queue is not configured, and which are."""
    return Violation(field, f"'{excerpt(queue)}' is not a configured queue ({', '.join(sorted(queues))})")


def _job_type(given: str, found: list[Violation]) -> JobType | None:
    try:
        return JobType(given)
    except ValueError:
        known = ", ".join(JobType)
        said = f"'{excerpt(given)}' is not a job type" if given else "a job type is required"
        found.append(Violation("job_type", f"{said} ({known})"))
        return None


def _schedule(draft: JobDraft, resolve: Resolve, now: datetime, found: list[Violation]) -> Schedule | None:
    terms = draft.schedule
    if terms is None:
        found.append(
            Violation("schedule_config", "a schedule is required: type cron, interval or once, and its config")
        )
        return None
    if not isinstance(terms, ScheduleTerms):
        return terms
    try:
        return terms.parse(now, draft.job_id, resolve=resolve)
    except InvalidInput as refused:
        found.extend(refused.violations)
        return None


def _retry(draft: JobDraft, default: RetryPolicy, found: list[Violation]) -> RetryPolicy | None:
    given = {name: value for name in _RETRY_FIELDS if (value := getattr(draft, name)) is not None}
    try:
        return merged_retry(given, default)
    except InvalidInput as refused:
        found.extend(refused.violations)
        return None


def merged_retry(given: Mapping[str, Any], default: RetryPolicy) -> RetryPolicy:
    """Return a retry policy of the fields that a client gave, and a default's; raise InvalidInput."""
    given = dict(given)
    if "initial_backoff" in given and "max_backoff" not in given:
        # Who only asks for a long first wait does not mean to be refused for the default's shorter longest one.
        given["max_backoff"] = max(default.max_backoff, given["initial_backoff"])
    if "max_backoff" in given and "initial_backoff" not in given:
        given["initial_backoff"] = min(default.initial_backoff, given["max_backoff"])
    return replace(default, **given)


def _policies(draft: JobDraft, default: Policies, found: list[Violation]) -> Policies | None:
    try:
        return replace(default, **draft.policies)
    except InvalidInput as refused:
        found.extend(refused.violations)
        return None


_RETRY_FIELDS: Final = tuple(f.name for f in fields(RetryPolicy))


def _violations(job: JobDefinition | JobDraft) -> list[Violation]:
    """Check all that needs nothing but the value itself; priority and timeout are filled in by then."""
    found: list[Violation] = []

    def refuse(field: str, sentence: str) -> None:
        found.append(Violation(field, sentence))

    if not JOB_ID.fullmatch(job.job_id):
        refuse(
            "job_id",
            f"{_quoted(job.job_id)} is not a job id (a-z, 0-9 and dashes, at most 63 characters, no dash in front)",
        )
    if not job.name:
        refuse("name", "a name is required")
    elif len(job.name) > LONGEST_NAME:
        refuse("name", f"{len(job.name):,} characters are too many (at most {LONGEST_NAME})")
    if len(job.description) > LONGEST_DESCRIPTION:
        refuse("description", f"{len(job.description):,} characters are too many (at most {LONGEST_DESCRIPTION:,})")
    found += _target_violations(job)
    found += _number_violations(job)
    found += _parameter_violations(job.parameters)
    found += _label_violations(job.labels)
    found += _annotation_violations(job.annotations)
    return found


def _target_violations(job: JobDefinition | JobDraft) -> list[Violation]:
    if isinstance(job.flow, Workflow):
        said = "a job that is a workflow calls what its steps name; leave it out"
        return [
            Violation(name, said) for name in ("target_service", "target_method", "parameters") if getattr(job, name)
        ]
    found = []
    if not job.target_service:
        found.append(Violation("target_service", "a target is required, as scraper-service"))
    if not job.target_method:
        found.append(Violation("target_method", "a method is required, as ScrapeCompetitorPrices"))
    return found


def _limit_violations(draft: JobDraft, defaults: JobDefaults) -> list[Violation]:
    """Check what a job could have, and is not allowed here."""
    found = []
    if defaults.longest_name < len(draft.name) <= LONGEST_NAME:
        limit = f"at most {defaults.longest_name}, as MAX_NAME_LENGTH says"
        found.append(Violation("name", f"{len(draft.name):,} characters are too many ({limit})"))
    if defaults.largest_parameters < LARGEST_PARAMETERS and not _parameter_violations(draft.parameters):
        size = len(json.dumps(draft.parameters, ensure_ascii=False).encode())
        if size > defaults.largest_parameters:
            limit = f"at most {defaults.largest_parameters:,}, as MAX_PARAMETERS_BYTES says"
            found.append(Violation("parameters", f"{size:,} bytes of JSON are too many ({limit})"))
    return found


def _flow_violations(draft: JobDraft, queues: frozenset[str]) -> list[Violation]:
    """Check what a flow says in the words of a job: its steps' queues, priorities and timeouts, and how large it is."""
    if draft.flow is None:
        return []
    found = []
    for number, step in enumerate(draft.flow.steps if isinstance(draft.flow, Workflow) else ()):
        where = f"workflow.steps[{number}]"
        if step.queue and step.queue not in queues:
            found.append(unknown_queue(f"{where}.queue", step.queue, queues))
        found += [
            Violation(f"{where}.{name}", said)
            for name, said in (("priority", _bad_priority(step.priority)), ("timeout", _bad_timeout(step.timeout)))
            if said
        ]
    size = len(json.dumps(asdict(draft.flow), ensure_ascii=False, default=str).encode(errors="replace"))
    if size > LARGEST_PARAMETERS:
        field = "workflow" if isinstance(draft.flow, Workflow) else "fan_out"
        found.append(Violation(field, f"{size:,} bytes of JSON are too many (at most {LARGEST_PARAMETERS:,})"))
    return found


def _bad_priority(priority: int | None) -> str:
    if priority is None or 0 <= priority <= HIGHEST_PRIORITY:
        return ""
    return f"{priority} is not a priority (0-{HIGHEST_PRIORITY})"


def _bad_timeout(timeout: timedelta | None) -> str:
    if timeout is None or timedelta(0) < timeout <= LONGEST_TIMEOUT:
        return ""
    return f"{timeout.total_seconds():g} s is not a timeout (more than 0 s, at most 24 h)"


def _number_violations(job: JobDefinition | JobDraft) -> list[Violation]:
    found = []
    if said := _bad_priority(job.priority):
        found.append(Violation("priority", said))
    if said := _bad_timeout(job.timeout):
        found.append(Violation("timeout", said))
    if job.expires is not None and not timedelta(0) < job.expires <= LONGEST_EXPIRES:
        allowed = f"more than 0 s, at most {LONGEST_EXPIRES.days} days"
        found.append(
            Violation("expires", f"{job.expires.total_seconds():g} s is not a time to expire after ({allowed})")
        )
    return found


def _unprintables(draft: JobDraft) -> list[Violation]:
    """Check what people read. Only of drafts: a job that was stored before this was checked can still be read."""
    texts = [("name", "", unprintable(draft.name)), ("description", "", unprintable(draft.description, lines=True))]
    for key, value in list(draft.labels.items())[:MOST_LABELS]:
        texts.append(("labels", f"label {_quoted(key)}: ", unprintable(key) or unprintable(value)))
    if not _annotation_violations(draft.annotations):
        for key, value in draft.annotations.items():
            said = unprintable(key) or unprintable(value, lines=True)
            texts.append(("annotations", f"annotation {_quoted(key)}: ", said))
    return [Violation(field, where + problem) for field, where, problem in texts if problem]


def _parameter_violations(parameters: Mapping[str, object]) -> list[Violation]:
    try:
        size = len(json.dumps(parameters, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError:
        return [Violation("parameters", "a text in it cannot be written as UTF-8")]
    except ValueError:
        return [Violation("parameters", "NaN and Infinity are not JSON")]
    if size > LARGEST_PARAMETERS:
        return [Violation("parameters", f"{size:,} bytes of JSON are too many (at most {LARGEST_PARAMETERS:,})")]
    return []


def _label_violations(labels: Mapping[str, str]) -> list[Violation]:
    found = []
    if len(labels) > MOST_LABELS:
        # Said alone: each of thousands of labels may be wrong, too.
        return [Violation("labels", f"{len(labels):,} labels are too many (at most {MOST_LABELS})")]
    for key, value in labels.items():
        if not key or max(len(key), len(value)) > LONGEST_LABEL:
            sentence = (
                f"label {_quoted(key)}: key and value need at most {LONGEST_LABEL} characters, the key at least one"
            )
            found.append(Violation("labels", sentence))
    return found


def _annotation_violations(annotations: Mapping[str, str]) -> list[Violation]:
    size = sum(len(text.encode(errors="replace")) for pair in annotations.items() for text in pair)
    if size > LARGEST_ANNOTATIONS:
        said = f"{size:,} bytes of keys and values are too many (at most {LARGEST_ANNOTATIONS:,})"
        return [Violation("annotations", said)]
    wrong = [key for key in annotations if not 1 <= len(key) <= LONGEST_LABEL]
    return [
        Violation("annotations", f"annotation {_quoted(key)}: a key needs 1 to {LONGEST_LABEL} characters")
        for key in wrong[:MOST_SAID]
    ]


def _quoted(text: str) -> str:
    return repr(excerpt(text))
