"""Diagnose: checks of all that the scheduler rests on, side by side, each bounded in time; and what to do.

Nothing is changed by a check, and none fails the whole: what one raises is what it has found.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from pymongo.errors import PyMongoError

from scheduler_service.transport.refusals import shortened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LONGEST: Final = 1_000


class Result(StrEnum):
    """How a check went."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, as a sentence, and what to do where something is wrong."""

    result: Result
    detail: str
    remedy: str = ""


def well(detail: str) -> Finding:
    """Return that all is as it has to be."""
    return Finding(Result.OK, detail)


def warning(detail: str, remedy: str) -> Finding:
    """Return that it works, but not for long, or not well."""
    return Finding(Result.WARNING, detail, remedy)


def failed(detail: str, remedy: str) -> Finding:
    """Return that it does not work."""
    return Finding(Result.FAILED, detail, remedy)


Look: TypeAlias = "Callable[[float], Awaitable[Finding]]"
"""Is given the seconds that it may take; raises whatever its clients raise."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check. needs: the name of one that has to go well before, without which this one says nothing.

    remedy: what to do when the look itself fails.
    """

    name: str
    look: Look
    remedy: str
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A check, how it went, and how long it took."""

    name: str
    finding: Finding
    latency: timedelta = timedelta(0)


async def diagnose(checks: Sequence[Check], within: float) -> list[Checked]:
    """Make all checks at once, each in at most so many seconds beside those that it needs; in their order."""
    made: dict[str, asyncio.Task[Checked]] = {}
    for check in checks:
        # What is needed comes earlier in the list, and has its task by now.
        made[check.name] = asyncio.create_task(_checked(check, made.get(check.needs), within))
    try:
        return list(await asyncio.gather(*made.values()))
    finally:
        for task in made.values():
            task.cancel()


async def _checked(check: Check, needed: asyncio.Task[Checked] | None, within: float) -> Checked:
    if needed is not None and (before := await needed).finding.result in {Result.FAILED, Result.SKIPPED}:
        return Checked(check.name, Finding(Result.SKIPPED, f"it could not be checked: see {before.name}"))
    began = time.perf_counter()
    try:
        async with asyncio.timeout(within):
            finding = await check.look(within)
    except TimeoutError:
        finding = failed(f"there was no answer within {within:g} s", check.remedy)
    except Exception as error:  # noqa: BLE001 - whatever a client library raises is what was found
        finding = failed(_said(error), check.remedy)
    latency = timedelta(seconds=time.perf_counter() - began)
    cut = Finding(finding.result, shortened(finding.detail, LONGEST), shortened(finding.remedy, LONGEST))
    return Checked(check.name, cut, latency)


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, PyMongoError):
        # What follows is the topology as the driver sees it.
        text = text.partition(", Timeout:")[0]
    return f"{type(error).__name__}: {text}"
