"""The contracts that targets have at this moment, as against those that calls are made by: read anew, all at once.

A contract that is compiled in is right for what workers send, whatever the target has become; so whether calls still
fit is asked of what the target itself says.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from scheduler_service.jobs.target_checks import TargetChecks
from shared.domain.errors import FailedPrecondition, InvalidInput, SchedulerError, Unavailable, Violation
from shared.targets import Targets
from shared.targets.compiled import compiled_contract
from shared.targets.reflection import NotOffered, read_contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.targets import Contract, Target
    from shared.tasks.registry import Tasks

READERS: Final = 16
"""Contracts that are read at a time, in threads of their own: hundreds of targets that are slow to answer must not
keep those that calls wait for."""

Observed: TypeAlias = "Contract | SchedulerError"
"""What a target offers as it says; InvalidInput when it is not what jobs call, another error when nothing is known."""


async def observe(targets: Iterable[Target], within: float) -> dict[str, Observed]:
    """Read the contracts of targets, each in at most so many seconds; raises nothing."""
    wanted = list(targets)
    loop = asyncio.get_running_loop()
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="contracts")
    try:
        found = await asyncio.gather(*(loop.run_in_executor(readers, _observe, target, within) for target in wanted))
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
    return {target.name: contract for target, contract in zip(wanted, found, strict=True)}


def _observe(target: Target, within: float) -> Observed:
    try:
        return read_contract(target, within)
    except NotOffered as gone:
        return InvalidInput([Violation("target_service", str(gone))])
    except FailedPrecondition as refused:
        # Without reflection, or without one for us: what is compiled in is all that can be known.
        return compiled_contract(target) or refused
    except SchedulerError as away:
        return away


def checks_against(observed: Mapping[str, Observed], targets: Targets, tasks: Tasks) -> TargetChecks:
    """Return checks by these contracts; those of other targets are as they are known."""

    def read(target: Target) -> Contract:
        known = observed[target.name] if target.name in observed else others(target.name)
        if isinstance(known, SchedulerError):
            raise known
        return known

    away: dict[str, SchedulerError] = {}

    def others(name: str) -> Observed:
        # One that does not answer is waited for once, and not for each job.
        if name not in away:
            try:
                return targets.contract(name)
            except (Unavailable, FailedPrecondition) as error:
                away[name] = error
        return away[name]

    # Without the services that say which contract is compiled in.
    asked = [replace(targets.target(name), services=()) for name in targets.names]
    return TargetChecks(Targets(asked, read=read), tasks)
