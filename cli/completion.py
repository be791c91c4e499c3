"""What a shell offers when Tab is pressed: ids that the server knows, if it answers at once."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cli.contexts import ConfigError, load
from scheduler_client import SchedulerClient, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE: Final = 0.7
"""Seconds; whoever pressed the key waits."""
MOST: Final = 1_000


def _ids(context: Any, incomplete: str, ask: Callable[[SchedulerClient], Iterator[str]]) -> list[str]:
    found: list[str] = []
    with suppress(ConfigError, SchedulerError, TimeoutError):
        server = load().server(server=context.params.get("server"), context=context.params.get("context"))
        with SchedulerClient(server, timeout=PATIENCE) as scheduler:
            scheduler.connect(PATIENCE)
            found += (name for name in islice(ask(scheduler), MOST) if name.startswith(incomplete))
    return found


def job_ids(ctx: Any, incomplete: str) -> list[str]:
    """Return ids of jobs."""
    return _ids(ctx, incomplete, lambda scheduler: (job.job_id for job in scheduler.jobs(page_size=MOST)))


def execution_ids(ctx: Any, incomplete: str) -> list[str]:
    """Return ids of the latest executions."""
    return _ids(ctx, incomplete, lambda scheduler: (each.execution_id for each in scheduler.executions(page_size=200)))


def target_names(ctx: Any, incomplete: str) -> list[str]:
    """Return names of targets."""
    return _ids(ctx, incomplete, lambda scheduler: (target.name for target in scheduler.targets(page_size=MOST)))


def context_names(incomplete: str) -> list[str]:
    """Return names of contexts."""
    with suppress(ConfigError):
        return [name for name in load().servers if name.startswith(incomplete)]
    return []
