"""Drift: jobs that were right when they were made, and whose targets have changed since.

A job that is new, changed, or whose target has another contract than before is marked unchecked in the store; whoever
checks it takes the mark off, in the write that says what was found, and only if nobody has edited the job meanwhile. So
a check costs what has changed, however many jobs there are, and goes on where another one ended.

That a contract is another one is noted before the jobs are marked; also those are that are unchecked already. Who
checks some reads them first, and then whether the contracts are those that it knows: a contract that becomes another
one after that marks them once more, and what was found by the one of before is not written.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo import ReturnDocument, UpdateOne

from scheduler_service.targets.contracts import checks_against, observe
from scheduler_service.targets.use import BATCH, CALL_FIELDS, TargetUse
from scheduler_service.transport.refusals import shortened
from shared.domain.errors import FailedPrecondition, InvalidInput, Unavailable
from shared.domain.job import TASK
from shared.log import get_logger
from shared.metrics import SERVER_DRIFTED
from shared.store import calls, jobs, targets
from shared.store.flows import to_flow
from shared.targets import Contract
from shared.tasks import shape

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping

    from pymongo.asynchronous.database import AsyncDatabase

    from scheduler_service.jobs.target_checks import TargetChecks
    from scheduler_service.targets.contracts import Observed
    from shared.domain.flow import Flow
    from shared.targets import Targets
    from shared.tasks.registry import Tasks

log = get_logger()

MOST_CHECKED: Final = 20_000
"""Jobs in one go; the next one goes on. About as many seconds as thousands, of one thread."""
LONGEST: Final = 60.0
"""Seconds for all of it, so that a health check ends."""
MOST_PROBLEMS: Final = 20
LONGEST_PROBLEM: Final = 600
MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class JobCall:
    """What a job calls, without the rest of it."""

    target_service: str
    target_method: str
    parameters: Mapping[str, object]
    flow: Flow | None

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> JobCall:
        """Read it from a job's document."""
        flow = to_flow(job["flow"]) if job.get("flow") else None
        return cls(job["target_service"], job["target_method"], json.loads(job["parameters"]), flow)


@dataclass(slots=True)
class Checked:
    """What a look for drift has found. drifted: the documents of those that are known the longest."""

    checked: int = 0
    left: bool = False
    drifted: list[dict[str, Any]] = field(default_factory=list)
    drifted_total: int = 0


def problems_of(batch: Iterable[Mapping[str, Any]], checks: TargetChecks) -> list[list[str] | None]:
    """Return what of each job's calls does not fit, as sentences; None where that can't be told now. Blocks."""
    return [_problems(job, checks) for job in batch]


def _problems(job: Mapping[str, Any], checks: TargetChecks) -> list[str] | None:
    try:
        checks.check(JobCall.of(job))
    except InvalidInput as refused:
        said = [shortened(str(wrong), LONGEST_PROBLEM) for wrong in refused.violations]
        more = [f"and {len(said) - MOST_PROBLEMS:,} more"] if len(said) > MOST_PROBLEMS else []
        return said[:MOST_PROBLEMS] + more
    except (Unavailable, FailedPrecondition):
        return None
    except (KeyError, TypeError, ValueError):
        # A document that can't be read is not the target's fault; whoever reads the job is told.
        return []
    return []


