"""Zones: when a zone's rules change, the jobs that follow them get the new ones (docs/decisions/0007)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.domain.schedule import with_package_rules
from shared.domain.zones import EPOCH, is_older, package_rules, tzdata_version, zone, zone_names
from shared.log import get_logger
from shared.store import jobs, zone_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pymongo.database import Database

    from beat.revise import Revise

log = get_logger()

_MARGIN: Final = timedelta(days=2)
"""How far back a difference counts: further than any change of offset, so that none of this moment is overlooked."""


class Zones:
    """One duty of beat. Any number may run at once: each job is changed by compare-and-set.

    Only what an older tzdata left is brought to this process's, so that a beat that still runs with an older one turns
    nothing back.
    """

    def __init__(self, database: Database[dict[str, Any]], revise: Revise) -> None:
        self._jobs = database[jobs.COLLECTION]
        self._kept = database[zone_rules.COLLECTION]
        self._revise = revise
        self._gone: set[str] = set()

    def run_once(self) -> bool:
        """Bring a batch of jobs to the rules of this process's tzdata; return whether there may be more."""
        self._jobs.update_many(jobs.unmarked_filter("interval"), jobs.name_rules("", tzdata_version()))
        if self._change(jobs.unmarked_filter(), "of an unknown version", None):
            return True
        for name, rules, version in self._outdated():
            since = self._first_difference(name, rules)
            if since is None:
                self._rename(name, rules, version)
            elif self._change(jobs.follows_filter(rules, version), version, since):
                return True
        return False

    def _outdated(self) -> Iterator[tuple[str, str, str]]:
        """Return the rules that jobs follow and that an older tzdata had: zone, fingerprint, and that version.

        Asked of the index alone, which holds a few hundred of them, however many jobs there are.
        """
        followed = set(self._jobs.distinct(jobs.RULES)) - {package_rules(name) for name in zone_names()} - {""}
        for kept in list(self._kept.find(zone_rules.of_fingerprints(followed))):
            zone_rules.register(kept)
            if kept["zone"] not in zone_names():
                self._report_gone(kept)
                continue
            for version in self._jobs.distinct(jobs.TZDATA, {jobs.RULES: kept["_id"]}):
                if is_older(version, tzdata_version()):
                    yield kept["zone"], kept["_id"], version

    def _first_difference(self, name: str, rules: str) -> datetime | None:
        """Return since when a zone's clock shows other times by this process's rules; None if it is past."""
        since = int((self._revise.now() - _MARGIN - EPOCH).total_seconds())
        found = zone(name, rules).first_difference(zone(name), since)
        return None if found is None else EPOCH + timedelta(seconds=found)

    def _change(self, found: Mapping[str, Any], version: str, since: datetime | None) -> bool:
        said = f"zone data {version} -> {tzdata_version()}"
        return self._revise.batch(found, with_package_rules, why="zone", said=said, since=since)

    def _rename(self, name: str, rules: str, version: str) -> None:
        """Name the present rules in jobs whose zone differs in the past only: their times are the same by both.

        Most versions of tzdata change the past of some zone; a million closed epochs would say nothing.
        """
        renamed = self._jobs.update_many(
            jobs.follows_filter(rules, version), jobs.name_rules(package_rules(name), tzdata_version())
        )
        if renamed.modified_count:
            log.info(
                "a zone's rules have changed for the past only",
                action="zone_rules_renamed",
                zone=name,
                change=f"zone data {version} -> {tzdata_version()}",
                jobs=renamed.modified_count,
            )

    def _report_gone(self, kept: Mapping[str, Any]) -> None:
        if kept["_id"] not in self._gone:
            self._gone.add(kept["_id"])
            log.warning(
                "a zone is gone from tzdata; what follows it goes on by the rules that were kept",
                action="zone_gone",
                zone=kept["zone"],
                change=f"zone data {kept['tzdata']} -> {tzdata_version()}",
            )
