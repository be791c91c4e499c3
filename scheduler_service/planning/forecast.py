"""The forecast: the load to come, as fresh as its cost allows; and whether a job adds to a peak of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scheduler_service.planning.load import MINUTES, from_json
from shared.domain.errors import Unavailable
from shared.domain.load import MINUTE, fires_by_minute
from shared.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime

    from scheduler_service.planning.load import Load
    from shared.domain.schedule import Schedule

log = get_logger()

FRESH: Final = 10.0
"""Seconds for which a load is told again as it is."""
RESTS: Final = 10
"""How many times as long as a load took to be computed it is told again: its share of a core is a tenth."""
OLDEST: Final = 3_600.0
"""Seconds after which it is computed anew, however long that takes; load.SPAN allows for it."""
REFRESHED: Final = 60.0
"""Seconds between two computations that nobody asked for."""
LONGEST: Final = 1_800.0
"""Seconds that a computation may take."""
_LAST_WORDS: Final = 500

Compute: TypeAlias = "Callable[[], Coroutine[Any, Any, Load]]"


def in_process(mongodb_url: str) -> Compute:
    """Return what computes the load in a process of its own. It raises Unavailable."""

    async def compute() -> Load:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scheduler_service.planning.forecast_process"),
            env={**os.environ, "MONGODB_URL": mongodb_url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONGEST):
                said, errors = await process.communicate()
        except TimeoutError:
            raise Unavailable(f"the forecast was not computed within {LONGEST:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        if process.returncode:
            last = errors.decode(errors="replace").strip()[-_LAST_WORDS:]
            log.warning("the forecast was not computed", action="forecast_failed", code=process.returncode, said=last)
            raise Unavailable("the forecast could not be computed now; try again")
        return from_json(json.loads(said))

    return compute


class Forecast:
    """The load to come. One computation at a time, whoever waits for it."""

    def __init__(self, compute: Compute, peak_limit: int) -> None:
        """peak_limit: fires in a minute beyond which jobs are warned about; 0 for never."""
        self.peak_limit = peak_limit
        self._compute = compute
        self._load: Load | None = None
        self._stale_at = 0.0
        self._computing: asyncio.Task[Load] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._since: Counter[datetime] = Counter()
        """Fires by minute that jobs have added since the computation of the load began."""

    def start(self) -> None:
        """Keep a load at hand, if jobs are to be warned about."""
        if self.peak_limit:
            self._refreshing = asyncio.create_task(self._refresh(), name="forecast")

    async def stop(self) -> None:
        """End what is being computed."""
        tasks = [task for task in (self._refreshing, self._computing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def read(self) -> Load:
        """Return a load that is fresh, as far as its cost allows. Raises Unavailable."""
        if self._load is not None and monotonic() < self._stale_at:
            return self._load
        if self._computing is None:
            self._computing = asyncio.create_task(self._renew(), name="forecast-once")
        # Whoever asked first may give up without the others.
        return await asyncio.shield(self._computing)

    async def warnings(
        self, schedule: Schedule, key: str, before: Schedule | None = None, *, stored: bool = True
    ) -> list[str]:
        """Return a sentence when a schedule that a job was just given, or would be, adds to a peak beyond the limit.

        By the load that is at hand; before the first there is nothing to say. key: as fires_by_minute. before: the
        schedule that it takes the place of; when it is the same nothing is added. stored: whether it was given.
        """
        load = self._load
        if not self.peak_limit or load is None or schedule == before:
            return []
        new = await asyncio.to_thread(_by_time, schedule, load.start, key)
        old = await asyncio.to_thread(_by_time, before, load.start, key) if before is not None else {}
        since = self._since.copy()
        since.update(new)
        since.subtract(old)
        if stored:
            self._since = since
        totals = {minute: _total(load, minute) + since[minute] for minute in new if new[minute] > old.get(minute, 0)}
        beyond = [minute for minute, total in totals.items() if total > self.peak_limit]
        if not beyond:
            return []
        highest = max(beyond, key=lambda minute: (totals[minute], -minute.timestamp()))
        more = f"; so have {len(beyond) - 1:,} other minutes" if len(beyond) > 1 else ""
        said = (
            f"schedule_config: with it the minute {highest:%Y-%m-%dT%H:%MZ} has {totals[highest]:,} fires, more than"
            f" PEAK_FIRES_PER_MINUTE ({self.peak_limit:,}){more}. Another minute, or jitter, would spread the load"
        )
        return [said]

    async def _renew(self) -> Load:
        began = monotonic()
        since, self._since = self._since, Counter()
        try:
            load = await self._compute()
        except BaseException:
            self._since.update(since)
            raise
        finally:
            self._computing = None
        took = monotonic() - began
        self._load, self._stale_at = load, monotonic() + max(FRESH, min(OLDEST, RESTS * took))
        log.info("forecast computed", action="forecast_computed", jobs=load.jobs, seconds=round(took, 2))
        return load

    async def _refresh(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.read()
            await asyncio.sleep(max(REFRESHED, self._stale_at - monotonic()))


def _by_time(schedule: Schedule, start: datetime, key: str) -> Mapping[datetime, int]:
    fires = fires_by_minute(schedule, start, MINUTES, key=key)
    return {start + minute * MINUTE: count for minute, count in fires.items()}


def _total(load: Load, at: datetime) -> int:
    minute = (at - load.start) // MINUTE
    return sum(counts[minute] for counts in load.fires.values())
