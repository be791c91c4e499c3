"""What a job has that does not say otherwise, from the settings and what is configured."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.job import JobDefaults

if TYPE_CHECKING:
    from shared.calendars import Calendars
    from shared.messaging.queues import Queues
    from shared.settings import Settings


def job_defaults(settings: Settings, queues: Queues, calendars: Calendars) -> JobDefaults:
    """Return the defaults that every process which defines jobs goes by."""
    return JobDefaults(
        queues.names,
        queues.by_type,
        timeout=timedelta(seconds=settings.job_timeout),
        retry=settings.retry_policy,
        policies=settings.policies,
        resolve=calendars.resolve,
        longest_name=settings.max_name_length,
        largest_parameters=settings.max_parameters_bytes,
    )
