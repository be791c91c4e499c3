"""Who is alive, and what each worker runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from shared.store import executions, live, processes
from shared.store.processes import About, Kind, Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from shared.store.live import Attempt

MOST_SHOWN: Final = 100
"""Attempts of one worker."""
MOST_SHOWN_IN_ALL: Final = 5_000
"""So that the answer stays below the 4 MB that a gRPC client takes unless told otherwise."""

_ORDER: Final = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Live:
    """A process that is alive; of a worker what it runs, the longest first and not more than is shown, and how many."""

    process: Process
    running: Sequence[Attempt] = ()
    total: int = 0


async def live_processes(database: AsyncDatabase[dict[str, Any]], *, with_running: bool) -> list[Live]:
    """Return the processes that are alive: servers, beats, workers, each by name.

    Also a worker that only its leases tell of, such as one of an older release. Without what they run, how many
    attempts each has is told all the same.
    """
    async with await database[processes.COLLECTION].aggregate(processes.alive_pipeline()) as entries:
        found = [processes.to_process(entry) async for entry in entries]
    rows = database[executions.COLLECTION].find(live.RUNNING, live.RUNNING_FIELDS, limit=live.MOST_READ)
    return arrange(found, [live.to_attempt(row) async for row in rows], MOST_SHOWN_IN_ALL if with_running else 0)


def arrange(found: Iterable[Process], attempts: Iterable[Attempt], most: int) -> list[Live]:
    """Put attempts to the workers that run them. most: how many are shown in all."""
    by_worker: dict[str, list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda attempt: (attempt.started_at, attempt.execution_id)):
        by_worker.setdefault(attempt.worker, []).append(attempt)
    known = {process.about.name: process for process in found}
    silent = {name: _by_leases(running) for name, running in by_worker.items() if name not in known}
    result = []
    for process in sorted(chain(known.values(), silent.values()), key=lambda p: (_ORDER[p.about.kind], p.about.name)):
        running = by_worker.get(process.about.name, [])
        shown = running[: min(MOST_SHOWN, most)]
        most -= len(shown)
        result.append(Live(process, shown, len(running)))
    return result


def _by_leases(running: Sequence[Attempt]) -> Process:
    """Return what the attempts of a worker say of it that says nothing of itself; the first is the oldest."""
    about = About(name=running[0].worker, kind=Kind.WORKER)
    return Process(about, running[0].started_at, max(attempt.heard_at for attempt in running))
