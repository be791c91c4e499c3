"""How long it took, after each kind of fault, until the service was whole again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.chaos.faults import SERVER, Action

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.chaos.striker import Struck

ALIVE = 5.0
"""Seconds before a fault within which a steady job must have been called to tell something about it: one that still
recovers from the fault before does not."""


@dataclass(frozen=True)
class SteadyCall:
    """A call of a job that fires every second. Times are seconds since the epoch."""

    nominal: float
    began: float


def whole_at(struck: Struck, steady: Mapping[str, Sequence[SteadyCall]], answered: Sequence[float]) -> float | None:
    """Return when the service was whole after a fault, in seconds since the epoch; None if it never was.

    Whole: every steady job that was well before the fault has been called for an occurrence after it; and after faults
    of the server, it has answered a client.
    """
    since = struck.whole_from
    if struck.fault.victims == (SERVER,):
        return min((at for at in answered if at > since), default=None)
    found = since
    for calls in _well(struck, steady):
        first = min((call.began for call in calls if call.nominal > since and call.began > since), default=None)
        if first is None:
            return None
        found = max(found, first)
    return found


def _well(struck: Struck, steady: Mapping[str, Sequence[SteadyCall]]) -> list[Sequence[SteadyCall]]:
    """Return the calls of the steady jobs that were well before a fault."""
    begins = struck.began - ALIVE, struck.began
    return [calls for calls in steady.values() if any(begins[0] < call.began < begins[1] for call in calls)]


def recoveries(
    all_struck: Sequence[Struck], steady: Mapping[str, Sequence[SteadyCall]], answered: Sequence[float]
) -> dict[str, list[float]]:
    """Return the recovery times in seconds by kind of fault, of those that came alone, to a system that was well.

    Purges are counted also when other faults came before their end: it takes so long that some always do.
    """
    found = defaultdict(list)
    for struck in all_struck:
        at = whole_at(struck, steady, answered)
        if at is None or not struck.alone or 2 * len(_well(struck, steady)) < len(steady):
            continue
        if struck.fault.action is Action.PURGE or not any(struck.began < each.began < at for each in all_struck):
            found[struck.fault.kind].append(at - struck.whole_from)
    return dict(found)


def table(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Return lines for people: kind, how often, median, worst."""
    lines = [f"{'recovery after':<34} {'times':>5} {'median':>8} {'worst':>8}"]
    for kind, seconds in sorted(found.items()):
        lines.append(f"{kind:<34} {len(seconds):>5} {median(seconds):>6.1f} s {max(seconds):>6.1f} s")
    return lines
