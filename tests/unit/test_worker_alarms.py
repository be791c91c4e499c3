"""Limits of functions: alarms go off in time, cancelled ones never; an interruption hits what it is meant for."""

from __future__ import annotations

import threading
import time

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from worker.alarms import Alarms, Interruption


def test_alarms_go_off_in_their_order_and_cancelled_ones_never():
    alarms, heard, done = Alarms(), list[str](), threading.Event()
    alarms.after(0.1, done.set)
    alarms.after(0.05, lambda: heard.append("second"))
    alarms.after(0.0, lambda: heard.append("first"))
    alarms.after(0.02, lambda: heard.append("cancelled")).cancel()
    with alarms.during(0.01, lambda: heard.append("in time")):
        pass
    assert done.wait(60)
    assert heard == ["first", "second"]


def test_an_alarm_that_fails_does_not_keep_the_others_from_going_off():
    alarms, done = Alarms(), threading.Event()
    alarms.after(0.0, lambda: 1 / 0)
    alarms.after(0.01, done.set)
    assert done.wait(60)


def test_cancelled_alarms_are_not_kept_until_their_time():
    alarms = Alarms()
    for _ in range(10_000):
        with alarms.during(3600, lambda: None):
            pass
    assert len(alarms._waiting) < 200


def test_an_interruption_is_raised_in_the_function_that_runs():
    def forever() -> None:
        while True:
            time.sleep(0.001)

    interruption = Interruption()
    Alarms().after(0.05, interruption.interrupt)
    with pytest.raises(SoftTimeLimitExceeded), interruption:
        forever()


def test_an_interruption_that_comes_too_late_hits_nobody():
    interruption = Interruption()
    with interruption:
        pass
    interruption.interrupt()
    for _ in range(1000):
        time.sleep(0)
