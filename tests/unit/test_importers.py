"""What an import makes of names and bounds, whatever store they come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import yaml

from importers.app import binding
from importers.entries import Entry, Found, Left, collect, job_id
from importers.form import form, write
from shared.domain.job import JOB_ID, ScheduleTerms

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def found(*entries: Entry | Left) -> Found:
    return collect(entries, binding(None), NOW)


def entry(name: str = "often", **fields: Any) -> Entry:
    usual: dict[str, Any] = {"name": name, "task": "app.tasks.report", "schedule": 60}
    return Entry(**usual | fields)


class TestIds:
    @pytest.mark.parametrize("name", ["Nightly report", "x" * 200, "***", "Привет", "a.b(1, 2)", "-", "9"])
    def test_every_name_makes_an_id_the_same_each_time(self, name: str) -> None:
        assert JOB_ID.fullmatch(job_id(name))
        assert job_id(name) == job_id(name)

    def test_names_that_look_alike_make_different_ids(self) -> None:
        ids = [job.draft.job_id for job in found(entry("a b"), entry("A-B"), entry("a_b")).jobs]
        assert ids[0] == "a-b"
        assert len(set(ids)) == 3

    def test_a_name_has_its_id_also_when_one_that_looks_alike_becomes_no_job(self) -> None:
        both = found(entry("a b"), entry("A-B")).jobs
        for other in (entry("a b", args=("only the app names it",)), entry("a b", end_time=NOW), Left("a b", "torn")):
            (job,) = found(other, entry("A-B")).jobs
            assert job.draft.job_id == both[1].draft.job_id

    def test_long_names_with_one_beginning_make_different_ids(self) -> None:
        assert job_id("x" * 100 + "a") != job_id("x" * 100 + "b")


class TestEntries:
    def test_bounds_and_runs_are_the_schedule_s(self) -> None:
        later, latest = NOW + timedelta(days=1), NOW + timedelta(days=2)
        (job,) = found(entry(start_time=later, end_time=latest, runs=3)).jobs
        assert job.draft.schedule == ScheduleTerms(
            "interval", {"every": "1m"}, start_time=later, end_time=latest, max_runs=3
        )
        assert form(job.draft)["schedule_config"] == {
            "type": "interval",
            "config": {"every": "1m"},
            "start_time": "2026-01-02T00:00:00Z",
            "end_time": "2026-01-03T00:00:00Z",
            "max_runs": 3,
        }

    def test_a_schedule_that_never_fires_is_lost(self) -> None:
        never = entry(start_time=NOW + timedelta(days=1), end_time=NOW + timedelta(days=1, seconds=1))
        (left,) = found(never).left
        assert left.lost
        assert "never fires" in left.why

    def test_what_has_ended_and_celery_s_own_tasks_are_no_loss(self) -> None:
        left = found(entry(end_time=NOW), entry(task="celery.backend_cleanup")).left
        assert [each.lost for each in left] == [False, False]

    def test_what_is_no_json_is_lost(self) -> None:
        (left,) = found(entry(kwargs={"x": object()})).left
        assert left.lost
        assert left.why.startswith("kwargs: they can't be written as JSON")
        (job,) = found(entry(kwargs={"x": {1}, "y": NOW})).jobs
        assert job.draft.parameters == {"x": [1], "y": "2026-01-01T00:00:00Z"}

    def test_a_number_that_a_request_cannot_hold_is_lost_and_not_rounded(self) -> None:
        (left,) = found(entry(kwargs={"chats": [1, {"id": 2**53 + 1}], "to": 2**53 - 1})).left
        assert left.lost
        assert left.why.startswith("parameters.chats[1].id: 9007199254740993 is too large for a JSON number")
        assert found(entry(kwargs={"id": str(2**53 + 1), "to": 1 - 2**53})).left == []

    def test_a_description_of_several_lines_that_a_browser_has_sent_is_kept(self) -> None:
        (job,) = found(entry(description="What happened\r\nyesterday.\r\n")).jobs
        assert job.draft.description == "What happened\nyesterday."

    def test_what_is_printed_is_read_as_what_was_found(self) -> None:
        kept = {"x": "a\x85b", "y": ["\u2028", "\x1b[31m", "é 🔥\u00a0", "2030-01-01", "on", "08", " a\n"], "z": {}}
        out = StringIO()
        write(found(entry(kwargs=kept)), out)
        assert yaml.safe_load(out.getvalue())["jobs"][0]["parameters"] == kept

    def test_a_span_is_written_as_json_has_it(self) -> None:
        (job,) = found(entry(options={"expires": 1.5})).jobs
        assert form(job.draft)["expires"] == "1.500s"
