"""The short run: a minute of faults against the whole system, as `make chaos` does it for ten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.run import ROOT
from shared.messaging.queues import load_queues
from tests.chaos.faults import DECK, MONGODB, QUEUES, RABBITMQ, REDIS, SHORT, WORKERS, Action, strikes
from tests.chaos.report import lines
from tests.chaos.run import run

if TYPE_CHECKING:
    from pathlib import Path

SEED = 5
LEASE = 5.0


@pytest.mark.timeout(1500)  # more than the run's own limits together, which say what was not reached
def test_a_minute_of_faults_loses_nothing_and_does_nothing_twice(tmp_path: Path):
    said: list[str] = []
    report = run(SEED, minutes=1, fires=300, folder=tmp_path, say=said.append)
    assert report.violations == [], "\n".join([*said, *lines(report)])
    assert report.verdict.fires >= 300
    assert report.verdict.shifts.total()
    assert report.verdict.fills.total()


def test_a_seed_decides_the_faults():
    first, same, other = (
        [next(found) for _ in range(50)] for found in (strikes(1, LEASE), strikes(1, LEASE), strikes(2, LEASE))
    )
    assert first == same
    assert first != other


def test_every_kind_of_fault_strikes_before_one_strikes_again():
    found = strikes(3, LEASE)
    faults = [fault for _ in range(len(DECK) + 1) for fault in next(found).faults]
    struck = {(fault.action, victim) for fault in faults for victim in fault.victims if not fault.store}
    for action in (Action.KILL, Action.STOP):
        kinds = {victim.partition("-")[0] for done, victim in struck if done is action}
        assert kinds == {"beat", "worker", "server", MONGODB, RABBITMQ, REDIS}
    assert {fault.action for fault in faults} == set(Action)
    assert {fault.store for fault in faults} == {"", MONGODB, RABBITMQ, REDIS}


def test_a_purge_can_hit_every_queue_that_there_is():
    assert set(QUEUES) == load_queues(ROOT / "config").names


def test_faults_of_one_strike_never_touch_the_same_victim():
    found = strikes(4, LEASE)
    for strike in (next(found) for _ in range(500)):
        touched = [name for fault in strike.faults for name in fault.touches]
        assert len(touched) == len(set(touched))


def test_stops_of_workers_are_clearly_shorter_or_clearly_longer_than_a_lease():
    found = strikes(5, LEASE)
    spans = [
        fault.seconds
        for _ in range(300)
        for fault in next(found).faults
        if fault.action is Action.STOP and set(fault.victims) <= set(WORKERS)
    ]
    assert min(spans) < LEASE * SHORT
    assert max(spans) > LEASE
    assert not [span for span in spans if LEASE * SHORT < span < LEASE * 1.3]
