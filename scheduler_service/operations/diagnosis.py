"""All checks of Diagnose, in the order in which they are told; docs/doctor.md has each by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler_service.operations.diagnose_stores import mongodb_checks, rabbitmq_checks, redis_checks, target_checks
from scheduler_service.operations.diagnose_work import process_checks, setting_checks, work_checks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.operations.diagnose import Check
    from shared.settings import Settings
    from shared.targets import Targets


def all_checks(
    settings: Settings, database: AsyncDatabase[dict[str, Any]], queues: Iterable[str], targets: Targets
) -> list[Check]:
    """Return the checks; those of targets are of what is registered at this moment. What one needs is before it."""
    queues = sorted(queues)
    return [
        *mongodb_checks(database),
        *rabbitmq_checks(settings.celery_broker_url, queues),
        *redis_checks(settings.celery_result_backend),
        *target_checks(targets),
        *process_checks(database, queues),
        *work_checks(database),
        *setting_checks(settings),
    ]
