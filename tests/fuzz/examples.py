"""A request for each method of the API that is right as it stands, to be made odd from.

`$job`, `$execution`, ... stand for ids that exist; see tests/integration/test_conformance.py.
"""

from __future__ import annotations

from typing import Any, Final

_SCHEDULE: Final = {"type": "cron", "config": {"hour": "8", "minute": "0"}, "timezone": "America/New_York"}
_JOB: Final = {
    "name": "Prices",
    "job_type": "SCRAPING",
    "target_service": "scraper-service",
    "target_method": "ScrapeCompetitorPrices",
    "parameters": {"competitor_ids": ["amazon"]},
    "schedule_config": _SCHEDULE,
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    # SchedulerService
    "CreateScheduledJob": {
        **_JOB,
        "description": "every morning",
        "labels": {"team": "pricing"},
        "priority": 5,
        "timeout": "60s",
        "expires": "3600s",
        "retry_policy": {"max_attempts": 3, "initial_backoff": "1s", "max_backoff": "60s", "multiplier": 2},
        "policies": {"misfire": "MISFIRE_FIRE_ALL", "misfire_grace": "60s", "overlap": "OVERLAP_ALLOW"},
        "validate_only": True,
    },
    "GetScheduledJob": {"job_id": "$job"},
    "ListScheduledJobs": {"page_size": 10},
    "UpdateScheduledJob": {"job_id": "$job", "job": {"description": "again", "labels": {"team": "pricing"}}},
    "PauseScheduledJob": {"job_id": "$job", "reason": "it is late"},
    "ResumeScheduledJob": {"job_id": "$job", "reason": "it is early"},
    "DeleteScheduledJob": {"job_id": "$doomed", "reason": "nobody needs it"},
    "UndeleteScheduledJob": {"job_id": "$deleted", "reason": "somebody does"},
    "ExecuteJobNow": {"job_id": "$job"},
    "GetJobStatus": {"job_id": "$job"},
    "CancelExecution": {"execution_id": "$execution", "reason": "not now"},
    "RetryExecution": {"execution_id": "$failed"},
    "GetExecution": {"execution_id": "$execution"},
    "ListExecutions": {"job_id": "$job", "states": ["STATE_PENDING"], "page_size": 10},
    "BatchCreateScheduledJobs": {"requests": [_JOB, _JOB], "validate_only": True},
    "BatchPauseScheduledJobs": {"job_ids": ["$job"], "reason": "all of them"},
    "BatchResumeScheduledJobs": {"filter": 'labels.team = "pricing"', "reason": "all of them"},
    "ImportScheduledJobs": {"yaml": "jobs: []\n", "validate_only": True},
    "ExportScheduledJobs": {"filter": 'labels.team = "pricing"'},
    "WatchJobs": {"job_id": "$job", "initial": True},
    "WatchExecutions": {"execution_id": "$execution"},
    "WaitExecution": {"execution_id": "$execution"},
    # PlanningService
    "PreviewSchedule": {"schedule_config": _SCHEDULE, "job_id": "$job", "count": 5},
    "DescribeSchedule": {"schedule_config": _SCHEDULE},
    "ExplainOccurrence": {"job_id": "$job", "nominal_time": "2026-01-01T08:00:00Z"},
    "SkipOccurrence": {"job_id": "$job", "nominal_time": "$next", "reason": "a holiday", "validate_only": True},
    "MoveOccurrence": {"job_id": "$job", "nominal_time": "$next", "new_time": "$later", "validate_only": True},
    "RestoreOccurrence": {"job_id": "$job", "nominal_time": "$next"},
    "CreateBackfill": {
        "job_id": "$job",
        "from_time": "2026-01-01T00:00:00Z",
        "to_time": "2026-01-05T00:00:00Z",
        "max_parallel": 2,
        "validate_only": True,
    },
    "GetBackfill": {"backfill_id": "$backfill"},
    "ListBackfills": {"job_id": "$job", "page_size": 10},
    "PauseBackfill": {"backfill_id": "$backfill"},
    "ResumeBackfill": {"backfill_id": "$backfill"},
    "CancelBackfill": {"backfill_id": "$backfill"},
    "ForecastLoad": {"span": "3600s", "bucket": "60s", "queue": "scraping"},
    # TargetService
    "RegisterTarget": {"name": "extra-service", "address": "localhost:1", "validate_only": True},
    "UnregisterTarget": {"name": "extra-service"},
    "ListTargets": {"page_size": 10},
    "DescribeTarget": {"name": "scraper-service", "method": "ScrapeCompetitorPrices"},
    "TestTarget": {"name": "scraper-service", "timeout": "0.2s"},
    # StatisticsService
    "GetStatistics": {"group_by": "GROUP_BY_JOB", "window": "3600s", "limit": 10},
    "ListQueues": {},
    "ListWorkers": {},
    # AdminService
    "Audit": {"job_id": "$job"},
    "ListDeadLetters": {"job_id": "$job", "page_size": 10},
    "RetryDeadLetters": {"execution_ids": ["$failed"]},
    "DiscardDeadLetters": {"execution_ids": ["$failed"], "reason": "old"},
    "Diagnose": {"timeout": "0.2s"},
    # MaintenanceService
    "HealthCheckServices": {"timeout": "0.2s"},
    "CleanupOldExecutionRecords": {"older_than_days": 3000},
}
"""By the method's short name, which is its own in all services."""
