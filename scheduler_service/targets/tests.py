"""The test of a target: whether it answers, how fast, and whether the jobs that use it fit what it offers now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from scheduler_service.targets.contracts import checks_against, observe
from scheduler_service.targets.drift import problems_of
from scheduler_service.targets.probes import Health, Status, look, target_probe
from scheduler_service.targets.use import TargetUse
from shared.domain.errors import InvalidInput, SchedulerError
from shared.domain.job import TASK

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.targets.contracts import Observed
    from scheduler_service.targets.drift import Drift
    from shared.targets import Target, Targets
    from shared.tasks.registry import Tasks

MOST_MISFITS: Final = 100


@dataclass(slots=True)
class Tested:
    """What a test has found. misfits: job ids and what does not fit, the first of them."""

    health: Health
    contract_read: bool = False
    message: str = ""
    jobs_checked: int = 0
    misfits: list[tuple[str, list[str]]] = field(default_factory=list)
    misfits_total: int = 0


class TargetTests:
    """Tests targets. Changes nothing, but that a contract which is another one is looked at by the next health check.

    Raises PyMongoError when the store can't be reached.
    """

    def __init__(self, database: AsyncDatabase[dict[str, Any]], targets: Targets, tasks: Tasks, drift: Drift) -> None:
        self._use = TargetUse(database)
        self._targets = targets
        self._tasks = tasks
        self._drift = drift

    async def run(self, target: Target, within: float) -> Tested:
        """Test a target, which has so many seconds to answer; then check its jobs, however many there are."""
        if target.name == TASK:
            tested = Tested(Health(TASK, Status.SERVING, timedelta(0)), contract_read=True)
            observed: dict[str, Observed] = {}
        else:
            health, observed = await asyncio.gather(
                look(target.name, target_probe(target.address), within), observe([target], within)
            )
            tested = _tested(health, observed[target.name])
            if tested.contract_read:
                await self._drift.read_now(target.name, observed[target.name])
        checks = checks_against(observed, self._targets, self._tasks)
        async for batch in self._use.batches(target.name):
            judged = await asyncio.to_thread(problems_of, batch, checks)
            for job, said in zip(batch, judged, strict=True):
                if said is None:
                    continue
                tested.jobs_checked += 1
                if said:
                    tested.misfits_total += 1
                    if len(tested.misfits) < MOST_MISFITS:
                        tested.misfits.append((job["_id"], said))
        return tested


def _tested(health: Health, observed: Observed) -> Tested:
    said = [health.message] if health.message else []
    match observed:
        case InvalidInput(violations=violations):
            return Tested(health, contract_read=True, message="; ".join([*said, *(v.description for v in violations)]))
        case SchedulerError():
            return Tested(health, message="; ".join([*said, str(observed)]))
        case _:
            return Tested(health, contract_read=True, message="; ".join(said))