class Drift:
    """Looks for it. Any number of servers may do so at once. All raise PyMongoError when the store can't be reached."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], targets_: Targets, tasks: Tasks) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._contracts = database[targets.CONTRACTS]
        self._targets = targets_
        self._tasks = tasks
        self._use = TargetUse(database)

    async def look(self, unreachable: Collection[str], within: float) -> Checked:
        """Read the contracts of targets, and check the jobs that may not fit them any more.

        unreachable: targets that are known not to answer. within: seconds that each of the others has for it. Jobs of
        targets about which nothing is known stay as they are.
        """
        ends = time.monotonic() + LONGEST
        await self._use.note_flows()
        reachable = [self._targets.target(name) for name in self._targets.names if name not in unreachable]
        observed = await observe(reachable, within)
        known = {name: print_ for name, contract in observed.items() if (print_ := _fingerprint(contract))}
        known[TASK] = await asyncio.to_thread(shape.fingerprint, self._tasks)
        # Targets that are gone: their jobs can't fit, until there is one of the name again.
        known |= dict.fromkeys(await self._use.named() - {*self._targets.names, TASK}, "gone")
        await self._mark_changed(known)
        away = {name: Unavailable(f"{name} does not answer") for name in unreachable}
        checks = checks_against({**observed, **away}, self._targets, self._tasks)
        found = Checked()
        async with aclosing(self._unchecked(known, found, ends)) as batches:
            async for batch in batches:
                if not await self._stand(known):
                    found.left = True
                    break
                await self._judge(batch, checks, found)
        found.drifted_total = await self._jobs.count_documents(calls.HAS_DRIFT)
        drifted = self._jobs.find(calls.HAS_DRIFT, {jobs.DRIFT: 1}, sort=[("drift.since", 1)], limit=MOST_SHOWN)
        found.drifted = [job async for job in drifted]
        SERVER_DRIFTED.set(found.drifted_total)
        return found

    async def read_now(self, name: str, contract: Observed) -> None:
        """Take note of a contract that was read: jobs are checked at the next look when it is another one."""
        if fingerprint := _fingerprint(contract):
            await self._mark_changed({name: fingerprint})

    async def forget(self, name: str) -> None:
        """Take note that a target is another service now: nothing is known of whether its jobs fit."""
        await self._jobs.update_many(calls.uses_filter(name), calls.forget_drift())

    async def _mark_changed(self, known: Mapping[str, str]) -> None:
        """Mark the jobs of targets that have another contract; note that after it, so that no crash loses the mark."""
        before = await self._noted(known)
        for name, fingerprint in known.items():
            if before.get(name) != fingerprint:
                coming = await self._contracts.find_one_and_update(
                    {"_id": name},
                    targets.contract_coming(fingerprint),
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
                assert coming is not None  # noqa: S101 - it was inserted, if it was not there
                if name in self._targets.names:
                    self._targets.forget(name)
                # A million jobs take longer than other writes may.
                with pymongo.timeout(LONGEST):
                    marked = await self._jobs.update_many(*calls.mark_unchecked(name, coming["marking"]))
                log.info(
                    "a target's contract is another one",
                    action="contract_changed",
                    target=name,
                    jobs=marked.modified_count,
                )
        if known:
            notes = [UpdateOne(*targets.contract_read(name, it)) for name, it in known.items()]
            await self._contracts.bulk_write(notes, ordered=False)

    async def _noted(self, names: Iterable[str]) -> dict[str, str | None]:
        """Return the contracts that the jobs of targets are marked for, by their fingerprints."""
        found = self._contracts.find(targets.contracts_filter(names))
        return {each["_id"]: targets.noted_contract(each) async for each in found}

    async def _stand(self, known: Mapping[str, str]) -> bool:
        """Return whether nobody has noted meanwhile that one of these contracts is another one."""
        return await self._noted(known) == known

    async def _unchecked(
        self, names: Iterable[str], found: Checked, ends: float
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Return the unchecked jobs of targets in batches, until there are none, or it is enough."""
        for name in sorted(names):
            for kind in (0, 1):
                after = ""
                while True:
                    chosen = calls.unchecked_filter(name, after)[kind]
                    batch = await self._jobs.find(chosen, CALL_FIELDS, sort=[("_id", 1)], limit=BATCH).to_list()
                    if not batch:
                        break
                    if found.checked >= MOST_CHECKED or time.monotonic() >= ends:
                        found.left = True
                        return
                    yield batch
                    after = batch[-1]["_id"]

    async def _judge(self, batch: list[dict[str, Any]], checks: TargetChecks, found: Checked) -> None:
        judged = await asyncio.to_thread(problems_of, batch, checks)
        verdicts = [(job, said) for job, said in zip(batch, judged, strict=True) if said is not None]
        found.left |= len(verdicts) < len(batch)
        if not verdicts:
            return
        updates = [UpdateOne(calls.judged_filter(job), calls.judged(said)) for job, said in verdicts]
        written = await self._jobs.bulk_write(updates, ordered=False)
        found.checked += written.matched_count
        if written.matched_count < len(updates):
            # The others were edited or marked meanwhile, and judged by somebody else since, or are still to be.
            found.left = True
            ids = [job["_id"] for job, _ in verdicts]
            stored = self._jobs.find({"_id": {"$in": ids}}, {jobs.DRIFT: 1, jobs.UNCHECKED: 1})
            stands = {job["_id"]: _noted_problems(job) async for job in stored if not job.get(jobs.UNCHECKED)}
            verdicts = [(job, said) for job, said in verdicts if stands.get(job["_id"]) == said]
        for job, said in verdicts:
            _tell(job, said)


def _noted_problems(job: Mapping[str, Any]) -> list[str]:
    return list((job.get(jobs.DRIFT) or {}).get("problems", ()))


def _tell(job: Mapping[str, Any], said: list[str]) -> None:
    before = _noted_problems(job)
    if said and said != before:
        log.warning("a job does not fit its target any more", action="job_drifted", job_id=job["_id"], problems=said)
    elif before and not said:
        log.info("a job fits its target again", action="job_fits_again", job_id=job["_id"])


def _fingerprint(observed: Observed) -> str:
    """Return what tells one state of a target from another; empty when nothing is known of it."""
    match observed:
        case Contract():
            return observed.fingerprint
        case InvalidInput():
            return f"refused {sha256(str(observed).encode()).hexdigest()[:16]}"
        case _:
            return ""
