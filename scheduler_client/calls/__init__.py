"""What can be asked of the scheduler: for each method of its API a function that makes the call, as a value."""

from scheduler_client.calls import executions, jobs, operations, planning, statistics, targets

__all__ = ["executions", "jobs", "operations", "planning", "statistics", "targets"]
