"""Where the rules of a zone come from (rule 14 of docs/schedules.md)."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from string import ascii_lowercase
from typing import TYPE_CHECKING

import pytest

from shared.domain import zones
from shared.domain.errors import InvalidInput, Unavailable
from shared.domain.schedule import (
    CronSchedule,
    Schedule,
    from_document,
    parse_schedule,
    to_document,
    with_package_rules,
)
from shared.domain.zones import (
    EPOCH,
    UnknownRules,
    fingerprint,
    is_older,
    knows_rules,
    package_rules,
    register_rules,
    tzdata_version,
    zone,
    zone_data,
    zone_names,
)
from tests.tzdata import fixed, from_then_on, install, installed

if TYPE_CHECKING:
    from pathlib import Path


def seconds(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1)


def test_zone_data_comes_from_the_package_and_not_from_the_host(tmp_path: Path) -> None:
    wrong = tmp_path / "Europe" / "Berlin"
    wrong.parent.mkdir()
    wrong.write_bytes((files("tzdata") / "zoneinfo" / "UTC").read_bytes())
    host = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        fresh = zone.__wrapped__("Europe/Berlin", package_rules("Europe/Berlin"))
        assert fresh.wall(seconds("2026-07-01")) == seconds("2026-07-01T02:00")
    finally:
        zoneinfo.reset_tzpath(host)
        zoneinfo.ZoneInfo.clear_cache()


def test_the_version_of_the_zone_data_is_known_and_can_be_compared() -> None:
    listed = (files("tzdata") / "zoneinfo" / "tzdata.zi").read_text(encoding="utf-8").splitlines()[0]
    year, number = tzdata_version().split(".")
    assert listed == f"# version {year}{ascii_lowercase[int(number) - 1]}"
    assert is_older("2026.9", "2026.10")
    assert is_older("2025.3", "2026.1")
    assert is_older("", "2026.1")
    assert not is_older("2026.1", "2026.1")


def test_missing_zone_data_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(zones, "files", missing)
    with pytest.raises(Unavailable, match="install the package tzdata"):
        zone_names.__wrapped__()
    with pytest.raises(Unavailable, match="install the package tzdata"):
        tzdata_version.__wrapped__()


# Rules that are kept (docs/decisions/0007)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"
HOUR = 3600


def parsed(kind: str, timezone: str = BERLIN, **config: str) -> Schedule:
    return parse_schedule(type=kind, config=config, timezone=timezone, now=NOW, hash_key="job-1")


def test_a_schedule_names_the_rules_that_it_follows_and_the_version_they_came_with() -> None:
    schedule = parsed("cron", hour="8", minute="0")
    assert schedule.rules == package_rules(BERLIN) == fingerprint(BERLIN, zone_data(BERLIN))
    assert schedule.tzdata == tzdata_version()
    assert from_document(to_document(schedule)) == schedule


def test_zones_of_the_same_rules_are_told_apart_because_they_may_part() -> None:
    assert zone_data("Europe/Kiev") == zone_data("Europe/Kyiv")
    assert package_rules("Europe/Kiev") != package_rules("Europe/Kyiv")


def test_schedules_that_do_not_depend_on_a_zone_name_no_rules() -> None:
    assert parsed("interval", hours="1").rules == ""
    assert parsed("once", at="2030-01-31T08:00:00+01:00").rules == ""
    assert parsed("once", at="2030-01-31T08:00:00").rules == package_rules(BERLIN)
    assert parsed("interval", hours="1").tzdata == tzdata_version()


def test_a_stored_schedule_goes_on_by_its_rules_when_the_package_has_others(tmp_path: Path) -> None:
    schedule = parsed("cron", hour="8", minute="0")
    document, rules = to_document(schedule), zone_data(BERLIN)
    with installed(install(tmp_path, "2030.1", {BERLIN: fixed(5 * HOUR)})):
        assert not knows_rules(BERLIN, schedule.rules)
        with pytest.raises(UnknownRules, match="of Europe/Berlin are not known here"):
            from_document(document)
        register_rules(BERLIN, schedule.rules, rules)
        kept = from_document(document)
        assert kept.next_after(NOW) == datetime(2026, 3, 3, 7, tzinfo=UTC)
        upgraded = with_package_rules(kept)
        assert upgraded.next_after(NOW) == datetime(2026, 3, 3, 3, tzinfo=UTC)
        assert (upgraded.tzdata, upgraded.rules) == ("2030.1", package_rules(BERLIN))
        assert upgraded != kept


def test_a_stored_schedule_goes_on_when_its_zone_is_gone_from_the_package(tmp_path: Path) -> None:
    schedule = parsed("cron", hour="8", minute="0")
    document, rules = to_document(schedule), zone_data(BERLIN)
    with installed(install(tmp_path, "2030.1", {BERLIN: None})):
        with pytest.raises(InvalidInput, match="'Europe/Berlin' is not an IANA time zone"):
            parsed("cron", hour="8", minute="0")
        register_rules(BERLIN, schedule.rules, rules)
        kept = from_document(document)
        assert kept.next_after(NOW) == datetime(2026, 3, 3, 7, tzinfo=UTC)
        with pytest.raises(InvalidInput, match="'Europe/Berlin' is not an IANA time zone"):
            with_package_rules(kept)


def test_a_document_from_before_rules_were_kept_goes_by_those_of_the_package() -> None:
    document = to_document(parsed("cron", hour="8", minute="0"))
    del document["rules"], document["tzdata"]
    old = from_document(document)
    assert isinstance(old, CronSchedule)
    assert (old.rules, old.tzdata) == ("", "")
    assert old.next_after(NOW) == datetime(2026, 3, 3, 7, tzinfo=UTC)


def test_damaged_rules_are_not_taken() -> None:
    with pytest.raises(ValueError, match="is damaged"):
        register_rules(BERLIN, package_rules(BERLIN), fixed(HOUR))


def test_a_local_once_comes_when_the_clock_shows_its_time_by_the_rules_of_then(tmp_path: Path) -> None:
    local, exact = parsed("once", at="2030-01-31T08:00:00"), parsed("once", at="2030-01-31T08:00:00+01:00")
    rules = zone_data(BERLIN)
    with installed(install(tmp_path, "2030.1", {BERLIN: fixed(2 * HOUR)})):
        register_rules(BERLIN, local.rules, rules)
        assert with_package_rules(local).next_after(NOW) == datetime(2030, 1, 31, 6, tzinfo=UTC)
        assert with_package_rules(exact).next_after(NOW) == datetime(2030, 1, 31, 7, tzinfo=UTC)


def difference(one: bytes, other: bytes, since: str) -> str | None:
    found = zones.Zone(BERLIN, one).first_difference(zones.Zone(BERLIN, other), seconds(since))
    return None if found is None else (EPOCH + timedelta(seconds=found)).isoformat()[:16]


def test_the_first_instant_at_which_two_versions_of_a_zone_differ_is_found() -> None:
    berlin = zone_data(BERLIN)
    assert difference(berlin, berlin, "2026-01-01") is None
    assert difference(berlin, fixed(HOUR), "2026-01-01") == "2026-03-29T01:00"
    assert difference(fixed(HOUR), berlin, "2026-04-01") == "2026-04-01T00:00"
    late = from_then_on(seconds("2040-06-01"), HOUR, 2 * HOUR)
    assert difference(late, fixed(HOUR), "2026-01-01") == "2040-06-01T00:00"
    # What is different only in the past does not matter any more.
    assert difference(late, fixed(2 * HOUR), "2040-06-01") is None
