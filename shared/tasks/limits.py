"""How long an attempt of a task may take: as its caller says, else the task, and in no case longer than its timeout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.job import TASK

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds from an attempt's start."""

    hard: float
    soft: float | None
    """None where there is none."""
    which: str
    """Which limit `hard` is, for people."""


def limits(task: Any, timeout: float, time_limit: float | None, soft_time_limit: float | None) -> Limits:
    """Return the limits of a call that may have been given some; those of a task that is not known here are none."""
    given = time_limit or getattr(task, "time_limit", None)
    soft = soft_time_limit or getattr(task, "soft_time_limit", None)
    if given is not None and given <= timeout:
        return Limits(float(given), soft, f"its time_limit of {given:g} s")
    return Limits(timeout, soft, f"its timeout of {timeout:g} s")


def limits_of_message(row: Mapping[str, Any], tasks: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the limits, hard and soft, that a row's message carries for the processes of the prefork pool.

    A call of a target has none: its deadline ends it.
    """
    if row["target_service"] != TASK:
        return None, None
    task = tasks.get(row["target_method"])
    found = limits(task, row["timeout"], row.get("time_limit"), row.get("soft_time_limit"))
    return found.hard, found.soft
