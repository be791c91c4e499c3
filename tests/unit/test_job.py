"""What a job may be, and that a client is told all that is wrong at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidInput
from shared.domain.job import LARGEST_PARAMETERS, JobState, JobType, ScheduleTerms, define
from shared.domain.plan import Mode
from shared.domain.retry import RetryPolicy
from tests.builders import DEFAULTS, ORIGIN, definition, draft


def refusals(**changes: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        define(draft(**changes), DEFAULTS, ORIGIN)
    return [str(violation) for violation in refused.value.violations]


class TestDefaults:
    @pytest.mark.parametrize("job_type", JobType)
    def test_the_type_decides_the_queue(self, job_type: JobType) -> None:
        assert definition(job_type=job_type.value).queue == DEFAULTS.queue_by_type[job_type]

    def test_what_is_not_said_is_the_default(self) -> None:
        job = definition()
        assert (job.priority, job.timeout, job.retry) == (5, timedelta(minutes=30), RetryPolicy())

    def test_what_is_said_holds_also_when_it_is_nothing(self) -> None:
        job = definition(priority=0, initial_backoff=timedelta(0), queue="manual")
        assert (job.priority, job.retry.initial_backoff, job.queue) == (0, timedelta(0), "manual")

    def test_a_long_first_wait_alone_raises_the_longest(self) -> None:
        retry = definition(initial_backoff=timedelta(hours=1)).retry
        assert (retry.initial_backoff, retry.max_backoff) == (timedelta(hours=1), timedelta(hours=1))

    def test_a_short_longest_wait_alone_lowers_the_first(self) -> None:
        retry = definition(max_backoff=timedelta(seconds=5)).retry
        assert (retry.initial_backoff, retry.max_backoff) == (timedelta(seconds=5), timedelta(seconds=5))

    def test_spaces_around_a_name_do_not_count(self) -> None:
        assert definition(name="  scrape\n").name == "scrape"


def test_everything_wrong_is_said_at_once() -> None:
    assert refusals(
        job_id="Job 1",
        name=" ",
        description="d" * 2001,
        job_type="CLEANING",
        target_service="",
        target_method="",
        schedule=ScheduleTerms("interval", {"hours": "x", "year": "1"}, timezone="Mars/Olympus"),
        parameters={"x": float("nan")},
        queue="nowhere",
        priority=10,
        timeout=timedelta(0),
        max_attempts=0,
        multiplier=0.5,
        labels={"": "v"},
    ) == [
        "job_type: 'CLEANING' is not a job type (SCRAPING, ANALYSIS, MONITORING, MAINTENANCE, CUSTOM)",
        (
            "queue: 'nowhere' is not a configured queue "
            "(analysis, default_queue, maintenance, manual, monitoring, scraping)"
        ),
        "job_id: 'Job 1' is not a job id (a-z, 0-9 and dashes, at most 63 characters, no dash in front)",
        "name: a name is required",
        "description: 2,001 characters are too many (at most 2,000)",
        "target_service: a target is required, as scraper-service",
        "target_method: a method is required, as ScrapeCompetitorPrices",
        "priority: 10 is not a priority (0-9)",
        "timeout: 0 s is not a timeout (more than 0 s, at most 24 h)",
        "parameters: NaN and Infinity are not JSON",
        "labels: label '': key and value need at most 255 characters, the key at least one",
        *refusals(schedule=ScheduleTerms("interval", {"hours": "x", "year": "1"}, timezone="Mars/Olympus")),
        "retry_policy.max_attempts: 0 is not a number of attempts (1-100)",
        "retry_policy.multiplier: 0.5 is not a multiplier (1-1000)",
    ]


def test_a_schedule_tells_each_of_its_faults() -> None:
    said = refusals(schedule=ScheduleTerms("interval", {"hours": "x", "year": "1"}, timezone="Mars/Olympus"))
    assert len(said) == 3
    assert all(sentence.startswith("schedule_config.") for sentence in said)


@pytest.mark.parametrize("schedule", [None, ScheduleTerms("")])
def test_a_job_without_a_schedule_is_told_to_have_one(schedule: ScheduleTerms | None) -> None:
    (said,) = refusals(schedule=schedule)
    assert "required" in said
    assert "cron" in said


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"job_id": "-a"}, "job_id"),
        ({"job_id": "a" * 64}, "job_id"),
        ({"job_id": ""}, "job_id"),
        ({"job_id": "a.b"}, "job_id"),
        ({"job_id": "ok\n"}, "job_id"),
        ({"name": "n" * 201}, "name"),
        ({"timeout": timedelta(days=1, seconds=1)}, "timeout"),
        ({"expires": timedelta(0)}, "expires"),
        ({"expires": timedelta(days=367)}, "expires"),
        ({"priority": -1}, "priority"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
        ({"labels": {"k": "v" * 256}}, "labels"),
        ({"parameters": {"x": "x" * LARGEST_PARAMETERS}}, "parameters"),
        ({"max_attempts": 101}, "retry_policy.max_attempts"),
    ],
)
def test_a_field_beyond_its_bounds_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    (said,) = refusals(**changes)
    assert said.startswith(f"{field}: ")


def test_bytes_of_parameters_are_counted_as_they_are_kept() -> None:
    text = "価格" * (LARGEST_PARAMETERS // 6 - 10)  # three bytes each
    assert definition(parameters={"query": text}).parameters == {"query": text}


def test_text_that_the_store_could_not_keep_is_refused() -> None:
    assert refusals(parameters={"query": "\ud800"}) == ["parameters: a text in it cannot be written as UTF-8"]


def test_a_refusal_does_not_repeat_a_value_of_any_length() -> None:
    (said,) = refusals(job_id="x" * 10_000)
    assert len(said) < 250


@given(st.text())
def test_no_job_id_with_anything_else_than_letters_digits_and_dashes_is_accepted(job_id: str) -> None:
    try:
        accepted = definition(job_id=job_id).job_id
    except InvalidInput:
        return
    assert set(accepted) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_definition_can_be_drafted_and_defined_again_unchanged() -> None:
    job = definition(
        labels={"team": "pricing"},
        priority=0,
        max_attempts=2,
        schedule=ScheduleTerms("cron", {"expression": "0 8 * * *"}),
    )
    assert define(job.draft(), DEFAULTS, datetime(2030, 1, 1, tzinfo=UTC)) == job


@pytest.mark.parametrize(
    ("state", "mode"),
    [
        (JobState.ACTIVE, Mode.ACTIVE),
        (JobState.COMPLETED, Mode.ACTIVE),
        (JobState.ERROR, Mode.ACTIVE),
        (JobState.PAUSED, Mode.PAUSED),
        (JobState.DELETED, Mode.DELETED),
    ],
)
def test_a_jobs_state_says_whether_its_occurrences_fire(state: JobState, mode: Mode) -> None:
    assert state.mode is mode


def test_what_people_read_hides_nothing() -> None:
    said = refusals(
        name="Prices\x1b[2J",
        description="two\nlines,\ta tab and \u202esecirp",
        labels={"team\n": "x", "owner": "a\tb", "fine": "価格"},
    )
    assert [sentence.partition(", ")[0] for sentence in said] == [
        "name: has the character U+001B",
        "description: has the character U+202E",
        "labels: label 'team\\n': has the character U+000A",
        "labels: label 'owner': has the character U+0009",
    ]
    assert definition(description="two\nlines,\ta tab").description == "two\nlines,\ta tab"


def test_a_job_that_was_stored_with_such_a_name_can_still_be_read() -> None:
    assert replace(definition(), name="Prices\x1b").name == "Prices\x1b"
