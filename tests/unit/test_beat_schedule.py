"""Entries of beat_schedule as drafts of jobs: what people write is taken, and what can't be kept is said at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from kombu import Queue

from beat.configured import Entry, read_entries
from shared.beat_schedule import read_entry, slug
from shared.domain.errors import InvalidInput
from shared.domain.job import JobDraft, ScheduleTerms
from shared.tasks.registry import Tasks
from shared.tasks.task import LedgeredTask
from tests.builders import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def bind(_task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {f"arg{number}": value for number, value in enumerate(args)} | dict(kwargs)


def read(name: str = "nightly report", **entry: Any) -> JobDraft:
    usual = {"task": "app.tasks.report", "schedule": crontab(hour=3, minute=0)}
    return read_entry(name, usual | entry, "Europe/Berlin", bind)


def refusals(**entry: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        read(**entry)
    return [str(violation) for violation in refused.value.violations]


class TestEntry:
    def test_it_becomes_a_job_that_runs_the_task(self) -> None:
        draft = read(args=(1, "x"), kwargs={"full": True}, options={"queue": "manual", "priority": 8, "expires": 90})
        assert draft == JobDraft(
            job_id="nightly-report",
            name="nightly report",
            job_type="CUSTOM",
            target_service="task",
            target_method="app.tasks.report",
            schedule=ScheduleTerms("cron", {"expression": "0 3 * * *"}, "Europe/Berlin"),
            parameters={"arg0": 1, "arg1": "x", "full": True},
            queue="manual",
            priority=8,
            expires=timedelta(seconds=90),
        )

    def test_options_on_how_a_message_travels_change_nothing(self) -> None:
        options = {"serializer": "pickle", "retry": False, "delivery_mode": 1, "queue": None}
        assert read(options=options) == read()

    def test_a_time_limit_is_the_timeout(self) -> None:
        assert read(options={"time_limit": 30}).timeout == timedelta(seconds=30)

    def test_what_a_task_is_sent_with_holds_where_the_entry_does_not_say(self) -> None:
        own = {"queue": Queue("manual"), "priority": 9, "expires": timedelta(hours=1)}
        draft = read_entry("x", {"task": "t", "schedule": 60, "options": {"priority": 2}}, "UTC", bind, own)
        assert (draft.queue, draft.priority, draft.expires) == ("manual", 2, timedelta(hours=1))

    def test_an_entry_that_celery_has_made_is_read_as_well(self) -> None:
        made = ScheduleEntry("x", "app.tasks.report", schedule=schedule(300), args=(1,), app=Celery())
        draft = read_entry("x", made, "UTC", bind)
        assert draft.schedule == ScheduleTerms("interval", {"every": "5m"})
        assert draft.parameters == {"arg0": 1}

    def test_a_relative_interval_fires_on_the_clock(self) -> None:
        draft = read(schedule=timedelta(hours=1), relative=True)
        assert draft.schedule == ScheduleTerms("cron", {"expression": "0 * * * *"}, "Europe/Berlin")

    @pytest.mark.parametrize(
        ("name", "job_id"),
        [
            ("my-custom-schedule", "my-custom-schedule"),
            ("Nightly Report!", "nightly-report"),
            ("app.tasks.add(2, 2)", "app-tasks-add-2-2"),
        ],
    )
    def test_its_name_makes_the_job_id(self, name: str, job_id: str) -> None:
        assert slug(name) == job_id


class TestRefusals:
    def test_everything_wrong_is_said_at_once(self) -> None:
        wrong = {
            "queue": 7,
            "priority": "high",
            "expires": "soon",
            "time_limit": "1m",
            "countdown": 3,
        }
        with pytest.raises(InvalidInput) as refused:
            read("***", task=None, schedule=0.5, arguments=(1,), options=wrong)
        fields = {violation.field for violation in refused.value.violations}
        assert fields == {"", "task", "schedule", "arguments", *(f"options.{option}" for option in wrong)}

    @pytest.mark.parametrize(
        ("entry", "sentence"),
        [
            (
                {"options": {"expires": datetime(2030, 1, 1, tzinfo=UTC)}},
                (
                    "options.expires: 2030-01-01 00:00:00+00:00 is an instant, at which every later run has expired;"
                    " expected seconds or a timedelta"
                ),
            ),
            ({"options": {"eta": 1}}, "options.eta: put the time into the schedule"),
            (
                {"options": {"link": []}},
                "options.link: it is not an option of a job (queue, priority, expires, time_limit)",
            ),
            ({"args": "abc"}, "args: 'abc' is not a list or tuple of arguments"),
            ({"kwargs": [1]}, "kwargs: [1] is not a dict of arguments"),
            ({"options": {"priority": True}}, "options.priority: True is not a priority (0-9)"),
            (
                {"arguments": ()},
                "arguments: it is not a key of an entry (task, schedule, args, kwargs, options, relative)",
            ),
        ],
    )
    def test_a_sentence_says_what_to_do(self, entry: dict[str, Any], sentence: str) -> None:
        assert refusals(**entry) == [sentence]

    @pytest.mark.parametrize("name", ["***", "x" * 64])
    def test_a_name_that_makes_no_job_id_is_refused(self, name: str) -> None:
        assert "give the entry another name" in refusals(name=name)[0]


def add(x: int, y: int = 0) -> int:
    return x + y


class TestAllEntries:
    def entries(self, schedule: dict[str, Any], **conf: Any) -> list[Entry]:
        app: Any = Celery(set_as_current=False, task_cls=LedgeredTask)
        routes = {"app.tasks.*": {"queue": "manual", "priority": 7}}
        app.conf.update(beat_schedule=schedule, task_routes=routes, **conf)
        app.task(name="app.tasks.add", shared=False)(add)
        return read_entries(app, Tasks({"app.tasks.add": app.tasks["app.tasks.add"]}), DEFAULTS)

    def refused(self, schedule: dict[str, Any]) -> list[str]:
        with pytest.raises(InvalidInput) as refused:
            self.entries(schedule)
        return [str(violation) for violation in refused.value.violations]

    def test_arguments_get_the_names_of_the_function(self) -> None:
        (entry,) = self.entries({"a": {"task": "app.tasks.add", "schedule": 60, "args": (1, 2)}})
        assert entry.draft.parameters == {"x": 1, "y": 2}

    def test_queue_and_priority_are_what_celery_would_send_the_task_with(self) -> None:
        (entry,) = self.entries({"a": {"task": "app.tasks.add", "schedule": 60, "args": (1, 2)}})
        assert (entry.draft.queue, entry.draft.priority) == ("manual", 7)

    def test_two_names_that_make_one_job_id_are_refused(self) -> None:
        entry = {"task": "app.tasks.add", "schedule": 60, "args": (1,)}
        (said,) = self.refused({"a b": entry, "A-B": entry})
        assert said == (
            "beat_schedule['A-B']: its job id would be 'a-b', as that of 'a b'; give one of them another name"
        )

    def test_what_is_wrong_with_all_of_them_is_said_at_once_and_names_the_entry(self) -> None:
        said = self.refused(
            {
                "one": {"task": "app.tasks.ad", "schedule": 60},
                "two": {"task": "app.tasks.add", "schedule": 60, "args": ("a",)},
                "three": {"task": "app.tasks.add", "schedule": 60, "args": (1,), "options": {"queue": "nowhere"}},
            }
        )
        assert said[0].startswith(
            "beat_schedule['one'].task: 'app.tasks.ad' is not a task; did you mean app.tasks.add?"
        )
        assert said[1].startswith("beat_schedule['two'].parameters.x: 'a' does not fit")
        assert said[2].startswith("beat_schedule['three'].queue: 'nowhere' is not a configured queue")
        assert len(said) == 3

    def test_an_entry_that_says_the_same_has_the_same_fingerprint_and_another_one_has_not(self) -> None:
        base = {"task": "app.tasks.add", "schedule": 60, "args": (1,)}
        (one,) = self.entries({"a": base})
        (same,) = self.entries({"a": {"task": "app.tasks.add", "schedule": timedelta(minutes=1), "kwargs": {"x": 1}}})
        assert one.fingerprint == same.fingerprint
        for other in ({"schedule": 61}, {"args": (2,)}, {"options": {"priority": 1}}, {"options": {"expires": 9}}):
            (differing,) = self.entries({"a": base | other})
            assert differing.fingerprint != one.fingerprint
        crons: dict[str, Any] = {"a": base | {"schedule": crontab(0, 3)}}
        assert self.entries(crons) != self.entries(crons, timezone="Europe/Berlin")
