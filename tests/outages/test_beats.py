"""A beat that stops, or is cut off from a store: the other takes over, and nothing is decided twice or lost."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.system import wait_until
from tests.outages.site import BEAT, OTHER, PATIENCE, State, beat_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.outages.site import Jobs, Site


def decided_by(jobs: Jobs, beat: str) -> list[str]:
    return [job_id for job_id in jobs.ids if jobs.decider(job_id) == beat]


def shared_by(site: Site, jobs: Jobs) -> list[str]:
    """Wait until both beats decide, and return what the first one does."""
    wait_until(lambda: decided_by(jobs, site.other), "the other beat decides some", PATIENCE)
    return wait_until(lambda: decided_by(jobs, site.beat), "both beats decide", PATIENCE)


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    with site.system.paused(BEAT):
        yield


@contextmanager
def cut_off_from_mongodb(site: Site) -> Iterator[None]:
    site.beats_store.cut()
    try:
        yield
    finally:
        site.beats_store.heal()


@contextmanager
def in_silence_from_mongodb(site: Site) -> Iterator[None]:
    site.beats_store.hold()
    try:
        yield
    finally:
        site.beats_store.heal()


@pytest.mark.parametrize("fault", [stopped, cut_off_from_mongodb, in_silence_from_mongodb])
def test_what_a_beat_held_is_fired_by_the_other_and_when_it_goes_on_it_does_no_harm(
    site: Site, label: str, fault: Callable[[Site], Iterator[None]]
):
    jobs = site.every_second(label, 12)
    its_jobs = shared_by(site, jobs)
    with fault(site):  # type: ignore[attr-defined]
        began = datetime.now(UTC)
        for job_id in its_jobs:
            wait_until(lambda job_id=job_id: jobs.decider(job_id) == site.other, f"{job_id} is taken over", PATIENCE)  # type: ignore[misc]
    wait_until(lambda: decided_by(jobs, site.beat), "it decides again, when it goes on", PATIENCE)
    rows = jobs.settle()
    firsts = [
        min(
            t.time.ToDatetime(UTC)
            for row in rows[job_id]
            for t in row.transitions[:1]
            if began < t.time.ToDatetime(UTC) and t.by == site.other
        )
        for job_id in its_jobs
    ]
    seconds = [(first - began).total_seconds() for first in firsts]
    print(f"{fault.__name__}: {len(seconds)} jobs taken over after {min(seconds):.1f} to {max(seconds):.1f} s")  # noqa: T201
    assert site.system.ended_by_themselves == []


def test_what_a_beat_decides_that_is_cut_off_from_the_broker_is_sent_by_the_other(site: Site, label: str):
    jobs = site.every_second(label, 12)
    shared_by(site, jobs)
    site.beats_broker.cut()
    try:
        began = datetime.now(UTC)

        def runs() -> dict[str, State]:
            """What the beat has let run since; of whichever jobs: a lease that ends on a busy machine moves some."""
            return {
                row.execution_id: row.state
                for job_id in jobs.ids
                for row in jobs.rows(job_id)
                if (first := row.transitions[0]).by == site.beat
                and first.state == State.STATE_PENDING
                and began < first.time.ToDatetime(UTC)
            }

        decided = wait_until(lambda: found if len(found := runs()) >= 3 else None, "it decides some", PATIENCE)
        wait_until(
            lambda: (
                {state for execution_id, state in runs().items() if execution_id in decided} == {State.STATE_SUCCEEDED}
            ),
            "what it decided is called",
            PATIENCE,
        )
    finally:
        site.beats_broker.heal()
    jobs.settle()


def test_beats_whose_clocks_are_off_fire_nothing_early_or_twice_and_a_clock_far_off_is_reported(site: Site, label: str):
    skewed = {
        name: beat_name(site.system.start_beat(name, sys.executable, "-m", "tests.outages.skewed_beat", seconds))
        for name, seconds in {"two-seconds-behind": "-2", "a-minute-ahead": "60"}.items()
    }
    try:
        jobs = site.every_second(label, 24)
        for beat in skewed.values():
            wait_until(lambda beat=beat: decided_by(jobs, beat), f"{beat} decides some", PATIENCE)  # type: ignore[misc]
        for rows in jobs.settle().values():
            assert all(row.transitions[0].time.ToDatetime() >= row.nominal_time.ToDatetime() for row in rows)
        reported = {name: '"action": "clock_skew"' in site.system.log(name) for name in (BEAT, OTHER, *skewed)}
        assert reported == {BEAT: False, OTHER: False, "two-seconds-behind": False, "a-minute-ahead": True}
    finally:
        for name in skewed:
            site.system.end(name)
