"""Calendars: when a calendar or a country's holidays change, the jobs that leave out their days get the new ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from shared.domain.errors import InvalidInput
from shared.log import get_logger
from shared.store import jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

    from beat.revise import Revise
    from shared.calendars import Calendars as Configured
    from shared.domain.exclusions import Resolved
    from shared.domain.schedule import Schedule

log = get_logger()

_MARGIN: Final = timedelta(days=14)
"""How far before the first day that is another a fire may move: across excluded days, to a business day before them."""


class Calendars:
    """One duty of beat. Any number may run at once: each job is changed by compare-and-set.

    All beats must have the same calendars, and the same version of the library holidays: of two that differ, each gives
    the jobs its own days, when it starts and every hour, until they are the same again.
    """

    def __init__(self, database: Database[dict[str, Any]], calendars: Configured, revise: Revise) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._calendars = calendars
        self._revise = revise
        self._lost: set[str] = set()

    def run_once(self) -> bool:
        """Give a batch of jobs the days that their calendars have now; return whether there may be more."""
        for source in self._jobs.distinct(jobs.DAYS_SOURCE, jobs.HAS_NAMED_DAYS):
            one = self._jobs.find_one(jobs.days_filter(source), jobs.REVISING_FIELDS)
            if one is not None and self._renew(source, one["schedule"]["exclusions"]):
                return True
        return False

    def _renew(self, source: str, exclusions: Mapping[str, Any]) -> bool:
        """Change jobs whose days come from one source; the same names gave them the same days."""
        calendars, holidays = tuple(exclusions["calendars"]), tuple(exclusions["holidays"])
        now = self._revise.now()
        try:
            renewed = self._calendars.renewed(source, calendars, holidays, now)
        except InvalidInput as refused:
            self._report_lost(source, refused)
            return False
        if renewed is None:
            return False
        before = {date.fromordinal(day) for day in exclusions["resolved"]}
        others = [day for day in before ^ set(renewed.days) if day >= now.date() - _MARGIN]
        since = datetime.combine(min(others), time(), UTC) - _MARGIN if others else None
        return self._revise.batch(
            jobs.days_filter(source),
            partial(_with_days, renewed),
            why="calendar",
            said=f"days of {', '.join([*calendars, *holidays])}",
            since=since,
        )

    def _report_lost(self, source: str, refused: InvalidInput) -> None:
        if source not in self._lost:
            self._lost.add(source)
            log.warning(
                "a calendar is gone; the jobs that name it keep the days that they have",
                action="calendar_gone",
                error=str(refused),
            )


def _with_days(renewed: Resolved, schedule: Schedule) -> Schedule:
    if schedule.exclusions is None:
        return schedule
    return replace(schedule, exclusions=schedule.exclusions.with_resolved(renewed.days, renewed.source))
