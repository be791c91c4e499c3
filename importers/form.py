"""Jobs in the form of config/jobs.yaml, which is that of a create request in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

import yaml
from google.protobuf.duration_pb2 import Duration

from shared.domain.job import ScheduleTerms

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from importers.entries import Found
    from shared.domain.job import JobDraft


def form(draft: JobDraft) -> dict[str, Any]:
    """Return a job with the fields that say something."""
    fields = {
        "job_id": draft.job_id,
        "name": draft.name,
        "description": draft.description,
        "job_type": draft.job_type,
        "target_service": draft.target_service,
        "target_method": draft.target_method,
        "parameters": dict(draft.parameters),
        "schedule_config": _schedule(draft.schedule) if isinstance(draft.schedule, ScheduleTerms) else None,
        "queue": draft.queue,
        "priority": draft.priority,
        "timeout": _span(draft.timeout),
        "expires": _span(draft.expires),
    }
    return {name: value for name, value in fields.items() if value not in (None, "") or name == "parameters"}


def write(found: Found, out: TextIO) -> None:
    """Write what was found: all but paused jobs, which this form does not know."""
    jobs = [form(job.draft) for job in found.jobs if not job.paused]
    # The writer in Python writes U+0085 so that it is read as another text.
    dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    yaml.dump({"jobs": jobs}, out, dumper, sort_keys=False, allow_unicode=True, width=120)


def _schedule(terms: ScheduleTerms) -> dict[str, Any]:
    fields = {
        "type": terms.type,
        "config": dict(terms.config),
        "timezone": terms.timezone,
        "start_time": _instant(terms.start_time),
        "end_time": _instant(terms.end_time),
        "max_runs": terms.max_runs,
    }
    return {name: value for name, value in fields.items() if value}


def _span(given: timedelta | None) -> str | None:
    if given is None:
        return None
    duration = Duration()
    duration.FromTimedelta(given)
    return duration.ToJsonString()


def _instant(given: datetime | None) -> str | None:
    return None if given is None else given.isoformat().replace("+00:00", "Z")
