"""Rows that cannot be read are named in the log: seldom, and by no more memory than a bound, however many there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from beat import reminders
from beat.reminders import Reminders
from tests.builders import at

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest


def named(rows: Reminders, *ids: str) -> list[str]:
    """Name rows, and return those of which the log has a line then."""
    with capture_logs() as logs:
        for each in ids:
            rows.name({"_id": each}, "it has no time")
    return [line["execution_id"] for line in logs]


def test_a_row_is_named_again_only_when_it_is_time_to_remind(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(reminders, "monotonic", lambda: now)
    rows = Reminders()
    assert named(rows, "a", "a", "b", "a") == ["a", "b"]
    now += reminders.REMINDER - 1
    assert named(rows, "a", "b", "c") == ["c"]
    now += 1
    assert named(rows, "a", "b", "c") == ["a", "b"]


def test_of_very_many_rows_a_bounded_number_is_named_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(reminders, "monotonic", lambda: now)
    monkeypatch.setattr(reminders, "MOST", 2)
    rows = Reminders()
    assert named(rows, "a", "b", "c", "a", "c") == ["a", "b"]
    now += reminders.REMINDER
    assert named(rows, "c", "d", "a") == ["c", "d"]


def test_a_row_whose_time_cannot_be_read_comes_after_all_others() -> None:
    def in_order(rows: Iterable[dict[str, Any]]) -> list[str]:
        return [row["_id"] for row in sorted(rows, key=Reminders().nominal_time)]

    last = datetime(9999, 1, 1, tzinfo=UTC)
    damages: tuple[dict[str, Any], ...] = ({}, {"nominal_time": None}, {"nominal_time": "soon"})
    for broken in damages:
        rows = [{"_id": "broken", **broken}, {"_id": "last", "nominal_time": last}, {"_id": "a", "nominal_time": at(0)}]
        assert in_order(rows) == ["a", "last", "broken"]
