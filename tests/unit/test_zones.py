"""Where the rules of a zone come from (rule 14 of docs/schedules.md)."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from shared.domain import zones
from shared.domain.errors import Unavailable
from shared.domain.zones import EPOCH, tzdata_version, zone, zone_names

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
        fresh = zone.__wrapped__("Europe/Berlin")
        assert fresh.wall(seconds("2026-07-01")) == seconds("2026-07-01T02:00")
    finally:
        zoneinfo.reset_tzpath(host)
        zoneinfo.ZoneInfo.clear_cache()


def test_the_version_of_the_zone_data_is_known() -> None:
    listed = (files("tzdata") / "zoneinfo" / "tzdata.zi").read_text(encoding="utf-8").splitlines()[0]
    assert listed == f"# version {tzdata_version()}"


def test_missing_zone_data_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(zones, "files", missing)
    with pytest.raises(Unavailable, match="install the package tzdata"):
        zone_names.__wrapped__()
    with pytest.raises(Unavailable, match="install the package tzdata"):
        tzdata_version()
